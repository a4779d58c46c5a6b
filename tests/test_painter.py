# SPDX-License-Identifier: Apache-2.0
"""Pictures drawn by other processes: the same ones, whatever becomes of these processes."""

import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from alphafold_jax import errors
from alphafold_jax.output import painter, plots
from alphafold_jax.output.painter import Painter, Picture

TOKENS = np.array([[0, 1, 2, 3], [0, 1, 21, 21]], np.uint8)
PICTURE = Picture(functools.partial(plots.coverage, TOKENS, 'job'), is_small=True)
WRONG = Picture(functools.partial(plots.pae, [], []), is_small=True)


@pytest.fixture(scope='module')
def expected():
  return painter.here(PICTURE)()


@pytest.fixture
def busy():
  """A painter whose process has started."""
  one = Painter(first=0, most=1)
  one.begin(PICTURE)
  until = time.monotonic() + 60
  while not one._living and time.monotonic() < until:
    time.sleep(0.01)
  yield one
  one.close()


def test_a_few_pictures_start_no_process(expected):
  one = Painter(first=2)
  assert [one.begin(PICTURE)() for _ in range(2)] == [expected] * 2 and one._pool is None
  one.close()


@pytest.mark.slow
def test_a_process_draws_the_same_picture_and_raises_the_same_error(busy, expected):
  (process,) = busy._living
  assert [wait() for wait in [busy.begin(PICTURE) for _ in range(3)]] == [expected] * 3
  with pytest.raises(errors.InputError, match='_ptm model'):
    busy.begin(WRONG)()
  assert busy._living == {process}
  busy.close()
  assert process._child.poll() is not None


@pytest.mark.slow
def test_a_process_that_dies_leaves_its_picture_to_this_one(busy, expected):
  (process,) = busy._living
  os.kill(process._child.pid, signal.SIGKILL)
  assert [wait() for wait in [busy.begin(PICTURE) for _ in range(2)]] == [expected] * 2
  assert not busy._living


@pytest.mark.slow
def test_a_process_that_is_stopped_leaves_its_picture_to_this_one_after_a_while(busy, expected, caplog):
  caplog.set_level('INFO')
  (process,) = busy._living
  busy._limit = 0.3  # as `Painter(limit=0.3)`, but its process had all the time to start
  os.kill(process._child.pid, signal.SIGSTOP)
  assert [wait() for wait in [busy.begin(PICTURE) for _ in range(2)]] == [expected] * 2
  assert not busy._living and 'did not answer within 0.3 s and was ended' in caplog.text


@pytest.mark.slow
def test_what_is_large_is_drawn_here(busy, expected):
  (process,) = busy._living
  os.kill(process._child.pid, signal.SIGSTOP)  # it would never answer
  assert busy.begin(Picture(PICTURE.draw, is_small=False))() == expected


@pytest.mark.slow
@pytest.mark.parametrize(
  'program, said',
  [('exec sleep 600', ''), ('exit 1', 'ended as it started'), (None, 'no process can be started')],
)
def test_a_process_that_does_not_start_holds_nothing_up(program, said, tmp_path, monkeypatch, caplog, expected):
  caplog.set_level('INFO')
  interpreter = tmp_path / 'python'
  if program:
    interpreter.write_text(f'#!/bin/sh\n{program}\n')
    interpreter.chmod(0o755)
  monkeypatch.setattr(sys, 'executable', str(interpreter))
  one = Painter(first=0, most=1)
  assert [one.begin(PICTURE)() for _ in range(3)] == [expected] * 3 and not one._living
  until = time.monotonic() + 30
  while said not in caplog.text and time.monotonic() < until:
    time.sleep(0.01)
  one.close()
  assert said in caplog.text and bool(said) == bool(caplog.text)


@pytest.mark.slow
def test_files_of_the_working_folder_are_no_part_of_a_process(tmp_path, monkeypatch):
  (tmp_path / 'alphafold_jax.py').write_text('raise SystemExit')
  monkeypatch.chdir(tmp_path)
  process = painter._Process()
  assert process.answer() == 'ready'
  process.end()


@pytest.mark.slow
def test_a_process_never_outlives_the_one_that_started_it_and_loads_no_jax():
  code = (
    'import os, pickle, sys; from alphafold_jax.output import painter; child = painter._Process(); '
    'assert child.answer() == "ready" and not {"jax", "matplotlib"} & set(sys.modules); '
    'print(child._child.pid, flush=True); os.kill(os.getpid(), 9)'
  )
  killed = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False)
  assert killed.returncode == -signal.SIGKILL, killed.stderr
  until = time.monotonic() + 30
  while _is_running(int(killed.stdout)) and time.monotonic() < until:
    time.sleep(0.01)
  assert not _is_running(int(killed.stdout))


def _is_running(pid: int) -> bool:
  try:
    with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
      return file.read().rpartition(')')[2].split()[0] != 'Z'
  except FileNotFoundError:
    return False
