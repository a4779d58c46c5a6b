# SPDX-License-Identifier: Apache-2.0
"""Several processes on one machine, each on devices of its own: handed proteins one at a time, replaced when they die.

The proteins of a worker that died are run again, alone; one that a second worker dies of has failed. This process never
loads JAX: it holds the queue, the log and the display.
"""

import contextlib
import logging
import multiprocessing
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from alphafold_jax.errors import ResourceError
from alphafold_jax.runs.files.report import FAILED, Failure, Outcome
from alphafold_jax.runs.fleet import worker
from alphafold_jax.runs.fleet.progress import Progress
from alphafold_jax.runs.fleet.queue import Assignment, Queue
from alphafold_jax.runs.fleet.worker import Place

_package_log = logging.getLogger('alphafold_jax')
_log = logging.getLogger(__name__)
_POLL = 2.0  # seconds between looks at what others do
_GRACE = 10.0  # seconds that a worker has to end
_MAX_STARTS = 2  # in a row that come to nothing
_MAX_DEATHS = 2  # of workers, by one protein
_REMEDIES = {
  signal.SIGKILL: "The machine's memory ran out, or somebody ended it; try fewer --workers or a shallower alignment "
  '(--max-msa 128:256)',
  **dict.fromkeys(
    (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE),
    'A fault in a driver or library; see what was printed, and try another version of JAX or of the '
    'driver, or --no-compilation-cache',
  ),
}


class _Worker:
  """A process, and what it was handed."""

  def __init__(self, place: Place, progress: Progress):
    self.place, self.progress = place, progress
    self.process: Any = None
    self.connection: Connection | None = None
    self.num_starts = 0  # since it was last ready
    self.clear()

  def clear(self) -> None:
    self.is_ready = False
    self.is_alone = False  # nothing else is run beside what it holds
    self.held: dict[str, Assignment] = {}  # until it has ended
    self.running: str | None = None  # what its device is at
    self.ahead: str | None = None  # what it makes features of

  def start(self, setup: Any) -> None:
    self.clear()
    self.num_starts += 1
    context = multiprocessing.get_context('spawn')
    self.connection, its = context.Pipe()
    self.process = context.Process(
      target=worker.main,
      args=(its, setup, self.place, _package_log.getEffectiveLevel()),
      name=self.place.name,
      daemon=True,
    )
    self.process.start()
    its.close()  # so that its end is closed when the process ends

  @property
  def can_take(self) -> bool:
    return self.is_ready and self.running is None and not (self.is_alone and self.held)

  def give(self, assignment: Assignment, ahead: Any) -> bool:
    """Hands over a protein; False if the process has died."""
    try:
      self.connection.send((assignment, ahead))
    except OSError:
      return False
    self.running, self.ahead = assignment.job.name, ahead and ahead.name
    self.held[self.running] = assignment
    return True


