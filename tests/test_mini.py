# SPDX-License-Identifier: Apache-2.0
"""The model that ships with the package: found, loaded, chosen by default, and said to be small wherever it was used.

Its parameters here are a stand-in, random ones stored as the shipped file is; but for the last tests nothing depends on
what training made of them.
"""

import dataclasses
import importlib.util
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from small_runs import count_predictions, load_json, names, predict

import alphafold_jax as afj
from alphafold_jax import cli, errors, runs
from alphafold_jax import config as configs
from alphafold_jax.data import features, structures
from alphafold_jax.data.alignment import align
from alphafold_jax.geometry import scores
from alphafold_jax.model import alphafold
from alphafold_jax.weights import manifest, npz, official, published, random, shipped, store

ROOT = Path(__file__).parents[1]
CONFIG = configs.model_config('mini')
SEQUENCE = 'MKTAYIAKQRQISFVK'
A3M = f'>q\n{SEQUENCE}\n>1\n{SEQUENCE[:10]}------\n'
NOTE = store.MINI.text
QUICK = ('--num-recycle', '0', '--skip-output', 'plots,viewers')


def stand_in(path: Path, seed: int = 0) -> Path:
  """Random parameters of the model, stored as those that ship."""
  shipped.store(random.random_params(CONFIG, seed), CONFIG, path, origin='A stand-in.')
  return path


@pytest.fixture(scope='module')
def mini_file(tmp_path_factory):
  return stand_in(tmp_path_factory.mktemp('mini') / 'mini.npz')


@pytest.fixture
def machine(mini_file, tmp_path, monkeypatch):
  """A machine with the stand-in in the package and an empty default folder, which is returned."""
  folder = tmp_path / 'default'
  folder.mkdir()
  monkeypatch.setattr(shipped, 'path', lambda: mini_file)
  monkeypatch.setenv('ALPHAFOLD_JAX_PARAMS', str(folder))
  return folder


@pytest.fixture
def without(machine, tmp_path, monkeypatch):
  """The same before the small model is trained."""
  monkeypatch.setattr(shipped, 'path', lambda: tmp_path / 'no' / 'mini.npz')


@pytest.fixture
def alignment(tmp_path):
  (tmp_path / 'p.a3m').write_text(A3M)
  return tmp_path / 'p.a3m'


@pytest.fixture(scope='module')
def finished(mini_file, tmp_path_factory):
  """A run of `predict INPUT OUT` on a machine without published parameters."""
  folder = tmp_path_factory.mktemp('finished')
  (folder / 'p.a3m').write_text(A3M)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(shipped, 'path', lambda: mini_file)
    patch.setenv('ALPHAFOLD_JAX_PARAMS', str(folder / 'nothing'))
    flags = ('--num-seeds', '2', '--save-recycles', '--num-recycle', '1')
    assert predict(folder / 'p.a3m', folder / 'out', *flags) == 0
  return folder / 'out'


# ------------------------------------------------------------------------------------------ predicting with it


def test_without_published_parameters_the_small_model_runs_and_the_first_line_says_so(finished):
  first, second = (finished / 'log.txt').read_text().splitlines()[:2]
  assert f'WARNING: {NOTE}' in first and 'alphafold-jax params download' in first
  assert 'no published parameters in' in second and str(finished.parent / 'nothing') in second


def test_its_files_are_ranked_under_its_name(finished):
  ranked = sorted(path.name for path in finished.glob('p_unrelaxed_rank_*_seed_00?.pdb'))
  assert {name[12:] for name in ranked} == {
    f'rank_00{rank}_mini_model_1_seed_00{seed}.pdb' for rank, seed in enumerate(_seeds_by_score(finished), 1)
  }
  assert names(finished) >= {'p_pae.png', 'p_predicted_aligned_error_v1.json', 'p_plddt.png', 'p_coverage.png'}


def _seeds_by_score(out):
  rows = load_json(out / 'p.done.txt')['predictions']
  assert [row['model'] for row in rows] == ['mini'] * 2
  return [row['seed'] for row in sorted(rows, key=lambda row: -row['mean_plddt'])]


