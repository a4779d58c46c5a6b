# SPDX-License-Identifier: Apache-2.0
"""The closing table: what there is now and what failed, for a person."""

import contextlib
import datetime
import fnmatch
import io
import shutil
import textwrap
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphafold_jax.output import files, page
from alphafold_jax.relaxation.folder import METRICS
from alphafold_jax.runs.files.records import shown
from alphafold_jax.runs.files.report import (
  DONE,
  ELSEWHERE,
  FAILED,
  FAILURES,
  KEPT,
  NOT_RUN,
  PARTIAL,
  SUMMARY,
  Outcome,
  RelaxCounts,
  Summary,
)
from alphafold_jax.screen import number

if TYPE_CHECKING:
  from rich.table import Table  # rich is loaded only where something is shown

_MAX_ROWS = 60
_WIDTH = 100
_RELAXED = '*_relaxed_rank_*'


def closing(summary: Summary, *, live: bool) -> str:
  """The table of what there is now and what failed, as text: in colours and as wide as the terminal, else plain."""
  from rich.console import Console

  def fitted(line: str) -> str:
    """A line that ends between words on a terminal; paths stay whole, to be copied."""
    return textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) if live else line

  text = io.StringIO()
  colours: dict[str, Any] = {'color_system': 'auto' if live else None, 'no_color': False}
  width = shutil.get_terminal_size().columns if live else _WIDTH
  console = Console(file=text, width=width, force_terminal=live, highlight=False, legacy_windows=False, **colours)
  if outcomes := [outcome for outcome in summary.outcomes if outcome.predictions and outcome.ours]:
    best_only = sum(len(outcome.predictions) for outcome in outcomes) > _MAX_ROWS
    heading = 'Best prediction of each protein' if best_only else 'Predictions'
    notes = f' ({"; ".join(note.text for note in summary.notes)})' if summary.notes else ''
    console.print(fitted(heading + notes), style='bold', markup=False, soft_wrap=True)
    console.print(_predictions_table(outcomes, best_only, live))
  if summary.failures:
    console.print(_failures_table(summary, live))
  for note in summary.notes:
    console.print(fitted(f'{note.text}. {note.advice}.'), style='bold red', markup=False, soft_wrap=True)
  for line in _closing_lines(summary):
    console.print(fitted(line), markup=False, soft_wrap=True)
  return '\n'.join(line.rstrip() for line in text.getvalue().splitlines())


def _table(live: bool, title: str | None = None) -> 'Table':
  from rich import box, table

  lines = box.SIMPLE_HEAD if live else None
  return table.Table(
    title=title, title_justify='left', title_style='bold red', box=lines, pad_edge=False, header_style='bold'
  )


def _predictions_table(outcomes: Sequence[Outcome], best_only: bool, live: bool) -> 'Table':
  grid = _table(live)
  grid.add_column('Protein', no_wrap=True, overflow='ellipsis', max_width=36)
  has_chains = any('iptm' in row for outcome in outcomes for row in outcome.predictions)
  names = ('Rank', 'Model', 'Seed', 'pLDDT', 'pTM', *(['ipTM'] if has_chains else []), 'Time', 'Files')
  for name in names:
    grid.add_column(name, justify='left' if name == 'Model' else 'right', no_wrap=True)
  grid.add_column('', no_wrap=True)
  for outcome in outcomes[:_MAX_ROWS]:
    for i, row in enumerate(outcome.predictions[:1] if best_only else outcome.predictions):
      first = [outcome.job, str(len(outcome.files)), '' if outcome.status == DONE else outcome.status]
      job, num_files, remark = first if i == 0 else ('', '', '')
      numbers = shown(row['mean_plddt'], row['ptm'], row.get('iptm'))[: 2 + has_chains]
      scores = [*(text or '-' for text in numbers), _time(row['seconds'])]
      grid.add_row(job, str(row['rank']), row['model'], str(row['seed']), *scores, num_files, remark)
  if len(outcomes) > _MAX_ROWS:
    grid.add_row('...', *[''] * len(names), f'{len(outcomes) - _MAX_ROWS} more')
  return grid


