# SPDX-License-Identifier: Apache-2.0
"""Scores the model that ships beside baselines that need no learning: the numbers and pictures of docs/mini.md.

  python benchmarks/mini_card.py RUN_DIR --data CACHE

RUN_DIR is the run that it came from, CACHE the training set of that run. The first chain of every validation cluster
is predicted by `alphafold_jax.predict` as a person would. Writes the sections between markers in docs/mini.md,
docs/mini_curves.png, and docs/mini_example.png: the prediction of examples/ beside the experimental structure.
"""

import argparse
import dataclasses
import datetime
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
import turns
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from ml_collections import config_dict
from scipy.interpolate import make_interp_spline

import alphafold_jax as afj
from alphafold_jax import config as configs
from alphafold_jax import schema
from alphafold_jax.constants import residues
from alphafold_jax.data import alignment, structures
from alphafold_jax.data.training import cache, training_set
from alphafold_jax.geometry import scores, superposition
from alphafold_jax.output import plots
from alphafold_jax.prediction import Model
from alphafold_jax.train import curves, specs, watch
from alphafold_jax.train import step as steps
from alphafold_jax.weights import shipped

PAGE = turns.ROOT / 'docs' / 'mini.md'
EXAMPLE, EXPERIMENT = turns.ROOT / 'examples' / '4zey_A.a3m', turns.ROOT / 'tests' / 'data' / '4zey.cif.gz'
_CA = residues.ATOM_INDEX['CA']
_MOST_ROWS = 1024  # of an alignment


@dataclasses.dataclass(frozen=True)
class Target:
  """A validation chain with its structure."""

  id: str
  sequence: str
  aligned: schema.Batch
  alone: schema.Batch  # without its alignment
  has_alignment: bool

  @property
  def true(self) -> tuple[np.ndarray, np.ndarray]:
    """C-alpha atoms [N, 3] Å and which are known [N]."""
    return self.alone.targets.atom_positions[:, _CA], self.alone.targets.atom_mask[:, _CA]


@dataclasses.dataclass(frozen=True)
class Scored:
  """The scores of a prediction, and its own confidence."""

  lddt_ca: float  # 0..1, mean over residues
  tm: float  # 0..1
  plddt: float | None = None  # 0..100


Predictor = Callable[[Target], Scored]


# --- What is compared ---


def network(model: Model, *, alone: bool) -> Predictor:
  """A model's own prediction."""

  def predict(target: Target) -> Scored:
    prediction = afj.predict(model, target.alone if alone else target.aligned, seed=0)
    return _scored(target, prediction.atom_positions[:, _CA], plddt=prediction.mean_plddt)

  return predict


def untrained(config: config_dict.ConfigDict) -> Model:
  """The network before training."""
  state = steps.initial_state(specs.make_step_spec(config), jax.random.key(config.run.seed))
  return Model(name='mini', config=configs.model_config('mini'), params=state.params, source='untrained')


def nearest(training: cache.TrainingCache) -> Predictor:
  """The C-alpha atoms of the training chain whose sequence aligns best, copied over the alignment."""
  chains = [i for i, entry in enumerate(training.entries) if entry.split == 'train']
  records = [training[i] for i in chains]
  sequences = [alignment.canonical(record.sequence) for record in records]

  def predict(target: Target) -> Scored:
    found = max(range(len(records)), key=lambda i: alignment.score(target.sequence, sequences[i]))
    pairs = alignment.align(target.sequence, sequences[found])
    ca, known = np.zeros((len(target.sequence), 3)), np.zeros(len(target.sequence))
    there = records[found]
    for mine, theirs in pairs.items():
      ca[mine], known[mine] = there.atom_positions[theirs, _CA], there.atom_mask[theirs, _CA]
    return _scored(target, ca, known)

  return predict


def _scored(target: Target, ca: np.ndarray, known: np.ndarray | None = None, plddt: float | None = None) -> Scored:
  """Scores a prediction; atoms that it lacks count as wrong."""
  true, mask = target.true
  known = np.ones(len(ca)) if known is None else known
  lddt = scores.lddt_ca(np.where(known[:, None] > 0, ca, np.nan), true, mask)
  enough = np.sum(known * mask) >= 3
  return Scored(
    lddt_ca=float(np.sum(lddt * mask) / np.sum(mask)),
    plddt=plddt,
    tm=float(scores.tm_score(ca, true, mask, known)) if enough else 0.0,
  )


def targets(training: cache.TrainingCache, spec: training_set.DataSpec) -> list[Target]:
  """The first chain of each validation cluster."""
  found: dict[str, Target] = {}
  for index, entry in enumerate(training.entries):
    if entry.split == 'validation' and entry.cluster not in found:
      record = training[index]
      found[entry.cluster] = Target(
        id=entry.id,
        sequence=alignment.canonical(record.sequence),
        has_alignment=entry.depth > 1,
        aligned=training_set.whole_chain(record, spec, _MOST_ROWS),
        alone=training_set.whole_chain(record, spec, 1),
      )
  return list(found.values())


