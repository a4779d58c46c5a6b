# SPDX-License-Identifier: Apache-2.0
"""Downloading and installing parameters, against a real HTTP server on this machine."""

import base64
import hashlib
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import time
import types

import pytest
from parameter_server import ALL, MODELS, SHAPES, expected, good_members, installed, parameter_file, serving
from small_archives import special, tar_of

from alphafold_jax.errors import ResourceError, TransferError, WeightsError
from alphafold_jax.transfer import files
from alphafold_jax.weights import store

IMPATIENT = store.Patience(deadline=20, timeout=5, retries=4, backoff=0.01)


@pytest.fixture
def server():
  with serving(tar_of(good_members())) as running:
    yield running


def fetch(server, directory, **options):
  return store.download(server.archive, directory, **{'expected': expected, 'patience': IMPATIENT} | options)


# A download that goes well


def test_download_installs_the_files_of_the_models_with_licence_and_manifest(server, tmp_path):
  rows = fetch(server, tmp_path)
  assert installed(tmp_path) == ALL
  assert [(row.model, row.status, row.licence) for row in rows] == [(m, 'installed', 'CC BY 4.0') for m in MODELS]
  content = good_members()['./params_model_1.npz']
  assert (tmp_path / 'params_model_1.npz').read_bytes() == content
  assert rows[0].sha256 == hashlib.sha256(content).hexdigest()
  manifest = json.loads((tmp_path / 'manifest.json').read_text())
  record = manifest['archives']['alphafold_params_test.tar']
  assert record['url'] == server.url
  assert record['size'] == len(server.content)
  assert record['sha256'] == hashlib.sha256(server.content).hexdigest()
  notice = (tmp_path / 'NOTICE.txt').read_text()
  assert 'CC BY 4.0' in notice and server.url in notice and 's41586-021-03819-2' in notice


def test_download_does_nothing_when_all_is_installed(server, tmp_path):
  fetch(server, tmp_path)
  fetch(server, tmp_path)
  assert len(server.requests) == 1


def test_download_installs_anew_when_a_file_was_damaged(server, tmp_path):
  fetch(server, tmp_path)
  (tmp_path / 'params_model_1.npz').write_bytes(b'damaged')
  rows = fetch(server, tmp_path)
  assert [row.status for row in rows] == ['installed', 'installed']
  assert store.verify(tmp_path, expected)[0].status == 'verified'


def test_download_takes_a_local_archive_and_keeps_it(server, tmp_path):
  archive = tmp_path / 'alphafold_params_2021-07-14.tar'
  members = {f'params_model_{i}{s}.npz': parameter_file(i) for i in range(1, 6) for s in ('', '_ptm')}
  archive.write_bytes(tar_of(members | {'LICENSE': b'text'}))
  rows = store.download(directory=tmp_path / 'params', source=archive, expected=expected)
  assert [row.model for row in rows] == list(store.ARCHIVES['2021-07-14'].models)
  assert archive.exists() and not server.requests
  assert 'alphafold_params_2021-07-14.tar' in json.loads((tmp_path / 'params/manifest.json').read_text())['archives']


def test_download_accepts_the_digest_the_user_gives_and_refuses_another(server, tmp_path):
  right = hashlib.sha256(server.content).hexdigest()
  with pytest.raises(WeightsError, match=f'SHA-256 is {right}, asked for was 00'):
    fetch(server, tmp_path, sha256='00' * 32)
  assert installed(tmp_path) == []
  fetch(server, tmp_path, sha256=right.upper())
  assert installed(tmp_path) == ALL


def test_download_checks_the_md5_the_server_states(server, tmp_path):
  right = base64.b64encode(hashlib.md5(server.content).digest()).decode()
  server.headers['x-goog-hash'] = f'crc32c=AAAAAA==,md5={base64.b64encode(bytes(16)).decode()}'
  with pytest.raises(WeightsError, match='the server states 0000'):
    fetch(server, tmp_path)
  server.headers['x-goog-hash'] = f'crc32c=AAAAAA==,md5={right}'
  fetch(server, tmp_path)
  assert installed(tmp_path) == ALL


def test_download_reports_its_progress_in_the_log_without_a_terminal(server, tmp_path, caplog):
  with caplog.at_level(logging.INFO, 'alphafold_jax'):
    fetch(server, tmp_path)
  line = re.compile(r'alphafold_params_test.tar: 150.0 KiB of 150.0 KiB .*/s')
  assert any(line.match(message) for message in caplog.messages)


