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

# Our key -> where the official configuration has the same number.
SAME = {
  'sampling.num_extra': 'data.common.max_extra_msa',
  'sampling.masked_fraction': 'data.eval.masked_msa_replace_fraction',
  'sampling.uniform_prob': 'data.common.masked_msa.uniform_prob',
  'sampling.profile_prob': 'data.common.masked_msa.profile_prob',
  'sampling.same_prob': 'data.common.masked_msa.same_prob',
  'num_recycle': 'model.num_recycle',
  'max_templates': 'data.eval.max_templates',
  'embedder.c_m': 'model.embeddings_and_evoformer.msa_channel',
  'embedder.c_z': 'model.embeddings_and_evoformer.pair_channel',
  'embedder.c_extra': 'model.embeddings_and_evoformer.extra_msa_channel',
  'embedder.max_relative': 'model.embeddings_and_evoformer.max_relative_feature',
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
  'heads.num_masked_msa_classes': 'model.heads.masked_msa.num_output',
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


@pytest.mark.parametrize('name', config.MODELS)
def test_hyperparameters_are_the_published_ones(name):
  ours, theirs = config.model_config(name), official_config.model_config(name)
  assert {key: at(ours, key) for key in SAME} == {key: at(theirs, path) for key, path in SAME.items()}
  assert (ours.templates is not None) == theirs.model.embeddings_and_evoformer.template.enabled
  assert bool(ours.heads.num_pae_bins) == bool(theirs.model.heads.predicted_aligned_error.weight)
  reduced = theirs.data.eval.max_templates if theirs.data.common.reduce_msa_clusters_by_max_templates else 0
  assert ours.sampling.num_msa == theirs.data.eval.max_msa_clusters - reduced


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
  assert len(models) == 8  # models 3 and 4 differ in their parameters only, so do their _ptm twins


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')), ids=lambda path: path.name)
def test_config_files_give_configurations_that_fit_the_network(path):
  module_spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(module_spec)
  module_spec.loader.exec_module(module)
  configuration = module.get_config()
  make = specs.make_step_spec if path.name.startswith('train_') else alphafold.make_spec
  assert make(configuration)
