# SPDX-License-Identifier: Apache-2.0
"""The place where compiled programs and found kernels wait for the next run: a machine's own, and never a must."""

import json

import jax
import pytest
from small_runs import ALONE, SEQUENCE, fasta, predict

from alphafold_jax import devices, tuning


@pytest.fixture
def unwritable(tmp_path, monkeypatch):
  """A cache folder that cannot be made, since there is a file in its way."""
  file, before = tmp_path / 'file', jax.config.jax_compilation_cache_dir
  file.touch()
  monkeypatch.setenv('XDG_CACHE_HOME', str(file))
  jax.config.update('jax_compilation_cache_dir', None)
  yield file
  jax.config.update('jax_compilation_cache_dir', before)


def test_without_a_writable_cache_a_run_says_so_and_predicts(unwritable, tmp_path):
  out = tmp_path / 'out'
  assert predict(fasta(tmp_path / 'in.fasta', p=SEQUENCE), out, *ALONE) == 0
  log = (out / 'log.txt').read_text()
  place, why = unwritable / 'alphafold_jax' / 'xla' / devices.machine_key(), 'not a directory'
  assert f'{place}: compiled programs cannot be kept there for later runs ({why}); set XDG_CACHE_HOME or' in log
  assert json.loads((out / 'config.json').read_text()) and list(out.glob('p_*.pdb'))


def test_without_a_writable_cache_kernels_are_tried_in_every_run(unwritable, monkeypatch):
  tried = []
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  monkeypatch.setattr(tuning, 'try_all', lambda: tried.append(1) or [tuning.Trial('transition', 'xla', 1.0, 0.0)])
  for _ in range(2):
    tuning._remembered.cache_clear()
    assert tuning.preferred() == 'transition=xla'
  tuning._remembered.cache_clear()
  assert len(tried) == 2


def test_a_writable_cache_is_made_and_is_that_of_this_kind_of_machine(tmp_path):
  folder = devices.cache_folder(tmp_path / 'new')
  assert folder.is_dir() and folder == tmp_path / 'new' / devices.machine_key()


def test_freed_memory_can_be_given_back():
  devices.return_freed_memory()  # whatever the C library is
