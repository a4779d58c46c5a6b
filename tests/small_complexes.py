# SPDX-License-Identifier: Apache-2.0
"""Small complexes put together from pieces of real chains: what losses of several chains are tried on."""

from collections.abc import Sequence

import numpy as np
import small_targets
from scipy.spatial import transform

from alphafold_jax import fields, schema
from alphafold_jax.constants import residues

CA = residues.ATOM_INDEX['CA']


def moved(batch: schema.Batch, seed: int, shift: Sequence[float] = (0, 0, 0)) -> schema.Batch:
  """The same residues turned at random about their centre, which is put at `shift`."""
  positions, mask = batch.targets.atom_positions, batch.targets.atom_mask[..., None]
  centre = (positions * mask).sum(axis=(0, 1)) / mask.sum()
  turn = transform.Rotation.random(random_state=seed).as_matrix()
  return small_targets.with_targets(batch, atom_positions=((positions - centre) @ turn.T + shift) * mask)


def joined(parts: Sequence[schema.Batch], entities: Sequence[int], num_copies: int | None = None) -> schema.Batch:
  """Chains as one complex, with the structures of all copies of each if their number is given."""
  leaves = [{name: value for name, _, value in fields.leaves(part)} for part in parts]
  arrays = {}
  for name, field, value in fields.leaves(parts[0]):
    axes = field.metadata['axes']
    if 'num_res' in axes:
      value = np.concatenate([of_part[name] for of_part in leaves], axis=axes.index('num_res'))
    arrays[name] = value
  lengths = [len(part.aatype) for part in parts]
  sym = [list(entities[: i + 1]).count(entity) for i, entity in enumerate(entities)]
  for name, numbers in (('asym_id', range(1, len(parts) + 1)), ('entity_id', entities), ('sym_id', sym)):
    arrays[name] = np.repeat(np.array(numbers, np.int32), lengths)
  if num_copies is not None:
    for name in ('positions', 'mask'):
      arrays[f'targets.copy_{name}'] = _copies(leaves, entities, sym, num_copies, f'targets.atom_{name}')
  return fields.from_leaves(schema.Batch, arrays, 'parts')


def _copies(leaves, entities, sym, num_copies, name):
  """An array of each copy of the chains, by their number."""
  by_chain = []
  for part, entity in zip(leaves, entities):
    copies = np.zeros((num_copies, *part[name].shape), np.float32)
    for other, its_entity, copy in zip(leaves, entities, sym):
      if its_entity == entity:
        copies[copy - 1] = other[name]
    by_chain.append(copies)
  return np.concatenate(by_chain, axis=1)


def pieces() -> tuple[schema.Batch, schema.Batch]:
  """24 residues of 1MUL and 20 of 1U5Y, some unresolved, whose numbers overlap."""
  return small_targets.real_batch('1mul_A', 40, 64), small_targets.real_batch('1u5y_D', 44, 64)


def dimer(distance: float = 12.0) -> schema.Batch:
  """Both, side by side."""
  first, second = pieces()
  return joined([moved(first, 0), moved(second, 1, (distance, 0, 0))], [1, 2])


def shown(batch: schema.Batch, kept: np.ndarray) -> schema.Batch:
  """Some residues of a batch [N], as a crop shows them."""

  def cut(field, value):
    axes = field.metadata['axes']
    return np.take(value, kept, axis=axes.index('num_res')) if 'num_res' in axes else value

  return fields.map_leaves(cut, batch)
