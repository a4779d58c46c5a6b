# SPDX-License-Identifier: Apache-2.0
"""The files of an evaluation: a table of targets, tables of the whole, JSON, a picture; and the text for the terminal.

    evaluation.csv              one row for each prediction, failed ones with their reason
    evaluation_summary.csv      the distribution of each score
    evaluation_thresholds.csv   the share of targets within the limits that CASP14 results are quoted with
    evaluation_interfaces.csv   one row for each interface, where there are complexes
    evaluation.json             all of it, and the calibration of pLDDT
    evaluation.png              the picture

Summaries and targets are those of `alphafold_jax.evaluation`; a measure is a named number of a target.
"""

import collections
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alphafold_jax import atomic
from alphafold_jax.output import plots
from alphafold_jax.output.evaluated_complexes import (
  INTERFACES,
  as_content,
  complexes,
  interface_lines,
  interfaces_csv,
  partner_lines,
)
from alphafold_jax.output.tables import aligned, csv_text, decimals
from alphafold_jax.version import __version__

Measures = Mapping[str, Callable[[Any], float | int | None]]

TARGETS, DISTRIBUTIONS, THRESHOLDS, ALL, PICTURE = (
  'evaluation.csv', 'evaluation_summary.csv', 'evaluation_thresholds.csv', 'evaluation.json', 'evaluation.png',
)  # fmt: skip
_MAX_ROWS = 20  # of a table on the terminal
_MAX_NOTES = 5  # on how files were read
_SHOWN = {  # on the terminal: measure -> name, decimals
  'lddt': ('lDDT', 3),
  'lddt_ca': ('lDDT-CA', 3),
  'gdt_ts': ('GDT_TS', 3),
  'gdt_ha': ('GDT_HA', 3),
  'tm_score': ('TM-score', 3),
  'ca_rmsd': ('CA r.m.s.d. (Å)', 2),
  'ca_rmsd_95': ('CA r.m.s.d.95 (Å)', 2),
  'all_atom_rmsd_95': ('all-atom r.m.s.d.95 (Å)', 2),
  'side_chain_rmsd': ('side-chain r.m.s.d. (Å)', 2),
  'chi1_accuracy': ('chi1 within 40°', 3),
  'chi1_2_accuracy': ('chi1 and chi2 within 40°', 3),
  'violations_share': ('residues with violations', 3),
  'mean_plddt': ('mean pLDDT', 1),
  'dockq': ('DockQ', 3),
  'dockq_full': ('DockQ, missing chains too', 3),
  'interface_lddt': ('interface lDDT', 3),
  'iptm': ('ipTM', 2),
}
_BRIEF = ('lddt', 'lddt_ca', 'gdt_ts', 'tm_score', 'ca_rmsd_95', 'mean_plddt')  # of each target on the terminal
_BRIEF_OF_COMPLEX = ('dockq', 'interface_lddt')
_PLACES = ('target', 'rank', 'prediction', 'reference', 'chain', 'residues', 'residues_in_common')
_PARTNERS = 'predicted_chains'  # of complexes: those that stand for the chains of the reference
_BOXES = {'lddt': 'lDDT', 'lddt_ca': 'lDDT-CA', 'gdt_ts': 'GDT_TS', 'gdt_ha': 'GDT_HA', 'tm_score': 'TM-score'}
_CURVES = {'ca_rmsd_95': ('CA r.m.s.d.95', '#0053D6'), 'all_atom_rmsd_95': ('all-atom r.m.s.d.95', '#FF7D45')}
_WIDEST = 10.0  # Å of the r.m.s.d. axis
_MAX_POINTS = 300  # beyond, boxes alone
_BLUE, _GREY = '#0053D6', '0.6'


