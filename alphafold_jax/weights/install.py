# SPDX-License-Identifier: Apache-2.0
"""From an archive, on a server or on this machine, to checked parameter files in place.

Fetch (going on where an earlier try stopped), compare the digest with the one recorded, unpack beside the target,
check every file there, move them into place, record. Until the move the target is not touched.
"""

import hashlib
import logging
import lzma
import os
import pathlib
import tarfile
import urllib.parse
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from alphafold_jax import atomic
from alphafold_jax.errors import TransferError, WeightsError
from alphafold_jax.transfer import archives
from alphafold_jax.transfer.fetch import Patience, discard, fetch
from alphafold_jax.transfer.files import check_digest, disk_errors, lock, make_directory, require_space, staging
from alphafold_jax.transfer.meter import Meter, meter
from alphafold_jax.weights import manifest
from alphafold_jax.weights.npz import Shape, read_shapes, shape_problems
from alphafold_jax.weights.published import (
  ARCHIVES,
  DEFAULT_ARCHIVE,
  LICENCE,
  LICENCE_FILE,
  NOTICE,
  Archive,
  file_name,
)

_log = logging.getLogger(__name__)
_LARGEST = 2 << 30  # bytes; a published parameter file has 0.4 GB
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)
Expected = Callable[[str], Mapping[str, Shape]]  # model name -> name and shape of each array of its file


def install(
  archive: Archive,
  target: pathlib.Path,
  source: pathlib.Path | None,
  sha256: str | None,
  expected: Expected | None,
  force: bool,
  patience: Patience,
) -> None:
  """Makes sure that the files of an archive are in `target` (the arguments are those of store.download)."""
  sha256 = sha256 and sha256.strip().lower()
  make_directory(target)
  with lock(target, patience.deadline):
    if not force and _complete(target, archive, sha256):
      _log.info('%s: the %d files of %s are installed', target, len(archive.models), archive.name)
      return
    with staging(target) as folder:
      if source is None:
        path, found, digests = _from_server(archive, target, folder, sha256, force, patience)
      else:
        path = source
        found, digests = _from_file(archive, target, folder, source, sha256)
      _check_files(archive, target, folder, digests, expected)
      size = path.stat().st_size
      _move(archive, target, folder, digests, {'size': size, 'sha256': found})
    if source is None:
      discard(path)


def _complete(target: pathlib.Path, archive: Archive, sha256: str | None) -> bool:
  """Whether all files of the archive are installed, with the recorded sizes and times."""
  recorded = manifest.read(target)
  known = recorded['archives'].get(archive.name, {}).get('sha256')
  if known is None or sha256 not in (None, known):
    return False
  entries = {file_name(model): recorded['files'].get(file_name(model)) for model in archive.models}
  return all(
    entry is not None and entry.get('archive') == archive.name and manifest.untouched(target / file, entry)
    for file, entry in entries.items()
  )


def _from_server(
  archive: Archive, target: pathlib.Path, folder: pathlib.Path, sha256: str | None, force: bool, patience: Patience
) -> tuple[pathlib.Path, str, dict[str, str]]:
  """Fetches, checks and unpacks; an archive that is not the right one is removed, to be fetched anew."""
  parts = urllib.parse.urlsplit(archive.url)
  if parts.scheme == 'http' and parts.hostname not in ('localhost', '127.0.0.1', '::1') and sha256 is None:
    _log.warning('%s: fetched without TLS; give its SHA-256 if you know it', archive.url)
  part = target / f'{archive.name}.part'
  if force:
    discard(part)
  _log.info('fetching %s into %s', archive.url, target)
  with meter(archive.name) as progress:
    stated_md5 = fetch(archive.url, part, progress, patience, reserve=1.0)
  try:
    found = _check_archive(archive, target, part, sha256, stated_md5)
    return part, found, _unpack(archive, part, folder)
  except (WeightsError, TransferError):
    discard(part)
    raise


def _from_file(
  archive: Archive, target: pathlib.Path, folder: pathlib.Path, source: pathlib.Path, sha256: str | None
) -> tuple[str, dict[str, str]]:
  """Checks and unpacks an archive that is on this machine, and leaves it where it is."""
  if not source.is_file():
    raise WeightsError(f'{source}: no such file. Name the parameter archive, as from {ARCHIVES[DEFAULT_ARCHIVE].url}.')
  require_space(target, source.stat().st_size, f'unpacking {source.name}')
  return _check_archive(archive, target, source, sha256, None), _unpack(archive, source, folder)


