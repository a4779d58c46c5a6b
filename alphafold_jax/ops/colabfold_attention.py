# SPDX-License-Identifier: Apache-2.0
"""Attention by the kernel of the package colabfold-kernels (MIT): NVIDIA GPUs from Ampere on, 16-bit floats."""

import importlib.util

import jax
import jax.numpy as jnp

from alphafold_jax.ops.seam import Place

EXTRA = 'colabfold'


def missing(place: Place) -> str | None:
  """Why it cannot run there."""
  if place.platform != 'gpu':
    return 'colabfold-kernels needs an NVIDIA GPU'
  if importlib.util.find_spec('colabfold_kernels') is None:
    return f"the package colabfold-kernels is not installed; pip install 'alphafold-jax[{EXTRA}]'"
  return None


def declines(place: Place, x, weights, mask, bias) -> str | None:  # of self_attention
  """Why it does not take these arguments."""
  del place, weights, mask, bias
  return None if x.dtype in (jnp.bfloat16, jnp.float16) else f'activations in {x.dtype}'


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None) -> jax.Array:
  """Softmax attention; what comes out for a row whose keys are all masked is undefined.

  Args and result as in `cudnn_attention.attend`.
  """
  from colabfold_kernels import tri_flash

  addend = jnp.where(mask > 0, 0, -1e9).astype(jnp.float32)[:, None, None]
  return tri_flash.pallas_attention(q, k, v, addend, bias, 1.0)
