# SPDX-License-Identifier: Apache-2.0
"""Frame aligned point error: Algorithm 28, and the two losses made of it (Suppl. 1.9.2, Algorithm 20).

F frames, P points; positions in Å, errors in units of 10 Å. In complexes the pairs of residues within chains and
between them have means of their own, and errors between chains another unit and a wider limit (Evans et al. 2021).
"""

import functools

import jax
import jax.numpy as jnp

from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.schema import Array

CLAMP = 10.0  # Å, Suppl. 1.9.2
SCALE = 10.0  # Å, Suppl. 1.9.2
EPSILON = 1e-4  # Å^2 in the root; also added to the number of pairs
FLOOR = 1e-8  # Å^2 in the root where AlphaFold-Multimer has it: smaller squares count as this, and nothing is added
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
  """Mean distance of predicted from true points in the local coordinates of every frame: Algorithm 28 "computeFAPE".

  Args:
    frames, true_frames: [F]
    frames_mask: [F]
    points, true_points: [P, 3] Å
    points_mask: [P]
    clamped: 1 limits every distance to 10 Å, 0 none; between, the two errors are mixed.

  Returns:
    a scalar in units of 10 Å.
  """
  squared = squared_errors(frames, true_frames, points, true_points)  # lines 1-2
  total = _total_error(squared, frames_mask, points_mask, clamped)
  return total / SCALE / (EPSILON + jnp.sum(frames_mask) * jnp.sum(points_mask))  # line 4


def _total_error(
  squared: Array, frames_mask: Array, points_mask: Array, clamped: Array | float = 1.0, floored: bool = False
) -> jax.Array:  # [F, P] Å^2, [F], [P]
  """The sum of the errors of all known pairs, Å: lines 3-4 without the mean."""
  limited = _limited(squared, CLAMP, clamped, floored)
  return jnp.sum(limited * frames_mask[:, None] * points_mask)


def _limited(squared: Array, clamp: float, clamped: Array | float, floored: bool) -> jax.Array:  # [F, P] Å
  """The errors; `clamped` says how far the limit counts."""
  distance = jnp.sqrt(jnp.maximum(squared, FLOOR) if floored else squared + EPSILON)
  return clamped * jnp.minimum(distance, clamp) + (1 - clamped) * distance


def squared_errors(frames: Rigid, true_frames: Rigid, points: Array, true_points: Array) -> jax.Array:
  """Squared distances of predicted from true points in the local coordinates of each frame: [F, P] Å^2."""
  x, y, z = (jnp.square(local - true) for local, true in zip(_local(frames, points), _local(true_frames, true_points)))
  return x + y + z


def _local(frames: Rigid, points: Array) -> list[jax.Array]:
  """The three local coordinates, each [F, P]: twice as fast as `Rigid.invert_apply`, whose last axis has size 3."""
  x, y, z = (points[:, axis] - frames.translation[:, axis, None] for axis in range(3))
  columns = (frames.rotation[:, :, local, None] for local in range(3))  # each [F, 3, 1]
  return [column[:, 0] * x + column[:, 1] * y + column[:, 2] * z for column in columns]


def backbone_fape(frames: Rigid, true_frames: Rigid, mask: Array, clamped: Array) -> jax.Array:
  """FAPE of the backbone, averaged over all layers: Algorithm 20 line 17.

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
  groups: Rigid,
  true_groups: Rigid,
  groups_mask: Array,
  atoms: Array,
  true_atoms: Array,
  atoms_mask: Array,
  floored: bool = False,
) -> jax.Array:
  """Clamped FAPE of all atoms in all rigid groups: Algorithm 20 line 28.

  Args:
    groups, true_groups: [N_res, 8]
    groups_mask: [N_res, 8]
    atoms, true_atoms: [N_res, 14, 3] Å
    atoms_mask: [N_res, 14]
    floored: as in `fape_of_pairs`
  """
  points, true_points, points_mask = atoms.reshape(-1, 3), true_atoms.reshape(-1, 3), atoms_mask.reshape(-1)

  # One rigid group of all residues at a time, and distances computed anew for the gradient: at most N x 14 N are held.
  @functools.partial(jax.checkpoint, prevent_cse=False)
  def of_kind(kind: tuple[Rigid, Rigid, jax.Array]) -> jax.Array:
    frames, true_frames, frames_mask = kind
    squared = squared_errors(frames, true_frames, points, true_points)
    return _total_error(squared, frames_mask, points_mask, floored=floored)

  by_kind = jax.tree.map(
    lambda leaf: jnp.stack([leaf[:, group] for group in _GROUPS]), (groups, true_groups, groups_mask)
  )
  total = jnp.sum(jax.lax.map(of_kind, by_kind))
  pairs = jnp.sum(groups_mask) * jnp.sum(atoms_mask)
  return total / SCALE / (EPSILON + pairs)


def fape_of_pairs(
  frames: Rigid,
  true_frames: Rigid,
  mask: Array,
  pairs: Array,
  clamped: Array | float = 1.0,
  clamp: float = CLAMP,
  unit: float = SCALE,
  floored: bool = False,
) -> jax.Array:
  """FAPE of some pairs of backbones, a mean over these pairs and all layers: within chains, or between them.

  As `folding_multimer.backbone_loss` of the published program, if `floored`.

  Args:
    frames: [N_layer, N_res]
    true_frames: [N_res]
    mask: [N_res]
    pairs: [N_res, N_res] 1: the position of the second residue in the frame of the first counts
    clamped: 1 limits every distance, 0 none; between, the two errors are mixed
    clamp: the limit, Å
    unit: of the result, Å
    floored: distances are at least 1e-4 Å; otherwise `EPSILON` is added to their squares, as for single chains

  Returns:
    a scalar in that unit.
  """
  counted = pairs * mask[:, None] * mask

  def of_layer(layer: Rigid) -> jax.Array:
    squared = squared_errors(layer, true_frames, layer.translation, true_frames.translation)
    return jnp.sum(_limited(squared, clamp, clamped, floored) * counted)

  return jnp.mean(jax.vmap(of_layer)(frames)) / unit / (EPSILON + jnp.sum(counted))


def same_chain(asym_id: Array) -> jax.Array:
  """1 for pairs of residues of one chain, 0 for others: [N_res, N_res] of [N_res]."""
  return jnp.asarray(asym_id[:, None] == asym_id, jnp.float32)
