# SPDX-License-Identifier: Apache-2.0
"""Chains keep the order in which they were given, and each residue knows its chain, its entity and its copy."""

import numpy as np
import pytest

from alphafold_jax.data.chains import Chains
from alphafold_jax.errors import InputError

ABA = Chains(('MKT', 'AY', 'MKT'))


def test_chains_are_numbered_as_given_and_entities_by_first_appearance():
  assert ABA.names == ('A', 'B', 'C')
  assert ABA.sequence == 'MKTAYMKT'
  assert (ABA.lengths, ABA.num_res, len(ABA)) == ((3, 2, 3), 8, 3)
  assert ABA.entities == (1, 2, 1)
  assert ABA.sym == (1, 1, 2)
  assert ABA.distinct == ('MKT', 'AY')
  assert ABA.copies == (2, 1)
  assert [ABA.sequence[span] for span in ABA.spans] == list(ABA.sequences)


def test_each_residue_knows_its_chain_entity_copy_and_place():
  assert ABA.asym_id.tolist() == [1, 1, 1, 2, 2, 3, 3, 3]
  assert ABA.entity_id.tolist() == [1, 1, 1, 2, 2, 1, 1, 1]
  assert ABA.sym_id.tolist() == [1, 1, 1, 1, 1, 2, 2, 2]
  assert ABA.residue_index.tolist() == [0, 1, 2, 0, 1, 0, 1, 2]
  assert {ABA.asym_id.dtype, ABA.entity_id.dtype, ABA.sym_id.dtype, ABA.residue_index.dtype} == {np.dtype(np.int32)}


def test_a_monomer_is_an_assembly_of_one_chain():
  one = Chains.cut('MKTAY')
  assert (one.lengths, one.names, one.entities, one.copies) == ((5,), ('A',), (1,), (1,))
  assert one.residue_index.tolist() == [0, 1, 2, 3, 4]
  assert set(one.asym_id) == set(one.entity_id) == set(one.sym_id) == {1}


def test_a_joined_sequence_is_cut_by_lengths():
  assert Chains.cut('MKTAYMKT', (3, 2, 3)) == ABA
  assert Chains.cut('MKTAY', (3, 2), ('H', 'L')).names == ('H', 'L')
  assert len(Chains.cut('A' * 300, (1,) * 300).names) == 300


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: Chains(()), 'an assembly without chains'),
    (lambda: Chains(('MKT', '')), r'chain 2 of 2 \(B\) is empty; give its sequence, or leave it out'),
    (lambda: Chains(('MKT', 'AY'), ('A', 'A')), "two chains have the name 'A'; give each chain a name of its own"),
    (lambda: Chains(('MKT', 'AY'), ('A',)), '1 chain name for 2 chains; give each chain one'),
    (lambda: Chains.cut('MKTAY', (3, 3)), r'chains of 3 \+ 3 residues; the sequence has 5'),
  ],
)
def test_what_is_no_assembly_is_refused(make, message):
  with pytest.raises(InputError, match=message):
    make()
