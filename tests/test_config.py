# SPDX-License-Identifier: Apache-2.0
"""Configurations: the published hyperparameters, short differences, and errors at the door."""

import importlib.util
import json
from pathlib import Path

import pytest
from alphafold.model import config as official_config

from alphafold_jax import config, errors
from alphafold_jax.model import alphafold
from alphafold_jax.train import specs

ROOT = Path(__file__).parents[1]

COMPLEXES = tuple(name for name in config.MODELS if 'multimer' in name)
MONOMERS = tuple(name for name in config.MODELS if name not in COMPLEXES)

# Our key -> where the official configuration has the same number.
OF_MONOMERS = {
  'heads.num_masked_msa_classes': 'model.heads.masked_msa.num_output',
  'embedder.max_relative': 'model.embeddings_and_evoformer.max_relative_feature',
  'sampling.num_extra': 'data.common.max_extra_msa',
  'sampling.masked_fraction': 'data.eval.masked_msa_replace_fraction',
  'sampling.uniform_prob': 'data.common.masked_msa.uniform_prob',
  'sampling.profile_prob': 'data.common.masked_msa.profile_prob',
  'sampling.same_prob': 'data.common.masked_msa.same_prob',
  'num_recycle': 'model.num_recycle',
  'max_templates': 'data.eval.max_templates',
}
_TRUNK = 'model.embeddings_and_evoformer'
OF_COMPLEXES = {
  'embedder.max_relative': f'{_TRUNK}.max_relative_idx',
  'sampling.num_msa': f'{_TRUNK}.num_msa',
  'sampling.masked_fraction': f'{_TRUNK}.masked_msa.replace_fraction',
  'sampling.uniform_prob': f'{_TRUNK}.masked_msa.uniform_prob',
  'sampling.profile_prob': f'{_TRUNK}.masked_msa.profile_prob',
  'sampling.same_prob': f'{_TRUNK}.masked_msa.same_prob',
  'max_templates': f'{_TRUNK}.template.max_templates',
  'embedder.max_relative_chain': f'{_TRUNK}.max_relative_chain',
  'evoformer.outer_product_first': f'{_TRUNK}.evoformer.outer_product_mean.first',
  'templates.c_t': f'{_TRUNK}.template.num_channels',
  'templates.num_block': f'{_TRUNK}.template.template_pair_stack.num_block',
  'templates.num_bins': f'{_TRUNK}.template.dgram_features.num_bins',
  'templates.min_distance': f'{_TRUNK}.template.dgram_features.min_bin',
  'templates.max_distance': f'{_TRUNK}.template.dgram_features.max_bin',
}
SAME = {
  'embedder.c_m': 'model.embeddings_and_evoformer.msa_channel',
  'embedder.c_z': 'model.embeddings_and_evoformer.pair_channel',
  'embedder.c_extra': 'model.embeddings_and_evoformer.extra_msa_channel',
  'embedder.recycle_bins': 'model.embeddings_and_evoformer.prev_pos.num_bins',
  'embedder.recycle_min': 'model.embeddings_and_evoformer.prev_pos.min_bin',
  'embedder.recycle_max': 'model.embeddings_and_evoformer.prev_pos.max_bin',
  'c_s': 'model.embeddings_and_evoformer.seq_channel',
  'evoformer.num_block': 'model.embeddings_and_evoformer.evoformer_num_block',
  'extra_msa.num_block': 'model.embeddings_and_evoformer.extra_msa_stack_num_block',
  'evoformer.num_head': 'model.embeddings_and_evoformer.evoformer.msa_row_attention_with_pair_bias.num_head',
  'evoformer.c_outer': 'model.embeddings_and_evoformer.evoformer.outer_product_mean.num_outer_channel',
  'evoformer.transition_factor': 'model.embeddings_and_evoformer.evoformer.msa_transition.num_intermediate_factor',
  'evoformer.pair.num_head': 'model.embeddings_and_evoformer.evoformer.triangle_attention_ending_node.num_head',
  'structure.num_layer': 'model.heads.structure_module.num_layer',
  'structure.num_head': 'model.heads.structure_module.num_head',
  'structure.c_qk': 'model.heads.structure_module.num_scalar_qk',
  'structure.c_v': 'model.heads.structure_module.num_scalar_v',
  'structure.num_point_qk': 'model.heads.structure_module.num_point_qk',
  'structure.num_point_v': 'model.heads.structure_module.num_point_v',
  'structure.num_transition_layer': 'model.heads.structure_module.num_layer_in_transition',
  'structure.position_scale': 'model.heads.structure_module.position_scale',
  'structure.num_angle_block': 'model.heads.structure_module.sidechain.num_residual_block',
  'heads.num_distogram_bins': 'model.heads.distogram.num_bins',
  'heads.num_plddt_bins': 'model.heads.predicted_lddt.num_bins',
}
# The dropout rates of training.
DROPOUT = {
  'evoformer.msa_dropout': 'model.embeddings_and_evoformer.evoformer.msa_row_attention_with_pair_bias.dropout_rate',
  'evoformer.pair.dropout': 'model.embeddings_and_evoformer.evoformer.triangle_attention_ending_node.dropout_rate',
  'structure.dropout': 'model.heads.structure_module.dropout',
}


def at(tree, path):
  for key in path.split('.'):
    tree = tree[key]
  return tree


def assert_same(ours, theirs, places):
  assert {key: at(ours, key) for key in places} == {key: at(theirs, path) for key, path in places.items()}


