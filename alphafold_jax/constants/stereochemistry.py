# SPDX-License-Identifier: Apache-2.0
"""Distances between atoms in real proteins, and the bounds beyond which a distance is a violation.

Ideal bond lengths and angles with their standard deviations by Engh and Huber (International Tables for
Crystallography F, 2006, chapter 18.3), which Suppl. 1.9.11 refers to; van der Waals radii by Bondi. Tables have a row
per residue type and a last, empty one for unknown residues; their columns are the 14 atoms of constants/residues.py.
"""

import numpy as np

from alphafold_jax.constants import residues

# Between residues: mean and standard deviation.
PEPTIDE_BOND = (1.329, 0.014)  # C-N, Å
PEPTIDE_BOND_PROLINE = (1.341, 0.016)  # C-N when N is proline's, Å
COS_CA_C_N = (-0.4473, 0.0311)  # cosine of the angle at C
COS_C_N_CA = (-0.5203, 0.0353)  # cosine of the angle at N

VAN_DER_WAALS_RADIUS = {'C': 1.7, 'N': 1.55, 'O': 1.52, 'S': 1.8}  # Å

TOLERATED_DEVIATIONS = 12.0  # standard deviations of a bond or angle, Suppl. 1.9.11
TOLERATED_OVERLAP = 1.5  # Å of two van der Waals radii, Suppl. 1.9.11
NO_BOUND = 1e10  # Å

# Atoms of symmetric ends that change names in half a turn of the last chi (Suppl. Table 3).
TWINS = {
  'ASP': (('OD1', 'OD2'),),
  'GLU': (('OE1', 'OE2'),),
  'PHE': (('CD1', 'CD2'), ('CE1', 'CE2')),
  'TYR': (('CD1', 'CD2'), ('CE1', 'CE2')),
}

