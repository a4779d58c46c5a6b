# SPDX-License-Identifier: Apache-2.0
"""Cuts operations into slices that fit a memory budget: maps rows, or updates an array in place."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from alphafold_jax.ops import seam

Rows = tuple[tuple[jax.Array, int], ...]  # arrays, and the axis of each along which it is sliced


def all_at_once(*_: object) -> int:
  """The bytes per row, 0, of what is computed without slices."""
  return 0


def kept_by_arguments(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
  """Makes the gradient of a function on CPUs keep its arguments only, as that of slices does everywhere.

  A loop over blocks writes and reads all that their gradients keep; XLA:CPU computes it again in less time.
  """
  on_cpu = seam.platform(seam.current()) == 'cpu'
  return jax.checkpoint(function, prevent_cse=False) if on_cpu else function


def map_rows(
  function: Callable[..., jax.Array],
  rows: tuple[jax.Array, ...],
  bytes_per_row: int,
  at_least: int = 1,
  columns: Rows = (),
) -> jax.Array:
  """Applies a function of [B, ...] arrays to slices of their leading axis, as large as the budget allows.

  The gradient is computed slice by slice as well, and only the arguments are kept for it.

  Args:
    function: maps arrays [b, ...] to one array [b, ...]; rows must not depend on one another. It may close over arrays
      of floats, also over those that are differentiated.
    rows: arrays that share their leading axis.
    bytes_per_row: of the function's temporaries.
    at_least: the fewest rows worth a slice.
    columns: further arguments of the function, sliced along another axis.

  Returns:
    [B, ...], equal to `function(*rows, *columns)`.
  """
  num_rows = rows[0].shape[0]
  size = _slice_size(num_rows, bytes_per_row, at_least)
  sliced = (*((row, 0) for row in rows), *columns)
  if size == num_rows:
    return kept_by_arguments(function)(*(row for row, _ in sliced))
  shape = jax.eval_shape(function, *(jax.lax.slice_in_dim(row, 0, 1, axis=along) for row, along in sliced))

  def filling(shared):  # not a constant: XLA would move it out of the stack of blocks, then copy it in every block
    last = max((rows[0], *shared), key=jnp.size)  # the loop cannot begin before its largest argument is there
    value = jax.lax.stop_gradient(last.ravel()[0]).astype(shape.dtype)
    return jnp.broadcast_to(value, (num_rows, *shape.shape[1:]))

  return _in_slices(lambda _, *rows: function(*rows), size, 0, False, filling, sliced, shape)


def update_rows(
  function: Callable[..., jax.Array],
  x: jax.Array,
  rows: Rows,
  bytes_per_row: int,
  *,
  axis: int = 0,
  at_least: int = 1,
) -> jax.Array:
  """Adds a function of an array to the array, slice by slice and in place: the whole update is never in memory.

  Args:
    function: maps a slice of x, its rows leading, and slices of `rows` as they are to the update of that slice.
    x: [B, A, ...]
    rows: arrays that are sliced along with x, and the axis of each.
    bytes_per_row: of the function's temporaries.
    axis: of x, 0 or 1, whose entries are rows; with 1 the function gets [b, B, ...].
    at_least: the fewest rows worth a slice.

  Returns:
    [B, A, ...], x + function(x, *rows), where for axis 1 the function sees x, and gives its update, transposed.
  """
  size = _slice_size(x.shape[axis], bytes_per_row, at_least)
  if size == x.shape[axis]:

    def updated(x, *rows):
      return x + _leading(function(_leading(x, axis), *rows), axis)

    return kept_by_arguments(updated)(x, *(row for row, _ in rows))
  return _in_slices(function, size, axis, True, lambda _: x, rows, x)


def _leading(x: jax.Array, axis: int) -> jax.Array:
  """Swaps an axis with the first."""
  return x.swapaxes(0, axis)


def _in_slices(function, size, axis, adds, make_x, rows, like):
  """Computes all rows of x: whole slices in a loop, then the rows that are left.

  Args:
    function: of a slice of x and of slices of `rows`.
    size: rows of a slice.
    axis: of x, whose entries are rows.
    adds: whether the function's result is added to x or replaces it.
    make_x: makes x from the list of arrays that the function closes over.
    rows: see `update_rows`.
    like: has the shape of x, but for the number of rows.
  """
  num_rows = rows[0][0].shape[rows[0][1]] if rows else like.shape[axis]
  whole = num_rows - num_rows % size
  arrays, axes = tuple(row for row, _ in rows), tuple(along for _, along in rows)

  def part(start, stop):
    return tuple(jax.lax.slice_in_dim(row, start, stop, axis=along) for row, along in rows)

  # What the function closes over becomes an argument; and it is traced here, in the context in which it was made.
  others = [length for along, length in enumerate(like.shape) if along != axis]
  example = jax.ShapeDtypeStruct((size, *others), like.dtype)
  of_slice, shared = jax.closure_convert(function, example, *part(0, size))
  x = make_x(shared)
  result = _sliced(of_slice, size, (axis, *axes), adds, x, arrays, tuple(shared))
  if whole < num_rows:
    rest = jax.lax.slice_in_dim(result, whole, num_rows, axis=axis)
    new = _leading(jax.checkpoint(function)(_leading(rest, axis), *part(whole, num_rows)), axis)
    result = jax.lax.dynamic_update_slice_in_dim(result, rest + new if adds else new, whole, axis)
  return result


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _sliced(function, size, axes, adds, x, rows, shared):
  """Computes the first rows of x, as many as whole slices hold; the rows that follow stay as they are."""
  axis, dtype = axes[0], x.dtype

  def one_slice(x, start):
    old, *parts = _cut((x, *rows), start, size, axes)
    old = _values(old, dtype)
    new = _leading(function(_leading(old, axis), *parts, *shared), axis)
    return jax.lax.dynamic_update_slice_in_dim(x, _bits(old + new if adds else new), start, axis), None

  return _values(jax.lax.scan(one_slice, _bits(x), _starts(x, size, axis))[0], dtype)


def _sliced_forwards(function, size, axes, adds, x, rows, shared):
  kept = x if adds else None  # else it is only there to be filled
  return _sliced(function, size, axes, adds, x, rows, shared), (kept, rows, shared)


def _sliced_backwards(function, size, axes, adds, arguments, gradient):
  """Computes every slice again, then the gradients to its rows and its part of the gradients to the shared arrays.

  JAX's own gradient of the loop would keep all slices' temporaries, and copy the whole result for every slice.
  """
  x, rows, shared = arguments
  axis = axes[0]

  def one_slice(carry, start):
    gradients, total = carry
    to_new = _values(_cut(gradients[:1], start, size, axes)[0], gradient.dtype)
    old, *parts = _cut((x if adds else gradient, *rows), start, size, axes)
    _, backwards = jax.vjp(
      lambda old, parts, shared: function(old, *parts, *shared), _leading(old, axis), tuple(parts), shared
    )
    to_old, to_parts, to_shared = backwards(_leading(to_new, axis))
    to_old = to_new + _leading(to_old, axis) if adds else jnp.zeros_like(to_new)
    gradients = tuple(
      jax.lax.dynamic_update_slice_in_dim(whole, _bits(new), start, along)
      for whole, new, along in zip(gradients, (to_old, *to_parts), axes, strict=True)
    )
    return (gradients, jax.tree.map(lambda old, new: old + new.astype(old.dtype), total, to_shared)), None

  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32)), shared)
  start = tuple(_bits(x) for x in (gradient, *(jnp.zeros_like(row) for row in rows)))
  (gradients, total), _ = jax.lax.scan(one_slice, (start, zeros), _starts(gradient, size, axis))
  gradient, *to_rows = (_values(bits, x.dtype) for bits, x in zip(gradients, (gradient, *rows), strict=True))
  return gradient, tuple(to_rows), jax.tree.map(lambda new, old: new.astype(old.dtype), total, shared)


_sliced.defvjp(_sliced_forwards, _sliced_backwards)


def _cut(arrays, start, size, axes):
  """Takes a slice of each array along its axis."""
  return [jax.lax.dynamic_slice_in_dim(x, start, size, along) for x, along in zip(arrays, axes, strict=False)]


def _bits(x):
  """On CPUs the bits of a bfloat16 array, of which XLA updates a slice in place; else it makes all of it float32."""
  on_cpu = x.dtype == jnp.bfloat16 and seam.platform(seam.current()) == 'cpu'
  return jax.lax.bitcast_convert_type(x, jnp.uint16) if on_cpu else x


def _values(bits, dtype):
  """What `_bits` were made of."""
  return bits if bits.dtype == dtype else jax.lax.bitcast_convert_type(bits, dtype)


def _starts(x, size, axis):
  """The first row of each whole slice."""
  return jnp.arange(x.shape[axis] // size) * size


def _slice_size(num_rows: int, bytes_per_row: int, at_least: int) -> int:
  """How many rows a slice has: a divisor of all rows near the most that the budget allows, else even slices."""
  most = max(at_least, seam.budget(seam.current()) // max(1, bytes_per_row))
  if num_rows <= most:
    return num_rows
  for size in range(most, most // 2, -1):
    if num_rows % size == 0:
      return size
  return math.ceil(num_rows / math.ceil(num_rows / most))
