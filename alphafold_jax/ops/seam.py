# SPDX-License-Identifier: Apache-2.0
"""How an operation is chosen among its implementations.

Every operation has a table of rows: the `xla` reference; `xla_chunked`, which runs everywhere and keeps to a budget of
bytes; and kernels, which run on some devices only. A row states where it runs, which packages it imports, which
arguments it does not take and which it cannot differentiate. For those, `xla_chunked` computes, and the log says so.
"""

import contextlib
import contextvars
import dataclasses
import functools
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.extend import backend

from alphafold_jax import errors

_log = logging.getLogger(__name__)

AUTO, REFERENCE, EVERYWHERE = 'auto', 'xla', 'xla_chunked'

_DEVICES = {'cpu': 'a CPU', 'cuda': 'an NVIDIA GPU', 'rocm': 'an AMD GPU', 'tpu': 'a TPU'}
PLATFORMS = tuple(_DEVICES)  # as XLA names them

# A CPU is fastest when a slice stays in its cache; accelerators want few and large slices.
_CPU_CHUNK_BYTES, _CHUNK_BYTES = 8 * 2**20, 256 * 2**20


@dataclasses.dataclass(frozen=True)
class Kernels:
  """Which implementation every operation uses, and how many bytes its temporaries may take.

  `implementation` is 'auto', the name of a row, for the operations that have it, or single choices such as
  'self_attention=cudnn,transition=xla'. An operation whose temporaries would exceed `chunk_bytes` is computed in slices
  of its leading axis; the result is the same. 0: what suits the device. `platform` is what is compiled for: one of
  PLATFORMS, 'gpu' for either kind, or '' for the default device's. `strict`: where the chosen row does not take the
  arguments, raise Declined instead of using another.
  """

  implementation: str = AUTO
  chunk_bytes: int = 0
  platform: str = ''
  strict: bool = False


class Declined(ValueError):
  """The kernel that was asked for cannot compute this here."""


class Package(NamedTuple):
  """A Python package that a kernel imports."""

  module: str  # its name in `import`
  distributions: tuple[str, ...]  # its names for pip; any one brings the module
  extras: tuple[str, ...] = ()  # of alphafold-jax; any one installs it


def no_reason(*_: Any, **__: Any) -> None:
  """Returns None: there is no reason against the row."""


@dataclasses.dataclass(frozen=True)
class Row:
  """One way to compute an operation, with all that other parts of the package have to know of it.

  Functions that give a reason return None where there is none. The platform they are given is one of PLATFORMS; the
  arguments are those of `compute`, which the file of the operation lists.

  Args:
    compute: computes the operation: arrays, then keyword arguments that are no arrays.
    platforms: where it runs.
    packages: what it imports beyond our own requirements.
    custom_calls: its calls in compiled programs that every process with JAX alone can run. A program with another
      call is not kept on disk.
    unavailable: (platform) to what else is missing.
    declines: (platform, *arguments) to what it does not take of them.
    declines_gradient: (platform, *arguments) to what it computes but cannot differentiate.
    is_batched: whether `jax.vmap` of it computes what it computes of each, at the same time.
  """

  compute: Callable[..., jax.Array]
  platforms: tuple[str, ...] = PLATFORMS
  packages: tuple[Package, ...] = ()
  custom_calls: tuple[str, ...] = ()
  unavailable: Callable[[str], str | None] = no_reason
  declines: Callable[..., str | None] = no_reason
  declines_gradient: Callable[..., str | None] = no_reason
  is_batched: bool = True

  def missing(self, platform: str) -> str | None:
    """Why the row cannot run on a platform with what is installed, or None where it can."""
    if platform not in self.platforms:
      wanted = ' or '.join(_DEVICES[name] for name in self.platforms)
      return f'it needs {wanted}, not {_DEVICES.get(platform, platform)}'
    for package in self.packages:
      if importlib.util.find_spec(package.module) is None:
        names = ' or '.join(package.distributions)
        remedy = errors.how_to_install(*package.extras) if package.extras else f'pip install {names}'
        return f'the package {names} is not installed; {remedy}'
    return self.unavailable(platform)


OPERATIONS: dict[str, Mapping[str, Row]] = {}  # filled by the files of the operations

_DEFAULT = Kernels()
_KERNELS: contextvars.ContextVar[Kernels] = contextvars.ContextVar('kernels', default=_DEFAULT)


def operation(name: str, rows: Mapping[str, Row]) -> Mapping[str, Row]:
  """Registers an operation's table under its name, and returns the table."""
  OPERATIONS[name] = rows
  return rows


