# SPDX-License-Identifier: Apache-2.0
"""Trains what folds alone, of the small model: its structure module and confidence, on a trunk that stays as it is.

  python benchmarks/mini_chains.py RUN_DIR... --data CACHE --out FILE

What the trunk makes of some thousand training examples is computed once. A step then costs a twentieth of one with the
trunk, so violations can have their full weight and many samples, and cannot spoil what the trunk has learnt.

Begins from the mean of the runs' best checkpoints, and writes what ships, as `mini_ship.py` does.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import mini_ship
import numpy as np

from alphafold_jax import config as configs
from alphafold_jax import experiments, ops, schema
from alphafold_jax.data.training import cache, training_set
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.losses.total import total_loss
from alphafold_jax.model import alphafold, recycling
from alphafold_jax.train import phases, sharding, step
from alphafold_jax.weights import shipped

TRAINED = ('single', 'structure_module', 'heads/plddt', 'heads/pae')  # modules
CHANGES = {
  'phases': {},
  'data.clamped_fraction': 0.5,  # as at the end of train_mini
  'loss.violation': 1.0,  # Suppl. 1.9
  'chains.bond_tolerance': 3.0,  # 0.04 Å; with the paper's 12 half of the bonds stay more than 0.1 Å off
  'chains.corrected_violations': True,  # or the angle at C would have 1.2 of its own
  'loss.plddt': 0.05,
  'loss.distogram': 0.0,  # these three are the trunk's
  'loss.masked_msa': 0.0,
  'loss.experimentally_resolved': 0.0,
  'step.batch_size': 8,
  'optimizer.warmup_samples': 400,
}
_SEED = 1_000  # of the examples; none that training drew
_MOST_PASSES = 4  # a prediction's
_LINES = 20  # that a run prints


@schema.pytree
class Kept:
  """An example, and what a trunk made of it: all that the structure module and the losses look at."""

  first_row: schema.Array = schema.array('num_res', 'c_m')
  pair: schema.Array = schema.array('num_res', 'num_res', 'c_z')  # in half precision
  batch: schema.Batch


def run_phase(num_samples: int, crop_size: int) -> phases.Phase:
  """The settings of a run: those of `train_mini` with CHANGES, the rate falling over its second half."""
  half = num_samples // 2
  changes = {
    'data.crop_size': crop_size,
    'optimizer.cooldown_start': half,
    'optimizer.cooldown_samples': num_samples - half,
    'run.num_samples': num_samples,
  }
  return phases.make_phases(configs.changed(experiments.experiment_config('train_mini'), CHANGES | changes))[0]


# --- What the trunk makes ---


def keep(
  params: alphafold.Params, phase: phases.Phase, data: training_set.TrainingSet, num: int, tell=print, mesh=None
) -> Kept:
  """What the trunk makes of the first examples after one to four passes, as many as a prediction has; stacked.

  Args:
    params: of the whole network.
    phase: from `run_phase`.
    data: the examples.
    num: how many; a multiple of the batch's size.
    tell: is given a line of text now and then.
    mesh: of devices that share the work; None: all there are.
  """
  network, mesh, size = alphafold.network(phase.step.network), mesh or sharding.make_mesh(1), phase.step.batch_size

  def of_example(place_and_batch):
    place, batch = place_and_batch
    key = jax.random.key(place)
    context = network.prepare(params, key, batch)
    recycled = recycling.recycle(network, params, key, batch, context, 1 + place % _MOST_PASSES).recycled
    return recycled.msa_first_row, recycled.pair.astype(jnp.float16)

  def of_examples(places, batch):  # one after another on each device
    return jax.lax.map(of_example, (places, batch))

  spread = jax.sharding.PartitionSpec(sharding.DATA)
  of_batch = jax.jit(jax.shard_map(of_examples, mesh=mesh, in_specs=spread, out_specs=spread, check_vma=False))
  found, begun = [], time.monotonic()
  for first in range(0, num, size):
    batches = [data.example(place)[1] for place in range(first, first + size)]
    batch, places = sharding.spread(_stacked(batches), first, mesh)
    first_row, pair = jax.device_get(of_batch(places, batch))
    found.append(Kept(first_row=first_row, pair=pair, batch=_stacked([_without_inputs(one) for one in batches])))
    if first % 160 == 0:
      tell(f'{first + size} of {num} examples kept, {time.monotonic() - begun:.0f} s')
  return jax.tree.map(lambda *same: np.concatenate(same), *found)


def _stacked(parts: Sequence[Any]) -> Any:
  return jax.tree.map(lambda *same: np.stack(same), *parts)


def _without_inputs(batch: schema.Batch) -> schema.Batch:
  """An example without what the trunk alone looks at, which would fill the memory."""
  first = jax.tree.map(lambda leaf: leaf[:1], dataclasses.replace(batch.msa, profile=None))
  msa = dataclasses.replace(first, profile=batch.msa.profile)
  return dataclasses.replace(batch, msa=msa, templates=None, couplings=None)


# --- What is trained ---


class Folding(alphafold.AlphaFold):
  """The network behind a trunk whose results are given."""

  def __init__(self, spec: alphafold.AlphaFoldSpec, kept: Kept):
    super().__init__(spec)
    self.kept = kept

  def trunk(self, batch, context, previous, rows=None):
    first_row = self.kept.first_row
    hidden = schema.MaskedMsa(tokens=self.kept.batch.msa.tokens, mask=jnp.zeros((1, len(first_row))))
    pair = self.kept.pair.astype(jnp.float32)
    return alphafold.Trunk(msa=first_row[None], first_row=first_row, pair=pair, target=hidden)


def split(params: alphafold.Params) -> tuple[dict[str, Any], dict[str, Any]]:
  """The parameters of the modules that are trained, and all others."""
  trained = {name: leaves for name, leaves in params.items() if any(_within(name, one) for one in TRAINED)}
  return trained, {name: leaves for name, leaves in params.items() if name not in trained}


def _within(name: str, module: str) -> bool:
  return name == module or name.startswith(f'{module}/')


def kept_loss(others: alphafold.Params) -> Callable[..., tuple[jax.Array, dict[str, jax.Array]]]:
  """The loss of an example behind its trunk, in the place of `step.recycled_loss`; `others` are not trained."""

  def loss(spec: step.StepSpec, params: Any, key: jax.Array, kept: Kept, num_passes: Any) -> Any:
    del num_passes
    fold = hk.transform(lambda: Folding(spec.network, kept)(kept.batch, None, None))
    with ops.use_kernels(spec.network.kernels):
      outputs = fold.apply({**others, **params}, key)
    return total_loss(spec.loss, kept.batch, outputs)

  return loss


def train(
  params: alphafold.Params, phase: phases.Phase, kept: Kept, num_samples: int, tell=print, mesh=None
) -> alphafold.Params:
  """Trains on kept examples, drawn with replacement; returns all parameters, those that were trained averaged.

  Args:
    params: of the whole network, to begin from.
    phase: from `run_phase`.
    kept: from `keep`.
    num_samples: in all.
    tell: is given a line of text now and then.
    mesh: of devices that share each step; None: all there are.
  """
  spec, size, mesh = phase.step, phase.step.batch_size, mesh or sharding.make_mesh(1)
  trained, others = split(params)
  state = sharding.on_every_device(step.initial_state(spec, jax.random.key(0), trained), mesh)
  take = sharding.sharded_step(spec, mesh, kept_loss(others))
  key, rng = jax.random.key(1), np.random.default_rng(0)
  num_steps, begun, terms = num_samples // size, time.monotonic(), []
  for i in range(num_steps):
    drawn = rng.integers(0, len(kept.first_row), size)
    batch, places = sharding.spread(jax.tree.map(lambda leaf, drawn=drawn: leaf[drawn], kept), 0, mesh)
    state, metrics = take(state, key, batch, places)
    terms.append({'loss': metrics.loss, **metrics.terms})
    if (i + 1) % max(1, num_steps // _LINES) == 0:
      means = {name: float(np.mean([values[name] for values in terms])) for name in terms[0]}
      shown = ', '.join(f'{name} {value:.4f}' for name, value in means.items())
      tell(f'{(i + 1) * size} samples, {time.monotonic() - begun:.0f} s: {shown}')
      terms = []
  return {**params, **jax.device_get(state.ema)}


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('run_dir', type=Path, nargs='+', metavar='RUN_DIR', help='folder of a training run')
  parser.add_argument('--data', type=Path, required=True, metavar='CACHE', help='the training set')
  parser.add_argument('--out', type=Path, default=shipped.path(), metavar='FILE', help='default: %(default)s')
  parser.add_argument('--examples', type=int, default=1_600, metavar='N', help='kept (default: %(default)s)')
  parser.add_argument('--samples', type=int, default=16_000, metavar='N', help='trained on (default: %(default)s)')
  parser.add_argument('--crop', type=int, default=64, metavar='N', help='residues of an example (default: %(default)s)')
  given = parser.parse_args()
  try:
    params, origin = mini_ship.mean(given.run_dir)
    phase = run_phase(given.samples, given.crop)
    data = training_set.TrainingSet([cache.open_cache(given.data)], phase.data, _SEED, 1)
    sharding.divide_processors(0, phase.step.batch_size)
    kept = keep(params, phase, data, given.examples)
    params = train(params, phase, kept, given.samples)
    print(mini_ship.ship(params, f'{origin}; behind that trunk {given.samples:,} samples more', given.out))
  except AlphaFoldError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main())
