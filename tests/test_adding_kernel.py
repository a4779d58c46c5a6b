# SPDX-License-Identifier: Apache-2.0
"""Adding a kernel is adding a file and a row: with these two it can be chosen, is compared, tried, and kept on disk."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_ops

from alphafold_jax import compiled_once, devices, installed, ops, tuning
from alphafold_jax.ops import seam
from alphafold_jax.ops.transition import TRANSITION, _sliced

FILE = """
from toy_kernels import two_layers

from alphafold_jax.ops.seam import Package

PACKAGE = Package('toy_kernels', ('toy-kernels',))
CUSTOM_CALLS = ('toy_transition',)


def layers(x, weights):
  return two_layers(x, *weights)


def declines(platform, x, norm, weights):
  return 'a single row' if len(x) == 1 else None
"""
PACKAGE = """
import jax

calls = []


def two_layers(x, w_in, b_in, w_out, b_out):
  calls.append(x.shape)
  return jax.nn.relu(x @ w_in + b_in) @ w_out + b_out
"""
CASE = 'transition'  # of test_ops


@pytest.fixture
def package(tmp_path, monkeypatch):
  """The package that the kernel imports."""
  (tmp_path / 'toy_kernels.py').write_text(PACKAGE)
  (tmp_path / 'transition_toy.py').write_text(FILE)
  monkeypatch.syspath_prepend(tmp_path)
  return importlib.reload(importlib.import_module('toy_kernels'))


@pytest.fixture
def toy(package, monkeypatch):
  """The two edits that CONTRIBUTING.md names: a file, and a row in its operation's table."""
  kernel = importlib.reload(importlib.import_module('transition_toy'))
  row = seam.Row(
    _sliced(kernel.layers),
    platforms=('cpu',),
    packages=(kernel.PACKAGE,),
    custom_calls=kernel.CUSTOM_CALLS,
    declines=kernel.declines,
  )
  monkeypatch.setitem(TRANSITION, 'toy', row)
  return package


def run(kernels, rows=3):
  draw = test_ops.Draw('float32')
  x, norm, weights = test_ops._transition(rows, 5, 12, 4).arguments(draw)
  with ops.use_kernels(ops.Kernels(kernels)):
    return ops.transition(x, norm, weights)


def test_it_is_chosen_by_name(toy):
  expected = run('xla')
  assert not toy.calls
  for name in ('toy', 'transition=toy'):
    np.testing.assert_allclose(run(name), expected, atol=1e-5)
  assert toy.calls == [(3, 5, 12)] * 2


def test_it_declines_by_its_own_rules(toy, monkeypatch):
  run('toy', rows=1)
  assert not toy.calls
  with (
    pytest.raises(seam.Declined, match='it needs a CPU, not an NVIDIA GPU'),
    ops.use_kernels(ops.Kernels('transition=toy', platform='cuda')),
  ):
    ops.transition(*test_ops.CASES[CASE].arguments(test_ops.Draw('float32')))
  monkeypatch.setattr('importlib.util.find_spec', lambda _: None)
  with pytest.raises(seam.Declined, match='the package toy-kernels is not installed; pip install toy-kernels'):
    run('toy')


def test_the_comparison_with_the_reference_takes_it_up(toy):
  chosen = [given for given in test_ops.runs() if given[:2] == (CASE, 'toy')]
  assert {dtype for _, _, dtype, _ in chosen} == {'float32', 'bfloat16'}
  test_ops.test_implementation_equals_the_reference_in_values_and_gradients(*chosen[0])
  assert toy.calls


def test_the_tuner_tries_it(toy, monkeypatch):
  problem = tuning._problems({'rows': 3, 'residues': 8, 'channels': 16, 'heads': 2, 'outer': 4})[CASE]
  monkeypatch.setattr(tuning, '_problems', lambda sizes: {CASE: problem})
  trials = {trial.row: trial for trial in tuning.try_all()}
  assert trials['toy'].seconds > 0 and trials['toy'].error < 0.03


def test_its_package_is_part_of_the_machines_key(package, monkeypatch, request):
  def key(version):
    monkeypatch.setattr(installed, 'version', lambda name: version if name == 'toy-kernels' else None)
    return devices.machine_key()

  assert key('1.0') == key('2.0')
  request.getfixturevalue('toy')
  assert key('1.0') != key('2.0')


def test_a_program_with_its_custom_call_is_kept(package, request):
  x = jax.ShapeDtypeStruct((2,), jnp.float32)
  jitted = jax.jit(jax.ffi.ffi_call('toy_transition', x))
  assert compiled_once.exported(jitted, (x,)) is None
  request.getfixturevalue('toy')
  assert compiled_once.exported(jitted, (x,)) is not None
