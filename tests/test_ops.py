# SPDX-License-Identifier: Apache-2.0
"""Every implementation of every operation equals the `xla` reference, values and gradients; the reference equals numpy.

A new row in an operation's table is taken up by these tests as it is.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alphafold_jax import ops
from alphafold_jax.ops import seam, slicing
from alphafold_jax.ops.attention import GLOBAL_ATTENTION, SELF_ATTENTION
from alphafold_jax.ops.outer_product import OUTER_PRODUCT_MEAN
from alphafold_jax.ops.transition import TRANSITION
from alphafold_jax.ops.triangle import TRIANGLE_MULTIPLICATION

TOLERANCE = {'float32': 2e-6, 'bfloat16': 2e-2}  # of the largest value
GRADIENT_TOLERANCE = {'float32': 2e-5, 'bfloat16': 6e-2}


class Draw:
  """Named random arrays in one dtype."""

  def __init__(self, dtype: str, seed: int = 0):
    self.rng, self.dtype = np.random.default_rng(seed), dtype

  def normal(self, *shape: int, scale: float = 1.0) -> jax.Array:
    return jnp.asarray(scale * self.rng.normal(size=shape), self.dtype)

  def weight(self, *shape: int, fan_in: int) -> jax.Array:
    return self.normal(*shape, scale=fan_in**-0.5)

  def mask(self, *shape: int, share: float = 0.7) -> jax.Array:
    """Ragged in every row; the second row is all masked."""
    mask = self.rng.random(shape) < share
    mask[1] = False
    return jnp.asarray(mask, jnp.float32)


def attention_weights(draw: Draw, c: int, heads: int, dim: int, shared_kv: bool = False) -> ops.AttentionWeights:
  kv = (dim,) if shared_kv else (heads, dim)
  return ops.AttentionWeights(
      q=draw.weight(c, heads, dim, fan_in=c), k=draw.weight(c, *kv, fan_in=c), v=draw.weight(c, *kv, fan_in=c),
      gate_w=draw.weight(c, heads, dim, fan_in=c), gate_b=draw.normal(heads, dim),
      out_w=draw.weight(heads, dim, c, fan_in=heads * dim), out_b=draw.normal(c))


class Case(NamedTuple):
  """An operation at one size: its table, and the arguments of a row; those of `differentiable` have gradients."""

  table: Mapping[str, seam.Row]
  arguments: Callable[[Draw], tuple[Any, ...]]
  differentiable: tuple[int, ...] = (0, 1)


def _self_attention(rows, keys, c, heads, dim, bias=True, one_mask=False):
  def arguments(draw):
    mask = draw.mask(rows, keys)
    return (draw.normal(rows, keys, c), attention_weights(draw, c, heads, dim), mask[2:3] if one_mask else mask,
            draw.normal(heads, keys, keys) if bias else None)

  return Case(SELF_ATTENTION, arguments, (0, 1, 3) if bias else (0, 1))


def _global_attention(rows, keys, c, heads, dim):
  return Case(GLOBAL_ATTENTION, lambda draw: (
      draw.normal(rows, keys, c), attention_weights(draw, c, heads, dim, shared_kv=True), draw.mask(rows, keys)))


def _outer_product_mean(num_seq, num_res, c, hidden, c_z):
  return Case(OUTER_PRODUCT_MEAN, lambda draw: (
      draw.normal(num_seq, num_res, c), ops.OuterProductWeights(
          left_w=draw.weight(c, hidden, fan_in=c), left_b=draw.normal(hidden),
          right_w=draw.weight(c, hidden, fan_in=c), right_b=draw.normal(hidden),
          out_w=draw.weight(hidden, hidden, c_z, fan_in=hidden**2), out_b=draw.normal(c_z, scale=1e-3)),
      draw.mask(num_seq, num_res).at[:, 3].set(0)))  # column 3: no sequence at all


def _triangle(num_res, c, hidden, outgoing):
  return Case(TRIANGLE_MULTIPLICATION, lambda draw: (
      draw.normal(num_res, num_res, c), ops.TriangleWeights(
          proj_w=draw.weight(c, 2 * hidden, fan_in=c), proj_b=draw.normal(2 * hidden),
          gate_w=draw.weight(c, 2 * hidden, fan_in=c), gate_b=draw.normal(2 * hidden),
          norm_scale=1 + draw.normal(hidden, scale=0.1), norm_offset=draw.normal(hidden, scale=0.1),
          out_w=draw.weight(hidden, c, fan_in=hidden), out_b=draw.normal(c),
          out_gate_w=draw.weight(c, c, fan_in=c), out_gate_b=draw.normal(c)), draw.mask(num_res, num_res), outgoing))


def _transition(rows, columns, c, factor):
  return Case(TRANSITION, lambda draw: (
      draw.normal(rows, columns, c), ops.TransitionWeights(
          w_in=draw.weight(c, factor * c, fan_in=c), b_in=draw.normal(factor * c),
          w_out=draw.weight(factor * c, c, fan_in=factor * c), b_out=draw.normal(c))))


CASES = {
    'self-attention, heads of 8': _self_attention(11, 13, 24, 3, 8),
    'self-attention, heads of 16, no bias': _self_attention(7, 9, 20, 2, 16, bias=False),
    'self-attention, heads of 32': _self_attention(9, 17, 64, 2, 32),
    'self-attention, one mask for all rows': _self_attention(10, 6, 16, 2, 8, one_mask=True),
    'self-attention, one row': _self_attention(2, 1, 16, 2, 8),
    'global attention, heads of 8': _global_attention(11, 13, 24, 3, 8),
    'global attention, heads of 32': _global_attention(5, 33, 64, 2, 32),
    'outer product mean': _outer_product_mean(6, 37, 12, 5, 7),
    'outer product mean, many sequences': _outer_product_mean(90, 19, 12, 5, 7),
    'triangle multiplication, outgoing': _triangle(11, 24, 70, outgoing=True),
    'triangle multiplication, incoming': _triangle(13, 16, 40, outgoing=False),
    'transition': _transition(11, 5, 12, 4),
}
_HALF = (  # tried in bfloat16 too
    'self-attention, heads of 8', 'self-attention, heads of 32', 'global attention, heads of 8', 'outer product mean',
    'triangle multiplication, outgoing', 'transition')
HERE = seam.Place('cpu', gradients=True)
RUNS = [  # case, implementation, dtype, bytes per slice; kernels for other devices: test_kernels.py
    (name, row, dtype, chunk_bytes)
    for name, case in CASES.items() for row in case.table if row != 'xla' and not case.table[row].missing(HERE)
    for dtype, chunk_bytes in [('float32', 2**30), ('float32', 1), *([('bfloat16', 9000)] if name in _HALF else [])]]
FAST = {'xla_backend_optimization_level': 0}  # compiles in half the time


@functools.cache
def reference(name: str, dtype: str):
  return value_and_gradients(name, 'xla', dtype, 0)


def value_and_gradients(name: str, row: str, dtype: str, chunk_bytes: int):
  """A row's value, and the gradients of its product with a fixed array."""
  case = CASES[name]
  draw = Draw(dtype)
  arguments = case.arguments(draw)

  def run(*differentiable):
    given = list(arguments)
    for position, value in zip(case.differentiable, differentiable, strict=True):
      given[position] = value
    value = case.table[row](*given)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=value.shape), jnp.float32)
    if name.startswith('outer product mean'):  # where no sequence counts, the update is a thousand times larger
      weights /= jnp.abs(value.astype(jnp.float32)).max(axis=-1, keepdims=True)
      weights = jax.lax.stop_gradient(weights)
    return jnp.sum(weights * value.astype(jnp.float32)), value

  with ops.use_kernels(ops.Kernels(chunk_bytes=chunk_bytes)):
    step = jax.value_and_grad(run, argnums=tuple(range(len(case.differentiable))), has_aux=True)
    step = jax.jit(step, compiler_options=FAST)
    (_, value), gradients = step(*(arguments[position] for position in case.differentiable))
  return value, gradients


