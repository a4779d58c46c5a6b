# SPDX-License-Identifier: Apache-2.0
"""The atoms of a PDB or mmCIF text, in the file's order, exactly as written.

Both formats become the same records, so that all that follows knows no format. mmCIF is read with gemmi. PDB lines are
cut at the format's columns: readers of libraries take letters among the coordinates for 0, make all residues numbered
**** one residue, and join two proteins that are both numbered from 1, without a word. A line without three coordinates
is an error here.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from typing import NamedTuple

import gemmi

from alphafold_jax.data import residue_names
from alphafold_jax.errors import InputError

_ATOM_SITE = '_atom_site.'
_NEEDED = (
  ('label_comp_id', 'auth_comp_id'),
  ('label_atom_id', 'auth_atom_id'),
  ('Cartn_x',),
  ('Cartn_y',),
  ('Cartn_z',),
)  # of _atom_site
_NO_POLYMERS = ('non-polymer', 'water', 'branched')  # types of entities
_ATOM_LINE = re.compile(r'ATOM  |ATOM \d|HETAT[M\d]', re.IGNORECASE)
_WITH_COLUMN_21 = re.compile(r'^(?:ATOM|HETA).{13}(.{3}\S)', re.MULTILINE | re.IGNORECASE)
_MMCIF = re.compile(r'^\s*_atom_site\.', re.MULTILINE | re.IGNORECASE)
_PDB = re.compile(rf'^(?:{_ATOM_LINE.pattern})', re.MULTILINE | re.IGNORECASE)


Declared = Mapping[int, tuple[str, ...]]  # the names that may stand at each number of a sequence


class AtomRecord(NamedTuple):
  """One atom."""

  chain: str  # the authors' name, '' where blank
  part: str  # changes at TER
  asym: str  # label_asym_id
  number: str  # the authors' residue number
  insertion: str  # its insertion code
  label: str  # number in the declared sequence, '' where there is none
  residue: str  # name in upper case
  is_hetero: bool  # HETATM
  is_ligand: bool  # HETATM of an entity that is no polymer
  is_declared: bool  # has a number in the declared sequence of a protein
  name: str  # in upper case
  alternative: str  # location, '' where there is only one
  occupancy: float
  b_factor: float
  position: tuple[float, float, float]


class AtomTable(NamedTuple):
  """The atoms of a file's first model."""

  atoms: list[AtomRecord]
  declared: dict[str, Declared]  # by label_asym_id, of proteins
  unread: dict[str, int]  # atoms of other models, behind the line END, in other data blocks: by reason


def read_atoms(text: str) -> AtomTable:
  """The atoms of a structure file's text.

  Raises:
    InputError: it is neither PDB nor mmCIF, or damaged; the message names no file.
  """
  text = text.replace('\r\n', '\n').replace('\r', '\n')
  if _MMCIF.search(text):
    return _read_mmcif(text)
  if _PDB.search(text):
    return _read_pdb(text)
  raise InputError('neither PDB nor mmCIF: no ATOM lines and no _atom_site; give a structure file')


# ------------------------------------------------------------------------------------------ PDB


def _read_pdb(text: str) -> AtomTable:
  """PDB files do not tie atoms to their SEQRES lines, so there are no declared sequences."""
  has_long_chains = _has_chains_of_two_letters(text)
  lines = enumerate(text.split('\n'), start=1)
  atoms: list[AtomRecord] = []
  ends: Counter[str] = Counter()  # TER lines of each chain
  last = ''
  for number, line in lines:
    if _ATOM_LINE.match(line):
      atoms.append(_pdb_atom(line, number, ends, has_long_chains))
    elif atoms and line[:3].upper() == 'TER':
      ends[atoms[-1].chain] += 1
    elif atoms and (last := line[:6].upper().strip()) in ('ENDMDL', 'END', 'MODEL'):
      break
  rest = sum(bool(_ATOM_LINE.match(line)) for _, line in lines)
  return AtomTable(atoms, {}, {'behind END' if last == 'END' else 'other model': rest})


