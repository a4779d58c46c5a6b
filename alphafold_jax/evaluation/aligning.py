# SPDX-License-Identifier: Apache-2.0
"""The residues of a prediction and of its reference that correspond.

Equal sequences correspond one to one. All others are aligned by sequence and not by number: numbers often differ, and
the reference may have tags, mutations and unresolved stretches. A gap costs the same at any length, and nothing at the
ends. Where a chain is broken and its numbers jump, as many unknown residues are inserted, so that the residues beside
an unresolved stretch align to their own partners.
"""

import dataclasses
import functools

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import canonical, encode
from alphafold_jax.data.structures import Chain
from alphafold_jax.one_line import one_line

_CA = residues.ATOM_INDEX['CA']
_LONGEST_BOND = 4.5  # Å between CA atoms of neighbours
_MOST_FILLED = 1000  # residues; a larger jump of the numbers is no unresolved stretch


@dataclasses.dataclass(frozen=True, eq=False)
class Correspondence:
  """For each residue of the reference that of the prediction."""

  partner: np.ndarray  # [N_reference] index in the prediction, -1: none
  identity: float  # 0..1, share of equal types among pairs of known type
  coverage: float  # 0..1, share of the reference's resolved residues (with CA) that the prediction has

  __repr__ = one_line


def correspond(predicted: Chain, reference: Chain) -> Correspondence:
  """Aligns two chains."""
  mine, theirs = canonical(predicted.sequence), canonical(reference.sequence)
  if mine == theirs:
    partner = np.arange(len(theirs))
  else:
    partner = _align(predicted, reference)
  paired = partner >= 0
  a, b = encode(mine)[partner[paired]], encode(theirs)[paired]
  known = (a < residues.UNKNOWN) & (b < residues.UNKNOWN)
  resolved = reference.atom_mask[:, _CA] > 0
  has_ca = predicted.atom_mask[:, _CA] > 0
  return Correspondence(
    partner=partner,
    identity=float(np.mean((a == b)[known])) if known.any() else 0.0,
    coverage=float(np.sum(resolved[paired] & has_ca[partner[paired]]) / max(resolved.sum(), 1)),
  )


def neighbours(chain: Chain) -> np.ndarray:
  """Whether each residue and the next are neighbours in the chain, by their numbers: [N - 1] bool."""
  numbers = chain.numbers
  pairs = zip(numbers, numbers[1:])
  return np.array([one is not None and other is not None and 0 <= other - one <= 1 for one, other in pairs], bool)


def _align(predicted: Chain, reference: Chain) -> np.ndarray:
  """The partner of each residue of the reference: [N_reference], -1 where it has none."""
  (mine, my_residue), (theirs, their_residue) = _filled(predicted), _filled(reference)
  partner = np.full(len(reference.sequence), -1)
  for (start, end), (their_start, _) in zip(*_aligner().align(mine, theirs)[0].aligned, strict=True):
    i, j = my_residue[start:end], their_residue[their_start : their_start + end - start]
    real = (i >= 0) & (j >= 0)
    partner[j[real]] = i[real]
  return partner


def _filled(chain: Chain) -> tuple[str, np.ndarray]:
  """The sequence with an X for each number that a broken chain skips, and the residue of each letter, -1 for these."""
  letters: list[str] = []
  index: list[int] = []
  sequence = canonical(chain.sequence)
  for i, letter in enumerate(sequence):
    if i:
      missing = _missing_before(chain, i)
      letters.append('X' * missing)
      index += [-1] * missing
    letters.append(letter)
    index.append(i)
  return ''.join(letters), np.array(index)


def _missing_before(chain: Chain, i: int) -> int:
  """How many numbers are skipped between residues i - 1 and i, if they are too far apart to be neighbours."""
  before, after = chain.numbers[i - 1 : i + 1]
  if before is None or after is None or not 1 < after - before <= _MOST_FILLED:
    return 0
  if not chain.atom_mask[[i - 1, i], _CA].all():
    return 0
  distance = np.linalg.norm(chain.atom_positions[i, _CA] - chain.atom_positions[i - 1, _CA])
  return after - before - 1 if distance > _LONGEST_BOND else 0


@functools.cache
def _aligner() -> PairwiseAligner:
  """A global aligner with BLOSUM62, in which X scores 0 with every residue."""
  matrix = substitution_matrices.load('BLOSUM62')
  for letter in matrix.alphabet:
    matrix['X', letter] = matrix[letter, 'X'] = 0
  aligner = PairwiseAligner(mode='global')
  aligner.substitution_matrix = matrix
  aligner.open_gap_score, aligner.extend_gap_score = -11, 0
  aligner.end_gap_score = 0
  return aligner
