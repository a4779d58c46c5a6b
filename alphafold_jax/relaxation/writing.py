# SPDX-License-Identifier: Apache-2.0
"""The relaxed structure as PDB or mmCIF: chain names, residue numbers and B-factors of the start, all its atoms."""

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence

import gemmi
import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.errors import InputError
from alphafold_jax.output.pdb import MAX_RESIDUE_NUMBER, MAX_SERIAL, REMARK_NUMBER
from alphafold_jax.relaxation.forms import PDB
from alphafold_jax.relaxation.minimising import Minimised
from alphafold_jax.relaxation.starting import Start, chains_of, names_of

_TITLE = '_struct.title'
_Atoms = Mapping[int, Sequence[tuple[str, str, np.ndarray]]]  # by residue: name, element, position in Å


def text_of(start: Start, found: Minimised, form: str, said: Sequence[str]) -> str:
  """The relaxed structure as the text of a file.

  Args:
    start: chain names, numbers and B-factors.
    found: the atoms.
    form: PDB or MMCIF.
    said: lines that stand in it: what must be said of the structure, and how it was relaxed.

  Raises:
    InputError: it does not fit the columns of a PDB file.
  """
  atoms = _atoms(start, found)
  if form == PDB:
    _check_fits(start, sum(map(len, atoms.values())))
  structure = _structure(start, atoms)
  if form == PDB:
    lines = [line for text in said for line in textwrap.wrap(text.encode('ascii', 'replace').decode(), 68)]
    remarks = [f'REMARK {REMARK_NUMBER:>3} {line}'.ljust(80) for line in lines]
    return ''.join(f'{line}\n' for line in remarks) + structure.make_pdb_string(
      gemmi.PdbWriteOptions(minimal=True, cryst1_record=False, end_record=True)
    )
  structure.info[_TITLE] = '; '.join(said)
  return structure.make_mmcif_document().as_string()


def _atoms(start: Start, found: Minimised) -> _Atoms:
  """The atoms of each residue; a residue that the force field did not see has those that it had."""
  atoms: dict[int, list[tuple[str, str, np.ndarray]]] = defaultdict(list)
  ends = {part[-1] for part in chains_of(start)}
  for atom in found.molecule.topology.atoms():
    i = int(found.molecule.residues[atom.residue.index])
    if atom.name == 'OXT' and i not in ends:
      continue  # of a gap in the chain, which goes on behind it
    atoms[i].append((atom.name, atom.element.symbol, 10 * found.positions[atom.index]))
  for i in range(len(start)):
    if i not in atoms:
      names = [residues.ATOM_TYPES[column] for column in np.flatnonzero(start.mask[i])]
      atoms[i] = [(name, name[0], start.positions[i, residues.ATOM_INDEX[name]]) for name in names]
  return atoms


def _structure(start: Start, atoms: _Atoms) -> gemmi.Structure:
  structure = gemmi.Structure()
  model, names = gemmi.Model(1), names_of(start)
  for part in chains_of(start):
    chain = gemmi.Chain(start.chains[part[0]])
    for i in part:
      residue = gemmi.Residue()
      residue.name, residue.entity_type = names[i], gemmi.EntityType.Polymer
      residue.seqid = gemmi.SeqId(start.numbers[i], start.insertions[i] or ' ')
      for name, element, position in atoms[i]:
        atom = gemmi.Atom()
        atom.name, atom.element = name, gemmi.Element(element)
        atom.pos = gemmi.Position(*map(float, position))
        atom.occ, atom.b_iso = 1.0, float(start.b_factors[i])
        residue.add_atom(atom)
      chain.add_residue(residue)
    model.add_chain(chain)
  structure.add_model(model)
  structure.name = 'relaxed'
  structure.setup_entities()
  for chain in structure[0]:
    entity = structure.get_entity_of(chain.get_polymer())
    entity.full_sequence = entity.full_sequence or [residue.name for residue in chain]
  structure.assign_label_seq_id()
  structure.assign_serial_numbers()
  return structure


def _check_fits(start: Start, count: int) -> None:
  """Refuses what would break a column of a PDB file."""
  remedy = 'PDB columns cannot hold it; give the structure as mmCIF'
  names = dict.fromkeys(start.chains)
  if longer := [name for name in names if len(name) > 2]:
    raise InputError(f'chain {longer[0]!r}: its name has more than two letters: {remedy}')
  if count + len(names) > MAX_SERIAL:
    raise InputError(f'{count:,} atoms, hydrogens with them, are more than {MAX_SERIAL:,}: {remedy}')
  if max(start.numbers) > MAX_RESIDUE_NUMBER:
    raise InputError(f'residue {max(start.numbers)} is beyond {MAX_RESIDUE_NUMBER}: {remedy}')
