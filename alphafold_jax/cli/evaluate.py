# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax evaluate`."""

import argparse
from typing import Any

from alphafold_jax.cli import flags


def run(given: argparse.Namespace) -> int:
  import sys

  from alphafold_jax import evaluation

  def show(index: int, total: int, name: str) -> None:
    if sys.stderr.isatty() and not given.quiet:
      print(f'\r[{index}/{total}] {name:<40}', end='' if index < total else '\n', file=sys.stderr, flush=True)

  summary = evaluation.evaluate(
    given.predictions,
    given.references,
    given.output,
    pairs=given.pairs,
    every_rank=given.every_rank,
    min_identity=given.min_identity,
    min_coverage=given.min_coverage,
    read_plddt=not given.no_plddt,
    progress=show,
  )
  if not given.quiet:
    print(summary.text)
  return summary.exit_code


def add(commands: Any) -> None:
  evaluate = commands.add_parser(
    'evaluate',
    help='predictions against experimental structures',
    allow_abbrev=False,
    usage=f'{flags.PROGRAM} evaluate PREDICTIONS REFERENCES [flags]',
    description='Scores predictions: lDDT, GDT, TM-score, r.m.s.d., side chains, violations, and how well pLDDT '
    'foretold the accuracy. docs/evaluation.md defines each number.',
  )
  evaluate.set_defaults(run=run)
  evaluate.add_argument(
    'predictions',
    metavar='PREDICTIONS',
    help=f'results folder of `{flags.PROGRAM} predict`, or any PDB or mmCIF file or folder of them (also .gz)',
  )
  evaluate.add_argument(
    'references', metavar='REFERENCES', help='experimental structures of the same names: a file or a folder'
  )
  for flag, settings in _FLAGS.items():
    evaluate.add_argument(flag, **settings)


_FLAGS: dict[str, dict[str, Any]] = {
  '--output': {
    'metavar': 'DIR',
    'default': 'evaluation',
    'help': 'folder for tables, JSON and plot; made if missing (default: %(default)s)',
  },
  '--pairs': {
    'metavar': 'TABLE',
    'help': 'CSV with the columns prediction and reference (and perhaps chain), in place of matching by name',
  },
  '--every-rank': {
    **flags.SWITCH,
    'help': 'score all ranked models of a protein; statistics are of the best all the same',
  },
  '--min-identity': {
    'type': float,
    'metavar': 'X',
    'default': 0.9,
    'help': 'share of aligned residues that must be equal for the two to be the same protein (default: %(default)s)',
  },
  '--min-coverage': {
    'type': float,
    'metavar': 'X',
    'default': 0.5,
    'help': "share of the reference's resolved residues that the prediction must have (default: %(default)s)",
  },
  '--no-plddt': {**flags.SWITCH, 'help': 'do not read B-factors and scores files as pLDDT'},
  '--quiet': {**flags.SWITCH, 'help': 'print nothing but errors'},
}
