# SPDX-License-Identifier: Apache-2.0
"""How far a run over many proteins has come and how long it will take."""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

from alphafold_jax.runs.files import told
from alphafold_jax.screen import LIVE, Display, duration

_log = logging.getLogger(__name__)
_MEMORY = 0.7  # how much of the rate estimate is kept when a new pass is timed


class RunClock:
  """Estimates the time that is left from the passes so far.

  A pass costs about the square of the padded length, at long lengths its cube; the first of a length also compiles.
  """

  def __init__(self, passes: Counter[int], num_jobs: int = 0):
    """Starts with all passes to come, by padded length in residues, of so many proteins."""
    self.num_jobs = num_jobs
    self.num_workers = 1  # that work at the same time
    self._numbers: dict[str, int] = {}  # of proteins, from 1, as they began
    self._left = Counter(passes)
    self.total = sum(cost(size) * count for size, count in passes.items())
    self._seen: set[int] = set()
    self._first: list[tuple[float, float]] = []  # cost and seconds of first passes
    self._rate: float | None = None  # seconds per cost

  def number(self, name: str) -> int:
    """The number of a protein that begins, from 1; one that begins again keeps its own."""
    number = self._numbers.setdefault(name, len(self._numbers) + 1)
    self.num_jobs = max(self.num_jobs, number)
    return number

  def add(self, size: int, count: int) -> None:
    """Adds the passes of a protein that was not known to be this run's."""
    self.num_jobs += 1
    self._left[size] += count
    self.total += cost(size) * count

  def passed(self, size: int, seconds: float, is_first: bool) -> None:
    """Counts a pass that was run."""
    self.skip(size, 1)
    if is_first:
      self._seen.add(size)
      self._first.append((cost(size), seconds))
    else:
      rate = seconds / cost(size)
      self._rate = rate if self._rate is None else _MEMORY * self._rate + (1 - _MEMORY) * rate

  def skip(self, size: int, count: int) -> None:
    """Counts passes that will not be run."""
    self._left[size] = max(0, self._left[size] - count)

  @property
  def fraction(self) -> float:
    return 1 - self._cost_left / self.total if self.total else 1.0

  @property
  def _cost_left(self) -> float:
    return sum(cost(size) * count for size, count in self._left.items())

  def left(self) -> float | None:
    """Seconds to go; None while nothing but first passes, compilation included, is known."""
    if self._rate is None:
      return None
    compiling = 0.0
    if self._first:
      compiling = sum(max(0.0, seconds - self._rate * one) for one, seconds in self._first) / len(self._first)
    to_compile = sum(1 for size, count in self._left.items() if count and size not in self._seen)
    return (self._rate * self._cost_left + compiling * to_compile) / self.num_workers


def cost(num_res: int) -> float:
  """What a pass of a padded length takes, in units of one at 256 residues or so."""
  return (num_res / 256) ** 2 * (1 + num_res / 1000)


class Progress:
  """Reports a run's steps to the log and to the live display."""

  def __init__(self, clock: RunClock, display: Display | None):
    self.clock = clock
    self._display = display
    self._what = ''

  def beside(self) -> 'Progress':
    """The same run's progress, for what runs at the same time."""
    return Progress(self.clock, self._display)

  def job(self, name: str, text: str) -> None:
    """Reports that a protein begins."""
    self._what = f'[{self.clock.number(name)}/{self.clock.num_jobs}] {name}'
    _log.info('%s: %s', self._what, text)
    self._show('')

  def step(self, text: str) -> None:
    """Reports that something begins which takes seconds or longer."""
    _log.info('%s %s', self._what, text, extra=LIVE)
    self._show(text)

  def passed(self, step: str, size: int, one: Any, num_passes: int, is_first: bool) -> None:
    """Reports that a recycling pass has ended.

    Args:
      step: model and seed.
      size: padded residues.
      one: the output.record.Pass.
      num_passes: of this model.
      is_first: whether its time includes compiling.
    """
    self.clock.passed(size, one.seconds, is_first)
    moved = f', moved {one.change:.1f} Å' if one.index else ''
    text = f'{step}, pass {one.index + 1} of {num_passes}: {told(one.mean_plddt, one.ptm, one.iptm)}{moved}'
    seconds = self.clock.left()
    left = '' if seconds is None else f', {duration(seconds)} left in all'
    _log.info('%s %s, %.1f s%s', self._what, text, one.seconds, left, extra=LIVE)
    self._show(text)

  def skipped(self, size: int, count: int) -> None:
    """Takes passes off that turned out not to be needed."""
    self.clock.skip(size, count)
    self._show(None)

  def _show(self, text: str | None) -> None:
    if self._display is not None:
      line = None if text is None else f'{self._what}  {text}'
      self._display.update(self.clock.fraction, self.clock.left(), line)


@contextlib.contextmanager
def displayed(clock: RunClock, console: Any) -> Iterator[Progress]:
  """The progress of a run, on the live display if there is a console for it."""
  display = None if console is None else Display(console)
  with display.live if display else contextlib.nullcontext():
    yield Progress(clock, display)
