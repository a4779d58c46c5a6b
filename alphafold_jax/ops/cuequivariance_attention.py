# SPDX-License-Identifier: Apache-2.0
"""Attention by NVIDIA's triangle attention of cuEquivariance; its kernels are proprietary, its Python is Apache-2.0."""

import importlib.util

import jax
import jax.numpy as jnp

from alphafold_jax.ops.seam import Place

EXTRA = 'cuequivariance'
_PACKAGES = {'cuequivariance_jax': 'cuequivariance-jax', 'cuequivariance_ops_jax': 'cuequivariance-ops-jax'}


def missing(place: Place) -> str | None:
  """Why it cannot run there."""
  if place.platform != 'gpu':
    return 'the kernels of cuEquivariance need an NVIDIA GPU'
  for module, package in _PACKAGES.items():
    if importlib.util.find_spec(module) is None:
      return (
        f"the package {package} is not installed; pip install 'alphafold-jax[{EXTRA}-cu12]' or "
        f"'alphafold-jax[{EXTRA}-cu13]', whichever CUDA JAX has"
      )
  return None


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None) -> jax.Array:
  """Softmax attention; what comes out for a row whose keys are all masked is undefined.

  Args and result as in `cudnn_attention.attend`.
  """
  import cuequivariance_jax

  if bias is None:
    bias = jnp.zeros((q.shape[1], q.shape[2], k.shape[2]), q.dtype)
  out, *_ = cuequivariance_jax.triangle_attention(
    q[None], k[None], v[None], bias[None, None], mask[None, :, None, None] > 0, 1.0
  )
  return out[0]
