# SPDX-License-Identifier: Apache-2.0
"""Around one pass of the network: what the first pass is given, and when to stop (Algorithms 30 and 31)."""

import jax
import jax.numpy as jnp

from alphafold_jax import schema

_CA = 1


def initial_recycled(num_res: int, c_m: int, c_z: int) -> schema.Recycled:
  """The zeros that the first pass recycles (Alg. 30 line 1)."""
  return schema.Recycled(
      msa_first_row=jnp.zeros((num_res, c_m)),
      pair=jnp.zeros((num_res, num_res, c_z)),
      atom_positions=jnp.zeros((num_res, 37, 3)))


def distance_change(previous: jax.Array, current: jax.Array, mask: jax.Array) -> jax.Array:
  """How far two structures differ: the root mean square change of all C-alpha distances.

  Args:
    previous, current: [N_res, 37, 3] Å
    mask: [N_res]

  Returns:
    scalar, Å
  """
  def distances(positions):
    ca = positions[:, _CA]
    return jnp.sqrt(jnp.sum(jnp.square(ca[:, None] - ca[None]), axis=-1))

  pairs = mask[:, None] * mask[None]
  square = jnp.square(distances(previous) - distances(current))
  return jnp.sqrt(jnp.sum(pairs * square) / jnp.maximum(jnp.sum(pairs), 1.0))
