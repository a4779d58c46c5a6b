# SPDX-License-Identifier: Apache-2.0
"""The residue tables against the published ones, and what must hold among them."""

import string

import numpy as np
import pytest
from alphafold.common import residue_constants as published

from alphafold_jax.constants import residues, rigid_groups

TABLES = {
  'atom37 mask': (residues.ATOM37_MASK, published.restype_atom37_mask),
  'atom14 mask': (residues.ATOM14_MASK, published.restype_atom14_mask),
  'group of each atom': (rigid_groups.ATOM14_GROUP, published.restype_atom14_to_rigid_group),
  'position in its group': (rigid_groups.ATOM14_GROUP_POSITIONS, published.restype_atom14_rigid_group_positions),
  'default frames': (rigid_groups.DEFAULT_FRAMES, published.restype_rigid_group_default_frame),
  'chi mask': (rigid_groups.CHI_MASK[:20], published.chi_angles_mask),
  'chi atoms': (rigid_groups.CHI_ATOM37[:20], published.chi_angles_atom_indices),
  'pi-periodic chis': (rigid_groups.CHI_PI_PERIODIC, published.chi_pi_periodic),
}
RESTYPES = range(20)


@pytest.mark.parametrize('name', TABLES)
def test_tables_equal_the_published_ones(name):
  ours, theirs = TABLES[name]
  theirs = np.asarray(theirs)
  assert ours.shape == theirs.shape
  assert ours.dtype == (np.int32 if theirs.dtype.kind == 'i' else np.float32)
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_names_and_their_order_equal_the_published_ones():
  assert list(residues.RESTYPES) == published.restypes
  assert list(residues.ATOM_TYPES) == published.atom_types
  assert [residues.RESTYPE_1TO3[letter] for letter in published.restypes_with_x] == published.resnames
  assert [list(names) for names in residues.ATOM14_NAMES] == [
    published.restype_name_to_atom14_names[name] for name in published.resnames
  ]


def test_every_capital_letter_and_the_gap_have_the_published_token():
  assert set(residues.LETTER_TO_TOKEN) == set(string.ascii_uppercase) | {'-'}
  for letter, hhblits_id in published.HHBLITS_AA_TO_ID.items():
    assert residues.LETTER_TO_TOKEN[letter] == published.MAP_HHBLITS_AATYPE_TO_OUR_AATYPE[hhblits_id], letter


def test_tokens_spell_the_alphabet():
  assert [residues.LETTER_TO_TOKEN[letter] for letter in residues.MSA_ALPHABET] == list(range(22))
  assert residues.MSA_ALPHABET[residues.UNKNOWN] == 'X'
  assert residues.MSA_ALPHABET[residues.GAP] == '-'
  assert residues.MASK_TOKEN == len(residues.MSA_ALPHABET)


def test_names_of_three_letters_invert_those_of_one():
  assert {residues.RESTYPE_3TO1[name]: name for name in residues.RESTYPE_3TO1} == residues.RESTYPE_1TO3


@pytest.mark.parametrize('restype', range(21))
def test_atoms_survive_the_way_to_37_columns_and_back(restype):
  held = residues.ATOM14_MASK[restype] > 0
  columns = np.arange(14)
  there = residues.ATOM14_TO_ATOM37[restype]
  assert np.array_equal(residues.ATOM37_TO_ATOM14[restype][there][held], columns[held])
  assert [residues.ATOM_TYPES[column] for column in there[held]] == [n for n in residues.ATOM14_NAMES[restype] if n]
  assert sorted(there[held]) == list(np.flatnonzero(residues.ATOM37_MASK[restype]))
  assert not there[~held].any()
  assert not residues.ATOM37_TO_ATOM14[restype][residues.ATOM37_MASK[restype] == 0].any()


@pytest.mark.parametrize('restype', RESTYPES)
def test_default_frames_are_rotations_or_absent(restype):
  exists = np.concatenate([np.ones(4), rigid_groups.CHI_MASK[restype]])
  rotations = rigid_groups.DEFAULT_FRAMES[restype, :, :3, :3].astype(np.float64)
  gram = np.einsum('gji,gjk->gik', rotations, rotations)
  np.testing.assert_allclose(gram, exists[:, None, None] * np.eye(3), atol=1e-6)
  np.testing.assert_allclose(np.linalg.det(rotations), exists, atol=1e-6)


@pytest.mark.parametrize('restype', RESTYPES)
def test_the_last_atom_of_a_chi_lies_in_the_plane_of_its_group_at_positive_y(restype):
  for chi in np.flatnonzero(rigid_groups.CHI_MASK[restype]):
    atom = residues.ATOM37_TO_ATOM14[restype, rigid_groups.CHI_ATOM37[restype, chi, 3]]
    assert rigid_groups.ATOM14_GROUP[restype, atom] == 4 + chi
    _, y, z = rigid_groups.ATOM14_GROUP_POSITIONS[restype, atom]
    assert y > 0.5 and abs(z) < 1e-6


@pytest.mark.parametrize('restype', RESTYPES)
def test_every_atom_of_the_side_chain_moves_with_an_existing_chi(restype):
  groups = set(rigid_groups.ATOM14_GROUP[restype][residues.ATOM14_MASK[restype] > 0])
  chis = {4 + chi for chi in np.flatnonzero(rigid_groups.CHI_MASK[restype])}
  assert groups == {0, 3} | chis


def test_the_periodic_chi_is_the_last_of_each_residue_with_interchangeable_names():
  names = [residues.RESTYPE_1TO3[residues.RESTYPES[i]] for i in np.flatnonzero(rigid_groups.CHI_PI_PERIODIC.any(-1))]
  assert set(names) == set(published.residue_atom_renaming_swaps)
  for restype in RESTYPES:
    for chi in np.flatnonzero(rigid_groups.CHI_PI_PERIODIC[restype]):
      assert chi == rigid_groups.CHI_MASK[restype].sum() - 1
