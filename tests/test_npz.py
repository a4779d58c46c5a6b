# SPDX-License-Identifier: Apache-2.0
"""Reading parameter files, whole and damaged."""

import json
import pathlib

import numpy as np
import pytest
from parameter_server import SHAPES, parameter_file

from alphafold_jax.errors import WeightsError
from alphafold_jax.weights import npz, store


def test_read_shapes_and_read_arrays_give_what_was_saved(tmp_path):
  path = tmp_path / 'params_model_1.npz'
  path.write_bytes(parameter_file(1))
  assert npz.read_shapes(path) == SHAPES
  with np.load(path) as saved:
    arrays = npz.read_arrays(path)
    assert list(arrays) == list(saved) and all(np.array_equal(arrays[name], saved[name]) for name in saved)


@pytest.mark.parametrize('read', [npz.read_shapes, npz.read_arrays])
def test_a_truncated_parameter_file_names_the_array_it_ends_in(tmp_path, read):
  path = tmp_path / 'params_model_1.npz'
  path.write_bytes(parameter_file(1)[:20_000])
  with pytest.raises(WeightsError, match=r"params_model_1.npz: truncated.*left_single//weights' of shape \(300, 40\)"):
    read(path)


def test_a_damaged_array_is_named_when_it_is_read(tmp_path):
  path = tmp_path / 'params_model_1.npz'
  content = bytearray(parameter_file(1))
  content[20_000] ^= 1
  path.write_bytes(content)
  with pytest.raises(WeightsError, match=r"left_single//weights' of shape \(300, 40\) is damaged"):
    npz.read_arrays(path)


@pytest.mark.parametrize('read', [npz.read_shapes, npz.read_arrays])
def test_pickled_objects_in_a_parameter_file_are_refused(tmp_path, read):
  path = tmp_path / 'params_model_1.npz'
  np.savez(path, **{'an//object': np.array([{}], dtype=object)})
  with pytest.raises(WeightsError, match='an//object'):
    read(path)


@pytest.mark.parametrize('content', [b'', b'hello', b'PK\x03\x04', bytes(1000)])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
  path = tmp_path / 'params_model_1.npz'
  path.write_bytes(content)
  with pytest.raises(WeightsError, match=r'params_model_1.npz: (not an .npz file|truncated)'):
    npz.read_shapes(path)


def test_an_absent_parameter_file_is_named(tmp_path):
  with pytest.raises(WeightsError, match='none.npz: cannot be read'):
    npz.read_shapes(tmp_path / 'none.npz')


def test_the_recorded_shapes_of_the_published_files_add_up_to_their_parameter_counts():
  tables = json.loads((pathlib.Path(__file__).parent / 'data/parameter_shapes.json').read_text())
  assert sorted(tables['models']) == sorted(store.MODELS)
  counts = {
    model: sum(int(np.prod(shape)) for name in sets for shape in tables['sets'][name].values())
    for model, sets in tables['models'].items()
  }
  assert counts['model_1'] == counts['model_2'] == 93_229_082
  assert counts['model_2_ptm'] == 93_237_338
  assert counts['model_3'] == counts['model_5'] == 92_899_674
  assert counts['model_4_ptm'] == 92_907_930
  assert counts['model_1_multimer'] == counts['model_2_multimer_v2'] == counts['model_5_multimer_v3'] == 93_223_705
