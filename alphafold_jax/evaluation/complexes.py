# SPDX-License-Identifier: Apache-2.0
"""A predicted complex beside its reference: which chain stands for which, and how good the interfaces are."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from alphafold_jax.data.structures import Chain
from alphafold_jax.errors import InputError
from alphafold_jax.evaluation.aligning import ChainPair, LaidOut, Limits, join
from alphafold_jax.evaluation.comparing import ChainComparison
from alphafold_jax.evaluation.mapping import best_assignment
from alphafold_jax.geometry.dockq import DockQ
from alphafold_jax.geometry.lddt import distances_between_chains
from alphafold_jax.one_line import one_line


@dataclasses.dataclass(frozen=True)
class PredictedInterface:
  """An interface of the reference between two chains that the prediction has, and its scores."""

  chains: tuple[str, str]  # of the reference
  predicted_chains: tuple[str, str]
  dockq: DockQ
  lddt: float | None  # 0..1, of the distances between the two chains; None: no atoms are nearer than 15 Å


@dataclasses.dataclass(frozen=True)
class PredictedComplex:
  """How the chains of a prediction lie beside one another."""

  partners: dict[str, str]  # chain of the reference -> chain of the prediction
  missing: tuple[str, ...]  # chains of the reference without a partner
  extra: tuple[str, ...]  # chains of the prediction without a partner
  interfaces: tuple[PredictedInterface, ...]
  missing_interfaces: tuple[tuple[str, str], ...]  # of the reference's chains, of which one or both are missing
  interface_lddt: float | None  # 0..1, of all distances between chains

  __repr__ = one_line

  @property
  def dockq(self) -> float | None:
    """Mean over the interfaces between chains that have a partner, 0..1; None without any."""
    return float(np.mean([one.dockq.score for one in self.interfaces])) if self.interfaces else None

  @property
  def dockq_full(self) -> float | None:
    """Mean over all interfaces of the reference, those of missing chains counting 0; None without any."""
    number = len(self.interfaces) + len(self.missing_interfaces)
    return sum(one.dockq.score for one in self.interfaces) / number if number else None


@dataclasses.dataclass(frozen=True, eq=False)
class ChainMapping:
  """The chains that are compared."""

  comparison: ChainComparison
  partners: dict[int, int]  # index in the reference -> index in the prediction

  __repr__ = one_line

  @property
  def pairs(self) -> list[ChainPair]:
    """The chains that are compared, in the reference's order."""
    one = self.comparison
    return [ChainPair(one.predicted[m], one.true[r], one.matched[r][m]) for r, m in self.partners.items()]


def map_chains(
  predicted: Sequence[Chain], true: Sequence[Chain], limits: Limits, names: tuple[str, str]
) -> ChainMapping:
  """Finds the chains that correspond.

  Args:
    predicted: chains of the prediction.
    true: chains of the reference.
    limits: the least similarity at which a chain may stand for another.
    names: of the two files, for messages.

  Raises:
    InputError: no chain of the one is the same protein as a chain of the other.
  """
  comparison = ChainComparison(predicted, true, limits)
  if not comparison.allowed.any():
    raise InputError(_nothing_in_common(comparison, limits, names))
  assignment = best_assignment(comparison)
  return ChainMapping(comparison, {r: m for r, m in enumerate(assignment) if m >= 0})


def _nothing_in_common(comparison: ChainComparison, limits: Limits, names: tuple[str, str]) -> str:
  every = itertools.product(range(len(comparison.true)), range(len(comparison.predicted)))
  r, m = max(every, key=lambda pair: comparison.matched[pair[0]][pair[1]].likeness)
  return (
    f'{names[1]}: no chain is the same protein as one of {names[0]}; chain {comparison.true[r].id}, the most like one '
    f'of them ({comparison.predicted[m].id}), {limits.shortfall(comparison.matched[r][m])}'
  )


def score_complex(found: ChainMapping, laid_out: Sequence[LaidOut]) -> PredictedComplex:
  """Scores the interfaces.

  Args:
    found: the chains that are compared.
    laid_out: for each of its pairs the prediction on the residues of the reference.
  """
  one, partners = found.comparison, found.partners
  place = {r: i for i, r in enumerate(partners)}  # of the reference's chains among those that are compared
  counted, kept = distances_between_chains(
    *join(laid_out), chain=np.repeat(np.arange(len(laid_out)), [len(chain.aatype) for chain in laid_out])
  )
  known = [pair for pair in one.interfaces if pair[0] in partners and pair[1] in partners]
  return PredictedComplex(
    partners={one.true[r].id: one.predicted[m].id for r, m in partners.items()},
    missing=tuple(chain.id for r, chain in enumerate(one.true) if r not in partners),
    extra=tuple(chain.id for m, chain in enumerate(one.predicted) if m not in partners.values()),
    interfaces=tuple(
      PredictedInterface(
        chains=(one.true[r].id, one.true[s].id),
        predicted_chains=(one.predicted[partners[r]].id, one.predicted[partners[s]].id),
        dockq=one.dockq(r, s, partners[r], partners[s]),
        lddt=_share(kept[place[r], place[s]], counted[place[r], place[s]]),
      )
      for r, s in known
    ),
    missing_interfaces=tuple((one.true[r].id, one.true[s].id) for r, s in one.interfaces if (r, s) not in known),
    interface_lddt=_share(kept.sum(), counted.sum()),
  )


def _share(kept: float, counted: float) -> float | None:
  return float(kept / counted) if counted else None


def chains_of_reference(chains: Mapping[str, Chain], wanted: Sequence[str], path: Path) -> list[Chain]:
  """The chains of a reference, or those of them that a table names.

  Raises:
    InputError: it has no such chain.
  """
  if absent := [name for name in wanted if name not in chains]:
    raise InputError(f'{path}: chain {absent[0]!r} not found; has {", ".join(chains)}')
  return [chain for name, chain in chains.items() if not wanted or name in wanted]
