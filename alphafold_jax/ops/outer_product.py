# SPDX-License-Identifier: Apache-2.0
"""Outer product mean, Algorithm 10: what the alignment adds to a pair of its columns.

The rows of the table compute z + update from (z, m, norm, weights, mask).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax.ops import axial, products, seam, slicing
from alphafold_jax.ops.layer_norm import NormWeights, layer_norm

_EPSILON = 1e-3


class OuterProductWeights(NamedTuple):
  """Projections of both columns, and the output that mixes their h x h products."""

  left_w: jax.Array  # [c_m, h]
  left_b: jax.Array  # [h]
  right_w: jax.Array  # [c_m, h]
  right_b: jax.Array  # [h]
  out_w: jax.Array  # [h, h, c_z]
  out_b: jax.Array  # [c_z]


LEAST_ROWS = 16  # of a slice: each reads all of the right factor


def _sliced(
  product: Callable[..., jax.Array], bytes_per_row: Callable[..., int] = slicing.all_at_once
) -> Callable[..., jax.Array]:
  """Makes a `compute` from what multiplies the columns, slices of the left with all of the right.

  Args:
    product: (left, right, weights), of shapes [b, S, h], [S, N, h], to [b, N, c_z], summed over sequences in float32
    bytes_per_row: (left, right, weights) to what its temporaries take per row of left
  """

  def compute(z, m, norm, w, mask):
    both_w, both_b = jnp.concatenate([w.left_w, w.right_w], 1), jnp.concatenate([w.left_b, w.right_b])
    # Normalised a few sequences at a time: all of m once more is the largest array of a deep alignment.
    factors = slicing.map_rows(
      lambda m, mask: (mask[..., None] * (products.dot(layer_norm(m, *norm), both_w) + both_b)).astype(m.dtype),
      (m, mask),
      4 * m.shape[1] * m.shape[2],
    )
    left, right = jnp.split(factors, 2, axis=-1)
    left = left.swapaxes(0, 1)
    whole_mask = axial.gather(mask, 1)

    def mean(_, left, mask):  # [b, S, h], [b, S]
      count = jnp.dot(mask, whole_mask, precision=jax.lax.Precision.HIGHEST)[..., None]
      # Departs from the paper: the bias is added before the division, so it is divided as well.
      return ((product(left, right, w) + w.out_b.astype(jnp.float32)) / (_EPSILON + count)).astype(z.dtype)

    rows = ((left, 0), (mask.T.astype(jnp.float32), 0))
    return slicing.update_rows(mean, z, rows, bytes_per_row(left, right, w), at_least=LEAST_ROWS)

  return compute


def _xla(left, right, w):
  outer = products.einsum_in_float32('isa,sjb->ijab', left, axial.gather(right, 1))
  return products.einsum_in_float32('ijab,abz->ijz', outer.astype(left.dtype), w.out_w)


def _by_cost(left, right, w):
  """Takes the order of the two products that has fewer multiplications."""
  return min(_costs(left, right, w), key=lambda way: way[0])[1](left, right, w)


def _bytes_per_row(left, right, w):
  return 4 * min(_costs(left, right, w), key=lambda way: way[0])[2]


def _costs(left, right, w):
  """Of each way: its multiplications per row i, the function, and how many numbers it keeps per row."""
  (_, num_seq, h), c_z, num_res = left.shape, w.out_w.shape[-1], right.shape[1] * axial.num_shares()
  gathered = 2 * (axial.num_shares() - 1) * num_seq * h
  many = (num_seq * num_res * h**2 + num_res * h**2 * c_z, _outer_first, 2 * num_res * h**2 + gathered)
  few = (num_seq * h**2 * c_z + num_seq * h * num_res * c_z, _map_first, num_seq * h * c_z)
  return many, few


def _outer_first(left, right, w):
  """Multiplies columns first, by plain matrix products.

  A device multiplies all devices' rows with its own columns, so that no device has all columns of a deep alignment.
  """
  left = axial.gather(left, 0)
  (num_left, num_seq, h), num_right = left.shape, right.shape[1]
  outer = products.einsum_in_float32(
    'as,sb->ab',
    left.swapaxes(1, 2).reshape(num_left * h, num_seq),
    right.reshape(num_seq, num_right * h),
  )
  outer = outer.astype(left.dtype).reshape(num_left, h, num_right, h).swapaxes(1, 2)
  outer = outer.reshape(num_left * num_right, h * h)
  total = products.einsum_in_float32('ab,bz->az', outer, w.out_w.reshape(h * h, -1))
  total = total.reshape(num_left, num_right, -1)
  if axial.num_shares() > 1:  # half the bytes on the way, rounded as the pairs that it is added to
    total = total.astype(left.dtype)
  return axial.exchange(total, whole=1, split=0).astype(jnp.float32)


def _map_first(left, right, w):
  """Applies the output map to the left factor first: for few sequences cheaper than all outer products."""
  mapped = products.einsum('isa,abz->isbz', left, w.out_w).astype(left.dtype)
  return products.einsum_in_float32('isbz,sjb->ijz', mapped, axial.gather(right, 1))


def outer_product_mean(
  z: jax.Array, m: jax.Array, norm: NormWeights, weights: OuterProductWeights, mask: jax.Array
) -> jax.Array:
  """Adds to each pair the mean outer product of its two columns over the sequences present in both.

  Args:
    z: [N, N, c_z]
    m: [S, N, c_m]
    norm: of m, before
    weights: see OuterProductWeights
    mask: [S, N]

  Returns:
    z with the update added; sums and division are float32.
  """
  return seam.compute('outer_product_mean', z, m, norm, weights, mask)


OUTER_PRODUCT_MEAN = seam.operation(
  'outer_product_mean', {'xla': seam.Row(_sliced(_xla)), 'xla_chunked': seam.Row(_sliced(_by_cost, _bytes_per_row))}
)
