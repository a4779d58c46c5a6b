# SPDX-License-Identifier: Apache-2.0
"""What to predict: FASTA, A3M, Stockholm and CSV files, or a directory of these; one record is one protein.

A bad record never hides the good ones: `scan_queries` returns both, in order, each failure with its message;
`read_queries` raises the first. Alignments stay on disk until they are loaded.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from alphafold_jax.data import stockholm
from alphafold_jax.data.alignment import Alignment, checked, encode, parse_a3m
from alphafold_jax.data.jobnames import safe_name, unique_job_names
from alphafold_jax.data.records import (
  FastaRecord,
  decode,
  read_bytes,
  read_first_record,
  read_table,
  read_text,
  split_records,
)
from alphafold_jax.errors import InputError

__all__ = ['FailedQuery', 'Query', 'Scan', 'read_queries', 'scan_queries', 'unique_job_names']

Content = tuple[str, tuple[str, ...], Path | None]  # sequence, notes on its reading, file of the alignment
_Read = Callable[[Path], bytes]  # the content of a file, decompressed
_READ_AS = {'B': 'D', 'Z': 'E', 'U': 'C', 'J': 'unknown', 'O': 'unknown', 'X': 'unknown'}
_NUCLEOTIDES = re.compile('[ACGTUN]{20,}')
_NO_LETTER = re.compile(r'[^A-Za-z\s]')
_DIGIT = 'is a digit; remove numbering and counts from the sequence'
_GAP = 'is an alignment gap; remove it, or give an alignment as .a3m'
_REMEDIES = {
  ':': 'joins the chains of a complex; complexes are a later feature, give every chain its own record',
  '-': _GAP,
  '.': _GAP,
  '*': 'is a stop in the middle; cut the sequence there or remove it',
  **dict.fromkeys('0123456789', _DIGIT),
  '': 'is no residue; give one-letter codes A-Z',
}


@dataclasses.dataclass(frozen=True)
class Query:
  """One protein to predict."""

  name: str  # as in the file: header, CSV id, or the stem of an A3M file
  sequence: str  # upper-case letters
  alignment: Alignment | Path | None = None  # a path is read by `load_alignment`
  source: str = ''  # file and record, for messages
  job: str = ''  # safe for file names and unique in its input; by default made from the name
  notes: tuple[str, ...] = ()  # what was repaired on reading

  def __post_init__(self) -> None:
    object.__setattr__(self, 'sequence', checked(self.sequence, self.name))
    if not self.job:
      object.__setattr__(self, 'job', safe_name(self.name))

  def load_alignment(self, read: _Read = read_bytes) -> Alignment | None:
    """The alignment, read and checked now; None for a bare sequence.

    Args:
      read: gives the content of a file, decompressed.

    Raises:
      InputError: it cannot be read, or its query is another sequence.
    """
    alignment = self.alignment
    if isinstance(alignment, str | Path):
      alignment = parse_a3m(read_a3m(alignment, read), str(alignment))
    if alignment is not None:
      what = 'the alignment' if alignment is self.alignment else f'the alignment {self.alignment}'
      _check_same(alignment.query, self.sequence, f'{self.source or self.name}: {what}')
    return alignment


@dataclasses.dataclass(frozen=True)
class FailedQuery:
  """A record or file that cannot be used."""

  name: str
  source: str
  message: str
  job: str = ''


# Of a file, and of what gives its alignments; None: only their queries are read.
Reader = Callable[[Path, _Read | None], Iterator[Query | FailedQuery]]


@dataclasses.dataclass(frozen=True)
class Scan:
  """All that was found under a path, in order."""

  items: tuple[Query | FailedQuery, ...]
  notes: tuple[str, ...] = ()  # what was ignored

  def __iter__(self) -> Iterator[Query | FailedQuery]:
    return iter(self.items)

  @property
  def queries(self) -> list[Query]:
    """The usable ones."""
    return [item for item in self.items if isinstance(item, Query)]

  @property
  def failures(self) -> list[FailedQuery]:
    """The others."""
    return [item for item in self.items if isinstance(item, FailedQuery)]


def read_queries(path: str | Path) -> list[Query]:
  """The queries of a FASTA, A3M or CSV file or a directory; raises InputError at the first that is bad."""
  scan = scan_queries(path)
  for failure in scan.failures:
    raise InputError(failure.message)
  return scan.queries


def scan_queries(
  path: str | Path,
  *,
  check_alignments: bool = True,
  read: _Read = read_bytes,
  others: Mapping[str, Reader] = MappingProxyType({}),
) -> Scan:
  """Reads a file or the files of a directory.

  Args:
    path: .fasta, .fa, .faa, .a3m, .sto, .csv or .tsv, each also with .gz, or a directory of these.
    check_alignments: read every alignment to its end now; False reads only the query of each (for thousands of them),
      and a bad row is found when the alignment is loaded.
    read: gives the content of an alignment file, decompressed.
    others: what reads other kinds of files, by suffix; these come last.

  Raises:
    InputError: the path itself cannot be read, or has no such file.
  """
  path = Path(path)
  readers = _READERS | dict(others)
  files, notes = _files(path, readers)
  items: list[Query | FailedQuery] = []
  for file in sorted(files, key=lambda file: _kind(file) in others):
    try:
      items.extend(readers[_kind(file)](file, read if check_alignments else None))
    except InputError as error:
      items.append(FailedQuery(_stem(file), str(file), str(error)))
  jobs = unique_job_names([item.name for item in items])
  return Scan(tuple(dataclasses.replace(item, job=job) for item, job in zip(items, jobs, strict=True)), tuple(notes))


def _files(path: Path, kinds: Collection[str]) -> tuple[list[Path], list[str]]:
  """The files to read, and notes on what is ignored."""
  try:
    exists, is_directory = path.exists(), path.is_dir()
    entries = sorted(path.iterdir()) if is_directory else [path]
  except (OSError, ValueError) as error:
    raise InputError(f'{path}: cannot be read ({getattr(error, "strerror", None) or error})') from None
  if not exists:
    raise InputError(f'{path}: no such file or directory')
  listed = f'{", ".join(kinds)} (also .gz)'
  if not is_directory:
    if _kind(path) not in kinds:
      raise InputError(f'{path}: unknown kind of file {path.suffix!r}; give {listed}, or a directory of these')
    return entries, []
  files: list[Path] = []
  others: list[Path] = []
  for entry in entries:
    if not entry.name.startswith('.'):
      (files if _kind(entry) in kinds and entry.is_file() else others).append(entry)
  if not files:
    raise InputError(f'{path}: the directory holds no {listed} file ({len(others)} other entries)')
  shown = ', '.join(entry.name for entry in others[:5]) + (', ...' if len(others) > 5 else '')
  return files, [f'{path}: {len(others)} other files or folders ignored ({shown})'] if others else []


def _kind(path: Path) -> str:
  """The file's suffix in lower case, '.gz' set aside."""
  return (Path(path.stem) if path.suffix.lower() == '.gz' else path).suffix.lower()


