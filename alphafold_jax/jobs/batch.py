# SPDX-License-Identifier: Apache-2.0
"""The run over all proteins: found, compared with what is done, predicted, and reported."""

import dataclasses
import logging
import os
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic
from alphafold_jax.data.padding import residue_bucket
from alphafold_jax.data.queries import Query
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.jobs import inputs, keys, progress, report, searching
from alphafold_jax.jobs.inputs import Inputs, Job
from alphafold_jax.jobs.models import Models
from alphafold_jax.jobs.options import Options
from alphafold_jax.jobs.outputs import HIDDEN, JobFiles
from alphafold_jax.jobs.predicting import CannotWrite, Predictor
from alphafold_jax.jobs.progress import Clock
from alphafold_jax.jobs.report import DONE, FAILED, KEPT, NOT_RUN, Failure, Outcome, Summary
from alphafold_jax.jobs.templates import TemplateSource, template_source
from alphafold_jax.screen import TOLD, Screen, number, reporting
from alphafold_jax.search.options import SINGLE
from alphafold_jax.version import __version__
from alphafold_jax.weights import shipped, store

_log = logging.getLogger(__name__)
_STALE = 3600  # seconds after which a temporary file belongs to no running process
_MAX_NOTES = 5  # proteins whose notes are shown one by one


