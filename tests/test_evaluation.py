# SPDX-License-Identifier: Apache-2.0
"""`evaluate`: which files are compared, by which residues, what is written, and what is said when it cannot be."""

import csv
import dataclasses
import gzip
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
import score_cases

from alphafold_jax import errors, evaluation
from alphafold_jax.constants import residues
from alphafold_jax.data.structures import Chain, read_chain
from alphafold_jax.evaluation import aligning, finding, run, scoring, summary
from alphafold_jax.output import evaluated, pdb
from alphafold_jax.output.files import Prediction
from alphafold_jax.weights import store

DATA = score_cases.DATA
AFDB, EXPERIMENT = DATA / 'AF-P01112-F1-model_v4.cif.gz', DATA / '1ctq_A.cif.gz'
CA = residues.ATOM_INDEX['CA']


def write_pdb(path, chain: Chain, plddt=None, keep=slice(None)):
  """A chain as a prediction's PDB file."""
  num_res = len(chain.sequence)
  confidence = np.full(num_res, 50.0) if plddt is None else np.asarray(plddt, float)
  arrays = {
    'aatype': np.array([residues.LETTER_TO_TOKEN[letter] for letter in chain.sequence]),
    'atom_positions': chain.atom_positions, 'atom_mask': chain.atom_mask, 'plddt': confidence,
    'residue_index': np.arange(num_res), 'asym_id': np.ones(num_res, int)}  # fmt: skip
  kept = {name: array[keep] for name, array in arrays.items()}
  path.write_text(pdb.to_pdb(Prediction('p', 'p', 'model_1', 0, 50.0, None, (), kept)))
  return path


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  """A results folder of two proteins, two models each, with what else lies in such a folder; and references."""
  out, references = tmp_path_factory.mktemp('out'), tmp_path_factory.mktemp('references')
  predicted, small = read_chain(AFDB), read_chain(DATA / '4zey.cif.gz', 'A')
  for rank, size in ((1, 0.0), (2, 4.0)):
    tag = f'rank_{rank:03d}_alphafold2_ptm_model_{rank}_seed_000'
    for job, chain in (('hras', predicted), ('4zey_A', small)):
      points = chain.atom_positions.reshape(len(chain.sequence), -1)
      wave = size * np.sin(np.arange(len(points)) / 3)[:, None, None]
      shaken = Chain(chain.id, chain.sequence, chain.atom_positions + wave.astype(np.float32), chain.atom_mask,
                     chain.numbering, chain.b_factors)  # fmt: skip
      plddt = predicted.b_factors if job == 'hras' else np.linspace(60, 90, len(chain.sequence))
      write_pdb(out / f'{job}_unrelaxed_{tag}.pdb', shaken, np.zeros(len(plddt)))
      content = {'plddt': list(map(float, plddt)), 'ptm': 0.9 - size / 9}
      (out / f'{job}_scores_{tag}.json').write_text(json.dumps(content))
  write_pdb(out / 'hras_unrelaxed_rank_001_alphafold2_ptm_model_1_seed_000.r0.pdb', small)
  (out / 'summary.csv').write_text('of predict\n')
  shutil.copy(EXPERIMENT, references / 'HRAS.cif.gz')
  shutil.copy(DATA / '4zey.cif.gz', references / '4zey.cif.gz')
  shutil.copy(DATA / '1u5y_D.cif.gz', references / '1u5y_D.cif.gz')
  return out, references


@pytest.fixture(scope='module')
def done(results, tmp_path_factory):
  return evaluation.evaluate(*results, tmp_path_factory.mktemp('evaluation'))


def by_id(found: evaluation.ScoreSummary) -> dict:
  return {target.id: target for target in found.targets}


# ------------------------------------------------------------------------------------------ a whole evaluation


def test_the_best_model_of_each_protein_is_scored_against_its_reference(done, results):
  targets = by_id(done)
  assert done.exit_code == 0 and sorted(targets) == ['4zey_A', 'hras'] and all(one.rank == 1 for one in done.targets)
  assert [path.name for path in done.unused] == ['1u5y_D.cif.gz']
  perfect, hras = targets['4zey_A'], targets['hras']
  assert perfect.scores.lddt == perfect.scores.gdt_ha == pytest.approx(1) and perfect.chain == 'A'
  assert hras.num_res == hras.num_common == 166 and hras.identity == hras.coverage == 1
  assert 0.9 < hras.scores.lddt_ca <= 1 and hras.scores.tm_score > 0.9 and hras.scores.ca_rmsd_95 < 1


