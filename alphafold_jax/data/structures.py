# SPDX-License-Identifier: Apache-2.0
"""Protein chains of a PDB or mmCIF file as atom37 arrays, read with Biopython.

The first model counts. Where the file names a chain's full sequence (mmCIF entity_poly_seq) the chain has that
sequence, unresolved residues included and masked; otherwise it has the residues that were observed. Of alternative
positions each atom takes the one of highest occupancy, the first among equals; of alternative residues at one place
the fullest. Selenomethionine is methionine (SE stands in for SD), other modified residues are their parents.
"""

import dataclasses
import functools
import io
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from Bio.Data.PDBData import protein_letters_3to1, protein_letters_3to1_extended
from Bio.PDB.MMCIF2Dict import MMCIF2Dict
from Bio.PDB.PDBParser import PDBParser

from alphafold_jax.constants import residues
from alphafold_jax.data.records import read_text
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

_NUMBER = re.compile(r'-?\d+')
_UNSET = ('.', '?', '', ' ')
_STANDARD = frozenset(protein_letters_3to1)
_LETTERS = {**protein_letters_3to1_extended, 'UNK': 'X', 'ASX': 'B', 'GLX': 'Z', 'SEC': 'U', 'PYL': 'O'}
_NH1, _NH2, _CD = (residues.ATOM_INDEX[name] for name in ('NH1', 'NH2', 'CD'))


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
  """One protein chain."""

  id: str  # the authors' chain name
  sequence: str  # one letter per residue, X where unknown
  atom_positions: np.ndarray  # [num_res, 37, 3] float32, Å; 0 where there is no atom
  atom_mask: np.ndarray  # [num_res, 37] float32
  numbering: tuple[str, ...]  # the authors' residue number with insertion code, '' where unresolved
  b_factors: np.ndarray  # [num_res] float32, of the CA atom, 0 where unresolved; pLDDT in predicted structures

  __repr__ = one_line

  @functools.cached_property
  def numbers(self) -> list[int | None]:
    """The authors' residue numbers without insertion codes, None where unresolved."""
    return [int(found[0]) if (found := _NUMBER.match(text)) else None for text in self.numbering]


Sequences = dict[str, dict[int, str]]  # by chain: names of residues by their number in the declared sequence
Place = tuple[int | str, ...]  # a residue in its chain: its position in the sequence, or number and insertion code


@dataclasses.dataclass(frozen=True)
class _Atom:
  """One atom line."""

  chain: str
  place: Place
  number: str  # as the authors have it
  residue: str  # three-letter name
  name: str
  occupancy: float
  b_factor: float
  position: tuple[float, float, float]


def read_chain(path: str | Path, chain: str | None = None) -> Chain:
  """One chain of a structure file.

  Args:
    path: see `read_chains`.
    chain: the authors' name; None: it must be the only one.

  Raises:
    InputError: there is no such chain, or there are several.
  """
  chains = read_chains(path)
  if chain is None and len(chains) > 1:
    raise InputError(f'{path}: holds the protein chains {", ".join(chains)}; say which')
  if chain is not None and chain not in chains:
    raise InputError(f'{path}: chain {chain!r} not found; has {", ".join(chains)}')
  return chains[chain] if chain is not None else next(iter(chains.values()))


def read_chains(path: str | Path) -> dict[str, Chain]:
  """All protein chains of a PDB or mmCIF file (also .gz) by the authors' names, in the file's order.

  Raises:
    InputError: it is no structure file, cannot be read, or has no protein.
  """
  text = read_text(path)
  read = next((read for looks, read in _FORMATS if looks.search(text)), None)
  if read is None:
    raise InputError(f'{path}: neither PDB nor mmCIF: no ATOM lines and no _atom_site; give a structure file')
  try:
    atoms, sequences = read(text)
  except InputError as error:
    raise InputError(f'{path}: {error}') from None
  except Exception as error:  # Biopython's readers raise whatever a malformed line leads to
    raise InputError(f'{path}: not a readable structure file ({type(error).__name__}: {error})') from None
  by_chain: dict[str, list[_Atom]] = defaultdict(list)
  for atom in atoms:
    by_chain[atom.chain].append(atom)
  chains = {name: chain for name, group in by_chain.items() if (chain := _chain(name, group, sequences.get(name)))}
  if not chains:
    raise InputError(f'{path}: no protein chain with CA atoms')
  for chain in chains.values():
    if not np.isfinite(chain.atom_positions).all():
      raise InputError(f'{path}: chain {chain.id!r} has coordinates that are not finite')
  return chains


