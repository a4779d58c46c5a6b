# SPDX-License-Identifier: Apache-2.0
"""The columns of an alignment put on a chain's residues.

An alignment fits a chain if its query aligns to 80% of the chain's residues, and at least 90% of the pairs in which
both residues are known are equal. So alignments made for the full sequence, for a construct without its tag or for a
near mutant can be used. Where the two sequences differ, row 0 becomes the chain's own, residues that only the chain
has are gaps in all other rows, and residues that only the query has become insertions.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import Alignment, align, encode, parse_a3m
from alphafold_jax.data.queries import read_a3m
from alphafold_jax.errors import InputError

_MIN_IDENTITY = 0.9
_MIN_COVERAGE = 0.8


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedFiles:
  """The alignments of some files on a chain's residues."""

  rows: tuple[np.ndarray, np.ndarray] | None  # tokens and deletions, see `place_alignment`; None where no file fits
  taken: tuple[Path, ...]
  unfit: tuple[tuple[str, str], ...]  # (file, reason) of those of another protein
  broken: tuple[tuple[str, str], ...]  # (file, reason) of those that cannot be read


def place_files(paths: Sequence[Path], sequence: str) -> PlacedFiles:
  """Maps the alignments of some files to a chain's residues, their rows one after another.

  Args:
    paths: files of A3M or Stockholm text.
    sequence: the chain's, X where unknown.
  """
  placed, unfit, broken = {}, [], []
  for path in paths:
    try:
      alignment = parse_a3m(read_a3m(path), str(path))
    except InputError as error:
      broken.append((str(path), str(error)))
      continue
    try:
      placed[path] = place_alignment(alignment, sequence, str(path))
    except InputError as error:
      unfit.append((str(path), str(error)))
  rows = None
  if placed:
    tokens, deletions = (np.concatenate(parts) for parts in zip(*placed.values(), strict=True))
    kept = _distinct_rows(tokens)
    rows = tokens[kept], deletions[kept]
  return PlacedFiles(rows, tuple(placed), tuple(unfit), tuple(broken))


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