def write(summary: Any, measures: Measures) -> list[Path]:
  """Writes all files into the summary's folder; each appears whole or not at all."""
  contents = {
    TARGETS: targets_csv(summary, measures),
    DISTRIBUTIONS: distributions_csv(summary),
    THRESHOLDS: thresholds_csv(summary),
    ALL: as_json(summary, measures),
  }
  if complexes(summary.targets):
    contents[INTERFACES] = interfaces_csv(summary.targets)
  for name, text in contents.items():
    atomic.write_text(summary.output / name, text)
  paths = [summary.output / name for name in contents]
  if summary.targets:
    with atomic.replacing(summary.output / PICTURE) as file:
      file.write(plots.png(plots.drawn(picture(summary, measures))))
    paths.append(summary.output / PICTURE)
  for name in {INTERFACES, PICTURE} - {path.name for path in paths}:
    (summary.output / name).unlink(missing_ok=True)  # of an earlier evaluation
  return paths


# ------------------------------------------------------------------------------------------ tables


def targets_csv(summary: Any, measures: Measures) -> str:
  """One row for each prediction."""
  rows = [_target_row(target, measures) | {'status': 'scored'} for target in summary.targets]
  rows += [
    {'target': one.id, 'prediction': one.prediction, 'reference': one.reference, 'status': one.error,
     'reason': one.message} for one in summary.failures
  ]  # fmt: skip
  of_complexes = [_PARTNERS] if complexes(summary.targets) else []
  return csv_text((*_PLACES, *of_complexes, *measures, 'status', 'reason'), rows)


def distributions_csv(summary: Any) -> str:
  """One row for each measure."""
  rows = [{'score': name, **dataclasses.asdict(statistics)} for name, statistics in summary.statistics.items()]
  columns = ('score', 'targets', 'mean', 'lower_quartile', 'median', 'upper_quartile', 'minimum', 'maximum')
  return csv_text(columns, rows)


def thresholds_csv(summary: Any) -> str:
  """One row for each limit."""
  return csv_text(('score', 'below', 'targets', 'share'), map(dataclasses.asdict, summary.shares))


def _target_row(target: Any, measures: Measures) -> dict[str, Any]:
  sizes = (target.num_res, target.num_common)
  places = (target.id, target.rank, target.prediction, target.reference, target.chain, *sizes)
  partners = {} if target.complex is None else {_PARTNERS: ','.join(target.complex.partners.values())}
  return {
    **dict(zip(_PLACES, places, strict=True)),
    **partners,
    **{name: measure(target) for name, measure in measures.items()},
  }


def as_json(summary: Any, measures: Measures) -> str:
  """Everything, for programs; null where there is nothing to say."""
  content = {
    'program': 'alphafold_jax',
    'version': __version__,
    'targets': [_target_row(target, measures) for target in summary.targets],
    'labels': labels(summary.targets),
    'notes': {target.id: list(target.notes) for target in summary.targets if target.notes},
    'failures': [dataclasses.asdict(one) for one in summary.failures],
    'references_without_prediction': list(summary.unused),
    'predictions_left_out': list(summary.left_out),
    'notes_on_matching': list(summary.notes),
    'statistics': {name: dataclasses.asdict(statistics) for name, statistics in summary.statistics.items()},
    'thresholds': [dataclasses.asdict(share) for share in summary.shares],
    'calibration': None if summary.calibration is None else dataclasses.asdict(summary.calibration),
  }
  if found := complexes(summary.targets):
    content['complexes'] = [as_content(target) for target in found]
  return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False, default=str) + '\n'  # str: of paths


# ------------------------------------------------------------------------------------------ the picture


