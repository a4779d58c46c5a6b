# SPDX-License-Identifier: Apache-2.0
"""One training step: Algorithm 31 "RecyclingTraining", the loss, per-example clipping, and the update.

The step is written for the examples of one device. Where devices share the work, the caller names their axes, `data`
(each device has its own examples) and `model` (all work on the same ones), and the step sums over them explicitly: the
same function runs under `jit`, `jax.shard_map` and `jax.pmap`.

Random numbers depend on the run's key, the step and the example's place in the global batch, never on the devices.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from alphafold_jax import devices, schema
from alphafold_jax.data import features
from alphafold_jax.losses.total import LossSpec, total_loss
from alphafold_jax.model import alphafold, recycling
from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.ops import axial
from alphafold_jax.train import optimizer
from alphafold_jax.train.optimizer import OptimizerSpec


@dataclasses.dataclass(frozen=True)
class StepSpec:
  """The settings that a compiled step depends on; hashable."""

  network: AlphaFoldSpec
  loss: LossSpec
  optimizer: OptimizerSpec
  batch_size: int  # over all devices
  examples_at_once: int  # computed side by side on one device
  max_passes: int  # of the network


@schema.pytree
class TrainState:
  """The state of a run after a number of steps."""

  step: schema.Array  # int32, steps taken
  params: Any  # float32
  ema: Any  # averaged parameters, for evaluation
  moments: Any  # the optimiser's; Adam's are of all parameters as one vector
  skipped: schema.Array  # int32, the last steps in a row that were skipped


@schema.pytree
class Metrics:
  """Numbers of one step: means over the global batch, and the values of each local example."""

  loss: schema.Array
  terms: dict[str, schema.Array]  # each unweighted
  gradient_norm: schema.Array  # mean over examples, before clipping
  update_norm: schema.Array
  learning_rate: schema.Array
  num_passes: schema.Array
  wrong: schema.Array  # number of examples whose loss or gradient is not finite
  finite: schema.Array  # [local batch] whether the example's loss and gradient are finite
  losses: schema.Array  # [local batch]


# Of (spec, params, key, example, number of passes): the loss of one example, and its terms by name, unweighted.
LossFunction = Callable[[StepSpec, Any, jax.Array, Any, Any], tuple[jax.Array, dict[str, jax.Array]]]


def initial_state(spec: StepSpec, key: jax.Array, params: Any = None) -> TrainState:
  """The state before the first step.

  Args:
    spec: of the step
    key: consumed when parameters are drawn
    params: to start from; None: they are drawn (Suppl. 1.11.4)
  """
  devices.start()
  if params is None:
    num_templates = 0 if spec.network.templates is None else 1
    example = features.make_batch('ACDEFGHIKL', num_templates=num_templates)  # parameters do not depend on lengths
    # Under jit, since Haiku's init computes the whole network.
    params = jax.jit(alphafold.network(spec.network).init)(key, jax.tree.map(jnp.asarray, example))
  return TrainState(
    step=jnp.int32(0),
    params=params,
    ema=jax.tree.map(jnp.copy, params),
    # Under jit, since Muon's are hundreds of arrays.
    moments=jax.jit(optimizer.directions(spec.optimizer, params).init)(ravel_pytree(params)[0]),
    skipped=jnp.int32(0),
  )


def recycled_loss(
  spec: StepSpec, params: Any, key: jax.Array, example: schema.Batch, num_passes: jax.Array | int
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """The loss of one example and its terms after `num_passes` passes, of which only the last has a gradient: Alg. 31."""
  network = alphafold.network(spec.network)
  key_prepare, key_passes = jax.random.split(key)
  context = network.prepare(params, key_prepare, example)
  outputs = recycling.recycle(network, params, key_passes, example, context, num_passes)
  return total_loss(spec.loss, example, axial.whole(outputs))


def train_step(
  spec: StepSpec,
  state: TrainState,
  key: jax.Array,
  batch: schema.Batch,
  places: jax.Array,
  data_axis: str | None = None,
  model_axis: str | None = None,
  loss_of: LossFunction = recycled_loss,
) -> tuple[TrainState, Metrics]:
  """Takes one step.

  Args:
    spec: of the step
    state: before the step
    key: of the run; each step derives its own
    batch: the local examples along a leading axis
    places: [local batch] int32, each example's place in the global batch
    data_axis: name of the axis over which examples are spread
    model_axis: name of the axis over which each example's work is spread
    loss_of: the loss of an example, and its terms

  Returns:
    the state after the step, and its metrics. If any gradient is not finite, the parameters stay as they are.
  """
  key_passes, key_examples = jax.random.split(jax.random.fold_in(key, state.step))
  # The same for all examples, Suppl. 1.10. Where there is nothing to draw, no loop is compiled.
  num_passes = jax.random.randint(key_passes, (), 1, spec.max_passes + 1) if spec.max_passes > 1 else 1

  def of_example(place: jax.Array, example: schema.Batch) -> Any:
    def shared(params: Any) -> Any:
      key = jax.random.fold_in(key_examples, place)
      return _shared_loss(loss_of, spec, params, key, example, num_passes, model_axis)

    return _clipped_gradient(shared, state.params, spec.optimizer.clip_norm, model_axis)

  num_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  # An example's gradient and all that is made of it are one vector instead of hundreds of arrays: that compiles faster,
  # and devices exchange one message.
  gradient, (finite, values) = _summed(of_example, num_params, places, batch, spec.examples_at_once)
  means = jax.tree.map(lambda value: jnp.sum(jnp.where(finite, value, 0)), values)
  wrong = jnp.sum(~finite)
  if data_axis is not None:
    gradient, means, wrong = jax.lax.psum((gradient, means, wrong), data_axis)
  gradient, means = jax.tree.map(lambda leaf: leaf / spec.batch_size, (gradient, means))

  rate = optimizer.learning_rate(spec.optimizer, state.step * spec.batch_size)
  state, update_norm = _updated(spec.optimizer, state, gradient, rate, wrong == 0)
  return state, Metrics(
    **means,
    update_norm=update_norm,
    learning_rate=rate,
    num_passes=jnp.int32(num_passes),
    wrong=wrong,
    finite=finite,
    losses=values['loss'],
  )


def _clipped_gradient(loss_of, params, clip_norm, model_axis):
  """An example's gradient, clipped; whether it and the loss are finite; loss, norm before clipping, and terms."""
  (loss, terms), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
  gradient, _ = ravel_pytree(gradients)
  if model_axis is not None:
    gradient = jax.lax.psum(gradient, model_axis)
  norm = jnp.linalg.norm(gradient)
  finite = jnp.isfinite(norm) & jnp.isfinite(loss)
  return optimizer.clip(gradient, norm, clip_norm), (finite, {'loss': loss, 'gradient_norm': norm, 'terms': terms})


