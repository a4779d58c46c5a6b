# SPDX-License-Identifier: Apache-2.0
"""How an operation is chosen among its implementations, and how it is cut into pieces that fit a memory budget."""

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Kernels:
  """Which implementation every operation uses, and how many bytes its temporaries may take.

  `implementation` is a name in the operations' tables, or 'auto'. An operation whose temporaries would exceed
  `chunk_bytes` is computed in slices of its leading axis; the result is the same.
  """

  implementation: str = 'auto'
  chunk_bytes: int = 64 * 2**20


_KERNELS: contextvars.ContextVar[Kernels] = contextvars.ContextVar('kernels', default=Kernels())


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


def map_rows(
    function: Callable[..., jax.Array], rows: tuple[jax.Array, ...], bytes_per_row: int
) -> jax.Array:
  """Applies a function of [B, ...] arrays to slices of their leading axis, as large as the budget allows.

  Args:
    function: maps arrays [b, ...] to one array [b, ...]; rows must not depend on one another.
    rows: arrays that share their leading axis.
    bytes_per_row: what the function's temporaries take per row.

  Returns:
    what `function(*rows)` would.
  """
  num_rows = rows[0].shape[0]
  most = max(1, _KERNELS.get().chunk_bytes // max(1, bytes_per_row))
  num_slices = math.ceil(num_rows / most)
  if num_slices <= 1:
    return function(*rows)
  size = math.ceil(num_rows / num_slices)  # even slices, the last one a little shorter
  whole = num_rows // size
  cut = whole * size
  stacked = tuple(x[:cut].reshape(whole, size, *x.shape[1:]) for x in rows)
  result = jax.lax.map(lambda xs: function(*xs), stacked)
  result = result.reshape(cut, *result.shape[2:])
  if cut == num_rows:
    return result
  return jnp.concatenate([result, function(*(x[cut:] for x in rows))])
