# SPDX-License-Identifier: Apache-2.0
"""From sequences to alignments and template hits: looked up, searched for what is missing, kept.

One search per sequence, however many proteins share it and however many processes run at once. So it is with what is to
be paired of the chains of complexes, where the engine can search for a chain alone.
"""

import dataclasses
import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from alphafold_jax.errors import AlphaFoldError, SearchError
from alphafold_jax.screen import number
from alphafold_jax.search.cache import SearchCache, key_of
from alphafold_jax.search.found import (
  Engine,
  Found,
  FoundPairs,
  NoPairs,
  PairEngine,
  PairResult,
  Result,
  TemplateEngine,
  Watch,
)

_ENGINE_SHARE = 0.8  # of the time, where templates are searched for as well
RECENT = 8  # results for chains that are kept in memory while complexes are put together


class Search:
  """One way to search, with the cache of what it found."""

  def __init__(
    self,
    engine: Engine,
    templates: TemplateEngine | None,
    cache: SearchCache,
    pairs: Callable[[], PairEngine] = NoPairs,
  ):
    """Searches for nothing yet.

    Args:
      engine: finds homologues.
      templates: finds templates by the alignment; None: none are wanted, or the engine finds them.
      cache: of what was found.
      pairs: makes the engine that finds pairs; called when the first complex needs it.
    """
    self._engine, self._templates, self._cache, self._make_pairs = engine, templates, cache, pairs
    self._shaped_by = dict(engine.identity())
    self._template_shaped_by = templates and {'engine': self._shaped_by, 'templates': dict(templates.identity())}

  def key(self, sequence: str) -> str:
    """Identifies the result for a sequence: a digest of all that shapes it."""
    return key_of(sequence, self._template_shaped_by or self._shaped_by)

  def find(self, sequences: Sequence[str], watch: Watch) -> Iterator[Result]:
    """Finds homologues, and templates if wanted; each result as soon as it is there.

    Args:
      sequences: upper-case letters, each different from the others.
      watch: called now and then with the progress.

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
        found = self._with_hits(self._templates, sequences[index], found, watch, num_done / len(sequences))
      num_done += 1
      yield index, found

  @functools.cached_property
  def _pairs(self) -> PairEngine:
    return self._make_pairs()

  @functools.cached_property
  def _pairs_shaped_by(self) -> dict[str, Any]:
    return dict(self._pairs.identity())

  def pair_key(self, chains: Sequence[str]) -> str:
    """Identifies the pairs of a complex of these distinct sequences: a digest of all that shapes them.

    Raises:
      SearchError, InputError: the engine cannot be used.
    """
    shaped_by = {'pairs': self._pairs_shaped_by, 'engine': self._pairs.name, 'strategy': self._pairs.strategy}
    return key_of(':'.join(chains), shaped_by)

  def find_pairs(self, complexes: Sequence[Sequence[str]], watch: Watch) -> Iterator[PairResult]:
    """Finds rows to be paired, for complexes; each result as soon as it is there.

    Of a complex of one distinct chain nothing is searched for: its copies stand beside one another as they are.

    Args:
      complexes: the distinct sequences of each, upper-case letters.
      watch: called now and then with the progress.

    Raises:
      SearchError, InputError, ResourceError: nothing more can be found; what was yielded stands and is kept.
    """
    yield from _PairSearch(self._pairs, self._pairs_shaped_by, self._cache).run(complexes, watch)

  def _with_hits(
    self, engine: TemplateEngine, sequence: str, found: Found, watch: Watch, done: float
  ) -> Found | AlphaFoldError:
    """What was found, and the templates for it; `done` is the share of the sequences before this one."""

    def search(_: Sequence[str], watch_hits: Watch) -> Iterator[Result]:
      yield 0, engine.search(sequence, found, watch_hits)

    stage = _Stage(self._cache, engine.name, self.key, search)
    start = _ENGINE_SHARE + (1 - _ENGINE_SHARE) * done
    try:
      ((_, hits),) = stage.run([sequence], lambda fraction, text: watch(start, text))
    except AlphaFoldError as error:
      return error
    return hits if isinstance(hits, AlphaFoldError) else Found(found.rows, hits.hits, (*found.notes, *hits.notes))


@dataclasses.dataclass(frozen=True)
class _Stage:
  """Looks results up in the cache and makes those that are not there."""

  _cache: SearchCache
  _name: str  # of the engine
  _key: Callable[[str], str]  # name of the search for a sequence
  _search: Callable[[Sequence[str], Watch], Iterator[Result]]

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
      yield from self._searched(sequences, [index], watch)

  def _searched(self, sequences: Sequence[str], claimed: Sequence[int], watch: Watch) -> Iterator[Result]:
    """Results for the sequences that were claimed: kept by another process meanwhile, or searched for and kept now."""
    left = set(claimed)
    try:
      to_search = []
      for index in claimed:
        if (kept := self._cache.get(self._key(sequences[index]))) is None:
          to_search.append(index)
        else:
          self._release(sequences[index], index, left)
          yield index, kept
      for place, found in self._search([sequences[i] for i in to_search], watch) if to_search else ():
        index = to_search[place]
        if isinstance(found, Found):
          self._cache.put(self._key(sequences[index]), sequences[index], self._name, found)
        self._release(sequences[index], index, left)
        yield index, found
      if left:
        raise SearchError(
          f'{self._name}: no result for {len(left)} of {number(len(to_search), "sequence")}; this is a fault of the '
          'engine'
        )
    finally:
      for index in left:
        self._cache.release(self._key(sequences[index]))

  def _release(self, sequence: str, index: int, left: set[int]) -> None:
    self._cache.release(self._key(sequence))
    left.discard(index)


class _PairSearch:
  """Searches for the parts of complexes, and puts the complexes together."""

  def __init__(self, engine: PairEngine, shaped_by: Mapping[str, Any], cache: SearchCache):
    self._engine, self._shaped_by, self._cache = engine, {'pairs': dict(shaped_by)}, cache
    self._stage = _Stage(cache, engine.name, self._key, engine.search)
    self._recent: OrderedDict[str, Found] = OrderedDict()
    self._failed: dict[str, AlphaFoldError] = {}

  def run(self, complexes: Sequence[Sequence[str]], watch: Watch) -> Iterator[PairResult]:
    """See `Search.find_pairs`."""
    parts = [self._engine.parts(chains) if len(chains) > 1 else () for chains in complexes]
    left = [set(names) for names in parts]
    users: dict[str, list[int]] = defaultdict(list)
    for index, names in enumerate(parts):
      for name in dict.fromkeys(names):
        users[name].append(index)
      if not names:
        chains = complexes[index]
        yield index, self._engine.pairs(chains, ()) if len(chains) > 1 else FoundPairs.none(chains)
    wanted = list(users)
    for place, found in self._stage.run(wanted, watch) if wanted else ():
      name = wanted[place]
      self._take(name, found)
      for index in users[name]:
        left[index].discard(name)
        if not left[index]:
          yield index, self._put_together(complexes[index], parts[index])

  def _key(self, part: str) -> str:
    return key_of(part, self._shaped_by)

  def _put_together(self, chains: Sequence[str], parts: Sequence[str]) -> FoundPairs | AlphaFoldError:
    found: list[Found] = []
    for name in parts:
      one = self._found(name)
      if not isinstance(one, Found):
        return one
      found.append(one)
    return self._engine.pairs(chains, found)

  def _found(self, name: str) -> Found | AlphaFoldError:
    """What was found for a part: at hand, or read again."""
    if (error := self._failed.get(name)) is not None:
      return error
    if (found := self._recent.get(name) or self._cache.get(self._key(name))) is None:
      where = self._cache.folder
      return SearchError(f'{where}: what was found has gone from there meanwhile; run the same command again')
    self._take(name, found)
    return found

  def _take(self, name: str, found: Found | AlphaFoldError) -> None:
    if not isinstance(found, Found):
      self._failed[name] = found
      return
    self._recent[name] = found
    self._recent.move_to_end(name)
    while len(self._recent) > RECENT:
      self._recent.popitem(last=False)


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
