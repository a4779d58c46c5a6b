# SPDX-License-Identifier: Apache-2.0
"""`evaluate` of complexes: which chain stands for which, the scores of the whole, files, and what has no partner."""

import csv
import dataclasses
import itertools
import json
import string

import numpy as np
import pytest
import score_cases
from complex_cases import COMPLEXES, compared, disturbed, moved, octahedron, octamers, placed, write
from scipy.spatial.transform import Rotation

from alphafold_jax import cli, errors, evaluation
from alphafold_jax.constants import residues
from alphafold_jax.data.structures import Chain, read_chain
from alphafold_jax.evaluation import aligning, mapping
from alphafold_jax.geometry import lddt
from alphafold_jax.geometry.tm_score import tm_score

CA = residues.ATOM_INDEX['CA']
HERE = np.eye(3)
TURN = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])


def partners(predicted, true, most_tried: int = mapping.MOST_TRIED) -> str:
  """The names of the predicted chains in the order of the reference's, '-' for none."""
  best = mapping.best_assignment(compared(predicted, true), most_tried)
  return ''.join('-' if m < 0 else predicted[m].id for m in best)


def small(shift, name: str, turn: np.ndarray = HERE, source: str = '1aie_A') -> Chain:
  """A chain of 31 residues (1MUL: 65) about the origin, turned and shifted."""
  chain = read_chain(score_cases.DATA / f'{source}.cif.gz')
  return placed(placed(chain, HERE, -score_cases.ca_of(chain).mean(axis=0)), turn, shift, name)


def row_of_three() -> list[Chain]:
  """Three copies of a chain, of which two by two touch."""
  return [small((0, 0, 0), 'A'), small((14, 0, 0), 'B', TURN), small((14, 14, 0), 'C')]


def renamed(true: list[Chain], order: str, names: str) -> list[Chain]:
  """Chains of a reference in another order and under other names: a perfect prediction."""
  by_name = {chain.id: chain for chain in true}
  return [dataclasses.replace(by_name[one], id=name) for one, name in zip(order, names, strict=True)]


# ------------------------------------------------------------------------------------------ which is which


def test_copies_are_exchanged_for_the_highest_dockq():
  true = row_of_three()
  predicted = renamed(true, 'CAB', 'XYZ')
  assert partners(predicted, true) == partners(moved(predicted), true) == 'YZX'


def test_the_search_among_many_finds_what_trying_all_finds():
  predicted, true = octamers()
  assert partners(predicted, true, most_tried=0) == partners(predicted, true) == 'ECBFHGAD'


def test_twenty_four_copies_find_their_partners():
  true = octahedron()
  order = np.random.default_rng(3).permutation(24)
  predicted = moved(
    [disturbed(dataclasses.replace(true[i], id=string.ascii_letters[k]), 0.2 + 0.05 * i) for k, i in enumerate(order)]
  )
  one = compared(predicted, true)
  best = mapping.best_assignment(one)  # or one of its images: the reference is symmetric
  assert len(one.interfaces) >= 24 and sorted(best) == list(range(24))
  assert one.total(best) >= one.total(tuple(np.argsort(order).tolist())) - 1e-6


def test_as_many_superpositions_as_copies_tell_equal_assignments_of_a_ring_apart():
  angles = np.arange(9) * 40
  turns = [Rotation.from_euler('z', angle, degrees=True).as_matrix() for angle in angles]
  true = [small(turn @ (21, 0, 0), name, turn) for turn, name in zip(turns, 'ABCDEFGHI', strict=True)]
  one = compared(moved(true), true)
  best = mapping.best_assignment(one)
  assert one.total(best) == pytest.approx(len(one.interfaces)) and one.in_space(best) == pytest.approx(9 * 31)
  assert one.nearness.cache_info().misses == 9


def test_an_assignment_is_better_than_another_if_its_total_is_higher():
  true = row_of_three()
  one = compared([disturbed(chain, 0.5 + i) for i, chain in enumerate(moved(true))], true)
  ways = list(itertools.permutations((0, 1, 2, -1), 3))
  for way, other in itertools.product(ways, ways):
    for margin in (1e-6, 0.5):
      assert one.is_better(way, other, margin) == (one.total(way) > one.total(other) + margin)


