# SPDX-License-Identifier: Apache-2.0
"""A day on a borrowed GPU loses nothing: what hangs, fails or is missing costs its own step only."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / 'benchmarks'
sys.path.insert(0, str(BENCHMARKS))

import gpu_day  # noqa: E402
import gpu_day_runner as runner  # noqa: E402
import gpu_day_table  # noqa: E402


def shell(name: str, script: str, **fields) -> runner.Step:
  return runner.Step(name, ('sh', '-c', script), **fields)


def part(name: str, *steps: runner.Step, minutes: float = 1.0) -> runner.Part:
  return runner.Part(name, minutes, steps)


def a_day(folder: Path, *parts: runner.Part, seconds: float = 20.0) -> tuple[list[str], list[dict]]:
  went = list(runner.run(parts, seconds / 60, runner.Record(folder)))
  return went, runner.read(folder)


def is_alive(pid: int) -> bool:
  try:
    return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
  except OSError:
    return False


def eventually(condition, seconds: float = 20.0) -> bool:
  end = time.monotonic() + seconds
  while not condition() and time.monotonic() < end:
    time.sleep(0.02)
  return condition()


@pytest.mark.slow
def test_a_part_that_hangs_is_ended_with_its_children_and_the_next_goes_on(tmp_path, monkeypatch):
  monkeypatch.setattr(runner, '_GRACE', 0.3)
  deaf = 'trap "" TERM; echo \'{"found": 1}\'; (trap "" TERM; sleep 60) & echo $! > child; wait; sleep 60'
  monkeypatch.chdir(tmp_path)
  start = time.monotonic()
  went, lines = a_day(
    tmp_path, part('hung', shell('deaf', deaf)), part('next', shell('well', 'echo \'{"x": 2}\'')), seconds=4
  )
  assert went == ['stopped', 'done'] and time.monotonic() - start < 10
  assert {'part': 'hung', 'step': 'deaf', 'found': 1} in lines, 'what it said before is kept'
  assert {'part': 'next', 'step': 'well', 'x': 2} in lines
  assert eventually(lambda: not is_alive(int(Path('child').read_text())))


@pytest.mark.slow
def test_a_step_that_fails_is_recorded_with_its_last_words(tmp_path):
  step = shell('broken', 'echo progress; echo "ValueError: no such unit" >&2; exit 3')
  went, lines = a_day(tmp_path, part('first', step, shell('well', 'true')))
  assert went == ['failed', 'done']
  assert lines[0]['status'] == 'failed' and lines[0]['error'] == 'ValueError: no such unit'
  assert 'progress' in (tmp_path / 'log.txt').read_text()


def test_a_missing_package_is_named_and_the_part_goes_on(tmp_path):
  lacking = shell('peer', 'false', needs=('json', 'no_such_package.inside'))
  went, lines = a_day(tmp_path, part('first', lacking, shell('gpu', 'false', absent='it needs a GPU')))
  assert went == ['missing', 'missing']
  assert [line['error'] for line in lines] == ['not installed: no_such_package.inside', 'it needs a GPU']


@pytest.mark.slow
def test_what_a_part_leaves_of_its_time_goes_to_the_next(tmp_path):
  told = shell('told', f'echo "{{\\"seconds\\": {runner.SECONDS}}}"')
  went, lines = a_day(tmp_path, part('short', shell('nothing', 'true')), part('long', told), seconds=200)
  assert went == ['done', 'done']
  assert 190 < lines[1]['seconds'] < 200


@pytest.mark.slow
def test_a_step_leaves_a_share_of_its_time_to_those_after_it(tmp_path):
  hangs = shell('hangs', 'sleep 60', share=0.5)
  went, _ = a_day(tmp_path, part('one', hangs, shell('well', 'true')), seconds=4)
  assert went == ['stopped', 'done']


@pytest.mark.slow
def test_what_has_no_time_left_is_not_started(tmp_path):
  went, lines = a_day(tmp_path, part('one', shell('short', 'exit 1', share=0.1), shell('well', 'true')), seconds=5)
  assert went == ['not started', 'done'] and lines[0]['error'] == 'no time was left'


@pytest.mark.slow
def test_results_are_there_after_a_kill_and_the_day_goes_on_with_what_is_missing(tmp_path):
  program = f"""
import sys; sys.path.insert(0, {str(BENCHMARKS)!r})
import gpu_day_runner as r; from pathlib import Path
steps = (r.Step('first', ('echo', '{{"x": 1}}')), r.Step('second', ('sh', '-c', 'echo {{\\\\"y\\\\": 2}}; sleep 5')))
list(r.run([r.Part('one', 1, steps)], 1, r.Record(Path({str(tmp_path)!r}))))
"""
  process = subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.DEVNULL)
  assert eventually(lambda: any('y' in line for line in runner.read(tmp_path)))
  process.send_signal(signal.SIGKILL)
  process.wait()
  lines = runner.read(tmp_path)
  assert {'part': 'one', 'step': 'first', 'x': 1} in lines and {'part': 'one', 'step': 'second', 'y': 2} in lines
  with (tmp_path / runner.RESULTS).open('a') as file:
    file.write('{"part": "one", "st')  # the kill came within a line
  again = part('one', shell('first', 'exit 1'), shell('second', 'echo \'{"y": 3}\''))
  went, lines = a_day(tmp_path, again)
  assert went == ['done'] and lines[-2] == {'part': 'one', 'step': 'second', 'y': 3}


@pytest.mark.slow
def test_what_later_steps_need_is_done_every_time_and_takes_no_share(tmp_path):
  first = part('first', shell('large', 'true'), shell('needed', 'true', always=True))
  told = shell('told', f'echo "{{\\"seconds\\": {runner.SECONDS}}}"')
  assert a_day(tmp_path, first)[0] == ['done', 'done']
  went, lines = a_day(tmp_path, first, part('next', told), seconds=100)
  assert went == ['done', 'done'] and lines[-3]['step'] == 'needed'
  assert 90 < lines[-2]['seconds'] < 96, 'all but what ending takes'


@pytest.mark.slow
def test_sigterm_ends_the_day_and_its_processes(tmp_path):
  (tmp_path / 'hang.py').write_text(
    f"""
