# SPDX-License-Identifier: Apache-2.0
"""Text files, the '>' records in them and tables: one tolerant reader under FASTA, A3M and CSV.

Whatever can be wrong with a file as a text is caught here: compression that breaks off, encodings, binary content,
missing headers, symbols that are no residues. Line and column numbers count from 1.
"""

import contextlib
import csv
import dataclasses
import errno
import gzip
import io
import itertools
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from alphafold_jax.data import symbols
from alphafold_jax.errors import InputError

GZIP_MAGIC = b'\x1f\x8b'
_BYTE_ORDER_MARKS = {
  b'\xff\xfe\x00\x00': 'UTF-32',  # before UTF-16: it begins with the same two bytes
  b'\x00\x00\xfe\xff': 'UTF-32',
  b'\xff\xfe': 'UTF-16',
  b'\xfe\xff': 'UTF-16',
}
_CONTROL = re.compile('[\x01-\x08\x0b\x0e-\x1f\x7f]')  # without NUL, with which servers join alignments
_LINE_END = re.compile('\r\n|\r|\n')
_HEADER = re.compile(rb'(?:\A(?:\xef\xbb\xbf)?|(?<=[\r\n]))[\0 \t\f]*>')  # as `split_records` sees it
_HEAD = 1 << 20  # bytes; more are read where the query does not end within them
_PASSING = (errno.ESTALE, errno.EAGAIN, errno.EINTR)  # of file servers, when another machine has replaced the file
_OPEN_ALREADY = ('/dev/fd/', '/dev/stdin', '/proc/self/fd/')
ANNOTATIONS = frozenset(  # rows that HH-suite's programs put above or below the sequences of an alignment
  ('ss_pred', 'ss_conf', 'ss_dssp', 'sa_dssp', 'sa_pred', 'aa_pred', 'aa_dssp')
)
NO_ALIGNMENT_SYMBOL = re.compile(r'[^A-Za-z.\-\s]')


def read_bytes(path: str | Path) -> bytes:
  """The file's content, decompressed when its first bytes, whatever its name, are those of gzip; see `read_errors`."""
  with read_errors(path):
    content = _content(path)
    return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content


def _content(path: str | Path) -> bytes:
  try:
    return Path(path).read_bytes()
  except OSError as error:
    if error.errno not in _PASSING:
      raise
  return Path(path).read_bytes()  # asks the file server anew


def absent(path: str | Path, usual: str = 'no such file') -> str:
  """What to say of a path at which there is nothing: the `usual` words, or where a broken link leads."""
  try:
    return f'is a link to {os.readlink(path)}, which leads nowhere; mend or remove the link'
  except (OSError, ValueError):  # no link; ValueError: a NUL in the path
    return usual


def refuse_special(path: str | Path) -> None:
  """Refuses a folder, and a pipe or device, of which reading might not end; the shell's <(...) is taken.

  Raises:
    InputError: it is one of these.
    OSError: it cannot be looked at.
  """
  mode = os.stat(path).st_mode
  if stat.S_ISREG(mode) or str(path).startswith(_OPEN_ALREADY):
    return
  what = 'folder' if stat.S_ISDIR(mode) else 'pipe, socket or device'
  raise InputError(f'{path}: is a {what}, not a file; name a file')


@contextlib.contextmanager
def read_errors(path: str | Path) -> Iterator[None]:
  """Turns a failed reading of a file inside the block, perhaps of gzip data, into an InputError that names the file."""
  try:
    refuse_special(path)
    yield
  except InputError:
    raise
  except FileNotFoundError:
    raise InputError(f'{path}: {absent(path)}') from None
  except EOFError:
    raise InputError(f'{path}: the gzip data break off before their end; copy or download the file again') from None
  except (gzip.BadGzipFile, zlib.error) as error:
    raise InputError(f'{path}: damaged gzip data ({error}); copy or download the file again') from None
  except (OSError, ValueError) as error:  # ValueError: a NUL in the path
    raise InputError(f'{path}: cannot be read ({getattr(error, "strerror", None) or error})') from None


def read_text(path: str | Path) -> str:
  """The file's text, see `read_bytes` and `decode`; InputError when it is not text."""
  return decode(read_bytes(path), str(path))


