# SPDX-License-Identifier: Apache-2.0
"""How an operation is cut into slices that fit a memory budget."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from alphafold_jax.ops import seam


def map_rows(
    function: Callable[..., jax.Array], rows: tuple[jax.Array, ...], bytes_per_row: int, at_least: int = 1
) -> jax.Array:
  """Applies a function of [B, ...] arrays to slices of their leading axis, as large as the budget allows.

  The gradient is taken slice by slice too: nothing but the arguments is kept for it.

  Args:
    function: maps arrays [b, ...] to one array [b, ...]; rows must not depend on one another. It may close over arrays
      of floats, also those that gradients are taken to.
    rows: arrays that share their leading axis.
    bytes_per_row: what the function's temporaries take per row.
    at_least: the fewest rows worth a slice.

  Returns:
    what `function(*rows)` would.
  """
  num_rows = rows[0].shape[0]
  most = max(at_least, seam.budget(seam.current()) // max(1, bytes_per_row))
  if num_rows <= most:
    return function(*rows)
  size = _slice_size(num_rows, most)
  whole = num_rows - num_rows % size
  # What the function closes over becomes an argument; and it is traced here, in the context in which it was made.
  of_slice, shared = jax.closure_convert(function, *(x[:size] for x in rows))
  result = _in_slices(of_slice, size, num_rows, tuple(x[:whole] for x in rows), tuple(shared))
  if whole < num_rows:
    rest = jax.checkpoint(function)(*(x[whole:] for x in rows))
    result = jax.lax.dynamic_update_slice_in_dim(result, rest, whole, axis=0)
  return result


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _in_slices(function, size, num_rows, rows, shared):
  """The first rows of the result, as many as are given; those that follow, up to `num_rows`, are left to be filled."""
  def one_slice(result, xs):
    index, xs = xs
    return jax.lax.dynamic_update_slice_in_dim(result, function(*xs, *shared), index * size, axis=0), None

  stacked = _stacked(rows, size)
  shape = jax.eval_shape(function, *(x[0] for x in stacked), *shared)
  # Filled with a value that is not a constant: XLA would move constants out of the stack of blocks, then copy them in
  # every block.
  filling = jax.lax.stop_gradient(rows[0].ravel()[0]).astype(shape.dtype)
  result = jnp.broadcast_to(filling, (num_rows, *shape.shape[1:]))
  return jax.lax.scan(one_slice, result, (jnp.arange(len(stacked[0])), stacked))[0]


def _in_slices_forwards(function, size, num_rows, rows, shared):
  return _in_slices(function, size, num_rows, rows, shared), (rows, shared)


def _in_slices_backwards(function, size, num_rows, arguments, gradient):
  """Computes every slice again, and from it the gradients to its rows and its part of those to what all share.

  The generic gradient of the loop would keep all slices' temporaries, and copy the whole result for every slice.
  """
  del num_rows
  rows, shared = arguments

  def one_slice(total, xs):
    rows, gradient = xs
    _, backwards = jax.vjp(lambda rows, shared: function(*rows, *shared), rows, shared)
    to_rows, to_shared = backwards(gradient)
    return jax.tree.map(lambda old, new: old + new.astype(old.dtype), total, to_shared), to_rows

  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32)), shared)
  total, to_rows = jax.lax.scan(one_slice, zeros, (_stacked(rows, size), _stacked((gradient[:len(rows[0])],), size)[0]))
  to_rows = tuple(x.reshape(-1, *x.shape[2:]) for x in to_rows)
  return to_rows, jax.tree.map(lambda new, old: new.astype(old.dtype), total, shared)


_in_slices.defvjp(_in_slices_forwards, _in_slices_backwards)


def _stacked(rows, size):
  """[B, ...] to [B / size, size, ...]."""
  return tuple(x.reshape(-1, size, *x.shape[1:]) for x in rows)


def _slice_size(num_rows: int, most: int) -> int:
  """Rows of a slice: a divisor of all rows if there is one not far below the most allowed, else even slices."""
  for size in range(most, most // 2, -1):
    if num_rows % size == 0:
      return size
  return math.ceil(num_rows / math.ceil(num_rows / most))
