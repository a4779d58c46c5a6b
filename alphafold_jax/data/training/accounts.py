# SPDX-License-Identifier: Apache-2.0
"""What was used of all that a person gave for a training set: nothing is an error, a part is counted and listed."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from alphafold_jax.data.training import sources
from alphafold_jax.data.training.library import AlignmentLibrary, choose, read_library
from alphafold_jax.data.training.source_table import Listed, SourceTable, read_clusters, read_table
from alphafold_jax.data.training.sources import Paths, SourceFiles
from alphafold_jax.errors import InputError
from alphafold_jax.naming import Names, listed
from alphafold_jax.screen import number

_UNUSED = 'an alignment that no chain took: none has its sequence, or each has a better one'


@dataclasses.dataclass
class Used:
  """What chains made use of."""

  names: list[str] = dataclasses.field(default_factory=list)  # of the chains themselves
  rows: set[str] = dataclasses.field(default_factory=set)  # names in the table
  members: set[str] = dataclasses.field(default_factory=set)  # names in the clusters
  alignments: set[str] = dataclasses.field(default_factory=set)  # paths of the files taken
  libraries: set[int] = dataclasses.field(
    default_factory=set
  )  # that have an alignment for a chain, taken or not needed
  unlisted: list[str] = dataclasses.field(default_factory=list)  # chains that the clusters do not name
  twice: list[str] = dataclasses.field(default_factory=list)  # chains whose cluster both table and clusters say
  bare: list[str] = dataclasses.field(default_factory=list)  # chains whose alignment holds the query alone

  def add(self, other: 'Used') -> None:
    """Counts in what other chains used."""
    self.names += other.names
    self.unlisted += other.unlisted
    self.twice += other.twice
    self.bare += other.bare
    self.rows |= other.rows
    self.members |= other.members
    self.alignments |= other.alignments
    self.libraries |= other.libraries


@dataclasses.dataclass(frozen=True)
class Given:
  """What a person gave besides the structures."""

  table: SourceTable
  libraries: tuple[AlignmentLibrary, ...]
  table_path: Path | None = None
  clusters_path: Path | None = None
  columns: tuple[str, ...] = ()  # of the table that are not read
  found: tuple[SourceFiles, ...] = ()  # files by the paths given, of structures and alignments

  def find(self, names: Sequence[str], others: Collection[str], used: Used) -> Listed:
    """What table and clusters say about a chain, see `SourceTable.find`; counts it in `used`."""
    row, member = self.table.keys(names, others)
    used.names.append(names[0])
    if row is not None:
      used.rows.add(row)
    if member is not None:
      used.members.add(member)
    listed_as = self.table.find(names, others)
    if self.table.clusters is not None and not listed_as.cluster:
      used.unlisted.append(names[0])
    if listed_as.row.get('cluster') and member is not None:
      used.twice.append(names[0])
    return listed_as

  def alignment(
    self, names: Sequence[str], sequence: str, used: Used, skipped: list[tuple[str, str]]
  ) -> tuple[np.ndarray, np.ndarray, str]:
    """Tokens, deletions and label of a chain's alignment, see `choose`; counts it in `used`, refusals in `skipped`."""
    chosen = choose(self.libraries, names, sequence)
    if chosen.label and len(chosen.tokens) == 1:
      used.bare.append(names[0])
    used.alignments |= {str(path) for path in chosen.taken}
    used.libraries |= set(chosen.libraries)
    skipped += chosen.refused
    return chosen.tokens, chosen.deletions, chosen.label

  def check_entries(self, entries: Sequence[str]) -> None:
    """Raises InputError where the table or the clusters name no chain of these entries, before any file is read."""
    known = {entry.casefold() for entry in entries}
    for path, rows, _, what in self._tables(Used()):
      if not any(_may_be_of(name.casefold(), known) for name in rows):
        raise _no_chain(what, path, rows, f'of a file {entries[0]!r}')

  def check(self, used: Used, skipped: Sequence[tuple[str, str]]) -> None:
    """Raises InputError for the first thing given of which nothing was used; `skipped` gives reasons."""
    for path, rows, keys, what in self._tables(used):
      if not keys:
        raise _no_chain(what, path, rows, f'of a chain {used.names[0]!r}')
    for i, library in enumerate(self.libraries):
      if i not in used.libraries:
        paths = {str(path) for one in library.alignments for path in one.paths}
        reasons = [reason for path, reason in skipped if path in paths]
        first = f'the first says: {reasons[0]}' if reasons else f'the first is {library.alignments[0].label}'
        raise InputError(
          f'--msas {library.path}: no chain could use any of its {number(len(library.alignments), "alignment")}, by '
          f'name or by sequence; {first}; the first chain is {used.names[0]}'
        )

  def unmatched(self, used: Used, mentioned: set[str]) -> Iterator[tuple[str, str]]:
    """What was not used, with the reasons, but for the files `mentioned` already."""
    for library in self.libraries:
      paths = (str(path) for one in library.alignments for path in one.paths)
      yield from ((path, _UNUSED) for path in paths if path not in mentioned | used.alignments)
    for path, rows, keys, _ in self._tables(used):
      yield from (
        (str(path), f'names {name}, which is no chain of these structures') for name in rows if name not in keys
      )
    for name in used.unlisted:
      yield str(self.clusters_path), f'does not name chain {name}, which is a cluster of its own'

  def notes(self, used: Used) -> Iterator[str]:
    """Sentences for the end of the command: how much was used of what was given."""
    for one in self.found:
      if ignored := one.ignored():
        yield f'{one.path}: {ignored}'
    if self.columns:
      yield f'{self.table_path}: columns not used: {listed(self.columns)}'
    for library in self.libraries:
      taken = used.alignments.intersection(str(path) for one in library.alignments for path in one.paths)
      if len(taken) < library.num_files:
        yield f'{library.path}: {len(taken)} of {number(library.num_files, "alignment file")} used'
    if used.bare:
      yield f'alignments that hold the query alone: those of {number(len(used.bare), "chain")} ({listed(used.bare)})'
    for path, rows, keys, _ in self._tables(used):
      if strangers := [name for name in rows if name not in keys]:
        yield f'{path}: {len(strangers)} of {number(len(rows), "name")} without a chain here ({listed(strangers)})'
    if used.unlisted:
      each = 'each a' if len(used.unlisted) > 1 else 'a'
      shown = f'{number(len(used.unlisted), "chain")} not named, {each} cluster of its own ({listed(used.unlisted)})'
      yield f'{self.clusters_path}: {shown}'
    if used.twice:
      chains = number(len(used.twice), 'chain')
      yield f'{self.table_path}: its clusters go before those of {self.clusters_path}: {chains}'
    if self.table.rows is not None and (left := len(used.names) - len(used.rows)) > 0:
      yield f'{self.table_path}: {number(left, "chain")} of the structures not named, so not taken'

  def _tables(self, used: Used) -> Iterator[tuple[Path | None, Names, set[str], str]]:
    """Of the table and the clusters, if given: path, names in it, those that are chains, and the flag."""
    if self.table.rows is not None:
      yield self.table_path, self.table.rows, used.rows, '--table'
    if self.table.clusters is not None:
      yield self.clusters_path, self.table.clusters, used.members, '--clusters'


