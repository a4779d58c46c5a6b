# SPDX-License-Identifier: Apache-2.0
"""Attention by cuDNN's fused kernel, through `jax.nn.dot_product_attention`: NVIDIA GPUs, 16-bit floats.

Its own mask would be added to the bias, one copy of the bias per row. So the mask goes into the heads instead: an
additional channel, 1 in every query, lowers the logits of the keys that are masked.
"""

import jax
import jax.numpy as jnp

from alphafold_jax.ops.seam import Place

_MASK_CHANNELS = 8  # one is needed; heads must be a multiple of 8 wide
_MASKED = -3e4  # exp of it is 0, and it fits into all 16-bit floats


def missing(place: Place) -> str | None:
  """Why it cannot run there."""
  return None if place.platform == 'gpu' else 'cuDNN needs an NVIDIA GPU'


def declines(place: Place, x, weights, mask, bias) -> str | None:  # of self_attention
  """Why it does not take these arguments."""
  head_dim, num_keys = weights.q.shape[-1], x.shape[1]
  if x.dtype not in (jnp.bfloat16, jnp.float16):
    return f'activations in {x.dtype}'
  if head_dim % 8 or head_dim > 120:
    return f'heads of {head_dim} channels'
  if place.gradients and bias is not None and num_keys % 2:
    return f'an odd number of residues ({num_keys}) in training'
  return None


def attend(
  q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None, implementation: str = 'cudnn'
) -> jax.Array:
  """Softmax attention; what comes out for a row whose keys are all masked is undefined.

  Args:
    q: [B, H, Q, D], already scaled
    k: [B, H, S, D]
    v: [B, H, S, D]
    mask: [B, S]
    bias: [H, Q, S], shared by all rows, or None
    implementation: of `jax.nn.dot_product_attention`

  Returns:
    [B, H, Q, D]
  """
  channels = ((0, 0),) * 3 + ((0, _MASK_CHANNELS),)
  head_dim = q.shape[-1]
  cap = jnp.where(mask > 0, 0, _MASKED).astype(k.dtype)[:, None]
  q = jnp.pad(q, channels).at[..., head_dim].set(1)
  k = jnp.pad(k, channels).at[..., head_dim].set(cap)
  q, k, v = (x.swapaxes(1, 2) for x in (q, k, jnp.pad(v, channels)))  # positions before heads
  bias = None if bias is None else bias[None].astype(q.dtype)
  out = jax.nn.dot_product_attention(q, k, v, bias, scale=1.0, implementation=implementation)
  return out[..., :head_dim].swapaxes(1, 2)
