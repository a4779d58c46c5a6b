# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax msa`."""

import argparse
from typing import Any

from alphafold_jax import choices
from alphafold_jax.cli import flags, searching


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import runs
  from alphafold_jax.errors import InputError
  from alphafold_jax.runs import alignments

  options = searching.options_of(given)
  if options is None:
    raise InputError(f'--msa-mode is missing; choose one of {", ".join(choices.MSA_MODES)}')
  screen = runs.Screen.of_stdout(quiet=given.quiet, debug=given.debug_logging)
  summary = alignments.run(given.input, given.output, options, screen=screen, command=given.command_line)
  if not given.quiet:
    print(f'\n{summary.closing()}', flush=True)
  return summary.exit_code


def add(commands: Any) -> None:
  msa = commands.add_parser(
    'msa',
    help='alignments of homologues from bare sequences',
    allow_abbrev=False,
    usage=f'{flags.PROGRAM} msa INPUT OUT --msa-mode MODE [flags]',
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description=(
      'Searches for homologues of each protein and writes OUT/NAME.a3m, which `predict` takes. The same search is\n'
      'made once, here or inside `predict`: what was found is kept (see `alphafold-jax cache`).'
    ),
  )
  msa.set_defaults(run=run)
  msa.add_argument(
    'input',
    metavar='INPUT',
    help='FASTA (one record, one protein), CSV or TSV with columns id,sequence, or a directory of these; also .gz',
  )
  msa.add_argument('output', metavar='OUT', help='folder for the alignments; made if missing')
  for flag, settings in {
    **searching.mode_flag(
      'how to search: hmmer (jackhmmer) and mmseqs2 search --database on this machine; server sends the sequences to '
      'an MMseqs2 server; single_sequence writes the sequences alone'
    ),
    **searching.SEARCH,
    **_FLAGS,
  }.items():
    msa.add_argument(flag, **settings)


_FLAGS: dict[str, dict[str, Any]] = {
  '--quiet': {**flags.SWITCH, 'help': 'show warnings and errors only; OUT/log.txt is complete all the same'},
  '--debug-logging': {**flags.SWITCH, 'help': 'show more, tracebacks included'},
}
