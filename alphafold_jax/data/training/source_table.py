# SPDX-License-Identifier: Apache-2.0
"""Tables about a set of structures: which chains to take, their clusters, splits and metadata.

An id is a chain's name, such as 1elw_A, in upper or lower case; or the header of an entry's FASTA file from RCSB,
'1ELW_1|Chains A, B|...', which names several.
"""

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from alphafold_jax.data import records
from alphafold_jax.errors import InputError
from alphafold_jax.naming import Names, did_you_mean
from alphafold_jax.screen import number

COLUMNS = ('id', 'cluster', 'split', 'resolution', 'method', 'release_date', 'exclude')
SPLITS = ('train', 'pilot', 'validation', 'test')  # trained on; judge short runs; judge the run; kept for later
_NO = ('', '0', '0.0', 'no', 'n', 'false', 'f', 'none', 'null', 'nan', 'na', 'n/a')
_RESOLUTION = (0.0, 1000.0)  # Å
_DATE = re.compile(r'(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])')
_RCSB = re.compile(r'(?P<entry>\w{4})_\d+\|Chains? (?P<chains>[^|]+)')
_CHAIN = re.compile(r'\w+(?:\[auth (?P<authors>\w+)\])?')
Value = TypeVar('Value')


@dataclasses.dataclass(frozen=True)
class Listed:
  """What the table and the clusters say about a chain."""

  name: str  # of the chain
  row: dict[str, str] = dataclasses.field(default_factory=dict)  # column -> text; {} without a table
  cluster: str = ''  # '' where no cluster is known


@dataclasses.dataclass(frozen=True)
class SourceTable:
  """The rows of the table and the clusters, by the names of chains."""

  rows: Names[dict[str, str]] | None = None  # column -> text; None: no table, take every chain
  clusters: Names[str] | None = None  # None: none were given

  def keys(self, names: Sequence[str], others: Collection[str] = ()) -> tuple[str | None, str | None]:
    """The names by which the table and the clusters list a chain; None where they do not.

    Args:
      names: possible names of the chain.
      others: names of the other chains of its file, which are not meant where spelt exactly so.
    """
    tables = (self.rows, self.clusters)
    found = [[key for name in names if (key := table.meant(name, others))] if table else [] for table in tables]
    return next(iter(found[0]), None), next(iter(found[1]), None)

  def find(self, names: Sequence[str], others: Collection[str] = ()) -> Listed:
    """What is listed about a chain under one of its possible names; see `keys` for the arguments.

    Raises:
      InputError: the table does not list the chain, or excludes it.
    """
    key, member = self.keys(names, others)
    cluster = self.clusters[member] if self.clusters and member is not None else ''
    if self.rows is None:
      return Listed(_spelt(names, member), cluster=cluster)
    if key is None:
      raise InputError(f'the table does not list {" or ".join(names)}')
    row = self.rows[key]
    if (why := row.get('exclude', '')).lower() not in _NO:
      raise InputError(f'the table excludes {key} ({why})')
    return Listed(_spelt(names, key), row, row.get('cluster') or cluster)


def _spelt(names: Sequence[str], key: str | None) -> str:
  """The chain's own spelling of the name by which it is listed; its first name where it is not."""
  return next((name for name in names if key is not None and name.casefold() == key.casefold()), names[0])


def read_table(path: str | Path, columns: Mapping[str, str]) -> tuple[Names[dict[str, str]], list[str]]:
  """Reads a table: its rows by the names of chains, with our names for the columns; and the columns left unread.

  Args:
    path: CSV or TSV with a header line; the case of its column names does not count.
    columns: our name -> the table's, where they differ.

  Raises:
    InputError: a column is missing, an id is listed twice, or a split, resolution or date is none.
  """
  for ours in set(columns) - set(COLUMNS):
    choices = f'a table may have {", ".join(COLUMNS)}{did_you_mean(ours, COLUMNS)}'
    raise InputError(f'--column {ours}={columns[ours]}: there is no column {ours}; {choices}')
  table = records.read_table(path, (), ', '.join(COLUMNS))
  header = [name for name in table[0][1] if name]
  theirs = {ours: columns.get(ours, ours).strip().lower() for ours in COLUMNS}
  for ours in {'id': 'id', **columns}:
    if theirs[ours] not in header:
      flag = f'--column {ours}={columns[ours]}: ' if ours in columns else ''
      remedy = '' if flag or ours != 'id' else '; name the one of the chains by --column id=NAME'
      raise InputError(f'{flag}{path}: has no column {theirs[ours]!r}; it has {", ".join(header)}{remedy}')
  taken = [(ours, name) for ours, name in theirs.items() if name in header]
  rows = _by_name(
    ((line, row[theirs['id']], {ours: row[name].strip() for ours, name in taken}) for line, row in table), path
  )
  return Names(rows), [name for name in header if name not in {name for _, name in taken}]


def read_clusters(path: str | Path) -> Names[str]:
  """Reads the cluster of each chain from lines of representative and member.

  Raises:
    InputError: a line is neither, a chain is in two clusters, or there are no lines.
  """
  found = []
  for line, text in enumerate(records.read_text(path).splitlines(), start=1):
    if not text.strip():
      continue
    fields = text.split('\t')
    if len(fields) != 2:
      what = f'{number(len(fields), "field")}; expected representative, tab, member, as `mmseqs easy-cluster` has them'
      raise InputError(f'{path}, line {line}: {what}')
    found.append((line, fields[1], fields[0].strip()))
  if not found:
    raise InputError(f'{path}: the file is empty; expected lines of representative, tab, member')
  return Names(_by_name(found, path))


def _by_name(entries: Iterable[tuple[int, str, Value]], path: str | Path) -> dict[str, Value]:
  """Values by the names of chains; InputError where one is listed twice, has no name or a field that is wrong."""
  values: dict[str, Value] = {}
  for line, id, value in entries:
    place = f'{path}, line {line}'
    if not id.strip():
      raise InputError(f'{place}: there is no name of a chain; add it or remove the line')
    if isinstance(value, dict):
      _check(value, place)
    for name in _names(id.strip()):
      if name in values:
        if isinstance(value, dict) or values[name] != value:
          raise InputError(f'{place}: chain {name!r} is listed twice')
      values[name] = value
  return values


def _names(id: str) -> Iterator[str]:
  """The chains that an id names: '1ELW_1|Chains A, B[auth X]|...' -> 1ELW_A, 1ELW_X."""
  if not (header := _RCSB.match(id)):
    yield id
    return
  for chain in _CHAIN.finditer(header['chains']):
    yield f'{header["entry"]}_{chain["authors"] or chain[0]}'


def _check(row: dict[str, str], place: str) -> None:
  """Puts the split in lower case; InputError for one that does not exist, a wrong resolution or date."""
  if 'split' in row:
    split = row['split'].lower()
    if split not in SPLITS:
      raise InputError(
        f'{place}: the split is {row["split"]!r}; expected {", ".join(SPLITS[:-1])} or {SPLITS[-1]}'
        f'{did_you_mean(split, SPLITS)}'
      )
    row['split'] = split
  try:
    text = row.get('resolution', '')
    good = not text or _RESOLUTION[0] <= float(text) <= _RESOLUTION[1]
  except ValueError:
    good = False
  if not good:
    raise InputError(f'{place}: the resolution is {text!r}; expected Å as a number, or nothing')
  if (date := row.get('release_date', '')) and not _DATE.fullmatch(date):
    raise InputError(f'{place}: the release date is {date!r}; expected YYYY-MM-DD, or nothing')