def test_a_dimer_finds_the_copy_that_it_fits_best():
  first, second, _ = row_of_three()
  true = [first, second, placed(first, TURN, (100, 0, 0), 'C'), disturbed(placed(second, TURN, (100, 0, 0), 'D'), 1.0)]
  for copy, expected in (('AB', 'XY--'), ('CD', '--XY')):
    predicted = renamed(true, copy, 'XY')
    assert partners(predicted, true) == partners(predicted, true, most_tried=0) == expected
  assert partners([*true, small((300, 0, 0), 'E')], true[:2]) == 'AB'


def test_chains_that_do_not_touch_are_assigned_by_how_they_lie():
  true = [small((0, 0, 0), 'A'), small((60, 0, 0), 'B'), small((0, 90, 0), 'C')]
  predicted = moved(renamed(true, 'CAB', 'XYZ'))
  assert not compared(predicted, true).interfaces and partners(predicted, true) == 'YZX'


def test_among_equal_interfaces_the_whole_decides():
  pair = row_of_three()[:2]  # as far as interfaces go, each of these dimers could be any other
  places = {'AB': (0, 0, 0), 'CD': (80, 0, 0), 'EF': (0, 120, 0)}
  true = [placed(chain, HERE, place, name) for names, place in places.items() for chain, name in zip(pair, names)]
  assert partners(moved(renamed(true, 'EFABCD', 'PQRSTU')), true) == 'RSTUPQ'


def test_different_proteins_never_stand_for_one_another():
  true = [small((0, 0, 0), 'A'), small((0, 25, 0), 'B', source='1mul_A')]
  assert partners(renamed(true, 'BA', 'AB'), true) == 'BA'


# ------------------------------------------------------------------------------------------ scores of the whole


@pytest.fixture(scope='module')
def trio() -> tuple[list[Chain], list[Chain]]:
  """A prediction of three copies of a chain, each off in its own way, and the reference."""
  true = row_of_three()
  return moved([disturbed(chain, size, 11) for chain, size in zip(renamed(true, 'CAB', 'XYZ'), (1.5, 0.5, 1))]), true


@pytest.fixture(scope='module')
def reference(trio, tmp_path_factory):
  return write(tmp_path_factory.mktemp('reference') / 't.pdb', trio[1])


def test_scores_of_a_complex_are_those_of_its_chains_as_one(trio, reference, tmp_path):
  (x, y, z), true = trio
  found = evaluation.compare(write(tmp_path / 'p.pdb', [x, y, z]), reference)
  assert found.id == 'p' and found.chain == 'A,B,C' and found.complex.partners == {'A': 'Y', 'B': 'Z', 'C': 'X'}
  own, theirs = (np.concatenate([chain.atom_positions[:, CA] for chain in chains]) for chains in ((y, z, x), true))
  assert found.scores.tm_score == pytest.approx(tm_score(own, theirs, np.ones(93)), abs=1e-4)
  assert found.num_res == found.num_common == 93 and found.identity == found.coverage == 1
  assert found.complex.dockq == pytest.approx(np.mean([one.dockq.score for one in found.complex.interfaces]))
  assert found.complex.dockq == found.complex.dockq_full and found.complex.missing == found.complex.extra == ()


def test_lddt_between_chains_is_its_definition(trio):
  (x, y, z), true = trio
  laid_out = [aligning.lay_out(aligning.ChainPair(a, b, aligning.correspond(a, b))) for a, b in zip((y, z, x), true)]
  whole, chain = aligning.join(laid_out), np.repeat(np.arange(3), 31)
  unnamed = whole._replace(aatype=np.full(93, residues.UNKNOWN))  # no names to exchange
  counted, kept = lddt.distances_between_chains(*unnamed, chain=chain)
  expected = score_cases.dense_lddt(*whole[1:], group=chain)
  assert kept.sum() / counted.sum() == pytest.approx(expected, abs=1e-9)
  two = [values[:62] for values in whole[1:]]
  assert kept[0, 1] / counted[0, 1] == pytest.approx(score_cases.dense_lddt(*two, group=chain[:62]), abs=1e-9)
  counted, kept = lddt.distances_between_chains(*whole, chain=chain)
  assert kept.sum() / counted.sum() >= expected


