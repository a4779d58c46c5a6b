# SPDX-License-Identifier: Apache-2.0
"""Parameters that are on this machine: finding, listing and verifying them."""

import os

import pytest
from parameter_server import MODELS, SHAPES, expected, good_members, parameter_file
from small_archives import tar_of

from alphafold_jax.errors import WeightsError
from alphafold_jax.transfer import files
from alphafold_jax.weights import store


def install(directory):
  """Unpacks a small archive into the directory."""
  archive = directory / 'alphafold_params_test.tar'
  archive.write_bytes(tar_of(good_members()))
  store.download(store.Archive(archive.name, models=MODELS), directory, source=archive, expected=expected)


def test_verify_file_hashes_only_when_size_or_time_have_changed(tmp_path, monkeypatch):
  install(tmp_path)
  path, hashed = tmp_path / 'params_model_1.npz', []
  monkeypatch.setattr(store.manifest, 'digest', lambda path: hashed.append(path) or files.digest(path))
  assert store.verify_file(path) == store.verify_file(str(path)) and not hashed
  os.utime(path, (1, 1))
  assert store.verify_file(path) and len(hashed) == 1
  assert store.verify_file(path) and len(hashed) == 1  # the new time is remembered
  assert store.verify_file(path, full=True) and len(hashed) == 2


def test_verify_file_refuses_a_file_that_was_changed(tmp_path):
  install(tmp_path)
  path = tmp_path / 'params_model_1.npz'
  content = bytearray(path.read_bytes())
  content[1000] ^= 1
  path.write_bytes(content)
  with pytest.raises(WeightsError, match=r'not the file that was installed from alphafold_params_test.tar.*download'):
    store.verify_file(path)
  assert store.list_params(tmp_path)[0].status == 'changed'


def test_verify_file_lets_files_of_the_users_own_pass(tmp_path):
  (tmp_path / 'mine.npz').write_bytes(parameter_file(1))
  assert store.verify_file(tmp_path / 'mine.npz') is None


def test_verify_finds_what_is_wrong_with_each_file(tmp_path):
  install(tmp_path)
  assert [row.status for row in store.verify(tmp_path, expected)] == ['verified', 'verified']
  path = tmp_path / 'params_model_1.npz'
  content = path.read_bytes()
  stat = path.stat()
  path.write_bytes(content[:-1] + b'!')
  os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # only a full hash can tell
  (tmp_path / 'params_model_1_ptm.npz').unlink()
  (tmp_path / 'params_model_2.npz').write_bytes(parameter_file(5, {'odd//array': (2,)}))
  rows = {row.model: row for row in store.verify(tmp_path, expected)}
  assert [rows[m].status for m in ('model_1', 'model_1_ptm', 'model_2')] == ['damaged', 'missing', 'damaged']
  assert 'SHA-256' in rows['model_1'].problems[0]
  assert len(rows['model_2'].problems) == len(SHAPES)
  assert 'unexpected: odd//array (2,)' in rows['model_2'].remarks
  assert not rows['model_1'].usable and not rows['model_2'].usable


def test_list_params_has_a_row_for_every_known_model(tmp_path):
  (tmp_path / 'params_model_3.npz').write_bytes(parameter_file(1))
  (tmp_path / 'params_model_3_multimer_v9.npz').write_bytes(parameter_file(1))
  rows = store.list_params(tmp_path)
  assert [row.model for row in rows] == [*store.MODELS, 'model_3_multimer_v9']
  assert {row.model for row in rows if row.status == 'unrecorded'} == {'model_3', 'model_3_multimer_v9'}
  assert {row.status for row in rows} == {'unrecorded', 'missing'}


def test_list_and_verify_look_into_the_params_folder_of_an_alphafold_data_directory(tmp_path):
  (tmp_path / 'params').mkdir()
  (tmp_path / 'params/params_model_3.npz').write_bytes(parameter_file(1))
  assert {row.model for row in store.list_params(tmp_path) if row.usable} == {'model_3'}
  assert [row.status for row in store.verify(tmp_path, expected)] == ['unrecorded']
  with pytest.raises(WeightsError, match='no parameter files to verify'):
    store.verify(tmp_path / 'empty')


def test_a_broken_manifest_is_an_error_with_a_remedy(tmp_path):
  (tmp_path / 'manifest.json').write_text('{"format": 1, "files": []')
  with pytest.raises(WeightsError, match=r'manifest.json: not a manifest.*Restore it'):
    store.list_params(tmp_path)


def test_find_params_takes_a_file_a_directory_and_a_data_directory(tmp_path, monkeypatch):
  folder = tmp_path / 'params'
  folder.mkdir()
  path = folder / 'params_model_3_ptm.npz'
  path.write_bytes(parameter_file(1))
  assert store.find_params('model_3_ptm', path) == path
  assert store.find_params('model_3_ptm', str(folder)) == path
  assert store.find_params('model_3_ptm', tmp_path) == path
  monkeypatch.setenv('ALPHAFOLD_JAX_PARAMS', str(folder))
  assert store.find_params('model_3_ptm') == path


def test_find_params_says_on_one_screen_what_to_run(tmp_path, monkeypatch):
  monkeypatch.setenv('ALPHAFOLD_JAX_PARAMS', str(tmp_path / 'none'))
  (tmp_path / 'params_model_3.npz').write_bytes(parameter_file(1))
  for place, words in (
    (None, 'no params_model_1_ptm.npz there'),
    (tmp_path, 'it holds params_model_3.npz'),
    (tmp_path / 'no', 'no such file or directory'),
  ):
    with pytest.raises(WeightsError) as caught:
      store.find_params('model_1_ptm', place)
    text = str(caught.value)
    assert words in text and str(place or tmp_path / 'none') in text
    for remedy in ('alphafold-jax params download', '--from FILE', '--data DIR', '--params random', 'CC BY 4.0'):
      assert remedy in text
    assert len(text.splitlines()) < 20


def test_find_params_names_the_archive_that_has_the_model(tmp_path):
  for model, words in (
    ('model_1_multimer_v3', 'params download   '),
    ('model_1_multimer_v2', 'params download --archive 2022-03-02  fetch'),
    ('model_5_multimer', 'params download --archive 2022-01-19  fetch'),
  ):
    with pytest.raises(WeightsError, match=f'{model} needs the published') as caught:
      store.find_params(model, tmp_path)
    assert words in str(caught.value)


def test_default_directory_honours_the_environment(monkeypatch):
  monkeypatch.setenv('HOME', '/home/someone')
  for name in ('ALPHAFOLD_JAX_PARAMS', 'XDG_CACHE_HOME'):
    monkeypatch.delenv(name, raising=False)
  assert str(store.default_directory()) == '/home/someone/.cache/alphafold_jax/params'
  monkeypatch.setenv('XDG_CACHE_HOME', '/scratch/cache')
  assert str(store.default_directory()) == '/scratch/cache/alphafold_jax/params'
  monkeypatch.setenv('ALPHAFOLD_JAX_PARAMS', '~/weights')
  assert str(store.default_directory()) == '/home/someone/weights'


def test_a_link_that_leads_nowhere_is_called_so(tmp_path):
  (tmp_path / 'params_model_5.npz').symlink_to(tmp_path / 'nowhere')
  (row,) = store.verify(tmp_path)
  assert row.status == 'missing' and row.problems == ('a link that leads nowhere',)
