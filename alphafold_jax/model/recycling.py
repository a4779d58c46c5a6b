# SPDX-License-Identifier: Apache-2.0
"""Recycling: the passes one after another (Algorithms 30 and 31), and how far a structure moved between two."""

import jax
import jax.numpy as jnp

from alphafold_jax import ops, schema
from alphafold_jax.model.alphafold import Context, Network, Params

_CA = 1


def recycle(
  network: Network,
  params: Params,
  key: jax.Array,
  batch: schema.Batch,
  context: Context,
  num_passes: jax.Array | int,
) -> schema.Outputs:
  """Runs the network a number of times, each pass on what the one before left; one program for any number.

  Gradients flow through the last pass alone (Alg. 31). A prediction, which looks at every pass, has its own loop around
  the compiled pass (prediction.py).

  Args:
    network: from `alphafold.network`
    params: its parameters
    key: consumed; pass i draws from `fold_in(key, i)`
    batch: the protein
    context: from `network.prepare`
    num_passes: 1 or more, recycles and one

  Returns:
    the last pass's outputs.
  """
  fixed_params, fixed_context = jax.lax.stop_gradient((params, context))

  def one_pass(index, previous):
    key_pass = jax.random.fold_in(key, index)
    return network.iterate(fixed_params, key_pass, batch, fixed_context, previous).recycled

  previous = jax.lax.fori_loop(0, num_passes - 1, one_pass, network.initial(len(batch.aatype)))
  key_pass = jax.random.fold_in(key, num_passes - 1)
  return network.iterate(params, key_pass, batch, context, jax.lax.stop_gradient(previous))


def distance_change(previous: jax.Array, current: jax.Array, mask: jax.Array) -> jax.Array:
  """The root mean square change of all distances between C-alpha atoms, by which a prediction stops early.

  Args:
    previous, current: [N_res, 37, 3] Å
    mask: [N_res]

  Returns:
    scalar, Å
  """

  def distances(positions):
    return jnp.sqrt(jnp.sum(jnp.square(ops.pairwise(jnp.subtract, positions[:, _CA])), axis=-1))

  square = ops.pairwise(jnp.multiply, mask) * jnp.square(distances(previous) - distances(current))
  total = jnp.sum(ops.all_residues(jnp.sum(square, axis=1)))
  return jnp.sqrt(total / jnp.maximum(jnp.square(jnp.sum(mask)), 1.0))