def test_every_file_says_what_made_it(finished):
  texts = {path.name: path.read_text() for path in finished.glob('*') if path.suffix in ('.pdb', '.cif', '.json')}
  texts |= {name: (finished / name).read_text() for name in ('p.done.txt', 'summary.csv', 'log.txt')}
  assert len(texts) == 15  # 2 x (3 PDB, mmCIF, scores), PAE, config.json and these
  assert not [name for name, text in texts.items() if NOTE not in text]
  assert f'Predictions ({NOTE})' in texts['log.txt'].splitlines()
  closing = texts['log.txt'].splitlines()
  done = next(row for row, line in enumerate(closing) if line.startswith('1 protein: 1 done.'))
  assert closing[done - 1].startswith(f'{NOTE}. ')


def test_scores_hold_confidence_and_aligned_error(finished):
  scores = load_json(next(finished.glob('p_scores_rank_001_*.json')))
  assert len(scores['plddt']) == len(scores['pae']) == len(SEQUENCE) and 0 <= scores['ptm'] <= 1


def test_the_record_names_the_file_and_its_digest(finished, mini_file):
  recorded = load_json(finished / 'config.json')
  assert list(recorded['models']) == ['mini'] and recorded['notes'] == [NOTE]
  parameters = recorded['models']['mini']['parameters']
  assert parameters['file'] == str(mini_file) and len(parameters['sha256']) == 64


def test_a_run_is_resumed_by_the_content_of_the_parameters(machine, alignment, mini_file, tmp_path, monkeypatch):
  moved = shutil.copy(mini_file, tmp_path / 'mini.npz')
  out = tmp_path / 'out'
  computed = count_predictions(monkeypatch)
  assert predict(alignment, out, *QUICK) == 0
  assert predict(alignment, out, *QUICK) == 0
  os.utime(moved, (1, 1))
  assert predict(alignment, out, *QUICK, '--params', str(moved)) == 0
  assert computed == [('p', 'mini', 0)]
  stand_in(moved, seed=1)
  monkeypatch.setattr(shipped, 'path', lambda: moved)
  assert predict(alignment, out, *QUICK) == 0
  assert computed == [('p', 'mini', 0)] * 2


# ------------------------------------------------------------------------------------------ which model is chosen


def publish(folder, *models):
  for model in models:
    (folder / published.file_name(model)).write_bytes(b'')


def test_published_parameters_are_the_default_where_they_are_installed(machine, tmp_path):
  assert runs.Options().models == ('mini',)
  publish(machine, 'model_2_ptm')
  assert runs.Options(num_models=2).models == ('model_1_ptm', 'model_2_ptm')
  assert runs.Options(model_type='mini').models == ('mini',)


def test_published_parameters_in_a_data_directory_of_alphafold_are_the_default_too(machine):
  (machine / 'params').mkdir()
  publish(machine / 'params', 'model_1')
  assert runs.Options().family == 'alphafold2_ptm'


@pytest.mark.parametrize(
  'choices', [{'params': 'somewhere'}, {'params': 'random'}, {'model_type': 'alphafold2_ptm'}, {'model_order': (3,)}]
)
def test_who_asks_for_published_models_gets_no_other(machine, choices):
  assert runs.Options(**choices).family == 'alphafold2_ptm'


def test_the_choice_is_made_once_for_a_run(machine):
  options = runs.Options()
  publish(machine, 'model_1_ptm')
  assert options.models == ('mini',) and options.family == 'mini'


def test_a_file_of_its_parameters_is_known_by_its_name(machine, tmp_path):
  for name in ('mini.npz', 'params_mini.npz'):
    publish(tmp_path, 'model_1')
    (tmp_path / name).write_bytes(b'')
    assert runs.Options(params=tmp_path / name).models == ('mini',)
  with pytest.raises(errors.InputError, match='holds mini, but the options ask for alphafold2_ptm'):
    runs.Options(params=tmp_path / 'mini.npz', model_type='alphafold2_ptm')
  with pytest.raises(errors.InputError, match='holds model_1, but the options ask for mini'):
    runs.Options(params=tmp_path / 'params_model_1.npz', model_type='mini')
  (tmp_path / 'mine.npz').write_bytes(b'')
  assert runs.Options(params=tmp_path / 'mine.npz', model_type='mini').models == ('mini',)


