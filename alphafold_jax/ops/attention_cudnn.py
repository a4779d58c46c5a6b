# SPDX-License-Identifier: Apache-2.0
"""Attention by cuDNN's fused kernel, through `jax.nn.dot_product_attention`: NVIDIA GPUs, 16-bit floats.

cuDNN would add its own mask to the bias, which makes one copy of the bias per row. So the mask goes into the heads: an
additional channel, 1 in every query, lowers the logits of the keys that are masked.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

CUSTOM_CALLS = tuple(
  f'__cudnn$fmha{name}' for name in ('Softmax', 'ScaleBiasSoftmax', 'SoftmaxBackward', 'ScaleBiasSoftmaxBackward')
)
_MASK_CHANNELS = 8  # one is needed; heads must be a multiple of 8 wide
_MASKED = -3e4  # exp of it is 0, and it fits into all 16-bit floats


def declines(platform: str, dtype: Any, shape: tuple[int, ...], bias: bool) -> str | None:
  """Why it does not take such a q, or None where it does.

  Args:
    platform: 'cuda'
    dtype: of q
    shape: of q, [B, H, S, D]
    bias: whether there is one
  """
  head_dim = shape[-1]
  if dtype not in (jnp.bfloat16, jnp.float16):
    return f'activations in {dtype}'
  return f'heads of {head_dim} channels' if head_dim % 8 or head_dim > 120 else None


def declines_gradient(platform: str, dtype: Any, shape: tuple[int, ...], bias: bool) -> str | None:
  """Why it cannot differentiate what it takes, or None where it can; arguments as of `declines`."""
  return f'a bias for an odd number of residues ({shape[2]})' if bias and shape[2] % 2 else None


def attend(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  mask: jax.Array,
  bias: jax.Array | None,
  implementation: Literal['cudnn', 'xla'] = 'cudnn',
) -> jax.Array:
  """Softmax attention; rows whose keys are all masked come out undefined.

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
