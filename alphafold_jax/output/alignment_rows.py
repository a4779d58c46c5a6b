# SPDX-License-Identifier: Apache-2.0
"""In which order the rows of an alignment are drawn, and how many of them cover a column."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.one_line import one_line

MAX_ROWS = 1000  # that are drawn; of more some are left out, evenly


class DrawnRows(NamedTuple):
  """Rows from top to bottom."""

  identity: np.ndarray  # [at most MAX_ROWS, N_res] of each row to the query, %; NaN at gaps
  ends: list[int]  # how many rows of the alignment stand above the end of each group but the last

  def __repr__(self) -> str:
    return one_line(self)


def ranked_rows(tokens: np.ndarray) -> np.ndarray:  # [N_seq, N_res] -> [at most MAX_ROWS, N_res]
  """Each row's identity to the query (%), the most similar row first, NaN at gaps; evenly thinned where there are many.

  Args:
    tokens: row 0 the query.
  """
  identity = np.count_nonzero((tokens == tokens[0]) & (tokens != residues.GAP), axis=1) / tokens.shape[1]
  return _drawn(tokens, identity, np.argsort(identity, kind='stable')[::-1])


def grouped_rows(tokens: np.ndarray, chain_lengths: Sequence[int]) -> DrawnRows:
  """The same of several chains, in groups of rows that cover the same chains: all chains first, then ever fewer.

  Identity is the mean over the chains that a row covers.
  """
  if len(chain_lengths) < 2:
    return DrawnRows(ranked_rows(tokens), [])
  lengths = np.asarray(chain_lengths)
  starts, residue = np.cumsum(lengths) - lengths, tokens != residues.GAP
  covers = np.logical_or.reduceat(residue, starts, axis=1)  # [N_seq, N_chain]
  equal = np.add.reduceat((tokens == tokens[0]) & residue, starts, axis=1, dtype=int) / lengths
  count = np.count_nonzero(covers, axis=1)
  identity = np.sum(equal, axis=1) / np.maximum(count, 1)
  _, which = np.unique(np.packbits(~covers, axis=1), axis=0, return_inverse=True)  # those with the first chain first
  which = which.ravel()
  order = np.lexsort((-identity, which, -count))
  return DrawnRows(_drawn(tokens, identity, order), (np.flatnonzero(np.diff(which[order])) + 1).tolist())


def _drawn(tokens: np.ndarray, identity: np.ndarray, order: np.ndarray) -> np.ndarray:
  order = order[np.linspace(0, len(order) - 1, min(len(order), MAX_ROWS)).round().astype(int)]
  return np.where(tokens[order] != residues.GAP, 100 * identity[order, None], np.nan).astype(np.float32)


def covered(tokens: np.ndarray) -> np.ndarray:  # [N_seq, N_res] -> [N_res]
  """How many rows have no gap in each column."""
  return np.count_nonzero(tokens != residues.GAP, axis=0)
