# SPDX-License-Identifier: Apache-2.0
"""All scores of a predicted structure against the true one, in numpy; single ones are in the modules imported here.

N residues of the true structure; the prediction is laid out on them, with mask 0 where it has nothing. What the true
structure lacks is left out of every score. What the prediction lacks counts as wrong in lDDT, GDT and TM-score, which
are shares; distances (r.m.s.d.) and angles are taken where both have the atoms.
"""

import dataclasses

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.geometry import side_chains, superposition
from alphafold_jax.geometry.lddt import all_atom_distances, ca_distances, lddt_ca
from alphafold_jax.geometry.tm_score import gdt_ha, gdt_ts, in_place, tm_score

__all__ = ['Scores', 'gdt_ha', 'gdt_ts', 'lddt_ca', 'score', 'tm_score']

CHI_TOLERANCE = 40.0  # degrees
COVERAGE = 0.95  # share of the atoms that an r.m.s.d. "95" is taken over
_CA = residues.ATOM_INDEX['CA']


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
  """One prediction's scores; None where there is nothing to compare."""

  lddt: float | None  # 0..1, all heavy atoms
  lddt_ca: float | None  # 0..1, CA atoms; all distances weigh the same
  lddt_ca_residue_mean: float | None  # 0..1, CA atoms; all residues weigh the same, as they do in mean pLDDT
  gdt_ts: float  # 0..1
  gdt_ha: float  # 0..1
  tm_score: float  # 0..1, normalised by the residues of the true structure
  ca_rmsd: float  # Å
  ca_rmsd_95: float  # Å, over the 95% of CA atoms that fit best
  all_atom_rmsd: float  # Å, heavy atoms, superposed by themselves
  all_atom_rmsd_95: float  # Å, over the 95% of atoms that fit best
  side_chain_rmsd: float | None  # Å, atoms from CB on, under the superposition of the CA atoms
  side_chain_rmsd_local: float | None  # Å, the same with each residue's own N, CA and C laid on the true ones
  chi1_accuracy: float | None  # 0..1, share of chi1 angles off by less than 40 degrees
  chi1_2_accuracy: float | None  # 0..1, share of residues with two chis whose chi1 and chi2 both are
  chi_errors: tuple[float | None, ...]  # degrees, mean over the residues that have it, for chi1 to chi4
  residue_lddt_ca: np.ndarray  # [N] 0..1; NaN where there is none
  residue_distances: np.ndarray  # [N] Å between CA atoms under the superposition of best TM-score; NaN likewise


def score(
  aatype: np.ndarray, predicted: np.ndarray, predicted_mask: np.ndarray, true: np.ndarray, true_mask: np.ndarray
) -> Scores:
  """All scores of one structure.

  Args:
    aatype: [N] residue types; 20 for those whose side chains are not to be compared by angles.
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
    **_side_chain_rmsd(named, true, both, common_ca),
    **_chi_scores(aatype, predicted, predicted_mask, true, true_mask),
    residue_lddt_ca=residue_lddt,
    residue_distances=placed.distances,
  )


def _side_chain_rmsd(named: np.ndarray, true: np.ndarray, both: np.ndarray, common_ca: np.ndarray) -> dict[str, float]:
  """Side chains where the whole chain, and where each residue by itself, is superposed."""
  rotation, translation = superposition.kabsch(named[:, _CA], true[:, _CA], common_ca)
  differences = {
    'side_chain_rmsd': named @ rotation.T + translation - true,
    'side_chain_rmsd_local': side_chains.in_backbone_frame(named) - side_chains.in_backbone_frame(true),
  }
  backbone = both[:, [residues.ATOM_INDEX[name] for name in ('N', 'CA', 'C')]].all(axis=1)
  compared = both & side_chains.SIDE_CHAIN & backbone[:, None]
  squared = {name: np.sum(difference[compared] ** 2, axis=-1) for name, difference in differences.items()}
  return {name: None if not len(values) else float(np.sqrt(values.mean())) for name, values in squared.items()}


def _chi_scores(aatype, predicted, predicted_mask, true, true_mask) -> dict[str, float | tuple | None]:
  """Accuracy and mean error of chi angles."""
  chi_errors, known = side_chains.chi_errors(aatype, predicted, predicted_mask, true, true_mask)
  right = chi_errors < CHI_TOLERANCE
  two = known[:, 0] & known[:, 1]
  return {
    'chi1_accuracy': _mean(right[known[:, 0], 0]),
    'chi1_2_accuracy': _mean((right[:, 0] & right[:, 1])[two]),
    'chi_errors': tuple(_mean(chi_errors[known[:, chi], chi]) for chi in range(4)),
  }


def _mean(values: np.ndarray) -> float | None:
  return float(np.mean(values)) if len(values) else None
