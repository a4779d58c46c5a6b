# SPDX-License-Identifier: Apache-2.0
"""The alignments that were given, found for a chain by name or by sequence.

A chain takes the alignment named like it, else the one whose query is most similar; libraries are tried in their order.

A file directly in the folder given is an alignment of its own, named like the file. Files of one query in the same
folder of it, as in ID/a3m/uniref90_hits.a3m of OpenProteinSet and ID/msas/uniref90_hits.sto of AlphaFold, are one
alignment together, named like the folder and like each of them; their rows follow one another in AlphaFold's order.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alphafold_jax import atomic
from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import encode, parse_a3m
from alphafold_jax.data.alignment_files import read_a3m
from alphafold_jax.data.records import read_first_record
from alphafold_jax.data.stockholm import MARK
from alphafold_jax.data.training import sources
from alphafold_jax.data.training.placement import check_query, joined, place_files
from alphafold_jax.errors import InputError
from alphafold_jax.naming import Names
from alphafold_jax.one_line import one_line
from alphafold_jax.screen import number

_WORD = 6  # residues; sequences that are 90% identical over 80% share about 0.8 * 0.9^6 = 42% of their words
_MIN_SHARED_WORDS = 0.2
_ORDER = ('uniref', 'bfd', 'mgnify')  # of the databases' rows, as AlphaFold merges them


@dataclasses.dataclass(frozen=True)
class AlignmentFiles:
  """The files of one alignment."""

  names: tuple[str, ...]  # by which a chain may find it
  query: str
  paths: tuple[Path, ...]  # whose rows follow one another; all of this query
  label: str  # for the index of a training set


@dataclasses.dataclass(frozen=True, eq=False)
class AlignmentLibrary:
  """The alignments of one path that was given, found by name or by the words (6 residues) of their queries."""

  path: Path
  num_files: int  # those that cannot be read are counted too
  alignments: tuple[AlignmentFiles, ...]
  by_name: Names[int]  # index of the alignment
  words: np.ndarray  # [num_word] sorted codes of all queries' words
  owners: np.ndarray  # [num_word] index of the alignment each word comes from

  __repr__ = one_line

  def candidates(self, names: Sequence[str], sequence: str) -> list[AlignmentFiles]:
    """The alignments that may belong to a chain of these possible names, the likeliest first."""
    keys = [key for name in names if (key := self.by_name.meant(name)) is not None]
    found = [self.by_name[key] for key in keys]
    own = np.unique(_words(sequence))
    first, last = (np.searchsorted(self.words, own, side) for side in ('left', 'right'))
    places = [np.arange(a, b) for a, b in zip(first, last, strict=True) if b > a]
    if places:
      shared = np.bincount(self.owners[np.concatenate(places)], minlength=len(self.alignments))
      alike = np.flatnonzero(shared >= _MIN_SHARED_WORDS * len(own))
      found += [int(i) for i in alike[np.argsort(-shared[alike], kind='stable')]]
    return [self.alignments[i] for i in dict.fromkeys(found)]


@dataclasses.dataclass(frozen=True, eq=False)
class ChosenAlignment:
  """The alignment of a chain, and what was seen on the way to it."""

  tokens: np.ndarray  # [num_seq, num_res] int32; the sequence alone where no alignment fits
  deletions: np.ndarray  # [num_seq, num_res] int32
  label: str  # '' where none fits
  taken: tuple[Path, ...]  # its files
  libraries: tuple[int, ...]  # those that have an alignment for the chain, taken or not needed
  refused: tuple[tuple[str, str], ...]  # (file, reason) of those broken, or named like the chain that do not fit

  __repr__ = one_line


def choose(libraries: Sequence[AlignmentLibrary], names: Sequence[str], sequence: str) -> ChosenAlignment:
  """The first alignment that fits a chain.

  Args:
    libraries: the preferred ones first.
    names: possible names of the chain.
    sequence: its one-letter codes, X where unknown.
  """
  own = {name.casefold() for name in names}
  reasons: list[tuple[str, str]] = []
  for i, library in enumerate(libraries):
    for alignment in library.candidates(names, sequence):
      try:
        check_query(alignment.query, sequence, str(alignment.paths[0]))
      except InputError as error:
        if own & {name.casefold() for name in alignment.names}:  # others have similar queries only
          reasons.append((str(alignment.paths[0]), str(error)))
        continue
      placed, broken = place_files(alignment.paths, sequence)
      reasons += broken
      if placed:
        spared = [k for k in range(i + 1, len(libraries)) if libraries[k].candidates(names, sequence)]
        rows = joined(list(placed.values()))
        return ChosenAlignment(*rows, alignment.label, tuple(placed), (i, *spared), tuple(reasons))
  tokens = encode(sequence)[None]
  return ChosenAlignment(tokens, np.zeros_like(tokens), '', (), (), tuple(reasons))


def read_library(found: sources.SourceFiles) -> tuple[AlignmentLibrary, list[tuple[str, str]]]:
  """The library of the alignments under a path, and the files that cannot be read, with the reasons.

  Raises:
    InputError: none of them can be read.
  """
  queries, broken = {}, []
  for path in found.files:
    try:
      queries[path] = read_query(path)
    except InputError as error:
      broken.append((str(path), str(error)))
  if not queries:
    raise InputError(
      f'--msas {found.path}: none can be read of {number(len(broken), "alignment")}; the first: {broken[0][1]}'
    )
  alignments = _grouped(found.path, queries)
  words = [np.unique(_words(one.query)) for one in alignments]
  owners = np.repeat(np.arange(len(words)), [len(w) for w in words])
  codes = np.concatenate(words)
  order = np.argsort(codes, kind='stable')
  names = {name: i for i, one in reversed(list(enumerate(alignments))) for name in one.names}
  return AlignmentLibrary(
    found.path, len(found.files), tuple(alignments), Names(names), codes[order], owners[order]
  ), broken


def read_query(path: Path) -> str:
  """The query of an alignment file: of its first lines where they suffice, else of the whole file.

  Raises:
    InputError: the file has none.
  """
  head = read_first_record(path)
  if not head.startswith(MARK):
    try:
      return parse_a3m(head, str(path)).query
    except InputError:
      pass  # what the first lines lack may stand behind them
  return parse_a3m(read_a3m(path), str(path)).query


def _grouped(given: Path, queries: dict[Path, str]) -> list[AlignmentFiles]:
  """The alignments that files make; a folder names the first of those in it."""
  groups: dict[tuple[str, str], list[Path]] = {}
  for path, query in queries.items():
    folder = path.relative_to(given).parts[0] if path != given and path.parent != given else ''
    groups.setdefault((folder, query if folder else str(path)), []).append(path)
  return [_alignment_files(given, folder, paths, queries[paths[0]]) for (folder, _), paths in groups.items()]


def _alignment_files(given: Path, folder: str, paths: list[Path], query: str) -> AlignmentFiles:
  paths = sorted(paths, key=lambda path: (_place(path.name), path))
  names = [sources.stem(path, sources.ALIGNMENTS) for path in paths]
  labels = [path.name if path.parent == given or path == given else str(path.relative_to(given)) for path in paths]
  return AlignmentFiles(
    tuple(filter(None, (folder, *names))), query, tuple(paths), atomic.printable(' + '.join(labels))
  )


def _place(name: str) -> int:
  """Where the rows of a file stand among those of other databases: by the first that its name holds."""
  starts = {name.lower().find(database): i for i, database in enumerate(_ORDER) if database in name.lower()}
  return starts[min(starts)] if starts else len(_ORDER)


def _words(sequence: str) -> np.ndarray:  # [num_word] int64
  """A number for each word of consecutive known residues."""
  tokens = encode(sequence).astype(np.int64)
  if len(tokens) < _WORD:
    return np.zeros(0, np.int64)
  windows = np.lib.stride_tricks.sliding_window_view(tokens, _WORD)
  return (windows @ 20 ** np.arange(_WORD))[(windows < residues.UNKNOWN).all(axis=1)]
