# SPDX-License-Identifier: Apache-2.0
"""Small structures for tests of relaxation: cut out of experiments, and broken in known ways."""

from pathlib import Path

import gemmi
import numpy as np

DATA = Path(__file__).parent / 'data'


def structure(name: str, first: int = 0, last: int | None = None) -> gemmi.Structure:
  """Residues of the first protein chain of a file, numbered from 1, without hydrogens and alternatives."""
  whole = gemmi.read_structure(str(DATA / f'{name}.cif.gz'))
  whole.remove_alternative_conformations()
  whole.remove_hydrogens()
  whole.remove_ligands_and_waters()
  cut = gemmi.Structure()
  model, chain = gemmi.Model(1), gemmi.Chain('A')
  for number, residue in enumerate(list(whole[0][0])[first:last], start=1):
    residue.seqid = gemmi.SeqId(number, ' ')
    chain.add_residue(residue)
  model.add_chain(chain)
  cut.add_model(model)
  return cut


def write(one: gemmi.Structure, path: Path) -> Path:
  """Writes a structure as its file's name says."""
  one.setup_entities()
  if path.name.endswith('.cif'):
    path.write_text(one.make_mmcif_document().as_string())
  else:
    one.write_pdb(str(path))
  return path


def shake(one: gemmi.Structure, size: float) -> gemmi.Structure:
  """Atoms moved by closed waves of a size (Å), the same everywhere."""
  for i, atom in enumerate(atom for residue in one[0][0] for atom in residue):
    x, y, z = atom.pos.tolist() + size * np.sin(i * np.array([1.0, 1.7, 2.3]))
    atom.pos = gemmi.Position(round(x, 3), round(y, 3), round(z, 3))
  return one


def push(one: gemmi.Structure, residue: int, onto: int, share: float) -> gemmi.Structure:
  """A side chain moved by a share of the way onto another residue."""
  chain = one[0][0]
  way = chain[onto]['CA'][0].pos - chain[residue]['CA'][0].pos
  for atom in chain[residue]:
    if atom.name not in ('N', 'CA', 'C', 'O', 'CB'):
      atom.pos = atom.pos + way * share
  return one
