# SPDX-License-Identifier: Apache-2.0
"""Takes the wanted files out of a tar archive without trusting it."""

import hashlib
import lzma
import os
import pathlib
import tarfile
import zlib
from collections.abc import Collection

from alphafold_jax.errors import WeightsError
from alphafold_jax.transfer.files import CHUNK, disk_errors
from alphafold_jax.transfer.members import fault
from alphafold_jax.transfer.meter import Meter

_LARGEST = 2 << 30  # bytes; a published parameter file has 0.4 GB
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)


def unpack(archive: pathlib.Path, into: pathlib.Path, wanted: Collection[str], meter: Meter) -> dict[str, str]:
  """Writes the wanted members flat into the directory `into`; returns the SHA-256 of each.

  Nothing else is written. Any member that a plain archive of files has no reason to hold (a link, a device, a path
  that leaves the directory, an absurd size, a name twice) refuses the whole archive.
  """
  digests = {}
  total = _length(archive)
  try:
    with tarfile.open(archive, 'r:*') as tar:
      for member in tar:
        name = _checked_name(archive, member)
        if name in digests:
          raise WeightsError(f'{archive}: holds {name} twice. {_advice(archive)}')
        if member.isfile() and name in wanted:
          digests[name] = _write(archive, tar, member, into / name)
        meter.position(min(member.offset_data + member.size, total), total)
  except _BROKEN as error:
    raise WeightsError(
      f'{archive}: not a tar archive, or truncated ({error or type(error).__name__}). {_advice(archive)}'
    ) from error
  meter.position(total, total)
  return digests


def _length(archive: pathlib.Path) -> int:
  try:
    return archive.stat().st_size
  except OSError as error:
    raise WeightsError(f'{archive}: cannot be read ({error.strerror}). Give the path of the .tar file.') from error


def _checked_name(archive: pathlib.Path, member: tarfile.TarInfo) -> str:
  """The last part of a member's path, once the member is known to be harmless."""
  if what := fault(member, _LARGEST):
    raise WeightsError(f'{archive}: member {member.name!r} {what}; nothing was installed. {_advice(archive)}')
  return pathlib.PurePosixPath(member.name).name


def _write(archive: pathlib.Path, tar: tarfile.TarFile, member: tarfile.TarInfo, path: pathlib.Path) -> str:
  """Streams one member to a new file; returns its SHA-256."""
  state = hashlib.sha256()
  source = tar.extractfile(member)
  with disk_errors(path):
    out = open(path, 'xb')
  size = 0
  with out:
    while chunk := source.read(CHUNK):
      state.update(chunk)
      size += len(chunk)
      with disk_errors(path):
        out.write(chunk)
    with disk_errors(path):
      out.flush()
      os.fsync(out.fileno())
  if size != member.size:
    raise WeightsError(f'{archive}: ends inside {member.name} ({size} of {member.size} bytes). {_advice(archive)}')
  return state.hexdigest()


def _advice(archive: pathlib.Path) -> str:
  return f'Fetch the archive again ({archive.name} as published), and check its source.'
