# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax doctor`."""

import argparse
from typing import Any

from alphafold_jax.cli.flags import command, value
from alphafold_jax.errors import InputError


def run(given: argparse.Namespace) -> int:
  if given.target is None:
    from alphafold_jax import doctor

    return doctor.examine(given.data)
  if given.data is not None:
    raise InputError('--data: of this machine; parameters and programs of one that is elsewhere are not looked at')
  from alphafold_jax.elsewhere import targets

  target = targets.parse(given.target)
  from alphafold_jax.elsewhere import outlook  # which loads JAX

  print(outlook.describe(target))
  return 0


def add(commands: Any) -> None:
  command(
    commands,
    'doctor',
    run,
    'what this machine has for predictions, and what is missing',
    description='Says what this machine computes on, where parameters and compiled programs are, and what to do '
    'about what is missing. Exit code 1 if predictions are not possible yet. With --for, what another machine will '
    'take, by estimates.',
    arguments={
      '--data': value('DIR', 'folder of the parameters'),
      '--for': value(
        'TARGET',
        'a machine that need not be here, as of `compile`: the longest protein and the training crops that it takes',
        dest='target',
      ),
    },
  )
