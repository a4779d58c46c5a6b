# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax dataset`."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from alphafold_jax.cli.flags import PROGRAM, Flags, command, count, several, switch, value
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

# Flags that say how structures are read.
_OF_STRUCTURES = ('msas', 'table', 'column', 'clusters', 'predicted', 'couplings', 'assemblies', 'complexes')


def run(given: argparse.Namespace) -> int:
  *structures, out = given.paths
  if structures:
    _build(given, structures, out)
  elif not given.templates:
    raise InputError(f'{out}: give STRUCTURES and OUT; OUT alone is for --templates, where it is a cache that stands')
  elif unused := [flag for flag in _OF_STRUCTURES if getattr(given, flag)]:
    raise InputError(f'--{unused[0]}: goes with STRUCTURES, which are not given; {out} stands as it is')
  if given.templates:
    _find_templates(given, out)
  return 0


def _build(given: argparse.Namespace, structures: list[str], out: str) -> None:
  """Makes the cache, and says what became of all that was given."""
  from alphafold_jax import devices
  from alphafold_jax.data.left_out import totals
  from alphafold_jax.data.training import cache, cache_building

  if given.couplings:
    if not given.msas:
      raise InputError('--couplings: they are computed from alignments; give some by --msas')
    devices.use_compilation_cache()
  if given.assemblies and given.complexes:
    raise InputError('--assemblies and --complexes: give one of them')
  if given.templates and cache.exists(out):
    raise InputError(f'{out}: this cache stands; `{PROGRAM} dataset {out} --templates` looks for its templates')
  summary = cache_building.build_cache(
    structures,
    out,
    alignments=given.msas,
    table=given.table,
    columns=_columns(given.column),
    clusters=given.clusters,
    predicted=given.predicted,
    max_rows=given.max_rows,
    couplings=given.couplings,
    complexes=given.complexes or given.assemblies,
    processes=given.processes,
    progress=_progress(given, 'file'),
  )
  splits = ', '.join(f'{chains} {name}' for name, chains in sorted(summary.splits.items()))
  coupled = f', {summary.num_with_couplings} with couplings' if given.couplings else ''
  print(
    f'{summary.path}: {number(summary.num_chains, "chain")} ({splits}) in {number(summary.num_clusters, "cluster")}, '
    f'{summary.num_with_alignment} with an alignment{coupled}'
  )
  if summary.num_complexes:
    print(f'Complexes of them: {summary.num_complexes}')
  for note in summary.notes:
    print(note)
  if summary.left_out:
    print(f'Atoms of the files that are in no chain: {totals(summary.left_out)}')
  if summary.skipped:
    print(f'What was not taken or not used: {number(len(summary.skipped), "line")} in {summary.path / "skipped.csv"}')


def _find_templates(given: argparse.Namespace, out: str) -> None:
  """Looks for the templates of all chains of a cache, and says how many have some."""
  from alphafold_jax.data.training import cache, template_finding

  opened = cache.open_cache(out)
  hits = template_finding.find_templates(opened, processes=given.processes, progress=_progress(given, 'chain'))
  counts = hits.counts()
  print(
    f'{out}: {number(int(sum(counts > 0)), "chain")} of {len(counts)} with templates among the training chains, '
    f'{number(int(counts.max()), "template")} at most'
  )


def _progress(given: argparse.Namespace, what: str) -> Callable[[int, int], None]:
  """Shows each twentieth of the work."""

  def show(done: int, total: int) -> None:
    if not given.quiet and (done == total or done % max(1, total // 20) == 0):
      print(f'{done} of {number(total, what)}', file=sys.stderr)

  return show


def _column(text: str) -> tuple[str, str]:
  ours, equals, theirs = text.partition('=')
  if not (ours and equals and theirs):
    raise ValueError
  return ours, theirs


def _columns(given: list[tuple[str, str]]) -> dict[str, str]:
  """Our names of columns with the table's; InputError where one of ours is named twice."""
  for ours, theirs in given:
    if dict(given)[ours] != theirs:
      raise InputError(f'--column {ours}={theirs}: {ours} is {dict(given)[ours]} by another --column; give one')
  return dict(given)


_column.__name__ = 'OURS=THEIRS'
_ARGUMENTS: Flags = {
  'paths': value('PATH', 'files or folders of structures (also .gz), and last the folder to make', nargs='+'),
  '--msas': several(
    'PATH',
    'A3M or Stockholm files, or a folder of them (ID.a3m, or ID/.../*.a3m); repeat, the preferred ones first',
  ),
  '--table': value(
    'CSV',
    'which chains to take: id and any of cluster, split (train, pilot, validation, test), resolution, method, '
    'release_date, exclude',
  ),
  '--column': several('OURS=THEIRS', 'name of a column in the table, such as cluster=cluster30', type=_column),
  '--clusters': value('TSV', 'clusters by sequence, as `mmseqs easy-cluster` writes them; chains are drawn by cluster'),
  '--predicted': switch('the structures are predictions with pLDDT as B-factor'),
  '--assemblies': switch(
    'list the complexes of the files too: their biological assemblies, or their chains as they stand'
  ),
  '--complexes': value(
    'CSV',
    'list these complexes: chains (names with blanks between, in common coordinates) and any of id, cluster, split',
  ),
  '--templates': switch(
    'look for templates of each chain among the training chains, for OUT/templates.npz; without STRUCTURES OUT is a '
    'cache that stands'
  ),
  '--max-rows': count('alignment rows to keep (default: %(default)s)', default=8192),
  '--couplings': switch('compute couplings of residues from all rows of each alignment, for networks that take them'),
  '--processes': count('how many read files, and look for templates (default: one per CPU)'),
  '--quiet': switch('no progress'),
}


def add(commands: Any) -> None:
  command(
    commands,
    'dataset STRUCTURES... OUT [flags]',
    run,
    'a training set from structures and alignments',
    description='Reads mmCIF and PDB files, and alignments of the same names, once, into a compact cache that '
    f'`{PROGRAM} train` draws from. OUT/skipped.csv lists what was not used.',
    arguments=_ARGUMENTS,
  )