def distributions() -> list[str]:
  """The names for pip of all packages that rows import, sorted."""
  return sorted({name for row in _all_rows() for package in row.packages for name in package.distributions})


def custom_calls() -> list[str]:
  """The custom calls of all rows, sorted."""
  return sorted({call for row in _all_rows() for call in row.custom_calls})


def _all_rows() -> list[Row]:
  return [row for rows in OPERATIONS.values() for row in rows.values()]


@contextlib.contextmanager
def use_kernels(kernels: Kernels) -> Iterator[None]:
  """Makes every operation that is traced inside the block use these kernels."""
  token = _KERNELS.set(kernels)
  try:
    yield
  finally:
    _KERNELS.reset(token)


def current() -> Kernels:
  """The kernels of the block that is being traced."""
  return _KERNELS.get()


def platform(kernels: Kernels) -> str:
  """The platform that is compiled for, one of PLATFORMS."""
  name = kernels.platform or jax.default_backend()
  if name != 'gpu':
    return name
  return 'rocm' if 'rocm' in backend.get_backend().platform_version.lower() else 'cuda'


def budget(kernels: Kernels) -> int:
  """How many bytes an operation's temporaries may take on the device that is compiled for."""
  on_cpu = (kernels.platform or jax.default_backend()) == 'cpu'
  return kernels.chunk_bytes or (_CPU_CHUNK_BYTES if on_cpu else _CHUNK_BYTES)


def divided(kernels: Kernels, count: int) -> Kernels:
  """The kernels of each of so many computations under `jax.vmap`, which share the bytes of a slice.

  Operations whose row is not batched by `jax.vmap` fall back to the default, unless the kernels are strict.
  """
  if count == 1:
    return kernels
  implementation = kernels.implementation
  if not kernels.strict:
    batched = [f'{name}={row}' for name, row in choices(implementation).items() if OPERATIONS[name][row].is_batched]
    implementation = ','.join(batched) or AUTO
  return dataclasses.replace(kernels, implementation=implementation, chunk_bytes=max(1, budget(kernels) // count))


def choices(implementation: str) -> dict[str, str]:
  """Reads `Kernels.implementation`: operation to the name of its row.

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


def compute(name: str, *arrays: Any, **static: Any) -> jax.Array:
  """Computes an operation by the row that is chosen for it.

  Args:
    name: of the operation
    arrays: its arguments that may be differentiated: arrays, trees of them, or None
    static: its other arguments

  Raises:
    Declined: a row was asked for that cannot run here.
    ValueError: there is no such row.
  """
  kernels, rows = current(), OPERATIONS[name]
  target, wanted = platform(kernels), choices(kernels.implementation).get(name, EVERYWHERE)
  row, everywhere = rows[wanted], functools.partial(rows[EVERYWHERE].compute, **static)
  if reason := row.missing(target):
    raise Declined(f'kernel {wanted!r} cannot be used for {name}: {reason}')
  if reason := row.declines(target, *arrays, **static):
    if kernels.strict:
      raise Declined(f'kernel {wanted!r} does not take {reason} for {name}')
    _log_once(f'{name}: {EVERYWHERE} in place of {wanted}, which does not take {reason}')
    return everywhere(*arrays)
  chosen = functools.partial(row.compute, **static)
  if reason := row.declines_gradient(target, *arrays, **static):
    note = f'{name}: {EVERYWHERE} in place of {wanted} under differentiation, which it cannot do with {reason}'
    everywhere = functools.partial(_decline, reason, wanted, name) if kernels.strict else everywhere
    return _differentiated_by(everywhere, chosen, note)(*arrays)
  return chosen(*arrays)


def _decline(reason: str, row: str, name: str, *_: Any) -> jax.Array:
  raise Declined(f'kernel {row!r} cannot differentiate {name} with {reason}')


def _differentiated_by(
  other: Callable[..., jax.Array], function: Callable[..., jax.Array], note: str
) -> Callable[..., jax.Array]:
  """The function, but where it is differentiated the other's values and gradients; `note` is logged then."""
  context = contextvars.copy_context()  # JAX may trace the rule when the blocks around this call have ended

  @jax.custom_vjp
  def differentiable(*arrays):
    return function(*arrays)

  def forwards(*arrays):
    _log_once(note)
    return context.run(jax.vjp, other, *arrays)

  differentiable.defvjp(forwards, lambda backwards, gradient: backwards(gradient))
  return differentiable


@functools.cache
def _log_once(note: str) -> None:
  _log.info(note)
