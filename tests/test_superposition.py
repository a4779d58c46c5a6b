# SPDX-License-Identifier: Apache-2.0
"""Superposition, RMSD and lDDT: what must hold of them, and parity with Biopython and the published program."""

import numpy as np
import pytest
from alphafold.model import lddt
from Bio import SVDSuperimposer

from alphafold_jax import errors
from alphafold_jax.geometry import scores, superposition


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
  return np.random.default_rng(seed).normal(scale=scale, size=shape)


def random_walk(seed: int, num_res: int) -> np.ndarray:
  """Points [N, 3] as far from one another as consecutive CAs (Å)."""
  steps = normal(seed, num_res, 3)
  return np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=-1, keepdims=True), axis=0)


def random_motion(seed: int) -> tuple[np.ndarray, np.ndarray]:
  rotation, _ = np.linalg.qr(normal(seed, 3, 3))
  return rotation * np.linalg.det(rotation), normal(seed + 1, 3, scale=10)


def test_kabsch_recovers_the_motion_between_two_copies():
  (rotation, translation), points = random_motion(0), normal(2, 30, 3, scale=10)
  moved = points @ rotation.T + translation
  found_rotation, found_translation = superposition.kabsch(points, moved)
  np.testing.assert_allclose(found_rotation, rotation, atol=1e-9)
  np.testing.assert_allclose(found_translation, translation, atol=1e-9)
  assert superposition.rmsd(points, moved) < 1e-9


def test_kabsch_never_mirrors():
  points = normal(0, 20, 3)
  mirrored = points * np.array([1, 1, -1])
  rotation, _ = superposition.kabsch(points, mirrored)
  assert np.linalg.det(rotation) == pytest.approx(1)
  assert superposition.rmsd(points, mirrored) > 0.1


def test_rmsd_equals_that_of_biopython():
  a, b = normal(0, 25, 3), normal(1, 25, 3)
  theirs = SVDSuperimposer.SVDSuperimposer()
  theirs.set(b, a)
  theirs.run()
  assert superposition.rmsd(a, b) == pytest.approx(theirs.get_rms(), abs=1e-9)


def test_points_without_weight_do_not_count_even_if_not_a_number():
  a, b, weights = normal(0, 12, 3), normal(1, 12, 3), np.ones(12)
  weights[9:] = 0
  a[9:] = np.nan
  assert superposition.rmsd(a, b, weights) == pytest.approx(superposition.rmsd(a[:9], b[:9]))
  assert superposition.rmsd(a, b, 5 * weights) == pytest.approx(superposition.rmsd(a, b, weights))


@pytest.mark.parametrize(
  'a, b, weights, said',
  [((4, 3), (4, 3), 0, 'none of the 4'), ((4, 3), (5, 3), 1, r'\(5, 3\)'), ((4, 2), (4, 2), 1, r'\(4, 2\)')],
)
def test_superposing_what_cannot_be_is_an_input_error(a, b, weights, said):
  with pytest.raises(errors.InputError, match=said):
    superposition.kabsch(np.ones(a), np.ones(b), np.full(a[0], weights))


@pytest.mark.parametrize('cutoff', [15.0, 8.0])
def test_lddt_equals_the_published_one(cutoff):
  true = random_walk(0, 86)
  predicted = true + normal(1, *true.shape, scale=0.8)
  mask = (np.arange(len(true)) % 7 > 0).astype(np.float32)
  published = lddt.lddt(predicted[None], true[None], mask[None, :, None], cutoff=cutoff, per_residue=True)[0]
  ours = scores.lddt_ca(predicted, true, mask, cutoff)
  np.testing.assert_allclose(ours, published, atol=1e-6)
  assert 0.3 < ours.mean() < 0.9


def test_lddt_is_one_for_the_true_structure_moved_as_a_whole():
  true = random_walk(0, 86)
  rotation, translation = random_motion(2)
  moved = true @ rotation.T + translation
  np.testing.assert_allclose(scores.lddt_ca(moved, true, np.ones(len(true))), 1, atol=1e-6)


def test_lddt_ignores_unknown_positions_even_if_not_a_number():
  true = random_walk(0, 86)
  predicted, mask = true + normal(1, *true.shape), np.ones(len(true))
  mask[60:], true[60:] = 0, np.nan
  alone = scores.lddt_ca(predicted[:60], true[:60], mask[:60])
  np.testing.assert_allclose(scores.lddt_ca(predicted, true, mask)[:60], alone)
