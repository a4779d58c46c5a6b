# SPDX-License-Identifier: Apache-2.0
"""Learning rate, clipping, Adam or Muon, and averaged parameters (Suppl. 1.11.3 and 1.11.7)."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from optax import contrib

_TRUNK = ('extra_msa_stack', 'evoformer', 'template_embedder')  # Muon's matrices are those of these modules
_STACKED = '__layer_stack'  # in the name of a module whose parameters have the blocks as first axis
_ADAM_SIZE = 0.2  # root mean square of an entry of Muon's updates, as Adam's are: arXiv:2502.16982
_MUON_DECAY = 0.95  # of Muon's momentum: arXiv:2502.16982


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
  cooldown_start: int = 0  # samples after which the rate falls, evenly, to nothing
  cooldown_samples: int = 0  # of that fall; 0: there is none
  method: str = 'adam'  # of METHODS

  def __post_init__(self):
    if self.method not in METHODS:
      raise ValueError(f'optimizer.method is {self.method!r}; choose one of {", ".join(METHODS)}')


def learning_rate(spec: OptimizerSpec, samples: jax.Array) -> jax.Array:
  """The learning rate after a number of samples: a linear rise, a plateau, one step down (Suppl. 1.11.3).

  Departs from the paper where there is a cooldown: at the end the rate falls evenly to zero.
  """
  rate = spec.learning_rate * jnp.minimum(1.0, (samples + 1) / max(1, spec.warmup_samples))
  rate *= jnp.where(samples >= spec.decay_samples, spec.decay_factor, 1.0)
  if spec.cooldown_samples:
    rate *= jnp.clip(1 - (samples - spec.cooldown_start) / spec.cooldown_samples, 0.0, 1.0)
  return rate


def adam(spec: OptimizerSpec) -> optax.GradientTransformation:
  """Adam without the learning rate: it turns gradients into directions."""
  return optax.scale_by_adam(spec.b1, spec.b2, spec.epsilon)


def muon(spec: OptimizerSpec, params: Any) -> optax.GradientTransformation:
  """Muon for the trunk's matrices, Adam for all else: matrices move alike in all directions (arXiv:2502.16982).

  Its updates have the size of Adam's, so that both share a learning rate. Not of the paper.
  """
  _, as_tree = ravel_pytree(params)
  matrices = _matrices(params)
  labels = jax.tree.map(lambda one: 'muon' if one else 'adam', matrices, is_leaf=_is_one)
  axes = jax.tree.map(lambda one: one or optax.MaskedNode(), matrices, is_leaf=_is_one)  # optax's word for none
  sizes = jax.tree.map(lambda one, leaf: _size(leaf, one), matrices, params, is_leaf=_is_one)
  orthogonal = optax.chain(
    contrib.scale_by_muon(beta=_MUON_DECAY, eps=spec.epsilon, weight_dimension_numbers=axes),
    optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, sizes)),
  )
  of_tree = optax.partition({'muon': orthogonal, 'adam': adam(spec)}, labels)

  def update(gradient, state, params=None):
    updates, state = of_tree.update(as_tree(gradient), state)
    return ravel_pytree(updates)[0], state

  return optax.GradientTransformation(lambda vector: of_tree.init(as_tree(vector)), update)


def _matrices(params: Mapping[str, Mapping[str, jax.Array]]) -> Any:
  """Which axes of each parameter are a matrix's input and output; None for those that are no matrix of the trunk."""

  def axes(module: str, name: str, leaf: jax.Array) -> contrib.MuonDimensionNumbers | None:
    own = tuple(range(1 if _STACKED in module else 0, leaf.ndim))  # the first is that of the blocks
    if module.split('/')[0] not in _TRUNK or name.rsplit('_', 1)[-1] == 'b' or len(own) < 2:
      return None
    inputs = len(own) - 1 if name == 'out_w' else 1  # heads and their channels are one axis
    return contrib.MuonDimensionNumbers(own[:inputs], own[inputs:])

  return {
    module: {name: axes(module, name, leaf) for name, leaf in leaves.items()} for module, leaves in params.items()
  }


def _is_one(axes: Any) -> bool:
  return axes is None or isinstance(axes, contrib.MuonDimensionNumbers)


def _size(leaf: jax.Array, axes: contrib.MuonDimensionNumbers | None) -> Any:
  """What an orthogonal matrix is multiplied by, so that its entries have the size of Adam's updates."""
  if axes is None:
    return optax.MaskedNode()
  return _ADAM_SIZE * math.sqrt(max(math.prod(leaf.shape[axis] for axis in part) for part in axes))


METHODS: dict[str, Callable[[OptimizerSpec, Any], optax.GradientTransformation]] = {
  'adam': lambda spec, params: adam(spec),
  'muon': muon,
}


def directions(spec: OptimizerSpec, params: Any) -> optax.GradientTransformation:
  """The method without the learning rate: it turns gradients, all parameters as one vector, into directions.

  Args:
    spec: names the method.
    params: the parameters as a tree, of which the shapes count.
  """
  return METHODS[spec.method](spec, params)


def clip(gradient: jax.Array, norm: jax.Array, most: float) -> jax.Array:
  """Scales a gradient of a known norm so that its norm is at most `most`."""
  return gradient * jnp.minimum(1.0, most / jnp.maximum(norm, 1e-12))


def average(spec: OptimizerSpec, ema: jax.Array, params: jax.Array, step: jax.Array) -> jax.Array:
  """The averaged parameters after a step that gave new ones.

  Departs from the paper: early steps decay faster, so that a short run's average does not hold its beginning.
  """
  decay = jnp.minimum(spec.ema_decay, (1 + step) / (10 + step))
  return ema + (1 - decay) * (params - ema)  # exact where they are equal
