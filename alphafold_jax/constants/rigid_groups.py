# SPDX-License-Identifier: Apache-2.0
"""Residues as chains of rigid groups turned by torsion angles (Suppl. 1.8.4, Suppl. Table 2).

The eight groups of a residue are the backbone, those turned by pre-omega, phi and psi, and those of chi1 to chi4.
A group's origin is the end of its rotation axis (N for phi, C for psi, the third of the four atoms for a chi); its
x-axis points along that axis, and the last of the atoms that define the torsion lies in its xy-plane at positive y.
The frames of chi2 to chi4 are relative to the chi before, all others to the backbone; the default frames below are
those at angle 0. There are heavy atoms only, so the groups of pre-omega and phi are empty, and pre-omega's frame is the
identity. The frames of missing chis, and all frames of unknown residues, are zero matrices as in the published tables.
"""

import numpy as np

from alphafold_jax.constants import residues

# The atoms along each side chain: chi k turns about the bond between the second and third of atoms k, ..., k + 3.
CHI_ATOMS = {
  'ARG': 'N CA CB CG CD NE CZ',  # the fifth, at NH1, stays at 0
  'ASN': 'N CA CB CG OD1',
  'ASP': 'N CA CB CG OD1',
  'CYS': 'N CA CB SG',
  'GLN': 'N CA CB CG CD OE1',
  'GLU': 'N CA CB CG CD OE1',
  'HIS': 'N CA CB CG ND1',
  'ILE': 'N CA CB CG1 CD1',
  'LEU': 'N CA CB CG CD1',
  'LYS': 'N CA CB CG CD CE NZ',
  'MET': 'N CA CB CG SD CE',
  'PHE': 'N CA CB CG CD1',
  'PRO': 'N CA CB CG CD',
  'SER': 'N CA CB OG',
  'THR': 'N CA CB OG1',
  'TRP': 'N CA CB CG CD1',
  'TYR': 'N CA CB CG CD1',
  'VAL': 'N CA CB CG1',
}

# Half a turn gives the same structure under other atom names (Suppl. 1.8.5, Suppl. Table 3); chi counted from 0.
PI_PERIODIC = {'ASP': 1, 'GLU': 2, 'PHE': 1, 'TYR': 1}

