# SPDX-License-Identifier: Apache-2.0
"""Published parameter files: all names and shapes, there and back without a changed bit, and clear refusals."""

import functools
import json
import logging
from pathlib import Path

import jax
import numpy as np
import oracle
import pytest

from alphafold_jax import config, schema
from alphafold_jax.errors import ResourceError, WeightsError
from alphafold_jax.model import alphafold
from alphafold_jax.weights import official
from alphafold_jax.weights.random import random_official, random_params
from alphafold_jax.weights.rules import parts

PUBLISHED = json.loads((Path(__file__).parent / 'data' / 'parameter_shapes.json').read_text())
# Of complexes one of each layout; all others differ from these in numbers of rows and passes alone.
DIFFERENT = [name for name in config.MODELS if 'multimer' not in name] + [
  pytest.param(name, marks=pytest.mark.slow) for name in ('model_1_multimer', 'model_1_multimer_v3')
]


@functools.cache
def small(name: str):
  """A model's configuration with one block of each stack."""
  return oracle.our_configuration(name, 1)


@functools.cache
def arrays(name: str = 'model_5') -> dict[str, np.ndarray]:
  return random_official(small(name))


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
  found = {}
  for part in PUBLISHED['models'][name]:
    found |= PUBLISHED['sets'][part]
  return {array: tuple(shape) for array, shape in found.items()}


@pytest.mark.parametrize('name', config.MODELS)
def test_names_and_shapes_are_those_of_the_published_file(name):
  assert official.official_shapes(config.model_config(name)) == published_shapes(name)


@pytest.mark.parametrize('name', DIFFERENT)
def test_converted_parameters_are_exactly_what_the_network_asks_for(name):
  """At full size; nothing is computed."""
  full = config.model_config(name)
  shapes = {array: jax.ShapeDtypeStruct(shape, np.float32) for array, shape in published_shapes(name).items()}
  ours = jax.eval_shape(lambda given: _convert_abstractly(given, full), shapes)
  wanted = jax.eval_shape(alphafold.network(alphafold.make_spec(full)).init, jax.random.key(0), _batch())
  assert {k: {n: x.shape for n, x in v.items()} for k, v in ours.items()} == {
    k: {n: x.shape for n, x in v.items()} for k, v in wanted.items()
  }


def _convert_abstractly(given, full):
  """`from_official` for shapes alone: its rules work on numpy arrays, so each is fed zeros of one byte."""
  ours = {}
  for rule in official.rules(full):
    zeros = (np.broadcast_to(np.int8(0), given[official.PREFIX + array].shape) for array in rule.official)
    for target, array in zip(rule.ours, rule.to_ours(*zeros), strict=True):
      module, leaf = target.split('//')
      ours.setdefault(module, {})[leaf] = jax.numpy.zeros(array.shape)
  return ours


def _batch() -> schema.Batch:
  return oracle.random_batch(num_res=8, depth=3)


@pytest.mark.parametrize('name', ['model_1_ptm', 'model_1_multimer', 'model_1_multimer_v3'])
def test_no_parameter_is_made_twice(name):
  targets = [target for rule in official.rules(small(name)) for target in rule.ours]
  sources = [source for rule in official.rules(small(name)) for source in rule.official]
  assert len(set(targets)) == len(targets) and len(set(sources)) == len(sources)


@pytest.mark.parametrize('name', DIFFERENT)
def test_a_file_comes_back_with_the_same_names_types_and_bits(name, tmp_path):
  given = arrays(name)
  np.savez(tmp_path / 'in.npz', **given)
  loaded = official.load_official(tmp_path / 'in.npz', small(name), strict=True)
  official.save_official(tmp_path / 'out.npz', loaded, small(name))
  with np.load(tmp_path / 'out.npz') as written:
    assert sorted(written.files) == sorted(given)
    for array, value in given.items():
      assert written[array].dtype == value.dtype, array
      np.testing.assert_array_equal(written[array], value, err_msg=array)


def test_the_two_layouts_of_complexes_hold_one_set_of_parameters():
  older, newer = small('model_1_multimer_v2'), small('model_1_multimer_v3')
  params = random_params(older)
  arrays = official.to_official(params, newer)
  assert (len(official.official_shapes(older)), len(arrays)) == (354, 330)
  jax.tree.map(np.testing.assert_array_equal, official.from_official(arrays, newer, strict=True), params)


def test_our_own_parameters_come_back_from_the_published_layout_too():
  model, rng = small('model_1_ptm'), np.random.default_rng(0)
  shapes = jax.eval_shape(alphafold.network(alphafold.make_spec(model)).init, jax.random.key(0), _batch())
  params = jax.tree.map(lambda x: rng.random(x.shape, np.float32), dict(shapes))
  back = official.from_official(official.to_official(params, model), model, strict=True)
  assert jax.tree.structure(back) == jax.tree.structure(params)
  jax.tree.map(np.testing.assert_array_equal, back, params)


