# SPDX-License-Identifier: Apache-2.0
"""The official network of complexes as an oracle: alphafold-colabfold's own modules, run live.

It samples and clusters alignment rows itself; here it takes them in the order in which they stand, none masked.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import oracle
from alphafold.model import config as official_config
from alphafold.model import modules_multimer
from alphafold.model.geometry import vector
from ml_collections import config_dict

from alphafold_jax import schema

_EVOFORMER = 'model.embeddings_and_evoformer'
_NEAREST = 1e-3  # Å


def configuration(
  name: str, num_block: int | None = None, num_msa: int | None = None, num_extra: int | None = None
) -> config_dict.ConfigDict:
  """The oracle's configuration in float32 with the published parameter layout; None: the published number."""
  config = official_config.model_config(name)
  fused = dict.fromkeys(oracle.FUSED, name.endswith('_v3'))  # the oracle itself fuses those of every version
  sizes = {
    'evoformer_num_block': num_block,
    'extra_msa_stack_num_block': num_block and min(num_block, 4),
    'num_msa': num_msa,
    'num_extra_msa': num_extra,
  }
  config.update_from_flattened_dict(oracle.PLAIN | fused | {f'{_EVOFORMER}.masked_msa.replace_fraction': 0.0})
  config.update_from_flattened_dict({f'{_EVOFORMER}.{key}': size for key, size in sizes.items() if size is not None})
  config.model.calc_extended_ptm = True  # which keeps the logits of PAE
  return config


def make_features(batch: schema.Batch) -> dict[str, np.ndarray]:
  """What the oracle reads of our batch; a chain to which a template slot aligns nothing is zeros there."""
  msa, templates = batch.msa, batch.templates
  template_aatype = templates.aatype.copy()
  for slot in template_aatype:
    for chain in np.unique(batch.asym_id):
      here = batch.asym_id == chain
      slot[here] = slot[here] if np.any(slot[here] != 21) else 0
  return {
    **{
      name: getattr(batch, name) for name in ('aatype', 'residue_index', 'seq_mask', 'asym_id', 'entity_id', 'sym_id')
    },
    'msa': msa.tokens,
    'msa_mask': msa.mask,
    'deletion_matrix': msa.deletions,
    'cluster_bias_mask': np.arange(len(msa.tokens), 0, -1).astype(np.float32),  # decides the order of rows
    'template_aatype': template_aatype,
    'template_all_atom_mask': templates.atom_mask,
    'template_all_atom_positions': templates.atom_positions,
    'all_atom_positions': np.zeros((len(batch.aatype), 37, 3), np.float32),  # without which it predicts none
  }


def run_pass(
  config: config_dict.ConfigDict, params: Mapping[str, Any], fields: Mapping[str, Any], previous: schema.Recycled
) -> dict[str, Any]:
  """One pass of the whole network; equal configurations compile once."""
  compiled = _compiled_pass(config_dict.FrozenConfigDict(config.model))
  with mock.patch.object(vector.Vec3Array, 'normalized', _normalized):
    return compiled(params, jax.random.PRNGKey(0), dict(fields) | {'prev': oracle.recycled(previous)})


@functools.cache
def _compiled_pass(model: config_dict.FrozenConfigDict) -> Callable[..., dict[str, Any]]:

  def one_pass(batch):
    return modules_multimer.AlphaFold(model)(dict(batch), is_training=False, return_representations=True)

  return jax.jit(hk.transform(one_pass).apply, compiler_options=oracle.FAST)


def _normalized(self: vector.Vec3Array, epsilon: float = 1e-6) -> vector.Vec3Array:
  """Its `normalized`, but zero of what is shorter than rounding.

  The vector from a residue to itself is rounding noise there, made one of length 1 or not as the compiler has it.
  """
  length = self.norm(epsilon)
  return self / jnp.where(length > _NEAREST, length, jnp.inf)
