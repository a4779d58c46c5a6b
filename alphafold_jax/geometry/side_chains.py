# SPDX-License-Identifier: Apache-2.0
"""Predicted and true side chains: chi angles, and atoms whose names may be exchanged; numpy.

Half a turn of the last chi of Asp, Glu, Phe and Tyr gives the same structure with exchanged atom names (Suppl. 1.8.5,
Suppl. Table 3); the naming that is nearer to the true structure counts.

N residues with types `aatype` [N], 0..19, 20 for those whose side chains are not compared; positions [N, 37, 3] in Å,
masks [N, 37].
"""

from collections.abc import Iterable, Mapping

import numpy as np

from alphafold_jax.constants import residues, rigid_groups, stereochemistry

_N, _CA, _C, _O = (residues.ATOM_INDEX[name] for name in ('N', 'CA', 'C', 'O'))
SIDE_CHAIN = np.ones(37, bool)  # the columns of atoms from CB on
SIDE_CHAIN[[_N, _CA, _C, _O, residues.ATOM_INDEX['OXT']]] = False

# Atoms whose names may be exchanged in lDDT (Mariani et al. 2013): all pairs of a residue are exchanged, or none.
EXCHANGEABLE = stereochemistry.TWINS | {
  'LEU': (('CD1', 'CD2'),),
  'VAL': (('CG1', 'CG2'),),
  'ARG': (('NH1', 'NH2'),),
}


def partners(exchanged: Mapping[str, Iterable[tuple[str, str]]]) -> np.ndarray:
  """The atom37 column [21, 37] of the atom that each atom may exchange names with; its own where there is none."""
  partner = np.tile(np.arange(37), (21, 1))
  for name, pairs in exchanged.items():
    restype = residues.RESTYPE_INDEX[residues.RESTYPE_3TO1[name]]
    for one, other in pairs:
      a, b = residues.ATOM_INDEX[one], residues.ATOM_INDEX[other]
      partner[restype, [a, b]] = b, a
  return partner


_PARTNER = partners(stereochemistry.TWINS)


def chi_angles(aatype: np.ndarray, positions: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Chi angles [N, 4] in degrees, and whether each exists and has all its atoms [N, 4]."""
  columns = rigid_groups.CHI_ATOM37[aatype]  # [N, 4, 4]
  rows = np.arange(len(aatype))[:, None, None]
  a, b, c, d = np.moveaxis(np.asarray(positions, np.float64)[rows, columns], 2, 0)  # each [N, 4, 3]
  known = (rigid_groups.CHI_MASK[aatype] > 0) & np.all(np.asarray(mask)[rows, columns] > 0, axis=-1)
  along = c - b
  u, v = np.cross(b - a, along), np.cross(along, d - c)  # normals of the planes abc and bcd
  sin = np.sum(np.cross(u, v) * along, axis=-1)
  cos = np.sum(u * v, axis=-1) * np.linalg.norm(along, axis=-1)
  return np.degrees(np.arctan2(sin, cos)), known


def chi_errors(
  aatype: np.ndarray, predicted: np.ndarray, predicted_mask: np.ndarray, true: np.ndarray, true_mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """The error of each chi, 0..180 degrees [N, 4], and whether both structures have it [N, 4].

  Chis with a period of half a turn have an error of at most 90 degrees.
  """
  predicted_chi, predicted_known = chi_angles(aatype, predicted, predicted_mask)
  true_chi, true_known = chi_angles(aatype, true, true_mask)
  period = np.where(rigid_groups.CHI_PI_PERIODIC[aatype] > 0, 180.0, 360.0)
  turned = np.mod(predicted_chi - true_chi, period)
  return np.minimum(turned, period - turned), predicted_known & true_known


def in_backbone_frame(positions: np.ndarray) -> np.ndarray:
  """Positions [N, 37, 3] in each residue's backbone frame (Algorithm 21); NaN where N, CA and C span no plane."""
  positions = np.asarray(positions, np.float64)
  relative = positions - positions[:, _CA, None]
  to_c, to_n = relative[:, _C], relative[:, _N]
  with np.errstate(invalid='ignore', divide='ignore'):
    e1 = to_c / np.linalg.norm(to_c, axis=-1, keepdims=True)
    e2 = to_n - np.sum(e1 * to_n, axis=-1, keepdims=True) * e1
    e2 /= np.linalg.norm(e2, axis=-1, keepdims=True)
    return relative @ np.stack([e1, e2, np.cross(e1, e2)], axis=-1)


def nearest_names(
  aatype: np.ndarray, predicted: np.ndarray, predicted_mask: np.ndarray, true: np.ndarray, true_mask: np.ndarray
) -> np.ndarray:
  """The predicted positions [N, 37, 3] under the atom names that are nearer to the true structure.

  The distances are measured in each residue's backbone frame, so that they do not depend on where the residue is.
  """
  partner = _PARTNER[aatype]
  renamed = np.take_along_axis(predicted, partner[..., None], axis=1)
  both = (np.asarray(true_mask) > 0) & (np.asarray(predicted_mask) > 0)
  both &= (partner != np.arange(37)) & np.take_along_axis(np.asarray(predicted_mask) > 0, partner, axis=1)
  target = in_backbone_frame(true)
  with np.errstate(invalid='ignore'):  # a comparison with NaN keeps the names
    as_named, exchanged = (
      np.sum(np.where(both[..., None], (in_backbone_frame(points) - target) ** 2, 0), axis=(1, 2))
      for points in (predicted, renamed)
    )
    return np.where((exchanged < as_named)[:, None, None], renamed, predicted)