def test_a_single_model_has_no_order(machine):
  with pytest.raises(errors.InputError, match='mini is a single model; leave this out'):
    runs.Options(model_type='mini', model_order=(3,))


def test_it_can_be_ranked_by_ptm(machine):
  assert runs.Options(model_type='mini', rank='ptm').rank == 'ptm'


@pytest.mark.parametrize('flags', [['--model-type', 'alphafold2'], ['--model-type', 'alphafold2_ptm']])
def test_published_models_without_their_parameters_exit_2_with_what_to_run(machine, alignment, flags, tmp_path, capsys):
  assert predict(alignment, tmp_path / 'out', *flags) == 2
  told = capsys.readouterr().err
  assert 'alphafold-jax params download' in told and '--model-type mini' in told and told.count('\n') < 20
  assert not (tmp_path / 'out').exists()


def test_a_copy_without_it_asks_for_published_parameters_as_ever(without, alignment, tmp_path, capsys):
  assert predict(alignment, tmp_path / 'out') == 2
  told = capsys.readouterr().err
  assert 'no params_model_1_ptm.npz there' in told and '--model-type mini' not in told
  assert predict(alignment, tmp_path / 'out', '--model-type', 'mini') == 2
  assert 'this copy of the package has no parameters of mini' in capsys.readouterr().err
  assert not (tmp_path / 'out').exists()


def test_features_alone_need_no_parameters(without, alignment, tmp_path):
  assert predict(alignment, tmp_path / 'out', '--msa-only') == 0
  assert 'notes' not in load_json(tmp_path / 'out' / 'config.json')


def test_random_weights_of_it_are_no_prediction(machine, tmp_path):
  options = runs.Options(model_type='mini', params='random')
  assert runs.fleet.models.Models(options).notes == (store.RANDOM,)
  assert afj.load_model('mini', params='random').note == store.RANDOM


def test_doctor_says_that_the_small_model_will_be_run(machine, capsys):
  assert cli.main(['doctor']) == 0
  shown = ' '.join(capsys.readouterr().out.split())
  assert '[ok] shipped model mini' in shown and 'predictions are made with mini; run `alphafold-jax params' in shown
  assert cli.main(['doctor', '--data', str(machine)]) == 1  # as `predict --data` would


def test_doctor_without_any_parameters_is_not_content(without, capsys):
  assert cli.main(['doctor']) == 1
  assert '[NO] parameters' in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ the file


def test_it_loads_from_the_package_a_file_and_a_folder(machine, mini_file, tmp_path):
  shutil.copy(mini_file, tmp_path / 'params_mini.npz')
  drawn = random.random_params(CONFIG)
  for params in (None, mini_file, tmp_path):
    model = afj.load_model('mini', params)
    assert model.note == store.MINI and model.has_pae and not model.is_random
    assert set(model.params) == set(drawn)
    for module, leaves in drawn.items():
      for leaf, array in leaves.items():
        loaded = np.asarray(model.params[module][leaf])
        assert loaded.dtype == np.float32
        np.testing.assert_array_equal(loaded, array.astype(np.float16).astype(np.float32))


def test_parameters_of_ones_own_are_never_called_those_that_ship(machine, mini_file, tmp_path):
  trained = tmp_path / 'mini.npz'
  official.save_official(trained, random.random_params(CONFIG, 1), CONFIG)
  told = 'PARAMETERS OF mini.npz: not the published ones'
  model = afj.load_model('mini', trained)
  assert model.note.text == told and len(repr(model)) < 300 and str(trained) in repr(model)
  options = runs.Options(model_type='mini', params=trained)
  assert [note.text for note in runs.fleet.models.Models(options).notes] == [told]
  shipped_elsewhere = shutil.copy(mini_file, tmp_path / 'renamed.npz')
  assert store.note_of('mini', shipped_elsewhere) == store.MINI == store.note_of('any', str(mini_file))


