# SPDX-License-Identifier: Apache-2.0
"""A program is compiled once, by whichever process needs it first; the others wait for it, later ones read it.

JAX's own cache finds a program only after it was traced and lowered, which takes longer than reading it. Here it is
found as in `traced`, by what it is made from, to which come the flags of XLA and the settings of JAX. What is kept is
what `jax.experimental.serialize_executable` makes of it, the form that JAX's cache keeps too. That interface may
change, and not every backend has it: whatever goes wrong with it leads to `traced` and JAX's cache instead.

A program must be kept as the compiler made it: one that was read and is kept again breaks when it runs. So it is kept
only if JAX said, while it was compiled, that its own cache did not have it.
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
from jax.experimental import serialize_executable

from alphafold_jax import devices, locks, program_files, traced
from alphafold_jax.errors import AlphaFoldError

_log = logging.getLogger(__name__)
PATIENCE = 900.0  # s to wait for another process that compiles
_FLAGS = ('XLA_FLAGS', 'LIBTPU_INIT_ARGS')
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


def compiled(lower: Callable[[], jax.stages.Lowered], identity: Hashable, arguments: tuple) -> jax.stages.Compiled:
  """A program, read if this or another process has compiled it, else compiled and kept.

  Args:
    lower: traces and lowers it.
    identity: its text identifies the function among all others; None: it cannot be kept.
    arguments: of the function, or `jax.ShapeDtypeStruct`s.
  """
  folder, name = devices.compilation_cache(), _name(identity, arguments)
  if folder is None or name is None:
    _tell('compiling', '' if folder is None else ', or reading what an earlier run compiled')
    return _compiled(lower)[0]
  path = program_files.path_of(folder, name)
  if found := _read(path):
    return found
  waiting = functools.partial(_tell, 'waiting for another process that compiles')
  with locks.turn(folder / 'lock', int(name[:14], 16), PATIENCE, waiting):
    if found := _read(path):  # it was compiled meanwhile
      return found
    _tell('compiling')
    program, seconds = _compiled(lower)
    if seconds is not None:
      _keep(path, program, str(identity[0] if isinstance(identity, tuple) else identity), seconds)
  return program


def facts() -> dict[str, str]:
  """What a kept program depends on beside itself: of the machine and of our own code."""
  return devices.machine_facts() | {'code': traced.source()[:12]}


def _tell(text: str, more: str = '') -> None:
  scope, tell = _watcher.get()
  tell(f'{text}{f" for {scope}" if scope else ""}{more}')


def _name(identity: Hashable, arguments: tuple) -> str | None:
  """What the program is called on disk; None where it cannot be kept."""
  values = getattr(jax.config, 'values', None)  # those of all settings; without them nobody knows what differs
  if identity is None or values is None or not _on_first_device(arguments):
    return None
  settings = [(name, getattr(jax.config, name, None)) for name in sorted(values) if not name.startswith(_NO_MATTER)]
  try:
    parts = (traced.digest(identity, arguments), settings, [os.environ.get(name) for name in _FLAGS])
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
  _tell('reading the program')
  start = time.monotonic()
  try:
    heading, packed = program_files.read(path)
    serialized, in_tree, out_tree = pickle.loads(packed)
    devices_of_it = jax.local_devices()[:1]
    load = serialize_executable.deserialize_and_load
    program = load(serialized, in_tree, out_tree, execution_devices=devices_of_it)
  except Exception as error:  # whatever a damaged file, or a backend that cannot do this, leads to
    _log.warning('%s cannot be read, so that program is compiled again: %s', path, error or type(error).__name__)
    with contextlib.suppress(OSError):
      path.unlink()
    return None
  with contextlib.suppress(OSError):
    os.utime(path)
  seconds = time.monotonic() - start
  _watcher.get().tell(f'read in {seconds:.1f} s (compiling took {heading.seconds:.1f} s), now running')
  return program


def _compiled(lower: Callable[[], jax.stages.Lowered]) -> tuple[jax.stages.Compiled, float | None]:
  """Compiles, or lets JAX read it from its cache; also how many seconds it took, if the compiler made it."""
  start, heard = time.monotonic(), _listener()
  heard.events = []
  program = lower().compile()
  seconds, events = time.monotonic() - start, heard.events
  read = any(event.endswith('/cache_hits') for event in events)
  _watcher.get().tell(f'{"read" if read else "compiled"} in {seconds:.1f} s, now running')
  made = any(event.endswith('/cache_misses') for event in events)
  return program, seconds if made and not read else None


@functools.cache
def _listener() -> threading.local:
  """The events that JAX's cache reports in a thread, as its attribute `events`."""
  heard = threading.local()

  def listen(event: str, **_: Any) -> None:
    if '/compilation_cache/' in event and hasattr(heard, 'events'):
      heard.events.append(event)

  jax.monitoring.register_event_listener(listen)
  return heard


def _keep(path: Path, program: jax.stages.Compiled, name: str, seconds: float) -> None:
  """Keeps a program for other processes; where that cannot be done, JAX's cache may do it."""
  what = ', '.join(filter(None, (name, _watcher.get().scope)))
  try:
    packed = pickle.dumps(serialize_executable.serialize(program))
    program_files.write(path, program_files.Heading(facts(), what, seconds), packed)
  except (AlphaFoldError, OSError) as error:
    _log.warning('a compiled program cannot be kept for later runs: %s', error)
  except Exception as error:  # a backend that cannot do this
    _log.debug('this compiled program cannot be kept: %s', error)
