# SPDX-License-Identifier: Apache-2.0
"""The alignment of a chain: found by name or sequence, and its columns put on the chain's residues.

An alignment fits a chain if its query aligns to 80% of the chain's residues, and at least 90% of the pairs in which
both residues are known are equal. So alignments made for the full sequence, for a construct without its tag or for a
near mutant can be used. Where the two sequences differ, row 0 becomes the chain's own, residues that only the chain
has are gaps in all other rows, and residues that only the query has become insertions.

A chain takes the alignment named like it, else the one whose query is most similar; folders are tried in their order.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import Alignment, align, encode, parse_a3m
from alphafold_jax.data.records import read_first_record
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

_MIN_IDENTITY = 0.9
_MIN_COVERAGE = 0.8
_SUFFIXES = ('.a3m', '.a3m.gz')
_WORD = 6  # residues; sequences that are 90% identical over 80% share about 0.8 * 0.9^6 = 42% of their words
_MIN_SHARED_WORDS = 0.2
_CANDIDATES = 3  # alignments tried per folder


@dataclasses.dataclass(frozen=True, eq=False)
class AlignmentLibrary:
  """The alignments of one folder, found by name or by the words (6 residues) of their queries."""

  paths: tuple[Path, ...]
  by_name: dict[str, int]  # file name without suffix -> index of its path
  words: np.ndarray  # [num_word] sorted codes of all queries' words
  owners: np.ndarray  # [num_word] index of the path each word comes from

  __repr__ = one_line

  def candidates(self, names: Sequence[str], sequence: str) -> list[Path]:
    """The alignments that may belong to a chain of these possible names, the likeliest first."""
    found = [self.by_name[name] for name in names if name in self.by_name]
    own = np.unique(_words(sequence))
    first, last = (np.searchsorted(self.words, own, side) for side in ('left', 'right'))
    places = [np.arange(a, b) for a, b in zip(first, last, strict=True) if b > a]
    if places:
      shared = np.bincount(self.owners[np.concatenate(places)], minlength=len(self.paths))
      nearest = np.argsort(-shared, kind='stable')[:_CANDIDATES]
      found += [int(i) for i in nearest if shared[i] >= _MIN_SHARED_WORDS * len(own)]
    return [self.paths[i] for i in dict.fromkeys(found)]


def read_library(paths: Iterable[Path]) -> tuple[AlignmentLibrary, list[tuple[Path, str]]]:
  """The library of some A3M files, and those that cannot be read, with the reasons."""
  good, queries, broken = [], [], []
  for path in paths:
    try:
      queries.append(parse_a3m(read_first_record(path), str(path)).query)
      good.append(path)
    except InputError as error:
      broken.append((path, str(error)))
  words = [np.unique(_words(query)) for query in queries]
  owners = np.repeat(np.arange(len(words)), [len(w) for w in words])
  codes = np.concatenate([*words, np.zeros(0, np.int64)])
  order = np.argsort(codes, kind='stable')
  names = {alignment_name(path): i for i, path in reversed(list(enumerate(good)))}
  return AlignmentLibrary(tuple(good), names, codes[order], owners[order]), broken


def alignment_files(folder: Path) -> list[Path]:
  """The A3M files directly in a folder, by name."""
  return sorted(path for path in folder.iterdir() if path.name.endswith(_SUFFIXES))


def alignment_name(path: Path) -> str:
  """The file's name without its suffix."""
  return path.name.removesuffix('.gz').removesuffix('.a3m')


def place_alignment(alignment: Alignment, sequence: str, source: str) -> tuple[np.ndarray, np.ndarray]:
  """Maps an alignment's columns to a chain's residues.

  Args:
    alignment: with any query.
    sequence: the chain's, X where unknown.
    source: names the alignment in messages.

  Returns:
    tokens and deletions, both [num_seq, num_res] int32; rows that become empty or equal to another are left out.

  Raises:
    InputError: the alignment does not fit, see above.
  """
  own, query = encode(sequence), alignment.tokens[0]
  known = own < residues.UNKNOWN
  if len(query) == len(own) and (query == own)[known & (query < residues.UNKNOWN)].all():
    tokens, deletions = alignment.tokens.copy(), alignment.deletions
  else:
    pairs = align(alignment.query, sequence)
    start, end = (np.array(list(side), int) for side in (pairs.keys(), pairs.values()))
    _check_fit(query[start], own[end], len(own), source)
    tokens = np.full((len(alignment.tokens), len(own)), residues.GAP, np.int32)
    deletions = np.zeros_like(tokens)
    tokens[:, end] = alignment.tokens[:, start]
    deletions[:, end] = _letters_before(alignment, start)
  tokens[0], deletions[0] = own, 0
  kept = _distinct_rows(tokens)
  return tokens[kept], deletions[kept]


def _check_fit(query: np.ndarray, own: np.ndarray, num_res: int, source: str) -> None:  # two of [num_pair]
  """Raises InputError for an alignment whose query is another protein."""
  both = (query < residues.UNKNOWN) & (own < residues.UNKNOWN)
  identity = (query == own)[both].mean() if both.any() else 0.0
  coverage = len(own) / num_res
  if identity < _MIN_IDENTITY or coverage < _MIN_COVERAGE:
    raise InputError(
      f"{source}: the alignment's query is not the structure's sequence ({identity:.0%} identical over "
      f'{coverage:.0%} of the chain; needed are {_MIN_IDENTITY:.0%} over {_MIN_COVERAGE:.0%}); align this chain again'
    )


def _letters_before(alignment: Alignment, kept: np.ndarray) -> np.ndarray:  # [num_pair] -> [num_seq, num_pair]
  """The number of residues that each row has between one kept column and the next, in dropped columns too."""
  letters = (alignment.tokens != residues.GAP) * 1
  through = np.cumsum(alignment.deletions + letters, axis=1)  # letters up to and with each column
  before = (through - letters)[:, kept]
  before[:, 1:] -= through[:, kept[:-1]]
  before[:, 0] = alignment.deletions[:, kept[0]]  # residues in front of the chain are no insertion
  return before


def _distinct_rows(tokens: np.ndarray) -> list[int]:
  """The rows [num_seq, num_res] to keep: row 0, and the first of equal rows that are not gaps only."""
  first: dict[bytes, int] = {tokens[0].tobytes(): 0}
  for i in np.flatnonzero((tokens != residues.GAP).any(axis=1)):
    first.setdefault(tokens[i].tobytes(), int(i))
  return sorted(first.values())


def _words(sequence: str) -> np.ndarray:  # [num_word] int64
  """A number for each word of consecutive known residues."""
  tokens = encode(sequence).astype(np.int64)
  if len(tokens) < _WORD:
    return np.zeros(0, np.int64)
  windows = np.lib.stride_tricks.sliding_window_view(tokens, _WORD)
  return (windows @ 20 ** np.arange(_WORD))[(windows < residues.UNKNOWN).all(axis=1)]
