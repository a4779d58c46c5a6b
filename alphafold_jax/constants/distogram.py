# SPDX-License-Identifier: Apache-2.0
"""The distance bins of the distogram, Suppl. 1.9.8."""

import numpy as np

FIRST_EDGE = 2.3125  # Å
LAST_EDGE = 21.6875  # Å
NUM_BINS = 64


def distogram_edges(num_bins: int = NUM_BINS) -> np.ndarray:
  """The edges between the distance bins, Å; the first and the last bin are open."""
  return np.linspace(FIRST_EDGE, LAST_EDGE, num_bins - 1)
