# SPDX-License-Identifier: Apache-2.0
"""All scores of a predicted structure against the true one, in numpy; the modules imported here compute them.

N residues of the true structure; the prediction is given on these, with mask 0 for atoms that it lacks. Atoms that the
true structure lacks are left out of every score. Atoms that the prediction lacks count as wrong in lDDT, GDT and
TM-score, which are shares; r.m.s.d. and angles are computed where both structures have the atoms.
"""

import dataclasses

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.geometry import side_chains, superposition
from alphafold_jax.geometry.lddt import all_atom_distances, ca_distances, lddt_ca
from alphafold_jax.geometry.tm_score import in_place, tm_score
from alphafold_jax.one_line import one_line

__all__ = ['Scores', 'lddt_ca', 'score', 'tm_score']

CHI_TOLERANCE = 40.0  # degrees
COVERAGE = 0.95  # share of the atoms that an r.m.s.d. "95" is taken over
_CA = residues.ATOM_INDEX['CA']


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
  """One prediction's scores; None where there is nothing to compare."""

  lddt: float | None  # 0..1, all heavy atoms
  lddt_ca: float | None  # 0..1, CA atoms, every distance with equal weight
  lddt_ca_residue_mean: float | None  # 0..1, CA atoms, every residue with equal weight, as in mean pLDDT
  gdt_ts: float  # 0..1
  gdt_ha: float  # 0..1
  tm_score: float  # 0..1, normalised by the residues of the true structure
  ca_rmsd: float  # Å
  ca_rmsd_95: float  # Å, over the 95% of CA atoms that fit best
  all_atom_rmsd: float  # Å, heavy atoms, superposed by themselves
  all_atom_rmsd_95: float  # Å, over the 95% of atoms that fit best
  side_chain_rmsd: float | None  # Å, atoms from CB on, under the superposition of the CA atoms
  side_chain_rmsd_local: float | None  # Å, the same in the local coordinates of each residue's N, CA and C
  chi1_accuracy: float | None  # 0..1, share of chi1 angles off by less than 40 degrees
  chi1_2_accuracy: float | None  # 0..1, share of residues with two chis whose chi1 and chi2 both are
  chi_errors: tuple[float | None, ...]  # degrees, mean over the residues that have it, for chi1 to chi4
  residue_lddt_ca: np.ndarray  # [N] 0..1; NaN where there is no distance to compare
  residue_distances: np.ndarray  # [N] Å between CA atoms under the superposition of best TM-score; NaN if missing

  __repr__ = one_line


def score(
  aatype: np.ndarray, predicted: np.ndarray, predicted_mask: np.ndarray, true: np.ndarray, true_mask: np.ndarray
) -> Scores:
  """Computes all scores of one structure.

  Args:
    aatype: [N] residue types; 20 for residues whose chi angles are not compared.
    predicted: [N, 37, 3] Å.
    predicted_mask: [N, 37].
    true: [N, 37, 3] Å.
    true_mask: [N, 37].

  Raises:
    InputError: fewer than three CA atoms in common, or positions that are not finite.
  """
  predicted_ca, true_ca = predicted[:, _CA], true[:, _CA]
  has_ca, common_ca = true_mask[:, _CA] > 0, (true_mask * predicted_mask)[:, _CA] > 0
  placed = in_place(predicted_ca, true_ca, has_ca, predicted_mask[:, _CA])
  ca = ca_distances(np.where(predicted_mask[:, _CA, None] > 0, predicted_ca, np.nan), true_ca, has_ca)
  both = (true_mask * predicted_mask) > 0
  named = side_chains.nearest_names(aatype, predicted, predicted_mask, true, true_mask)
  residue_lddt = ca.per_residue
  everywhere, local = _side_chain_rmsd(named, true, both, common_ca)
  chi_errors, known = side_chains.chi_errors(aatype, predicted, predicted_mask, true, true_mask)
  right = np.less(chi_errors, CHI_TOLERANCE)  # [N, 4]
  return Scores(
    lddt=all_atom_distances(aatype, predicted, predicted_mask, true, true_mask).total,
    lddt_ca=ca.total,
    lddt_ca_residue_mean=_mean(residue_lddt[np.isfinite(residue_lddt)]),
    gdt_ts=placed.gdt_ts,
    gdt_ha=placed.gdt_ha,
    tm_score=placed.tm_score,
    ca_rmsd=superposition.rmsd(predicted_ca, true_ca, common_ca),
    ca_rmsd_95=superposition.rmsd_of_best(predicted_ca, true_ca, common_ca, COVERAGE),
    all_atom_rmsd=superposition.rmsd(named[both], true[both]),
    all_atom_rmsd_95=superposition.rmsd_of_best(named[both], true[both], coverage=COVERAGE),
    side_chain_rmsd=everywhere,
    side_chain_rmsd_local=local,
    chi1_accuracy=_mean(right[known[:, 0], 0]),
    chi1_2_accuracy=_mean((right[:, 0] & right[:, 1])[known[:, 0] & known[:, 1]]),
    chi_errors=tuple(_mean(chi_errors[known[:, chi], chi]) for chi in range(4)),
    residue_lddt_ca=residue_lddt,
    residue_distances=placed.distances,
  )


def _side_chain_rmsd(
  named: np.ndarray, true: np.ndarray, both: np.ndarray, common_ca: np.ndarray
) -> tuple[float | None, float | None]:
  """The r.m.s.d. (Å) of side chains with the CA atoms superposed, and in the frames of the residues' backbones."""
  backbone = np.all(both[:, [residues.ATOM_INDEX[name] for name in ('N', 'CA', 'C')]], axis=1)
  compared = both & side_chains.SIDE_CHAIN & backbone[:, None]
  if not compared.any():
    return None, None
  rotation, translation = superposition.kabsch(named[:, _CA], true[:, _CA], common_ca)
  difference = named @ rotation.T + translation - true
  local = side_chains.in_backbone_frame(named) - side_chains.in_backbone_frame(true)
  return _root_mean_square(difference[compared]), _root_mean_square(local[compared])


def _root_mean_square(differences: np.ndarray) -> float:  # [M, 3]
  return float(np.sqrt(np.sum(differences**2, axis=-1).mean()))


def _mean(values: np.ndarray) -> float | None:
  return float(np.mean(values)) if len(values) else None