def assert_near(ours: jax.Array, theirs: jax.Array, tolerance: float) -> None:
  assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  assert np.isfinite(ours).all()
  assert np.abs(ours - theirs).max() <= tolerance * max(np.abs(theirs).max(), 1e-6)


@pytest.mark.parametrize(('name', 'row', 'dtype', 'chunk_bytes'), RUNS)
def test_implementation_equals_the_reference_in_values_and_gradients(name, row, dtype, chunk_bytes):
  value, gradients = value_and_gradients(name, row, dtype, chunk_bytes)
  expected, expected_gradients = reference(name, dtype)
  assert_near(value, expected, TOLERANCE[dtype])
  scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected_gradients))
  for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True):
    assert ours.dtype == theirs.dtype
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    assert np.isfinite(difference).all() and np.abs(difference).max() <= GRADIENT_TOLERANCE[dtype] * scale


# ------------------------------------------------------------------------------------------ the references themselves


def sigmoid(x: np.ndarray) -> np.ndarray:
  return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
  x = np.exp(x - x.max(axis=-1, keepdims=True))
  return x / x.sum(axis=-1, keepdims=True)


def float64(name: str) -> tuple[Any, ...]:
  return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), CASES[name].arguments(Draw('float32')))


def plain_attention(q, k, v, mask, bias):
  """One row and head at a time: q, k, v [B, S, H, D], mask [B, S], bias [H, Q, S]."""
  out = np.zeros((*q.shape[:3], v.shape[-1]))
  for b in range(q.shape[0]):
    for h in range(q.shape[2]):
      logits = q[b, :, h] @ k[b, :, h].T + bias[h]
      out[b, :, h] = softmax(np.where(mask[b] > 0, logits, -1e9)) @ v[b, :, h]
  return out


