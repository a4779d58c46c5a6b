# SPDX-License-Identifier: Apache-2.0
"""Couplings as an input of the network: what they change, and for whom they change nothing."""

import dataclasses
import json

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_cache
import small_experiment
import small_network
import small_predictions

from alphafold_jax import cli, coevolution, experiments, fields, prediction, schema
from alphafold_jax import config as configs
from alphafold_jax.constants.couplings import CHANNELS, NUM_CHANNELS
from alphafold_jax.data import features, padding
from alphafold_jax.data.alignment import Alignment, parse_a3m
from alphafold_jax.data.training import packing
from alphafold_jax.data.training.cache import TrainingCache
from alphafold_jax.data.training.feeding import stack
from alphafold_jax.data.training.training_set import DataSpec, TrainingSet, whole_chain
from alphafold_jax.errors import InputError
from alphafold_jax.model import alphafold
from alphafold_jax.model.embedders import CouplingsEmbedder
from alphafold_jax.train import specs
from alphafold_jax.weights import official
from alphafold_jax.weights.random import random_params

TAKES = {'embedder.couplings': True}
MODULE = 'couplings_embedder/linear'
RNG = np.random.default_rng(5)
SEQUENCES = {name: small_cache.random_sequence(RNG, size) for name, size in (('one', 30), ('two', 27))}
DEPTH = 40


# ------------------------------------------------------------------------------------------ published models


@pytest.mark.parametrize('name', configs.MODELS)
def test_no_published_model_takes_couplings_and_its_settings_are_kept_as_before(name):
  config = configs.model_config(name)
  assert not config.embedder.couplings
  assert 'couplings' not in configs.as_kept(config)['embedder']
  assert not [array for array in official.official_shapes(config) if 'couplings' in array]
  takes = configs.changed(config, TAKES)
  assert configs.as_kept(takes)['embedder']['couplings'] is True
  more = official.official_shapes(takes).items() - official.official_shapes(config).items()
  assert more == {(f'{official.PREFIX}evoformer/couplings//weights', (NUM_CHANNELS, config.embedder.c_z))}


def test_a_configuration_from_before_makes_the_same_network():
  config = configs.model_config('model_3')
  before = configs.as_kept(config)
  assert alphafold.make_spec(before) == alphafold.make_spec(config)
  assert official.official_shapes(before) == official.official_shapes(config)


def plain(config):
  return json.loads(config.to_json_best_effort())


def test_a_run_from_before_goes_on_without_them_only(tmp_path):
  config = small_experiment.get_config()
  now, before = plain(config), plain(config)
  del before['model']['embedder']['couplings'], before['data']['couplings_fraction']
  assert specs.check_same(before, now, tmp_path) == []
  takes = configs.changed(config, {f'model.{key}': value for key, value in TAKES.items()})
  with pytest.raises(InputError, match='model.embedder.couplings: False there, True now'):
    specs.check_same(before, plain(takes), tmp_path)


def test_the_parameters_come_back_from_a_file():
  config = small_network.make_config(**TAKES)
  params = random_params(config)
  assert params[MODULE]['w'].shape == (NUM_CHANNELS, 24) and params[MODULE].keys() == {'w'}
  back = official.from_official(official.to_official(params, config), config, strict=True)
  jax.tree.map(np.testing.assert_array_equal, back, params)


# ------------------------------------------------------------------------------------------ the batch


def test_a_batch_has_couplings_or_none_in_memory_and_on_disk(tmp_path):
  without = features.make_batch('ACDEFG')
  assert without.couplings is None and 'couplings' not in {name for name, _, _ in fields.leaves(without)}
  some = dataclasses.replace(without, couplings=np.ones((6, 6, NUM_CHANNELS), np.float32))
  for batch in (without, some):
    features.save_features(tmp_path / 'x.npz', batch)
    back, _ = features.load_features(tmp_path / 'x.npz')
    assert jax.tree.structure(back) == jax.tree.structure(batch)
    stacked = stack([batch, batch])
    assert jax.tree.structure(stacked) == jax.tree.structure(batch)
  padded = padding.pad_batch(some, {'num_res': 8})
  assert padded.couplings.shape == (8, 8, NUM_CHANNELS) and padded.couplings[:6, :6].all()
  assert not padded.couplings[6:].any() and not padded.couplings[:, 6:].any()
  with pytest.raises(InputError, match=r"'couplings' has shape \(5, 5, 5\)"):
    features.check_batch(dataclasses.replace(without, couplings=np.ones((5, 5, NUM_CHANNELS), np.float32)), 'batch')


# ------------------------------------------------------------------------------------------ prediction

HOW = {'num_recycle': 0, 'dtype': 'float32', 'max_msa': (3, 2)}


