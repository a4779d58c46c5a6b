# SPDX-License-Identifier: Apache-2.0
"""A program is compiled once, by whichever process needs it first; the others wait for it, later ones read it.

JAX's own cache finds a program only after it was traced and lowered, which takes longer than reading it. Here it is
found by what it is made from: specs, shapes, settings, flags, the machine with its packages, and our own code. So no
other version ever reads it, which JAX does not promise to work for GPU kernels.

What is kept is what `jax.experimental.serialize_executable` makes of a program, the form that JAX's cache keeps too.
That interface may change, and not every backend has it, so a trifle goes there and back before the first program does;
where that fails, JAX's cache is used. A program must be kept as the compiler made it: one that was read and is kept
again breaks when it runs. So it is compiled without JAX's cache, and kept only if JAX said so.
"""

import contextlib
import contextvars
import functools
import hashlib
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import numpy as np
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from alphafold_jax import devices, locks, program_files
from alphafold_jax.errors import AlphaFoldError, ResourceError
from alphafold_jax.ops import products, seam
from alphafold_jax.transfer.files import state

_log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).resolve().parent
_WAITING = 'waiting for another process that compiles'
PATIENCE = 900.0  # s to wait for another process that compiles
_FLAGS = ('XLA_FLAGS', 'LIBTPU_INIT_ARGS', 'NPROC')  # variables that XLA looks at
_NO_MATTER = (  # settings of JAX that do not change a program
  'jax_compilation_cache', 'jax_persistent_cache', 'jax_enable_compilation_cache', 'jax_raise_persistent_cache',
  'jax_log', 'jax_dump', 'jax_traceback', 'jax_explain', 'jax_hlo_source',
)  # fmt: skip


class _Watcher(NamedTuple):
  scope: str
  tell: Callable[[str], None]


_LOGGED = _Watcher('', lambda text: _log.info('%s', text))
_watcher: contextvars.ContextVar[_Watcher] = contextvars.ContextVar('watcher', default=_LOGGED)


@contextlib.contextmanager
def watched(scope: str, tell: Callable[[str], None]) -> Iterator[None]:
  """Inside the block it is told that a program is compiled, read or waited for, and how long that took.

  Args:
    scope: what programs are for, such as 'up to 64 residues'.
    tell: given each text.
  """
  token = _watcher.set(_Watcher(scope, tell))
  try:
    yield
  finally:
    _watcher.reset(token)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
  """Inside the block, for small programs, only waiting for another process is told."""
  scope, tell = _watcher.get()
  with watched(scope, lambda text: tell(text) if text.startswith(_WAITING) else None):
    yield


def compiled(
  jitted: Any, identity: Hashable, arguments: tuple, *, what: str = '', **options: Any
) -> jax.stages.Compiled:
  """A program, read if this or another process has compiled it, else compiled and kept.

  The host's memory that compiling takes is given back.

  Args:
    jitted: the function under `jax.jit`; its result depends on `identity` and its arguments alone.
    identity: its text identifies the function among all others; None: it cannot be kept.
    arguments: of the function, or `jax.ShapeDtypeStruct`s.
    what: names the program for people; '': its identity.
    options: that `jax.jit` was given.
  """
  folder = devices.compilation_cache()
  name = folder and _name(identity, arguments)
  if folder is None or not name:
    return _compiled_by_jax(jitted, arguments)
  path = program_files.path_of(folder, name)
  before = state(path)
  if found := _read(path):
    return found
  waiting = functools.partial(_tell, _WAITING)
  with locks.turn(folder / 'lock', int(name[:14], 16), PATIENCE, waiting):
    if state(path) != before and (found := _read(path)):  # it was compiled meanwhile
      return found
    if not _can_keep(jax.default_backend()):
      return _compiled_by_jax(jitted, arguments)
    _tell('compiling')
    start = time.monotonic()
    if (plain := exported(jitted, arguments)) is None:
      return _compiled_by_jax(jitted, arguments)
    with _without_jaxs_cache() as events:
      program = jax.jit(plain.call, **options).lower(*arguments).compile()
    devices.return_freed_memory()
    seconds = time.monotonic() - start
    _watcher.get().tell(f'compiled in {seconds:.1f} s, now running')
    if _is_new(events):
      _keep(path, program, what or str(identity), seconds)
  return program


