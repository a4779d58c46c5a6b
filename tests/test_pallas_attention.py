# SPDX-License-Identifier: Apache-2.0
"""Our attention kernels equal the reference, values and gradients, and lower for GPUs and TPUs.

Their arithmetic runs here in Pallas' interpret mode, on blocks so small that every axis has several.
"""

import dataclasses
import functools
import math
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import lowering
import numpy as np
import pytest

from alphafold_jax import ops
from alphafold_jax.ops import attention_pallas, offsets, pallas_platforms
from alphafold_jax.ops.attention_pallas import AttentionBlocks

AT_ONCE = AttentionBlocks(16, 16, programs=16)  # rows in two groups or more: two heads have at most 12 blocks of pairs
IN_ORDER = AttentionBlocks(16, 16, sequential=True, swapped=True)
FAST = {'xla_backend_optimization_level': 0}  # compiles in half the time
TOLERANCE = {'float32': (2e-6, 2e-5), 'bfloat16': (2e-2, 3e-2)}  # of the largest value: outputs, gradients


class Case(NamedTuple):
  """Sizes of a call, and how it is cut."""

  rows: int
  queries: int
  keys: int
  dim: int
  bias: bool = True
  one_mask: bool = False
  dtype: str = 'float32'
  blocks: AttentionBlocks = AT_ONCE


CASES = {
  'heads of 8': Case(5, 20, 37, 8),
  'heads of 8, in order': Case(3, 20, 37, 8, blocks=IN_ORDER),
  'heads of 16, no bias': Case(3, 33, 16, 16, bias=False),
  'heads of 16, no bias, in order': Case(3, 17, 18, 16, bias=False, blocks=IN_ORDER),
  'heads of 32, whole blocks': Case(4, 32, 32, 32),
  'heads of 32, one mask for all rows': Case(3, 18, 20, 32, one_mask=True),
  'heads of 32, one mask for all rows, in order': Case(3, 18, 20, 32, one_mask=True, blocks=IN_ORDER),
  'heads of 8, bfloat16': Case(5, 20, 37, 8, dtype='bfloat16'),
  'heads of 32, bfloat16, in order': Case(3, 18, 20, 32, dtype='bfloat16', blocks=IN_ORDER),
  'one row, query and key': Case(1, 1, 1, 24),
  'blocks larger than the sequences': Case(3, 5, 20, 16, blocks=AttentionBlocks(64, 32)),
}
HEADS = 2


def draw(case: Case):
  """Of a case: q, k, v, bias, mask; every row has a mask of its own, and the second no keys."""
  rng = np.random.default_rng(0)

  def normal(*shape, scale=1.0):
    return jnp.asarray(scale * rng.normal(size=shape), case.dtype)

  q = normal(case.rows, HEADS, case.queries, case.dim, scale=case.dim**-0.5)
  k, v = (normal(case.rows, HEADS, case.keys, case.dim) for _ in 'kv')
  bias = normal(HEADS, case.queries, case.keys, scale=2) if case.bias else None
  mask = (rng.random((case.rows, case.keys)) < 0.7).astype(np.float32)
  mask[1:2] = 0
  return q, k, v, bias, mask[:1] if case.one_mask else mask


def reference(q, k, v, mask, bias):
  """`ops.attend` with heads before positions."""
  return ops.attend(*(x.swapaxes(1, 2) for x in (q, k, v)), mask, bias).swapaxes(1, 2)


def kernel(blocks: AttentionBlocks):
  return functools.partial(attention_pallas.attend, interpret=True, blocks=blocks)


@functools.cache
def expected(name: str):
  return value_and_gradients(reference, *draw(CASES[name]))


def value_and_gradients(function, q, k, v, bias, mask):
  """The output, and the gradients of its product with a fixed array to q, k, v and, if there is one, bias."""
  given = (q, k, v) if bias is None else (q, k, v, bias)
  weights = np.random.default_rng(1).normal(size=q.shape)

  def run(q, k, v, bias=None):
    value = function(q, k, v, mask, bias)
    return jnp.sum(weights * value.astype(jnp.float32)), value

  step = jax.value_and_grad(run, argnums=tuple(range(len(given))), has_aux=True)
  (_, value), gradients = jax.jit(step, compiler_options=FAST)(*given)
  return value, gradients


def assert_near(ours, theirs, tolerance):
  assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
  difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
  assert np.abs(difference).max() <= tolerance * max(np.abs(np.asarray(theirs, np.float64)).max(), 1e-6)  # fails on nan