@pytest.mark.parametrize('order', ['ABC', 'CAB'])
def test_a_complex_against_itself_is_perfect_whatever_the_order_of_its_chains(trio, reference, tmp_path, order):
  found = evaluation.compare(write(tmp_path / 'p.pdb', moved(renamed(trio[1], order, order))), reference)
  assert found.complex.partners == {'A': 'A', 'B': 'B', 'C': 'C'}
  scores = (found.scores.lddt, found.scores.lddt_ca, found.scores.tm_score, found.complex.dockq)
  assert (*scores, found.complex.interface_lddt) == pytest.approx((1,) * 5, abs=1e-4)


def test_clashes_between_chains_are_violations(trio, reference, tmp_path):
  a, b, c = trio[1]
  apart, inside = (
    evaluation.compare(write(tmp_path / 'p.pdb', chains), reference).violations
    for chains in ([a, b, c], [a, placed(b, HERE, (-13, 0, 0)), c])
  )
  assert inside.clashes > apart.clashes + 10 and inside.chain_breaks == apart.chain_breaks


def test_plddt_of_a_complex_goes_with_its_chains(trio, reference, tmp_path):
  levels = zip(trio[0], (70, 80, 90))
  told = [dataclasses.replace(chain, b_factors=np.full(31, level, np.float32)) for chain, level in levels]
  found = evaluation.compare(write(tmp_path / 'p.pdb', told), reference)
  np.testing.assert_array_equal(found.plddt, np.repeat([80, 90, 70], 31))


# ------------------------------------------------------------------------------------------ files and messages


@pytest.fixture(scope='module')
def folders(trio, tmp_path_factory):
  """A results folder of two complexes and a monomer, with its references."""
  predicted, true = trio
  out, references = tmp_path_factory.mktemp('out'), tmp_path_factory.mktemp('references')
  tag = 'rank_001_alphafold2_multimer_v3_model_1_seed_000'
  for job, own in (
    ('trio', predicted),
    ('part', [*predicted[1:], small((0, 90, 0), 'M', source='1mul_A')]),
    ('one', true[:1]),
  ):
    write(out / f'{job}_unrelaxed_{tag}.pdb', own)
    plddt = [50 + i % 40 for i in range(sum(len(chain.sequence) for chain in own))]
    (out / f'{job}_scores_{tag}.json').write_text(json.dumps({'plddt': plddt, 'ptm': 0.8, 'iptm': 0.7}))
    write(references / f'{job}.pdb', true)
  return out, references


@pytest.fixture(scope='module')
def done(folders, tmp_path_factory):
  return evaluation.evaluate(*folders, tmp_path_factory.mktemp('evaluation'))


def test_files_say_which_chain_is_which_and_how_good_each_interface_is(done):
  rows = {row['target']: row for row in csv.DictReader((done.output / 'evaluation.csv').open())}
  trio, part, one = rows['trio'], rows['part'], rows['one']
  assert (trio['chain'], trio['predicted_chains'], trio['iptm']) == ('A,B,C', 'Y,Z,X', '0.7000')
  assert one['predicted_chains'] == one['dockq'] == '' and one['tm_score'] == '1.0000'
  assert (part['chains'], part['chains_missing'], part['chains_extra']) == ('2', '1', '1')
  assert float(part['dockq_full']) == pytest.approx(float(part['dockq']) / 3, abs=1e-4)
  interfaces = list(csv.DictReader((done.output / 'evaluation_interfaces.csv').open()))
  own = [float(row['dockq']) for row in interfaces if row['target'] == 'trio']
  assert len(own) == 3 and float(trio['dockq']) == pytest.approx(np.mean(own), abs=1e-4)
  first, *others = [
    (row['chains'], row['predicted_chains'], row['quality']) for row in interfaces if row['target'] == 'part'
  ]
  assert first[:2] == ('A-B', 'Y-Z') and others == [('A-C', '', 'missing'), ('B-C', '', 'missing')]


