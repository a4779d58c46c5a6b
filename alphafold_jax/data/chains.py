# SPDX-License-Identifier: Apache-2.0
"""The chains of an assembly, in the order in which they were given, and what tells them apart in the network's input.

asym    one number per chain
entity  one number per distinct sequence
sym     which copy of its entity a chain is

All count from 1. A monomer is an assembly of one chain.

Departs from AlphaFold: its program puts the copies of an entity side by side (A, B, A becomes A, A, B) and predicts in
that order. The network does not see the order of chains (the relative encoding compares their numbers), so that here
the given order stays, inside as in all results.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from alphafold_jax.arguments import is_whole, wrong
from alphafold_jax.errors import InputError
from alphafold_jax.naming import chain_name
from alphafold_jax.one_line import one_line
from alphafold_jax.screen import number

MOST_CHAINS = 1000  # of one assembly


@dataclasses.dataclass(frozen=True)
class Chains:
  """The sequences and names of an assembly's chains.

  Raises:
    InputError: there is no chain, one is empty, or two have one name.
  """

  sequences: tuple[str, ...]  # one per chain, upper case
  names: tuple[str, ...] = ()  # one per chain; none: A, B, ... Z, AA, BA, ...

  __repr__ = one_line

  def __post_init__(self) -> None:
    object.__setattr__(self, 'sequences', tuple(self.sequences))
    object.__setattr__(self, 'names', tuple(self.names) or default_names(len(self.sequences)))
    if not self.sequences:
      raise InputError('an assembly without chains; give at least one sequence')
    if len(self.sequences) > MOST_CHAINS:
      raise InputError(f'{len(self.sequences):,} chains; at most {MOST_CHAINS:,} are predicted together')
    for name in self.names:
      if not isinstance(name, str) or not name or name.split() != [name]:
        raise InputError(f'chain name {name!r:.40}: must be text without white space, such as A')
    if len(self.names) != len(self.sequences):
      raise InputError(f'{number(len(self.names), "chain name")} for {len(self.sequences)} chains; give each chain one')
    for index, (name, sequence) in enumerate(zip(self.names, self.sequences, strict=True)):
      if not sequence:
        place = f'chain {index + 1} of {len(self.sequences)} ({name})'
        raise InputError(f'{place} is empty; give its sequence, or leave it out')
    if twice := [name for name, count in Counter(self.names).items() if count > 1]:
      raise InputError(f'two chains have the name {twice[0]!r}; give each chain a name of its own')

  @classmethod
  def cut(cls, sequence: str, lengths: Sequence[int] = (), names: Iterable[str] = ()) -> 'Chains':
    """The chains of a joined sequence.

    Args:
      sequence: of all chains, one behind the other.
      lengths: residues of each chain; none: all is one chain.
      names: of each chain.

    Raises:
      InputError: the lengths do not add up to the sequence.
    """
    lengths = tuple(lengths) or (len(sequence),)
    if not all(is_whole(length, 0) for length in lengths):
      raise wrong('lengths', lengths, 'must be the residues of each chain, whole numbers')
    if sum(lengths) != len(sequence):
      raise InputError(f'chains of {_sum(lengths)} residues; the sequence has {len(sequence)}')
    return cls(tuple(sequence[span] for span in spans(lengths)), tuple(names))

  def __len__(self) -> int:
    return len(self.sequences)

  @property
  def sequence(self) -> str:
    """All chains joined."""
    return ''.join(self.sequences)

  @property
  def text(self) -> str:
    """All chains with a colon between them, as a sequence is given."""
    return ':'.join(self.sequences)

  @property
  def lengths(self) -> tuple[int, ...]:
    """Residues of each chain."""
    return tuple(map(len, self.sequences))

  @property
  def num_res(self) -> int:
    """Residues of all chains."""
    return sum(self.lengths)

  @property
  def spans(self) -> tuple[slice, ...]:
    """Where each chain stands among all residues."""
    return spans(self.lengths)

  @functools.cached_property
  def distinct(self) -> tuple[str, ...]:
    """The sequence of each entity, by first appearance."""
    return tuple(dict.fromkeys(self.sequences))

  @functools.cached_property
  def entities(self) -> tuple[int, ...]:
    """The entity of each chain, from 1 by first appearance."""
    first = {sequence: index for index, sequence in enumerate(self.distinct, start=1)}
    return tuple(first[sequence] for sequence in self.sequences)

  @functools.cached_property
  def sym(self) -> tuple[int, ...]:
    """Which copy of its entity each chain is, from 1 in the given order."""
    return copy_numbers(self.entities)

  @property
  def copies(self) -> tuple[int, ...]:
    """How many chains there are of each entity."""
    counts = Counter(self.entities)
    return tuple(counts[entity] for entity in range(1, len(self.distinct) + 1))

  @property
  def asym_id(self) -> np.ndarray:  # [num_res] int32
    """The chain of each residue, from 1."""
    return self._of_residues(range(1, len(self) + 1))

  @property
  def entity_id(self) -> np.ndarray:  # [num_res] int32
    """The entity of each residue, from 1."""
    return self._of_residues(self.entities)

  @property
  def sym_id(self) -> np.ndarray:  # [num_res] int32
    """The copy of its entity that each residue is in, from 1."""
    return self._of_residues(self.sym)

  @property
  def residue_index(self) -> np.ndarray:  # [num_res] int32
    """Each residue's place in its chain, from 0."""
    return np.concatenate([np.arange(length, dtype=np.int32) for length in self.lengths])

  def _of_residues(self, of_chains: Iterable[int]) -> np.ndarray:  # [num_res] int32
    return np.repeat(np.array(tuple(of_chains), np.int32), self.lengths)


def copy_numbers(entities: Iterable[int]) -> tuple[int, ...]:
  """Which copy of its entity each chain is, from 1 in the given order."""
  seen: Counter[int] = Counter()
  found = []
  for entity in entities:
    seen[entity] += 1
    found.append(seen[entity])
  return tuple(found)


def spans(lengths: Sequence[int]) -> tuple[slice, ...]:
  """Where pieces of these lengths stand, one behind the other."""
  ends = np.cumsum(lengths).tolist()
  return tuple(slice(end - length, end) for end, length in zip(ends, lengths, strict=True))


def default_names(count: int) -> tuple[str, ...]:
  """The names of chains that were given none: A to Z, then AA, BA, ..."""
  return tuple(chain_name(index) for index in range(count))


def _sum(lengths: Sequence[int]) -> str:
  return ' + '.join(map(str, lengths[:8])) + (' + ...' if len(lengths) > 8 else '')
