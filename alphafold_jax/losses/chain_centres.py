# SPDX-License-Identifier: Apache-2.0
"""The loss of chains that come too near to one another: Evans et al. 2021, 2.5.

In early training chains end up inside one another, where the limited errors of FAPE have little to say.
"""

import jax
import jax.numpy as jnp

from alphafold_jax.losses import fape
from alphafold_jax.schema import Array

TOLERATED = 4.0  # Å by which two centres may be too near, Evans et al. 2.5
UNIT = 20.0  # Å


def chain_centre_loss(predicted: Array, true: Array, mask: Array, asym_id: Array) -> jax.Array:
  """Mean over pairs of chains of how much nearer their centres are than in the true structure, squared.

  The mean is taken over pairs of residues that count as much as makes every pair of chains count once: so the number of
  chains need not be known, and pieces of chains in a crop are chains.

  Args:
    predicted, true: [N_res, 3] Å, CA
    mask: [N_res] of the true positions that are known
    asym_id: [N_res]

  Returns:
    a scalar in units of 20 Å, squared; 0 for a single chain.
  """
  same = fape.same_chain(asym_id) * mask[:, None] * mask
  share = mask / jnp.maximum(jnp.sum(same, axis=1), 1)  # [N_res], 1 summed over each chain
  inside = same * share  # [N_res, N_res], each row the mean over a residue's chain
  pairs = share[:, None] * share * (1 - fape.same_chain(asym_id))
  shortfall = _distances(inside, predicted) - _distances(inside, true) + TOLERATED
  return jnp.sum(pairs * jnp.square(jnp.minimum(shortfall, 0) / UNIT)) / jnp.maximum(jnp.sum(pairs), 1e-6)


def _distances(inside: jax.Array, points: Array) -> jax.Array:  # [N_res, N_res] Å
  """The distances of the centres of each two residues' chains."""
  centres = jnp.einsum('ij,jx->ix', inside, points, precision=jax.lax.Precision.HIGHEST)
  squared = jnp.sum(jnp.square(centres[:, None] - centres), axis=-1)
  return jnp.sqrt(1e-8 + squared)
