# SPDX-License-Identifier: Apache-2.0
"""bfloat16 moves a prediction of this network no further than one of DeepMind's."""

import numpy as np
from parity import rounding

SIZES = rounding.Sizes(num_block=2, num_res=32, num_msa=8, num_extra=16)


def test_the_drift_from_float32_is_no_worse_than_the_official_networks():
  """Over six seeds: that of a single one is chance, and differs by a third either way."""
  found = [rounding.drifts(SIZES, seed) for seed in range(6)]
  for field in rounding.Drift._fields:
    ours, official = (np.mean([getattr(one[side], field) for one in found]) for side in ('ours', 'official'))
    assert 0 < ours < rounding.LIMIT * official, field
