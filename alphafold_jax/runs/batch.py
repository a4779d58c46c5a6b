# SPDX-License-Identifier: Apache-2.0
"""The run over all proteins: found, compared with what is done, predicted, and reported."""

import dataclasses
import logging
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, sharing
from alphafold_jax.data.queries import Query
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.runs import files, fleet, relaxing, work
from alphafold_jax.runs.files import DONE, FAILED, Failure, Outcome, Summary
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Inputs, Job, TemplateSource
from alphafold_jax.screen import LOG, LOG_ONLY, Screen, name_of_shard, number, reporting
from alphafold_jax.version import __version__
from alphafold_jax.weights import shipped, store

_log = logging.getLogger(__name__)
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
    screen: what the person sees; None: nothing but what the logger `alphafold_jax` gets.
    command: the command line, for the record.

  Raises:
    InputError: no protein can be run, `out` cannot be written, or a living run of other settings writes there.
    WeightsError: parameters are missing or are not the models'.
  """
  options = options or Options()
  relaxing.check(options)
  named: dict[str, Any] = {'prefix': options.jobname_prefix, 'complex': options.complex, 'naming': options.naming}
  found = work.find(source, takes_bare=options.search is not None, **named)
  templates = work.template_source(options, found)
  found = work.with_guess(options.initial_guess, found)
  models = None if options.msa_only else fleet.Models(options, found.kinds)
  places = fleet.places_of(options)
  identity = templates.identity() if templates else None
  out = Path(out)
  if isinstance(source, str | Path) and Path(source).is_dir() and out.exists() and out.samefile(source):
    raise InputError(f'{out}: input and output are one folder; choose another for the output')
  atomic.make_folder(atomic.make_folder(out) / files.HIDDEN, tried=True)
  settings = work.of_run(options, models.digests if models else None, identity, found.kinds)
  with (
    sharing.using(out, 'predict', settings, options.flags()),
    reporting(out / name_of_shard(LOG, options.shard), screen) as console,
  ):
    for note in models.notes if models else ():
      _log.warning('%s. %s', note.text, note.advice)  # the first line
    if models and options.family == shipped.MODEL and options.model_type == 'auto' and options.params is None:
      _log.info('%s is run since there are no published parameters in %s', options.family, store.default_place())
    _log.info('alphafold_jax %s%s', __version__, f': {shlex.join(command)}' if command else '')
    try:
      keys = None
      if models:
        options = fleet.settled(options, out, found.jobs, places)
        models, keys = models.settled(options), work.Keys(options, models.digests, identity)
      return _Run(source, out, options, found, templates, models, keys, command, places, screen).run(console)
    except KeyboardInterrupt:
      _log.warning('stopped; the same command goes on from here', extra=LOG_ONLY)
      raise
    except AlphaFoldError as error:
      _log.error('%s', error, extra=LOG_ONLY)
      raise
    except Exception as error:
      _log.error('%s: %s', type(error).__name__, error, exc_info=error, extra=LOG_ONLY)
      raise


@dataclasses.dataclass(eq=False)
class _Run:
  """One run; `run` is its story."""

  source: str | Path | Query | Sequence[Query]
  out: Path
  options: Options
  found: Inputs
  templates: TemplateSource | None
  models: fleet.Models | None  # None: nothing is predicted
  keys: work.Keys | None
  command: Sequence[str] | None  # for the record
  places: Sequence[fleet.Place]  # of the processes that predict
  screen: Screen | None

  def __post_init__(self) -> None:
    notes, names = (self.models.notes, self.models.names) if self.models else ((), self.options.models)
    self.summary = Summary(self.out, self.options.shard, notes=notes, models=names)
    self.ledger = files.Ledger(self.options, self.found, self.templates, self.keys, self.summary)
    self.lengths = fleet.lengths_of(self.found.jobs, self.options)

  def run(self, console: Any) -> Summary:
    """Does everything; whatever happens, what failed is on record at the end."""
    started = time.monotonic()
    complete = False
    try:
      own, others = fleet.of_shard(self.found.jobs, self.options.shard)
      self._begin(own)
      readable = self.ledger.readable(self.ledger.with_alignments(own, console))
      by, seed = self.options.sort_queries_by, self.options.random_seed
      jobs = work.in_order(readable, by, seed, self.ledger.depths, self.lengths.of)
      if self.options.msa_only:
        self._write_features(jobs)
      else:
        pending = self.ledger.without_done(jobs)
        if pending or others:
          self._predict(pending, others, console)
        elif not files.has_config(self.summary, self.options):  # lost, or of other settings that made no files
          self._write_config({})
        if self.options.num_relax != 0:
          files.write_citations(self.out, self.options, True in self.found.kinds)
          plan, count = self.options.relax, self.options.num_relax
          self.summary.relaxed = relaxing.relax_predictions(self.out, self.ledger, plan, count)
        elif pending:
          files.renew_relax_metrics(self.out)
      complete = True
    finally:
      self.summary.seconds = time.monotonic() - started
      self._close(complete)
    return self.summary

  def _begin(self, own: Sequence[Job]) -> None:
    """Logs what was found, and puts on record what this process answers for and what cannot be used."""
    self._log_inputs()
    if self.options.shard:
      _log.info('shard %d of %d begins with %s', *self.options.shard, number(len(own), 'protein'))
    answers = self.options.shard is None or self.options.shard[0] == 1  # for what is of no shard
    unusable = self.found.failures
    self.ledger.ours.update([job.name for job in own] + [failure.job for failure in unusable if answers])
    for one in unusable:
      failure = Failure(one.job, one.name, one.source, 'input', 'InputError', one.message)
      self.ledger.end(Outcome(one.job, FAILED), [failure] if answers else [])
    files.write_names(self.out, [(job.name, job.query.name) for job in self.found.jobs])

  def _log_inputs(self) -> None:
    """Logs what was found, what was read otherwise than written, and what cannot be used."""
    jobs, failures = self.found.jobs, self.found.failures
    lengths = [job.num_res for job in jobs]
    shown = f'{min(lengths)} to {max(lengths)}' if min(lengths) < max(lengths) else str(lengths[0])
    more = f'; {len(failures)} more cannot be used' if failures else ''
    _log.info('%s of %s %s%s', number(len(jobs), 'protein'), shown, 'residue' if shown == '1' else 'residues', more)
    models = self.models.names if self.models else self.options.models
    if self.templates and all(self.options.model_config(name).templates is None for name in models):
      _log.warning(
        'templates are not used by %s; mini, models 1 and 2 of AlphaFold 2, and those of complexes take them',
        ', '.join(models),
      )
    if self.models and True in self.found.kinds and not self.options.has_models_of_complexes:
      no_templates = ', and are shown no templates of them' if self.templates else ''
      said = 'complexes are predicted by models of single chains (%s), which were never trained on any%s'
      _log.warning(said, ', '.join(self.options.of(True).models), no_templates)
    for note in self.templates.notes if self.templates else ():
      _log.warning('%s', note)
    for warning in self.found.warnings:
      _log.warning('%s', warning)
    for note in self.found.notes:
      _log.info('%s', note)
    noted = [job for job in jobs if job.query.notes]
    for job in noted:
      extra = None if len(noted) <= _MAX_NOTES else LOG_ONLY
      _log.warning('%s: %s', job.name, '; '.join(job.query.notes), extra=extra)
    if len(noted) > _MAX_NOTES:
      said = '%d proteins were not read quite as written (letters mapped, rows left out); see %s'
      _log.warning(said, len(noted), self.summary.path(LOG))
    for i, failure in enumerate(failures):
      _log.error('%s', failure.message, extra=None if i < _MAX_NOTES else LOG_ONLY)

  def _predict(self, own: Sequence[Job], others: Sequence[Job], console: Any) -> None:
    """Runs all models and seeds on the jobs, and on what other shards leave."""
    files.drop_rows(self.out, {job.name for job in (*own, *others)})
    files.drop_index(self.out)
    files.share_viewer(self.out, len(self.found.jobs), self.options)
    files.write_citations(self.out, self.options, True in self.found.kinds)
    self._warn_of_little_room(own)
    if len(self.found.jobs) > 1:
      _log.info('padded to %s residues, so that few programs are compiled', ', '.join(map(str, self.lengths.chosen)))
    assert self.models is not None and self.keys is not None
    setup = fleet.Setup(self.out, self.options, self.models, self.keys, self.templates, self.lengths)
    workload = fleet.Workload(setup, own, others, self.ledger, self._write_config)
    fleet.predict_all(workload, self.places, console, self.screen)

  def _write_config(self, device: dict[str, Any]) -> None:
    """Writes config.json; `device` is what is computed on."""
    params = self.models.facts() if self.models else {}
    templates, jobs = self.templates.facts() if self.templates else {}, self.ledger.read_jobs()
    files.write_config(self.summary, self.source, self.options, self.command, params, device, jobs, templates)

  def _warn_of_little_room(self, pending: Sequence[Job]) -> None:
    """Warns where the disk has less room than the files will take."""
    per_job = {kind: len(self.options.of(kind).models) * len(self.options.seeds) for kind in self.found.kinds}
    needed = sum(per_job[job.is_complex] * (10 * job.num_res**2 + 3000 * job.num_res) for job in pending)
    free = shutil.disk_usage(self.out).free
    if free < needed:
      _log.warning('%s: about %.1f GiB will be written, %.1f GiB are free', self.out, needed / 2**30, free / 2**30)

  def _write_features(self, jobs: Sequence[Job]) -> None:
    """Writes the features of each protein, as `--msa-only` asks for, and predicts nothing."""
    self._write_config({})
    for index, job in enumerate(jobs, 1):
      try:
        loaded = work.load(job, self.templates, merging=self.options.merging(was_searched=job.hits is not None))
      except InputError as error:
        _log.error('%s: %s', job.name, error)
        self.ledger.fail(job, 'input', 'InputError', str(error))
        continue
      name = loaded.write_features(self.out)
      _log.info('[%d/%d] %s: %s', index, len(jobs), job.name, name)
      self.ledger.end(Outcome(job.name, DONE, (), [name]))

  def _close(self, complete: bool) -> None:
    """Writes failures and scores, and logs the closing table."""
    try:
      self.ledger.close(complete)
      if self.models is not None:
        files.settle_config(self.summary, self.options, self.models.facts())
    except AlphaFoldError as error:
      _log.error('%s', error)
    if complete:
      _log.info('\n%s', files.closing(self.summary, live=False), extra=LOG_ONLY)