def read_head(path: str | Path, size: int = 4096) -> bytes:
  """The first bytes of a file, decompressed; none if it cannot be read."""
  try:
    refuse_special(path)
    with open(path, 'rb') as file:
      packed = file.peek(2)[:2] == GZIP_MAGIC
      with gzip.GzipFile(fileobj=file) if packed else file as stream:
        return stream.read(size)
  except (OSError, ValueError, EOFError, zlib.error):
    return b''


def read_first_record(path: str | Path) -> str:
  """The text up to the end of the first record that is no annotation: the query of an alignment, without reading on."""
  try:
    refuse_special(path)
    with open(path, 'rb') as file:
      packed = file.peek(2)[:2] == GZIP_MAGIC
      with gzip.GzipFile(fileobj=file) if packed else file as stream:
        head = more = stream.read(_HEAD)
        while (end := head_end(head)) is None and (more := stream.read(max(_HEAD, len(head)))):
          head += more
  except (OSError, ValueError, EOFError, zlib.error):
    return read_text(path)  # raises the error with its message
  return decode(head[:end], str(path))


def head_end(content: bytes) -> int | None:
  """Where the first record that is no annotation ends in an alignment; None: not before the content does."""
  for header, following in itertools.pairwise(_HEADER.finditer(content)):
    line = content[header.end() : following.start()].splitlines()[:1]
    name = line[0].split()[:1] if line else []
    if not name or name[0].decode('latin-1') not in ANNOTATIONS:
      return following.start()
  return None


def read_table(path: str | Path, needed: Sequence[str], columns: str) -> list[tuple[int, dict[str, str]]]:
  """The rows of a CSV or TSV file by column, as `parse_table` gives them, with their line numbers; no empty lines."""
  table = parse_table(read_text(path), str(path), needed, columns)
  if not (rows := [(row.line, row.fields) for row in table if row.fields]):
    raise InputError(f'{path}: the table has no rows under its column names')
  return rows


class TableRow(NamedTuple):
  """A row of a table; false if all of it is blank."""

  line: int
  fields: dict[str, str]  # by column, in lower case; '' where the row is short; none of an empty line
  beyond: tuple[str, ...]  # fields behind the last column

  def __bool__(self) -> bool:
    return any(field.strip() for field in (*self.fields.values(), *self.beyond))


def parse_table(text: str, source: str, needed: Sequence[str], columns: str) -> list[TableRow]:
  """The rows of a CSV or TSV table, blank ones among them included.

  Args:
    text: the table; its first line names the columns. Commas, tabs or semicolons are between them.
    source: names it in messages.
    needed: the columns that it must have.
    columns: all that it may have, for messages.

  Raises:
    InputError: it is no such table.
  """
  text = '\n'.join(_LINE_END.split(text)).rstrip('\n')
  if not text.strip():
    raise InputError(f'{source}: the file is empty; expected a table with the columns {columns}')
  separator = re.match('sep=(.)\n', text)  # Excel's
  skipped = separator.end() if separator else 0
  head = text[skipped:].split('\n', 1)[0]
  delimiter = separator[1] if separator else next((mark for mark in '\t;' if mark in head and ',' not in head), ',')
  reader = csv.reader(io.StringIO(text[skipped:], newline=''), delimiter=delimiter, strict=True)
  rows: list[TableRow] = []
  try:
    names = [name.strip().lower() for name in next(reader)]
    _check_columns(names, source, needed, columns)
    for fields in reader:
      by_name = dict.fromkeys(names, '') | dict(zip(names, fields, strict=False)) if fields else {}
      rows.append(TableRow(reader.line_num + bool(skipped), by_name, tuple(fields[len(names) :])))
  except csv.Error as error:
    raise InputError(f'{source}, line {reader.line_num + bool(skipped)}: not a table ({error})') from None
  return rows


def _check_columns(names: Sequence[str], source: str, needed: Sequence[str], columns: str) -> None:
  """Refuses a table that lacks a column, or has one twice."""
  place = f'{source}, line 1'
  if missing := set(needed) - set(names):
    have = ', '.join(map(repr, names)) or 'nothing'
    raise InputError(
      f'{place}: no column {" and ".join(map(repr, sorted(missing)))}; the first line must name the columns '
      f'{columns}; it has {have[:200]}'
    )
  if twice := [name for name in dict.fromkeys(names) if name and names.count(name) > 1]:
    raise InputError(f'{place}: the column {twice[0]!r} is there twice; give each a name of its own')


