# SPDX-License-Identifier: Apache-2.0
"""One training step: Algorithm 31 "RecyclingTraining", the loss, per-example clipping, and the update.

The step is written for the examples that lie on one device. Where devices share the work it is told the names of their
axes, `data` (each has its own examples) and `model` (all work on the same ones), and adds up over them explicitly; so
it runs as it is under `jit`, `jax.shard_map` and `jax.pmap`.

Randomness depends on the run's key, the step and the example's place in the global batch, never on the devices.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from alphafold_jax import schema
from alphafold_jax.data import features
from alphafold_jax.losses.total import LossSpec, total_loss
from alphafold_jax.model import alphafold, recycling
from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.ops import axial
from alphafold_jax.train import optimizer
from alphafold_jax.train.optimizer import OptimizerSpec


@dataclasses.dataclass(frozen=True)
class StepSpec:
  """All that shapes a step; hashable."""

  network: AlphaFoldSpec
  loss: LossSpec
  optimizer: OptimizerSpec
  batch_size: int  # over all devices
  examples_at_once: int  # computed side by side on one device
  max_passes: int


@schema.pytree
class TrainState:
  """What a run is at one moment."""

  step: schema.Array  # int32, steps taken
  params: Any  # float32
  ema: Any  # averaged parameters, for evaluation
  moments: Any  # Adam's, of all parameters as one vector
  skipped: schema.Array  # int32, steps in a row that were skipped


@schema.pytree
class Metrics:
  """What a step tells; means over the global batch, and each example's own numbers."""

  loss: schema.Array
  terms: dict[str, schema.Array]  # each unweighted
  gradient_norm: schema.Array  # mean over examples, before clipping
  update_norm: schema.Array
  learning_rate: schema.Array
  num_passes: schema.Array
  wrong: schema.Array  # examples whose loss or gradient were not finite
  finite: schema.Array  # [local batch] whether an example's loss and gradient were
  losses: schema.Array  # [local batch]


def initial_state(spec: StepSpec, key: jax.Array, params: Any = None) -> TrainState:
  """A fresh run, from given parameters or from new ones (Suppl. 1.11.4).

  Args:
    spec: of the step
    key: consumed when parameters are drawn
    params: to start from
  """
  if params is None:
    num_templates = 0 if spec.network.templates is None else 1
    example = features.make_batch('ACDEFGHIKL', num_templates=num_templates)  # parameters know no lengths
    # Under jit, since Haiku's init computes the whole network.
    params = jax.jit(alphafold.network(spec.network).init)(key, jax.tree.map(jnp.asarray, example))
  return TrainState(
    step=jnp.int32(0),
    params=params,
    ema=jax.tree.map(jnp.copy, params),
    moments=optimizer.adam(spec.optimizer).init(ravel_pytree(params)[0]),
    skipped=jnp.int32(0),
  )


