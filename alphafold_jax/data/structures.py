# SPDX-License-Identifier: Apache-2.0
"""Protein chains of a PDB or mmCIF file as atom37 arrays: every atom is placed, or named as left out.

The first model counts. Where the file names a chain's full sequence (mmCIF entity_poly_seq) the chain has that
sequence, unresolved residues included and masked; otherwise it has the residues that were observed. What was observed
goes before what was declared. Of alternative residues at one place, and of alternative positions of an atom, the one of
highest occupancy is taken, the first among equals. Selenomethionine is methionine (SE stands in for SD), other
modified residues are their parents, and a residue of unknown name is X.

atom_records        the atoms of both formats
residue_groups      atoms as residues, residues as chains
residue_names       what names mean
declared_sequences  residues on the sequence that the file declares
left_out            the account of the rest
"""

import dataclasses
import functools
import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from alphafold_jax import screen
from alphafold_jax.constants import residues
from alphafold_jax.data import atom_records, declared_sequences, residue_groups, residue_names
from alphafold_jax.data.atom_records import Declared
from alphafold_jax.data.left_out import LeftOut
from alphafold_jax.data.records import read_text
from alphafold_jax.data.residue_groups import ObservedResidue
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

_log = logging.getLogger(__name__)
_NUMBER = re.compile(r'-?\d+')
_NH1, _NH2, _CD = (residues.ATOM_INDEX[name] for name in ('NH1', 'NH2', 'CD'))
_MOST_PLACES = 10  # named in a note
_MOST_DIFFERENCES = 5  # from the declared sequence, that have a note of their own


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
  """One protein chain."""

  id: str  # the authors' chain name, '_' for a blank one; of a second chain of that name with a number behind it
  sequence: str  # one letter per residue, X where unknown
  atom_positions: np.ndarray  # [num_res, 37, 3] float32, Å; 0 where there is no atom
  atom_mask: np.ndarray  # [num_res, 37] float32
  numbering: tuple[str, ...]  # the authors' residue number with insertion code, '' where unresolved
  b_factors: np.ndarray  # [num_res] float32, of the CA atom, 0 where unresolved; pLDDT in predicted structures
  notes: tuple[str, ...] = ()  # what was read otherwise than it is written
  warnings: tuple[str, ...] = ()  # those of the notes after which residues may not be what their author meant
  asym: str = ''  # mmCIF's label_asym_id; '' in PDB files

  __repr__ = one_line

  @functools.cached_property
  def numbers(self) -> list[int | None]:
    """The authors' residue numbers without insertion codes, None where unresolved."""
    return [int(found[0]) if (found := _NUMBER.match(text)) else None for text in self.numbering]


@dataclasses.dataclass(frozen=True, eq=False)
class StructureContent:
  """The protein chains of a file, and an account of how it was read."""

  chains: dict[str, Chain]  # by name, in the file's order
  num_atoms: int  # in the file, all models together
  left_out: dict[str, int]  # atoms that are in no chain, by reason
  notes: tuple[str, ...]  # one line on what was left out, and the notes of each chain but for warnings
  warnings: tuple[str, ...]  # those in which residues or atoms of a protein were lost or may be others than was meant


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
  """All protein chains of a PDB or mmCIF file (also .gz), by the authors' names in the file's order.

  What was left out or read otherwise than it is written goes to the log, once for each file.

  Raises:
    InputError: it is no structure file, cannot be read, or has no protein.
  """
  structure = read_structure(path)
  report(path, structure)
  return structure.chains


def report(path: str | Path, structure: StructureContent) -> None:
  """Sends to the log how a file was read, once in this process."""
  for warning in structure.warnings:
    _say(logging.WARNING, f'{path}: {warning}')
  for note in structure.notes:
    _say(logging.INFO, f'{path}: {note}')


@functools.lru_cache(maxsize=100_000)
def _say(level: int, line: str) -> None:
  """Logs a line, once in this process: a template is read again for every protein."""
  _log.log(level, '%s', line)


def read_structure(path: str | Path) -> StructureContent:
  """All protein chains of a PDB or mmCIF file (also .gz), and what became of its other atoms; logs nothing.

  Raises:
    InputError: it is no structure file, cannot be read, or has no protein.
  """
  text = read_text(path)
  try:
    structure = _structure(atom_records.read_atoms(text))
  except InputError as error:
    raise InputError(f'{path}: {error}') from None
  for chain in structure.chains.values():
    if not np.isfinite(chain.atom_positions).all():
      raise InputError(f'{path}: chain {chain.id!r} has coordinates that are not finite')
  return structure


def _structure(table: atom_records.AtomTable) -> StructureContent:
  """The chains of a file's atoms; InputError, without the file's name, if there are none."""
  left_out = LeftOut()
  for reason, count in table.unread.items():
    left_out.add(reason, '', count, remarkable=reason != 'other model')
  groups = residue_groups.protein_chains(residue_groups.group(table.atoms), left_out)
  if not groups:
    raise InputError(f'no protein chain; the file holds {left_out.line() or "no atoms"}')
  chains = {
    name: _chain(name, group, table.declared.get(group[0].first.asym), left_out) for name, group in groups.items()
  }
  rest, lost = left_out.line(), left_out.line(only_remarkable=True)
  said = [f'chain {name}: {line}' for name, chain in chains.items() for line in chain.notes]
  warned = [f'chain {name}: {line}' for name, chain in chains.items() for line in chain.warnings]
  return StructureContent(
    chains=chains,
    num_atoms=len(table.atoms) + sum(table.unread.values()),
    left_out=left_out.atoms(),
    notes=(*([f'left out: {rest}'] if rest != lost else []), *(line for line in said if line not in warned)),
    warnings=(*([f'left out: {lost}'] if lost else []), *warned),
  )


