# SPDX-License-Identifier: Apache-2.0
"""The bodies of the attention kernels: what one program does with its blocks of `attention_pallas`'s arrays.

The same code is lowered to Triton and to Mosaic, so it keeps to what both know: matrices, reductions along one axis
that keep it, slices of references, loops over whole blocks; no scratch memory, no atomic additions.

A kernel takes sizes, then `Arrays` of references to its blocks, then references to fill with its results. Letters as in
`attention_pallas`, and

  i queries of a block    j keys of a block
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


def forward(block: int, x: Arrays, out: Any, lse: Any) -> None:
  """Attends from one row, head and block of queries to `block` keys at a time: out [1, 1, i, D], lse [1, 1, i, 1]."""
  q = x.q[0, 0]

  def step(keys, carry):
    sums, total, top = carry
    v = x.v[0, 0, keys]
    logits = _logits(q, x.k[0, 0, keys], x.fill[0, :, keys], None if x.bias is None else x.bias[0, :, keys])
    new_top = jnp.maximum(top, jnp.max(logits, axis=1, keepdims=True))
    weights, shrink = jnp.exp2(logits - new_top), jnp.exp2(top - new_top)
    sums = sums * shrink + _dot(weights.astype(v.dtype), v, 1, 0)
    return sums, total * shrink + jnp.sum(weights, axis=1, keepdims=True), new_top

  # The first block has a real key, masked or not, so its maximum is finite.
  per_query = (q.shape[0], 1)
  start = jnp.zeros(q.shape, jnp.float32), jnp.zeros(per_query, jnp.float32), jnp.full(per_query, -jnp.inf, jnp.float32)
  sums, total, top = _over_blocks(x.k.shape[2], block, step, start)
  out[0, 0] = (sums / total).astype(out.dtype)
  lse[0, 0] = top + jnp.log2(total)


def to_queries(block: int, x: Arrays, out: Any) -> None:
  """The gradient to one row, head and block of queries, [1, 1, i, D], from `block` keys at a time."""
  q, gradient, lse, delta = x.q[0, 0], x.gradient[0, 0], x.lse[0, 0], x.delta[0, 0]

  def step(keys, total):
    k = x.k[0, 0, keys]
    bias = None if x.bias is None else x.bias[0, :, keys]
    _, to_logits = _tile(q, k, x.v[0, 0, keys], x.fill[0, :, keys], bias, gradient, lse, delta)
    return total + _dot(to_logits.astype(k.dtype), k, 1, 0)

  out[0, 0] = _over_blocks(x.k.shape[2], block, step, jnp.zeros(q.shape, jnp.float32)).astype(out.dtype)


def to_keys(block: int, x: Arrays, to_k: Any, to_v: Any) -> None:
  """The gradients to one row, head and block of keys, [1, 1, j, D] each, from `block` queries at a time."""
  k, v, fill = x.k[0, 0], x.v[0, 0], x.fill[0]

  def step(queries, totals):
    q, gradient = x.q[0, 0, queries], x.gradient[0, 0, queries]
    bias = None if x.bias is None else x.bias[0, queries]
    weights, to_logits = _tile(q, k, v, fill, bias, gradient, x.lse[0, 0, queries], x.delta[0, 0, queries])
    return (
      totals[0] + _dot(to_logits.astype(q.dtype), q, 0, 0),
      totals[1] + _dot(weights.astype(gradient.dtype), gradient, 0, 0),
    )

  zeros = jnp.zeros(k.shape, jnp.float32)
  totals = _over_blocks(x.q.shape[2], block, step, (zeros, zeros))
  to_k[0, 0], to_v[0, 0] = totals[0].astype(to_k.dtype), totals[1].astype(to_v.dtype)


def to_bias(num_rows: int, group: int, axis: int, add: bool, x: Arrays, out: Any) -> None:
  """The gradient to one block of pairs in one head, [1, 1, i, j], summed over a group of rows.

  Args:
    num_rows: B; the last group may be smaller
    group: rows
    axis: of the grid, which numbers the groups
    add: groups come one after the other to the same block of the result, which sums them up
    x: blocks of all rows of the group
    out: of the group, or of all groups
  """
  number = pl.program_id(axis)
  bias = x.bias[0]

  def step(row, total):
    fill = x.fill[0 if x.fill.shape[0] == 1 else row]
    tile = (x.q[row, 0], x.k[row, 0], x.v[row, 0], fill, bias, x.gradient[row, 0], x.lse[row, 0], x.delta[row, 0])
    return total + _tile(*tile)[1]

  count = group if num_rows % group == 0 else jnp.minimum(group, num_rows - number * group)
  total = jax.lax.fori_loop(0, count, step, jnp.zeros(bias.shape, jnp.float32))
  if not add:
    out[0, 0] = total
    return

  @pl.when(number == 0)
  def _():
    out[0, 0] = jnp.zeros_like(total)

  out[0, 0] += total


def _logits(q, k, fill, bias):
  """q [i, D], k [j, D], fill [1, j], bias [i, j] or None to float32 [i, j] in units of ln 2."""
  logits = _dot(q, k, 1, 1)
  if bias is not None:
    logits += bias.astype(jnp.float32)
  return jnp.where(fill == jnp.inf, logits * _LOG2_E, fill)


def _tile(q, k, v, fill, bias, gradient, lse, delta):
  """The weights of a tile and the gradient to its logits, float32 [i, j]; replaced logits have none."""
  weights = jnp.exp2(_logits(q, k, fill, bias) - lse)
  return weights, jnp.where(fill == jnp.inf, weights * (_dot(gradient, v, 1, 1) - delta), 0.0)


def _dot(a, b, a_axis, b_axis):
  return jax.lax.dot_general(a, b, (((a_axis,), (b_axis,)), ((), ())), preferred_element_type=jnp.float32)


def _over_blocks(size, block, step, start):
  """Carries `start` through step(slice, carry) over all blocks of an axis."""
  return jax.lax.fori_loop(
    0, size // block, lambda index, carry: step(pl.ds(pl.multiple_of(index * block, block), block), carry), start
  )