# Connections that break, servers that misbehave


def test_download_goes_on_where_the_connection_was_cut(server, tmp_path):
  server.cuts = [50_000, 30_000]
  fetch(server, tmp_path)
  assert server.requests == [(None, 50_000), ('bytes=50000-', 30_000), ('bytes=80000-', len(server.content) - 80_000)]
  assert installed(tmp_path) == ALL


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(server, tmp_path):
  server.cuts = [50_000, 0, 0, 0, 0]
  with pytest.raises(WeightsError, match=r'Run the same command again to go on'):
    fetch(server, tmp_path)
  assert (tmp_path / 'alphafold_params_test.tar.part').stat().st_size == 50_000
  server.requests.clear()
  fetch(server, tmp_path)
  assert server.requests == [('bytes=50000-', len(server.content) - 50_000)]
  assert installed(tmp_path) == ALL


def test_a_complete_part_is_installed_without_asking_the_server(server, tmp_path):
  server.cuts = [50_000, 0, 0, 0, 0]
  with pytest.raises(WeightsError):
    fetch(server, tmp_path)
  (tmp_path / 'alphafold_params_test.tar.part').write_bytes(server.content)
  server.requests.clear()
  fetch(server, tmp_path)
  assert not server.requests and installed(tmp_path) == ALL


def test_download_starts_over_when_the_server_ignores_ranges(server, tmp_path):
  server.cuts, server.ranges = [50_000], False
  fetch(server, tmp_path)
  assert [sent for _, sent in server.requests] == [50_000, len(server.content)]
  assert (tmp_path / 'params_model_1.npz').read_bytes() == good_members()['./params_model_1.npz']


def test_download_gives_up_on_a_server_that_ignores_ranges_and_always_cuts(server, tmp_path):
  server.cuts, server.ranges = [50_000] * 50, False
  with pytest.raises(WeightsError, match='50000 of'):
    fetch(server, tmp_path)
  assert len(server.requests) == 1 + IMPATIENT.retries


@pytest.mark.parametrize('compares_tags', [True, False])
def test_download_starts_over_when_the_file_on_the_server_has_changed(server, tmp_path, compares_tags):
  server.compares_tags = compares_tags
  server.cuts = [50_000, 0, 0, 0, 0]
  with pytest.raises(WeightsError):
    fetch(server, tmp_path)
  members = good_members() | {'./params_model_1.npz': parameter_file(7)}
  server.content, server.tag = tar_of(members), '"two"'
  fetch(server, tmp_path)
  assert (tmp_path / 'params_model_1.npz').read_bytes() == members['./params_model_1.npz']


def test_download_starts_over_when_the_server_does_not_name_its_version(server, tmp_path):
  server.cuts, server.tag = [50_000], None
  fetch(server, tmp_path)
  assert [wanted for wanted, _ in server.requests] == [None, None]
  assert installed(tmp_path) == ALL


def test_download_starts_over_from_a_part_of_unknown_origin(server, tmp_path):
  (tmp_path / 'alphafold_params_test.tar.part').write_bytes(b'something else')
  fetch(server, tmp_path)
  assert installed(tmp_path) == ALL


def test_download_retries_server_errors(server, tmp_path):
  server.states = [500, 503, 429]
  fetch(server, tmp_path)
  assert len(server.requests) == 4 and installed(tmp_path) == ALL


def test_download_gives_up_after_its_retries(server, tmp_path):
  server.states = [500] * 100
  with pytest.raises(WeightsError, match=r'answered 500.*--from FILE'):
    fetch(server, tmp_path)
  assert len(server.requests) == 1 + IMPATIENT.retries


def test_download_does_not_retry_what_is_not_there(server, tmp_path):
  server.states = [404]
  with pytest.raises(WeightsError, match=r'answered 404.*Check the address'):
    fetch(server, tmp_path)
  assert len(server.requests) == 1


def test_download_keeps_to_its_deadline(server, tmp_path):
  server.states = [503] * 100
  begin = time.monotonic()
  with pytest.raises(WeightsError, match='gave up'):
    fetch(server, tmp_path, patience=store.Patience(deadline=0.5, timeout=5, retries=1000, backoff=0.05))
  assert time.monotonic() - begin < 3


def test_download_names_a_server_that_cannot_be_reached(tmp_path):
  patience = store.Patience(deadline=5, timeout=1, retries=1, backoff=0.01)
  with pytest.raises(WeightsError, match=r'127.0.0.1:9/.*no connection'):
    store.download('http://127.0.0.1:9/params.tar', tmp_path, patience=patience)


