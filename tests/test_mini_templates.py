# SPDX-License-Identifier: Apache-2.0
"""The templates and couplings of the small model, from its configuration to the command; training plays no part."""

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
CONFIG = configs.model_config('mini')
FEW = configs.changed(CONFIG, {'evoformer.num_block': 1, 'structure.num_layer': 1})
HOW = {'num_recycle': 0, 'dtype': 'float32'}


@pytest.fixture(scope='module')
def query() -> str:
  return structures.read_chain(STRUCTURE, 'A').sequence[30:50]


@pytest.fixture(scope='module')
def placed(query):
  return templates.stack_templates([templates.template_from_structure(query, STRUCTURE, 'A')])


def test_its_experiment_trains_both():
  experiment = experiments.experiment_config('train_mini')
  network = specs.make_step_spec(experiment).network
  assert network.templates.c_t == 32 and not network.templates.remat and network.templates.pair.dropout == 0
  assert network.embedder.couplings and experiment.data.num_templates and experiment.data.couplings_fraction


def test_a_template_changes_a_prediction_and_without_any_it_is_that_of_a_network_that_knows_of_none(query, placed):
  model = afj.Model('mini', FEW, random.random_params(FEW), 'random')
  plain = configs.changed(FEW, {'templates': None, 'embedder.couplings': False})
  added = {name for name in model.params if name.startswith(('template_', 'couplings_'))}
  assert set(model.params) - added == set(random.random_params(plain)) and len(added) > 5
  before = afj.Model('mini', plain, {name: model.params[name] for name in set(model.params) - added}, 'random')
  alone = afj.single_sequence(query)
  bare, first, guided = (
    afj.predict(one, alone, templates=given, **HOW) for one, given in ((model, None), (before, None), (model, placed))
  )
  np.testing.assert_allclose(bare.atom_positions, first.atom_positions, atol=1e-3)
  np.testing.assert_allclose(bare.plddt, first.plddt, atol=1e-3)
  assert np.abs(guided.atom_positions - bare.atom_positions).max() > 0.1


def test_its_parameters_come_back_from_the_published_layout():
  batch, rng = features.make_batch('ACDEFGHIKL', num_templates=1), np.random.default_rng(0)
  shapes = jax.eval_shape(alphafold.network(alphafold.make_spec(FEW)).init, jax.random.key(0), batch)
  params = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), dict(shapes))
  back = official.from_official(official.to_official(params, FEW), FEW, strict=True)
  assert any(name.startswith('template_embedder') for name in params)
  assert jax.tree.structure(back) == jax.tree.structure(params)
  jax.tree.map(np.testing.assert_array_equal, back, params)


def test_a_file_of_its_parameters_ships_and_loads(tmp_path):
  size = shipped.store(random.random_params(CONFIG), CONFIG, tmp_path / 'mini.npz')
  assert size < shipped.MAX_BYTES / 2
  model = afj.load_model('mini', tmp_path / 'mini.npz', strict=True)
  assert model.spec.templates is not None and model.params['template_attention']['q'].shape == (64, 4, 8)


def test_its_slots_are_planned_where_there_are_templates(query, placed):
  for given, slots in ((placed, 4), (None, 0)):
    sizes = planning.padded_sizes(CONFIG, features.make_batch(query, templates=given))
    assert sizes['num_templ'] == slots
    assert (planning.reduced(CONFIG, sizes).templates is None) == (slots == 0)


def test_the_command_shows_it_the_structures_of_a_folder(query, tmp_path):
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


def test_skipping_empty_slots_changes_no_result(query):
  placed = templates.stack_templates([templates.template_from_structure(query, STRUCTURE, 'A')], 2)
  batch = jax.tree.map(jnp.asarray, features.make_batch(query, templates=placed))
  z = jnp.asarray(np.random.default_rng(0).normal(size=(20, 20, 64)), jnp.float32)

  def update(spec):
    context = TemplateEmbedder(spec, 64)(batch.templates, batch.seq_mask, jnp.dtype('float32'))
    return TemplatePointwiseAttention(spec)(z, context.pair, context.mask)

  found = []
  for skip in (True, False):
    spec = dataclasses.replace(alphafold.make_spec(CONFIG).templates, skip_empty=skip)
    part = hk.transform(functools.partial(update, spec))
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01), jax.eval_shape(part.init, jax.random.key(0)))
    found.append(jax.jit(part.apply)(params, jax.random.key(0)))
  assert np.abs(found[0]).max() > 0
  np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