def _check_archive(
  archive: Archive, target: pathlib.Path, path: pathlib.Path, sha256: str | None, stated_md5: str | None
) -> str:
  """The archive's SHA-256, provided that it is the one asked for, stated and recorded."""
  recorded = manifest.read(target)['archives'].get(archive.name)
  with meter(f'checking {archive.name}') as progress:
    return check_digest(path, str(path), progress.position, asked=sha256, stated_md5=stated_md5, recorded=recorded)


def _unpack(archive: Archive, path: pathlib.Path, folder: pathlib.Path) -> dict[str, str]:
  """Unpacks the files of the archive's models, all of which must be there; returns the SHA-256 of each."""
  wanted = [file_name(model) for model in archive.models]
  with meter(f'unpacking {archive.name}') as progress:
    digests = _extract(path, folder, {*wanted, LICENCE_FILE}, progress)
  if missing := [file for file in wanted if file not in digests]:
    raise WeightsError(
      f'{path}: does not hold {", ".join(missing)}; it is truncated, or another archive. Nothing was installed. '
      f'Fetch {archive.name} again, as published: {ARCHIVES[DEFAULT_ARCHIVE].url}.'
    )
  return digests


def _extract(path: pathlib.Path, folder: pathlib.Path, wanted: Collection[str], progress: Meter) -> dict[str, str]:
  """Writes the wanted files of an archive flat into a folder, without trusting it; returns the SHA-256 of each."""
  advice = f'Nothing was installed. Fetch the archive again ({path.name} as published), and check its source.'
  digests, total = {}, path.stat().st_size
  try:
    with tarfile.open(path, 'r:*') as tar:
      for name, member in archives.members(tar, _LARGEST):
        if name in wanted:
          state = hashlib.sha256()
          archives.extract(tar, member, folder / name, state.update)
          digests[name] = state.hexdigest()
        progress.position(min(member.offset_data + member.size, total), total)
  except archives.UnsafeArchiveError as error:
    raise WeightsError(f'{path}: {error}. {advice}') from None
  except _BROKEN as error:
    raise WeightsError(
      f'{path}: not a tar archive, or truncated ({error or type(error).__name__}). {advice}'
    ) from error
  progress.position(total, total)
  return digests


def _check_files(
  archive: Archive, target: pathlib.Path, folder: pathlib.Path, digests: Mapping[str, str], expected: Expected | None
) -> None:
  """Raises unless each unpacked file is readable, has its model's arrays, and does not contradict the record."""
  recorded = manifest.read(target)['files']
  for model in archive.models:
    file = file_name(model)
    entry = recorded.get(file)
    if entry and entry['sha256'] != digests[file]:
      raise WeightsError(
        f'{target / file}: {archive.name} has another {file} than {entry.get("archive")}, installed on '
        f'{entry.get("date")}; nothing was installed. Use a directory of its own for each archive: --data DIR.'
      )
    shapes = read_shapes(folder / file)
    wrong, surplus = shape_problems(shapes, expected(model)) if expected else ([], [])
    if wrong:
      raise WeightsError(
        f'{archive.name}: {file} does not fit {model}: {_some(wrong)}. Nothing was installed. The archive that this '
        f'program knows is {ARCHIVES[DEFAULT_ARCHIVE].url}; --force fetches it anew.'
      )
    if surplus:
      _log.warning('%s: arrays that %s does not use: %s', file, model, _some(surplus))


def _move(
  archive: Archive, target: pathlib.Path, folder: pathlib.Path, digests: Mapping[str, str], facts: Mapping[str, Any]
) -> None:
  """Moves the checked files into place, writes the notice, and last the manifest."""
  content = manifest.read(target)
  for file, sha256 in digests.items():
    with disk_errors(target / file):
      os.replace(folder / file, target / file)
    if file != LICENCE_FILE:
      content['files'][file] = manifest.file_entry(target / file, sha256, archive.name)
  if archive.licence == LICENCE:
    licence_file = 'the text is in LICENSE.' if LICENCE_FILE in digests else 'the archive held no LICENSE file.'
    atomic.write_text(target / 'NOTICE.txt', NOTICE.format(url=archive.url, licence_file=licence_file))
  content['archives'][archive.name] = {
    'url': archive.url,
    'date': manifest.today(),
    'licence': archive.licence,
    **facts,
  }
  manifest.write(target, content)
  _log.info('installed %d parameter files in %s (%s)', len(archive.models), target, archive.licence)


def _some(lines: list[str], most: int = 5) -> str:
  more = f'; and {len(lines) - most} more' if len(lines) > most else ''
  return '; '.join(lines[:most]) + more
