# SPDX-License-Identifier: Apache-2.0
"""Outer product mean, Algorithm 10: what the alignment says of a pair of columns."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax.ops import seam

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
  mask = mask[..., None].astype(m.dtype)
  return mask * (jnp.dot(m, w.left_w) + w.left_b), mask * (jnp.dot(m, w.right_w) + w.right_b)


def _rows(left, right, w):
  """Sums over sequences for rows i: left [I, S, h], right [S, J, h] to [I, J, c_z], float32."""
  outer = jnp.einsum('isa,sjb->ijab', left, right, preferred_element_type=jnp.float32).astype(left.dtype)
  return jnp.einsum('ijab,abz->ijz', outer, w.out_w, preferred_element_type=jnp.float32)


def _xla(m, w, mask):
  left, right = _project(m, w, mask)
  return _normalise(_rows(left.transpose(1, 0, 2), right, w), w, mask, m.dtype)


def _chunked(m, w, mask):
  left, right = _project(m, w, mask)
  hidden = w.left_w.shape[-1]
  bytes_per_row = 8 * right.shape[1] * hidden * hidden
  total = seam.map_rows(lambda left: _rows(left, right, w), (left.transpose(1, 0, 2),), bytes_per_row)
  return _normalise(total, w, mask, m.dtype)


def _normalise(total, w, mask, dtype):
  mask = mask.astype(jnp.float32)
  count = jnp.einsum('si,sj->ij', mask, mask, precision=jax.lax.Precision.HIGHEST)[..., None]
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
