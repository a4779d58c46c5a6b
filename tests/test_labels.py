# SPDX-License-Identifier: Apache-2.0
"""What losses compare with: frames and angles of known structures, missing atoms, and both names of symmetric ends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_targets
from small_targets import BATCHES

from alphafold_jax.constants import residues, rigid_groups, stereochemistry
from alphafold_jax.geometry import atoms
from alphafold_jax.losses import labels

SYMMETRIC = {letter: residues.RESTYPE_INDEX[letter] for letter in 'DEFY'}
make_labels = small_targets.fast_jit(labels.make_labels)
rename_ambiguous = small_targets.fast_jit(labels.rename_ambiguous)


def all_types_batch():
  """A made-up structure of all residue types with known frames and angles, as targets."""
  sequence = ''.join(residues.RESTYPES)
  batch = small_targets.features.make_batch(sequence, num_templates=1)
  structure = small_targets.prediction(batch).structure
  mask = residues.ATOM37_MASK[batch.aatype]
  targets = dataclasses.replace(batch.targets, atom_positions=structure.atom_positions, atom_mask=mask)
  return dataclasses.replace(batch, targets=targets), structure


def test_frames_and_angles_of_built_atoms_are_those_they_were_built_from():
  batch, structure = all_types_batch()
  known = make_labels(batch)
  exists = np.concatenate(
    [np.ones((20, 1)), np.zeros((20, 2)), np.ones((20, 1)), rigid_groups.CHI_MASK[batch.aatype]], axis=1
  )
  np.testing.assert_array_equal(known.groups_mask, exists)
  shown = exists > 0
  # Idealised coordinates have three decimals, and some rings are not quite flat.
  np.testing.assert_allclose(known.groups.rotation[shown], structure.group_rotations[shown], atol=5e-3)
  np.testing.assert_allclose(known.groups.translation[shown], structure.group_translations[shown], atol=1e-4)
  np.testing.assert_allclose(known.backbone.translation, structure.frame_translations[-1], atol=1e-5)
  chi = np.asarray(known.torsions_mask)[:, 3:] > 0
  np.testing.assert_array_equal(chi, rigid_groups.CHI_MASK[batch.aatype] > 0)
  np.testing.assert_allclose(known.torsions[:, 3:][chi], structure.angles[-1, :, 3:][chi], atol=5e-3)


def test_alternative_frames_are_those_of_atoms_under_the_other_names():
  batch, _ = all_types_batch()
  known = make_labels(batch)
  renamed = atoms.atom14_to_atom37(known.alternative_atom14_positions, batch.aatype)
  again = make_labels(small_targets.with_targets(batch, atom_positions=np.asarray(renamed)))
  shown = np.asarray(known.groups_mask) > 0
  np.testing.assert_allclose(again.groups.rotation[shown], known.alternative_groups.rotation[shown], atol=5e-3)
  np.testing.assert_allclose(again.groups.translation[shown], known.alternative_groups.translation[shown], atol=1e-5)
  np.testing.assert_allclose(again.torsions[:, 3:], known.alternative_torsions[:, 3:], atol=5e-3)


def test_only_symmetric_ends_have_a_second_name():
  batch, _ = all_types_batch()
  known = make_labels(batch)
  differs = np.any(np.asarray(known.has_twin) > 0, axis=1)
  assert {residues.RESTYPES[restype] for restype in batch.aatype[differs]} == SYMMETRIC.keys()
  moved = np.any(known.alternative_atom14_positions != known.atom14_positions, axis=-1)
  np.testing.assert_array_equal(moved, np.asarray(known.has_twin) > 0)


def test_the_other_names_of_the_other_names_are_the_first():
  rng = np.random.default_rng(0)
  aatype = np.arange(21)
  values = jnp.asarray(rng.normal(size=(21, 14, 3)))
  np.testing.assert_array_equal(atoms.swap_names(aatype, atoms.swap_names(aatype, values)), values)


def test_layouts_of_37_and_14_atoms_convert_into_one_another():
  rng = np.random.default_rng(1)
  aatype = np.arange(21)
  atoms37 = jnp.asarray(rng.normal(size=(21, 37, 3)), jnp.float32) * residues.ATOM37_MASK[..., None]
  there = atoms.atom37_to_atom14(atoms37, aatype)
  np.testing.assert_array_equal(atoms.atom14_to_atom37(there, aatype), atoms37)
  np.testing.assert_array_equal(atoms.atom37_to_atom14(jnp.ones((21, 37)), aatype), residues.ATOM14_MASK)


@pytest.mark.parametrize('missing, groups', [('CG', (4, 5)), ('CB', (4,)), ('O', (3,)), ('N', (0,)), ('CA', (0, 3))])
def test_a_group_is_unknown_without_an_atom_that_places_it(missing, groups):
  batch, _ = all_types_batch()
  place = residues.RESTYPE_INDEX['D']  # CA-CB-CG and CB-CG-OD1 place its chi groups
  mask = batch.targets.atom_mask.copy()
  mask[place, residues.ATOM_INDEX[missing]] = 0
  before = np.asarray(make_labels(batch).groups_mask)
  after = np.asarray(make_labels(small_targets.with_targets(batch, atom_mask=mask)).groups_mask)
  lost = before - after
  expected = {'CG': {4, 5}, 'CB': {4, 5}, 'O': {3}, 'N': {0}, 'CA': {0, 3, 4}}[missing]
  assert {int(group) for group in np.nonzero(lost[place])[0]} == expected | set(groups)
  assert not np.delete(lost, place, axis=0).any()


@pytest.mark.parametrize('name', BATCHES)
def test_labels_are_finite_whatever_is_missing(name):
  for leaf in jax.tree.leaves(make_labels(BATCHES[name]())):
    assert np.isfinite(leaf).all()


def test_what_stands_at_unknown_atoms_does_not_matter():
  batch = BATCHES['ragged and padded']()
  strewn = np.where(batch.targets.atom_mask[..., None] > 0, batch.targets.atom_positions, np.nan)
  expected = make_labels(batch)
  for a, b in zip(
    jax.tree.leaves(make_labels(small_targets.with_targets(batch, atom_positions=strewn))),
    jax.tree.leaves(expected),
  ):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('swapped', [False, True])
def test_atoms_get_the_names_that_fit_the_prediction(swapped):
  batch, structure = all_types_batch()
  known = make_labels(batch)
  predicted = jnp.asarray(structure.atom14_positions)
  if swapped:
    predicted = atoms.swap_names(batch.aatype, predicted)
  predicted += 0.3 * np.random.default_rng(2).normal(size=predicted.shape)
  named = rename_ambiguous(known, predicted)
  expected = known.alternative_atom14_positions if swapped else known.atom14_positions
  np.testing.assert_array_equal(named.atom14_positions, expected)
  groups = known.alternative_groups if swapped else known.groups
  np.testing.assert_array_equal(named.groups.rotation, groups.rotation)


def test_names_do_not_depend_on_where_the_prediction_stands():
  batch = small_targets.gap_batch()
  known = make_labels(batch)
  predicted = jnp.asarray(small_targets.prediction(batch).structure.atom14_positions)
  turn = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)
  named, moved = (rename_ambiguous(known, x).atom14_positions for x in (predicted, predicted @ turn + 7))
  np.testing.assert_array_equal(named, moved)


def test_residues_are_named_one_by_one():
  batch, structure = all_types_batch()
  known = make_labels(batch)
  place = SYMMETRIC['F']
  swapped = atoms.swap_names(batch.aatype, jnp.asarray(structure.atom14_positions))
  predicted = jnp.asarray(structure.atom14_positions).at[place].set(swapped[place])
  named = rename_ambiguous(known, predicted).atom14_positions
  changed = np.any(named != known.atom14_positions, axis=(1, 2))
  assert np.nonzero(changed)[0].tolist() == [place]
  columns = np.nonzero(stereochemistry.TWIN_COLUMNS[place] != np.arange(14))[0]
  assert np.any(named[place] != known.atom14_positions[place], axis=-1).nonzero()[0].tolist() == columns.tolist()
