# SPDX-License-Identifier: Apache-2.0
"""This process, or child processes of it on one machine, each on devices of its own.

Children share nothing but the output folder: each begins with its part of the proteins, as a shard does, and then does
what its siblings have not begun or have died at. Their claims say afterwards how the proteins ended. The process
that leads them never loads JAX.
"""

import dataclasses
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

from alphafold_jax.errors import AlphaFoldError, ResourceError
from alphafold_jax.runs.files import HIDDEN
from alphafold_jax.runs.fleet.claims import Claims
from alphafold_jax.runs.fleet.places import Place
from alphafold_jax.runs.fleet.predicting import CannotWrite, Predictor
from alphafold_jax.runs.fleet.progress import Progress
from alphafold_jax.runs.fleet.queue import Assignment, Queue, Workload, of_shard
from alphafold_jax.runs.work import Job
from alphafold_jax.screen import LOG, Screen, name_of_shard, reporting

_log = logging.getLogger(__name__)
_POLL = 2.0  # seconds between looks at what others do
_GRACE = 10.0  # seconds that a child has to end
MAX_STARTS = 2  # of a process that predicts, in a row, that come to nothing
TRY_ONE = '--workers 1 runs in this process and may show why; where memory is short, try fewer --workers'


# ------------------------------------------------------------------------------------------ this process


def run_here(workload: Workload, claims: Claims, progress: Progress) -> None:
  """Predicts everything in this process; CannotWrite, AlphaFoldError: no further protein can be run."""
  proteins = Queue(workload, claims, progress.clock)
  if (assignment := _next(proteins)) is not None:
    workload.on_device(workload.setup.start_device())
    _predict_all(workload, proteins, assignment, progress)


def _predict_all(workload: Workload, proteins: Queue, assignment: Assignment | None, progress: Progress) -> None:
  with workload.setup.predictor(progress, proteins.ended) as predictor:
    while assignment is not None:
      several = 1 if assignment.deaths else predictor.together(assignment.job, proteins.alike(assignment.job) + 1)
      assignments = [assignment, *proteins.take_alike(assignment, several - 1)]
      predict(predictor, assignments, proteins.coming(several))
      if (assignment := proteins.take()) is None:
        predictor.drain()
        assignment = _next(proteins)


def predict(predictor: Predictor, assignments: Sequence[Assignment], ahead: Sequence[Job]) -> None:
  """Predicts proteins together, beside the features of those ahead; those that processes died at each by itself."""
  for assignment in assignments:
    if assignment.deaths:
      predictor.drain()
      predictor.run([assignment])
      predictor.drain()
  if others := [assignment for assignment in assignments if not assignment.deaths]:
    predictor.run(others, ahead)


def _next(proteins: Queue) -> Assignment | None:
  """The next protein, after waiting for what others are at; None once all are done."""
  while (assignment := proteins.take()) is None and not proteins.is_empty:
    time.sleep(_POLL)
  return assignment


# ------------------------------------------------------------------------------------------ child processes


