# SPDX-License-Identifier: Apache-2.0
"""The official network as an oracle: alphafold-colabfold's modules and feature pipeline, run live.

With fused projections and bfloat16 off it has the published names and shapes and agrees with DeepMind's own program.
Parameters go in under their published names; what both programs are fed is made here too.
"""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from alphafold.data import parsers, pipeline
from alphafold.model import config as official_config
from alphafold.model import features as official_pipeline
from alphafold.model import modules
from alphafold.model.tf import data_transforms
from ml_collections import config_dict
from random_inputs import our_configuration as our_configuration  # the tests find them here
from random_inputs import random_batch as random_batch

from alphafold_jax import schema
from alphafold_jax.weights.official import PREFIX

Arrays = Mapping[str, np.ndarray]
FAST = {'xla_backend_optimization_level': 0}  # compiles in half the time, what most of a test's time goes to
AS_USERS = (  # as they compile it: the whole run of tests does without these, if it can (conftest.py)
  {
    'xla_cpu_use_fusion_emitters': True,
    'xla_backend_optimization_level': 3,
    'xla_llvm_disable_expensive_passes': False,
  }
  if 'fusion_emitters' in os.environ.get('XLA_FLAGS', '')
  else None
)

_EVOFORMER = 'model.embeddings_and_evoformer'
FUSED = tuple(  # settings: whether the projections of triangles lie side by side
  f'{_EVOFORMER}.{stack}.triangle_multiplication_{direction}.fuse_projection_weights'
  for stack in ('evoformer', 'template.template_pair_stack')
  for direction in ('outgoing', 'incoming')
)
PLAIN = {  # float32, no dropout; its own chunking changes nothing and takes long to compile
  'model.global_config.bfloat16': False,
  'model.global_config.deterministic': True,
  'model.global_config.subbatch_size': None,
  f'{_EVOFORMER}.evoformer.outer_product_mean.chunk_size': None,
  f'{_EVOFORMER}.template.subbatch_size': None,
}


def configuration(name: str, num_block: int | None = None) -> config_dict.ConfigDict:
  """The oracle's configuration of a model in float32 with the published parameter layout."""
  config = official_config.model_config(name)
  config.update_from_flattened_dict(dict.fromkeys(FUSED, False) | PLAIN)
  if num_block is not None:
    sizes = {'evoformer_num_block': num_block, 'extra_msa_stack_num_block': min(num_block, 4)}
    config.update_from_flattened_dict({f'{_EVOFORMER}.{key}': value for key, value in sizes.items()})
  return config


def haiku_params(arrays: Arrays, scope: str, layer: int | None = None) -> dict[str, dict[str, jax.Array]]:
  """The arrays below a scope as Haiku wants them; `layer` takes one out of a stack."""
  params: dict[str, dict[str, jax.Array]] = {}
  for name, array in arrays.items():
    if name.startswith(scope):
      module, leaf = name.removeprefix(scope).split('//')
      params.setdefault(module, {})[leaf] = jnp.asarray(array if layer is None else array[layer])
  return params


def pass_params(arrays: Arrays) -> dict[str, dict[str, jax.Array]]:
  """All arrays as `run_pass` wants them."""
  return haiku_params(arrays, PREFIX.removesuffix('alphafold_iteration/'))


def run_pass(config: config_dict.ConfigDict, params: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
  """One pass of the whole network on features with recycled values; equal configurations compile once."""
  return _compiled_pass(config_dict.FrozenConfigDict(config.model))(params, jax.random.PRNGKey(0), fields)


@functools.cache
def _compiled_pass(model: config_dict.FrozenConfigDict) -> Callable[..., dict[str, Any]]:

  def one_pass(batch):
    return modules.AlphaFoldIteration_noE(model, model.global_config)(batch, is_training=False)

  return jax.jit(hk.transform(one_pass).apply, compiler_options=FAST)


def recycled(previous: schema.Recycled) -> dict[str, Any]:
  """The last pass's values under the oracle's names."""
  return {
    'prev_msa_first_row': previous.msa_first_row,
    'prev_pair': previous.pair,
    'prev_pos': previous.atom_positions,
  }


def next_recycled(result: Mapping[str, Any]) -> schema.Recycled:
  """What the oracle recycles, as ours."""
  return schema.Recycled(
    msa_first_row=result['representations']['msa_first_row'],
    pair=result['representations']['pair'],
    atom_positions=result['structure_module']['final_atom_positions'],
  )


def make_features(batch: schema.Batch, num_msa: int, num_extra: int) -> dict[str, np.ndarray]:
  """The oracle's features of our batch, its rows taken in order: clustering and all else is the oracle's own work."""
  msa, templates = batch.msa, batch.templates
  num_res = len(batch.aatype)
  protein = {
    'aatype': batch.aatype,
    'between_segment_residues': np.zeros(num_res, np.int32),
    'residue_index': batch.residue_index,
    'seq_mask': batch.seq_mask,
    'msa': msa.tokens[:num_msa],
    'msa_mask': msa.mask[:num_msa],
    'deletion_matrix': msa.deletions[:num_msa],
    'extra_msa': msa.tokens[num_msa:],
    'extra_msa_mask': msa.mask[num_msa:],
    'extra_deletion_matrix': msa.deletions[num_msa:],
    'template_aatype': templates.aatype,
    'template_all_atom_positions': templates.atom_positions,
    'template_all_atom_masks': templates.atom_mask,
    'template_mask': templates.mask,
  }
  steps = (
    data_transforms.make_atom14_masks,
    data_transforms.make_pseudo_beta('template_'),
    data_transforms.nearest_neighbor_clusters(),
    data_transforms.summarize_clusters(),
    data_transforms.make_msa_feat(),
  )
  for step in steps:
    protein = step(protein)
  missing = max(0, num_extra - len(protein['extra_msa']))
  for name in ('extra_msa', 'extra_msa_mask', 'extra_has_deletion', 'extra_deletion_value'):
    protein[name] = np.pad(protein[name][:num_extra], ((0, missing), (0, 0)))  # as it pads to fixed sizes
  return {name: np.asarray(value) for name, value in protein.items()}


def features_of_a3m(text: str, config: config_dict.ConfigDict, num_extra: int) -> dict[str, np.ndarray]:
  """The oracle's own features of an alignment, first slice: nothing masked, every row a cluster of its own."""
  msa = parsers.parse_a3m(text)
  query = msa.sequences[0]
  raw = pipeline.make_sequence_features(query, 'query', len(query)) | pipeline.make_msa_features([msa])
  config = config.copy_and_resolve_references()
  config.update_from_flattened_dict(
    {
      'data.common.num_recycle': 0,
      'data.common.max_extra_msa': num_extra,
      'data.eval.masked_msa_replace_fraction': 0.0,
      'data.eval.max_msa_clusters': len(msa.sequences),
    }
  )
  return {name: value[0] for name, value in official_pipeline.np_example_to_features(raw, config, 0).items()}