def assert_equals_the_reference(name: str) -> None:
  case = CASES[name]
  value, gradients = value_and_gradients(kernel(case.blocks), *draw(case))
  expected_value, expected_gradients = expected(name)
  of_value, of_gradient = TOLERANCE[case.dtype]
  assert_near(value, expected_value, of_value)
  for ours, theirs in zip(gradients, expected_gradients, strict=True):
    assert_near(ours, theirs, of_gradient)


@pytest.mark.parametrize('name', CASES)
def test_kernels_equal_the_reference_in_values_and_gradients(name):
  assert_equals_the_reference(name)


@pytest.mark.parametrize('blocks', [AT_ONCE, IN_ORDER])
def test_a_row_without_keys_averages_its_real_keys_and_moves_only_their_values(blocks):
  case = Case(3, 18, 21, 8)
  q, k, v, bias, mask = draw(case)
  assert not mask[1].any()
  value, gradients = value_and_gradients(kernel(blocks), q, k, v, bias, mask)
  np.testing.assert_allclose(value[1], np.broadcast_to(v[1].mean(axis=1, keepdims=True), value[1].shape), atol=1e-6)
  from_output = np.random.default_rng(1).normal(size=q.shape)[1]
  to_q, to_k, to_v, _ = (np.asarray(each[1 % len(each)]) for each in gradients)
  np.testing.assert_allclose(to_v, np.broadcast_to(from_output.sum(axis=1, keepdims=True) / 21, to_v.shape), atol=1e-6)
  assert not to_q.any() and not to_k.any()


def test_the_gradient_of_the_bias_sums_over_rows():
  q, k, v, bias, mask = draw(Case(1, 18, 20, 8))
  one_row = value_and_gradients(kernel(AT_ONCE), q, k, v, bias, mask)[1][3]
  weights = np.random.default_rng(1).normal(size=q.shape)
  rows = (jnp.broadcast_to(x, (7, *x.shape[1:])) for x in (q, k, v))  # groups of 4 and 3

  def run(bias, q, k, v):
    return jnp.sum(weights * kernel(AT_ONCE)(q, k, v, mask, bias))

  assert_near(jax.jit(jax.grad(run), compiler_options=FAST)(bias, *rows), 7 * one_row, 2e-6)


@pytest.mark.parametrize('name', ['heads of 8, in order', 'heads of 32, one mask for all rows'])
def test_rows_in_slices_give_what_all_rows_give(name, monkeypatch):
  two_rows = 2 * HEADS * 128 * max(16, CASES[name].dim) + 1
  monkeypatch.setattr(offsets, 'row_slices', functools.partial(offsets.row_slices, limit=two_rows))
  assert_equals_the_reference(name)


# ------------------------------------------------------------------------------------------ other platforms


@pytest.mark.parametrize('platform', lowering.PLATFORMS)
@pytest.mark.parametrize(('dim', 'dtype'), [(8, 'float32'), (16, 'float32'), (32, 'bfloat16')])
def test_kernels_lower_for_other_platforms_and_no_array_has_all_logits(platform, dim, dtype):
  rows, queries, keys = 300, 250, 270
  shapes = [(rows, HEADS, queries, dim), (rows, HEADS, keys, dim), (rows, HEADS, keys, dim), (HEADS, queries, keys)]
  q, k, v, bias = (jax.ShapeDtypeStruct(shape, dtype) for shape in shapes)
  mask = jax.ShapeDtypeStruct((rows, keys), jnp.float32)

  def loss(q, k, v, bias, mask):
    return jnp.sum(attention_pallas.attend(q, k, v, mask, bias).astype(jnp.float32))

  forwards = lowering.exported(platform, attention_pallas.attend, q, k, v, mask, bias).mlir_module()
  gradients = jax.grad(loss, argnums=(0, 1, 2, 3))
  backwards = lowering.exported(platform, gradients, q, k, v, bias, mask).mlir_module()
  assert lowering.count_kernels(platform, forwards) == 1
  assert lowering.count_kernels(platform, backwards) == 4  # out and lse; to q; to k and v; to bias
  sizes = [math.prod(map(int, found.split('x'))) for found in re.findall(r'tensor<((?:\d+x)*\d+)x', backwards)]
  assert rows * HEADS * queries * dim <= max(sizes) < rows * HEADS * queries * keys / 4


