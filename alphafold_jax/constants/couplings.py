# SPDX-License-Identifier: Apache-2.0
"""What a network may be told of how strongly two residues are coupled in an alignment; not of the paper."""

CHANNELS = (
  'present',  # 1: the alignment gave couplings
  'depth',  # Neff / (Neff + num_res), the same for all pairs
  'score',  # standard deviations above the mean
  'score_times_depth',
  'rank',  # 1 for the strongest pair, 1/2 for the num_res-th strongest, falling to 0
)
NUM_CHANNELS = len(CHANNELS)
