# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks compare, and what they say about the machine."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import predict_vs_alphafold  # noqa: E402
import turns  # noqa: E402


def test_on_a_cpu_the_peer_beside_our_bfloat16_runs_in_float32_too():
  sides = predict_vs_alphafold.compared('bfloat16', on_cpu=True)
  assert {'ours', 'peer, subbatch_size 4', 'peer in float32, subbatch_size 4'} <= set(sides)
  assert 'peer, its kernels' in predict_vs_alphafold.compared('bfloat16', on_cpu=False)
  for dtype in ('float32', 'bfloat16'):
    for on_cpu in (True, False):
      assert set(predict_vs_alphafold.compared(dtype, on_cpu)) <= set(predict_vs_alphafold.SIDES)


@pytest.mark.parametrize(
  ('result', 'section'),
  [
    ({'on_cpu': True, 'dtype': 'float32'}, 'predict_vs_alphafold'),
    ({'on_cpu': True, 'dtype': 'bfloat16'}, 'predict_vs_alphafold_bfloat16'),
    ({'on_cpu': False, 'dtype': 'bfloat16'}, 'predict_vs_alphafold_gpu'),
  ],
)
def test_each_machine_and_dtype_has_a_section_of_the_docs(result, section):
  assert predict_vs_alphafold.section_of([result]) == section
  assert f'<!-- {section}: begin' in turns.TABLES.read_text()


def test_the_conditions_name_the_units_for_bfloat16(tmp_path, monkeypatch):
  info = tmp_path / 'cpuinfo'
  info.write_text('model name\t: A Processor\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n')
  monkeypatch.setattr(turns, 'CPUINFO', info)
  assert turns.machine().endswith('cores of A Processor (amx_tile, amx_bf16, avx512_bf16)')
  info.write_text('model name\t: An Old Processor\nflags\t\t: fpu avx2\n')
  assert turns.machine().endswith('cores of An Old Processor (no unit for bfloat16)')


def test_a_side_is_measured_by_a_command_of_its_own():
  case = predict_vs_alphafold.Case(16, 8, 24, 2, 'bfloat16')
  command = turns.side_command('script.py', 'ours', case, passes=3)
  assert command[1:] == 'script.py --side ours --passes 3 --num-res 16 --num-msa 8 --num-extra 24'.split() + [
    *'--num-block 2 --dtype bfloat16 --model model_5_ptm'.split()
  ]


def test_files_of_a_made_up_run_are_all_kinds_and_their_tenth_is_that_of_twenty_passes(tmp_path):
  run_files = importlib.import_module('run_files')
  found = run_files.made_up(24, 1, tmp_path)
  assert found['files'] == 22 and found['bytes'] > 5 * 24 * 5 * 80  # at least five structures of lines
  row = run_files.table([found | {'seconds': 3.0}], 'a command').splitlines()[-1]
  assert row.startswith('| 24, made up | 22 |') and '| 1.50 | - | - |' in row
