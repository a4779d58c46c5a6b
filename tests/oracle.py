# SPDX-License-Identifier: Apache-2.0
"""The official network as an oracle: alphafold-colabfold's modules and feature pipeline, run live.

With fused projections and bfloat16 off it has the published names and shapes and agrees with DeepMind's own program.
Parameters go in under their published names; what both programs are fed is made here too.
"""

import dataclasses
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

from alphafold_jax import config as configs
from alphafold_jax import schema
from alphafold_jax.constants import residues
from alphafold_jax.data import features
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
_UNFUSED = {
  f'{_EVOFORMER}.{stack}.triangle_multiplication_{direction}.fuse_projection_weights': False
  for stack in ('evoformer', 'template.template_pair_stack')
  for direction in ('outgoing', 'incoming')
}
_PLAIN = {  # float32, no dropout; its own chunking changes nothing and takes long to compile
  'model.global_config.bfloat16': False,
  'model.global_config.deterministic': True,
  'model.global_config.subbatch_size': None,
  f'{_EVOFORMER}.evoformer.outer_product_mean.chunk_size': None,
  f'{_EVOFORMER}.template.subbatch_size': None,
}


def configuration(name: str, num_block: int | None = None) -> config_dict.ConfigDict:
  """The oracle's configuration of a model in float32 with the published parameter layout."""
  config = official_config.model_config(name)
  config.update_from_flattened_dict(_UNFUSED | _PLAIN)
  if num_block is not None:
    sizes = {'evoformer_num_block': num_block, 'extra_msa_stack_num_block': min(num_block, 4)}
    config.update_from_flattened_dict({f'{_EVOFORMER}.{key}': value for key, value in sizes.items()})
  return config


def our_configuration(name: str, num_block: int | None = None, **changes: Any) -> config_dict.ConfigDict:
  """Ours of the same depth; `changes` have '__' for '.'."""
  changes = {key.replace('__', '.'): value for key, value in changes.items()}
  if num_block is not None:
    changes = {'evoformer.num_block': num_block, 'extra_msa.num_block': min(num_block, 4)} | changes
  return configs.changed(configs.model_config(name), changes)


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


def random_batch(num_res: int = 17, depth: int = 12, num_templates: int = 4, seed: int = 0) -> schema.Batch:
  """A batch of random tokens, deletions and template coordinates.

  All rows are pinned, so that sampling takes them in order. Of the templates, the first lacks three residues, all lack
  some atoms, and the last of more than two is empty. At least 7 residues.
  """
  rng = np.random.default_rng(seed)
  sequence = ''.join(rng.choice(list(residues.RESTYPES), num_res))
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
  return dataclasses.replace(batch, msa=msa, templates=_random_templates(rng, batch.aatype, num_templates))


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
