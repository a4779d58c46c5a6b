# SPDX-License-Identifier: Apache-2.0
"""Colours of residues."""

import numpy as np

from alphafold_jax.output.plots import PLDDT_BANDS

_SPECTRUM = '3a53c4 2f86d6 27b3b8 4dbd5d b7cf3f f3c433 ef8a2f d43a35'  # evenly spaced


def spectrum(num_res: int) -> np.ndarray:
  """Blue for the first residue to red for the last [N, 3], 0..255."""
  anchors = np.array([list(bytes.fromhex(colour)) for colour in _SPECTRUM.split()], float)
  place = np.linspace(0, len(anchors) - 1, num_res)
  return np.stack([np.interp(place, np.arange(len(anchors)), channel) for channel in anchors.T], axis=1)


def confidence(plddt: np.ndarray) -> np.ndarray:
  """The colour of each residue's band of pLDDT [N, 3], 0..255, AlphaFold DB's.

  Args:
    plddt: [N] 0..100.
  """
  lows = np.array([low for low, _, _, _ in PLDDT_BANDS])  # from the highest band down
  colours = np.array([list(bytes.fromhex(colour[1:])) for _, _, colour, _ in PLDDT_BANDS], float)
  return colours[np.argmax(np.asarray(plddt)[:, None] >= lows, axis=1)]
