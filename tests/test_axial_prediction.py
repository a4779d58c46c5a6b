# SPDX-License-Identifier: Apache-2.0
"""One protein over several devices: the same prediction, in a fraction of the memory."""

import dataclasses

import devices
import jax
import pytest
import small_network
import small_predictions
from small_predictions import CASES

from alphafold_jax import cli, confidence, errors, planning, prediction, schema
from alphafold_jax.cli import predict
from alphafold_jax.data import padding
from alphafold_jax.ops import axial


@pytest.fixture(scope='module')
def found(tmp_path_factory):
  """Every case on every number of devices, as arrays by `case on devices:field`."""
  return devices.arrays_of(small_predictions, tmp_path_factory.mktemp('devices'))


def of_case(found, case, num_devices):
  start = f'{case} on {num_devices}:'
  return {name.removeprefix(start): array for name, array in found.items() if name.startswith(start)}


@pytest.mark.parametrize(
  ('case', 'num_devices'), [(name, number) for name, case in CASES.items() for number in case.devices]
)
def test_a_prediction_does_not_depend_on_the_number_of_devices(found, case, num_devices):
  one, many = of_case(found, case, 1), of_case(found, case, num_devices)
  num_res, num_recycle = CASES[case].num_res, CASES[case].settings['num_recycle']
  assert one['pae'].shape == (num_res, num_res) and one['change'].shape == (num_recycle + 1,)
  small_network.assert_close(many, one, 1e-4)


def test_eight_devices_need_less_than_a_quarter_of_the_temporary_memory_each(found):
  one, eight = (int(found[f'bytes on {number}']) for number in (1, 8))
  assert one > 2**29
  assert eight <= 0.25 * one


def test_memory_is_estimated_for_each_device():
  spec = small_network.make_spec()
  one, two, eight = (planning.pass_bytes(spec, 4096, 16, 4, 0, number) for number in (1, 2, 8))
  assert one > two > eight > one / 8


@pytest.mark.parametrize('num_devices', [1, 2, 3, 7, 8, 64])
def test_padded_lengths_can_be_shared_by_all_devices(num_devices):
  for num_res in (1, 11, 16, 24, 500, 1025):
    size = padding.residue_bucket(num_res, num_devices)
    assert size % num_devices == 0 and size - padding.residue_bucket(num_res) < num_devices


def test_programs_for_other_numbers_of_devices_are_others():
  model, batch = small_predictions.make_model(), small_network.make_batch()
  keys = [prediction.program_key(model, batch, prediction.Settings(num_devices=number)) for number in (1, 2, 2)]
  assert keys[0] != keys[1] == keys[2]


def test_devices_that_are_not_there_are_refused_with_how_many_there_are():
  num_devices = len(jax.local_devices()) + 1
  with pytest.raises(errors.InputError, match=rf'num_devices={num_devices}: there .* {num_devices - 1} .*--devices'):
    prediction.predict(small_predictions.make_model(), 'ACDEFGHIKL', num_devices=num_devices)
  with pytest.raises(errors.InputError, match='num_devices=0: must be a whole number, 1 or more'):
    prediction.Settings(num_devices=0)


def test_the_flag_says_how_many_devices_share_a_protein():
  given = cli._parser().parse_args(['predict', 'in', 'out', '--devices', '8', '--model-type', 'alphafold2_ptm'])
  assert predict._options(given).settings.num_devices == 8


def test_devices_split_pair_arrays_by_rows_and_alignments_by_columns():
  specs = {}
  for cls in (schema.Recycled, schema.Representations, schema.Logits, confidence.Confidence):
    parts = axial.partition(cls, 'model')
    specs |= {field.name: tuple(getattr(parts, field.name)) for field in dataclasses.fields(cls)}
  split = {name: spec for name, spec in specs.items() if spec}
  rows, columns = ('model',), (None, 'model')
  assert split == {
    'pair': rows,
    'distogram': rows,
    'pae': rows,
    'contact_probability': rows,
    'tm': rows,
    'interface_contact': rows,
    'msa': columns,
    'masked_msa': columns,
  }