def test_self_attention_equals_numpy_in_float64():
  x, w, mask, bias = float64('self-attention, heads of 8')
  q, k, v = (np.tensordot(x, each, 1) for each in (w.q, w.k, w.v))
  average = plain_attention(q * 8**-0.5, k, v, mask, bias)
  gated = sigmoid(np.tensordot(x, w.gate_w, 1) + w.gate_b) * average
  assert_value('self-attention, heads of 8', np.tensordot(gated, w.out_w, 2) + w.out_b)


def test_global_attention_equals_numpy_in_float64():
  x, w, mask = float64('global attention, heads of 8')
  mean = (mask[..., None] * x).sum(axis=1) / (mask.sum(axis=1)[:, None] + 1e-10)
  q = np.tensordot(mean, w.q, 1)[:, None] * 8**-0.5  # one query
  k, v = (np.repeat((x @ each)[:, :, None], 3, axis=2) for each in (w.k, w.v))  # one head for all
  average = plain_attention(q, k, v, mask, np.zeros((3, 1, 13)))
  gated = sigmoid(np.tensordot(x, w.gate_w, 1) + w.gate_b) * average
  assert_value('global attention, heads of 8', np.tensordot(gated, w.out_w, 2) + w.out_b)


def test_a_row_without_keys_averages_uniformly():
  x, w, mask, _ = CASES['self-attention, heads of 16, no bias'].arguments(Draw('float32'))
  assert not mask[1].any()
  everything = SELF_ATTENTION['xla'](x, w._replace(q=0 * w.q), jnp.ones_like(mask), None)
  for row in (row for row in SELF_ATTENTION.values() if not row.missing(HERE)):
    np.testing.assert_allclose(row(x, w, mask, None)[1], everything[1], atol=2e-6)


def test_outer_product_mean_equals_numpy_in_float64():
  name = 'outer product mean'
  m, w, mask = float64(name)
  left, right = (mask[..., None] * (m @ each + b) for each, b in ((w.left_w, w.left_b), (w.right_w, w.right_b)))
  num_res = m.shape[1]
  expected = np.zeros((num_res, num_res, 7))
  for i in range(num_res):
    for j in range(num_res):
      outer = left[:, i].T @ right[:, j]
      expected[i, j] = (np.tensordot(outer, w.out_w, 2) + w.out_b) / (1e-3 + mask[:, i] @ mask[:, j])
  assert_value(name, expected)


