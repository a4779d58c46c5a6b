# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax doctor`."""

import argparse
from typing import Any


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import doctor

  return doctor.examine(given.data)


def add(commands: Any) -> None:
  parser = commands.add_parser(
    'doctor',
    help='what this machine has for predictions, and what is missing',
    allow_abbrev=False,
    description='Says what this machine computes on, where parameters and compiled programs are, and what to do '
    'about what is missing. Exit code 1 if predictions are not possible yet.',
  )
  parser.add_argument('--data', metavar='DIR', help='folder of the parameters')
  parser.set_defaults(run=run)
