# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax doctor`."""

import argparse
from typing import Any

from alphafold_jax.cli.flags import command, value


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import doctor

  return doctor.examine(given.data)


def add(commands: Any) -> None:
  command(
    commands,
    'doctor',
    run,
    'what this machine has for predictions, and what is missing',
    description='Says what this machine computes on, where parameters and compiled programs are, and what to do '
    'about what is missing. Exit code 1 if predictions are not possible yet.',
    arguments={'--data': value('DIR', 'folder of the parameters')},
  )
