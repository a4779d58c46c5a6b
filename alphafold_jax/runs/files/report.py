# SPDX-License-Identifier: Apache-2.0
"""What a run leaves beside the proteins' files: settings, failures, a table of all predictions, citations."""

import csv
import dataclasses
import datetime
import io
import json
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphafold_jax import atomic, installed
from alphafold_jax.choices import SERVER_MODES, SINGLE
from alphafold_jax.data.jobnames import NAMES, original_names
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job
from alphafold_jax.screen import name_of_shard, number
from alphafold_jax.search.databases import HHSUITE
from alphafold_jax.search.options import SearchOptions
from alphafold_jax.version import __version__
from alphafold_jax.weights.store import Note

if TYPE_CHECKING:
  from rich.table import Table  # rich is loaded only where something is shown

FAILURES, CONFIG = 'failures.json', 'config.json'
SUMMARY, CITATIONS = 'summary.csv', 'cite.bibtex'
DONE, KEPT, PARTIAL, FAILED, NOT_RUN = 'done', 'already done', 'incomplete', 'failed', 'not run'
ELSEWHERE = 'elsewhere'  # another process is at it
_MAX_ROWS = 60  # of the closing table
_WIDTH = 100
_MMSEQS = ('Steinegger2017', 'Mirdita2022')
_CITED = {  # in cite.bib, by mode of the search
  SINGLE: (), 'hmmer': ('Eddy2011', 'Larralde2023'), 'mmseqs2': _MMSEQS, **dict.fromkeys(SERVER_MODES, _MMSEQS),
}  # fmt: skip
_PACKAGES = ('jax', 'jaxlib', 'dm-haiku', 'numpy', 'ml-collections', 'biopython')


@dataclasses.dataclass(frozen=True)
class Failure:
  """Something that went wrong with one protein."""

  job: str
  name: str
  source: str
  stage: str  # 'input', 'search', 'predict' or 'output'
  error: str  # the exception's type
  message: str
  model: str | None = None
  seed: int | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How one protein ended."""

  job: str
  status: str  # 'done', 'already done', 'incomplete', 'failed', 'not run' or 'elsewhere'
  predictions: Sequence[Mapping[str, Any]] = ()  # rank, model, seed, mean_plddt, ptm, seconds; best first
  files: Sequence[str] = ()
  ours: bool = True  # False: of other shards


@dataclasses.dataclass
class Summary:
  """How a run ended."""

  out: Path
  shard: tuple[int, int] | None = None
  outcomes: list[Outcome] = dataclasses.field(default_factory=list)
  failures: list[Failure] = dataclasses.field(default_factory=list)
  notes: tuple[Note, ...] = ()  # what must be said of all predictions
  seconds: float = 0.0

  @property
  def exit_code(self) -> int:
    """0: all is well; 1: something failed; 2: no input could be used. A shard answers for its own proteins."""
    finished = any(outcome.status in (DONE, KEPT, PARTIAL) for outcome in self.outcomes)
    if self.failures and not finished and all(failure.stage == 'input' for failure in self.failures):
      return 2
    good = (DONE, KEPT, *([ELSEWHERE] if self.shard else []))
    complete = all(outcome.status in good for outcome in self.outcomes if outcome.ours)
    return 0 if complete and not self.failures else 1

  def path(self, name: str) -> Path:
    """A file of the run; shards, which share the folder, have their own."""
    return self.out / name_of_shard(name, self.shard)


# ------------------------------------------------------------------------------------------ files


def write_failures(summary: Summary) -> None:
  """Writes failures.json, or removes that of an earlier run if nothing failed."""
  path = summary.path(FAILURES)
  if summary.failures:
    atomic.write_text(path, _dump([dataclasses.asdict(failure) for failure in summary.failures]))
  else:
    path.unlink(missing_ok=True)


def write_summary(summary: Summary) -> None:
  """Writes summary.csv: one row for each prediction."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  columns = 'rank', 'model', 'seed', 'mean_plddt', 'ptm', 'seconds'
  writer.writerow(['job', 'status', *columns, 'notes'])
  notes = '; '.join(note.text for note in summary.notes)
  for outcome in summary.outcomes:
    for row in outcome.predictions or [{}]:
      cells = (_rounded(name, row.get(name)) for name in columns)
      writer.writerow([outcome.job, outcome.status, *cells, notes])  # None: an empty cell
  atomic.write_text(summary.out / SUMMARY, text.getvalue())


def _rounded(name: str, value: Any) -> Any:
  """A cell of summary.csv."""
  digits = {'mean_plddt': 2, 'ptm': 4}.get(name)
  return value if value is None or digits is None else round(value, digits)


def write_names(out: Path, jobs: Iterable[tuple[str, str]]) -> None:
  """Writes names.json: the original names of jobs that had to be renamed; earlier ones are kept."""
  renamed = {job: name for job, name in jobs if job != name}
  known = original_names(out)
  if known != known | renamed:
    atomic.write_text(out / NAMES, _dump(known | renamed))


def write_citations(out: Path, search: SearchOptions | None) -> None:
  """Writes cite.bibtex: the works behind a run's predictions and searches."""
  cited = ['Jumper2021', *(_CITED[search.mode] if search else ())]
  if search and search.templates and not search.uses_server:
    database = search.template_database
    cited += ['Steinegger2019' if database and database.kind == HHSUITE else 'Eddy2011', 'Lassmann2020']
  text = Path(__file__).with_name('cite.bib').read_text(encoding='utf-8')
  entries = dict(re.findall(r'^(?=@\w+\{(\w+),)(.*?^\}\n)', text, re.MULTILINE | re.DOTALL))
  atomic.write_text(out / CITATIONS, '\n'.join(entries[key] for key in dict.fromkeys(cited)))


