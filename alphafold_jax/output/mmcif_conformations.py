# SPDX-License-Identifier: Apache-2.0
"""Helices, strands and sheets in mmCIF, from the hydrogen bonds of the backbone.

Strands stand twice, since programs look for them in one place or the other: as `STRN` in `_struct_conf`, as in files of
AlphaFold DB, and in `_struct_sheet_range`, as in those of the PDB.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import ihm
import ihm.dumper
import modelcif
import numpy as np

from alphafold_jax.output.cartoon import secondary_structure
from alphafold_jax.output.cartoon.secondary_structure import HELIX, LOOP, STRAND
from alphafold_jax.output.record import PredictionRecord

CRITERIA = 'DSSP'  # by whose rules they are found: Kabsch & Sander 1983, 4-turn helices and ladders
_TYPES = {HELIX: 'HELX_P', STRAND: 'STRN'}
_ALPHA = 1  # the PDB's class of a right-handed alpha helix
_OF_AN_END = ('label_comp_id', 'label_asym_id', 'label_seq_id', 'auth_comp_id', 'auth_asym_id', 'auth_seq_id')
_KEYS = [f'{end}_{item}' for end in ('beg', 'end') for item in _OF_AN_END]


@dataclasses.dataclass(frozen=True)
class Conformation:
  """Residues of a chain that form a helix or a strand."""

  kind: str  # HELIX or STRAND
  asym: modelcif.AsymUnit
  first: int  # numbers of residues in the chain, from 1
  last: int
  sheet: int | None = None  # number of the sheet that a strand is in


def conformations(prediction: PredictionRecord, asym_units: Sequence[modelcif.AsymUnit]) -> list[Conformation]:
  """The helices and strands, chain by chain.

  Args:
    prediction: with the positions.
    asym_units: of its chains, in order of first appearance.
  """
  asym_id = np.asarray(prediction.asym_id)
  is_there = np.asarray(prediction.atom_mask) > 0.5
  positions = np.where(is_there[..., None], prediction.atom_positions, 0)  # of other atoms they may be anything
  found = secondary_structure.assign_sheets(positions, is_there, asym_id)
  first = sorted(np.unique(asym_id, return_index=True)[1])
  of_chains: list[Conformation] = []
  for asym, start in zip(asym_units, first, strict=True):
    places = np.flatnonzero(asym_id == asym_id[start])
    of_chains += _of_chain(asym, found.kinds[places], found.sheets[places])
  return of_chains


def _of_chain(asym: modelcif.AsymUnit, kinds: np.ndarray, sheets: np.ndarray) -> Iterator[Conformation]:
  """Runs of one kind, and of one sheet."""
  number = 1
  for (kind, sheet), run in itertools.groupby(zip(kinds.tolist(), sheets.tolist())):
    length = len(list(run))
    if kind != LOOP:
      yield Conformation(kind, asym, number, number + length - 1, sheet if kind == STRAND else None)
    number += length


class ConformationDumper(ihm.dumper.Dumper):
  """Writes the helices and strands that a system has as `conformations`."""

  def dump(self, system: Any, writer: Any) -> None:
    """See `ihm.dumper.Dumper`."""
    named = list(_named(system.conformations))
    with writer.loop('_struct_conf_type', ['id', 'criteria', 'reference']) as rows:
      for kind in sorted({one.kind for one in system.conformations}):
        rows.write(id=_TYPES[kind], criteria=CRITERIA, reference=ihm.unknown)
    keys = ['conf_type_id', 'id', 'pdbx_PDB_helix_id', *_KEYS]
    with writer.loop('_struct_conf', [*keys, 'pdbx_PDB_helix_class', 'pdbx_PDB_helix_length']) as rows:
      for one, number in named:
        of_helix = {'pdbx_PDB_helix_id': number, 'pdbx_PDB_helix_class': _ALPHA} if one.kind == HELIX else {}
        of_helix |= {'pdbx_PDB_helix_length': one.last - one.first + 1} if one.kind == HELIX else {}
        name = f'{_TYPES[one.kind]}{number}'
        rows.write(conf_type_id=_TYPES[one.kind], id=name, **_place(one), **of_helix)
    self._dump_sheets([one for one in system.conformations if one.sheet is not None], writer)

  def _dump_sheets(self, strands: Sequence[Conformation], writer: Any) -> None:
    num_strands = Counter(one.sheet for one in strands)
    with writer.loop('_struct_sheet', ['id', 'number_strands']) as rows:
      for sheet, count in num_strands.items():
        rows.write(id=sheet, number_strands=count)
    with writer.loop('_struct_sheet_range', ['sheet_id', 'id', *_KEYS]) as rows:
      for sheet in num_strands:
        for number, one in enumerate((one for one in strands if one.sheet == sheet), start=1):
          rows.write(sheet_id=sheet, id=number, **_place(one))


def _named(found: Sequence[Conformation]) -> Iterator[tuple[Conformation, int]]:
  """Each stretch with its number among those of its kind."""
  numbers = Counter[str]()
  for one in found:
    numbers[one.kind] += 1
    yield one, numbers[one.kind]


def _place(one: Conformation) -> dict[str, Any]:
  """Both ends of a stretch by their keys."""
  values: list[Any] = []
  for number in (one.first, one.last):
    residue = one.asym.residue(number)
    name = one.asym.entity.sequence[number - 1].id
    values += [name, one.asym.id, number, name, one.asym.id, residue.auth_seq_id]
  return dict(zip(_KEYS, values, strict=True))
