# SPDX-License-Identifier: Apache-2.0
"""How far a long transfer has come: a live bar on a terminal, a log line now and then elsewhere."""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any, Protocol

from alphafold_jax.transfer.files import human_size

_log = logging.getLogger(__name__)
_LOG_EVERY = 30.0  # s


class Meter(Protocol):
  """Receives the position of a transfer in bytes."""

  def position(self, done: int, total: int | None) -> None:
    """`done` bytes of `total` (None: not known) are there."""


class _LogMeter:
  """Writes a line at each tenth of the way, or every 30 s where that is later."""

  def __init__(self, label: str):
    self._label = label
    self._start = self._last = time.monotonic()
    self._first: int | None = None  # bytes that were there at the beginning
    self._tenths = 0

  def position(self, done: int, total: int | None) -> None:
    now = time.monotonic()
    if self._first is None or done < self._first:
      self._first, self._start = done, now
    tenths = 10 * done // total if total else 0
    if tenths <= self._tenths and now - self._last < _LOG_EVERY:
      return
    self._tenths, self._last = tenths, now
    rate = (done - self._first) / max(now - self._start, 1e-3)
    left = f', {(total - done) / rate:.0f} s left' if total and rate else ''
    of = f' of {human_size(total)}' if total else ''
    _log.info('%s: %s%s (%s/s%s)', self._label, human_size(done), of, human_size(rate), left)


class _BarMeter:
  """Moves one bar of a rich progress display."""

  def __init__(self, progress: Any, label: str):
    self._progress = progress
    self._task = progress.add_task(label, total=None)

  def position(self, done: int, total: int | None) -> None:
    self._progress.update(self._task, completed=done, total=total)


@contextlib.contextmanager
def meter(label: str) -> Iterator[Meter]:
  """A meter for where standard error goes: a bar on a terminal, else lines in the log.

  Args:
    label: what is transferred.
  """
  from rich import console, progress  # 0.1 s, so only when something is transferred

  terminal = console.Console(stderr=True)
  if not terminal.is_terminal:
    yield _LogMeter(label)
    return
  columns = (
    progress.TextColumn('{task.description}'),
    progress.BarColumn(),
    progress.DownloadColumn(binary_units=True),
    progress.TransferSpeedColumn(),
    progress.TimeRemainingColumn(),
  )
  with progress.Progress(*columns, console=terminal) as display:
    yield _BarMeter(display, label)
