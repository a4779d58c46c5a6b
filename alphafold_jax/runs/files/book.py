# SPDX-License-Identifier: Apache-2.0
"""What is known of each protein of a run: its alignment, its key, whether it is done before, and how it ended."""

import dataclasses
import functools
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax.errors import InputError
from alphafold_jax.runs.files.outputs import HIDDEN, JobFiles
from alphafold_jax.runs.files.report import FAILED, KEPT, Failure, Outcome, Summary
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import inputs, keys, searching
from alphafold_jax.runs.work.inputs import Job
from alphafold_jax.runs.work.keys import Keys
from alphafold_jax.runs.work.templates import TemplateSource
from alphafold_jax.search.finding import Search
from alphafold_jax.search.options import SINGLE

_log = logging.getLogger(__name__)


class Book:
  """Keeps what is known; failures are entered into the run's summary as they come."""

  def __init__(
    self,
    out: Path,
    options: Options,
    found: Sequence[Job],
    templates: TemplateSource | None,
    made_by: Keys | None,
    summary: Summary,
  ):
    """Takes the proteins of the run, and the keys of its predictions unless it makes none."""
    self._out, self._options, self._templates, self._keys = out, options, templates, made_by
    self._summary = summary
    self._jobs = {job.name: job for job in found}
    self.digests: dict[str, str] = {}  # of input, by job
    self.depths: dict[str, int] = {}  # of alignments
    self.outcomes: dict[str, Outcome] = {}
    self.ours: set[str] = set()  # jobs that this process answers for

  def __getstate__(self) -> dict[str, Any]:
    """Leaves out the search, which another process makes anew."""
    return {name: value for name, value in self.__dict__.items() if name != '_search'}

  # ---------------------------------------------------------------------------------------- before it runs

  @functools.cached_property
  def _search(self) -> Search:
    return self._options.search.make()

  def _needs_search(self, job: Job) -> bool:
    search = self._options.search
    return search is not None and search.mode != SINGLE and searching.is_bare(job)

  def _folder(self, job: Job) -> Path:
    return self._out / HIDDEN / job.name / 'search'

  def with_alignments(self, jobs: Sequence[Job], console: Any) -> list[Job]:
    """The jobs, bare sequences with what a search finds for them; those that cannot be searched for have failed."""
    if not any(map(self._needs_search, jobs)):
      return list(jobs)
    return searching.run(
      jobs,
      self._search,
      self._options.search,
      self._folder,
      console,
      lambda job, error: self.fail(job, 'search', type(error).__name__, str(error)),
    )

  def at_hand(self, job: Job) -> Job | None:
    """The job with its alignment; None as long as that has yet to be searched for."""
    return searching.found_before(job, self._search, self._folder(job)) if self._needs_search(job) else job

  def readable(self, jobs: Sequence[Job]) -> list[Job]:
    """The jobs whose input can be read, with digest and depth taken; the others have failed."""
    good = []
    for job in jobs:
      try:
        self._read(job)
        good.append(job)
      except InputError as error:
        _log.error('%s', error)
        self.fail(job, 'input', 'InputError', str(error))
    return good

  def _read(self, job: Job) -> str:
    """The digest of a job's input.

    Raises:
      InputError: it cannot be read.
    """
    if job.name not in self.digests:
      content = inputs.read_content(job)
      digest = keys.of_input(job, self._templates and self._templates.identity_for(job), content)
      self.depths[job.name] = inputs.depth(job, content)
      self._jobs[job.name] = job
      self.digests[job.name] = digest
    return self.digests[job.name]

  def read_jobs(self) -> list[tuple[Job, str]]:
    """The jobs that were looked at, with the digests of their input."""
    return [(job, self.digests[name]) for name, job in self._jobs.items() if name in self.digests]

  def key(self, job: Job) -> str | None:
    """What makes the job's files; None while its input is not at hand."""
    try:
      if job.name not in self.digests and (here := self.at_hand(job)) is not None:
        self._read(here)
    except InputError:
      return None
    return self.key_of(job.name)

  def key_of(self, name: str) -> str | None:
    """The same of a job that was looked at before."""
    return self._keys.job(self.digests[name]) if name in self.digests else None

  def record(self, job: Job, there: Collection[str] | None = None) -> dict[str, Any] | None:
    """The record of a job that is finished with this very content, settings and files.

    Args:
      job: the protein.
      there: names of the files in the output folder, if they are known.
    """
    if self._options.overwrite_existing_results:
      return None
    files = JobFiles(self._out, job, self._options)
    is_there = files.done_path.exists() if there is None else files.done_path.name in there
    if not is_there:
      return None  # without reading its input
    key = self.key(job)
    return None if key is None else files.done(key, there)

  # ---------------------------------------------------------------------------------------- how it ended

  def fail(self, job: Job, stage: str, error: str, message: str) -> None:
    """Puts a protein on record as failed."""
    self.end(Outcome(job.name, FAILED), [Failure(job.name, job.query.name, job.query.source, stage, error, message)])

  def failures_of(self, name: str) -> list[Failure]:
    return [failure for failure in self._summary.failures if failure.job == name]

  def kept(self, job: Job, record: dict[str, Any]) -> None:
    """Puts a protein on record as done before."""
    self.end(Outcome(job.name, KEPT, record['predictions'], record['files']))

  def end(self, outcome: Outcome, failures: Sequence[Failure] = ()) -> None:
    """Puts on record how a protein ended."""
    self.outcomes[outcome.job] = dataclasses.replace(outcome, ours=outcome.job in self.ours)
    self._summary.failures += failures
