# SPDX-License-Identifier: Apache-2.0
"""The random choices of a training example: alignment rows (Suppl. 1.2.6) and a crop of residues (Suppl. 1.2.8)."""

import numpy as np


def delete_blocks(rng: np.random.Generator, num_seq: int, num_blocks: int, block_fraction: float) -> np.ndarray:
  """The rows that are left after contiguous blocks of similar sequences are deleted: Algorithm 1 "MSABlockDeletion".

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


def random_rows(rng: np.random.Generator, rows: np.ndarray, max_rows: int) -> np.ndarray:
  """The first of some rows [num_row] and a random subset of the others, `max_rows` in all, in their order."""
  if len(rows) <= max_rows:
    return rows
  return np.concatenate([rows[:1], np.sort(rng.choice(rows[1:], max(0, max_rows - 1), replace=False))])


def crop_start(rng: np.random.Generator, num_res: int, crop_size: int, clamped: bool) -> int:
  """The first residue of a contiguous crop; 0 where the whole chain fits.

  With the clamped FAPE all places are equally likely. With the unclamped one the crop tends to the chain's beginning:
  for n = num_res - crop_size, x is uniform in 0..n and the start uniform in 0..n - x.
  """
  spare = max(0, num_res - crop_size)
  if not clamped:
    spare -= int(rng.integers(spare + 1))
  return int(rng.integers(spare + 1))
