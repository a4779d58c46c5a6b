# SPDX-License-Identifier: Apache-2.0
"""Where a training crop begins (Suppl. 1.2.8)."""

import numpy as np


def crop_start(rng: np.random.Generator, num_res: int, crop_size: int, clamped: bool) -> int:
  """First residue of a contiguous crop; 0 where the chain fits.

  With the clamped FAPE all places are equally likely. With the unclamped one the crop tends to the chain's beginning:
  for n = num_res - crop_size, x is uniform in 0..n and the start uniform in 0..n - x.
  """
  spare = max(0, num_res - crop_size)
  if not clamped:
    spare -= int(rng.integers(spare + 1))
  return int(rng.integers(spare + 1))
