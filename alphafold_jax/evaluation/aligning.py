# SPDX-License-Identifier: Apache-2.0
"""The residues of a predicted chain and of its reference that correspond.

Equal sequences correspond one to one. All others are aligned by sequence and not by number: numbers often differ, and
the reference may have tags, mutations and unresolved stretches. A gap costs the same at any length, and nothing at the
ends. Where a chain is broken and its numbers jump, as many unknown residues are inserted, so that the residues beside
an unresolved stretch align to their own partners.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import canonical, encode
from alphafold_jax.data.structures import Chain
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

_CA = residues.ATOM_INDEX['CA']
_LONGEST_BOND = 4.5  # Å between CA atoms of neighbours
_MOST_FILLED = 1000  # residues; a larger jump of the numbers is no unresolved stretch
_COMMON_ATOMS = np.isin(residues.ATOM_TYPES, ('N', 'CA', 'C', 'O', 'CB'))  # of residues of different type
_ATOMS = residues.ATOM37_MASK.copy()  # [21, 37] that each residue type has; of unknown residues the backbone
_ATOMS[residues.UNKNOWN] = np.isin(residues.ATOM_TYPES, ('N', 'CA', 'C', 'O'))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Correspondence:
  """For each residue of the reference that of the prediction, and how alike the two chains are."""

  partner: np.ndarray  # [N_reference] index in the prediction, -1: none
  known: int  # pairs of residues of known type
  equal: int  # of these, pairs of one type
  resolved: int  # residues of the reference with CA
  covered: int  # of these, residues that the prediction has

  __repr__ = one_line

  @property
  def identity(self) -> float:
    """0..1, share of equal types among pairs of known type."""
    return self.equal / self.known if self.known else 0.0

  @property
  def coverage(self) -> float:
    """0..1, share of the reference's resolved residues that the prediction has."""
    return self.covered / max(self.resolved, 1)

  @property
  def likeness(self) -> float:
    """Identity times coverage, to choose among chains."""
    return self.identity * self.coverage


@dataclasses.dataclass(frozen=True)
class Limits:
  """The least similarity at which two chains count as the same protein."""

  min_identity: float  # of the aligned residues
  min_coverage: float  # of the reference's resolved residues

  def __post_init__(self):
    for name, value in dataclasses.asdict(self).items():
      if not 0 <= value <= 1:
        raise InputError(f'{name} is {value}; give a share from 0 to 1')

  def allow(self, matched: Correspondence) -> bool:
    """Whether two chains that correspond in this way are the same protein."""
    return matched.identity >= self.min_identity and matched.coverage >= self.min_coverage

  def shortfall(self, matched: Correspondence) -> str:
    """What two chains lack to be the same protein, for a message that begins with the reference's chain."""
    return (
      f'has {matched.identity:.0%} identity over {matched.coverage:.0%} of its residues; asked for are at least '
      f'{self.min_identity:.0%} and {self.min_coverage:.0%}. Is this the right reference? If so, lower '
      '--min-identity or --min-coverage'
    )


class ChainPair(NamedTuple):
  """A chain of the reference and the predicted chain that is compared with it."""

  predicted: Chain
  true: Chain
  matched: Correspondence


class LaidOut(NamedTuple):
  """Predicted chains, laid out on the N residues of the reference's chains."""

  aatype: np.ndarray  # [N] residue types, 20 where the two differ
  predicted: np.ndarray  # [N, 37, 3] Å
  predicted_mask: np.ndarray  # [N, 37]
  true: np.ndarray  # [N, 37, 3] Å
  true_mask: np.ndarray  # [N, 37]

  def __repr__(self) -> str:
    return one_line(self)


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
    known=int(known.sum()),
    equal=int(np.sum((a == b)[known])),
    resolved=int(resolved.sum()),
    covered=int(np.sum(resolved[paired] & has_ca[partner[paired]])),
  )


def together(matches: Iterable[Correspondence]) -> tuple[float, float]:
  """The identity and the coverage of all chains of a complex, 0..1."""
  equal, known, covered, resolved = np.sum([(one.equal, one.known, one.covered, one.resolved) for one in matches], 0)
  return float(equal / known) if known else 0.0, float(covered / max(resolved, 1))


def lay_out(pair: ChainPair) -> LaidOut:
  """Lays a prediction out on its reference.

  Residues of different type are compared by the atoms up to CB that both types have.
  """
  predicted, true, matched = pair
  partner, paired = matched.partner, matched.partner >= 0
  own, theirs = encode(canonical(predicted.sequence)), encode(canonical(true.sequence))
  positions = np.where(paired[:, None, None], predicted.atom_positions[partner], 0)
  mask = np.where(paired[:, None], predicted.atom_mask[partner], 0)
  same = ~paired | (own[partner] == theirs)
  has_ca = true.atom_mask[:, _CA] > 0
  is_residue = has_ca | (theirs < residues.UNKNOWN)  # a declared ACE or NH2 is none
  exists = _ATOMS[theirs] * is_residue[:, None] * np.where(same[:, None], 1, _ATOMS[own[partner]] * _COMMON_ATOMS)
  aatype = np.where(same, theirs, residues.UNKNOWN)
  return LaidOut(aatype, positions, mask * exists, true.atom_positions, true.atom_mask * exists)


def join(chains: Iterable[LaidOut]) -> LaidOut:
  """The chains of a complex as one, one after the other."""
  return LaidOut(*map(np.concatenate, zip(*chains)))


def neighbours(chain: Chain) -> np.ndarray:
  """Whether each residue and the next are neighbours in the chain, by their numbers: [N - 1] bool."""
  numbers = chain.numbers
  pairs = zip(numbers, numbers[1:])
  return np.array([one is not None and other is not None and 0 <= other - one <= 1 for one, other in pairs], bool)


def _align(predicted: Chain, reference: Chain) -> np.ndarray:
  """The partner of each residue of the reference: [N_reference], -1 where it has none."""
  (mine, my_residue), (theirs, their_residue) = _filled(predicted), _filled(reference)
  partner = np.full(len(reference.sequence), -1)
  for (start, end), (their_start, _) in _blocks(mine, theirs):
    i, j = my_residue[start:end], their_residue[their_start : their_start + end - start]
    real = (i >= 0) & (j >= 0)
    partner[j[real]] = i[real]
  return partner


@functools.lru_cache(maxsize=1024)  # the copies of a chain come again and again
def _blocks(mine: str, theirs: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
  """The stretches of two sequences that are aligned without gaps: start and end in each."""
  ours, others = _aligner().align(mine, theirs)[0].aligned
  return [((int(a), int(b)), (int(c), int(d))) for (a, b), (c, d) in zip(ours, others, strict=True)]


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
