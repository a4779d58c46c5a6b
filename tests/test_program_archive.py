# SPDX-License-Identifier: Apache-2.0
"""Compiled programs in one file for other machines: whole, for this kind of machine, or refused. Nothing compiles."""

import gzip
import json
import os
import re
import tarfile

import pytest
from small_archives import special, tar_of

from alphafold_jax import cli, compiled_once, devices, program_archive, program_files
from alphafold_jax.errors import InputError, ResourceError

FACTS = {'alphafold_jax': '1.0', 'jax': '0.11.2', 'device': 'a GPU'}
NAMES = [f'program-{digit * 32}' for digit in '0123']


def keep(folder, name, content=b'a program', facts=FACTS):
  folder.mkdir(exist_ok=True)
  program_files.write(folder / name, program_files.Heading(facts, 'one_pass, up to 64 residues', 24.5), content)


@pytest.fixture
def source(tmp_path):
  """A folder of three programs for this machine, one of them damaged, and one for another machine."""
  for name in NAMES[:3]:
    keep(tmp_path / 'source', name, name.encode())
  keep(tmp_path / 'source', NAMES[3], facts=FACTS | {'jax': '0.12.0'})
  with open(tmp_path / 'source' / NAMES[2], 'ab') as file:
    file.write(b'more')
  (tmp_path / 'source' / 'jit_other-cache').touch()
  return tmp_path / 'source'


@pytest.fixture
def archive(source, tmp_path):
  program_archive.export(source, FACTS, tmp_path / 'programs.tar')
  return tmp_path / 'programs.tar'


@pytest.fixture
def target(tmp_path):
  (tmp_path / 'target').mkdir()
  return tmp_path / 'target'


def programs(folder):
  return {path.name: path.read_bytes() for path in folder.glob('program-*')}


def members(archive):
  with tarfile.open(archive) as tar:
    return {member.name: tar.extractfile(member).read() for member in tar}


def relisted(archive, change):
  """The members of an archive after a change to its listing."""
  found = members(archive)
  listing = json.loads(found['programs.json'])
  change(listing)
  return found | {'programs.json': json.dumps(listing)}


def test_whole_programs_of_this_machine_come_back_as_they_were(source, archive, target):
  assert program_archive.take_in(archive, target, FACTS) == (2, 0)
  assert programs(target) == {name: (source / name).read_bytes() for name in NAMES[:2]}
  assert program_files.read(target / NAMES[0])[1] == NAMES[0].encode()
  assert [path.name for path in target.iterdir() if not path.name.startswith('program-')] == ['.lock']


def test_a_whole_program_that_is_there_stays_and_a_damaged_one_is_replaced(archive, target):
  keep(target, NAMES[0], b'compiled here')
  (target / NAMES[1]).write_bytes(b'damaged')
  before = (target / NAMES[0]).read_bytes()
  assert program_archive.take_in(archive, target, FACTS) == (1, 1)
  assert (target / NAMES[0]).read_bytes() == before and program_files.read(target / NAMES[1])[1] == NAMES[1].encode()


def test_what_was_compiled_for_another_machine_or_version_is_refused_with_what_differs(archive, target):
  here = FACTS | {'jax': '0.10.2', 'driver': '570'}
  with pytest.raises(InputError, match=r'jax 0\.11\.2 \(here 0\.10\.2\), driver none \(here 570\)\. Nothing is imp'):
    program_archive.take_in(archive, target, here)
  assert not programs(target)


