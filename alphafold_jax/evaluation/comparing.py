# SPDX-License-Identifier: Apache-2.0
"""What the chains of a prediction are worth in the place of those of its reference.

A prediction has M chains and the reference R. An assignment says for each chain of the reference which chain of the
prediction stands for it: R numbers, -1 where none does.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from alphafold_jax.data.structures import Chain
from alphafold_jax.evaluation.aligning import Limits, correspond
from alphafold_jax.geometry import dockq
from alphafold_jax.geometry.tm_score import tm_scale

Assignment = tuple[int, ...]


class ChainComparison:
  """All chains of a prediction beside all of its reference; whatever has been computed is kept."""

  def __init__(self, predicted: Sequence[Chain], true: Sequence[Chain], limits: Limits):
    """Aligns the chains and finds the interfaces of the reference.

    Args:
      predicted: M chains.
      true: R chains of the reference.
      limits: the least similarity at which a chain may stand for another.
    """
    self.predicted, self.true = tuple(predicted), tuple(true)
    self.matched = [[correspond(own, one) for own in predicted] for one in true]  # [R][M]
    self.allowed = np.array([[limits.allow(one) for one in row] for row in self.matched])  # [R, M] bool
    atoms = [dockq.heavy_atoms(chain.atom_positions, chain.atom_mask) for chain in true]
    pairs = itertools.combinations(range(len(true)), 2)
    met = {(r, s): dockq.true_interface(atoms[r], atoms[s]) for r, s in pairs}
    self.interfaces = {pair: interface for pair, interface in met.items() if interface is not None}
    self._interfaces_of = {r: [pair for pair in self.interfaces if r in pair] for r in range(len(true))}
    self._d0 = tm_scale(sum(row[0].resolved for row in self.matched))
    self._atoms = functools.cache(self._heavy_atoms)
    self._contacts = functools.cache(self._touching)
    self.stand_in = functools.cache(self._stand_in)
    self.dockq = functools.cache(self._dockq)
    self.nearness = functools.cache(self._nearness)

  def total(self, assignment: Assignment) -> float:
    """The sum of DockQ over the interfaces between chains that have a partner."""
    return sum(self._score(assignment, pair) for pair in self.interfaces)

  def _score(self, assignment: Assignment, pair: tuple[int, int]) -> float:
    """DockQ of an interface, 0 where a chain has no partner."""
    (r, s), (m, n) = pair, (assignment[chain] for chain in pair)
    return self.dockq(r, s, m, n).score if m >= 0 and n >= 0 else 0.0

  def is_better(self, assignment: Assignment, other: Assignment, margin: float) -> bool:
    """Whether the `total` of an assignment is higher than that of another by more than a margin.

    Interfaces that are the same in both are not looked at, and others only until the answer is certain.
    """
    moved = [r for r, (m, n) in enumerate(zip(assignment, other, strict=True)) if m != n]
    changed = list(dict.fromkeys(pair for r in moved for pair in self._interfaces_of[r]))
    missing = margin + sum(self._score(other, pair) for pair in changed)
    for left, pair in zip(range(len(changed) - 1, -1, -1), changed, strict=True):
      missing -= self._score(assignment, pair)
      if missing < 0 or missing >= left:  # the others may add 0 to 1 each
        break
    return missing < 0

  def in_space(self, assignment: Assignment) -> float:
    """How well all chains lie together: the highest sum of TM-score's terms with one of them superposed."""
    placed = [self.stand_in(r, m) for r, m in enumerate(assignment) if m >= 0]
    predicted, true = map(np.concatenate, zip(*(one.ca() for one in placed)))
    motions = (one.motion for one in placed)
    return max((float(self._terms(motion, predicted, true).sum()) for motion in motions if motion), default=0.0)

  def _heavy_atoms(self, m: int) -> dockq.HeavyAtoms:
    return dockq.heavy_atoms(self.predicted[m].atom_positions, self.predicted[m].atom_mask)

  def _touching(self, m: int, n: int) -> np.ndarray:
    """The contacts of two predicted chains: [P, 2]."""
    return dockq.touching(self._atoms(m), self._atoms(n), dockq.CONTACT)

  def _stand_in(self, r: int, m: int) -> dockq.StandIn:
    """Predicted chain m in the place of true chain r."""
    own, true = self.predicted[m], self.true[r]
    return dockq.stand_in(
      self.matched[r][m].partner, true.atom_positions, true.atom_mask, own.atom_positions, own.atom_mask
    )

  def _dockq(self, r: int, s: int, m: int, n: int) -> dockq.DockQ:
    """The interface of true chains r and s with predicted chains m and n in their places."""
    return dockq.score_interface(self.interfaces[r, s], self.stand_in(r, m), self.stand_in(s, n), self._contacts(m, n))

  def _nearness(self, r: int, m: int) -> np.ndarray:
    """How near each predicted chain comes to each true one when m is superposed on r: [R, M], sums of TM-score's terms.

    It is 0 for chains that may not stand for one another.
    """
    near = np.zeros(self.allowed.shape)
    if (motion := self.stand_in(r, m).motion) is not None:
      pair, predicted, true = self._all_ca
      near[self.allowed] = np.bincount(pair, self._terms(motion, predicted, true), self.allowed.sum())
    return near

  @functools.cached_property
  def _all_ca(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The CA atoms of all allowed pairs of chains: of which pair each is [P], predicted and true positions [P, 3]."""
    both = [self.stand_in(int(s), int(n)).ca() for s, n in np.argwhere(self.allowed)]
    predicted, true = map(np.concatenate, zip(*both))
    return np.repeat(np.arange(len(both)), [len(own) for own, _ in both]), predicted, true

  def _terms(self, motion: dockq.Motion, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:  # [P] of [P, 3] twice
    """TM-score's term of each pair of atoms, when what is predicted is moved."""
    rotation, translation = motion
    squared = np.sum((predicted @ rotation.T + translation - true) ** 2, axis=-1)
    return 1 / (1 + squared / self._d0**2)
