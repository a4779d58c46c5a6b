# SPDX-License-Identifier: Apache-2.0
"""Compares short training runs that differ in one thing: the table of pilots in docs/mini.md.

  python benchmarks/mini_pilots.py BASE_DIR RUN_DIR...
  python benchmarks/mini_pilots.py --paired BASE_DIR RUN_DIR...   # runs of one seed: the loss, step by step

The first run is what the others are compared with, by their config.json; lDDT-CA is of their validation.csv, and
between two validations interpolated; samples per hour are of the steps alone, from their metrics.csv. Runs of one seed
see the same examples in the same order, so the difference of their losses at the same steps has little chance in it:
`--paired` gives its mean and standard error over the second half of the steps that both have, `--after` those before
which the runs were one.
"""

import argparse
import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mini_card
import mini_scores
import numpy as np
import turns

from alphafold_jax.train import specs, watch

AT = (2_000, 4_000)  # samples
TERMS = (
  'loss',
  'loss_backbone_fape',
  'loss_distogram',
  'loss_side_chain_fape',
  'loss_plddt',
  'loss_smooth_lddt',
)  # columns
_NO_RECIPE = ('name', 'origin', 'run.')  # settings that change nothing of what is learnt


def differences(base: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
  """The settings of the other configuration that are not those of the base; a part that it lacks is one line."""
  before, after = dict(specs.flat(base)), dict(specs.flat(other))
  changed = {}
  for name in sorted(before | after):
    if name.startswith(_NO_RECIPE) or before.get(name) == after.get(name):
      continue
    owner = next((part for part in _sections(name) if part in before or part in after), name)
    changed[owner] = f'{owner}: {_shown(before, owner)}, here {_shown(after, owner)}'
  return list(changed.values())


def _sections(name: str) -> list[str]:
  """The parts that a setting is in, the largest first: 'model.templates.c_t' is in 'model' and in 'model.templates'."""
  words = name.split('.')
  return ['.'.join(words[:i]) for i in range(1, len(words))]


def _shown(settings: Mapping[str, Any], name: str) -> str:
  if name in settings:
    return str(settings[name])
  return 'a section' if any(other.startswith(f'{name}.') for other in settings) else 'absent'


def row(run: Path, base: Mapping[str, Any]) -> list[str]:
  """A run's line of the table."""
  config = json.loads((run / 'config.json').read_text())
  logged, validated = watch.read(run / watch.METRICS), watch.read(run / watch.VALIDATION)
  samples, lddt = (np.array([float(one[name]) for one in validated]) for name in ('samples', 'lddt_ca'))
  scores = [f'{np.interp(at, samples, lddt):.3f}' if samples[0] <= at <= samples[-1] else '' for at in AT]
  seen = int(logged[-1]['samples'])
  changes = '; '.join(differences(base, config)) or 'as it is'
  return [f'{run.name}: {changes}', f'{seen:,}', *scores, f'{seen / mini_card.hours(logged):,.0f}']


def paired(base: Path, run: Path, after: int = 0) -> list[list[str]]:
  """The loss and its terms in two runs at the same steps: mean of the first, and the difference of the other.

  Args:
    base: folder of the first run.
    run: folder of the other.
    after: samples that both had seen before they parted.
  """
  first, other = (
    {one['step']: one for one in watch.read(path / watch.METRICS) if int(one['samples']) > after}
    for path in (base, run)
  )
  steps = sorted(first.keys() & other.keys(), key=int)
  later = steps[len(steps) // 2 :]
  rows = []
  for term in TERMS:
    if not all(metrics[step].get(term) for metrics in (first, other) for step in later):
      continue  # a term that one of them lacks
    values, others = (np.array([float(metrics[step][term]) for step in later]) for metrics in (first, other))
    change = others - values
    error = change.std(ddof=1) / np.sqrt(len(change))
    rows.append([term.removeprefix('loss_'), f'{values.mean():.3f}', f'{change.mean():+.3f} ± {error:.3f}'])
  return [[run.name, f'{int(first[steps[-1]]["samples"]):,}', *row] for row in rows]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('run_dirs', type=Path, nargs='+', metavar='RUN_DIR', help='folders of runs, the base first')
  parser.add_argument('--page', type=Path, default=mini_card.PAGE, metavar='FILE', help='default: %(default)s')
  parser.add_argument('--paired', action='store_true', help='compare losses step by step')
  parser.add_argument(
    '--after', type=int, default=0, metavar='SAMPLES', help='with --paired: that both had seen as one'
  )
  given = parser.parse_args()
  if given.paired:
    rows = [row for run in given.run_dirs[1:] for row in paired(given.run_dirs[0], run, given.after)]
    _write('paired', ['run', 'samples', 'loss or term', given.run_dirs[0].name, 'difference'], rows, given.page)
    return
  base = json.loads((given.run_dirs[0] / 'config.json').read_text())
  header = ['pilot', 'samples', *(f'lDDT-Cα at {at:,}' for at in AT), 'samples per hour']
  _write('pilots', header, [row(run, base) for run in given.run_dirs], given.page)


def _write(section: str, header: list[str], rows: list[list[str]], page: Path) -> None:
  table = mini_scores.table(header, rows)
  print(table)
  flag = '--paired ' if section == 'paired' else ''
  written = f'Written by `python benchmarks/mini_pilots.py {flag}RUN_DIR...` on {datetime.date.today().isoformat()}.'
  turns.write_section(section, f'{table}\n\n{written}', page)


if __name__ == '__main__':
  main()