def _be_child(workload: Workload, place: Place, started: float, screen: Screen | None, error_file: Path) -> None:
  """Does a part of the workload, then what its siblings leave.

  Args:
    workload: what there is, its own part first.
    place: what to compute on.
    started: when the run began, in seconds of the file system's clock.
    screen: for its lines, which are also added to the run's log.
    error_file: gets the error, as a pickle, after which it cannot run a further protein.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all; the parent decides
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # gives proteins back on its way
  end_with_parent()
  place.occupy()
  out, options = workload.setup.out, workload.setup.options
  with reporting(out / name_of_shard(LOG, options.shard), screen):
    try:
      device = workload.setup.start_device(f'{place.name}: ')  # before a claim: no protein is to blame if it dies
      workload.on_device(device)
      with Claims(out / HIDDEN, blames=False, started=started) as claims:
        progress = Progress(workload.clock(), None)
        proteins = Queue(workload, claims, progress.clock)
        _predict_all(workload, proteins, _next(proteins), progress)
    except (AlphaFoldError, CannotWrite) as error:
      error_file.write_bytes(pickle.dumps(error))
    except Exception as error:
      _log.error('%s: %s: %s', place.name, type(error).__name__, error, exc_info=error)
      sys.exit(1)


def end_with_parent() -> None:
  """Has this process, a child of `multiprocessing`, end once its parent has died: by SIGTERM, or soon without."""
  threading.Thread(target=_outlive_briefly, daemon=True).start()


def _outlive_briefly() -> None:
  parent = multiprocessing.parent_process()
  assert parent is not None
  parent.join()
  os.kill(os.getpid(), signal.SIGTERM)
  time.sleep(_GRACE)
  os._exit(1)


class _Children:
  """The children of this process."""

  def __init__(self, workload: Workload, places: Sequence[Place], claims: Claims, screen: Screen | None, folder: Path):
    """Divides the work and starts nothing yet; `folder` is for the children's errors, the rest is of `run_children`."""
    self._workload, self._claims, self._proteins = workload, claims, Queue(workload, claims, workload.clock())
    self._screen, self._folder = screen, folder
    self._parts = dict(zip(places, _parts(workload, len(places))))
    self._in_vain: Counter[str] = Counter()  # starts in a row that came to nothing, by name
    self._living: dict[Any, Place] = {}  # by process
    self._pids: set[int] = set()

  def run(self) -> None:
    """Starts all, and others in the place of those that die, until there is nothing left to do."""
    try:
      for place in self._parts:
        self._start(place)
      while self._living:
        ended = connection.wait([child.sentinel for child in self._living])
        for child in [child for child in self._living if child.sentinel in ended]:
          self._see_to(child, self._living.pop(child))
    finally:
      self._end()
      self._proteins.settle(self._pids)
    _next(self._proteins)  # what else is left is in other hands

  def _start(self, place: Place) -> None:
    known, part = self._workload.ledger.outcomes, self._parts[place]
    left = dataclasses.replace(part, own=[job for job in part.own if job.name not in known])
    arguments = left, place, self._claims.started, self._screen, self._folder / place.name
    spawned = multiprocessing.get_context('spawn').Process
    child = spawned(target=_be_child, args=arguments, name=place.name, daemon=True)
    child.start()
    self._living[child] = place
    self._pids.add(child.pid or 0)

  def _see_to(self, child: Any, place: Place) -> None:
    """Deals with how a child ended; another takes the place of a dead one."""
    jobs = (*self._workload.own, *self._workload.others)
    held = [job.name for job in jobs if self._claims.count_death(job.name, child.pid)]
    child.join()  # only now its siblings see that it is dead
    file = self._folder / place.name
    error = pickle.loads(file.read_bytes()) if file.exists() else None
    if child.exitcode == 0 and error is None:
      return
    if isinstance(error, AlphaFoldError):
      raise error
    how = f'since it cannot write: {error.message}' if error else _how(child.exitcode)
    _log.warning('%s ended %s%s', place.name, how, f'; it was at {", ".join(held)}' if held else '')
    self._in_vain[place.name] = 0 if held else self._in_vain[place.name] + 1
    if error is None and self._in_vain[place.name] < MAX_STARTS:
      self._proteins.settle(self._pids)
      self._start(place)
    elif not self._living:
      raise error or ResourceError(f'no worker could be started: they ended {how}. {TRY_ONE}')

  def _end(self) -> None:
    """Ends those that still run."""
    for child in self._living:
      child.terminate()
    until = time.monotonic() + _GRACE
    for child in self._living:
      child.join(max(0.0, until - time.monotonic()))
      child.kill()
      child.join()


def _parts(workload: Workload, count: int) -> list[Workload]:
  """The work as each child sees it: its part, then those of its siblings from their ends."""
  order = {job.name: index for index, job in enumerate(workload.own)}
  helps = not workload.setup.options.overwrite_existing_results  # otherwise nobody sees what is done
  found = []
  for number in range(1, count + 1):
    own, others = of_shard(workload.own, (number, count))
    own.sort(key=lambda job: order[job.name])
    found.append(dataclasses.replace(workload, own=own, others=[*others, *workload.others] if helps else []))
  return found


def run_children(workload: Workload, places: Sequence[Place], screen: Screen | None) -> None:
  """Predicts everything in child processes, one at each place; CannotWrite, AlphaFoldError: none can run any more."""
  with (
    Claims(workload.setup.out / HIDDEN, blames=False) as claims,
    tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
  ):
    _Children(workload, places, claims, screen and dataclasses.replace(screen, live=False), Path(folder)).run()


def _how(code: int) -> str:
  """'by SIGKILL', or 'with exit code 3'."""
  if code >= 0:
    return f'with exit code {code}'
  return f'by {signal.Signals(-code).name}' if -code in set(signal.Signals) else f'by signal {-code}'
