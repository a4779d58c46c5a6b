# SPDX-License-Identifier: Apache-2.0
"""The two-layer transition of Algorithms 9 and 15.

The rows of the table compute x + update from (x, norm, weights).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from alphafold_jax.ops import pallas_platforms, products, residual, seam, slicing, transition_pallas
from alphafold_jax.ops.layer_norm import NormWeights


class TransitionWeights(NamedTuple):
  """Widen to factor * c channels, ReLU, and back."""

  w_in: jax.Array  # [c, f]
  b_in: jax.Array  # [f]
  w_out: jax.Array  # [f, c]
  b_out: jax.Array  # [c]


def _sliced(
  layers: Callable[..., jax.Array], bytes_per_row: Callable[..., int] = slicing.all_at_once
) -> Callable[..., jax.Array]:
  """Makes a `compute` from the two layers, (normalised slice of x, weights) to what is added to it."""

  def compute(x, norm, w):
    return residual.update(lambda x: layers(x, w), x, norm, None, (), bytes_per_row(x, w))

  return compute


def _layers(x, w):
  hidden = jax.nn.relu(products.dot(x, w.w_in) + w.b_in)
  return (products.dot(hidden.astype(x.dtype), w.w_out) + w.b_out).astype(x.dtype)


def _hidden_bytes(x, w):
  return 4 * x.shape[1] * w.w_in.shape[1]


def _pallas_bytes(x, w):
  return 3 * x.dtype.itemsize * x.shape[1] * x.shape[2]


def transition(x: jax.Array, norm: NormWeights, weights: TransitionWeights) -> jax.Array:
  """Adds to every position of x [A, B, c] what the two layers make of it, normalised."""
  return seam.compute('transition', x, norm, weights)


TRANSITION = seam.operation(
  'transition',
  {
    'xla': seam.Row(_sliced(_layers)),
    'xla_chunked': seam.Row(_sliced(_layers, _hidden_bytes)),
    'pallas': seam.Row(
      _sliced(transition_pallas.transition, _pallas_bytes),
      platforms=pallas_platforms.PLATFORMS,
      custom_calls=pallas_platforms.CUSTOM_CALLS,
      unavailable=pallas_platforms.unavailable,
      declines=lambda platform, x, _, w: transition_pallas.declines(platform, x.dtype, *w.w_in.shape),
    ),
  },
)
