# SPDX-License-Identifier: Apache-2.0
"""Atoms grouped into residues, and residues into protein chains; everything else is left out and counted.

A residue of a protein is declared as one, or has the name of an amino acid, or the atoms N, CA and C. A chain ends
where the file says so, at TER; and, where there is no peptide bond, at another label_asym_id, where numbers start again
(one comes twice, or they fall), and behind a residue with a last oxygen (OXT). HETATM residues belong to a chain if
they are bonded to it or stand between others of it; free amino acids do not.
"""

import dataclasses
import functools
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from alphafold_jax.data import residue_names
from alphafold_jax.data.atom_records import AtomRecord
from alphafold_jax.data.left_out import LeftOut

_BACKBONE = frozenset(('N', 'CA', 'C'))
_CALCIUM = ('CA', 'CAL')  # names of its residue, in which CA is no carbon
_LONGEST_BOND = 2.5  # Å between C and N; far above 1.33, for models before refinement
_NEAR = 2.0  # Å, below the distance of equal atoms in neighbouring residues
_LONGEST_CA_BOND = 4.5  # Å between CA atoms, where C or N is missing
_NUMBERS: dict[re.Pattern[str], Callable[[str], int]] = {  # how residue numbers are written, and what they mean
  re.compile('-?[0-9]{1,9}'): int,
  re.compile('[A-Z][0-9A-Z]{3}'): lambda text: int(text, 36) - 10 * 36**3 + 10**4,  # hybrid-36: A000 is 10000
  re.compile('[a-z][0-9a-z]{3}'): lambda text: int(text, 36) + 16 * 36**3 + 10**4,  # and a000 goes on from ZZZZ
  re.compile('[0-9A-Fa-f]{1,8}'): lambda text: int(text, 16),
}


@dataclasses.dataclass(eq=False)
class ObservedResidue:
  """Atoms at one place of a chain, perhaps of several alternative residues."""

  atoms: list[AtomRecord]

  @property
  def first(self) -> AtomRecord:
    return self.atoms[0]

  @property
  def place(self) -> tuple[str, ...]:
    """What tells it from other residues of chains of its name."""
    return self.first.part, self.first.asym, self.first.label, self.first.number, self.first.insertion

  @functools.cached_property
  def name(self) -> str:
    """The name of highest occupancy among the alternatives, the first among equals."""
    return max(self.atoms, key=lambda atom: atom.occupancy).residue

  @functools.cached_property
  def taken(self) -> list[AtomRecord]:
    """The atoms of the residue that is taken."""
    return [atom for atom in self.atoms if atom.residue == self.name]

  @functools.cached_property
  def atom_names(self) -> frozenset[str]:
    return frozenset(atom.name for atom in self.taken)

  @property
  def letter(self) -> str:
    return residue_names.letter_by_atoms(self.name, self.atom_names)

  @property
  def is_unknown(self) -> bool:
    """Whether nobody knows the name as one of a residue of proteins."""
    return self.letter == 'X' and residue_names.is_unknown(self.name)

  @functools.cached_property
  def is_amino_acid(self) -> bool:
    """Whether it could be a residue of a protein."""
    if self.first.is_declared:
      return True
    if self.first.is_ligand or residue_names.is_water(self.name):
      return False
    if self.letter != 'X' or residue_names.letter_of(self.name) is not None:
      return True
    return self.atom_names >= _BACKBONE and not residue_names.is_nucleotide(self.name)

  @functools.cached_property
  def number(self) -> int | None:
    """The authors' number without insertion code; None where it is none, such as ****."""
    return decoded(self.first.number)

  def position(self, name: str) -> tuple[float, float, float] | None:  # Å
    """Where an atom is; None if there is none of that name."""
    return next((atom.position for atom in self.taken if atom.name == name), None)

  def may_take(self, other: 'ObservedResidue') -> bool:
    """Whether the other's atoms can be of this residue too: none is here already but as another alternative."""
    if other.name != self.name and not other.first.alternative:
      return False
    mine = {(atom.name, atom.alternative) for atom in self.atoms}
    names = {name for name, alternative in mine if not alternative}
    own = {name for name, _ in mine}
    return not any(
      (atom.name, atom.alternative) in mine or atom.name in (names if atom.alternative else own) for atom in other.atoms
    )


