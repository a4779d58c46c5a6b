# SPDX-License-Identifier: Apache-2.0
"""Outer product mean, Algorithm 10: what the alignment says of a pair of columns."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax.ops import axial, seam

_EPSILON = 1e-3


class OuterProductWeights(NamedTuple):
  """Projections of both columns, and the output that mixes their h x h products."""

  left_w: jax.Array  # [c_m, h]
  left_b: jax.Array  # [h]
  right_w: jax.Array  # [c_m, h]
  right_b: jax.Array  # [h]
  out_w: jax.Array  # [h, h, c_z]
  out_b: jax.Array  # [c_z]


def _project(m, w, mask):
  """Left and right factors of this device's columns."""
  mask = mask[..., None].astype(m.dtype)
  return mask * (jnp.dot(m, w.left_w) + w.left_b), mask * (jnp.dot(m, w.right_w) + w.right_b)


def _xla(m, w, mask):
  left, right = _project(m, w, mask)
  outer = jnp.einsum('sia,sjb->ijab', left, axial.gather(right, 1), preferred_element_type=jnp.float32).astype(m.dtype)
  total = jnp.einsum('ijab,abz->ijz', outer, w.out_w, preferred_element_type=jnp.float32)
  return _normalise(total, w, mask, m.dtype)


def _rows(left, right, w):
  """Sums over sequences for rows i, by plain matrix products; left [I, S, h], right [S, J, h] to [I, N, c_z].

  A device takes the rows of all with its own columns, so that never all columns of a deep alignment are in one place.
  """
  left = axial.gather(left, 0)
  (num_left, num_seq, h), num_right = left.shape, right.shape[1]
  outer = jnp.dot(left.swapaxes(1, 2).reshape(num_left * h, num_seq), right.reshape(num_seq, num_right * h),
                  preferred_element_type=jnp.float32)
  outer = outer.astype(left.dtype).reshape(num_left, h, num_right, h).swapaxes(1, 2)
  outer = outer.reshape(num_left * num_right, h * h)
  total = jnp.dot(outer, w.out_w.reshape(h * h, -1), preferred_element_type=jnp.float32)
  return axial.exchange(total.reshape(num_left, num_right, -1), whole=1, split=0)


def _rows_of_few_sequences(left, right, w):
  """The same with the output map applied to the left factor first: cheaper than all outer products for few S."""
  mapped = jnp.einsum('isa,abz->isbz', left, w.out_w)
  return jnp.einsum('isbz,sjb->ijz', mapped, axial.gather(right, 1), preferred_element_type=jnp.float32)


def _chunked(m, w, mask):
  left, right = _project(m, w, mask)
  (num_seq, own, h), c_z = right.shape, w.out_w.shape[-1]
  num_res = own * axial.num_shares()
  # Multiplications per row i, and the numbers it keeps.
  gathered = 2 * (axial.num_shares() - 1) * num_seq * h
  many = (num_seq * num_res * h**2 + num_res * h**2 * c_z, _rows, 2 * num_res * h**2 + gathered)
  few = (num_seq * h**2 * c_z + num_seq * h * num_res * c_z, _rows_of_few_sequences, num_seq * h * c_z)
  _, rows, numbers = min(many, few, key=lambda way: way[0])
  # Each slice reads all of `right`, which only pays for enough rows.
  total = seam.map_rows(lambda left: rows(left, right, w), (left.swapaxes(0, 1),), 4 * numbers, at_least=16)
  return _normalise(total, w, mask, m.dtype)


def _normalise(total, w, mask, dtype):
  mask = mask.astype(jnp.float32)
  count = jnp.einsum('si,sj->ij', mask, axial.gather(mask, 1), precision=jax.lax.Precision.HIGHEST)[..., None]
  # Departs from the paper: the bias is added before the division, so it is divided as well.
  return ((total + w.out_b.astype(jnp.float32)) / (_EPSILON + count)).astype(dtype)


def outer_product_mean(m: jax.Array, weights: OuterProductWeights, mask: jax.Array) -> jax.Array:
  """Averages the outer product of two columns over the sequences present in both.

  Args:
    m: [S, N, c_m], normalised
    weights: see OuterProductWeights
    mask: [S, N]

  Returns:
    [N, N, c_z]; sums and division in float32.
  """
  return seam.choose(OUTER_PRODUCT_MEAN)(m, weights, mask)


OUTER_PRODUCT_MEAN = {'xla': _xla, 'xla_chunked': _chunked}