@pytest.mark.parametrize('name', MONOMERS)
def test_hyperparameters_are_the_published_ones(name):
  ours, theirs = config.model_config(name), official_config.model_config(name)
  assert_same(ours, theirs, SAME | OF_MONOMERS)
  assert (ours.templates is not None) == theirs.model.embeddings_and_evoformer.template.enabled
  assert bool(ours.heads.num_pae_bins) == bool(theirs.model.heads.predicted_aligned_error.weight)
  reduced = theirs.data.eval.max_templates if theirs.data.common.reduce_msa_clusters_by_max_templates else 0
  assert ours.sampling.num_msa == theirs.data.eval.max_msa_clusters - reduced


@pytest.mark.parametrize('name', COMPLEXES)
def test_hyperparameters_of_complexes_are_the_published_ones(name):
  ours, theirs = config.model_config(name), official_config.model_config(name)
  assert_same(ours, theirs, SAME | OF_COMPLEXES)
  assert ours.heads.num_pae_bins == theirs.model.heads.predicted_aligned_error.num_bins
  assert ours.heads.num_masked_msa_classes == 22  # a constant there
  assert ours.extra_msa.outer_product_first and ours.templates.pair.order == ours.evoformer.pair.order
  rows = {'_v3': 2048 if name[6] in '123' else 1152}.get(name[-3:], 1152)  # the older versions as they were released
  passes = {'_v3': (20, 0.5)}.get(name[-3:], (3, -1.0))
  assert ours.sampling.num_extra == rows and (ours.num_recycle, ours.recycle_early_stop_tolerance) == passes


def test_what_is_kept_of_models_from_before_complexes_is_what_was_kept_then():
  own = {'mini': {'embedder.couplings', 'templates.skip_empty'}}  # by which it differs from them
  for name in (*MONOMERS, *config.OWN_MODELS):
    kept = config.as_kept(config.model_config(name))
    later = {key for key in config.LATER if key.split('.')[-1] in (kept.get(key.split('.')[0]) or {}) or key in kept}
    assert later == own.get(name, set())
    assert config.completed(kept) == config.model_config(name).to_dict()
    assert alphafold.make_spec(kept) == alphafold.make_spec(config.model_config(name))
  kept = config.as_kept(config.model_config('model_1_multimer_v3'))
  assert kept['fused_triangles'] and kept['templates']['aggregation'] == 'mean'


def test_models_have_the_names_and_numbers_that_colabfold_gives_them():
  families = {'model_1': 'alphafold2', 'model_1_ptm': 'alphafold2_ptm', 'mini': 'mini'}
  versions = {'model_1_multimer': 1, 'model_1_multimer_v2': 2, 'model_1_multimer_v3': 3}
  families |= {name: f'alphafold2_multimer_v{version}' for name, version in versions.items()}
  assert {name: config.model_type(name) for name in families} == families
  assert [config.model_number(f'model_{number}_multimer_v2') for number in range(1, 6)] == [1, 2, 3, 4, 5]
  assert (len(MONOMERS), len(COMPLEXES)) == (10, 15)


def test_dropout_rates_are_the_published_ones_and_off_by_default():
  ours, theirs = config.model_config('model_1'), official_config.model_config('model_1')
  assert all(at(ours, key) == 0 for key in config.DROPOUT)
  on = config.changed(ours, config.DROPOUT)
  assert {key: at(on, key) for key in DROPOUT} == {key: at(theirs, path) for key, path in DROPOUT.items()}


def test_a_change_leaves_the_original_alone():
  base = config.model_config('model_3')
  changed = config.changed(base, {'evoformer.num_block': 2})
  assert (base.evoformer.num_block, changed.evoformer.num_block) == (48, 2)


@pytest.mark.parametrize('key', ['evoformer.num_blocks', 'evoformr.num_block', 'nothing', 'evoformer.pair.droput'])
def test_a_misspelt_setting_is_refused_by_name(key):
  with pytest.raises(errors.InputError, match=key):
    config.changed(config.model_config('model_1'), {key: 1})


def test_a_value_of_another_kind_is_refused_by_name():
  with pytest.raises(errors.InputError, match="evoformer.num_block='many': must be of the kind of 48"):
    config.changed(config.model_config('model_1'), {'evoformer.num_block': 'many'})


def test_settings_of_templates_are_ignored_by_models_without_them():
  assert config.changed(config.model_config('model_3'), {'templates.num_block': 1}).templates is None


def test_an_unknown_model_is_refused_with_the_choices():
  with pytest.raises(errors.InputError, match='model_5_ptm'):
    config.model_config('model_6')


def test_a_configuration_that_does_not_fit_fails_before_tracing():
  settings = json.loads(config.model_config('model_1').to_json())
  settings['structure']['num_layers'] = 8
  with pytest.raises(ValueError, match='num_layers'):
    alphafold.make_spec(settings)


def test_equal_configurations_give_equal_specs():
  models = {alphafold.make_spec(config.model_config(name)) for name in config.MODELS}
  # Models 3 and 4 differ in their parameters only, so do their _ptm twins; of complexes differ numbers of rows.
  assert len(models) == 8 + 3


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')), ids=lambda path: path.name)
def test_config_files_give_configurations_that_fit_the_network(path):
  module_spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(module_spec)
  module_spec.loader.exec_module(module)
  configuration = module.get_config()
  make = specs.make_step_spec if path.name.startswith('train_') else alphafold.make_spec
  assert make(configuration)