def _pdb_atom(line: str, line_number: int, ends: Mapping[str, int], has_long_chains: bool) -> AtomRecord:
  """The atom of a line; `ends` counts the TER lines of each chain so far; `has_long_chains` is explained below."""
  if line[6:12].isdigit():  # a six-digit serial number that has moved the other columns
    line = line[:6] + line[7:]
  try:
    if len(line) < 54:  # cut off, perhaps within the last coordinate
      raise ValueError
    position = float(line[30:38]), float(line[38:46]), float(line[46:54])
  except ValueError:
    raise InputError(
      f'line {line_number}: columns 31-54 hold no three coordinates but {line[30:54]!r}; not a readable structure '
      'file; write it again, as mmCIF if numbers are too wide for their columns'
    ) from None
  border = 20 if has_long_chains else 21
  residue, chain = line[17:border].strip().upper(), line[border:22].strip()
  segment = '' if chain else line[72:76].strip()  # CHARMM names chains there and leaves their column blank
  wide = line[26:27].isdigit()  # a number of five digits
  return AtomRecord(
    chain=chain,
    part=f'{ends.get(chain, 0)} {segment}',
    asym='',
    number=line[22 : 27 if wide else 26].strip(),
    insertion='' if wide else line[26:27].strip(),
    label='',
    residue=residue,
    is_hetero=line[:4].upper() == 'HETA',
    is_ligand=False,
    is_declared=False,
    name=line[12:16].strip().upper(),
    alternative=line[16:17].strip(),
    occupancy=_number(line[54:60], 0.0),
    b_factor=_number(line[60:66], 0.0),
    position=position,
  )


def _has_chains_of_two_letters(text: str) -> bool:
  """Whether column 21 belongs to the chain, as Phenix and gemmi write it, and not to a residue's name as in NALA, TIP3.

  Then most known names of three letters have one too many.
  """
  names = {found.upper() for found in _WITH_COLUMN_21.findall(text)}
  whole = {name for name in names if residue_names.letter_of(name) or residue_names.is_water(name)}
  return sum(_is_known(name[:3].strip()) for name in names - whole) > len(whole)


def _is_known(residue: str) -> bool:
  return bool(
    residue_names.letter_of(residue) or residue_names.is_water(residue) or residue_names.is_nucleotide(residue)
  )


def _number(text: str, otherwise: float) -> float:
  """The number in a text; `otherwise` where it is blank or none."""
  try:
    number = float(text)
  except ValueError:
    return otherwise
  return number if math.isfinite(number) else otherwise


# ------------------------------------------------------------------------------------------ mmCIF


def _read_mmcif(text: str) -> AtomTable:
  try:
    blocks = gemmi.cif.read_string(text, 0)  # 0: names may come twice
  except (ValueError, RuntimeError) as error:
    raise InputError(f'not a readable structure file ({error}); truncated?') from None
  tables = [one for one in blocks if _ATOM_SITE in map(str.lower, one.get_mmcif_category_names())]
  if not tables:
    raise InputError('no table _atom_site; not a readable structure file')
  block, *others = tables
  columns = _Columns(_category(block, _ATOM_SITE))
  if missing := [' or '.join(names) for names in _NEEDED if not any(columns.get(*map(str.lower, names)))]:
    raise InputError(f'the table _atom_site lacks {" and ".join(missing)}; not a readable structure file')
  entities = _entities(block, columns)
  types = dict(zip(*_table(block, '_entity.', 'id', 'type'), strict=True))
  ligands = {asym for asym, entity in entities.items() if types.get(entity, '').lower() in _NO_POLYMERS}
  declared = _declared(block, entities)
  atoms, other_models = _mmcif_atoms(columns, ligands, declared)
  elsewhere = sum(_Columns(_category(other, _ATOM_SITE)).size for other in others)
  return AtomTable(atoms, declared, {'other model': other_models, 'other data block': elsewhere})


class _Columns:
  """The columns of a category by name in lower case; unset values are ''."""

  def __init__(self, category: dict[str, list]):
    self._category = category
    self.size = len(next(iter(category.values()), ()))

  def get(self, *names: str, otherwise: str = '') -> list[str]:
    """Row by row the first of some columns that has a value there."""
    filled = [''] * self.size
    for name in names:
      if name in self._category:  # gemmi has None for '?' and False for '.'
        filled = [one or other or '' for one, other in zip(filled, self._category[name], strict=True)]
    return [value or otherwise for value in filled] if otherwise else filled


