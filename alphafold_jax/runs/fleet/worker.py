# SPDX-License-Identifier: Apache-2.0
"""A worker process: it predicts the proteins that it is handed, and tells the parent everything that happens."""

import contextlib
import dataclasses
import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.runs.fleet.predicting import CannotWrite
from alphafold_jax.screen import TOLD

_package_log = logging.getLogger('alphafold_jax')
_log = logging.getLogger(__name__)
_POLL = 0.2  # seconds


@dataclasses.dataclass(frozen=True)
class Place:
  """What a worker computes on."""

  name: str  # 'worker 2 (GPU 1)'
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
  cores: frozenset[int] = frozenset()  # empty: all


class _Gone(Exception):
  """The parent does not listen any more."""


class _Channel:
  """The connection to the parent; any thread may send."""

  def __init__(self, connection: Connection):
    self._connection = connection
    self._lock = threading.Lock()

  def send(self, *message: Any) -> None:
    try:
      with self._lock:
        self._connection.send(message)
    except OSError:
      raise _Gone from None

  def receive(self, meanwhile: Callable[[], None]) -> Any:
    """The next message; calls a function now and then until it is there."""
    try:
      while not self._connection.poll(_POLL):
        meanwhile()
      return self._connection.recv()
    except (EOFError, ConnectionError):
      raise _Gone from None


class _Forward(logging.Handler):
  """Sends what is logged to the parent, whose log and screen it goes to."""

  def __init__(self, channel: _Channel):
    super().__init__()
    self._channel = channel

  def emit(self, record):
    record = logging.makeLogRecord(record.__dict__ | {'msg': record.getMessage(), 'args': None})
    if record.exc_info:
      record.exc_text = logging.Formatter().formatException(record.exc_info)
      record.exc_info = None
    with contextlib.suppress(_Gone):
      self._channel.send('log', record)


class _Forwarded:
  """Stands for runs.fleet.progress.Progress: the parent's is told."""

  def __init__(self, channel: _Channel):
    self._channel = channel

  def __getattr__(self, name: str):
    return lambda *arguments: self._channel.send('progress', name, arguments)

  def passed(self, step: str, size: int, one: Any, num_passes: int, is_first: bool) -> None:
    plain = SimpleNamespace(**vars(one))  # the parent would load JAX to read a prediction.Pass
    self._channel.send('progress', 'passed', (step, size, plain, num_passes, is_first))


def main(connection: Connection, setup: Any, place: Place, level: int) -> None:
  """What the process does until it is told to stop or the parent is gone.

  Args:
    connection: to the parent. Comes: (Assignment, the Job after it or None), or None: stop. Goes: a kind, then more:
      'ready' and what it computes on, 'free', 'ended' with outcome and failures, 'log', 'progress', 'failed' with an
      error that ends the run.
    setup: a starting.Setup.
    place: what to compute on.
    level: of the log.
  """
  os.environ.update(place.environment)  # before JAX is loaded
  if place.cores:
    os.sched_setaffinity(0, place.cores)
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all; the parent decides
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  threading.Thread(target=_end_with_parent, daemon=True).start()
  channel = _Channel(connection)
  _package_log.setLevel(level)
  _package_log.propagate = False
  _package_log.addHandler(_Forward(channel))
  with contextlib.suppress(_Gone):
    try:
      _work(channel, setup, place)
    except _Gone:
      raise
    except (AlphaFoldError, CannotWrite) as error:
      channel.send('failed', error)
    except Exception as error:
      _log.error('%s: %s: %s', place.name, type(error).__name__, error, exc_info=error, extra=TOLD)
      channel.send('failed', RuntimeError(f'{place.name}: {type(error).__name__}: {error}'))


def _work(channel: _Channel, setup: Any, place: Place) -> None:
  channel.send('ready', setup.start_device(f'{place.name}: '))
  with setup.predictor(_Forwarded(channel), functools.partial(channel.send, 'ended')) as predictor:
    while (message := channel.receive(predictor.check)) is not None:  # files may be found not to be writable
      predictor.run(*message)
      channel.send('free')
    predictor.drain()


def _end_with_parent() -> None:
  multiprocessing.parent_process().join()
  os._exit(1)
