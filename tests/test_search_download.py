# SPDX-License-Identifier: Apache-2.0
"""Downloading the standard databases, against an HTTP server on this machine."""

import base64
import gzip
import hashlib
import json
import os
import tarfile
import types
import urllib.parse

import pytest
from parameter_server import serving
from small_archives import special, tar_of

from alphafold_jax.errors import InputError, ResourceError, TransferError
from alphafold_jax.search import databases
from alphafold_jax.search.databases import FASTA, HHSUITE, MMSEQS
from alphafold_jax.search.download import RECORD, download
from alphafold_jax.search.standard_sets import STANDARD_SETS, StandardSet, find_set
from alphafold_jax.transfer import files
from alphafold_jax.transfer.fetch import Patience

IMPATIENT = Patience(deadline=20, timeout=5, retries=4, backoff=0.01)
PROTEINS = b'>one\nMKTAYIAKQRQ\n>two\nDAEFRHDSGYE\n' + os.urandom(60_000).hex().encode()
MEMBERS = {
  'small_db': b'MKT\n',
  'small_db.index': b'0\t0\t4\n',
  'small_db.dbtype': bytes(4),
  'small_db_h': b'one\n',
  'small_db_h.dbtype': bytes(4),
}


@pytest.fixture
def server():
  with serving(gzip.compress(PROTEINS)) as running:
    yield running


def address(server, name):
  return urllib.parse.urljoin(server.url, name)


def sequences(server, **settings):
  """A set that is one FASTA file."""
  return StandardSet(
    'proteins', address(server, 'proteins.fasta.gz'), len(server.content), 'uniref90', 'CC0', **settings
  )


def archive(server, members=MEMBERS, extra=()):
  """A set that is an archive of an MMseqs2 database."""
  server.content = tar_of(members, extra, packed=True)
  return StandardSet(
    'small', address(server, 'small.db.tar.gz'), len(server.content), 'uniref30', 'CC0', MMSEQS, 'small_db', 200
  )


def fetch(one, folder, **settings):
  return download(one, folder, patience=IMPATIENT, **settings)


def names(folder):
  return sorted(path.name for path in folder.iterdir() if path.name != '.lock')


def test_a_fasta_file_stays_packed_and_can_be_searched(server, tmp_path):
  found = fetch(sequences(server), tmp_path / 'db')
  assert (found.role, found.kind, found.path) == ('uniref90', FASTA, tmp_path / 'db' / 'proteins.fasta.gz')
  assert found.path.read_bytes() == server.content
  assert databases.parse(f'uniref90={found.path}') == found
  assert names(tmp_path / 'db') == [RECORD, 'proteins.fasta.gz']
  known = json.loads((tmp_path / 'db' / RECORD).read_text())['sets']['proteins']
  assert known['sha256'] == hashlib.sha256(server.content).hexdigest() and known['licence'] == 'CC0'


def test_an_archive_is_unpacked_and_removed(server, tmp_path):
  one = archive(server, {f'./{name}': content for name, content in MEMBERS.items()})
  found = fetch(one, tmp_path)
  assert (found.kind, found.path) == (MMSEQS, tmp_path / 'small_db')
  assert names(tmp_path) == sorted([RECORD, *MEMBERS])
  assert {name: (tmp_path / name).read_bytes() for name in MEMBERS} == MEMBERS
  assert databases.found_in(tmp_path)[0].path == found.path


def test_nothing_is_fetched_twice_unless_files_have_changed(server, tmp_path):
  one = archive(server)
  for _ in range(2):
    fetch(one, tmp_path)
  assert len(server.requests) == 1
  (tmp_path / 'small_db').write_bytes(b'damaged')
  fetch(one, tmp_path)
  assert len(server.requests) == 2 and (tmp_path / 'small_db').read_bytes() == MEMBERS['small_db']


def test_a_download_goes_on_where_it_was_cut_also_in_a_later_run(server, tmp_path):
  size = len(server.content)
  server.cuts = [20_000, 0, 0, 0, 0]
  with pytest.raises(TransferError, match='Run the same command again to go on from there'):
    fetch(sequences(server), tmp_path)
  server.requests.clear()
  fetch(sequences(server), tmp_path)
  assert server.requests == [('bytes=20000-', size - 20_000)]
  assert names(tmp_path) == [RECORD, 'proteins.fasta.gz']


def test_a_wrong_digest_is_refused_and_the_right_one_taken(server, tmp_path):
  right = hashlib.sha256(server.content).hexdigest()
  with pytest.raises(TransferError, match=f'its SHA-256 is {right}, asked for was 00'):
    fetch(sequences(server), tmp_path, sha256='00' * 32)
  with pytest.raises(TransferError, match='asked for was 11'):
    fetch(sequences(server, sha256='11' * 32), tmp_path)
  assert names(tmp_path) == []
  fetch(sequences(server), tmp_path, sha256=right.upper())


def test_the_md5_that_a_server_states_is_compared(server, tmp_path):
  server.headers['x-goog-hash'] = f'md5={base64.b64encode(bytes(16)).decode()}'
  with pytest.raises(TransferError, match='the server states 0000'):
    fetch(sequences(server), tmp_path)
  assert names(tmp_path) == []


