# SPDX-License-Identifier: Apache-2.0
"""Parameters out of a run and into another: the official file, its notice, and what does not fit."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import small_experiment
from alphafold.model import config as official_config
from alphafold.model import data as official_data
from alphafold.model import model as official_model
from parity import complexes
from parity.case import relative_error

from alphafold_jax import cli, experiments, prediction, schema
from alphafold_jax import config as configs
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.errors import InputError, WeightsError
from alphafold_jax.train import loop, optimizer, parameters, specs
from alphafold_jax.train import step as steps
from alphafold_jax.train.checkpoints import Checkpoints
from alphafold_jax.weights import official, shipped
from alphafold_jax.weights.random import random_official, random_params

DATA = Path(__file__).parent / 'data'
MODEL = 'model_3_ptm'
DEPTH = {'evoformer.num_block': 2, 'extra_msa.num_block': 2}
ROWS = {'sampling.num_msa': 5, 'sampling.num_extra': 6}
NETWORK = configs.changed(configs.model_config(MODEL), DEPTH | ROWS)


def save(run: Path, config: Any, state: Any, origin: str | None = None) -> Path:
  """Makes a folder as a run does that is at this state."""
  told = json.loads(config.to_json_best_effort()) | ({parameters.ORIGIN: origin} if origin else {})
  checkpoints = Checkpoints(run / 'checkpoints')
  assert checkpoints.save(int(state.step), state, {}, told) and checkpoints.wait()
  checkpoints.close()
  return run


def export(run: Path, out: Path, *flags: str) -> dict[str, np.ndarray]:
  assert cli.main(['params', 'export', str(run), str(out), *flags]) == 0
  with np.load(out) as file:
    return dict(file)


def notice(out: Path) -> str:
  return out.with_suffix('.NOTICE.txt').read_text()


# ------------------------------------------------------------------------------------------ in the other program


@pytest.fixture(scope='module')
def averaged():
  """Published arrays of a network with the published widths, all random; no array is zero."""
  return random_official(NETWORK, seed=3)


@pytest.fixture(scope='module')
def wide_run(averaged, tmp_path_factory):
  """A run of `train_initial` on that network whose averaged parameters are these, and whose last ones are others."""
  changes = {f'model.{key}': value for key, value in (DEPTH | ROWS).items()}
  config = configs.changed(experiments.experiment_config('train_initial', MODEL), changes)
  state = steps.initial_state(specs.make_step_spec(config), jax.random.key(0), random_params(config.model, seed=4))
  state = dataclasses.replace(state, step=jnp.int32(5), ema=official.from_official(averaged, config.model))
  return save(tmp_path_factory.mktemp('wide') / 'run', config, state)


def their_prediction(folder: Path, batch: schema.Batch) -> dict[str, Any]:
  """What alphafold-colabfold predicts with the file in a folder: its own loader, settings and runner."""
  config = official_config.model_config(MODEL)
  config.update_from_flattened_dict(
    {
      'model.global_config.bfloat16': False,
      'model.embeddings_and_evoformer.evoformer_num_block': DEPTH['evoformer.num_block'],
      'model.embeddings_and_evoformer.extra_msa_stack_num_block': DEPTH['extra_msa.num_block'],
    }
  )
  params = official_data.get_model_haiku_params(MODEL, str(folder))
  runner = official_model.RunModel(config, params, jit_kwargs={'compiler_options': oracle.FAST})
  fields = oracle.make_features(batch, ROWS['sampling.num_msa'], ROWS['sampling.num_extra'])
  return runner.apply(runner.params, jax.random.PRNGKey(0), fields)


def test_an_exported_file_gives_the_same_prediction_in_alphafold_colabfold(wide_run, averaged, tmp_path):
  (tmp_path / 'params').mkdir()
  export(wide_run, tmp_path / 'params' / f'params_{MODEL}.npz')
  batch = oracle.random_batch(num_res=24, depth=sum(ROWS.values()), num_templates=0)
  theirs = their_prediction(tmp_path, batch)

  params = jax.tree.map(jnp.asarray, official.from_official(averaged, NETWORK))
  model = prediction.Model(name=MODEL, config=NETWORK, params=params, source='here')
  ours = prediction.predict(model, batch, num_recycle=0, masked_msa_fraction=0.0, dtype='float32')
  pairs = {
    'positions': (ours.atom_positions, theirs['structure_module']['final_atom_positions']),
    'pLDDT': (ours.plddt, theirs['plddt']),
    'PAE': (ours.pae, theirs['predicted_aligned_error']),
    'pTM': (ours.ptm, theirs['ptm']),
  }
  for name, (our, their) in pairs.items():
    assert relative_error(our, their) <= 1e-4, name
    assert np.ndim(their) == 0 or np.std(their) > 0.005 * np.mean(np.abs(their)), name  # not the same everywhere


def test_the_averaged_parameters_are_exported(wide_run, averaged, tmp_path):
  arrays = export(wide_run, tmp_path / 'out.npz')
  assert sorted(arrays) == sorted(averaged)
  for name, array in arrays.items():
    np.testing.assert_array_equal(array, averaged[name], err_msg=name)


@pytest.mark.slow
def test_an_exported_network_of_complexes_gives_the_same_prediction_in_alphafold_colabfold(tmp_path):
  case = complexes.CASES[0]  # whose programs the tests of parity compile as well
  network = complexes.our_configuration(case)
  changes = {key: case.num_block for key in DEPTH} | {key: network.sampling[key.split('.')[1]] for key in ROWS}
  config = experiments.experiment_config('train_multimer', case.model)
  config = configs.changed(config, {f'model.{key}': value for key, value in changes.items()})
  averaged = official.from_official(random_official(network, seed=6), config.model)
  state = steps.initial_state(specs.make_step_spec(config), jax.random.key(0), random_params(config.model, seed=4))
  run = save(tmp_path / 'run', config, dataclasses.replace(state, ema=averaged))
  (tmp_path / 'params').mkdir()
  export(run, tmp_path / 'params' / f'params_{case.model}.npz')

  theirs = official_data.get_model_haiku_params(case.model, str(tmp_path))
  (found,) = complexes.errors_with(case, averaged, theirs, num_pass=1)
  assert {'positions', 'pLDDT', 'PAE', 'pTM', 'ipTM'} <= set(found)
  for name, error in found.items():
    assert error <= 1e-4, name


# ------------------------------------------------------------------------------------------ there and back


@pytest.fixture(scope='module')
def small_config():
  return small_experiment.get_config()


@pytest.fixture(scope='module')
def fresh_run(small_config, tmp_path_factory):
  """A run of the small network from scratch, saved before its first step."""
  state = steps.initial_state(specs.make_step_spec(small_config), jax.random.key(0), random_params(small_config.model))
  return save(tmp_path_factory.mktemp('fresh') / 'run', small_config, state, parameters.origin(None))


@pytest.fixture(scope='module')
def published(small_config, tmp_path_factory):
  """A file in the published layout that fits the small network."""
  path = tmp_path_factory.mktemp('params') / 'params_model_3_ptm.npz'
  np.savez(path, **random_official(small_config.model, seed=7))
  return path


@pytest.fixture(scope='module')
def tuned_run(small_config, published, tmp_path_factory):
  """A run begun with `--init-from` that file, saved before its first step."""
  folder = tmp_path_factory.mktemp('tuned')
  build_cache([DATA / '4zey.cif.gz'], folder / 'set', processes=1)
  run = loop.Run(
    loop.TrainOptions(directory=folder / 'run', config=small_config, data=(folder / 'set',), init_from=published)
  )
  run.begin()
  assert run.checkpoints.save(0, run.state, {}, run.config) and run.checkpoints.wait()
  run.checkpoints.close()
  run.watch.close()
  return folder / 'run'


def test_a_file_that_was_not_trained_on_comes_out_as_it_went_in(tuned_run, published, tmp_path):
  arrays = export(tuned_run, tmp_path / 'out.npz')
  with np.load(published) as given:
    assert sorted(arrays) == sorted(given.files)
    for name, array in arrays.items():
      assert array.dtype == given[name].dtype
      np.testing.assert_array_equal(array, given[name], err_msg=name)


def test_averaging_changes_no_bit_of_parameters_that_do_not_change(small_config):
  spec = specs.make_step_spec(small_config).optimizer
  params = np.random.default_rng(0).normal(size=1000).astype(np.float32)
  for step in (0, 3, 10_000):
    np.testing.assert_array_equal(optimizer.average(spec, params, params, jnp.int32(step)), params)


def test_parameters_that_began_as_published_ones_carry_their_licence(tuned_run, tmp_path):
  export(tuned_run, tmp_path / 'mine.npz')
  text = notice(tmp_path / 'mine.npz')
  assert 'mine.npz: parameters of model_3_ptm' in text and 'step 0 ' in text
  assert 'began from: params_model_3_ptm.npz\n' in text
  assert 'Creative Commons Attribution 4.0' in text and 'Copyright DeepMind' in text and 'Changed by' in text
  assert parameters.origin(tuned_run) == 'params_model_3_ptm.npz, then trained further'  # and so do their descendants


def test_parameters_trained_from_scratch_carry_no_licence_of_others(fresh_run, tmp_path):
  export(fresh_run, tmp_path / 'mine.npz')
  assert 'began from: random initialisation' in notice(tmp_path / 'mine.npz')
  assert 'Creative Commons' not in notice(tmp_path / 'mine.npz')
  assert parameters.origin(fresh_run) == parameters.FRESH


# ------------------------------------------------------------------------------------------ what does not fit


def test_a_folder_without_a_checkpoint_is_named(tmp_path, capsys):
  (tmp_path / 'run' / 'checkpoints').mkdir(parents=True)
  for folder, why in ((tmp_path, 'no folder of a training run'), (tmp_path / 'run', 'no checkpoint is complete yet')):
    assert cli.main(['params', 'export', str(folder), str(tmp_path / 'out.npz')]) == 2
    assert f'{folder}: {why}' in capsys.readouterr().err
  assert not (tmp_path / 'out.npz').exists()


def test_a_step_that_was_not_saved_is_refused_with_those_that_were(fresh_run, tmp_path, capsys):
  assert cli.main(['params', 'export', str(fresh_run), str(tmp_path / 'out.npz'), '--step', '7']) == 2
  assert 'no checkpoint of step 7; there are those of 0' in capsys.readouterr().err


def test_a_damaged_checkpoint_is_an_error_that_names_it(fresh_run, tmp_path):
  run = shutil.copytree(fresh_run, tmp_path / 'run')
  for path in (run / 'checkpoints' / '0' / 'state').rglob('*'):
    if path.is_file() and path.parent.name == 'd':  # the arrays themselves
      path.write_bytes(b'')
  with pytest.raises(InputError, match='checkpoint of step 0 cannot be restored'):
    parameters.load_averaged(run)


def test_a_file_of_another_model_is_refused_by_the_name_of_an_array(published, small_config):
  with pytest.raises(WeightsError, match=r'params_model_3_ptm.npz: \d+ arrays do not fit model_3_ptm') as error:
    parameters.starting_params(published, configs.model_config(MODEL))
  assert 'mis-shaped: alphafold/alphafold_iteration/evoformer/preprocess_1d//weights is (22, 16)' in str(error.value)


def test_a_run_of_another_model_is_refused_by_the_name_of_an_array(fresh_run, small_config):
  larger = configs.changed(small_config.model, {'structure.c_angle': 24})
  with pytest.raises(WeightsError, match=r'run, step 0: \d+ arrays do not fit model_3_ptm') as error:
    parameters.starting_params(fresh_run, larger)
  assert '/rigid_sidechain/input_projection//weights is (16, 8), should be (16, 24)' in str(error.value)


def test_a_run_serves_a_model_that_lacks_one_of_its_heads(fresh_run, small_config, caplog):
  without = configs.changed(small_config.model, {'heads.num_pae_bins': 0})
  assert 'heads/pae' not in parameters.starting_params(fresh_run, without)
  assert 'predicted_aligned_error_head' in caplog.text


def test_what_parameters_lack_begins_as_in_a_new_run_where_that_is_asked_for(fresh_run, small_config, caplog):
  caplog.set_level('INFO')
  larger = configs.changed(small_config.model, {'embedder.couplings': True})
  with pytest.raises(WeightsError, match='run, step 0: 1 array does not fit model_3_ptm'):
    parameters.starting_params(fresh_run, larger)
  fresh = random_params(larger, seed=8)
  extended = parameters.starting_params(fresh_run, larger, fresh)
  before = parameters.load_averaged(fresh_run)[0]
  new = {(module, leaf) for module, leaves in extended.items() for leaf in leaves if leaf not in before.get(module, {})}
  assert [leaf for _, leaf in new] == ['w'] and 'couplings' in [*new][0][0]
  for module, leaves in extended.items():
    for leaf, array in leaves.items():
      source = fresh if (module, leaf) in new else before
      np.testing.assert_array_equal(array, source[module][leaf], err_msg=f'{module} {leaf}')
  assert 'run, step 0 lacks 1 array, taken from a new run: evoformer/couplings' in caplog.text


def test_the_parameters_that_ship_began_from_nothing(published):
  assert parameters.origin(shipped.path()) == parameters.FRESH
  assert parameters.origin(published) == published.name
