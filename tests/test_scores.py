# SPDX-License-Identifier: Apache-2.0
"""Scores of structures: cases worked out by hand, invariances, and what other programs say (recorded_scores.json)."""

import json

import numpy as np
import pytest
import score_cases
from Bio import SVDSuperimposer

from alphafold_jax import errors
from alphafold_jax.constants import residues
from alphafold_jax.geometry import lddt, scores, side_chains, superposition, tm_score

RECORDED = json.loads((score_cases.DATA / 'recorded_scores.json').read_text())
CASES = score_cases.ca_cases()
CA, PHE = residues.ATOM_INDEX['CA'], residues.RESTYPE_INDEX['F']


def walk(num_res: int, seed: int = 0) -> np.ndarray:
  """Points [N, 3] as far from one another as consecutive CAs (Å)."""
  steps = np.random.default_rng(seed).normal(size=(num_res, 3))
  return np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=-1, keepdims=True), axis=0)


def moved(points: np.ndarray, seed: int = 1) -> np.ndarray:
  """Points after a rotation and a shift."""
  draw = np.random.default_rng(seed)
  rotation, _ = np.linalg.qr(draw.normal(size=(3, 3)))
  return points @ (rotation * np.linalg.det(rotation)).T + draw.normal(scale=20, size=3)


def ones(points: np.ndarray) -> np.ndarray:
  return np.ones(len(points))


# ------------------------------------------------------------------------------------------ TM-score and GDT


def test_a_structure_moved_as_a_whole_is_in_place():
  true = walk(60)
  found = tm_score.in_place(moved(true), true, ones(true))
  assert (found.tm_score, found.gdt_ts, found.gdt_ha) == pytest.approx((1, 1, 1), abs=1e-9)
  np.testing.assert_allclose(found.distances, 0, atol=1e-6)


def test_one_residue_far_away_costs_its_share_and_no_more():
  true = walk(50)
  predicted = true.copy()
  predicted[20] += (0, 0, 100)
  d0 = 1.24 * 35 ** (1 / 3) - 1.8
  found = tm_score.in_place(moved(predicted), true, ones(true))
  assert found.gdt_ts == found.gdt_ha == pytest.approx(49 / 50)
  assert found.tm_score == pytest.approx((49 + 1 / (1 + (100 / d0) ** 2)) / 50, abs=1e-5)
  assert np.argmax(found.distances) == 20


def test_half_a_chain_far_away_leaves_half_a_score():
  true = walk(80)
  predicted = true.copy()
  predicted[40:] += (500, 0, 0)
  found = tm_score.in_place(predicted, true, ones(true))
  assert found.gdt_ts == found.gdt_ha == 0.5
  assert 0.5 <= found.tm_score < 0.5002


def test_gdt_of_a_stretched_straight_chain_is_what_one_counts_by_hand():
  # 41 residues, each step 0.38 Å too long: n residues around their middle are off by at most 0.19 (n - 1) Å, so
  # 3, 6, 11, 22 residues fit within 0.5, 1, 2, 4 Å, and within 8 Å all.
  true = np.arange(41)[:, None] * np.array([3.8, 0, 0])
  found = tm_score.in_place(1.1 * true, true, ones(true))
  assert {cutoff: round(41 * share) for cutoff, share in found.shares.items()} == {0.5: 3, 1: 6, 2: 11, 4: 22, 8: 41}
  assert found.gdt_ts == pytest.approx((6 + 11 + 22 + 41) / 4 / 41)
  assert found.gdt_ha == pytest.approx((3 + 6 + 11 + 22) / 4 / 41)


def test_residues_that_the_prediction_lacks_count_as_wrong():
  true = walk(40)
  has = (np.arange(40) < 30).astype(np.float32)
  predicted = np.where(has[:, None] > 0, true, np.nan)
  found = tm_score.in_place(predicted, true, ones(true), has)
  assert scores.tm_score(predicted, true, ones(true), has) == found.tm_score == pytest.approx(0.75)
  assert found.gdt_ts == found.gdt_ha == 0.75


