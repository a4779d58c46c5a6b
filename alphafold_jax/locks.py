# SPDX-License-Identifier: Apache-2.0
"""Locks on open files: one process at a time does something, and the system gives its lock back however it ends.

The only place that asks for them. Some systems (Windows) and file systems (NFS without its lock service, some parallel
ones) have none; then nothing is held, and the caller decides what that means.
"""

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

try:
  import fcntl as _fcntl
except ImportError:
  _fcntl = None  # type: ignore[assignment]

_HELD = (errno.EACCES, errno.EAGAIN)
_PAUSE = 0.2  # s between two looks at a lock that another process holds


def take(file: IO[Any], byte: int | None = None, *, wait: bool = False) -> bool | None:
  """Locks a file that is open for writing, or one byte of it.

  Args:
    file: it holds the lock until it is closed.
    byte: which one, perhaps behind the end; None: the whole file.
    wait: until another process that holds the lock has ended, instead of giving up.

  Returns:
    True: it is held now; False: another process holds it; None: there are no locks here.
  """
  if _fcntl is None:
    return None
  how = _fcntl.LOCK_EX if wait else _fcntl.LOCK_EX | _fcntl.LOCK_NB
  try:
    _fcntl.flock(file, how) if byte is None else _fcntl.lockf(file, how, 1, byte)
  except OSError as error:
    return False if error.errno in _HELD else None
  return True


def give_back(file: IO[Any], byte: int) -> None:
  """Unlocks one byte of a file, if it was locked."""
  if _fcntl is not None:
    try:
      _fcntl.lockf(file, _fcntl.LOCK_UN, 1, byte)
    except OSError:
      pass  # there are no locks here


@contextlib.contextmanager
def turn(path: Path, byte: int, patience: float, waiting: Callable[[], None]) -> Iterator[None]:
  """Lets processes into the block one after the other, each after it has waited at most so long.

  Where the file cannot be opened, or the file system has no locks, all enter at once.

  Args:
    path: a file, made if missing and never removed.
    byte: which one stands for what the block does.
    patience: seconds to wait for a process that is in the block; then this one enters beside it.
    waiting: called once if there is one.
  """
  try:
    file = open(path, 'a+b')  # noqa: SIM115 (closed below; an error inside the block is not this one's)
  except OSError:
    yield
    return
  with file:
    until, told = time.monotonic() + patience, False
    while take(file, byte) is False and time.monotonic() < until:
      if not told:
        waiting()
        told = True
      time.sleep(_PAUSE)
    yield
