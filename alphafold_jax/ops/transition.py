# SPDX-License-Identifier: Apache-2.0
"""The two-layer transition of Algorithms 9 and 15."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax.ops import pallas_platforms, pallas_transition, residual, seam
from alphafold_jax.ops.layer_norm import NormWeights


class TransitionWeights(NamedTuple):
  """Widen to factor * c channels, ReLU, and back."""

  w_in: jax.Array  # [c, f]
  b_in: jax.Array  # [f]
  w_out: jax.Array  # [f, c]
  b_out: jax.Array  # [c]


def _xla(x, w):
  hidden = jax.nn.relu(jnp.dot(x, w.w_in) + w.b_in)
  return jnp.dot(hidden, w.w_out) + w.b_out


def _bytes_per_row(x, w):
  return 4 * x.shape[1] * w.w_in.shape[1]


def _pallas_bytes(x, w):
  return 3 * x.dtype.itemsize * x.shape[1] * x.shape[2]


def _pallas_declines(place, x, w):
  return pallas_transition.declines(place.platform, x.dtype, *w.w_in.shape)


def transition(x: jax.Array, norm: NormWeights, weights: TransitionWeights) -> jax.Array:
  """Adds to every position of x [A, B, c] what the two layers make of it, normalised."""
  row = seam.choose('transition', x, weights)
  return residual.update(lambda x: row(x, weights), x, norm, None, (), row.bytes_per_row(x, weights))


TRANSITION = seam.operation(
  'transition',
  {
    'xla': seam.Row(_xla),
    'xla_chunked': seam.Row(_xla, _bytes_per_row),
    'pallas': seam.Row(pallas_transition.transition, _pallas_bytes, pallas_platforms.missing, _pallas_declines),
  },
)
