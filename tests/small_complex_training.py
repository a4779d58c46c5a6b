# SPDX-License-Identifier: Apache-2.0
"""A training step on complexes, and the program that runs it on simulated devices.

python tests/small_complex_training.py RESULT.npz LAYOUT...   # layouts: 1x1, 2x2
"""

import sys

import jax
import numpy as np
import small_complexes
import small_training

from alphafold_jax import schema
from alphafold_jax.data import padding
from alphafold_jax.data.training import feeding
from alphafold_jax.losses import total
from alphafold_jax.train.step import StepSpec

LENGTH, NUM_COPIES, BATCH = 7, 2, 2
LOSSES = total.make_spec(
  {'chain_fape': 0.5, 'interface_fape': 0.5, 'chain_centres': 1.0},  # those that know chains and compile fast
  {'floored_errors': True},
)


def make_spec(**changes) -> StepSpec:
  return small_training.make_spec(**{'loss': LOSSES, 'batch_size': BATCH, 'max_passes': 1} | changes)


def make_example(seed: int, entities: tuple[int, int]) -> schema.Batch:
  """Two chains, padded; of one entity they are copies."""
  first, second = (
    padding.crop(small_training.make_example(seed + entity, LENGTH), {'num_res': LENGTH}) for entity in entities
  )
  parts = [first, small_complexes.moved(second, seed, (9, 2, 0))]
  batch = small_complexes.joined(parts, entities, NUM_COPIES)
  return padding.pad_batch(batch, {'num_res': small_training.NUM_RES})


def make_batch() -> schema.Batch:
  """A homodimer and a heterodimer."""
  return feeding.stack([make_example(0, (1, 1)), make_example(5, (1, 2))])


def main(result: str, layouts: list[str]) -> None:
  arrays = {}
  for layout in layouts:
    states, metrics = small_training.run(layout, make_spec(), num_steps=1, batch=make_batch())
    for name, leaf in (('state', states), ('metrics', metrics)):
      for path, value in jax.tree_util.tree_leaves_with_path(leaf):
        arrays[f'{layout}:{name}{jax.tree_util.keystr(path)}'] = np.asarray(value)
  np.savez(result, **arrays)


if __name__ == '__main__':
  main(sys.argv[1], sys.argv[2:])
