# SPDX-License-Identifier: Apache-2.0
"""Atoms of which two are in one place, as AlphaFold 3 counts them."""

import dataclasses

import numpy as np

from alphafold_jax.one_line import one_line

RADIUS = 1.1  # Å
MOST_ATOMS, MOST_SHARE = 100, 0.5  # of a chain; beyond either the prediction has a clash
_EXEMPT = 3 * 15  # atoms of a residue and its two neighbours in the chain, which are no clash: more than 14 each have


@dataclasses.dataclass(frozen=True, eq=False)
class Clashes:
  """The atoms that clash."""

  between: np.ndarray  # [N_chain, N_chain] atoms of the one chain that clash with the other
  has_clash: bool  # more than 100 atoms of a chain clash, or more than half of them

  __repr__ = one_line


def find_clashes(
  positions: np.ndarray, atom_mask: np.ndarray, residue_index: np.ndarray, chain: np.ndarray, num_chain: int
) -> Clashes:
  """Finds atoms within 1.1 Å of an atom of another chain, or of a residue more than one away in the same.

  Args:
    positions: [N_res, 37, 3] Å.
    atom_mask: [N_res, 37].
    residue_index: [N_res] position in the chain.
    chain: [N_res] from 0.
    num_chain: chains.
  """
  from scipy.spatial import cKDTree  # longer to load than all else that a picture or a short command needs

  residue, atom = np.nonzero(np.asarray(atom_mask) > 0.5)
  if not len(residue):
    return Clashes(np.zeros((num_chain, num_chain), int), False)
  place, of_chain, number = positions[residue, atom], chain[residue], residue_index[residue]
  # Of so many neighbours one is no exempt atom, so that no more need be looked at however many there are.
  _, near = cKDTree(place).query(place, k=_EXEMPT + 1, distance_upper_bound=RADIUS)  # [N_atom, k], N_atom: none
  first, column = np.nonzero(near < len(residue))
  second = near[first, column]
  is_other = of_chain[first] != of_chain[second]
  clashing = np.unique(first[is_other | (np.abs(number[first] - number[second]) > 1)])
  atoms = np.bincount(of_chain, minlength=num_chain)
  counts = np.bincount(of_chain[clashing], minlength=num_chain)
  pairs = np.unique(np.stack([first[is_other], of_chain[second[is_other]]]), axis=1)  # an atom, and another chain
  between = np.zeros((num_chain, num_chain), int)
  np.add.at(between, (of_chain[pairs[0]], pairs[1]), 1)
  return Clashes(between, bool(np.any((counts > MOST_ATOMS) | (counts > MOST_SHARE * atoms))))
