# SPDX-License-Identifier: Apache-2.0
"""Cross-entropies of the heads against plain sums in double precision, their bins, masks and filters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_targets
from scipy import special

from alphafold_jax import confidence
from alphafold_jax.geometry import scores
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.losses import classification

GOOD = 2.0  # Å, a resolution that counts

distogram_loss, masked_msa_loss, plddt_loss, pae_loss, experimentally_resolved_loss, lddt_ca = map(
  small_targets.fast_jit,
  (
    classification.distogram_loss,
    classification.masked_msa_loss,
    classification.plddt_loss,
    classification.pae_loss,
    classification.experimentally_resolved_loss,
    classification.lddt_ca,
  ),
)


def log_softmax(logits: np.ndarray) -> np.ndarray:
  return special.log_softmax(np.asarray(logits, np.float64), axis=-1)


def line(distances: np.ndarray) -> np.ndarray:
  """Points on a line at these places, Å."""
  return np.stack([distances, np.zeros_like(distances), np.zeros_like(distances)], axis=-1).astype(np.float32)


def test_distogram_loss_is_the_mean_over_known_pairs():
  rng = np.random.default_rng(0)
  points = (10 * rng.normal(size=(6, 3))).astype(np.float32)
  mask = np.array([1, 1, 0, 1, 1, 1], np.float32)
  logits = rng.normal(size=(6, 6, 64)).astype(np.float32)
  distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
  bins = np.searchsorted(np.linspace(2.3125, 21.6875, 63), distances)
  known = np.nonzero(mask)[0]
  expected = -np.mean([log_softmax(logits)[i, j, bins[i, j]] for i in known for j in known])
  assert float(distogram_loss(logits, points, mask)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('distance, bin_', [(0.5, 0), (2.3, 0), (2.32, 1), (2.62, 1), (2.63, 2), (21.6, 62), (50, 63)])
def test_a_distance_falls_into_the_bin_that_confidence_reads_there(distance, bin_):
  points = line(np.array([0.0, distance]))
  logits = np.zeros((2, 2, 64), np.float32)
  logits[..., bin_] = 100.0
  logits[[0, 1], [0, 1]] = 100.0 * np.eye(64)[0]  # a residue is at no distance from itself
  assert float(distogram_loss(logits, points, np.ones(2))) == pytest.approx(0, abs=1e-6)
  if 0 < bin_ < 63:
    expected = float(confidence.expected_distance(logits)[0, 1])
    assert expected == pytest.approx(distance, abs=0.16)  # half a bin


def test_uniform_logits_cost_the_logarithm_of_the_number_of_classes():
  points = line(np.arange(5.0))
  assert float(distogram_loss(np.zeros((5, 5, 64)), points, np.ones(5))) == pytest.approx(np.log(64))
  tokens = np.zeros((3, 5), np.int32)
  assert float(masked_msa_loss(np.zeros((3, 5, 23)), tokens, np.ones((3, 5)))) == pytest.approx(np.log(23))


def test_masked_msa_loss_looks_at_masked_tokens_only():
  rng = np.random.default_rng(1)
  logits, tokens = rng.normal(size=(3, 5, 23)).astype(np.float32), rng.integers(0, 22, (3, 5))
  mask = np.float32(rng.random((3, 5)) < 0.5)
  rows, columns = np.nonzero(mask)
  expected = -np.mean(log_softmax(logits)[rows, columns, tokens[rows, columns]])
  loss, gradient = jax.value_and_grad(classification.masked_msa_loss)(jnp.asarray(logits), tokens, mask)
  assert float(loss) == pytest.approx(expected, rel=1e-5)
  assert not np.any(gradient[mask == 0])


def test_the_gradient_of_a_cross_entropy_is_probability_minus_target():
  rng = np.random.default_rng(2)
  logits, tokens = jnp.asarray(rng.normal(size=(2, 3, 23)), jnp.float32), rng.integers(0, 22, (2, 3))
  gradient = jax.grad(classification.masked_msa_loss)(logits, tokens, np.ones((2, 3)))
  np.testing.assert_allclose(gradient * 6, jax.nn.softmax(logits) - np.eye(23)[tokens], atol=1e-6)


def structures(seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Predicted and true CA, and which of them are known."""
  rng = np.random.default_rng(seed)
  true = np.cumsum(2.2 * rng.normal(size=(40, 3)), axis=0)
  predicted = true + rng.normal(size=true.shape) * rng.choice([0.1, 3.0], (40, 1))
  return predicted.astype(np.float32), true.astype(np.float32), np.float32(rng.random(40) < 0.8)


def test_lddt_under_jit_is_the_lddt_of_the_scores():
  predicted, true, mask = structures()
  ours = lddt_ca(predicted, true, mask)
  np.testing.assert_allclose(ours[mask > 0], scores.lddt_ca(predicted, true, mask)[mask > 0], atol=1e-6)


def test_plddt_loss_aims_at_the_bin_of_the_true_lddt():
  predicted, true, mask = structures()
  lddt = scores.lddt_ca(predicted, true, mask)
  bins = np.minimum(np.floor(50 * lddt + 1e-5), 49).astype(int)
  logits = np.random.default_rng(4).normal(size=(40, 50)).astype(np.float32)
  expected = -np.mean(np.take_along_axis(log_softmax(logits), bins[:, None], axis=-1)[mask > 0])
  assert len(set(bins)) > 8
  assert float(plddt_loss(logits, predicted, true, mask, GOOD)) == pytest.approx(expected, rel=1e-5)


