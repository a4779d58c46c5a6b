# SPDX-License-Identifier: Apache-2.0
"""From an archive, on a server or on this machine, to checked parameter files in place.

Fetch (going on where an earlier try stopped), compare the digest with the one recorded, unpack beside the target,
check every file there, move them into place, record. Until the move the target is not touched.
"""

import dataclasses
import hashlib
import logging
import os
import pathlib
import tarfile
import urllib.parse
from collections.abc import Callable, Collection, Mapping
from typing import Any

from alphafold_jax import atomic
from alphafold_jax.errors import TransferError, WeightsError
from alphafold_jax.transfer import archives
from alphafold_jax.transfer.fetch import Patience, check, discard, fetch
from alphafold_jax.transfer.files import Meter, disk_errors, lock, meter, require_space, staging, today
from alphafold_jax.weights import manifest
from alphafold_jax.weights.npz import Shape, read_shapes, shape_problems, shown
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
_PUBLISHED = ARCHIVES[DEFAULT_ARCHIVE].url
Expected = Callable[[str], Mapping[str, Shape]]  # model name -> name and shape of each array of its file


@dataclasses.dataclass(frozen=True)
class Installation:
  """The files of one archive on their way into a directory."""

  archive: Archive
  target: pathlib.Path
  sha256: str | None = None  # that the archive must have, if known from elsewhere
  expected: Expected | None = None  # to check each file against

  def run(self, source: pathlib.Path | None, force: bool, patience: Patience) -> None:
    """Makes sure that the files are there.

    Args:
      source: an archive on this machine, which is kept; None: it is fetched.
      force: fetch and install even if all is there.
      patience: retries and deadlines of the transfer.

    Raises:
      WeightsError, TransferError: the archive cannot be fetched, or is not what it should be.
      ResourceError: there is no room for it.
    """
    archive, part = self.archive, self.target / f'{self.archive.name}.part'
    atomic.make_folder(self.target, tried=True, refused=TransferError)
    with lock(self.target, patience.deadline):
      if not force and self._is_complete():
        _log.info('%s: the %d files of %s are installed', self.target, len(archive.models), archive.name)
        return
      with staging(self.target) as folder:
        stated_md5 = self._fetch(part, force, patience) if source is None else None
        path = part if source is None else self._there(source)
        try:
          recorded = manifest.read(self.target)['archives'].get(archive.name)
          found = check(path, str(path), asked=self.sha256, stated_md5=stated_md5, recorded=recorded)
          digests = self._unpack(path, folder)
        except (WeightsError, TransferError):
          if source is None:  # to be fetched anew
            discard(part)
          raise
        self._check_files(folder, digests)
        self._move(folder, digests, {'size': path.stat().st_size, 'sha256': found})
      if source is None:
        discard(part)

  def _is_complete(self) -> bool:
    """Whether all files of the archive are installed, with the recorded sizes and times."""
    recorded = manifest.read(self.target)
    known = recorded['archives'].get(self.archive.name, {}).get('sha256')
    if known is None or self.sha256 not in (None, known):
      return False
    entries = {file: recorded['files'].get(file) for file in map(file_name, self.archive.models)}
    return all(
      entry is not None and entry.get('archive') == self.archive.name and manifest.untouched(self.target / file, entry)
      for file, entry in entries.items()
    )

  def _fetch(self, part: pathlib.Path, force: bool, patience: Patience) -> str | None:
    """Fetches the archive; returns the MD5 that the server states, if any."""
    parts = urllib.parse.urlsplit(self.archive.url)
    if parts.scheme == 'http' and parts.hostname not in ('localhost', '127.0.0.1', '::1') and self.sha256 is None:
      _log.warning('%s: fetched without TLS; give its SHA-256 if you know it', self.archive.url)
    if force:
      discard(part)
    _log.info('fetching %s into %s', self.archive.url, self.target)
    return fetch(self.archive.url, part, patience, reserve=1.0)

  def _there(self, source: pathlib.Path) -> pathlib.Path:
    """An archive on this machine, provided that it is there and there is room to unpack it."""
    if not source.is_file():
      raise WeightsError(f'{source}: no such file. Name the parameter archive, as from {_PUBLISHED}.')
    require_space(self.target, source.stat().st_size, f'unpacking {source.name}')
    return source

  def _unpack(self, path: pathlib.Path, folder: pathlib.Path) -> dict[str, str]:
    """Unpacks the files of the archive's models, all of which must be there; returns the SHA-256 of each."""
    wanted = [file_name(model) for model in self.archive.models]
    with meter(f'unpacking {self.archive.name}') as progress:
      digests = _extract(path, folder, {*wanted, LICENCE_FILE}, progress)
    if missing := [file for file in wanted if file not in digests]:
      raise WeightsError(
        f'{path}: does not hold {", ".join(missing)}; it is truncated, or another archive. Nothing was installed. '
        f'Fetch {self.archive.name} again, as published: {_PUBLISHED}.'
      )
    return digests

  def _check_files(self, folder: pathlib.Path, digests: Mapping[str, str]) -> None:
    """Refuses files that are unreadable, without their model's arrays, or in contradiction to the record."""
    name, recorded = self.archive.name, manifest.read(self.target)['files']
    for model in self.archive.models:
      file = file_name(model)
      entry = recorded.get(file)
      if entry and entry['sha256'] != digests[file]:
        raise WeightsError(
          f'{self.target / file}: {name} has another {file} than {entry.get("archive")}, installed on '
          f'{entry.get("date")}; nothing was installed. Use a directory of its own for each archive: --data DIR.'
        )
      shapes = read_shapes(folder / file)
      wrong, surplus = shape_problems(shapes, self.expected(model)) if self.expected else ([], [])
      if wrong:
        raise WeightsError(
          f'{name}: {file} does not fit {model}: {"; ".join(shown(wrong))}. Nothing was installed. The archive that '
          f'this program knows is {_PUBLISHED}; --force fetches it anew.'
        )
      if surplus:
        _log.warning('%s: arrays that %s does not use: %s', file, model, '; '.join(shown(surplus)))

  def _move(self, folder: pathlib.Path, digests: Mapping[str, str], facts: Mapping[str, Any]) -> None:
    """Moves the checked files into place, writes the notice, and last the manifest."""
    archive, content = self.archive, manifest.read(self.target)
    for file, sha256 in digests.items():
      with disk_errors(self.target / file):
        os.replace(folder / file, self.target / file)
      if file != LICENCE_FILE:
        content['files'][file] = manifest.file_entry(self.target / file, sha256, archive.name)
    if archive.licence == LICENCE:
      licence_file = 'the text is in LICENSE.' if LICENCE_FILE in digests else 'the archive held no LICENSE file.'
      atomic.write_text(self.target / 'NOTICE.txt', NOTICE.format(url=archive.url, licence_file=licence_file))
    about = {'url': archive.url, 'date': today(), 'licence': archive.licence}
    content['archives'][archive.name] = about | dict(facts)
    manifest.write(self.target, content)
    _log.info('installed %d parameter files in %s (%s)', len(archive.models), self.target, archive.licence)


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
        progress(min(member.offset_data + member.size, total), total)
  except archives.UnsafeArchiveError as error:
    raise WeightsError(f'{path}: {error}. {advice}') from None
  except (*archives.BROKEN, OSError) as error:
    raise WeightsError(
      f'{path}: not a tar archive, or truncated ({error or type(error).__name__}). {advice}'
    ) from error
  progress(total, total)
  return digests
