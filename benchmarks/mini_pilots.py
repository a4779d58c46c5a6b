# SPDX-License-Identifier: Apache-2.0
"""Compares short training runs that differ in one thing: the table of pilots in docs/mini.md.

  python benchmarks/mini_pilots.py BASE_DIR RUN_DIR...

The first run is what the others are compared with, by their config.json; lDDT-CA is of their validation.csv, and
between two validations interpolated; samples per hour are of the steps alone, from their metrics.csv.
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


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('run_dirs', type=Path, nargs='+', metavar='RUN_DIR', help='folders of runs, the base first')
  parser.add_argument('--page', type=Path, default=mini_card.PAGE, metavar='FILE', help='default: %(default)s')
  given = parser.parse_args()
  base = json.loads((given.run_dirs[0] / 'config.json').read_text())
  header = ['pilot', 'samples', *(f'lDDT-Cα at {at:,}' for at in AT), 'samples per hour']
  table = mini_scores.table(header, [row(run, base) for run in given.run_dirs])
  print(table)
  written = f'Written by `python benchmarks/mini_pilots.py RUN_DIR...` on {datetime.date.today().isoformat()}.'
  turns.write_section('pilots', f'{table}\n\n{written}', given.page)


if __name__ == '__main__':
  main()
