# SPDX-License-Identifier: Apache-2.0
"""What the modules of the network say of pairs of residues and of alignment columns; here they meet axial.py.

On one device a function of this file is the plain operation of its name. Where devices share a protein, each has its
rows i of what is [N_res, N_res, ...], its columns of what is [N_seq, N_res, ...], and the whole of all else; these
functions take a device's share and exchange shares, so that the modules need not know.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from alphafold_jax.ops import attention, axial, slicing
from alphafold_jax.ops.attention import AttentionWeights
from alphafold_jax.ops.layer_norm import NormWeights


def own_residues(tree: Any, axis: int = 0) -> Any:
  """The residues along an axis that this device has of MSA and pair arrays.

  Args:
    tree: an array, or a tree of arrays, of all residues
    axis: of the residues
  """
  return axial.share(tree, axis)


def all_residues(x: jax.Array) -> jax.Array:
  """All residues along the leading axis of an array that has this device's."""
  return axial.gather(x, 0)


def pairwise(function: Callable[[Any, Any], jax.Array], residues: Any, others: Any = None) -> jax.Array:
  """A function of every pair of residues, such as `pairwise(jnp.subtract, residue_index)`.

  Args:
    function: of what belongs to i, [N_res, 1, ...], and to j, [1, N_res, ...]
    residues: array or tree [N_res, ...], what belongs to i
    others: the same of j; None: as `residues`

  Returns:
    [N_res, N_res, ...]
  """
  others = residues if others is None else others
  rows = jax.tree.map(lambda x: x[:, None], axial.share(residues, 0))
  return function(rows, jax.tree.map(lambda x: x[None], others))


def in_order(tree: Any) -> Any:
  """The same arrays, all of which are computed before what follows uses any.

  Compilers otherwise move work past one another, and keep what both need: a copy of all pairs, or the parts of a sum in
  place of the sum.
  """
  return jax.lax.optimization_barrier(tree)


def symmetric(function: Callable[[jax.Array, jax.Array], Any], z: jax.Array, width: int = 0) -> Any:
  """A function of pairs ij and of the same pairs turned round, ji.

  Args:
    function: of two arrays [b, N_res, c], to an array or arrays [b, N_res, ...]
    z: [N_res, N_res, c]
    width: numbers per pair that the function's temporaries take: it is given a few rows at a time, so that these are
      never there of all pairs, and returns one array; 0: it is given all rows
  """
  if not width:
    return function(z, axial.transpose(z))
  bytes_per_row = 4 * z.shape[1] * width
  if axial.num_shares() > 1:
    return slicing.map_rows(function, (z, axial.transpose(z)), bytes_per_row)
  return slicing.map_rows(  # without a transposed copy of all pairs
    lambda rows, columns: function(rows, columns.swapaxes(0, 1)), (z,), bytes_per_row, columns=((z, 1),)
  )


def pairs_by_rows(
  function: Callable[..., jax.Array], residues: tuple[jax.Array, ...], pairs: tuple[jax.Array, ...], width: int
) -> jax.Array:
  """A function of residues i and their pairs ij, for a few residues at a time.

  Args:
    function: maps arrays [b, ...] and [b, N_res, ...] to one array [b, ...]
    residues: arrays [N_res, ...]
    pairs: arrays [N_res, N_res, ...]
    width: numbers per pair that the function's temporaries take

  Returns:
    [N_res, ...], of the residues i that this device has
  """
  rows = axial.share(residues, 0)
  return slicing.map_rows(function, (*rows, *pairs), 4 * pairs[0].shape[1] * width)


def by_rows(
  function: Callable[..., jax.Array], residues: tuple[jax.Array, ...], pairs: tuple[jax.Array, ...], width: int
) -> jax.Array:
  """The same of all residues i, on every device."""
  return axial.gather(pairs_by_rows(function, residues, pairs, width), 0)


def zero_pairs(num_res: int, c: int, dtype: str = 'float32') -> jax.Array:
  """[N_res, N_res, c] of zeros."""
  return jnp.zeros((num_res // axial.num_shares(), num_res, c), dtype)


# ------------------------------------------------------------------------------------------ dropout


def dropout(key: jax.Array, rate: float, x: jax.Array) -> jax.Array:
  """Zeroes entries with probability `rate` and scales up the others (Suppl. 1.11.6); the key is consumed."""
  return (_keep(key, rate, x.shape) * x).astype(x.dtype)


def pair_dropout(key: jax.Array, rate: float, z: jax.Array, shared_axis: int) -> jax.Array:
  """What dropout multiplies an update of pairs by, 0 or 1 / (1 - rate): one draw for a whole axis (Suppl. 1.11.6).

  Args:
    key: consumed; the draws of a residue depend neither on padding nor on devices
    rate: probability of 0
    z: [N_res, N_res, c], of which the shape is used
    shared_axis: 0 is the paper's DropoutRowwise, 1 its DropoutColumnwise

  Returns:
    [1, N_res, c] or [N_res, 1, c]
  """
  _, num_res, c = z.shape
  if shared_axis == 0:
    return _keep(key, rate, (1, num_res, c))
  return axial.share(_keep(key, rate, (num_res, 1, c)), 0)


def msa_dropout(key: jax.Array, rate: float, m: jax.Array) -> jax.Array:
  """What DropoutRowwise multiplies an update of the MSA representation [N_seq, N_res, c] by: [1, N_res, c]."""
  _, num_own, c = m.shape
  return _keep(key, rate, (1, num_own * axial.num_shares(), c))


def _keep(key, rate, shape):
  return jax.random.bernoulli(key, 1.0 - rate, shape) / (1.0 - rate)


# ------------------------------------------------------------------------------------------ attention along one axis


def row_attention(
  m: jax.Array, norm: NormWeights, weights: AttentionWeights, mask: jax.Array, bias: jax.Array, keep: jax.Array | None
) -> jax.Array:
  """Adds to m [N_seq, N_res, c] what each sequence attends to along its residues; arguments as of `self_attention`."""
  num_seq = m.shape[0]
  m, mask = axial.whole_rows(m), axial.whole_rows(mask)
  return axial.whole_columns(attention.self_attention(m, norm, weights, mask, bias, keep=keep), num_seq)


def column_attention(
  z: jax.Array, norm: NormWeights, weights: AttentionWeights, mask: jax.Array, bias: jax.Array, keep: jax.Array | None
) -> jax.Array:
  """Adds to z [N_res, N_res, c] what each pair attends to along its column: the rows of the transposed graph.

  Arguments are as of `self_attention`, none of them transposed.
  """
  bias = bias.swapaxes(1, 2)
  if axial.num_shares() == 1:  # without a transposed copy of all pairs
    return attention.self_attention(z, norm, weights, mask.swapaxes(0, 1), bias, keep=keep, axis=1)
  keep = None if keep is None else axial.gather(keep, 0).swapaxes(0, 1)
  rows = attention.self_attention(axial.transpose(z), norm, weights, axial.transpose(mask), bias, keep=keep)
  return axial.transpose(rows)
