# SPDX-License-Identifier: Apache-2.0
"""Couplings beside a structure."""

import numpy as np

MOST_DISTANCE = 8.0  # Å between CB atoms, as CASP defines a contact
LEAST_SEPARATION = 6  # residues along the chain: nearer ones say little of a fold


def contact_precision(
  scores: np.ndarray,
  positions: np.ndarray,
  known: np.ndarray | None = None,
  *,
  share: float = 0.2,
  least_separation: int = LEAST_SEPARATION,
  most_distance: float = MOST_DISTANCE,
) -> float:
  """Of the pairs with the highest scores, the share that is in contact; NaN where there is no pair.

  Args:
    scores: [num_res, num_res] of the residues' pairs, such as `Couplings.scores`.
    positions: [num_res, 3] Å, of CB atoms, of CA for glycine.
    known: [num_res] 0: the residue was not observed, and its pairs do not count.
    share: pairs that are looked at for each residue observed: 0.2 is the "L/5" of the literature.
    least_separation: residues along the chain.
    most_distance: Å of a contact.
  """
  positions = np.asarray(positions, np.float64)
  known = np.ones(len(positions), bool) if known is None else np.asarray(known) > 0
  rows, columns = np.triu_indices(len(positions), least_separation)
  observed = known[rows] & known[columns]
  rows, columns = rows[observed], columns[observed]
  num = max(1, round(share * known.sum()))
  chosen = np.argsort(-np.asarray(scores)[rows, columns], kind='stable')[:num]
  if not chosen.size:
    return float('nan')
  distances = np.linalg.norm(positions[rows[chosen]] - positions[columns[chosen]], axis=-1)
  return float(np.mean(distances < most_distance))
