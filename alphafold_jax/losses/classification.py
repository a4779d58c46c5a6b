# SPDX-License-Identifier: Apache-2.0
"""Cross-entropies of the heads (Suppl. 1.9.6 to 1.9.10); their bins are those that confidence.py reads.

The losses of pLDDT, aligned errors and resolved atoms count only for structures at 0.1 to 3 Å resolution: not for NMR
structures and predictions, whose resolution is 0. They return 0 for all others.
"""

import jax
import jax.numpy as jnp

from alphafold_jax import confidence
from alphafold_jax.geometry import lddt
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.losses import fape
from alphafold_jax.schema import Array

MIN_RESOLUTION, MAX_RESOLUTION = 0.1, 3.0  # Å, Suppl. 1.9.6, 1.9.7 and 1.9.10


def distogram_loss(logits: Array, pseudo_beta: Array, mask: Array) -> jax.Array:
  """Cross-entropy of the distances between C-beta atoms: Suppl. 1.9.8.

  Args:
    logits: [N_res, N_res, 64]
    pseudo_beta: [N_res, 3] Å
    mask: [N_res]
  """
  squared = jnp.sum(jnp.square(pseudo_beta[:, None] - pseudo_beta[None]), axis=-1)
  bins = _bins(squared, jnp.square(jnp.asarray(confidence.distogram_edges(logits.shape[-1]))))
  return _masked_mean(_cross_entropy(logits, bins), mask[:, None] * mask, epsilon=1e-6)


def masked_msa_loss(logits: Array, tokens: Array, mask: Array) -> jax.Array:
  """Cross-entropy of the tokens that were hidden from the network: Suppl. 1.9.9.

  Args:
    logits: [N_seq, N_res, 23], of networks of complexes 22
    tokens: [N_seq, N_res] before masking
    mask: [N_seq, N_res] where they may have been replaced
  """
  return _masked_mean(_cross_entropy(logits, tokens), mask)


def plddt_loss(logits: Array, predicted: Array, true: Array, mask: Array, resolution: Array) -> jax.Array:
  """Cross-entropy of the predicted structure's lDDT-C-alpha: Suppl. 1.9.6, for Algorithm 29.

  Args:
    logits: [N_res, 50]
    predicted, true: [N_res, 3] Å, CA
    mask: [N_res]
    resolution: Å
  """
  num_bins = logits.shape[-1]
  scores = lddt_ca(jax.lax.stop_gradient(predicted), true, mask)
  bins = jnp.minimum(jnp.floor(scores * num_bins).astype(jnp.int32), num_bins - 1)
  return _masked_mean(_cross_entropy(logits, bins), mask) * _is_accurate(resolution)


def lddt_ca(predicted: Array, true: Array, mask: Array) -> jax.Array:
  """lDDT of each residue from CA atoms, 0 to 1 [N_res]: `geometry.lddt.lddt_ca` for use under jit.

  Args:
    predicted, true: [N_res, 3] Å
    mask: [N_res] true positions that are known
  """

  def distances(points: Array) -> jax.Array:
    return jnp.sqrt(1e-10 + jnp.sum(jnp.square(points[:, None] - points[None]), axis=-1))

  true_distances = distances(true)
  others = 1 - jnp.eye(len(mask))
  counted = mask[:, None] * mask * others * (true_distances < lddt.CUTOFF)
  deviations = jnp.abs(true_distances - distances(predicted))
  kept = sum((deviations < tolerance).astype(jnp.float32) for tolerance in lddt.TOLERANCES) / len(lddt.TOLERANCES)
  return (1e-10 + jnp.sum(counted * kept, axis=-1)) / (1e-10 + jnp.sum(counted, axis=-1))


def pae_loss(logits: Array, frames: Rigid, true_frames: Rigid, mask: Array, resolution: Array) -> jax.Array:
  """Cross-entropy of the error of residue j when the structures are aligned on residue i: Suppl. 1.9.7.

  Departs from the paper: the published edges begin at 0, so only an exact hit is in the first bin.

  Args:
    logits: [N_res, N_res, 64]
    frames, true_frames: [N_res]
    mask: [N_res]
    resolution: Å
  """
  frames = jax.lax.stop_gradient(frames)
  squared = fape.squared_errors(frames, true_frames, frames.translation, true_frames.translation)
  edges = jnp.linspace(0, confidence.PAE_MAX_BIN, logits.shape[-1] - 1)
  loss = _masked_mean(_cross_entropy(logits, _bins(squared, jnp.square(edges))), mask[:, None] * mask)
  return loss * _is_accurate(resolution)


def experimentally_resolved_loss(logits: Array, resolved: Array, exists: Array, resolution: Array) -> jax.Array:
  """Cross-entropy of whether each atom was seen in the experiment: Suppl. 1.9.10.

  Args:
    logits: [N_res, 37]
    resolved: [N_res, 37]
    exists: [N_res, 37] atoms of the residue types
    resolution: Å
  """
  logits = jnp.asarray(logits, jnp.float32)
  cross_entropy = jnp.where(resolved > 0, jax.nn.softplus(-logits), jax.nn.softplus(logits))
  return _masked_mean(cross_entropy, exists) * _is_accurate(resolution)


def _cross_entropy(logits: Array, target: Array) -> jax.Array:
  """-log softmax(logits)[target] over the last axis, selected by comparison: its gradient needs no scatter."""
  log_probability = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32), axis=-1)
  is_target = target[..., None] == jnp.arange(logits.shape[-1])
  return -jnp.sum(jnp.where(is_target, log_probability, 0), axis=-1)


def _bins(values: Array, edges: Array) -> jax.Array:
  """The bin of each value: the number of edges [N_edge] below it."""
  return jnp.sum(values[..., None] > edges, axis=-1)


def _masked_mean(values: Array, mask: Array, epsilon: float = 1e-8) -> jax.Array:
  return jnp.sum(values * mask) / (epsilon + jnp.sum(mask))


def _is_accurate(resolution: Array) -> jax.Array:
  return jnp.logical_and(resolution >= MIN_RESOLUTION, resolution <= MAX_RESOLUTION).astype(jnp.float32)
