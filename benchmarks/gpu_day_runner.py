# SPDX-License-Identifier: Apache-2.0
"""Runs the parts of a day one after another, each bounded in time, and writes every result down as it comes.

A part is a row of steps, and a step a command that prints results as lines of JSON. What fails, hangs or lacks a
package is recorded, and the next goes on. Imports neither JAX nor our package, so that nothing of theirs stops it.
"""

import contextlib
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

RESULTS, LOG = 'results.jsonl', 'log.txt'
SECONDS, FOLDER = '{seconds}', '{folder}'  # in a command: how long it may take, and where the results are
DONE, FAILED, STOPPED, MISSING, NOT_STARTED = 'done', 'failed', 'stopped', 'missing', 'not started'
_GRACE = 5.0  # seconds from SIGTERM to SIGKILL
_NO_ERROR = re.compile(r'\d\d:\d\d:\d\d |-----|For simplicity, JAX has removed')  # ours begin with the time
_BRIEF = 20.0  # seconds that what is always needed gets
_LEAST = 1.0  # seconds, with fewer nothing is started


class Step(NamedTuple):
  """One command."""

  name: str
  command: tuple[str, ...]  # SECONDS and FOLDER stand for what they are that day
  facts: Mapping[str, Any] = {}  # added to each of its results
  needs: tuple[str, ...] = ()  # modules
  absent: str | None = None  # why it cannot run here
  share: float = 0.7  # of the time left to its part that it may take; the last may take all
  environment: Mapping[str, str] = {}
  always: bool = False  # brief, and needed by those that follow: also where it is done, or its part has no time left


class Part(NamedTuple):
  """Steps that share their time."""

  name: str
  minutes: float  # of the default day
  steps: tuple[Step, ...]