def read_given(
  structures: list[sources.SourceFiles],
  alignments: Paths,
  table: str | Path | None,
  columns: dict[str, str],
  clusters: str | Path | None,
) -> tuple[Given, list[tuple[str, str]]]:
  """What was given besides the structures, and (file, reason) of the alignments that cannot be read.

  Args:
    structures: the structure files.
    alignments: files and folders.
    table, clusters, columns: as in `cache_building.build_cache`.

  Raises:
    InputError: something cannot be read, or columns are named without a table.
  """
  if columns and table is None:
    raise InputError('--column: names a column of the table; give it by --table')
  rows, unread = (None, []) if table is None else read_table(table, columns)
  members = None if clusters is None else read_clusters(clusters)
  found = sources.find_alignments(alignments)
  libraries, broken = [], []
  for one in found:
    library, failed = read_library(one)
    libraries.append(library)
    broken += failed
  return Given(
    table=SourceTable(rows, members),
    libraries=tuple(libraries),
    table_path=None if table is None else Path(table),
    clusters_path=None if clusters is None else Path(clusters),
    columns=tuple(unread),
    found=(*structures, *found),
  ), broken


def _may_be_of(name: str, entries: Collection[str]) -> bool:
  """Whether a name is an entry, or one followed by '_' and a chain."""
  return name in entries or any(name[:i] in entries for i, letter in enumerate(name) if letter == '_')


def _no_chain(what: str, path: Path | None, rows: Names, first: str) -> InputError:
  return InputError(
    f'{what} {path}: names no chain of these structures; the first of its {number(len(rows), "name")} is '
    f'{next(iter(rows))!r}, the first {first}'
  )
