# SPDX-License-Identifier: Apache-2.0
"""Ideal distances and their bounds against the published tables, and the other names of symmetric ends."""

import numpy as np
import pytest
from alphafold.common import residue_constants as published

from alphafold_jax.constants import residues, rigid_groups, stereochemistry

NAMES = sorted(stereochemistry.BONDS)


def test_bounds_equal_the_published_ones():
  theirs = published.make_atom14_dists_bounds(overlap_tolerance=1.5, bond_length_tolerance_factor=12.0)
  off_diagonal = 1 - np.eye(14)
  for ours, name in ((stereochemistry.LOWER_BOUND, 'lower_bound'), (stereochemistry.UPPER_BOUND, 'upper_bound')):
    np.testing.assert_allclose(ours * off_diagonal, theirs[name] * off_diagonal, rtol=1e-6, atol=1e-6)


def test_lengths_and_angles_equal_the_published_ones():
  bonds, across, angles = published.load_stereo_chemical_props()
  for name in NAMES:
    assert {(a, b): (length, std) for a, b, length, std in stereochemistry.BONDS[name]} == {
      (bond.atom1_name, bond.atom2_name): (bond.length, bond.stddev) for bond in bonds[name]
    }
    ours = {(a, b, c): np.radians((angle, std)) for a, b, c, angle, std in stereochemistry.ANGLES[name]}
    theirs = {(x.atom1_name, x.atom2_name, x.atom3name): (x.angle_rad, x.stddev) for x in angles[name]}
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose(list(ours.values()), [theirs[key] for key in ours], rtol=1e-9)
    ideal = stereochemistry.ideal_distances(name)
    for bond in across[name]:
      assert ideal[bond.atom1_name, bond.atom2_name] == pytest.approx((bond.length, bond.stddev), rel=1e-9)


def test_numbers_between_residues_equal_the_published_ones():
  ours = stereochemistry
  lengths, deviations = zip(ours.PEPTIDE_BOND, ours.PEPTIDE_BOND_PROLINE)
  assert list(lengths) == published.between_res_bond_length_c_n
  assert list(deviations) == published.between_res_bond_length_stddev_c_n
  assert list(ours.COS_CA_C_N) == published.between_res_cos_angles_ca_c_n
  assert list(ours.COS_C_N_CA) == published.between_res_cos_angles_c_n_ca
  assert ours.VAN_DER_WAALS_RADIUS == published.van_der_waals_radius


def test_the_deviation_across_an_angle_is_what_independent_errors_give():
  rng = np.random.default_rng(0)
  first, second, angle = (1.5, 0.02), (1.4, 0.03), (115.0, 2.0)
  a, b, gamma = (rng.normal(mean, std, 200_000) for mean, std in (first, second, np.radians(angle)))
  length = np.sqrt(a**2 + b**2 - 2 * a * b * np.cos(gamma))
  mean, deviation = stereochemistry.across_angle(first, second, angle)
  assert mean == pytest.approx(length.mean(), rel=1e-3)
  assert deviation == pytest.approx(length.std(), rel=0.02)


@pytest.mark.parametrize('restype', range(20))
def test_idealised_residues_are_within_their_bounds(restype):
  name = residues.RESTYPE_1TO3[residues.RESTYPES[restype]]
  backbone = {atom: np.array(place) for atom, group, *place in rigid_groups.GROUP_ATOMS[name] if group == 0}
  columns = [residues.ATOM14_NAMES[restype].index(atom) for atom in backbone]
  places = np.array(list(backbone.values()))
  distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
  pairs = ~np.eye(len(places), dtype=bool)
  assert (distances >= stereochemistry.LOWER_BOUND[restype][np.ix_(columns, columns)])[pairs].all()
  assert (distances <= stereochemistry.UPPER_BOUND[restype][np.ix_(columns, columns)])[pairs].all()


def test_twins_are_where_half_a_turn_changes_nothing_but_names():
  assert stereochemistry.TWINS.keys() == rigid_groups.PI_PERIODIC.keys()
  swaps = published.residue_atom_renaming_swaps
  assert {name: dict(pairs) for name, pairs in stereochemistry.TWINS.items()} == swaps


def test_naming_twice_over_is_the_first_naming():
  columns = stereochemistry.TWIN_COLUMNS
  np.testing.assert_array_equal(np.take_along_axis(columns, columns, axis=1), np.tile(np.arange(14), (21, 1)))
  outside = np.delete(columns, np.arange(*stereochemistry.TWIN_SPAN), axis=1)
  assert (outside == np.delete(np.arange(14), np.arange(*stereochemistry.TWIN_SPAN))).all()
