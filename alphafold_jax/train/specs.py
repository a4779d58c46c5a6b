# SPDX-License-Identifier: Apache-2.0
"""From an experiment's configuration to the specs of its parts, and when two configurations are the same run."""

import dataclasses
from pathlib import Path
from typing import Any

from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax import devices
from alphafold_jax.errors import InputError
from alphafold_jax.losses.total import LossSpec
from alphafold_jax.model import alphafold
from alphafold_jax.train.optimizer import OptimizerSpec
from alphafold_jax.train.step import StepSpec

# What a run may change when it goes on: until when, how often, and when the learning rate steps down.
MAY_CHANGE = ('run.', 'optimizer.decay_')


@dataclasses.dataclass(frozen=True)
class RunSpec:
  """When things happen in a run; see experiments.py."""

  num_samples: int
  seed: int
  model_devices: int
  log_every: int
  checkpoint_every: int
  keep_checkpoints: int
  validate_every: int
  num_validation: int
  max_validation_length: int
  max_skipped: int
  num_workers: int


def make_step_spec(config: config_dict.ConfigDict) -> StepSpec:
  """Turns an experiment into the spec of its step, before anything is traced.

  Raises:
    InputError: a key is missing or misspelt.
  """
  model = config.model
  if model.dtype == 'auto':
    model = configs.changed(model, {'dtype': devices.default_dtype()})
  try:
    return StepSpec(
      network=alphafold.make_spec(model),
      loss=LossSpec(**config.loss),
      optimizer=OptimizerSpec(**config.optimizer),
      **config.step,
    )
  except (TypeError, ValueError) as error:
    raise InputError(f'the configuration does not fit: {error}; see alphafold_jax/experiments.py') from error


def make_section(cls: type, section: str, config: config_dict.ConfigDict) -> Any:
  """The spec of one section; InputError names a key that is missing or misspelt."""
  try:
    return cls(**config[section])
  except TypeError as error:
    raise InputError(f'section {section!r} of the configuration: {error}; see alphafold_jax/experiments.py') from error


def check_same(saved: dict[str, Any], config: dict[str, Any], directory: Path) -> list[str]:
  """Refuses to go on under another configuration, except in when things happen (MAY_CHANGE).

  Returns:
    what has changed of that, in words.
  """

  def flat(tree, prefix=''):
    for name, value in tree.items():
      if isinstance(value, dict):
        yield from flat(value, f'{prefix}{name}.')
      else:
        yield f'{prefix}{name}', value

  old, new = dict(flat(saved)), dict(flat(config))
  old.pop('origin', None)
  different = {
    name: f'{name}: {old.get(name, "absent")} there, {new.get(name, "absent")} now'
    for name in sorted(old | new)
    if old.get(name) != new.get(name)
  }
  allowed = {name for name in different if name.startswith(MAY_CHANGE) and name != 'run.seed'}
  if refused := [text for name, text in different.items() if name not in allowed]:
    raise InputError(
      f'{directory}: its checkpoint comes from another configuration:\n  '
      + '\n  '.join(refused)
      + '\ngive the same to go on, or another folder (with --init-from to start from these parameters)'
    )
  return [different[name] for name in sorted(allowed)]