def run(source: str | Path | Query | Sequence[Query], out: str | Path, options: Options | None = None, *,
        screen: Screen | None = None, command: Sequence[str] | None = None) -> Summary:
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
  models = None if options.msa_only else Models(options)
  out = _output_folder(out, source)
  with reporting(out / 'log.txt', screen) as console:
    for note in models.notes if models else ():
      _log.warning('%s. %s', note.text, note.advice)  # the first line
    if models and options.family == shipped.MODEL and options.model_type == 'auto' and options.params is None:
      _log.info('%s is run since there are no published parameters in %s', options.family, store.default_directory())
    _log.info('alphafold_jax %s%s', __version__, f': {shlex.join(command)}' if command else '')
    batch = _Batch(source, out, options, found, templates, models, command)
    try:
      return batch.run(console)
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

  def __init__(self, source, out: Path, options: Options, found: Inputs, templates: TemplateSource | None,
               models: Models | None, command):
    self._source, self._out, self._options, self._command = source, out, options, command
    self._found, self._templates, self._models = found, templates, models
    self._summary = Summary(out, notes=models.notes if models else ())
    self._outcomes: dict[str, Outcome] = {}
    self._digests: dict[str, str] = {}  # of input, by job

  def run(self, console: Any) -> Summary:
    """Does everything; whatever happens, what failed is on record at the end."""
    started = time.monotonic()
    complete = False
    try:
      self._tell_inputs()
      report.write_names(self._out, [(job.name, job.query.name) for job in self._found.jobs])
      jobs = self._digested(inputs.in_order(self._with_alignments(console), self._options))
      if self._options.msa_only:
        self._write_features(jobs)
      else:
        pending = self._without_done(jobs)
        if pending:
          self._predict(pending, console)
      complete = True
    finally:
      self._summary.seconds = time.monotonic() - started
      self._close(complete)
    return self._summary

  def _tell_inputs(self) -> None:
    """Says what was found, what was read otherwise than written, and what cannot be used."""
    jobs, failures = self._found.jobs, self._found.failures
    lengths = [job.num_res for job in jobs]
    shown = f'{min(lengths)} to {max(lengths)}' if min(lengths) < max(lengths) else str(lengths[0])
    _log.info('%s of %s residues%s', number(len(jobs), 'protein'), shown,
              f'; {len(failures)} more cannot be used' if failures else '')
    if self._templates and all(self._options.model_config(name).templates is None for name in self._options.models):
      _log.warning('templates are not used by %s; only models 1 and 2 of AlphaFold 2 take them',
                   ', '.join(self._options.models))
    for note in self._found.notes:
      _log.info('%s', note)
    noted = [job for job in jobs if job.query.notes]
    for job in noted:
      extra = None if len(noted) <= _MAX_NOTES else TOLD
      _log.warning('%s: %s', job.name, '; '.join(job.query.notes), extra=extra)
    if len(noted) > _MAX_NOTES:
      _log.warning('%d proteins were not read quite as written (letters mapped, rows left out); see %s', len(noted),
                   self._out / 'log.txt')
    for i, failure in enumerate(failures):
      _log.error('%s', failure.message, extra=None if i < _MAX_NOTES else TOLD)
      self._summary.failures.append(
          Failure(failure.job, failure.name, failure.source, 'input', 'InputError', failure.message))
      self._outcomes[failure.job] = Outcome(failure.job, FAILED)

  def _fail(self, job: Job, stage: str, error: str, message: str) -> None:
    """Puts a protein on record as failed."""
    self._summary.failures.append(Failure(job.name, job.query.name, job.query.source, stage, error, message))
    self._outcomes[job.name] = Outcome(job.name, FAILED)

  def _with_alignments(self, console: Any) -> Sequence[Job]:
    """The jobs, those that came as bare sequences with what a search found for them."""
    search, jobs = self._options.search, self._found.jobs
    if search is None or search.mode == SINGLE:
      return jobs
    ready = searching.run(jobs, search, lambda job: self._out / HIDDEN / job.name / 'search', console,
                          lambda job, error: self._fail(job, 'search', type(error).__name__, str(error)))
    searched = {job.name: job for job in ready}
    self._found = dataclasses.replace(self._found, jobs=tuple(searched.get(job.name, job) for job in jobs))
    return ready

  def _digested(self, jobs: Sequence[Job]) -> list[Job]:
    """The jobs whose input can be read, with its digest taken."""
    readable = []
    for job in jobs:
      try:
        self._digests[job.name] = keys.of_input(job, self._templates and self._templates.identity_for(job))
        readable.append(job)
      except InputError as error:
        _log.error('%s', error)
        self._fail(job, 'input', 'InputError', str(error))
    return readable

  def _without_done(self, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that are not finished with this very content, settings and files."""
    self._keys = keys.Keys(self._options, self._models.digests, self._templates and self._templates.identity())
    there = _tidied(self._out)
    pending = []
    for job in jobs:
      files = JobFiles(self._out, job, self._options)
      record = None
      if not self._options.overwrite_existing_results:
        record = files.done(self._keys.job(self._digests[job.name]), there)
      if record is None:
        pending.append(job)
      else:
        self._outcomes[job.name] = Outcome(job.name, KEPT, record['predictions'], record['files'])
    if kept := len(jobs) - len(pending):
      _log.info('done already: %s%s', number(kept, 'protein'), '' if pending else '; nothing to compute')
    return pending

  def _predict(self, pending: Sequence[Job], console: Any) -> None:
    """Runs all models and seeds on the jobs."""
    device = self._start_device()
    from alphafold_jax import prediction

    if self._options.settings.kernels or self._options.config:
      prediction.check_network(self._options.model_config(self._options.models[0]))
    report.write_citations(self._out, self._options.search)
    self._write_config(device)
    self._warn_of_little_room(pending)
    per_job = len(self._options.seeds) * sum(
        self._options.model_config(name).num_recycle + 1 for name in self._options.models)
    clock = Clock(Counter({size: count * per_job for size, count in
                           Counter(residue_bucket(job.num_res) for job in pending).items()}))
    with progress.displayed(clock, len(pending), console) as shown:
      predictor = Predictor(self._options, self._models, self._keys, self._templates, shown)
      for index, job in enumerate(pending, 1):
        try:
          outcome, failures = predictor.run(
              index, job, self._digests[job.name], JobFiles(self._out, job, self._options))
        except CannotWrite as error:
          _log.error('%s: %s. No further protein is run', job.name, error)
          self._fail(job, 'output', type(error.__cause__).__name__, str(error))
          break
        self._outcomes[job.name] = outcome
        self._summary.failures += failures

  def _start_device(self) -> dict[str, Any]:
    """Loads JAX and says what it computes on."""
    _log.info('starting JAX')
    import jax

    from alphafold_jax import devices

    device = devices.describe()
    free = '' if device['free_bytes'] is None else f', {device["free_bytes"] / 2**30:.1f} GiB free'
    kind = device['kind'] if device['kind'] == device['platform'] else f'{device["kind"]} ({device["platform"]})'
    _log.info('JAX %s on %d x %s%s', jax.__version__, device['count'], kind, free)
    if hint := devices.idle_accelerator():
      _log.warning('%s', hint)
    if not self._options.compilation_cache:
      jax.config.update('jax_enable_compilation_cache', False)
    elif (cache := devices.use_compilation_cache()) is None:
      _log.warning('compiled programs cannot be kept for later runs: the cache folder cannot be written')
    else:
      _log.info('compiled programs are kept in %s', cache)
      device['compilation_cache'] = str(cache)
    return device | {'dtype': self._options.settings.dtype or devices.default_dtype()}

  def _write_config(self, device: dict[str, Any]) -> None:
    params = {}
    for name in self._options.models:
      file = self._models and self._models.paths.get(name)
      digest = self._models.digests[name] if self._models else None
      params[name] = {'file': str(file.absolute()), 'sha256': digest} if file else digest
    templates = self._templates.facts() if self._templates else {}
    jobs = [(job, self._digests[job.name]) for job in self._found.jobs if job.name in self._digests]
    report.write_config(self._out, self._source, self._options, self._command, params, device, jobs, templates,
                        self._summary.notes)

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
        self._fail(job, 'input', 'InputError', str(error))
        continue
      record = JobFiles(self._out, job, self._options).write_features(batch)
      _log.info('[%d/%d] %s: %s', index, len(jobs), job.name, record['files'][0])
      self._outcomes[job.name] = Outcome(job.name, DONE, (), record['files'])

  def _close(self, complete: bool) -> None:
    """Puts on record how it ended."""
    names = [*(job.name for job in self._found.jobs), *(failure.job for failure in self._found.failures)]
    summary = self._summary
    summary.outcomes = [self._outcomes.get(name) or Outcome(name, NOT_RUN) for name in names]
    try:
      if complete or summary.failures:
        report.write_failures(summary)
      if not self._options.msa_only:
        report.write_summary(summary)
    except AlphaFoldError as error:
      _log.error('%s', error)
    if complete:
      _log.info('\n%s', report.closing(summary, live=False), extra=TOLD)


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
