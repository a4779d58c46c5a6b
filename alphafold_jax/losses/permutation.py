# SPDX-License-Identifier: Apache-2.0
"""Which of the equal chains of an assembly each predicted chain is compared with: Evans et al. 2021, 7.3, Alg. 3 and 4.

Copies of one sequence have no order, so the network may put them in any. The true assembly is laid upon the prediction
by one pair of chains, an anchor, and then each predicted chain takes the true copy that lies nearest; of all predicted
chains that the anchor can be laid upon the best result counts.

Departs from the paper: chains are served in the order of their distances, not at random, so that no random numbers are
needed and the order of chains has no effect; and the copies as they are numbered stay, unless others are better.

C chains and copies (an assembly's most chains), N residues, which may be a crop of pieces of chains. Nothing here has a
gradient.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from alphafold_jax import schema
from alphafold_jax.constants import residues
from alphafold_jax.schema import Array

_CA = residues.ATOM_INDEX['CA']
_product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)  # else 0.1 Å off on some devices
_LEAST_ANCHOR = 3  # residues that two chains must share to be laid upon one another
_UNKNOWN = 1e9  # Å^2, between a chain and a copy of which nothing is known here
_MARGIN = 1e-3  # Å by which another order must be better than the given one


def nearest_copies(batch: schema.Batch, predicted: Array) -> schema.Batch:
  """The batch with the structures of those copies as targets that lie nearest to a prediction.

  A batch without copies, such as of a single chain, stays as it is.

  Args:
    batch: its `asym_id` are at most C
    predicted: [N, 3] Å, CA
  """
  targets = batch.targets
  if targets.copy_positions is None or targets.copy_mask is None:
    return batch
  chosen = choose_copies(batch, predicted)  # [N]

  def of_chosen(copies: Array) -> jax.Array:  # [C, N, ...] -> [N, ...]
    index = chosen[(None, slice(None), *(None,) * (copies.ndim - 2))]
    return jax.lax.stop_gradient(jnp.take_along_axis(copies, index, axis=0)[0])

  positions, mask = of_chosen(targets.copy_positions), of_chosen(targets.copy_mask)
  return dataclasses.replace(batch, targets=dataclasses.replace(targets, atom_positions=positions, atom_mask=mask))


def choose_copies(batch: schema.Batch, predicted: Array) -> jax.Array:
  """The number of the copy, from 0, that each residue is compared with: [N] int32, equal within each chain.

  Args:
    batch: its targets have copies
    predicted: [N, 3] Å, CA
  """
  predicted = jax.lax.stop_gradient(jnp.asarray(predicted, jnp.float32))
  positions, mask = batch.targets.copy_positions, batch.targets.copy_mask
  assert positions is not None and mask is not None  # the caller knows
  true, known = positions[:, :, _CA], jnp.asarray(mask[:, :, _CA])  # [C, N, 3], [C, N]
  true = jnp.where(known[..., None] > 0, true, 0)
  num = known.shape[0]
  members = (batch.asym_id == jnp.arange(1, num + 1)[:, None]) * jnp.asarray(batch.seq_mask)  # [C, N]
  own = jnp.max(members * (batch.sym_id - 1), axis=1).astype(jnp.int32)  # [C] the copy as it is numbered
  entity = jnp.max(members * batch.entity_id, axis=1)  # [C]
  counts = _product('cn,kn->ck', members, known)  # [C, C] residues that each chain shares with each copy
  anchor, is_candidate = _anchor(counts, own, entity)

  def of_residues(copies: jax.Array) -> jax.Array:  # [C] -> [N] int32
    return _product('c,cn->n', copies, members).astype(jnp.int32)

  def of_candidate(chain: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The copies of all chains when the anchor is laid upon a chain, and how well they then fit."""
    weights = members[chain] * known[own[anchor]]
    turn, shift = _superposition(true[own[anchor]], predicted, weights)
    moved = _product('cnx,yx->cny', true, turn) + shift
    squared = jnp.sum(jnp.square(moved - predicted), axis=-1) * known  # [C, N]
    distances = jnp.where(counts > 0, _product('cn,kn->ck', members, squared) / jnp.maximum(counts, 1), _UNKNOWN)
    copies = _nearest_first(distances, entity[:, None] == entity)
    return copies, fit(copies)

  def fit(copies: jax.Array) -> jax.Array:
    """The r.m.s. distance of all chains from these copies, superposed together, Å."""
    chosen = of_residues(copies)[None]  # [1, N]
    points = jnp.take_along_axis(true, chosen[..., None], axis=0)[0]
    weights = jnp.take_along_axis(known, chosen, axis=0)[0] * jnp.sum(members, axis=0)
    turn, shift = _superposition(points, predicted, weights)
    moved = _product('nx,yx->ny', points, turn) + shift
    squared = jnp.sum(jnp.square(moved - predicted), axis=-1)
    return jnp.sqrt(jnp.sum(weights * squared) / (1e-8 + jnp.sum(weights)))

  copies, misfit = jax.vmap(of_candidate)(jnp.arange(num))
  misfit = jnp.where(is_candidate, misfit, jnp.inf)
  best = jnp.argmin(misfit)
  chosen = jnp.where(misfit[best] < fit(own) - _MARGIN, copies[best], own)
  return jax.lax.stop_gradient(of_residues(chosen))


