# SPDX-License-Identifier: Apache-2.0
"""Homologues and templates for the proteins that came as bare sequences, before anything is predicted.

What was found for a protein is kept with its results, so that it is there even if the cache of searches is emptied.
"""

import contextlib
import dataclasses
import functools
import gzip
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic
from alphafold_jax.data.complexes import as_text
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.runs.work.inputs import Job
from alphafold_jax.screen import LIVE, LOG_ONLY, Display, duration, number
from alphafold_jax.search import complexes
from alphafold_jax.search.cache import key_of
from alphafold_jax.search.finding import Search, alignment_text
from alphafold_jax.search.found import FoundComplex
from alphafold_jax.search.options import SINGLE, SearchOptions

_log = logging.getLogger(__name__)
_ALIGNMENT, _HITS = '.a3m.gz', '.hits.json'
_LOG_EVERY = 30.0  # seconds between lines about a search where there is no live display


def is_bare(job: Job) -> bool:
  """Whether a protein has neither alignment nor features."""
  return job.features is None and job.query.alignment is None


class Searches:
  """The searches for a run's bare sequences."""

  def __init__(self, options: SearchOptions | None, folder: Path):
    """Starts no search, and without options never will; `folder` gets a folder per job, where what is found is kept."""
    self._options, self._folder = options, folder

  def __reduce__(self) -> tuple[Any, ...]:
    return Searches, (self._options, self._folder)  # another process makes the search anew

  @functools.cached_property
  def _search(self) -> Search:
    assert self._options is not None
    return self._options.make()

  def _concerns(self, job: Job) -> bool:
    return self._options is not None and self._options.mode != SINGLE and is_bare(job)

  def _file(self, job: Job, suffix: str) -> Path:
    """A file that keeps what was found for a protein; its name says by which search."""
    return self._folder / job.name / 'search' / f'{self._key(job)[:16]}{suffix}'

  def _key(self, job: Job) -> str:
    """Identifies what is kept for a protein: what is found, and of a complex how it is put together."""
    chains, options = job.query.chains, self._options
    assert options is not None
    key = complexes.key(self._search, chains.distinct)
    return key_of(key, {'copies': list(chains.copies), 'mode': options.pair_mode}) if job.is_complex else key

  def at_hand(self, job: Job) -> Job | None:
    """The job with its alignment and hits; None as long as these have yet to be searched for."""
    if not self._concerns(job):
      return job
    if not (alignment := self._file(job, _ALIGNMENT)).is_file():
      return None
    query = dataclasses.replace(job.query, alignment=alignment)
    return dataclasses.replace(job, query=query, hits=self._file(job, _HITS))

  def _keep(self, job: Job, found: FoundComplex) -> None:
    """Keeps what was found for a protein, and removes what other searches found."""
    assert self._options is not None
    hits, alignment, text = self._file(job, _HITS), self._file(job, _ALIGNMENT), found_text(job, found, self._options)
    for path in atomic.make_folder(alignment.parent).iterdir():
      if not path.name.startswith(('.', alignment.name.removesuffix(_ALIGNMENT))):  # another process may be keeping it
        path.unlink(missing_ok=True)
        _log.info('%s: removed %s, which another search had found', job.name, path.name)
    of_chains = [[hit.to_json() for hit in one.hits] for one in found.chains]
    atomic.write_text(hits, json.dumps(of_chains if job.is_complex else of_chains[0]) + '\n')
    with atomic.replacing(alignment) as file, gzip.open(file, 'wt', **atomic.TEXT) as packed:
      packed.write(text)  # the last: all is there once this is

  def with_alignments(
    self, jobs: Sequence[Job], console: Any, fail: Callable[[Job, AlphaFoldError], None]
  ) -> list[Job]:
    """Searches for what is not at hand.

    Args:
      console: rich's, of the live display, or None.
      fail: called with a protein whose search failed, and why.

    Returns:
      the jobs that can go on, in order.
    """
    missing = [job for job in jobs if self.at_hand(job) is None]
    if num_kept := sum(map(self._concerns, jobs)) - len(missing):
      _log.info('searched for before: %s', number(num_kept, 'protein'))
    failed = set()
    if missing:
      assert self._options is not None
      for job, error in search_for(missing, self._search, self._options, console, self._keep):
        if error is not None:
          fail(job, error)
          failed.add(job.name)
    return [here for job in jobs if job.name not in failed and (here := self.at_hand(job)) is not None]