def exported(jitted: Any, arguments: tuple) -> jax.export.Exported | None:
  """A function as any process can run it; None where it holds a call that only some can, such as one back into ours."""
  try:
    plain = jax.export.export(jitted, disabled_checks=allowed_calls())(*arguments)
  except Exception as error:
    _log.debug('a program cannot be kept: %s', error)
    return None
  # JAX makes LAPACK ready where it lowers a program that calls it, not where one is read.
  return None if '@lapack_' in plain.mlir_module() else plain


def allowed_calls() -> list[jax.export.DisabledSafetyCheck]:
  """The custom calls that a kept program may hold: those of the kernels and of products."""
  return [jax.export.DisabledSafetyCheck.custom_call(name) for name in (*seam.custom_calls(), *products.CUSTOM_CALLS)]


def facts() -> dict[str, str]:
  """What a kept program depends on beside itself: of the machine and of our own code."""
  return devices.machine_facts() | {'code': source()[:12]}


@functools.cache
def source() -> str:
  """A digest of all code of this package, so that a program compiled by another version is not found.

  Raises:
    OSError: it cannot be read.
  """
  digest = hashlib.sha256()
  for path in sorted(_PACKAGE.rglob('*.py')):
    digest.update(path.read_bytes())
  return digest.hexdigest()


with contextlib.suppress(OSError):
  source()  # as it is loaded now: files may be replaced while a run goes on


def _tell(text: str, more: str = '') -> None:
  scope, tell = _watcher.get()
  tell(f'{text}{f" for {scope}" if scope else ""}{more}')


def _name(identity: Hashable, arguments: tuple) -> str | None:
  """What the program is called on disk; None where it cannot be kept."""
  values = getattr(jax.config, 'values', None)  # those of all settings; without them nobody knows what differs
  if identity is None or values is None or not _on_first_device(arguments):
    return None
  leaves, tree = jax.tree.flatten(arguments)
  shapes = [(leaf.shape, str(leaf.dtype), getattr(leaf, 'weak_type', False)) for leaf in leaves]
  settings = [(name, getattr(jax.config, name, None)) for name in sorted(values) if not name.startswith(_NO_MATTER)]
  flags = [*map(os.environ.get, _FLAGS), jax.local_devices()[0].id]
  try:
    parts = (identity, str(tree), shapes, settings, flags, devices.machine_facts(), source())
  except OSError:  # our own code cannot be read
    return None
  return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _on_first_device(arguments: tuple) -> bool:
  """Whether the program is for one device, the first, on which it will be loaded."""
  first = {jax.local_devices()[0]}
  arrays = [leaf for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array)]
  elsewhere = getattr(jax.config, 'jax_default_device', None)
  return elsewhere is None and all(array.devices() == first for array in arrays)


def _read(path: Path) -> jax.stages.Compiled | None:
  """A kept program; None if there is none, or it cannot be used."""
  if not os.path.exists(path):
    return None
  start = time.monotonic()
  try:
    heading, packed = program_files.read(path)
    program = _loaded(packed)
  except Exception as error:  # whatever a damaged file, or a backend that cannot do this, leads to
    why = _reason(error) or type(error).__name__
    _log.warning('%s cannot be read, so that program is compiled again: %s', path, why)
    if not isinstance(error, OSError):  # which may be gone next time
      with contextlib.suppress(OSError):
        path.unlink()
    return None
  with contextlib.suppress(OSError):
    os.utime(path)
  seconds = f'{time.monotonic() - start:.1f} s (compiling took {heading.seconds:.1f} s)'
  _tell('read the program', f' in {seconds}, now running')
  return program