def test_a_mirror_of_a_published_archive_is_that_archive_and_any_other_has_its_own_licence():
  mirror = store.find_archive('https://mirror.example/a/alphafold_params_2022-12-06.tar')
  assert (mirror.name, mirror.licence) == (store.ARCHIVES['2022-12-06'].name, 'CC BY 4.0')
  assert mirror.url.startswith('https://mirror.example/')
  assert store.find_archive('https://mirror.example/own.tar').licence == 'see LICENSE'
  assert store.find_archive('alphafold_params_2021-07-14.tar') is store.ARCHIVES['2021-07-14']


def test_the_published_archives_hold_every_model_and_the_newest_has_the_newest_of_complexes():
  archives = store.ARCHIVES
  assert {model for archive in archives.values() for model in archive.models} == set(store.MODELS)
  newest = archives[store.DEFAULT_ARCHIVE].models
  assert len(newest) == 15 and sum(model.endswith('_multimer_v3') for model in newest) == 5
  assert archives['2022-03-02'].models == tuple(f'model_{number}_multimer_v2' for number in range(1, 6))
  assert archives['2022-01-19'].models == tuple(f'model_{number}_multimer' for number in range(1, 6))


def test_download_refuses_addresses_that_are_not_http(tmp_path):
  with pytest.raises(WeightsError, match='not an http or https address'):
    store.download('file:///etc/passwd', tmp_path)
  with pytest.raises(
    WeightsError, match='not a known archive. Known are 2022-12-06, 2022-03-02, 2022-01-19, 2021-07-14'
  ):
    store.download('2020', tmp_path)


# Archives that are not what they should be


def test_a_truncated_archive_is_refused_and_not_kept(server, tmp_path):
  whole, server.content = server.content, server.content[:60_000]
  with pytest.raises(WeightsError, match='truncated'):
    fetch(server, tmp_path)
  assert installed(tmp_path) == []
  server.content = whole
  fetch(server, tmp_path)
  assert installed(tmp_path) == ALL


def test_an_archive_truncated_between_members_is_refused_by_the_name_of_what_is_missing(server, tmp_path):
  members = good_members()
  del members['./params_model_1_ptm.npz']
  server.content = tar_of(members)
  with pytest.raises(WeightsError, match='does not hold params_model_1_ptm.npz'):
    fetch(server, tmp_path)
  assert installed(tmp_path) == []


def test_a_page_instead_of_an_archive_is_refused(server, tmp_path):
  server.content = b'<html>Sign in to the hotel network</html>' * 100
  with pytest.raises(WeightsError, match='not a tar archive'):
    fetch(server, tmp_path)
  assert installed(tmp_path) == []


def test_an_archive_tampered_with_after_its_first_download_is_refused(server, tmp_path):
  fetch(server, tmp_path)
  before = {name: (tmp_path / name).read_bytes() for name in ALL}
  at = server.content.index(b'params_model_1_ptm.npz') + 20_000
  server.content = server.content[:at] + bytes([server.content[at] ^ 1]) + server.content[at + 1 :]
  with pytest.raises(WeightsError, match=r'is not what it was on .*tampered'):
    fetch(server, tmp_path, force=True)
  assert {name: (tmp_path / name).read_bytes() for name in ALL} == before
  assert installed(tmp_path) == ALL


def test_another_archive_with_other_values_does_not_replace_the_installed_files(server, tmp_path):
  fetch(server, tmp_path)
  other = tmp_path / 'other.tar'
  other.write_bytes(tar_of(good_members() | {'./params_model_1.npz': parameter_file(9)}))
  with pytest.raises(WeightsError, match='a directory of its own for each archive'):
    store.download(store.Archive('other.tar', models=MODELS), tmp_path, source=other)
  assert (tmp_path / 'params_model_1.npz').read_bytes() == good_members()['./params_model_1.npz']