def search_for(
  jobs: Sequence[Job], search: Search, options: SearchOptions, console: Any, keep: Callable[[Job, FoundComplex], None]
) -> Iterator[tuple[Job, AlphaFoldError | None]]:
  """Searches for homologues of proteins; those of one sequence share a search, and so do chains of complexes.

  Args:
    search: made from `options`.
    options: how to search.
    console: rich's, of the live display, or None.
    keep: called with a protein and what was found for it.

  Yields:
    each protein once its search has ended, and why it failed, which is logged; None if it did not.
  """
  left: dict[tuple[str, ...], list[Job]] = defaultdict(list)
  for job in jobs:
    left[job.query.chains.distinct].append(job)
  assemblies, noted = list(left), set[str]()
  if not assemblies:
    return
  sequences = {chain for chains in assemblies for chain in chains}
  paths = [str(one.path) for one in options.parsed if not one.settings.pairs]
  where = options.host_url if options.uses_server else ', '.join(paths)
  _log.info('searching for homologues of %s (%s): %s', number(len(sequences), 'sequence'), options.mode, where)
  if options.left_out:
    names = ', '.join(f'{one.path} ({one.role})' for one in options.left_out)
    _log.info('databases in these folders that are not searched unless named by --database: %s', names)
  with _shown(console) as watch:
    try:
      for index, found in complexes.find(search, assemblies, watch):
        for job in left.pop(assemblies[index]):
          if isinstance(found, FoundComplex):
            _log_found(job, found, noted)
          yield job, try_to_keep(keep, job, found)
    except AlphaFoldError as error:  # nothing more can be found; what was found is used
      _log.error('the search has ended: %s', error)
      for job in (job for jobs in left.values() for job in jobs):
        _log.error('%s: %s', job.name, error, extra=LOG_ONLY)
        yield job, error


def found_text(job: Job, found: FoundComplex, options: SearchOptions) -> str:
  """What was found for a protein as A3M; of a complex, as ColabFold writes it.

  Raises:
    InputError: what was found does not fit together.
  """
  query = job.query
  if not job.is_complex:
    return alignment_text(query.name, query.sequence, found.chains[0])
  alignment = complexes.alignment_of(query.chains, found, options.pair_mode, options.pair_strategy)
  for note in alignment.notes:
    _log.warning('%s: %s', job.name, note)
  as_deepmind = options.mode == 'hmmer'  # else its rows would come back where the file is given as INPUT
  return as_text(dataclasses.replace(alignment, drop_repeats=as_deepmind), query.chains)


def try_to_keep(
  keep: Callable[[Job, FoundComplex], None], job: Job, found: FoundComplex | AlphaFoldError
) -> AlphaFoldError | None:
  """Keeps what was found for a protein; returns why there is nothing or it cannot be kept, which is logged."""
  try:
    if isinstance(found, AlphaFoldError):
      raise found
    keep(job, found)
  except AlphaFoldError as error:
    _log.error('%s: %s', job.name, error)
    return error
  return None


def _log_found(job: Job, found: FoundComplex, noted: set[str]) -> None:
  """Logs what was found; notes that concern all proteins, once."""
  for place, one in enumerate(found.chains, 1):
    of_chain = f', distinct chain {place}' if len(found.chains) > 1 else ''
    parts = [f'{rows.num_found} in {rows.database}' for rows in one.rows]
    templates = f'; {number(len(one.hits), "template hit")}' if one.hits else ''
    _log.info('%s%s: rows found: %s%s', job.name, of_chain, ', '.join(parts) or 'none', templates)
  if len(found.chains) > 1:
    what = 'rows to be paired by species' if found.pairs.by_species else 'paired rows'
    _log.info('%s: %s: %s', job.name, what, ', '.join(str(count - 1) for count in found.pairs.num_rows))
  for note in dict.fromkeys([*(note for one in found.chains for note in one.notes), *found.pairs.notes]):
    if note not in noted:
      _log.warning('%s: %s', job.name, note)
    noted.add(note)


@contextlib.contextmanager
def _shown(console: Any) -> Iterator[Callable[[float, str], None]]:
  """Yields what the engine calls with how far it has come; shows it live, or logs it now and then."""
  started = last = time.monotonic()
  display = Display(console) if console is not None else None

  def watch(fraction: float, text: str) -> None:
    nonlocal last
    now = time.monotonic()
    left = (now - started) * (1 - fraction) / fraction if fraction > 0.01 else None
    if display is not None:
      display.update(fraction, left, text)
    if now - last >= _LOG_EVERY:
      last = now
      shown = '' if left is None else f', {duration(left)} left'
      _log.info('%s: %.0f%%%s', text, 100 * fraction, shown, extra=LIVE)

  with display.live if display is not None else contextlib.nullcontext():
    yield watch
