# SPDX-License-Identifier: Apache-2.0
"""The small model with templates: a change of its configuration that everything takes, from training to the command."""

import dataclasses
import functools
from pathlib import Path

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import NETWORK, predict

import alphafold_jax as afj
from alphafold_jax import config as configs
from alphafold_jax import experiments, planning
from alphafold_jax.data import features, structures, templates
from alphafold_jax.model import alphafold
from alphafold_jax.model.templates import TemplateEmbedder, TemplatePointwiseAttention
from alphafold_jax.train import specs
from alphafold_jax.weights import official, random, shipped

STRUCTURE = Path(__file__).parent / 'data' / '4zey.cif.gz'
MODEL = {**configs.OWN_MODELS['mini'], **configs.MINI_TEMPLATES}


@pytest.fixture
def with_templates(monkeypatch):
  """The small model as it will be once it ships with templates."""
  monkeypatch.setattr(configs, 'OWN_MODELS', {'mini': MODEL})
  return configs.model_config('mini')


@pytest.fixture(scope='module')
def query() -> str:
  return structures.read_chain(STRUCTURE, 'A').sequence[30:50]


def test_the_model_that_ships_has_none():
  assert configs.model_config('mini').templates is None


def test_templates_are_added_by_a_change(with_templates):
  added = configs.changed(configs.changed(with_templates, {'templates': None}), configs.MINI_TEMPLATES)
  assert alphafold.make_spec(added) == alphafold.make_spec(with_templates)
  assert added.templates.c_t == 32 and added.templates.pair.num_head == 2
  assert configs.changed(added, {'templates.num_block': 2}).templates.num_block == 2


def test_an_experiment_takes_the_change():
  experiment = experiments.experiment_config('train_mini')
  changes = {f'model.{key}': value for key, value in configs.MINI_TEMPLATES.items()}
  spec = specs.make_step_spec(configs.changed(experiment, changes | {'data.num_templates': 2}))
  assert spec.network.templates.c_t == 32 and not spec.network.templates.remat


def test_its_parameters_come_back_from_the_published_layout(with_templates):
  few = configs.changed(with_templates, {'evoformer.num_block': 1, 'structure.num_layer': 1})
  batch, rng = features.make_batch('ACDEFGHIKL', num_templates=1), np.random.default_rng(0)
  shapes = jax.eval_shape(alphafold.network(alphafold.make_spec(few)).init, jax.random.key(0), batch)
  params = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), dict(shapes))
  back = official.from_official(official.to_official(params, few), few, strict=True)
  assert any(name.startswith('template_embedder') for name in params)
  assert jax.tree.structure(back) == jax.tree.structure(params)
  jax.tree.map(np.testing.assert_array_equal, back, params)


def test_a_file_of_its_parameters_ships_and_loads(with_templates, tmp_path):
  size = shipped.store(random.random_params(with_templates), with_templates, tmp_path / 'mini.npz')
  assert size < shipped.MAX_BYTES / 2
  model = afj.load_model('mini', tmp_path / 'mini.npz', strict=True)
  assert model.spec.templates is not None and model.params['template_attention']['q'].shape == (64, 4, 8)


def test_its_slots_are_planned_where_there_are_templates(with_templates, query):
  placed = templates.stack_templates([templates.template_from_structure(query, STRUCTURE, 'A')])
  for given, slots in ((placed, 4), (None, 0)):
    sizes = planning.padded_sizes(with_templates, features.make_batch(query, templates=given))
    assert sizes['num_templ'] == slots
    assert (planning.reduced(with_templates, sizes).templates is None) == (slots == 0)


def test_the_command_shows_it_the_structures_of_a_folder(with_templates, query, tmp_path):
  (tmp_path / 'p.a3m').write_text(f'>q\n{query}\n')
  (tmp_path / 'folder').mkdir()
  (tmp_path / 'folder' / STRUCTURE.name).symlink_to(STRUCTURE)
  flags = (
    '--model-type',
    'mini',
    '--params',
    'random',
    *NETWORK,
    '--num-recycle',
    '0',
    '--skip-output',
    'plots,viewers',
  )
  given = (tmp_path / 'p.a3m', tmp_path / 'out', *flags, '--custom-template-path', str(tmp_path / 'folder'))
  assert predict(*given) == 0
  told = (tmp_path / 'out' / 'log.txt').read_text()
  assert 'template 4zey_A: 100% identical' in told and '1 template' in told and 'are not used' not in told


def test_skipping_empty_slots_changes_no_result(with_templates, query):
  placed = templates.stack_templates([templates.template_from_structure(query, STRUCTURE, 'A')], 2)
  batch = jax.tree.map(jnp.asarray, features.make_batch(query, templates=placed))
  z = jnp.asarray(np.random.default_rng(0).normal(size=(20, 20, 64)), jnp.float32)

  def update(spec):
    context = TemplateEmbedder(spec, 64)(batch.templates, batch.seq_mask, jnp.dtype('float32'))
    return TemplatePointwiseAttention(spec)(z, context.pair, context.mask)

  found = []
  for skip in (True, False):
    spec = dataclasses.replace(alphafold.make_spec(with_templates).templates, skip_empty=skip)
    part = hk.transform(functools.partial(update, spec))
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01), jax.eval_shape(part.init, jax.random.key(0)))
    found.append(jax.jit(part.apply)(params, jax.random.key(0)))
  assert np.abs(found[0]).max() > 0
  np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
