# SPDX-License-Identifier: Apache-2.0
"""Templates, input and recycling embedders beside the oracle's."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from alphafold.model import all_atom, common_modules, modules

from alphafold_jax.model import embedders, layers, sampling, templates
from parity.case import Case
from parity.inputs import SPEC, THEIRS, Inputs
from parity.trunk import pair_cases

_GLOBAL = THEIRS.global_config
_TRUNK = THEIRS.embeddings_and_evoformer


def _our_template_context(x: Inputs) -> templates.TemplateContext:
  return templates.TemplateEmbedder(SPEC.templates, 256, name='template_embedder')(
    x.batch.templates, x.seq_mask, jnp.float32
  )


def _our_template_embedding(x: Inputs) -> jax.Array:
  context = _our_template_context(x)
  return templates.TemplatePointwiseAttention(SPEC.templates, name='template_attention')(
    x.z, context.pair, context.mask
  )


def _their_template_embedding(x: Inputs) -> jax.Array:
  fields = {name: value for name, value in x.official.items() if name.startswith('template_')}
  mask = x.seq_mask[:, None] * x.seq_mask[None]
  return modules.TemplateEmbedding(_TRUNK.template, _GLOBAL)(x.z, fields, mask, is_training=False)


def _their_pair_stack(x: Inputs) -> jax.Array:
  t = common_modules.Linear(64, name='embedding2d')(x.features)
  t = modules.TemplatePairStack(_TRUNK.template.template_pair_stack, _GLOBAL)(t, x.pair_mask, is_training=False)
  return common_modules.LayerNorm(axis=[-1], create_scale=True, create_offset=True, name='output_layer_norm')(t)


def _their_pointwise_attention(x: Inputs) -> jax.Array:
  num_templates, num_res = x.t.shape[:2]
  attention = modules.Attention(_TRUNK.template.attention, _GLOBAL, 128)
  bias = 1e9 * (x.official['template_mask'] - 1)[None, None, None]
  update = attention(
    x.z.reshape(num_res**2, 1, 128), jnp.moveaxis(x.t, 0, 2).reshape(num_res**2, num_templates, 64), bias
  )
  return update.reshape(num_res, num_res, 128)


def _their_torsion_rows(x: Inputs) -> dict[str, jax.Array]:
  fields = x.official
  angles = all_atom.atom37_to_torsion_angles(
    aatype=fields['template_aatype'],
    all_atom_pos=fields['template_all_atom_positions'],
    all_atom_mask=fields['template_all_atom_masks'],
    placeholder_for_undefined=False,
  )
  shape = (*fields['template_aatype'].shape, 14)
  rows = jnp.concatenate(
    [
      jax.nn.one_hot(fields['template_aatype'], 22),
      angles['torsion_angles_sin_cos'].reshape(shape),
      angles['alt_torsion_angles_sin_cos'].reshape(shape),
      angles['torsion_angles_mask'],
    ],
    axis=-1,
  )
  rows = jax.nn.relu(common_modules.Linear(256, name='template_single_embedding')(rows))
  return {
    'rows': common_modules.Linear(256, name='template_projection')(rows),
    'mask': angles['torsion_angles_mask'][..., 2],
  }


def template_cases() -> Iterator[Case]:
  spec = SPEC.templates
  ours = 'template_embedder/'
  theirs = 'evoformer/template_embedding/'
  yield from pair_cases(
    'template',
    spec.pair,
    _TRUNK.template.template_pair_stack,
    f'{ours}pair_stack/stack/block/',
    f'{theirs}single_template_embedding/template_pair_stack/__layer_stack_no_state/',
    lambda x: x.t[0],
  )
  yield Case(
    'template: pair stack (Alg. 16)',
    lambda x: templates.TemplatePairStack(spec, name='pair_stack')(x.features, x.pair_mask),
    _their_pair_stack,
    (ours,),
    f'{theirs}single_template_embedding/',
  )
  yield Case(
    'template: pointwise attention (Alg. 17)',
    lambda x: templates.TemplatePointwiseAttention(spec, name='template_attention')(x.z, x.t, x.batch.templates.mask),
    _their_pointwise_attention,
    ('',),
    theirs,
  )
  yield Case(
    'template: whole embedding (Alg. 2 lines 9-13)',
    _our_template_embedding,
    _their_template_embedding,
    ('',),
    'evoformer/',
  )

  def our_rows(x):
    context = _our_template_context(x)
    return {'rows': context.rows, 'mask': context.rows_mask}

  yield Case('template: torsion rows (Alg. 2 line 7)', our_rows, _their_torsion_rows, ('',), 'evoformer/')


def _our_sample(x: Inputs):
  return sampling.sample_msa(jax.random.key(0), x.batch.msa, SPEC.sampling)


def _our_embedding(x: Inputs, recycling: bool) -> dict[str, jax.Array]:
  m, z = embedders.InputEmbedder(SPEC.embedder, name='input_embedder')(
    embedders.target_features(x.batch), embedders.msa_features(x.batch, _our_sample(x)), x.batch
  )
  if not recycling:
    return {'msa': m, 'pair': z}
  row, update = embedders.RecyclingEmbedder(SPEC.embedder, name='recycling_embedder')(x.batch.aatype, x.previous)
  return {'msa': m.at[0].add(row), 'pair': z + update}


def _their_trunk(x: Inputs) -> dict[str, jax.Array]:
  """Everything up to the representations; with the blocks' arrays zero, the embeddings themselves."""
  result = modules.EmbeddingsAndEvoformer(_TRUNK, _GLOBAL)(x.official, is_training=False)
  return {name: result[name] for name in ('msa', 'pair')}


def _their_extra_embedding(x: Inputs) -> jax.Array:
  return common_modules.Linear(64, name='extra_msa_activations')(modules.create_extra_msa_feature(x.official))


def embedder_cases() -> Iterator[Case]:
  blocks = ('evoformer_iteration', 'extra_msa_stack', 'template')
  recycling = ('prev_pos_linear', 'prev_msa_first_row_norm', 'prev_pair_norm')
  inputs = ('preprocess', 'left_single', 'right_single', 'pair_activiations')
  yield Case(
    'input embedder (Alg. 3) with relative positions (Alg. 4)',
    lambda x: _our_embedding(x, recycling=False),
    _their_trunk,
    ('',),
    '',
    silenced=blocks + recycling,
  )
  yield Case(
    'recycling embedder (Alg. 32)',
    lambda x: _our_embedding(x, recycling=True),
    _their_trunk,
    ('',),
    '',
    silenced=blocks + inputs,
  )
  yield Case(
    'extra MSA embedder (Alg. 2 lines 14-15)',
    lambda x: layers.Linear(64, name='extra_msa_embedder')(embedders.extra_msa_features(_our_sample(x))),
    _their_extra_embedding,
    ('',),
    'evoformer/',
  )