def _mmcif_atoms(columns: _Columns, ligands: Container[str], declared: Container[str]) -> tuple[list[AtomRecord], int]:
  """The atoms of the first model, and how many others there are; asym ids of ligands and of declared proteins."""
  get, number = columns.get, gemmi.cif.as_number
  rows = zip(
    get('pdbx_pdb_model_num'),
    get('auth_asym_id', 'label_asym_id'),
    get('label_asym_id'),
    get('auth_seq_id', 'label_seq_id'),
    get('pdbx_pdb_ins_code'),
    get('label_seq_id'),
    get('label_comp_id', 'auth_comp_id'),
    get('group_pdb', otherwise='ATOM'),
    get('label_atom_id', 'auth_atom_id'),
    get('label_alt_id'),
    get('occupancy'),
    get('b_iso_or_equiv'),
    get('cartn_x'),
    get('cartn_y'),
    get('cartn_z'),
    strict=True,
  )
  models = get('pdbx_pdb_model_num')
  atoms = []
  for model, chain, asym, author, insertion, label, residue, group, name, alternative, occupancy, b, x, y, z in rows:
    if model != models[0]:
      continue
    is_hetero = group.upper() == 'HETATM'
    atoms.append(
      AtomRecord(
        chain=chain,
        part='',
        asym=asym,
        number=author,
        insertion=insertion,
        label=label,
        residue=residue.upper(),
        is_hetero=is_hetero,
        is_ligand=is_hetero and asym in ligands,
        is_declared=bool(label) and asym in declared,
        name=name.upper(),
        alternative=alternative,
        occupancy=number(occupancy, 1.0),
        b_factor=number(b, 0.0),
        position=(number(x), number(y), number(z)),
      )
    )
  return atoms, len(models) - len(atoms)


def _entities(block: gemmi.cif.Block, columns: _Columns) -> dict[str, str]:
  """The entity of each label_asym_id; files without _struct_asym have it atom by atom."""
  of_atoms = set(zip(columns.get('label_asym_id'), columns.get('label_entity_id'), strict=True))
  count = Counter(asym for asym, _ in of_atoms)
  found = {asym: entity for asym, entity in of_atoms if count[asym] == 1}
  return {**found, **dict(zip(*_table(block, '_struct_asym.', 'id', 'entity_id'), strict=True))}


def _declared(block: gemmi.cif.Block, entities: dict[str, str]) -> dict[str, Declared]:
  """For each label_asym_id of a protein the names declared at each number of its sequence."""
  sequences: dict[str, dict[int, tuple[str, ...]]] = defaultdict(dict)
  for entity, number, residue in zip(*_table(block, '_entity_poly_seq.', 'entity_id', 'num', 'mon_id'), strict=True):
    if not (number.isdecimal() and len(number) < 10):
      raise InputError(f'_entity_poly_seq.num has {number!r} in place of a number; not a readable structure file')
    place = sequences[entity]
    place[int(number)] = (*place.get(int(number), ()), residue.upper())
  proteins = {
    entity
    for entity, sequence in sequences.items()
    if any(residue_names.letter_of(name) for names in sequence.values() for name in names)
  }
  return {asym: sequences[entity] for asym, entity in entities.items() if entity in proteins}


def _table(block: gemmi.cif.Block, category: str, *items: str) -> list[list[str]]:
  """The columns of a small category; empty ones where the file has not all of them."""
  columns = _category(block, category)
  if not all(item in columns for item in items):
    return [[] for _ in items]
  return [[value or '' for value in columns[item]] for item in items]


def _category(block: gemmi.cif.Block, name: str) -> dict[str, list]:
  """A category's columns by their names in lower case."""
  try:
    return {item.lower(): values for item, values in block.get_mmcif_category(name).items()}
  except RuntimeError as error:
    raise InputError(f'not a readable structure file ({error})') from None
