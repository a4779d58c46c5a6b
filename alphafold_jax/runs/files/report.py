# SPDX-License-Identifier: Apache-2.0
"""What a run leaves beside the proteins' files: settings, failures, a table of all predictions, citations."""

import csv
import dataclasses
import datetime
import io
import json
import platform
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, installed, untrusted
from alphafold_jax.choices import SERVER_MODES, SINGLE
from alphafold_jax.config import as_kept
from alphafold_jax.data.jobnames import NAMES, original_names
from alphafold_jax.relaxation.folder import METRICS
from alphafold_jax.runs.files import records
from alphafold_jax.runs.files.changes import lasting
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job
from alphafold_jax.screen import name_of_shard
from alphafold_jax.search.databases import HHSUITE
from alphafold_jax.version import __version__
from alphafold_jax.weights.store import Note

FAILURES, CONFIG = 'failures.json', 'config.json'
SUMMARY, CITATIONS = 'summary.csv', 'cite.bibtex'
_MSA_ONLY = '--msa-only'  # the flag of runs that predict nothing
DONE, KEPT, PARTIAL, FAILED, NOT_RUN = 'done', 'already done', 'incomplete', 'failed', 'not run'
EARLIER = 'earlier run'  # of the same settings, with other inputs
ELSEWHERE = 'elsewhere'  # another process is at it
_COLUMNS = ('rank', 'model', 'seed', 'mean_plddt', 'ptm')  # of summary.csv
_OF_CHAINS = ('iptm', 'actifptm', *records.OF_BEST_INTERFACE)  # behind them, if there is a complex
_DIGITS = {'mean_plddt': 2, 'ptm': 4, 'iptm': 4, 'ipsae': 6}
_MMSEQS = ('Steinegger2017', 'Mirdita2022')
_CITED = {  # in cite.bib, by mode of the search
  SINGLE: (), 'hmmer': ('Eddy2011', 'Larralde2023'), 'mmseqs2': _MMSEQS, **dict.fromkeys(SERVER_MODES, _MMSEQS),
}  # fmt: skip
_FORCE_FIELDS = {'official': ('Hornak2006',), 'fast': ('Maier2015',)}  # by protocol
PACKAGES = ('jax', 'jaxlib', 'dm-haiku', 'numpy', 'ml-collections', 'biopython')


@dataclasses.dataclass(frozen=True)
class Failure:
  """Something that went wrong with one protein."""

  job: str
  name: str
  source: str
  stage: str  # 'input', 'search', 'predict', 'output' or 'relax'
  error: str  # the exception's type
  message: str
  model: str | None = None
  seed: int | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How one protein ended."""

  job: str
  status: str  # 'done', 'already done', 'incomplete', 'failed', 'not run' or 'elsewhere'
  predictions: Sequence[Mapping[str, Any]] = ()  # rank, model, seed, mean_plddt, ptm, seconds and so on; best first
  files: Sequence[str] = ()
  ours: bool = True  # False: of other shards
  notes: Sequence[str] = ()  # of an earlier run's predictions: what must be said of them
  earlier: 'Outcome | None' = None  # of an earlier run, if its files are those that are there


@dataclasses.dataclass
class RelaxCounts:
  """What became of the predictions of a run that relaxes."""

  now: int = 0
  before: int = 0  # by an earlier run
  failed: int = 0
  left: int = 0  # beyond the number of each protein that was asked for


@dataclasses.dataclass
class Summary:
  """How a run ended."""

  out: Path
  shard: tuple[int, int] | None = None
  outcomes: list[Outcome] = dataclasses.field(default_factory=list)
  others: list[Outcome] = dataclasses.field(default_factory=list)  # of proteins that other runs left here
  failures: list[Failure] = dataclasses.field(default_factory=list)
  notes: tuple[Note, ...] = ()  # what must be said of all predictions
  models: tuple[str, ...] = ()  # that are run
  seconds: float = 0.0
  relaxed: RelaxCounts | None = None  # None: nothing was to be relaxed

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
  """Writes summary.csv: one row for each prediction whose files are there, and one for each protein without any."""
  reasons: dict[str, list[str]] = {}
  for one in summary.failures:
    reasons.setdefault(one.job, []).append(f'{one.error}: {" ".join(one.message.split())}')
  rows: list[tuple[str, str, Mapping[str, Any], str]] = []
  for outcome in summary.outcomes:
    notes = '; '.join([*(note.text for note in summary.notes), *reasons.get(outcome.job, [])])
    if outcome.status != NOT_RUN or outcome.earlier is None:
      rows += [(outcome.job, outcome.status, row, notes) for row in outcome.predictions or [{}]]
    if outcome.earlier is not None:
      before = outcome.earlier
      rows += [(outcome.job, before.status, row, '; '.join(before.notes)) for row in before.predictions]
  for other in summary.others:
    rows += [(other.job, other.status, row, '; '.join(other.notes)) for row in other.predictions]
  _write_rows(summary.out, _table(rows))


def drop_rows(out: Path, jobs: Collection[str]) -> None:
  """Takes proteins out of an earlier run's summary.csv, before their files change."""
  try:
    with open(out / SUMMARY, newline='', encoding='utf-8') as file:
      rows = list(csv.reader(file))
  except (OSError, ValueError, csv.Error):  # none, or of another program
    return
  kept = [row for row in rows if not row or row[0] not in jobs]
  if len(kept) < len(rows):
    _write_rows(out, kept)


