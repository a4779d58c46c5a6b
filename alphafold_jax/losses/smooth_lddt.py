# SPDX-License-Identifier: Apache-2.0
"""A loss that falls as lDDT rises; not of AlphaFold 2: Abramson et al. 2024, Algorithm 27 "SmoothLDDTLoss".

FAPE up to its limit weighs an error of 8 Å as eight of 1 Å, so where a fold is not right yet, what is near says little.
Here only errors of a few Å between neighbours count, in whatever frame.
"""

import jax
import jax.numpy as jnp

from alphafold_jax.schema import Array

CUTOFF = 15.0  # Å; farther pairs do not count
TOLERANCES = (0.5, 1.0, 2.0, 4.0)  # Å
_SOFTENING = 1e-4  # Å^2 in the roots
_MEAN_EPSILON = 1e-10  # added to the number of pairs


def smooth_lddt_loss(atoms: Array, true_atoms: Array, mask: Array) -> jax.Array:
  """1 - lDDT, where a distance is kept by the sigmoid of how far its error, Å, lies below each tolerance: a scalar.

  Departs from the algorithm: pairs within a residue are left out, as by lDDT itself.

  Args:
    atoms, true_atoms: [N_res, A, 3] Å
    mask: [N_res, A] atoms that are known
  """
  num_res, num_atoms = mask.shape
  residue = jnp.repeat(jnp.arange(num_res), num_atoms)
  true = _distances(true_atoms)  # line 2
  known = jnp.ravel(mask)
  pairs = known[:, None] * known * (residue[:, None] != residue) * (true < CUTOFF)  # line 5
  error = jnp.abs(_distances(atoms) - true)  # lines 1, 3
  kept = sum(jax.nn.sigmoid(tolerance - error) for tolerance in TOLERANCES) / len(TOLERANCES)  # line 4
  return jnp.sum(pairs * (1 - kept)) / (_MEAN_EPSILON + jnp.sum(pairs))  # lines 6-7


def _distances(atoms: Array) -> jax.Array:
  """Of all atoms [N_res, A, 3] from one another: [N_res A, N_res A] Å."""
  x, y, z = (jnp.ravel(atoms[..., axis]) for axis in range(3))
  squared = sum(jnp.square(each[:, None] - each) for each in (x, y, z))
  return jnp.sqrt(squared + _SOFTENING)
