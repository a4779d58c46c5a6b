# SPDX-License-Identifier: Apache-2.0
"""A picture of a run: loss, its terms, validation scores, gradient norm and learning rate, over samples.

A run that was continued is one curve, with a mark where it went on.
"""

import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from alphafold_jax import atomic
from alphafold_jax.errors import InputError
from alphafold_jax.train import watch

_WINDOW = 0.02  # of the running mean, as a share of the run


def draw(directory: Path) -> Path:
  """Draws curves.png into a run's folder from its metrics.csv and validation.csv; returns its path.

  Raises:
    InputError: metrics.csv is missing or has no line yet.
  """
  training = _columns(directory / watch.METRICS)
  if not training:
    raise InputError(f'{directory / watch.METRICS}: no lines yet; the first comes after run.log_every steps')
  path = directory / watch.VALIDATION
  validation = _columns(path) if path.is_file() else {}

  figure = Figure(figsize=(12, 8), layout='constrained')
  loss, terms, scores, other = figure.subplots(2, 2).flat
  samples = training['samples']
  loss.plot(samples, training['loss'], color='0.8', linewidth=0.8)
  loss.plot(samples, _running_mean(training['loss']), color='C0', label='loss')
  loss.set_title('training loss')
  for name, values in training.items():
    if name.startswith('loss_'):
      terms.plot(samples, _running_mean(values), label=name.removeprefix('loss_').replace('_', ' '))
  terms.set_yscale('log')
  terms.set_title('its terms, unweighted')
  terms.legend(fontsize='small', ncols=2)
  if validation:
    for name, label in (('lddt_ca', 'lDDT-Cα'), ('tm', 'TM-score'), ('dockq', 'DockQ')):
      if name in validation:  # runs on single chains have no DockQ
        scores.plot(validation['samples'], validation[name], marker='.', label=label)
    scores.plot(validation['samples'], validation['plddt'] / 100, linestyle=':', label='pLDDT / 100')
    scores.set_ylim(0, 1)
    scores.legend()
  scores.set_title('validation chains')
  other.plot(samples, _running_mean(training['gradient_norm']), label='gradient norm, before clipping')
  other.set_yscale('log')
  rate = other.twinx()
  rate.plot(samples, training['learning_rate'], color='C1', label='learning rate')
  other.legend(handles=[*other.lines, *rate.lines])
  other.set_title('gradient norm and learning rate')
  for axes in (loss, terms, scores, other):
    for place in _continued(directory, samples[0] / training['step'][0]):
      axes.axvline(place, color='0.6', linewidth=0.8, linestyle=':')
    axes.set_xlabel('samples')
    axes.grid(alpha=0.3)

  picture = directory / 'curves.png'
  with atomic.replacing(picture) as file:
    figure.savefig(file, format='png', dpi=110)
  return picture


def _continued(directory: Path, batch_size: float) -> list[float]:
  """The samples after which a run went on, from its log."""
  log = directory / 'log.txt'
  text = log.read_text(encoding='utf-8', errors='replace') if log.is_file() else ''
  return [batch_size * int(step) for step in re.findall(r'going on after step (\d+),', text)]


def _columns(path: Path) -> dict[str, np.ndarray]:
  lines = watch.read(path)
  # A loss that a run began to compute later has no value before.
  return {name: np.array([float(line[name] or 'nan') for line in lines]) for name in lines[0]} if lines else {}


def _running_mean(values: np.ndarray) -> np.ndarray:
  width = max(1, int(len(values) * _WINDOW))
  known = np.isfinite(values)
  sums, counts = (
    np.lib.stride_tricks.sliding_window_view(np.concatenate([np.zeros(width - 1), part]), width).sum(axis=-1)
    for part in (np.where(known, values, 0), known.astype(float))
  )
  return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)
