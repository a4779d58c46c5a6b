# SPDX-License-Identifier: Apache-2.0
"""Homologues and templates for the proteins that came as bare sequences, before anything is predicted.

What was found for a protein is kept with its results, so that it is there even if the cache of searches is emptied.
"""

import contextlib
import dataclasses
import gzip
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.runs.work.inputs import Job
from alphafold_jax.screen import LIVE, TOLD, Display, duration, number
from alphafold_jax.search.finding import Search, alignment_text
from alphafold_jax.search.found import Found
from alphafold_jax.search.options import SearchOptions

_log = logging.getLogger(__name__)
_TELL_EVERY = 30.0  # seconds between lines about a search where there is no live display


@dataclasses.dataclass(frozen=True)
class Kept:
  """Where what was found for a protein lies: files that are named by the search."""

  folder: Path
  key: str  # of the search

  @property
  def alignment(self) -> Path:
    return self.folder / f'{self.key[:16]}.a3m.gz'

  @property
  def hits(self) -> Path:
    return self.folder / f'{self.key[:16]}.hits.json'

  def write(self, job: Job, found: Found) -> None:
    """Keeps hits and alignment, and removes what other searches found."""
    atomic.make_folder(self.folder)
    for path in self.folder.iterdir():
      if not path.name.startswith(('.', self.key[:16])):  # another process may be keeping the same
        path.unlink(missing_ok=True)
    atomic.write_text(self.hits, json.dumps([hit.to_json() for hit in found.hits]) + '\n')
    with atomic.replacing(self.alignment) as file, gzip.open(file, 'wt', encoding='utf-8') as packed:
      packed.write(alignment_text(job.query.name, job.query.sequence, found))  # the last: all is there once this is

  def give(self, job: Job) -> Job:
    """The job with its alignment and hits."""
    return dataclasses.replace(job, query=dataclasses.replace(job.query, alignment=self.alignment), hits=self.hits)


def is_bare(job: Job) -> bool:
  """Whether a protein has neither alignment nor features."""
  return job.features is None and job.query.alignment is None


def found_before(job: Job, search: Search, folder: Path) -> Job | None:
  """A bare sequence with what an earlier search found for it and kept in a folder; None if there is nothing."""
  kept = Kept(folder, search.key(job.query.sequence))
  return kept.give(job) if kept.alignment.is_file() else None


def run(
  jobs: Sequence[Job],
  search: Search,
  options: SearchOptions,
  folder_of: Callable[[Job], Path],
  console: Any,
  fail: Callable[[Job, AlphaFoldError], None],
) -> list[Job]:
  """Searches for the bare sequences among the jobs.

  Args:
    jobs: all proteins.
    search: made from `options`.
    options: how to search.
    folder_of: where what is found for a protein is kept.
    console: of the live display, or None.
    fail: is told of a protein for which the search failed.

  Returns:
    the jobs that can go on, in order.
  """
  bare = [job for job in jobs if is_bare(job)]
  if not bare:
    return list(jobs)
  kept = {job.name: Kept(folder_of(job), search.key(job.query.sequence)) for job in bare}
  missing = [job for job in bare if not kept[job.name].alignment.is_file()]
  failed = set()
  if len(missing) < len(bare):
    _log.info('searched for before: %s', number(len(bare) - len(missing), 'protein'))
  for job, found in found_for(missing, search, options, console):
    try:
      if isinstance(found, AlphaFoldError):
        raise found
      kept[job.name].write(job, found)
    except AlphaFoldError as error:
      tell_failure(job, error)
      fail(job, error)
      failed.add(job.name)
  return [kept[job.name].give(job) if job.name in kept else job for job in jobs if job.name not in failed]


def tell_failure(job: Job, error: AlphaFoldError) -> None:
  """Says what went wrong with a protein, unless it was said for all."""
  _log.error('%s: %s', job.name, error, extra=TOLD if getattr(error, 'told', False) else None)


def found_for(
  jobs: Sequence[Job], search: Search, options: SearchOptions, console: Any
) -> Iterator[tuple[Job, Found | AlphaFoldError]]:
  """What is found for each protein, or why nothing is, as it comes; those of one sequence share a search.

  Args:
    jobs: proteins.
    search: made from `options`.
    options: how to search.
    console: of the live display, or None.
  """
  left: dict[str, list[Job]] = defaultdict(list)
  for job in jobs:
    left[job.query.sequence].append(job)
  sequences = list(left)
  if not sequences:
    return
  where = options.host_url if options.uses_server else ', '.join(str(one.path) for one in options.parsed)
  _log.info('searching for homologues of %s (%s): %s', number(len(sequences), 'sequence'), options.mode, where)
  told: set[str] = set()
  with _shown(console) as watch:
    try:
      for index, found in search.find(sequences, watch):
        for job in left.pop(sequences[index]):
          if isinstance(found, Found):
            _tell(job, found, told)
          yield job, found
    except AlphaFoldError as error:  # nothing more can be found; what was found is used
      _log.error('the search has ended: %s', error)
      error.told = True
      for job in (job for jobs in left.values() for job in jobs):
        yield job, error


def _tell(job: Job, found: Found, told: set[str]) -> None:
  """Says what was found; notes that concern all proteins, once."""
  parts = [f'{rows.num_found} in {rows.database}' for rows in found.rows]
  templates = f'; {number(len(found.hits), "template hit")}' if found.hits else ''
  _log.info('%s: rows found: %s%s', job.name, ', '.join(parts) or 'none', templates)
  for note in found.notes:
    if note not in told:
      _log.warning('%s: %s', job.name, note)
  told.update(found.notes)


@contextlib.contextmanager
def _shown(console: Any) -> Iterator[Callable[[float, str], None]]:
  """Where the engine tells how far it has come: the live display, or a line now and then."""
  started = told = time.monotonic()
  display = Display(console) if console is not None else None

  def watch(fraction: float, text: str) -> None:
    nonlocal told
    now = time.monotonic()
    left = (now - started) * (1 - fraction) / fraction if fraction > 0.01 else None
    if display is not None:
      display.update(fraction, left, text)
    if now - told >= _TELL_EVERY:
      told = now
      shown = '' if left is None else f', {duration(left)} left'
      _log.info('%s: %.0f%%%s', text, 100 * fraction, shown, extra=LIVE)

  with display.live if display is not None else contextlib.nullcontext():
    yield watch