def test_the_json_holds_partners_and_interfaces(done):
  content = {one['target']: one for one in json.loads((done.output / 'evaluation.json').read_text())['complexes']}
  assert content.keys() == {'trio', 'part'} and content['trio']['partners'] == {'A': 'Y', 'B': 'Z', 'C': 'X'}
  assert content['part']['reference_chains_without_partner'] == ['C']
  assert content['part']['prediction_chains_without_partner'] == ['M']
  by_chains = {tuple(one['chains']): one for one in content['trio']['interfaces']}
  for one in next(target for target in done.targets if target.id == 'trio').complex.interfaces:
    assert by_chains[one.chains]['dockq'] == pytest.approx(one.dockq.score)
    assert by_chains[one.chains]['lddt'] == pytest.approx(one.lddt)


def test_the_terminal_names_interfaces_and_chains_without_partners(done):
  assert 'interface lDDT' in done.text and 'part rank 1 B-C' in done.text and 'missing' in done.text
  assert 'part rank 1: 1 chain of part.pdb (C) has no partner in the prediction' in done.text
  assert '.pdb (M) has no partner in the reference' in done.text and done.exit_code == 0


def test_an_evaluation_without_complexes_has_no_trace_of_them(folders, tmp_path):
  out, references = folders
  (tmp_path / 'evaluation_interfaces.csv').write_text('of an earlier evaluation\n')
  table = tmp_path / 'pairs.csv'
  table.write_text('prediction,reference\none,one\n')
  found = evaluation.evaluate(out, references, tmp_path, pairs=table)
  assert not (tmp_path / 'evaluation_interfaces.csv').exists() and 'dockq' not in found.statistics
  content = json.loads((tmp_path / 'evaluation.json').read_text())
  assert 'complexes' not in content and 'iptm' not in content['targets'][0] and 'DockQ' not in found.text


def test_the_chains_of_a_reference_may_be_named(trio, reference, tmp_path):
  prediction = write(tmp_path / 'p.pdb', trio[0])
  found = evaluation.compare(prediction, reference, chain='B C')
  assert found.chain == 'B,C' and len(found.complex.extra) == 1
  with pytest.raises(errors.InputError, match="chain 'X' not found; has A, B, C"):
    evaluation.compare(prediction, reference, chain='B,X')
  with pytest.raises(errors.InputError, match='a folder; give a file'):
    evaluation.compare(tmp_path, reference)
  one = write(tmp_path / 'one.pdb', trio[0][:1])
  with pytest.raises(errors.InputError, match='chains A, B of it are named, and the prediction has one chain; name'):
    evaluation.compare(one, reference, chain='A B')


def test_complexes_of_different_proteins_are_refused_with_the_numbers(trio, tmp_path, capsys):
  write(tmp_path / 'p.pdb', trio[0])
  write(tmp_path / 't.pdb', [small((0, 0, 0), 'A', source='1mul_A'), small((60, 0, 0), 'B', source='1mul_A')])
  code = cli.main(
    ['evaluate', *(str(tmp_path / name) for name in ('p.pdb', 't.pdb')), '--output', str(tmp_path / 'out')]
  )
  said = capsys.readouterr().out
  assert code == 2 and 't.pdb: no chain is the same protein as one of p.pdb; chain A' in said
  assert 'identity over' in said and '--min-identity' in said


# ------------------------------------------------------------------------------------------ real ones


def test_haemoglobin_is_found_in_its_tetramer_without_haem_and_water():
  found = evaluation.compare(COMPLEXES / '1HHO.pdb.gz', COMPLEXES / '2HHB.pdb.gz')
  assert found.complex.partners == {'C': 'A', 'D': 'B'} and found.complex.missing == ('A', 'B')
  assert found.complex.dockq > 0.95 and found.scores.tm_score > 0.95 and found.identity == 1
  assert len(found.complex.missing_interfaces) == 4 and found.complex.dockq_full == found.complex.dockq / 5
  assert any('HEM' in line and 'water' in line for line in found.notes)
