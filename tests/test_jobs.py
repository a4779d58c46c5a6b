# SPDX-License-Identifier: Apache-2.0
"""Many proteins: files and their names, ranking, resuming by content, and what one bad protein does to the others."""

import csv
import dataclasses
import errno
import json
import os
import pickle
import re
import shutil
import signal
import zipfile
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from Bio.PDB import PDBParser
from random_complexes import prediction_of
from small_runs import (
  A3M,
  ALONE,
  NETWORK,
  OTHER,
  SEQUENCE,
  SMALL,
  count_predictions,
  fasta,
  load_json,
  names,
  predict,
  python,
  raw,
)

from alphafold_jax import atomic, attempts, cli, errors, planning, prediction, runs, screen, settings, sharing, tasks
from alphafold_jax.data import features
from alphafold_jax.data.alignment import parse_a3m, single_sequence
from alphafold_jax.data.queries import Query
from alphafold_jax.output.record import Pass
from alphafold_jax.runs.files import changes, ending, job_files, records, report, stored
from alphafold_jax.runs.fleet import models, progress
from alphafold_jax.runs.work import inputs, keys, loading
from alphafold_jax.weights import official, store
from alphafold_jax.weights.random import random_params

RANDOM_NOTE = store.RANDOM.text
TWO = (*ALONE, '--num-models', '2')


def summary(out):
  return [line.split(',') for line in (out / 'summary.csv').read_text().splitlines()[1:]]


def tag(model=1, seed=0, rank=None):
  return (f'rank_{rank:03d}_' if rank else '') + f'alphafold2_ptm_model_{model}_seed_{seed:03d}'