@pytest.mark.parametrize('place', [0.02, 0.3, 0.5, 0.62, 0.9])
def test_a_flipped_or_cut_archive_is_refused_or_harmless(place, archive, target, source):
  whole = archive.read_bytes()
  at = int(place * len(whole))
  for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
    archive.write_bytes(damaged)
    try:
      program_archive.take_in(archive, target, FACTS)
    except InputError as error:
      assert str(archive) in str(error) and not programs(target)
    for name, content in programs(target).items():  # the damage was in the padding
      assert content == (source / name).read_bytes()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda listing: listing['programs'].popitem(), "'program-1{32}' is not in its listing"),
    (lambda listing: listing['programs'].update({NAMES[3]: {}}), '1 of its programs are missing, such as program-3'),
    (lambda listing: listing['programs'].update({'../evil': {}}), 'names what no export does'),
    (lambda listing: listing['programs'][NAMES[0]].update(sha256='0' * 64), 'the digest of program-0'),
    (lambda listing: listing['programs'][NAMES[0]].update(size=1), 'the digest of program-0'),
    (lambda listing: listing.update(format=2), 'is of format 2, this version of alphafold_jax knows 1'),
    (lambda listing: listing.update(facts={'jax': '\x1b[2J'}), 'names what no export does'),
    (lambda listing: listing.update(facts=[]), 'does not say what it holds'),
    (lambda listing: listing.update(programs=None), 'names what no export does'),
    (lambda listing: listing.update(programs=''), 'names what no export does'),
    (lambda listing: listing.pop('facts'), 'does not say what it holds'),
  ],
)
def test_a_listing_that_does_not_fit_is_refused(change, message, archive, target):
  archive.write_bytes(tar_of(relisted(archive, change)))
  with pytest.raises(InputError, match=message):
    program_archive.take_in(archive, target, FACTS)
  assert not programs(target)


HOSTILE = {
  'a path that leaves': special('../program-' + '0' * 32),
  'an absolute path': special('/tmp/program-' + '0' * 32),
  'a link': special(NAMES[3], tarfile.SYMTYPE, '/etc/passwd'),
  'a device': special(NAMES[3], tarfile.CHRTYPE),
  'a program twice': special(NAMES[0]),
  'a file too large': special(NAMES[3], size=1 << 40),
  'a program in a folder': special(f'folder/{NAMES[0]}'),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_a_hostile_archive_is_refused(name, archive, target):
  archive.write_bytes(tar_of(members(archive), [HOSTILE[name]]))
  with pytest.raises(InputError, match=r'programs\.tar: .*; nothing is imported, copy it again'):
    program_archive.take_in(archive, target, FACTS)
  assert not programs(target) and [path.name for path in target.iterdir()] == ['.lock']


def test_a_program_that_says_it_is_for_another_machine_than_the_listing_is_refused(source, target, tmp_path):
  content = (source / NAMES[3]).read_bytes()
  listed = {NAMES[3]: {'size': len(content), 'sha256': program_archive.hashlib.sha256(content).hexdigest()}}
  listing = json.dumps({'format': 1, 'facts': FACTS, 'programs': listed})
  (tmp_path / 'a.tar').write_bytes(tar_of({'programs.json': listing, NAMES[3]: content}))
  with pytest.raises(InputError, match='was compiled for another machine than the listing says'):
    program_archive.take_in(tmp_path / 'a.tar', target, FACTS)


_NO_TAR = 'a.tar: no plain tar archive, as an export is; nothing is imported, copy it again, or export it anew'


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'a.tar: an empty file; give a file that `alphafold-jax cache programs export` has written'),
    (b'no tar', _NO_TAR),
    (gzip.compress(tar_of({'programs.json': '{}'})), _NO_TAR),
    (tar_of({}), 'a.tar: it holds no program'),
    (tar_of({'other.txt': 'text'}), 'a.tar: it does not begin with programs.json'),
    (tar_of({'programs.json': '['}), 'a.tar: its programs.json does not say what it holds; nothing is imported'),
  ],
)
def test_what_is_no_archive_of_programs_is_refused_in_plain_words(content, message, tmp_path, target):
  (tmp_path / 'a.tar').write_bytes(content)
  with pytest.raises(InputError, match=re.escape(message)):
    program_archive.take_in(tmp_path / 'a.tar', target, FACTS)


def test_what_is_no_file_is_refused_at_once(tmp_path, target):
  os.mkfifo(tmp_path / 'a pipe')
  for path, what in ((target, 'a folder'), (tmp_path / 'a pipe', 'a pipe'), (tmp_path / 'x', 'no such file')):
    with pytest.raises(InputError, match=f'{path}: {what}.*; give a file that `alphafold-jax cache programs export`'):
      program_archive.take_in(path, target, FACTS)


def test_an_archive_that_was_cut_off_is_called_so(archive, target):
  for size, message in {100: 'no plain tar archive', 700: 'cut off or damaged', 1600: 'cut off or damaged'}.items():
    (cut := archive.with_name('cut.tar')).write_bytes(archive.read_bytes()[:size])
    with pytest.raises(InputError, match=message):
      program_archive.take_in(cut, target, FACTS)


