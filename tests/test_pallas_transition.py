# SPDX-License-Identifier: Apache-2.0
"""Our transition kernel equals the reference, values and gradients, and lowers for GPUs and TPUs."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import lowering
import numpy as np
import pytest

from alphafold_jax import ops
from alphafold_jax.ops import offsets, transition_pallas
from alphafold_jax.ops.transition import _layers

SMALL = transition_pallas.TransitionBlocks(16, 32)
FAST = {'xla_backend_optimization_level': 0}  # compiles in half the time
TOLERANCE = {'float32': 2e-6, 'bfloat16': 2e-2}  # of the largest value


def draw(rows: int, columns: int, channels: int, factor: int, dtype: str):
  rng = np.random.default_rng(0)

  def normal(*shape, scale=1.0):
    return jnp.asarray(scale * rng.normal(size=shape), dtype)

  hidden = factor * channels
  return normal(rows, columns, channels), ops.TransitionWeights(
    w_in=normal(channels, hidden, scale=channels**-0.5),
    b_in=normal(hidden),
    w_out=normal(hidden, channels, scale=hidden**-0.5),
    b_out=normal(channels),
  )


def value_and_gradients(function, x, w):
  """The output, and the gradients of its product with a fixed array to x and the weights."""
  weights = np.random.default_rng(1).normal(size=x.shape)

  def run(x, w):
    value = function(x, w)
    return jnp.sum(weights * value.astype(jnp.float32)), value

  (_, value), gradients = jax.jit(jax.value_and_grad(run, argnums=(0, 1), has_aux=True), compiler_options=FAST)(x, w)
  return jax.tree.leaves((value, gradients))


def assert_equals_the_reference(rows, columns, channels, factor, dtype):
  x, w = draw(rows, columns, channels, factor, dtype)
  ours = value_and_gradients(functools.partial(transition_pallas.transition, interpret=True, blocks=SMALL), x, w)
  for mine, theirs in zip(ours, value_and_gradients(_layers, x, w), strict=True):
    assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
    mine, theirs = np.asarray(mine, np.float64), np.asarray(theirs, np.float64)
    assert np.abs(mine - theirs).max() <= TOLERANCE[dtype] * np.abs(theirs).max()  # fails on nan


@pytest.mark.parametrize(
  ('rows', 'columns', 'channels', 'factor', 'dtype'),
  [(5, 7, 16, 4, 'float32'), (4, 8, 32, 2, 'float32'), (1, 1, 16, 4, 'float32'), (5, 7, 16, 4, 'bfloat16')],
)
def test_the_kernel_equals_the_reference_in_values_and_gradients(rows, columns, channels, factor, dtype):
  assert_equals_the_reference(rows, columns, channels, factor, dtype)


def test_positions_in_slices_give_what_all_give(monkeypatch):
  monkeypatch.setattr(offsets, 'LIMIT', 16 * (16 + 20))  # slices of fewer than 20 positions
  assert_equals_the_reference(5, 7, 16, 4, 'float32')


@pytest.mark.parametrize('platform', lowering.PLATFORMS)
@pytest.mark.parametrize(('channels', 'dtype'), [(64, 'float32'), (256, 'float32'), (128, 'bfloat16')])
def test_the_kernel_lowers_for_other_platforms_and_no_array_is_the_hidden_layer(platform, channels, dtype):
  shapes = jax.eval_shape(lambda: draw(1, 1, channels, 4, dtype))[1]
  x = jax.ShapeDtypeStruct((60, 70, channels), dtype)
  text = lowering.exported(platform, transition_pallas.transition, x, shapes).mlir_module()
  assert lowering.count_kernels(platform, text) == 1
  sizes = [math.prod(map(int, found.split('x'))) for found in re.findall(r'tensor<((?:\d+x)*\d+)x', text)]
  assert 60 * 70 * channels <= max(sizes) < 2 * 60 * 70 * channels


def test_declines_says_why():
  assert transition_pallas.declines('cuda', 'bfloat16', 128, 512) is None
  assert transition_pallas.declines('tpu', 'float32', 256, 1024) is None
  for reason, *call in [
    ('float64 (only float32 and bfloat16)', 'cuda', 'float64', 128, 512),
    ('96 channels (only powers of two from 16 to 256)', 'cuda', 'float32', 96, 384),
    ('512 channels (only powers of two from 16 to 256)', 'cuda', 'float32', 512, 2048),
    ('64 hidden channels (only multiples of 128)', 'cuda', 'float32', 16, 64),
  ]:
    assert reason in transition_pallas.declines(*call)
