# SPDX-License-Identifier: Apache-2.0
"""How an operation is chosen among its implementations.

Every operation has a table of rows: the `xla` reference, `xla_chunked`, which runs everywhere and keeps to a budget of
bytes, and kernels that run on some devices only. A row says what is missing for it here, and which arguments it
declines; where the row that was asked for declines, `xla_chunked` takes its place, and the log says so.
"""

import contextlib
import contextvars
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

_log = logging.getLogger(__name__)

AUTO, REFERENCE, EVERYWHERE = 'auto', 'xla', 'xla_chunked'

# A CPU is fastest when a slice stays in its cache; accelerators want few and large slices.
_CHUNK_BYTES = {'cpu': 8 * 2**20, 'gpu': 256 * 2**20, 'tpu': 256 * 2**20}


@dataclasses.dataclass(frozen=True)
class Kernels:
  """Which implementation every operation uses, and how many bytes its temporaries may take.

  `implementation` is 'auto', the name of a row, for the operations that have it, or single choices such as
  'self_attention=cudnn,transition=xla'. An operation whose temporaries would exceed `chunk_bytes` is computed in slices
  of its leading axis; the result is the same. 0: what suits the device. `platform` is what is compiled for: 'cpu',
  'gpu', 'tpu', or '' for the default device's. `strict`: a row that declines what it was chosen for is an error.
  """

  implementation: str = AUTO
  chunk_bytes: int = 0
  platform: str = ''
  strict: bool = False


@dataclasses.dataclass(frozen=True)
class Place:
  """Where an operation is going to run, and whether its gradient will be taken."""

  platform: str  # 'cpu', 'gpu' or 'tpu'
  gradients: bool


class Declined(ValueError):
  """A kernel was asked for that is not to be had here."""


def no_reason(*_: Any) -> None:
  """There is none against it."""


def whole(*_: Any) -> int:
  """Takes all rows at once."""
  return 0


@dataclasses.dataclass(frozen=True)
class Row:
  """One way to compute an operation.

  `bytes_per_row(*arguments)` is what its temporaries take per row of the leading axis, by which it is sliced; 0: it is
  not. `missing(place)` says why it cannot run there at all, `declines(place, *arguments)` why it does not take these
  arguments; None: it does. The arguments are those of `compute`, unsliced.
  """

  compute: Callable[..., jax.Array]
  bytes_per_row: Callable[..., int] = whole
  missing: Callable[[Place], str | None] = no_reason
  declines: Callable[..., str | None] = no_reason

  def __call__(self, *arguments: Any) -> jax.Array:
    return self.compute(*arguments)


OPERATIONS: dict[str, Mapping[str, Row]] = {}  # filled by the files of the operations

_DEFAULT = Kernels()
_KERNELS: contextvars.ContextVar[Kernels] = contextvars.ContextVar('kernels', default=_DEFAULT)
_GRADIENTS: contextvars.ContextVar[bool] = contextvars.ContextVar('gradients', default=False)


@contextlib.contextmanager
def use_kernels(kernels: Kernels) -> Iterator[None]:
  """Makes every operation traced inside the block use these kernels."""
  token = _KERNELS.set(kernels)
  try:
    yield
  finally:
    _KERNELS.reset(token)


@contextlib.contextmanager
def taking_gradients() -> Iterator[None]:
  """Says that gradients are taken of what is traced inside the block; kernels without one then decline."""
  token = _GRADIENTS.set(True)
  try:
    yield
  finally:
    _GRADIENTS.reset(token)


def current() -> Kernels:
  """The kernels of the block that is being traced."""
  return _KERNELS.get()


def platform(kernels: Kernels) -> str:
  """What is compiled for: 'cpu', 'gpu' or 'tpu'."""
  name = kernels.platform or jax.default_backend()
  return 'gpu' if name in ('cuda', 'rocm') else name


def operation(name: str, rows: Mapping[str, Row]) -> Mapping[str, Row]:
  """Makes an operation's table known; returns it."""
  OPERATIONS[name] = rows
  return rows


def choices(implementation: str) -> dict[str, str]:
  """What an implementation's text chooses: row by operation.

  Raises:
    ValueError: it names an operation or a row that does not exist.
  """
  if implementation == AUTO:
    return {}
  if '=' not in implementation:
    chosen = {name: implementation for name, rows in OPERATIONS.items() if implementation in rows}
    if not chosen:
      names = sorted({row for rows in OPERATIONS.values() for row in rows})
      raise ValueError(f'kernel {implementation!r} is not one of {names}')
    return chosen
  chosen = dict(part.strip().partition('=')[::2] for part in implementation.split(','))
  for name, row in chosen.items():
    if name not in OPERATIONS:
      raise ValueError(f'kernels: {name!r} is not one of the operations {sorted(OPERATIONS)}')
    if row not in OPERATIONS[name]:
      raise ValueError(f'kernel {row!r} is not one of {sorted(OPERATIONS[name])}, those of {name}')
  return chosen


def choose(name: str, *arguments: Any) -> Row:
  """The row that computes an operation on these arguments.

  Raises:
    Declined: a row was asked for that cannot run here.
    ValueError: there is no such row.
  """
  kernels, rows = _KERNELS.get(), OPERATIONS[name]
  place = Place(platform(kernels), _GRADIENTS.get())
  wanted = choices(kernels.implementation).get(name, EVERYWHERE)
  row = rows[wanted]
  if reason := row.missing(place):
    raise Declined(f'kernel {wanted!r} cannot be used for {name}: {reason}')
  if reason := row.declines(place, *arguments):
    if kernels.strict:
      raise Declined(f'kernel {wanted!r} does not take {reason} for {name}')
    _tell(name, wanted, reason)
    return rows[EVERYWHERE]
  return row


@functools.cache
def _tell(name: str, wanted: str, reason: str) -> None:
  """Says once what takes another kernel's place, and why."""
  _log.info('%s: %s in place of %s, which does not take %s', name, EVERYWHERE, wanted, reason)


def budget(kernels: Kernels) -> int:
  """The bytes that an operation's temporaries may take on the device compiled for."""
  return kernels.chunk_bytes or _CHUNK_BYTES.get(platform(kernels), _CHUNK_BYTES['gpu'])
