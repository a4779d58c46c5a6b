# SPDX-License-Identifier: Apache-2.0
"""Every implementation of every operation equals the `xla` reference, values and gradients; the reference equals numpy.

A new row in an operation's table is taken up by these tests as it is.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alphafold_jax import ops
from alphafold_jax.ops import attention, seam, slicing
from alphafold_jax.ops.attention import SELF_ATTENTION

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

  def norm(self, c: int) -> ops.NormWeights:
    return ops.NormWeights(scale=1 + self.normal(c, scale=0.1), offset=self.normal(c, scale=0.1))

  def mask(self, *shape: int, share: float = 0.7) -> jax.Array:
    """Ragged in every row; the second row is all masked."""
    mask = self.rng.random(shape) < share
    mask[1] = False
    return jnp.asarray(mask, jnp.float32)


def attention_weights(draw: Draw, c: int, heads: int, dim: int, shared_kv: bool = False) -> ops.AttentionWeights:
  kv = (dim,) if shared_kv else (heads, dim)
  return ops.AttentionWeights(
    q=draw.weight(c, heads, dim, fan_in=c),
    k=draw.weight(c, *kv, fan_in=c),
    v=draw.weight(c, *kv, fan_in=c),
    gate_w=draw.weight(c, heads, dim, fan_in=c),
    gate_b=draw.normal(heads, dim),
    out_w=draw.weight(heads, dim, c, fan_in=heads * dim),
    out_b=draw.normal(c),
  )


class Case(NamedTuple):
  """An operation at one size and its arguments; those of `differentiable` have gradients."""

  name: str
  run: Callable[..., jax.Array]
  arguments: Callable[[Draw], tuple[Any, ...]]
  differentiable: tuple[int, ...] = (0, 1, 2)


def _factors(shape, shared_axis):
  """Dropout's, the same along one axis; None: no dropout."""
  if shared_axis is None:
    return None
  shape = [1 if axis == shared_axis else size for axis, size in enumerate(shape)]
  return jnp.asarray(np.random.default_rng(2).random(shape))


def _self_attention(rows, keys, c, heads, dim, bias=True, axis=0, keep=None):
  def arguments(draw):
    x = draw.normal(rows, keys, c)
    return (
      x.swapaxes(0, axis),
      draw.norm(c),
      attention_weights(draw, c, heads, dim),
      draw.mask(rows, keys),
      draw.normal(heads, keys, keys) if bias else None,
    )

  def run(*given):
    factors = _factors(given[0].shape, keep)
    return ops.self_attention(*given, axis=axis, keep=factors)

  return Case('self_attention', run, arguments, (0, 1, 2, 4) if bias else (0, 1, 2))


def _global_attention(rows, keys, c, heads, dim, axis=0):
  return Case(
    'global_attention',
    functools.partial(ops.global_attention, axis=axis),
    lambda draw: (
      draw.normal(rows, keys, c).swapaxes(0, axis),
      draw.norm(c),
      attention_weights(draw, c, heads, dim, shared_kv=True),
      draw.mask(rows, keys),
    ),
  )


def _outer_product_mean(num_seq, num_res, c, hidden, c_z):
  return Case(
    'outer_product_mean',
    ops.outer_product_mean,
    lambda draw: (
      draw.normal(num_res, num_res, c_z),
      draw.normal(num_seq, num_res, c),
      draw.norm(c),
      ops.OuterProductWeights(
        left_w=draw.weight(c, hidden, fan_in=c),
        left_b=draw.normal(hidden),
        right_w=draw.weight(c, hidden, fan_in=c),
        right_b=draw.normal(hidden),
        out_w=draw.weight(hidden, hidden, c_z, fan_in=hidden**2),
        out_b=draw.normal(c_z, scale=1e-3),
      ),
      draw.mask(num_seq, num_res).at[:, 3].set(0),
    ),
    (0, 1, 2, 3),
  )  # column 3: no sequence at all


def _triangle(num_res, c, hidden, outgoing, keep=None):
  def run(*given):
    factors = _factors(given[0].shape, keep)
    return ops.triangle_multiplication(*given, outgoing=outgoing, keep=factors)

  return Case(
    'triangle_multiplication',
    run,
    lambda draw: (
      draw.normal(num_res, num_res, c),
      draw.norm(c),
      ops.TriangleWeights(
        proj_w=draw.weight(c, 2 * hidden, fan_in=c),
        proj_b=draw.normal(2 * hidden),
        gate_w=draw.weight(c, 2 * hidden, fan_in=c),
        gate_b=draw.normal(2 * hidden),
        norm_scale=1 + draw.normal(hidden, scale=0.1),
        norm_offset=draw.normal(hidden, scale=0.1),
        out_w=draw.weight(hidden, c, fan_in=hidden),
        out_b=draw.normal(c),
        out_gate_w=draw.weight(c, c, fan_in=c),
        out_gate_b=draw.normal(c),
      ),
      draw.mask(num_res, num_res),
    ),
  )


