# SPDX-License-Identifier: Apache-2.0
"""The loss made of lDDT, beside loops over pairs and beside lDDT itself."""

import jax.numpy as jnp
import numpy as np
import pytest
import small_targets

from alphafold_jax.geometry import lddt
from alphafold_jax.losses import smooth_lddt

loss = small_targets.fast_jit(smooth_lddt.smooth_lddt_loss)


def walk(num_res: int = 40, num_atoms: int = 3, seed: int = 0) -> np.ndarray:
  """A chain that wanders: [N_res, A, 3] Å."""
  rng = np.random.default_rng(seed)
  steps = rng.normal(size=(num_res, 3))
  ca = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=-1, keepdims=True), axis=0)
  return (ca[:, None] + rng.normal(size=(num_res, num_atoms, 3))).astype(np.float32)


def moved(atoms: np.ndarray, by: float, seed: int = 1) -> np.ndarray:
  return (atoms + by * np.random.default_rng(seed).normal(size=atoms.shape)).astype(np.float32)


def test_it_is_the_mean_over_pairs_of_what_each_tolerance_lacks():
  true, predicted = walk(12), moved(walk(12), 1.5)
  mask = np.ones((12, 3), np.float32)
  mask[4] = mask[7, 2] = 0
  lacking = []
  for i, a in np.argwhere(mask):
    for j, b in np.argwhere(mask):
      distance = np.linalg.norm(true[i, a] - true[j, b])
      if i != j and distance < 15:
        error = abs(np.linalg.norm(predicted[i, a] - predicted[j, b]) - distance)
        lacking.append(1 - np.mean([1 / (1 + np.exp(error - limit)) for limit in (0.5, 1, 2, 4)]))
  assert 0 < len(lacking) < 33 * 33  # some pairs are too far apart
  assert float(loss(predicted, true, mask)) == pytest.approx(np.mean(lacking), abs=1e-4)


@pytest.mark.parametrize('by', [0.3, 1.0, 3.0])
def test_it_orders_structures_as_lddt_does(by):
  true, mask = walk(num_atoms=1), np.ones((40, 1), np.float32)
  better, worse = moved(true, by), moved(true, 1.5 * by)
  kept = [lddt.ca_distances(one[:, 0], true[:, 0], mask[:, 0]).total for one in (better, worse)]
  assert kept[0] > kept[1] and float(loss(better, true, mask)) < float(loss(worse, true, mask))


def test_the_truth_has_the_least_loss():
  true, mask = walk(), np.ones((40, 3), np.float32)
  least = np.mean([1 / (1 + np.exp(limit)) for limit in (0.5, 1, 2, 4)])  # the sigmoid is soft
  assert float(loss(true, true, mask)) == pytest.approx(least, abs=1e-5)
  assert all(float(loss(moved(true, by), true, mask)) > least for by in (0.01, 0.1, 1.0))


def test_a_mirror_image_costs_nothing_since_distances_do_not_know_it():
  true, mask = walk(), np.ones((40, 3), np.float32)
  assert float(loss(true * np.float32([1, 1, -1]), true, mask)) == pytest.approx(float(loss(true, true, mask)))


def test_unknown_atoms_and_pairs_beyond_15_angstrom_do_not_count():
  true, predicted = walk(), moved(walk(), 1.0)
  mask = np.ones((40, 3), np.float32)
  mask[10:15] = 0
  spoilt = predicted.copy()
  spoilt[10:15] += 50
  assert float(loss(spoilt, true, mask)) == float(loss(predicted, true, mask))
  halves = np.concatenate([walk(6), walk(6, seed=2) + np.float32(200)])
  drifted = halves + np.repeat(np.float32([0, 9]), 6)[:, None, None]
  assert float(loss(drifted, halves, np.ones((12, 3)))) == pytest.approx(float(loss(halves, halves, np.ones((12, 3)))))


def test_nothing_known_costs_nothing():
  assert float(loss(walk(), walk(), jnp.zeros((40, 3)))) == 0
