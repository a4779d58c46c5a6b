# SPDX-License-Identifier: Apache-2.0
"""A structure file as what is relaxed: its protein chains, residue by residue; what cannot be relaxed is refused.

N residues of all chains; positions [N, 37, 3] in Å, masks [N, 37]. Neighbours are residues that follow one another in
the sequence; joined are those whose peptide bond the force field has. A gap in a chain is left open, and each side of
it is an end. So is a bond of neighbours that is torn beyond what restraints would let together.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import gemmi
import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data import atom_records, residue_groups, residue_names, structures
from alphafold_jax.data.left_out import LeftOut
from alphafold_jax.data.records import read_text
from alphafold_jax.errors import InputError
from alphafold_jax.naming import listed
from alphafold_jax.one_line import one_line
from alphafold_jax.screen import number

MAX_RESIDUES = 5000  # all pairs of some 80,000 atoms; a minimisation takes hours
_BOND = 2.5  # Å between C and N that are bonded, whatever their numbers say
_REACH = 10.0  # Å between C and N of neighbours that can be pulled together
_SAME = ('MSE',)  # selenomethionine, which the reader takes for methionine
_N, _CA, _C, _CB, _OXT = (residues.ATOM_INDEX[name] for name in ('N', 'CA', 'C', 'CB', 'OXT'))
_PARTS = re.compile(r'(-?\d+)(\S*)')


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
  """What is relaxed."""

  aatype: np.ndarray  # [N] 0..19
  positions: np.ndarray  # [N, 37, 3] Å
  mask: np.ndarray  # [N, 37] bool
  b_factors: np.ndarray  # [N] of CA
  chains: tuple[str, ...]  # N names
  numbers: tuple[int, ...]  # N residue numbers of the file
  insertions: tuple[str, ...]  # N insertion codes, '' where there is none
  neighbours: np.ndarray  # [N - 1] bool
  joined: np.ndarray  # [N - 1] bool
  remarks: tuple[str, ...]  # what the file says of the structure
  notes: tuple[str, ...]  # what is not relaxed, or was read otherwise than it is written

  __repr__ = one_line

  def __len__(self) -> int:
    return len(self.aatype)

  @property
  def segments(self) -> list[range]:
    """The stretches of joined residues."""
    cuts = [0, *(np.flatnonzero(~self.joined) + 1).tolist(), len(self)]
    return [range(first, last) for first, last in zip(cuts, cuts[1:])]

  def place(self, i: int | np.integer) -> str:
    """'A 12'."""
    return f'{self.chains[i]} {self.numbers[i]}{self.insertions[i]}'


def read_start(path: str | Path) -> Start:
  """The protein of a PDB or mmCIF file (also .gz), ready to be relaxed.

  Raises:
    InputError: it cannot be read, or cannot be relaxed; the message says why.
  """
  content = structures.read_structure(path)
  text = read_text(path)
  _refuse_others(path, text)
  chains = list(content.chains.values())
  present = [np.flatnonzero(chain.atom_mask.any(axis=1)) for chain in chains]
  if (count := sum(map(len, present))) > MAX_RESIDUES:
    raise InputError(
      f'{path}: {count:,} residues are more than the {MAX_RESIDUES:,} that can be relaxed; relax its chains, or parts '
      'of it, as files of their own'
    )
  places = [_PARTS.fullmatch(chain.numbering[i]) for chain, there in zip(chains, present) for i in there]
  start = Start(
    aatype=np.array([residues.RESTYPE_INDEX.get(chain.sequence[i], 20) for chain, there in zip(chains, present)
                     for i in there]),
    positions=np.concatenate([chain.atom_positions[there] for chain, there in zip(chains, present)]).astype(float),
    mask=np.concatenate([chain.atom_mask[there] > 0 for chain, there in zip(chains, present)]),
    b_factors=np.concatenate([chain.b_factors[there] for chain, there in zip(chains, present)]),
    chains=tuple(chain.id for chain, there in zip(chains, present) for _ in there),
    numbers=tuple(int(found[1]) if found else 0 for found in places),
    insertions=tuple(found[2] if found else '' for found in places),
    neighbours=np.zeros(0, bool),
    joined=np.zeros(0, bool),
    remarks=_remarks(text),
    notes=(*content.warnings, *content.notes),
  )  # fmt: skip
  _refuse_incomplete(path, start)
  order = np.concatenate(present)
  return _with_bonds(path, start, np.diff(order) == 1)


# ------------------------------------------------------------------------------------------ what is refused


def _refuse_others(path: str | Path, text: str) -> None:
  """Refuses residues of chains that are none of the 20 amino acids."""
  groups = residue_groups.protein_chains(residue_groups.group(atom_records.read_atoms(text).atoms), LeftOut())
  mirrored, others = [], []
  for chain, group in groups.items():
    for one in group:
      if gemmi.find_tabulated_residue(one.name).kind == gemmi.ResidueKind.AAD:
        mirrored.append(f'{one.name} {chain} {one.first.number}')
      elif one.letter not in residues.RESTYPE_INDEX or (residue_names.is_modified(one.name) and one.name not in _SAME):
        others.append(f'{one.name} {chain} {one.first.number}')
  for found, what in ((mirrored, 'D-amino acid'), (others, 'non-standard residue')):
    if found:
      raise InputError(
        f'{path}: {number(len(found), what)}: {listed(found)}; the force field has the 20 L-amino acids. Replace '
        'them, or leave them out, and relax that'
      )


def _refuse_incomplete(path: str | Path, start: Start) -> None:
  """Refuses residues without the backbone that all else is built on."""
  for column, name in ((_N, 'N'), (_CA, 'CA'), (_C, 'C')):
    if len(lacking := np.flatnonzero(~start.mask[:, column])):
      shown = listed([f'{residues.RESTYPE_1TO3[residues.RESTYPES[start.aatype[i]]]} {start.place(i)}' for i in lacking])
      raise InputError(
        f'{path}: {number(len(lacking), "residue")} without the backbone atom {name}: {shown}; side chains and oxygens '
        'are added, but N, CA and C must be there. Leave these residues out, or build them first'
      )


# ------------------------------------------------------------------------------------------ chains


def _with_bonds(path: str | Path, start: Start, next_in_file: np.ndarray) -> Start:
  """The start with its peptide bonds.

  Args:
    path: of the file, for messages.
    start: without them.
    next_in_file: [N - 1] whether residues follow one another in the sequence that the file declares or shows.
  """
  same = np.array([one == other for one, other in zip(start.chains, start.chains[1:])], bool)
  step = np.diff(start.numbers)
  has_code = np.array([bool(code) for code in start.insertions], bool)
  follows = (step == 1) | ((step == 0) & has_code[1:])
  apart = np.linalg.norm(start.positions[:-1, _C] - start.positions[1:, _N], axis=-1)
  near = same & (apart <= _BOND)
  neighbours = near | (same & next_in_file & follows)
  joined = near | (neighbours & (apart <= _REACH))
  torn = np.flatnonzero(neighbours & ~joined)
  notes = list(start.notes)
  if len(torn):
    shown = listed([f'{start.place(i)} ({apart[i]:.0f} Å)' for i in torn])
    notes.append(f'{number(len(torn), "peptide bond")} torn too far to be closed, left open behind {shown}')
  found = dataclasses.replace(start, mask=_of_residues(start, joined), neighbours=neighbours, joined=joined)
  if alone := [found.place(part[0]) for part in found.segments if len(part) == 1]:
    notes.append(f'{number(len(alone), "residue")} without neighbours left as it was: {listed(alone)}')
  if not any(len(part) > 1 for part in found.segments):
    raise InputError(f'{path}: no two residues are bonded: there is nothing to relax')
  if len(mirrored := _mirrored(found)):
    notes.append(
      f'{number(len(mirrored), "residue")} built as the mirror image of an L-amino acid, which relaxation keeps: '
      f'{listed([found.place(i) for i in mirrored])}'
    )
  return dataclasses.replace(found, notes=tuple(notes))


def _of_residues(start: Start, joined: np.ndarray) -> np.ndarray:
  """The mask [N, 37] without atoms that the residues do not have: a last oxygen is at an end alone."""
  own = residues.ATOM37_MASK[start.aatype] > 0
  own[:, _OXT] = ~np.append(joined, False)
  return start.mask & own


def _mirrored(start: Start) -> np.ndarray:
  """The residues whose CB is on the wrong side of the backbone."""
  n, ca, c, cb = (start.positions[:, column] for column in (_N, _CA, _C, _CB))
  side = np.sum(np.cross(n - ca, c - ca) * (cb - ca), axis=-1)
  return np.flatnonzero(start.mask[:, _CB] & (side < 0))


def _remarks(text: str) -> tuple[str, ...]:
  """What a file says of its structure, in the free remarks (6) of a PDB file or as title of an mmCIF file.

  It must be said of the relaxed structure too: a small model, random weights, what the B-factors are.
  """
  lines = [line[10:].strip() for line in text.splitlines() if line.startswith('REMARK   6')]
  if '_struct.title' in text:
    title = gemmi.cif.read_string(text)[0].find_value('_struct.title')
    lines.append(' '.join(gemmi.cif.as_string(title).split()) if title else '')
  return tuple(line for line in lines if line)


def names_of(start: Start) -> Sequence[str]:
  """The names of the residues, three letters each."""
  return [residues.RESTYPE_1TO3[residues.RESTYPES[kind]] for kind in start.aatype]


def chains_of(start: Start) -> Iterator[range]:
  """The residues of each chain."""
  cuts = [i for i in range(1, len(start)) if start.chains[i] != start.chains[i - 1]]
  for first, last in zip([0, *cuts], [*cuts, len(start)]):
    yield range(first, last)
