# SPDX-License-Identifier: Apache-2.0
"""Text files out of a tar.gz archive that came over the network, in memory, without trusting it."""

import gzip
import io
import re
import tarfile

from alphafold_jax.data.records import decode
from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search.server.client import PassingError
from alphafold_jax.transfer.archives import BROKEN, UnsafeArchiveError, members

LARGEST = 4 << 30  # bytes of a whole archive, unpacked
_READ = 1 << 20


def read(packed: bytes, wanted: re.Pattern[str], source: str, largest: int = LARGEST) -> dict[str, str]:
  """The texts of the wanted members by the last part of their names; nothing is written to the disk.

  Args:
    packed: the archive.
    wanted: matches the whole last part of a name.
    source: where the archive came from, for messages.
    largest: bytes that the whole archive may unpack to.

  Raises:
    PassingError: the archive is not whole; another try may bring it.
    SearchError: it holds what no such archive has reason to hold.
  """
  texts: dict[str, str] = {}
  stream = _Bounded(packed, largest, source)
  try:
    with tarfile.open(fileobj=stream, mode='r|') as tar:
      for name, member in members(tar, largest):
        if not wanted.fullmatch(name):
          continue
        if name in texts:
          raise SearchError(f'{source}: the archive holds {name} twice; nothing of it was used')
        file = tar.extractfile(member)
        assert file is not None  # only links and special files have no content
        texts[name] = decode(file.read(), f'{source}, {name}')
    while stream.read(_READ):  # to the end, where the gzip checksum is
      pass
  except UnsafeArchiveError as error:
    raise SearchError(f'{source}: {error}; nothing of it was used. Do not trust this server') from None
  except InputError as error:
    raise SearchError(f'{error}; the server sent no alignments') from None
  except (*BROKEN, OSError) as error:
    raise PassingError(f'the archive is damaged or cut off ({error or type(error).__name__})') from None
  return texts


class _Bounded(io.RawIOBase):
  """The unpacked bytes of a gzip file, up to a limit."""

  def __init__(self, packed: bytes, largest: int, source: str):
    self._stream = gzip.GzipFile(fileobj=io.BytesIO(packed))
    self._left, self._largest, self._source = largest, largest, source

  def readable(self) -> bool:
    return True

  def read(self, size: int = -1) -> bytes:
    chunk = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
    self._left -= len(chunk)
    if self._left < 0:
      raise SearchError(
        f'{self._source}: the archive unpacks to more than {self._largest >> 20} MiB, which no result '
        'has reason to; nothing of it was used'
      )
    return chunk
