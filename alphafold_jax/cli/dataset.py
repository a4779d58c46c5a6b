# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax dataset`."""

import argparse
import sys
from typing import Any

from alphafold_jax.cli import flags


def run(given: argparse.Namespace) -> int:
  from alphafold_jax.data.training.cache_building import build_cache

  def show(done: int, total: int) -> None:
    if not given.quiet and (done == total or done % max(1, total // 20) == 0):
      print(f'{done} of {total} files', file=sys.stderr)

  *structures, out = given.paths
  summary = build_cache(
    structures,
    out,
    alignments=given.msas,
    table=given.table,
    columns=dict(given.column),
    clusters=given.clusters,
    predicted=given.predicted,
    max_rows=given.max_rows,
    processes=given.processes,
    progress=show,
  )
  splits = ', '.join(f'{count} {name}' for name, count in sorted(summary.splits.items()))
  print(
    f'{summary.path}: {summary.num_chains} chains ({splits}) in {summary.num_clusters} clusters, '
    f'{summary.num_with_alignment} with an alignment'
  )
  if summary.skipped:
    print(f'{len(summary.skipped)} files or chains were not taken; {summary.path / "skipped.csv"} says why')
  return 0


class _Paths(argparse.Action):
  """At least one source and the place to write to."""

  def __call__(self, parser, namespace, values, option_string=None):
    if len(values) < 2:
      parser.error('give STRUCTURES and OUT')
    setattr(namespace, self.dest, values)


def _column(text: str) -> tuple[str, str]:
  ours, equals, theirs = text.partition('=')
  if not (ours and equals and theirs):
    raise ValueError
  return ours, theirs


_column.__name__ = 'OURS=THEIRS'


def add(commands: Any) -> None:
  dataset = commands.add_parser(
    'dataset',
    help='a training set from structures and alignments',
    allow_abbrev=False,
    usage=f'{flags.PROGRAM} dataset STRUCTURES... OUT [flags]',
    description='Reads mmCIF and PDB files, and alignments of the same names, once, into a compact cache that '
    f'`{flags.PROGRAM} train` draws from. Files that cannot be used are listed in OUT/skipped.csv.',
  )
  dataset.set_defaults(run=run)
  dataset.add_argument(
    'paths',
    metavar='PATH',
    nargs='+',
    action=_Paths,
    help='files or folders of structures (also .gz), and last the folder to make',
  )
  for flag, settings in _FLAGS.items():
    dataset.add_argument(flag, **settings)


_FLAGS: dict[str, dict[str, Any]] = {
  '--msas': {
    'metavar': 'PATH',
    'action': 'append',
    'default': [],
    'help': 'A3M files or a folder of them; repeat, the preferred ones first',
  },
  '--table': {
    'metavar': 'CSV',
    'help': 'which chains to take: id and any of cluster, split, resolution, method, release_date, exclude',
  },
  '--column': {
    'type': _column,
    'metavar': 'OURS=THEIRS',
    'action': 'append',
    'default': [],
    'help': 'name of a column in the table, such as cluster=cluster30',
  },
  '--clusters': {
    'metavar': 'TSV',
    'help': 'clusters by sequence, as `mmseqs easy-cluster` writes them; chains are drawn by cluster',
  },
  '--predicted': {**flags.SWITCH, 'help': 'the structures are predictions with pLDDT as B-factor'},
  '--max-rows': {'type': int, 'default': 8192, 'metavar': 'N', 'help': 'alignment rows to keep (default: %(default)s)'},
  '--processes': {'type': int, 'metavar': 'N', 'help': 'how many read files (default: one per CPU)'},
  '--quiet': {**flags.SWITCH, 'help': 'no progress'},
}
