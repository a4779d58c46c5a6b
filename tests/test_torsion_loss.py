# SPDX-License-Identifier: Apache-2.0
"""Losses of torsion angles in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alphafold_jax.losses import torsion

NUM_LAYER, NUM_RES = 2, 4


def points(angles: np.ndarray) -> jax.Array:
  """(sin, cos)."""
  return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).astype(jnp.float32)


@pytest.fixture
def true() -> np.ndarray:
  return np.random.default_rng(0).uniform(-np.pi, np.pi, (NUM_RES, 7))


def loss(predicted: np.ndarray, true: np.ndarray, alternative: np.ndarray, mask: np.ndarray) -> float:
  return float(torsion.torsion_loss(points(predicted), points(true), points(alternative), jnp.asarray(mask)))


def test_an_angle_off_by_d_costs_2_minus_2_cos_d(true):
  mask = np.zeros((NUM_RES, 7), np.float32)
  mask[1, 4] = mask[3, 6] = 1
  off = np.zeros((NUM_LAYER, NUM_RES, 7))
  off[0, 1, 4], off[1, 3, 6] = 0.7, -2.0
  expected = (2 - 2 * np.cos(0.7) + 2 - 2 * np.cos(2.0)) / (2 * NUM_LAYER)
  assert loss(true + off, true, true, mask) == pytest.approx(expected, rel=1e-5)


def test_the_nearer_of_two_names_counts_angle_by_angle(true):
  alternative = true.copy()
  alternative[1, 4] += np.pi
  off = np.zeros((NUM_LAYER, NUM_RES, 7))
  off[0, 1, 4] = np.pi  # nothing, by the other names
  assert loss(true + off, true, alternative, np.ones((NUM_RES, 7), np.float32)) == pytest.approx(0, abs=1e-6)
  assert loss(true + off, true, true, np.ones((NUM_RES, 7), np.float32)) > 0.1


def test_backbone_angles_are_left_to_fape(true):
  off = np.zeros((NUM_LAYER, NUM_RES, 7))
  off[..., :3] = 1.0
  assert loss(true + off, true, true, np.ones((NUM_RES, 7), np.float32)) == pytest.approx(0, abs=1e-6)


def test_without_any_known_angle_the_loss_is_zero(true):
  assert loss(true[None] + 1, true, true, np.zeros((NUM_RES, 7), np.float32)) == 0


def test_angle_norm_is_the_mean_distance_from_the_unit_circle(true):
  lengths = np.random.default_rng(1).uniform(0.2, 3, (NUM_LAYER, NUM_RES, 7))
  vectors = points(np.broadcast_to(true, lengths.shape)) * lengths[..., None]
  mask = np.array([1, 1, 0, 1], np.float32)
  expected = np.mean(np.abs(lengths[:, mask > 0] - 1))
  assert float(torsion.angle_norm_loss(vectors, jnp.asarray(mask))) == pytest.approx(expected, rel=1e-5)


def test_a_vanishing_vector_has_a_finite_gradient():
  gradient = jax.grad(torsion.angle_norm_loss)(jnp.zeros((NUM_LAYER, NUM_RES, 7, 2)), jnp.ones(NUM_RES))
  assert np.isfinite(gradient).all()
