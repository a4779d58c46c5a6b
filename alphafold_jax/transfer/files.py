# SPDX-License-Identifier: Apache-2.0
"""Services on files that are transferred: one writer at a time, digests, staging, room on the disk, progress."""

import contextlib
import datetime
import hashlib
import logging
import os
import pathlib
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from alphafold_jax import atomic, locks
from alphafold_jax.errors import ResourceError, TransferError

_log = logging.getLogger(__name__)
CHUNK = 1 << 20  # bytes
_MARGIN = 64 << 20  # bytes left free beside what is written
_LOG_EVERY = 30.0  # s
Meter = Callable[[int, int | None], None]  # called with the bytes that are there, and the total (None: not known)


class UnusableError(TransferError):
  """What was fetched is not what was wanted, and is not worth keeping."""


def require_space(directory: pathlib.Path, num_bytes: int, purpose: str) -> None:
  """Raises ResourceError unless the file system of `directory` has room for `num_bytes` more."""
  free = shutil.disk_usage(directory).free
  if free < num_bytes + _MARGIN:
    raise ResourceError(
      f'{directory}: {purpose} needs {human_size(num_bytes + _MARGIN)}, but only {human_size(free)} are free. '
      'Make room, or choose another place.'
    )


@contextlib.contextmanager
def disk_errors(path: pathlib.Path) -> Iterator[None]:
  """Turns a failed write inside the block into a ResourceError (disk full) or TransferError that names the place."""
  try:
    yield
  except OSError as error:
    raise atomic.explained(path, error, TransferError) from error


@contextlib.contextmanager
def staging(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """A new folder in `folder` for files that are not yet in place; it goes with the block.

  Removes those that killed processes left, so the caller must hold the folder's lock.
  """
  for stale in folder.glob('.unpacking-*'):
    shutil.rmtree(stale, ignore_errors=True)
  with tempfile.TemporaryDirectory(dir=folder, prefix='.unpacking-', ignore_cleanup_errors=True) as name:
    yield pathlib.Path(name)


def digest(
  path: pathlib.Path,
  algorithms: tuple[str, ...] = ('sha256',),
  watch: Meter = lambda done, total: None,
) -> dict[str, str]:
  """Hexadecimal digests of a file by algorithm, all in one pass.

  Args:
    path: the file.
    algorithms: names that hashlib knows.
    watch: called with the bytes read and the bytes in all.

  Raises:
    TransferError: the file cannot be read.
  """
  hashes = {name: hashlib.new(name, usedforsecurity=name != 'md5') for name in algorithms}
  try:
    with open(path, 'rb') as file:
      total = os.fstat(file.fileno()).st_size
      while chunk := file.read(CHUNK):
        for state in hashes.values():
          state.update(chunk)
        watch(file.tell(), total)
  except OSError as error:
    raise TransferError(f'{path}: cannot be read ({error.strerror or error}).') from error
  return {name: state.hexdigest() for name, state in hashes.items()}


@contextlib.contextmanager
def lock(directory: pathlib.Path, timeout: float) -> Iterator[bool]:
  """Lets one process at a time change `directory`; yields False where the file system knows no locks.

  The lock belongs to the open file, so it ends with the process, however that ends.

  Args:
    directory: it holds the file `.lock`.
    timeout: seconds to wait for another process; with 0 a lock held by another also yields False.

  Raises:
    TransferError: another process still holds it after that time.
  """
  path = directory / '.lock'
  with disk_errors(path):
    file = open(path, 'a+', encoding='utf-8')
  with file:
    held = _acquire(file, path, timeout)
    if held:
      file.truncate(0)
      file.write(f'process {os.getpid()} on {socket.gethostname()}')
      file.flush()
    yield held


def _acquire(file: TextIO, path: pathlib.Path, timeout: float) -> bool:
  give_up = time.monotonic() + timeout
  logged = False
  while (held := locks.take(file)) is not None:
    if held:
      return True
    if timeout <= 0:
      return False
    file.seek(0)
    owner = file.read().strip() or 'another process'
    if time.monotonic() > give_up:
      raise TransferError(
        f'{path}: still held by {owner} after {timeout:.0f} s. Wait until that download is done, or end it, then run '
        'the command again.'
      )
    if not logged:
      _log.info('%s is held by %s; waiting for it to finish', path, owner)
      logged = True
    time.sleep(min(0.2, timeout))
  _log.warning('%s: files cannot be locked here; run one download at a time', path)
  return False


def state(path: pathlib.Path) -> dict[str, int]:
  """Size in bytes and time of change, by which a file is taken for the one on record; {} if there is none."""
  try:
    about = path.stat()
  except OSError:
    return {}
  return {'size': about.st_size, 'mtime_ns': about.st_mtime_ns}


def today() -> str:
  """The date as YYYY-MM-DD (UTC)."""
  return datetime.datetime.now(datetime.UTC).date().isoformat()


def human_size(num_bytes: float) -> str:
  """1536 -> '1.5 KiB'."""
  for unit in ('B', 'KiB', 'MiB', 'GiB'):
    if abs(num_bytes) < 1024 or unit == 'GiB':
      break
    num_bytes /= 1024
  return f'{num_bytes:.0f} {unit}' if unit == 'B' else f'{num_bytes:.1f} {unit}'


class _LogMeter:
  """Writes a line at each tenth of the way, or every 30 s where that is later."""

  def __init__(self, label: str):
    self._label = label
    self._start = self._last = time.monotonic()
    self._first: int | None = None  # bytes that were there at the beginning
    self._tenths = 0

  def __call__(self, done: int, total: int | None) -> None:
    now = time.monotonic()
    if self._first is None or done < self._first:
      self._first, self._start = done, now
    tenths = 10 * done // total if total else 0
    if tenths <= self._tenths and now - self._last < _LOG_EVERY:
      return
    self._tenths, self._last = tenths, now
    rate = (done - self._first) / max(now - self._start, 1e-3)
    left = f', {(total - done) / rate:.0f} s left' if total and rate else ''
    of = f' of {human_size(total)}' if total else ''
    _log.info('%s: %s%s (%s/s%s)', self._label, human_size(done), of, human_size(rate), left)


@contextlib.contextmanager
def meter(label: str) -> Iterator[Meter]:
  """A meter for where standard error goes: a bar on a terminal, else lines in the log.

  Args:
    label: what is transferred.
  """
  from rich import console, progress  # 0.1 s, so only when something is transferred

  terminal = console.Console(stderr=True)
  if not terminal.is_terminal:
    yield _LogMeter(label)
    return
  columns = (
    progress.TextColumn('{task.description}'),
    progress.BarColumn(),
    progress.DownloadColumn(binary_units=True),
    progress.TransferSpeedColumn(),
    progress.TimeRemainingColumn(),
  )
  with progress.Progress(*columns, console=terminal) as display:
    task = display.add_task(label, total=None)
    yield lambda done, total: display.update(task, completed=done, total=total)
