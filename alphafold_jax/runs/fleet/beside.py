# SPDX-License-Identifier: Apache-2.0
"""Threads of the host beside the device: features of the protein that comes next, files of those before."""

import itertools
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from alphafold_jax.runs.work import Job

_LANES = 3  # proteins whose files are written at a time
# Seconds after which a thread lets another one run. With Python's own 5 ms the thread that feeds the device waits for
# those that write files longer than it works.
_TURN, _USUAL = 0.0005, sys.getswitchinterval()
_SMALL = 512  # residues: of longer proteins the files of one are written at a time, and its arrays are in memory


class Ahead:
  """Makes the features of proteins in advance."""

  def __init__(self, load: Callable[[Job], Any]):
    self._load = load
    self._pool = ThreadPoolExecutor(1, 'features')
    self._begun: dict[str, Future] = {}

  def begin(self, jobs: Sequence[Job]) -> None:
    """Begins with jobs that probably come next, and forgets those that have not come."""
    before, self._begun = self._begun, {}
    for job in jobs:
      self._begun[job.name] = before.pop(job.name) if job.name in before else self._pool.submit(self._load, job)
    for forgotten in before.values():
      forgotten.cancel()

  def get(self, job: Job) -> Any:
    """The features of a job that comes now, made before or now; raises what went wrong with them."""
    begun = self._begun.pop(job.name, None)
    return self._load(job) if begun is None else begun.result()

  def close(self) -> None:
    self._pool.shutdown(cancel_futures=True)


class Behind:
  """Does tasks in a thread of its own, in order; after one has raised, those that follow are left out."""

  def __init__(self, raised: list[BaseException] | None = None):
    """Has nothing to do yet; `raised` is shared with others, whose tasks end with what one of them raises too."""
    self._pool = ThreadPoolExecutor(1, 'writing')
    self._last: dict[str | None, Future] = {}  # of each kind
    self._raised = [] if raised is None else raised

  def put(self, task: Callable[[], Any], kind: str | None = None) -> None:
    """Hands in a task, after waiting for the one of its kind before it, so that the arrays of few are in memory.

    Raises:
      what an earlier task raised.
    """
    if kind in self._last and kind is not None:
      self._last[kind].result()
    self.check()
    self._last[kind] = self._pool.submit(self._do, task)

  def do(self, task: Callable[[], Any]) -> None:
    """Does a task after those before it, and waits for it; raises what it or they raised."""
    self.drain()
    task()

  def check(self) -> None:
    """Raises what a task raised."""
    if self._raised:
      raise self._raised[0]

  def drain(self) -> None:
    """Waits for all tasks; raises what one raised."""
    for last in self._last.values():
      last.result()
    self.check()

  def close(self) -> None:
    """Waits for all tasks."""
    self._pool.shutdown()

  def _do(self, task: Callable[[], Any]) -> None:
    if not self._raised:
      try:
        task()
      except BaseException as error:  # the thread that hands in tasks raises it
        self._raised.append(error)


class Lanes:
  """Several `Behind`, each for the files of one protein after another: they mostly wait for the disk and for pictures.

  After a task has raised, those that follow are left out in all of them, and all methods but `close` raise it too.
  """

  def __init__(self, count: int = _LANES):
    sys.setswitchinterval(_TURN)
    raised: list[BaseException] = []
    self._all = [Behind(raised) for _ in range(count)]
    self._turns = itertools.cycle(self._all)

  def next(self, num_res: int) -> Behind:
    """The one for a protein of this length."""
    one = next(self._turns) if num_res <= _SMALL else self._all[0]
    one.check()
    return one

  def drain(self) -> None:
    """Waits for all tasks."""
    for one in self._all:
      one.drain()

  def close(self) -> None:
    """Waits for all tasks."""
    try:
      for one in self._all:
        one.close()
    finally:
      sys.setswitchinterval(_USUAL)
