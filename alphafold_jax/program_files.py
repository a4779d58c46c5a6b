# SPDX-License-Identifier: Apache-2.0
"""Files of compiled programs: a line of JSON that says what it is, then the program; whole, or known to be damaged.

A file is named by a digest of all that the program is made from. Nothing here loads a program.
"""

import dataclasses
import datetime
import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, untrusted

_FORMAT = 1  # raise it when files of an older program can no longer be used
_PREFIX = 'program-'
NAME = re.compile(f'{_PREFIX}[0-9a-f]{{32}}')
_LONGEST_HEADING = 1 << 16  # bytes
_LONGEST_TEXT = 500  # characters of a value
_SPEED_OVER_SIZE = 1  # zlib's level; a program shrinks to a fifth


class DamagedError(Exception):
  """The file is not a whole program; the message says why."""


@dataclasses.dataclass(frozen=True)
class Heading:
  """What a file says of its program."""

  facts: dict[str, str]  # of the machine and the code that it was compiled for
  what: str  # such as 'one_pass, up to 64 residues'
  seconds: float  # that compiling took
  sha256: str = ''  # of the program as it is in the file


@dataclasses.dataclass(frozen=True)
class KeptProgram:
  """A program in a folder."""

  path: Path
  num_bytes: int
  used: datetime.datetime  # when it was made or last read
  heading: Heading | None  # None: damaged


def path_of(folder: Path, digest: str) -> Path:
  """Where the program of a digest is kept."""
  return folder / f'{_PREFIX}{digest}'


def write(path: Path, heading: Heading, program: bytes) -> None:
  """Keeps a program.

  Raises:
    ResourceError: the disk is full.
    InputError: the place cannot be written.
  """
  packed = zlib.compress(program, _SPEED_OVER_SIZE)
  heading = dataclasses.replace(heading, sha256=hashlib.sha256(packed).hexdigest())
  with atomic.replacing(path) as file:
    file.write(json.dumps({'format': _FORMAT} | dataclasses.asdict(heading)).encode() + b'\n')
    file.write(packed)


def read(path: Path) -> tuple[Heading, bytes]:
  """A program, compared with its digest.

  Raises:
    OSError: the file cannot be read.
    DamagedError: it is not as it was written.
  """
  heading, packed = _checked(path)
  try:
    return heading, zlib.decompress(packed)
  except zlib.error as error:
    raise DamagedError('it cannot be unpacked') from error


def check(path: Path) -> Heading:
  """What a file says of its program, which is compared with its digest; raises as `read` does."""
  return _checked(path)[0]


def _checked(path: Path) -> tuple[Heading, bytes]:
  with open(path, 'rb') as file:
    heading = _heading(file)
    packed = file.read()
  if hashlib.sha256(packed).hexdigest() != heading.sha256:
    raise DamagedError('its digest is not the one in its first line')
  return heading, packed


def _heading(file: Any) -> Heading:
  """The first line of an open file; it may come from another machine, so every value is looked at."""
  try:
    given = untrusted.from_json(file.readline(_LONGEST_HEADING))
    if given.pop('format') != _FORMAT:
      raise ValueError('another format')
    heading = Heading(**given)
    texts = (heading.what, heading.sha256, *heading.facts, *heading.facts.values())
    if not all(is_plain(text) for text in texts) or not isinstance(heading.seconds, float):
      raise TypeError('values of other kinds')
  except (ValueError, KeyError, TypeError, AttributeError):
    raise DamagedError('its first line does not describe a program') from None
  return heading


def is_plain(text: Any) -> bool:
  """Whether a value is text that a terminal can be shown."""
  return isinstance(text, str) and text.isprintable() and len(text) <= _LONGEST_TEXT


def kept(folder: Path) -> Iterator[KeptProgram]:
  """The programs in a folder, in no order; what compares their digests is `check`."""
  for path in folder.glob(f'{_PREFIX}*'):
    heading = None
    try:
      about = path.stat()
      if not NAME.fullmatch(path.name):
        continue
      with open(path, 'rb') as file:
        heading = _heading(file)
    except DamagedError:
      pass
    except OSError:  # another process removed it, or it is not ours to read
      continue
    yield KeptProgram(path, about.st_size, datetime.datetime.fromtimestamp(about.st_mtime).astimezone(), heading)
