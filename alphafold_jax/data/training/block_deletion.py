# SPDX-License-Identifier: Apache-2.0
"""Deletion of blocks of an alignment in training (Suppl. 1.2.6)."""

import numpy as np


def delete_blocks(rng: np.random.Generator, num_seq: int, num_blocks: int, block_fraction: float) -> np.ndarray:
  """Which rows are left after contiguous blocks of similar sequences were taken out; Algorithm 1 "MSABlockDeletion".

  Blocks may overlap and reach over the end. Row 0, the query, always stays.

  Args:
    rng: advanced.
    num_seq: rows, sorted by similarity as search programs give them.
    num_blocks: 5 in the paper.
    block_fraction: size of a block as a share of the rows, 0.3 in the paper.

  Returns:
    [num_kept] row indices, ascending.
  """
  size = int(num_seq * block_fraction)  # line 1
  kept = np.ones(num_seq, bool)
  for start in rng.integers(num_seq, size=num_blocks):  # lines 3-4
    kept[start : start + size] = False  # lines 5-6, 8
  kept[0] = True
  return np.flatnonzero(kept)
