# SPDX-License-Identifier: Apache-2.0
"""Many devices on Ray: an actor for each, on this machine or on all machines of a cluster.

This process holds the queue, the claims, the log and the display, and never loads JAX. It hands a free actor one
protein, or several to be run together, and what probably comes next. While the actor predicts, it yields events, each a
kind and its content:

    'device', facts, most           ready, what it computes on, and proteins that it runs together, by padded length
    'log', record                   a line for the run's one log
    'progress', which, method, arguments
                                    a call of the progress.Progress of one of them, for the run's one display
    'ended', outcome, failures      how a protein ended: perhaps the one before, whose files are written meanwhile

An actor that dies is replaced, here or on another machine, and what it held is predicted again.
"""

import contextlib
import dataclasses
import logging
import platform
import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from logging.handlers import QueueHandler
from typing import Any

from alphafold_jax.choices import MAX_TOGETHER
from alphafold_jax.errors import AlphaFoldError, ResourceError
from alphafold_jax.runs.files import Failure, Outcome
from alphafold_jax.runs.fleet.claims import Claims
from alphafold_jax.runs.fleet.places import Place, connected, workers_of_cluster
from alphafold_jax.runs.fleet.predicting import CannotWrite
from alphafold_jax.runs.fleet.processes import MAX_STARTS, TRY_ONE, predict
from alphafold_jax.runs.fleet.progress import Progress
from alphafold_jax.runs.fleet.queue import Assignment, Queue, Workload
from alphafold_jax.runs.work import Job
from alphafold_jax.screen import number

_package_log = logging.getLogger('alphafold_jax')
_log = logging.getLogger(__name__)
_POLL = 2.0  # seconds after which to look at what other processes in the folder do
Event = tuple[Any, ...]


# ------------------------------------------------------------------------------------------ in an actor


class _Forward(QueueHandler):
  """Puts what is logged among the events; tracebacks stay apart from messages, since not every screen shows them."""

  def prepare(self, record: logging.LogRecord) -> Event:
    plain = logging.makeLogRecord(record.__dict__ | {'msg': record.getMessage(), 'args': None, 'exc_info': None})
    if record.exc_info:
      plain.exc_text = logging.Formatter().formatException(record.exc_info)
    return 'log', plain


class _RemoteProgress:
  """Puts each call of a method of Progress among the events."""

  def __init__(self, events: 'queue.SimpleQueue[Event | None]', which: int = 0):
    self._events, self._which, self._others = events, which, 0

  def beside(self) -> '_RemoteProgress':
    self._others = self._others % MAX_TOGETHER + 1
    return _RemoteProgress(self._events, self._others)

  def __getattr__(self, method: str) -> Callable[..., None]:
    return lambda *arguments: self._events.put(('progress', self._which, method, arguments))


class Predicting:
  """What an actor does."""

  def __init__(self, place: Place, setup: Any, level: int):
    """Occupies the place, or what Ray assigns; logs from a level on; `setup` is a predicting.Setup."""
    place.occupy()
    self._name, self._setup = place.name, setup
    self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    self._thread = ThreadPoolExecutor(1, 'predicting')
    _package_log.setLevel(level)
    _package_log.propagate = False
    _package_log.addHandler(_Forward(self._events))

  def during(self, task: str, *arguments: Any) -> Iterator[Event]:
    """Yields what happens while a thread starts, predicts or drains; raises what the task raised."""
    future = self._thread.submit(getattr(self, f'_{task}'), *arguments)
    future.add_done_callback(lambda _: self._events.put(None))
    while (event := self._events.get()) is not None:
      yield event
    future.result()

  def _start(self) -> None:
    device = self._setup.start_device(f'{self._name} on {platform.node()}: ')
    self._predictor = self._setup.predictor(_RemoteProgress(self._events), self._ended).__enter__()
    self._events.put(('device', device, self._predictor.most_together()))

  def _ended(self, outcome: Outcome, failures: list[Failure]) -> None:
    self._events.put(('ended', outcome, failures))

  def _predict(self, assignments: Sequence[Assignment], ahead: Sequence[Job]) -> None:
    predict(self._predictor, assignments, ahead)

  def _drain(self) -> None:
    self._predictor.drain()


# ------------------------------------------------------------------------------------------ in this process


@dataclasses.dataclass(eq=False)
class _Actor:
  """An actor, and what it was handed."""

  place: Place
  progress: Progress
  num_starts: int = 0  # since it was last ready
  is_ready: bool = False
  handle: Any = None
  stream: Any = None  # of the events of its task, until that is done
  held: dict[str, Assignment] = dataclasses.field(default_factory=dict)  # by name, until it has ended
  running: Sequence[str] = ()
  ahead: Sequence[str] = ()  # what it makes features of
  most_together: dict[int, int] = dataclasses.field(default_factory=dict)  # proteins, by padded length
  others: dict[int, Progress] = dataclasses.field(default_factory=dict)  # of proteins that are run together

  def call(self, task: str, *arguments: Any) -> None:
    self.stream = self.handle.during.options(num_returns='streaming').remote(task, *arguments)

  def give(self, assignments: Sequence[Assignment], ahead: Sequence[Job]) -> None:
    given = {assignment.job.name: assignment for assignment in assignments}
    self.running, self.ahead = tuple(given), [job.name for job in ahead]
    self.held |= given
    self.call('predict', assignments, ahead)

  def progress_of(self, which: int) -> Progress:
    return self.others.setdefault(which, self.progress.beside()) if which else self.progress


