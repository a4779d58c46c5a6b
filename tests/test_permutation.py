# SPDX-License-Identifier: Apache-2.0
"""Equal chains are compared with those true copies that lie nearest to the prediction."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_complexes
import small_targets
from scipy.spatial import transform
from small_complexes import CA

from alphafold_jax.data import padding
from alphafold_jax.geometry import superposition
from alphafold_jax.losses import permutation

pytestmark = pytest.mark.slow
NUM_RES, NUM_COPIES = 48, 4  # all complexes here are padded to these, and share a program
nearest_copies = small_targets.fast_jit(permutation.nearest_copies)
choose_copies = small_targets.fast_jit(permutation.choose_copies)


@functools.cache
def chain(name: str, length: int):
  return small_targets.real_batch(name, 20, 20 + length)


def complex_of(entities, places, length=12):
  """A complex of pieces of real chains, one kind for each entity, at places [num_chain, 3] Å, each turned at random."""
  kinds = {1: chain('1mul_A', length), 2: chain('1u5y_D', length)}
  parts = [small_complexes.moved(kinds[entity], i, place) for i, (entity, place) in enumerate(zip(entities, places))]
  batch = small_complexes.joined(parts, entities, NUM_COPIES)
  return padding.pad_batch(batch, {'num_res': NUM_RES})


def trimer():
  return complex_of([1, 1, 1], [(0, 0, 0), (18, 3, 0), (5, 25, 9)])


def a2b():
  return complex_of([1, 2, 1], [(0, 0, 0), (14, 2, 0), (9, 20, 4)])


def a2b2():
  return complex_of([1, 2, 1, 2], [(0, 0, 0), (10, 2, 0), (0, 40, 5), (11, 41, 9)])


def ca_of(batch) -> np.ndarray:
  return batch.targets.atom_positions[:, CA]


def predicted(batch, order, noise=0.0, seed=0) -> np.ndarray:
  """The true CA atoms when chain i stands where chain order[i] is, moved as one body: [N, 3]."""
  rng = np.random.default_rng(seed)
  ca = np.array(ca_of(batch))
  for i, other in enumerate(order):
    ca[batch.asym_id == i + 1] = ca_of(batch)[batch.asym_id == other + 1]
  turn = transform.Rotation.random(random_state=seed).as_matrix()
  return (ca @ turn.T + (30, -20, 7) + noise * rng.normal(size=ca.shape)).astype(np.float32)


def orders_of(batch):
  """Every order of chains that exchanges copies only."""
  entities = [int(batch.entity_id[batch.asym_id == i + 1][0]) for i in range(batch.asym_id.max())]
  for order in itertools.permutations(range(len(entities))):
    if [entities[i] for i in order] == entities:
      yield order


def distance(targets, ca, batch) -> float:
  """r.m.s. distance of superposed CA atoms, Å."""
  return superposition.rmsd(targets, ca, batch.targets.atom_mask[:, CA] * batch.seq_mask)


@pytest.mark.parametrize('make', [trimer, a2b, a2b2])
def test_an_exact_copy_with_exchanged_chains_gives_back_the_truth(make):
  batch = make()
  for order in orders_of(batch):
    ca = predicted(batch, order)
    found = nearest_copies(batch, ca)
    assert distance(ca_of(found), ca, found) < 1e-4
    if order != tuple(range(len(order))):
      assert distance(ca_of(batch), ca, batch) > 1  # which it would not have been


@pytest.mark.parametrize('make', [trimer, a2b, a2b2])
def test_a_noisy_prediction_gets_the_best_of_all_orders(make):
  batch = make()
  for seed, order in enumerate(orders_of(batch)):
    ca = predicted(batch, order, noise=2.0, seed=seed)
    best = min(distance(predicted(batch, other), ca, batch) for other in orders_of(batch))
    found = nearest_copies(batch, ca)
    assert distance(ca_of(found), ca, found) == pytest.approx(best, abs=1e-4)


def test_all_atoms_and_their_mask_come_from_the_copy():
  batch = trimer()
  first = batch.asym_id == 1
  copies = np.array(batch.targets.copy_mask)
  copies[1, first, 5:] = 0  # copy 2 lacks side chains
  batch = dataclasses.replace(batch, targets=dataclasses.replace(batch.targets, copy_mask=copies))
  found = nearest_copies(batch, predicted(batch, (1, 0, 2)))
  np.testing.assert_array_equal(found.targets.atom_positions[first], batch.targets.copy_positions[1, first])
  np.testing.assert_array_equal(found.targets.atom_mask[first], copies[1, first])
  assert not found.targets.atom_mask[batch.seq_mask == 0].any()


def symmetric_trimer():
  """Three copies about an axis."""
  part = small_complexes.moved(chain('1mul_A', 12), 3, (11, 0, 2))
  turns = [transform.Rotation.from_euler('z', 120 * i, degrees=True).as_matrix() for i in range(3)]
  positions, mask = part.targets.atom_positions, part.targets.atom_mask[..., None]
  parts = [small_targets.with_targets(part, atom_positions=positions @ turn.T * mask) for turn in turns]
  return padding.pad_batch(small_complexes.joined(parts, [1, 1, 1], NUM_COPIES), {'num_res': NUM_RES})


@pytest.mark.parametrize('order', [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_a_symmetric_complex_that_is_turned_into_itself_keeps_its_order(order):
  batch = symmetric_trimer()
  chosen = choose_copies(batch, predicted(batch, order))
  np.testing.assert_array_equal(chosen, np.maximum(batch.sym_id - 1, 0))


@pytest.mark.parametrize('order', [(1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_a_symmetric_complex_in_the_other_direction_is_reordered(order):
  batch = symmetric_trimer()
  ca = predicted(batch, order)
  assert distance(ca_of(batch), ca, batch) > 1
  found = nearest_copies(batch, ca)
  assert distance(ca_of(found), ca, found) < 1e-3


def test_pieces_of_chains_may_take_copies_that_the_crop_does_not_show():
  batch = trimer()
  first, last = (np.flatnonzero(batch.asym_id == i) for i in (1, 3))
  crop = small_complexes.shown(batch, np.concatenate([first[2:9], last[4:]]))
  crop = padding.pad_batch(crop, {'num_res': NUM_RES})
  ca = predicted(batch, (1, 0, 2))  # the piece of chain 1 stands where copy 2 is
  ca = np.concatenate([ca[first[2:9]], ca[last[4:]], np.zeros((NUM_RES - 15, 3), np.float32)])
  chosen = np.asarray(choose_copies(crop, ca))
  assert set(chosen[crop.asym_id == 1]) == {1} and set(chosen[crop.asym_id == 3]) == {2}
  found = nearest_copies(crop, ca)
  assert distance(ca_of(found), ca, found) < 1e-4


def test_a_copy_of_which_nothing_is_known_is_taken_last():
  batch = trimer()
  mask = np.array(batch.targets.copy_mask)
  mask[0] = 0
  batch = dataclasses.replace(batch, targets=dataclasses.replace(batch.targets, copy_mask=mask))
  chosen = np.asarray(choose_copies(batch, predicted(batch, (1, 2, 0))))
  assert set(chosen[batch.asym_id == 1]) == {1} and set(chosen[batch.asym_id == 2]) == {2}


def test_an_untrained_prediction_keeps_the_order():
  batch = a2b2()
  for ca in (np.zeros((NUM_RES, 3), np.float32), np.full((NUM_RES, 3), np.nan, np.float32)):
    np.testing.assert_array_equal(choose_copies(batch, ca), np.maximum(batch.sym_id - 1, 0))


def test_the_anchor_is_of_the_entity_with_the_fewest_copies_and_of_these_the_most_resolved():
  counts = np.array([[40, 40, 0, 0], [40, 35, 0, 0], [9, 0, 0, 0], [12, 0, 0, 0]], np.float32)
  anchor, candidates = permutation._anchor(counts, np.array([0, 1, 0, 0]), np.array([1, 1, 2, 3]))
  assert int(anchor) == 3 and np.asarray(candidates).tolist() == [False, False, False, True]
  few = counts * (counts > 20)  # nothing can be laid upon the single chains
  anchor, candidates = permutation._anchor(few, np.array([0, 1, 0, 0]), np.array([1, 1, 2, 3]))
  assert int(anchor) == 0 and np.asarray(candidates).tolist() == [True, True, False, False]


@pytest.mark.parametrize('mirror', [1, -1])
def test_a_superposition_is_a_motion_and_never_a_mirror_image(mirror):
  rng = np.random.default_rng(0)
  points, weights = rng.normal(size=(12, 3)).astype(np.float32), (rng.random(12) < 0.7).astype(np.float32)
  onto = (points * (1, 1, mirror) + 0.1 * rng.normal(size=(12, 3)) + (5, -3, 1)).astype(np.float32)
  turn, shift = permutation._superposition(points, onto, weights)
  rotation, translation = superposition.kabsch(points[weights > 0], onto[weights > 0])
  np.testing.assert_allclose(turn, rotation, atol=1e-4)
  np.testing.assert_allclose(shift, translation, atol=1e-4)


def test_a_single_chain_stays_as_it_is():
  batch = small_targets.gap_batch()
  assert permutation.nearest_copies(batch, batch.targets.atom_positions[:, CA]) is batch


def test_the_choice_has_no_gradient():
  batch = trimer()

  def total(ca):
    found = permutation.nearest_copies(batch, ca)
    return jnp.sum(found.targets.atom_positions * ca[:, None])

  ca = predicted(batch, (1, 0, 2))
  expected = np.asarray(nearest_copies(batch, ca).targets.atom_positions).sum(axis=1)
  np.testing.assert_allclose(small_targets.fast_jit(jax.grad(total))(ca), expected, rtol=1e-5, atol=1e-3)
