# SPDX-License-Identifier: Apache-2.0
"""What to predict: the queries of a file, or of the files of a directory; one record is one protein or complex.

Whether a file can be used is known when it was scanned, whatever its size and however many there are: every row of an
alignment is checked, none is kept. A bad record never hides the good ones: `scan_queries` returns both, in order, each
failure with its message; `read_queries` raises the first. Alignments stay on disk until they are loaded.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from alphafold_jax.data import not_a_file, query_formats
from alphafold_jax.data.alignment_files import read_a3m
from alphafold_jax.data.jobnames import unique_job_names
from alphafold_jax.data.query import FailedQuery, Query, Read, stem, suffix
from alphafold_jax.data.records import absent, read_bytes, read_head
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

__all__ = ['FailedQuery', 'Query', 'Scan', 'read_a3m', 'read_queries', 'scan_queries', 'unique_job_names']

Other = Callable[[Path], Iterable[Query | FailedQuery]]
_RESULTS = 'config.json'  # in the folders that predictions are written into
_SUMMARY = 'summary.csv'  # of a folder of results, which may hold alignments as well


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


def read_queries(path: str | Path, *, complex: bool = False) -> list[Query]:
  """The queries of a file or directory, see `scan_queries`; raises InputError at the first that is bad."""
  scan = scan_queries(path, complex=complex)
  for failure in scan.failures:
    raise InputError(failure.message)
  return scan.queries


def scan_queries(
  path: str | Path,
  *,
  read: Read = read_bytes,
  others: Mapping[str, Other] = MappingProxyType({}),
  complex: bool = False,
) -> Scan:
  """Reads a file or the files of a directory.

  Args:
    path: FASTA, PIR, A3M, Stockholm, CSV or TSV, PDB or mmCIF, AlphaFold 3's JSON, each also with .gz, or a directory
      of these. In a directory a structure counts only if there is nothing else.
    read: gives the content of a file, decompressed.
    others: what reads other kinds of files, by suffix; these come last.
    complex: whether the records of a FASTA file are the chains of one complex, which has the file's name.

  Raises:
    InputError: the path itself cannot be read, or has no such file.
  """
  if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
    raise InputError(f'{path!r:.60} is of type {type(path).__name__}; give the path of a file or directory')
  if not (given := str(os.fspath(path))).strip():
    raise InputError('the name of the input is empty; give the path of a file or directory')
  path = Path(path)
  if _is_directory(path, given):
    files, notes = _files(path, others)
  else:
    files, notes = [_file(path, others)], []
  items: list[Query | FailedQuery] = []
  for file in sorted(files, key=lambda file: suffix(file) in others):
    try:
      for item in _items(file, read, others, complex):
        items.append(item) if not isinstance(item, str) else notes.append(item)
    except InputError as error:
      items.append(FailedQuery(stem(file), str(file), str(error)))
  jobs = unique_job_names([item.name for item in items])
  return Scan(tuple(dataclasses.replace(item, job=job) for item, job in zip(items, jobs, strict=True)), tuple(notes))


def _items(
  file: Path, read: Read, others: Mapping[str, Other], is_complex: bool
) -> Iterator[Query | FailedQuery | str]:
  if suffix(file) in others:
    yield from others[suffix(file)](file)
  else:
    reader, opened = query_formats.open_file(file, read, is_complex)
    yield from reader(opened)


def _is_directory(path: Path, given: str) -> bool:
  """Whether a path is a directory; InputError, with what the person may have meant, if it does not exist."""
  try:
    if path.exists():
      return path.is_dir()
    why = absent(path, 'no such file or directory')
  except (OSError, ValueError) as error:  # too long for a name, or a NUL in it
    why = f'cannot be read ({getattr(error, "strerror", None) or error})'
  meant = not_a_file.advice(given)
  line = given.splitlines()[0]
  shown = line if len(line) <= 100 and line == given else f'{line[:60]}...'
  raise InputError(f'{shown}: {meant or why}')


def _file(path: Path, others: Mapping[str, Other]) -> Path:
  """The one file that was given; InputError if it is none, or of an unknown kind."""
  if not path.is_file():
    raise InputError(f'{path}: a pipe or device; it is read more than once, so write it into a file')
  kind = suffix(path)
  if not (kind in query_formats.READERS or kind in others or kind in query_formats.BY_CONTENT):
    query_formats.refuse_unknown(path)
  return path


def _files(path: Path, others: Mapping[str, Other]) -> tuple[list[Path], list[str]]:
  """The files of a directory that hold queries, and notes on what is ignored."""
  try:
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith('.')]
  except OSError as error:
    raise InputError(f'{path}: cannot be read ({error.strerror or error})') from None
  structures = [entry for entry in entries if suffix(entry) in query_formats.STRUCTURES and _is_file(entry)]
  files = [entry for entry in entries if _holds_queries(entry, others)]
  if not files and not (path / _RESULTS).exists():
    files = structures
  ignored = [entry for entry in entries if entry not in set(files)]
  count = f'{number(len(ignored), "other file")} or {"folder" if len(ignored) == 1 else "folders"}'
  shown = ', '.join(entry.name for entry in ignored[:5]) + (', ...' if len(ignored) > 5 else '')
  if not files:
    what = f'; it has {count} ({shown})' if ignored else '; it is empty'
    raise InputError(f'{path}: the directory holds no {query_formats.SHOWN} file (also .gz) to predict from{what}')
  why = '; structures are read by name, or where there is nothing else' if set(structures) & set(ignored) else ''
  return files, [f'{path}: {count} ignored ({shown}){why}'] if ignored else []


def _is_file(path: Path) -> bool:
  """Whether an entry of a directory is to be read; broken links and pipes are, and will fail with their reasons."""
  return not os.path.isdir(path)


def _holds_queries(path: Path, others: Mapping[str, Other]) -> bool:
  """Whether a file in a directory is one of queries, structures aside."""
  kind = suffix(path)
  if kind in query_formats.STRUCTURES or not _is_file(path):
    return False
  if path.name == _SUMMARY and (path.parent / _RESULTS).exists():
    return False
  if kind in query_formats.BY_CONTENT:
    return read_head(path).lstrip().startswith(b'>')
  if kind != '.json':
    return kind in query_formats.READERS or kind in others
  return query_formats.is_job(path)