# ------------------------------------------------------------------------------------------ the files


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A run with an alignment, two models, two seeds and everything that can be saved."""
  folder = tmp_path_factory.mktemp('finished')
  (folder / 'p.a3m').write_text(A3M)
  arguments = [
    'predict',
    str(folder / 'p.a3m'),
    str(folder / 'out'),
    '--params',
    'random',
    *NETWORK,
    '--num-recycle',
    '1',
    '--num-models',
    '2',
    '--num-seeds',
    '2',
    '--random-seed',
    '7',
    '--save-all',
    '--save-recycles',
    '--save-single-representations',
    '--save-pair-representations',
  ]
  assert cli.main(arguments) == 0
  return folder / 'out'


def test_a_job_leaves_the_files_that_colabfold_would(finished):
  ranked = [
    path.name.split('_unrelaxed_')[1].removesuffix('.pdb')
    for path in sorted(finished.glob('p_unrelaxed_rank_00?_*seed_00?.pdb'))
  ]
  assert [name[:9] for name in ranked] == ['rank_001_', 'rank_002_', 'rank_003_', 'rank_004_']
  assert {name[9:] for name in ranked} == {tag(model, seed) for model in (1, 2) for seed in (7, 8)}
  expected = {
    'p.a3m',
    'p.done.txt',
    'p_coverage.png',
    'p_plddt.png',
    'p_pae.png',
    'p_predicted_aligned_error_v1.json',
    'p.html',
    'index.html',
    'p.cxc',
    'p.pml',
    'config.json',
    'cite.bibtex',
    'log.txt',
    'summary.csv',
  }
  for name in ranked:
    expected |= {
      f'p_unrelaxed_{name}.pdb',
      f'p_unrelaxed_{name}.cif',
      f'p_scores_{name}.json',
      f'p_all_{name}.npz',
      f'p_single_repr_{name}.npy',
      f'p_pair_repr_{name}.npy',
      f'p_unrelaxed_{name}.r0.pdb',
      f'p_unrelaxed_{name}.r1.pdb',
    }
  assert names(finished) == expected


def test_ranks_follow_the_mean_plddt(finished):
  means = [np.mean(load_json(path)['plddt']) for path in sorted(finished.glob('p_scores_rank_*.json'))]
  assert len(means) == 4 and means == sorted(means, reverse=True) and len(set(means)) == 4


def test_b_factors_are_plddt_and_the_last_recycle_is_the_result(finished):
  pdb = next(finished.glob('p_unrelaxed_rank_001_*_seed_00?.pdb'))
  atoms = list(PDBParser(QUIET=True).get_structure('p', pdb).get_atoms())
  scores = load_json(next(finished.glob('p_scores_rank_001_*.json')))
  assert [atom.bfactor for atom in atoms if atom.name == 'CA'] == scores['plddt']
  recycles = [pdb.with_suffix(f'.r{i}.pdb').read_text() for i in (0, 1)]
  assert recycles[1] == pdb.read_text() != recycles[0]


def test_save_all_keeps_every_array_without_pickles(finished):
  with np.load(next(finished.glob('p_all_rank_001_*.npz')), allow_pickle=False) as archive:
    arrays = {name: archive[name] for name in archive.files}
  n = len(SEQUENCE)
  assert arrays['atom_positions'].shape == (n, 37, 3) and arrays['pae'].shape == (n, n)
  assert arrays['pair'].shape == (n, n, 128) and arrays['single'].shape == (n, 384)
  assert arrays['contact_probability'].shape == (n, n) and list(arrays['notes']) == [RANDOM_NOTE]
  assert arrays['distogram'].shape == (n, n, 64) and arrays['distogram'].dtype == np.float16
  assert arrays['distogram_edges'].shape == (63,)
  single = np.load(next(finished.glob('p_single_repr_rank_001_*.npy')), allow_pickle=False)
  np.testing.assert_array_equal(single, arrays['single'])


def test_random_weights_are_labelled_everywhere(finished):
  for path in finished.glob('p_unrelaxed_*'):
    assert RANDOM_NOTE in path.read_text(), path
  others = [finished / name for name in ('config.json', 'p.done.txt', 'log.txt', 'summary.csv')]
  for path in [*finished.glob('p_scores_*.json'), *others]:
    assert RANDOM_NOTE in path.read_text(), path


def test_the_alignment_is_copied_as_it_was(finished):
  assert (finished / 'p.a3m').read_text() == A3M


def test_summary_csv_has_a_row_for_each_prediction(finished):
  rows = [line.split(',') for line in (finished / 'summary.csv').read_text().splitlines()]
  assert rows[0][:7] == ['job', 'status', 'rank', 'model', 'seed', 'mean_plddt', 'ptm'] and len(rows) == 5
  assert [row[2] for row in rows[1:]] == ['1', '2', '3', '4'] and {row[4] for row in rows[1:]} == {'7', '8'}


def test_config_json_repeats_the_run(finished, tmp_path):
  config = load_json(finished / 'config.json')
  assert {
    'version',
    'date',
    'command',
    'input',
    'options',
    'models',
    'seeds',
    'device',
    'packages',
    'jobs',
    'python',
    'platform',
    'templates',
  } <= set(config)
  assert config['seeds'] == [7, 8] and list(config['models']) == ['model_1_ptm', 'model_2_ptm']
  assert config['models']['model_1_ptm']['parameters'] == 'random'
  assert config['models']['model_1_ptm']['config']['evoformer']['num_block'] == 1
  assert config['models']['model_1_ptm']['config']['num_recycle'] == 1
  assert config['packages']['jax'] == jax.__version__ and config['device']['platform'] == 'cpu'
  assert config['jobs'][0]['alignment'].endswith('p.a3m') and len(config['jobs'][0]['input_sha256']) == 64
  arguments = config['command'][1:]
  arguments[2] = str(tmp_path / 'again')
  assert cli.main(arguments) == 0
  for name in names(finished):
    if name.endswith(('.pdb', '.json', '.npy')) and name != 'config.json':
      assert (tmp_path / 'again' / name).read_bytes() == (finished / name).read_bytes(), name


def test_no_temporary_file_or_extra_array_is_left(finished):
  everything = [path.name for path in finished.rglob('*')]
  assert not [name for name in everything if name.endswith('.part') or '.extras.' in name]


def test_ranking_by_ptm_and_models_without_pae(tmp_path):
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE)
  assert predict(source, tmp_path / 'ptm', *ALONE, '--num-models', '3', '--rank', 'ptm') == 0
  record = load_json(tmp_path / 'ptm' / 'p.done.txt')
  ptms = [row['ptm'] for row in record['predictions']]
  assert len(ptms) == 3 and ptms == sorted(ptms, reverse=True)
  by_plddt = sorted(record['predictions'], key=lambda row: -row['mean_plddt'])
  assert [row['model'] for row in by_plddt] != [row['model'] for row in record['predictions']]
  assert (
    predict(
      source,
      tmp_path / 'plain',
      '--params',
      'random',
      *NETWORK,
      '--num-recycle',
      '0',
      '--num-models',
      '1',
      '--msa-mode',
      'single_sequence',
      '--model-type',
      'alphafold2',
    )
    == 0
  )
  assert names(tmp_path / 'plain') >= {'p_unrelaxed_rank_001_alphafold2_model_1_seed_000.pdb', 'p_plddt.png'}
  assert not list((tmp_path / 'plain').glob('p_p*ae*'))
  assert set(load_json(next((tmp_path / 'plain').glob('p_scores_*')))) == {'plddt', 'notes'}


def test_names_that_fall_together_are_told_apart_and_recorded(tmp_path):
  source = fasta(tmp_path / 'p.fasta', **{'a/b': SEQUENCE, 'a b': OTHER, 'plain': SEQUENCE})
  assert predict(source, tmp_path / 'out', *ALONE) == 0
  renamed = load_json(tmp_path / 'out' / 'names.json')
  assert sorted(renamed.values()) == ['a b', 'a/b'] and all(re.fullmatch(r'a_b_[0-9a-f]{8}', name) for name in renamed)
  sequences = {name: (tmp_path / 'out' / f'{job}.a3m').read_text().splitlines()[1] for job, name in renamed.items()}
  assert sequences == {'a/b': SEQUENCE, 'a b': OTHER} and (tmp_path / 'out' / 'plain.done.txt').exists()


def test_jobname_prefix_numbers_the_proteins_in_the_order_of_the_input(tmp_path):
  source = fasta(tmp_path / 'p.fasta', long=SEQUENCE, short=OTHER[:18])
  assert predict(source, tmp_path / 'out', *ALONE, '--jobname-prefix', 'my job') == 0
  assert load_json(tmp_path / 'out' / 'names.json') == {'my_job_0': 'long', 'my_job_1': 'short'}
  assert (tmp_path / 'out' / 'my_job_1.done.txt').exists()


def test_skipped_outputs_are_not_written(tmp_path):
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE)
  assert predict(source, tmp_path / 'out', *ALONE, '--skip-output', 'msa,pae_json') == 0
  name = tag(rank=1)
  assert names(tmp_path / 'out') == {
    f'p_unrelaxed_{name}.pdb',
    f'p_unrelaxed_{name}.cif',
    f'p_scores_{name}.json',
    'p.done.txt',
    'config.json',
    'cite.bibtex',
    'log.txt',
    'summary.csv',
  }


def test_zip_packs_a_job_and_is_resumed_too(tmp_path, monkeypatch):
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE)
  out = tmp_path / 'out'
  assert predict(source, out, *ALONE, '--zip') == 0
  assert {name for name in names(out) if name.startswith('p')} == {'p.result.zip', 'p.done.txt'}
  with zipfile.ZipFile(out / 'p.result.zip') as archive:
    assert archive.testzip() is None
    assert {'p.a3m', f'p_unrelaxed_{tag(rank=1)}.pdb', f'p_scores_{tag(rank=1)}.json'} <= set(archive.namelist())
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *ALONE, '--zip') == 0
  assert predict(source, out, *ALONE) == 0 and not computed
  assert not (out / 'p.result.zip').exists() and (out / f'p_unrelaxed_{tag(rank=1)}.pdb').exists()
  assert 'WARNING: p: removed 1 file of an earlier run with --zip' in (out / 'log.txt').read_text()
  assert predict(source, out, *ALONE, '--zip', '--save-recycles', '--random-seed', '1') == 0
  assert predict(source, out, *ALONE, '--zip', '--save-recycles') == 0 and len(computed) == 1
  with zipfile.ZipFile(out / 'p.result.zip') as archive:
    assert sorted(name[-7:] for name in archive.namelist() if '.pdb' in name) == ['.r0.pdb', '000.pdb', '001.pdb']
  assert 'in each of ' in (out / 'log.txt').read_text()


def test_the_alignment_beside_the_output_is_never_touched(tmp_path):
  (tmp_path / 'p.a3m').write_text(f'>q\n{SEQUENCE}\n')
  assert predict(tmp_path / 'p.a3m', tmp_path, *SMALL, '--num-models', '1', '--zip') == 0
  assert (tmp_path / 'p.a3m').read_text() == f'>q\n{SEQUENCE}\n' and (tmp_path / 'p.result.zip').exists()


# ------------------------------------------------------------------------------------------ resuming


def test_a_second_run_computes_nothing_and_does_not_load_jax(tmp_path):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER), tmp_path / 'out'
  assert predict(source, out, *TWO) == 0
  before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name.startswith(('p', 'q'))}
  code = (
    'import sys; from alphafold_jax import cli; code = cli.main(sys.argv[1:]); print("jax" in sys.modules); '
    'sys.exit(code)'
  )
  done = python(code, 'predict', source, out, *TWO)
  assert done.returncode == 0 and done.stdout.endswith('False\n'), done.stdout + done.stderr
  assert done.stdout.count('already done') == 3 and '2 proteins: 2 already done' in done.stdout
  assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_killed_run_goes_on_with_the_missing_models(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER), tmp_path / 'out'
  code = """if True:
    import os, signal, sys
    from alphafold_jax import cli
    replace = os.replace
    def killing(old, new):
      if str(new).endswith('model_2_seed_000.npz'):
        os.kill(os.getpid(), signal.SIGKILL)  # as the second result is about to appear
      replace(old, new)
    os.replace = killing
    cli.main(sys.argv[1:])
  """
  done = python(code, 'predict', source, out, *TWO)
  assert done.returncode == -signal.SIGKILL, done.stderr
  assert f'p_unrelaxed_{tag(1)}.pdb' in names(out) and f'p_unrelaxed_{tag(2)}.pdb' not in names(out)
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *TWO) == 0
  assert computed == [('p', 'model_2_ptm', 0), ('q', 'model_1_ptm', 0), ('q', 'model_2_ptm', 0)]
  assert not [name for name in names(out) if '_rank_' not in name and '_seed_' in name]
  assert predict(source, tmp_path / 'whole', *TWO) == 0
  for name in names(out):
    if name.endswith(('.pdb', '.json')) and name != 'config.json':
      assert (out / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes(), name


def test_other_content_is_computed_again_under_the_same_name(tmp_path, monkeypatch):
  out = tmp_path / 'out'
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER)
  assert predict(source, out, *TWO) == 0
  before = {path.name: path.read_bytes() for path in out.glob('*.pdb')}
  computed = count_predictions(monkeypatch)
  fasta(source, p=SEQUENCE[::-1], q=OTHER)
  assert predict(source, out, *TWO) == 0
  assert computed == [('p', 'model_1_ptm', 0), ('p', 'model_2_ptm', 0)]
  after = {path.name: path.read_bytes() for path in out.glob('*.pdb')}
  assert len(after) == 4 and all((after[name] == before.get(name)) == name.startswith('q') for name in after)


def made(out, job='p', failed=False):
  """What the files of a protein are of, by each of the places that say so: names, record and summary."""
  tagged = re.compile(r'_unrelaxed_rank_(\d+)_alphafold2_ptm_model_(\d)_seed_(\d+)\.pdb')
  by_names = sorted([*map(int, found.groups())] for path in out.glob('*.pdb') if (found := tagged.search(path.name)))
  record = load_json(out / f'{job}.done.txt')
  assert [[row['rank'], int(row['model'][6]), row['seed']] for row in record['predictions']] == by_names
  assert {path.name for path in out.glob(f'{job}[_.]*')} == {*record['files'], f'{job}.done.txt', *names_of_others(out)}
  with open(out / 'summary.csv', newline='') as file:
    rows = list(csv.reader(file))[1 + failed :]
  assert [(row[2], row[4], float(row[5])) for row in rows] == [
    (str(row['rank']), str(row['seed']), round(row['mean_plddt'], 2)) for row in record['predictions']
  ]
  for path in out.glob('*_scores_*.json'):
    (plddt,) = (row['mean_plddt'] for row in record['predictions'] if f'{row["tag"]}.' in path.name)
    assert np.mean(load_json(path)['plddt']) == pytest.approx(plddt, abs=0.01)
  return {(model, seed) for _, model, seed in by_names}


def names_of_others(out):
  return {path.name for path in out.glob('*mine*')}


def test_other_seeds_and_models_are_added_and_ranked_together(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *ALONE) == 0
  assert predict(source, out, *ALONE, '--random-seed', '1', '--save-recycles') == 0
  assert made(out) == {(1, 0), (1, 1)} and len(computed) == 2
  assert 'p: no files of "recycles" of 1 prediction of earlier runs' in (out / 'log.txt').read_text()
  assert [path.name[-8:] for path in out.glob('p_*.r0.pdb')] == ['1.r0.pdb']  # of seed 0 they were not kept
  assert predict(source, out, *ALONE, '--num-models', '2') == 0
  assert made(out) == {(1, 0), (1, 1), (2, 0)} and computed[2:] == [('p', 'model_2_ptm', 0)]
  assert predict(source, tmp_path / 'whole', *TWO, '--num-seeds', '2') == 0
  for name in names(out):
    if name.endswith(('_0.pdb', '_1.pdb')):
      assert (out / name).read_bytes() == (tmp_path / 'whole' / re.sub('rank_00.', '*', name)).read_bytes()
  computed.clear()
  before = {path: path.stat().st_mtime_ns for path in out.glob('p[_.]*')}
  for flags in (ALONE, TWO, (*ALONE, '--random-seed', '1')):
    assert predict(source, out, *flags) == 0 and not computed
    assert {path: path.stat().st_mtime_ns for path in out.glob('p[_.]*')} == before and len(made(out)) == 3
  assert 'removed' not in re.sub(
    'removed 1 file of an earlier run with --save-recycles', '', (out / 'log.txt').read_text()
  )
  config = load_json(out / 'config.json')
  assert config['seeds'] == [0, 1] and list(config['models']) == ['model_1_ptm', 'model_2_ptm']


@pytest.mark.slow
def test_the_summary_and_config_name_what_runs_of_other_inputs_left(tmp_path):
  p, q, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), fasta(tmp_path / 'q.fasta', q=SEQUENCE), tmp_path / 'out'
  assert predict(p, out, *ALONE) == 0 and predict(q, out, *ALONE, '--random-seed', '1') == 0
  assert [row[:2] for row in summary(out)] == [['q', 'done'], ['p', 'earlier run']]
  config = load_json(out / 'config.json')
  assert config['seeds'] == [0, 1] and [job['job'] for job in config['jobs']] == ['q', 'p']
  assert [Path(run['input']).name for run in config['runs']] == ['p.fasta', 'q.fasta']
  assert predict(q, out, *ALONE, '--num-recycle', '2') == 0
  assert [row[:2] for row in summary(out)] == [['q', 'done'], ['p', 'earlier run with --num-recycle 0']]
  (out / 'config.json').write_text('{')
  assert predict(q, out, *ALONE, '--num-recycle', '2') == 0 and load_json(out / 'config.json')['models']
  assert predict(q, out, *ALONE, '--num-recycle', '3', '--msa-only') == 0  # makes no prediction
  config = load_json(out / 'config.json')
  assert config['options']['settings']['num_recycle'] == 2 and '--msa-only' in config['runs'][-1]['flags']
  assert predict(q, out, *ALONE, '--num-recycle', '2') == 0
  assert load_json(out / 'config.json')['options']['settings']['num_recycle'] == 2


@pytest.mark.slow
def test_files_of_other_settings_are_removed_with_a_word_once_there_are_new_ones(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  out.mkdir()
  (out / 'p_unrelaxed_rank_001_mine.pdb').write_text('of somebody else')
  assert predict(source, out, *TWO) == 0
  old, run, seen = names(out), prediction.predict, []
  content = {name: (out / name).read_bytes() for name in old if name.startswith('p')}

  def watched(*arguments, **settings):
    seen.append({name: (out / name).read_bytes() for name in names(out) if name.startswith('p')} == content)
    seen.append('p,' in (out / 'summary.csv').read_text())
    if len(seen) > 2:
      raise KeyboardInterrupt  # at the second model
    return run(*arguments, **settings)

  with monkeypatch.context() as patch:
    patch.setattr(prediction, 'predict', watched)
    assert predict(source, out, *TWO, '--num-recycle', '1') == 130
  assert seen == [True, False] * 2  # the old files, of which summary.csv does not speak any more
  assert made(out) == {(1, 0), (2, 0)} and ',earlier run with --num-recycle 0,' in (out / 'summary.csv').read_text()
  shutil.copytree(out, tmp_path / 'copy')
  assert predict(source, tmp_path / 'copy', *ALONE, '--num-recycle', '1', '--random-seed', '1') == 0
  assert made(tmp_path / 'copy') == {(1, 0), (1, 1)}  # that of seed 0 comes from the run that was stopped
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *TWO) == 0 and not computed  # it is done
  assert predict(source, out, *TWO, '--random-seed', '1') == 0 and len(made(out)) == 4 and len(computed) == 2
  computed.clear()
  assert predict(source, out, *TWO, '--num-recycle', '1') == 0 and computed == [('p', 'model_2_ptm', 0)]
  assert made(out) == {(1, 0), (2, 0)}
  log = (out / 'log.txt').read_text()
  assert log.count('removed') == 1 and 'WARNING: p: removed 14 files of an earlier run with --num-recycle 0' in log
  assert (out / 'p_unrelaxed_rank_001_mine.pdb').exists()


def test_a_damaged_raw_result_is_computed_again(tmp_path, monkeypatch, capsys):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *TWO) == 0
  path = out / '.results' / 'p' / f'{tag(2)}.npz'
  whole, arrays = path.read_bytes(), raw(out, 'p', tag(2))
  for damaged in (whole[:1000], b'', whole[:2000] + bytes(500) + whole[2500:]):
    path.write_bytes(damaged)
    (out / 'p.done.txt').unlink()
    computed = count_predictions(monkeypatch)
    assert predict(source, out, *TWO) == 0
    assert computed == [('p', 'model_2_ptm', 0)]
    assert all(np.array_equal(array, arrays[name]) for name, array in raw(out, 'p', tag(2)).items())
    assert 'damaged' in capsys.readouterr().out


def test_a_pickle_in_the_place_of_a_result_is_never_loaded(tmp_path):
  path = tmp_path / 'p.npz'
  np.savez(path, __result__=np.array([{'key': 'k'}], dtype=object))
  assert stored.find(tmp_path, 'p', 'p', 'p', 'k') is None


@pytest.mark.parametrize(('num_res', 'is_small'), [(60, True), (400, False)])
def test_arrays_that_are_kept_for_files_stay_in_memory_where_they_are_small(num_res, is_small, tmp_path):
  shapes = {'atom_positions': (37, 3), 'atom_mask': (37,), 'plddt': (), 'pae': (num_res,)}
  arrays = {name: np.full((num_res, *shape), 3.0, np.float32) for name, shape in shapes.items()}
  arrays |= {name: np.arange(num_res) % 20 for name in ('aatype', 'residue_index', 'asym_id')}
  one = prediction.Prediction('p', 'p', 'model_1_ptm', 0, 3.0, 0.25, (Pass(0, 3.0, 0.25, 1.5, 2.0),), arrays)
  kept = stored.save(tmp_path, 'k', one)
  assert set(kept.arrays) == set(arrays) and isinstance(kept.arrays, stored.StoredArrays) != is_small
  found = stored.find(tmp_path, 'p', 'p', tag(), 'k')
  assert all(np.array_equal(found.arrays[name], kept.arrays[name]) for name in arrays)


def test_what_earlier_versions_kept_is_a_prediction_whose_arrays_stay_on_disk(tmp_path):
  arrays = {name: np.full((5, *shape), 3.0) for name, shape in {
    'atom_positions': (37, 3), 'atom_mask': (37,), 'plddt': (), 'pae': (5,)}.items()}  # fmt: skip
  arrays |= {name: np.arange(5) for name in ('aatype', 'residue_index', 'asym_id')}
  done = {'index': 0, 'mean_plddt': 3.0, 'ptm': 0.25, 'change': 1.5, 'seconds': 2.0}
  header = {'key': 'k', 'tag': tag(), 'model_name': 'model_1_ptm', 'seed': 0, 'mean_plddt': 3.0, 'ptm': 0.25,
            'passes': [done], 'notes': [RANDOM_NOTE]}  # fmt: skip
  path = tmp_path / f'{tag()}.npz'
  np.savez(path, __result__=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
  found = stored.find(tmp_path, 'a/b', 'a_b', tag(), 'k')
  assert isinstance(found, prediction.Prediction) and isinstance(found.passes[0], Pass)
  assert (found.name, found.job, found.tag, found.sequence) == ('a/b', 'a_b', tag(), 'ARNDC')
  assert (found.ptm, found.seconds, found.notes) == (0.25, 2.0, (RANDOM_NOTE,)) and found.representations is None
  np.testing.assert_array_equal(found.pae, arrays['pae'])
  whole = found.in_memory()
  path.unlink()
  with pytest.raises(FileNotFoundError):
    found.plddt  # noqa: B018
  assert whole.plddt.tolist() == [3.0] * 5 and repr(whole) == repr(found)


def test_lost_files_are_written_anew_without_computing(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *ALONE) == 0
  pdb = out / f'p_unrelaxed_{tag(rank=1)}.pdb'
  content = pdb.read_bytes()
  pdb.unlink()
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *ALONE) == 0
  assert pdb.read_bytes() == content and not computed


def test_overwriting_computes_everything(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *TWO) == 0
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *TWO, '--overwrite-existing-results') == 0
  assert len(computed) == 2


def test_recycles_asked_for_later_are_computed_and_kept_for_resuming(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER), tmp_path / 'out'
  flags = (*ALONE, '--num-recycle', '1', '--save-recycles')
  assert predict(source, out, *ALONE, '--num-recycle', '1') == 0
  computed = count_predictions(monkeypatch)
  write = job_files.JobFiles.finish
  monkeypatch.setattr(job_files.JobFiles, 'finish', lambda *_, **__: 1 / 0)
  assert predict(source, out, *flags) == 1
  assert len(computed) == 2
  for path in out.glob('*.r0.pdb'):
    path.unlink()
  monkeypatch.setattr(job_files.JobFiles, 'finish', write)
  assert predict(source, out, *flags) == 0
  assert len(computed) == 2 and {f'p_unrelaxed_{tag(rank=1)}.r{i}.pdb' for i in (0, 1)} < names(out)


def test_another_parameter_file_is_another_prediction(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  config = runs.Options(
    config={'evoformer.num_block': 1, 'extra_msa.num_block': 1, 'structure.num_layer': 2}, params='random'
  ).model_config('model_3_ptm')
  path = tmp_path / 'params_model_3_ptm.npz'
  flags = (*ALONE, '--params', str(path))
  official.save_official(path, random_params(config, seed=1), config)
  assert predict(source, out, *flags) == 0
  assert f'p_unrelaxed_{tag(3, rank=1)}.pdb' in names(out) and RANDOM_NOTE not in (out / 'log.txt').read_text()
  recorded = load_json(out / 'config.json')['models']['model_3_ptm']['parameters']
  assert recorded['file'] == str(path) and len(recorded['sha256']) == 64
  computed = count_predictions(monkeypatch)
  os.utime(path, (1, 1))
  assert predict(source, out, *flags) == 0 and not computed
  official.save_official(path, random_params(config, seed=2), config)
  assert predict(source, out, *flags) == 0 and len(computed) == 1


def options_for_keys(**changes):
  return runs.Options(params='random', **changes)


def prediction_key(options, query=None, templates=None, model='model_1_ptm', params=None, seed=0):
  query = query or Query('p', SEQUENCE, parse_a3m(A3M, 'p'))
  digests = dict.fromkeys(options.models, params or 'random')
  return keys.Keys(options, digests, templates).prediction(keys.of_input(inputs.Job('p', query)), model, seed)


def test_the_key_is_that_of_the_content():
  alignment = parse_a3m(A3M, 'p')
  deletions = alignment.deletions.copy()
  deletions[3, 3] = 1
  base = prediction_key(options_for_keys())
  other = [
    prediction_key(options_for_keys(), Query('p', SEQUENCE)),
    prediction_key(options_for_keys(), Query('p', SEQUENCE, dataclasses.replace(alignment, deletions=deletions))),
    prediction_key(options_for_keys(), Query('p', SEQUENCE, parse_a3m('\n'.join(A3M.splitlines()[:-2]), 'p'))),
    prediction_key(options_for_keys(), templates='t'),
    prediction_key(options_for_keys(), model='model_2_ptm'),
    prediction_key(options_for_keys(), params='abc'),
    prediction_key(options_for_keys(), seed=1),
    prediction_key(options_for_keys(max_extra_seq=7)),
    prediction_key(options_for_keys(config={'evoformer.num_block': 2})),
    *(
      prediction_key(options_for_keys(settings=settings.Settings(**change)))
      for change in (
        {'num_recycle': 2},
        {'use_dropout': True},
        {'dtype': 'bfloat16'},
        {'max_msa': (8, 8)},
        {'masked_msa_fraction': 0.0},
        {'num_ensemble': 2},
        {'recycle_early_stop_tolerance': 0.5},
      )
    ),
  ]
  assert len({base, *other}) == len(other) + 1
  same = [
    prediction_key(options_for_keys(), Query('another name', SEQUENCE, alignment, source='elsewhere')),
    prediction_key(options_for_keys(num_models=2, num_seeds=3, rank='ptm', zip=True, sort_queries_by='none')),
  ]
  assert set(same) == {base}
  no_templates = [prediction_key(options_for_keys(), templates=t, model='model_3_ptm') for t in (None, 't')]
  assert len(set(no_templates)) == 1  # the model takes none


# ------------------------------------------------------------------------------------------ failures


def test_a_broken_file_costs_only_itself(tmp_path, capsys):
  source, out = tmp_path / 'in', tmp_path / 'out'
  source.mkdir()
  fasta(source / 'good.fasta', p=SEQUENCE, q=OTHER)
  (source / 'bad.fasta').write_text('>b\nMKT1\n')
  (source / 'bad.a3m').write_bytes(b'\x00\x01\x02')
  assert predict(source, out, *ALONE) == 1
  failures = {one['source'].split('/')[-1]: one for one in load_json(out / 'failures.json')}
  assert set(failures) == {'bad.fasta, record 1 (line 1)', 'bad.a3m'}
  assert all(one['stage'] == 'input' and one['error'] == 'InputError' for one in failures.values())
  assert (out / 'p.done.txt').exists() and (out / 'q.done.txt').exists()
  shown = capsys.readouterr().out
  assert 'Failures' in shown and "'1' in record 'b' is a digit" in shown and '4 proteins: 2 done, 2 failed' in shown
  for name in ('bad.fasta', 'bad.a3m'):
    (source / name).unlink()
  assert predict(source, out, *ALONE) == 0 and not (out / 'failures.json').exists()


def test_bare_sequences_among_alignments_fail_and_the_rest_runs(tmp_path):
  source, out = tmp_path / 'in', tmp_path / 'out'
  source.mkdir()
  (source / 'p.a3m').write_text(f'>q\n{SEQUENCE}\n')
  fasta(source / 'q.fasta', q=OTHER)
  assert predict(source, out, *SMALL, '--num-models', '1') == 1
  assert '--msa-mode single_sequence' in load_json(out / 'failures.json')[0]['message']
  assert (out / 'p.done.txt').exists()


def test_an_alignment_with_a_bad_row_costs_only_itself(tmp_path):
  source, out = tmp_path / 'in', tmp_path / 'out'
  source.mkdir()
  (source / 'p.a3m').write_text(f'>q\n{SEQUENCE}\n>1\n{SEQUENCE[:-1]}\n')
  (source / 'q.a3m').write_text(f'>q\n{OTHER}\n')
  assert predict(source, out, *SMALL, '--num-models', '1') == 1
  (failure,) = load_json(out / 'failures.json')
  assert failure['job'] == 'p' and 'p.a3m, line 3' in failure['message'] and (out / 'q.done.txt').exists()
  (source / 'q.a3m').unlink()
  (source / 'r.a3m').write_text(f'>q\n{OTHER}\n>1\nM\n')
  assert predict(source, tmp_path / 'none', *SMALL, '--num-models', '1') == 2  # nothing could be run


def test_nan_is_a_failure_of_its_model_and_never_written(tmp_path, monkeypatch):
  load = prediction.load_model

  def broken(name, *arguments, **changes):
    model = load(name, *arguments, **changes)
    if name != 'model_2_ptm':
      return model
    params = dict(model.params)
    params['structure_module/single'] = {k: v * jnp.nan for k, v in params['structure_module/single'].items()}
    return dataclasses.replace(model, params=params)

  monkeypatch.setattr(prediction, 'load_model', broken)
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *ALONE, '--num-models', '3', '--dtype', 'float32') == 1
  (failure,) = load_json(out / 'failures.json')
  assert (failure['error'], failure['model'], failure['seed']) == ('NumericalError', 'model_2_ptm', 0)
  assert 'p: model_2_ptm gave NaN or infinity in pass 0' in failure['message']
  assert not [path for path in out.rglob('*model_2*')] and len(list(out.glob('p_unrelaxed_rank_00[12]_*.pdb'))) == 2
  assert not (out / 'p.done.txt').exists()
  monkeypatch.setattr(prediction, 'load_model', load)
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *ALONE, '--num-models', '3', '--dtype', 'float32') == 0
  assert computed == [('p', 'model_2_ptm', 0)] and not (out / 'failures.json').exists()
  assert len(list(out.glob('p_unrelaxed_rank_*.pdb'))) == 3


def test_a_prediction_that_fails_late_leaves_nothing_but_what_was_there(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *ALONE) == 0
  old = {path: path.read_bytes() for path in out.glob('p[_.]*')}
  run = prediction.predict

  def late(*arguments, **settings):
    run(*arguments, **settings)
    assert [path.name for path in out.rglob('*.r0.pdb')] == [f'p_unrelaxed_{tag()}.r0.pdb']
    raise errors.NumericalError('at last')

  monkeypatch.setattr(prediction, 'predict', late)
  fasta(source, p=OTHER)
  assert predict(source, out, *ALONE, '--save-recycles') == 1
  assert {path: path.read_bytes() for path in out.glob('p[_.]*')} == old and made(out, failed=True) == {(1, 0)}
  others = {'log.txt', 'config.json', 'cite.bibtex', 'summary.csv', 'failures.json'}
  assert names(out) == {path.name for path in old} | others and not list(out.rglob('*.r0.pdb'))
  rows = (out / 'summary.csv').read_text().splitlines()[1:]
  assert rows[0].startswith('p,failed,,') and rows[0].endswith('; NumericalError: at last')
  assert rows[1].startswith('p,"earlier run of another sequence, alignment or templates",1,')
  monkeypatch.setattr(prediction, 'predict', run)
  assert predict(source, out, *ALONE) == 0 and made(out) == {(1, 0)}
  told = 'WARNING: p: removed 5 files of an earlier run of another sequence, alignment or templates\n'
  assert (out / 'log.txt').read_text().count(told) == 1


@pytest.mark.slow
def test_what_earlier_versions_left_is_resumed_and_ranked_together_with_what_comes(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *ALONE) == 0
  record, journal = (load_json(path) for path in (out / 'p.done.txt', out / '.results' / 'p' / 'files.json'))
  record['predictions'] = [{k: v for k, v in row.items() if k != 'key'} for row in record['predictions']]
  for name in ('formats', 'flags', 'input'):
    del record[name]
  (out / 'p.done.txt').write_text(json.dumps(record))
  (out / '.results' / 'p' / 'files.json').write_text(json.dumps({k: journal[k] for k in ('input', 'files')}))
  config = load_json(out / 'config.json')
  (out / 'config.json').write_text(json.dumps({k: v for k, v in config.items() if k != 'runs'}))
  assert predict(source, out, *ALONE) == 0 and len(computed) == 1
  assert predict(source, out, *ALONE, '--random-seed', '1') == 0 and len(computed) == 2
  assert made(out) == {(1, 0), (1, 1)} and 'removed' not in (out / 'log.txt').read_text()
  assert [run['seeds'] for run in load_json(out / 'config.json')['runs']] == [[0], [1]]


def test_a_run_beside_one_of_other_settings_writes_nothing(tmp_path, capsys):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  out.mkdir()
  with sharing.using(out, 'predict', 'other', runs.Options(settings=settings.Settings(num_recycle=6)).flags()):
    assert predict(source, out, *ALONE) == 2
  told = capsys.readouterr().err
  assert f'{out} is in use by ' in told and ' --num-recycle 6' in told and 'this run has' in told
  assert not names(out)


@pytest.mark.slow
def test_an_unfinished_run_is_gone_on_with_or_removed_by_one_of_other_settings(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  run = prediction.predict

  def stopping(model, *arguments, **settings):
    if model.name == 'model_2_ptm':
      raise KeyboardInterrupt
    return run(model, *arguments, **settings)

  with monkeypatch.context() as patch:
    patch.setattr(prediction, 'predict', stopping)
    assert predict(source, out, *TWO) == 130
    assert f'p_unrelaxed_{tag()}.pdb' in names(out)
    assert predict(source, out, *TWO, '--num-recycle', '1') == 130
  told = 'removed 3 files of an earlier run that was stopped, with other settings or another input'
  assert (out / 'log.txt').read_text().count(told) == 1
  assert predict(source, out, *ALONE, '--num-recycle', '1', '--random-seed', '1') == 0
  assert made(out) == {(1, 0), (1, 1)} and (out / 'log.txt').read_text().count('removed') == 1


def test_a_protein_too_large_fails_at_once_and_the_others_run(tmp_path, monkeypatch, capsys):
  plan = planning.plan

  def small(work, num_res, *numbers):
    if num_res > 32:
      raise errors.ResourceError('needs 99.0 GiB: about 32 residues would fit')
    return plan(work, num_res, *numbers)

  monkeypatch.setattr(planning, 'plan', small)
  source, out = fasta(tmp_path / 'p.fasta', large='A' * 40, p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *TWO) == 1
  (failure,) = load_json(out / 'failures.json')
  assert failure['job'] == 'large' and failure['error'] == 'ResourceError' and (out / 'p.done.txt').exists()
  assert 'ResourceError: needs 99.0 GiB' in capsys.readouterr().out


def test_memory_that_is_short_is_tried_again_without_the_other_models(tmp_path, monkeypatch):
  run, tried = attempts._run, []

  def short(task, plan, *arguments):
    tried.append((task.model.name, plan.step))
    if tried == [('model_1_ptm', 0), ('model_2_ptm', 0)]:
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')
    return run(task, plan, *arguments)

  monkeypatch.setattr(attempts, '_run', short)
  out = tmp_path / 'out'
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), out, *TWO) == 0
  assert tried == [('model_1_ptm', 0), ('model_2_ptm', 0), ('model_2_ptm', 0)]
  log = (out / 'log.txt').read_text()
  assert 'the other models in it are dropped' in log and 'beginning again with more of it free' in log


def test_a_plan_that_is_not_the_plain_one_and_the_longest_protein_are_told(tmp_path, monkeypatch):
  monkeypatch.setattr(tasks.Task, 'plan', lambda _, plan=tasks.Task.plan: plan(_).below)
  out = tmp_path / 'out'
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), out, *ALONE) == 0
  log = (out / 'log.txt').read_text()
  assert 'p: memory is short, so it is computed with kernels auto in slices of 2 MiB, which takes about' in log
  assert re.search(r'about [\d,]+ residues fit this device \(.* GiB free, 508:5120 alignment rows, float32\)', log)


def test_models_are_dropped_when_they_take_too_much_memory(monkeypatch):
  options = options_for_keys(config={'evoformer.num_block': 1, 'extra_msa.num_block': 1, 'structure.num_layer': 1})
  store = models.Models(options)
  first = store.get('model_3_ptm')
  assert store.get('model_4_ptm') is not first and store.get('model_3_ptm') is first
  monkeypatch.setattr('alphafold_jax.devices.available_bytes', lambda: 1000)
  store.get('model_5_ptm')
  assert store.get('model_3_ptm') is not first


def full_disk(monkeypatch, when):
  """Lets no file reach the disk any more whose name fits."""
  fsync = os.fsync

  def failing(handle):
    if when(os.readlink(f'/proc/self/fd/{handle}')):
      raise OSError(errno.ENOSPC, 'No space left on device')
    fsync(handle)

  monkeypatch.setattr(atomic.os, 'fsync', failing)


def test_a_full_disk_ends_the_run_with_nothing_half_written(tmp_path, monkeypatch, capsys):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER), tmp_path / 'out'
  with monkeypatch.context() as patch:
    full_disk(patch, lambda name: 'p_scores' in name)
    assert predict(source, out, *ALONE) == 1
  shown = capsys.readouterr().out
  assert 'the disk is full; make room' in shown and 'No further protein is run' in shown
  assert '2 proteins: 1 failed, 1 not run' in shown and 'Traceback' not in shown
  (failure,) = load_json(out / 'failures.json')
  assert failure['stage'] == 'output' and 'disk is full' in failure['message']
  assert not [path for path in out.rglob('*') if path.name.endswith('.part') or 'p_scores' in path.name]
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *ALONE) == 0
  assert computed == [('q', 'model_1_ptm', 0)] and not (out / 'failures.json').exists()


def test_a_disk_that_is_full_from_the_start_exits_2(tmp_path, monkeypatch, capsys):
  full_disk(monkeypatch, lambda name: True)
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out', *ALONE) == 2
  assert 'the disk is full' in capsys.readouterr().err


def test_what_killed_runs_left_half_written_is_removed_when_old(tmp_path):
  for name in ('.a.part', '.b.part', 'c.part'):
    (tmp_path / name).write_text('')
  os.utime(tmp_path / '.a.part', (1, 1))
  changes.tidied_names(tmp_path)
  assert {path.name for path in tmp_path.iterdir()} == {'.b.part', 'c.part'}


# ------------------------------------------------------------------------------------------ inputs and choices


def test_features_made_first_give_the_same_prediction(tmp_path):
  (tmp_path / 'in').mkdir()
  (tmp_path / 'in' / 'p.a3m').write_text(A3M)
  (tmp_path / 'in' / 'q.csv').write_text('id,sequence,a3mpath\nq/1,,p.a3m\n')
  assert cli.main(['predict', str(tmp_path / 'in'), str(tmp_path / 'features'), '--msa-only']) == 0
  made = {name for name in names(tmp_path / 'features') if name.endswith('.npz')}
  assert made == {'p.features.npz', 'q_1.features.npz'}
  flags = (*SMALL, '--num-models', '2', '--save-single-representations')  # these also share a compilation with others
  assert predict(tmp_path / 'in', tmp_path / 'direct', *flags) == 0
  assert predict(tmp_path / 'features', tmp_path / 'staged', *flags) == 0
  assert predict(tmp_path / 'features' / 'p.features.npz', tmp_path / 'one', *flags) == 0
  for job, where in (('p', 'staged'), ('q_1', 'staged'), ('p', 'one')):
    direct, staged = raw(tmp_path / 'direct', job), raw(tmp_path / where, job)
    assert set(direct) == set(staged)
    for name in direct:
      np.testing.assert_array_equal(direct[name], staged[name])
  assert load_json(tmp_path / 'staged' / 'names.json') == {'q_1': 'q/1'}
  rows = (tmp_path / 'staged' / 'p.a3m').read_text().splitlines()
  assert rows[1::2] == [line for line in A3M.splitlines() if not line.startswith('>')]


def test_a_damaged_features_file_costs_only_itself(tmp_path):
  (tmp_path / 'in').mkdir()
  fasta(tmp_path / 'q.fasta', q=SEQUENCE)
  assert (
    cli.main(
      ['predict', str(tmp_path / 'q.fasta'), str(tmp_path / 'in'), '--msa-only', '--msa-mode', 'single_sequence']
    )
    == 0
  )
  content = (tmp_path / 'in' / 'q.features.npz').read_bytes()
  (tmp_path / 'in' / 'r.features.npz').write_bytes(content[: len(content) // 2])
  assert predict(tmp_path / 'in', tmp_path / 'out', *SMALL, '--num-models', '1') == 1
  (failure,) = load_json(tmp_path / 'out' / 'failures.json')
  assert failure['job'] == 'r' and 'r.features.npz' in failure['message'] and (tmp_path / 'out' / 'q.done.txt').exists()


def test_templates_that_fit_are_used_and_others_skipped_with_the_reason(tmp_path, recwarn):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, tmp_path / 'plain', *ALONE, '--num-models', '3', '--model-order', '1,3,2') == 0
  folder = tmp_path / 'templates'
  folder.mkdir()
  fitting = tmp_path / 'plain' / f'p_unrelaxed_{tag(3, rank=3)}.pdb'
  fitting = fitting if fitting.exists() else next((tmp_path / 'plain').glob('*.pdb'))
  (folder / 'good.pdb').write_text(fitting.read_text())
  kinds = '|'.join(('LYS', 'SER', 'GLN', 'ILE', 'ALA', 'PHE', 'ARG', 'VAL', 'HIS'))
  (folder / 'other.pdb').write_text(re.sub(kinds, 'TRP', fitting.read_text()))
  (folder / 'none.cif').write_text('no structure')
  (folder / 'notes.txt').write_text('not looked at')
  flags = (*ALONE, '--num-models', '2', '--model-order', '1,3', '--custom-template-path', str(folder))
  assert predict(source, out, *flags) == 0
  assert not [one for one in recwarn if 'templates' in str(one.message)]  # that model 3 takes none is as it should be
  log = (out / 'log.txt').read_text()
  assert 'p: template good_A: 100% identical, covers 100%' in log and '1 template' in log
  assert 'template none.cif skipped' in log and 'template other.pdb skipped' in log and 'notes.txt' not in log
  with_templates, without = (raw(place, 'p')['atom_positions'] for place in (out, tmp_path / 'plain'))
  assert np.abs(with_templates - without).max() > 1e-3
  same, unchanged = (raw(place, 'p', tag(3))['atom_positions'] for place in (out, tmp_path / 'plain'))
  np.testing.assert_array_equal(same, unchanged)
  assert len(load_json(out / 'config.json')['templates']) == 3


def test_a_high_score_spares_the_other_models(tmp_path, monkeypatch):
  computed = count_predictions(monkeypatch)
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER)
  flags = (*TWO, '--num-seeds', '2', '--stop-at-score', '10')
  assert predict(source, tmp_path / 'out', *flags) == 0
  assert computed == [('p', 'model_1_ptm', 0), ('q', 'model_1_ptm', 0)]
  assert predict(source, tmp_path / 'out', *flags) == 0 and len(computed) == 2


def test_models_and_seeds_run_in_the_order_asked_for(tmp_path, monkeypatch):
  computed = count_predictions(monkeypatch)
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE)
  order = ('--model-order', '4,2,1', '--num-seeds', '2', '--random-seed', '5')
  assert predict(source, tmp_path / 'out', *TWO, *order) == 0
  assert computed == [('p', f'model_{model}_ptm', seed) for model in (4, 2) for seed in (5, 6)]


def test_proteins_are_ordered_as_asked():
  found = [
    inputs.Job(
      name,
      Query(
        name,
        'A' * n,
        parse_a3m(
          f'>q\n{"A" * n}\n' + ''.join(f'>{i}\n{"C" * (i + 1)}{"A" * (n - i - 1)}\n' for i in range(alignment)), name
        )
        if alignment
        else None,
      ),
    )
    for name, n, alignment in (('a', 30, 1), ('b', 10, 3), ('c', 20, 0))
  ]

  def order(by, seed=0):
    return ''.join(job.name for job in inputs.in_order(found, by, seed))

  assert (order('none'), order('length'), order('longest'), order('msa_depth')) == ('abc', 'bca', 'acb', 'cab')
  assert sorted(order('random')) == ['a', 'b', 'c'] and len({order('random', seed) for seed in range(20)}) > 3
  assert order('random', 3) == order('random', 3)


def test_what_cannot_be_ranked_by_is_refused_with_the_choices():
  with pytest.raises(errors.InputError, match="rank='beauty': choose one of auto, plddt, ptm, iptm, multimer$"):
    runs.Options(rank='beauty')


def test_a_single_parameter_file_names_its_model(tmp_path):
  path = tmp_path / 'params_model_4.npz'
  path.write_bytes(b'')
  assert runs.Options(params=path).models == ('model_4',)
  with pytest.raises(errors.InputError, match='holds model_4, but the options ask for alphafold2_ptm'):
    runs.Options(params=path, model_type='alphafold2_ptm')


def test_programs_can_run_jobs_too(tmp_path):
  options = runs.Options(
    num_models=1,
    params='random',
    skip_output=frozenset({'plots'}),
    config={'evoformer.num_block': 1, 'extra_msa.num_block': 1, 'structure.num_layer': 2},
    settings=settings.Settings(num_recycle=1),
  )
  queries = [Query('one', SEQUENCE, parse_a3m(f'>q\n{SEQUENCE}\n', 'one')), Query('two', SEQUENCE)]
  summary = runs.run(queries, tmp_path / 'out', options)
  assert [(one.job, one.status) for one in summary.outcomes] == [('one', 'done'), ('two', 'failed')]
  assert summary.exit_code == 1 and summary.failures[0].job == 'two'
  assert summary.outcomes[0].predictions[0]['model'] == 'model_1_ptm'
  again = runs.run(queries[0], tmp_path / 'out', options)
  assert again.exit_code == 0 and again.outcomes[0].status == 'already done'


def count_reads(monkeypatch):
  """Counts how often each file is read to its end from now on, by name."""
  reads, read_bytes = Counter(), Path.read_bytes

  def counted(path):
    reads[path.name] += 1
    return read_bytes(path)

  monkeypatch.setattr(Path, 'read_bytes', counted)
  return reads


def test_an_alignment_is_read_once_for_its_checks_digest_depth_features_and_copy(tmp_path, monkeypatch):
  (tmp_path / 'in').mkdir()
  for name in 'pq':
    (tmp_path / 'in' / f'{name}.a3m').write_text(A3M)
  reads = count_reads(monkeypatch)
  assert predict(tmp_path / 'in', tmp_path / 'out', *SMALL, '--num-models', '1') == 0
  assert (reads['p.a3m'], reads['q.a3m']) == (1, 1)
  assert (tmp_path / 'out' / 'p.a3m').read_text() == A3M


def test_what_does_not_fit_the_memory_is_read_again(tmp_path, monkeypatch):
  paths = [tmp_path / name for name in 'abc']
  for path in paths:
    path.write_bytes(b'x' * 10)
  reads, contents = count_reads(monkeypatch), inputs.Contents(max_bytes=25)
  for path in (*paths, paths[2], paths[1], paths[0]):  # the first had to go for the third
    assert contents.read(path) == b'x' * 10
  assert reads == {'a': 2, 'b': 1, 'c': 1}
  large = inputs.Contents(max_bytes=5)
  assert [large.read(paths[0]) for _ in range(2)] == [b'x' * 10] * 2 and reads['a'] == 4
  assert pickle.loads(pickle.dumps(contents)).read(paths[1]) and reads['b'] == 2  # another process has its own


def test_alignments_in_memory_are_written_with_their_insertions_counted(tmp_path):
  alignment = parse_a3m('>q\nMKTAY\n>one\nMKabTA-\n', 'p')
  job = inputs.Job('p', Query('p', 'MKTAY', alignment))
  assert loading.load(job, None).alignment_text() == '>q\nMKTAY\n>one\nMKxxTA-\n'


# ------------------------------------------------------------------------------------------ progress and report


def test_the_clock_counts_compilation_once_per_length():
  clock = progress.RunClock(Counter({32: 4, 64: 2}))
  assert clock.left() is None and clock.fraction == 0
  clock.passed(32, 10.0, is_first=True)
  assert clock.left() is None
  clock.passed(32, 1.0, is_first=False)
  per_pass = progress.cost(64) / progress.cost(32)
  assert clock.left() == pytest.approx(2 * 1.0 + 2 * per_pass + 9.0)
  clock.passed(64, 9.0 + per_pass, is_first=True)
  assert clock.left() == pytest.approx(2 * 1.0 + per_pass, rel=1e-6)
  clock.skip(64, 1)
  clock.passed(32, 1.0, is_first=False)
  clock.passed(32, 1.0, is_first=False)
  assert clock.left() == 0 and clock.fraction == 1


def test_a_large_batch_is_summed_up(tmp_path):
  row = {'rank': 1, 'model': 'model_1_ptm', 'seed': 0, 'mean_plddt': 90.0, 'ptm': None, 'seconds': 4000.0}
  outcomes = [report.Outcome(f'{"p" * 80}{i}', report.DONE, [row, row | {'rank': 2}], ['a']) for i in range(100)]
  failures = [report.Failure('f', 'f', '', 'input', 'InputError', '[red]no markup[/]' + 'x' * 300)] * 50
  text = ending.closing(report.Summary(tmp_path, outcomes=outcomes, failures=failures), live=False)
  assert 'Best prediction of each protein' in text and '40 more' in text and '30 more, see failures.json' in text
  assert text.count('model_1_ptm') == 60 and '1:06:40' in text and '[red]no' in text
  assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 100


def test_the_closing_lines_end_between_words_on_a_terminal(tmp_path, monkeypatch):
  monkeypatch.setenv('COLUMNS', '60')
  row = {'rank': 1, 'model': 'mini', 'seed': 0, 'mean_plddt': 90.0, 'ptm': None, 'seconds': 4.0}
  failure = report.Failure('f', 'f', '', 'input', 'InputError', 'every word of this line stays whole ' * 9)
  note = store.Note('MINI MODEL: small', 'a long sentence on what can be done about it, and what it would cost')
  outcomes = [report.Outcome('p', report.DONE, [row], ['a'])]
  shown = ending.closing(report.Summary(Path('out'), None, outcomes, [], [failure], (note,)), live=True)
  lines = [line.strip() for line in re.sub(r'\x1b\[[\d;]*m', '', shown).splitlines()]
  assert max(map(len, lines)) <= 60 and 'every word of this line stays whole' in ' '.join(shown.split())
  assert 'a long sentence on what can be done about it' in ' '.join(lines)


def test_a_log_that_cannot_be_written_does_not_end_the_run(tmp_path):
  with screen.reporting(tmp_path / 'log.txt', screen.Screen()) as console:
    handler = next(one for one in screen._package_log.handlers if isinstance(one, screen._File))
    handler.stream.close()
    handler.stream = open('/dev/full', 'w')
    progress._log.warning('nothing')
  assert console is None


def test_few_programs_are_kept(monkeypatch):
  forgotten = []
  monkeypatch.setattr(prediction, 'forget_programs', lambda: forgotten.append(1))
  store = models.Models(options_for_keys())
  assert [store._is_new_program(i % 30) for i in range(60)].count(True) == 60 and len(forgotten) == 2
  assert not store._is_new_program(29)


# ------------------------------------------------------------------------------------------ several chains


@pytest.mark.slow
def test_complexes_are_ranked_and_listed_by_their_interfaces_beside_single_chains(tmp_path, monkeypatch):
  source, out = tmp_path / 'in', tmp_path / 'out'
  source.mkdir()
  one = prediction.as_batch(single_sequence(SEQUENCE))
  both = dataclasses.replace(one, asym_id=np.repeat(np.int32([1, 2]), [11, 9]))
  for name, batch in (('c', both), ('m', one)):
    features.save_features(source / f'{name}.features.npz', batch, {'name': name})
  flags = ('--params', 'random', *NETWORK, '--num-recycle', '0', '--num-models', '1', '--num-seeds', '3')
  assert predict(source, out, *flags) == 0
  with open(out / 'summary.csv') as file:
    rows = list(csv.DictReader(file))
  columns = ['iptm', 'actifptm', 'ipsae', 'pdockq', 'pdockq2', 'ilis']
  assert list(rows[0]) == ['job', 'status', 'rank', 'model', 'seed', 'mean_plddt', 'ptm', *columns, 'seconds', 'notes']
  assert all(bool(row[name]) == (row['job'] == 'c') for row in rows for name in columns)
  records = {name: load_json(out / f'{name}.done.txt') for name in 'cm'}
  scores = [80 * row['iptm'] + 20 * row['ptm'] for row in records['c']['predictions']]
  assert scores == sorted(scores, reverse=True) and (records['c']['rank'], records['c']['chains']) == (
    'multimer',
    ['A', 'B'],
  )
  means = [row['mean_plddt'] for row in records['m']['predictions']]
  assert means == sorted(means, reverse=True) and 'rank' not in records['m']
  assert [name in records['c']['files'] for name in ('c_ext_metrics.png', 'm_ext_metrics.png')] == [True, False]
  assert 'm_ext_metrics.png' not in names(out) and 'iptm' not in records['m']['predictions'][0]
  assert {row['model'] for row in rows} == {'model_1_multimer_v3', 'model_1_ptm'}  # each kind by models of its own
  (best,) = (name for name in records['c']['files'] if name.startswith('c_scores_rank_001_alphafold2_multimer_v3'))
  assert list(load_json(out / best))[3:6] == ['ptm', 'iptm', 'ipsae']
  computed, before = count_predictions(monkeypatch), {name: (out / f'{name}.done.txt').read_text() for name in 'cm'}
  assert predict(source, out, *flags) == 0 and not computed
  assert {name: (out / f'{name}.done.txt').read_text() for name in 'cm'} == before
  assert predict(source, out, *flags, '--rank', 'plddt') == 0 and not computed
  again = [row['mean_plddt'] for row in load_json(out / 'c.done.txt')['predictions']]
  assert again == sorted(again, reverse=True) and (out / 'm.done.txt').read_text() == before['m']


def test_a_complex_is_read_back_as_it_was_kept_and_a_single_chain_has_nothing_more_on_disk(tmp_path):
  one = dataclasses.replace(prediction_of('two'), chain_names=('H', 'L'))
  kept = stored.save(tmp_path, 'k', one)
  found = stored.find(tmp_path, 'p', 'p', one.tag, 'k', chain_names=('H', 'L'))
  for other in (kept, found):
    assert (other.iptm, other.chains, other.passes) == (one.iptm, ('H', 'L'), one.passes)
    assert other.interfaces == one.interfaces and repr(other) == repr(one)
  single = {name: array for name, array in one.arrays.items() if name != 'chain_tm'}
  passes = tuple(dataclasses.replace(done, iptm=None) for done in one.passes)
  stored.save(tmp_path, 'k', dataclasses.replace(one, arrays=single, iptm=None, chain_names=(), passes=passes))
  with np.load(tmp_path / f'{one.tag}.npz') as archive:
    header = json.loads(archive['__result__'].tobytes())
  assert list(header) == ['key', 'tag', 'model_name', 'seed', 'mean_plddt', 'ptm', 'passes', 'notes']
  assert list(header['passes'][0]) == ['index', 'mean_plddt', 'ptm', 'change', 'seconds']


def test_a_complex_without_its_terms_counts_as_damaged(tmp_path):
  one = prediction_of('two')
  arrays = {name: array for name, array in one.arrays.items() if name != 'chain_tm'}
  stored.save(tmp_path, 'k', dataclasses.replace(one, arrays=arrays))
  assert stored.find(tmp_path, 'p', 'p', one.tag, 'k') is None


def test_files_of_a_complex_whose_chains_are_called_otherwise_now_are_not_what_is_asked_for():
  content = {'chains': ['A', 'B']}
  assert records.is_of_chains(content, ('A', 'B')) and not records.is_of_chains(content, ('H', 'L'))
  assert records.is_of_chains({}, ())  # of one chain