def alignment_of(depth: int, num_res: int = 14) -> Alignment:
  rng = np.random.default_rng(depth)
  tokens = rng.integers(0, 20, (depth, num_res)).astype(np.int32)
  query = ''.join('ARNDCQEGHILKMFPSTWYV'[token] for token in tokens[0])
  return Alignment(names=('x',) * depth, tokens=tokens, deletions=np.zeros_like(tokens), query=query)


@pytest.fixture(scope='module')
def model() -> prediction.Model:
  return small_predictions.make_model(couplings=True)


def positions(model: prediction.Model, query: Alignment | schema.Batch) -> np.ndarray:
  return prediction.predict(model, query, **HOW).atom_positions


def with_weights(model: prediction.Model, scale: float) -> prediction.Model:
  return dataclasses.replace(model, params={**model.params, MODULE: {'w': scale * model.params[MODULE]['w']}})


def test_the_couplings_of_a_deep_alignment_change_a_prediction_unless_their_weights_are_zero(model):
  deep, shallow = alignment_of(DEPTH), alignment_of(coevolution.MIN_ROWS - 1)
  none = with_weights(model, 0.0)
  assert np.abs(positions(model, deep) - positions(none, deep)).max() > 1e-2
  np.testing.assert_array_equal(positions(model, shallow), positions(none, shallow))
  plain = small_predictions.make_model()
  np.testing.assert_allclose(positions(none, deep), positions(plain, deep), atol=1e-3)
  batch = prediction.as_batch(deep, couplings=True)
  np.testing.assert_array_equal(positions(model, batch), positions(model, deep))
  np.testing.assert_array_equal(positions(model, prediction.as_batch(deep)), positions(model, deep))
  np.testing.assert_array_equal(positions(plain, batch), positions(plain, deep))  # it knows of none
  batch.couplings[:] = 0
  np.testing.assert_array_equal(positions(model, batch), positions(none, deep))


def test_a_batch_is_given_the_couplings_of_all_its_rows():
  deep = alignment_of(DEPTH)
  found = coevolution.couplings(deep.tokens)
  expected = coevolution.features(coevolution.levels(found.scores), found.neff)
  np.testing.assert_array_equal(prediction.as_batch(deep, couplings=True).couplings, expected)
  assert prediction.as_batch(deep).couplings is None
  assert not prediction.as_batch(alignment_of(5), couplings=True).couplings.any()


def test_they_have_no_effect_when_training_begins():
  spec = alphafold.make_spec(small_network.make_config(templates=None, **TAKES))
  shapes = jax.eval_shape(alphafold.network(spec).init, jax.random.key(0), features.make_batch('ACDEFGH'))
  assert shapes[MODULE]['w'].shape == (NUM_CHANNELS, 24)  # there though this batch has none
  embedder = hk.transform(lambda x: CouplingsEmbedder(spec.embedder, name='couplings_embedder')(x, len(x), x.dtype))
  given = jnp.asarray(RNG.normal(size=(7, 7, NUM_CHANNELS)), jnp.float32)
  params = embedder.init(jax.random.key(0), given)
  assert not params[MODULE]['w'].any() and not embedder.apply(params, None, given).any()
  gradient = jax.grad(lambda params: embedder.apply(params, None, given).sum())(params)
  assert np.abs(gradient[MODULE]['w']).min() > 0  # it can learn


# ------------------------------------------------------------------------------------------ training


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> TrainingCache:
  """Chains whose alignments keep ten of their rows."""
  return small_cache.make_cache(tmp_path_factory.mktemp('set'), SEQUENCES, DEPTH, couplings=True, max_rows=10)


SPEC = DataSpec(crop_size=16, num_rows=8, num_templates=0, num_deletion_blocks=0, couplings_fraction=1.0)


def without(cache: TrainingCache) -> TrainingCache:
  """The same cache as one that was built without."""

  class Without(TrainingCache):
    def __getitem__(self, index):
      return dataclasses.replace(super().__getitem__(index), couplings=None)

  return Without(cache.path, cache.entries)


def test_a_record_has_the_couplings_of_all_rows_though_few_are_kept(cache):
  for index, entry in enumerate(cache.entries):
    text = (cache.path.parent / 'alignments' / f'{entry.id}.a3m').read_text()
    found = coevolution.couplings(parse_a3m(text, 'x').tokens)
    record = cache[index]
    assert len(record.tokens) == 10 and entry.depth_found > coevolution.MIN_ROWS
    np.testing.assert_array_equal(record.couplings, coevolution.levels(found.scores))
    assert record.neff == pytest.approx(found.neff)
    again = packing.unpack(packing.pack(record))
    np.testing.assert_array_equal(again.couplings, record.couplings)


