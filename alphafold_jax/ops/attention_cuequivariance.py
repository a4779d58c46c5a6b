# SPDX-License-Identifier: Apache-2.0
"""Attention by NVIDIA's triangle attention of cuEquivariance; its kernels are proprietary, its Python is Apache-2.0.

A process can run its custom calls only after importing it, so programs with them are not kept on disk.
"""

import jax
import jax.numpy as jnp

from alphafold_jax.ops.seam import Package

EXTRAS = ('cuequivariance-cu12', 'cuequivariance-cu13')
PACKAGES = (
  Package('cuequivariance_jax', ('cuequivariance-jax',), EXTRAS),
  Package('cuequivariance_ops_jax', ('cuequivariance-ops-jax-cu12', 'cuequivariance-ops-jax-cu13'), EXTRAS),
)


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None) -> jax.Array:
  """Softmax attention; rows whose keys are all masked come out undefined.

  Args and result as in `attention_cudnn.attend`.
  """
  import cuequivariance_jax

  if bias is None:
    bias = jnp.zeros((q.shape[1], q.shape[2], k.shape[2]), q.dtype)
  out, *_ = cuequivariance_jax.triangle_attention(
    q[None], k[None], v[None], bias[None, None], mask[None, :, None, None] > 0, 1.0
  )
  return out[0]
