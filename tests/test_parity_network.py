# SPDX-License-Identifier: Apache-2.0
"""The whole network gives what DeepMind's gives, with random parameters, to 1e-4 of the largest value."""

from pathlib import Path

import pytest
from parity import network

from alphafold_jax.data.records import read_text

A3M = Path(__file__).parent / 'data' / '4zey_A.a3m.gz'


def check(name: str, variant: str) -> None:
  passes = network.errors(name, variant)
  for index in (0, 2):  # after one and after three passes
    for output, error in passes[index].items():
      assert error < network.TOLERANCE, (index, output)


@pytest.mark.parametrize('name', network.PARAMETER_SETS)
def test_every_parameter_set_predicts_what_the_official_program_does(name):
  check(name, 'two blocks')


@pytest.mark.parametrize('name', ('model_2_ptm', 'model_5'))
def test_a_single_sequence_without_extra_rows_too(name):
  check(name, 'two blocks, single sequence')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['model_1_ptm', 'model_3'])
def test_full_depth_too(name):
  check(name, 'full depth')


def test_from_alignment_file_to_structure_both_programs_agree():
  text = ''.join(f'>{record}' for record in read_text(A3M).split('>')[1:7])
  for output, error in network.errors_from_a3m('model_3_ptm', text).items():
    assert error < network.TOLERANCE, output
