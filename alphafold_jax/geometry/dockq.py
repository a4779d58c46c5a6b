# SPDX-License-Identifier: Apache-2.0
"""DockQ (Basu & Wallner 2016, Mirabello & Wallner 2024): how well two chains are placed side by side; numpy.

It is the mean of three numbers from 0 to 1: the share of the true contacts between the chains that the prediction has
(fnat), and two distances, scaled: the r.m.s.d. of the interface's backbone (iRMSD), and the r.m.s.d. of the shorter
chain's backbone when the longer one is superposed (LRMSD).

A contact is a pair of residues, one of each chain, with heavy atoms nearer than 5 Å. The interface is all residues
with heavy atoms nearer than 10 Å to the other chain in the true structure. The backbone is N, CA, C and O.

N residues of a chain of the true structure, M atoms, P pairs of residues. Positions in Å.
"""

import dataclasses
import functools

import numpy as np
from scipy.spatial import cKDTree

from alphafold_jax.constants import residues
from alphafold_jax.geometry import superposition
from alphafold_jax.one_line import one_line

CONTACT = 5.0  # Å between heavy atoms of two residues
INTERFACE = 10.0  # Å, the same
_IRMSD_SCALE, _LRMSD_SCALE = 1.5, 8.5  # Å at which a distance counts half
QUALITIES = {'high': 0.80, 'medium': 0.49, 'acceptable': 0.23, 'incorrect': 0.0}  # the least DockQ of each class
_BACKBONE = [residues.ATOM_INDEX[name] for name in ('N', 'CA', 'C', 'O')]
_CA = 1  # in the backbone

Motion = tuple[np.ndarray, np.ndarray]  # rotation [3, 3] and translation [3]


@dataclasses.dataclass(frozen=True)
class DockQ:
  """One predicted interface; a distance is None where the prediction lacks the atoms, and then counts as infinite."""

  contacts: int  # pairs of residues of the true structure
  fnat: float  # 0..1, share of these that the prediction has
  irmsd: float | None  # Å
  lrmsd: float | None  # Å

  @property
  def score(self) -> float:
    """0..1."""
    return (self.fnat + _scaled(self.irmsd, _IRMSD_SCALE) + _scaled(self.lrmsd, _LRMSD_SCALE)) / 3

  @property
  def quality(self) -> str:
    """The class of CAPRI that such a score stands for."""
    return next(name for name, least in QUALITIES.items() if self.score >= least)


@dataclasses.dataclass(frozen=True, eq=False)
class HeavyAtoms:
  """The atoms of a chain, ready to find those near another's."""

  tree: cKDTree  # of [M, 3]
  residue: np.ndarray  # [M] the residue of each atom

  __repr__ = one_line


@dataclasses.dataclass(frozen=True, eq=False)
class TrueInterface:
  """Where two chains of the true structure meet."""

  contacts: np.ndarray  # [P, 2] residues of the one and of the other chain, nearer than CONTACT
  near: np.ndarray  # [P, 2] the same, nearer than INTERFACE

  __repr__ = one_line


@dataclasses.dataclass(frozen=True, eq=False)
class StandIn:
  """A chain of the true structure and the predicted chain that stands for it: residue by residue, the backbone."""

  partner: np.ndarray  # [N] residue of the predicted chain, -1: none
  true: np.ndarray  # [N, 4, 3]
  predicted: np.ndarray  # [N, 4, 3]
  common: np.ndarray  # [N, 4] bool, atoms that both have
  length: int  # residues of the true chain that have atoms

  __repr__ = one_line

  @functools.cached_property
  def motion(self) -> Motion | None:
    """Superposes the predicted chain on the true one; None if they have no backbone atom in common."""
    return superposition.kabsch(self.predicted[self.common], self.true[self.common]) if self.common.any() else None

  def ca(self) -> tuple[np.ndarray, np.ndarray]:
    """The CA atoms that both have: predicted and true positions, [M, 3] each."""
    both = self.common[:, _CA]
    return self.predicted[both, _CA], self.true[both, _CA]


def heavy_atoms(positions: np.ndarray, mask: np.ndarray) -> HeavyAtoms:
  """Prepares a chain's atoms: positions [N, 37, 3], mask [N, 37]."""
  at = np.nonzero(mask)
  return HeavyAtoms(tree=cKDTree(np.asarray(positions, np.float64)[at]), residue=at[0])