def test_residues_that_the_true_structure_lacks_do_not_count():
  true = walk(40)
  known = (np.arange(40) % 4 > 0).astype(np.float32)
  predicted = moved(np.where(known[:, None] > 0, true, true + 50))
  assert scores.tm_score(predicted, np.where(known[:, None] > 0, true, np.nan), known) == pytest.approx(1)


@pytest.mark.parametrize('length, scale', [(5, 0.5), (15, 0.5), (21, 0.5), (100, 1.24 * 85 ** (1 / 3) - 1.8)])
def test_the_distance_scale_of_tm_score(length, scale):
  assert tm_score.tm_scale(length) == pytest.approx(scale)


@pytest.mark.parametrize('name', CASES)
def test_tm_score_is_that_of_tm_align_for_the_residues_it_aligned(name):
  theirs = RECORDED['ca_cases'][name]['tm_align']
  predicted, true = CASES[name]
  partner = np.array(theirs['aligned'])
  found = scores.tm_score(predicted[partner], true, ones(true), partner >= 0)
  assert found == pytest.approx(theirs['tm_score'], abs=2e-3)


@pytest.mark.parametrize('name', CASES)
def test_scores_are_those_of_the_tm_score_program_or_of_better_superpositions(name):
  theirs = RECORDED['ca_cases'][name]['tm_score_program']
  predicted, true = CASES[name]
  found = tm_score.in_place(predicted, true, ones(true))
  # It prints four decimals and reads coordinates with three. A search can only fall short of the best.
  assert theirs['tm_score'] - 1e-4 < found.tm_score < theirs['tm_score'] + 1e-3
  assert theirs['gdt_ts'] - 1e-4 < found.gdt_ts < theirs['gdt_ts'] + 0.01
  assert theirs['gdt_ha'] - 1e-4 < found.gdt_ha < theirs['gdt_ha'] + 0.01
  assert superposition.rmsd(predicted, true) == pytest.approx(theirs['rmsd'], abs=2e-3)


def test_mirroring_a_fold_ruins_the_scores_that_see_handedness_and_no_others():
  predicted, true = CASES['HRAS mirrored']
  found = tm_score.in_place(predicted, true, ones(true))
  assert found.tm_score < 0.5 and found.gdt_ts < 0.4
  np.testing.assert_allclose(scores.lddt_ca(predicted, true, ones(true)), 1)


def test_too_little_in_common_is_an_input_error():
  true = walk(10)
  with pytest.raises(errors.InputError, match='2 residues in common'):
    scores.tm_score(true, true, np.arange(10) < 2)
  with pytest.raises(errors.InputError, match='NaN'):
    scores.tm_score(np.full((10, 3), np.nan), true, ones(true))


# ------------------------------------------------------------------------------------------ r.m.s.d. of the best


def test_rmsd_of_the_best_leaves_out_what_fits_worst():
  true = walk(100)
  predicted = moved(true)
  predicted[::20] += 30  # five residues
  assert superposition.rmsd(predicted, true) > 5
  assert superposition.rmsd_of_best(predicted, true) < 1e-6
  predicted[7] += 30  # one more than 5%
  assert superposition.rmsd_of_best(predicted, true) > 1


def test_rmsd_of_the_best_is_biopythons_over_the_residues_chosen():
  predicted, true = CASES['1U5Y shaken']
  chosen, iterations = np.arange(len(true)), 5
  for _ in range(iterations):  # the recipe of Jumper et al. 2021, Methods
    theirs = SVDSuperimposer.SVDSuperimposer()
    theirs.set(true[chosen], predicted[chosen])
    theirs.run()
    rotation, shift = theirs.get_rotran()
    chosen = np.argsort(np.linalg.norm(predicted @ rotation + shift - true, axis=1))[: int(np.ceil(0.95 * len(true)))]
  theirs.set(true[chosen], predicted[chosen])
  theirs.run()
  assert superposition.rmsd_of_best(predicted, true) == pytest.approx(theirs.get_rms(), abs=1e-6)
  assert superposition.rmsd_of_best(predicted, true) < superposition.rmsd(predicted, true)


