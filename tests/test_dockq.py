# SPDX-License-Identifier: Apache-2.0
"""DockQ: what the program says, cases worked out by hand, invariances.

The program's values were recorded with dockq-rs 0.1.0 (a package of that name), equal to DockQ 2.1.3 to seven digits:

  import dockq_rs
  found = dockq_rs.score('model.pdb', 'native.pdb')
  found['best_mapping_str'], found['GlobalDockQ'], found['best_result']

with the files of data/complexes, or those that complex_cases.write makes of the chains.
"""

import dataclasses

import numpy as np
import pytest
from complex_cases import compared, disturbed, moved, octamers, oxyhaemoglobin, placed, read

from alphafold_jax.constants import residues
from alphafold_jax.data.structures import Chain
from alphafold_jax.evaluation.mapping import best_assignment
from alphafold_jax.geometry import dockq


def with_gaps() -> list[Chain]:
  """The model of 1A2K without some residues of two chains."""
  chains = list(read('1A2K_model.pdb.gz'))
  for i, gap in ((0, slice(60, 75)), (2, slice(20, 50))):
    mask = chains[i].atom_mask.copy()
    mask[gap] = 0
    chains[i] = dataclasses.replace(chains[i], atom_mask=mask)
  return chains


CASES = {  # prediction, reference
  '1A2K': lambda: (read('1A2K_model.pdb.gz'), read('1A2K.pdb.gz')),
  '1A2K with gaps': lambda: (with_gaps(), read('1A2K.pdb.gz')),
  'haemoglobin': lambda: (oxyhaemoglobin(), read('2HHB.pdb.gz')),
  'half a haemoglobin': lambda: (read('1HHO.pdb.gz'), read('2HHB.pdb.gz')),
  'the other half': lambda: (read('2HHB.pdb.gz'), read('1HHO.pdb.gz')),
  '1EXB': octamers,
}
RECORDED = {  # which chains stand for those of the reference; GlobalDockQ; of each interface fnat, iRMSD, LRMSD, DockQ
  '1A2K': ('BAC', 0.652911, {
    'AB': (0.98319, 0.0, 0.0, 0.9944), 'AC': (0.33333, 1.23691, 6.86436, 0.51128),
    'BC': (0.5, 2.10386, 8.1315, 0.45305)}),
  '1A2K with gaps': ('BAC', 0.583492, {
    'AB': (0.73109, 0.0, 0.0, 0.91036), 'AC': (0.33333, 1.52356, 6.86429, 0.47694),
    'BC': (0.26, 2.24671, 8.14672, 0.36318)}),
  'haemoglobin': ('ACBD', 0.742762, {
    'AB': (0.96364, 0.45487, 1.451, 0.95037), 'AC': (0.66667, 1.27921, 4.78204, 0.6684),
    'AD': (0.54054, 2.14145, 3.69643, 0.57022), 'BC': (0.54054, 2.15976, 3.62305, 0.57073),
    'CD': (0.96429, 0.41952, 1.48084, 0.95409)}),
  'half a haemoglobin': ('--AB', 0.954094, {'CD': (0.96429, 0.41952, 1.48085, 0.95409)}),
  'the other half': ('CD', 0.940996, {'AB': (0.94737, 0.48577, 1.48085, 0.941)}),
  '1EXB': ('ECBFHGAD', 0.69381, {
    'AB': (0.83824, 0.6687, 2.1201, 0.87129), 'AD': (0.95588, 1.88933, 5.93824, 0.67151),
    'AE': (0.52174, 1.90298, 4.75948, 0.55542), 'AF': (0.2, 1.57001, 4.70296, 0.48094),
    'BC': (0.88235, 0.66254, 1.80031, 0.89206), 'BF': (0.56522, 1.51711, 3.87594, 0.62914),
    'BG': (0.4, 1.59948, 4.80266, 0.54198), 'CD': (0.60294, 0.8939, 1.8131, 0.76579),
    'CG': (0.56522, 1.66578, 4.02737, 0.60989), 'CH': (0.2, 1.96193, 6.01509, 0.41174),
    'DE': (0.8, 0.76851, 1.49941, 0.85397), 'DH': (0.6087, 2.08316, 4.87005, 0.56767),
    'EF': (0.7561, 1.00213, 1.89964, 0.79998), 'EH': (0.97561, 1.59648, 3.10619, 0.77556),
    'FG': (0.90244, 0.99416, 1.12865, 0.85997), 'GH': (0.87805, 1.24622, 1.42811, 0.81407)}),
}  # fmt: skip


def scored(predicted, true, **options) -> tuple[str, dict[str, dockq.DockQ]]:
  """The best assignment, and the interfaces between chains with a partner, by the names of the chains."""
  one = compared(predicted, true)
  best = best_assignment(one, **options)
  names = ''.join('-' if m < 0 else predicted[m].id for m in best)
  return names, {true[r].id + true[s].id: one.dockq(r, s, best[r], best[s])
                 for r, s in one.interfaces if min(best[r], best[s]) >= 0}  # fmt: skip


