# SPDX-License-Identifier: Apache-2.0
"""Traced programs on disk: the next process reads what this one traced, and nothing that it should not."""

import dataclasses

import jax
import jax.numpy as jnp
import lowering
import numpy as np
import pytest
import small_predictions

from alphafold_jax import devices, programs, schema, traced
from alphafold_jax.ops import attention_cudnn, attention_pallas


@pytest.fixture
def folder(tmp_path):
  before = jax.config.jax_compilation_cache_dir
  jax.config.update('jax_compilation_cache_dir', str(tmp_path))
  yield tmp_path
  jax.config.update('jax_compilation_cache_dir', before)


@schema.pytree
class _Tree:
  """A class of arrays, as programs take them."""

  values: schema.Array


class Doubling:
  """A function under jit that counts how often it is traced."""

  def __init__(self):
    self.traced = 0

  def __call__(self, identity, values=jnp.arange(3.0)):  # noqa: B008
    def function(tree):
      self.traced += 1
      return dataclasses.replace(tree, values=2 * tree.values)

    tree = _Tree(values=values)
    return np.asarray(traced.kept(jax.jit(function), identity, (tree,))(tree).values)


def test_a_program_traced_before_is_not_traced_again(folder):
  double = Doubling()
  for _ in range(3):
    np.testing.assert_array_equal(double('one'), [0, 2, 4])
  assert double.traced == 1 and len(list(folder.iterdir())) == 1


def test_what_differs_in_identity_shape_dtype_settings_code_or_machine_is_another_program(folder, monkeypatch):
  double = Doubling()
  double('one')
  double('two')
  double('one', jnp.arange(4.0))
  double('one', jnp.arange(3))
  with jax.default_matmul_precision('bfloat16'):
    double('one')
  monkeypatch.setattr(traced, 'source', lambda: 'changed code')
  double('one')
  monkeypatch.setattr(devices, 'machine_key', lambda: 'another machine')
  double('one')
  assert double.traced == 7


def test_a_damaged_file_is_made_anew(folder):
  double = Doubling()
  double('one')
  for damage in (b'', b'nonsense', next(folder.iterdir()).read_bytes()[:200]):
    next(folder.iterdir()).write_bytes(damage)
    np.testing.assert_array_equal(double('one'), [0, 2, 4])
  assert double.traced == 4


def test_where_nothing_can_be_kept_the_function_is_used_as_it_is(folder, tmp_path):
  jitted = jax.jit(lambda values: 2 * values)
  jax.config.update('jax_compilation_cache_dir', str(tmp_path / 'missing' / 'folder'))
  np.testing.assert_array_equal(traced.kept(jitted, 'one', (jnp.ones(2),))(jnp.ones(2)), [2, 2])
  jax.config.update('jax_compilation_cache_dir', None)
  assert traced.kept(jitted, 'one', (jnp.ones(2),)) is jitted


def test_a_function_that_calls_back_into_its_process_is_not_kept(folder):
  def reporting(values):
    jax.debug.callback(lambda _: None, values)
    return values

  jitted = jax.jit(reporting)
  assert traced.kept(jitted, 'reporting', (jnp.ones(2),)) is jitted and not list(folder.iterdir())


@pytest.mark.parametrize(
  ('attend', 'lower'),
  [(attention_pallas.attend, lowering.exported), (attention_cudnn.attend, lowering.exported_for_no_device)],
  ids=['pallas', 'cudnn'],
)
def test_programs_with_gpu_kernels_can_be_kept(attend, lower, monkeypatch):
  monkeypatch.setattr('jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version', lambda: 91000)
  q, mask = jax.ShapeDtypeStruct((8, 4, 128, 32), jnp.bfloat16), jax.ShapeDtypeStruct((8, 128), jnp.float32)
  exported = lower('cuda', lambda q, mask: attend(q, q, q, mask, None), q, mask)
  assert jax.export.deserialize(exported.serialize()).platforms == ('cuda',)


def test_a_kept_program_still_takes_over_the_memory_it_is_given(folder):
  values = jnp.zeros(1000)
  for _ in ('traced', 'read'):
    program = programs.Program(lambda values: values + 1, 'one more', donate_argnums=0)
    assert program.compile(values).memory_analysis().alias_size_in_bytes == values.nbytes


def test_a_kept_prediction_is_the_same_to_the_last_bit(folder):
  model, case = small_predictions.make_model(), small_predictions.Case(16, 0, {'num_recycle': 1}, ())
  found = []
  for _ in ('traced', 'read'):
    programs.compiled.cache_clear()  # as in another process
    found.append(small_predictions.run(model, case, num_devices=1))
  assert len(list(folder.glob('traced-*'))) == 1
  jax.tree.map(np.testing.assert_array_equal, *found)