import sys; sys.path.insert(0, {str(BENCHMARKS)!r})
import signal, gpu_day, gpu_day_runner as r; from pathlib import Path
hang = r.Step('hang', ('sh', '-c', 'echo {{\\\\"pid\\\\": $$}}; sleep 60'))
gpu_day.parts = lambda sizes: (r.Part('one', 1, (hang,)),)
signal.signal(signal.SIGTERM, gpu_day._interrupt)
sys.exit(gpu_day.day(gpu_day.TOY, 1, Path({str(tmp_path / 'out')!r}), ['one']))
"""
  )
  process = subprocess.Popen([sys.executable, str(tmp_path / 'hang.py')], stdout=subprocess.DEVNULL)
  assert eventually(lambda: any('pid' in line for line in runner.read(tmp_path / 'out')))
  pid = next(line['pid'] for line in runner.read(tmp_path / 'out') if 'pid' in line)
  process.terminate()
  assert process.wait(20) == 1
  assert eventually(lambda: not is_alive(pid))


def test_results_of_another_machine_are_not_mixed(tmp_path, monkeypatch):
  monkeypatch.setattr(gpu_day, 'conditions', lambda: {'gpu': 'A', 'packages': {'jax': '1'}, 'date': '2026-01-01'})
  gpu_day._record_conditions(runner.Record(tmp_path), 9, rehearse=False)
  gpu_day._record_conditions(runner.Record(tmp_path), 5, rehearse=False)
  monkeypatch.setattr(gpu_day, 'conditions', lambda: {'gpu': 'B', 'packages': {'jax': '1'}, 'date': '2026-01-01'})
  with pytest.raises(SystemExit, match='results with another gpu; name another folder by --out'):
    gpu_day._record_conditions(runner.Record(tmp_path), 9, rehearse=False)


def test_every_part_names_its_steps_once_and_train_mini_has_four_of_nine_minutes():
  for sizes in (gpu_day.FULL, gpu_day.TOY):
    parts = gpu_day.parts(sizes)
    assert sum(one.minutes for one in parts) == pytest.approx(9)
    assert parts[-1].name == 'train_mini' and parts[-1].minutes == 4
    for one in parts:
      assert len({step.name for step in one.steps}) == len(one.steps)
      assert all(Path(step.command[1]).exists() for step in one.steps)


def test_the_table_puts_ours_beside_the_fastest_peer_and_says_what_is_missing():
  measured = {'compile_seconds': 1.0, 'memory_bytes': 2**30, 'score': 50.0, 'num_res': 384, 'part': 'beside the peer'}
  lines = [
    {'conditions': {'gpu': 'G', 'processors': 'P', 'python': '3', 'packages': {'jax': '1', 'x': None}, 'cuda': []}
      | {'commit': 'c', 'date': 'd', 'rehearsal': False}, 'minutes': 9},
    measured | {'side': 'ours', 'step': 'a', 'seconds': 1.0},
    measured | {'side': 'peer, its kernels', 'step': 'b', 'seconds': 2.0},
    measured | {'side': 'peer, subbatch_size 4', 'step': 'c', 'seconds': 4.0},
    {'part': 'beside the peer', 'step': 'd', 'status': 'stopped', 'error': 'it took more than 9 s'},
    {'part': 'train_mini', 'step': 'train_mini', 'status': 'missing', 'error': 'not installed: grain'},
  ]  # fmt: skip
  text = gpu_day_table.table(lines)
  assert '| 384 | ours | 1.0 | 1 | 1024 | 50.000 | **0.50** | **1.00** |' in text
  assert '- not measured: d: stopped (it took more than 9 s)' in text
  assert '- not measured: train_mini: missing (not installed: grain)' in text
  assert 'G (name, driver, memory); P; Python 3, jax 1; commit c; d.' in text


def test_the_script_says_how_it_is_used():
  said = subprocess.run(
    [BENCHMARKS / 'gpu_day.sh', '--help'], env=os.environ | {'PYTHON': sys.executable}, capture_output=True, text=True
  )
  assert said.returncode == 0 and '--rehearse' in said.stdout


def test_a_line_that_is_no_result_is_no_result(tmp_path):
  (tmp_path / runner.RESULTS).write_text('{"part": "a", "step": "b"}\n[1]\n{"part": "a", "st')
  assert runner.read(tmp_path) == [json.loads('{"part": "a", "step": "b"}')]
