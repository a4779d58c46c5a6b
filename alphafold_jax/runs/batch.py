# SPDX-License-Identifier: Apache-2.0
"""The run over all proteins: found, compared with what is done, predicted, and reported."""

import logging
import os
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic
from alphafold_jax.data.queries import Query
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.runs import fleet
from alphafold_jax.runs.files import report
from alphafold_jax.runs.files.book import Book
from alphafold_jax.runs.files.outputs import HIDDEN, JobFiles
from alphafold_jax.runs.files.report import DONE, ELSEWHERE, FAILED, NOT_RUN, Failure, Outcome, Summary
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import inputs, keys
from alphafold_jax.runs.work.inputs import Inputs, Job
from alphafold_jax.runs.work.templates import TemplateSource, template_source
from alphafold_jax.screen import TOLD, Screen, number, reporting
from alphafold_jax.version import __version__
from alphafold_jax.weights import shipped, store

_log = logging.getLogger(__name__)
_STALE = 3600  # seconds after which a temporary file belongs to no running process
_MAX_NOTES = 5  # proteins whose notes are shown one by one


def run(
  source: str | Path | Query | Sequence[Query],
  out: str | Path,
  options: Options | None = None,
  *,
  screen: Screen | None = None,
  command: Sequence[str] | None = None,
) -> Summary:
  """Predicts all proteins of a source and writes their files, resuming what an earlier run left.

  Args:
    source: FASTA, A3M, CSV or features file, a directory of these, or queries at hand.
    out: the output folder; made if missing.
    options: what and how to predict.
    screen: what the person sees; None: only the logger `alphafold_jax` is told.
    command: the command line, for the record.

  Raises:
    InputError: no protein can be run, or `out` cannot be written.
    WeightsError: parameters are missing or are not the models'.
  """
  options = options or Options()
  found = inputs.find(source, options)
  templates = template_source(options)
  models = None if options.msa_only else fleet.Models(options)
  places = fleet.places_of(options)
  out = _output_folder(out, source)
  with reporting(out / report.of_shard(report.LOG, options.shard), screen) as console:
    for note in models.notes if models else ():
      _log.warning('%s. %s', note.text, note.advice)  # the first line
    if models and options.family == shipped.MODEL and options.model_type == 'auto' and options.params is None:
      _log.info('%s is run since there are no published parameters in %s', options.family, store.default_directory())
    _log.info('alphafold_jax %s%s', __version__, f': {shlex.join(command)}' if command else '')
    try:
      return _Batch(source, out, options, found, templates, models, command, places, screen).run(console)
    except KeyboardInterrupt:
      _log.warning('stopped; the same command goes on from here', extra=TOLD)
      raise
    except AlphaFoldError as error:
      _log.error('%s', error, extra=TOLD)
      raise
    except Exception as error:
      _log.error('%s: %s', type(error).__name__, error, exc_info=error, extra=TOLD)
      raise


def _output_folder(out: str | Path, source: Any) -> Path:
  """The folder, made and tried out."""
  out = Path(out)
  if isinstance(source, str | Path) and Path(source).is_dir() and out.exists() and out.samefile(source):
    raise InputError(f'{out}: input and output are one folder; choose another for the output')
  atomic.make_folder(out)
  atomic.make_folder(out / HIDDEN)
  with atomic.replacing(out / HIDDEN / 'writable') as file:
    file.write(b'.' * 4096)
  (out / HIDDEN / 'writable').unlink(missing_ok=True)
  return out


