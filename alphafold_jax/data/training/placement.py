# SPDX-License-Identifier: Apache-2.0
"""The columns of an alignment put on a chain's residues.

An alignment fits a chain if its query aligns to 80% of the chain's residues, and at least 90% of the pairs in which
both residues are known are equal. So alignments made for the full sequence, for a construct without its tag or for a
near mutant can be used. Where the two sequences differ, row 0 becomes the chain's own, residues that only the chain
has are gaps in all other rows, and residues that only the query has become insertions.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import Alignment, align, encode, parse_a3m
from alphafold_jax.data.alignment_files import read_a3m
from alphafold_jax.errors import InputError

_MIN_IDENTITY = 0.9
_MIN_COVERAGE = 0.8


def place_files(
  paths: Sequence[Path], sequence: str
) -> tuple[dict[Path, tuple[np.ndarray, np.ndarray]], list[tuple[str, str]]]:
  """Maps the alignments of some files to a chain's residues.

  Args:
    paths: files of A3M or Stockholm text.
    sequence: the chain's, X where unknown.

  Returns:
    tokens and deletions, as `place_alignment` gives them, of each file that can be used; and (file, reason) of the
    others.
  """
  placed, refused = {}, []
  for path in paths:
    try:
      placed[path] = place_alignment(parse_a3m(read_a3m(path), str(path)), sequence, str(path))
    except InputError as error:
      refused.append((str(path), str(error)))
  return placed, refused


def joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
  """Placed alignments one after another, [num_seq, num_res] each, without rows that repeat an earlier one."""
  tokens, deletions = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
  kept = _distinct_rows(tokens)
  return tokens[kept], deletions[kept]


def check_query(query: str, sequence: str, source: str) -> dict[int, int] | None:
  """Residues of an alignment's query -> those of a chain; None where all correspond in their order.

  Raises:
    InputError: they are different proteins; the message names `source`.
  """
  own, theirs = encode(sequence), encode(query)
  known = own < residues.UNKNOWN
  if len(theirs) == len(own) and (theirs == own)[known & (theirs < residues.UNKNOWN)].all():
    return None
  pairs = align(query, sequence)
  start, end = (np.array(list(side), int) for side in (pairs.keys(), pairs.values()))
  _check_fit(theirs[start], own[end], len(own), source)
  return pairs


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
  own, pairs = encode(sequence), check_query(alignment.query, sequence, source)
  if pairs is None:
    tokens, deletions = alignment.tokens.copy(), alignment.deletions
  else:
    start, end = (np.array(list(side), int) for side in (pairs.keys(), pairs.values()))
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