def decode(content: bytes, source: str) -> str:
  """Bytes as text: UTF-8 with or without its mark, else Latin-1 (old header lines).

  Raises:
    InputError: they are not text, or in another encoding; the message names `source`.
  """
  for mark, encoding in _BYTE_ORDER_MARKS.items():
    if content.startswith(mark):
      raise InputError(f'{source}: the file is {encoding} text; save it as UTF-8 (plain text)')
  sample = content[:4096]
  fewer, more = sorted((sample[::2].count(0), sample[1::2].count(0)))
  if len(sample) >= 8 and more > 0.2 * len(sample) and fewer < 0.05 * len(sample):
    raise InputError(f'{source}: every other byte is NUL, as in UTF-16 text without its mark; save the file as UTF-8')
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError:
    text = content.decode('latin-1')
  if found := _CONTROL.search(text):
    line = len(_LINE_END.findall(text[: found.start()])) + 1
    raise InputError(f'{source}, line {line}: byte {ord(found[0]):#04x} does not occur in text; is this a binary file?')
  return text


@dataclasses.dataclass(frozen=True)
class FastaRecord:
  """One '>' header and the lines under it."""

  name: str  # the header without '>'
  line: int  # of the header
  lines: tuple[tuple[int, str], ...]  # (line number, text) without surrounding white space
  unit: str = 'column'  # what counts the characters of a line in messages

  @property
  def text(self) -> str:
    """All lines joined, inner white space removed."""
    return ''.join(''.join(line.split()) for _, line in self.lines)

  @property
  def id(self) -> str:
    """The header's first word, for messages."""
    words = self.name.split(maxsplit=1)
    return words[0][:80] if words else ''

  def refuse(self, wrong: re.Pattern[str], source: str, remedy: str | dict[str, str]) -> None:
    """Raises InputError, with the `source`, at the first character that matches `wrong`.

    Args:
      remedy: ends the message; or remedies by character, with '' for the others.
    """
    for number, line in self.lines:
      if found := wrong.search(line):
        symbol = found[0]
        usual = remedy if isinstance(remedy, str) else remedy.get(symbol, remedy[''])
        advice = symbols.advice(symbol) or usual
        place = f'{source}, line {number}, {self.unit} {found.start() + 1}'
        raise InputError(f'{place}: {symbols.shown(symbol)} in record {self.id!r} {advice}')


def split_records(text: str, source: str) -> tuple[list[FastaRecord], list[tuple[int, str]]]:
  """The '>' records of a FASTA or A3M text, and its '#' lines as (line number, text).

  Raises:
    InputError: it has no records, or text before the first; the message names `source`.
  """
  if text.startswith('# STOCKHOLM'):
    raise InputError(f'{source}, line 1: this is a Stockholm file; convert it to A3M (reformat.pl sto a3m)')
  records: list[FastaRecord] = []
  comments: list[tuple[int, str]] = []
  header: tuple[str, int] | None = None
  lines: list[tuple[int, str]] = []
  for number, raw in enumerate(_LINE_END.split(text), start=1):
    line = raw.strip('\0 \t\f')  # NUL at a line's edge separates the blocks that an MSA server joined
    if line.startswith('>'):
      if header is not None:
        records.append(FastaRecord(*header, tuple(lines)))
      header, lines = (line[1:].strip(), number), []
    elif line.startswith('#'):
      comments.append((number, line))
    elif line and header is None:
      odd = '' if line[0].isascii() else f', which begins with {symbols.shown(line[0])},'
      raise InputError(
        f"{source}, line {number}: {line[:40]!r}{odd} stands before any '>' header; put a line '>name' above"
      )
    elif line:
      lines.append((number, line))
  if header is None:
    what = 'the file is empty' if not text.strip('\0 \t\f\r\n') else "there is no '>' header"
    raise InputError(f"{source}: {what}; expected '>name' lines, each followed by a sequence")
  records.append(FastaRecord(*header, tuple(lines)))
  return records, comments