def _shared_loss(loss_of, spec, params, key, example, num_passes, model_axis):
  """An example's loss and terms, of which this device differentiates its share.

  All devices of an example compute its whole loss. Each differentiates an equal part of it, so that the sum of their
  gradients is the whole gradient, whichever parts of the network a device computed.
  """
  with axial.sharded_over(model_axis):
    loss, terms = loss_of(spec, params, key, example, num_passes)
  share = loss / jax.lax.axis_size(model_axis) if model_axis is not None else loss
  # The value is that of the whole loss, the gradient that of the share.
  return share + jax.lax.stop_gradient(loss - share), terms


def _summed(of_example, num_params, places, batch, at_once):
  """The sum of all examples' gradients, and the other results of each: one group of examples after another.

  Args:
    of_example: (place, example) -> (gradient, other results)
    num_params: length of a gradient
    places: [local batch]
    batch: the local examples along a leading axis
    at_once: examples of a group, computed side by side
  """
  num = places.shape[0]
  at_once = min(at_once, num)
  if num % at_once:
    raise ValueError(f'{num} examples on a device are no multiple of examples_at_once={at_once}')
  groups = jax.tree.map(lambda leaf: leaf.reshape(num // at_once, at_once, *leaf.shape[1:]), (places, batch))

  def of_one(*group: Any) -> Any:  # without vmap, whose extra axis costs time
    return jax.tree.map(lambda leaf: leaf[None], of_example(*jax.tree.map(lambda leaf: leaf[0], group)))

  of_group = of_one if at_once == 1 else jax.vmap(of_example)

  def add_group(total, group):
    gradient, others = of_group(*group)
    return total + jnp.sum(gradient, axis=0), others

  gradient, others = jax.lax.scan(add_group, jnp.zeros(num_params, jnp.float32), groups)
  return gradient, jax.tree.map(lambda leaf: leaf.reshape(num, *leaf.shape[2:]), others)


def _updated(spec, state, gradient, rate, good):
  """The state after a step and the norm of the update; unless the gradient is good, only the counters change."""
  direction, moments = optimizer.directions(spec, state.params).update(gradient, state.moments)
  update = jnp.where(good, -rate * direction, 0)
  params = ravel_pytree(state.params)[0] + update
  ema, as_tree = ravel_pytree(state.ema)
  ema = jnp.where(good, optimizer.average(spec, ema, params, state.step), ema)
  moments = jax.tree.map(lambda new, old: jnp.where(good, new, old), moments, state.moments)
  state = TrainState(
    step=state.step + 1,
    params=as_tree(params),
    ema=as_tree(ema),
    moments=moments,
    skipped=jnp.where(good, 0, state.skipped + 1).astype(jnp.int32),
  )
  return state, jnp.linalg.norm(update)
