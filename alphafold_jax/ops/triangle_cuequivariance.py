# SPDX-License-Identifier: Apache-2.0
"""Triangle multiplication by NVIDIA's cuEquivariance: the whole update, normalisation and last line included.

Its arguments and layouts were read in cuequivariance-jax 0.13, whose own reference equals ours on a CPU, in values and
gradients. Not yet run on any GPU.

It works without slices and keeps about three arrays of the size of z more than `xla_chunked` does. So it is used only
where these fit two slices of the budget, which the memory plan counts for temporaries.
"""

from typing import Any

import jax
import jax.numpy as jnp

from alphafold_jax.ops import attention_cuequivariance, seam
from alphafold_jax.ops.layer_norm import EPSILON, NormWeights

# Its kernels are written in Triton, which it does not require itself.
PACKAGES = (
  *attention_cuequivariance.PACKAGES,
  seam.Package('triton', ('triton',), attention_cuequivariance.EXTRAS),
)
CUSTOM_CALLS = ('triton_kernel_call',)
_TILE = 64  # channels


def declines(platform: str, z: jax.Array, norm: Any, weights: Any, *_: Any, outgoing: bool) -> str | None:
  """Which of triangle_multiplication's arguments it does not take, or None where it takes them."""
  num_rows, num_columns, channels = z.shape
  hidden, budget = len(weights.norm_scale), seam.budget(seam.current())
  if num_rows != num_columns:
    return 'a protein that devices share'
  if channels != hidden:
    return f'{hidden} hidden channels for {channels}'
  if channels % _TILE:
    return f'{channels} channels (only multiples of {_TILE})'
  if 3 * z.size * z.dtype.itemsize > 2 * budget:
    return f'{num_rows} residues with slices of {budget / 2**20:g} MiB'
  return None


def update(z: jax.Array, norm: NormWeights, weights: Any, mask: jax.Array, outgoing: bool) -> jax.Array:
  """What Algorithms 11 and 12 add to z.

  Args:
    z: [N, N, c], not normalised
    norm: of the normalisation before
    weights: TriangleWeights with c hidden channels
    mask: [N, N]
    outgoing: whether triangles are of outgoing edges (Alg. 11)
  """
  import cuequivariance_jax

  w = weights
  halves = (
    [0, 1] if outgoing else [1, 0]
  )  # theirs multiplies first_ki second_kj for incoming edges, ours left_kj right_ki

  def inwards(x):  # [..., 2c] to [2c, ...]
    return jnp.moveaxis(jnp.concatenate([jnp.split(x, 2, axis=-1)[half] for half in halves], -1), -1, 0)

  return cuequivariance_jax.triangle_multiplicative_update(
    z,
    'outgoing' if outgoing else 'incoming',
    mask=mask.astype(z.dtype),
    norm_in_weight=norm.scale,
    norm_in_bias=norm.offset,
    p_in_weight=inwards(w.proj_w),
    p_in_bias=inwards(w.proj_b),
    g_in_weight=inwards(w.gate_w),
    g_in_bias=inwards(w.gate_b),
    norm_out_weight=w.norm_scale,
    norm_out_bias=w.norm_offset,
    p_out_weight=w.out_w.T,
    p_out_bias=w.out_b,
    g_out_weight=w.out_gate_w.T,
    g_out_bias=w.out_gate_b,
    eps=EPSILON,
  )