def _chain(name: str, atoms: list[_Atom], sequence: dict[int, str] | None) -> Chain | None:
  """Arrays of one chain; None when it is no protein."""
  by_place: dict[Place, list[_Atom]] = defaultdict(list)
  for atom in atoms:
    by_place[atom.place].append(atom)
  if sequence is None:
    places, names = list(by_place), [_fullest(group) for group in by_place.values()]
  else:
    places, names = [(number,) for number in sequence], list(sequence.values())
  positions = np.zeros((len(places), 37, 3), np.float32)
  mask = np.zeros((len(places), 37), np.float32)
  b_factors = np.zeros(len(places), np.float32)
  numbering = []
  for i, (place, residue) in enumerate(zip(places, names, strict=True)):
    group = [atom for atom in by_place.get(place, ()) if atom.residue == residue]
    numbering.append(group[0].number if group else '')
    b_factors[i] = next((atom.b_factor for atom in group if atom.name == 'CA'), 0)
    _place_atoms(group, positions[i], mask[i])
  if not mask[:, residues.ATOM_INDEX['CA']].any():
    return None
  letters = ''.join(_LETTERS.get(residue, 'X') for residue in names)
  return Chain(
    id=name,
    sequence=letters,
    atom_positions=positions,
    atom_mask=mask,
    numbering=tuple(numbering),
    b_factors=b_factors,
  )


def _fullest(atoms: list[_Atom]) -> str:
  """The residue name of largest total occupancy among the alternatives at one place."""
  weight: dict[str, float] = defaultdict(float)
  for atom in atoms:
    weight[atom.residue] += atom.occupancy
  return max(weight, key=weight.__getitem__)


def _place_atoms(atoms: list[_Atom], positions: np.ndarray, mask: np.ndarray) -> None:  # [37, 3], [37], filled in place
  """Writes a residue's atoms into their columns."""
  occupancy = np.full(37, -np.inf)
  for atom in atoms:
    is_selenium = atom.residue == 'MSE' and atom.name.upper() == 'SE'
    column = residues.ATOM_INDEX.get('SD' if is_selenium else atom.name)
    if column is not None and atom.occupancy > occupancy[column]:
      occupancy[column] = atom.occupancy
      positions[column] = atom.position
      mask[column] = 1
  # Arginine's NH1 is by definition the one nearer to CD; files that have it the other way are corrected.
  if atoms and atoms[0].residue == 'ARG' and mask[[_CD, _NH1, _NH2]].all():
    to_nh1, to_nh2 = np.linalg.norm(positions[[_NH1, _NH2]] - positions[_CD], axis=-1)
    if to_nh1 > to_nh2:
      positions[[_NH1, _NH2]] = positions[[_NH2, _NH1]]


def _read_pdb(text: str) -> tuple[list[_Atom], Sequences]:
  """The atoms of the first model; PDB files do not tie atoms to their SEQRES lines, so there are no sequences."""
  structure = PDBParser(QUIET=True).get_structure('', io.StringIO(text))
  atoms = []
  for chain in next(structure.get_models()):
    for residue in chain.get_unpacked_list():
      flag, number, insertion = residue.id
      name = residue.get_resname().strip()
      if _is_ligand(flag != ' ', name):
        continue
      for atom in residue.get_unpacked_list():
        occupancy = atom.get_occupancy()
        atoms.append(
          _Atom(
            chain=chain.id.strip() or '_',
            place=(number, insertion),
            number=f'{number}{insertion.strip()}',
            residue=name,
            name=atom.get_name(),
            occupancy=0.0 if occupancy is None else occupancy,
            b_factor=atom.get_bfactor() or 0.0,
            position=(float(atom.coord[0]), float(atom.coord[1]), float(atom.coord[2])),
          )
        )
  return atoms, {}


def _is_ligand(is_hetero: bool, residue: str) -> bool:
  """Whether a residue outside a declared polymer is water, a ligand or a nucleotide and not part of a chain."""
  return residue not in _LETTERS or (is_hetero and residue in _STANDARD)


