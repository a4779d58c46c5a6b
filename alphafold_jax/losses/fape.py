# SPDX-License-Identifier: Apache-2.0
"""Frame aligned point error: Algorithm 28, and the two losses made of it (Suppl. 1.9.2, Algorithm 20).

F frames, P points; positions in Å, errors in units of 10 Å.
"""

import functools

import jax
import jax.numpy as jnp

from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.schema import Array

CLAMP = 10.0  # Å, Suppl. 1.9.2
SCALE = 10.0  # Å, Suppl. 1.9.2
EPSILON = 1e-4  # Å^2 in the root; also added to the number of pairs
_GROUPS = (0, 3, 4, 5, 6, 7)  # rigid groups that can be known: pre-omega and phi turn no heavy atom


def frame_aligned_point_error(
  frames: Rigid,
  true_frames: Rigid,
  frames_mask: Array,
  points: Array,
  true_points: Array,
  points_mask: Array,
  clamped: Array | float = 1.0,
) -> jax.Array:
  """Mean distance of the points from where they should be, seen from every frame: Algorithm 28 "computeFAPE".

  Args:
    frames, true_frames: [F]
    frames_mask: [F]
    points, true_points: [P, 3] Å
    points_mask: [P]
    clamped: 1: no distance counts for more than 10 Å; 0: all count in full; between: a mixture.

  Returns:
    a scalar in units of 10 Å.
  """
  pairs = jnp.sum(frames_mask) * jnp.sum(points_mask)
  total = _total_error(frames, true_frames, frames_mask, points, true_points, points_mask, clamped)
  return total / SCALE / (EPSILON + pairs)  # line 4


def _total_error(frames, true_frames, frames_mask, points, true_points, points_mask, clamped) -> jax.Array:
  """The sum over all known pairs, Å: lines 1-4, their mean aside."""
  distance = jnp.sqrt(squared_errors(frames, true_frames, points, true_points) + EPSILON)
  limited = clamped * jnp.minimum(distance, CLAMP) + (1 - clamped) * distance
  return jnp.sum(limited * frames_mask[:, None] * points_mask)


def squared_errors(frames: Rigid, true_frames: Rigid, points: Array, true_points: Array) -> jax.Array:
  """Squared distance of each point from where it should be, seen from each frame: [F, P] Å^2."""
  pairs = zip(_local(frames, points), _local(true_frames, true_points), strict=True)
  return sum(jnp.square(local - true_local) for local, true_local in pairs)


def _local(frames: Rigid, points: Array) -> list[jax.Array]:
  """The three local coordinates [F, P], one by one: twice as fast as `Rigid.invert_apply`, whose last axis has 3."""
  offsets = [points[:, axis] - frames.translation[:, axis, None] for axis in range(3)]
  return [sum(frames.rotation[:, axis, local, None] * offsets[axis] for axis in range(3)) for local in range(3)]


def backbone_fape(frames: Rigid, true_frames: Rigid, mask: Array, clamped: Array) -> jax.Array:
  """The error of the backbones of all layers, averaged: Algorithm 20 line 17.

  Args:
    frames: [N_layer, N_res]
    true_frames: [N_res]
    mask: [N_res]
    clamped: 1 or 0, or a mixture; drawn per mini-batch (Suppl. 1.11.5).
  """

  def of_layer(layer: Rigid) -> jax.Array:
    return frame_aligned_point_error(
      layer, true_frames, mask, layer.translation, true_frames.translation, mask, clamped
    )

  return jnp.mean(jax.vmap(of_layer)(frames))


def side_chain_fape(
  groups: Rigid, true_groups: Rigid, groups_mask: Array, atoms: Array, true_atoms: Array, atoms_mask: Array
) -> jax.Array:
  """The error of all atoms seen from all rigid groups, clamped: the last FAPE of Algorithm 20.

  Args:
    groups, true_groups: [N_res, 8]
    groups_mask: [N_res, 8]
    atoms, true_atoms: [N_res, 14, 3] Å
    atoms_mask: [N_res, 14]
  """
  points = (atoms.reshape(-1, 3), true_atoms.reshape(-1, 3), atoms_mask.reshape(-1))

  # All frames of a kind at a time, and the distances again for the gradient: so no more than N x 14 N pairs are held.
  @functools.partial(jax.checkpoint, prevent_cse=False)
  def of_kind(kind):
    return _total_error(*kind, *points, clamped=1.0)

  by_kind = jax.tree.map(
    lambda leaf: jnp.stack([leaf[:, group] for group in _GROUPS]), (groups, true_groups, groups_mask)
  )
  total = jnp.sum(jax.lax.map(of_kind, by_kind))
  pairs = jnp.sum(groups_mask) * jnp.sum(atoms_mask)
  return total / SCALE / (EPSILON + pairs)
