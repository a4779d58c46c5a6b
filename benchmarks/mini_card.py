# SPDX-License-Identifier: Apache-2.0
"""Scores the model that ships beside baselines that need no learning: the numbers and pictures of docs/mini.md.

  python benchmarks/mini_card.py RUN_DIR --data CACHE

RUN_DIR is the run that it came from, CACHE the training set of that run. The first chain of every validation cluster
is predicted by `alphafold_jax.predict` as a person would; where the model takes templates, also with those that
`alphafold-jax dataset CACHE --templates` found among the training chains. Each prediction is kept in RUN_DIR/card, so
the command may be stopped and given again, and several may share the rows (`--rows`). Writes the sections between
markers in docs/mini.md, and beside it mini_curves.png and mini_example.png: the prediction of examples/ as a cartoon,
beside the experimental structure.
"""

import argparse
import datetime
import json
import os
import shutil
from pathlib import Path
from typing import Any

import mini_physics
import mini_picture
import mini_scores
import mini_separations
import numpy as np
import turns
from ml_collections import config_dict

import alphafold_jax as afj
from alphafold_jax.data.training import cache, training_set
from alphafold_jax.train import curves, specs, watch
from alphafold_jax.transfer.files import digest
from alphafold_jax.weights import shipped

PAGE = turns.ROOT / 'docs' / 'mini.md'
EXAMPLE, EXPERIMENT = turns.ROOT / 'examples' / '4zey_A.a3m', turns.ROOT / 'tests' / 'data' / '4zey.cif.gz'
_LAST = 20  # lines of metrics.csv over which the last loss is averaged


def predict_and_score(
  predictors: dict[str, mini_scores.Predictor], chains: list[mini_scores.Target]
) -> tuple[
  dict[str, list[mini_scores.Scored]], dict[str, list[mini_separations.Pairs]], dict[str, list[mini_physics.Physics]]
]:
  """Predicts every chain once by each name; scores, the model's distances, and what its and true chains are like."""
  found: dict[str, list[mini_scores.Scored]] = {}
  distances: dict[str, list[mini_separations.Pairs]] = {}
  measured: dict[str, list[mini_physics.Physics]] = {}
  for name, predictor in predictors.items():
    predicted = [predictor(target) for target in chains]
    found[name] = [mini_scores.score(target, one) for target, one in zip(chains, predicted)]
    if name.startswith('mini'):
      distances[name] = [mini_separations.measure(target, one) for target, one in zip(chains, predicted)]
      measured[name] = [
        mini_physics.measure(target.sequence, one.positions, one.mask) for target, one in zip(chains, predicted)
      ]
    print(f'{name}: lDDT-CA {np.mean([one.lddt_ca for one in found[name]]):.3f}', flush=True)
  measured['the experiments'] = [mini_physics.measure(target.sequence, *target.true) for target in chains]
  return found, distances, measured


# --- The run ---


def run_table(run: Path) -> str:
  """The run's length, time and losses, from its own files."""
  config = json.loads((run / 'config.json').read_text())
  logged, validated = watch.read(run / watch.METRICS), watch.read(run / watch.VALIDATION)
  best = max(validated, key=lambda one: float(one['lddt_ca']))
  rows, adam, size = config['model']['sampling'], config['optimizer'], config['step']['batch_size']
  first, last = validated[0], logged[-1]
  last_loss = np.mean([float(one['loss']) for one in logged[-_LAST:]])
  since = int(last['samples']) - int(logged[-_LAST:][0]['samples'])
  table = {
    'samples seen': f'{int(last["samples"]):,} in {int(last["step"]):,} steps of {size}{missing(logged)}',
    'hardware': f'{os.cpu_count()} cores of {_processor()}, shared with other work; {hours(logged):.1f} hours of steps',
    'examples': f'crops of {config["data"]["crop_size"]} residues; {rows["num_msa"]} clusters and '
    f'{rows["num_extra"]} extra rows; {passes(config["step"]["max_passes"])}',
    **{f'from {samples:,} samples on': text for samples, text in phases(config)},
    'optimiser': f'{adam.get("method", "adam").capitalize()}, {rates(adam, int(last["samples"]))}; averaged with decay '
    f'{adam["ema_decay"]}',
    'training loss': f'{float(logged[0]["loss"]):.1f} at {logged[0]["samples"]} samples, {last_loss:.1f} over the last '
    f'{since:,}',
    'validation lDDT-Cα during the run': f'{float(first["lddt_ca"]):.3f} at {int(first["samples"]):,} samples; '
    f'best {float(best["lddt_ca"]):.3f} at {int(best["samples"]):,}',
  }
  return '\n'.join(['| training | |', '|:--|:--|', *(f'| {name} | {text} |' for name, text in table.items())])


def passes(most: int) -> str:
  """How many passes an example has, in words."""
  return f'1 to {most} passes' if most > 1 else '1 pass'


