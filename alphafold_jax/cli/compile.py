# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax compile`."""

import argparse
import json
import subprocess
import sys
from typing import Any

from alphafold_jax import choices, machine
from alphafold_jax.cli import flags
from alphafold_jax.cli.flags import Flags, choice, command, count, several, switch, value
from alphafold_jax.errors import InputError

_MODEL, _NUM_RES = 'model_5_ptm', 1024
_OF_PREDICTIONS = ('model', 'num_res', 'devices')  # flags


def run(given: argparse.Namespace) -> int:
  from alphafold_jax.elsewhere import compilers, targets

  target = targets.parse(given.target)
  _check(given)
  if machine.jax_has_begun():  # here; it cannot be told any more that there are no devices
    return _in_another_process(given.command_line[1:])
  compilers.prepare()
  from alphafold_jax.elsewhere import report

  found = report.compiled(target, _work(target, given))
  print(json.dumps(found.as_json()) if given.json else found)
  return 0


def _check(given: argparse.Namespace) -> None:
  """Refuses flags that do not go together, and numbers that are none of things."""
  found = {f'--{name.replace("_", "-")}': getattr(given, name) for name in _OF_PREDICTIONS}
  found = {flag: number for flag, number in found.items() if number is not None}
  if given.experiment and found:
    raise InputError(
      f'{next(iter(found))}: of predictions; a step of {given.experiment} is over all devices of {given.target}, and '
      '--config changes its settings, such as run.model_devices=2'
    )
  for flag in ('--num-res', '--devices'):
    if found.get(flag, 1) < 1:
      raise InputError(f'{flag} {found[flag]}: give a whole number above 0')


def _work(target: Any, given: argparse.Namespace) -> Any:
  """What is to be compiled, lowered; --kernels goes before --config, as of predict."""
  from alphafold_jax import config, experiments
  from alphafold_jax.elsewhere import lowering

  changes = dict(given.config)
  if given.kernels:
    changes['model.kernels.implementation' if given.experiment else 'kernels.implementation'] = given.kernels
  if given.experiment:
    return lowering.training(target, config.changed(experiments.experiment_config(given.experiment), changes))
  chosen = config.changed(config.model_config(given.model or _MODEL), {'dtype': 'bfloat16'} | changes)
  return lowering.prediction(target, chosen, given.num_res or _NUM_RES, given.devices or 1)


def _in_another_process(arguments: list[str]) -> int:
  done = subprocess.run(
    [sys.executable, '-m', 'alphafold_jax', *arguments], capture_output=True, encoding='utf-8', check=False
  )
  print(done.stdout, end='')
  print(done.stderr, end='', file=sys.stderr)
  return done.returncode


_ARGUMENTS: Flags = {
  '--for': value(
    'TARGET',
    'TPUs by their topology, such as v4:2x2x1, v5e:16x16, v5p:2x2x1, v6e:2x4; or NVIDIA GPUs of one host by name, '
    'such as h200 or a100-80:8',
    dest='target',
    required=True,
  ),
  '--model': value('NAME', f'a pass of a prediction by this model (default: {_MODEL})'),
  '--num-res': count(f'residues of the protein (default: {_NUM_RES:,})'),
  '--devices': count('devices that share the protein (default: 1)'),
  '--experiment': choice(choices.EXPERIMENTS, 'a step of this recipe instead, over all devices of the target'),
  '--kernels': value('NAME', 'implementation of the expensive operations, as of predict'),
  '--config': several('KEY=VALUE', 'change a setting of the model, or of the experiment', type=flags.change),
  '--json': switch('print one JSON object'),
}


def add(commands: Any) -> None:
  command(
    commands,
    'compile --for TARGET [flags]',
    run,
    'compile for a TPU or GPU that is not here, and see whether it fits',
    description='Compiles a pass of a prediction, or a step of training, by the compiler of a machine that need not '
    'be here, and says what that reserves on each device, what was planned, which kernels are in the program and what '
    'devices exchange. Nothing is run: how long a run should take is a range, expected and not measured. Needs the '
    "machine's compiler: the extra tpu, or cuda12 or cuda13.",
    arguments=_ARGUMENTS,
  )