def test_a_file_with_a_published_name_is_published_unless_this_program_or_another_archive_made_it(machine, tmp_path):
  path = tmp_path / 'params_model_1.npz'
  np.savez(path, x=np.zeros(3))
  assert store.note_of('model_1', path) is None
  assert store.note_of('model_2', path).text == 'PARAMETERS OF params_model_1.npz: not the published ones'
  with open(path, 'r+b') as file:
    npz.mark(file)
  assert store.note_of('model_1', path) is not None and npz.read_shapes(path) == {'x': (3,)}
  for archive, published_one in (('alphafold_params_2022-12-06.tar', True), ('mine.tar', False)):
    entry = {'sha256': 'f' * 64, 'archive': archive}
    manifest.write(tmp_path, {'format': 1, 'archives': {}, 'files': {path.name: entry}})
    assert (store.note_of('model_1', path) is None) == published_one
  assert (
    store.note_of('model_1', 'parameters of my own').text
    == 'PARAMETERS OF parameters of my own: not the published ones'
  )


def test_a_folder_without_its_file_says_what_to_leave_out(machine, tmp_path):
  with pytest.raises(errors.WeightsError, match=r'no params_mini.npz there[^A]*Leave out --data and --params'):
    afj.load_model('mini', tmp_path / 'default')


def test_the_file_of_another_model_is_refused_by_array(machine, alignment, tmp_path, capsys):
  np.savez(tmp_path / 'mini.npz', **{'alphafold/alphafold_iteration/some//array': np.zeros(3)})
  assert predict(alignment, tmp_path / 'out', '--params', str(tmp_path / 'mini.npz')) == 2
  told = capsys.readouterr().err
  assert 'arrays do not fit mini' in told and 'missing: alphafold/alphafold_iteration/evoformer/preprocess_1d' in told
  with pytest.raises(errors.WeightsError, match='do not fit mini'):
    afj.load_model('mini', tmp_path / 'mini.npz')


def test_a_damaged_file_is_refused_by_name(machine, alignment, mini_file, tmp_path, capsys):
  (tmp_path / 'mini.npz').write_bytes(mini_file.read_bytes()[:100_000])
  assert predict(alignment, tmp_path / 'out', '--params', str(tmp_path / 'mini.npz')) == 2
  assert 'mini.npz: truncated' in capsys.readouterr().err


def test_the_file_tells_its_origin_and_holds_nothing_but_published_names(mini_file):
  assert 'Apache-2.0' in shipped.notice(mini_file) and shipped.notice(mini_file).endswith('A stand-in.\n')
  with np.load(mini_file, allow_pickle=False) as archive:
    assert set(archive.files) == set(official.official_shapes(CONFIG))


def test_equal_parameters_make_equal_files(mini_file, tmp_path):
  assert stand_in(tmp_path / 'again.npz').read_bytes() == mini_file.read_bytes()


def test_what_does_not_fit_the_file_is_refused_and_the_old_one_stays(tmp_path, monkeypatch):
  path = tmp_path / 'mini.npz'
  path.write_bytes(b'old')
  params = random.random_params(CONFIG)
  params['single']['b'] = np.full_like(params['single']['b'], 1e5)
  with pytest.raises(errors.WeightsError, match='single_activations//bias holds values that are not finite in half'):
    shipped.store(params, CONFIG, path)
  monkeypatch.setattr(shipped, 'MAX_BYTES', 1_000_000)
  with pytest.raises(errors.WeightsError, match='more than the 976.6 KiB that a package may weigh'):
    stand_in(path)
  assert [file.read_bytes() for file in tmp_path.iterdir()] == [b'old']


# ------------------------------------------------------------------------------------------ from a run into the package