def _transition(rows, columns, c, factor):
  return Case(
    'transition',
    ops.transition,
    lambda draw: (
      draw.normal(rows, columns, c),
      draw.norm(c),
      ops.TransitionWeights(
        w_in=draw.weight(c, factor * c, fan_in=c),
        b_in=draw.normal(factor * c),
        w_out=draw.weight(factor * c, c, fan_in=factor * c),
        b_out=draw.normal(c),
      ),
    ),
  )


CASES = {
  'self-attention, heads of 8': _self_attention(11, 13, 24, 3, 8),
  'self-attention, heads of 16, no bias': _self_attention(7, 9, 20, 2, 16, bias=False),
  'self-attention, heads of 32': _self_attention(9, 17, 64, 2, 32),
  'self-attention, columns': _self_attention(10, 6, 16, 2, 8, axis=1),
  'self-attention, dropout shared by rows': _self_attention(10, 6, 16, 2, 8, keep=0),
  'self-attention, columns, dropout shared by rows': _self_attention(10, 6, 16, 2, 8, axis=1, keep=0),
  'self-attention, one row': _self_attention(2, 1, 16, 2, 8),
  'global attention, heads of 8': _global_attention(11, 13, 24, 3, 8),
  'global attention, heads of 32': _global_attention(5, 33, 64, 2, 32),
  'global attention, columns': _global_attention(5, 12, 16, 2, 8, axis=1),
  'outer product mean': _outer_product_mean(6, 37, 12, 5, 7),
  'outer product mean, many sequences': _outer_product_mean(90, 19, 12, 5, 7),
  'triangle multiplication, outgoing': _triangle(11, 24, 70, outgoing=True),
  'triangle multiplication, incoming': _triangle(13, 16, 40, outgoing=False),
  'triangle multiplication, dropout shared by columns': _triangle(13, 16, 40, outgoing=True, keep=1),
  'transition': _transition(11, 5, 12, 4),
}
_HALF = (  # tried in bfloat16 too
  'self-attention, heads of 8',
  'self-attention, heads of 32',
  'global attention, heads of 8',
  'outer product mean',
  'triangle multiplication, outgoing',
  'transition',
)
FAST = {'xla_backend_optimization_level': 0}  # compiles in half the time


def runs():
  """Case, row, dtype and bytes per slice of every comparison on a CPU; kernels for other devices: test_kernels.py."""
  for name, case in CASES.items():
    for row, how in seam.OPERATIONS[case.name].items():
      if row != seam.REFERENCE and not how.missing('cpu'):
        yield from [(name, row, 'float32', 2**30), (name, row, 'float32', 1)]
        yield from [(name, row, 'bfloat16', 9000)] if name in _HALF else []


@functools.cache
def reference(name: str, dtype: str):
  return value_and_gradients(name, 'xla', dtype, 0)


def value_and_gradients(name: str, row: str, dtype: str, chunk_bytes: int, platform: str = ''):
  """A row's value, and the gradients of its product with a fixed array."""
  case = CASES[name]
  draw = Draw(dtype)
  arguments = case.arguments(draw)

  def run(*differentiable):
    given = list(arguments)
    for position, value in zip(case.differentiable, differentiable, strict=True):
      given[position] = value
    value = case.run(*given)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=value.shape), jnp.float32)
    if name.startswith('outer product mean'):  # where no sequence counts, the update is a thousand times larger
      weights /= jnp.abs(value.astype(jnp.float32)).max(axis=-1, keepdims=True)
      weights = jax.lax.stop_gradient(weights)
    return jnp.sum(weights * value.astype(jnp.float32)), value

  kernels = ops.Kernels(f'{case.name}={row}', chunk_bytes or 2**40, platform=platform)
  with ops.use_kernels(kernels):
    step = jax.value_and_grad(run, argnums=tuple(range(len(case.differentiable))), has_aux=True)
    step = jax.jit(step, compiler_options=FAST)
    (_, value), gradients = step(*(arguments[position] for position in case.differentiable))
  return value, gradients


def assert_near(ours: jax.Array, theirs: jax.Array, tolerance: float) -> None:
  assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  assert np.isfinite(ours).all()
  assert np.abs(ours - theirs).max() <= tolerance * max(np.abs(theirs).max(), 1e-6)


@pytest.mark.parametrize(('name', 'row', 'dtype', 'chunk_bytes'), list(runs()))
def test_implementation_equals_the_reference_in_values_and_gradients(name, row, dtype, chunk_bytes):
  assert_equals_the_reference(name, dtype, value_and_gradients(name, row, dtype, chunk_bytes))


