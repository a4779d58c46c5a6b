# SPDX-License-Identifier: Apache-2.0
"""From sequences to alignments and template hits: looked up, searched for what is missing, kept.

One search per sequence, however many proteins share it and however many processes run at once.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from alphafold_jax.errors import AlphaFoldError, SearchError
from alphafold_jax.search.cache import SearchCache, key_of
from alphafold_jax.search.engines import Engine, Watch
from alphafold_jax.search.found import Found

_log = logging.getLogger(__name__)
_ENGINE_SHARE = 0.8  # of the time, where templates are searched for as well
Result = tuple[int, Found | AlphaFoldError]


class TemplateEngine(Protocol):
  """Finds known structures by the alignment of a sequence."""

  name: str

  def identity(self) -> Mapping[str, Any]:
    """All that shapes what is found, as JSON."""

  def search(self, sequence: str, found: Found, watch: Watch) -> Found:
    """The hits for one sequence whose homologues were found."""


class Search:
  """One way to search, with the cache of what it found."""

  def __init__(self, engine: Engine, templates: TemplateEngine | None, cache: SearchCache):
    self._engine, self._templates, self._cache = engine, templates, cache
    self._shaped_by = dict(engine.identity())
    self._template_shaped_by = templates and {'engine': self._shaped_by, 'templates': dict(templates.identity())}

  def key(self, sequence: str) -> str:
    """What tells the result for a sequence from all others."""
    return key_of(sequence, self._template_shaped_by or self._shaped_by)

  def find(self, sequences: Sequence[str], watch: Watch) -> Iterator[Result]:
    """Finds homologues, and templates if wanted; each result as soon as it is there.

    Args:
      sequences: upper-case letters, each different from the others.
      watch: is told how far it has come, and with what.

    Yields:
      the index of a sequence, and what was found for it or why it cannot be searched for.

    Raises:
      SearchError, InputError, ResourceError: nothing more can be found; what was yielded stands and is kept.
    """
    alignments = _Stage(
      self._cache, self._engine.name, lambda sequence: key_of(sequence, self._shaped_by), self._engine.search
    )
    if self._templates is None:
      yield from alignments.run(sequences, watch)
      return
    num_done = 0
    for index, found in alignments.run(sequences, lambda fraction, text: watch(_ENGINE_SHARE * fraction, text)):
      if isinstance(found, Found):
        found = self._with_hits(sequences[index], found, watch, num_done / len(sequences))
      num_done += 1
      yield index, found

  def _with_hits(self, sequence: str, found: Found, watch: Watch, done: float) -> Found | AlphaFoldError:
    """What was found, and the templates for it."""

    def search(_, told):
      yield 0, self._templates.search(sequence, found, told)

    stage = _Stage(self._cache, self._templates.name, self.key, search)
    start = _ENGINE_SHARE + (1 - _ENGINE_SHARE) * done
    try:
      ((_, hits),) = stage.run([sequence], lambda fraction, text: watch(start, text))
    except AlphaFoldError as error:
      return error
    return hits if isinstance(hits, AlphaFoldError) else Found(found.rows, hits.hits, (*found.notes, *hits.notes))


class _Stage:
  """Looks results up in the cache and makes those that are not there."""

  def __init__(
    self,
    cache: SearchCache,
    name: str,
    key: Callable[[str], str],
    search: Callable[[Sequence[str], Watch], Iterator[Result]],
  ):
    self._cache, self._name, self._key, self._search = cache, name, key, search

  def run(self, sequences: Sequence[str], watch: Watch) -> Iterator[Result]:
    """What is in the cache first, then what this process searches for, then what others are searching for."""
    missing = []
    for index, sequence in enumerate(sequences):
      if (found := self._cache.get(self._key(sequence))) is not None:
        yield index, found
      else:
        missing.append(index)
    ours = [index for index in missing if self._cache.claim(self._key(sequences[index]))]
    yield from self._searched(sequences, ours, watch)
    for index in sorted(set(missing) - set(ours)):
      watch(1.0, 'waiting for another process that makes the same search')
      self._cache.claim(self._key(sequences[index]), wait=True)
      if (found := self._cache.get(self._key(sequences[index]))) is not None:
        self._cache.release(self._key(sequences[index]))
        yield index, found
      else:  # the other process failed
        yield from self._searched(sequences, [index], watch)

  def _searched(self, sequences: Sequence[str], claimed: Sequence[int], watch: Watch) -> Iterator[Result]:
    """Searches for the sequences that were claimed, and keeps what is found."""
    left = set(claimed)
    try:
      to_search = []
      for index in claimed:  # another process may have finished between the look and the claim
        if (found := self._cache.get(self._key(sequences[index]))) is None:
          to_search.append(index)
        else:
          yield index, found
      for place, found in self._search([sequences[i] for i in to_search], watch) if to_search else ():
        index, key = to_search[place], self._key(sequences[to_search[place]])
        if isinstance(found, Found):
          self._cache.put(key, sequences[index], self._name, found)
        self._cache.release(key)
        left.discard(index)
        yield index, found
      if forgotten := left.intersection(to_search):
        raise SearchError(
          f'{self._name}: no result for {len(forgotten)} of {len(to_search)} sequences; this is a fault of the engine'
        )
    finally:
      for index in left:
        self._cache.release(self._key(sequences[index]))


def alignment_text(name: str, sequence: str, found: Found) -> str:
  """The merged alignment as A3M: the query, then the rows of each database in turn.

  As in AlphaFold, rows are not compared across databases here: whoever reads the alignment drops the duplicates.
  """
  parts = [f'>{" ".join(name.split())}\n{sequence}\n']
  for rows in found.rows:
    second = rows.a3m.find('\n>')
    if second >= 0:
      parts.append(rows.a3m[second + 1 :].rstrip('\n') + '\n')
  return ''.join(parts)