# ------------------------------------------------------------------------------------------ lDDT


def hras_atoms():
  """Types [N], predicted atoms and mask, true atoms and mask of HRAS."""
  predicted, true = score_cases.hras()
  length = len(true.sequence)
  aatype = np.array([residues.RESTYPE_INDEX[letter] for letter in true.sequence])
  assert predicted.sequence.startswith(true.sequence)
  exists = residues.ATOM37_MASK[aatype]
  return (aatype, predicted.atom_positions[:length], predicted.atom_mask[:length] * exists, true.atom_positions,
          true.atom_mask * exists)  # fmt: skip


def test_all_atom_lddt_is_its_definition_and_counts_missing_atoms_as_wrong():
  aatype, predicted, mask, true, true_mask = (values[:90] for values in hras_atoms())
  mask = mask.copy()
  mask[30:33] = 0
  mask[50, 4:] = 0
  unnamed = np.full(90, residues.UNKNOWN)  # no names to exchange
  found = lddt.all_atom_distances(unnamed, predicted, mask, true, true_mask)
  assert found.total == pytest.approx(score_cases.dense_lddt(predicted, mask, true, true_mask), abs=1e-9)
  assert found.per_residue[31] == 0 and found.per_residue[60] > 0.5
  assert lddt.all_atom_distances(aatype, predicted, mask, true, true_mask).total >= found.total


def test_all_atom_lddt_equals_that_of_biotite():
  predicted, true, mask = score_cases.plain_atoms()
  found = lddt.all_atom_distances(np.full(len(true), residues.UNKNOWN), predicted, mask, true, mask)
  assert found.total == pytest.approx(RECORDED['plain_atoms']['lddt'], abs=1e-5)


def test_lddt_takes_the_better_of_two_names_but_only_of_atoms_that_may_exchange_theirs():
  aatype, _, _, true, mask = hras_atoms()
  rings, certain = np.flatnonzero(aatype == PHE), true.copy()
  assert len(rings) >= 4
  exchanged = true.copy()
  for one, other in (('CD1', 'CD2'), ('CE1', 'CE2')):
    a, b = residues.ATOM_INDEX[one], residues.ATOM_INDEX[other]
    exchanged[rings[:, None], [a, b]] = true[rings[:, None], [b, a]]
  assert lddt.all_atom_distances(aatype, exchanged, mask, true, mask).total == pytest.approx(1)
  as_named = np.full(len(aatype), residues.UNKNOWN)
  assert lddt.all_atom_distances(as_named, exchanged, mask, true, mask).total < 0.999
  n, c = residues.ATOM_INDEX['N'], residues.ATOM_INDEX['C']
  certain[rings[:, None], [n, c]] = true[rings[:, None], [c, n]]
  assert lddt.all_atom_distances(aatype, certain, mask, true, mask).total < 0.999


def test_the_two_means_of_lddt_ca():
  true = walk(70)
  predicted = score_cases.shaken(true, 2, 13)
  found = lddt.ca_distances(predicted, true, ones(true))
  per_residue = scores.lddt_ca(predicted, true, ones(true))
  np.testing.assert_allclose(found.per_residue, per_residue)
  assert found.total == pytest.approx(np.average(per_residue, weights=found.counted))


def test_a_residue_alone_has_no_lddt():
  true = np.array([[0.0, 0, 0], [5, 0, 0], [100, 0, 0]])
  found = lddt.ca_distances(true, true, np.ones(3))
  assert np.isnan(found.per_residue[2]) and found.total == 1
  assert lddt.ca_distances(true, true, np.array([0, 0, 1])).total is None
  np.testing.assert_array_equal(scores.lddt_ca(true, true, np.ones(3)), 1)


# ------------------------------------------------------------------------------------------ side chains


