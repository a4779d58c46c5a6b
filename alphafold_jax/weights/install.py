# SPDX-License-Identifier: Apache-2.0
"""From an archive, on a server or on this machine, to checked parameter files in place.

Fetch (going on where an earlier try stopped), compare the digest with the one recorded, unpack beside the target,
check every file there, move them into place, record. Until the move the target is not touched.
"""

import logging
import os
import pathlib
import shutil
import tempfile
import urllib.parse
from collections.abc import Callable, Mapping

from alphafold_jax import atomic
from alphafold_jax.errors import TransferError, WeightsError
from alphafold_jax.transfer.fetch import Patience, discard, fetch
from alphafold_jax.transfer.files import digest, disk_errors, lock, make_directory, require_space
from alphafold_jax.transfer.meter import meter
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
from alphafold_jax.weights.unpack import unpack

_log = logging.getLogger(__name__)
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
    for stale in target.glob('.unpacking-*'):  # left by a run that was killed: the lock is ours
      shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target, prefix='.unpacking-') as staging:
      if source is None:
        path, found, digests = _from_server(archive, target, pathlib.Path(staging), sha256, force, patience)
      else:
        path = source
        found, digests = _from_file(archive, target, pathlib.Path(staging), source, sha256)
      _check_files(archive, target, pathlib.Path(staging), digests, expected)
      size = path.stat().st_size
      _move(archive, target, pathlib.Path(staging), digests, {'size': size, 'sha256': found})
    if source is None:
      discard(path)


def _complete(target: pathlib.Path, archive: Archive, sha256: str | None) -> bool:
  """Whether all files of the archive are installed, unchanged as far as size and time tell."""
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
  archive: Archive, target: pathlib.Path, staging: pathlib.Path, sha256: str | None, force: bool, patience: Patience
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
    return part, found, _unpack(archive, part, staging)
  except (WeightsError, TransferError):
    discard(part)
    raise


def _from_file(
  archive: Archive, target: pathlib.Path, staging: pathlib.Path, source: pathlib.Path, sha256: str | None
) -> tuple[str, dict[str, str]]:
  """Checks and unpacks an archive that is on this machine, and leaves it where it is."""
  if not source.is_file():
    raise WeightsError(f'{source}: no such file. Name the parameter archive, as from {ARCHIVES[DEFAULT_ARCHIVE].url}.')
  require_space(target, source.stat().st_size, f'unpacking {source.name}')
  return _check_archive(archive, target, source, sha256, None), _unpack(archive, source, staging)


def _check_archive(
  archive: Archive, target: pathlib.Path, path: pathlib.Path, sha256: str | None, stated_md5: str | None
) -> str:
  """The archive's SHA-256, provided that it is the one asked for, stated and recorded."""
  with meter(f'checking {archive.name}') as progress:
    found = digest(path, ('sha256', 'md5') if stated_md5 else ('sha256',), progress.position)
  if sha256 is not None and found['sha256'] != sha256:
    raise WeightsError(
      f'{path}: its SHA-256 is {found["sha256"]}, asked for was {sha256}. The file was damaged on its way, or is not '
      'the one meant; nothing was installed. Check the digest and the address, then run the command again.'
    )
  if stated_md5 is not None and found['md5'] != stated_md5:
    raise WeightsError(
      f'{path}: its MD5 is {found["md5"]}, the server states {stated_md5}. The file was damaged on its way; nothing '
      'was installed. Run the command again.'
    )
  recorded = manifest.read(target)['archives'].get(archive.name)
  if recorded and recorded['sha256'] != found['sha256']:
    raise WeightsError(
      f'{path}: {archive.name} is not what it was on {recorded.get("date")}: SHA-256 was {recorded["sha256"]}, is '
      f'{found["sha256"]}. It may have been tampered with; nothing was installed. If its publisher says that it was '
      'replaced, install it into a new directory with --data DIR.'
    )
  return found['sha256']


def _unpack(archive: Archive, path: pathlib.Path, staging: pathlib.Path) -> dict[str, str]:
  """Unpacks the files of the archive's models, all of which must be there; returns the SHA-256 of each."""
  wanted = [file_name(model) for model in archive.models]
  with meter(f'unpacking {archive.name}') as progress:
    digests = unpack(path, staging, {*wanted, LICENCE_FILE}, progress)
  if missing := [file for file in wanted if file not in digests]:
    raise WeightsError(
      f'{path}: does not hold {", ".join(missing)}; it is truncated, or another archive. Nothing was installed. '
      f'Fetch {archive.name} again, as published: {ARCHIVES[DEFAULT_ARCHIVE].url}.'
    )
  return digests


def _check_files(
  archive: Archive, target: pathlib.Path, staging: pathlib.Path, digests: Mapping[str, str], expected: Expected | None
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
    shapes = read_shapes(staging / file)
    wrong, surplus = shape_problems(shapes, expected(model)) if expected else ([], [])
    if wrong:
      raise WeightsError(
        f'{archive.name}: {file} does not fit {model}: {_some(wrong)}. Nothing was installed. The archive that this '
        f'program knows is {ARCHIVES[DEFAULT_ARCHIVE].url}; --force fetches it anew.'
      )
    if surplus:
      _log.warning('%s: arrays that %s does not use: %s', file, model, _some(surplus))


def _move(
  archive: Archive, target: pathlib.Path, staging: pathlib.Path, digests: Mapping[str, str], facts: Mapping
) -> None:
  """Moves the checked files into place, writes the notice, and last the manifest."""
  content = manifest.read(target)
  for file, sha256 in digests.items():
    with disk_errors(target / file):
      os.replace(staging / file, target / file)
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