class Record:
  """The results of a day in a folder: one JSON object a line, complete at any moment, and a log to read."""

  def __init__(self, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    self.folder, self.results, self.log_file = folder, folder / RESULTS, folder / LOG
    self._lock = threading.Lock()
    self.done = {(line['part'], line['step']) for line in read(folder) if line.get('status') == DONE}
    with self.results.open('a+b') as file:  # a line that a kill cut off
      if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b'\n':
        file.write(b'\n')

  def add(self, **line: Any) -> None:
    """Writes one line, at once."""
    with self._lock, self.results.open('a', encoding='utf-8') as file:
      file.write(json.dumps(line) + '\n')
      file.flush()
      os.fsync(file.fileno())

  def log(self, text: str) -> None:
    """Writes a line of the log, and prints it."""
    with self._lock, self.log_file.open('a', encoding='utf-8') as file:
      file.write(f'{time.strftime("%H:%M:%S")} {text}\n')
    print(text, flush=True)


def read(folder: Path) -> list[dict[str, Any]]:
  """The lines of a day's results so far; one that was cut off is left out."""
  path, lines = folder / RESULTS, []
  for text in path.read_text(encoding='utf-8').splitlines() if path.exists() else []:
    if (line := _object(text)) is not None:
      lines.append(line)
  return lines


def _object(text: str) -> dict[str, Any] | None:
  try:
    found = json.loads(text)
  except ValueError:
    return None
  return found if isinstance(found, dict) else None


def run(parts: Sequence[Part], minutes: float, record: Record) -> Iterator[str]:
  """Runs all parts in order; what one leaves of its time goes to the next.

  Args:
    parts: their minutes are shares of the whole.
    minutes: the whole.
    record: what is done in it already is not done again, and the minutes are shared by the parts with other steps.

  Yields:
    after each step how it went: DONE, FAILED, STOPPED, MISSING or NOT_STARTED.
  """
  undone = [part for part in parts if any(_is_due(part, step, record) for step in part.steps)]
  whole, ends = sum(part.minutes for part in undone), time.monotonic()
  for part in parts:
    ends += 60 * minutes * part.minutes / whole if part in undone else 0
    steps = [step for step in part.steps if step.always or _is_due(part, step, record)]
    record.log(f'== {part.name}: ' + (f'until {max(0, ends - time.monotonic()):.0f} s from now' if steps else 'done'))
    for step in steps:
      left = ends - time.monotonic()
      limit = left if step is steps[-1] else left * step.share
      yield _attempt(part.name, step, max(limit, _BRIEF) if step.always else limit, record)


def _is_due(part: Part, step: Step, record: Record) -> bool:
  return (part.name, step.name) not in record.done


def _attempt(part: str, step: Step, limit: float, record: Record) -> str:
  """Runs one step, if it can run, and records how that went."""
  start, error = time.monotonic(), step.absent
  lacking = [module for module in step.needs if not _is_installed(module)]
  if lacking:
    error = f'not installed: {", ".join(lacking)}'
  if error:
    status = MISSING
  elif limit < _LEAST:
    status, error = NOT_STARTED, 'no time was left'
  else:
    told = f'{limit - _GRACE if limit > 4 * _GRACE else limit:.0f}'
    command = [word.replace(SECONDS, told).replace(FOLDER, str(record.folder)) for word in step.command]
    record.log(f'-- {step.name}, at most {limit:.0f} s: {shlex.join(command)}')
    status, error = _run(command, part, step, limit, record)
  seconds = round(time.monotonic() - start, 2)
  line = {'part': part, 'step': step.name, 'status': status, 'seconds': seconds}
  record.add(**line, **({'error': error} if error else {}))
  record.log(f'-- {step.name}: {status} after {seconds:.0f} s' + (f'\n{error}' if error else ''))
  return status


def _is_installed(module: str) -> bool:
  try:
    return importlib.util.find_spec(module) is not None
  except ModuleNotFoundError:  # the package that it would be in
    return False


def _run(command: list[str], part: str, step: Step, limit: float, record: Record) -> tuple[str, str | None]:
  """Runs a command for so many seconds at most: how it went, and why it failed."""
  with record.log_file.open('a', encoding='utf-8') as log, contextlib.ExitStack() as stack:
    before = log.tell()
    process = subprocess.Popen(
      command,
      env=os.environ | step.environment,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=log,
      text=True,
      errors='replace',
      start_new_session=True,
    )
    stack.callback(end, process)  # with its children, whatever happens here
    assert process.stdout is not None
    reader = threading.Thread(target=_take, args=(process.stdout, part, step, record), daemon=True)
    reader.start()
    try:
      code = process.wait(limit)
    except subprocess.TimeoutExpired:
      end(process)
      reader.join(_GRACE)
      return STOPPED, f'it took more than {limit:.0f} s'
    end(process)  # children that it left hold its output open
    reader.join(_GRACE)
  return (DONE, None) if code == 0 else (FAILED, _last_words(record.log_file, before) or f'exit code {code}')


def _take(output: TextIO, part: str, step: Step, record: Record) -> None:
  """Records what a step prints: lines of JSON as results, others in the log."""
  for text in output:
    found = _object(text)
    if found is None:
      record.log(f'   {text.rstrip()}')
    else:
      record.add(part=part, step=step.name, **{**step.facts, **found})
      record.log(f'   {text.strip()[:200]}')


def end(process: subprocess.Popen) -> None:
  """Ends a process and all of its session: asks, waits, and kills what is left."""
  with contextlib.suppress(ProcessLookupError):
    if process.poll() is None:
      os.killpg(process.pid, signal.SIGTERM)
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    os.killpg(process.pid, signal.SIGKILL)
  process.wait()


def _last_words(log: Path, start: int) -> str:
  """The end of what a step wrote to the log as errors, without the lines that JAX adds to every one."""
  with log.open(encoding='utf-8', errors='replace') as file:
    file.seek(start)
    lines = [line.rstrip() for line in file if line.strip()]
  kept = [line for line in lines if not _NO_ERROR.match(line)]
  return '\n'.join(kept[-3:])[-600:]