# fmt: off
# Two bonded atoms, length and standard deviation in Å.
_BACKBONE_BONDS = (('N', 'CA', 1.459, 0.02), ('CA', 'C', 1.525, 0.026), ('C', 'O', 1.229, 0.019))
_BONDS = {  # without the backbone's, but for glycine and proline, which have their own
  'ALA': (('CA', 'CB', 1.52, 0.021),),
  'ARG': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.521, 0.027), ('CG', 'CD', 1.515, 0.025), ('CD', 'NE', 1.46, 0.017),
    ('NE', 'CZ', 1.326, 0.013), ('CZ', 'NH1', 1.326, 0.013), ('CZ', 'NH2', 1.326, 0.013),
  ),
  'ASN': (
    ('CA', 'CB', 1.527, 0.026), ('CB', 'CG', 1.506, 0.023), ('CG', 'OD1', 1.235, 0.022), ('CG', 'ND2', 1.324, 0.025),
  ),
  'ASP': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.513, 0.021), ('CG', 'OD1', 1.249, 0.023), ('CG', 'OD2', 1.249, 0.023),
  ),
  'CYS': (('CA', 'CB', 1.526, 0.013), ('CB', 'SG', 1.812, 0.016)),
  'GLN': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.521, 0.027), ('CG', 'CD', 1.506, 0.023), ('CD', 'OE1', 1.235, 0.022),
    ('CD', 'NE2', 1.324, 0.025),
  ),
  'GLU': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.517, 0.019), ('CG', 'CD', 1.515, 0.015), ('CD', 'OE1', 1.252, 0.011),
    ('CD', 'OE2', 1.252, 0.011),
  ),
  'GLY': (('N', 'CA', 1.456, 0.015), ('CA', 'C', 1.514, 0.016), ('C', 'O', 1.232, 0.016)),
  'HIS': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.492, 0.016), ('CG', 'ND1', 1.369, 0.015), ('CG', 'CD2', 1.353, 0.017),
    ('ND1', 'CE1', 1.343, 0.025), ('CD2', 'NE2', 1.415, 0.021), ('CE1', 'NE2', 1.322, 0.023),
  ),
  'ILE': (
    ('CA', 'CB', 1.544, 0.023), ('CB', 'CG1', 1.536, 0.028), ('CB', 'CG2', 1.524, 0.031), ('CG1', 'CD1', 1.5, 0.069),
  ),
  'LEU': (
    ('CA', 'CB', 1.533, 0.023), ('CB', 'CG', 1.521, 0.029), ('CG', 'CD1', 1.514, 0.037), ('CG', 'CD2', 1.514, 0.037),
  ),
  'LYS': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.521, 0.027), ('CG', 'CD', 1.52, 0.034), ('CD', 'CE', 1.508, 0.025),
    ('CE', 'NZ', 1.486, 0.025),
  ),
  'MET': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.509, 0.032), ('CG', 'SD', 1.807, 0.026), ('SD', 'CE', 1.774, 0.056),
  ),
  'PHE': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.509, 0.017), ('CG', 'CD1', 1.383, 0.015), ('CG', 'CD2', 1.383, 0.015),
    ('CD1', 'CE1', 1.388, 0.02), ('CD2', 'CE2', 1.388, 0.02), ('CE1', 'CZ', 1.369, 0.019), ('CE2', 'CZ', 1.369, 0.019),
  ),
  'PRO': (
    ('CA', 'CB', 1.531, 0.02), ('CB', 'CG', 1.495, 0.05), ('CG', 'CD', 1.502, 0.033), ('CD', 'N', 1.474, 0.014),
    ('N', 'CA', 1.468, 0.017), ('CA', 'C', 1.524, 0.02), ('C', 'O', 1.228, 0.02),
  ),
  'SER': (('CA', 'CB', 1.525, 0.015), ('CB', 'OG', 1.418, 0.013)),
  'THR': (('CA', 'CB', 1.529, 0.026), ('CB', 'OG1', 1.428, 0.02), ('CB', 'CG2', 1.519, 0.033)),
  'TRP': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.498, 0.018), ('CG', 'CD1', 1.363, 0.014), ('CG', 'CD2', 1.432, 0.017),
    ('CD1', 'NE1', 1.375, 0.017), ('NE1', 'CE2', 1.371, 0.013), ('CD2', 'CE2', 1.409, 0.012),
    ('CD2', 'CE3', 1.399, 0.015), ('CE2', 'CZ2', 1.393, 0.017), ('CE3', 'CZ3', 1.38, 0.017),
    ('CZ2', 'CH2', 1.369, 0.019), ('CZ3', 'CH2', 1.396, 0.016),
  ),
  'TYR': (
    ('CA', 'CB', 1.535, 0.022), ('CB', 'CG', 1.512, 0.015), ('CG', 'CD1', 1.387, 0.013), ('CG', 'CD2', 1.387, 0.013),
    ('CD1', 'CE1', 1.389, 0.015), ('CD2', 'CE2', 1.389, 0.015), ('CE1', 'CZ', 1.381, 0.013),
    ('CE2', 'CZ', 1.381, 0.013), ('CZ', 'OH', 1.374, 0.017),
  ),
  'VAL': (('CA', 'CB', 1.543, 0.021), ('CB', 'CG1', 1.524, 0.021), ('CB', 'CG2', 1.524, 0.021)),
}