def decoded(number: str) -> int | None:
  """A residue number as an integer: decimal, hybrid-36 (Phenix) or hexadecimal (OpenMM, VMD); None if it is none."""
  for form, read in _NUMBERS.items():
    if form.fullmatch(number):
      return read(number)
  return None


def group(atoms: Iterable[AtomRecord]) -> list[ObservedResidue]:
  """Atoms that follow one another at one place, as residues; without numbers (****) the first atom begins another."""
  found: list[ObservedResidue] = []
  place: tuple[str, ...] = ()
  for atom in atoms:
    before, place = place, (atom.chain, atom.part, atom.asym, atom.number, atom.insertion, atom.label)
    if place == before and _continues(found[-1].first, atom):
      found[-1].atoms.append(atom)
    else:
      found.append(ObservedResidue([atom]))
  return found


def _continues(first: AtomRecord, atom: AtomRecord) -> bool:
  """Whether an atom at the place of a residue's first atom is of the same residue, or of an alternative to it."""
  if atom.residue != first.residue:
    return bool(atom.alternative or atom.label)
  if atom.name != first.name or atom.alternative != first.alternative:
    return True
  return math.dist(atom.position, first.position) < _NEAR  # the same atom again


def protein_chains(found: Sequence[ObservedResidue], left_out: LeftOut) -> dict[str, list[ObservedResidue]]:
  """The residues of each protein chain, under a name of its own.

  Args:
    found: all residues of a file.
    left_out: takes up what is in no chain.
  """
  by_chain: dict[str, list[ObservedResidue]] = defaultdict(list)
  for residue in found:
    if residue.is_amino_acid:
      by_chain[residue.first.chain or '_'].append(residue)
    else:
      kind = _kind(residue)
      is_odd = kind in ('ion', 'ligand') and not residue.first.is_hetero and 'CA' in residue.atom_names
      left_out.add(kind, residue.name, len(residue.atoms), remarkable=is_odd and residue.name not in _CALCIUM)
  segments: dict[str, list[list[ObservedResidue]]] = defaultdict(list)
  for chain, residues in by_chain.items():
    for segment in _split(residues):
      kept, free = _without_ligands(segment, beside_chain=bool(segments[chain]))
      for residue in free:
        is_odd = not residue.first.is_hetero or residue_names.is_modified(residue.name)
        kind = 'ligand' if residue.is_unknown else 'free amino acid'
        left_out.add(kind, residue.name, len(residue.atoms), remarkable=is_odd)
      if any('CA' in residue.atom_names for residue in kept):
        segments[chain].append(kept)
        continue
      for residue in kept:
        if all(map(residue_names.is_hydrogen, residue.atom_names)):
          left_out.add('hydrogen', residue.name, len(residue.atoms))
        else:
          left_out.add('residue of chains without CA atoms', residue.name, len(residue.atoms), remarkable=True)
  return _named(segments)


def _split(residues: Sequence[ObservedResidue]) -> list[list[ObservedResidue]]:
  """The residues under one name as chains; scattered atoms of a residue come together."""
  segments: list[list[ObservedResidue]] = []
  index: dict[tuple[str, ...], int] = {}  # of each place in the last segment
  for residue in residues:
    place = residue.place
    again = index.get(place)
    if again is not None and segments[-1][again].may_take(residue):
      segments[-1][again] = ObservedResidue(segments[-1][again].atoms + residue.atoms)
      continue
    if not segments or _ends(segments[-1][-1], residue, again is not None):
      if segments and again is None and (gap := _gap_for(segments[-1], residue)) is not None:
        segments[-1].insert(gap, residue)
        index = {one.place: i for i, one in enumerate(segments[-1]) if one.number is not None}
        continue
      segments.append([])
      index = {}
    if residue.number is not None:
      index[place] = len(segments[-1])
    segments[-1].append(residue)
  return segments


