# SPDX-License-Identifier: Apache-2.0
"""`evaluate` of complexes: which chain stands for which, the scores of the whole, files, and what has no partner."""

import csv
import dataclasses
import json
import string

import numpy as np
import pytest
import score_cases
from complex_cases import COMPLEXES, compared, disturbed, moved, octahedron, placed, read, tetramers, write

from alphafold_jax import evaluation
from alphafold_jax.constants import residues
from alphafold_jax.data.structures import read_chain
from alphafold_jax.evaluation import aligning, mapping
from alphafold_jax.geometry import lddt
from alphafold_jax.geometry.tm_score import tm_score

CA = residues.ATOM_INDEX['CA']


def partners(predicted, true, most_tried: int = mapping.MOST_TRIED) -> str:
  """The names of the predicted chains in the order of the reference's, '-' for none."""
  best = mapping.best_assignment(compared(predicted, true), most_tried)
  return ''.join('-' if m < 0 else predicted[m].id for m in best)


def small(shift, name: str, turn=np.eye(3)):
  """A chain of 31 residues about the origin, turned and shifted."""
  chain = score_cases.chain('1aie_A')
  centre = score_cases.ca_of(chain).mean(axis=0)
  return placed(placed(chain, np.eye(3), -centre), turn, np.asarray(shift, float), name)


TURN = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])

# ------------------------------------------------------------------------------------------ which is which


def test_copies_are_exchanged_for_the_highest_dockq():
  true = [small((0, 0, 0), 'A'), small((14, 0, 0), 'B', TURN), small((14, 14, 0), 'C')]
  predicted = [dataclasses.replace(true[i], id=name) for name, i in (('X', 2), ('Y', 0), ('Z', 1))]
  assert partners(predicted, true) == partners(moved(predicted), true) == 'YZX'


def test_the_search_among_many_finds_what_trying_all_finds():
  predicted, true = tetramers()
  all_tried = partners(predicted, true)
  assert partners(predicted, true, most_tried=0) == all_tried == 'ECBFHGAD'


def test_twenty_four_copies_find_their_partners():
  true = octahedron()
  order = np.random.default_rng(3).permutation(24)
  predicted = moved([disturbed(dataclasses.replace(true[i], id=string.ascii_letters[30 + k]), 0.2 + 0.05 * i)
                     for k, i in enumerate(order)])  # fmt: skip
  one = compared(predicted, true)
  best = mapping.best_assignment(one)
  expected = tuple(int(np.flatnonzero(order == r)[0]) for r in range(24))
  assert len(one.interfaces) >= 24 and one.total(best) >= one.total(expected) - 1e-6


def test_a_dimer_finds_the_copy_that_it_fits_best():
  true = [small((0, 0, 0), 'A'), small((14, 0, 0), 'B', TURN), small((100, 0, 0), 'C'), small((100, 15, 0), 'D', TURN)]
  for copy, expected in (((0, 1), 'XY--'), ((2, 3), '--XY')):
    predicted = [dataclasses.replace(true[i], id=name) for i, name in zip(copy, 'XY')]
    assert partners(predicted, true) == partners(predicted, true, most_tried=0) == expected
  assert partners([*true, small((300, 0, 0), 'E')], true[:2]) == 'AB'


def test_chains_that_do_not_touch_are_assigned_by_how_they_lie():
  true = [small((0, 0, 0), 'A'), small((60, 0, 0), 'B'), small((0, 90, 0), 'C')]
  predicted = moved([dataclasses.replace(true[i], id=name) for name, i in (('X', 2), ('Y', 0), ('Z', 1))])
  one = compared(predicted, true)
  assert not one.interfaces and partners(predicted, true) == 'YZX'


def test_among_equal_interfaces_the_whole_decides():
  # Two equal dimers far apart: either could be the other as far as interfaces go.
  pair = [small((0, 0, 0), 'A'), small((14, 0, 0), 'B', TURN)]
  true = [*pair, *(placed(chain, np.eye(3), np.array([80.0, 0, 0]), name) for chain, name in zip(pair, 'CD')),
          *(placed(chain, np.eye(3), np.array([0, 120.0, 0]), name) for chain, name in zip(pair, 'EF'))]  # fmt: skip
  predicted = [dataclasses.replace(true[i], id=name) for name, i in zip('PQRSTU', (4, 5, 0, 1, 2, 3))]
  assert partners(moved(predicted), true) == 'RSTUPQ'


def test_different_proteins_never_stand_for_one_another():
  other = read_chain(score_cases.DATA / '1mul_A.cif.gz')
  other = placed(other, np.eye(3), (0, 25, 0) - score_cases.ca_of(other).mean(axis=0), 'M')
  true = [small((0, 0, 0), 'A'), other]
  predicted = [dataclasses.replace(other, id='A'), dataclasses.replace(true[0], id='B')]
  assert partners(predicted, true) == 'BA'


# ------------------------------------------------------------------------------------------ scores of the whole