def test_a_real_prediction_has_the_confidence_it_deserves(done):
  hras = by_id(done)['hras']
  np.testing.assert_allclose(hras.plddt, read_chain(AFDB).b_factors[:166])
  assert hras.ptm == pytest.approx(0.9) and hras.mean_plddt > 90
  assert abs(hras.mean_plddt - 100 * hras.scores.lddt_ca_residue_mean) < 5
  calibration = done.calibration
  assert calibration.residues == sum(one.residues for one in calibration.bins) == 166 + by_id(done)['4zey_A'].num_common
  assert calibration.mean_absolute_deviation > 5  # 60 to 90 was promised where the truth is 100
  assert calibration.target_pearson is None  # of two targets


def test_all_files_are_written_and_say_the_same(done):
  assert sorted(path.name for path in done.output.iterdir()) == [
    'evaluation.csv', 'evaluation.json', 'evaluation.png', 'evaluation_summary.csv', 'evaluation_thresholds.csv'
  ]  # fmt: skip
  rows = list(csv.DictReader((done.output / 'evaluation.csv').open()))
  content = json.loads((done.output / 'evaluation.json').read_text())
  for row, entry, target in zip(rows, content['targets'], done.targets, strict=True):
    assert row['target'] == entry['target'] == target.id and row['status'] == 'scored'
    assert float(row['tm_score']) == pytest.approx(entry['tm_score'], abs=1e-4) == pytest.approx(target.scores.tm_score)
    assert int(row['violations_clashes']) == entry['violations_clashes'] == target.violations.clashes
  distributions = {row['score']: row for row in csv.DictReader((done.output / 'evaluation_summary.csv').open())}
  both = [target.scores.lddt for target in done.targets]
  assert float(distributions['lddt']['median']) == pytest.approx(np.median(both), abs=1e-4)
  assert content['statistics']['lddt']['upper_quartile'] == pytest.approx(np.quantile(both, 0.75))
  limits = [(row['score'], float(row['below']), row['share'])
            for row in csv.DictReader((done.output / 'evaluation_thresholds.csv').open())]  # fmt: skip
  assert limits == [(name, limit, '1.0000') for name, limit in [
    ('ca_rmsd_95', 1), ('ca_rmsd_95', 1.6), ('ca_rmsd_95', 2.5), ('all_atom_rmsd_95', 1.5), ('all_atom_rmsd_95', 2.1),
    ('all_atom_rmsd_95', 3)]]  # fmt: skip
  assert matplotlib.image.imread(done.output / 'evaluation.png').shape[0] > 400
  assert 'CA r.m.s.d.95' in done.text and '2 of 2 predictions scored' in done.text and str(done.output) in done.text


def test_every_rank_is_scored_on_request_and_statistics_stay_with_the_best(results, done, tmp_path):
  found = evaluation.evaluate(*results, tmp_path, every_rank=True)
  assert [(one.id, one.rank) for one in found.targets] == [('4zey_A', 1), ('4zey_A', 2), ('hras', 1), ('hras', 2)]
  assert found.statistics == done.statistics and found.calibration == done.calibration
  assert found.targets[1].scores.lddt_ca < 0.9 and found.targets[1].ptm == pytest.approx(0.9 - 4 / 9)


def test_what_must_be_said_of_a_prediction_is_in_the_picture_the_json_and_the_last_line(results, tmp_path):
  predictions = shutil.copytree(results[0], tmp_path / 'mini')
  path = next(predictions.glob('4zey_A_unrelaxed_rank_001_*.pdb'))
  path.write_text(f'REMARK   6 {store.MINI.text}\n{path.read_text()}')
  found = evaluation.evaluate(predictions, results[1], tmp_path / 'out')
  label = f'{store.MINI.text} (1 of 2)'
  assert found.text.splitlines()[-1] == label
  assert json.loads((found.output / 'evaluation.json').read_text())['labels'] == [label]
  drawn = evaluated.picture(found, run.measures_of(found.targets))
  assert drawn.get_suptitle().splitlines()[0] == label


