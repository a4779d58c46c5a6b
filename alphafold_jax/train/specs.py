# SPDX-License-Identifier: Apache-2.0
"""The specs of a run's parts, made of an experiment's configuration, and the settings that may change in a run."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import config_dict

from alphafold_jax import choices, devices, experiments
from alphafold_jax import config as configs
from alphafold_jax.data.training.source_table import SPLITS
from alphafold_jax.errors import InputError
from alphafold_jax.losses import total
from alphafold_jax.model import alphafold
from alphafold_jax.train.optimizer import OptimizerSpec
from alphafold_jax.train.step import StepSpec

# Settings that may differ when a run goes on: its length, how often it logs and saves, what validation is shown, when
# the learning rate decays, and when later phases begin.
MAY_CHANGE = ('run.', 'data.validation_templates', 'optimizer.decay_', 'optimizer.cooldown_', 'phases.')
_MAY_BE_ZERO = ('num_samples', 'seed', 'cpu_devices', 'validate_every', 'num_validation')  # of RunSpec


@dataclasses.dataclass(frozen=True)
class RunSpec:
  """The section `run` of an experiment; experiments.py explains each setting."""

  num_samples: int
  seed: int
  model_devices: int
  cpu_devices: int
  log_every: int  # steps
  checkpoint_every: int  # steps
  keep_checkpoints: int
  validate_every: int  # steps; 0: never, not at the end either
  validation_split: str
  num_validation: int  # chains
  max_validation_length: int  # residues
  max_skipped: int  # steps
  num_workers: int  # threads

  def __post_init__(self):
    if self.validation_split not in SPLITS:
      raise InputError(f'run.validation_split is {self.validation_split!r}; choose one of {", ".join(SPLITS)}')
    for name, value in vars(self).items():
      if name == 'validation_split':
        continue
      least = 0 if name in _MAY_BE_ZERO else 1
      if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f'run.{name} is {value!r}; expected a whole number of {least} or more')


def make_step_spec(config: config_dict.ConfigDict) -> StepSpec:
  """The spec of an experiment's step.

  Raises:
    InputError: a setting is missing, misspelt or does not fit.
  """
  model = config.model
  if model.dtype == 'auto':
    model = configs.changed(model, {'dtype': devices.default_dtype()})
  if model.dtype not in choices.DTYPES:
    raise InputError(f'model.dtype is {model.dtype!r}; choose {", ".join(choices.DTYPES)} or auto')
  try:
    return StepSpec(
      network=alphafold.make_spec(model),
      loss=total.make_spec(config.loss, config.get('chains', {})),
      optimizer=OptimizerSpec(**config.optimizer),
      **config.step,
    )
  except (TypeError, ValueError) as error:
    raise InputError(f'the configuration does not fit: {error}; see alphafold_jax/experiments.py') from error


def make_validation_spec(config: config_dict.ConfigDict) -> alphafold.AlphaFoldSpec:
  """The spec of an experiment's network without dropout, masked alignment tokens and rematerialisation."""
  zeros = dict.fromkeys((*configs.DROPOUT, 'sampling.masked_fraction'), 0.0)
  remat = dict.fromkeys(('templates.remat', 'extra_msa.remat', 'evoformer.remat'), False)
  return make_step_spec(
    configs.changed(config, {f'model.{key}': value for key, value in (zeros | remat).items()})
  ).network


def make_section(cls: type, section: str, config: config_dict.ConfigDict) -> Any:
  """The spec, of class `cls`, of one section of an experiment; InputError: a key is missing or misspelt."""
  try:
    return cls(**config[section])
  except TypeError as error:
    raise InputError(f'section {section!r} of the configuration: {error}; see alphafold_jax/experiments.py') from error


def flat(tree: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
  """The settings of a configuration, each by its dotted name."""
  for name, value in tree.items():
    if isinstance(value, Mapping):
      yield from flat(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value


def check_same(saved: dict[str, Any], config: dict[str, Any], directory: Path) -> list[str]:
  """Compares a run's configuration with that of its checkpoint; returns a line for each setting that MAY_CHANGE.

  Raises:
    InputError: other settings differ; the message lists them.
  """
  old, new = dict(flat(saved)), dict(flat(config))
  old = {name: 0.0 for name in new if name.startswith('loss.')} | old  # a loss that was added since had no weight
  old = {name: value for name, value in experiments.LATER.items() if name in new} | old
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
