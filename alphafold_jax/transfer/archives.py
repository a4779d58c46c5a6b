# SPDX-License-Identifier: Apache-2.0
"""Tar archives that are not trusted: what one may hold, and its files written to the disk."""

import gzip
import lzma
import os
import pathlib
import tarfile
import zlib
from collections.abc import Callable, Iterator

from alphafold_jax.transfer.files import CHUNK, disk_errors, human_size

BROKEN = (  # what tarfile raises of a damaged or truncated archive
  tarfile.TarError,
  EOFError,
  zlib.error,
  lzma.LZMAError,
  gzip.BadGzipFile,
  ValueError,
  OverflowError,
)


class UnsafeArchiveError(Exception):
  """The archive holds what a plain archive of files has no reason to hold; the message names the member."""


def members(tar: tarfile.TarFile, largest: int, *, links: bool = False) -> Iterator[tuple[str, tarfile.TarInfo]]:
  """The members of an archive, folders left out, each with the last part of its path.

  Args:
    tar: the archive, perhaps a stream.
    largest: bytes that a file may have.
    links: let symbolic links to a file beside them pass.

  Raises:
    UnsafeArchiveError: a member leaves the archive's folder, is a link or a special file, or is too large.
  """
  for member in tar:
    if not (links and _is_plain_link(member)) and (fault := _fault(member, largest)):
      raise UnsafeArchiveError(f'archive member {member.name!r} {fault}')
    if not member.isdir():
      yield pathlib.PurePosixPath(member.name).name, member


def _is_plain_link(member: tarfile.TarInfo) -> bool:
  return member.issym() and '/' not in member.linkname and member.linkname not in ('', '.', '..')


def _fault(member: tarfile.TarInfo, largest: int) -> str | None:
  """What is wrong with a member; None for a harmless one."""
  path = pathlib.PurePosixPath(member.name)
  if path.is_absolute() or '..' in path.parts or '\\' in member.name or ':' in member.name:
    return 'has a path that leaves its directory'
  if not (member.isfile() or member.isdir()) or member.issparse():
    return 'is a link or a special file'
  if member.size > largest:
    return f'claims {human_size(member.size)}, more than the {human_size(largest)} such a file may have'
  return None


def extract(
  tar: tarfile.TarFile, member: tarfile.TarInfo, path: pathlib.Path, watch: Callable[[bytes], None] = lambda chunk: None
) -> None:
  """Writes one file of an archive, which may be a stream, to a new file on the disk.

  Args:
    tar: the archive.
    member: one of its files.
    path: the new file.
    watch: called with each piece of the content.

  Raises:
    UnsafeArchiveError: there is a file of this name, as when an archive holds one twice.
    EOFError: the archive ends inside the file.
    ResourceError, TransferError: the disk is full, or the place cannot be written.
  """
  source = tar.extractfile(member)
  assert source is not None  # only links and special files have no content
  if os.path.lexists(path):
    raise UnsafeArchiveError(f'it holds {path.name} twice')
  with disk_errors(path):
    out = open(path, 'xb')
  with out:
    while chunk := source.read(CHUNK):
      watch(chunk)
      with disk_errors(path):
        out.write(chunk)
    with disk_errors(path):
      out.flush()
      os.fsync(out.fileno())
  if path.stat().st_size != member.size:
    raise EOFError(f'it ends inside {member.name}: {path.stat().st_size} of {member.size} bytes')
