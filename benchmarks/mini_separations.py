# SPDX-License-Identifier: Apache-2.0
"""Where lDDT is lost: the distances that a prediction keeps, by how far apart in the sequence their ends are."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from mini_scores import Predicted, Target, grouped, short, table
from scipy.spatial import distance

from alphafold_jax.constants import residues
from alphafold_jax.geometry.lddt import CUTOFF, TOLERANCES

SEPARATIONS = {
  '1': 1,
  '2': 2,
  '3': 3,
  '4': 4,
  '5 to 8': 8,
  '9 to 16': 16,
  'more than 16': np.inf,
}  # largest
_CA = residues.ATOM_INDEX['CA']


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
  """The distances of a true structure that lDDT counts, each once."""

  separation: np.ndarray  # [P] residues
  kept: np.ndarray  # [P] 0..1, by how many tolerances
  error: np.ndarray  # [P] Å, of the predicted distance


def measure(target: Target, predicted: Predicted) -> Pairs:
  """The true distances of CA atoms below 15 Å whose ends were predicted."""
  positions, known = target.true
  there = np.flatnonzero(known[:, _CA] * predicted.mask[:, _CA])
  separation = distance.pdist(there[:, None])
  true = distance.pdist(np.asarray(positions, np.float64)[there, _CA])
  error = np.abs(distance.pdist(np.asarray(predicted.positions, np.float64)[there, _CA]) - true)
  near = true < CUTOFF
  kept = np.mean([error[near] < tolerance for tolerance in TOLERANCES], axis=0)
  return Pairs(separation[near], kept, error[near])


def separation_table(found: Mapping[str, Sequence[Pairs]]) -> str:
  """The share kept, and the mean error, of the distances of all chains together; all predictors have the same atoms."""
  header = ['residues apart', 'of the distances']
  header += [f'{short(name)}: {what}' for name in found for what in ('kept', 'mean error, Å')]
  pairs = {
    name: Pairs(*(np.concatenate([getattr(one, key) for one in some]) for key in ('separation', 'kept', 'error')))
    for name, some in found.items()
  }
  separations = next(iter(pairs.values())).separation
  rows = []
  for apart, members in grouped(separations, SEPARATIONS).items():
    means = [f'{values[members].mean():.2f}' for one in pairs.values() for values in (one.kept, one.error)]
    rows.append([apart, f'{100 * len(members) / len(separations):.0f} %', *means])
  return table(header, rows)
