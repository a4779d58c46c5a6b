# SPDX-License-Identifier: Apache-2.0
"""The official network as an oracle: alphafold-colabfold's modules, run live on our batches and parameters.

With its fused projections and bfloat16 off it has the published names and shapes and agrees with DeepMind's program.
"""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from alphafold.model import config as official_config
from alphafold.model import modules

from alphafold_jax import config as our_config
from alphafold_jax.data import features
from alphafold_jax.geometry import atoms
from alphafold_jax.model import embedders


def settings(name: str, **changes):
  """The oracle's ConfigDict of a model, in float32 with the published parameter layout."""
  config = official_config.model_config(name)
  with config.unlocked():
    for path in ('model.embeddings_and_evoformer.evoformer', 'model.embeddings_and_evoformer.template.template_pair_stack'):
      section = config
      for key in path.split('.'):
        section = section[key]
      for direction in ('outgoing', 'incoming'):
        section[f'triangle_multiplication_{direction}'].fuse_projection_weights = False
    gc = config.model.global_config
    gc.bfloat16 = False
    gc.deterministic = True
    config.model.rank_by = 'plddt'
    config.model.calc_extended_ptm = True
    for key, value in changes.items():
      *path, last = key.split('.')
      section = config.model
      for part in path:
        section = section[part]
      section[last] = value
  return config


def pair_of_configs(name: str, num_block: int | None = None, **ours):
  """Our configuration of a model and the oracle's, both cut to `num_block` Evoformer blocks if given."""
  theirs = {}
  if num_block is not None:
    ours = {'evoformer.num_block': num_block, 'extra_msa.num_block': min(num_block, 4)} | ours
    theirs = {
        'embeddings_and_evoformer.evoformer_num_block': num_block,
        'embeddings_and_evoformer.extra_msa_stack_num_block': min(num_block, 4),
    }
  return our_config.changed(our_config.model_config(name), ours), settings(name, **theirs)


@functools.cache
def network(name: str, num_block: int | None):
  """The oracle's jitted pass: (official arrays, features with prev) -> outputs."""
  _, config = pair_of_configs(name, num_block)

  class OnePass(hk.Module):
    """One iteration, under the scope that the published names have."""

    def __call__(self, batch):
      return modules.AlphaFoldIteration_noE(config.model, config.model.global_config)(batch, is_training=False)

  apply = jax.jit(hk.transform(lambda batch: OnePass(name='alphafold')(batch)).apply)
  return lambda arrays, batch: apply(as_haiku(arrays), jax.random.PRNGKey(0), batch)


def as_haiku(arrays):
  """Published flat names to Haiku's two levels."""
  params = {}
  for name, array in arrays.items():
    module, leaf = name.split('//')
    params.setdefault(module, {})[leaf] = jnp.asarray(array)
  return params


def official_features(batch, sample):
  """What the oracle's network reads, made from our batch and the rows we drew."""
  has, value = embedders.deletion_features(sample.extra_deletions)
  templates = batch.templates
  beta, beta_mask = atoms.pseudo_beta(templates.aatype, templates.atom_positions, templates.atom_mask)
  from alphafold.common import residue_constants as rc
  aatype = np.asarray(batch.aatype)
  fields = {
      'aatype': aatype,
      'residue_index': batch.residue_index,
      'seq_mask': batch.seq_mask,
      'target_feat': embedders.target_features(batch),
      'msa_feat': embedders.msa_features(batch, sample),
      'msa_mask': sample.mask,
      'msa_row_mask': jnp.max(sample.mask, axis=-1),
      'extra_msa': sample.extra_tokens,
      'extra_msa_mask': sample.extra_mask,
      'extra_has_deletion': has,
      'extra_deletion_value': value,
      'atom14_atom_exists': rc.restype_atom14_mask[aatype],
      'atom37_atom_exists': _atom37_exists()[aatype],
      'residx_atom37_to_atom14': _atom37_to_atom14()[aatype],
      'template_aatype': templates.aatype,
      'template_all_atom_positions': templates.atom_positions,
      'template_all_atom_masks': templates.atom_mask,
      'template_mask': templates.mask,
      'template_pseudo_beta': beta,
      'template_pseudo_beta_mask': beta_mask,
  }
  return {key: jnp.asarray(value) for key, value in fields.items()}


def _atom37_exists():
  from alphafold.common import residue_constants as rc
  return np.concatenate([rc.restype_atom37_mask[:20], np.zeros((1, 37))]).astype(np.float32)


def _atom37_to_atom14():
  from alphafold.common import residue_constants as rc
  table = np.zeros((21, 37), np.int32)
  for restype, letter in enumerate(rc.restypes):
    names = rc.restype_name_to_atom14_names[rc.restype_1to3[letter]]
    for i, atom in enumerate(rc.atom_types):
      if atom in names:
        table[restype, i] = names.index(atom)
  return table


def random_batch(num_res: int = 19, depth: int = 12, num_templates: int = 0, seed: int = 0, missing: bool = True):
  """A batch of random tokens, deletions, gaps and template coordinates; its rows keep their order when sampled."""
  rng = np.random.default_rng(seed)
  batch = features.make_batch(''.join(rng.choice(list('ARNDCQEGHILKMFPSTWYV'), num_res)), num_templates=num_templates)
  tokens = rng.integers(0, 22, (depth, num_res)).astype(np.int32)
  tokens[0] = batch.aatype
  deletions = (rng.integers(0, 8, tokens.shape) * (rng.random(tokens.shape) < 0.2)).astype(np.float32)
  mask = np.ones(tokens.shape, np.float32)
  msa = type(batch.msa)(
      tokens=tokens, deletions=deletions, mask=mask, pinned=np.ones(depth, np.float32),
      profile=np.eye(22, dtype=np.float32)[tokens].mean(axis=0))
  atom_mask = (rng.random((num_templates, num_res, 37)) < (0.9 if missing else 1.1)).astype(np.float32)
  aatype = np.broadcast_to(batch.aatype, (num_templates, num_res)).copy()
  if num_templates:
    aatype[0, 3:6] = 21
    atom_mask[0, 3:6] = 0
  atom_mask *= np.concatenate([_atom37_exists(), np.zeros((1, 37), np.float32)])[aatype]
  positions = np.cumsum(rng.normal(size=(num_templates, num_res, 1, 3)) * 2.5, axis=1)
  positions = (positions + rng.normal(size=(num_templates, num_res, 37, 3))) * atom_mask[..., None]
  template_mask = np.ones(num_templates, np.float32)
  if num_templates > 2:
    template_mask[-1] = 0
  templates = type(batch.templates)(
      aatype=aatype, atom_positions=positions.astype(np.float32), atom_mask=atom_mask, mask=template_mask)
  import dataclasses
  return dataclasses.replace(batch, msa=msa, templates=templates)


def fixed_sampling(num_msa: int = 5, num_extra: int = 6):
  """Settings under which sampling is the same for every key (rows of random_batch are pinned)."""
  return {'sampling.num_msa': num_msa, 'sampling.num_extra': num_extra, 'sampling.masked_fraction': 0.0}
