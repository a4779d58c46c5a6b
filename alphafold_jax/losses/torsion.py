# SPDX-License-Identifier: Apache-2.0
"""Losses of the torsion angles: the two terms of Algorithm 27 "torsionAngleLoss" (Suppl. 1.9.1).

Angles are points (sin, cos) of the plane: [N_layer, N_res, 7, 2], of pre-omega, phi, psi and chi1 to chi4.
"""

import jax
import jax.numpy as jnp

from alphafold_jax.schema import Array

_CHIS = slice(3, 7)
_MEAN_EPSILON = 1e-10  # added to the number of angles


def torsion_loss(angles: Array, true_angles: Array, alternative_angles: Array, mask: Array) -> jax.Array:
  """Mean squared distance of the predicted from the nearer of two true angles, over all layers: Algorithm 27 line 3.

  Departs from the paper: only chi angles count, as in the published program; FAPE covers the backbone's angles.

  Args:
    angles: [N_layer, N_res, 7, 2] of unit length
    true_angles, alternative_angles: [N_res, 7, 2]; they differ where half a turn changes names only
    mask: [N_res, 7]
  """
  chis = angles[:, :, _CHIS]

  def squared(target: Array) -> jax.Array:
    return jnp.sum(jnp.square(chis - target[:, _CHIS]), axis=-1)

  nearer = jnp.minimum(squared(true_angles), squared(alternative_angles))  # [N_layer, N_res, 4]
  return _masked_mean(nearer, mask[:, _CHIS])


def angle_norm_loss(unnormalized: Array, seq_mask: Array) -> jax.Array:
  """Mean distance of the predicted points from the unit circle, over all layers and angles: Algorithm 27 lines 1, 4.

  Args:
    unnormalized: [N_layer, N_res, 7, 2] as the network gave them
    seq_mask: [N_res]
  """
  norm = jnp.sqrt(jnp.sum(jnp.square(unnormalized), axis=-1) + 1e-6)
  return _masked_mean(jnp.abs(norm - 1), jnp.broadcast_to(seq_mask[:, None], norm.shape[1:]))


def _masked_mean(values: Array, mask: Array) -> jax.Array:
  """Mean over the unmasked angles [N_res, ...] of all layers [N_layer, N_res, ...]."""
  return jnp.sum(jnp.mean(values, axis=0) * mask) / (jnp.sum(mask) + _MEAN_EPSILON)