def test_another_content_under_the_same_address_is_refused_unless_the_publisher_replaces_it(server, tmp_path):
  fetch(sequences(server), tmp_path)
  before, server.content = server.content, gzip.compress(b'>other\nMKT\n')
  with pytest.raises(TransferError, match=r'not what it was on \d{4}-.*tampered'):
    fetch(sequences(server), tmp_path, force=True)
  assert (tmp_path / 'proteins.fasta.gz').read_bytes() == before
  fetch(sequences(server, changes=True), tmp_path, force=True)
  assert (tmp_path / 'proteins.fasta.gz').read_bytes() == server.content


def test_room_is_asked_for_before_a_byte_is_fetched(server, tmp_path, monkeypatch):
  one = archive(server)
  monkeypatch.setattr(files.shutil, 'disk_usage', lambda path: types.SimpleNamespace(free=files._MARGIN + one.room - 1))
  with pytest.raises(ResourceError, match=r'fetching small \(\d+ B\) and unpacking it \(200 B\) needs .* are free'):
    fetch(one, tmp_path)
  assert not server.requests


def test_room_for_what_is_unpacked_is_asked_for_file_by_file_and_the_download_kept(server, tmp_path, monkeypatch):
  one = archive(server)
  real = files.shutil.disk_usage
  full = types.SimpleNamespace(free=files._MARGIN + 2)
  monkeypatch.setattr(files.shutil, 'disk_usage', lambda path: full if '.unpacking' in str(path) else real(path))
  with pytest.raises(ResourceError, match='unpacking small_db needs'):
    fetch(one, tmp_path)
  assert names(tmp_path) == ['small.db.tar.gz.part', 'small.db.tar.gz.part.json']
  monkeypatch.undo()
  fetch(one, tmp_path)
  assert len(server.requests) == 1


@pytest.mark.parametrize(
  'content',
  [b'<html>Sign in</html>', gzip.compress(b'<html>'), b'\x1f\x8bnonsense', b''],
  ids=['page', 'packed page', 'no gzip', 'nothing'],
)
def test_a_page_instead_of_sequences_is_refused_and_not_kept(server, tmp_path, content):
  server.content = content
  one = StandardSet('proteins', address(server, 'proteins.fasta.gz'), 1000, 'uniref90', 'CC0')
  with pytest.raises(TransferError, match='no FASTA file|damaged gzip data'):
    fetch(one, tmp_path)
  assert names(tmp_path) == []


@pytest.mark.parametrize('length', [10, 100, -20, -4])
def test_a_damaged_archive_is_refused_and_not_kept(server, tmp_path, length):
  one = archive(server)
  server.content = server.content[:length]
  with pytest.raises(TransferError, match='the archive is damaged'):
    fetch(one, tmp_path)
  assert names(tmp_path) == []


@pytest.mark.parametrize(
  'member, fault',
  [
    (special('../small_db', size=3), 'leaves its directory'),
    (special('/tmp/small_db', size=3), 'leaves its directory'),
    (special('link', tarfile.SYMTYPE, '/etc/passwd'), 'link or a special file'),
    (special('link', tarfile.SYMTYPE, '../x'), 'link or a special file'),
    (special('link', tarfile.SYMTYPE, '..'), 'link or a special file'),
    (special('hard', tarfile.LNKTYPE, 'small_db'), 'link or a special file'),
    (special('device', tarfile.CHRTYPE), 'link or a special file'),
    (special('small_db', size=3), 'holds small_db twice'),
  ],
  ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_an_archive_with_a_harmful_member_is_refused_whole(server, tmp_path, member, fault):
  with pytest.raises(TransferError, match=fault):
    fetch(archive(server, extra=[member]), tmp_path / 'inner')
  assert names(tmp_path / 'inner') == [] and names(tmp_path) == ['inner']


def test_links_between_the_files_of_a_database_are_made(server, tmp_path):
  extra = [special('small_db_seq_h', tarfile.SYMTYPE, 'small_db_h'), special('dangling', tarfile.SYMTYPE, 'nothing')]
  fetch(archive(server, extra=extra), tmp_path)
  assert os.readlink(tmp_path / 'small_db_seq_h') == 'small_db_h'
  assert not (tmp_path / 'dangling').is_symlink()


def test_an_archive_of_something_else_is_refused_by_the_name_of_what_is_missing(server, tmp_path):
  with pytest.raises(TransferError, match='does not hold small_db'):
    fetch(archive(server, {'other': b'x'}), tmp_path)
  assert names(tmp_path) == []


def test_a_record_that_cannot_be_read_is_named(server, tmp_path):
  (tmp_path / RECORD).write_text('{"sets": {"x": {}}}')
  with pytest.raises(TransferError, match=rf'{RECORD}: not a record of downloads'):
    fetch(sequences(server), tmp_path)


def test_an_unknown_set_is_refused_with_the_known_ones():
  with pytest.raises(InputError, match='not a standard database; choose uniref90, mgnify'):
    find_set('swissprot')


@pytest.mark.parametrize('one', STANDARD_SETS.values(), ids=STANDARD_SETS)
def test_each_standard_set_has_the_role_that_its_file_name_stands_for(one, tmp_path):
  assert one.url.startswith('https://') and one.role in databases.ROLES and one.num_bytes > 0
  path = one.database(tmp_path).path
  endings = {FASTA: '', MMSEQS: '.dbtype', HHSUITE: '_a3m.ffindex'}
  path.with_name(path.name + endings[one.kind]).write_bytes(b'')
  assert databases.parse(str(path)) == one.database(tmp_path)