def _anchor(counts: jax.Array, own: jax.Array, entity: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The chain whose true copy is laid upon others: of the entity with the fewest copies, and of these the most known.

  Args:
    counts: [C, C] residues that each chain shares with each copy
    own: [C] the copy that has a chain's number
    entity: [C] 0 of chains that are not there

  Returns:
    the anchor, and which chains [C] it can be laid upon.
  """
  resolved = jnp.take_along_axis(counts, own[:, None], axis=1)[:, 0]
  num_copies = jnp.sum(counts > 0, axis=1)
  rank = num_copies - resolved / (1 + jnp.sum(resolved))  # the fraction is below 1
  anchor = jnp.argmin(jnp.where(resolved >= _LEAST_ANCHOR, rank, jnp.inf))
  return anchor, (entity == entity[anchor]) & (counts[:, own[anchor]] >= _LEAST_ANCHOR)


def _nearest_first(distances: jax.Array, same_entity: jax.Array) -> jax.Array:
  """The copy of each chain [C] float32: the nearest pair of chain and copy first, each copy of an entity once.

  Args:
    distances: [C, C] of each chain from each copy
    same_entity: [C, C] whether two chains have the same copies
  """
  num = len(distances)

  def take(_: int, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    left, copies = state
    chain, copy = jnp.unravel_index(jnp.argmin(left), left.shape)
    is_copy = jnp.arange(num) == copy
    left = jnp.where(same_entity[chain][:, None] & is_copy, jnp.inf, left)
    left = jnp.where((jnp.arange(num) == chain)[:, None], jnp.inf, left)
    return left, copies.at[chain].set(copy.astype(copies.dtype))

  return jax.lax.fori_loop(0, num, take, (distances, jnp.zeros(num, jnp.float32)))[1]


def _superposition(points: jax.Array, onto: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The rotation [3, 3] and shift [3] that bring points [N, 3] nearest to others by weights [N] (Kabsch 1976)."""
  share = weights / (1e-8 + jnp.sum(weights))
  centre, target = _product('n,nx->x', share, points), _product('n,nx->x', share, onto)
  covariance = jnp.einsum('n,nx,ny->xy', share, points - centre, onto - target, precision=jax.lax.Precision.HIGHEST)
  u, _, vt = jnp.linalg.svd(covariance)
  handedness = jnp.sign(jnp.linalg.det(u) * jnp.linalg.det(vt))  # -1: the best match would be a mirror image
  turn = _product('xk,ky->yx', u.at[:, -1].multiply(handedness), vt)
  return turn, target - _product('xy,y->x', turn, centre)
