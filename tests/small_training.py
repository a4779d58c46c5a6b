# SPDX-License-Identifier: Apache-2.0
"""A training step of the small network on random examples, and the program that runs it on simulated devices.

python tests/small_training.py RESULT.npz LAYOUT...   # layouts: 1x1, 8x1, 1x8, 2x4, pmap
"""

import dataclasses
import functools
import sys

import jax
import numpy as np

from alphafold_jax import schema
from alphafold_jax.data import features, padding
from alphafold_jax.data.training import feeding
from alphafold_jax.losses import total
from alphafold_jax.model import alphafold
from alphafold_jax.train import sharding
from alphafold_jax.train import step as steps
from alphafold_jax.train.optimizer import OptimizerSpec
from alphafold_jax.train.step import StepSpec
from alphafold_jax.weights.random import random_params

NUM_RES, DEPTH, BATCH = 16, 9, 8
LOSSES = total.make_spec(
  {
    'backbone_fape': 0.5,
    'torsion': 0.5,
    'angle_norm': 0.01,
    'distogram': 0.3,
    'masked_msa': 2.0,
    'plddt': 0.01,
    'experimentally_resolved': 0.01,
    'pae': 0.1,
  }
)
OPTIMIZER = OptimizerSpec(
  learning_rate=1e-3,
  warmup_samples=16,
  decay_samples=1_000_000,
  decay_factor=0.95,
  b1=0.9,
  b2=0.999,
  epsilon=1e-6,
  clip_norm=0.1,
  ema_decay=0.999,
)
DROPOUT = {
  'extra_msa.msa_dropout': 0.15,
  'extra_msa.pair.dropout': 0.25,
  'evoformer.msa_dropout': 0.15,
  'evoformer.pair.dropout': 0.25,
  'structure.dropout': 0.1,
}


def make_config():
  """The small network with one block of each kind and no templates: most of these tests' time goes to compilation."""
  import small_network

  return small_network.make_config(
    **DROPOUT
    | {
      'templates': None,
      'sampling.num_msa': 5,
      'extra_msa.num_block': 1,
      'evoformer.num_block': 1,
      'structure.num_layer': 1,
      'structure.num_transition_layer': 1,
      'structure.num_angle_block': 1,
    }
  )


def make_spec(**changes) -> StepSpec:
  spec = StepSpec(
    network=alphafold.make_spec(make_config()),
    loss=LOSSES,
    optimizer=OPTIMIZER,
    batch_size=BATCH,
    examples_at_once=1,
    max_passes=2,
  )
  return dataclasses.replace(spec, **changes)


@functools.cache
def params():
  """Random parameters, none zero, so that every part has an effect."""
  return random_params(make_config(), 0)


def make_example(seed: int, num_res: int = 13) -> schema.Batch:
  """A random chain with a random walk for a structure, some atoms missing; padded to NUM_RES."""
  from alphafold_jax.constants import residues

  rng = np.random.default_rng(seed)
  sequence = ''.join(rng.choice(list(residues.RESTYPES), num_res))
  batch = features.make_batch(sequence, num_templates=0)
  tokens = rng.integers(0, 22, (DEPTH, num_res)).astype(np.int32)
  tokens[0] = batch.aatype
  msa = dataclasses.replace(
    batch.msa,
    tokens=tokens,
    deletions=rng.integers(0, 3, tokens.shape).astype(np.float32),
    mask=np.ones(tokens.shape, np.float32),
    pinned=np.eye(1, DEPTH, dtype=np.float32)[0],
  )
  positions = np.cumsum(rng.normal(0, 2.2, (num_res, 1, 3)), axis=0) + rng.normal(0, 1.2, (num_res, 37, 3))
  mask = residues.ATOM37_MASK[batch.aatype] * (rng.random((num_res, 37)) < 0.95)
  targets = dataclasses.replace(
    batch.targets,
    atom_positions=(positions * mask[..., None]).astype(np.float32),
    atom_mask=mask.astype(np.float32),
    resolution=np.float32(1.8),
    use_clamped_fape=np.float32(seed % 2),
  )
  batch = dataclasses.replace(batch, msa=msa, targets=targets)
  return padding.pad_batch(batch, {'num_res': NUM_RES, 'num_seq': DEPTH})


@functools.cache
def make_batch(num: int = BATCH) -> schema.Batch:
  return feeding.stack([make_example(seed) for seed in range(num)])