def stand_in(
  partner: np.ndarray, true: np.ndarray, true_mask: np.ndarray, predicted: np.ndarray, predicted_mask: np.ndarray
) -> StandIn:
  """Puts a predicted chain of K residues in the place of a true one of N.

  Args:
    partner: [N] residue of the predicted chain, -1: none.
    true: [N, 37, 3].
    true_mask: [N, 37].
    predicted: [K, 37, 3].
    predicted_mask: [K, 37].
  """
  has = (partner >= 0)[:, None] & (predicted_mask[partner][:, _BACKBONE] > 0)
  return StandIn(
    partner=partner,
    true=np.asarray(true[:, _BACKBONE], np.float64),
    predicted=np.asarray(predicted[partner][:, _BACKBONE], np.float64),
    common=has & (true_mask[:, _BACKBONE] > 0),
    length=int(np.sum(true_mask.any(axis=1))),
  )


def touching(one: HeavyAtoms, other: HeavyAtoms, distance: float) -> np.ndarray:
  """The pairs of residues, one of each chain, with atoms nearer than a distance (Å): [P, 2], in order."""
  found = one.tree.sparse_distance_matrix(other.tree, distance, output_type='ndarray')
  found = found[found['v'] < distance]
  keys = np.unique(_keys(np.stack([one.residue[found['i']], other.residue[found['j']]], axis=1)))
  return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)


def true_interface(one: HeavyAtoms, other: HeavyAtoms) -> TrueInterface | None:
  """Where two chains of the true structure meet; None if they have no contact."""
  contacts = touching(one, other, CONTACT)
  return TrueInterface(contacts=contacts, near=touching(one, other, INTERFACE)) if len(contacts) else None


def score_interface(true: TrueInterface, one: StandIn, other: StandIn, predicted_contacts: np.ndarray) -> DockQ:
  """Scores the prediction of one interface.

  Args:
    true: the interface of two chains of the true structure.
    one: the first of these chains and the predicted chain that stands for it.
    other: the second.
    predicted_contacts: [P, 2] the residues of the two predicted chains that are in contact.
  """
  wanted = np.stack([chain.partner[place] for chain, place in zip((one, other), true.contacts.T)], axis=1)
  kept = np.isin(_keys(wanted), _keys(predicted_contacts)) & (wanted >= 0).all(axis=1)
  return DockQ(
    contacts=len(wanted), fnat=float(np.mean(kept)), irmsd=_irmsd(true, one, other), lrmsd=_lrmsd(one, other)
  )


def _irmsd(true: TrueInterface, one: StandIn, other: StandIn) -> float | None:
  """The r.m.s.d. (Å) of the backbone of the interface, superposed by itself; of residues that the prediction has."""
  first, second = true.near.T
  has = one.common[first].any(axis=1) & other.common[second].any(axis=1)
  sides = [(one, np.unique(first[has])), (other, np.unique(second[has]))]
  predicted = np.concatenate([chain.predicted[rows][chain.common[rows]] for chain, rows in sides])
  true_atoms = np.concatenate([chain.true[rows][chain.common[rows]] for chain, rows in sides])
  return superposition.rmsd(predicted, true_atoms) if len(predicted) else None


def _lrmsd(one: StandIn, other: StandIn) -> float | None:
  """The r.m.s.d. (Å) of the backbone of the shorter chain with the longer superposed, of equal ones the second."""
  receptor, ligand = (one, other) if one.length > other.length else (other, one)
  if receptor.motion is None or not ligand.common.any():
    return None
  rotation, translation = receptor.motion
  difference = ligand.predicted[ligand.common] @ rotation.T + translation - ligand.true[ligand.common]
  return float(np.sqrt(np.sum(difference**2, axis=-1).mean()))


def _scaled(distance: float | None, scale: float) -> float:
  """1 for a distance of 0, a half for that of the scale, 0 for none."""
  return 0.0 if distance is None else 1 / (1 + (distance / scale) ** 2)


def _keys(pairs: np.ndarray) -> np.ndarray:
  """One number [P] for each pair of residues [P, 2]."""
  return (pairs[:, 0].astype(np.int64) << 32) + pairs[:, 1]
