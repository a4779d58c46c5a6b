# SPDX-License-Identifier: Apache-2.0
"""How an operation is chosen among its implementations, and how it is cut into pieces that fit a memory budget."""

import contextlib
import contextvars
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp

# A CPU is fastest when a slice stays in its cache; accelerators want few and large slices.
_CHUNK_BYTES = {'cpu': 8 * 2**20, 'gpu': 256 * 2**20, 'tpu': 256 * 2**20}


@dataclasses.dataclass(frozen=True)
class Kernels:
  """Which implementation every operation uses, and how many bytes its temporaries may take.

  `implementation` is a name in the operations' tables, or 'auto'. An operation whose temporaries would exceed
  `chunk_bytes` is computed in slices of its leading axis; the result is the same. 0: what suits the device.
  """

  implementation: str = 'auto'
  chunk_bytes: int = 0


_DEFAULT = Kernels()
_KERNELS: contextvars.ContextVar[Kernels] = contextvars.ContextVar('kernels', default=_DEFAULT)


@contextlib.contextmanager
def use_kernels(kernels: Kernels) -> Iterator[None]:
  """Makes every operation traced inside the block use these kernels."""
  token = _KERNELS.set(kernels)
  try:
    yield
  finally:
    _KERNELS.reset(token)


def choose(table: Mapping[str, Callable[..., jax.Array]]) -> Callable[..., jax.Array]:
  """Picks an operation's implementation from its table.

  Raises:
    ValueError: the name asked for is not in the table.
  """
  name = _KERNELS.get().implementation
  name = 'xla_chunked' if name == 'auto' else name
  if name not in table:
    raise ValueError(f'kernel {name!r} is not one of {sorted(table)}')
  return table[name]


def budget(kernels: Kernels) -> int:
  """The bytes that an operation's temporaries may take on the default device."""
  return kernels.chunk_bytes or _CHUNK_BYTES.get(jax.default_backend(), _CHUNK_BYTES['gpu'])


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
  most = max(at_least, budget(_KERNELS.get()) // max(1, bytes_per_row))
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