@pytest.mark.parametrize('name', ['triangle multiplication, outgoing', 'triangle multiplication, incoming'])
def test_triangle_multiplication_equals_numpy_in_float64(name):
  z, w, mask, outgoing = float64(name)
  edges = mask[..., None] * (z @ w.proj_w + w.proj_b) * sigmoid(z @ w.gate_w + w.gate_b)
  a, b = np.split(edges, 2, axis=-1)
  product = np.zeros_like(a)
  for i in range(len(z)):
    for j in range(len(z)):
      product[i, j] = (a[i] * b[j]).sum(axis=0) if outgoing else (a[:, j] * b[:, i]).sum(axis=0)
  centred = product - product.mean(axis=-1, keepdims=True)
  normal = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * w.norm_scale + w.norm_offset
  assert_value(name, (normal @ w.out_w + w.out_b) * sigmoid(z @ w.out_gate_w + w.out_gate_b))


def test_transition_equals_numpy_in_float64():
  x, w = float64('transition')
  assert_value('transition', np.maximum(x @ w.w_in + w.b_in, 0) @ w.w_out + w.b_out)


def assert_value(name: str, expected: np.ndarray) -> None:
  value, _ = reference(name, 'float32')
  assert value.dtype == jnp.float32
  assert np.abs(np.asarray(value) - expected).max() <= 3e-6 * np.abs(expected).max()


def test_layer_norm_equals_numpy_also_far_from_zero_and_keeps_its_dtype():
  rng = np.random.default_rng(0)
  x, scale, offset = 300 + rng.normal(size=(5, 4, 32)), rng.normal(size=32), rng.normal(size=32)
  expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + offset
  ours = ops.layer_norm(jnp.asarray(x, jnp.float32), jnp.asarray(scale), jnp.asarray(offset))
  np.testing.assert_allclose(ours, expected, atol=3e-4)  # x itself is known to 1.5e-5
  assert ops.layer_norm(jnp.ones((2, 32), jnp.bfloat16), scale, offset).dtype == jnp.bfloat16


# ------------------------------------------------------------------------------------------ the seam


@pytest.mark.parametrize(('rows', 'chunk_bytes'), [(1, 1), (7, 1), (12, 40), (13, 40), (30, 100), (30, 10**6)])
def test_slices_give_what_the_whole_gives(rows, chunk_bytes):
  x, y = np.arange(rows * 3.0).reshape(rows, 3), np.arange(rows)
  with ops.use_kernels(ops.Kernels(chunk_bytes=chunk_bytes)):
    result = jax.jit(lambda x, y: slicing.map_rows(lambda x, y: x * y[:, None] + 1, (x, y), 10))(x, y)
  np.testing.assert_array_equal(result, x * y[:, None] + 1)


def test_slices_bound_the_memory_of_temporaries():
  def temporaries(chunk_bytes):
    with ops.use_kernels(ops.Kernels(chunk_bytes=chunk_bytes)):
      arguments = _self_attention(96, 96, 16, 2, 8).arguments(Draw('float32'))
      compiled = jax.jit(lambda *given: ops.self_attention(*given)).lower(*arguments).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporaries(2**17) < temporaries(2**30) / 3


def test_the_choice_of_kernels_ends_with_its_block():
  x, w, mask, bias = CASES['self-attention, heads of 8'].arguments(Draw('float32'))
  with pytest.raises(ValueError, match="kernel 'none' is not one of .*'xla'"):
    with ops.use_kernels(ops.Kernels(implementation='none')):
      ops.self_attention(x, w, mask, bias)
  assert ops.self_attention(x, w, mask, bias).shape == x.shape


def test_every_operation_is_tried_and_has_a_reference_and_a_row_for_every_device():
  assert {id(case.table) for case in CASES.values()} == {id(rows) for rows in seam.OPERATIONS.values()}
  for rows in seam.OPERATIONS.values():
    assert 'xla' in rows
    for platform in ('cpu', 'gpu', 'tpu'):
      assert rows[seam.EVERYWHERE].missing(seam.Place(platform, gradients=True)) is None
