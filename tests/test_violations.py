# SPDX-License-Identifier: Apache-2.0
"""Losses of impossible geometry: none in a crystal structure, closed forms for what is broken, exemptions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_targets

from alphafold_jax.constants import residues, stereochemistry
from alphafold_jax.losses import labels, violations

N, CA, C = range(3)
SG = 5

violation_loss, peptide_bond_loss, clash_loss, within_residue_loss = map(
  small_targets.fast_jit,
  (violations.violation_loss, violations.peptide_bond_loss, violations.clash_loss, violations.within_residue_loss),
)


def alanines(num: int) -> np.ndarray:
  return np.full(num, residues.RESTYPE_INDEX['A'], np.int32)


def arguments(positions, mask, aatype, residue_index=None, asym_id=None):
  """What the losses take, residues numbered from 0 in one chain."""
  num_res = len(aatype)
  residue_index = np.arange(num_res) if residue_index is None else residue_index
  asym_id = np.ones(num_res, int) if asym_id is None else asym_id
  return tuple(jnp.asarray(x) for x in (np.float32(positions), np.float32(mask), aatype, residue_index, asym_id))


def two_atoms(distance: float, column: int, other_column: int, letters: str = 'AA', **more):
  """Two residues of one atom each."""
  positions, mask = np.zeros((2, 14, 3)), np.zeros((2, 14))
  positions[1, other_column, 0] = distance
  mask[0, column] = mask[1, other_column] = 1
  return arguments(positions, mask, np.array([residues.RESTYPE_INDEX[letter] for letter in letters]), **more)


def crystal():
  """The resolved atoms of 1MUL around its gap."""
  batch = small_targets.gap_batch()
  known = small_targets.fast_jit(labels.make_labels)(batch)
  return arguments(known.atom14_positions, known.atom14_mask, batch.aatype, batch.residue_index)


def test_a_crystal_structure_has_hardly_any_violations():
  assert float(violation_loss(*crystal())) < 2e-3
  assert float(peptide_bond_loss(*crystal()[:4])) == 0


def test_squeezing_and_stretching_a_structure_violates():
  positions, *rest = crystal()
  losses = [float(violation_loss(scale * positions, *rest)) for scale in (1.0, 0.6, 1.6)]
  assert min(losses[1:]) > 100 * losses[0] + 0.1


@pytest.mark.parametrize('restype, mean, deviation', [('A', 1.329, 0.014), ('P', 1.341, 0.016)])
def test_a_stretched_peptide_bond_costs_what_exceeds_twelve_deviations_or_as_many_as_are_tolerated(
  restype, mean, deviation
):
  length = 2.0
  inputs = two_atoms(length, C, N, f'A{restype}')
  assert float(peptide_bond_loss(*inputs[:4])) == pytest.approx(length - mean - 12 * deviation, rel=1e-3)
  strict = peptide_bond_loss(*inputs[:4], tolerance=3.0)
  assert float(strict) == pytest.approx(length - mean - 3 * deviation, rel=1e-3)
  whole = violation_loss(*inputs, bond_tolerance=3.0) - violation_loss(*inputs)
  assert float(whole) == pytest.approx(9 * deviation, rel=1e-3)


def test_bonds_are_looked_for_only_where_the_index_grows_by_one():
  positions, mask, aatype, _, asym_id = two_atoms(9.0, C, N)
  for index, is_bond in (([4, 5], True), ([4, 6], False), ([5, 5], False)):
    assert bool(peptide_bond_loss(positions, mask, aatype, jnp.array(index)) > 0) == is_bond


@pytest.mark.parametrize('deviation', [violations.COS_CA_C_N_DEVIATION, stereochemistry.COS_CA_C_N[1]])
def test_angles_at_both_ends_of_the_peptide_bond_cost_their_excess_cosine(deviation):
  positions, mask = np.zeros((2, 14, 3)), np.zeros((2, 14))
  mask[0, [CA, C]] = mask[1, [N, CA]] = 1
  positions[0, CA] = (1.53, 0, 0)  # C at the origin, its angle 0: the cosine is 1
  positions[1, N] = (1.329, 0, 0)
  positions[1, CA] = (1.329, 1.46, 0)  # a right angle: the cosine is 0
  loss = peptide_bond_loss(*arguments(positions, mask, alanines(2))[:4], deviation)
  at_c, at_n = 1 + 0.4473 - 12 * deviation, 0.5203 - 12 * 0.0353
  assert float(loss) == pytest.approx(at_c + at_n, rel=1e-3)


def test_an_overlap_counts_for_both_atoms_beyond_what_is_tolerated():
  distance, ca_ca = 1.5, 2 * 1.7
  inputs = two_atoms(distance, CA, CA, residue_index=np.array([0, 5]))
  assert float(clash_loss(*inputs)) == pytest.approx(2 * (ca_ca - 1.5 - distance), rel=1e-4)
  assert float(violation_loss(*inputs)) == pytest.approx(ca_ca - 1.5 - distance, rel=1e-4)  # per atom
  assert float(clash_loss(*two_atoms(ca_ca - 1.5 + 0.01, CA, CA))) == 0


@pytest.mark.parametrize('inputs, clashes', [
  (two_atoms(1.33, C, N), False),  # a peptide bond
  (two_atoms(1.33, C, N, residue_index=np.array([0, 2])), True),
  (two_atoms(1.33, C, N, asym_id=np.array([1, 2])), True),  # of two chains
  (two_atoms(1.33, N, C), True),
  (two_atoms(2.05, SG, SG, 'CC'), False),  # a disulphide bond
  (two_atoms(1.33, CA, CA, residue_index=np.array([3, 3])), False),  # equal numbers are never compared
])  # fmt: skip
def test_bonds_are_exempt_from_clashes(inputs, clashes):
  assert bool(clash_loss(*inputs) > 0) == clashes


def test_every_pair_is_found_whatever_its_columns():
  rng = np.random.default_rng(0)
  num_res = 6
  aatype = rng.integers(0, 20, num_res)
  mask = residues.ATOM14_MASK[aatype] * (rng.random((num_res, 14)) < 0.8)
  positions = 2 * rng.normal(size=(num_res, 14, 3))
  radius = stereochemistry.ATOM14_RADIUS[aatype]
  expected = 0.0
  for i in range(num_res):
    for j in range(i + 1, num_res):
      for a in np.nonzero(mask[i])[0]:
        for b in np.nonzero(mask[j])[0]:
          exempt = (j == i + 1 and (a, b) == (C, N)) or (a, b) == (SG, SG)
          overlap = radius[i, a] + radius[j, b] - 1.5 - np.linalg.norm(positions[i, a] - positions[j, b])
          expected += 0 if exempt else 2 * max(overlap, 0)
  assert expected > 10
  assert float(clash_loss(*arguments(positions, mask, aatype))) == pytest.approx(expected, rel=1e-4)


def test_a_bond_within_a_residue_costs_four_times_its_excess():
  positions, mask = np.zeros((1, 14, 3)), np.zeros((1, 14))
  mask[0, [N, CA]] = 1
  positions[0, CA, 0] = 2.0  # of 1.459 with deviation 0.020
  loss = within_residue_loss(*arguments(positions, mask, alanines(1))[:3])
  assert float(loss) == pytest.approx(4 * (2.0 - 1.459 - 12 * 0.020), rel=1e-4)


def test_violations_do_not_change_when_the_structure_moves():
  batch = small_targets.gap_batch()
  structure = small_targets.prediction(batch).structure
  inputs = arguments(structure.atom14_positions, residues.ATOM14_MASK[batch.aatype], batch.aatype, batch.residue_index)
  turn = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32)
  moved = inputs[0] @ turn + np.array([3, -2, 5], np.float32)
  before, after = violation_loss(*inputs), violation_loss(moved, *inputs[1:])
  assert float(before) > 0.1
  assert float(after) == pytest.approx(float(before), rel=1e-4)


def test_gradients_are_finite_where_atoms_coincide():
  aatype = np.arange(21, dtype=np.int32)
  positions = np.zeros((21, 14, 3))
  inputs = arguments(positions, residues.ATOM14_MASK[aatype], aatype)
  gradient = small_targets.fast_jit(jax.grad(violations.violation_loss))(*inputs)
  assert np.isfinite(gradient).all()


def test_following_the_gradient_repairs_a_structure():
  batch = small_targets.gap_batch()
  atoms = small_targets.prediction(batch, noise=0.5).structure.atom14_positions
  inputs = arguments(atoms, residues.ATOM14_MASK[batch.aatype], batch.aatype, batch.residue_index)
  step = small_targets.fast_jit(jax.value_and_grad(violations.violation_loss))
  positions, first = inputs[0], None
  for _ in range(60):
    loss, gradient = step(positions, *inputs[1:])
    first = float(loss) if first is None else first
    positions -= 2.0 * gradient
  assert float(loss) < 0.8 * first


def test_the_gradient_of_the_clashes_never_holds_all_pairs():
  num_res = 64
  aatype = np.arange(num_res) % 20
  positions = 10 * np.random.default_rng(1).normal(size=(num_res, 14, 3))
  inputs = arguments(positions, residues.ATOM14_MASK[aatype], aatype)
  compiled = jax.jit(jax.grad(violations.clash_loss)).lower(*inputs).compile()
  all_pairs = (14 * num_res) ** 2 * 4  # bytes of one float32 each
  assert compiled.memory_analysis().temp_size_in_bytes < all_pairs