def _compiled_by_jax(jitted: Any, arguments: tuple) -> jax.stages.Compiled:
  """Compiles a program that is not kept here, or lets JAX read it from its own cache, if that is in use."""
  _tell('compiling', '' if devices.compilation_cache() is None else ', or reading what an earlier run compiled')
  start = time.monotonic()
  with _events() as events:
    program = jitted.lower(*arguments).compile()
  devices.return_freed_memory()
  read = any(event.endswith('/cache_hits') for event in events)
  _watcher.get().tell(f'{"read" if read else "compiled"} in {time.monotonic() - start:.1f} s, now running')
  return program


@contextlib.contextmanager
def _without_jaxs_cache() -> Iterator[list[str]]:
  """Inside the block JAX neither reads nor keeps programs; yields what its cache says."""
  before = devices.setting('jax_enable_compilation_cache')
  jax.config.update('jax_enable_compilation_cache', False)
  jax_cache.reset_cache()  # or it would go on as it began
  try:
    with _events() as events:
      yield events
  finally:
    jax.config.update('jax_enable_compilation_cache', before)
    jax_cache.reset_cache()


def _is_new(events: list[str]) -> bool:
  """Whether the compiler made a program, after what JAX's cache said."""
  return any(event.endswith('/task_disabled_cache') for event in events) and not any('hit' in one for one in events)


@contextlib.contextmanager
def _events() -> Iterator[list[str]]:
  """Yields the events of JAX's cache in this thread, while the block runs."""
  heard, thread = [], threading.get_ident()

  def listen(event: str, **_: Any) -> None:
    if '/compilation_cache/' in event and threading.get_ident() == thread:
      heard.append(event)

  jax.monitoring.register_event_listener(listen)
  try:
    yield heard
  finally:
    with contextlib.suppress(Exception):  # somebody else has removed all
      jax.monitoring.unregister_event_listener(listen)


@functools.cache
def _can_keep(backend: str) -> bool:
  """Whether a program can be kept and read, and then still computes."""
  try:
    with _without_jaxs_cache() as events:
      program = jax.jit(lambda x: x + 1).lower(np.float32(1)).compile()
    return _is_new(events) and float(_loaded(_packed(program))(np.float32(1))) == 2
  except Exception as error:  # whatever a backend, or a version of JAX, leads to
    _log.info('compiled programs are left to the cache of JAX: they cannot be kept on %s (%s)', backend, error)
    return False


def _packed(program: jax.stages.Compiled) -> bytes:
  return pickle.dumps(serialize_executable.serialize(program))


def _loaded(packed: bytes) -> jax.stages.Compiled:
  serialized, in_tree, out_tree = pickle.loads(packed)
  load = serialize_executable.deserialize_and_load
  return load(serialized, in_tree, out_tree, execution_devices=jax.local_devices()[:1])


def _keep(path: Path, program: jax.stages.Compiled, what: str, seconds: float) -> None:
  """Keeps a program for other processes, or says why it cannot."""
  try:
    program_files.write(path, program_files.Heading(facts(), what, seconds), _packed(program))
  except (AlphaFoldError, OSError) as error:
    _warn_once(path.parent, _reason(error), isinstance(error, ResourceError))
  except Exception as error:  # this one holds what cannot be written
    _log.debug('this compiled program cannot be kept: %s', error)


def _reason(error: Exception) -> str:
  """Why a file could not be read or written, in the words of the system if it is what refused."""
  of_system = error if isinstance(error, OSError) else error.__cause__
  words = getattr(of_system, 'strerror', None)
  return words.lower() if words else str(error)


@functools.cache
def _warn_once(folder: Path, why: str, is_full: bool) -> None:
  room = ('make room there, or ' if is_full else '') + devices.ANOTHER_CACHE
  _log.warning('%s', devices.programs_not_kept(folder, why, room))