def _stem(path: Path) -> str:
  """The file's name without its suffixes."""
  return (Path(path.stem) if path.suffix.lower() == '.gz' else path).stem


def _read_fasta(path: Path, read: _Read | None) -> Iterator[Query | FailedQuery]:
  """One item per record."""
  del read  # a FASTA file has no alignment
  records, _ = split_records(read_text(path), str(path))
  for index, record in enumerate(records, start=1):
    name = record.name or f'{_stem(path)}_{index}'
    yield _one(name, f'{path}, record {index} (line {record.line})', _fasta_record, record, path)


def _fasta_record(record: FastaRecord, path: Path) -> Content:
  return *read_sequence(record, path), None


def _read_aligned(path: Path, read: _Read | None) -> Iterator[Query | FailedQuery]:
  """One item: the query of the alignment."""
  yield _one(_stem(path), str(path), _alignment_query, path, read)


def _read_table(path: Path, read: _Read | None) -> Iterator[Query | FailedQuery]:
  """One item per row of a CSV or TSV table with the columns id, sequence and perhaps a3mpath."""
  rows = read_table(path, ('id', 'sequence'), 'id,sequence and perhaps a3mpath')
  for index, (line, row) in enumerate(rows, start=1):
    name = row['id'].strip() or f'{_stem(path)}_{index}'
    yield _one(name, f'{path}, row {index} (line {line})', _table_row, path, line, row, read)


