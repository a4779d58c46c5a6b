# SPDX-License-Identifier: Apache-2.0
"""TM-score (Zhang & Skolnick 2004) and GDT (Zemla 2003): the share of residues that one superposition brings near.

Both are the maximum over superpositions, which are searched as in the TM-score program: fragments of the chain of all,
half, a quarter, ... of its length are superposed; then, repeatedly, the residues that are near. Residues correspond by
number, without the alignment of TM-align. All superpositions of a round are computed by one matrix product.

N residues, S superpositions. Both scores are shares of the residues of the true structure: those that the prediction
lacks count as wrong.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from alphafold_jax import errors
from alphafold_jax.geometry import superposition
from alphafold_jax.one_line import one_line

GDT_TS_CUTOFFS = (1.0, 2.0, 4.0, 8.0)  # Å
GDT_HA_CUTOFFS = (0.5, 1.0, 2.0, 4.0)  # Å
_CUTOFFS = np.array(sorted({*GDT_TS_CUTOFFS, *GDT_HA_CUTOFFS}))
_SHORTEST_FRAGMENT = 4
_MAX_ROUNDS = 20  # as the TM-score program
_FRAGMENTS = 400  # of each length to start from: for proteins of 200 residues as good as all
_STARTS_PER_CUTOFF = 8  # superpositions that are improved for each GDT cutoff
_CELLS_AT_ONCE = 1 << 22  # superpositions times residues


@dataclasses.dataclass(frozen=True, eq=False)
class InPlace:
  """The highest scores of all superpositions found."""

  tm_score: float  # 0..1
  shares: dict[float, float]  # share of the residues nearer than each cutoff (Å), each by its own superposition
  distances: np.ndarray  # [N] Å between CA atoms under the superposition of best TM-score; NaN where one is missing

  __repr__ = one_line

  @property
  def gdt_ts(self) -> float:
    """Mean share nearer than 1, 2, 4 and 8 Å, 0..1."""
    return float(np.mean([self.shares[cutoff] for cutoff in GDT_TS_CUTOFFS]))

  @property
  def gdt_ha(self) -> float:
    """Mean share nearer than 0.5, 1, 2 and 4 Å, 0..1."""
    return float(np.mean([self.shares[cutoff] for cutoff in GDT_HA_CUTOFFS]))


def tm_score(
  predicted_ca: np.ndarray, true_ca: np.ndarray, mask: np.ndarray, predicted_mask: np.ndarray | None = None
) -> float:
  """TM-score of CA atoms [N, 3], 0..1, normalised by the number of residues in the mask [N] of the true structure."""
  return in_place(predicted_ca, true_ca, mask, predicted_mask).tm_score


def tm_scale(length: int) -> float:
  """The distance d0 (Å) at which a residue of a chain of this length counts half; at least 0.5 Å."""
  return max(0.5, 1.24 * np.cbrt(max(length - 15, 0)) - 1.8)


def in_place(
  predicted_ca: np.ndarray,
  true_ca: np.ndarray,
  mask: np.ndarray,
  predicted_mask: np.ndarray | None = None,
) -> InPlace:
  """Searches the superpositions once for all scores.

  Args:
    predicted_ca: [N, 3] Å.
    true_ca: [N, 3] Å.
    mask: [N] residues that the true structure has; the scores are shares of these.
    predicted_mask: [N] residues that the prediction has, by default all.

  Raises:
    InputError: the two have fewer than three residues in common, or positions that are not finite.
  """
  counted = np.asarray(mask) > 0
  common = counted if predicted_mask is None else counted & (np.asarray(predicted_mask) > 0)
  predicted, true = np.asarray(predicted_ca, np.float64)[common], np.asarray(true_ca, np.float64)[common]
  if len(true) < 3:
    raise errors.InputError(f'prediction and true structure have {len(true)} residues in common; a score needs 3')
  if not (np.isfinite(predicted).all() and np.isfinite(true).all()):
    raise errors.InputError('a CA position that counts is NaN or infinite; check the masks')
  search = _Search(predicted, true, length=int(counted.sum()))
  search.run()
  distances = np.full(len(counted), np.nan)
  distances[common] = np.sqrt(search.best_squared)
  shares = {float(cutoff): float(count / search.length) for cutoff, count in zip(_CUTOFFS, search.counts)}
  return InPlace(tm_score=search.best_sum / search.length, shares=shares, distances=distances)


class _Search:
  """Superpositions of two chains, and the best scores so far."""

  def __init__(self, predicted: np.ndarray, true: np.ndarray, length: int):
    """Prepares the sums that superpositions are computed from.

    Args:
      predicted, true: [N, 3] Å, residues that both structures have.
      length: residues of the true structure.
    """
    self.num_res, self.length = len(true), length
    self.d0 = tm_scale(length)
    a, b = predicted - predicted.mean(axis=0), true - true.mean(axis=0)
    # The terms of all sums and squared distances: 1, a, b, a_i b_j and |a|^2 + |b|^2.
    products = (a[:, :, None] * b[:, None, :]).reshape(-1, 9)
    self.moments = np.concatenate([np.ones((len(a), 1)), a, b, products, np.sum(a**2 + b**2, axis=1)[:, None]], axis=1)
    self.best_sum = 0.0
    self.best_squared = np.sum((a - b) ** 2, axis=1)
    self.counts = np.zeros(len(_CUTOFFS), int)
    self.starts: list[list[tuple[int, bytes]]] = [[] for _ in _CUTOFFS]  # for each cutoff, count and residues chosen

  def run(self) -> None:
    near = min(max(self.d0, 4.5), 8.0)  # Å, as the TM-score program
    for members in self._seeds():
      self._improve(members, first=near - 1, later=near + 1)
    for cutoff, starts in zip(_CUTOFFS, self.starts):
      chosen = sorted(set(starts), reverse=True)[:_STARTS_PER_CUTOFF]
      self._improve(np.array([self._unpack(packed) for _, packed in chosen]), first=cutoff, later=cutoff)

  def _seeds(self) -> Iterator[np.ndarray]:
    """Fragments as members [S, N], for one length after another."""
    length = self.num_res
    while True:
      last = self.num_res - length
      starts = np.unique(np.linspace(0, last, min(last + 1, _FRAGMENTS)).round().astype(int))
      for some in np.array_split(starts, -(-len(starts) * self.num_res // _CELLS_AT_ONCE)):
        place = np.arange(self.num_res) - some[:, None]
        yield (place >= 0) & (place < length)
      if length <= _SHORTEST_FRAGMENT:
        return
      length = max(length // 2, _SHORTEST_FRAGMENT)

  def _improve(self, members: np.ndarray, first: float, later: float) -> None:
    """Superposes the members [S, N], then the residues nearer than a distance (Å), until no choice is new."""
    seen: set[bytes] = set()
    distance = first
    for _ in range(_MAX_ROUNDS):
      squared = self._superpose(members)
      members = _nearer(squared, distance)
      packed = [row.tobytes() for row in np.packbits(members, axis=1)]
      fresh = {row: i for i, row in enumerate(packed) if row not in seen}
      if not fresh:
        return
      seen |= fresh.keys()
      members, distance = members[list(fresh.values())], later

  def _superpose(self, members: np.ndarray) -> np.ndarray:
    """Squared distances [S, N] of all residues with the members [S, N] superposed; records the best scores."""
    sums = members.astype(np.float64) @ self.moments[:, :16]
    sums /= sums[:, :1]
    mean_a, mean_b = sums[:, 1:4], sums[:, 4:7]
    covariance = sums[:, 7:].reshape(-1, 3, 3) - mean_a[:, :, None] * mean_b[:, None, :]
    rotation = superposition.best_rotations(covariance)
    shift = mean_b - np.einsum('sij,sj->si', rotation, mean_a)
    # |R a + t - b|^2, term by term of the moments
    weights = np.concatenate([
      np.sum(shift**2, axis=1)[:, None],
      2 * np.einsum('sji,sj->si', rotation, shift),
      -2 * shift,
      -2 * np.swapaxes(rotation, 1, 2).reshape(-1, 9),
      np.ones((len(shift), 1)),
    ], axis=1)  # fmt: skip
    squared = np.maximum(weights @ self.moments.T, 0)
    self._keep(squared, members)
    return squared

  def _keep(self, squared: np.ndarray, members: np.ndarray) -> None:
    sums = np.sum(1 / (1 + squared / self.d0**2), axis=1)
    best = int(np.argmax(sums))
    if sums[best] > self.best_sum:
      self.best_sum, self.best_squared = float(sums[best]), squared[best]
    for i, cutoff in enumerate(_CUTOFFS):
      counts = np.count_nonzero(squared <= cutoff**2, axis=1)
      self.counts[i] = max(self.counts[i], counts.max())
      for row in np.argsort(-counts, kind='stable')[:_STARTS_PER_CUTOFF]:
        self.starts[i].append((int(counts[row]), np.packbits(members[row]).tobytes()))

  def _unpack(self, packed: bytes) -> np.ndarray:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=self.num_res).astype(bool)


def _nearer(squared: np.ndarray, distance: float) -> np.ndarray:
  """The residues [S, N] nearer than a distance (Å), which grows by steps of 0.5 Å until there are three of them."""
  members = squared < distance**2
  few = np.count_nonzero(members, axis=1) < 3
  if few.any():
    third = np.sqrt(np.partition(squared[few], 2, axis=1)[:, 2])
    enough = distance + 0.5 * (np.floor(np.maximum(third - distance, 0) / 0.5) + 1)
    members[few] = squared[few] < enough[:, None] ** 2
  return members