def _table(rows: Iterable[tuple[str, str, Mapping[str, Any], str]]) -> Iterator[list[Any]]:
  """The lines of summary.csv; columns of complexes only where there is one."""
  rows = list(rows)
  of_chains = _OF_CHAINS if any('iptm' in row for _, _, row, _ in rows) else ()
  columns = (*_COLUMNS, *of_chains, 'seconds')
  yield ['job', 'status', *columns, 'notes']
  for job, status, row, notes in rows:
    yield [job, status, *(_rounded(name, row.get(name)) for name in columns), notes]  # None: an empty cell


def _write_rows(out: Path, rows: Iterable[Sequence[Any]]) -> None:
  text = io.StringIO()
  csv.writer(text, lineterminator='\n').writerows(rows)
  atomic.write_text(out / SUMMARY, text.getvalue())


def _rounded(name: str, value: Any) -> Any:
  """A cell of summary.csv."""
  digits = _DIGITS.get(name)
  return value if value is None or digits is None else round(value, digits)


def write_names(out: Path, jobs: Iterable[tuple[str, str]]) -> None:
  """Writes names.json: the original names of jobs that had to be renamed; earlier ones are kept."""
  renamed = {job: name for job, name in jobs if job != name}
  known = original_names(out)
  if known != known | renamed:
    atomic.write_text(out / NAMES, _dump(known | renamed))


def citations(options: Options, has_complexes: bool = False) -> str:
  """The works behind a run's predictions and searches, as BibTeX."""
  search = options.search
  cited = ['Jumper2021', *(['Evans2021'] if has_complexes else []), *(_CITED[search.mode] if search else ())]
  if search and search.templates and not search.uses_server:
    database = search.template_database
    cited += ['Steinegger2019' if database and database.kind == HHSUITE else 'Eddy2011', 'Lassmann2020']
  return _bibtex(cited)


def citations_of_relaxing(protocols: Iterable[str]) -> str:
  """The works behind structures that were relaxed by protocols of these names, as BibTeX; empty without any."""
  cited = [key for name in protocols for key in ('Eastman2024', *_FORCE_FIELDS.get(name, ()))]
  return _bibtex(cited)


def _bibtex(cited: Iterable[str]) -> str:
  text = Path(__file__).with_name('cite.bib').read_text(encoding='utf-8')
  entries = dict(re.findall(r'^(?=@\w+\{(\w+),)(.*?^\}\n)', text, re.MULTILINE | re.DOTALL))
  return '\n'.join(entries[key] for key in dict.fromkeys(cited))


def write_citations(out: Path, options: Options, has_complexes: bool = False) -> None:
  """Writes cite.bibtex: the works behind what a run leaves, relaxed structures of earlier runs among it."""
  protocols = [options.relax.protocol.name] if options.num_relax != 0 else []
  relaxing = citations_of_relaxing([*protocols, *_protocols_before(out)])
  atomic.write_text(out / CITATIONS, '\n'.join(filter(None, [citations(options, has_complexes), relaxing])))


