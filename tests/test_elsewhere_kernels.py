# SPDX-License-Identifier: Apache-2.0
"""Our kernels alone, compiled for machines that are not here: the command, what it reads, and its table."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'benchmarks'))

import elsewhere_kernels  # noqa: E402
import elsewhere_kernels_read  # noqa: E402
import elsewhere_kernels_table  # noqa: E402

NO_COMPILER = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None, reason='libtpu, the compiler of TPUs, is not installed: extra elsewhere'
)
PTX = """
.version 8.8
.target sm_90a
.visible .entry to_keys(
.visible .entry loop_pad_fusion(
"""
THUNKS = """
015: kCustomKernel [prev=006 (1)] loop_pad_fusion grid: [5, 300, 4] threads: [128, 1, 1]  shared_memory: 7 bytes
016: kCustomKernel [prev=015 (1)] to_keys grid: [9, 300, 4] threads: [128, 1, 1]  shared_memory: 20992 bytes
"""
SAID = """
echo "ptxas info    : Compiling entry function 'to_keys' for 'sm_90a'" >&2
echo "    24 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads" >&2
echo "ptxas info    : Used 255 registers, used 1 barriers" >&2
"""


# ------------------------------------------------------------------------------------------ what is read


def test_registers_and_shared_memory_are_those_of_our_kernels(tmp_path, monkeypatch):
  (tmp_path / 'module.ptx').write_text(PTX)
  (tmp_path / 'module.thunk_sequence.txt').write_text(THUNKS)
  assembler = tmp_path / 'ptxas'
  assembler.write_text(f'#!/bin/sh\n{SAID}')
  assembler.chmod(0o755)
  monkeypatch.setattr(elsewhere_kernels_read, 'assembler', lambda: str(assembler))
  facts = {'registers': 255, 'spilled': 32, 'architecture': 'sm_90a', 'shared_memory': 20992}
  assert elsewhere_kernels_read.on_gpu(tmp_path) == {'to_keys': facts}


def test_an_assembler_that_refuses_is_told_of(tmp_path, monkeypatch):
  (tmp_path / 'module.ptx').write_text(PTX)
  monkeypatch.setattr(elsewhere_kernels_read, 'assembler', lambda: '/bin/false')
  assert 'refused' in elsewhere_kernels_read.on_gpu(tmp_path)['to_keys']
  monkeypatch.setattr(elsewhere_kernels_read, 'assembler', lambda: None)
  assert elsewhere_kernels_read.on_gpu(tmp_path) == {'to_keys': {}}


# ------------------------------------------------------------------------------------------ the command


def line(target, case, way, **facts):
  about = {'target': target, 'case': case, 'way': way, 'versions': {'jax': '1'}, 'date': '2026-11-30'}
  return json.dumps(about | facts) + '\n'


def test_what_is_in_the_file_is_not_compiled_again(tmp_path):
  path = tmp_path / 'kernels.jsonl'
  cases = ['triangles', 'MSA rows']
  assert dict(elsewhere_kernels.missing(path, ['h200'], cases)) == {
    'h200': [(case, way) for case in cases for way in ('forward', 'gradient')]
  }
  path.write_text(line('h200', 'triangles', 'forward') + line('h200', 'triangles', 'gradient', refused='no'))
  assert dict(elsewhere_kernels.missing(path, ['h200'], cases[:1])) == {}
  assert list(elsewhere_kernels.missing(path, ['l4'], cases[:1]))[0][0] == 'l4'


def test_a_compiler_that_ends_its_process_is_told_of_and_the_next_is_compiled(tmp_path, monkeypatch):
  child = tmp_path / 'child.py'
  child.write_text(
    'import json, os, sys\n'
    'for case, way in json.loads(sys.argv[-1]):\n'
    "  if way == 'gradient': os.abort()\n"
    "  found = {'target': 'h200', 'case': case, 'way': way, 'compile_seconds': 1, 'versions': {}}\n"
    '  print(json.dumps(found), flush=True)\n'
  )
  monkeypatch.setattr(elsewhere_kernels, '__file__', str(child))
  path = tmp_path / 'kernels.jsonl'
  elsewhere_kernels.compile_all(path, 'h200', [(case, way) for case in 'ab' for way in elsewhere_kernels.WAYS])
  found = elsewhere_kernels_table.read_results(path)
  assert [(one['case'], one['way'], 'refused' in one) for one in found] == [
    ('a', 'forward', False),
    ('a', 'gradient', True),
    ('b', 'forward', False),
    ('b', 'gradient', True),
  ]
  assert 'exit code -6' in found[1]['refused'] and all(one['date'] > '2026' for one in found)


def test_the_table_has_the_most_of_every_kernel_and_what_was_refused(tmp_path):
  def facts(registers, spilled, shared):
    return {'kernels': {'to_keys': {'registers': registers, 'spilled': spilled, 'shared_memory': shared}}}

  path = tmp_path / 'kernels.jsonl'
  path.write_text(
    line('h200', 'triangles', 'gradient', **facts(132, 0, 20992))
    + line('h200', 'MSA rows', 'gradient', **facts(127, 8, 1024))
    + line('t4', 'triangles', 'gradient', refused='too old', versions={'jax': '2'}, date='2026-12-02')
    + line(
      'v5e:2x2', 'triangles', 'forward', kernels={'forward': {'vmem': 2**19}}, array_bytes=2**27, temporary_bytes=2**21
    )
    + line(
      'v5e:2x2', 'triangles', 'gradient', kernels={'to_bias': {'vmem': 2**20}}, array_bytes=2**28, temporary_bytes=0
    )
  )
  text = elsewhere_kernels_table.text(path, elsewhere_kernels.facts(), 'python x.py', 8)
  assert '4 of 8 programs compiled, 1 refused, 3 not tried' in text and 't4, 1 programs: too old' in text
  assert 'Compiled, not measured: jax 1 and 2; 2026-11-30 to 2026-12-02. Command: `python x.py`' in text
  assert '| its gradient to keys and values | 32 | bfloat16 | 132 / 20, spills 8 bytes |' in text
  assert '| attention | 32 | bfloat16 | 0.50 |' in text
  assert '| triangles | 384 rows, 4 heads of 32, 384 positions, bfloat16 | 128 | 2 / 0 |' in text


def test_what_is_recorded_is_of_these_cases_and_machines():
  found = elsewhere_kernels_table.read_results(elsewhere_kernels.RECORDED)
  programs = [(one['target'], one['case'], one['way']) for one in found]
  assert len(programs) == len(set(programs)) > 200
  for target, case, way in programs:
    assert target in elsewhere_kernels.TARGETS and way in elsewhere_kernels.ways(case)


# ------------------------------------------------------------------------------------------ really compiled


def run(path, *arguments):
  command = [sys.executable, ROOT / 'benchmarks' / 'elsewhere_kernels.py', path, *arguments]
  return subprocess.run(command, capture_output=True, encoding='utf-8', check=True, timeout=280)


def test_a_machine_whose_compiler_is_missing_is_left_out(tmp_path):
  if any(map(importlib.util.find_spec, ('jax_cuda12_plugin', 'jax_cuda13_plugin'))):
    pytest.skip('the compiler of NVIDIA GPUs is installed')
  done = run(tmp_path / 'kernels.jsonl', '--for', 'h200', '--case', 'triangles')
  assert 'left out: h200: the compiler of NVIDIA GPUs is not installed' in done.stderr
  assert not (tmp_path / 'kernels.jsonl').exists()


@NO_COMPILER
def test_kernels_are_really_compiled_for_a_tpu_and_nothing_is_laid_out_larger_around_them(tmp_path):
  path = tmp_path / 'kernels.jsonl'
  run(path, '--for', 'v5e:2x2', '--case', '257, heads of 8', 'template transition')
  found = {(one['case'], one['way']): one for one in elsewhere_kernels_table.read_results(path)}
  assert len(found) == 3 and not any('refused' in one for one in found.values())
  forward, gradient = (found['257, heads of 8', way] for way in elsewhere_kernels.WAYS)
  assert set(forward['kernels']) == {'forward'} and set(found['template transition', 'forward']['kernels']) == {
    '_kernel'
  }
  assert set(gradient['kernels']) == {'forward', 'to_queries', 'to_keys', 'to_bias'}
  assert all(0 < facts['vmem'] < 2**24 for facts in gradient['kernels'].values())
  for one in (forward, gradient):  # with 8 channels last, queries and keys took 16 times their memory
    assert one['temporary_bytes'] < 2 * one['argument_bytes']
