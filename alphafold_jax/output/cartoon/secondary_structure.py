# SPDX-License-Identifier: Apache-2.0
"""Helices and strands from the hydrogen bonds of the backbone, by the rules of DSSP.

Kabsch & Sander, Biopolymers 22, 2577 (1983), as far as a cartoon needs them: alpha helices and the ladders of sheets.
N residues, positions [N, 37, 3] in Å, mask [N, 37].
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from alphafold_jax.constants import residues
from alphafold_jax.one_line import one_line

HELIX, STRAND, LOOP = 'H', 'E', '-'  # DSSP's letters
BREAK = 4.5  # Å between CA atoms, beyond which residues are no neighbours in a chain
_N, _CA, _C, _O, _CD = (residues.ATOM_INDEX[name] for name in ('N', 'CA', 'C', 'O', 'CD'))
_BEYOND_CD = [residues.ATOM_INDEX[name] for name in ('NE', 'CE', 'OE1')]  # one of them follows any CD but proline's
_NEAR = 9.0  # Å between CA atoms, beyond which there is no bond
_CHARGES = 27.9  # kcal/mol Å: 332 x 0.42 x 0.20 electron charges
_BOND = -0.5  # kcal/mol, the weakest bond
_N_H = 1.01  # Å
_CLOSEST = 0.5  # Å, to which shorter distances are raised


class SecondaryStructure(NamedTuple):
  """What the residues of a structure form [N]."""

  kinds: np.ndarray  # HELIX, STRAND or LOOP
  sheets: np.ndarray  # number of the sheet that a strand is in, from 1; 0 elsewhere

  def __repr__(self) -> str:
    return one_line(self)


def assign(positions: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """The kind of each residue: HELIX, STRAND or LOOP [N]; where backbone atoms are missing it is LOOP."""
  return assign_sheets(positions, mask).kinds


def assign_sheets(positions: np.ndarray, mask: np.ndarray, asym_id: np.ndarray | None = None) -> SecondaryStructure:
  """The same, and which strands lie beside one another; sheets may have strands of several chains.

  Args:
    positions: Å.
    mask: of the atoms.
    asym_id: [N] the chain of each residue; None: chains end only where residues are far apart.
  """
  kinds, sheets = np.full(len(positions), LOOP), np.zeros(len(positions), int)
  if len(positions) > 5:  # fewer form no helix and no sheet
    along = joined(positions, mask)
    if asym_id is not None:
      along = along & (asym_id[:-1] == asym_id[1:])
    bonds = hydrogen_bonds(positions, mask, along)
    in_ladders, partners = _ladders(bonds, along)
    kinds[in_ladders] = STRAND
    kinds[_in_helices(bonds, along)] = HELIX  # which goes before, as in DSSP
    sheets = _sheets(kinds == STRAND, along, partners)
  return SecondaryStructure(kinds, sheets)


def joined(positions: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Whether each residue and the next are neighbours in a chain [N - 1]."""
  ca, known = positions[:, _CA], mask[:, _CA] > 0
  return known[:-1] & known[1:] & (np.linalg.norm(ca[1:] - ca[:-1], axis=-1) <= BREAK)


