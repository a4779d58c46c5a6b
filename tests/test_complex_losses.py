# SPDX-License-Identifier: Apache-2.0
"""Losses of several chains: equal to the published program's, and what they do where it has slips."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
import small_complexes
import small_targets
from parity import complex_losses

from alphafold_jax import errors, experiments
from alphafold_jax.data import padding
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.losses import chain_centres, fape, labels, total, violations
from alphafold_jax.train import specs

pytestmark = pytest.mark.slow  # compiles many programs
clash_loss = small_targets.fast_jit(violations.clash_loss, static_argnums=(5, 6))
chain_centre_loss = small_targets.fast_jit(chain_centres.chain_centre_loss)


dimer = functools.cache(complex_losses.example)


@pytest.mark.parametrize('name', complex_losses.LOSSES)
def test_loss_and_gradient_equal_those_of_the_published_multimer(name):
  for what, error in complex_losses.errors(name, *dimer()).items():
    assert error < complex_losses.TOLERANCE, f'{what}: {error}'


# FAPE


def terms(batch, outputs, **chains):
  """Every term of the total loss, with settings of chains."""
  spec = total.make_spec(dict.fromkeys(('backbone_fape', 'chain_fape', 'interface_fape', 'chain_centres'), 1.0), chains)
  return jax.device_get(small_targets.fast_jit(lambda *given: total.total_loss(spec, *given)[1])(batch, outputs))


def test_the_fape_of_a_single_chain_is_that_within_it():
  batch = small_targets.gap_batch()
  found = terms(batch, small_targets.prediction(batch))
  assert found['chain_fape'] == pytest.approx(found['backbone_fape'], rel=1e-6)
  assert found['interface_fape'] == 0 and found['chain_centres'] == 0


def test_each_kind_of_pairs_is_normalised_by_its_own_number():
  batch, outputs = dimer()
  batch = small_targets.with_targets(batch, use_clamped_fape=0.0)
  found = terms(batch, outputs, interface_unit=10.0)
  known = np.asarray(small_targets.fast_jit(labels.make_labels)(batch).backbone_mask)
  sizes = [known[batch.asym_id == i].sum() for i in (1, 2)]
  within, between = sizes[0] ** 2 + sizes[1] ** 2, 2 * sizes[0] * sizes[1]
  mixed = (within * found['chain_fape'] + between * found['interface_fape']) / (within + between)
  assert mixed == pytest.approx(found['backbone_fape'], rel=1e-5)


def test_the_limit_between_chains_is_wider_and_can_be_set():
  batch, outputs = dimer()
  apart = np.array(outputs.structure.frame_translations)
  apart[:, batch.asym_id == 2] += 300.0
  far = small_targets.with_structure(outputs, frame_translations=apart)
  assert terms(batch, far)['interface_fape'] == pytest.approx(30 / 20, rel=1e-3)
  assert terms(batch, far, interface_clamp=1000.0)['interface_fape'] > 10
  assert terms(batch, far)['chain_fape'] == pytest.approx(terms(batch, outputs)['chain_fape'], rel=1e-3)


def test_floored_errors_of_the_truth_are_nothing():
  rng = np.random.default_rng(0)
  frames = Rigid(rotation=np.eye(3)[None].repeat(5, 0), translation=rng.normal(size=(5, 3)).astype(np.float32))
  layers = jax.tree.map(lambda leaf: leaf[None], frames)
  value, gradient = jax.value_and_grad(
    lambda layers: fape.fape_of_pairs(layers, frames, np.ones(5), np.ones((5, 5)), floored=True)
  )(layers)
  assert float(value) < 2e-5
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_settings_of_chains_that_make_no_sense_are_refused_by_name():
  with pytest.raises(errors.InputError, match='chains.interface_clamp is -1'):
    total.make_spec({}, {'interface_clamp': -1})
  config = experiments.experiment_config('train_initial')
  with config.unlocked():
    config.chains.interface_clam = 3.0
  with pytest.raises(errors.InputError, match='interface_clam'):
    specs.make_step_spec(config)


# Centres


def two_clouds(distance: float):
  """Two chains of five and seven atoms, whose centres are some Å apart."""
  rng = np.random.default_rng(1)
  clouds = [rng.normal(size=(num, 3)) for num in (5, 7)]
  centred = [cloud - cloud.mean(axis=0) for cloud in clouds]
  points = np.concatenate([centred[0], centred[1] + (distance, 0, 0)])
  return points.astype(np.float32), np.repeat([1, 2], [5, 7])


@pytest.mark.parametrize(('distance', 'cost'), [(20.0, 0), (16.01, 0), (10.0, 0.3**2), (26.0, 0)])
def test_only_centres_that_are_more_than_4_angstrom_too_near_cost_something(distance, cost):
  (true, chains), (near, _) = two_clouds(20.0), two_clouds(distance)
  assert float(chain_centre_loss(near, true, np.ones(12), chains)) == pytest.approx(cost, abs=1e-5)


def test_every_pair_of_chains_counts_alike_whatever_its_length():
  rng = np.random.default_rng(2)
  chains = np.repeat([1, 2, 3, 0], [4, 9, 2, 3])  # and padding
  mask = (rng.random(18) < 0.8) * (chains > 0)
  true, near = 12 * rng.normal(size=(2, 18, 3)).astype(np.float32)
  near /= 5

  pairs = [(0, 1), (0, 2), (1, 2)]
  ours, theirs = (
    np.array([points[(chains == i) & (mask > 0)].mean(axis=0) for i in (1, 2, 3)]) for points in (near, true)
  )
  shortfall = [np.linalg.norm(ours[i] - ours[j]) - np.linalg.norm(theirs[i] - theirs[j]) + 4 for i, j in pairs]
  costs = (np.minimum(shortfall, 0) / 20) ** 2
  found = float(chain_centre_loss(near, true, mask.astype(np.float32), chains))
  assert found == pytest.approx(np.mean(costs), rel=1e-4)
  assert found > 0


# Violations


def on_top_of_each_other(shift: int):
  """Two copies of a chain in one place, the second numbered from `shift` on."""
  part = small_targets.real_batch('1mul_A', 20, 32)
  batch = small_complexes.joined([part, part], [1, 1])
  index = np.concatenate([np.arange(12), np.arange(12) + shift]).astype(np.int32)
  known = small_targets.fast_jit(labels.make_labels)(batch)
  return known.atom14_positions, known.atom14_mask, batch.aatype, index, batch.asym_id


def test_clashes_of_equal_numbers_are_found_where_the_published_slip_is_corrected():
  same, other = on_top_of_each_other(0), on_top_of_each_other(100)
  for average in (False, True):
    assert float(clash_loss(*same, True, average)) == pytest.approx(float(clash_loss(*other, False, average)), rel=1e-5)
  assert float(clash_loss(*same, False, False)) < 0.98 * float(clash_loss(*other, False, False))


def test_the_order_of_chains_does_not_change_their_clashes():
  atoms, mask, aatype, index, asym = on_top_of_each_other(7)
  expected = clash_loss(atoms, mask, aatype, index, asym, True, False)
  assert float(clash_loss(atoms, mask, aatype, index, 3 - asym, True, False)) == pytest.approx(
    float(expected), rel=1e-5
  )


def test_an_atom_with_many_clashes_counts_their_mean():
  positions, mask = np.zeros((4, 14, 3), np.float32), np.zeros((4, 14), np.float32)
  mask[:, 1] = 1
  positions[1:, 1, 0] = (1.0, -1.0, 30.0)  # the first atom clashes with two that are 2 Å apart, the last with none
  aatype, index = np.zeros(4, int), 5 * np.arange(4)
  near, apart = (3.4 - 1.5 - distance for distance in (1.0, 2.0))
  assert apart < 0
  found = float(clash_loss(positions, mask, aatype, index, np.ones(4, int), False, True))
  assert found == pytest.approx(3 * near, rel=1e-4)
  summed = float(clash_loss(positions, mask, aatype, index, np.ones(4, int), False, False))
  assert summed == pytest.approx(4 * near, rel=1e-4)


def test_single_chains_clash_alike_with_and_without_the_correction():
  atoms, mask, aatype, index, asym = (x[:12] for x in on_top_of_each_other(0))
  atoms = 0.6 * atoms
  plain, corrected = (float(clash_loss(atoms, mask, aatype, index, asym, which, False)) for which in (False, True))
  assert corrected == pytest.approx(plain, rel=1e-6) and plain > 1


def test_no_bond_joins_two_chains():
  part = small_targets.real_batch('1mul_A', 20, 32)
  batch = small_complexes.joined([part, small_complexes.moved(part, 1, (60, 0, 0))], [1, 1])
  index = np.arange(24)  # the second goes on counting, as pieces in a crop may
  known = small_targets.fast_jit(labels.make_labels)(batch)
  bonds = small_targets.fast_jit(violations.peptide_bond_loss)
  given = known.atom14_positions, known.atom14_mask, batch.aatype, index
  assert float(bonds(*given)) > 1
  assert float(bonds(*given, asym_id=batch.asym_id)) == 0


# The total


def test_the_terms_of_a_complex_do_not_depend_on_the_order_of_its_copies():
  part = small_targets.real_batch('1mul_A', 20, 32)
  other = small_complexes.moved(part, 2, (15, 3, 0))
  batch = padding.pad_batch(small_complexes.joined([part, other], [1, 1], 2), {'num_res': 28})
  swapped = padding.pad_batch(small_complexes.joined([other, part], [1, 1], 2), {'num_res': 28})
  outputs = small_targets.prediction(batch, noise=1.0)
  names = ('chain_fape', 'interface_fape', 'side_chain_fape', 'torsion', 'distogram', 'plddt', 'pae', 'chain_centres')
  spec = total.make_spec(dict.fromkeys(names, 1.0))
  of = small_targets.fast_jit(lambda *given: total.total_loss(spec, *given))
  (value, found), (expected, each) = of(swapped, outputs), of(batch, outputs)
  assert float(value) == pytest.approx(float(expected), rel=1e-6)
  for name in names:
    assert float(found[name]) == pytest.approx(float(each[name]), rel=1e-6, abs=1e-7), name
  kept = dataclasses.replace(swapped.targets, copy_positions=None, copy_mask=None)
  naive = of(dataclasses.replace(swapped, targets=kept), outputs)[1]
  assert float(naive['interface_fape']) > 1.5 * float(each['interface_fape'])


def test_losses_of_a_complex_are_finite_where_all_residues_are_at_the_origin():
  batch, outputs = dimer()
  zeros = jax.tree.map(np.zeros_like, outputs.structure)
  unturned = np.broadcast_to(np.eye(3, dtype=np.float32), outputs.structure.frame_rotations.shape)
  untrained = dataclasses.replace(zeros, frame_rotations=unturned)
  settings = {'floored_errors': True, 'corrected_violations': True, 'average_clashes': True}
  spec = total.make_spec(
    dict.fromkeys(('chain_fape', 'interface_fape', 'side_chain_fape', 'chain_centres', 'violation'), 1.0), settings
  )

  def loss(structure):
    return total.total_loss(spec, batch, dataclasses.replace(outputs, structure=structure))[0]

  value, gradient = small_targets.fast_jit(jax.value_and_grad(loss))(untrained)
  assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  assert np.any(gradient.frame_translations)


# The experiments


def test_the_experiment_on_complexes_has_its_published_numbers():
  config = experiments.experiment_config('train_multimer')
  data, loss = config.data, config.loss
  assert (data.crop_size, data.max_chains, data.spatial_fraction, data.interface_distance) == (640, 20, 0.5, 10.0)
  assert (loss.backbone_fape, loss.chain_fape, loss.interface_fape, loss.side_chain_fape) == (0, 0.5, 0.5, 0.5)
  assert specs.make_step_spec(config).loss.chains == total.ChainLossSpec(30.0, 20.0, True, True, True)


@pytest.mark.parametrize('name', ['train_initial', 'train_finetune', 'train_mini'])
def test_single_chains_are_trained_on_as_before(name, tmp_path):
  config = experiments.experiment_config(name)
  spec = specs.make_step_spec(config).loss
  assert spec.chains == total.ChainLossSpec()
  assert not {'chain_fape', 'interface_fape', 'chain_centres'} & {loss for loss, _ in spec.weights}
  assert config.data.complex_fraction == 0
  now = json.loads(config.to_json_best_effort())
  before = {section: value for section, value in now.items() if section != 'chains'}
  data = {key: value for key, value in now['data'].items() if value != experiments.LATER.get(f'data.{key}')}
  before |= {'data': data}  # what has the value that leaves a run as it was did not exist
  assert specs.check_same(before, now, tmp_path) == []  # a run of then goes on
  del config.chains
  assert specs.make_step_spec(config).loss == spec
