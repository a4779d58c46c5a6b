# SPDX-License-Identifier: Apache-2.0
"""Fetches a standard database: goes on where an earlier try stopped, checks it, unpacks it, and records its digest.

`downloads.json` beside the databases records the address and the SHA-256 of each. The publishers state no digests
beforehand, so the first download is trusted (over TLS, and compared with the MD5 that some servers state) and recorded;
a set that is not replaced by its publisher must have the recorded digest whenever it is fetched again.
"""

import gzip
import json
import logging
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, folders, untrusted
from alphafold_jax.data.records import GZIP_MAGIC
from alphafold_jax.errors import InputError, TransferError
from alphafold_jax.search import databases
from alphafold_jax.search.databases import Database
from alphafold_jax.search.standard_sets import StandardSet, find_set
from alphafold_jax.transfer import archives
from alphafold_jax.transfer.fetch import Patience, check, discard, fetch
from alphafold_jax.transfer.files import (
  CHUNK,
  Meter,
  UnusableError,
  disk_errors,
  human_size,
  lock,
  meter,
  require_space,
  staging,
  state,
  today,
)

_log = logging.getLogger(__name__)
RECORD = 'downloads.json'
_LARGEST = 4 << 40  # bytes of one file


def download(
  chosen: str | StandardSet,
  folder: Path | str,
  *,
  sha256: str | None = None,
  force: bool = False,
  patience: Patience = Patience(),
) -> Database:
  """Makes sure that a standard database is in a folder; does nothing if it is there and unchanged.

  Args:
    chosen: a name of STANDARD_SETS, or a set of one's own.
    folder: where databases are kept; made if it is missing.
    sha256: the digest that the download must have, if known from elsewhere.
    force: fetch it again even if it is there.
    patience: retries and deadlines of the transfer.

  Returns:
    the database, ready to be searched.

  Raises:
    TransferError: it cannot be fetched, or is not what it should be.
    ResourceError: there is no room for it; nothing was fetched then.
    InputError: there is no such set.
  """
  one = find_set(chosen) if isinstance(chosen, str) else chosen
  folder = folders.expanded(folder)
  wanted = (sha256 or one.sha256 or '').strip().lower() or None
  atomic.make_folder(folder, tried=True, refused=TransferError)
  with lock(folder, patience.deadline):
    known = _read(folder).get(one.name)
    if not force and known and wanted in (None, known['sha256']) and _untouched(folder, known):
      _log.info('%s: %s is there', folder, one.name)
      return one.database(folder)
    part = folder / f'{one.file}.part'
    if force:
      discard(part)
    with staging(folder) as unpacked:
      there = part.stat().st_size if part.exists() else 0
      require_space(folder, one.room - min(there, one.num_bytes), _purpose(one))
      _log.info('fetching %s (%s) from %s into %s', one.name, one.licence, one.url, folder)
      stated_md5 = fetch(one.url, part, patience, reserve=one.room / one.num_bytes - 1)
      recorded = None if wanted is not None or one.changes else known
      try:
        found = check(part, one.url, asked=wanted, stated_md5=stated_md5, recorded=recorded)
        files = _place(one, part, unpacked, folder)
      except UnusableError:
        discard(part)
        raise
    _write(folder, one, found, files)
    discard(part)
  return one.database(folder)


def _purpose(one: StandardSet) -> str:
  """What room on the disk is needed for, for messages."""
  if one.prefix is None:
    return f'fetching {one.name} ({human_size(one.num_bytes)})'
  unpacked = human_size(one.unpacked_bytes or one.num_bytes)
  least = '' if one.unpacked_bytes else 'at least '
  return f'fetching {one.name} ({human_size(one.num_bytes)}) and unpacking it ({least}{unpacked})'