def hydrogen_bonds(positions: np.ndarray, mask: np.ndarray, along: np.ndarray | None = None) -> np.ndarray:
  """Which C=O (row) is bonded to which N-H (column) [N, N]: their charges attract by more than 0.5 kcal/mol.

  Args:
    positions: Å.
    mask: of the atoms.
    along: [N - 1] whether each residue and the next are neighbours in a chain; by default `joined` says so.
  """
  along = joined(positions, mask) if along is None else along
  has, num_res = np.asarray(mask) > 0, len(positions)
  n, ca, c, o = (np.asarray(positions[:, atom], np.float64) for atom in (_N, _CA, _C, _O))
  carbonyl = c - o
  hydrogen = n.copy()  # opposite to the C=O before
  hydrogen[1:] += _N_H * carbonyl[:-1] / np.maximum(np.linalg.norm(carbonyl[:-1], axis=-1, keepdims=True), _CLOSEST)
  accepts = has[:, _C] & has[:, _O]
  is_proline = has[:, _CD] & ~has[:, _BEYOND_CD].any(axis=1)
  gives = has[:, _N] & ~is_proline & np.concatenate([[False], accepts[:-1] & along])

  known = np.flatnonzero(has[:, _CA])
  pairs = known[cKDTree(ca[known]).query_pairs(_NEAR, output_type='ndarray')]
  i, j = np.concatenate([pairs, pairs[:, ::-1]]).T
  possible = accepts[i] & gives[j] & (np.abs(i - j) > 1)
  i, j = i[possible], j[possible]

  def inverse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return 1 / np.maximum(np.linalg.norm(a[i] - b[j], axis=-1), _CLOSEST)

  energies = _CHARGES * (inverse(o, n) + inverse(c, hydrogen) - inverse(o, hydrogen) - inverse(c, n))
  bonds = np.zeros((num_res, num_res), bool)
  bonds[i, j] = energies < _BOND
  return bonds


def _in_helices(bonds: np.ndarray, along: np.ndarray) -> np.ndarray:
  """Which residues two 4-turns in a row enclose [N]; a turn is a bond from a C=O to the fourth N-H on."""
  turns = np.diagonal(bonds, 4) & np.lib.stride_tricks.sliding_window_view(along, 4).all(axis=1)
  starts = np.flatnonzero(turns[:-1] & turns[1:]) + 1
  inside = np.zeros(len(bonds), bool)
  for place in range(4):
    inside[starts + place] = True
  return inside


def _ladders(bonds: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Residues in two bridges in a row to another strand, or between two such: a bulge [N]; pairs side by side [P, 2]."""
  num_res = len(bonds)
  before, here, after = slice(0, -2), slice(1, -1), slice(2, None)
  back = bonds.T
  parallel, anti = np.zeros((2, num_res, num_res), bool)
  parallel[here, here] = (bonds[before, here] & back[after, here]) | (back[here, before] & bonds[here, after])
  anti[here, here] = (bonds[here, here] & back[here, here]) | (bonds[before, after] & back[after, before])
  whole = np.concatenate([[False], along[:-1] & along[1:], [False]])
  numbers = np.arange(num_res)
  possible = whole[:, None] & whole & (np.abs(numbers[:, None] - numbers) > 2)
  parallel, anti = parallel & possible, anti & possible
  parallel, anti = parallel[:-1, :-1] & parallel[1:, 1:], anti[:-1, 1:] & anti[1:, :-1]  # and so do the residues after
  in_a_row = (parallel | anti).any(axis=1)
  inside = np.zeros(num_res, bool)
  inside[:-1] |= in_a_row
  inside[1:] |= in_a_row
  inside[here] |= inside[before] & inside[after] & whole[here]
  return inside, np.concatenate([np.argwhere(parallel), np.argwhere(anti) + [0, 1]])


def _sheets(is_strand: np.ndarray, along: np.ndarray, partners: np.ndarray) -> np.ndarray:
  """The sheet of each residue [N], from 1 in the order of their first strands; 0: in none.

  Args:
    is_strand: [N].
    along: [N - 1] whether each residue and the next are neighbours in a chain.
    partners: [P, 2] residues that lie side by side.
  """
  goes_on = np.concatenate([[False], is_strand[:-1] & along])
  strands = np.where(is_strand, np.cumsum(is_strand & ~goes_on), 0)
  beside = strands[partners]
  beside = beside[(beside > 0).all(axis=1)]
  num_strands = int(strands.max()) + 1  # with none, which stands for no strand
  graph = coo_matrix((np.ones(len(beside)), beside.T), shape=(num_strands, num_strands))
  _, labels = connected_components(graph, directed=False)
  order = {label: number for number, label in enumerate(dict.fromkeys(labels[1:].tolist()), start=1)}
  return np.array([0, *(order[label] for label in labels[1:].tolist())])[strands]
