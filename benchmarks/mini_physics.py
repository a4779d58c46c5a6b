# SPDX-License-Identifier: Apache-2.0
"""Whether chains are chains: peptide bonds, the shortest distance of CA atoms, phi, and pieces for Biopython."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from Bio.PDB.Polypeptide import PPBuilder
from Bio.PDB.Structure import Structure
from Bio.PDB.StructureBuilder import StructureBuilder
from mini_scores import table
from scipy.spatial.distance import pdist

from alphafold_jax.constants import residues

PEPTIDE, TOLERANCE = 1.33, 0.1  # Å
_N, _CA, _C = _BACKBONE = [residues.ATOM_INDEX[name] for name in ('N', 'CA', 'C')]


@dataclasses.dataclass(frozen=True)
class Physics:
  """What is measured of one chain."""

  bonds: int  # peptide bonds between residues whose C and N are known
  good_bonds: int  # of these, within 0.1 Å of 1.33 Å
  shortest_ca: float  # Å, between any two CA atoms, neighbours too
  phis: int  # of residues other than glycine
  negative_phis: int
  pieces: int  # that Biopython's PPBuilder finds, those that unresolved residues part counted as one


def measure(sequence: str, positions: np.ndarray, mask: np.ndarray) -> Physics:
  """Measures a chain.

  Args:
    sequence: one letter per residue.
    positions: [N, 37, 3] Å.
    mask: [N, 37].
  """
  positions, has = np.asarray(positions, np.float64), np.asarray(mask) > 0
  bonded = has[:-1, _C] & has[1:, _N]
  lengths = np.linalg.norm(positions[1:, _N] - positions[:-1, _C], axis=-1)[bonded]
  counted = bonded & has[1:, _CA] & has[1:, _C] & (np.array(list(sequence[1:])) != 'G')
  phi = _dihedral(*(positions[rows, atom][counted] for rows, atom in _PHI))
  ca = positions[has[:, _CA], _CA]
  whole = has[:, _BACKBONE].all(axis=1)
  return Physics(
    bonds=len(lengths),
    good_bonds=int(np.sum(np.abs(lengths - PEPTIDE) <= TOLERANCE)),
    shortest_ca=float(pdist(ca).min()) if len(ca) > 1 else np.inf,
    phis=len(phi),
    negative_phis=int(np.sum(phi < 0)),
    pieces=num_pieces(sequence, positions, whole) - max(_num_stretches(whole) - 1, 0),
  )


_PHI = ((slice(0, -1), _C), (slice(1, None), _N), (slice(1, None), _CA), (slice(1, None), _C))


def _dihedral(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
  """Dihedral angles [M] of points [M, 3], in radians; cis is 0."""
  axis = c - b
  one, other = np.cross(a - b, axis), np.cross(d - c, axis)
  along = np.sum(np.cross(one, other) * axis, axis=-1) / np.maximum(np.linalg.norm(axis, axis=-1), 1e-9)
  return np.arctan2(along, np.sum(one * other, axis=-1))


def num_pieces(sequence: str, positions: np.ndarray, whole: np.ndarray) -> int:
  """The polypeptides that Biopython's PPBuilder finds in the residues that have N, CA and C [N]."""
  builder = StructureBuilder()
  builder.init_structure('chain')
  builder.init_model(0)
  builder.init_chain('A')
  builder.init_seg(' ')
  for i in np.flatnonzero(whole):
    builder.init_residue(residues.RESTYPE_1TO3.get(sequence[i], 'UNK'), ' ', int(i) + 1, ' ')
    for atom in _BACKBONE:
      name = residues.ATOM_TYPES[atom]
      builder.init_atom(name, positions[i, atom].astype('f'), 0.0, 1.0, ' ', f' {name:<3}', element=name[0])
  structure: Structure = builder.get_structure()
  return len(PPBuilder().build_peptides(structure, aa_only=False))


def _num_stretches(whole: np.ndarray) -> int:
  """The number of stretches of at least two residues in a row."""
  pairs = whole[:-1] & whole[1:]
  return int(np.sum(np.diff(pairs.astype(int), prepend=0) == 1))


def physics_table(measured: Mapping[str, Sequence[Physics]]) -> str:
  """Bonds and angles of all chains together, means over chains of the rest."""
  header = [
    '',
    f'peptide bonds within {TOLERANCE} Å of {PEPTIDE} Å',
    'shortest Cα-Cα of a chain',
    'phi < 0, not glycine',
    'pieces of a chain',
    'chains in one piece',
  ]
  names = [field.name for field in dataclasses.fields(Physics)]
  rows = []
  for name, chains in measured.items():
    total = {field: np.array([getattr(one, field) for one in chains]) for field in names}
    rows.append([
      name,
      f'{100 * total["good_bonds"].sum() / max(total["bonds"].sum(), 1):.1f} %',
      f'{total["shortest_ca"].mean():.2f} Å',
      f'{100 * total["negative_phis"].sum() / max(total["phis"].sum(), 1):.1f} %',
      f'{total["pieces"].mean():.1f}',
      f'{np.sum(total["pieces"] == 1)} of {len(chains)}',
    ])  # fmt: skip
  return table(header, rows)