def _place(one: StandardSet, part: Path, unpacked: Path, folder: Path) -> list[str]:
  """Puts the database into its folder, from an archive by way of the folder `unpacked`; names its files."""
  if one.prefix is None:
    _check_fasta(one, part)
    with disk_errors(folder / one.file):
      os.replace(part, folder / one.file)
    return [one.file]
  with meter(f'unpacking {one.file}') as progress:
    _unpack(one, part, unpacked, progress)
  try:
    databases.parse(str(one.database(unpacked).path))
  except InputError:
    raise UnusableError(f'{one.url}: the archive does not hold {one.prefix}; it is not the one meant') from None
  files = sorted(path.name for path in unpacked.iterdir())
  for file in files:
    with disk_errors(folder / file):
      os.replace(unpacked / file, folder / file)
  return files


def _check_fasta(one: StandardSet, part: Path) -> None:
  """Refuses what does not begin like a FASTA file, such as the page of a proxy."""
  try:
    with open(part, 'rb') as file:
      packed = file.peek(2)[:2] == GZIP_MAGIC
      first = (gzip.GzipFile(fileobj=file) if packed else file).read(1)
  except (*archives.BROKEN, OSError) as error:
    raise UnusableError(f'{one.url}: damaged gzip data ({error}). Run the command again.') from None
  if first != b'>' or packed != one.file.endswith('.gz'):
    raise UnusableError(
      f'{one.url}: what came is no FASTA file, but perhaps the page of a proxy. Check the address '
      'and your proxy settings.'
    )


def _unpack(one: StandardSet, part: Path, unpacked: Path, progress: Meter) -> None:
  """Writes the files of an archive flat into a folder, without trusting the archive.

  Links between files beside one another are made: MMseqs2 has them where databases share headers.
  """
  total, links = part.stat().st_size, {}
  try:
    with open(part, 'rb') as file, gzip.GzipFile(fileobj=file) as stream:
      with tarfile.open(fileobj=stream, mode='r|') as tar:
        for name, member in archives.members(tar, _LARGEST, links=True):
          if member.issym():
            links[name] = member.linkname
          else:
            require_space(unpacked, member.size, f'unpacking {name}')
            archives.extract(tar, member, unpacked / name)
          progress(file.tell(), total)
      while stream.read(CHUNK):  # to the end, where the gzip checksum is
        pass
  except archives.UnsafeArchiveError as error:
    raise UnusableError(f'{one.url}: {error}; nothing was kept') from None
  except archives.BROKEN as error:
    raise UnusableError(
      f'{one.url}: the archive is damaged ({error or type(error).__name__}). Run the command again.'
    ) from None
  for name, target in links.items():
    if os.path.isfile(unpacked / target) and not os.path.lexists(unpacked / name):
      with disk_errors(unpacked / name):
        os.symlink(target, unpacked / name)


def _read(folder: Path) -> dict[str, dict[str, Any]]:
  """The record of a folder's downloads, by name of the set."""
  path = folder / RECORD
  try:
    sets = untrusted.from_json(path.read_text(encoding='utf-8'))['sets']
    if not all(isinstance(known['sha256'], str) and isinstance(known['files'], dict) for known in sets.values()):
      raise ValueError('an entry without digest or files')
    return sets
  except FileNotFoundError:
    return {}
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise TransferError(
      f'{path}: not a record of downloads ({error}). Restore it, or remove it and fetch the databases again.'
    ) from None


def _write(folder: Path, one: StandardSet, sha256: str, files: list[str]) -> None:
  """Adds a set to the record."""
  states = {file: [*state(folder / file).values()] for file in files}
  known = {'url': one.url, 'sha256': sha256, 'date': today(), 'licence': one.licence, 'files': states}
  content = {'sets': _read(folder) | {one.name: known}}
  atomic.write_text(folder / RECORD, json.dumps(content, indent=1, sort_keys=True) + '\n')


def _untouched(folder: Path, known: Mapping[str, Any]) -> bool:
  """Whether size and time of all files are those recorded."""
  return all([*state(folder / file).values()] == recorded for file, recorded in known['files'].items())