def write_config(
  summary: Summary,
  source: Any,
  options: Options,
  command: Sequence[str] | None,
  params: Mapping[str, Any],
  device: Mapping[str, Any],
  jobs: Sequence[tuple[Job, str]],
  templates: Mapping[str, str],
) -> None:
  """Writes config.json: everything needed to repeat the run.

  Args:
    summary: gives the folder, the shard and the notes.
    source: where the proteins came from.
    command: the command line, if there was one.
    params: parameter file and SHA-256, or 'random', by model; nothing if none is run.
    device: what was computed on.
    jobs: each with the digest of its input.
    templates: SHA-256 by template file.
  """
  given = str(Path(source).absolute()) if isinstance(source, str | Path) else f'{len(jobs)} queries of a program'
  content = {
    'program': 'alphafold_jax',
    'version': __version__,
    'date': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
    **({'notes': [note.text for note in summary.notes]} if summary.notes else {}),
    'command': list(command) if command else None,
    'working_directory': str(Path.cwd()),
    'input': given,
    'output': str(summary.out.absolute()),
    'options': options.as_json(),
    'models': {
      name: {'parameters': params.get(name), 'config': options.model_config(name).to_dict()} for name in options.models
    },
    'seeds': list(options.seeds),
    'templates': dict(templates),
    'device': dict(device),
    'python': platform.python_version(),
    'platform': platform.platform(),
    'packages': {name: installed.version(name) for name in _PACKAGES},
    'jobs': [
      {
        'job': job.name,
        'name': job.query.name,
        'source': job.query.source,
        'num_res': job.num_res,
        'alignment': str(job.features or job.alignment_path or '') or None,
        'input_sha256': digest,
      }
      for job, digest in jobs
    ],
  }
  atomic.write_text(summary.path(CONFIG), _dump(content))


def _dump(content: Any) -> str:
  return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + '\n'


# ------------------------------------------------------------------------------------------ the closing table


def closing(summary: Summary, *, live: bool) -> str:
  """The table of what there is now and what failed, as text: in colours for a terminal, else plain."""
  from rich.console import Console

  text = io.StringIO()
  colours: dict[str, Any] = {'color_system': 'auto' if live else None, 'no_color': False}
  console = Console(file=text, width=_WIDTH, force_terminal=live, highlight=False, legacy_windows=False, **colours)
  if outcomes := [outcome for outcome in summary.outcomes if outcome.predictions and outcome.ours]:
    best_only = sum(len(outcome.predictions) for outcome in outcomes) > _MAX_ROWS
    heading = 'Best prediction of each protein' if best_only else 'Predictions'
    notes = f' ({"; ".join(note.text for note in summary.notes)})' if summary.notes else ''
    console.print(heading + notes, style='bold', markup=False, soft_wrap=True)  # may be wider than the table
    console.print(_predictions_table(outcomes, best_only, live))
  if summary.failures:
    console.print(_failures_table(summary, live))
  for note in summary.notes:
    console.print(f'{note.text}. {note.advice}.', style='bold red', markup=False, soft_wrap=True)
  for line in _closing_lines(summary):
    console.print(line, markup=False, soft_wrap=True)
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
  for name in ('Rank', 'Model', 'Seed', 'pLDDT', 'pTM', 'Time', 'Files'):
    grid.add_column(name, justify='left' if name == 'Model' else 'right', no_wrap=True)
  grid.add_column('', no_wrap=True)
  for outcome in outcomes[:_MAX_ROWS]:
    for i, row in enumerate(outcome.predictions[:1] if best_only else outcome.predictions):
      ptm = '-' if row['ptm'] is None else f'{row["ptm"]:.2f}'
      first = [outcome.job, str(len(outcome.files)), '' if outcome.status == DONE else outcome.status]
      job, num_files, remark = first if i == 0 else ('', '', '')
      scores = f'{row["mean_plddt"]:.1f}', ptm, _time(row['seconds'])
      grid.add_row(job, str(row['rank']), row['model'], str(row['seed']), *scores, num_files, remark)
  if len(outcomes) > _MAX_ROWS:
    grid.add_row('...', *[''] * 7, f'{len(outcomes) - _MAX_ROWS} more')
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
    grid.add_row(failure.job, failure.model or failure.stage, Text(f'{failure.error}: {failure.message}'))
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
    yield f'Best structures: {summary.out / "*_unrelaxed_rank_001_*.pdb"}; all scores: {summary.out / SUMMARY}'
  if summary.failures:
    yield f'Failures: {summary.path(FAILURES)}; the same command tries them again and keeps what is done.'


def _counted(outcomes: Sequence[Outcome]) -> str:
  """'3 proteins: 2 done, 1 failed'."""
  of_status = Counter(outcome.status for outcome in outcomes)
  in_order = (DONE, KEPT, PARTIAL, FAILED, ELSEWHERE, NOT_RUN)
  counts = [f'{of_status[status]} {status}' for status in in_order if of_status[status]]
  return f'{number(len(outcomes), "protein")}{": " * bool(counts)}{", ".join(counts)}'