def test_a_tpu_need_not_fill_up_the_last_axis_of_any_array():
  """Up to 128, which takes 16 times the memory of 8 channels."""
  q = jax.ShapeDtypeStruct((30, HEADS, 256, 8), jnp.bfloat16)
  bias = jax.ShapeDtypeStruct((HEADS, 256, 256), jnp.bfloat16)

  def loss(q, bias):
    return jnp.sum(attention_pallas.attend(q, q, q, jnp.ones((30, 256)), bias).astype(jnp.float32))

  text = lowering.exported('tpu', jax.grad(loss, argnums=(0, 1)), q, bias).mlir_module()
  types = re.findall(r'custom_call @tpu_custom_call\(.*?\}.*? : (\(.*)', text)
  arrays = [found.split('x')[:-1] for one in types for found in re.findall(r'tensor<([^>]*)>', one)]
  assert len(types) == 4 and len(arrays) > 20
  assert all(int(sides[-1]) % 128 == 0 for sides in arrays)
  assert ['30', str(HEADS), '8', '256'] in arrays  # nor are channels filled up to those of Triton's products


# ------------------------------------------------------------------------------------------ what is declined


def test_declines_says_why():
  declines = functools.partial(attention_pallas.declines, bias=True)
  shape = (1024, 4, 1024, 32)
  assert declines('cuda', 'float32', shape) is None and declines('rocm', 'bfloat16', shape) is None
  assert declines('tpu', 'bfloat16', (5120, 8, 384, 8)) is None
  for reason, *call in [
    (r'float64 (only float32 and bfloat16)', 'cuda', 'float64', shape),
    (r'float16 (only float32 and bfloat16)', 'cuda', 'float16', shape),
    ('heads of 160 channels (only up to 128)', 'cuda', 'float32', (2, 4, 64, 160)),
    ('8193 queries and keys in heads of 32 channels (only up to 8192 on a tpu)', 'tpu', 'float32', (9, 4, 8193, 32)),
    ('4097 queries and keys in heads of 64 channels (only up to 4096 on a tpu)', 'tpu', 'float32', (9, 4, 4097, 64)),
    ('2^31 elements or more', 'cuda', 'float32', (1, 8, 2**14, 32)),  # the bias
    ('2^31 elements or more', 'cuda', 'float32', (1, 2**20, 16, 128)),  # the keys
  ]:
    assert reason in declines(*call)
  assert declines('cuda', 'float32', (1, 8, 2**14 - 128, 32)) is None


def test_kernels_are_not_available_for_old_gpus():
  unavailable = pallas_platforms.unavailable_on
  assert (
    unavailable('cuda', '') is None and unavailable('cuda', '8.0') is None and unavailable('rocm', 'gfx90a') is None
  )
  assert unavailable('cuda', '7.5') == 'needs compute capability 8.0, not 7.5'
  assert unavailable('tpu', '') is None


def test_kernels_are_not_available_where_jax_has_lost_the_backend(monkeypatch):
  monkeypatch.setitem(pallas_platforms._BACKENDS, 'cuda', 'no_such_backend')
  monkeypatch.setitem(pallas_platforms._BACKENDS, 'rocm', 'no_such_backend')
  assert pallas_platforms.unavailable('cuda') == 'this jax has no jax.experimental.pallas.no_such_backend'
  shape = jax.ShapeDtypeStruct((8, 4, 64, 32), jnp.float32)
  mask = jax.ShapeDtypeStruct((8, 64), jnp.float32)
  program = lowering.exported('tpu', attention_pallas.attend, shape, shape, shape, mask)
  assert lowering.count_kernels('tpu', program.mlir_module()) == 1


@pytest.mark.parametrize(
  ('num_rows', 'per_row'),
  [(1, 2**31 - 1), (2, 2**30), (4096, 4096 * 128), (5120, 8 * 16384 * 16), (10240, 4 * 10240 * 32), (7, 10**9)],
)
def test_slices_stay_below_the_limit_and_are_no_more_than_needed(num_rows, per_row):
  slices = offsets.row_slices(num_rows, per_row)
  assert [row for start, stop in slices for row in (start, stop)] == [
    0,
    *(stop for _, stop in slices[:-1] for _ in range(2)),
    num_rows,
  ]
  longest = max(stop - start for start, stop in slices)
  assert longest * per_row < 2**31
  assert longest - min(stop - start for start, stop in slices) <= 1
  if len(slices) > 1:  # fewer slices would have to be longer
    assert math.ceil(num_rows / (len(slices) - 1)) * per_row >= 2**31


def test_a_row_at_the_limit_is_an_error():
  with pytest.raises(ValueError, match='a row of 2147483648 elements reaches the limit of 2147483648'):
    offsets.row_slices(3, 2**31)


def test_blocks_are_powers_of_two_and_hold_a_product():
  for rows in attention_pallas._BLOCKS.values():
    for _, *ways in rows:
      for blocks in ways:
        sizes = dataclasses.astuple(blocks)[:3]
        assert all(size >= 16 and size.bit_count() == 1 for size in sizes)
