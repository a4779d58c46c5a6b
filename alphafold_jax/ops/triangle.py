# SPDX-License-Identifier: Apache-2.0
"""Triangle multiplication, Algorithms 11 (outgoing edges) and 12 (incoming edges).

The rows of the table compute z + update from (z, norm, weights, mask, keep, outgoing=), z not yet normalised. Those
that only make the product of edges, line 3 of the algorithms, share line 4, which is applied slice by slice.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax.ops import axial, products, residual, seam, slicing, triangle_cuequivariance
from alphafold_jax.ops.layer_norm import NormWeights, layer_norm


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


def _by_product(
  product: Callable[..., jax.Array], bytes_per_row: Callable[..., int] = slicing.all_at_once
) -> Callable[..., jax.Array]:
  """Makes `compute` of a row from what multiplies edges: (normalised z, weights, mask, outgoing) to [h, N, N]."""

  def compute(z, norm, w, mask, keep, *, outgoing):
    def product_of_normalised(z, mask):
      return product(_normalised(z, norm), w, mask, outgoing)

    edges = slicing.kept_by_arguments(product_of_normalised)(z, mask)

    def last_line(z, edges):  # [b, N, c] normalised, [h, b, N]
      edges = layer_norm(edges, w.norm_scale, w.norm_offset, axis=0).astype(z.dtype)
      update = products.einsum('hij,hc->ijc', edges, w.out_w) + w.out_b  # which brings the channels to the end
      return update * jax.nn.sigmoid(products.dot(z, w.out_gate_w) + w.out_gate_b)

    return residual.update(last_line, z, norm, keep, ((edges, 1),), bytes_per_row(z, w))

  return compute


def _normalised(z, norm):
  """What the product is of; on accelerators made by rows, or XLA for GPUs keeps all of it in float32 and transposed."""
  platform = seam.platform(seam.current())
  if platform == 'cpu':
    return layer_norm(z, *norm)

  def ordered(z):  # on TPUs as the product reads it, or newer XLA copies all of what the loop has made
    return z.swapaxes(1, 2) if platform == 'tpu' else z

  rows = slicing.map_rows(lambda z: ordered(layer_norm(z, *norm)), (z,), 4 * z.shape[1] * z.shape[2])
  return ordered(rows)


def _by_update(update: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
  """Makes `compute` of a row from a kernel for the whole update: (z, norm, weights, mask, outgoing) to [N, N, c]."""

  def compute(z, norm, w, mask, keep, *, outgoing):
    added = update(z, norm, w, mask, outgoing)
    return z + (added if keep is None else keep * added).astype(z.dtype)

  return compute


def _product_xla(z, w, mask, outgoing):
  half = w.proj_w.shape[-1] // 2
  edges = mask[..., None].astype(z.dtype) * (jnp.dot(z, w.proj_w) + w.proj_b)
  edges *= jax.nn.sigmoid(jnp.dot(z, w.gate_w) + w.gate_b)
  left, right = _partners(edges[..., :half], edges[..., half:], outgoing, rows=0)
  # Departs from the paper: in Alg. 12 the official weights take `left` as b and `right` as a.
  equation = 'ikc,jkc->cij' if outgoing else 'kjc,kic->cij'
  return products.einsum_in_float32(equation, left, right)


def _partners(left, right, outgoing, rows):
  """Both factors of a device's rows of the product, from its rows of edges; `rows` is their axis, columns the next."""
  if outgoing:
    return left, axial.gather(right, rows)
  return axial.gather(left, rows), axial.exchange(right, whole=rows, split=rows + 1)


def _product_by_channel(z, w, mask, outgoing):
  """Multiplies channel by channel: products are of plain [N, N] matrices, and slices of channels need less memory."""
  hidden = w.norm_scale.shape[0]
  equation = 'cik,cjk->cij' if outgoing else 'ckj,cki->cij'
  # Ordered once, or every slice would make a copy in this order; on TPUs it is already: see `_normalised`.
  order, z = ('icj', z.swapaxes(1, 2)) if seam.platform(seam.current()) == 'tpu' else ('cij', jnp.moveaxis(z, -1, 0))

  def channels(proj_w, proj_b, gate_w, gate_b):  # [C, c, 2], [C, 2]: a few of the hidden channels, left and right
    edges = mask * (products.einsum(f'{order},dcs->sdij', z, proj_w) + proj_b.T[..., None, None])
    edges *= jax.nn.sigmoid(products.einsum(f'{order},dcs->sdij', z, gate_w) + gate_b.T[..., None, None])
    edges = edges.astype(z.dtype)
    left, right = _partners(edges[0], edges[1], outgoing, rows=1)
    return products.einsum_in_float32(equation, left, right).astype(z.dtype)

  def by_channel(x):  # [..., 2h] to [h, ..., 2]
    return jnp.moveaxis(x.reshape(*x.shape[:-1], 2, hidden), -1, 0)

  factors = tuple(by_channel(x) for x in (w.proj_w, w.proj_b, w.gate_w, w.gate_b))
  num_shares = axial.num_shares()
  one = z.dtype.itemsize * mask.size
  at_least = channels_at_once(one, num_shares, seam.budget(seam.current()))
  return slicing.map_rows(channels, factors, _bytes_per_channel(one, num_shares), at_least)


def _bytes_per_channel(one: int, num_shares: int) -> int:
  """What a channel takes: four arrays of a device's edges, of `one` byte count each, and the others' edges twice."""
  return one * (4 + 2 * (num_shares - 1))


def channels_at_once(one: int, num_shares: int, budget: int) -> int:
  """The fewest channels that are multiplied at a time.

  Fewer channels take less memory but more time, since every slice reads all edges. With long proteins that costs
  little, since the product of matrices takes most of the time.

  Args:
    one: bytes of one channel of a device's edges
    num_shares: devices that share the protein
    budget: bytes of a slice
  """
  return 32 if _bytes_per_channel(one, num_shares) <= budget else 8


def _last_line_bytes(z, w):
  return last_line_bytes(z.shape[1], w.out_w.shape[0], z.shape[2])


def last_line_bytes(num_res: int, hidden: int, c_z: int) -> int:
  """What a row of pairs takes in line 4."""
  return 4 * num_res * (2 * hidden + 3 * c_z)


def triangle_multiplication(
  z: jax.Array,
  norm: NormWeights,
  weights: TriangleWeights,
  mask: jax.Array,
  *,
  outgoing: bool,
  keep: jax.Array | None = None,
) -> jax.Array:
  """Adds to each edge ij what the two other edges of all triangles ijk make.

  Args:
    z: [N, N, c]
    norm: of the normalisation before
    weights: see TriangleWeights
    mask: [N, N]
    outgoing: True for edges ik and jk (Alg. 11), False for ki and kj (Alg. 12)
    keep: dropout's factors, of the shape of z, 1 along the axis that shares them; None: no dropout

  Returns:
    z with the update added
  """
  return seam.compute('triangle_multiplication', z, norm, weights, mask, keep, outgoing=outgoing)


TRIANGLE_MULTIPLICATION = seam.operation(
  'triangle_multiplication',
  {
    'xla': seam.Row(_by_product(_product_xla)),
    'xla_chunked': seam.Row(_by_product(_product_by_channel, _last_line_bytes)),
    'cuequivariance': seam.Row(
      _by_update(triangle_cuequivariance.update),
      platforms=('cuda',),
      packages=triangle_cuequivariance.PACKAGES,
      custom_calls=triangle_cuequivariance.CUSTOM_CALLS,
      declines=triangle_cuequivariance.declines,
      is_batched=False,  # not tried
    ),
  },
)
