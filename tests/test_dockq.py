# SPDX-License-Identifier: Apache-2.0
"""DockQ: what the program says, cases worked out by hand, invariances.

The program's values are those of dockq-rs 0.1.0, which equal DockQ 2.1.3's to seven digits, recorded with

  python -c "from dockq_rs import ...; ..."
"""

import dataclasses

import numpy as np
import pytest
import score_cases
from complex_cases import compared, disturbed, moved, placed, read, tetramers

from alphafold_jax.constants import residues
from alphafold_jax.data.structures import Chain
from alphafold_jax.evaluation.mapping import best_assignment
from alphafold_jax.geometry import dockq

NATIVE, MODEL = '1A2K.pdb.gz', '1A2K_model.pdb.gz'


def scored(predicted, true) -> dict[str, dockq.DockQ]:
  """The interfaces under the best assignment, by the names of the reference's chains."""
  one = compared(predicted, true)
  best = best_assignment(one)
  return {true[r].id + true[s].id: one.dockq(r, s, best[r], best[s]) for r, s in one.interfaces}


# ------------------------------------------------------------------------------------------ the program


def test_1a2k_has_the_scores_of_the_program():
  found = scored(read(MODEL), read(NATIVE))
  assert {name: one.score for name, one in found.items()} == pytest.approx({'AB': 0.994, 'AC': 0.511, 'BC': 0.453}, abs=5e-4)
  assert np.mean([one.score for one in found.values()]) == pytest.approx(0.653, abs=5e-4)


def test_chains_find_those_that_they_stand_for():
  predicted, true = read(MODEL), read(NATIVE)
  best = best_assignment(compared(predicted, true))
  assert [predicted[m].id for m in best] == ['B', 'A', 'C']


# ------------------------------------------------------------------------------------------ invariances


def test_a_complex_against_itself_is_perfect():
  true = read(NATIVE)
  for one in scored(true, true).values():
    assert (one.fnat, one.score, one.quality) == (1, pytest.approx(1), 'high')
    assert (one.irmsd, one.lrmsd) == pytest.approx((0, 0), abs=1e-5)


def test_neither_motion_nor_the_order_of_chains_changes_anything():
  predicted, true = read(MODEL), read(NATIVE)
  before = scored(predicted, true)
  for changed in (moved(predicted), predicted[::-1], [predicted[1], predicted[2], predicted[0]]):
    after = scored(changed, true)
    for name, one in before.items():
      assert after[name].fnat == one.fnat
      assert (after[name].irmsd, after[name].lrmsd) == pytest.approx((one.irmsd, one.lrmsd), abs=1e-4)


# ------------------------------------------------------------------------------------------ by hand


def strand(sequence: str, at: float, name: str) -> Chain:
  """A straight chain of CA and N atoms along x, 3.8 Å apart, at a height (Å)."""
  positions, mask = np.zeros((len(sequence), 37, 3), np.float32), np.zeros((len(sequence), 37), np.float32)
  for atom, offset in (('N', 0.0), ('CA', 1.4)):
    column = residues.ATOM_INDEX[atom]
    positions[:, column] = np.stack([3.8 * np.arange(len(sequence)) + offset, at + offset + 0 * np.arange(len(sequence)),
                                     np.zeros(len(sequence))], axis=1)  # fmt: skip
    mask[:, column] = 1
  numbering = tuple(str(i + 1) for i in range(len(sequence)))
  return Chain(name, sequence, positions, mask, numbering, np.zeros(len(sequence), np.float32))


def test_contacts_and_distances_are_what_one_counts_by_hand():
  # Two strands 4 Å apart: residue i touches i - 1, i and i + 1 of the other (CA to CA: 4 and 5.5 Å; N to CA less).
  one, other = strand('ACDEFGHI', 0, 'A'), strand('KLMNPQRST', 4, 'B')
  (found,) = scored([one, other], [one, other]).values()
  atoms = [dockq.heavy_atoms(chain.atom_positions, chain.atom_mask) for chain in (one, other)]
  dense = np.linalg.norm(one.atom_positions[:, None, :, None] - other.atom_positions[None, :, None], axis=-1)
  there = one.atom_mask[:, None, :, None] * other.atom_mask[None, :, None] > 0
  near = np.where(there, dense, np.inf).min(axis=(2, 3))
  np.testing.assert_array_equal(dockq.touching(*atoms, 5.0), np.argwhere(near < 5))
  assert found.contacts == np.sum(near < 5)
  # The shorter chain is 3 Å further away: it is measured with the longer one superposed.
  away = placed(one, np.eye(3), np.array([0.0, -3.0, 0.0]))
  (further,) = scored([away, other], [one, other]).values()
  assert further.lrmsd == pytest.approx(3, abs=1e-5) and further.fnat == np.mean(
    [min_distance(away, other, i, j) < 5 for i, j in np.argwhere(near < 5)]
  )


def min_distance(one: Chain, other: Chain, i: int, j: int) -> float:
  a, b = one.atom_positions[i][one.atom_mask[i] > 0], other.atom_positions[j][other.atom_mask[j] > 0]
  return float(np.linalg.norm(a[:, None] - b, axis=-1).min())


def test_of_equal_chains_the_second_is_superposed():
  one, other = strand('ACDEFGHI', 0, 'A'), strand('KLMNPQRS', 4, 'B')
  bent = disturbed(other, 2.0, period=5)
  first, second = (scored(*pair) for pair in (([one, bent], [one, other]), ([bent, one], [other, one])))
  assert first['AB'].lrmsd != pytest.approx(second['BA'].lrmsd, abs=1e-3)
  assert first['AB'].irmsd == pytest.approx(second['BA'].irmsd, abs=1e-5)


def test_what_the_prediction_lacks_is_no_contact():
  one, other = strand('ACDEFGHI', 0, 'A'), strand('KLMNPQRST', 4, 'B')
  mask = one.atom_mask.copy()
  mask[:4] = 0
  half = dataclasses.replace(one, atom_mask=mask)
  (found,) = scored([half, other], [one, other]).values()
  assert 0.4 < found.fnat < 0.6 and (found.irmsd, found.lrmsd) == pytest.approx((0, 0), abs=1e-5)


@pytest.mark.parametrize(
  'fnat, irmsd, lrmsd, score, quality',
  [
    (1.0, 0.0, 0.0, 1.0, 'high'),
    (1.0, 1.5, 8.5, 2 / 3, 'medium'),
    (0.0, 1.5, 8.5, 1 / 3, 'acceptable'),
    (0.0, 30.0, 30.0, (1 / 401 + 1 / (1 + (30 / 8.5) ** 2)) / 3, 'incorrect'),
    (0.5, None, None, 0.5 / 3, 'incorrect'),
  ],
)
def test_the_formula_and_its_classes(fnat, irmsd, lrmsd, score, quality):
  one = dockq.DockQ(contacts=10, fnat=fnat, irmsd=irmsd, lrmsd=lrmsd)
  assert one.score == pytest.approx(score) and one.quality == quality