class _Actors:
  """The actors of a run."""

  def __init__(self, ray: Any, actor_class: Any, workload: Workload, proteins: Queue, members: list[_Actor]):
    """Starts none yet; `actor_class` is Predicting as Ray knows it."""
    self._ray, self._class, self._workload, self._queue, self._members = ray, actor_class, workload, proteins, members
    self._setup = ray.put(workload.setup)
    self._waiting = ThreadPoolExecutor(1, 'waiting')
    self._again: deque[Assignment] = deque()  # of actors that died

  def run(self) -> None:
    """Has everything in the queue predicted."""
    begun = list(self._members)
    try:
      for one in begun:
        self._start(one)
      while self._hand_out():
        self._receive()
    finally:
      for one in begun:
        self._kill(one)

  def _start(self, one: _Actor) -> None:
    """Makes an actor, for the first time or in the place of a dead one."""
    one.handle = self._class.remote(one.place, self._setup, _package_log.getEffectiveLevel())
    one.num_starts += 1
    one.is_ready, one.held, one.running, one.ahead = False, {}, (), ()
    one.call('start')

  def _kill(self, one: _Actor) -> None:
    with contextlib.suppress(Exception):  # it may be dead or not made, or the cluster gone
      self._ray.kill(one.handle)

  def _hand_out(self) -> bool:
    """Gives all free actors something to do; False once there is nothing left to do or to wait for."""
    for one in [one for one in self._members if one.is_ready and one.stream is None]:
      avoid = {name for other in self._members if other is not one for name in other.ahead}  # others have its features
      if self._again and not one.held:
        one.give([self._again.popleft()], [])
      elif not self._again and (assignment := self._queue.take(avoid) or (self._queue.take() if avoid else None)):
        most = one.most_together.get(self._workload.setup.lengths.of(assignment.job.num_res), 1)
        assignments = [assignment, *self._queue.take_alike(assignment, most - 1)]
        one.give(assignments, self._queue.coming(len(assignments), avoid))
      elif one.held:
        one.call('drain')
    return bool(self._again or not self._queue.is_empty or any(one.held for one in self._members))

  def _receive(self) -> None:
    """Waits for events and deals with them."""
    by_stream = {one.stream: one for one in self._members if one.stream is not None}
    # In a thread, since Ray makes a KeyboardInterrupt of what the handler of a signal raises while it waits.
    for stream in self._waiting.submit(self._ray.wait, list(by_stream), timeout=_POLL).result()[0]:
      one = by_stream[stream]
      try:
        self._hear(one, self._ray.get(next(stream)))
      except StopIteration:
        one.stream, one.running = None, ()
      except self._ray.exceptions.RayTaskError as error:
        self._raised(one, error.cause)
      except self._ray.exceptions.RayError as error:
        self._died(one, str(error))

  def _hear(self, one: _Actor, event: Event) -> None:
    """Deals with an event."""
    match event:
      case 'device', facts, most_together:
        one.is_ready, one.num_starts, one.most_together = True, 0, most_together
        self._workload.on_device(facts)
      case 'log', record:
        _package_log.handle(record)
      case 'progress', which, method, arguments:
        getattr(one.progress_of(which), method)(*arguments)
      case 'ended', outcome, failures:
        one.held.pop(outcome.job, None)
        self._queue.ended(outcome, failures)

  def _raised(self, one: _Actor, error: Exception) -> None:
    """Deals with an error that is not one of a single protein."""
    if isinstance(error, CannotWrite):
      _log.warning('%s cannot write: %s. It is given no further protein', one.place.name, error.message)
      self._again.extend(one.held.values())
      self._retire(one, error)
    elif one.is_ready or isinstance(error, AlphaFoldError):
      raise error
    else:
      self._died(one, f'{type(error).__name__}: {error}')

  def _died(self, one: _Actor, why: str) -> None:
    """Replaces an actor; what it held is predicted again, or given up."""
    blamed = [name for name in one.held if name in one.running] or list(one.held)
    _log.warning('%s died%s', one.place.name, f'; it was at {", ".join(blamed)}' if blamed else '')
    _log.debug('%s: %s', one.place.name, why)
    for name, assignment in one.held.items():
      again = self._queue.died(assignment) if name in blamed else assignment
      self._again.extend([again] if again else [])
    if one.num_starts < MAX_STARTS:
      self._kill(one)
      self._start(one)
    else:
      last = (why.strip().splitlines() or ['no reason is known'])[-1]
      self._retire(one, ResourceError(f'no worker could be started: {last.rstrip(".")}. {TRY_ONE}'))

  def _retire(self, one: _Actor, error: Exception) -> None:
    """Goes on without an actor; raises the error if it was the last."""
    self._kill(one)
    self._members.remove(one)
    if not self._members:
      raise error


def run_actors(workload: Workload, claims: Claims, progress: Progress, places: Sequence[Place]) -> None:
  """Predicts everything in actors, at these places unless a cluster decides.

  Raises:
    CannotWrite, AlphaFoldError: no further protein can be run.
  """
  options = workload.setup.options
  resources: dict[str, Any] = {'num_cpus': 1}
  with connected(options.ray, len(places)) as (ray, is_own):
    if not is_own:
      count, resources = workers_of_cluster(ray.nodes(), options.workers, options.settings.num_devices)
      count = min(count, max(1, len(workload.own) + len(workload.others)))
      places = [Place(f'worker {i + 1}') for i in range(count)]
      _log.info('Ray cluster: %s, each with %s', number(count, 'worker'), resources)
    progress.clock.num_workers = len(places)
    members = [_Actor(place, progress.beside()) for place in places]
    _Actors(ray, ray.remote(**resources)(Predicting), workload, Queue(workload, claims, progress.clock), members).run()
