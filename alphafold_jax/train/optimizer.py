# SPDX-License-Identifier: Apache-2.0
"""Learning rate, clipping, Adam and averaged parameters (Suppl. 1.11.3 and 1.11.7)."""

import dataclasses

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class OptimizerSpec:
  """Numbers of the optimiser; lengths of its phases in samples, so that they do not depend on the batch size."""

  learning_rate: float
  warmup_samples: int
  decay_samples: int
  decay_factor: float
  b1: float
  b2: float
  epsilon: float
  clip_norm: float
  ema_decay: float


def learning_rate(spec: OptimizerSpec, samples: jax.Array) -> jax.Array:
  """The rate once that many samples were seen: a linear rise, a plateau, one step down (Suppl. 1.11.3)."""
  rise = jnp.minimum(1.0, (samples + 1) / max(1, spec.warmup_samples))
  return spec.learning_rate * rise * jnp.where(samples >= spec.decay_samples, spec.decay_factor, 1.0)


def adam(spec: OptimizerSpec) -> optax.GradientTransformation:
  """Adam's direction, not yet scaled by the learning rate."""
  return optax.scale_by_adam(spec.b1, spec.b2, spec.epsilon)


def clip(gradient: jax.Array, norm: jax.Array, most: float) -> jax.Array:
  """Shortens a gradient of that norm to the most allowed."""
  return gradient * jnp.minimum(1.0, most / jnp.maximum(norm, 1e-12))


def average(spec: OptimizerSpec, ema: jax.Array, params: jax.Array, step: jax.Array) -> jax.Array:
  """Moves the averaged parameters towards the new ones.

  Departs from the paper: the first steps are forgotten faster, so that a short run is not averaged with its beginning.
  """
  decay = jnp.minimum(spec.ema_decay, (1 + step) / (10 + step))
  return ema + (1 - decay) * (params - ema)  # exact where they are equal
