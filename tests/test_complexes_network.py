# SPDX-License-Identifier: Apache-2.0
"""The network on several chains: what tells them apart, templates and rows as complexes have them, and invariances."""

import dataclasses
import functools
import itertools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_network
from alphafold.model import modules_multimer
from random_inputs import chain_numbers
from scipy.spatial import transform
from small_network import DETERMINISTIC, assert_close

from alphafold_jax import config as configs
from alphafold_jax import fields, planning, prediction, schema
from alphafold_jax.data import features, padding
from alphafold_jax.model import alphafold, embedders, sampling, template_features, templates
from alphafold_jax.weights.random import random_params

MODEL = 'model_1_multimer_v3'
CHAINS = (('A', 4), ('B', 3), ('A', 4))  # 11 residues
CONFIG = small_network.make_config(MODEL, **DETERMINISTIC)
SPEC = alphafold.make_spec(CONFIG)


@functools.cache
def params() -> alphafold.Params:
  return random_params(CONFIG)


def make_batch(**sizes) -> schema.Batch:
  return small_network.make_batch(**({'chains': CHAINS} | sizes))


def run(batch: schema.Batch, previous: schema.Recycled, spec: alphafold.AlphaFoldSpec = SPEC) -> schema.Outputs:
  compiled = small_network.compiled(spec)
  return small_network.comparable(jax.device_get(compiled(params(), jax.random.key(0), batch, previous)))


def permuted(tree, order: np.ndarray):
  """A schema object with its residues in another order."""

  def take(field, value):
    for axis, name in enumerate(field.metadata['axes']):
      value = np.take(value, order, axis) if name == 'num_res' else value
    return value

  return fields.map_leaves(take, tree)


# ------------------------------------------------------------------------------------------ relative positions


def test_chains_are_told_apart_by_entity_and_number_of_the_copy():
  chains = (('A', 2), ('B', 40), ('A', 2), ('A', 1), ('A', 1), ('A', 1))
  numbers = chain_numbers(chains)
  batch = dataclasses.replace(features.make_batch('A' * 47), **numbers)
  found = np.asarray(embedders.relative_positions(batch, SPEC.embedder))
  index, asym, entity, sym = (numbers[name] for name in ('residue_index', 'asym_id', 'entity_id', 'sym_id'))
  assert found.shape == (47, 47, 73)
  for i, j in itertools.product((0, 1, 2, 10, 41, 42, 43, 44, 45, 46), repeat=2):
    expected = np.zeros(73)
    expected[np.clip(index[i] - index[j] + 32, 0, 64) if asym[i] == asym[j] else 65] = 1
    expected[66] = entity[i] == entity[j]
    expected[67 + np.clip(sym[i] - sym[j] + 2, 0, 4) if entity[i] == entity[j] else 72] = 1
    np.testing.assert_array_equal(found[i, j], expected, err_msg=f'{i}, {j}')


def test_for_a_network_of_single_chains_another_chain_is_as_far_away_as_can_be():
  batch = dataclasses.replace(features.make_batch('A' * 11), **chain_numbers(CHAINS))
  spec = small_network.make_spec().embedder
  found = np.argmax(embedders.relative_positions(batch, spec), axis=-1)
  asym, index = batch.asym_id, batch.residue_index
  further = 32 + 32 * np.sign(asym[:, None] - asym[None])
  np.testing.assert_array_equal(
    found, np.where(asym[:, None] == asym[None], index[:, None] - index[None] + 32, further)
  )
  single = features.make_batch('A' * 80)
  offset = np.arange(80)[:, None] - np.arange(80)[None]
  found = np.asarray(embedders.relative_positions(single, spec))
  np.testing.assert_array_equal(found, np.eye(65)[np.clip(offset, -32, 32) + 32])


# ------------------------------------------------------------------------------------------ clusters


