# SPDX-License-Identifier: Apache-2.0
"""Draws pictures beside this process, in others: drawing keeps the interpreter from feeding the device.

A process that draws gets one picture at a time through a pipe and ends when the pipe does, so it never outlives this
one, however that ends. It does not load JAX. Where it is not ready yet, has died or does not answer, the picture is
drawn here.
"""

import contextlib
import dataclasses
import functools
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from alphafold_jax import machine
from alphafold_jax.output import plots
from alphafold_jax.screen import LOG_ONLY

_log = logging.getLogger(__name__)
_FIRST = 6  # pictures that are drawn here: a run of one or two proteins starts no process
_MOST = 3  # processes: a protein has as many pictures
_LIMIT = 30.0  # seconds for a picture, which takes a hundredth of that: a process may have been stopped
_KEEPING = {  # memory of one picture for the next, by glibc and Pillow: a third of the time went into fetching it again
  'MALLOC_MMAP_THRESHOLD_': str(32 << 20),
  'MALLOC_TRIM_THRESHOLD_': str(128 << 20),
  'PILLOW_BLOCKS_MAX': '4',
}
_READY = 'ready'
_GONE = (OSError, EOFError, pickle.UnpicklingError)  # what a pipe to a dead process raises


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture that is still to be drawn."""

  draw: Callable[..., Image.Image]  # given `dpi`, or a sheet of `vectors`
  is_small: bool  # what it is made of is in memory, and can be sent to another process
  kind: str = 'png'  # of the file: png, or one of `vectors.KINDS`
  max_bytes: int = plots.MAX_BYTES  # of a PNG


def here(picture: Picture) -> Callable[[], bytes]:
  """What draws a picture and makes its file when it is called."""
  return functools.partial(_file, picture)


def _file(picture: Picture) -> bytes:
  if picture.kind == 'png':
    return plots.png(picture.draw, picture.max_bytes)
  from alphafold_jax.output import vectors  # and with it matplotlib, which takes longer to load than a PNG to draw

  return vectors.written(picture.draw, picture.kind)


class Painter:
  """Has pictures drawn, by processes that start once there are several."""

  def __init__(self, first: int = _FIRST, most: int = _MOST, limit: float = _LIMIT):
    """Starts nothing yet.

    Args:
      first: how many pictures are drawn here before processes are started.
      most: of these processes; no more than a quarter of the processors, but one.
      limit: seconds after which a process that has not drawn its picture is ended, and the picture drawn here.
    """
    self._limit = limit
    self._left, self._count = first, min(most, max(1, machine.num_processors() // 4))
    self._pool: ThreadPoolExecutor | None = None
    self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
    self._starting: set[_Process] = set()
    self._living: set[_Process] = set()  # that are ready
    self._lock = threading.Lock()
    self._is_closed = False

  def begin(self, picture: Picture) -> Callable[[], bytes]:
    """Begins with a picture; returns what waits for its file, and raises what went wrong in drawing it."""
    with self._lock:  # several threads write files
      self._left -= 1
      if self._left < 0 and self._pool is None:
        self._pool = ThreadPoolExecutor(self._count, 'painting')
        for _ in range(self._count):
          self._pool.submit(self._start)
    if self._pool is None or not self._living or not picture.is_small:
      return here(picture)
    return self._pool.submit(self._painted, picture).result

  def close(self) -> None:
    """Ends the processes."""
    with self._lock:
      self._is_closed = True
      for process in self._starting | self._living:
        process.end()
    if self._pool is not None:
      self._pool.shutdown(cancel_futures=True)

  def _start(self) -> None:
    with self._lock:
      if self._is_closed:
        return
      try:
        process = _Process()
      except OSError as error:
        _log.info('no process can be started to draw pictures (%s); they are drawn here', error, extra=LOG_ONLY)
        return
      self._starting.add(process)
    is_ready = process.answer() == _READY
    with self._lock:
      self._starting.discard(process)
      if is_ready and not self._is_closed:
        self._living.add(process)
        self._idle.put(process)
        return
      process.end()
      if not self._is_closed:
        _log.info('a process that should draw pictures ended as it started; they are drawn here', extra=LOG_ONLY)

  def _painted(self, picture: Picture) -> bytes:
    try:
      process = self._idle.get_nowait()
    except queue.Empty:  # those that were there have died
      return here(picture)()
    answer = process.ask(picture, self._limit)
    if answer is None:
      with self._lock:
        self._living.discard(process)
        process.end()
      became = f'did not answer within {self._limit:g} s and was ended' if process.is_late else 'has died'
      _log.info('a process that drew pictures %s; pictures are drawn here', became, extra=LOG_ONLY)
      return here(picture)()
    self._idle.put(process)
    if isinstance(answer, Exception):
      raise answer
    return answer


class _Process:
  """One that draws, see `serve`."""

  def __init__(self) -> None:
    paths = os.pathsep.join(map(os.path.abspath, sys.path))  # and by -P no other, such as the folder it is started in
    self._child = subprocess.Popen(
      [sys.executable, '-P', '-c', f'from {__name__} import serve; serve()'],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      env=_KEEPING | os.environ | {'PYTHONPATH': paths},
    )
    self.is_late = False  # it was ended since it did not answer

  def ask(self, question: Any, limit: float) -> Any:
    """Sends something and waits for the answer, so many seconds; None if the process has died or was ended then."""
    assert self._child.stdin is not None
    late = threading.Timer(limit, self._end_late)  # only its end frees a thread that writes to it or reads from it
    late.daemon = True
    try:
      late.start()
      self._child.stdin.write(pickle.dumps(question))
      self._child.stdin.flush()
      return self.answer()
    except _GONE:
      return None
    finally:
      late.cancel()

  def _end_late(self) -> None:
    self.is_late = True
    self._child.kill()

  def answer(self) -> Any:
    """What the process says; None if it has died."""
    assert self._child.stdout is not None
    try:
      return pickle.load(self._child.stdout)
    except _GONE:
      return None

  def end(self) -> None:
    """Kills the process, which has nothing to lose."""
    self._child.kill()
    self._child.wait()
    for pipe in (self._child.stdin, self._child.stdout):
      with contextlib.suppress(OSError):
        assert pipe is not None
        pipe.close()


def serve() -> None:
  """Is the process that draws: reads a picture, writes its file or the error, until there is no more."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all; the parent decides
  questions, answers = sys.stdin.buffer, sys.stdout.buffer
  sys.stdout = sys.stderr  # nothing else may get into the answers
  answer: Any = _READY
  while True:
    try:
      answers.write(pickle.dumps(answer))
      answers.flush()
      picture = pickle.load(questions)
    except _GONE:
      return
    try:
      answer = _file(picture)
    except Exception as error:
      answer = error