def test_records_without_couplings_are_those_of_before_and_are_read(cache):
  bare = dataclasses.replace(cache[0], couplings=None, neff=0.0)
  content = packing.pack(bare)
  assert b'neff' not in content and b'couplings' not in content
  assert packing.unpack(content).couplings is None
  some = packing.add_couplings(content, cache[0].couplings, cache[0].neff)
  assert some == packing.pack(cache[0])


def test_an_example_has_the_window_of_its_chains_couplings(cache):
  examples = TrainingSet([cache], SPEC, seed=0, batch_size=4)
  records = {entry.id: cache[index] for index, entry in enumerate(cache.entries)}
  starts = set()
  for index in range(12):
    name, batch = examples.example(index)
    start, record = int(batch.residue_index[0]), records[name]
    whole = coevolution.features(record.couplings, record.neff)
    np.testing.assert_array_equal(batch.couplings, whole[start : start + 16, start : start + 16])
    starts.add(start)
  assert len(starts) > 4
  whole = whole_chain(records['one'], SPEC, max_rows=8)
  np.testing.assert_array_equal(whole.couplings, coevolution.features(records['one'].couplings, records['one'].neff))
  assert not whole_chain(records['one'], SPEC, max_rows=1).couplings.any()


def test_examples_are_those_of_before_beside_their_couplings(cache):
  plain, some = (
    TrainingSet([cache], dataclasses.replace(SPEC, couplings_fraction=share), seed=0, batch_size=4)
    for share in (0.0, 0.5)
  )
  shown = []
  for index in range(60):
    (name, batch), (other_name, other) = plain.example(index), some.example(index)
    assert name == other_name and batch.couplings is None
    jax.tree.map(np.testing.assert_array_equal, batch, dataclasses.replace(other, couplings=None))
    present = other.couplings[..., CHANNELS.index('present')]
    assert present.all() or not other.couplings.any()
    shown.append(present.all())
  assert 0.3 < np.mean(shown) < 0.7


def test_an_example_without_its_alignment_has_no_couplings(cache):
  alone = dataclasses.replace(SPEC, single_sequence_fraction=1.0)
  examples = TrainingSet([cache], alone, seed=0, batch_size=4)
  assert not any(examples.example(index)[1].couplings.any() for index in range(5))


def test_a_set_without_the_couplings_that_its_alignments_give_cannot_be_trained_on_with_them(cache):
  said = 'data.couplings_fraction is 1, but no chain here has couplings, though 2 alignments.*--couplings.*fraction=0'
  with pytest.raises(InputError, match=said):
    TrainingSet([without(cache)], SPEC, seed=0, batch_size=4)
  examples = TrainingSet([without(cache), cache], SPEC, seed=0, batch_size=4)  # of two sets one may have them
  assert {bool(examples.example(index)[1].couplings.any()) for index in range(20)} == {True, False}


def test_a_set_whose_alignments_are_too_shallow_for_couplings_is_trained_on_without(tmp_path):
  for depth in (1, 5):
    shallow = small_cache.make_cache(tmp_path / str(depth), SEQUENCES, depth)
    examples = TrainingSet([shallow], SPEC, seed=0, batch_size=4)
    assert not examples.has_couplings and not examples.example(0)[1].couplings.any()


def test_a_chain_too_long_for_couplings_is_not_asked_for_any(cache, monkeypatch):
  assert TrainingSet([cache], SPEC, seed=0, batch_size=4).has_couplings
  monkeypatch.setattr(coevolution.inputs, 'MAX_RES', 20)
  assert not TrainingSet([without(cache)], SPEC, seed=0, batch_size=4).has_couplings


def test_the_command_says_how_many_have_couplings_and_why_others_do_not(tmp_path, capsys):
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  msas = small_cache.write_alignments(tmp_path / 'm', SEQUENCES, depth=5)
  flags = [str(structures), str(tmp_path / 'c'), '--couplings', '--processes', '1', '--quiet']
  assert cli.main(['dataset', *flags]) == 2
  assert '--couplings: they are computed from alignments; give some by --msas' in capsys.readouterr().err
  assert cli.main(['dataset', *flags, '--msas', str(msas)]) == 0
  assert '2 with an alignment, 0 with couplings' in capsys.readouterr().out
  assert 'no couplings: 5 rows are fewer than the 32' in (tmp_path / 'c' / 'skipped.csv').read_text()


def test_only_the_small_model_is_trained_with_them():
  for name in experiments.EXPERIMENTS:
    config = experiments.experiment_config(name)
    assert config.model.embedder.couplings == (config.data.couplings_fraction > 0) == (name == 'train_mini')


@pytest.mark.parametrize(('model', 'num_templates'), [('model_3_ptm', 0), ('model_1_ptm', 2)])
def test_a_model_that_lacks_an_input_is_trained_by_the_recipe_of_one_that_has_it(model, num_templates):
  config = experiments.experiment_config('train_mini', model)
  assert (config.data.couplings_fraction, config.data.num_templates) == (0, num_templates)