def _ends(previous: ObservedResidue, residue: ObservedResidue, comes_again: bool) -> bool:
  """Whether a chain ends between two residues; `comes_again`: the second one's number was there before."""
  if previous.first.part != residue.first.part:
    return True
  starts_anew = (
    comes_again
    or previous.first.asym != residue.first.asym
    or _falls(previous, residue)
    or (not previous.first.label and residue_names.has_last_oxygen(previous.atom_names))
  )
  return starts_anew and not bonded(previous, residue)


def _gap_for(segment: Sequence[ObservedResidue], residue: ObservedResidue) -> int | None:
  """Where a residue that comes late in the file, as HETATM do in some, belongs by its number and a peptide bond."""
  if residue.number is None:
    return None
  after = next((i for i, one in enumerate(segment) if one.number is not None and one.number > residue.number), None)
  if after is None:
    return None
  return after if bonded(residue, segment[after]) or (after and bonded(segment[after - 1], residue)) else None


def _falls(one: ObservedResidue, other: ObservedResidue) -> bool:
  """Whether the number of the next residue is smaller."""
  if one.first.label and other.first.label:
    before, after = decoded(one.first.label), decoded(other.first.label)
  else:
    before, after = one.number, other.number
  return before is not None and after is not None and after < before


def bonded(one: ObservedResidue, other: ObservedResidue) -> bool:
  """Whether a peptide bond joins two residues in this order; where C or N is missing the CA atoms tell."""
  for first, second, longest in (('C', 'N', _LONGEST_BOND), ('CA', 'CA', _LONGEST_CA_BOND)):
    here, there = one.position(first), other.position(second)
    if here is not None and there is not None:
      return math.dist(here, there) <= longest
  return False


def _without_ligands(
  segment: list[ObservedResidue], *, beside_chain: bool
) -> tuple[list[ObservedResidue], list[ObservedResidue]]:
  """The residues of a chain, and the free amino acids at its ends or in its place.

  Args:
    segment: residues in order.
    beside_chain: a chain of the same name came before, so that a single residue is no chain; nor is one that has no
      name of an amino acid.
  """
  pairs = [bonded(one, other) for one, other in itertools.pairwise(segment)]
  joined = [
    not residue.first.is_hetero or residue.first.is_declared or before or after
    for residue, before, after in zip(segment, [False, *pairs], [*pairs, False], strict=True)
  ]
  is_single = len(segment) == 1 and not segment[0].first.is_declared
  if not any(joined) or (is_single and (beside_chain or segment[0].is_unknown)):
    return [], segment
  start, end = joined.index(True), len(joined) - joined[::-1].index(True)
  return segment[start:end], segment[:start] + segment[end:]


def _named(segments: dict[str, list[list[ObservedResidue]]]) -> dict[str, list[ObservedResidue]]:
  """Each chain under its own name; the second of a name A is A2, and so on."""
  named: dict[str, list[ObservedResidue]] = {}
  for chain, parts in segments.items():
    for count, part in enumerate(parts, start=1):
      names = itertools.chain([chain] * (count == 1), (f'{chain}{n}' for n in itertools.count(count)))
      named[next(name for name in names if name == chain or name not in {*segments, *named})] = part
  return named


def _kind(residue: ObservedResidue) -> str:
  """What a residue is that belongs to no protein."""
  if residue_names.is_water(residue.name):
    return 'water'
  if residue_names.is_nucleotide(residue.name):
    return 'nucleotide'
  if residue_names.is_cap(residue.name):
    return 'capping group'
  return 'ion' if len(residue.atoms) == 1 else 'ligand'