# Three atoms in a row, the angle at the middle one and its standard deviation in degrees.
_BACKBONE_ANGLES = (('N', 'CA', 'C', 111.0, 2.7), ('CA', 'C', 'O', 120.1, 2.1))
_ANGLES = {
  'ALA': (('N', 'CA', 'CB', 110.1, 1.4), ('CB', 'CA', 'C', 110.1, 1.5)),
  'ARG': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.4, 2.2),
    ('CB', 'CG', 'CD', 111.6, 2.6), ('CG', 'CD', 'NE', 111.8, 2.1), ('CD', 'NE', 'CZ', 123.6, 1.4),
    ('NE', 'CZ', 'NH1', 120.3, 0.5), ('NE', 'CZ', 'NH2', 120.3, 0.5), ('NH1', 'CZ', 'NH2', 119.4, 1.1),
  ),
  'ASN': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.4, 2.2),
    ('CB', 'CG', 'ND2', 116.7, 2.4), ('CB', 'CG', 'OD1', 121.6, 2.0), ('ND2', 'CG', 'OD1', 121.9, 2.3),
  ),
  'ASP': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.4, 2.2),
    ('CB', 'CG', 'OD1', 118.3, 0.9), ('CB', 'CG', 'OD2', 118.3, 0.9), ('OD1', 'CG', 'OD2', 123.3, 1.9),
  ),
  'CYS': (('N', 'CA', 'CB', 110.8, 1.5), ('CB', 'CA', 'C', 111.5, 1.2), ('CA', 'CB', 'SG', 114.2, 1.1)),
  'GLN': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.4, 2.2),
    ('CB', 'CG', 'CD', 111.6, 2.6), ('CG', 'CD', 'OE1', 121.6, 2.0), ('CG', 'CD', 'NE2', 116.7, 2.4),
    ('OE1', 'CD', 'NE2', 121.9, 2.3),
  ),
  'GLU': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.4, 2.2),
    ('CB', 'CG', 'CD', 114.2, 2.7), ('CG', 'CD', 'OE1', 118.3, 2.0), ('CG', 'CD', 'OE2', 118.3, 2.0),
    ('OE1', 'CD', 'OE2', 123.3, 1.2),
  ),
  'GLY': (('N', 'CA', 'C', 113.1, 2.5), ('CA', 'C', 'O', 120.6, 1.8)),
  'HIS': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.6, 1.7),
    ('CB', 'CG', 'ND1', 123.2, 2.5), ('CB', 'CG', 'CD2', 130.8, 3.1), ('CG', 'ND1', 'CE1', 108.2, 1.4),
    ('ND1', 'CE1', 'NE2', 109.9, 2.2), ('CE1', 'NE2', 'CD2', 106.6, 2.5), ('NE2', 'CD2', 'CG', 109.2, 1.9),
    ('CD2', 'CG', 'ND1', 106.0, 1.4),
  ),
  'ILE': (
    ('N', 'CA', 'CB', 110.8, 2.3), ('CB', 'CA', 'C', 111.6, 2.0), ('CA', 'CB', 'CG1', 111.0, 1.9),
    ('CB', 'CG1', 'CD1', 113.9, 2.8), ('CA', 'CB', 'CG2', 110.9, 2.0), ('CG1', 'CB', 'CG2', 111.4, 2.2),
  ),
  'LEU': (
    ('N', 'CA', 'CB', 110.4, 2.0), ('CB', 'CA', 'C', 110.2, 1.9), ('CA', 'CB', 'CG', 115.3, 2.3),
    ('CB', 'CG', 'CD1', 111.0, 1.7), ('CB', 'CG', 'CD2', 111.0, 1.7), ('CD1', 'CG', 'CD2', 110.5, 3.0),
  ),
  'LYS': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.4, 2.2),
    ('CB', 'CG', 'CD', 111.6, 2.6), ('CG', 'CD', 'CE', 111.9, 3.0), ('CD', 'CE', 'NZ', 111.7, 2.3),
  ),
  'MET': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.3, 1.7),
    ('CB', 'CG', 'SD', 112.4, 3.0), ('CG', 'SD', 'CE', 100.2, 1.6),
  ),
  'PHE': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.9, 2.4),
    ('CB', 'CG', 'CD1', 120.8, 0.7), ('CB', 'CG', 'CD2', 120.8, 0.7), ('CD1', 'CG', 'CD2', 118.3, 1.3),
    ('CG', 'CD1', 'CE1', 120.8, 1.1), ('CG', 'CD2', 'CE2', 120.8, 1.1), ('CD1', 'CE1', 'CZ', 120.1, 1.2),
    ('CD2', 'CE2', 'CZ', 120.1, 1.2), ('CE1', 'CZ', 'CE2', 120.0, 1.8),
  ),
  'PRO': (
    ('N', 'CA', 'CB', 103.3, 1.2), ('CB', 'CA', 'C', 111.7, 2.1), ('CA', 'CB', 'CG', 104.8, 1.9),
    ('CB', 'CG', 'CD', 106.5, 3.9), ('CG', 'CD', 'N', 103.2, 1.5), ('CA', 'N', 'CD', 111.7, 1.4),
    ('N', 'CA', 'C', 112.1, 2.6), ('CA', 'C', 'O', 120.2, 2.4),
  ),
  'SER': (('N', 'CA', 'CB', 110.5, 1.5), ('CB', 'CA', 'C', 110.1, 1.9), ('CA', 'CB', 'OG', 111.2, 2.7)),
  'THR': (
    ('N', 'CA', 'CB', 110.3, 1.9), ('CB', 'CA', 'C', 111.6, 2.7), ('CA', 'CB', 'OG1', 109.0, 2.1),
    ('CA', 'CB', 'CG2', 112.4, 1.4), ('OG1', 'CB', 'CG2', 110.0, 2.3),
  ),
  'TRP': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.7, 1.9),
    ('CB', 'CG', 'CD1', 127.0, 1.3), ('CB', 'CG', 'CD2', 126.6, 1.3), ('CD1', 'CG', 'CD2', 106.3, 0.8),
    ('CG', 'CD1', 'NE1', 110.1, 1.0), ('CD1', 'NE1', 'CE2', 109.0, 0.9), ('NE1', 'CE2', 'CD2', 107.3, 1.0),
    ('CE2', 'CD2', 'CG', 107.3, 0.8), ('CG', 'CD2', 'CE3', 133.9, 0.9), ('NE1', 'CE2', 'CZ2', 130.4, 1.1),
    ('CE3', 'CD2', 'CE2', 118.7, 1.2), ('CD2', 'CE2', 'CZ2', 122.3, 1.2), ('CE2', 'CZ2', 'CH2', 117.4, 1.0),
    ('CZ2', 'CH2', 'CZ3', 121.6, 1.2), ('CH2', 'CZ3', 'CE3', 121.2, 1.1), ('CZ3', 'CE3', 'CD2', 118.8, 1.3),
  ),
  'TYR': (
    ('N', 'CA', 'CB', 110.6, 1.8), ('CB', 'CA', 'C', 110.4, 2.0), ('CA', 'CB', 'CG', 113.4, 1.9),
    ('CB', 'CG', 'CD1', 121.0, 0.6), ('CB', 'CG', 'CD2', 121.0, 0.6), ('CD1', 'CG', 'CD2', 117.9, 1.1),
    ('CG', 'CD1', 'CE1', 121.3, 0.8), ('CG', 'CD2', 'CE2', 121.3, 0.8), ('CD1', 'CE1', 'CZ', 119.8, 0.9),
    ('CD2', 'CE2', 'CZ', 119.8, 0.9), ('CE1', 'CZ', 'CE2', 119.8, 1.6), ('CE1', 'CZ', 'OH', 120.1, 2.7),
    ('CE2', 'CZ', 'OH', 120.1, 2.7),
  ),
  'VAL': (
    ('N', 'CA', 'CB', 111.5, 2.2), ('CB', 'CA', 'C', 111.4, 1.9), ('CA', 'CB', 'CG1', 110.9, 1.5),
    ('CA', 'CB', 'CG2', 110.9, 1.5), ('CG1', 'CB', 'CG2', 110.9, 1.6),
  ),
}
# fmt: on