@pytest.fixture
def script():
  spec = importlib.util.spec_from_file_location('ship', ROOT / 'benchmarks' / 'mini_ship.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def averaged(script, monkeypatch, model, **settings):
  """Lets the script find these parameters in every run."""
  content = {'name': 'train_mini', 'model': model.to_dict(), **settings}
  found = random.random_params(model), content, 700
  monkeypatch.setattr(script.parameters, 'load_averaged', lambda run, step: found)


def test_the_parameters_of_a_run_are_shipped_with_their_origin(script, tmp_path, monkeypatch):
  averaged(script, monkeypatch, CONFIG)
  told = script.ship(*script.mean([Path('run')]), tmp_path / 'mini.npz')
  assert 'step 700 of train_mini, SHA-256' in told and 'Step 700 of train_mini.' in shipped.notice(
    tmp_path / 'mini.npz'
  )
  loaded, drawn = official.load_official(tmp_path / 'mini.npz', CONFIG), random.random_params(CONFIG)
  np.testing.assert_array_equal(loaded['single']['w'], drawn['single']['w'].astype(np.float16))


def test_of_several_runs_the_mean_is_shipped(script, tmp_path, monkeypatch):
  drawn = {name: random.random_params(CONFIG, seed=seed) for name, seed in (('one', 1), ('two', 2))}
  content = {'name': 'train_mini', 'model': CONFIG.to_dict()}
  monkeypatch.setattr(script.parameters, 'load_averaged', lambda run, step: (drawn[run.name], content, 700))
  told = script.ship(*script.mean([Path('one'), Path('two')]), tmp_path / 'mini.npz')
  assert 'the mean of step 700 of train_mini (2 times), SHA-256' in told
  loaded = official.load_official(tmp_path / 'mini.npz', CONFIG)
  mean = (drawn['one']['single']['w'] + drawn['two']['single']['w']) / 2
  np.testing.assert_array_equal(loaded['single']['w'], mean.astype(np.float16))


def test_parameters_that_stem_from_others_are_not_shipped(script, tmp_path, monkeypatch):
  averaged(script, monkeypatch, CONFIG, origin='params_model_1.npz')
  with pytest.raises(errors.InputError, match='began from params_model_1.npz; the model that ships is trained from'):
    script.mean([Path('run')])


@pytest.mark.parametrize('change', [{'evoformer.num_block': 5}, {'heads.num_pae_bins': 0}, {'evoformer.c_outer': 8}])
def test_a_run_of_another_network_is_not_shipped(script, tmp_path, monkeypatch, change):
  averaged(script, monkeypatch, configs.changed(CONFIG, change))
  with pytest.raises(errors.WeightsError, match='arrays do not fit mini'):
    script.mean([Path('run')])
  assert not list(tmp_path.iterdir())


def test_the_shipped_file_has_the_arrays_of_its_model():
  path = shipped.find()
  wrong, surplus = npz.shape_problems(npz.read_shapes(path), official.official_shapes(CONFIG))
  arrays = npz.read_arrays(path)
  assert not wrong and not surplus and path.stat().st_size <= shipped.MAX_BYTES
  assert all(array.dtype == np.float16 and np.isfinite(array).all() for array in arrays.values())
  assert re.search(r'[Ss]tep \d+ of train_mini', shipped.notice(path))


def test_the_shipped_model_is_nearer_to_an_experiment_than_its_network_before_training():
  """4ZEY: of its cluster no chain was trained on."""
  (query,) = afj.read_queries(ROOT / 'examples' / '4zey_A.a3m')
  chain = structures.read_chain(ROOT / 'tests' / 'data' / '4zey.cif.gz', 'A')
  pairs = align(query.sequence, chain.sequence)
  mine, theirs = (np.array(places) for places in zip(*pairs.items(), strict=True))
  trained = afj.load_model('mini')
  untrained = jax.jit(alphafold.network(trained.spec).init)(jax.random.key(0), features.make_batch(query.sequence))

  def lddt_ca(model):
    positions = afj.predict(model, query, num_recycle=1).atom_positions
    true, mask = chain.atom_positions[theirs, 1], chain.atom_mask[theirs, 1]
    return np.mean(scores.lddt_ca(positions[mine, 1], true, mask)[mask > 0])

  assert lddt_ca(trained) > lddt_ca(dataclasses.replace(trained, params=untrained)) + 0.1