def hours(logged: list[dict[str, str]]) -> float:
  """The time of all steps, from the speed that each line of metrics.csv gives for the samples since the one before."""
  samples = np.array([float(one['samples']) for one in logged])
  speed = np.array([float(one['samples_per_second']) for one in logged])
  known = speed > 0  # it is not where a run has just begun or gone on
  return float(np.sum(np.diff(samples, prepend=0)[known] / speed[known])) / 3600


def missing(logged: list[dict[str, str]]) -> str:
  """Words about steps that no line of metrics.csv tells of; '' where the lines follow one another."""
  steps = np.diff([int(one['step']) for one in logged])
  lost = int(np.sum(steps[steps > 2 * np.median(steps)])) if len(steps) else 0
  return f' (the numbers of {lost:,} steps are lost)' if lost else ''


def phases(config: dict[str, Any]) -> list[tuple[int, str]]:
  """The settings that change in a run, by the samples after which they do."""
  found = []
  for phase in config.get('phases', {}).values():
    settings = [
      f'{section}.{name} {value}'
      for section, part in phase.items()
      if section != 'samples'
      for name, value in part.items()
    ]
    found.append((phase['samples'], ', '.join(settings)))
  return sorted(found)


def rates(optimizer: dict[str, Any], samples: int) -> str:
  """The course of the learning rate in words."""
  words = [f'learning rate {optimizer["learning_rate"]:g}']
  if optimizer['warmup_samples']:
    words.append(f'reached after {optimizer["warmup_samples"]:,} samples')
  if optimizer['decay_factor'] != 1 and optimizer['decay_samples'] < samples:
    words.append(f'from {optimizer["decay_samples"]:,} samples on times {optimizer["decay_factor"]:g}')
  if optimizer.get('cooldown_samples') and optimizer['cooldown_start'] < samples:
    words.append(f'from {optimizer["cooldown_start"]:,} on falling to nothing over {optimizer["cooldown_samples"]:,}')
  return ', '.join(words)


def _processor() -> str:
  info = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').is_file() else ''
  names = [line.split(':', 1)[1].strip() for line in info.splitlines() if line.startswith('model name')]
  return names[0] if names else 'processor'


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('run_dir', type=Path, metavar='RUN_DIR', help='folder of the training run')
  parser.add_argument('--data', type=Path, required=True, metavar='CACHE', help='the training set')
  parser.add_argument('--params', type=Path, default=shipped.path(), metavar='FILE', help='default: %(default)s')
  parser.add_argument('--page', type=Path, default=PAGE, metavar='FILE', help='page to write (default: %(default)s)')
  parser.add_argument('--rows', type=int, nargs='+', metavar='I', help='of the table, from 0 (default: all)')
  parser.add_argument('--quick', type=int, metavar='N', help='only the first N chains; give another --page with it')
  parser.add_argument('--longest', type=int, default=np.inf, metavar='N', help='only chains of at most N residues')
  given = parser.parse_args()
  if (given.quick or given.longest < np.inf) and given.page.resolve() == PAGE.resolve():
    parser.error(
      '--quick, --longest: numbers of some of the chains do not belong into docs/mini.md; give another --page'
    )

  config = config_dict.ConfigDict(json.loads((given.run_dir / 'config.json').read_text()))
  training = cache.open_cache(given.data)
  chains = mini_scores.targets(
    training, specs.make_section(training_set.DataSpec, 'data', config), given.quick, given.longest
  )
  mini = afj.load_model('mini', given.params)
  rows = mini_scores.predictors(mini, training)
  folder = given.run_dir / 'card' / digest(given.params)['sha256'][:12]
  kept = {name: mini_scores.kept(one, folder / str(i)) for i, (name, one) in enumerate(rows.items())}
  chosen = {name: one for i, (name, one) in enumerate(kept.items()) if given.rows is None or i in given.rows}
  found, distances, measured = predict_and_score(chosen, chains)

  folder = given.page.parent
  shutil.copyfile(curves.draw(given.run_dir), folder / 'mini_curves.png')
  title = 'experiment (PDB 4ZEY, 1.5 Å)'
  seen = mini_picture.picture(mini, EXAMPLE, EXPERIMENT, 'A', title, folder / 'mini_example.png')
  command = 'python benchmarks/mini_card.py RUN_DIR --data CACHE'
  written = f'Written by `{command}` on {datetime.date.today().isoformat()}.'
  sections = {
    'run': run_table(given.run_dir),
    'scores': f'{mini_scores.score_tables(found, chains)}\n\n{written} The example (4ZEY, a validation chain): {seen}.',
    'groups': mini_scores.group_tables(found, chains),
    'separations': mini_separations.separation_table(distances),
    'confidence': mini_scores.confidence_tables(found),
    'chains': mini_physics.physics_table(measured),
  }
  for name, text in sections.items():
    turns.write_section(name, text, given.page)


if __name__ == '__main__':
  main()