# --- The card's sections ---


def score_table(found: dict[str, list[Scored]], chains: Sequence[Target]) -> str:
  """Means over all chains, and over those that have an alignment."""
  with_alignment = [i for i, target in enumerate(chains) if target.has_alignment]
  lines = []
  for title, chosen in (
    (f'{len(chains)} validation chains', range(len(chains))),
    (f'of these {len(with_alignment)} that have an alignment', with_alignment),
  ):
    lines += [f'| {title} | lDDT-Cα | TM-score | pLDDT | pLDDT and lDDT-Cα, Pearson |', '|:--|--:|--:|--:|--:|']
    for name, all_scored in found.items():
      some = [all_scored[i] for i in chosen]
      lddt, tm = (np.array([getattr(one, key) for one in some]) for key in ('lddt_ca', 'tm'))
      confidence = ['', '']
      if some[0].plddt is not None:
        plddt = np.array([one.plddt for one in some])
        confidence = [f'{plddt.mean():.1f}', f'{np.corrcoef(plddt, lddt)[0, 1]:.2f}' if np.std(plddt) > 1e-3 else '']
      lines.append(f'| {name} | {lddt.mean():.3f} | {tm.mean():.3f} | {" | ".join(confidence)} |')
    lines.append('')
  return '\n'.join(lines)


def run_table(run: Path) -> str:
  """The run's length, time and losses, from its own files."""
  config = json.loads((run / 'config.json').read_text())
  logged, validated = watch.read(run / watch.METRICS), watch.read(run / watch.VALIDATION)
  every = int(logged[1]['samples']) - int(logged[0]['samples'])
  hours = sum(every / float(one['samples_per_second']) for one in logged if float(one['samples_per_second'])) / 3600
  best = max(validated, key=lambda one: float(one['lddt_ca']))
  rows, adam, size = config['model']['sampling'], config['optimizer'], config['step']['batch_size']
  first, last = validated[0], logged[-1]
  last_loss = np.mean([float(one['loss']) for one in logged[-20:]])
  table = {
    'samples seen': f'{int(last["samples"]):,} in {int(last["step"]):,} steps of {size}',
    'hardware': f'{os.cpu_count()} cores of {_processor()}, shared with other work; {hours:.1f} hours of steps',
    'examples': f'crops of {config["data"]["crop_size"]} residues; {rows["num_msa"]} clusters and '
    f'{rows["num_extra"]} extra rows; 1 to {config["step"]["max_passes"]} passes',
    'optimiser': f'Adam, learning rate {_rates(logged)}; averaged with decay {adam["ema_decay"]}',
    'training loss': f'{float(logged[0]["loss"]):.1f} at {logged[0]["samples"]} samples, {last_loss:.1f} over the last '
    f'{20 * every}',
    'validation lDDT-Cα during the run': f'{float(first["lddt_ca"]):.3f} at {first["samples"]} samples; '
    f'best {float(best["lddt_ca"]):.3f} at {best["samples"]}, the checkpoint that ships',
  }
  return '\n'.join(['| training | |', '|:--|:--|', *(f'| {name} | {text} |' for name, text in table.items())])


def _rates(logged: list[dict[str, str]]) -> str:
  """The learning rates of a run in words, after the rise at its beginning."""
  rates = [(int(one['samples']), float(one['learning_rate'])) for one in logged]
  top = max(rate for _, rate in rates)
  phases = [next(one for one in rates if one[1] == top)]
  for samples, rate in rates:
    if samples > phases[-1][0] and rate != phases[-1][1]:
      phases.append((samples, rate))
  return ', '.join(f'{rate:g} from {samples:,} samples on' for samples, rate in phases)


def _processor() -> str:
  info = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').is_file() else ''
  names = [line.split(':', 1)[1].strip() for line in info.splitlines() if line.startswith('model name')]
  return names[0] if names else 'processor'


# --- The picture ---