def test_where_nothing_is_scored_no_files_are_promised_but_the_reasons(results, tmp_path):
  (tmp_path / 'hras.pdb').write_text('no structure')
  found = evaluation.evaluate(tmp_path / 'hras.pdb', results[1] / 'HRAS.cif.gz', tmp_path / 'out')
  assert f'0 of 1 prediction scored. The reasons are in {tmp_path / "out" / "evaluation.csv"}' in found.text


def test_one_file_against_another_whatever_their_names(tmp_path):
  found = evaluation.evaluate(AFDB, EXPERIMENT, tmp_path, read_plddt=False)
  (target,) = found.targets
  assert (target.id, target.chain, found.calibration) == ('AF-P01112-F1-model_v4', 'A', None)
  assert 'pLDDT against' not in found.text and found.statistics['tm_score'].targets == 1


# ------------------------------------------------------------------------------------------ which belong together


def matched(tmp_path, prediction: str, *references: str) -> tuple[str, str] | None:
  """The name of the reference that a prediction's name finds, and the chain that the rest names."""
  predictions, folder = tmp_path / 'predictions', tmp_path / 'references'
  for place, names in ((predictions, [prediction]), (folder, references)):
    place.mkdir()
    for name in names:
      (place / name).write_text('ATOM\n')
  try:
    ((_, reference),) = finding.find(predictions, folder).pairs
  except errors.InputError:
    return None
  return reference.path.name, reference.chain


@pytest.mark.parametrize(
  'prediction, references, expected',
  [
    ('1abc_A.pdb', ['1abc_A.cif', '1abc.cif'], ('1abc_A.cif', 'A')),
    ('1abc_A.pdb', ['1ABC.cif.gz', '1abd.cif'], ('1ABC.cif.gz', 'A')),
    ('1abcA.pdb', ['1abc.cif'], ('1abc.cif', 'A')),
    ('1abc_B.pdb', ['pdb1abc.ent.gz'], ('pdb1abc.ent.gz', 'B')),
    ('1abc_1_model_1_ptm.pdb', ['1abc.cif', '1ab.cif'], ('1abc.cif', '1')),
    ('1abc.pdb', ['1abc_A.cif', '1abd_A.cif'], ('1abc_A.cif', '')),
    ('1abc.pdb', ['1abc_A.cif', '1abc_B.cif'], None),
    ('1abcdef.pdb', ['1abc.cif'], None),
  ],
)
def test_predictions_find_references_by_name(tmp_path, prediction, references, expected):
  assert matched(tmp_path, prediction, *references) == expected


def test_a_table_says_which_belong_together(results, tmp_path):
  out, references = results
  table = tmp_path / 'pairs.csv'
  table.write_text('prediction,reference,chain\nhras,HRAS.cif.gz,A\n')
  found = evaluation.evaluate(out, references, tmp_path / 'out', pairs=table)
  assert list(by_id(found)) == ['hras'] and found.exit_code == 0
  assert found.left_out == ['4zey_A'] and 'table does not name (1): 4zey_A' in found.text
  for text, said in (
    ('prediction,reference\nnobody,HRAS\n', "line 2: there is no prediction 'nobody'"),
    ('prediction,reference\nhras,nowhere\n', "line 2: there is no reference 'nowhere'"),
    ('a,b\nhras,HRAS\n', "no column 'prediction' and 'reference'; the first line must name"),
    ('prediction,reference\nnobody,HRAS,A,B\n', "line 2: there is no prediction 'nobody'"),
    ('prediction,reference\nhras,\n', 'line 2: prediction or reference is empty'),
  ):
    table.write_text(text)
    with pytest.raises(errors.InputError, match=said):
      evaluation.evaluate(out, references, tmp_path / 'out', pairs=table)
  table.write_text('prediction,reference,chain\nhras,HRAS,Z\nnobody,HRAS,\n')
  found = evaluation.evaluate(out, references, tmp_path / 'out', pairs=table)
  unknown, unfit = found.failures
  assert "no prediction 'nobody'" in unknown.message and "chain 'Z' not found; has A" in unfit.message
  assert found.exit_code == 2 and 'nobody: ' in found.text


