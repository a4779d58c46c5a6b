# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax relax`."""

import argparse
from typing import Any

from alphafold_jax.cli import flags
from alphafold_jax.cli.flags import Flags, command, quiet, switch
from alphafold_jax.cli.relaxing import PROTOCOL, plan_of
from alphafold_jax.errors import InputError


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import atomic, relaxation
  from alphafold_jax.relaxation import folder
  from alphafold_jax.screen import LOG, Screen, reporting

  plan = plan_of(given)
  relaxation.check_installed(tried=True)
  files = folder.find(given.files)
  out = atomic.make_folder(given.output, tried=True)
  with reporting(out / LOG, Screen.of_stdout(quiet=given.quiet, debug=given.debug_logging)):
    failures = folder.relax_files(files, out, plan, again=given.overwrite_existing_results)
  if not given.quiet:
    print(folder.closing(files, failures, out))
  if len(failures) == len(files) and all(isinstance(one, InputError) for one in failures):
    return 2
  return int(bool(failures))


_ARGUMENTS: Flags = {
  'files': {
    'metavar': 'FILES',
    'nargs': '+',
    'help': 'PDB or mmCIF files, also .gz, or folders of them, such as the results of `predict`',
  },
  'output': {'metavar': 'OUT', 'help': 'folder for the relaxed structures; made if missing'},
  '--overwrite-existing-results': switch('relax again what is done already'),
  '--quiet': quiet('OUT'),
  '--debug-logging': flags.DEBUG_LOGGING,
}


def add(commands: Any) -> None:
  command(
    commands,
    'relax FILES OUT [flags]',
    run,
    'structures without clashes: restrained minimisation',
    description='Relaxes protein structures by anyone: hydrogens and missing atoms are added, clashes and bent bonds '
    'eased in the Amber force field (OpenMM, extra relax), the fold held by restraints. Chain names, numbering and '
    'B-factors stay. Run the same command to go on. docs/relaxation.md has the protocols and what the numbers mean.',
    arguments=_ARGUMENTS,
    groups={'relaxation': PROTOCOL},
  )