def _table_row(path: Path, line: int, row: dict[str, str], read: _Read | None) -> Content:
  if not (a3m := row.get('a3mpath', '').strip()):
    return *_field_sequence(path, line, row), None
  alignment = path.parent / a3m
  if not os.path.exists(alignment) and os.path.exists(a3m):  # relative to the working directory, as in ColabFold
    alignment = Path(a3m)
  sequence, notes, _ = _alignment_query(alignment, read)
  if row['sequence'].strip():
    given, notes = _field_sequence(path, line, row)
    _check_same(sequence, given, f'{path}, line {line}: the alignment {a3m}')
    sequence = given
  return sequence, notes, alignment


def _field_sequence(path: Path, line: int, row: dict[str, str]) -> tuple[str, tuple[str, ...]]:
  """The checked sequence of a table's row."""
  return read_sequence(FastaRecord(row['id'], line, ((line, row['sequence'].strip()),), unit='residue'), path)


def _alignment_query(path: Path, read: _Read | None) -> tuple[str, tuple[str, ...], Path]:
  """The query of an alignment, notes on the file, and its path; without `read` no other row is looked at."""
  head = '' if read else read_first_record(path)
  whole = read or head.startswith(stockholm.MARK)  # where the query's letters may be spread over the file
  alignment = parse_a3m(read_a3m(path, read or read_bytes) if whole else head, str(path))
  return alignment.query, (*alignment.notes, *_letter_notes(alignment.query)), path


def read_a3m(path: str | Path, read: _Read = read_bytes) -> str:
  """An alignment file as A3M text, whether it is A3M or Stockholm; its rows are not checked.

  Args:
    path: the file.
    read: gives its content, decompressed.
  """
  text = decode(read(Path(path)), str(path))
  return stockholm.stockholm_to_a3m(text, str(path)) if text.startswith(stockholm.MARK) else text


def read_sequence(record: FastaRecord, source: str | Path) -> tuple[str, tuple[str, ...]]:
  """A record's sequence in upper case, and notes on letters that are not read as written.

  Raises:
    InputError: it is empty, or holds what is no residue; the message gives the line and the remedy.
  """
  notes = []
  if record.text.endswith('*'):
    number, line = record.lines[-1]
    record = dataclasses.replace(record, lines=(*record.lines[:-1], (number, line[:-1])))
    notes.append("the stop '*' at the end left out")
  record.refuse(_NO_LETTER, str(source), _REMEDIES)
  sequence = record.text
  if not sequence:
    raise InputError(f'{source}, line {record.line}: record {record.id!r} has no sequence; add it or remove the header')
  if not sequence.isupper():
    notes.append('lower-case letters read as residues')
  return sequence.upper(), (*notes, *_letter_notes(sequence.upper()))


def _letter_notes(sequence: str) -> list[str]:
  """Notes on letters that are not read as written, and on what may be a nucleic acid."""
  rare = [f'{letter} read as {meaning}' for letter, meaning in _READ_AS.items() if letter in sequence]
  notes = ['; '.join(rare)] if rare else []
  if _NUCLEOTIDES.fullmatch(sequence):
    notes.append('only the letters of DNA or RNA; read as a protein')
  return notes


def _one(name: str, source: str, read: Callable[..., Content], *arguments: Any) -> Query | FailedQuery:
  """The query with the content that `read` returns, or its failure."""
  try:
    sequence, notes, alignment = read(*arguments)
  except InputError as error:
    return FailedQuery(name, source, str(error))
  return Query(name, sequence, alignment, source, notes=tuple(notes))


def _check_same(query: str, sequence: str, what: str) -> None:
  """Refuses an alignment whose first row is another protein."""
  if len(query) != len(sequence):
    raise InputError(
      f'{what} has a query of {len(query)} residues, the sequence has {len(sequence)}; '
      'its first row must be the sequence'
    )
  if (differ := np.flatnonzero(encode(query) != encode(sequence))).size:
    i = int(differ[0])
    raise InputError(
      f'{what} has {query[i]} at residue {i + 1} of its query, the sequence has {sequence[i]}; '
      'its first row must be the sequence'
    )


_READERS = {
  **dict.fromkeys(('.fasta', '.fa', '.faa'), _read_fasta),
  **dict.fromkeys(('.a3m', '.sto', '.stk', '.stockholm'), _read_aligned),
  **dict.fromkeys(('.csv', '.tsv'), _read_table),
}
