# SPDX-License-Identifier: Apache-2.0
"""The flags of relaxation, shared by `predict` and `relax`; those of `colabfold_batch` under its names."""

import argparse
import typing

from alphafold_jax.choices import RELAX_PROTOCOLS
from alphafold_jax.cli.flags import Flags, by_flag, choice, count, number, switch
from alphafold_jax.errors import InputError

if typing.TYPE_CHECKING:
  from alphafold_jax.relaxation import RelaxPlan

PROTOCOL: Flags = {
  '--relax-protocol': choice(
    RELAX_PROTOCOLS,
    'official is that of AlphaFold (Amber99SB in vacuum); fast has a cut-off, and weak restraints before stiff ones '
    '(default: %(default)s)',
    default=RELAX_PROTOCOLS[0],
  ),
  '--relax-max-iterations': count(
    'steps of each minimisation at most; 0 is no limit, as AlphaFold has it (default: 2000; of fast 500)'
  ),
  '--relax-tolerance': number('kcal/mol/Å: the force at which a minimisation ends (default: 2.39; of fast 1)'),
  '--relax-stiffness': number('kcal/mol/Å²: of the restraints on heavy atoms (default: 10; fast begins with a fifth)'),
  '--relax-max-outer-iterations': count(
    'rounds at most, each of which frees the residues with violations that are left (default: 3)'
  ),
  '--use-gpu-relax': switch('relax on a GPU (CUDA, HIP, OpenCL), and where none can be used on CPUs'),
  '--relax-time-limit': number('seconds of one structure (default: 3600)'),
  '--relax-workers': count('structures at once (default: one for each processor; on a GPU one)'),
}
AMBER: Flags = {
  '--amber': switch('relax the predictions in the Amber force field; needs the extra relax'),
  '--num-relax': count('of each protein, the best predictions to relax (default: none; with --amber alone all)'),
}


_HARMLESS = '--use-gpu-relax'  # which scripts for colabfold_batch give whether they relax or not


def check_used(given: argparse.Namespace) -> None:
  """Refuses flags of `predict` that say how to relax where nothing says that: InputError names the first."""
  if given.amber or given.num_relax is not None:
    return
  for flag, row in PROTOCOL.items():
    chosen = getattr(given, flag.removeprefix('--').replace('-', '_'))
    if flag != _HARMLESS and chosen not in (None, row.get('default')):
      raise InputError(f'{flag}: of use only with --amber or --num-relax N')


def plan_of(given: argparse.Namespace) -> 'RelaxPlan':
  """The flags as a plan; InputError: a value that cannot be."""
  from alphafold_jax import relaxation

  limit = relaxation.MAX_SECONDS if given.relax_time_limit is None else given.relax_time_limit
  with by_flag(PROTOCOL, '--relax-'):
    protocol = relaxation.protocol(
      given.relax_protocol,
      max_iterations=given.relax_max_iterations,
      tolerance=given.relax_tolerance,
      stiffness=given.relax_stiffness,
      max_outer_iterations=given.relax_max_outer_iterations,
    )
    return relaxation.RelaxPlan(protocol, given.use_gpu_relax, limit, given.relax_workers)
