# SPDX-License-Identifier: Apache-2.0
"""Squared distances between the points of residues, line 7 of Algorithm 22."""

import jax
import jax.numpy as jnp

_HIGHEST = jax.lax.Precision.HIGHEST  # coordinates


@jax.custom_vjp
def squared_distances(points: jax.Array, others: jax.Array) -> jax.Array:
  """For every two residues and each head the sum, over its points p, of the squared distances between points p.

  The gradients, of reverse mode only, are matrix products; no differences of points are kept for them.

  Args:
    points: [b, H, P, 3]
    others: [N, H, P, 3]

  Returns:
    [b, N, H]
  """
  return jnp.sum(jnp.square(points[:, None] - others[None]), axis=(-2, -1))


def _backwards(arguments, gradient):
  points, others = arguments

  def towards(own, ends, gradient):  # sum_j 2 g_ij (own_i - ends_j)
    total = jnp.sum(gradient, axis=1)[..., None, None]
    return 2 * (own * total - jnp.einsum('ijh,jhpx->ihpx', gradient, ends, precision=_HIGHEST))

  return towards(points, others, gradient), towards(others, points, gradient.swapaxes(0, 1))


squared_distances.defvjp(lambda *arguments: (squared_distances(*arguments), arguments), _backwards)