def run(layout: str, spec: StepSpec, num_steps: int = 2, batch: schema.Batch | None = None):
  """The state after each of some steps and its metrics, on a mesh such as 2x4 (data x model), or under pmap.

  Without a batch the examples are random chains.
  """
  import small_network

  state = jax.device_get(steps.initial_state(spec, jax.random.key(0), params()))
  key, batch = jax.random.key(1), make_batch(spec.batch_size) if batch is None else batch
  states, all_metrics = [], []
  if layout == 'pmap':
    devices = jax.devices()
    under_pmap = functools.partial(steps.train_step, spec, data_axis=sharding.DATA)
    step = jax.pmap(under_pmap, axis_name=sharding.DATA, in_axes=(None, None, 0, 0), devices=devices)
    places = np.arange(spec.batch_size, dtype=np.int32)
    num = len(devices)
    split = jax.tree.map(lambda leaf: leaf.reshape(num, len(leaf) // num, *leaf.shape[1:]), (batch, places))
    step = step.lower(state, key, *split).compile(small_network.FAST)
    for _ in range(num_steps):
      state, metrics = jax.device_get(step(state, key, *split))
      state, metrics = jax.tree.map(lambda leaf: leaf[0], (state, metrics))
      states.append(state)
      all_metrics.append(metrics)
    return states, all_metrics
  data, model = map(int, layout.split('x'))
  mesh = sharding.make_mesh(model, jax.devices()[: data * model])
  step = sharding.sharded_step(spec, mesh)
  state, spread = sharding.on_every_device(state, mesh), sharding.spread(batch, 0, mesh)
  step = step.lower(state, key, *spread).compile(small_network.FAST)
  for _ in range(num_steps):
    state, metrics = step(state, key, *spread)
    states.append(jax.device_get(state))
    all_metrics.append(jax.device_get(metrics))
  return states, all_metrics


def templates_over(num_devices: int) -> dict[str, np.ndarray]:
  """The parts of the network that see templates: a random weighing of their outputs, and its gradient."""
  import haiku as hk
  import jax.numpy as jnp
  import small_network

  from alphafold_jax.model import templates
  from alphafold_jax.ops import axial

  network = small_network.make_spec(**{'templates.pair.dropout': 0.25})
  batch = jax.tree.map(jnp.asarray, small_network.make_batch(num_res=NUM_RES))
  rng = np.random.default_rng(0)
  z, for_z, m, for_m = (
    jnp.asarray(rng.normal(size=size), jnp.float32)
    for size in ((NUM_RES, NUM_RES, 24), (NUM_RES, NUM_RES, 24), (5, NUM_RES, 32), (8, NUM_RES, 32))
  )

  def weighed():
    context = templates.TemplateEmbedder(network.templates, 32)(batch.templates, batch.seq_mask, jnp.float32)
    update = templates.TemplatePointwiseAttention(network.templates)(axial.share(z, 0), context.pair, context.mask)
    rows, mask = templates.append_rows(axial.share(m, 1), jnp.ones((5, NUM_RES // axial.num_shares())), context)
    return jnp.sum(axial.gather(update, 0) * for_z) + jnp.sum(axial.gather(rows * mask[..., None], 1) * for_m)

  part = hk.transform(weighed)
  shapes = jax.eval_shape(part.init, jax.random.key(0))
  random = jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32), shapes)

  def share_of_gradient(params):
    def share(params):
      with axial.sharded_over('model' if num_devices > 1 else None):
        return part.apply(params, jax.random.key(2)) / num_devices

    value, gradient = jax.value_and_grad(share)(params)
    return jax.lax.psum((value, gradient), 'model')

  mesh = sharding.make_mesh(num_devices, jax.devices()[:num_devices])
  whole = jax.sharding.PartitionSpec()
  value, gradient = jax.jit(
    jax.shard_map(share_of_gradient, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False)
  )(random)
  return {'value': np.asarray(value), 'gradient': np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])}


def main(result: str, layouts: list[str]) -> None:
  arrays = {}
  for layout in layouts:
    states, metrics = run(layout, make_spec())
    for name, leaf in (('state', states), ('metrics', metrics)):
      for path, value in jax.tree_util.tree_leaves_with_path(leaf):
        arrays[f'{layout}:{name}{jax.tree_util.keystr(path)}'] = np.asarray(value)
  for num_devices in (1, 4):
    arrays |= {f'templates over {num_devices}:{name}': array for name, array in templates_over(num_devices).items()}
  np.savez(result, **arrays)


if __name__ == '__main__':
  main(sys.argv[1], sys.argv[2:])