@pytest.mark.parametrize(
  'member, fault',
  [
    (special('../params_model_1.npz', size=3), 'leaves its directory'),
    (special('a/../../b', size=3), 'leaves its directory'),
    (special('/tmp/params_model_1.npz', size=3), 'leaves its directory'),
    (special('..\\x', size=3), 'leaves its directory'),
    (special('params_model_1.npz', tarfile.SYMTYPE, '/etc/passwd'), 'link or a special file'),
    (special('hard', tarfile.LNKTYPE, 'LICENSE'), 'link or a special file'),
    (special('pipe', tarfile.FIFOTYPE), 'link or a special file'),
    (special('device', tarfile.CHRTYPE), 'link or a special file'),
    (special('params_model_1.npz', size=5 << 30), 'claims 5.0 GiB'),
    (special('params_model_1.npz', size=3), 'holds params_model_1.npz twice'),
  ],
  ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_an_archive_with_a_harmful_member_is_refused_whole(tmp_path, member, fault):
  archive = tmp_path / 'bad.tar'
  archive.write_bytes(tar_of(good_members(), extra=[member]))
  target = tmp_path / 'inner' / 'params'
  with pytest.raises(WeightsError, match=fault):
    store.download(store.Archive('bad.tar', models=MODELS), target, source=archive)
  assert installed(target) == []
  assert sorted(path.name for path in tmp_path.rglob('*') if path.is_file()) == ['.lock', 'bad.tar']


def test_arrays_of_wrong_shape_are_refused_by_name(server, tmp_path):
  bias = 'alphafold/alphafold_iteration/distogram_head/half_logits//bias'
  server.content = tar_of(good_members() | {'./params_model_1_ptm.npz': parameter_file(2, SHAPES | {bias: (9,)})})
  with pytest.raises(WeightsError, match=rf'params_model_1_ptm.npz does not fit.*{bias} is \(9,\), should be \(8,\)'):
    fetch(server, tmp_path)
  assert not list(tmp_path.glob('params_*'))


def test_missing_arrays_are_refused_and_surplus_arrays_are_told(server, tmp_path, caplog):
  members = good_members()
  short = {name: shape for name, shape in SHAPES.items() if 'left_single' not in name}
  server.content = tar_of(members | {'./params_model_1.npz': parameter_file(1, short)})
  with pytest.raises(WeightsError, match=r'missing: .*left_single//weights \(300, 40\)'):
    fetch(server, tmp_path)
  server.content = tar_of(members | {'./params_model_1.npz': parameter_file(1, SHAPES | {'odd//array': (2,)})})
  fetch(server, tmp_path, force=True)
  assert any('odd//array (2,)' in message for message in caplog.messages)


def test_a_mismatch_of_shapes_does_not_throw_the_download_away(server, tmp_path):
  with pytest.raises(WeightsError, match='does not fit'):
    fetch(server, tmp_path, expected=lambda model: SHAPES | {'new//array': (1,)})
  fetch(server, tmp_path)
  assert len(server.requests) == 1 and installed(tmp_path) == ALL


# Room, rights and other processes


def test_a_full_disk_is_told_before_the_download(server, tmp_path, monkeypatch):
  monkeypatch.setattr(files.shutil, 'disk_usage', lambda path: types.SimpleNamespace(free=70 << 20))
  monkeypatch.setattr(files, '_MARGIN', 70 << 20)
  with pytest.raises(ResourceError, match=r'the download needs 70.\d MiB, but only 70.0 MiB are free'):
    fetch(server, tmp_path)
  assert not list(tmp_path.glob('*.part'))


def test_a_directory_that_cannot_be_made_is_named(server, tmp_path):
  (tmp_path / 'file').write_text('not a directory')
  with pytest.raises(WeightsError, match=r'file/params: cannot be written.*--data DIR'):
    fetch(server, tmp_path / 'file' / 'params')


def test_two_processes_download_once(server, tmp_path):
  server.pause = 0.3
  code = (
    'import sys; from alphafold_jax.weights import store;'
    f'rows = store.download(store.Archive({server.url!r}, models={MODELS!r}), sys.argv[1]);'
    'assert "jax" not in sys.modules; print(*(row.status for row in rows))'
  )
  command = [sys.executable, '-c', code, str(tmp_path)]
  root = pathlib.Path(store.__file__).parents[2]
  running = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
  assert [process.communicate(timeout=25)[0].strip() for process in running] == ['installed installed'] * 2
  assert [process.returncode for process in running] == [0, 0]
  assert [sent for _, sent in server.requests] == [len(server.content)]
  assert installed(tmp_path) == ALL


def test_a_held_lock_is_named_when_the_wait_is_over(tmp_path):
  with files.lock(tmp_path, 0) as held:
    assert held
    with pytest.raises(TransferError, match=rf'held by process {os.getpid()} on'), files.lock(tmp_path, 0.3):
      pass
