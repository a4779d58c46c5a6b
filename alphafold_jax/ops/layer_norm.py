# SPDX-License-Identifier: Apache-2.0
"""Layer normalisation over the channels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

EPSILON = 1e-5


class NormWeights(NamedTuple):
  """Scale and offset after normalisation."""

  scale: jax.Array  # [c]
  offset: jax.Array  # [c]


def layer_norm(x: jax.Array, scale: jax.Array, offset: jax.Array) -> jax.Array:
  """Normalises the last axis to mean 0 and variance 1, then scales and shifts; statistics are float32.

  Args:
    x: [..., c]
    scale: [c]
    offset: [c]

  Returns:
    [..., c] in the dtype of x.
  """
  x32 = x.astype(jnp.float32)
  mean = jnp.mean(x32, axis=-1, keepdims=True)
  centred = x32 - mean
  variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
  y = centred * jax.lax.rsqrt(variance + EPSILON) * scale.astype(jnp.float32) + offset.astype(jnp.float32)
  return y.astype(x.dtype)