# Idealised positions: atom, group (0 backbone, 3 psi, 4..7 chi1..4), x, y, z in Å in the group's frame.
_GROUP_ATOMS = {
  'ALA': ('N 0 -0.525 1.363 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.627 1.062 0, CB 0 -0.529 -0.774 -1.205'),
  'ARG': (
    'N 0 -0.524 1.362 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.626 1.062 0, CB 0 -0.524 -0.778 -1.209, CG 4 0.616 1.39 0, '
    'CD 5 0.564 1.414 0, NE 6 0.539 1.357 0, CZ 7 0.758 1.093 0, NH1 7 0.206 2.301 0, NH2 7 2.078 0.978 0'
  ),
  'ASN': (
    'N 0 -0.536 1.357 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.625 1.062 0, CB 0 -0.531 -0.787 -1.2, CG 4 0.584 1.399 0, '
    'OD1 5 0.633 1.059 0, ND2 5 0.593 -1.188 0.001'
  ),
  'ASP': (
    'N 0 -0.525 1.362 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 0.626 1.062 0, CB 0 -0.526 -0.778 -1.208, CG 4 0.593 1.398 0, '
    'OD1 5 0.61 1.091 0, OD2 5 0.592 -1.101 -0.003'
  ),
  'CYS': (
    'N 0 -0.522 1.362 0, CA 0 0 0 0, C 0 1.524 0 0, O 3 0.625 1.062 0, CB 0 -0.519 -0.773 -1.212, SG 4 0.728 1.653 0'
  ),
  'GLN': (
    'N 0 -0.526 1.361 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.626 1.062 0, CB 0 -0.525 -0.779 -1.207, CG 4 0.615 1.393 0, '
    'CD 5 0.587 1.399 0, OE1 6 0.634 1.06 0, NE2 6 0.593 -1.189 -0.001'
  ),
  'GLU': (
    'N 0 -0.528 1.361 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.626 1.062 0, CB 0 -0.526 -0.781 -1.207, CG 4 0.615 1.392 0, '
    'CD 5 0.6 1.397 0, OE1 6 0.607 1.095 0, OE2 6 0.589 -1.104 -0.001'
  ),
  'GLY': ('N 0 -0.572 1.337 0, CA 0 0 0 0, C 0 1.517 0 0, O 3 0.626 1.062 0'),
  'HIS': (
    'N 0 -0.527 1.36 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.625 1.063 0, CB 0 -0.525 -0.778 -1.208, CG 4 0.6 1.37 0, '
    'ND1 5 0.744 1.16 0, CD2 5 0.889 -1.021 0.003, CE1 5 2.03 0.851 0.002, NE2 5 2.145 -0.466 0.004'
  ),
  'ILE': (
    'N 0 -0.493 1.373 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 0.627 1.062 0, CB 0 -0.536 -0.793 -1.213, '
    'CG1 4 0.534 1.437 0, CG2 4 0.54 -0.785 -1.199, CD1 5 0.619 1.391 0'
  ),
  'LEU': (
    'N 0 -0.52 1.363 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.625 1.063 0, CB 0 -0.522 -0.773 -1.214, CG 4 0.678 1.371 0, '
    'CD1 5 0.53 1.43 0, CD2 5 0.535 -0.774 1.2'
  ),
  'LYS': (
    'N 0 -0.526 1.362 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.626 1.062 0, CB 0 -0.524 -0.778 -1.208, CG 4 0.619 1.39 0, '
    'CD 5 0.559 1.417 0, CE 6 0.56 1.416 0, NZ 7 0.554 1.387 0'
  ),
  'MET': (
    'N 0 -0.521 1.364 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.625 1.062 0, CB 0 -0.523 -0.776 -1.21, CG 4 0.613 1.391 0, '
    'SD 5 0.703 1.695 0, CE 6 0.32 1.786 0'
  ),
  'PHE': (
    'N 0 -0.518 1.363 0, CA 0 0 0 0, C 0 1.524 0 0, O 3 0.626 1.062 0, CB 0 -0.525 -0.776 -1.212, CG 4 0.607 1.377 0, '
    'CD1 5 0.709 1.195 0, CD2 5 0.706 -1.196 0, CE1 5 2.102 1.198 0, CE2 5 2.098 -1.201 0, CZ 5 2.794 -0.003 -0.001'
  ),
  'PRO': (
    'N 0 -0.566 1.351 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 0.621 1.066 0, CB 0 -0.546 -0.611 -1.293, CG 4 0.382 1.445 0, '
    'CD 5 0.477 1.424 0'
  ),
  'SER': (
    'N 0 -0.529 1.36 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.626 1.062 0, CB 0 -0.518 -0.777 -1.211, OG 4 0.503 1.325 0'
  ),
  'THR': (
    'N 0 -0.517 1.364 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.626 1.062 0, CB 0 -0.516 -0.793 -1.215, '
    'OG1 4 0.472 1.353 0, CG2 4 0.55 -0.718 -1.228'
  ),
  'TRP': (
    'N 0 -0.521 1.363 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.627 1.062 0, CB 0 -0.523 -0.776 -1.212, CG 4 0.609 1.37 0, '
    'CD1 5 0.824 1.091 0, CD2 5 0.854 -1.148 -0.005, NE1 5 2.14 0.69 -0.004, CE2 5 2.186 -0.678 -0.007, '
    'CE3 5 0.622 -2.53 -0.007, CZ2 5 3.283 -1.543 -0.011, CZ3 5 1.715 -3.389 -0.011, CH2 5 3.028 -2.89 -0.013'
  ),
  'TYR': (
    'N 0 -0.522 1.362 0, CA 0 0 0 0, C 0 1.524 0 0, O 3 0.627 1.062 0, CB 0 -0.522 -0.776 -1.213, CG 4 0.607 1.382 0, '
    'CD1 5 0.716 1.195 0, CD2 5 0.713 -1.194 -0.001, CE1 5 2.107 1.2 -0.002, CE2 5 2.104 -1.201 -0.003, '
    'CZ 5 2.791 -0.001 -0.003, OH 5 4.168 -0.002 -0.005'
  ),
  'VAL': (
    'N 0 -0.494 1.373 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 0.627 1.062 0, CB 0 -0.533 -0.795 -1.213, CG1 4 0.54 1.429 0, '
    'CG2 4 0.533 -0.776 1.203'
  ),
}


