# SPDX-License-Identifier: Apache-2.0
"""What a machine that is not here will take, by our estimates: without the machine and without its compiler.

Of a prediction there is an estimate, the planner's. Of a step of training there is none, only what it takes at least:

  the state       parameters, their average and two moments, and the sum of the gradients, in float32
  between blocks  the pair and MSA representations that every block begins with, kept until gradients come back

What a block computes anew on the way back, the heads and the losses come on top, so a crop that is said to be too large
is, and one that is not may be nevertheless.
"""

import dataclasses
import math
from typing import Any

from ml_collections import config_dict

from alphafold_jax import choices, experiments, planning
from alphafold_jax import config as configs
from alphafold_jax.elsewhere.targets import CHIPS, CUDA, SHARE_OF_TRAINING, Machine
from alphafold_jax.screen import number
from alphafold_jax.train import phases, sharding
from alphafold_jax.transfer.files import human_size
from alphafold_jax.weights import official

_DEEPEST = 'model_1_ptm'  # of the published models that are run by default, the one that takes most memory
_COPIES = 5  # in float32: parameters, their average, two moments, the sum of gradients
_ITEM = 2  # bytes of bfloat16
_STEP = 8  # residues
_COMPILE = 'alphafold-jax compile --for'


@dataclasses.dataclass(frozen=True)
class RecipeOutlook:
  """What is known of a recipe on a machine before anything is compiled."""

  name: str
  crop: int  # residues
  batch_size: int
  num_devices: int  # of the machine
  model_devices: int | None  # that share an example; None: the machine has more devices than batch and crop divide into
  least: int  # bytes of each device
  largest: int | None  # residues; the least of a larger crop does not fit. None: blocks keep more, so it says nothing

  def line(self, available: int) -> str:
    """For people."""
    if self.model_devices is None:
      divides = -(-self.batch_size // self.num_devices) * self.num_devices
      return (
        f'{self.name:<15} crops of {self.crop}: its batch of {self.batch_size} does not divide among '
        f'{number(self.num_devices, "device")}, however many share an example: give --config step.batch_size={divides}'
      )
    sharing = f', {self.model_devices} devices an example' if self.model_devices > 1 else ''
    verdict = 'may fit' if self.least <= available else 'DOES NOT FIT'
    most = f'; a crop above {self.largest:,} does not' if self.largest else ''
    return f'{self.name:<15} crops of {self.crop}{sharing}, at least {human_size(self.least)}: {verdict}{most}'


def describe(target: Machine) -> str:
  """What fits a machine, for people."""
  available, of_training = target.available(), target.available(SHARE_OF_TRAINING)
  recipes = [recipe(name, target.num_devices, of_training) for name in choices.EXPERIMENTS]
  first = next((one for one in recipes if one.model_devices), None)
  lines = [
    str(target),
    'estimated: neither compiled nor measured',
    '',
    'The longest protein by the published models with deep alignments in bfloat16, '
    f'in {available / 2**30:.4g} GiB of each device:',
    *(f'  about {longest_protein(target, count):>9,} residues on {where}' for count, where in _shares(target)),
    '',
    f'Training, by what a step takes at least, in {of_training / 2**30:.4g} GiB of each device:',
    *(f'  {one.line(of_training)}' for one in recipes),
    '',
    'What comes on top of the least is not estimated. The compiler knows, and needs no device:',
    f'  {_COMPILE} {target.name} --num-res 2048',
    *([f'  {_COMPILE} {target.name} --experiment {first.name}{_sharing(first)}'] if first else []),
  ]
  return '\n'.join(lines)


def _sharing(recipe: RecipeOutlook) -> str:
  shared = recipe.model_devices or 1
  return f' --config run.model_devices={shared}' if shared > 1 else ''


def longest_protein(target: Machine, num_devices: int = 1) -> int:
  """The most residues that a machine takes by the planner's estimate.

  Args:
    target: the machine.
    num_devices: that share the protein.
  """
  config = configs.changed(configs.model_config(_DEEPEST), {'dtype': 'bfloat16'})
  with config.unlocked():
    config.kernels.platform = target.platform  # else that of this machine
  return planning.longest(config, target.available(), num_devices)


def recipe(name: str, num_devices: int, available: int) -> RecipeOutlook:
  """What is known of a recipe over all devices of a machine.

  Args:
    name: of choices.EXPERIMENTS.
    num_devices: of the machine.
    available: bytes of each.
  """
  config = configs.changed(experiments.experiment_config(name), {'model.dtype': 'bfloat16'})  # not by this machine
  crop = max(phase.data.crop_size for phase in phases.make_phases(config))
  shared = sharding.fewest_model_devices(config.step.batch_size, crop, num_devices)
  largest = 0
  while least_of_step(config, largest + _STEP, shared or 1) <= available:
    largest += _STEP
  least = least_of_step(config, crop, shared or 1)
  return RecipeOutlook(
    name=name,
    crop=crop,
    batch_size=config.step.batch_size,
    num_devices=num_devices,
    model_devices=shared,
    least=least,
    largest=largest if config.model.evoformer.remat else None,
  )


def least_of_step(config: config_dict.ConfigDict, crop: int, model_devices: int = 1) -> int:
  """Bytes of each device that a step takes in any case.

  Args:
    config: of the experiment.
    crop: residues.
    model_devices: that share an example.
  """
  model: Any = config.model
  num_params = sum(map(math.prod, official.official_shapes(model).values()))
  own, sampling = crop / model_devices, model.sampling
  pair, rows = own * crop * model.embedder.c_z, sampling.num_msa + config.data.num_templates
  kept = model.evoformer.num_block * (pair + rows * own * model.embedder.c_m)
  kept += model.extra_msa.num_block * (pair + sampling.num_extra * own * model.embedder.c_extra)
  return int(4 * _COPIES * num_params + _ITEM * config.step.examples_at_once * kept)


def _shares(target: Machine) -> list[tuple[int, str]]:
  """How many devices may share a protein, which `predict` lets those of one host do, and their description."""
  found, of_host = [(1, 'one device')], devices_of_host(target)
  if of_host > 1:
    found.append((of_host, f'{of_host} devices of a host that share it (--devices {of_host})'))
  return found


def devices_of_host(target: Machine) -> int:
  """How many of its devices one host has; a TPU's larger slices are made of hosts of four chips.

  Source: docs.cloud.google.com/tpu/docs/ v4, v5p (four chips), v5e, v6e (one host for slices up to 2x4).
  """
  if target.platform == CUDA:
    return target.num_devices
  most = 8 if CHIPS[target.kind].num_sides == 2 else 4
  return target.num_devices if target.num_devices <= most else 4
