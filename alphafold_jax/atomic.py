# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all, so that a killed run never leaves half of one."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from alphafold_jax.errors import AlphaFoldError, InputError, ResourceError

# How all text is written: as UTF-8 whatever the locale, a file name that is none with its odd bytes as '\\udce9'.
TEXT: Mapping[str, Any] = {'encoding': 'utf-8', 'errors': 'backslashreplace'}


@contextlib.contextmanager
def replacing(path: Path | str, mode: str = 'wb') -> Iterator[IO[Any]]:
  """Opens a temporary file beside `path` that takes its place when the block ends without an error.

  Args:
    path: the file to make or replace.
    mode: 'wb' or 'w' (see TEXT).

  Raises:
    ResourceError: the disk is full.
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
      os.fsync(file.fileno())
    mask = os.umask(0)  # there is no way to read it alone
    os.umask(mask)
    os.chmod(name, 0o666 & ~mask)
    os.replace(name, path)
  except BaseException as error:
    with contextlib.suppress(OSError):
      os.unlink(name)
    if isinstance(error, OSError):
      raise explained(path, error) from error
    raise


def write_text(path: Path | str, text: str) -> None:
  """Writes a whole text file, see `replacing`."""
  with replacing(path, 'w') as file:
    file.write(text)


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
  """What to raise where a file cannot be written: ResourceError if the disk is full, else one of type `refused`."""
  if error.errno in (errno.ENOSPC, errno.EDQUOT):
    return ResourceError(f'{path}: the disk is full; make room and run the same command again, or choose another place')
  return refused(f'{path}: cannot be written ({error.strerror or error}); choose a place you may write to')