def test_lines_of_a_table_that_match_nothing_are_listed_and_the_others_scored(results, tmp_path):
  out, references = results
  table = tmp_path / 'pairs.csv'
  lines = ('HRAS,hras,', 'nobody,HRAS,', 'hras,nowhere,', 'hras,,', 'hras,HRAS.cif.gz,', '4zey_a,HRAS,Z')
  table.write_text('\n'.join(['prediction,reference,chains', *lines]) + '\n')
  found = finding.find(out, references, pairs=table)
  assert [(one.id, reference.path.name) for one, reference in found.pairs] == [
    ('hras', 'HRAS.cif.gz'),
    ('4zey_A', 'HRAS.cif.gz'),
  ]
  reasons = [reason.split(': ', 1)[1] for _, _, reason in found.unmatched]
  assert reasons[0].startswith("there is no prediction 'nobody'") and reasons[2].startswith('prediction or reference')
  assert reasons[1].startswith("there is no reference 'nowhere'") and len(reasons) == 3
  assert found.notes == [f'{table}, line 6 says what line 2 says', f'{table}: columns not used: chains']
  table.write_text('prediction,reference\nhras,HRAS\n4zey_A,nowhere\n,HRAS\n')
  found = finding.find(out, references, pairs=table)
  assert found.left_out == []  # a line names it, though it cannot be used
  assert [id for id, _, _ in found.unmatched] == ['4zey_A', 'line 4']
  table.write_text('prediction,reference\nhras,HRAS\nhras,4zey_A\nnobody,HRAS\n')
  assert finding.find(out, references, pairs=table).notes == [
    f'{table}: several references of hras; statistics are of the first'
  ]


def test_of_two_references_of_one_name_mmcif_is_taken_with_a_note(tmp_path):
  for name in ('y.pdb', 'y.cif', 'z.cif', 'z.cif.gz', 'pdb1abc.ent', '1ABC.mmcif', 'x.ent'):
    (tmp_path / name).write_text('ATOM\n')
  known, _, (note,) = finding.find_references(tmp_path)
  assert {key: path.name for key, path in known.items()} == {
    '1abc': '1ABC.mmcif', 'x': 'x.ent', 'y': 'y.cif', 'z': 'z.cif'
  }  # fmt: skip
  assert 'mmCIF is taken before PDB' in note and note.endswith('left out: pdb1abc.ent, y.pdb, z.cif.gz')
  (tmp_path / 'Y.cif').write_text('ATOM\n')
  with pytest.raises(errors.InputError, match='Y.cif has the same name; leave one of them|y.cif has the same name'):
    finding.find_references(tmp_path)


def test_a_table_may_name_the_file_that_another_is_preferred_to(tmp_path):
  for folder in ('p', 'r'):
    (tmp_path / folder).mkdir()
    for name in ('y.pdb', 'y.cif'):
      (tmp_path / folder / name).write_text('ATOM\n')
  (tmp_path / 't.csv').write_text('prediction,reference\ny.pdb,Y.pdb\ny,y\n')
  found = finding.find(tmp_path / 'p', tmp_path / 'r', pairs=tmp_path / 't.csv')
  assert [(one.path.name, reference.path.name) for one, reference in found.pairs] == [
    ('y.pdb', 'y.pdb'),
    ('y.cif', 'y.cif'),
  ]


def test_two_results_folders_are_compared(results, tmp_path):
  out, _ = results
  found = finding.find(out, out)
  assert [(one.id, reference.path) for one, reference in found.pairs] == [(one.id, one.path) for one, _ in found.pairs]
  assert [one.rank for one, _ in found.pairs] == [1] * len(found.pairs) and not found.unused
  assert found.notes == [f'{out} is a results folder: the best model of each protein is its reference']