def test_chi_errors_are_the_difference_of_published_torsion_angles():
  from alphafold_jax.geometry import atoms

  aatype, predicted, mask, true, true_mask = hras_atoms()
  found, known = side_chains.chi_errors(aatype, predicted, mask, true, true_mask)
  theirs = [atoms.torsion_angles(aatype, *one) for one in ((predicted, mask), (true, true_mask))]
  (sin_cos, alternative, predicted_known), (true_sin_cos, _, true_known) = theirs
  np.testing.assert_array_equal(known, (predicted_known * true_known)[:, 3:] > 0)
  cosine = np.maximum(*(np.sum(np.asarray(one * true_sin_cos), -1)[:, 3:] for one in (sin_cos, alternative)))
  expected = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
  np.testing.assert_allclose(found[known], expected[known], atol=0.2)  # the other is float32 and steep at 0


def test_scores_of_the_true_structure_itself_are_perfect():
  aatype, _, _, true, mask = hras_atoms()
  found = scores.score(aatype, moved(true.astype(np.float64)), mask, true, mask)
  assert (found.lddt, found.lddt_ca, found.lddt_ca_residue_mean, found.gdt_ts, found.gdt_ha, found.tm_score,
          found.chi1_accuracy, found.chi1_2_accuracy) == pytest.approx((1,) * 8)  # fmt: skip
  assert (found.ca_rmsd, found.ca_rmsd_95, found.all_atom_rmsd, found.all_atom_rmsd_95, found.side_chain_rmsd,
          found.side_chain_rmsd_local, *found.chi_errors) == pytest.approx((0,) * 10, abs=1e-4)  # fmt: skip


def test_scores_do_not_change_when_the_prediction_is_moved():
  aatype, predicted, mask, true, true_mask = hras_atoms()
  here = scores.score(aatype, predicted.astype(np.float64), mask, true, true_mask)
  there = scores.score(aatype, moved(predicted.astype(np.float64)), mask, true, true_mask)
  for name in ('lddt', 'lddt_ca', 'tm_score', 'ca_rmsd_95', 'all_atom_rmsd', 'side_chain_rmsd', 'chi1_accuracy'):
    assert getattr(here, name) == pytest.approx(getattr(there, name), abs=1e-6)
  assert here.ca_rmsd_95 < here.ca_rmsd < here.all_atom_rmsd and here.all_atom_rmsd_95 < here.all_atom_rmsd


def test_half_a_turn_of_a_ring_is_no_error_and_a_quarter_is():
  aatype, _, _, true, mask = hras_atoms()
  ring = np.flatnonzero(aatype == PHE)[0]
  at = {name: residues.ATOM_INDEX[name] for name in ('CB', 'CG', 'CD1', 'CD2', 'CE1', 'CE2', 'CZ')}

  def turned(degrees):
    axis = true[ring, at['CG']] - true[ring, at['CB']]
    axis = (axis / np.linalg.norm(axis)).astype(np.float64)
    angle = np.radians(degrees)
    cross = np.cross(np.eye(3), -axis)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    result = true.astype(np.float64)
    columns = [at[name] for name in ('CD1', 'CD2', 'CE1', 'CE2', 'CZ')]
    result[ring, columns] = (result[ring, columns] - result[ring, at['CG']]) @ turn.T + result[ring, at['CG']]
    return result

  half = scores.score(aatype, turned(180), mask, true, mask)
  assert half.side_chain_rmsd < 0.05 and half.all_atom_rmsd < 0.05 and half.chi1_2_accuracy == 1 and half.lddt > 0.999
  errors_found, _ = side_chains.chi_errors(aatype, turned(75), mask, true, mask)
  assert errors_found[ring, :2] == pytest.approx((0, 75), abs=1e-3)
  quarter = scores.score(aatype, turned(90), mask, true, mask)
  assert quarter.side_chain_rmsd > 0.05 and quarter.chi1_accuracy == 1 and quarter.chi1_2_accuracy < 1


def test_structures_of_ca_atoms_alone_have_no_side_chain_scores():
  true = walk(30)
  positions, mask = np.zeros((30, 37, 3)), np.zeros((30, 37))
  positions[:, CA], mask[:, CA] = true, 1
  found = scores.score(np.zeros(30, int), positions, mask, positions, mask)
  assert found.tm_score == found.lddt == pytest.approx(1)
  assert found.side_chain_rmsd is found.side_chain_rmsd_local is found.chi1_accuracy is None
