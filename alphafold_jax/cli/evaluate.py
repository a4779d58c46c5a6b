# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax evaluate`."""

import argparse
import sys
from typing import Any

from alphafold_jax.cli.flags import PROGRAM, Flags, command, number, switch, value


def run(given: argparse.Namespace) -> int:
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


_ARGUMENTS: Flags = {
  'predictions': value(
    'PREDICTIONS', f'results folder of `{PROGRAM} predict`, or any PDB or mmCIF file or folder of them (also .gz)'
  ),
  'references': value(
    'REFERENCES', 'experimental structures of the same names: a file or a folder, or another results folder'
  ),
  '--output': value(
    'DIR', 'folder for tables, JSON and plot; made if missing (default: %(default)s)', default='evaluation'
  ),
  '--pairs': value(
    'TABLE',
    'CSV with the columns prediction and reference (and perhaps chain, of complexes such as "A B"), in place of '
    'matching by name',
  ),
  '--every-rank': switch('score all ranked models of a protein; statistics are of the best all the same'),
  '--min-identity': number(
    'share of aligned residues that must be equal for the two to be the same protein (default: %(default)s)',
    default=0.9,
  ),
  '--min-coverage': number(
    "share of the reference's resolved residues that the prediction must have (default: %(default)s)", default=0.5
  ),
  '--no-plddt': switch('do not read B-factors and scores files as pLDDT'),
  '--quiet': switch('print nothing but errors'),
}


def add(commands: Any) -> None:
  command(
    commands,
    'evaluate PREDICTIONS REFERENCES [flags]',
    run,
    'predictions against experimental structures',
    description='Scores predictions: lDDT, GDT, TM-score, r.m.s.d., side chains, violations, DockQ of complexes, and '
    'how well pLDDT foretold the accuracy. docs/evaluation.md defines each number.',
    arguments=_ARGUMENTS,
  )