def test_an_export_says_what_is_damaged_never_replaces_a_file_and_needs_a_program(source, archive, tmp_path, caplog):
  with pytest.raises(InputError, match=r'programs\.tar: exists'):
    program_archive.export(source, FACTS, archive)
  with pytest.raises(InputError, match='no whole program of this machine and these versions among 4 programs'):
    program_archive.export(source, FACTS | {'jax': '1.0'}, tmp_path / 'other.tar')
  program_archive.export(source, FACTS, tmp_path / 'other.tar')
  assert f'{source / NAMES[2]}: damaged' in caplog.text and len(caplog.records) == 1


def test_a_full_disk_leaves_neither_a_program_nor_half_an_archive(source, archive, target, monkeypatch, tmp_path):
  def full(*_):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(ResourceError, match='the disk is full'):
    program_archive.take_in(archive, target, FACTS)
  with pytest.raises(ResourceError, match='the disk is full'):
    program_archive.export(source, FACTS, tmp_path / 'other.tar')
  assert not programs(target) and not (tmp_path / 'other.tar').exists()


def test_the_same_programs_make_the_same_archive(source, archive, tmp_path):
  program_archive.export(source, FACTS, tmp_path / 'again.tar')
  assert (tmp_path / 'again.tar').read_bytes() == archive.read_bytes()


# ------------------------------------------------------------------------------------------ the command


@pytest.fixture
def cache(source, tmp_path, monkeypatch):
  """The user's cache with the programs of `source`, for a machine with FACTS."""
  folder = tmp_path / 'cache' / 'alphafold_jax' / 'xla' / 'gpu-0123'
  folder.parent.mkdir(parents=True)
  source.rename(folder)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
  monkeypatch.setattr(devices, 'use_compilation_cache', lambda: folder)
  monkeypatch.setattr(compiled_once, 'facts', lambda: FACTS)
  return folder


def command(*words):
  return cli.main(['cache', 'programs', *map(str, words)])


def test_programs_are_listed_exported_removed_and_imported(cache, tmp_path, capsys):
  assert command('list') == 0
  shown = capsys.readouterr().out
  assert f'Programs in {cache}' in shown and 'one_pass, up to 64 residues' in shown and '4 in all' in shown
  assert 'compiled in 24.5 s, alphafold_jax 1.0, jax 0.11.2' in shown
  assert command('export', tmp_path / 'a.tar') == 0 and '2 programs' in capsys.readouterr().out
  (cache / NAMES[0].replace('0', 'f')).mkdir()  # whatever made it, it is none of ours
  assert command('clean', '--older-than', '1') == 0 and capsys.readouterr().out == 'None to remove\n'
  assert command('clean') == 0 and capsys.readouterr().out.startswith('5 files removed')
  (folder,) = cache.iterdir()
  folder.rmdir()
  assert command('list') == 0 and 'No programs in' in capsys.readouterr().out
  assert command('import', tmp_path / 'a.tar') == 0
  assert '2 programs imported' in capsys.readouterr().out and sorted(programs(cache)) == NAMES[:2]


def test_a_refused_import_exits_2_and_names_the_reason(archive, cache, monkeypatch, capsys):
  monkeypatch.setattr(compiled_once, 'facts', lambda: FACTS | {'device': 'a TPU'})
  assert command('import', archive) == 2
  assert 'device a GPU (here a TPU)' in capsys.readouterr().err
  monkeypatch.setattr(devices, 'use_compilation_cache', lambda: None)
  assert command('import', archive) == 2
  assert 'cannot be kept there for later runs (it could not be written); set XDG' in capsys.readouterr().err
  assert command('clean', '--older-than', '-1') == 2 and 'give days' in capsys.readouterr().err


def test_in_a_folder_that_jax_was_given_what_others_keep_is_left_alone(cache, tmp_path, monkeypatch, capsys):
  other = tmp_path / 'of jax'
  keep(other, NAMES[0])
  (other / 'jit_theirs-cache').touch()
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(other))
  assert command('clean') == 0
  assert [path.name for path in other.iterdir()] == ['jit_theirs-cache'] and not list(cache.iterdir())
