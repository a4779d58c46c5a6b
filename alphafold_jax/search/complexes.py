# SPDX-License-Identifier: Apache-2.0
"""From complexes to what their alignments are made of: the rows of each distinct chain, and pairs of these.

Single chains are complexes of one: a run asks for all its proteins at once, and each distinct chain is searched for
once, whichever of them it is in.
"""

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence

from alphafold_jax.choices import PAIRED
from alphafold_jax.data import complexes
from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.complexes import ComplexAlignment
from alphafold_jax.search import pairing
from alphafold_jax.search.cache import key_of
from alphafold_jax.search.finding import RECENT, Search, alignment_text
from alphafold_jax.search.found import ComplexResult, Found, FoundComplex, FoundPairs, Watch

_CHAINS_SHARE = 0.5  # of the time, where there are pairs to be found as well


def key(search: Search, chains: Sequence[str]) -> str:
  """Identifies the result for a complex of these distinct sequences: a digest of all that shapes it.

  Of a single sequence it is `Search.key`.

  Raises:
    SearchError, InputError: the engine of pairs cannot be used.
  """
  if len(chains) == 1:
    return search.key(chains[0])
  return key_of(':'.join(chains), {'chains': [*map(search.key, chains)], 'pairs': search.pair_key(chains)})


def find(search: Search, complexes: Sequence[Sequence[str]], watch: Watch) -> Iterator[ComplexResult]:
  """Finds homologues, templates if wanted, and pairs; each result as soon as it is there.

  Args:
    search: how.
    complexes: the distinct sequences of each, upper-case letters; one for a single chain and for copies of it.
    watch: called now and then with the progress.

  Raises:
    SearchError, InputError, ResourceError: nothing more can be found; what was yielded stands and is kept.
  """
  users: dict[str, list[int]] = defaultdict(list)
  for index, chains in enumerate(complexes):
    for chain in chains:
      users[chain].append(index)
  distinct, left = list(users), set(range(len(complexes)))
  share = _CHAINS_SHARE if any(len(chains) > 1 for chains in complexes) else 1.0
  for place, found in search.find(distinct, lambda done, text: watch(share * done, text)) if distinct else ():
    for index in sorted(left.intersection(users[distinct[place]])):
      if not isinstance(found, Found):
        left.discard(index)
        yield index, found
      elif len(complexes[index]) == 1:
        left.discard(index)
        yield index, FoundComplex((found,), FoundPairs.none(complexes[index]))
  if left:
    yield from _paired(search, complexes, sorted(left), lambda done, text: watch(share + (1 - share) * done, text))


def _paired(
  search: Search, complexes: Sequence[Sequence[str]], indices: Sequence[int], watch: Watch
) -> Iterator[ComplexResult]:
  """The results for some of the complexes, whose chains were searched for."""

  @functools.lru_cache(RECENT)
  def again(chain: str) -> Found:
    ((_, found),) = search.find([chain], lambda done, text: None)  # kept a moment ago
    if not isinstance(found, Found):
      raise found
    return found

  for place, pairs in search.find_pairs([complexes[index] for index in indices], watch):
    index = indices[place]
    if isinstance(pairs, FoundPairs):
      yield index, FoundComplex(tuple(map(again, complexes[index])), pairs)
    else:
      yield index, pairs


def alignment_of(chains: Chains, found: FoundComplex, pair_mode: str, strategy: str) -> ComplexAlignment:
  """The alignments of a complex, from what was found for its distinct chains.

  Args:
    chains: the complex.
    found: for its distinct chains, in their order.
    pair_mode: a value of choices.PAIR_MODES; of `paired` the chains stand alone beside their pairs.
    strategy: a value of choices.PAIR_STRATEGIES, for rows that are paired here.

  Raises:
    InputError: what was found does not fit together.
  """
  texts = (alignment_text('query', chain, one) for chain, one in zip(chains.distinct, found.chains, strict=True))
  unpaired = [parse_a3m(text, 'the alignment that was found') for text in texts]
  if pair_mode == PAIRED and len(unpaired) > 1:
    unpaired = list(complexes.bare(chains.distinct).unpaired)
  pairs = pairing.alignments(found.pairs)
  if found.pairs.by_species:
    return complexes.paired_by_species(unpaired, pairs, chains.copies, strategy)
  return ComplexAlignment(tuple(unpaired), pairs)