def test_a_protein_whose_name_was_no_file_name_is_found_by_the_name_it_had(tmp_path):
  (tmp_path / 'out').mkdir()
  (tmp_path / 'references').mkdir()
  (tmp_path / 'out' / 'job_1f2e_unrelaxed_rank_001_alphafold2_model_1_seed_000.pdb').write_text('ATOM\n')
  (tmp_path / 'out' / 'names.json').write_text(json.dumps({'job_1f2e': 'Å-β'}))
  (tmp_path / 'references' / 'å-β.cif').write_text('ATOM\n')
  ((predicted, reference),) = finding.find(tmp_path / 'out', tmp_path / 'references').pairs
  assert (predicted.id, predicted.name, reference.path.name) == ('job_1f2e', 'Å-β', 'å-β.cif')


def test_mmcif_and_relaxed_structures_are_preferred(tmp_path):
  tag = 'rank_001_alphafold2_model_1_seed_000'
  for name in (f'x_unrelaxed_{tag}.pdb', f'x_unrelaxed_{tag}.cif', f'y_unrelaxed_{tag}.cif', f'y_relaxed_{tag}.pdb'):
    (tmp_path / name).write_text('ATOM\n')
  found = {one.id: one.path.name for one in finding.find_predictions(tmp_path)}
  assert found == {'x': f'x_unrelaxed_{tag}.cif', 'y': f'y_relaxed_{tag}.pdb'}


def test_what_was_relaxed_beside_its_start_is_no_second_protein(tmp_path):
  for name in ('x.cif', 'x_relaxed.pdb', 'y_relaxed.pdb'):
    (tmp_path / name).write_text('')
  found = {one.id: one.path.name for one in finding.find_predictions(tmp_path)}
  assert found == {'x': 'x_relaxed.pdb', 'y_relaxed': 'y_relaxed.pdb'}


# ------------------------------------------------------------------------------------------ which residue is which


def a_chain(sequence: str, numbering=None, seed=0) -> Chain:
  """A chain whose CA atoms are 3.8 Å apart, further where numbers jump."""
  numbers = list(range(1, len(sequence) + 1)) if numbering is None else list(numbering)
  positions, mask = np.zeros((len(sequence), 37, 3), np.float32), np.zeros((len(sequence), 37), np.float32)
  positions[:, CA, 0] = 3.8 * np.array(numbers)
  mask[:, CA] = 1
  return Chain('A', sequence, positions, mask, tuple(map(str, numbers)), np.zeros(len(sequence), np.float32))


SEQUENCE = 'MTEYKLVVVGAGGVGKSALTIQLIQNHFVDEYDPTIEDSYRKQVVIDGETCLLDILDTAGQEEYSAMRDQYMRTGEGFLCVFAINNTKSFEDIHQYREQI'


@pytest.mark.parametrize('offset', [0, 211])
def test_numbers_do_not_matter(offset):
  reference = a_chain(SEQUENCE[20:80], range(21 + offset, 81 + offset))
  found = aligning.correspond(a_chain(SEQUENCE), reference)
  np.testing.assert_array_equal(found.partner, np.arange(20, 80))
  assert found.identity == found.coverage == 1


def test_unresolved_stretches_cost_nothing_and_their_borders_are_right():
  # The unresolved stretch could end at either of two equal letters: the numbers tell which.
  sequence = SEQUENCE[:40] + 'GGGGGGGG' + SEQUENCE[48:]
  resolved = [i for i in range(len(sequence)) if not 42 <= i < 46]
  reference = a_chain(''.join(sequence[i] for i in resolved), [i + 501 for i in resolved])
  found = aligning.correspond(a_chain(sequence), reference)
  np.testing.assert_array_equal(found.partner, resolved)
  without_numbers = a_chain(reference.sequence)
  assert aligning.correspond(a_chain(sequence), without_numbers).coverage == 1


def test_mutations_lower_the_identity_and_tags_of_the_reference_the_coverage():
  mutated = 'SHHHHHHS' + SEQUENCE[:30] + 'W' + SEQUENCE[31:]
  found = aligning.correspond(a_chain(SEQUENCE), a_chain(mutated))
  assert found.identity == pytest.approx(0.99) and found.coverage == pytest.approx(100 / 108)
  np.testing.assert_array_equal(found.partner, [-1] * 8 + list(range(100)))