@pytest.mark.parametrize('platform', ['cuda', 'tpu'])
@pytest.mark.parametrize('name', CASES)
def test_what_accelerators_compile_equals_the_reference(name, platform):
  assert_equals_the_reference(name, 'float32', value_and_gradients(name, 'xla_chunked', 'float32', 9000, platform))


def assert_equals_the_reference(name, dtype, found):
  (value, gradients), (expected, expected_gradients) = found, reference(name, dtype)
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


def normalised(x: np.ndarray, norm: ops.NormWeights) -> np.ndarray:
  centred = x - x.mean(axis=-1, keepdims=True)
  return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * norm.scale + norm.offset


def test_self_attention_equals_numpy_in_float64():
  before, norm, w, mask, bias = float64('self-attention, heads of 8')
  x = normalised(before, norm)
  q, k, v = (np.tensordot(x, each, 1) for each in (w.q, w.k, w.v))
  average = plain_attention(q * 8**-0.5, k, v, mask, bias)
  gated = sigmoid(np.tensordot(x, w.gate_w, 1) + w.gate_b) * average
  assert_value('self-attention, heads of 8', before + np.tensordot(gated, w.out_w, 2) + w.out_b)


def test_global_attention_equals_numpy_in_float64():
  before, norm, w, mask = float64('global attention, heads of 8')
  x = normalised(before, norm)
  mean = (mask[..., None] * x).sum(axis=1) / (mask.sum(axis=1)[:, None] + 1e-10)
  q = np.tensordot(mean, w.q, 1)[:, None] * 8**-0.5  # one query
  k, v = (np.repeat((x @ each)[:, :, None], 3, axis=2) for each in (w.k, w.v))  # one head for all
  average = plain_attention(q, k, v, mask, np.zeros((3, 1, 13)))
  gated = sigmoid(np.tensordot(x, w.gate_w, 1) + w.gate_b) * average
  assert_value('global attention, heads of 8', before + np.tensordot(gated, w.out_w, 2) + w.out_b)


def test_a_row_without_keys_averages_uniformly():
  x, norm, w, mask, _ = CASES['self-attention, heads of 16, no bias'].arguments(Draw('float32'))
  assert not mask[1].any()
  everything = ops.self_attention(x, norm, w._replace(q=0 * w.q), jnp.ones_like(mask))
  for name in (name for name, row in SELF_ATTENTION.items() if not row.missing('cpu')):
    with ops.use_kernels(ops.Kernels(name)):
      np.testing.assert_allclose(ops.self_attention(x, norm, w, mask)[1], everything[1], atol=2e-6)


def test_gradients_of_squared_distances_equal_those_of_the_formula():
  rng = np.random.default_rng(0)
  points, others, weights = (rng.normal(size=shape) for shape in ((5, 2, 3, 3), (7, 2, 3, 3), (5, 7, 2)))
  found = jax.grad(lambda *ends: jnp.sum(weights * ops.squared_distances(*ends)), argnums=(0, 1))(
    *(jnp.asarray(ends, jnp.float32) for ends in (points, others))
  )
  differences = 2 * weights[..., None, None] * (points[:, None] - others[None])  # of i and j
  np.testing.assert_allclose(found[0], differences.sum(axis=1), atol=2e-5)
  np.testing.assert_allclose(found[1], -differences.sum(axis=0), atol=2e-5)


@pytest.mark.parametrize('masked', ['some', 'all'])
def test_a_capped_logit_has_the_values_and_the_gradient_of_a_replaced_one(masked):
  rng = np.random.default_rng(0)
  logits, weights = jnp.asarray(rng.normal(size=(2, 3, 4, 5))), jnp.asarray(rng.normal(size=(2, 3, 4, 5)))
  mask = jnp.asarray(rng.random((2, 1, 1, 5)) < 0.5) if masked == 'some' else jnp.zeros((2, 1, 1, 5), bool)
  assert not mask.all()
  cap = jnp.where(mask, jnp.inf, -1e9)
  loss = lambda replaced: lambda logits: jnp.sum(weights * replaced(logits))  # noqa: E731
  found = jax.value_and_grad(loss(lambda logits: attention._capped(logits, cap)))(logits)
  expected = jax.value_and_grad(loss(lambda logits: jnp.where(mask, logits, -1e9)))(logits)
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_outer_product_mean_equals_numpy_in_float64():
  name = 'outer product mean'
  before, m, norm, w, mask = float64(name)
  m = normalised(m, norm)
  left, right = (mask[..., None] * (m @ each + b) for each, b in ((w.left_w, w.left_b), (w.right_w, w.right_b)))
  num_res = m.shape[1]
  expected = np.zeros((num_res, num_res, 7))
  for i in range(num_res):
    for j in range(num_res):
      outer = left[:, i].T @ right[:, j]
      expected[i, j] = (np.tensordot(outer, w.out_w, 2) + w.out_b) / (1e-3 + mask[:, i] @ mask[:, j])
  assert_value(name, before + expected)