_OWN_BACKBONE = ('GLY', 'PRO')
BONDS = {name: rows if name in _OWN_BACKBONE else (*rows, *_BACKBONE_BONDS) for name, rows in _BONDS.items()}
ANGLES = {name: rows if name in _OWN_BACKBONE else (*rows, *_BACKBONE_ANGLES) for name, rows in _ANGLES.items()}


def across_angle(
  first: tuple[float, float], second: tuple[float, float], angle: tuple[float, float]
) -> tuple[float, float]:
  """Mean and standard deviation (Å) of the distance of two atoms that are bonded to a third, by the law of cosines.

  Args:
    first, second: mean and standard deviation of the bonds, Å
    angle: mean and standard deviation of the angle between them, degrees; all deviations are small and independent.
  """
  (a, a_std), (b, b_std) = first, second
  gamma, gamma_std = np.radians(angle)
  length = np.sqrt(a**2 + b**2 - 2 * a * b * np.cos(gamma))
  by_a, by_b = (a - b * np.cos(gamma)) / length, (b - a * np.cos(gamma)) / length  # its derivatives
  by_gamma = a * b * np.sin(gamma) / length
  return float(length), float(np.sqrt((by_a * a_std) ** 2 + (by_b * b_std) ** 2 + (by_gamma * gamma_std) ** 2))


