# SPDX-License-Identifier: Apache-2.0
"""What both programs are fed in comparisons with the official network: random batches, and configurations of a depth.

Needs none of the official program's modules, so our side can be measured where they are missing.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax import schema
from alphafold_jax.constants import residues
from alphafold_jax.data import features


def our_configuration(name: str, num_block: int | None = None, **changes: Any) -> config_dict.ConfigDict:
  """Ours of the same depth; `changes` have '__' for '.'."""
  changes = {key.replace('__', '.'): value for key, value in changes.items()}
  if num_block is not None:
    changes = {'evoformer.num_block': num_block, 'extra_msa.num_block': min(num_block, 4)} | changes
  return configs.changed(configs.model_config(name), changes)


def random_batch(
  num_res: int = 17, depth: int = 12, num_templates: int = 4, seed: int = 0, chains: Sequence[tuple[str, int]] = ()
) -> schema.Batch:
  """A batch of random tokens, deletions and template coordinates.

  All rows are pinned, so that sampling takes them in order. Of the templates, the first lacks three residues, all lack
  some atoms, and the last of more than two is empty. At least 7 residues.

  Args:
    chains: of a complex in place of `num_res`: the name of the entity and the length of each.
  """
  rng = np.random.default_rng(seed)
  if chains:
    entities = {name: ''.join(rng.choice(list(residues.RESTYPES), length)) for name, length in chains}
    sequence = ''.join(entities[name] for name, _ in chains)
  else:
    sequence = ''.join(rng.choice(list(residues.RESTYPES), num_res))
  num_res = len(sequence)
  batch = features.make_batch(sequence, num_templates=num_templates)
  tokens = rng.integers(0, 22, (depth, num_res)).astype(np.int32)
  tokens[0] = batch.aatype
  deletions = rng.integers(0, 8, tokens.shape) * (rng.random(tokens.shape) < 0.2)
  msa = schema.Msa(
    tokens=tokens,
    deletions=deletions.astype(np.float32),
    mask=np.ones(tokens.shape, np.float32),
    pinned=np.ones(depth, np.float32),
    profile=features.profile(tokens),
  )
  batch = dataclasses.replace(batch, msa=msa, templates=_random_templates(rng, batch.aatype, num_templates))
  return dataclasses.replace(batch, **chain_numbers(chains)) if chains else batch


def chain_numbers(chains: Sequence[tuple[str, int]]) -> dict[str, np.ndarray]:
  """The arrays of a batch that tell chains apart, of the entity and the length of each."""
  names = [name for name, _ in chains]
  numbers = {
    'asym_id': range(1, len(chains) + 1),
    'entity_id': [list(dict.fromkeys(names)).index(name) + 1 for name in names],
    'sym_id': [names[: i + 1].count(name) for i, name in enumerate(names)],
  }
  lengths = [length for _, length in chains]
  found = {field: np.repeat(np.array(values, np.int32), lengths) for field, values in numbers.items()}
  return found | {'residue_index': np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])}


def _random_templates(rng: np.random.Generator, aatype: np.ndarray, num_templates: int) -> schema.Templates:
  """A random cloud of residues, each a random cloud of atoms.

  Both programs show the network the angles of missing atoms (which are at zero) as they come, and some of these are
  rounding noise: where the first two of four atoms coincide, or the last lies on the axis. So a residue lacks one side
  chain atom at most; and a residue without predecessor has its N where the noise is exactly zero.
  """
  num_res = len(aatype)
  n, c, cb = (residues.ATOM_INDEX[name] for name in ('N', 'C', 'CB'))
  aatype = np.tile(aatype, (num_templates, 1))
  aatype[:1, 3:6] = residues.GAP
  aatype[2:][-1:] = residues.GAP
  exists = np.concatenate([residues.ATOM37_MASK, np.zeros((1, 37))])[aatype]  # the gap has no atoms
  kept = np.arange(37) != rng.integers(cb, 37, (num_templates, num_res, 1))  # mostly an atom that it does not have
  kept[:, 8:9, n] = kept[:, 10:11, c] = False
  atom_mask = (exists * kept).astype(np.float32)
  centres = 8 * rng.normal(size=(num_templates, num_res, 1, 3))
  positions = centres + 2 * rng.normal(size=(num_templates, num_res, 37, 3))
  positions[:, [0, 6], n] = (2, 0, 0)
  positions *= atom_mask[..., None]
  mask = np.ones(num_templates, np.float32)
  mask[2:][-1:] = 0
  return schema.Templates(aatype=aatype, atom_positions=positions.astype(np.float32), atom_mask=atom_mask, mask=mask)