@pytest.mark.slow
@pytest.mark.parametrize('num_rest', [9, 300])
def test_clusters_of_complexes_equal_alphafolds_ties_and_rows_of_gaps_included(num_rest):
  rng = np.random.default_rng(num_rest)
  tokens = rng.integers(0, 23, (4, 7)).astype(np.int32)
  rest = rng.integers(0, 22, (num_rest, 7)).astype(np.int32)
  tokens[1, :5], rest[0, :5], rest[1] = tokens[0, :5], tokens[0, :5], 21  # agrees with both; with none
  official = {
    'msa': tokens,
    'msa_mask': np.ones(tokens.shape, np.float32),
    'deletion_matrix': rng.integers(0, 9, tokens.shape).astype(np.float32),
    'extra_msa': rest,
    'extra_msa_mask': np.ones(rest.shape, np.float32),
    'extra_deletion_matrix': rng.integers(0, 9, rest.shape).astype(np.float32),
  }
  rows = [official[name] for name in ('deletion_matrix', 'msa_mask', 'extra_msa', 'extra_deletion_matrix')]
  ours = sampling.cluster(jax.nn.one_hot(tokens, 23), *rows, official['extra_msa_mask'], 'softmax')
  for one, other in zip(ours, modules_multimer.nearest_neighbor_clusters(official), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_padding_belongs_to_no_cluster():
  msa = padding.pad_batch(make_batch().msa, {'num_res': 16, 'num_seq': 14})
  drawn = sampling.sample_msa(jax.random.key(0), jax.tree.map(jnp.asarray, msa), SPEC.sampling)
  plain = sampling.sample_msa(jax.random.key(0), jax.tree.map(jnp.asarray, make_batch().msa), SPEC.sampling)
  np.testing.assert_allclose(drawn.profile[:, :11], plain.profile, atol=1e-6)
  assert not np.any(drawn.profile[:, 11:]) and not np.any(drawn.deletion_mean[:, 11:])


# ------------------------------------------------------------------------------------------ templates


def one(given: schema.Templates, slot: int = 0) -> schema.Templates:
  """A slot as `pair_geometry` takes it."""
  filled = template_features.filled_slots(given, jnp.asarray(make_batch().asym_id))
  return jax.tree.map(lambda array: jnp.asarray(array)[slot], filled)


def geometry(given: schema.Templates, slot: int = 0) -> np.ndarray:
  assert SPEC.templates is not None
  return np.asarray(template_features.pair_geometry(one(given, slot), SPEC.templates.bins))


def moved(given: schema.Templates, which: np.ndarray) -> schema.Templates:
  """Templates of which some residues are moved as one body."""
  turn = transform.Rotation.random(random_state=1).as_matrix()
  there = given.atom_positions @ turn.T + np.array([7.0, -20.0, 31.0])
  positions = np.where(which[:, None, None], there, given.atom_positions).astype(np.float32)
  return dataclasses.replace(given, atom_positions=positions)


@pytest.mark.slow
def test_empty_slots_and_chains_without_a_template_are_alanine_of_unknown_atoms():
  batch = make_batch()
  asym, given = batch.asym_id, batch.templates
  aatype = given.aatype.copy()
  aatype[1, asym == 2] = 21
  slots = template_features.filled_slots(dataclasses.replace(given, aatype=aatype), jnp.asarray(asym))
  np.testing.assert_array_equal(slots.aatype[0], given.aatype[0])  # whose gaps are gaps
  assert (given.aatype[0] == 21).any()
  np.testing.assert_array_equal(slots.aatype[1], np.where(asym == 2, 0, given.aatype[1]))
  assert not np.any(slots.aatype[2]) and not np.any(slots.atom_mask[2])
  np.testing.assert_array_equal(slots.atom_mask[0], given.atom_mask[0])
  assert not np.any(slots.atom_mask[1][asym == 2]) and np.any(slots.atom_mask[1][asym == 3])
  none = template_features.filled_slots(features.empty_templates(0, 11), jnp.asarray(asym))
  assert none.aatype.shape == (1, 11) and not np.any(none.aatype) and not np.any(none.atom_mask)


@pytest.mark.slow
def test_a_residue_is_in_no_direction_of_itself_and_unit_vectors_have_length_one():
  found = geometry(make_batch().templates, 1)
  assert not found[np.arange(11), np.arange(11), 40:43].any()
  lengths = np.linalg.norm(found[..., 40:43], axis=-1)
  known = (found[..., 43] > 0) & ~np.eye(11, dtype=bool)
  assert known.any()
  np.testing.assert_allclose(lengths[known], 1, atol=1e-5)


@pytest.mark.slow
def test_structures_of_single_chains_say_nothing_between_chains():
  batch = make_batch()
  apart = batch.asym_id[:, None] != batch.asym_id[None]
  found = geometry(batch.templates)
  assert not found[apart].any() and found[~apart].any()
  np.testing.assert_allclose(geometry(moved(batch.templates, batch.asym_id == 2)), found, atol=1e-4)


@pytest.mark.slow
def test_a_structure_of_several_chains_says_how_they_stand():
  batch = make_batch()
  asym, given = batch.asym_id, batch.templates
  together = np.where(asym == 3, 2, 1).astype(np.int32)  # A and B are of one structure
  given = dataclasses.replace(given, structure_id=np.tile(together, (3, 1)))
  found = geometry(given)
  beside = (asym[:, None] == 1) & (asym[None] == 2)
  assert found[beside].any() and not found[(asym[:, None] == 1) & (asym[None] == 3)].any()
  np.testing.assert_allclose(geometry(moved(given, asym < 3)), found, atol=1e-4)
  assert np.abs(geometry(moved(given, asym == 2))[beside] - found[beside]).max() > 0.1


@pytest.mark.slow
def test_any_number_of_empty_slots_counts_as_one():
  assert SPEC.templates is not None
  batch = make_batch()
  z = jnp.asarray(np.random.default_rng(0).normal(size=(11, 11, 24)), jnp.float32)

  def update(given):
    batch_of = dataclasses.replace(jax.tree.map(jnp.asarray, batch), templates=jax.tree.map(jnp.asarray, given))
    return templates.AGGREGATION['mean'](SPEC.templates, z, None, batch_of)

  part = hk.transform(update)
  own = {name: leaves for name, leaves in params().items() if name.startswith('template_mean')}
  found = [part.apply(own, None, features.empty_templates(number, 11)) for number in (0, 1, 4)]
  assert np.abs(found[0]).max() > 0.1
  for other in found[1:]:
    assert_close(np.asarray(other), np.asarray(found[0]), 1e-5)


# ------------------------------------------------------------------------------------------ the whole network


@pytest.fixture(scope='module')
def plain() -> schema.Outputs:
  return run(make_batch(), small_network.make_recycled())


@pytest.mark.slow
@pytest.mark.parametrize('order', ['BAA', 'ABA, copies exchanged'])
def test_the_order_of_chains_does_not_matter(plain, order):
  batch, previous = make_batch(), small_network.make_recycled()
  first = {'BAA': (2, 1, 3), 'ABA, copies exchanged': (3, 2, 1)}[order]  # by asym_id
  to = np.concatenate([np.flatnonzero(batch.asym_id == chain) for chain in first])
  other = permuted(batch, to)
  other = dataclasses.replace(other, asym_id=10 - other.asym_id, entity_id=5 - other.entity_id)  # count by equality
  found = run(other, permuted(previous, to))
  assert_close(found, permuted(plain, to), 2e-5)


@pytest.mark.slow
def test_padding_of_residues_and_rows_changes_nothing(plain):
  sizes = {'num_res': 16, 'num_seq': 14}
  batch, previous = (padding.pad_batch(given, sizes) for given in (make_batch(), small_network.make_recycled()))
  assert_close(padding.crop(run(batch, previous), {'num_res': 11}), plain, 2e-5)


@pytest.mark.slow
def test_which_chain_a_residue_is_of_matters(plain):
  one_chain = dataclasses.replace(make_batch(), **chain_numbers((('A', 11),)))
  found = run(one_chain, small_network.make_recycled())
  assert np.abs(found.representations.pair - plain.representations.pair).max() > 0.1


# ------------------------------------------------------------------------------------------ predictions


@pytest.mark.parametrize(
  ('name', 'given', 'slots'), [(MODEL, 0, 1), (MODEL, 4, 1), ('model_1_ptm', 4, 0), ('model_3_ptm', 0, 0)]
)
def test_networks_of_complexes_have_a_slot_where_there_is_no_template(name, given, slots):
  config = configs.model_config(name)
  batch = features.make_batch('ACDEFGHIKL', num_templates=given)
  sizes = planning.padded_sizes(config, batch)
  assert sizes['num_templ'] == slots
  assert (planning.reduced(config, sizes).templates is None) == (slots == 0)
  assert planning.padded_sizes(config, small_network.make_batch())['num_templ'] == (4 if name != 'model_3_ptm' else 0)


@pytest.mark.slow
@pytest.mark.parametrize('has_templates', [True, False])
def test_a_prediction_of_several_chains_is_what_the_network_gives(has_templates):
  model = prediction.Model(name=MODEL, config=CONFIG, params=params(), source='random')
  batch = make_batch()
  if not has_templates:
    batch = dataclasses.replace(batch, templates=features.empty_templates(4, 11))
  found = prediction.predict(model, batch, num_recycle=0, dtype='float32', max_msa=(4, 6))
  slots = batch.templates if not has_templates else padding.pad_batch(batch.templates, {'num_templ': 4})
  first = alphafold.network(SPEC).initial(11)
  expected = run(dataclasses.replace(batch, templates=slots), first)
  assert_close(found.atom_positions, expected.structure.atom_positions, 1e-4)
  assert found.pae is not None and np.isfinite(found.pae).all()
