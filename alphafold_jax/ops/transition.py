# SPDX-License-Identifier: Apache-2.0
"""The two-layer transition of Algorithms 9 and 15."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax.ops import seam, slicing


class TransitionWeights(NamedTuple):
  """Widen to factor * c channels, ReLU, and back."""

  w_in: jax.Array  # [c, f]
  b_in: jax.Array  # [f]
  w_out: jax.Array  # [f, c]
  b_out: jax.Array  # [c]


def _xla(x, w):
  hidden = jax.nn.relu(jnp.dot(x, w.w_in) + w.b_in)
  return jnp.dot(hidden, w.w_out) + w.b_out


def _chunked(x, w):
  bytes_per_row = 4 * x.shape[1] * w.w_in.shape[1]
  return slicing.map_rows(lambda x: _xla(x, w), (x,), bytes_per_row)


def transition(x: jax.Array, weights: TransitionWeights) -> jax.Array:
  """Applies the two layers to every position of x [A, B, c]; returns [A, B, c]."""
  return seam.run('transition', x, weights)


TRANSITION = seam.operation('transition', {'xla': seam.Row(_xla), 'xla_chunked': seam.Row(_chunked)})
