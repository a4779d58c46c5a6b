# SPDX-License-Identifier: Apache-2.0
"""Couplings as a network takes them: standardised, in 256 levels, then as the channels of constants/couplings.py.

Levels are what a training set keeps, one byte a pair; a prediction goes through them too, so that a network sees the
same in both.
"""

import numpy as np

from alphafold_jax.coevolution.alignments import MAX_RES
from alphafold_jax.constants import couplings as constants

MIN_ROWS = 32  # of an alignment; couplings of fewer say nothing
_NEAR = 3  # residues along the chain: pairs as near are strong in any protein, and are left out of mean and rank
_LOWEST, _PER_DEVIATION, _NUM_LEVELS = -4, 16, 256  # level 0, levels per standard deviation


def refusal(num_rows: int, num_res: int) -> str | None:
  """Why a network is given no couplings of an alignment of this size, in words; None: it is given them."""
  if num_rows < MIN_ROWS:
    return f'{num_rows} rows are fewer than the {MIN_ROWS} that couplings need'
  if num_res > MAX_RES:
    return f'{num_res} residues are more than the {MAX_RES} of which couplings are computed'
  return None


def levels(scores: np.ndarray) -> np.ndarray:  # [num_res, num_res] -> [num_res, num_res] uint8
  """Scores in sixteenths of their standard deviation, from 4 below to 12 above their mean."""
  apart = scores[np.triu_indices(len(scores), _NEAR + 1)]
  deviation = apart.std() if apart.size else 0.0
  deviations = (scores - apart.mean()) / deviation if deviation else np.zeros(scores.shape)
  np.fill_diagonal(deviations, 0)
  return np.clip(np.rint((deviations - _LOWEST) * _PER_DEVIATION), 0, _NUM_LEVELS - 1).astype(np.uint8)


def features(levels: np.ndarray, neff: float, window: slice = slice(None)) -> np.ndarray:
  """The network's input for the pairs of a window of residues.

  Args:
    levels: [num_res, num_res] of the whole protein.
    neff: effective number of rows.
    window: residues.

  Returns:
    [n, n, NUM_CHANNELS] float32.
  """
  num_res = len(levels)
  counts = np.bincount(levels[np.triu_indices(num_res, _NEAR + 1)], minlength=_NUM_LEVELS)
  stronger = counts[::-1].cumsum()[::-1] - counts  # pairs above each level
  score = np.arange(_NUM_LEVELS) / _PER_DEVIATION + _LOWEST
  depth = neff / (neff + num_res)
  channels = {
    'present': np.ones(_NUM_LEVELS),
    'depth': np.full(_NUM_LEVELS, depth),
    'score': score,
    'score_times_depth': score * depth,
    'rank': num_res / (num_res + stronger),
  }
  table = np.stack([channels[name] for name in constants.CHANNELS], axis=-1).astype(np.float32)
  return table[levels[window, window]]


def no_features(num_res: int) -> np.ndarray:  # [num_res, num_res, NUM_CHANNELS] float32
  """What the network is given in place of couplings where there are none: zeros, 'present' among them."""
  return np.zeros((num_res, num_res, constants.NUM_CHANNELS), np.float32)