@pytest.fixture(scope='module')
def trio():
  """A prediction of three chains, of which one is the copy of another, and the reference."""
  true = [small((0, 0, 0), 'A'), small((14, 0, 0), 'B', TURN), small((14, 14, 0), 'C')]
  predicted = moved([disturbed(dataclasses.replace(true[i], id=name), 0.5 + i / 2, 11) for name, i in zip('XYZ', (2, 0, 1))])
  return predicted, true


def test_scores_of_a_complex_are_those_of_its_chains_as_one(trio, tmp_path):
  predicted, true = trio
  found = evaluation.compare(write(tmp_path / 'p.pdb', predicted), write(tmp_path / 't.pdb', true))
  assert found.chain == 'A,B,C' and found.complex.partners == {'A': 'Y', 'B': 'Z', 'C': 'X'}
  own, theirs = (np.concatenate([chain.atom_positions for chain in chains])
                 for chains in ((predicted[1], predicted[2], predicted[0]), true))  # fmt: skip
  mask = np.concatenate([chain.atom_mask for chain in true])
  assert found.scores.tm_score == pytest.approx(tm_score(own[:, CA], theirs[:, CA], mask[:, CA]), abs=1e-4)
  assert found.num_res == found.num_common == 93 and found.identity == found.coverage == 1
  assert found.complex.dockq == pytest.approx(np.mean([one.dockq.score for one in found.complex.interfaces]))
  assert found.complex.dockq == found.complex.dockq_full and found.complex.missing == found.complex.extra == ()


def test_lddt_between_chains_is_its_definition(trio):
  predicted, true = trio
  laid_out = [aligning.lay_out(aligning.ChainPair(a, b, aligning.correspond(a, b)))
              for a, b in zip((predicted[1], predicted[2], predicted[0]), true)]  # fmt: skip
  whole, chain = aligning.join(laid_out), np.repeat(np.arange(3), 31)
  unnamed = whole._replace(aatype=np.full(93, residues.UNKNOWN))  # no names to exchange
  counted, kept = lddt.distances_between_chains(*unnamed, chain=chain)
  expected = score_cases.dense_lddt(*whole[1:], group=chain)
  assert kept.sum() / counted.sum() == pytest.approx(expected, abs=1e-9)
  two = [values[:62] for values in whole[1:]]
  assert kept[0, 1] / counted[0, 1] == pytest.approx(score_cases.dense_lddt(*two, group=chain[:62]), abs=1e-9)
  counted, kept = lddt.distances_between_chains(*whole, chain=chain)
  assert kept.sum() / counted.sum() >= expected


def test_a_complex_against_itself_is_perfect_whatever_the_order_of_its_chains(trio, tmp_path):
  _, true = trio
  reference = write(tmp_path / 't.pdb', true)
  for i, order in enumerate(([0, 1, 2], [2, 0, 1])):
    found = evaluation.compare(write(tmp_path / f'{i}.pdb', moved([true[k] for k in order])), reference)
    assert found.complex.partners == {'A': 'A', 'B': 'B', 'C': 'C'}
    assert (found.scores.lddt, found.scores.lddt_ca, found.scores.tm_score, found.complex.dockq,
            found.complex.interface_lddt) == pytest.approx((1,) * 5, abs=1e-4)  # fmt: skip


def test_clashes_between_chains_are_violations(trio, tmp_path):
  _, true = trio
  inside = placed(true[1], np.eye(3), np.array([-13.0, 0, 0]))
  reference = write(tmp_path / 't.pdb', true)
  apart, clashing = (evaluation.compare(write(tmp_path / 'p.pdb', chains), reference).violations
                     for chains in (true, [true[0], inside, true[2]]))  # fmt: skip
  assert clashing.clashes > apart.clashes + 10 and clashing.chain_breaks == apart.chain_breaks


def test_plddt_of_a_complex_goes_with_its_chains(trio, tmp_path):
  predicted, true = trio
  told = [dataclasses.replace(chain, b_factors=np.full(31, level, np.float32))
          for chain, level in zip(predicted, (70, 80, 90))]  # fmt: skip
  found = evaluation.compare(write(tmp_path / 'p.pdb', told), write(tmp_path / 't.pdb', true))
  np.testing.assert_array_equal(found.plddt, np.repeat([80, 90, 70], 31))


# ------------------------------------------------------------------------------------------ files and messages


@pytest.fixture(scope='module')
def folders(trio, tmp_path_factory):
  """A results folder of two complexes and a monomer, with its references."""
  predicted, true = trio
  out, references = tmp_path_factory.mktemp('out'), tmp_path_factory.mktemp('references')
  tag = 'rank_001_alphafold2_multimer_v3_model_1_seed_000'
  for job, own, theirs in (('trio', predicted, true), ('part', [*predicted[1:], read_chain(score_cases.DATA / '1mul_A.cif.gz')], true),
                           ('one', [true[0]], true)):  # fmt: skip
    write(out / f'{job}_unrelaxed_{tag}.pdb', own)
    content = {'plddt': [50 + i % 40 for i in range(sum(len(chain.sequence) for chain in own))], 'ptm': 0.8, 'iptm': 0.7}
    (out / f'{job}_scores_{tag}.json').write_text(json.dumps(content))
    write(references / f'{job}.pdb', theirs)
  return out, references


