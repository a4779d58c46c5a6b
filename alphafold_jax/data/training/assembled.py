# SPDX-License-Identifier: Apache-2.0
"""The chains of a complex in their places, as one set of arrays over all residues.

T residues of all chains, one chain behind the other; N of a crop; C the most chains of an example.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.chains import copy_numbers
from alphafold_jax.data.training.complexes import ComplexEntry, Motion
from alphafold_jax.data.training.packing import ChainRecord
from alphafold_jax.data.training.placement import check_query
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

_CA = residues.ATOM_INDEX['CA']


@dataclasses.dataclass(frozen=True, eq=False)
class AssembledChains:
  """Chains of a complex, moved to their places."""

  records: tuple[ChainRecord, ...]
  entities: tuple[int, ...]  # of each chain, from 1; equal chains have the same

  __repr__ = one_line

  @property
  def lengths(self) -> tuple[int, ...]:
    return tuple(len(record.sequence) for record in self.records)

  @functools.cached_property
  def sequence(self) -> str:
    return ''.join(record.sequence for record in self.records)

  @property
  def sym(self) -> tuple[int, ...]:
    """Which copy of its entity each chain is, from 1."""
    return copy_numbers(self.entities)

  def of_residues(self, of_chains: Sequence[int]) -> np.ndarray:  # [T] int32
    """A number of each chain, for each residue."""
    return np.repeat(np.array(of_chains, np.int32), self.lengths)

  @functools.cached_property
  def asym_id(self) -> np.ndarray:  # [T] int32, from 1
    return self.of_residues(range(1, len(self.records) + 1))

  @functools.cached_property
  def places(self) -> np.ndarray:  # [T]
    """Each residue's place in its chain, from 0."""
    return np.concatenate([np.arange(length) for length in self.lengths])

  @property
  def residue_index(self) -> np.ndarray:  # [T] int32
    return np.concatenate([record.residue_index for record in self.records])

  @functools.cached_property
  def ca(self) -> np.ndarray:  # [T, 3] Å
    return np.concatenate([record.atom_positions[:, _CA] for record in self.records])

  @functools.cached_property
  def known(self) -> np.ndarray:  # [T]
    """Which residues have a CA atom."""
    return np.concatenate([record.atom_mask[:, _CA] for record in self.records])

  def keep(self, chains: Sequence[int]) -> 'AssembledChains':
    """Some of the chains, counted from 1, as an assembly of their own."""
    records = tuple(self.records[chain - 1] for chain in chains)
    return AssembledChains(records, renumbered([self.entities[chain - 1] for chain in chains]))

  def structure(self, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atoms [N, 37, 3] in Å and their mask [N, 37] of some residues [N]."""
    positions = np.concatenate([record.atom_positions for record in self.records])
    mask = np.concatenate([record.atom_mask for record in self.records])
    return positions[shown], mask[shown]

  def copies(self, shown: np.ndarray, num_copies: int) -> tuple[np.ndarray, np.ndarray]:
    """The structures of some residues [N] in every copy of their chain, by `sym` from 1.

    Returns:
      positions [num_copies, N, 37, 3] in Å and mask [num_copies, N, 37]; of copies that there are not it is 0.
    """
    positions = np.zeros((num_copies, len(shown), 37, 3), np.float32)
    mask = np.zeros((num_copies, len(shown), 37), np.float32)
    for own, (record, entity) in enumerate(zip(self.records, self.entities, strict=True), start=1):
      at = np.flatnonzero(self.asym_id[shown] == own)
      for other, copy, its_entity in zip(self.records, self.sym, self.entities, strict=True):
        if len(at) and its_entity == entity:
          there = corresponding(record.sequence, other.sequence)[self.places[shown[at]]]
          found = there >= 0
          positions[copy - 1, at[found]] = other.atom_positions[there[found]]
          mask[copy - 1, at[found]] = other.atom_mask[there[found]]
    return positions, mask


def assemble(entry: ComplexEntry, read: Callable[[str], ChainRecord]) -> AssembledChains:
  """The chains of a complex.

  Args:
    entry: the complex.
    read: gives the record of a chain by its id.

  Raises:
    InputError: a record cannot be read.
  """
  records = {name: read(name) for name in dict.fromkeys(entry.chains)}
  pairs = zip(entry.chains, entry.motions, strict=True)
  return AssembledChains(tuple(moved(records[name], motion) for name, motion in pairs), renumbered(entry.entities))


def moved(record: ChainRecord, motion: Motion) -> ChainRecord:
  """A chain in another place."""
  if not motion:
    return record
  matrix = np.array(motion).reshape(3, 4)
  positions = (record.atom_positions @ matrix[:, :3].T + matrix[:, 3]) * record.atom_mask[..., None]
  return dataclasses.replace(record, atom_positions=positions.astype(np.float32))


def renumbered(entities: Sequence[int]) -> tuple[int, ...]:
  """The same numbers for equal entities, from 1 by first appearance."""
  order = {entity: number for number, entity in enumerate(dict.fromkeys(entities), start=1)}
  return tuple(order[entity] for entity in entities)


@functools.lru_cache(maxsize=256)
def corresponding(sequence: str, other: str) -> np.ndarray:
  """For each residue of a chain the place of the same residue in a copy of it, -1 where that has none: [num_res].

  They differ where a file does not tell the full sequence, so that each copy has what was observed of it.
  """
  found = np.full(len(sequence), -1)
  longer, shorter = sorted((sequence, other), key=len, reverse=True)
  try:
    pairs = check_query(longer, shorter, 'the longer chain')
  except InputError:  # another protein, or copies of a third chain but not of one another
    return found
  if pairs is None:
    return np.arange(len(sequence))
  ends = [list(pairs.keys()), list(pairs.values())]
  own, there = ends if sequence == longer else ends[::-1]
  found[own] = there
  return found