def picture(summary: Any, measures: Measures) -> Figure:
  """Scores and r.m.s.d. of all targets; with pLDDT, its reliability by residue and by target too."""
  panels = [_draw_scores, _draw_rmsd_curves]
  if summary.calibration is not None:
    panels += [_draw_reliability, _draw_by_target]
  figure = Figure(figsize=(11.5, 4.2 * len(panels) // 2), layout='constrained')
  num_targets = len(summary.best)
  title = f'{num_targets:,} prediction{"s" * (num_targets != 1)} against experimental structures'
  figure.suptitle('\n'.join([*labels(summary.best), title]), fontsize=12)
  for axes, panel in zip(figure.subplots(len(panels) // 2, 2, squeeze=False).flat, panels):
    panel(axes, summary, measures)
  return figure


def labels(targets: Sequence[Any]) -> list[str]:
  """What must be said of these predictions, each line once; and of how many, where it is not all."""
  count = collections.Counter(label for one in targets for label in one.labels)
  return [
    label if number == len(targets) else f'{label} ({number:,} of {len(targets):,})' for label, number in count.items()
  ]


def _draw_scores(axes: Axes, summary: Any, measures: Measures) -> None:
  """A box for each score, and a point for each target."""
  values = [[value for one in summary.best if (value := measures[name](one)) is not None] for name in _BOXES]
  axes.boxplot(values, widths=0.55, showfliers=False, medianprops={'color': _BLUE, 'linewidth': 2})
  if len(summary.best) <= _MAX_POINTS:
    for i, column in enumerate(values, start=1):
      spread = 0.18 * np.sin(np.arange(len(column)) * 2.4)  # side by side, the same every time
      axes.plot(i + spread, column, 'o', markersize=3, alpha=0.45, color=_BLUE, markeredgewidth=0)
  axes.set_xticks(range(1, len(_BOXES) + 1), list(_BOXES.values()), fontsize=9)
  axes.set(ylim=(0, 1.02), ylabel='Score (0–1)')
  axes.set_title('Scores', fontsize=11)
  axes.grid(axis='y', color='0.9')


def _draw_rmsd_curves(axes: Axes, summary: Any, measures: Measures) -> None:
  """The share of targets below each r.m.s.d., and the limits that CASP14 results are quoted with."""
  for name, (title, colour) in _CURVES.items():
    values = np.sort([measures[name](one) for one in summary.best])
    share = 100 * np.arange(1, len(values) + 1) / len(values)
    x, y = [0, *values, max(_WIDEST, values[-1])], [0, *share, share[-1]]
    axes.step(x, y, where='post', color=colour, linewidth=1.8, label=title)
    for limit in {one.below for one in summary.shares if one.score == name}:
      axes.axvline(limit, color=colour, linewidth=0.8, linestyle=':')
  axes.set(xlim=(0, _WIDEST), ylim=(0, 102), ylabel='Targets below (%)')
  axes.set_xlabel('r.m.s.d.95 (Å); dotted: the limits quoted for CASP14')
  axes.set_title('Distance from the experiment', fontsize=11)
  axes.legend(frameon=False, loc='upper left', bbox_to_anchor=(1.0, 1.0), fontsize=9)  # beside the curves, over none


def _draw_reliability(axes: Axes, summary: Any, measures: Measures) -> None:
  """Mean true lDDT-CA of the residues in each bin of pLDDT, and how many they are."""
  calibration = summary.calibration
  bins = [one for one in calibration.bins if one.residues]
  counts = axes.twinx()
  middles = [(one.start + one.end) / 2 for one in calibration.bins]
  width = calibration.bins[0].end - calibration.bins[0].start
  counts.bar(middles, [one.residues for one in calibration.bins], width=0.9 * width, color='0.9')
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


def _draw_by_target(axes: Axes, summary: Any, measures: Measures) -> None:
  """Mean pLDDT and lDDT-CA of each target."""
  for low, high, colour, _ in plots.PLDDT_BANDS:
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


# ------------------------------------------------------------------------------------------ the terminal


def closing(summary: Any) -> str:
  """What a person wants to know at the end."""
  blocks = [_target_lines(summary), interface_lines(summary.targets), partner_lines(summary.targets),
            _distribution_lines(summary), _threshold_lines(summary),
            _calibration_lines(summary), _reading_lines(summary), _failure_lines(summary)]  # fmt: skip
  total = len(summary.targets) + len(summary.failures)
  where = f'Files are in {summary.output}' if summary.targets else f'The reasons are in {summary.output / TARGETS}'
  last = f'{len(summary.targets)} of {total} prediction{"s" * (total != 1)} scored. {where}'
  for what, names in (('References without a prediction', [path.name for path in summary.unused]),
                      ('Predictions that the table does not name', summary.left_out)):  # fmt: skip
    if names:
      last += f'\n{what} ({len(names):,}): {", ".join(names[:5])}{", ..." if len(names) > 5 else ""}'
  last = '\n'.join([last, *summary.notes, *labels(summary.targets)])
  return '\n\n'.join([*('\n'.join(lines) for lines in blocks if lines), last])


def _target_lines(summary: Any) -> list[str]:
  if len(summary.targets) > _MAX_ROWS:
    return []
  brief = (*_BRIEF, *_BRIEF_OF_COMPLEX) if complexes(summary.targets) else _BRIEF
  rows = [['target', *(_SHOWN[name][0] for name in brief)]]
  for one in summary.targets:
    name = one.id if one.rank is None else f'{one.id} rank {one.rank}'
    sources = (one.scores, one, one.complex)
    values = (next((getattr(source, key) for source in sources if hasattr(source, key)), None) for key in brief)
    rows.append([name[:36], *(decimals(value, _SHOWN[key][1]) for key, value in zip(brief, values, strict=True))])
  return aligned(rows) if summary.targets else []


def _distribution_lines(summary: Any) -> list[str]:
  shown = {name: summary.statistics[name] for name in _SHOWN if name in summary.statistics}
  if not shown or len(summary.targets) == 1:
    return []
  rows = [['score', 'mean', 'median', 'quartiles', 'range', 'targets']]
  for name, one in shown.items():
    title, places = _SHOWN[name]
    values = (one.mean, one.median, one.lower_quartile, one.upper_quartile, one.minimum, one.maximum)
    mean, median, lower, upper, least, most = (decimals(value, places) for value in values)
    rows.append([title, mean, median, f'{lower} to {upper}', f'{least} to {most}', str(one.targets)])
  return aligned(rows)


def _threshold_lines(summary: Any) -> list[str]:
  if len(summary.targets) == 1:
    return []
  lines = []
  for name in dict.fromkeys(share.score for share in summary.shares):
    parts = [f'{share.share:.0%} below {share.below:g} Å' for share in summary.shares if share.score == name]
    lines.append(
      f'{_SHOWN[name][0].removesuffix(" (Å)")}: {", ".join(parts)}; median {summary.statistics[name].median:.2f} Å'
    )
  return lines


def _calibration_lines(summary: Any) -> list[str]:
  one = summary.calibration
  if one is None:
    return []
  return [
    f'pLDDT against true lDDT-CA of {one.residues:,} residues: Pearson {decimals(one.pearson, 2)}, mean absolute '
    f'deviation {one.mean_absolute_deviation:.1f}, on average {abs(one.mean_deviation):.1f} too '
    f'{"high" if one.mean_deviation > 0 else "low"}'
  ]


def _reading_lines(summary: Any) -> list[str]:
  """How the files were read, as far as there is something to say."""
  lines = list(dict.fromkeys(line for target in summary.targets for line in target.notes))
  more = [f'and {len(lines) - _MAX_NOTES} more, see {summary.output / ALL}'] if len(lines) > _MAX_NOTES else []
  return ['How the files were read:', *lines[:_MAX_NOTES], *more] if lines else []


def _failure_lines(summary: Any) -> list[str]:
  lines = [f'{one.id}: {one.message}' for one in summary.failures[:_MAX_ROWS]]
  if len(summary.failures) > _MAX_ROWS:
    lines.append(f'and {len(summary.failures) - _MAX_ROWS} more, see {summary.output / TARGETS}')
  return ['Not scored:', *lines] if lines else []
