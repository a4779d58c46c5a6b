# SPDX-License-Identifier: Apache-2.0
"""The picture of an evaluation: the scores, the r.m.s.d. curves, and what pLDDT is worth."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alphafold_jax.output.plots import PLDDT_BANDS

_SCORES = {'lddt': 'lDDT', 'lddt_ca': 'lDDT-CA', 'gdt_ts': 'GDT_TS', 'gdt_ha': 'GDT_HA', 'tm_score': 'TM-score'}
_CURVES = {'ca_rmsd_95': ('CA r.m.s.d.95', '#0053D6'), 'all_atom_rmsd_95': ('all-atom r.m.s.d.95', '#FF7D45')}
_WIDEST = 10.0  # Å of the r.m.s.d. axis
_MAX_POINTS = 300  # beyond, boxes alone
_BLUE, _GREY = '#0053D6', '0.6'


def picture(summary: Any, measures: Mapping[str, Callable[[Any], float | int | None]]) -> Figure:
  """Scores and r.m.s.d. of all targets; with pLDDT, its reliability by residue and by target too."""
  panels = [_scores, _rmsd_curves]
  if summary.calibration is not None:
    panels += [_reliability, _by_target]
  figure = Figure(figsize=(10, 4.2 * len(panels) // 2), layout='constrained')
  num_targets = len(summary.best)
  figure.suptitle(f'{num_targets:,} prediction{"s" * (num_targets != 1)} against experimental structures', fontsize=12)
  for axes, panel in zip(figure.subplots(len(panels) // 2, 2, squeeze=False).flat, panels):
    panel(axes, summary, measures)
  return figure


def _scores(axes: Axes, summary: Any, measures: Any) -> None:
  """A box for each score, and a point for each target."""
  values = [[value for one in summary.best if (value := measures[name](one)) is not None] for name in _SCORES]
  axes.boxplot(values, widths=0.55, showfliers=False, medianprops={'color': _BLUE, 'linewidth': 2})
  if len(summary.best) <= _MAX_POINTS:
    for i, column in enumerate(values, start=1):
      spread = 0.18 * np.sin(np.arange(len(column)) * 2.4)  # side by side, the same every time
      axes.plot(i + spread, column, 'o', markersize=3, alpha=0.45, color=_BLUE, markeredgewidth=0)
  axes.set_xticks(range(1, len(_SCORES) + 1), list(_SCORES.values()), fontsize=9)
  axes.set(ylim=(0, 1.02), ylabel='Score (0–1)')
  axes.set_title('Scores', fontsize=11)
  axes.grid(axis='y', color='0.9')


def _rmsd_curves(axes: Axes, summary: Any, measures: Any) -> None:
  """The share of targets below each r.m.s.d., and the limits that CASP14 results are quoted with."""
  for name, (title, colour) in _CURVES.items():
    values = np.sort([measures[name](one) for one in summary.best])
    share = 100 * np.arange(1, len(values) + 1) / len(values)
    axes.step(
      [0, *values, max(_WIDEST, values[-1])],
      [0, *share, share[-1]],
      where='post',
      color=colour,
      linewidth=1.8,
      label=title,
    )
    for limit in {one.below for one in summary.shares if one.score == name}:
      axes.axvline(limit, color=colour, linewidth=0.8, linestyle=':')
  axes.set(
    xlim=(0, _WIDEST),
    ylim=(0, 102),
    ylabel='Targets below (%)',
    xlabel='r.m.s.d.95 (Å); dotted: the limits quoted for CASP14',
  )
  axes.set_title('Distance from the experiment', fontsize=11)
  axes.legend(frameon=False, loc='lower right', fontsize=9)


def _reliability(axes: Axes, summary: Any, measures: Any) -> None:
  """Mean true lDDT-CA of the residues in each bin of pLDDT, and how many they are."""
  calibration = summary.calibration
  bins = [one for one in calibration.bins if one.residues]
  counts = axes.twinx()
  counts.bar(
    [(one.start + one.end) / 2 for one in calibration.bins],
    [one.residues for one in calibration.bins],
    width=0.9 * (calibration.bins[0].end - calibration.bins[0].start),
    color='0.9',
  )
  counts.set_ylabel('Residues', color=_GREY)
  counts.tick_params(colors=_GREY)
  axes.set_zorder(counts.get_zorder() + 1)
  axes.patch.set_visible(False)
  axes.plot([0, 100], [0, 100], color=_GREY, linewidth=1, linestyle='--')
  axes.plot([one.predicted for one in bins], [one.true for one in bins], 'o-', color=_BLUE, linewidth=1.6)
  axes.set(xlim=(0, 100), ylim=(0, 100), xlabel='pLDDT', ylabel='True lDDT-CA (mean of the bin)')
  counts.yaxis.set_major_locator(MaxNLocator(integer=True))
  axes.set_title(
    f'Residues: {_correlation(calibration.pearson)}mean absolute deviation {calibration.mean_absolute_deviation:.1f}',
    fontsize=11,
  )


def _by_target(axes: Axes, summary: Any, measures: Any) -> None:
  """Mean pLDDT and lDDT-CA of each target."""
  for low, high, colour, _ in PLDDT_BANDS:
    axes.axvspan(low, high, color=colour, alpha=0.15, linewidth=0)
  points = [
    (one.mean_plddt, 100 * one.scores.lddt_ca_residue_mean)
    for one in summary.best
    if one.plddt is not None and one.scores.lddt_ca_residue_mean is not None
  ]
  axes.plot([0, 100], [0, 100], color=_GREY, linewidth=1, linestyle='--')
  axes.plot(*np.array(points).T, 'o', markersize=4, alpha=0.6, color=_BLUE, markeredgewidth=0)
  axes.set(xlim=(0, 100), ylim=(0, 100), xlabel='Mean pLDDT', ylabel='True lDDT-CA (mean of the residues)')
  axes.set_title(f'Targets: {_correlation(summary.calibration.target_pearson)}{len(points)} with pLDDT', fontsize=11)


def _correlation(value: float | None) -> str:
  return '' if value is None else f'Pearson {value:.2f}, '
