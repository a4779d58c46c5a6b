# SPDX-License-Identifier: Apache-2.0
"""Frame aligned point error: closed forms, invariances, and that the side chains' version holds few pairs at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_targets
from scipy.spatial import transform

from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.losses import fape

fape_of = small_targets.fast_jit(fape.frame_aligned_point_error)
AT_TRUTH = np.sqrt(fape.EPSILON) / fape.SCALE  # what is left of the error where all is right


def random_frames(rng: np.random.Generator, *shape: int) -> Rigid:
  turns = transform.Rotation.random(int(np.prod(shape)), rng).as_matrix()
  return Rigid(
    rotation=jnp.asarray(turns.reshape(*shape, 3, 3), jnp.float32),
    translation=jnp.asarray(4 * rng.normal(size=(*shape, 3)), jnp.float32),
  )


def random_points(rng: np.random.Generator, *shape: int) -> jax.Array:
  return jnp.asarray(4 * rng.normal(size=(*shape, 3)), jnp.float32)


def moved(rng: np.random.Generator, frames: Rigid, points: jax.Array) -> tuple[Rigid, jax.Array]:
  """Both under one random motion of space."""
  motion = random_frames(rng, 1)[0]
  return motion[(None,) * (frames.translation.ndim - 1)] @ frames, motion[(None,) * (points.ndim - 1)].apply(points)


def naive(frames, true_frames, frames_mask, points, true_points, points_mask, clamp):
  """Algorithm 28 in double precision, pair by pair."""
  errors = []
  as_double = [np.asarray(x, np.float64) for x in (points, true_points)]
  for i in np.nonzero(frames_mask)[0]:
    local = [
      (x - np.asarray(T.translation[i], np.float64)) @ np.asarray(T.rotation[i], np.float64)
      for T, x in zip((frames, true_frames), as_double)
    ]
    distance = np.sqrt(np.sum((local[0] - local[1]) ** 2, axis=-1) + 1e-4)
    errors += list(np.minimum(distance, clamp)[np.asarray(points_mask) > 0])
  return np.sum(errors) / 10 / (len(errors) + 1e-4)


@pytest.fixture
def problem():
  """Frames and points on both sides, with masks."""
  rng = np.random.default_rng(0)
  frames, true_frames = random_frames(rng, 7), random_frames(rng, 7)
  points, true_points = random_points(rng, 11), random_points(rng, 11)
  return frames, true_frames, jnp.float32(rng.random(7) < 0.7), points, true_points, jnp.float32(rng.random(11) < 0.7)


@pytest.mark.parametrize('clamped, clamp', [(1.0, 10.0), (0.0, np.inf)])
def test_fape_equals_the_algorithm_pair_by_pair(problem, clamped, clamp):
  assert float(fape_of(*problem, clamped)) == pytest.approx(naive(*problem, clamp), rel=1e-5)


def test_a_share_of_clamping_mixes_the_two_errors(problem):
  of = [float(fape_of(*problem, share)) for share in (0.0, 0.25, 1.0)]
  assert of[1] == pytest.approx(0.75 * of[0] + 0.25 * of[2], rel=1e-6)


def test_fape_is_invariant_to_motions_of_either_structure(problem):
  frames, true_frames, frames_mask, points, true_points, points_mask = problem
  rng = np.random.default_rng(1)
  before = fape_of(*problem)
  frames, points = moved(rng, frames, points)
  true_frames, true_points = moved(rng, true_frames, true_points)
  after = fape_of(frames, true_frames, frames_mask, points, true_points, points_mask)
  assert float(after) == pytest.approx(float(before), rel=1e-5)


def test_fape_tells_a_mirror_image(problem):
  frames, _, frames_mask, points, _, points_mask = problem
  mirror = jnp.array([1, 1, -1], jnp.float32)
  # The image's frames, built anew from its atoms, have their z-axes the other way round.
  rotation = mirror[:, None] * frames.rotation * mirror
  image = Rigid(rotation=rotation, translation=frames.translation * mirror)
  error = fape_of(image, frames, frames_mask, points * mirror, points, points_mask)
  assert float(error) > 0.1


def test_fape_of_the_truth_is_the_root_of_epsilon(problem):
  _, frames, frames_mask, _, points, points_mask = problem
  error = fape_of(frames, frames, frames_mask, points, points, points_mask)
  assert float(error) == pytest.approx(AT_TRUTH, rel=1e-3)


def test_one_displaced_point_costs_its_share_and_no_more_than_the_clamp():
  rng = np.random.default_rng(2)
  frames, points, num = random_frames(rng, 4), random_points(rng, 5), 5
  for shift, counted in ((3.0, 3.0), (30.0, 10.0)):
    displaced = points.at[2, 1].add(shift)
    error = fape_of(frames, frames, jnp.ones(4), displaced, points, jnp.ones(num))
    assert float(error) == pytest.approx((counted / 10 + (num - 1) * AT_TRUTH) / num, rel=1e-3)


def test_masked_frames_and_points_have_no_gradient(problem):
  frames, true_frames, frames_mask, points, true_points, points_mask = problem
  gradient = small_targets.fast_jit(jax.grad(fape.frame_aligned_point_error, argnums=(0, 3)))
  to_frames, to_points = gradient(frames, true_frames, frames_mask, points, true_points, points_mask)
  assert not np.any(to_points[points_mask == 0])
  assert np.any(to_points[points_mask > 0])
  assert not np.any(to_frames.rotation[frames_mask == 0])
  assert not np.any(to_frames.translation[frames_mask == 0])


def test_backbone_fape_is_the_mean_over_layers():
  rng = np.random.default_rng(3)
  layers, true = random_frames(rng, 3, 6), random_frames(rng, 6)
  mask = jnp.array([1, 1, 0, 1, 1, 1], jnp.float32)
  each = [naive(layers[i], true, mask, layers[i].translation, true.translation, mask, np.inf) for i in range(3)]
  assert float(small_targets.fast_jit(fape.backbone_fape)(layers, true, mask, 0.0)) == pytest.approx(
    np.mean(each), rel=1e-5
  )


def side_chain_problem(num_res: int):
  """Groups, true groups, their mask (no pre-omega, no phi), atoms, true atoms, their mask."""
  rng = np.random.default_rng(4)
  groups_mask = np.float32(rng.random((num_res, 8)) < 0.6)
  groups_mask[:, 1:3] = 0
  atoms_mask = jnp.float32(rng.random((num_res, 14)) < 0.6)
  return (
    random_frames(rng, num_res, 8),
    random_frames(rng, num_res, 8),
    jnp.asarray(groups_mask),
    random_points(rng, num_res, 14),
    random_points(rng, num_res, 14),
    atoms_mask,
  )


def all_at_once(groups, true_groups, groups_mask, atoms, true_atoms, atoms_mask):
  """Algorithm 28 on every group and atom in one go."""

  def flat(leaf):
    return leaf.reshape(-1, *leaf.shape[2:])

  groups, true_groups = jax.tree.map(flat, (groups, true_groups))
  return fape.frame_aligned_point_error(
    groups, true_groups, flat(groups_mask), flat(atoms), flat(true_atoms), flat(atoms_mask)
  )


def test_side_chain_fape_by_kinds_equals_all_pairs_at_once():
  groups, true_groups, groups_mask, atoms, true_atoms, atoms_mask = side_chain_problem(5)

  def of(function):
    def loss(groups, atoms):
      return function(groups, true_groups, groups_mask, atoms, true_atoms, atoms_mask)

    return small_targets.fast_jit(jax.value_and_grad(loss, argnums=(0, 1)))(groups, atoms)

  (value, gradient), (expected, expected_gradient) = of(fape.side_chain_fape), of(all_at_once)
  assert float(value) == pytest.approx(float(expected), rel=1e-6)
  for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient)):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * float(np.abs(b).max()))


def test_the_gradient_of_side_chain_fape_never_holds_all_pairs():
  num_res = 64
  groups, true_groups, groups_mask, atoms, true_atoms, atoms_mask = side_chain_problem(num_res)

  def temporary_bytes(function):
    def loss(groups, atoms):
      return function(groups, true_groups, groups_mask, atoms, true_atoms, atoms_mask)

    compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(groups, atoms).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporary_bytes(fape.side_chain_fape) < 0.25 * temporary_bytes(all_at_once)
