# SPDX-License-Identifier: Apache-2.0
"""Which chains make a complex: the biological assemblies of an mmCIF file, or lines of a table.

An assembly is made of copies of chains: operators move the chains that mmCIF lists by their label_asym_id. gemmi reads
the expressions, such as (1-60)(P). A file without assemblies, as of PDB format, is one complex as it stands.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import gemmi

from alphafold_jax.data import records
from alphafold_jax.data.training.complexes import Motion
from alphafold_jax.errors import InputError

_COLUMNS = ('chains', 'id', 'cluster', 'split')


@dataclasses.dataclass(frozen=True)
class ChainAssembly:
  """Chains that form a complex, by their names in a training set."""

  id: str
  chains: tuple[str, ...]  # one that comes several times stands there as often
  motions: tuple[Motion, ...]  # of each chain
  source: str  # names it in messages
  missing: tuple[str, ...] = ()  # chains that belong to it and are not in the training set
  cluster: str = ''  # '' is made of those of its chains
  split: str = ''  # '' is that of its chains


def read_assemblies(
  text: str, entry: str, names: Mapping[str, str], asyms: Mapping[str, str], source: str
) -> list[ChainAssembly]:
  """The assemblies of a structure file that hold several protein chains.

  Args:
    text: of an mmCIF or PDB file.
    entry: the name of the file's entry, with which those of its assemblies begin.
    names: of each protein chain of the file that is in the training set, by the file's name of it, its name there.
    asyms: label_asym_id -> the file's name, of all protein chains; none of a PDB file.
    source: names the file in messages.

  Raises:
    InputError: they cannot be read.
  """
  found = []
  for name, members in _members(text, asyms):
    missing = dict.fromkeys(chain for chain, _ in members if chain not in names)
    there = [(names[chain], motion) for chain, motion in members if chain in names]
    if len(members) > 1:
      chains, motions = (tuple(part) for part in zip(*there, strict=True)) if there else ((), ())
      found.append(ChainAssembly(f'{entry}-{name}', chains, motions, source, tuple(missing)))
  if not found and not _has_assemblies(text) and len(names) > 1:
    found.append(ChainAssembly(entry, tuple(names.values()), ((),) * len(names), source))
  return found


def _has_assemblies(text: str) -> bool:
  return '_pdbx_struct_assembly_gen.' in text


def _members(text: str, asyms: Mapping[str, str]) -> list[tuple[str, list[tuple[str, Motion]]]]:
  """The assemblies by their names in the file: the file's names of protein chains, and where each goes."""
  if not asyms or not _has_assemblies(text):
    return []
  try:
    block = gemmi.cif.read_string(text).sole_block()
    block.find_mmcif_category('_atom_site.').erase()  # the many lines that are not needed
    assemblies = gemmi.make_structure_from_block(block).assemblies
  except (RuntimeError, ValueError) as error:
    raise InputError(f'its assemblies cannot be read ({error}); its chains are taken alone') from None
  return [
    (
      assembly.name,
      [
        (asyms[asym], _motion(operator.transform))
        for generator in assembly.generators
        for operator in generator.operators
        for asym in generator.subchains
        if asym in asyms
      ],
    )
    for assembly in assemblies
  ]


def _motion(transform: gemmi.Transform) -> Motion:
  """The operator as numbers; none for one that moves nothing."""
  if transform.is_identity():
    return ()
  rows = zip(transform.mat.tolist(), transform.vec.tolist(), strict=True)
  return tuple(number for row, shift in rows for number in (*row, shift))


def read_table(path: str | Path) -> list[ChainAssembly]:
  """The complexes of a table, whose chains stay where their files have them.

  Args:
    path: CSV or TSV with the column `chains`, names with blanks between, and any of id, cluster and split.

  Raises:
    InputError: a column is missing, or a line names less than two chains.
  """
  found = []
  for line, row in records.read_table(path, ('chains',), ', '.join(_COLUMNS)):
    chains, place = tuple(row['chains'].split()), f'{path}, line {line}'
    if len(chains) < 2:
      raise InputError(f'{place}: names {row["chains"]!r}; expected two or more chains with blanks between them')
    given = {name: row.get(name, '').strip() for name in ('id', 'cluster', 'split')}
    id = given['id'] or '+'.join(chains)
    motions = ((),) * len(chains)
    found.append(ChainAssembly(id, chains, motions, place, cluster=given['cluster'], split=given['split'].lower()))
  return found
