# SPDX-License-Identifier: Apache-2.0
"""lDDT, the local distance difference test (Mariani et al. 2013), from CA atoms or from all heavy atoms; numpy.

The share of the distances below 15 Å between atoms of different residues in the true structure that differ in the
prediction by less than 0.5, 1, 2 and 4 Å, averaged over these four. It needs no superposition. Atoms that the true
structure lacks are left out; distances of atoms that the prediction lacks count as not kept.

N residues, M atoms, P pairs of atoms. Positions [N, 37, 3] and cutoffs in Å, masks [N, 37], residue types [N]; for CA
atoms alone positions [N, 3] and mask [N].
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from alphafold_jax.geometry import side_chains
from alphafold_jax.one_line import one_line

TOLERANCES = (0.5, 1.0, 2.0, 4.0)  # Å
CUTOFF = 15.0  # Å
_PAIRS_AT_ONCE = 1 << 20  # limits arrays over pairs to about 150 MB
_PARTNER = side_chains.partners(side_chains.EXCHANGEABLE)


@dataclasses.dataclass(frozen=True, eq=False)
class Distances:
  """For each residue its true distances to others, and those that the prediction keeps."""

  counted: np.ndarray  # [N] number of distances of the true structure that have an end in this residue
  kept: np.ndarray  # [N] number of these that are kept, averaged over the tolerances

  __repr__ = one_line

  @property
  def per_residue(self) -> np.ndarray:
    """lDDT of each residue, 0..1 [N]; NaN where there is no distance to compare."""
    return np.divide(self.kept, self.counted, out=np.full(len(self.kept), np.nan), where=self.counted > 0)

  @property
  def total(self) -> float | None:
    """lDDT of the structure, 0..1, every distance with equal weight; None where there is none."""
    return float(self.kept.sum() / self.counted.sum()) if self.counted.any() else None


def lddt_ca(predicted: np.ndarray, true: np.ndarray, mask: np.ndarray, cutoff: float = CUTOFF) -> np.ndarray:
  """lDDT of each residue from one atom per residue, usually CA: [N] 0..1. Suppl. 1.9.6.

  Missing predicted positions are NaN; the mask is that of the true ones. A residue that is unknown or has no known
  neighbour gets 1 and must be left out of an average.
  """
  return np.nan_to_num(ca_distances(predicted, true, mask, cutoff).per_residue, nan=1.0)


def ca_distances(predicted: np.ndarray, true: np.ndarray, mask: np.ndarray, cutoff: float = CUTOFF) -> Distances:
  """The distances between the residues' single atoms; arguments as in `lddt_ca`."""
  known = np.flatnonzero(mask)
  predicted, true = np.asarray(predicted, np.float64)[known], np.asarray(true, np.float64)[known]
  return _distances(predicted, true, known, len(mask), _neighbours(true, known, cutoff))


def all_atom_distances(
  aatype: np.ndarray,
  predicted: np.ndarray,
  predicted_mask: np.ndarray,
  true: np.ndarray,
  true_mask: np.ndarray,
  cutoff: float = CUTOFF,
) -> Distances:
  """The distances between all heavy atoms of different residues.

  A residue whose atoms may exchange names (side_chains.EXCHANGEABLE) takes the naming that keeps more distances to
  atoms with a single name.
  """
  residue = np.nonzero(true_mask)[0]  # [M] of each atom
  own, theirs, pairs = _named_pairs(aatype, predicted, predicted_mask, true, true_mask, residue, cutoff)
  return _distances(own, theirs, residue, len(aatype), pairs)


