# SPDX-License-Identifier: Apache-2.0
"""What a tar archive that is not trusted may hold."""

import pathlib
import tarfile

from alphafold_jax.transfer.files import human_size


def fault(member: tarfile.TarInfo, largest: int) -> str | None:
  """What is wrong with a member that a plain archive of files has no reason to hold; None for a harmless one.

  Args:
    member: of the archive.
    largest: bytes that a file may have.
  """
  path = pathlib.PurePosixPath(member.name)
  if path.is_absolute() or '..' in path.parts or '\\' in member.name or ':' in member.name:
    return 'has a path that leaves its directory'
  if not (member.isfile() or member.isdir()) or member.issparse():
    return 'is a link or a special file'
  if member.size > largest:
    return f'claims {human_size(member.size)}, more than the {human_size(largest)} such a file may have'
  return None
