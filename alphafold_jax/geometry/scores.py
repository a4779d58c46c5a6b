# SPDX-License-Identifier: Apache-2.0
"""Scores of a predicted structure against the true one, in numpy."""

import numpy as np

LDDT_TOLERANCES = (0.5, 1.0, 2.0, 4.0)  # Å


def lddt_ca(predicted: np.ndarray, true: np.ndarray, mask: np.ndarray, cutoff: float = 15.0) -> np.ndarray:
  """lDDT of each residue from one atom per residue [N, 3], CA by custom: Suppl. 1.9.6, Mariani et al. 2013.

  Of the true distances to other residues below the cutoff (Å), the share that the prediction keeps within 0.5, 1, 2
  and 4 Å, averaged over these four: 0..1, [N]. The mask [N] tells which true positions are known; a residue without
  any known neighbour, or itself unknown, gets 1, so leave those out of an average.
  """
  true_distances, predicted_distances = (
    np.sqrt(1e-10 + np.sum((points[:, None] - points[None]) ** 2, axis=-1)) for points in (true, predicted)
  )
  known = mask[:, None] * mask[None] * (1 - np.eye(len(mask)))
  counted = known * (true_distances < cutoff)
  deviations = np.abs(true_distances - predicted_distances)
  kept = np.mean([deviations < tolerance for tolerance in LDDT_TOLERANCES], axis=0)
  return (1e-10 + np.sum(counted * kept, axis=-1)) / (1e-10 + np.sum(counted, axis=-1))