def picture(model: Model, path: Path) -> str:
  """Draws the example's prediction beside the experimental structure; returns its scores in words."""
  (query,) = afj.read_queries(EXAMPLE)
  prediction = afj.predict(model, query, seed=0)
  chain = structures.read_chain(EXPERIMENT, 'A')
  pairs = [
    (mine, theirs)
    for mine, theirs in alignment.align(prediction.sequence, chain.sequence).items()
    if chain.atom_mask[theirs, _CA]
  ]
  mine, theirs = (np.array(places) for places in zip(*pairs, strict=True))
  predicted, true = prediction.atom_positions[mine, _CA], chain.atom_positions[theirs, _CA]
  rotation, shift = superposition.kabsch(predicted, true)
  everywhere = np.ones(len(true))
  lddt, tm = scores.lddt_ca(predicted, true, everywhere).mean(), scores.tm_score(predicted, true, everywhere)
  placed = predicted @ rotation.T + shift

  centre = true.mean(axis=0)
  axes_of_view = np.linalg.svd(true - centre)[2]
  spectrum = _spectrum(np.linspace(0, 1, len(true)))
  figure = Figure(figsize=(10, 4.6), layout='constrained')
  left, right = figure.subplots(1, 2)
  for axes, points, title in (
    (left, true, 'experiment (PDB 4ZEY, 1.5 Å)'),
    (right, placed, f'mini: lDDT-Cα {lddt:.2f}, TM-score {tm:.2f}, pLDDT {prediction.mean_plddt:.0f}'),
  ):
    _draw_trace(axes, (points - centre) @ axes_of_view.T, spectrum)
    axes.set_title(title, fontsize=11)
  for axis in ('x', 'y'):  # one scale for both
    limits = [getattr(axes, f'get_{axis}lim')() for axes in (left, right)]
    for axes in (left, right):
      getattr(axes, f'set_{axis}lim')(min(low for low, _ in limits), max(high for _, high in limits))
  path.write_bytes(plots.png(plots.drawn(figure)))
  return f'lDDT-Cα {lddt:.2f}, TM-score {tm:.2f}, mean pLDDT {prediction.mean_plddt:.0f}'


def _spectrum(fractions: np.ndarray) -> np.ndarray:
  """Blue at the N terminus to red at the C terminus."""
  import matplotlib

  return matplotlib.colormaps['turbo'](0.05 + 0.9 * fractions)


def _draw_trace(axes, points: np.ndarray, colours: np.ndarray, per_residue: int = 10) -> None:
  """A smooth line through C-alpha atoms [N, 3], the third axis towards the viewer, colours [N, 4]."""
  places = np.arange(len(points))
  fine = np.linspace(0, len(points) - 1, per_residue * (len(points) - 1) + 1)
  curve = make_interp_spline(places, points, k=3)(fine)
  segments = np.stack([curve[:-1, :2], curve[1:, :2]], axis=1)
  depth = (curve[:-1, 2] + curve[1:, 2]) / 2
  order = np.argsort(depth)
  near = (depth - depth.min()) / max(np.ptp(depth), 1e-6)
  shown = colours[np.round(fine[:-1]).astype(int)].copy()
  shown[:, :3] = shown[:, :3] * (0.45 + 0.55 * near[:, None]) + 0.55 * (1 - near[:, None])  # far parts are pale
  for index in order:  # each piece with its outline, far ones first, so that near parts cross in front
    for width, colour in ((7.5, 'white'), (6.2, '0.25'), (4.6, shown[index])):
      axes.add_collection(
        LineCollection(
          segments[index : index + 1], colors=[colour], linewidths=width, capstyle='butt' if width > 5 else 'round'
        )
      )
  axes.autoscale_view()
  axes.set_aspect('equal')
  axes.axis('off')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('run_dir', type=Path, metavar='RUN_DIR', help='folder of the training run')
  parser.add_argument('--data', type=Path, required=True, metavar='CACHE', help='the training set')
  parser.add_argument('--params', type=Path, default=shipped.path(), metavar='FILE', help='default: %(default)s')
  given = parser.parse_args()

  config = config_dict.ConfigDict(json.loads((given.run_dir / 'config.json').read_text()))
  training = cache.open_cache(given.data)
  chains = targets(training, specs.make_section(training_set.DataSpec, 'data', config))
  mini, fresh = afj.load_model('mini', given.params), untrained(config)
  predictors = {
    'mini, with the alignment if there is one': network(mini, alone=False),
    'mini, sequence alone': network(mini, alone=True),
    'untrained network': network(fresh, alone=False),
    'nearest training chain by sequence': nearest(training),
  }
  found: dict[str, list[Scored]] = {}
  for name, predictor in predictors.items():
    found[name] = [predictor(target) for target in chains]
    print(name, np.mean([one.lddt_ca for one in found[name]]), flush=True)

  shutil.copyfile(curves.draw(given.run_dir), PAGE.parent / 'mini_curves.png')
  seen = picture(mini, PAGE.parent / 'mini_example.png')
  command = 'python benchmarks/mini_card.py RUN_DIR --data CACHE'
  turns.write_section('run', run_table(given.run_dir), PAGE)
  written = f'Written by `{command}` on {datetime.date.today().isoformat()}.'
  scores = f'{score_table(found, chains)}\n{written} The example (4ZEY, a validation chain): {seen}.'
  turns.write_section('scores', scores, PAGE)


if __name__ == '__main__':
  main()
