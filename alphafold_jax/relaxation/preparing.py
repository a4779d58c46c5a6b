# SPDX-License-Identifier: Apache-2.0
"""Atoms that lack and hydrogens, put in by pdbfixer; only the 20 amino acids go in, so it never asks the network.

N residues of the start; positions [N, 37, 3] in Å. Each stretch of joined residues is a chain to OpenMM, with charged
ends; a residue alone, for which there are no parameters, is left out.
"""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line
from alphafold_jax.relaxation.starting import Start, names_of

_PH = 7.0
_DIGITS = 4  # of nm, as in a PDB file, into which the published program writes the atoms here
_SEED = 0  # of the dynamics that part new atoms from others
_WIDEST = 900.0  # Å from the origin, within which coordinates stay as they are
_COLUMN = 9999.0  # Å that the columns of a PDB file hold


@dataclasses.dataclass(frozen=True, eq=False)
class Molecule:
  """What the force field sees, with all its atoms."""

  topology: Any  # openmm.app.Topology
  positions: np.ndarray  # [M, 3] nm
  residues: np.ndarray  # residue of the start, by that of the topology
  added: dict[str, int]  # heavy atoms that lacked, by name of atom; OXT of the ends among them

  __repr__ = one_line


def molecule_of(start: Start, positions: np.ndarray, mask: np.ndarray, platform: Any) -> Molecule:
  """The start with all heavy atoms and hydrogens.

  Args:
    start: chains and bonds.
    positions: [N, 37, 3] Å, perhaps of an earlier round.
    mask: [N, 37] bool.
    platform: of OpenMM, which eases the new atoms.

  Raises:
    InputError: the structure is too large for the columns of a PDB file, which pdbfixer reads.
  """
  import pdbfixer

  shift = _shift(positions, mask)
  fixer = pdbfixer.PDBFixer(pdbfile=io.StringIO(_pdb(start, positions - shift, mask)), platform=platform)
  fixer.findMissingResidues()
  fixer.findMissingAtoms()
  lacking = [atom.name for atoms in fixer.missingAtoms.values() for atom in atoms]
  lacking += [name for names in fixer.missingTerminals.values() for name in names]
  fixer.addMissingAtoms(seed=_SEED)
  fixer.addMissingHydrogens(_PH)
  index = np.array([i for part in start.segments if len(part) > 1 for i in part])
  return Molecule(
    topology=fixer.topology,
    positions=np.round(_in_nm(fixer.positions), _DIGITS) + shift / 10,
    residues=index,
    added={name: lacking.count(name) for name in sorted(set(lacking))},
  )


def heavy_atoms(start: Start, molecule: Molecule, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Positions [N, 37, 3] in Å and mask [N, 37] of heavy atoms from those of a molecule [M, 3] in nm."""
  found, mask = start.positions.copy(), start.mask.copy()
  for atom in molecule.topology.atoms():
    if (column := residues.ATOM_INDEX.get(atom.name)) is not None:
      i = molecule.residues[atom.residue.index]
      found[i, column], mask[i, column] = 10 * positions[atom.index], True
  return found, mask


def _in_nm(positions: Any) -> np.ndarray:
  from openmm import unit

  return np.array(positions.value_in_unit(unit.nanometer))


def _shift(positions: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """By how many whole Å [3] a structure far from the origin is moved."""
  there = positions[mask]
  if np.abs(there).max() <= _WIDEST:
    return np.zeros(3)
  shift = np.round(there.mean(axis=0))
  if np.abs(there - shift).max() > _COLUMN / 10:
    raise InputError('the atoms are spread over more than 1,000 Å; relax its parts as files of their own')
  return shift


def _pdb(start: Start, positions: np.ndarray, mask: np.ndarray) -> str:
  """The atoms as the text of a PDB file, each stretch of joined residues as a chain."""
  return ''.join(f'{line:<80}\n' for line in _pdb_lines(start, positions, mask))


def _pdb_lines(start: Start, positions: np.ndarray, mask: np.ndarray) -> Iterator[str]:
  names, serial = names_of(start), 0
  for part in start.segments:
    if len(part) == 1:
      continue
    for place, i in enumerate(part):
      for column in np.flatnonzero(mask[i]):
        serial += 1
        name = residues.ATOM_TYPES[column]
        named = name if len(name) == 4 else f' {name:<3}'
        x, y, z = positions[i, column]
        yield (
          f'ATOM  {serial % 100_000:>5} {named} {names[i]} A{place % 9999 + 1:>4}    '
          f'{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {name[0]:>2}'
        )
    yield 'TER'
  yield 'END'