def test_different_residues_are_compared_by_the_atoms_both_types_have(tmp_path):
  predicted, true = score_cases.hras()
  letters = list(predicted.sequence)
  w = true.sequence.index('F')
  letters[w] = 'G'  # as if a phenylalanine had been predicted as a glycine
  mutant = Chain('A', ''.join(letters), predicted.atom_positions, predicted.atom_mask, predicted.numbering,
                 predicted.b_factors)  # fmt: skip
  aatype, _, mask, _, true_mask = aligning.lay_out(aligning.ChainPair(mutant, true, aligning.correspond(mutant, true)))
  assert aatype[w] == residues.UNKNOWN and aatype[w + 1] != residues.UNKNOWN
  names = [name for name, here in zip(residues.ATOM_TYPES, true_mask[w]) if here]
  assert names == ['N', 'CA', 'C', 'O'] and (mask[w] == true_mask[w]).all()


def test_the_chain_of_the_same_protein_is_found_in_a_reference_with_several(tmp_path):
  predicted = read_chain(AFDB)
  write_pdb(tmp_path / 'prediction.pdb', predicted)
  other = write_pdb(tmp_path / 'other.txt', read_chain(DATA / '1u5y_D.cif.gz')).read_text()
  own = write_pdb(tmp_path / 'own.txt', score_cases.chain('1ctq_A')).read_text()
  lines = [line for line in other.splitlines() if line.startswith('ATOM')]
  lines += [line[:21] + 'B' + line[22:] for line in own.splitlines() if line.startswith('ATOM')]
  (tmp_path / 'both.pdb').write_text('\n'.join([*lines, 'END', '']))
  found = evaluation.evaluate(tmp_path / 'prediction.pdb', tmp_path / 'both.pdb', tmp_path / 'out')
  assert found.targets[0].chain == 'B' and found.targets[0].coverage == 1


def test_residues_missing_in_the_prediction_count_as_wrong(tmp_path):
  whole = score_cases.chain('1ctq_A')
  write_pdb(tmp_path / 'part.pdb', whole, keep=slice(0, 120))
  (target,) = evaluation.evaluate(tmp_path / 'part.pdb', EXPERIMENT, tmp_path / 'out').targets
  share = 120 / len(whole.sequence)
  assert target.coverage == target.scores.gdt_ts == target.scores.tm_score == pytest.approx(share)
  assert target.scores.ca_rmsd < 0.01 and 0.3 < target.scores.lddt < share


# ------------------------------------------------------------------------------------------ confidence


@pytest.mark.parametrize('scale', [1, 100])
def test_b_factors_are_plddt_also_from_0_to_1(tmp_path, scale):
  whole = score_cases.chain('1ctq_A')
  write_pdb(tmp_path / 'p.pdb', whole, scale * np.linspace(0.5, 0.9, len(whole.sequence)))
  (target,) = evaluation.evaluate(tmp_path / 'p.pdb', EXPERIMENT, tmp_path / 'out').targets
  np.testing.assert_allclose(target.plddt, np.linspace(50, 90, len(whole.sequence)), atol=0.51)


def test_b_factors_that_are_all_alike_are_no_confidence(tmp_path):
  write_pdb(tmp_path / 'p.pdb', score_cases.chain('1ctq_A'))
  (target,) = evaluation.evaluate(tmp_path / 'p.pdb', EXPERIMENT, tmp_path / 'out').targets
  assert target.plddt is None


def test_calibration_of_residues_that_are_promised_too_much(done):
  target = by_id(done)['hras']
  true = np.repeat([42.0, 62.0, 82.0], [10, 20, 30])
  made_up = dataclasses.replace(target, plddt=true + 10, residue_lddt_ca=true)
  found = summary.calibrate([made_up])
  assert found.pearson == pytest.approx(1)
  assert found.mean_absolute_deviation == found.mean_deviation == found.expected_calibration_error == pytest.approx(10)
  filled = {one.start: (one.residues, one.predicted, one.true) for one in found.bins if one.residues}
  assert filled == {50: (10, 52, 42), 70: (20, 72, 62), 90: (30, 92, 82)}


# ------------------------------------------------------------------------------------------ bad input


