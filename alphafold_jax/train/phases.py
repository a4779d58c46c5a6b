# SPDX-License-Identifier: Apache-2.0
"""The phases of a run: from a number of samples on, some settings of its experiment are others.

An experiment names them in its section `phases`, such as {'longer': {'samples': 60_000, 'data': {'crop_size': 128}}}.
What one phase sets stays so in those after it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax.data.training.training_set import DataSpec
from alphafold_jax.errors import InputError
from alphafold_jax.train import specs
from alphafold_jax.train.step import StepSpec

SECTIONS = ('data', 'loss', 'optimizer', 'step')  # that a phase may set; parameters keep their shapes
START = 'samples'


@dataclasses.dataclass(frozen=True)
class Phase:
  """Steps that share all settings."""

  name: str  # '' for the first, which is the experiment as it stands
  first_step: int
  step: StepSpec
  data: DataSpec
  changes: tuple[str, ...] = ()  # settings that begin to be others here, 'KEY=VALUE'


def make_phases(config: config_dict.ConfigDict) -> list[Phase]:
  """The phases of an experiment in their order; the first begins with step 0.

  Raises:
    InputError: a phase has no beginning, sets something else than SECTIONS, or a setting that does not exist.
  """
  batch_size = config.step.batch_size
  starts = {name: _start(name, phase) for name, phase in config.phases.items()}
  result, present = [_phase('', 0, config, {})], config
  for name, samples in sorted(starts.items(), key=lambda item: item[1]):
    changes = _changes(name, config.phases[name])
    present = configs.changed(present, changes)
    result.append(_phase(name, -(-samples // batch_size), present, changes))
  return result


def at(phases: Sequence[Phase], step: int) -> Phase:
  """The phase that a step, counted from 0, belongs to."""
  return [phase for phase in phases if phase.first_step <= step][-1]


def _start(name: str, phase: Any) -> int:
  samples = phase.get(START) if isinstance(phase, Mapping | config_dict.ConfigDict) else None
  if isinstance(samples, bool) or not isinstance(samples, int) or samples < 0:
    raise InputError(f'phases.{name}.{START} is {samples!r}; expected the samples after which it begins')
  return samples


def _changes(name: str, phase: Mapping[str, Any]) -> dict[str, Any]:
  """A phase's settings by their dotted names."""
  changes: dict[str, Any] = {}
  for section, settings in phase.items():
    if section == START:
      continue
    if section not in SECTIONS or not isinstance(settings, Mapping | config_dict.ConfigDict):
      raise InputError(f'phases.{name}.{section}: a phase sets {START}, and sections {", ".join(SECTIONS)}')
    changes |= {f'{section}.{key}': value for key, value in settings.items()}
  if 'step.batch_size' in changes:
    raise InputError(f'phases.{name}.step.batch_size: the batch stays the same for the whole run')
  return changes


def _phase(name: str, first_step: int, config: config_dict.ConfigDict, changes: Mapping[str, Any]) -> Phase:
  return Phase(
    name=name,
    first_step=first_step,
    step=specs.make_step_spec(config),
    data=specs.make_section(DataSpec, 'data', config),
    changes=tuple(f'{key}={value}' for key, value in changes.items()),
  )