def ideal_distances(name: str) -> dict[tuple[str, str], tuple[float, float]]:
  """Mean and standard deviation (Å) of the distances over one bond or angle of a residue type, by pair of atoms."""
  bonds = {(a, b): (length, std) for a, b, length, std in BONDS[name]}
  either_way = bonds | {(b, a): value for (a, b), value in bonds.items()}
  angles = {
    (a, c): across_angle(either_way[a, b], either_way[b, c], (angle, std)) for a, b, c, angle, std in ANGLES[name]
  }
  return bonds | angles


def _bounds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The bounds of distances within a residue [21, 14, 14] and the atoms' radii [21, 14], Å."""
  lower = np.zeros((21, 14, 14), np.float32)
  upper = np.zeros((21, 14, 14), np.float32)
  radius = np.zeros((21, 14), np.float32)
  for restype, letter in enumerate(residues.RESTYPES):
    names = [name for name in residues.ATOM14_NAMES[restype] if name]
    here = slice(len(names))  # atoms fill the columns from the first
    radii = np.array([VAN_DER_WAALS_RADIUS[name[0]] for name in names])
    radius[restype, here] = radii
    lower[restype, here, here] = radii[:, None] + radii - TOLERATED_OVERLAP
    upper[restype, here, here] = NO_BOUND
    for pair, (length, std) in ideal_distances(residues.RESTYPE_1TO3[letter]).items():
      i, j = map(names.index, pair)
      lower[restype, [i, j], [j, i]] = length - TOLERATED_DEVIATIONS * std
      upper[restype, [i, j], [j, i]] = length + TOLERATED_DEVIATIONS * std
  return lower, upper, radius


def _twin_columns() -> np.ndarray:
  """The column of the atom whose name each atom has in the other naming [21, 14]; its own where there is none."""
  columns = np.tile(np.arange(14, dtype=np.int32), (21, 1))
  for name, swaps in TWINS.items():
    restype = residues.RESTYPE_INDEX[residues.RESTYPE_3TO1[name]]
    for pair in swaps:
      i, j = map(residues.ATOM14_NAMES[restype].index, pair)
      columns[restype, [i, j]] = j, i
  return columns


LOWER_BOUND, UPPER_BOUND, ATOM14_RADIUS = _bounds()  # [21, 14, 14] Å, [21, 14, 14] Å, [21, 14] Å
TWIN_COLUMNS = _twin_columns()  # [21, 14]

_has_twin = np.nonzero((TWIN_COLUMNS != np.arange(14)).any(axis=0))[0]
TWIN_SPAN = (int(_has_twin[0]), int(_has_twin[-1]) + 1)  # no other columns hold an atom with a second name