class Workers:
  """The workers of a run."""

  def __init__(
    self,
    places: Sequence[Place],
    setup: Any,
    queue: Queue,
    progress: Progress,
    on_ready: Callable[[dict[str, Any]], None],
  ):
    """Gets ready to start them.

    Args:
      places: of the workers.
      setup: a starting.Setup, or what stands for it.
      queue: of proteins.
      progress: of the run.
      on_ready: is told once what a worker computes on.
    """
    self._setup, self._queue, self._on_ready = setup, queue, on_ready
    self._workers = [_Worker(place, progress.beside()) for place in places]
    self._again: deque[Assignment] = deque()  # of workers that died
    self._num_deaths: Counter[str] = Counter()  # by protein

  def run(self) -> None:
    """Has everything in the queue predicted.

    Raises:
      CannotWrite, AlphaFoldError: no further protein can be run.
    """
    try:
      for one in self._workers:
        one.start(self._setup)
      while self._hand_out():
        waits_for_others = not self._queue.is_empty and any(one.can_take for one in self._workers)
        self._receive(_POLL if waits_for_others else None)
      self._finish()
    finally:
      self._end()

  def _hand_out(self) -> bool:
    """Gives proteins to all workers that can take one; False once there is nothing left to do or to wait for."""
    for one in self._workers:
      if not one.can_take:
        continue
      if self._again and not one.held:
        assignment, ahead, one.is_alone = self._again.popleft(), None, True
      elif (assignment := self._next(one)) is not None:
        ahead, one.is_alone = self._queue.peek(self._expected_by_others(one)), False
      else:
        continue
      if not one.give(assignment, ahead):
        self._again.append(assignment)
    return bool(self._again or not self._queue.is_empty or any(one.held for one in self._workers))

  def _next(self, one: _Worker) -> Assignment | None:
    """From the queue, what other workers do not expect to get; at the end that as well."""
    expected = self._expected_by_others(one)
    return self._queue.take(expected) or (self._queue.take() if expected else None)

  def _expected_by_others(self, one: _Worker) -> set[str]:
    return {other.ahead for other in self._workers if other is not one and other.ahead is not None}

  # ---------------------------------------------------------------------------------------- messages

  def _receive(self, timeout: float | None) -> None:
    """Waits for messages and deals with them."""
    by_connection = {one.connection: one for one in self._workers}
    for connection in wait(list(by_connection), timeout):
      one = by_connection[connection]
      try:
        kind, *content = connection.recv()
      except (EOFError, OSError):
        self._died(one)
      else:
        self._DEALS[kind](self, one, *content)

  def _is_ready(self, one: _Worker, device: dict[str, Any]) -> None:
    one.is_ready, one.num_starts = True, 0
    on_ready, self._on_ready = self._on_ready, lambda _: None
    on_ready(device)

  def _is_free(self, one: _Worker) -> None:
    one.running = None

  def _ended(self, one: _Worker, outcome: Outcome, failures: Sequence[Failure]) -> None:
    one.held.pop(outcome.job, None)
    self._queue.ended(outcome, failures)

  def _logged(self, one: _Worker, record: logging.LogRecord) -> None:
    _package_log.handle(record)

  def _progressed(self, one: _Worker, step: str, arguments: Sequence[Any]) -> None:
    getattr(one.progress, step)(*arguments)

  def _failed(self, one: _Worker, error: Exception) -> None:
    raise error

  _DEALS = {
    'ready': _is_ready,
    'free': _is_free,
    'ended': _ended,
    'log': _logged,
    'progress': _progressed,
    'failed': _failed,
  }

  # ---------------------------------------------------------------------------------------- deaths

  def _died(self, one: _Worker) -> None:
    """Starts another in the place of a dead worker; what it held is run again, alone, or has failed."""
    one.connection.close()
    one.process.join()
    how = _how(one.process.exitcode)
    blamed = [one.running] if one.running in one.held else list(one.held)
    _log.warning('%s ended %s%s', one.place.name, how, f'; it was at {", ".join(blamed)}' if blamed else '')
    self._num_deaths.update(blamed)
    for name, assignment in one.held.items():
      if self._num_deaths[name] < _MAX_DEATHS:
        self._again.append(assignment)
      else:
        self._give_up(assignment, how, one.process.exitcode)
    if one.num_starts < _MAX_STARTS:
      one.start(self._setup)
      return
    self._workers.remove(one)
    _log.error('%s ended %d times as it started; it is not started again', one.place.name, _MAX_STARTS)
    if not self._workers:
      raise ResourceError(
        f'no worker could be started: they ended {how}. --workers 1 runs in this process and may '
        f'show why. {_remedy(one.process.exitcode)}'
      )

  def _give_up(self, assignment: Assignment, how: str, exit_code: int) -> None:
    query = assignment.job.query
    message = f'{_MAX_DEATHS} workers ended on it, the last {how}. {_remedy(exit_code)}'
    _log.error('%s: %s', assignment.job.name, message)
    failure = Failure(assignment.job.name, query.name, query.source, 'predict', 'WorkerDied', message)
    self._queue.ended(Outcome(assignment.job.name, FAILED), [failure])

  # ---------------------------------------------------------------------------------------- the end

  def _finish(self) -> None:
    """Lets all workers end by themselves; what they say last is heard."""
    left = {one.connection: one for one in self._workers if one.is_ready}
    for connection in left:
      with contextlib.suppress(OSError):
        connection.send(None)
    until = time.monotonic() + _GRACE
    while left and time.monotonic() < until:
      for connection in wait(list(left), until - time.monotonic()):
        try:
          kind, *content = connection.recv()
          self._DEALS[kind](self, left[connection], *content)
        except (EOFError, OSError):
          del left[connection]

  def _end(self) -> None:
    """Ends what still runs; files that are about to be written are."""
    begun = [one for one in self._workers if one.process is not None and one.process.pid is not None]
    for one in begun:
      one.connection.close()  # whoever is sending must not wait
      (one.process.terminate if one.is_ready else one.process.kill)()
    until = time.monotonic() + _GRACE
    for one in begun:
      one.process.join(max(0.0, until - time.monotonic()))
      one.process.kill()
      one.process.join()


def _how(exit_code: int) -> str:
  """'by SIGKILL', or 'with exit code 3'."""
  if exit_code >= 0:
    return f'with exit code {exit_code}'
  return f'by {signal.Signals(-exit_code).name}' if -exit_code in set(signal.Signals) else f'by signal {-exit_code}'


def _remedy(exit_code: int) -> str:
  return _REMEDIES.get(-exit_code, 'See what was printed; the same command tries it again')
