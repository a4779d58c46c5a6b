# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax msa`."""

import argparse
from typing import Any

from alphafold_jax import choices
from alphafold_jax.cli import searching
from alphafold_jax.cli.flags import COMPLEX, DEBUG_LOGGING, Flags, choice, command, quiet, value
from alphafold_jax.errors import InputError


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import runs
  from alphafold_jax.runs import alignments

  options = searching.options_of(given)
  if options is None:
    raise InputError(f'--msa-mode is missing; choose one of {", ".join(choices.MSA_MODES)}')
  screen = runs.Screen.of_stdout(quiet=given.quiet, debug=given.debug_logging)
  summary = alignments.run(
    given.input, given.output, options, screen=screen, command=given.command_line, complex=given.complex
  )
  if not given.quiet:
    print(f'\n{summary.closing()}', flush=True)
  return summary.exit_code


_ARGUMENTS: Flags = {
  'input': value(
    'INPUT', 'FASTA (one record, one protein), CSV or TSV with columns id,sequence, or a directory of these; also .gz'
  ),
  'output': value('OUT', 'folder for the alignments; made if missing'),
  '--msa-mode': choice(
    choices.MSA_MODES,
    'how to search: hmmer (jackhmmer) and mmseqs2 search --database on this machine; server sends the sequences to '
    'an MMseqs2 server; single_sequence writes the sequences alone',
  ),
  '--complex': COMPLEX,
  **searching.SEARCH,
  '--quiet': quiet('OUT'),
  '--debug-logging': DEBUG_LOGGING,
}


def add(commands: Any) -> None:
  command(
    commands,
    'msa INPUT OUT --msa-mode MODE [flags]',
    run,
    'alignments of homologues from bare sequences',
    description=(
      'Searches for homologues of each protein and writes OUT/NAME.a3m, which `predict` takes. The same search is\n'
      'made once, here or inside `predict`: what was found is kept (see `alphafold-jax cache`).'
    ),
    arguments=_ARGUMENTS,
  )
