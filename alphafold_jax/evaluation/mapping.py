# SPDX-License-Identifier: Apache-2.0
"""Which chain of a predicted complex stands for which chain of its reference.

Only chains of the same protein may stand for one another; copies of one protein may be exchanged. As many chains as
possible get a partner. Among these assignments the one with the highest sum of DockQ over the interfaces is taken, or,
where there is no interface or several are equal, the one that lies best with a single chain superposed.

Up to MOST_TRIED assignments (all of eight copies) are tried one by one. Where there are more, chains are superposed on
their possible partners in turn, and all others are assigned by how near they come (Hungarian method). The best of these
assignments is improved by exchanging two chains as long as something is gained. If anything was, or its DockQ is below
GOOD on average, the next best are improved too, up to five.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching

from alphafold_jax.evaluation.comparing import Assignment, ChainComparison
from alphafold_jax.geometry import dockq

MOST_TRIED = 50_000
GOOD = dockq.QUALITIES['medium']
_MOST_ANCHORS = 64  # of one group of chains, if all its pairs are to be superposed
_IMPROVED = 5  # assignments
_EQUAL = 1e-6  # of sums of DockQ
_MOST_EQUAL = 24  # assignments that are compared in space
_FORBIDDEN = -1e9  # far more than any assignment gains

Group = tuple[list[int], list[int]]  # chains of the reference and of the prediction that may stand for one another
Partners = list[tuple[int, int]]  # a chain of the reference, and the one of the prediction that stands for it


def best_assignment(comparison: ChainComparison, most_tried: int = MOST_TRIED) -> Assignment:
  """The assignment of the module's docstring.

  Args:
    comparison: the chains; at least one pair is allowed.
    most_tried: up to how many assignments are tried one by one.
  """
  groups = _groups(comparison.allowed)
  candidates = _anchored(comparison, groups)
  if math.prod(math.perm(max(map(len, group)), min(map(len, group))) for group in groups) <= most_tried:
    candidates += _every(comparison.allowed, groups)
  else:
    candidates += list(_climb(comparison, candidates))
  totals = {one: comparison.total(one) for one in candidates}
  most = max(totals.values())
  finalists = [one for one, total in totals.items() if total > most - _EQUAL]
  return max(finalists[:_MOST_EQUAL], key=lambda one: round(comparison.in_space(one), 6))  # the first of equal ones


def _groups(allowed: np.ndarray) -> list[Group]:
  """The groups of chains that are linked by allowed pairs [R, M]."""
  num_true, num_predicted = allowed.shape
  graph = np.zeros((num_true + num_predicted,) * 2, int)
  graph[:num_true, num_true:] = allowed
  number, labels = connected_components(csr_array(graph), directed=False)
  members = [np.flatnonzero(labels == one).tolist() for one in range(number)]
  groups = [
    ([i for i in chains if i < num_true], [i - num_true for i in chains if i >= num_true]) for chains in members
  ]
  return [group for group in groups if all(group)]


# ------------------------------------------------------------------------------------------ few chains


def _every(allowed: np.ndarray, groups: Sequence[Group]) -> Iterator[Assignment]:
  """All assignments with as many partners as possible."""
  ways = []
  for true, predicted in groups:
    matching = maximum_bipartite_matching(csr_array(allowed[np.ix_(true, predicted)].astype(int)), perm_type='column')
    ways.append(list(_ways(allowed, true, predicted, alone=int(np.sum(matching < 0)))))
  for combined in itertools.product(*ways):
    yield _assignment(len(allowed), itertools.chain.from_iterable(combined))


def _ways(allowed: np.ndarray, true: Sequence[int], free: Sequence[int], alone: int) -> Iterator[Partners]:
  """All ways to give each true chain one of the free predicted ones, but none to `alone` of them."""
  if not true:
    yield []
    return
  first, *rest = true
  for m in free:
    if allowed[first, m]:
      for others in _ways(allowed, rest, [n for n in free if n != m], alone):
        yield [(first, m), *others]
  if alone:
    yield from _ways(allowed, rest, free, alone - 1)


# ------------------------------------------------------------------------------------------ many chains


def _anchored(comparison: ChainComparison, groups: Sequence[Group]) -> list[Assignment]:
  """The assignment that lies best for each way to superpose one chain; each once."""
  allowed = comparison.allowed
  found = []
  for r, m in _anchors(allowed, groups):
    gain = np.where(allowed, comparison.nearness(r, m), _FORBIDDEN)
    pairs = zip(*linear_sum_assignment(gain, maximize=True))
    found.append(_assignment(len(allowed), [(s, n) for s, n in pairs if allowed[s, n]]))
  return list(dict.fromkeys(found))


def _anchors(allowed: np.ndarray, groups: Sequence[Group]) -> Partners:
  """The pairs to superpose: of small groups all, of others those of one chain that surely gets a partner."""
  pairs: Partners = []
  for true, predicted in groups:
    if len(true) * len(predicted) > _MOST_ANCHORS:
      true, predicted = (true[:1], predicted) if len(true) <= len(predicted) else (true, predicted[:1])
    pairs += [(r, m) for r in true for m in predicted if allowed[r, m]]
  return pairs


def _climb(comparison: ChainComparison, starts: Sequence[Assignment]) -> Iterator[Assignment]:
  """The best assignments, improved one after the other, until one of them was at its best already and is good."""
  good = GOOD * len(comparison.interfaces)
  for start in sorted(starts, key=comparison.total, reverse=True)[:_IMPROVED]:
    found = _improved(comparison, start)
    yield found
    if found == start and comparison.total(found) > good:
      return


def _improved(comparison: ChainComparison, start: Assignment) -> Assignment:
  """Exchanges the partners of two chains, or a partner with a chain that is left over, until nothing is gained."""
  num_true, num_predicted = comparison.allowed.shape
  places = [*start, *(m for m in range(num_predicted) if m not in start)]  # the last ones are left over
  gained = True
  while gained:
    gained = False
    for i, j in itertools.combinations(range(len(places)), 2):
      changed = list(places)
      changed[i], changed[j] = places[j], places[i]
      if not _is_allowed(comparison.allowed, changed, (i, j)):
        continue
      if comparison.is_better(tuple(changed[:num_true]), tuple(places[:num_true]), _EQUAL):
        places, gained = changed, True
  return tuple(places[:num_true])


def _is_allowed(allowed: np.ndarray, places: Sequence[int], changed: tuple[int, int]) -> bool:
  """Whether the chains in two places may stand there; the first R places are those of the reference's chains."""
  if min(changed) >= len(allowed) or places[changed[0]] == places[changed[1]]:
    return False  # both are left over, or neither place has a chain: nothing changes
  return all(r >= len(allowed) or places[r] < 0 or allowed[r, places[r]] for r in changed)


def _assignment(num_true: int, partners: Iterable[tuple[int, int]]) -> Assignment:
  """(3, [(0, 1), (2, 0)]) -> (1, -1, 0)."""
  found = dict(partners)
  return tuple(int(found.get(r, -1)) for r in range(num_true))
