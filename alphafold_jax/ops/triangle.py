# SPDX-License-Identifier: Apache-2.0
"""Triangle multiplication, Algorithms 11 (outgoing edges) and 12 (incoming edges)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax.ops import axial, seam
from alphafold_jax.ops.layer_norm import layer_norm


class TriangleWeights(NamedTuple):
  """Left and right projections side by side: the first h of 2h columns make the left factor."""

  proj_w: jax.Array  # [c, 2h]
  proj_b: jax.Array  # [2h]
  gate_w: jax.Array  # [c, 2h]
  gate_b: jax.Array  # [2h]
  norm_scale: jax.Array  # [h]
  norm_offset: jax.Array  # [h]
  out_w: jax.Array  # [h, c]
  out_b: jax.Array  # [c]
  out_gate_w: jax.Array  # [c, c]
  out_gate_b: jax.Array  # [c]


def _xla(z, w, mask, outgoing):
  half = w.proj_w.shape[-1] // 2
  edges = mask[..., None].astype(z.dtype) * (jnp.dot(z, w.proj_w) + w.proj_b)
  edges *= jax.nn.sigmoid(jnp.dot(z, w.gate_w) + w.gate_b)
  left, right = _partners(edges[..., :half], edges[..., half:], outgoing, rows=0)
  # Departs from the paper: in Alg. 12 the official weights take `left` as b and `right` as a.
  equation = 'ikc,jkc->ijc' if outgoing else 'kjc,kic->ijc'
  product = jnp.einsum(equation, left, right, preferred_element_type=jnp.float32)
  product = layer_norm(product, w.norm_scale, w.norm_offset).astype(z.dtype)
  update = jnp.dot(product, w.out_w) + w.out_b
  return update * jax.nn.sigmoid(jnp.dot(z, w.out_gate_w) + w.out_gate_b)


def _partners(left, right, outgoing, rows):
  """Both factors of a device's rows of the product, from its rows of edges; `rows` is their axis, columns the next."""
  if outgoing:
    return left, axial.gather(right, rows)
  return axial.gather(left, rows), axial.exchange(right, whole=rows, split=rows + 1)


def _chunked(z, w, mask, outgoing):
  """The same channel by channel: products are of plain [N, N] matrices, and slices of channels need less memory."""
  hidden = w.norm_scale.shape[0]
  equation = 'cik,cjk->cij' if outgoing else 'ckj,cki->cij'

  def channels(proj_w, proj_b, gate_w, gate_b):  # [C, c, 2], [C, 2]: a few of the hidden channels, left and right
    edges = mask.astype(z.dtype) * (jnp.einsum('ijc,dcs->sdij', z, proj_w) + proj_b.T[..., None, None])
    edges *= jax.nn.sigmoid(jnp.einsum('ijc,dcs->sdij', z, gate_w) + gate_b.T[..., None, None])
    return jnp.einsum(equation, *_partners(*edges, outgoing, rows=1), preferred_element_type=jnp.float32)

  def by_channel(x):  # [..., 2h] to [h, ..., 2]
    return jnp.moveaxis(x.reshape(*x.shape[:-1], 2, hidden), -1, 0)

  factors = tuple(by_channel(x) for x in (w.proj_w, w.proj_b, w.gate_w, w.gate_b))
  # Four arrays of a device's edges, and twice the edges of all others that it gathers.
  numbers = mask.size * (4 + 2 * (axial.num_shares() - 1))
  product = seam.map_rows(channels, factors, 4 * numbers, at_least=32)
  product = layer_norm(jnp.moveaxis(product, 0, -1), w.norm_scale, w.norm_offset).astype(z.dtype)
  update = jnp.dot(product, w.out_w) + w.out_b
  return update * jax.nn.sigmoid(jnp.dot(z, w.out_gate_w) + w.out_gate_b)


def triangle_multiplication(z: jax.Array, weights: TriangleWeights, mask: jax.Array, *, outgoing: bool) -> jax.Array:
  """Updates each edge ij from the two other edges of all triangles ijk.

  Args:
    z: [N, N, c], normalised
    weights: see TriangleWeights
    mask: [N, N]
    outgoing: True for edges ik and jk (Alg. 11), False for ki and kj (Alg. 12)

  Returns:
    [N, N, c]
  """
  return seam.choose(TRIANGLE_MULTIPLICATION)(z, weights, mask, outgoing)


TRIANGLE_MULTIPLICATION = {'xla': _xla, 'xla_chunked': _chunked}
