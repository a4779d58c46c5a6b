# SPDX-License-Identifier: Apache-2.0
"""Runs as one file: what is carried is equal to the bit, and what is no such file makes nothing."""

import dataclasses
import functools
import json
import shutil
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
import small_experiment

from alphafold_jax import cli, errors
from alphafold_jax.train import one_file, parameters, specs, watch
from alphafold_jax.train.checkpoints import Checkpoints
from alphafold_jax.train.step import TrainState


def small_config() -> dict:
  return json.loads(small_experiment.get_config().to_json_best_effort())


@pytest.fixture(scope='module', autouse=True)
def traced_once():
  """The shapes of a state come from tracing the network, a second for each configuration."""
  real, sections = parameters.state_shapes, ('model', 'loss', 'optimizer', 'step')
  once = functools.cache(lambda text: real(json.loads(text)))

  def state_shapes(config):
    return once(json.dumps({name: config[name] for name in sections})) if set(sections) <= set(config) else real(config)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(parameters, 'state_shapes', state_shapes)
    yield


def state_after(step: int) -> TrainState:
  """A state of the small experiment, random but for its average, which is near to its parameters."""
  rng = np.random.default_rng(step)
  like = parameters.state_shapes(small_config())
  state = jax.tree.map(lambda leaf: np.asarray(rng.normal(size=leaf.shape), leaf.dtype), like)
  near = jax.tree.map(lambda leaf: (leaf * 1.01).astype(leaf.dtype), state.params)
  return dataclasses.replace(state, step=np.asarray(step, np.int32), ema=near)


