# SPDX-License-Identifier: Apache-2.0
"""Scores of interfaces: against other programs' records, by closed forms, and by their invariances."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import random_complexes
from random_complexes import CASES, kept_of, made_up

from alphafold_jax.interfaces import SCORES, Interfaces, expected, pairs, score_matrix, tm_of_chains
from alphafold_jax.interfaces.layout import ChainLayout
from alphafold_jax.naming import chain_name

DATA = Path(__file__).parent / 'data'


def scored(one, **changes):
  fields = {name: getattr(one, name) for name in ('asym_id', 'residue_index', 'positions', 'atom_mask', 'plddt', 'pae')}
  return Interfaces(**fields | {'chain_tm': kept_of(one)} | changes)


def chains_of(name):
  return [chain_name(i) for i in range(len(CASES[name]))]


# ------------------------------------------------------------------------------------------ other programs


def recorded(program):
  return json.loads((DATA / f'interfaces_{program}.json').read_text())


@pytest.mark.parametrize('name', CASES)
def test_scores_equal_those_of_colabfold_to_all_digits(name):
  theirs, chains = recorded('colabfold')[name], chains_of(name)
  ours = scored(made_up(name))
  assert ours.by_direction('iptm', chains) == theirs['pairwise_iptm']
  assert ours.by_direction('actifptm', chains) == theirs['pairwise_actifptm']
  assert dict(zip(chains, ours.chain_ptm.tolist())) == theirs['per_chain_ptm']
  assert ours.actifptm == theirs['actifptm']
  for cutoff in random_complexes.CUTOFFS:
    ours = scored(made_up(name), cutoff=cutoff)
    found = {key: ours.by_direction(key, chains) for key in ('ipsae', 'pdockq', 'pdockq2')}
    assert found == theirs[f'{cutoff:g}']


def written(name, **changes):
  """A complex as other programs read it from files."""
  one = made_up(name)
  return scored(one, pae=one.pae.astype(float).round(2), positions=one.positions.astype(float).round(3), **changes)


@pytest.mark.parametrize('name', CASES)
def test_scores_equal_those_of_foldmetrics(name):
  ours, chains = written(name, cutoff=10.0), chains_of(name)
  for pair, theirs in recorded('foldmetrics')[name].items():
    i, j = map(chains.index, pair.split('-'))
    found = {
      f'{key}_{way}': ours.matrix(key)[at]
      for key in ('pdockq2', 'ipsae')
      for way, at in (('ab', (i, j)), ('ba', (j, i)))
    }
    same = {'n_contacts': 'contacts', 'iplddt': 'plddt', 'pdockq': 'pdockq', 'ipsae_d0chn': 'ipsae_d0chn',
            'iptm_pae': 'iptm_d0chn', 'lis': 'lis', 'ipae_mean': 'pae', 'ipae_min': 'min_pae'}  # fmt: skip
    found |= {key: ours.by_pair(chains)[pair][name] for key, name in same.items()}
    digits = {key: SCORES[same.get(key, key[:-3])].digits for key in theirs}
    theirs = {key: value or 0.0 for key, value in theirs.items()}  # they have none without contacts
    assert found.keys() == theirs.keys()
    for key, value in found.items():
      assert abs(value - theirs[key]) <= 0.5001 * 10.0 ** -digits[key], (pair, key)


@pytest.mark.parametrize('name', CASES)
def test_scores_with_the_length_scales_of_chains_and_domains_equal_those_of_ipsae(name):
  ours, chains = written(name, cutoff=10.0), chains_of(name)
  others = ours.by_direction('ipsae_d0chn', chains), ours.by_direction('ipsae_d0dom', chains)
  for pair, theirs in recorded('ipsae')[name].items():
    if theirs['n0chn'] > 27:  # there fewer count as 27, before version 4
      assert (others[0][pair], ours.by_direction('iptm_d0chn', chains)[pair]) == (
        theirs['ipSAE_d0chn'],
        theirs['ipTM_d0chn'],
      )
    if theirs['n0dom'] > 27:
      assert others[1][pair] == theirs['ipSAE_d0dom']


# ------------------------------------------------------------------------------------------ closed forms


def flat(lengths, error, **changes):
  """Chains whose error is the same everywhere, and whose residues stand 100 Å apart."""
  num_res, asym_id = sum(lengths), np.repeat(np.arange(len(lengths)) + 1, lengths)
  mask = np.zeros((num_res, 37))
  mask[:, [1, 3]] = 1
  positions = np.zeros((num_res, 37, 3))
  positions[..., 0] = 100 * np.arange(num_res)[:, None]
  arrays = {
    'asym_id': asym_id,
    'residue_index': np.concatenate([np.arange(n) for n in lengths]),
    'positions': positions,
    'atom_mask': mask,
    'plddt': np.full(num_res, 80.0),
    'pae': np.full((num_res, num_res), error),
    'chain_tm': np.zeros((num_res, len(lengths), 3)),
  }
  return Interfaces(**arrays | changes)


def test_an_interface_without_error_scores_one_and_a_wrong_one_nothing():
  sure, wrong = flat([30, 40], 0.0), flat([30, 40], 31.0)
  for name in ('ipsae', 'ipsae_d0chn', 'ipsae_d0dom', 'iptm_d0chn', 'lis'):
    np.testing.assert_array_equal(sure.matrix(name), [[0, 1], [1, 0]])
  for name in ('ipsae', 'ipsae_d0chn', 'ipsae_d0dom', 'lis', 'lia', 'ilis'):
    assert not wrong.matrix(name).any()
  assert sure.matrix('lia')[0, 1] == 30 * 40 and not sure.matrix('clia').any()


@pytest.mark.parametrize('at_once', [pairs._AT_ONCE, 1])
def test_the_length_scales_are_those_of_near_residues_of_chains_and_of_domains(monkeypatch, at_once):
  monkeypatch.setattr(pairs, '_AT_ONCE', at_once)
  # 40 of B are near to each of the first ten residues of A; to the others none is
  errors = np.full((70, 70), 20.0)
  errors[:10, 30:] = 6.0
  one = flat([30, 40], 0.0, pae=errors)
  terms = [1 / (1 + (6 / (1.24 * (n - 15) ** (1 / 3) - 1.8)) ** 2) for n in (40, 70, 50)]
  found = [one.matrix(name)[0, 1] for name in ('ipsae', 'ipsae_d0chn', 'ipsae_d0dom')]
  np.testing.assert_allclose(found, terms, atol=1e-6)
  assert not any(one.matrix(name)[1, 0] for name in ('ipsae', 'ipsae_d0chn', 'ipsae_d0dom'))
  assert one.by_pair('AB')['A-B']['ipsae'] == pytest.approx(terms[0], abs=1e-6)


def test_the_length_scale_is_one_for_few_residues():
  np.testing.assert_allclose(pairs.d0_of_near(np.array([0, 26, 27])), [1, 1, 1.24 * 12 ** (1 / 3) - 1.8])
  np.testing.assert_allclose(pairs.d0_of_whole(np.array([2, 27, 28])), [1, 1, 1.24 * 13 ** (1 / 3) - 1.8])


def test_a_cutoff_leaves_out_what_lies_at_it():
  assert not flat([30, 40], 15.0).matrix('ipsae').any() and flat([30, 40], 15.0, cutoff=15.1).matrix('ipsae').all(
    where=[[0, 1], [1, 0]]
  )


def test_estimates_of_dockq_follow_from_contacts_plddt_and_error():
  one = flat([3, 3], 5.0)
  positions = one.positions.copy()
  positions[3] = positions[0] + [0, 8, 0]  # the first residues touch at exactly 8 Å
  one = dataclasses.replace(one, positions=positions, plddt=np.array([90, 50, 50, 70, 50, 50.0]))
  assert one.matrix('contacts').tolist() == [[0, 1], [1, 0]] and one.matrix('plddt')[0, 1] == 80
  assert one.matrix('pdockq')[0, 1] == round(0.724 / (1 + np.exp(0.052 * 152.611)) + 0.018, 4)  # log of one contact
  x = 80 / (1 + 0.5**2)
  assert one.matrix('pdockq2')[0, 1] == round(1.31 / (1 + np.exp(-0.075 * (x - 84.733))) + 0.005, 4)
  assert not one.matrix('clia').any()  # 8 Å are no contact there
  assert not flat([3, 3], 5.0).matrix('pdockq').any() and not flat([3, 3], 5.0).matrix('pdockq2').any()


def test_contacts_count_for_clis_where_the_error_is_small():
  positions = np.zeros((6, 37, 3))
  for error, share, number in ((5.0, 1 - 5 / 12, 9), (12.0, 0, 0)):
    one = flat([3, 3], error, positions=positions)
    assert (one.matrix('clis')[0, 1], one.matrix('clia')[0, 1]) == (round(share, 4), number)
    assert one.matrix('contacts')[0, 1] == 9


def test_a_residue_without_a_place_touches_nothing_and_its_error_counts():
  one = flat([3, 3], 5.0)
  unknown = one.atom_mask * (np.arange(6) != 0)[:, None]
  crowded = np.zeros_like(one.positions)
  one = dataclasses.replace(one, positions=crowded, atom_mask=unknown)
  assert one.matrix('contacts')[0, 1] == 6 and one.matrix('lia')[0, 1] == 9


def test_the_direction_of_a_score_is_from_the_aligned_to_the_scored_chain():
  errors = np.full((5, 5), 20.0)
  errors[:2, 2:] = 3.0  # aligned on A, B is placed well
  one = flat([2, 3], 0.0, pae=errors)
  assert list(one.by_direction('lis', 'AB').items()) == [('A-B', 0.75), ('B-A', 0.0)]
  found = one.by_pair('AB')['A-B']
  assert (found['lis'], found['lia'], found['min_pae'], found['pae']) == (0.375, 3.0, 3.0, 11.5)
  assert list(one.by_direction('pdockq', 'AB')) == ['A-B']


# ------------------------------------------------------------------------------------------ clashes


def two_chains(distance, num_res=120):
  one = flat([num_res, num_res], 5.0)
  positions = one.positions.copy()
  positions[..., 1] += 3 * np.arange(37)  # atoms of a residue are apart
  positions[num_res:] = positions[:num_res] + [0, 0, distance]
  return dataclasses.replace(one, positions=positions)


def test_a_chain_on_top_of_another_clashes():
  one, apart = two_chains(1.0), two_chains(1.2)
  assert one.clashes.has_clash and not apart.clashes.has_clash
  assert one.clashes.between.tolist() == [[0, 240], [240, 0]] and one.by_pair('AB')['A-B']['clashes'] == 480
  assert not two_chains(1.0, 30).clashes.between[0, 0] and two_chains(1.0, 30).clashes.has_clash  # all of few atoms


@pytest.mark.parametrize(
  ('num_res', 'clashing', 'is_clash'), [(300, 50, False), (300, 51, True), (40, 20, False), (40, 21, True)]
)
def test_more_than_a_hundred_atoms_or_half_of_them_are_a_clash(num_res, clashing, is_clash):
  one = two_chains(1.0, num_res)
  positions = one.positions.copy()
  positions[num_res + clashing :] += [0, 0, 10]  # each residue has two atoms
  one = dataclasses.replace(one, positions=positions)
  assert one.clashes.between[0, 1] == 2 * clashing and one.clashes.has_clash == is_clash


def test_neighbours_in_a_chain_may_be_near_and_others_not():
  one = flat([3], 5.0)
  for moved, is_clash in ((1, False), (2, True)):
    positions = one.positions.copy()
    positions[moved] = positions[0] + [0, 0, 0.5]
    positions[..., 1] += 3 * np.arange(37)
    assert dataclasses.replace(one, positions=positions).clashes.has_clash == is_clash


def test_a_collapsed_complex_is_one_clash_however_many_atoms_are_in_a_place():
  one = flat([200, 200], 5.0, positions=np.zeros((400, 37, 3)))
  assert one.clashes.has_clash


# ------------------------------------------------------------------------------------------ invariances


def reordered(one, order):
  """The scores of the same residues in another order."""
  both = np.ix_(order, order)
  of_residues = {name: getattr(one, name)[order] for name in ('residue_index', 'positions', 'atom_mask', 'plddt')}
  asym_id = one.asym_id[order]
  kept = tm_of_chains(one.tm[both], one.contact[both], one.own_tm[order], asym_id)
  return Interfaces(**of_residues, asym_id=asym_id, pae=one.pae[both], chain_tm=kept)


def assert_same(ours, theirs, chains):
  """The scores of the one are those of these chains of the other."""
  for name in SCORES:
    np.testing.assert_array_equal(ours.matrix(name), theirs.matrix(name)[np.ix_(chains, chains)], err_msg=name)
  np.testing.assert_array_equal(ours.chain_ptm, theirs.chain_ptm[chains])
  assert ours.actifptm == theirs.actifptm and ours.clashes.has_clash == theirs.clashes.has_clash


def test_scores_do_not_depend_on_the_order_of_chains():
  one, swap = made_up('A2B'), [2, 0, 1]
  order = np.concatenate([np.flatnonzero(one.asym_id == chain + 1) for chain in swap])
  assert_same(reordered(one, order), scored(one), swap)


def test_scores_do_not_depend_on_how_residues_of_chains_are_interleaved():
  one = made_up('A2B')
  order = np.random.default_rng(0).permutation(len(one.aatype))
  first = np.sort(np.unique(one.asym_id[order], return_index=True)[1])
  assert_same(reordered(one, order), scored(one), one.asym_id[order][first] - 1)


def test_numbers_of_chains_may_be_any():
  one = made_up('two')
  other = scored(one, asym_id=np.where(one.asym_id == 1, 7, 3))
  assert other.by_pair('AB') == scored(one).by_pair('AB')


def test_blocks_of_any_size_give_the_same(monkeypatch):
  whole = scored(made_up('many short')).by_pair('ABCD')
  monkeypatch.setattr(pairs, '_AT_ONCE', 60)
  assert scored(made_up('many short')).by_pair('ABCD') == whole


def test_the_ext_metrics_are_iptm_above_ptm_on_and_actifptm_below_the_diagonal():
  one = made_up('A2B')
  kept, layout = kept_of(one), ChainLayout.of(one.asym_id)
  found = score_matrix(kept, one.asym_id)
  above, below = np.triu_indices(3, 1), np.tril_indices(3, -1)
  np.testing.assert_array_equal(found[above], expected.pairwise_iptm(kept, layout)[above])
  np.testing.assert_array_equal(found[below], expected.pairwise_actifptm(kept, layout)[below])
  np.testing.assert_array_equal(np.diagonal(found).round(3), scored(one).chain_ptm)


@pytest.mark.slow
def test_two_hundred_chains_of_five_thousand_residues_are_scored():
  num_res, num_chain, rng = 5000, 200, np.random.default_rng(0)
  one = flat([num_res // num_chain] * num_chain, 0.0)
  one = dataclasses.replace(one, pae=rng.uniform(0, 31, (num_res, num_res)).astype(np.float32))
  found = one.by_pair([chain_name(i) for i in range(num_chain)])
  assert len(found) == num_chain * (num_chain - 1) // 2
  assert all(np.isfinite(list(scores.values())).all() for scores in found.values())