def _chain(name: str, group: list[ObservedResidue], declared: Declared | None, left_out: LeftOut) -> Chain:
  """Arrays of one chain."""
  placed = declared_sequences.place(group, declared) if declared else None
  if declared is None or placed is None:
    letters, observed = [residue.letter for residue in group], dict(enumerate(group))
  else:
    index = {number: i for i, number in enumerate(declared)}
    letters = [placed[n].letter if n in placed else declared_sequences.letter(declared[n]) for n in declared]
    observed = {index[number]: residue for number, residue in placed.items()}
  positions = np.zeros((len(letters), 37, 3), np.float32)
  mask = np.zeros((len(letters), 37), np.float32)
  b_factors = np.zeros(len(letters), np.float32)
  numbering = [''] * len(letters)
  for i, residue in observed.items():
    numbering[i] = _numbered(residue, numbering[i - 1] if i else '')
    b_factors[i] = next((atom.b_factor for atom in residue.taken if atom.name == 'CA'), 0)
    _place_atoms(residue, positions[i], mask[i], left_out)
  notes, warnings = _remarks(name, group, declared, placed)
  return Chain(
    id=name,
    sequence=''.join(letters),
    atom_positions=positions,
    atom_mask=mask,
    numbering=tuple(numbering),
    b_factors=b_factors,
    notes=notes,
    warnings=warnings,
    asym=group[0].first.asym,
  )


def _numbered(residue: ObservedResidue, before: str) -> str:
  """The authors' number in decimal digits, with insertion code; where they have none, the next one."""
  number = residue.number
  if number is None:
    found = _NUMBER.match(before)
    number = int(found[0]) + 1 if found else 1
  return f'{number}{residue.first.insertion}'


@np.errstate(over='ignore')  # infinite coordinates are refused later
def _place_atoms(residue: ObservedResidue, positions: np.ndarray, mask: np.ndarray, left_out: LeftOut) -> None:
  """Writes a residue's atoms into their columns: positions [37, 3] and mask [37] are filled in place."""
  letter = residue.letter
  occupancy: dict[int, float] = {}
  alternatives = len(residue.atoms) - len(residue.taken)
  for atom in residue.taken:
    column = residue_names.column_of(letter, atom.name, residue.atom_names)
    if column is None:
      is_hydrogen = residue_names.is_hydrogen(atom.name)
      is_own = residue_names.is_standard(residue.name)  # and should have no other atoms
      reason = 'hydrogen' if is_hydrogen else 'unknown name'
      left_out.add(reason, f'{residue.name} {atom.name}', remarkable=is_own and not is_hydrogen)
      continue
    alternatives += column in occupancy
    if atom.occupancy > occupancy.get(column, -np.inf):
      occupancy[column] = atom.occupancy
      positions[column] = atom.position
      mask[column] = 1
  left_out.add('alternative', residue.name, alternatives)
  # Arginine's NH1 is by definition the one nearer to CD; files that have it the other way are corrected.
  if residue.name in ('ARG', 'ARN') and mask[[_CD, _NH1, _NH2]].all():
    to_nh1, to_nh2 = np.linalg.norm(positions[[_NH1, _NH2]] - positions[_CD], axis=-1)
    if to_nh1 > to_nh2:
      positions[[_NH1, _NH2]] = positions[[_NH2, _NH1]]


# ------------------------------------------------------------------------------------------ notes


def _remarks(
  name: str, group: list[ObservedResidue], declared: Declared | None, placed: dict[int, ObservedResidue] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """What is to be said of a chain: all notes, and those that are warnings."""
  notes, warnings = [], []
  if name != (written := group[0].first.chain or '_'):
    place = f'from residue {group[0].first.number}{group[0].first.insertion} on'
    warnings.append(f'the file has several chains under the name {written}; this one, {place}, is called {name}')
  meant = Counter((residue.name, residues.RESTYPE_1TO3.get(residue.letter, residue.name)) for residue in group)
  renamed = [
    f'{own} as {usual} ({screen.number(n, "residue")})'
    for (own, usual), n in meant.items()
    if usual not in (own, 'UNK')
  ]
  if renamed:
    notes.append(f'read {", ".join(renamed)}')
  unknown = Counter(residue.name for residue in group if residue.is_unknown)
  if unknown:
    listed = ', '.join(f'{one} ({screen.number(n, "residue")})' for one, n in unknown.items())
    warnings.append(f'read as unknown (X): {listed}')
  if declared is not None and placed is None:
    warnings.append('the declared sequence does not fit the observed residues, which alone are taken')
  warnings += _differences(declared or {}, placed or {})
  return (*warnings, *notes), tuple(warnings)


def _differences(declared: Declared, placed: Mapping[int, ObservedResidue]) -> list[str]:
  """Where residues are not what was declared; the observed ones are taken."""
  places: dict[tuple[str, str], list[str]] = {}
  for number, residue in placed.items():
    if residue.name not in declared[number]:
      places.setdefault((declared[number][0], residue.name), []).append(str(number))
  lines = [
    f'declared {theirs} but observed {own} at {", ".join(at[:_MOST_PLACES])}{", ..." if len(at) > _MOST_PLACES else ""}'
    for (theirs, own), at in places.items()
  ]
  if rest := sum(map(len, list(places.values())[_MOST_DIFFERENCES:])):
    lines[_MOST_DIFFERENCES:] = [f'more differences from the declared sequence, at {screen.number(rest, "place")}']
  return lines
