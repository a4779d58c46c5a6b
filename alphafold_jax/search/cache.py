# SPDX-License-Identifier: Apache-2.0
"""Searches that were made before, shared by all runs and processes of a person.

An entry is one file, named by a digest of everything that shaped it: sequence, engine, settings and databases. It
appears whole or not at all. While a search runs, its process holds one byte of the file `lock` (the byte's place comes
from the digest), so that no other process makes the same search meanwhile; the system gives the byte back however the
process ends.
"""

import contextlib
import dataclasses
import datetime
import gzip
import hashlib
import json
import logging
import os
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from alphafold_jax import atomic, folders, locks, untrusted
from alphafold_jax.errors import InputError
from alphafold_jax.search.found import Found

_log = logging.getLogger(__name__)
_FORMAT = 1  # raise it when entries of an older program can no longer be used
_SUFFIX = '.json.gz'


def key_of(sequence: str, shaped_by: Mapping[str, Any]) -> str:
  """The name of a search: a digest of the sequence and of all that shapes what is found."""
  content = {'format': _FORMAT, 'sequence': sequence, 'shaped_by': shaped_by}
  return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(',', ':')).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class KeptSearch:
  """A search in the cache, without what it found."""

  path: pathlib.Path
  num_bytes: int
  used: datetime.datetime  # when it was last made or taken from the cache
  engine: str = 'damaged'
  num_res: int = 0
  num_rows: int = 0

  @property
  def key(self) -> str:
    """The name of the search, see `key_of`."""
    return self.path.name.removesuffix(_SUFFIX)


class SearchCache:
  """The searches in a folder."""

  def __init__(self, folder: pathlib.Path | str | None = None):
    """Opens or makes the folder.

    Args:
      folder: None: the default one.

    Raises:
      InputError: it cannot be written.
      ResourceError: the disk is full.
    """
    self.folder = folders.expanded(folder or folders.user_cache('searches'))
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
      self._lock = open(self.folder / 'lock', 'a+b')  # noqa: SIM115 (open as long as the cache)
    except OSError as error:
      variable = folders.VARIABLES['searches']
      raise InputError(
        f'{self.folder}: cannot be written ({error.strerror}); name another folder by --search-cache or {variable}'
      ) from None

  def get(self, key: str) -> Found | None:
    """What an earlier search found; a damaged entry is removed and counts as none."""
    path = self._path(key)
    try:
      with gzip.open(path, 'rt', encoding='utf-8') as file:
        file.readline()  # the heading
        found = Found.from_json(untrusted.from_json(file.readline()))
    except FileNotFoundError:
      return None
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
      _log.warning('%s: damaged (%s: %s), so that search is made again', path, type(error).__name__, error)
      with contextlib.suppress(OSError):
        path.unlink()
      return None
    except OSError as error:
      _log.warning('%s: cannot be read (%s), so that search is made again', path, error.strerror or error)
      return None
    with contextlib.suppress(OSError):
      os.utime(path)
    return found

  def put(self, key: str, sequence: str, engine: str, found: Found) -> None:
    """Keeps what was found.

    Raises:
      ResourceError: the disk is full.
      InputError: the folder cannot be written.
    """
    heading = {
      'format': _FORMAT,
      'num_res': len(sequence) - sequence.count(':'),  # a colon stands between the chains of a complex
      'engine': engine,
      'num_rows': sum(rows.a3m.count('>') - 1 for rows in found.rows) + 1,
    }
    atomic.make_folder(self._path(key).parent)
    with atomic.replacing(self._path(key)) as file, gzip.open(file, 'wt', **atomic.TEXT) as packed:
      packed.write(f'{json.dumps(heading)}\n{json.dumps(found.to_json())}\n')

  def claim(self, key: str, *, wait: bool = False) -> bool:
    """Takes the right to make a search.

    Args:
      key: of the search.
      wait: until another process that has the right has ended, instead of giving up.

    Returns:
      False if another process has it.
    """
    held = locks.take(self._lock, _place(key), wait=wait)
    return held is not False  # a file system without locks: at worst a search is made twice

  def release(self, key: str) -> None:
    """Gives the right back."""
    locks.give_back(self._lock, _place(key))

  def entries(self) -> Iterator[KeptSearch]:
    """All searches in the folder, in no order."""
    for path in self.folder.glob(f'??/*{_SUFFIX}'):
      try:
        about = path.stat()
        used = datetime.datetime.fromtimestamp(about.st_mtime).astimezone()
        with gzip.open(path, 'rt', encoding='utf-8') as file:
          heading = untrusted.from_json(file.readline())
        shown = {name: heading[name] for name in ('engine', 'num_res', 'num_rows')}
      except FileNotFoundError:  # another process removed it
        continue
      except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        _log.warning('%s: damaged (%s); `alphafold-jax cache clean` removes it', path, error)
        used, shown = datetime.datetime.fromtimestamp(0).astimezone(), {}
      yield KeptSearch(path, about.st_size, used, **shown)

  def close(self) -> None:
    """Gives back all rights that are held."""
    self._lock.close()

  def _path(self, key: str) -> pathlib.Path:
    return self.folder / key[:2] / f'{key}{_SUFFIX}'


def _place(key: str) -> int:
  """Which byte of the lock file stands for a search."""
  return int(key[:14], 16)
