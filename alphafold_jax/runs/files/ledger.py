# SPDX-License-Identifier: Apache-2.0
"""What is known of each protein of a run: its input, its key, whether it is done before, and how it ended."""

import dataclasses
import logging
import os
from collections.abc import Collection, Sequence
from typing import Any

from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.runs.files import pages, records, relaxed, report
from alphafold_jax.runs.files.changes import lasting, tidied_names, why
from alphafold_jax.runs.files.job_files import JobFiles
from alphafold_jax.runs.files.report import EARLIER, ELSEWHERE, FAILED, KEPT, NOT_RUN, Failure, Outcome, Summary
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Inputs, Job, Keys, Searches, TemplateSource, depth, of_input
from alphafold_jax.screen import number
from alphafold_jax.sharing import HIDDEN

_log = logging.getLogger(__name__)


class Ledger:
  """Keeps what is known; failures are entered into the run's summary as they come."""

  def __init__(
    self, options: Options, found: Inputs, templates: TemplateSource | None, keys: Keys | None, summary: Summary
  ):
    """Opens a ledger in which nothing but the proteins is known; `keys` is None if the run predicts nothing."""
    self._out, self._options, self._templates, self._keys = summary.out, options, templates, keys
    self._found, self._summary = found, summary
    self._searches = Searches(options.search, summary.out / HIDDEN)
    self._jobs = {job.name: job for job in found.jobs}
    self.digests: dict[str, str] = {}  # of input, by job
    self.depths: dict[str, int] = {}  # of alignments
    self.outcomes: dict[str, Outcome] = {}
    self.ours: set[str] = set()  # jobs that this process answers for

  # ---------------------------------------------------------------------------------------- before it runs

  def with_alignments(self, jobs: Sequence[Job], console: Any) -> list[Job]:
    """The jobs, bare sequences with what a search finds for them; those that cannot be searched for have failed."""
    return self._searches.with_alignments(
      jobs, console, lambda job, error: self.fail(job, 'search', type(error).__name__, str(error))
    )

  def readable(self, jobs: Sequence[Job]) -> list[Job]:
    """The jobs whose input can be read, with their digests and depths noted; the others have failed."""
    good = []
    for job in jobs:
      try:
        self._read(job)
        good.append(job)
      except InputError as error:
        _log.error('%s', error)
        self.fail(job, 'input', 'InputError', str(error))
    return good

  def _read(self, job: Job) -> None:
    """Notes digest and depth of a job's input, unless they are known; InputError if it cannot be read."""
    if job.name not in self.digests:
      digest = of_input(job, self._templates.identity_for(job) if self._templates else None)
      self.depths[job.name] = depth(job)
      self._jobs[job.name] = job
      self.digests[job.name] = digest

  def read_jobs(self) -> list[tuple[Job, str]]:
    """The jobs that were looked at, with the digests of their input."""
    return [(job, self.digests[name]) for name, job in self._jobs.items() if name in self.digests]

  def key(self, job: Job) -> str | None:
    """The key of all that makes the job's files; None while its input is not at hand."""
    try:
      if job.name not in self.digests and (here := self._searches.at_hand(job)) is not None:
        self._read(here)
    except InputError:
      return None
    return self.key_of(job.name)

  def key_of(self, name: str) -> str | None:
    """The same by the name of a job; None unless its input was read."""
    if self._keys is None or name not in self.digests:
      return None
    return self._keys.of(self._jobs[name].is_complex).job(self.digests[name])

  def record(self, job: Job, there: Collection[str] | None = None) -> dict[str, Any] | None:
    """The record of a job that is finished with this very content, settings and files.

    Args:
      job: the protein.
      there: names of the files in the output folder, if they are known.
    """
    if self._options.overwrite_existing_results:
      return None
    files = JobFiles(self._out, job, self._options.of(job.is_complex))
    if not (files.done_path.exists() if there is None else files.done_path.name in there):
      return None  # without reading its input
    if self.key(job) is None or self._keys is None:
      return None
    return files.done(self.digests[job.name], self._keys.of(job.is_complex), there)

  def without_done(self, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that are not finished with this very content, settings and files; the others are put on record."""
    there = tidied_names(self._out)
    if self._options.overwrite_existing_results:
      before = [job for job in jobs if records.path(self._out, job.name).name in there]
      if before:
        said = '%s: computed again and replaced, as --overwrite-existing-results says'
        _log.warning(said, number(len(before), 'finished protein'))
    pending = []
    for job in jobs:
      if (record := self.record(job, there)) is None:
        pending.append(job)
      else:
        self.end_as_kept(job, record)
    if kept := len(jobs) - len(pending):
      nothing = not pending and self._options.shard is None
      _log.info('done already: %s%s', number(kept, 'protein'), '; nothing to compute' if nothing else '')
    return pending

  # ---------------------------------------------------------------------------------------- how it ended

  def fail(self, job: Job, stage: str, error: str, message: str) -> None:
    """Puts a protein on record as failed."""
    self.end(Outcome(job.name, FAILED), [Failure(job.name, job.query.name, job.query.source, stage, error, message)])

  def not_relaxed(self, name: str, model: str, seed: int, error: AlphaFoldError) -> None:
    """Puts on record that a prediction of a protein could not be relaxed; the protein is done all the same."""
    query, kind = self._jobs[name].query, type(error).__name__
    self._summary.failures.append(Failure(name, query.name, query.source, 'relax', kind, str(error), model, seed))

  def failures_of(self, name: str) -> list[Failure]:
    """The failures of one protein."""
    return [failure for failure in self._summary.failures if failure.job == name]

  def end_as_kept(self, job: Job, record: dict[str, Any]) -> None:
    """Puts a protein on record as done before."""
    self.end(Outcome(job.name, KEPT, record['predictions'], record['files']))

  def end(self, outcome: Outcome, failures: Sequence[Failure] = ()) -> None:
    """Puts on record how a protein ended."""
    self.outcomes[outcome.job] = dataclasses.replace(outcome, ours=outcome.job in self.ours)
    self._summary.failures += failures

  def close(self, complete: bool) -> None:
    """Enters all outcomes into the summary, and writes failures.json and, of predictions, summary.csv.

    Args:
      complete: whether everything was looked at; otherwise failures of an earlier run stay on record.
    """
    self._enter_outcomes()
    self._summary.others = self._others()
    if complete or self._summary.failures:
      report.write_failures(self._summary)
    if not self._options.msa_only:
      self._write_summary()

  def _enter_outcomes(self) -> None:
    """Enters how each protein ended into the summary, in the order of the input, relaxed files with the others."""
    names = [*(job.name for job in self._found.jobs), *(failure.job for failure in self._found.failures)]
    known = [self.outcomes.get(name) or Outcome(name, NOT_RUN, ours=name in self.ours) for name in names]
    more = relaxed.by_protein(os.listdir(self._out))
    known = [dataclasses.replace(one, files=[*one.files, *more[one.job]]) if one.predictions else one for one in known]
    self._summary.outcomes = [self._with_earlier(one) for one in known]

  def _with_earlier(self, outcome: Outcome) -> Outcome:
    """How a protein ended; if it has no files of this run, with the record of those that an earlier one left."""
    if outcome.predictions or outcome.status not in (NOT_RUN, FAILED) or self._keys is None:
      return outcome
    record = records.read(records.path(self._out, outcome.job))
    if record is None:
      return outcome
    digest = self.digests.get(outcome.job)
    if digest is not None and self._holds(outcome.job, record, digest):  # another process did it
      status = KEPT
    else:
      names = self._jobs[outcome.job].chain_names if digest is not None else None
      status = f'{EARLIER} {why(record, digest or record.get("input"), self._flags(record), names)}'
    earlier = Outcome(outcome.job, status, record['predictions'], notes=record.get('notes', ()))
    return dataclasses.replace(outcome, earlier=earlier)

  def _holds(self, name: str, record: dict[str, Any], digest: str) -> bool:
    """Whether a record is of all that this run would make of a job whose input has this digest."""
    is_complex = self._jobs[name].is_complex
    assert self._keys is not None
    if not records.is_of_chains(record, self._jobs[name].chain_names):
      return False
    return records.holds(record, self._options.of(is_complex), digest, self._keys.of(is_complex))

  def _flags(self, record: dict[str, Any]) -> dict[str, str]:
    """The flags of this run as they are on record for such a protein."""
    return self._options.of('chains' in record).flags()

  def _others(self) -> list[Outcome]:
    """The proteins that are none of this run's inputs, and whose files are in the folder."""
    known = {outcome.job for outcome in self._summary.outcomes}
    found = []
    for name in records.jobs(self._out):
      if name not in known and (record := records.read(records.path(self._out, name))) is not None:
        theirs, flags = record.get('flags'), self._flags(record)
        is_same = theirs is None or lasting(theirs) == lasting(flags)
        status = EARLIER if is_same else f'{EARLIER} {why(record, record.get("input"), flags)}'
        found.append(Outcome(name, status, record['predictions'], notes=record.get('notes', ())))
    return found

  def _write_summary(self) -> None:
    """Writes summary.csv; of several shards the last to end has it whole, since each looks again after writing."""
    outcomes = self._summary.outcomes
    if self._options.shard and any(one.status == NOT_RUN and not one.ours for one in outcomes):
      return  # stopped before it had looked at the others' proteins: another shard will write it
    report.write_summary(self._summary)
    pages.write_index(self._summary, self._options, self._found.jobs)
    elsewhere = {outcome.job for outcome in outcomes if outcome.status == ELSEWHERE}
    jobs = [job for job in self._found.jobs if job.name in elsewhere] if self._options.shard else []
    finished = [(job, record) for job in jobs if (record := self.record(job)) is not None]
    for job, record in finished:
      self.end_as_kept(job, record)
    if finished:
      self._enter_outcomes()
      self._write_summary()