def _read_mmcif(text: str) -> tuple[list[_Atom], Sequences]:
  """The atoms of the first model, and per chain the residue names of its sequence by their number in it."""
  table = MMCIF2Dict(io.StringIO(text))
  get = functools.partial(_column, table)
  labels, names = get('label_asym_id'), get('label_comp_id')
  if not labels or not names:
    raise InputError('the table _atom_site lacks label_asym_id or label_comp_id')
  numbers = get('label_seq_id') or ['.'] * len(labels)
  columns = {
    'model': get('pdbx_PDB_model_num') or ['1'] * len(labels),
    'label_asym_id': labels,
    'label_seq_id': numbers,
    'comp': names,
    'chain': get('auth_asym_id') or labels,
    'author': get('auth_seq_id') or numbers,
    'insertion': get('pdbx_PDB_ins_code') or ['?'] * len(labels),
    'atom': get('label_atom_id'),
    'occupancy': get('occupancy') or ['1'] * len(labels),
    'b_factor': get('B_iso_or_equiv') or ['0'] * len(labels),
    'group': get('group_PDB') or ['ATOM'] * len(labels),
    'x': get('Cartn_x'),
    'y': get('Cartn_y'),
    'z': get('Cartn_z'),
  }
  for item, column in columns.items():
    if len(column) != len(labels):
      raise InputError(f'the table _atom_site has {len(labels)} rows but {len(column)} entries of {item}; truncated?')
  return _mmcif_atoms(list(zip(*columns.values())), _polymers(table))


def _mmcif_atoms(rows: list[tuple[str, ...]], polymers: Sequences) -> tuple[list[_Atom], Sequences]:
  """Atoms and sequences from the rows of _atom_site; chains without a declared sequence go by author numbers."""
  atoms: list[_Atom] = []
  sequences: Sequences = {}
  for model, label, number, residue, chain, author, insertion, name, occupancy, b_factor, group, x, y, z in rows:
    if model != rows[0][0]:
      continue
    insertion = '' if insertion in _UNSET else insertion
    polymer = polymers.get(label)
    if polymer is not None and number not in _UNSET:
      place: Place = (int(number),)
      sequences.setdefault(chain, polymer)
      if sequences[chain] is not polymer and sequences[chain] != polymer:
        raise InputError(f'chain {chain!r} of the authors holds two polymers')
    elif polymers or _is_ligand(group == 'HETATM', residue):
      continue
    else:
      place = (author, insertion)
    full = 1.0 if occupancy in _UNSET else float(occupancy)
    b = 0.0 if b_factor in _UNSET else float(b_factor)
    position = (float(x), float(y), float(z))
    atoms.append(_Atom(chain, place, f'{author}{insertion}', residue, name, full, b, position))
  return atoms, sequences


def _polymers(table: MMCIF2Dict) -> Sequences:
  """Residue names by number, for each label_asym_id that is a protein with a declared sequence."""
  entities: dict[str, dict[int, str]] = defaultdict(dict)
  entries = [table.get(f'_entity_poly_seq.{item}', []) for item in ('entity_id', 'num', 'mon_id')]
  for entity, number, residue in zip(*entries, strict=True):
    entities[entity].setdefault(int(number), residue)
  proteins = {key: names for key, names in entities.items() if any(name in _LETTERS for name in names.values())}
  asyms = zip(table.get('_struct_asym.id', []), table.get('_struct_asym.entity_id', []), strict=True)
  chains = {asym: proteins[entity] for asym, entity in asyms if entity in proteins}
  if not chains:  # files without _struct_asym have it atom by atom
    pairs = set(zip(_column(table, 'label_asym_id'), _column(table, 'label_entity_id'), strict=False))
    chains = {asym: proteins[entity] for asym, entity in pairs if entity in proteins}
  return chains


def _column(table: MMCIF2Dict, item: str) -> list[str]:
  return table.get(f'_atom_site.{item}', [])


_FORMATS = (
  (re.compile(r'^\s*_atom_site\.', re.MULTILINE), _read_mmcif),
  (re.compile(r'^(ATOM  |HETATM)', re.MULTILINE), _read_pdb),
)