# ------------------------------------------------------------------------------------------ the program


@pytest.mark.parametrize('name', CASES)
def test_assignment_and_scores_are_those_of_the_program(name):
  partners, mean, interfaces = RECORDED[name]
  found, own = scored(*CASES[name]())
  assert found == partners and own.keys() == interfaces.keys()
  assert np.mean([one.score for one in own.values()]) == pytest.approx(mean, abs=1e-4)
  for pair, theirs in interfaces.items():  # files have three decimals of an Å
    one = own[pair]
    assert (one.fnat, one.irmsd, one.lrmsd, one.score) == pytest.approx(theirs, abs=5e-4), pair


# ------------------------------------------------------------------------------------------ invariances


def test_a_complex_against_itself_is_perfect():
  true = read('1A2K.pdb.gz')
  _, found = scored(true, true)
  for one in found.values():
    assert (one.fnat, one.score, one.quality) == (1, pytest.approx(1), 'high')
    assert (one.irmsd, one.lrmsd) == pytest.approx((0, 0), abs=1e-5)


def test_neither_motion_nor_the_order_of_chains_changes_anything():
  predicted, true = CASES['1A2K']()
  names, before = scored(predicted, true)
  for changed in (moved(predicted), predicted[::-1], [predicted[1], predicted[2], predicted[0]]):
    found, after = scored(changed, true)
    assert found == names
    for pair, one in before.items():
      assert after[pair].fnat == one.fnat
      assert (after[pair].irmsd, after[pair].lrmsd) == pytest.approx((one.irmsd, one.lrmsd), abs=1e-4)


# ------------------------------------------------------------------------------------------ by hand


def strand(sequence: str, height: float, name: str) -> Chain:
  """A straight chain along x, residues 3.8 Å apart, of N at a height (Å) and CA 1.4 Å above and ahead of it."""
  positions, mask = np.zeros((len(sequence), 37, 3), np.float32), np.zeros((len(sequence), 37), np.float32)
  for atom, offset in (('N', 0.0), ('CA', 1.4)):
    column = residues.ATOM_INDEX[atom]
    positions[:, column, 0] = 3.8 * np.arange(len(sequence)) + offset
    positions[:, column, 1] = height + offset
    mask[:, column] = 1
  numbering = tuple(str(i + 1) for i in range(len(sequence)))
  return Chain(name, sequence, positions, mask, numbering, np.zeros(len(sequence), np.float32))


def distances(one: Chain, other: Chain) -> np.ndarray:
  """The least distance (Å) between atoms of each two residues: [N, M]."""
  apart = np.linalg.norm(one.atom_positions[:, None, :, None] - other.atom_positions[None, :, None], axis=-1)
  there = one.atom_mask[:, None, :, None] * other.atom_mask[None, :, None] > 0
  return np.where(there, apart, np.inf).min(axis=(2, 3))


def test_contacts_are_residues_with_atoms_nearer_than_5_angstroms():
  one, other = strand('ACDEFGHI', 0, 'A'), strand('KLMNPQRST', 4, 'B')
  atoms = [dockq.heavy_atoms(chain.atom_positions, chain.atom_mask) for chain in (one, other)]
  near = np.argwhere(distances(one, other) < 5)
  assert len(near) > 8
  np.testing.assert_array_equal(dockq.touching(*atoms, 5.0), near)


def test_the_shorter_chain_is_measured_with_the_longer_superposed():
  one, other = strand('ACDEFGHI', 0, 'A'), strand('KLMNPQRST', 4, 'B')
  away = placed(one, np.eye(3), (0, -3, 0))
  _, found = scored([away, other], [one, other])
  assert found['AB'].lrmsd == pytest.approx(3, abs=1e-5)
  assert found['AB'].fnat == pytest.approx(np.mean((distances(away, other) < 5)[distances(one, other) < 5]))
  assert 1 < found['AB'].irmsd < 2  # each side moves by half of it


def test_of_equal_chains_the_second_is_superposed():
  one, other = strand('ACDEFGHI', 0, 'A'), strand('KLMNPQRS', 4, 'B')
  bent = disturbed(other, 2.0, period=5)
  _, first = scored([one, bent], [one, other])
  _, second = scored([bent, one], [other, one])
  assert first['AB'].lrmsd != pytest.approx(second['BA'].lrmsd, abs=1e-3)
  assert first['AB'].irmsd == pytest.approx(second['BA'].irmsd, abs=1e-5)


def test_what_the_prediction_lacks_is_no_contact_and_has_no_distance():
  one, other = strand('ACDEFGHI', 0, 'A'), strand('KLMNPQRST', 4, 'B')
  mask = one.atom_mask.copy()
  mask[:4] = 0
  _, found = scored([dataclasses.replace(one, atom_mask=mask), other], [one, other])
  assert 0.4 < found['AB'].fnat < 0.6 and (found['AB'].irmsd, found['AB'].lrmsd) == pytest.approx((0, 0), abs=1e-5)


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
