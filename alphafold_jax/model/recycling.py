# SPDX-License-Identifier: Apache-2.0
"""Around one pass of the network: what the first pass is given, and when to stop (Algorithms 30 and 31)."""

import jax
import jax.numpy as jnp

from alphafold_jax import schema
from alphafold_jax.ops import axial

_CA = 1


def initial_recycled(num_res: int, c_m: int, c_z: int, dtype: str = 'float32') -> schema.Recycled:
  """The zeros that the first pass recycles (Alg. 30 line 1); of the pair representation, a device's share.

  Args:
    num_res: residues
    c_m, c_z: channels of the alignment and of pairs
    dtype: of the pair representation, if it is not to take the room of float32: the trunk's own
  """
  return schema.Recycled(
    msa_first_row=jnp.zeros((num_res, c_m)),
    pair=jnp.zeros((num_res // axial.num_shares(), num_res, c_z), dtype),
    atom_positions=jnp.zeros((num_res, 37, 3)),
  )


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
    return jnp.sqrt(jnp.sum(jnp.square(axial.share(ca, 0)[:, None] - ca[None]), axis=-1))

  pairs = axial.share(mask, 0)[:, None] * mask[None]
  square = pairs * jnp.square(distances(previous) - distances(current))
  total = jnp.sum(axial.gather(jnp.sum(square, axis=1), 0))
  return jnp.sqrt(total / jnp.maximum(jnp.square(jnp.sum(mask)), 1.0))