def save(folder: Path, *saved: tuple[int, float | None]) -> Path:
  """A run's folder with checkpoints of these steps and scores."""
  config = small_config() | {parameters.ORIGIN: parameters.FRESH}
  folder.mkdir()
  (folder / 'config.json').write_text(json.dumps(config))
  (folder / watch.METRICS).write_text('step,samples,loss\n1,2,9.5\n')
  checkpoints = Checkpoints(folder / 'checkpoints')
  for step, score in saved:
    assert checkpoints.save(step, state_after(step), {'step': step}, config, score)
  assert checkpoints.wait()
  checkpoints.close()
  return folder


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run whose best checkpoint is not its last."""
  return save(tmp_path_factory.mktemp('run') / 'run', (1, 0.5), (2, 0.3), (3, None))


@pytest.fixture(scope='module')
def packed(run, tmp_path_factory):
  path = tmp_path_factory.mktemp('packed') / 'run.zip'
  said = one_file.pack(run, path)
  assert said.startswith(f'{path}: step 3 of train_mini') and 'best at step 1' in said
  return path


@pytest.fixture(scope='module')
def unpacked(packed, tmp_path_factory):
  folder = tmp_path_factory.mktemp('unpacked') / 'new'
  assert 'step 3 of train_mini, best at step 1' in one_file.unpack(packed, folder)
  return folder


def restored(run: Path, step: int) -> tuple[TrainState, dict]:
  with parameters.opened(run, step) as (checkpoints, step):
    state, feed = checkpoints.restore(step, parameters.state_shapes(small_config()))
  return jax.device_get(state), feed


def assert_same_bits(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_last_state_comes_back_to_the_bit(unpacked):
  state, feed = restored(unpacked, 3)
  assert_same_bits(state, state_after(3))
  assert feed == {'step': 3}


def test_the_best_by_validation_is_known_and_its_average_can_be_used(run, unpacked):
  average, _, step = parameters.load_averaged(unpacked)
  assert step == 1
  assert_same_bits(average, parameters.load_averaged(run)[0])
  with parameters.opened(unpacked, None) as (checkpoints, _):
    assert checkpoints.score(1) == 0.5 and checkpoints.score(3) is None and checkpoints.steps() == [1, 3]


def test_no_training_goes_on_from_an_average_alone(unpacked):
  with parameters.opened(unpacked, 1) as (checkpoints, step):
    saved = checkpoints.config(step)
  with pytest.raises(errors.InputError, match='only_average: True there, absent now'):
    specs.check_same(saved, small_config(), unpacked)


def test_configuration_and_numbers_are_carried_and_nothing_else(run, unpacked):
  names = {path.name for path in unpacked.iterdir()}
  assert names == {'checkpoints', 'config.json', watch.METRICS}
  for name in names - {'checkpoints'}:
    assert (unpacked / name).read_bytes() == (run / name).read_bytes()


def test_the_file_is_smaller_than_the_numbers_in_it(packed):
  state = state_after(3)
  num_bytes = one_file._num_bytes(state) + one_file._num_bytes(state.ema)
  assert packed.stat().st_size < 0.9 * num_bytes


def test_bytes_are_sorted_by_their_place_and_back():
  for array in (
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.float32(7),
    np.int32(-3),
    np.zeros((0, 2), np.float32),
  ):
    (back,) = one_file._unpacked(one_file._packed(array), [np.asarray(array)])
    np.testing.assert_array_equal(back, array)
    assert back.shape == np.shape(array)
  assert one_file._packed(np.array([1, 258], '<u2')) == bytes([1, 2, 0, 1])


def test_a_folder_that_holds_something_is_not_touched(packed, tmp_path):
  (tmp_path / 'notes').write_text('mine')
  with pytest.raises(errors.InputError, match='exists already; give a folder that is new or empty'):
    one_file.unpack(packed, tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['notes']


def changed(packed: Path, path: Path, **members: bytes | None) -> Path:
  """The file with other content for some members; None leaves one out."""
  with zipfile.ZipFile(packed) as old, zipfile.ZipFile(path, 'w') as new:
    for name in old.namelist():
      content = members.get(name.replace('.', '_'), old.read(name))
      if content is not None:
        new.writestr(name, content)
  return path


def manifest(packed: Path, **changes) -> bytes:
  with zipfile.ZipFile(packed) as archive:
    return json.dumps(json.loads(archive.read('run.json')) | changes).encode()


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'params': None}, 'it holds no params'),
    ({'params': b'1234'}, 'params has 4 bytes, expected'),
    ({'run_json': b'{}'}, 'it is another file'),
    ({'run_json': b'{'}, 'no run can be made of it'),
    ({'version': 2}, 'it is of version 2, this program reads 1'),
    ({'layout': []}, 'laid out otherwise than in this version'),
    ({'last': {'step': 3}}, 'run.json is incomplete'),
    ({'last': {'step': -1, 'score': None, 'feed': {}, 'config': {}}}, 'run.json is damaged'),
    ({'last': {'step': 3, 'score': None, 'feed': {}, 'config': {}}}, 'its configuration cannot be used'),
  ],
)
def test_a_file_that_holds_something_else_is_refused_and_makes_nothing(packed, tmp_path, change, said):
  if not {'params', 'run_json'} & set(change):
    change = {'run_json': manifest(packed, **change)}
  path = changed(packed, tmp_path / 'changed.zip', **change)
  with pytest.raises(errors.InputError, match=said):
    one_file.unpack(path, tmp_path / 'new')
  assert [found.name for found in tmp_path.iterdir()] == ['changed.zip']


def test_a_damaged_file_is_refused_by_name(packed, tmp_path):
  content = bytearray(packed.read_bytes())
  content[len(content) // 2] ^= 255
  for name, data in (('cut.zip', packed.read_bytes()[:-30]), ('flipped.zip', bytes(content)), ('none.zip', b'PK')):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(errors.InputError, match=f'{name}: no run can be made of it'):
      one_file.unpack(tmp_path / name, tmp_path / 'new')
  with pytest.raises(errors.InputError, match='missing.zip: no run can be made of it'):
    one_file.unpack(tmp_path / 'missing.zip', tmp_path / 'new')
  assert not (tmp_path / 'new').exists()


def test_names_that_lead_elsewhere_are_never_followed(packed, tmp_path):
  with zipfile.ZipFile(shutil.copy(packed, tmp_path / 'more.zip'), 'a') as archive:
    archive.writestr('../escaped', b'harm')
    archive.writestr('/checkpoints/harm', b'harm')
  one_file.unpack(tmp_path / 'more.zip', tmp_path / 'inner' / 'new')
  found = {path.name for path in tmp_path.rglob('*')}
  assert not {'escaped', 'harm'} & found


def test_a_run_without_a_checkpoint_cannot_be_packed(tmp_path, capsys):
  assert cli.main(['train', str(tmp_path / 'run'), '--pack', str(tmp_path / 'run.zip')]) == 2
  assert 'no folder of a training run: it has no checkpoints' in capsys.readouterr().err
  assert cli.main(['train', str(tmp_path / 'run'), '--pack', 'a', '--unpack', 'b']) == 2
  assert '--pack and --unpack: give one of them' in capsys.readouterr().err
  assert not list(tmp_path.iterdir())