@pytest.fixture(scope='module')
def done(folders, tmp_path_factory):
  return evaluation.evaluate(*folders, tmp_path_factory.mktemp('evaluation'))


def test_files_say_which_chain_is_which_and_how_good_each_interface_is(done):
  rows = {row['target']: row for row in csv.DictReader((done.output / 'evaluation.csv').open())}
  assert (rows['trio']['chain'], rows['trio']['predicted_chains']) == ('A,B,C', 'Y,Z,X')
  assert rows['one']['predicted_chains'] == rows['one']['dockq'] == '' and rows['trio']['iptm'] == '0.7000'
  assert (rows['part']['chains'], rows['part']['chains_missing'], rows['part']['chains_extra']) == ('2', '1', '1')
  interfaces = list(csv.DictReader((done.output / 'evaluation_interfaces.csv').open()))
  content = {one['target']: one for one in json.loads((done.output / 'evaluation.json').read_text())['complexes']}
  assert content['trio']['partners'] == {'A': 'Y', 'B': 'Z', 'C': 'X'}
  assert content['part']['reference_chains_without_partner'] == ['C']
  assert [(row['chains'], row['predicted_chains'], row['quality']) for row in interfaces if row['target'] == 'part'] == [
    ('A-B', 'Y-Z', content['part']['interfaces'][0]['quality']), ('B-C', '', 'missing')]  # fmt: skip
  own = [float(row['dockq']) for row in interfaces if row['target'] == 'trio']
  assert float(rows['trio']['dockq']) == pytest.approx(np.mean(own), abs=1e-4)
  assert float(rows['part']['dockq_full']) == pytest.approx(float(rows['part']['dockq']) / 2, abs=1e-4)


def test_the_terminal_names_interfaces_and_chains_without_partners(done):
  text = done.text
  assert 'interface lDDT' in text and 'part rank 1 B-C' in text and 'missing' in text
  assert 'part rank 1: 1 chain of part.pdb (C) has no partner in the prediction' in text
  assert '(A) has no partner in the reference' in text and done.exit_code == 0


def test_an_evaluation_without_complexes_has_no_trace_of_them(folders, tmp_path):
  out, references = folders
  (tmp_path / 'evaluation_interfaces.csv').write_text('of an earlier evaluation\n')
  table = tmp_path / 'pairs.csv'
  table.write_text('prediction,reference\none,one\n')
  found = evaluation.evaluate(out, references, tmp_path, pairs=table)
  assert not (tmp_path / 'evaluation_interfaces.csv').exists() and 'dockq' not in found.statistics
  content = json.loads((tmp_path / 'evaluation.json').read_text())
  assert 'complexes' not in content and 'iptm' not in content['targets'][0] and 'DockQ' not in found.text


def test_a_table_may_name_the_chains_of_a_complex(folders, tmp_path):
  out, references = folders
  table = tmp_path / 'pairs.csv'
  table.write_text('prediction,reference,chain\ntrio,trio,B C\npart,trio,B X\n')
  found = evaluation.evaluate(out, references, tmp_path, pairs=table)
  assert found.targets[0].chain == 'B,C' and found.targets[0].complex.extra == ('Y',) and found.exit_code == 1
  assert "chain 'X' not found; has A, B, C" in found.failures[0].message


def test_complexes_of_different_proteins_are_refused_with_the_numbers(trio, tmp_path):
  predicted, _ = trio
  other = read_chain(score_cases.DATA / '1mul_A.cif.gz')
  write(tmp_path / 'p.pdb', predicted)
  write(tmp_path / 't.pdb', [other, placed(other, np.eye(3), np.array([60.0, 0, 0]), 'B')])
  found = evaluation.evaluate(tmp_path / 'p.pdb', tmp_path / 't.pdb', tmp_path / 'out')
  assert found.exit_code == 2 and 't.pdb: no chain is the same protein as one of p.pdb; chain A' in found.text
  assert 'identity over' in found.text and '--min-identity' in found.text


# ------------------------------------------------------------------------------------------ real ones


@pytest.mark.slow
def test_haemoglobin_is_found_in_its_tetramer_without_haem_and_water(tmp_path):
  found = evaluation.compare(COMPLEXES / '1HHO.pdb.gz', COMPLEXES / '2HHB.pdb.gz')
  assert found.complex.partners in ({'A': 'A', 'B': 'B'}, {'C': 'A', 'D': 'B'}) and len(found.complex.missing) == 2
  assert found.complex.dockq > 0.8 and found.scores.tm_score > 0.95 and found.identity == 1
  assert any('HEM' in line and 'water' in line for line in found.notes)


@pytest.mark.slow
def test_eight_chains_are_scored_as_a_whole(tmp_path):
  predicted, true = tetramers()
  found = evaluation.compare(write(tmp_path / 'p.pdb', predicted), write(tmp_path / 't.pdb', true))
  assert len(found.complex.partners) == 8 and found.complex.missing == ()
  assert 0.3 < found.complex.dockq < 1 and found.scores.tm_score > 0.5
