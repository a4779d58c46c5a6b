# SPDX-License-Identifier: Apache-2.0
"""The bodies of the attention kernels: what one program does with its blocks of `attention_pallas`'s arrays.

The same code is lowered to Triton and to Mosaic, so it keeps to what both know: matrices, reductions along one axis
that keep it, slices of references, loops over whole blocks; no scratch memory, no atomic additions.

A kernel takes sizes, then `Arrays` of references to its blocks, then references to fill with its results. Letters as in
`attention_pallas`, and

  i queries of a block    j keys of a block

Arrays with a position and then channels may have them the other way round, with positions last (`swapped`), since a TPU
fills the last axis up to 128: 32 channels would take four times their memory, one number of a query 128 times.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

_LOG2_E = math.log2(math.e)


class Arrays(NamedTuple):
  """What kernels read, or one value for each of these; the last three in the gradient's kernels only."""

  q: Any  # [B, H, Q, D]
  k: Any  # [B, H, S, D]
  v: Any  # [B, H, S, D]
  fill: Any  # [B or 1, 1, S]
  bias: Any  # [H, Q, S] or None
  gradient: Any = None  # [B, H, Q, D], of the output
  lse: Any = None  # [B, H, Q, 1]
  delta: Any = None  # [B, H, Q, 1]


def forward(block: int, x: Arrays, out: Any, lse: Any, *, swapped: bool) -> None:
  """Attends from one row, head and block of queries to `block` keys at a time: out [1, 1, i, D], lse [1, 1, i, 1]."""
  q = _turned(x.q[0, 0], swapped)
  channels = 0 if swapped else 1  # axis of what is read of k and v

  def step(keys, carry):
    sums, total, top = carry
    k, v = (_at(array, keys, swapped) for array in (x.k, x.v))
    logits = _logits(q, k, channels, x.fill[0, :, keys], None if x.bias is None else x.bias[0, :, keys])
    new_top = jnp.maximum(top, jnp.max(logits, axis=1, keepdims=True))
    weights, shrink = jnp.exp2(logits - new_top), jnp.exp2(top - new_top)
    sums = sums * shrink + _dot(weights.astype(v.dtype), v, 1, 1 - channels)
    return sums, total * shrink + jnp.sum(weights, axis=1, keepdims=True), new_top

  # The first block has a real key, masked or not, so its maximum is finite.
  per_query = (q.shape[0], 1)
  start = jnp.zeros(q.shape, jnp.float32), jnp.zeros(per_query, jnp.float32), jnp.full(per_query, -jnp.inf, jnp.float32)
  sums, total, top = _over_blocks(x.fill.shape[-1], block, step, start)
  out[0, 0] = _turned(sums / total, swapped).astype(out.dtype)
  lse[0, 0] = _turned(top + jnp.log2(total), swapped)


def to_queries(block: int, x: Arrays, out: Any, *, swapped: bool) -> None:
  """The gradient to one row, head and block of queries, [1, 1, i, D], from `block` keys at a time."""
  q, gradient, lse, delta = (_turned(array[0, 0], swapped) for array in (x.q, x.gradient, x.lse, x.delta))
  channels = 0 if swapped else 1  # axis of what is read of k and v

  def step(keys, total):
    k, v = (_at(array, keys, swapped) for array in (x.k, x.v))
    bias = None if x.bias is None else x.bias[0, :, keys]
    _, to_logits = _tile(q, k, v, channels, x.fill[0, :, keys], bias, gradient, lse, delta)
    return total + _dot(to_logits.astype(k.dtype), k, 1, 1 - channels)

  total = _over_blocks(x.fill.shape[-1], block, step, jnp.zeros(q.shape, jnp.float32))
  out[0, 0] = _turned(total, swapped).astype(out.dtype)


