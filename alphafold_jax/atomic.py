# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all, so that a killed run never leaves half of one."""

import contextlib
import errno
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from alphafold_jax.errors import AlphaFoldError, InputError, ResourceError

_FULL = 'the disk is full; make room and run the same command again, or choose another place'
_REMEDIES = {  # of what the machine lacks
  errno.ENOSPC: _FULL,
  errno.EDQUOT: _FULL,
  errno.EFBIG: 'files of this size are not allowed here (ulimit -f); allow larger ones, or choose another place',
  errno.EMFILE: 'this process has too many files open (ulimit -n); allow more and run the same command again',
  errno.ENFILE: 'the whole machine has too many files open; run the same command again when it has fewer',
  errno.EIO: 'the disk or its server failed; run the same command again, and if that does not help have it checked',
  errno.ESTALE: 'the file server has replaced what was there; run the same command again',
}

_one_at_a_time = threading.Lock()
_NO_SUCH_CALL = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
# How all text is written: as UTF-8 whatever the locale, a file name that is none with its odd bytes as '\\udce9'.
TEXT: Mapping[str, Any] = {'encoding': 'utf-8', 'errors': 'backslashreplace'}


@contextlib.contextmanager
def replacing(path: Path | str, mode: str = 'wb') -> Iterator[IO[Any]]:
  """Opens a temporary file beside `path` that takes its place when the block ends without an error.

  Args:
    path: the file to make or replace.
    mode: 'wb' or 'w' (see TEXT).

  Raises:
    ResourceError: the disk is full, or fails.
    InputError: the place cannot be written.
  """
  path = Path(path)
  try:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name[:100]}.', suffix='.part')
  except OSError as error:
    raise explained(path, error) from error
  try:
    with os.fdopen(handle, mode, **({} if 'b' in mode else TEXT)) as file:
      yield file
      file.flush()
      _reach_disk(file.fileno())
    with _one_at_a_time:
      mask = os.umask(0)  # there is no way to read it alone
      os.umask(mask)
    with contextlib.suppress(PermissionError):  # some mounts give all files one mode
      os.chmod(name, 0o666 & ~mask)
    os.replace(name, path)
  except BaseException as error:
    with contextlib.suppress(OSError):
      os.unlink(name)
    if isinstance(error, OSError):
      raise explained(path, error) from error
    raise


def _reach_disk(handle: int) -> None:
  """Waits until what was written is on the disk, where the file system can say so."""
  try:
    os.fsync(handle)
  except OSError as error:
    if error.errno not in _NO_SUCH_CALL:
      raise


def write_text(path: Path | str, text: str) -> None:
  """Writes a whole text file, see `replacing`."""
  with replacing(path, 'w') as file:
    file.write(text)


def printable(name: str) -> str:
  """A file's name as text: what is not UTF-8 in it becomes '\\udce9', as in all that is written."""
  return name.encode(**TEXT).decode()


def check_name(path: Path | str) -> None:
  """Refuses a path that libraries in C++ (XLA, Orbax, ArrayRecord) cannot be given, since it is not UTF-8."""
  if (written := printable(str(path))) != str(path):
    raise InputError(f'{written}: the name is not UTF-8 (\\udce9 stands for byte 0xe9); choose a name that is')


def make_folder(path: Path | str, *, tried: bool = False, refused: type[AlphaFoldError] = InputError) -> Path:
  """Makes a folder and its parents if they are missing.

  Args:
    path: of the folder.
    tried: also try to write there, so that hours of work do not end at a place that cannot be written.
    refused: raised where it cannot be made or written.

  Raises:
    ResourceError: the disk is full.
  """
  try:
    Path(path).mkdir(parents=True, exist_ok=True)
    if tried:
      with tempfile.TemporaryFile(dir=path) as file:
        file.write(b'.' * 4096)
        file.flush()
  except OSError as error:
    raise explained(path, error, refused) from error
  return Path(path)


def explained(path: Path | str, error: OSError, refused: type[AlphaFoldError] = InputError) -> AlphaFoldError:
  """What to raise where a file cannot be written: ResourceError if the disk is full or fails, else `refused`."""
  if isinstance(error, FileExistsError | NotADirectoryError):
    return refused(
      f'{path}: cannot be written (a file or a broken link is where a folder is needed); choose another place'
    )
  if remedy := _REMEDIES.get(error.errno or 0):
    return ResourceError(f'{path}: {remedy}')
  return refused(f'{path}: cannot be written ({error.strerror or error}); choose a place you may write to')


def of_system(error: OSError) -> str:
  """A message on a call that the system refused where nothing else explains it."""
  if not error.filename and isinstance(error, FileNotFoundError):
    return 'the folder this was started in is gone; start in one that exists'
  place = error.filename or 'standard output or an open file'
  remedy = _REMEDIES.get(error.errno or 0) or 'check that path and its permissions, and run the same command again'
  return f'{place}: {error.strerror or error}; {remedy}'