@pytest.mark.parametrize('name', ['triangle multiplication, outgoing', 'triangle multiplication, incoming'])
def test_triangle_multiplication_equals_numpy_in_float64(name):
  before, norm, w, mask = float64(name)
  z, outgoing = normalised(before, norm), name.endswith('outgoing')
  edges = mask[..., None] * (z @ w.proj_w + w.proj_b) * sigmoid(z @ w.gate_w + w.gate_b)
  a, b = np.split(edges, 2, axis=-1)
  product = np.zeros_like(a)
  for i in range(len(z)):
    for j in range(len(z)):
      product[i, j] = (a[i] * b[j]).sum(axis=0) if outgoing else (a[:, j] * b[:, i]).sum(axis=0)
  normal = normalised(product, ops.NormWeights(w.norm_scale, w.norm_offset))
  assert_value(name, before + (normal @ w.out_w + w.out_b) * sigmoid(z @ w.out_gate_w + w.out_gate_b))


def test_transition_equals_numpy_in_float64():
  before, norm, w = float64('transition')
  x = normalised(before, norm)
  assert_value('transition', before + np.maximum(x @ w.w_in + w.b_in, 0) @ w.w_out + w.b_out)


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
@pytest.mark.parametrize('axis', [0, 1])
def test_updated_slices_give_what_the_whole_gives(rows, chunk_bytes, axis):
  rng = np.random.default_rng(0)
  x, w = jnp.asarray(rng.normal(size=(rows, 3, 2)).swapaxes(0, axis)), jnp.asarray(rng.normal(size=(2, 2)))
  y, z = jnp.asarray(rng.normal(size=(rows, 2))), jnp.asarray(rng.normal(size=(2, rows)))

  def update(x, w, y, z):
    return slicing.update_rows(lambda x, y, z: (x @ w) * y[:, None] * z.T[:, None], x, ((y, 0), (z, 1)), 10, axis=axis)

  def weighted(*given):
    return jnp.sum(jnp.sin(update(*given)))

  with ops.use_kernels(ops.Kernels(chunk_bytes=2**30)):
    expected, gradients = update(x, w, y, z), jax.grad(weighted, (0, 1, 2, 3))(x, w, y, z)
  with ops.use_kernels(ops.Kernels(chunk_bytes=chunk_bytes)):
    np.testing.assert_allclose(jax.jit(update)(x, w, y, z), expected, atol=1e-5)
    ours = jax.jit(jax.grad(weighted, (0, 1, 2, 3)))(x, w, y, z)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), ours, gradients)


def test_an_array_is_updated_in_place():
  """Its update is never there as a whole, and where the array is given away there is no second one."""
  x = jnp.zeros((512, 64, 64))

  def run(x):
    return slicing.update_rows(jnp.sin, x, (), 64 * 64 * 4)

  with ops.use_kernels(ops.Kernels(chunk_bytes=2**20)):
    memory = jax.jit(run, donate_argnums=0).lower(x).compile().memory_analysis()
  assert memory.alias_size_in_bytes == x.nbytes
  assert memory.temp_size_in_bytes < x.nbytes / 2


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


def test_the_gradient_of_a_loop_over_operations_keeps_their_arguments_only():
  arguments = jnp.ones((16, 64, 8)), jnp.ones((8, 256)), jnp.ones((256, 8))

  def loss(x, first, last):
    def block(x, _):
      return slicing.update_rows(lambda x: jnp.tanh(x @ first) @ last, x, (), 0), None

    return jnp.sum(jax.lax.scan(block, x, length=32)[0])

  compiled = jax.jit(jax.grad(loss)).lower(*arguments).compile()
  hidden = 4 * 16 * 64 * 256  # bytes of what a block makes on its way
  assert compiled.memory_analysis().temp_size_in_bytes < 8 * hidden  # not 32 times


def test_the_choice_of_kernels_ends_with_its_block():
  given = CASES['self-attention, heads of 8'].arguments(Draw('float32'))
  with pytest.raises(ValueError, match="kernel 'none' is not one of .*'xla'"):
    with ops.use_kernels(ops.Kernels(implementation='none')):
      ops.self_attention(*given)
  assert ops.self_attention(*given).shape == given[0].shape


def test_every_operation_is_tried_and_has_a_reference_and_a_row_for_every_device():
  assert {case.name for case in CASES.values()} == set(seam.OPERATIONS)
  for rows in seam.OPERATIONS.values():
    assert 'xla' in rows
    for platform in seam.PLATFORMS:
      assert rows[seam.EVERYWHERE].missing(platform) is None