def _atom(text: str) -> tuple[str, int, float, float, float]:
  name, group, x, y, z = text.split()
  return name, int(group), float(x), float(y), float(z)


GROUP_ATOMS = {name: tuple(map(_atom, text.split(', '))) for name, text in _GROUP_ATOMS.items()}


def _frame(x_axis: np.ndarray, xy_plane: np.ndarray, origin: np.ndarray) -> np.ndarray:
  """A frame [4, 4] whose x-axis is along one vector and whose xy-plane holds another."""
  e1 = x_axis / np.linalg.norm(x_axis)
  e2 = xy_plane - (xy_plane @ e1) * e1
  e2 = e2 / np.linalg.norm(e2)
  frame = np.eye(4)
  frame[:3] = np.stack([e1, e2, np.cross(e1, e2), origin], axis=-1)
  return frame


def _default_frames(name: str) -> np.ndarray:
  """The frames of a residue's eight groups at torsion angle 0, each relative to the group before: [8, 4, 4]."""
  at = {atom: np.array(position) for atom, _, *position in GROUP_ATOMS[name]}
  frames = np.zeros((8, 4, 4))
  frames[:2] = np.eye(4)
  frames[2] = _frame(at['N'] - at['CA'], np.array([1.0, 0.0, 0.0]), at['N'])
  frames[3] = _frame(at['C'] - at['CA'], at['CA'] - at['N'], at['C'])
  chain = CHI_ATOMS.get(name, '').split()
  if chain:
    frames[4] = _frame(at['CB'] - at['CA'], at['N'] - at['CA'], at['CB'])
  for chi, axis_end in enumerate(chain[3:-1], start=1):  # in the frame before, its axis starts at the origin
    frames[4 + chi] = _frame(at[axis_end], np.array([-1.0, 0.0, 0.0]), at[axis_end])
  return frames


def _assemble() -> tuple[np.ndarray, ...]:
  """All tables by residue type; the last row, for unknown residues, stays zero."""
  frames = np.zeros((21, 8, 4, 4), np.float32)
  group = np.zeros((21, 14), np.int32)
  positions = np.zeros((21, 14, 3), np.float32)
  chi_atoms = np.zeros((21, 4, 4), np.int32)
  chi_mask = np.zeros((21, 4), np.float32)
  periodic = np.zeros((21, 4), np.float32)
  for restype, letter in enumerate(residues.RESTYPES):
    name = residues.RESTYPE_1TO3[letter]
    frames[restype] = _default_frames(name)
    for atom, atom_group, *position in GROUP_ATOMS[name]:
      column = residues.ATOM14_NAMES[restype].index(atom)
      group[restype, column] = atom_group
      positions[restype, column] = position
    chain = [residues.ATOM_INDEX[atom] for atom in CHI_ATOMS.get(name, '').split()]
    for chi in range(len(chain) - 3):
      chi_atoms[restype, chi] = chain[chi : chi + 4]
      chi_mask[restype, chi] = 1
    if name in PI_PERIODIC:
      periodic[restype, PI_PERIODIC[name]] = 1
  return frames, group, positions, chi_atoms, chi_mask, periodic


(
  DEFAULT_FRAMES,  # [21, 8, 4, 4]
  ATOM14_GROUP,  # [21, 14]
  ATOM14_GROUP_POSITIONS,  # [21, 14, 3] Å
  CHI_ATOM37,  # [21, 4, 4] the atom37 columns of the atoms that define each chi
  CHI_MASK,  # [21, 4]
  CHI_PI_PERIODIC,  # [21, 4]
) = _assemble()