def distances_between_chains(
  aatype: np.ndarray,
  predicted: np.ndarray,
  predicted_mask: np.ndarray,
  true: np.ndarray,
  true_mask: np.ndarray,
  chain: np.ndarray,
  cutoff: float = CUTOFF,
) -> tuple[np.ndarray, np.ndarray]:
  """The distances between all heavy atoms of different chains; names as in `all_atom_distances`, by these alone.

  Args:
    aatype, predicted, predicted_mask, true, true_mask: as in `all_atom_distances`.
    chain: [N] the chain of each residue, 0 to C - 1 in ascending order.
    cutoff: Å.

  Returns:
    the number of distances between chains i < j at [i, j], and the number of these that are kept: [C, C] each.
  """
  num_chains = int(chain[-1]) + 1
  owner = np.asarray(chain)[np.nonzero(true_mask)[0]]  # [M] the chain of each atom
  own, theirs, pairs = _named_pairs(aatype, predicted, predicted_mask, true, true_mask, owner, cutoff)
  counted, kept = np.zeros(num_chains**2), np.zeros(num_chains**2)
  for some in _blocks(pairs):
    place = owner[some].min(axis=1) * num_chains + owner[some].max(axis=1)
    counted += np.bincount(place, minlength=num_chains**2)
    kept += np.bincount(place, _kept(own, theirs, some), num_chains**2)
  return counted.reshape(num_chains, num_chains), kept.reshape(num_chains, num_chains)


def _named_pairs(
  aatype: np.ndarray,
  predicted: np.ndarray,
  predicted_mask: np.ndarray,
  true: np.ndarray,
  true_mask: np.ndarray,
  owner: np.ndarray,
  cutoff: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Predicted and true atoms [M, 3] under the best names, and the pairs [P, 2] of them with different owners [M]."""
  at = np.nonzero(true_mask)
  exists = np.asarray(predicted_mask)[..., None] > 0
  predicted = np.where(exists, predicted, np.nan).astype(np.float64)  # a comparison with NaN is False: not kept
  partner = _PARTNER[np.asarray(aatype)]  # [N, 37]
  renamed = np.take_along_axis(predicted, partner[..., None], axis=1)[at]
  uncertain = (partner != np.arange(37))[at]  # [M]
  predicted, true = predicted[at], np.asarray(true, np.float64)[at]

  pairs = _neighbours(true, owner, cutoff)
  if uncertain.any():
    decisive = pairs[uncertain[pairs[:, 0]] != uncertain[pairs[:, 1]]]
    gain = np.zeros(len(aatype))
    for some in _blocks(decisive):
      residue = at[0][np.where(uncertain[some[:, 0]], some[:, 0], some[:, 1])]
      better = _kept(np.where(uncertain[:, None], renamed, predicted), true, some) - _kept(predicted, true, some)
      gain += np.bincount(residue, better, len(aatype))
    predicted = np.where((gain > 0)[at[0]][:, None], renamed, predicted)
  return predicted, true, pairs


def _neighbours(points: np.ndarray, owner: np.ndarray, cutoff: float) -> np.ndarray:
  """The pairs [P, 2] of points [M, 3] nearer than the cutoff that have different owners [M]."""
  if not len(points):
    return np.zeros((0, 2), np.intp)
  pairs = cKDTree(points).query_pairs(cutoff, output_type='ndarray')
  pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
  return np.concatenate([some[_length(points, some) < cutoff] for some in _blocks(pairs)] or [pairs])


def _distances(
  predicted: np.ndarray, true: np.ndarray, owner: np.ndarray, num_res: int, pairs: np.ndarray
) -> Distances:
  """Counts and kept distances of each residue over pairs of atoms."""
  counted, kept = np.zeros(num_res), np.zeros(num_res)
  for some in _blocks(pairs):
    share = _kept(predicted, true, some)
    for end in (0, 1):
      residue = owner[some[:, end]]
      counted += np.bincount(residue, minlength=num_res)
      kept += np.bincount(residue, share, num_res)
  return Distances(counted=counted, kept=kept)


def _kept(predicted: np.ndarray, true: np.ndarray, pairs: np.ndarray) -> np.ndarray:
  """The share of the tolerances that each pair's distance differs by less than: [P]."""
  deviation = np.abs(_length(true, pairs) - _length(predicted, pairs))
  return sum((deviation < tolerance).astype(np.float64) for tolerance in TOLERANCES) / len(TOLERANCES)


def _length(points: np.ndarray, pairs: np.ndarray) -> np.ndarray:
  difference = points[pairs[:, 0]] - points[pairs[:, 1]]
  return np.sqrt(np.einsum('pi,pi->p', difference, difference))


def _blocks(pairs: np.ndarray) -> Iterator[np.ndarray]:
  return (pairs[start : start + _PAIRS_AT_ONCE] for start in range(0, len(pairs), _PAIRS_AT_ONCE))