def _protocols_before(out: Path) -> list[str]:
  """By which protocols the structures that are there were relaxed."""
  try:
    kept = untrusted.from_json((out / METRICS).read_text(encoding='utf-8'))
    return sorted({one['protocol']['name'] for one in kept.values()})
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return []


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
    device: what was computed on; empty: as an earlier run said.
    jobs: each with the digest of its input.
    templates: SHA-256 by template file.
  """
  count = '1 query' if len(jobs) == 1 else f'{len(jobs)} queries'
  given = str(Path(source).absolute()) if isinstance(source, str | Path) else f'{count} of a program'
  before, flags = _earlier_config(summary), options.flags()
  date = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
  this = {'date': date, 'command': list(command) if command else None, 'input': given, 'flags': flags,
          'seeds': list(options.seeds), 'models': list(summary.models)}  # fmt: skip
  runs = [*(run for run in before.get('runs', []) if not _is_same(run, this)), this]
  if options.msa_only and not all(_MSA_ONLY in run.get('flags', {}) for run in before.get('runs', [])):
    atomic.write_text(summary.path(CONFIG), _dump(before | {'runs': runs}))  # the rest is of the predictions there
    return
  known = before if before and lasting(before['runs'][-1].get('flags', {})) == lasting(flags) else {}
  models = {name: _model_facts(options, params, name) for name in summary.models}
  content = {
    'program': 'alphafold_jax',
    'version': __version__,
    'date': date,
    **({'notes': [note.text for note in summary.notes]} if summary.notes else {}),
    'command': list(command) if command else None,
    'working_directory': str(Path.cwd()),
    'input': given,
    'output': str(summary.out.absolute()),
    'options': options.as_json(),
    'models': models | {name: one for name, one in known.get('models', {}).items() if name not in models},
    'seeds': sorted({*options.seeds, *known.get('seeds', ())}),
    'runs': runs,
    'templates': dict(templates),
    'device': dict(device or before.get('device', {})),
    'python': platform.python_version(),
    'platform': platform.platform(),
    'packages': {name: installed.version(name) for name in PACKAGES},
    'jobs': _job_facts(summary.out, jobs, before.get('jobs', ())),
  }
  atomic.write_text(summary.path(CONFIG), _dump(content))


def _is_same(run: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
  """Whether two runs are of the same input and flags, so that the later one is the earlier one gone on with."""
  return all(run.get(key) == other[key] for key in ('input', 'flags'))


def _job_facts(
  out: Path, jobs: Sequence[tuple[Job, str]], before: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
  """What config.json says of proteins: those of the run, and those of earlier runs whose files are there."""
  facts: list[Mapping[str, Any]] = [
    {
      'job': job.name,
      'name': job.query.name,
      'source': job.query.source,
      'num_res': job.num_res,
      'alignment': str(job.features or job.alignment_path or '') or None,
      'input_sha256': digest,
    }
    for job, digest in jobs
  ]
  names = {one['job'] for one in facts}
  return facts + [one for one in before if one['job'] not in names and records.path(out, one['job']).exists()]


def _model_facts(options: Options, params: Mapping[str, Any], name: str) -> dict[str, Any]:
  return {'parameters': params.get(name), 'config': as_kept(options.model_config(name))}


def settle_config(summary: Summary, options: Options, params: Mapping[str, Any]) -> None:
  """Enters the seeds and models that the proteins' files are of into config.json, those of earlier runs too."""
  content = _earlier_config(summary)
  same = [*summary.outcomes, *(other for other in summary.others if other.status == EARLIER)]
  rows = [row for outcome in same for row in outcome.predictions]
  models = dict.fromkeys([*summary.models, *sorted({row['model'] for row in rows} - set(summary.models))])
  seeds = sorted({row['seed'] for row in rows} | set(options.seeds))
  if not content or (content.get('seeds') == seeds and list(content.get('models', {})) == list(models)):
    return
  known = content['models']
  for name in models:
    models[name] = known.get(name) or _model_facts(options, params, name)
  atomic.write_text(summary.path(CONFIG), _dump(content | {'seeds': seeds, 'models': models}))


def has_config(summary: Summary, options: Options) -> bool:
  """Whether there is a config.json of these settings, seeds and models aside."""
  content = _earlier_config(summary)
  if not content or (flags := content['runs'][-1].get('flags')) is None:
    return bool(content)  # earlier versions did not say
  return lasting(flags) == lasting(options.flags())


def _earlier_config(summary: Summary) -> dict[str, Any]:
  """What config.json says; {} if there is none."""
  try:
    content = untrusted.from_json(summary.path(CONFIG).read_text(encoding='utf-8'))
    old = {name: content[name] for name in ('date', 'command', 'seeds')} | {'models': list(content['models'])}
    return content if 'runs' in content else content | {'runs': [old]}
  except (OSError, ValueError, KeyError, TypeError):
    return {}


def _dump(content: Any) -> str:
  return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + '\n'
