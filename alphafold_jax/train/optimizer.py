# SPDX-License-Identifier: Apache-2.0
"""Learning rate, clipping, Adam and averaged parameters (Suppl. 1.11.3 and 1.11.7)."""

import dataclasses

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class OptimizerSpec:
  """Settings of the optimiser; its phases are counted in samples, so that they do not depend on the batch size."""

  learning_rate: float
  warmup_samples: int  # of the linear rise
  decay_samples: int  # after these the rate is multiplied by decay_factor
  decay_factor: float
  b1: float  # Adam
  b2: float  # Adam
  epsilon: float  # Adam
  clip_norm: float  # the largest norm of one example's gradient
  ema_decay: float  # of the averaged parameters


def learning_rate(spec: OptimizerSpec, samples: jax.Array) -> jax.Array:
  """The learning rate after a number of samples: a linear rise, a plateau, one step down (Suppl. 1.11.3)."""
  rise = jnp.minimum(1.0, (samples + 1) / max(1, spec.warmup_samples))
  return spec.learning_rate * rise * jnp.where(samples >= spec.decay_samples, spec.decay_factor, 1.0)


def adam(spec: OptimizerSpec) -> optax.GradientTransformation:
  """Adam without the learning rate: it turns gradients into directions."""
  return optax.scale_by_adam(spec.b1, spec.b2, spec.epsilon)


def clip(gradient: jax.Array, norm: jax.Array, most: float) -> jax.Array:
  """Scales a gradient of a known norm so that its norm is at most `most`."""
  return gradient * jnp.minimum(1.0, most / jnp.maximum(norm, 1e-12))


def average(spec: OptimizerSpec, ema: jax.Array, params: jax.Array, step: jax.Array) -> jax.Array:
  """The averaged parameters after a step that gave new ones.

  Departs from the paper: early steps decay faster, so that a short run's average does not hold its beginning.
  """
  decay = jnp.minimum(spec.ema_decay, (1 + step) / (10 + step))
  return ema + (1 - decay) * (params - ema)  # exact where they are equal
