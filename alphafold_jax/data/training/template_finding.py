# SPDX-License-Identifier: Apache-2.0
"""Finds by sequence which training chains could be templates of the chains of a cache (Suppl. 1.2.3).

In place of a search program with profiles: of each chain the training chains with which it shares most words of three
letters are aligned to it, and what chance would hardly score is kept. In sets of up to 4,000 training chains all pairs
are aligned; in larger ones the work grows with the number of chains and not with its square.
"""

import bisect
from collections.abc import Callable, Sequence

import numpy as np

from alphafold_jax import spreading
from alphafold_jax.constants import residues
from alphafold_jax.data import alignment
from alphafold_jax.data.training import template_hits
from alphafold_jax.data.training.cache import TrainingCache
from alphafold_jax.data.training.template_hits import ChainHit, TemplateHits
from alphafold_jax.errors import InputError

_MOST_ALIGNED = 4000  # training chains to each chain; the nearest 1,000 of 3,229 hold two thirds of the remote hits
_MAX_EVALUE = 30.0  # chance alignments of that score that are expected; beyond, few hits are of a like fold
_LAMBDA, _K = 0.267, 0.041  # of BLOSUM62 with gaps of 11 and 1, as BLAST has them
_MIN_COVERAGE = 0.1  # as AlphaFold's program filters its hits
_BANDS = (0.4, 0.95, 1.0)  # identities up to which a band reaches: hiding near relatives leaves the far ones
_KEPT = 20  # hits in each band; Suppl. 1.2.3 looks at 20
_NUM_WORDS = residues.UNKNOWN**3


def find_templates(
  cache: TrainingCache, *, processes: int | None = None, progress: Callable[[int, int], None] | None = None
) -> TemplateHits:
  """Looks for templates of every chain among those of the split `train`, and writes them into the cache's folder.

  The chain itself, chains that hold its sequence and chains that are part of it are none: they would be the answer.

  Args:
    cache: from `open_cache`.
    processes: by default one per CPU.
    progress: called with (chains done, chains in all).

  Raises:
    InputError: no chain is of the split `train`, or a record cannot be read.
    ResourceError: the disk is full, or a process died.
  """
  candidates = [i for i, entry in enumerate(cache.entries) if entry.split == 'train']
  if not candidates:
    raise InputError(f'{cache.path}: no chain is of the split train, and only those are templates')
  sequences = [alignment.canonical(cache[i].sequence) for i in range(len(cache))]
  found = []
  queries = range(len(sequences))
  for hits in spreading.spread(_hits_of, queries, _begin, (sequences, candidates), processes, 'aligned sequences'):
    found.append(hits)
    if progress is not None:
      progress(len(found), len(sequences))
  result = template_hits.joined(found)
  template_hits.write(cache.path / template_hits.FILE, result, [entry.id for entry in cache.entries])
  return result


class TemplateFinder:
  """Hits of some chains among others."""

  def __init__(self, sequences: Sequence[str], candidates: Sequence[int]):
    """Indexes the candidates, which are numbers of sequences of canonical letters."""
    self._sequences, self._candidates = sequences, np.array(candidates, int)
    self._words = WordIndex([sequences[i] for i in candidates])
    self._num_res = sum(len(sequences[i]) for i in candidates)

  def hits(self, query: int) -> list[ChainHit]:
    """The hits of a sequence, by its number, best score first and some of each band of identity."""
    own = self._sequences[query]
    near = self._candidates[self._words.nearest(own, _MOST_ALIGNED)].tolist()
    near = [i for i in near if self._sequences[i] not in own and own not in self._sequences[i]]
    scores = alignment.scores(own, [self._sequences[i] for i in near])
    expected = _K * len(own) * self._num_res * np.exp(-_LAMBDA * scores)
    found: list[ChainHit] = []
    room = [_KEPT] * len(_BANDS)
    for place in np.argsort(-scores, kind='stable'):
      if expected[place] > _MAX_EVALUE or not any(room):
        break
      hit = self._aligned(own, near[place], scores[place])
      band = bisect.bisect_left(_BANDS, hit.identity)
      if room[band] and hit.coverage >= _MIN_COVERAGE:
        room[band] -= 1
        found.append(hit)
    return found

  def _aligned(self, own: str, chain: int, score: float) -> ChainHit:
    pairs = alignment.align(own, self._sequences[chain])
    same = alignment.identical(own, self._sequences[chain], pairs)
    return ChainHit(chain, round(score), same / max(1, len(pairs)), len(pairs) / len(own))


class WordIndex:
  """Which of some sequences hold each word of three known letters."""

  def __init__(self, sequences: Sequence[str]):
    """Sorts the words of all sequences."""
    words = [_words(sequence) for sequence in sequences]
    self._sizes = np.array([len(one) for one in words])
    every, places = np.concatenate(words), np.repeat(np.arange(len(words)), self._sizes)
    self._places = places[np.argsort(every, kind='stable')]
    self._starts = np.searchsorted(np.sort(every), np.arange(_NUM_WORDS + 1))

  def nearest(self, sequence: str, num: int) -> np.ndarray:  # [at most num]
    """The sequences that share more words with this one than chance has it, by their number, the nearest first."""
    own = _words(sequence)
    holders = [self._places[self._starts[word] : self._starts[word + 1]] for word in own]
    shared = np.bincount(np.concatenate([*holders, np.empty(0, int)]), minlength=len(self._sizes))
    expected = len(own) * self._sizes / _NUM_WORDS
    return np.argsort((expected - shared) / np.sqrt(expected + 1), kind='stable')[:num]  # Poisson's deviations


def _words(sequence: str) -> np.ndarray:  # [num_word] int, ascending
  """The different words of a sequence, as numbers."""
  tokens = alignment.encode(sequence)
  triples = np.stack([tokens[:-2], tokens[1:-1], tokens[2:]]) if len(tokens) > 2 else np.empty((3, 0), int)
  known = triples[:, np.all(triples < residues.UNKNOWN, axis=0)]
  return np.unique(np.array([residues.UNKNOWN**2, residues.UNKNOWN, 1]) @ known)


_finder: TemplateFinder | None = None  # of this process


def _begin(sequences: Sequence[str], candidates: Sequence[int]) -> None:
  global _finder
  _finder = TemplateFinder(sequences, candidates)


def _hits_of(query: int) -> list[ChainHit]:
  assert _finder is not None  # `_begin` came first
  return _finder.hits(query)
