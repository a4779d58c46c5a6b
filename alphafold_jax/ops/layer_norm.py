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


def layer_norm(x: jax.Array, scale: jax.Array, offset: jax.Array, axis: int = -1) -> jax.Array:
  """Normalises the channels to mean 0 and variance 1, then scales and shifts; statistics are float32.

  Args:
    x: [..., c]
    scale: [c]
    offset: [c]
    axis: of x that holds the channels

  Returns:
    [..., c] in the dtype of x.
  """
  x32 = x.astype(jnp.float32)
  mean = jnp.mean(x32, axis=axis, keepdims=True)
  centred = x32 - mean
  variance = jnp.mean(jnp.square(centred), axis=axis, keepdims=True)
  others = [along for along in range(x.ndim) if along != axis % x.ndim]
  scale, offset = (jnp.expand_dims(weight.astype(jnp.float32), others) for weight in (scale, offset))
  return (centred * jax.lax.rsqrt(variance + EPSILON) * scale + offset).astype(x.dtype)