def to_keys(block: int, x: Arrays, to_k: Any, to_v: Any, *, swapped: bool) -> None:
  """The gradients to one row, head and block of keys, [1, 1, j, D] each, from `block` queries at a time."""
  k, v, fill = x.k[0, 0], x.v[0, 0], x.fill[0]
  channels = 0 if swapped else 1  # axis of k, v and the sums

  def sums(to_logits, of_queries):
    """Over queries: [i, j] and [i, D] to [j, D], or, with positions last, [i, j] and [D, i] to [D, j]."""
    to_logits = to_logits.astype(of_queries.dtype)
    return _dot(of_queries, to_logits, 1, 0) if swapped else _dot(to_logits, of_queries, 0, 0)

  def step(queries, totals):
    q, gradient, lse, delta = (_at(array, queries, swapped) for array in (x.q, x.gradient, x.lse, x.delta))
    bias = None if x.bias is None else x.bias[0, queries]
    turned = (_turned(array, swapped) for array in (gradient, lse, delta))
    weights, to_logits = _tile(_turned(q, swapped), k, v, channels, fill, bias, *turned)
    return totals[0] + sums(to_logits, q), totals[1] + sums(weights, gradient)

  zeros = jnp.zeros(k.shape, jnp.float32)
  totals = _over_blocks(x.q.shape[3 if swapped else 2], block, step, (zeros, zeros))
  to_k[0, 0], to_v[0, 0] = totals[0].astype(to_k.dtype), totals[1].astype(to_v.dtype)


def to_bias(num_rows: int, group: int, axis: int, add: bool, x: Arrays, out: Any, *, swapped: bool) -> None:
  """The gradient to one block of pairs in one head, [1, 1, i, j], summed over a group of rows.

  Args:
    num_rows: B; the last group may be smaller
    group: rows
    axis: of the grid, which numbers the groups
    add: groups come one after the other to the same block of the result, which sums them up
    x: blocks of all rows of the group
    out: of the group, or of all groups
    swapped: positions are last
  """
  number = pl.program_id(axis)
  bias = x.bias[0]

  def step(row, total):
    fill = x.fill[0 if x.fill.shape[0] == 1 else row]
    q, gradient, lse, delta = (_turned(array[row, 0], swapped) for array in (x.q, x.gradient, x.lse, x.delta))
    return total + _tile(q, x.k[row, 0], x.v[row, 0], 0 if swapped else 1, fill, bias, gradient, lse, delta)[1]

  count = group if num_rows % group == 0 else jnp.minimum(group, num_rows - number * group)
  total = jax.lax.fori_loop(0, count, step, jnp.zeros(bias.shape, jnp.float32))
  if not add:
    out[0, 0] = total
    return

  @pl.when(number == 0)
  def _():
    out[0, 0] = jnp.zeros_like(total)

  out[0, 0] += total


def _turned(block, swapped):
  """Positions before channels, from what is the other way round, or back."""
  return block.T if swapped else block


def _at(array, positions, swapped):
  """A slice of the positions of a row and head: [positions, D], or the other way round."""
  return array[0, 0, :, positions] if swapped else array[0, 0, positions]


def _logits(q, k, channels, fill, bias):
  """q [i, D], k [j, D], fill [1, j], bias [i, j] to float32 [i, j] in units of ln 2. D is k's axis `channels`."""
  logits = _dot(q, k, 1, channels)
  if bias is not None:
    logits += bias.astype(jnp.float32)
  return jnp.where(fill == jnp.inf, logits * _LOG2_E, fill)


def _tile(q, k, v, channels, fill, bias, gradient, lse, delta):
  """The weights of a tile and the gradient to its logits, float32 [i, j]; replaced logits have none."""
  weights = jnp.exp2(_logits(q, k, channels, fill, bias) - lse)
  return weights, jnp.where(fill == jnp.inf, weights * (_dot(gradient, v, 1, channels) - delta), 0.0)


def _dot(a, b, a_axis, b_axis):
  return jax.lax.dot_general(a, b, (((a_axis,), (b_axis,)), ((), ())), preferred_element_type=jnp.float32)


def _over_blocks(size, block, step, start):
  """Carries `start` through step(slice, carry) over all blocks of an axis."""
  return jax.lax.fori_loop(
    0, size // block, lambda index, carry: step(pl.ds(pl.multiple_of(index * block, block), block), carry), start
  )
