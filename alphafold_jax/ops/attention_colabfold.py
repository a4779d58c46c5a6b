# SPDX-License-Identifier: Apache-2.0
"""Attention by the kernel of the package colabfold-kernels (MIT): NVIDIA GPUs from Ampere on, 16-bit floats."""

from typing import Any

import jax
import jax.numpy as jnp

from alphafold_jax.ops.seam import Package

PACKAGE = Package('colabfold_kernels', ('colabfold-kernels',), ('colabfold',))


def declines(platform: str, dtype: Any, shape: tuple[int, ...], bias: bool) -> str | None:
  """Why it does not take such a q, or None where it does: see `attention_cudnn.declines`."""
  return None if dtype in (jnp.bfloat16, jnp.float16) else f'activations in {dtype}'


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None) -> jax.Array:
  """Softmax attention; rows whose keys are all masked come out undefined.

  Args and result as in `attention_cudnn.attend`.
  """
  from colabfold_kernels import tri_flash

  addend = jnp.where(mask > 0, 0, -1e9).astype(jnp.float32)[:, None, None]
  return tri_flash.pallas_attention(q, k, v, addend, bias, 1.0)