def test_one_bad_target_does_not_stop_the_others(results, tmp_path):
  out, references = results
  shutil.copytree(references, tmp_path / 'references')
  with gzip.open(tmp_path / 'references' / 'HRAS.cif.gz', 'wt') as file:
    file.write('this is no structure\n')
  found = evaluation.evaluate(out, tmp_path / 'references', tmp_path / 'out')
  assert found.exit_code == 1 and list(by_id(found)) == ['4zey_A']
  (failure,) = found.failures
  assert (failure.id, failure.error) == ('hras', 'InputError') and 'neither PDB nor mmCIF' in failure.message
  rows = {row['target']: row for row in csv.DictReader((tmp_path / 'out' / 'evaluation.csv').open())}
  assert rows['hras']['status'] == 'InputError' and 'neither PDB' in rows['hras']['reason'] and 'hras:' in found.text


def test_another_protein_is_refused_with_the_numbers(tmp_path):
  found = evaluation.evaluate(AFDB, DATA / '1u5y_D.cif.gz', tmp_path)
  assert found.exit_code == 2 and not found.targets and not (tmp_path / 'evaluation.png').exists()
  assert 'identity over' in found.failures[0].message and '--min-identity' in found.failures[0].message
  lenient = evaluation.evaluate(AFDB, DATA / '1u5y_D.cif.gz', tmp_path, min_identity=0, min_coverage=0)
  assert lenient.exit_code == 0 and lenient.targets[0].scores.tm_score < 0.5


def test_a_prediction_without_a_reference_is_a_failure_and_the_rest_is_scored(results, tmp_path):
  out, references = results
  shutil.copytree(references, tmp_path / 'references')
  (tmp_path / 'references' / 'HRAS.cif.gz').unlink()
  found = evaluation.evaluate(out, tmp_path / 'references', tmp_path / 'out')
  assert found.exit_code == 1 and "no reference is called like 'hras'" in found.failures[0].message


def test_what_cannot_be_evaluated_at_all_says_why(results, tmp_path):
  out, references = results
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'file').write_text('')
  (tmp_path / 'other').mkdir()
  shutil.copy(EXPERIMENT, tmp_path / 'other' / 'zzz.cif.gz')
  for arguments, said in (
    ((tmp_path / 'nowhere', references, tmp_path / 'out'), 'nowhere: no such file or folder'),
    ((tmp_path / 'empty', references, tmp_path / 'out'), 'empty: no structure file.*; it is an empty folder'),
    ((out, tmp_path / 'empty', tmp_path / 'out'), 'empty: no structure file'),
    ((out, tmp_path / 'other', tmp_path / 'out'), 'none of 2 predictions .* has a reference'),
    ((out, references, tmp_path / 'file' / 'out'), 'cannot be written'),
  ):
    with pytest.raises(errors.InputError, match=said):
      evaluation.evaluate(*arguments)
  with pytest.raises(errors.InputError, match='min_identity is 90'):
    evaluation.evaluate(out, references, tmp_path / 'out', min_identity=90)


def test_a_damaged_scores_file_is_named(results, tmp_path):
  out, references = results
  shutil.copytree(out, tmp_path / 'out')
  (scores_file,) = (tmp_path / 'out').glob('hras_scores_rank_001*')
  scores_file.write_text('{"plddt": [1, 2')
  found = evaluation.evaluate(tmp_path / 'out', references, tmp_path / 'evaluation')
  assert found.exit_code == 1 and f'{scores_file.name}: not a scores file' in found.failures[0].message


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_scored(results, tmp_path, monkeypatch):
  def refuse(*args, **kwargs):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr('tempfile.TemporaryFile', refuse)
  monkeypatch.setattr(scoring, 'score_target', lambda *args, **kwargs: pytest.fail('scored'))
  with pytest.raises(errors.InputError, match='cannot be written .Permission denied.; choose a place'):
    evaluation.evaluate(*results, tmp_path)


def test_progress_is_reported_before_each_target(results, tmp_path):
  reported = []
  evaluation.evaluate(*results, tmp_path, progress=lambda *args: reported.append(args))
  assert reported == [(0, 2, '4zey_A'), (1, 2, 'hras')]