def train_step(
  spec: StepSpec,
  state: TrainState,
  key: jax.Array,
  batch: schema.Batch,
  places: jax.Array,
  data_axis: str | None = None,
  model_axis: str | None = None,
) -> tuple[TrainState, Metrics]:
  """Takes one step.

  Args:
    spec: of the step
    state: before
    key: of the run; each step derives its own
    batch: the local examples along a leading axis
    places: [local batch] int32, each example's place in the global batch
    data_axis: name of the axis over which examples are spread
    model_axis: name of the axis over which each example's work is spread

  Returns:
    the state after, and what to tell. A step with any gradient that is not finite leaves the parameters as they are.
  """
  key_passes, key_examples = jax.random.split(jax.random.fold_in(key, state.step))
  # The same for all examples, Suppl. 1.10. Where there is nothing to draw, no loop is compiled.
  num_passes = jax.random.randint(key_passes, (), 1, spec.max_passes + 1) if spec.max_passes > 1 else 1

  # From here to the new parameters all arithmetic is that of one vector, not of hundreds of arrays: quick to compile,
  # and one message between devices.
  params, as_tree = ravel_pytree(state.params)

  def of_example(place, example):
    def loss_of(params):
      key = jax.random.fold_in(key_examples, place)
      return _shared_loss(spec, as_tree(params), key, example, num_passes, model_axis)

    (loss, terms), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
    if model_axis is not None:
      gradient = jax.lax.psum(gradient, model_axis)
    norm = jnp.linalg.norm(gradient)
    finite = jnp.isfinite(norm) & jnp.isfinite(loss)
    gradient = optimizer.clip(gradient, norm, spec.optimizer.clip_norm)
    told: dict[str, Any] = {'loss': loss, 'gradient_norm': norm, 'finite': finite, 'terms': terms}
    return gradient, told

  gradient, told = _summed(of_example, params, places, batch, spec.examples_at_once)
  means = {name: jnp.sum(jnp.where(told['finite'], told[name], 0)) for name in ('loss', 'gradient_norm')}
  means['terms'] = {name: jnp.sum(jnp.where(told['finite'], value, 0)) for name, value in told['terms'].items()}
  wrong = jnp.sum(~told['finite'])
  if data_axis is not None:
    gradient, means, wrong = jax.lax.psum((gradient, means, wrong), data_axis)
  gradient, means = jax.tree.map(lambda leaf: leaf / spec.batch_size, (gradient, means))

  rate = optimizer.learning_rate(spec.optimizer, state.step * spec.batch_size)
  state, update_norm = _updated(spec.optimizer, state, params, gradient, rate, wrong == 0)
  return state, Metrics(
    loss=means['loss'],
    terms=means['terms'],
    gradient_norm=means['gradient_norm'],
    update_norm=update_norm,
    learning_rate=rate,
    num_passes=jnp.int32(num_passes),
    wrong=wrong,
    finite=told['finite'],
    losses=told['loss'],
  )


def _shared_loss(spec, params, key, example, num_passes, model_axis):
  """This device's share of an example's loss.

  Devices that share an example all arrive at its whole loss. Each differentiates an equal part of it, so that summing
  their gradients gives the whole one, whichever parts of the network a device computed.
  """
  with axial.sharded_over(model_axis):
    loss, terms = recycled_loss(spec, params, key, example, num_passes)
  share = loss / jax.lax.axis_size(model_axis) if model_axis is not None else loss
  # The value reported is the whole loss, the one differentiated the share.
  return share + jax.lax.stop_gradient(loss - share), terms


def recycled_loss(
  spec: StepSpec, params: Any, key: jax.Array, example: schema.Batch, num_passes: jax.Array | int
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """The loss of one example after `num_passes` passes, the last of which alone has a gradient: Algorithm 31."""
  network = alphafold.network(spec.network)
  key_prepare, key_passes = jax.random.split(key)
  context = network.prepare(params, key_prepare, example)
  outputs = recycling.recycle(network, params, key_passes, example, context, num_passes)
  return total_loss(spec.loss, example, axial.whole(outputs))


def _summed(of_example, params, places, batch, at_once):
  """The sum of all examples' clipped gradients, and what each example tells: one group of examples after another."""
  num = places.shape[0]
  at_once = min(at_once, num)
  if num % at_once:
    raise ValueError(f'{num} examples on a device are no multiple of examples_at_once={at_once}')
  groups = jax.tree.map(lambda leaf: leaf.reshape(num // at_once, at_once, *leaf.shape[1:]), (places, batch))

  def of_one(*group):  # without vmap, whose extra axis costs time
    return jax.tree.map(lambda leaf: leaf[None], of_example(*jax.tree.map(lambda leaf: leaf[0], group)))

  of_group = of_one if at_once == 1 else jax.vmap(of_example)

  def add_group(total, group):
    gradient, told = of_group(*group)
    return total + jnp.sum(gradient, axis=0), told

  gradient, told = jax.lax.scan(add_group, jnp.zeros_like(params), groups)
  return gradient, jax.tree.map(lambda leaf: leaf.reshape(num, *leaf.shape[2:]), told)


def _updated(spec, state, params, gradient, rate, good):
  """The state after a step, or with no more than its counters changed when the gradient is no good."""
  direction, moments = optimizer.adam(spec).update(gradient, state.moments)
  update = jnp.where(good, -rate * direction, 0)
  params += update
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
