# SPDX-License-Identifier: Apache-2.0
"""FASTA databases of any size, read in chunks of whole records, plain or gzip."""

import contextlib
import dataclasses
import gzip
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphafold_jax import installed
from alphafold_jax.data.records import GZIP_MAGIC, read_errors
from alphafold_jax.errors import InputError

_CHUNK = 1 << 21  # bytes of text
_LONGEST = 1 << 26  # bytes of one record
_PACKED = {b'BZh': 'bzip2', b'\xfd7zXZ': 'xz', b'\x28\xb5\x2f\xfd': 'zstd', b'PK\x03\x04': 'zip'}
_HEADER = re.compile(rb'^>.*$', re.MULTILINE)
_NO_RESIDUE = re.compile(rb'[^A-Za-z*.~_\s]')  # what Easel refuses in a protein
_NUCLEOTIDES = b'ACGTUNacgtun'
_MIN_LETTERS = 100  # that distinguish nucleotides from residues


@dataclasses.dataclass(frozen=True)
class Chunk:
  """Some whole records of a database."""

  path: Path
  text: bytes
  position: int  # bytes of the file, as stored, that were read up to the end of this chunk


def chunks(path: Path, size: int = _CHUNK) -> Iterator[Chunk]:
  """A database in chunks of about `size` bytes of text.

  Raises:
    InputError: it cannot be read, or does not begin as FASTA of proteins.
  """
  rest = b''
  with read_errors(path), open(path, 'rb') as file:
    packed = file.peek(2)[:2] == GZIP_MAGIC
    stream: io.BufferedIOBase = gzip.GzipFile(fileobj=file) if packed else file
    while new := stream.read(size):
      if not rest:  # after the first chunk there is always one
        _check_beginning(new, path)
      rest += new
      if end := rest.rfind(b'\n>') + 1:
        yield Chunk(path, rest[:end], file.tell())
        rest = rest[end:]
      elif len(rest) > _LONGEST:
        raise InputError(
          f"{path}, record {_name(rest)}: over {_LONGEST:,} bytes without a new '>' header; "
          'give a FASTA file with one protein a record'
        )
    if not rest.strip():
      raise InputError(f"{path}: the file is empty; expected '>name' lines, each followed by a sequence")
    yield Chunk(path, rest, file.tell())


def _check_beginning(text: bytes, path: Path) -> None:
  """Refuses what is no FASTA file of proteins, by its first chunk."""
  for magic, program in _PACKED.items():
    if text.startswith(magic):
      raise InputError(f'{path}: {program} data; unpack the file, or pack it with gzip')
  if text.strip() and not text.lstrip().startswith(b'>'):
    shown = text.lstrip()[:20].decode('ascii', 'backslashreplace')
    raise InputError(f"{path}: there is no '>' header at the beginning, but {shown!r}; give a FASTA file")
  letters = b''.join(_HEADER.sub(b'', text).split())
  if len(letters) >= _MIN_LETTERS and len(letters.translate(None, _NUCLEOTIDES)) < 0.1 * len(letters):
    raise InputError(f'{path}: the sequences are DNA or RNA (letters A, C, G, T, U, N); give protein sequences')


def digitize(chunk: Chunk, alphabet: Any) -> Any:
  """The records as a `pyhmmer.easel.DigitalSequenceBlock`.

  Raises:
    InputError: a record has no name, or a symbol that is no residue.
  """
  easel = installed.module('pyhmmer.easel')
  try:
    with easel.SequenceFile(io.BytesIO(_in_utf8(chunk.text)), 'fasta', digital=True, alphabet=alphabet) as file:
      return file.read_block()
  except ValueError as error:
    raise InputError(complaint(chunk) or f'{chunk.path}, from record {_name(chunk.text)} on: {error}') from None


@contextlib.contextmanager
def as_file(chunk: Chunk, alphabet: Any) -> Iterator[Any]:
  """The records as a `pyhmmer.easel.SequenceFile`, which HMMER reads faster, though only once."""
  easel = installed.module('pyhmmer.easel')
  memory = os.memfd_create('chunk')
  try:
    with open(memory, 'wb', closefd=False) as file:
      file.write(_in_utf8(chunk.text))
    with easel.SequenceFile(f'/proc/self/fd/{memory}', 'fasta', digital=True, alphabet=alphabet) as sequences:
      yield sequences
  finally:
    os.close(memory)


def _in_utf8(text: bytes) -> bytes:
  """Text as UTF-8; its headers may be Latin-1."""
  try:
    return text if text.isascii() else text.decode('utf-8').encode()
  except UnicodeDecodeError:
    return text.decode('latin-1').encode()


def _name(record: bytes) -> str:
  """A record's name, for messages."""
  words = record.lstrip(b'> \t\r\n').split(maxsplit=1)
  return repr(words[0][:80].decode('utf-8', 'backslashreplace')) if words else ''


def complaint(chunk: Chunk, symbols: re.Pattern[bytes] = _NO_RESIDUE) -> str | None:
  """The first fault of a chunk, with its place and the remedy: a record without a name, or one of certain symbols."""
  name, number = '', 0  # of the record, of the line in its sequence
  for line in chunk.text.splitlines():
    if line.startswith(b'>'):
      name, number = _name(line), 0
    elif line.strip():
      number += 1
      if not name:
        return f"{chunk.path}: the '>' header above the sequence {_name(line)} has no name; write one behind the '>'"
      if bad := symbols.search(line):
        symbol = bad[0].decode('latin-1')
        hint = ', without gaps' if symbol == '-' else ''
        return (
          f'{chunk.path}, record {name}, line {number} of its sequence, column {bad.start() + 1}: {symbol!r} is '
          f"no residue; give letters and '*' only{hint}"
        )
  return None