class _Batch:
  """One run; `run` is its story."""

  def __init__(
    self,
    source,
    out: Path,
    options: Options,
    found: Inputs,
    templates: TemplateSource | None,
    models: fleet.Models | None,
    command,
    places: Sequence[fleet.Place],
    screen: Screen | None,
  ):
    self._source, self._out, self._options, self._command = source, out, options, command
    self._places, self._screen = places, screen
    self._found, self._templates, self._models = found, templates, models
    self._keys = models and keys.Keys(options, models.digests, templates and templates.identity())
    self._summary = Summary(out, options.shard, notes=models.notes if models else ())
    self._book = Book(out, options, found.jobs, templates, self._keys, self._summary)

  def run(self, console: Any) -> Summary:
    """Does everything; whatever happens, what failed is on record at the end."""
    started = time.monotonic()
    complete = False
    try:
      own, others = fleet.of_shard(self._found.jobs, self._options.shard)
      self._book.ours.update(job.name for job in own)
      self._tell_inputs(own)
      report.write_names(self._out, [(job.name, job.query.name) for job in self._found.jobs])
      readable = self._book.readable(self._book.with_alignments(own, console))
      jobs = inputs.in_order(readable, self._options, self._book.depths)
      if self._options.msa_only:
        self._write_features(jobs)
      else:
        pending = self._without_done(jobs)
        if pending or others:
          self._predict(pending, others, console)
      complete = True
    finally:
      self._summary.seconds = time.monotonic() - started
      self._close(complete)
    return self._summary

  def _tell_inputs(self, own: Sequence[Job]) -> None:
    """Says what was found, what was read otherwise than written, and what cannot be used."""
    jobs, failures = self._found.jobs, self._found.failures
    lengths = [job.num_res for job in jobs]
    shown = f'{min(lengths)} to {max(lengths)}' if min(lengths) < max(lengths) else str(lengths[0])
    _log.info(
      '%s of %s residues%s',
      number(len(jobs), 'protein'),
      shown,
      f'; {len(failures)} more cannot be used' if failures else '',
    )
    if self._templates and all(self._options.model_config(name).templates is None for name in self._options.models):
      _log.warning(
        'templates are not used by %s; only models 1 and 2 of AlphaFold 2 take them', ', '.join(self._options.models)
      )
    for note in self._found.notes:
      _log.info('%s', note)
    noted = [job for job in jobs if job.query.notes]
    for job in noted:
      extra = None if len(noted) <= _MAX_NOTES else TOLD
      _log.warning('%s: %s', job.name, '; '.join(job.query.notes), extra=extra)
    if len(noted) > _MAX_NOTES:
      _log.warning(
        '%d proteins were not read quite as written (letters mapped, rows left out); see %s',
        len(noted),
        self._summary.path(report.LOG),
      )
    for i, failure in enumerate(failures):
      _log.error('%s', failure.message, extra=None if i < _MAX_NOTES else TOLD)
    if self._options.shard:
      _log.info('shard %d of %d begins with %s', *self._options.shard, number(len(own), 'protein'))
    answers = self._options.shard is None or self._options.shard[0] == 1  # for what is of no shard
    self._book.ours.update(failure.job for failure in failures if answers)
    for failure in failures:
      record = Failure(failure.job, failure.name, failure.source, 'input', 'InputError', failure.message)
      self._book.end(Outcome(failure.job, FAILED), [record] if answers else [])

  def _without_done(self, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that are not finished with this very content, settings and files."""
    there = _tidied(self._out)
    pending = []
    for job in jobs:
      if (record := self._book.record(job, there)) is None:
        pending.append(job)
      else:
        self._book.kept(job, record)
    if kept := len(jobs) - len(pending):
      nothing = not pending and self._options.shard is None
      _log.info('done already: %s%s', number(kept, 'protein'), '; nothing to compute' if nothing else '')
    return pending

  def _predict(self, own: Sequence[Job], others: Sequence[Job], console: Any) -> None:
    """Runs all models and seeds on the jobs, and on what other shards leave."""
    report.write_citations(self._out, self._options.search)
    self._warn_of_little_room(own)
    setup = fleet.Setup(self._out, self._options, self._models, self._keys, self._templates)
    work = fleet.Work(setup, own, others, self._book, self._write_config)
    fleet.predict_all(work, self._places, console, self._screen)

  def _write_config(self, device: dict[str, Any]) -> None:
    params = {}
    for name in self._options.models:
      file = self._models and self._models.paths.get(name)
      digest = self._models.digests[name] if self._models else None
      params[name] = {'file': str(file.absolute()), 'sha256': digest} if file else digest
    templates = self._templates.facts() if self._templates else {}
    report.write_config(
      self._out,
      self._source,
      self._options,
      self._command,
      params,
      device,
      self._book.read_jobs(),
      templates,
      self._summary.notes,
    )

  def _warn_of_little_room(self, pending: Sequence[Job]) -> None:
    """Compares what the files will take with what the disk has."""
    per_job = len(self._options.models) * len(self._options.seeds)
    needed = sum(per_job * (10 * job.num_res**2 + 3000 * job.num_res) for job in pending)
    free = shutil.disk_usage(self._out).free
    if free < needed:
      _log.warning('%s: about %.1f GiB will be written, %.1f GiB are free', self._out, needed / 2**30, free / 2**30)

  def _write_features(self, jobs: Sequence[Job]) -> None:
    """What `--msa-only` does instead of predicting."""
    self._write_config({})
    for index, job in enumerate(jobs, 1):
      try:
        batch = inputs.load_batch(job, self._templates)
      except InputError as error:
        _log.error('%s: %s', job.name, error)
        self._book.fail(job, 'input', 'InputError', str(error))
        continue
      record = JobFiles(self._out, job, self._options).write_features(batch)
      _log.info('[%d/%d] %s: %s', index, len(jobs), job.name, record['files'][0])
      self._book.end(Outcome(job.name, DONE, (), record['files']))

  def _close(self, complete: bool) -> None:
    """Puts on record how it ended."""
    summary = self._summary
    summary.outcomes = self._outcomes()
    try:
      if complete or summary.failures:
        report.write_failures(summary)
      if not self._options.msa_only:
        self._write_summary()
    except AlphaFoldError as error:
      _log.error('%s', error)
    if complete:
      _log.info('\n%s', report.closing(summary, live=False), extra=TOLD)

  def _outcomes(self) -> list[Outcome]:
    """How all proteins ended, in the order of the input."""
    names = [*(job.name for job in self._found.jobs), *(failure.job for failure in self._found.failures)]
    known, ours = self._book.outcomes, self._book.ours
    return [known.get(name) or Outcome(name, NOT_RUN, ours=name in ours) for name in names]

  def _write_summary(self) -> None:
    """Writes summary.csv; of several shards the last to end has it whole, since each looks again after writing."""
    if self._options.shard is None:
      report.write_summary(self._summary)
      return
    if any(outcome.status == NOT_RUN and not outcome.ours for outcome in self._summary.outcomes):
      return  # stopped before it had looked at the others' proteins: another shard will tell
    report.write_summary(self._summary)
    elsewhere = {outcome.job for outcome in self._summary.outcomes if outcome.status == ELSEWHERE}
    finished = [
      (job, record)
      for job in self._found.jobs
      if job.name in elsewhere and (record := self._book.record(job)) is not None
    ]
    for job, record in finished:
      self._book.kept(job, record)
    if finished:
      self._summary.outcomes = self._outcomes()
      self._write_summary()


def _tidied(out: Path) -> set[str]:
  """The names in a folder, after removing what killed runs left half-written."""
  names = set(os.listdir(out))
  for name in [name for name in names if name.startswith('.') and name.endswith('.part')]:
    try:
      if time.time() - (out / name).stat().st_mtime > _STALE:
        (out / name).unlink()
    except OSError:
      continue
  return names