def _time(seconds: float) -> str:
  return f'{seconds:.1f} s' if seconds < 1000 else str(datetime.timedelta(seconds=round(seconds)))


def _failures_table(summary: Summary, live: bool) -> 'Table':
  from rich.text import Text

  grid = _table(live, 'Failures')
  grid.add_column('Protein', no_wrap=True, overflow='ellipsis', max_width=24)
  grid.add_column('At', no_wrap=True)
  grid.add_column('Why', overflow='fold')
  for failure in summary.failures[: _MAX_ROWS // 3]:
    grid.add_row(
      failure.job,
      failure.model if failure.model and failure.stage == 'predict' else failure.stage,
      Text(f'{failure.error}: {failure.message}'),
    )
  if len(summary.failures) > _MAX_ROWS // 3:
    grid.add_row('...', '', f'{len(summary.failures) - _MAX_ROWS // 3} more, see {summary.path(FAILURES).name}')
  return grid


def _closing_lines(summary: Summary) -> Iterator[str]:
  ours = [outcome for outcome in summary.outcomes if outcome.ours]
  others = [outcome for outcome in summary.outcomes if not outcome.ours]
  shard = f'shard {summary.shard[0]} of {summary.shard[1]}, ' if summary.shard else ''
  yield f'{shard}{_counted(ours)}. Files are in {summary.out}'
  if others:
    yield f'of other shards, {_counted(others)}'
  if any(outcome.predictions for outcome in summary.outcomes):
    yield f'Best structures: {_best_structures(summary)}; all scores: {summary.out / SUMMARY}'
    if (overview := summary.out / page.INDEX).is_file():
      yield f'To look at them: {overview}'
  if summary.relaxed is not None:
    yield _relaxed(summary.relaxed, summary.out)
  if summary.failures:
    yield f'Failures: {summary.path(FAILURES)}; the same command tries them again and keeps what is done.'


def _relaxed(counts: RelaxCounts, out: Path) -> str:
  """'Relaxed: 3 of 4 predictions, 1 of them earlier; 1 failed; 2 left unrelaxed; structures: PATTERN; energies: FILE'.

  The pattern is not said where they are in archives.
  """
  done = counts.now + counts.before
  earlier = f', {counts.before} of them earlier' if counts.before else ''
  others = {'failed': counts.failed, 'left unrelaxed': counts.left}
  said = [f'{done} of {number(done + counts.failed, "prediction")}{earlier}']
  said += [f'{count} {what}' for what, count in others.items() if count]
  if done and next(out.glob(_RELAXED), None) is not None:
    said.append(f'structures: {out / _RELAXED}')
  return f'Relaxed: {"; ".join([*said, *([f"energies: {out / METRICS}"] if done else [])])}'


def _best_structures(summary: Summary) -> str:
  """Where they are, as a pattern of file names."""
  names = [name for outcome in summary.outcomes for name in outcome.files]
  packed = [name for name in names if name.endswith('.zip')]
  is_packed = len(packed) == len(names)
  if is_packed and packed:
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(summary.out / packed[0]) as archive:
      names = archive.namelist()
  patterns = [files.file_name(row, '*', 'rank_001_*') for row in ('afdb_pdb', 'afdb_mmcif', 'pdb', 'mmcif')]
  best = next((pattern for pattern in patterns if fnmatch.filter(names, pattern)), patterns[2])
  return f'{best} in each of {summary.out / "*.result.zip"}' if is_packed else str(summary.out / best)


def _counted(outcomes: Sequence[Outcome]) -> str:
  """'3 proteins: 2 done, 1 failed'."""
  of_status = Counter(outcome.status for outcome in outcomes)
  in_order = (DONE, KEPT, PARTIAL, FAILED, ELSEWHERE, NOT_RUN)
  counts = [f'{of_status[status]} {status}' for status in in_order if of_status[status]]
  return f'{number(len(outcomes), "protein")}{": " * bool(counts)}{", ".join(counts)}'
