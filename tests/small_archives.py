# SPDX-License-Identifier: Apache-2.0
"""Tar archives in memory, honest and hostile ones."""

import io
import tarfile
from collections.abc import Mapping, Sequence


def tar_of(members: Mapping[str, bytes | str], extra: Sequence[tarfile.TarInfo] = (), *, packed: bool = False) -> bytes:
  """The bytes of a tar archive.

  Args:
    members: contents by name.
    extra: members that follow; a file's content is zeros, and is left out where it claims more than 1000 bytes.
    packed: with gzip.
  """
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode='w:gz' if packed else 'w') as tar:
    for name, content in members.items():
      content = content.encode() if isinstance(content, str) else content
      tar.addfile(special(name, size=len(content)), io.BytesIO(content))
    for info in extra:
      if info.size > 1000:
        tar.fileobj.write(info.tobuf())
      else:
        tar.addfile(info, io.BytesIO(bytes(info.size)))
  return out.getvalue()


def special(name: str, kind: bytes = tarfile.REGTYPE, target: str = '', size: int = 0) -> tarfile.TarInfo:
  """A member of any kind."""
  info = tarfile.TarInfo(name)
  info.type, info.linkname, info.size = kind, target, size
  return info
