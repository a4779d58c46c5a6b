# SPDX-License-Identifier: Apache-2.0
"""Small services on files that are transferred: one writer at a time, digests, room on the disk."""

import contextlib
import errno
import hashlib
import logging
import os
import pathlib
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator

from alphafold_jax.errors import ResourceError, TransferError

try:
  import fcntl
except ImportError:  # not a POSIX system
  fcntl = None

_log = logging.getLogger(__name__)
CHUNK = 1 << 20  # bytes
_MARGIN = 64 << 20  # bytes left free beside what is written
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HELD = (errno.EACCES, errno.EAGAIN)


def make_directory(directory: pathlib.Path) -> None:
  """Creates the directory and makes sure that files can be made in it."""
  try:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory):
      pass
  except OSError as error:
    raise _write_error(directory, error) from error


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
  """Turns a failed write inside the block into an error that names the place and a remedy."""
  try:
    yield
  except OSError as error:
    raise _write_error(path, error) from error


def _write_error(path: pathlib.Path, error: OSError) -> Exception:
  if error.errno in _FULL:
    return ResourceError(
      f'{path}: the disk is full ({error.strerror}). Make room, or choose another place; a download goes on where it '
      'stopped.'
    )
  reason = error.strerror or error
  return TransferError(f'{path}: cannot be written ({reason}). Choose a directory that you may write to.')


def digest(
  path: pathlib.Path,
  algorithms: tuple[str, ...] = ('sha256',),
  position: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, str]:
  """Hexadecimal digests of a file, all in one pass; `position` is told how far it has come."""
  hashes = {name: hashlib.new(name, usedforsecurity=name != 'md5') for name in algorithms}
  try:
    with open(path, 'rb') as file:
      total = os.fstat(file.fileno()).st_size
      while chunk := file.read(CHUNK):
        for state in hashes.values():
          state.update(chunk)
        position(file.tell(), total)
  except OSError as error:
    raise TransferError(f'{path}: cannot be read ({error.strerror or error}).') from error
  return {name: state.hexdigest() for name, state in hashes.items()}


@contextlib.contextmanager
def lock(directory: pathlib.Path, timeout: float) -> Iterator[bool]:
  """Lets one process at a time change `directory`; yields False where the file system knows no locks.

  The lock belongs to the open file, so it ends with the process, however that ends. With `timeout` 0 a lock held by
  another process also yields False instead of raising.
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


def _acquire(file, path: pathlib.Path, timeout: float) -> bool:
  give_up = time.monotonic() + timeout
  told = False
  while fcntl is not None:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      return True
    except OSError as error:
      if error.errno not in _HELD:
        break
    if timeout <= 0:
      return False
    file.seek(0)
    owner = file.read().strip() or 'another process'
    if time.monotonic() > give_up:
      raise TransferError(
        f'{path}: still held by {owner} after {timeout:.0f} s. Wait until that download is done, or end it, then run '
        'the command again.'
      )
    if not told:
      _log.info('%s is held by %s; waiting for it to finish', path, owner)
      told = True
    time.sleep(min(0.2, timeout))
  _log.warning('%s: this file system cannot lock files; run one download at a time', path)
  return False


def human_size(num_bytes: float) -> str:
  """1536 -> '1.5 KiB'."""
  for unit in ('B', 'KiB', 'MiB', 'GiB'):
    if abs(num_bytes) < 1024 or unit == 'GiB':
      break
    num_bytes /= 1024
  return f'{num_bytes:.0f} {unit}' if unit == 'B' else f'{num_bytes:.1f} {unit}'