def test_a_perfect_prediction_falls_into_the_last_plddt_bin():
  _, true, mask = structures()
  logits = 100 * np.eye(50, dtype=np.float32)[np.full(40, 49)]
  assert float(plddt_loss(logits, true, true, mask, GOOD)) == pytest.approx(0, abs=1e-6)


def test_plddt_has_no_gradient_to_the_structure():
  predicted, true, mask = structures()
  logits = np.random.default_rng(5).normal(size=(40, 50)).astype(np.float32)
  gradient = jax.grad(classification.plddt_loss, argnums=1)(logits, jnp.asarray(predicted), true, mask, GOOD)
  assert not np.any(gradient)


@pytest.mark.parametrize('error, bin_', [(0.0, 0), (0.3, 1), (0.7, 2), (5.2, 11), (30.9, 62), (31.1, 63), (80.0, 63)])
def test_aligned_errors_fall_into_the_published_bins(error, bin_):
  true = Rigid(rotation=np.tile(np.eye(3, dtype=np.float32), (2, 1, 1)), translation=line(np.array([0.0, 5.0])))
  predicted = Rigid(rotation=true.rotation, translation=line(np.array([0.0, 5.0 + error])))
  logits = np.zeros((2, 2, 64), np.float32)
  logits[..., bin_] = 100
  logits[[0, 1], [0, 1]] = 100 * np.eye(64)[0]  # a residue is where it is
  assert float(pae_loss(logits, predicted, true, np.ones(2), GOOD)) == pytest.approx(0, abs=1e-6)
  if 0 < bin_ < 63:  # as published, what is read lies in the middle of the next bin
    assert 0.25 <= float(confidence.pae(logits)[0, 1]) - error <= 0.75


def test_the_aligned_error_is_that_of_the_column_seen_from_the_row():
  turned = np.tile(np.eye(3, dtype=np.float32), (2, 1, 1))
  turned[0] = np.diag([-1, -1, 1])  # the first residue's frame is wrong, so the second seems 20 Å off
  translation = line(np.array([0.0, 10.0]))
  true = Rigid(rotation=np.tile(np.eye(3, dtype=np.float32), (2, 1, 1)), translation=translation)
  logits = np.tile(100 * np.eye(64, dtype=np.float32)[0], (2, 2, 1))
  logits[0, 1] = 100 * np.eye(64)[41]  # 20.0 to 20.5 Å
  predicted = Rigid(rotation=turned, translation=line(np.array([0.0, 10.2])))
  logits[1, 0] = 0
  loss = pae_loss(logits, predicted, true, np.ones(2), GOOD)
  assert float(loss) == pytest.approx(np.log(64) / 4, rel=1e-5)


def test_experimentally_resolved_is_the_binary_cross_entropy_of_existing_atoms():
  rng = np.random.default_rng(6)
  logits = (3 * rng.normal(size=(5, 37))).astype(np.float32)
  exists, resolved = np.float32(rng.random((5, 37)) < 0.5), np.float32(rng.random((5, 37)) < 0.7)
  probability = special.expit(logits.astype(np.float64))
  costs = -np.where(resolved > 0, np.log(probability), np.log1p(-probability))
  loss = experimentally_resolved_loss(logits, resolved, exists, GOOD)
  assert float(loss) == pytest.approx(np.mean(costs[exists > 0]), rel=1e-5)


@pytest.mark.parametrize('resolution, counts', [(0.0, False), (0.05, False), (0.2, True), (2.9, True), (3.5, False)])
def test_confidence_is_learnt_from_accurate_structures_only(resolution, counts):
  predicted, true, mask = structures()
  rng = np.random.default_rng(7)
  frames = Rigid(rotation=np.tile(np.eye(3, dtype=np.float32), (40, 1, 1)), translation=true)
  resolution = np.float32(resolution)
  atoms = np.ones((40, 37), np.float32)
  losses = {
    'plddt': plddt_loss(rng.normal(size=(40, 50)), predicted, true, mask, resolution),
    'pae': pae_loss(rng.normal(size=(40, 40, 64)), frames, frames, mask, resolution),
    'resolved': experimentally_resolved_loss(rng.normal(size=(40, 37)), atoms, atoms, resolution),
  }
  for name, loss in losses.items():
    assert (float(loss) > 0) == counts, name


def test_without_anything_known_every_loss_is_zero():
  predicted, true, _ = structures()
  nothing = np.zeros(40, np.float32)
  frames = Rigid(rotation=np.zeros((40, 3, 3), np.float32), translation=true)
  assert float(distogram_loss(np.ones((40, 40, 64)), true, nothing)) == 0
  assert float(plddt_loss(np.ones((40, 50)), predicted, true, nothing, GOOD)) == 0
  assert float(pae_loss(np.ones((40, 40, 64)), frames, frames, nothing, GOOD)) == 0
  assert float(masked_msa_loss(np.ones((2, 40, 23)), np.zeros((2, 40), int), np.zeros((2, 40)))) == 0
