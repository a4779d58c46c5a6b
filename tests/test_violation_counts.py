# SPDX-License-Identifier: Apache-2.0
"""Violations in a structure: none in a good experiment, each kind where it was made, and as published."""

import numpy as np
import pytest
import score_cases
from alphafold.model import all_atom as published

from alphafold_jax.constants import residues, stereochemistry
from alphafold_jax.geometry import violations

AT = residues.ATOM_INDEX
NONE = {'bond_lengths': 0, 'bond_angles': 0, 'chain_breaks': 0, 'clashes': 0, 'residues': 0}


@pytest.fixture
def protein():
  """HRAS at 1.26 Å but for its disordered end: types [N], positions [N, 37, 3], mask [N, 37]."""
  true = score_cases.chain('1ctq_A')
  aatype = np.array([residues.RESTYPE_INDEX[letter] for letter in true.sequence[:160]])
  return aatype, true.atom_positions[:160].astype(np.float64), true.atom_mask[:160] * residues.ATOM37_MASK[aatype]


def counted(aatype, positions, mask, bonded=None):
  bonded = np.ones(len(aatype) - 1, bool) if bonded is None else bonded
  found = violations.count_violations(aatype, positions, mask, bonded)
  assert found.share == pytest.approx(found.residues / np.sum(mask.any(axis=1)))
  return {name: getattr(found, name) for name in NONE}


def test_a_good_experiment_has_none(protein):
  assert counted(*protein) == NONE


def test_an_atom_pulled_out_breaks_its_bond(protein):
  aatype, positions, mask = protein
  k = np.flatnonzero(aatype == residues.RESTYPE_INDEX['K'])[0]
  bond = positions[k, AT['NZ']] - positions[k, AT['CE']]
  positions[k, AT['NZ']] += 0.8 * bond / np.linalg.norm(bond)
  assert counted(*protein) == NONE | {'bond_lengths': 1, 'residues': 1}


def test_a_gap_between_neighbours_is_a_break_and_between_others_is_not(protein):
  aatype, positions, mask = protein
  positions[80:] += (300, 0, 0)
  found = counted(*protein)
  assert (found['chain_breaks'], found['bond_lengths'], found['residues'], found['clashes']) == (1, 1, 2, 0)
  bonded = np.ones(len(aatype) - 1, bool)
  bonded[79] = False
  assert counted(*protein, bonded) == NONE


def test_one_part_of_a_chain_pushed_into_another_clashes(protein):
  aatype, positions, mask = protein
  side = [name for name in residues.ATOM14_NAMES[aatype[40]] if name]
  centre = positions[120, AT['CA']] - positions[40, AT['CA']]
  positions[40, [AT[name] for name in side]] += centre
  found = counted(*protein)
  assert found['clashes'] >= 1 and found['chain_breaks'] == 2
  alone = np.zeros_like(mask)
  alone[[40, 120]] = mask[[40, 120]]
  assert counted(aatype, positions, alone)['clashes'] >= 1


def test_disulphides_and_peptide_bonds_are_no_clashes():
  aatype = np.full(2, residues.RESTYPE_INDEX['C'])
  positions, mask = np.zeros((2, 37, 3)), np.zeros((2, 37))
  positions[1, AT['SG']] = (2.03, 0, 0)
  mask[:, AT['SG']] = 1
  assert counted(aatype, positions, mask, np.array([False])) == NONE
  mask[:] = 0
  positions[1, AT['N']] = (1.33, 0, 0)
  mask[0, AT['C']] = mask[1, AT['N']] = 1
  assert counted(aatype, positions, mask, np.array([True])) == NONE
  assert counted(aatype, positions, mask, np.array([False])) == NONE | {'clashes': 1, 'residues': 2}


def test_residues_with_broken_peptide_bonds_are_those_of_the_published_program(protein, monkeypatch):
  # It takes the bond's standard deviation for that of the angle at C.
  monkeypatch.setattr(stereochemistry, 'COS_CA_C_N', (stereochemistry.COS_CA_C_N[0], stereochemistry.PEPTIDE_BOND[1]))
  aatype, positions, mask = protein
  number = np.arange(positions[..., 0].size).reshape(positions.shape[:2])
  positions += 0.15 * np.sin(number[..., None] * [1.0, 1.7, 2.3])
  found = counted(*protein)
  columns = residues.ATOM14_TO_ATOM37[aatype]
  rows = np.arange(len(aatype))[:, None]
  positions14 = positions[rows, columns].astype(np.float32)
  mask14 = (mask[rows, columns] * residues.ATOM14_MASK[aatype]).astype(np.float32)
  index = np.arange(len(aatype))
  theirs = published.between_residue_bond_loss(
    positions14, mask14, index, aatype, tolerance_factor_soft=12.0, tolerance_factor_hard=12.0
  )
  involved = np.zeros(len(aatype), bool)
  between = violations._between_neighbours(aatype, positions, mask > 0, np.ones(len(aatype) - 1, bool))
  for off in (between['length'], between['angle_at_c'], between['angle_at_n']):
    involved[:-1] |= off
    involved[1:] |= off
  their_involved = np.asarray(theirs['per_residue_violation_mask']) > 0
  assert 10 < involved.sum() < len(aatype)
  np.testing.assert_array_equal(involved, their_involved)
  breaks = published.extreme_ca_ca_distance_violations(positions14, mask14, index)
  assert found['chain_breaks'] == round(float(breaks) * (len(aatype) - 1))