def test_device_arrays_are_saved_as_well(tmp_path):
  params = jax.tree.map(jax.numpy.asarray, official.from_official(arrays(), small('model_5')))
  official.save_official(tmp_path / 'x.npz', params, small('model_5'))
  with np.load(tmp_path / 'x.npz') as written:
    np.testing.assert_array_equal(written[next(iter(arrays()))], next(iter(arrays().values())))


# ------------------------------------------------------------------------------------------ a head of one's own

TOY = {'heads/toy': {'w': np.arange(6, dtype=np.float32).reshape(2, 3), 'b': np.ones(3, np.float32)}}


def test_a_parameter_without_a_rule_is_refused_by_name_and_nothing_is_written(tmp_path):
  params = official.from_official(arrays(), small('model_5')) | TOY
  with pytest.raises(WeightsError, match=r'do not fit model_5 .*weights/rules\)\n  without a rule: heads/toy//b\n'):
    official.save_official(tmp_path / 'x.npz', params, small('model_5'))
  assert not list(tmp_path.iterdir())


def test_a_parameter_with_a_rule_comes_back(tmp_path, monkeypatch):
  known = official.rules
  toy = [*parts.linear('heads/toy', 'toy_head/logits', 2, 3)]
  monkeypatch.setattr(official, 'rules', lambda config: [*known(config), *toy])
  params = official.from_official(random_official(small('model_5')), small('model_5')) | TOY
  official.save_official(tmp_path / 'x.npz', params, small('model_5'))
  back = official.load_official(tmp_path / 'x.npz', small('model_5'), strict=True)
  assert jax.tree.structure(back) == jax.tree.structure(params)
  jax.tree.map(np.testing.assert_array_equal, back, params)


def test_a_missing_parameter_is_refused_by_name(tmp_path):
  params = official.from_official(arrays(), small('model_5'))
  del params['heads/distogram']
  with pytest.raises(WeightsError, match=r'2 parameters do not fit model_5.*\n  missing: heads/distogram//w\n'):
    official.save_official(tmp_path / 'x.npz', params, small('model_5'))


# ------------------------------------------------------------------------------------------ what does not fit

NAME = 'alphafold/alphafold_iteration/structure_module/fold_iteration/invariant_point_attention/kv_scalar//weights'


def test_a_missing_array_is_named_with_its_shape():
  broken = {array: value for array, value in arrays().items() if array != NAME}
  with pytest.raises(WeightsError, match=r'here.npz: 1 array does not fit model_5') as error:
    official.from_official(broken, small('model_5'), 'here.npz')
  assert f'missing: {NAME} (384, 384)' in str(error.value)


def test_a_wrong_shape_is_named_with_both_shapes():
  with pytest.raises(WeightsError) as error:
    official.from_official(arrays() | {NAME: np.zeros((384, 383))}, small('model_5'))
  assert f'mis-shaped: {NAME} is (384, 383), should be (384, 384)' in str(error.value)


def test_the_file_of_a_model_with_templates_does_not_pass_as_one_without():
  with pytest.raises(WeightsError, match='is it the file of another model') as error:
    official.from_official(arrays('model_5'), small('model_1'))
  assert 'template' in str(error.value)
  with pytest.raises(WeightsError, match='do not fit model_5'):
    official.from_official(arrays('model_1'), small('model_5'), strict=True)


def test_a_file_of_another_depth_is_refused():
  with pytest.raises(WeightsError, match=r'is \(1, .*should be \(2, '):
    official.from_official(arrays(), oracle.our_configuration('model_5', 2))


def test_a_surplus_array_is_a_warning_or_if_strict_an_error(caplog):
  surplus = arrays() | {'alphafold/alphafold_iteration/new_head//weights': np.zeros((2, 3), np.float32)}
  with caplog.at_level(logging.WARNING):
    official.from_official(surplus, small('model_5'), 'here.npz')
  assert 'here.npz: 1 array not used by model_5' in caplog.text and 'new_head//weights (2, 3)' in caplog.text
  with pytest.raises(WeightsError, match='unexpected: .*new_head//weights'):
    official.from_official(surplus, small('model_5'), 'here.npz', strict=True)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'x.npz'
  path.write_bytes(b'old')

  def fail(file, **_):
    file.write(b'half')
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(np, 'savez', fail)
  with pytest.raises(ResourceError, match='x.npz: the disk is full'):
    official.save_official(path, official.from_official(arrays(), small('model_5')), small('model_5'))
  assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------------------------ random parameters


def test_random_parameters_depend_on_seed_and_name_only():
  a, b = random_official(small('model_5'), 3), random_official(small('model_3_ptm'), 3)
  for name, value in a.items():
    np.testing.assert_array_equal(value, b[name])
  other = random_official(small('model_5'), 4)
  assert all((other[name] != value).any() for name, value in a.items())


def test_no_random_array_is_zero_so_that_each_has_an_effect():
  for module, leaves in random_params(small('model_1_ptm')).items():
    for leaf, value in leaves.items():
      assert value.dtype == np.float32 and np.std(value) > 0, (module, leaf)
