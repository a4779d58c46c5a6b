# SPDX-License-Identifier: Apache-2.0
"""Counts impossible geometry in a structure: bonds, angles, chain breaks, clashes; numpy.

Bonds and angles count beyond 12 standard deviations of real proteins, overlaps of van der Waals spheres beyond 1.5 Å:
the tolerances of Suppl. 1.9.11. N residues, positions [N, 37, 3] in Å, masks [N, 37].
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

from alphafold_jax.constants import residues, stereochemistry

CA_CA = 3.80  # Å between neighbours with a trans peptide bond
CA_CA_TOLERANCE = 1.5  # Å
_N, _CA, _C, _SG = (residues.ATOM_INDEX[name] for name in ('N', 'CA', 'C', 'SG'))
_N14, _C14, _SG14 = (residues.ATOM14_NAMES[residues.RESTYPE_INDEX['C']].index(name) for name in ('N', 'C', 'SG'))
_PROLINE = residues.RESTYPE_INDEX['P']


@dataclasses.dataclass(frozen=True)
class Violations:
  """The number of violations of each kind, and of residues with any."""

  bond_lengths: int  # within residues and between neighbours
  bond_angles: int  # within residues and between neighbours
  chain_breaks: int  # neighbours whose CA atoms are further apart than 5.3 Å
  clashes: int  # pairs of atoms of different residues
  residues: int  # with any of these
  share: float  # of residues with any of these among those that have atoms, 0..1


def count_violations(aatype: np.ndarray, positions: np.ndarray, mask: np.ndarray, bonded: np.ndarray) -> Violations:
  """Counts the violations of a structure.

  Args:
    aatype: [N], 0..19, 20 unknown.
    positions: [N, 37, 3].
    mask: [N, 37].
    bonded: [N - 1] whether a residue and the next are neighbours in the chain.
  """
  positions, mask = np.asarray(positions, np.float64), np.asarray(mask) > 0
  between = _between_neighbours(aatype, positions, mask, np.asarray(bonded, bool))
  lengths = _off(_BONDS, aatype, positions, mask, _length)  # [N]
  angles = _off(_ANGLES, aatype, positions, mask, _angle)  # [N]
  clashing = _clashes(positions, mask, np.asarray(bonded, bool))  # [P, 2] residues

  involved = (lengths > 0) | (angles > 0)
  for off in between.values():
    involved[:-1] |= off
    involved[1:] |= off
  involved[clashing] = True
  present = mask.any(axis=1)
  return Violations(
    bond_lengths=int(lengths.sum() + between['length'].sum()),
    bond_angles=int(angles.sum() + between['angle_at_c'].sum() + between['angle_at_n'].sum()),
    chain_breaks=int(between['break'].sum()),
    clashes=len(clashing),
    residues=int(involved.sum()),
    share=float(involved.sum() / max(present.sum(), 1)),
  )


def violating_residues(aatype: np.ndarray, positions: np.ndarray, mask: np.ndarray, bonded: np.ndarray) -> np.ndarray:
  """The residues [N] that the published program counts as out of geometry; relaxation frees these.

  It differs from `count_violations`: within a residue it looks at distances, at C it takes the deviation of the bond's
  length for that of the cosine, and it exempts disulphides by the atom14 column of SG, whatever residue that is of.
  Departs from it in one thing: residues of different chains are compared though their numbers be equal.

  Args:
    aatype: [N], 0..19.
    positions: [N, 37, 3].
    mask: [N, 37].
    bonded: [N - 1] whether a residue and the next are neighbours in the chain.
  """
  positions, mask, bonded = np.asarray(positions, np.float64), np.asarray(mask) > 0, np.asarray(bonded, bool)
  found = np.zeros(len(aatype), bool)
  off = _between_neighbours(aatype, positions, mask, bonded, stereochemistry.PEPTIDE_BOND[1])
  broken = off['length'] | off['angle_at_c'] | off['angle_at_n']
  found[:-1] |= broken
  found[1:] |= broken

  rows, columns = np.arange(len(aatype))[:, None], residues.ATOM14_TO_ATOM37[aatype]
  atoms, there = positions[rows, columns], mask[rows, columns] & (residues.ATOM14_MASK[aatype] > 0)  # [N, 14]
  apart = _length(atoms[:, :, None], atoms[:, None])  # [N, 14, 14]
  out = (apart < stereochemistry.LOWER_BOUND[aatype]) | (apart > stereochemistry.UPPER_BOUND[aatype])
  pairs = there[:, :, None] & there[:, None] & ~np.eye(14, dtype=bool)
  found |= (pairs & out).any(axis=(1, 2))

  clashing, of_atoms = _overlaps(atoms, there, bonded, stereochemistry.ATOM14_RADIUS[aatype], _C14, _N14)
  found[clashing[~(of_atoms == _SG14).all(axis=1)]] = True
  return found


def _between_neighbours(
  aatype: np.ndarray,
  positions: np.ndarray,
  mask: np.ndarray,
  bonded: np.ndarray,
  deviation_at_c: float | None = None,
) -> dict[str, np.ndarray]:
  """The violations between each residue and the next by kind: [N - 1] bool each.

  `deviation_at_c` is the standard deviation of the cosine at C, by default its own.
  """
  at_c = stereochemistry.COS_CA_C_N
  at_c = at_c if deviation_at_c is None else (at_c[0], deviation_at_c)
  ca, c, n, next_ca = positions[:-1, _CA], positions[:-1, _C], positions[1:, _N], positions[1:, _CA]
  has_ca, has_c, has_n, has_next_ca = mask[:-1, _CA], mask[:-1, _C], mask[1:, _N], mask[1:, _CA]
  joined = bonded & has_c & has_n
  ideal = np.where(
    (aatype[1:] == _PROLINE)[:, None], stereochemistry.PEPTIDE_BOND_PROLINE, stereochemistry.PEPTIDE_BOND
  )
  return {
    'length': joined & _beyond(_length(c, n), ideal[:, 0], ideal[:, 1]),
    'angle_at_c': joined & has_ca & _beyond(_cosine(ca, c, n), *at_c),
    'angle_at_n': joined & has_next_ca & _beyond(_cosine(c, n, next_ca), *stereochemistry.COS_C_N_CA),
    'break': bonded & has_ca & has_next_ca & (_length(ca, next_ca) > CA_CA + CA_CA_TOLERANCE),
  }


def _off(
  table: tuple[np.ndarray, ...],
  aatype: np.ndarray,
  positions: np.ndarray,
  mask: np.ndarray,
  measure: Callable[..., np.ndarray],
) -> np.ndarray:
  """The number of violated bond lengths or angles within each residue: [N]."""
  columns, ideal, deviation, exists = (part[aatype] for part in table)  # [N, K, 2 or 3], then [N, K]
  rows = np.arange(len(aatype))[:, None, None]
  exists = exists & mask[rows, columns].all(axis=-1)
  with np.errstate(invalid='ignore', divide='ignore'):
    values = measure(*np.moveaxis(positions[rows, columns], 2, 0))
  return np.sum(exists & _beyond(values, ideal, deviation), axis=1)


def _clashes(positions: np.ndarray, mask: np.ndarray, bonded: np.ndarray) -> np.ndarray:
  """The pairs of residues [P, 2] of each two atoms that overlap."""
  residues_of, columns = _overlaps(positions, mask, bonded, _RADIUS[None].repeat(len(mask), axis=0), _C, _N)
  disulphide = (columns == _SG).all(axis=1)
  return residues_of[~disulphide]


def _overlaps(
  positions: np.ndarray, mask: np.ndarray, bonded: np.ndarray, radii: np.ndarray, c: int, n: int
) -> tuple[np.ndarray, np.ndarray]:
  """The residues and the columns [P, 2] of each two atoms of different residues that overlap, but for peptide bonds.

  Args:
    positions: [N, K, 3] in any layout of atoms.
    mask: [N, K].
    bonded: [N - 1].
    radii: [N, K] Å.
    c: column of C.
    n: column of N.
  """
  residue, column = np.nonzero(mask)
  if len(residue) < 2:
    return np.zeros((0, 2), int), np.zeros((0, 2), int)
  atoms, radius = positions[residue, column], radii[residue, column]
  reach = 2 * radius.max() - stereochemistry.TOLERATED_OVERLAP
  i, j = cKDTree(atoms).query_pairs(reach, output_type='ndarray').T  # i < j, and atoms are ordered by residue
  apart = _length(atoms[i], atoms[j])
  overlap = (residue[i] != residue[j]) & (apart < radius[i] + radius[j] - stereochemistry.TOLERATED_OVERLAP)
  next_to = (residue[j] == residue[i] + 1) & np.append(bonded, False)[residue[i]]
  clashing = overlap & ~(next_to & (column[i] == c) & (column[j] == n))
  return np.stack([residue[i], residue[j]], axis=1)[clashing], np.stack([column[i], column[j]], axis=1)[clashing]


def _beyond(values: np.ndarray, ideal: np.ndarray | float, deviation: np.ndarray | float) -> np.ndarray:
  """Whether values differ from the ideal by more than 12 standard deviations."""
  return np.abs(values - ideal) > stereochemistry.TOLERATED_DEVIATIONS * deviation


def _length(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  return np.linalg.norm(a - b, axis=-1)


def _cosine(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
  """The cosine of the angle at b."""
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.sum((a - b) * (c - b), axis=-1) / (_length(a, b) * _length(c, b))


def _angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
  """The angle at b in degrees."""
  return np.degrees(np.arccos(np.clip(_cosine(a, b, c), -1, 1)))


def _table(rows: dict[str, tuple], num_atoms: int) -> tuple[np.ndarray, ...]:
  """atom37 columns [21, K, num_atoms], ideal values, standard deviations and existence [21, K], by residue type."""
  longest = max(map(len, rows.values()))
  columns = np.zeros((21, longest, num_atoms), int)
  ideal, deviation = np.zeros((21, longest)), np.zeros((21, longest))
  exists = np.zeros((21, longest), bool)
  for name, entries in rows.items():
    restype = residues.RESTYPE_INDEX[residues.RESTYPE_3TO1[name]]
    for k, entry in enumerate(entries):
      columns[restype, k] = [residues.ATOM_INDEX[atom] for atom in entry[:num_atoms]]
      ideal[restype, k], deviation[restype, k] = entry[num_atoms:]
      exists[restype, k] = True
  return columns, ideal, deviation, exists


_BONDS = _table(stereochemistry.BONDS, 2)  # Å
_ANGLES = _table(stereochemistry.ANGLES, 3)  # degrees
_RADIUS = np.array([stereochemistry.VAN_DER_WAALS_RADIUS[name[0]] for name in residues.ATOM_TYPES])  # [37] Å
