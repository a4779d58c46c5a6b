# SPDX-License-Identifier: Apache-2.0
"""Observed residues on the sequence that an mmCIF file declares for their chain.

label_seq_id tells the place. Where it is missing, or leads to other residues, the authors' numbers do, if they are
those of the sequence but for a constant; else the observed letters are aligned to the declared ones.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from alphafold_jax.data import residue_names
from alphafold_jax.data.alignment import align
from alphafold_jax.data.atom_records import Declared
from alphafold_jax.data.residue_groups import ObservedResidue, decoded

_MIN_SAME = 0.9  # share of the observed residues that have the declared letter, at the places that are believed


def place(observed: Sequence[ObservedResidue], declared: Declared) -> dict[int, ObservedResidue] | None:
  """The observed residues by their number in the declared sequence; None where they do not fit it."""
  labels = _known(decoded(residue.first.label) for residue in observed)
  for numbers in itertools.chain([labels], _by_authors_numbers(observed, declared), _aligned(observed, declared)):
    if _fit(numbers, observed, declared) and _num_same(observed, numbers, declared) >= _MIN_SAME * len(observed):
      return dict(zip(numbers, observed, strict=True))
  return dict(zip(labels, observed, strict=True)) if _fit(labels, observed, declared) else None


def letter(names: Sequence[str]) -> str:
  """The letter of a declared residue, of several alternatives the first; X where its name is unknown."""
  return residue_names.letter_of(names[0]) or 'X'


def _known(numbers: Iterable[int | None]) -> list[int]:
  return [number for number in numbers if number is not None]


def _fit(numbers: Sequence[int], observed: Sequence[ObservedResidue], declared: Declared) -> bool:
  """Whether all residues have a number of the sequence, each its own."""
  return len(set(numbers)) == len(observed) and all(number in declared for number in numbers)


def _num_same(observed: Sequence[ObservedResidue], numbers: Sequence[int], declared: Declared) -> int:
  pairs = zip(observed, numbers, strict=True)
  return sum(residue.letter in map(residue_names.letter_of, declared[number]) for residue, number in pairs)


def _by_authors_numbers(observed: Sequence[ObservedResidue], declared: Declared) -> Iterator[list[int]]:
  """The authors' numbers, and these moved by each constant that the sequence leaves room for."""
  numbers = _known(residue.number for residue in observed)
  if len(numbers) == len(observed):
    for shift in sorted(range(min(declared) - min(numbers), max(declared) - max(numbers) + 1), key=abs):
      yield [number + shift for number in numbers]


def _aligned(observed: Sequence[ObservedResidue], declared: Declared) -> Iterator[list[int]]:
  """The numbers to which an alignment of the letters brings the residues."""
  places = list(declared)
  pairs = align(''.join(residue.letter for residue in observed), ''.join(map(letter, declared.values())))
  yield [places[pairs[i]] for i in range(len(observed)) if i in pairs]
