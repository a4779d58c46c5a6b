# SPDX-License-Identifier: Apache-2.0
"""How far a run has come and how long it will take: a live display on a terminal, plain lines elsewhere.

Everything said during a run goes through the logger `alphafold_jax`, to log.txt in full. A terminal shows the live
display instead of the lines that report single passes; where there is no terminal every line is printed with its time.
"""

import contextlib
import dataclasses
import datetime
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphafold_jax.errors import InputError

_package_log = logging.getLogger('alphafold_jax')
_log = logging.getLogger(__name__)
_LIVE = {'live': True}  # marks lines that the live display replaces
TOLD = {'told': True}  # marks lines for log.txt only: the person is told in another way
_MEMORY = 0.7  # how much of the rate estimate is kept when a new pass is timed


class Clock:
  """Estimates the time that is left from the passes so far.

  A pass costs about the square of the padded length, at long lengths its cube; the first of a length also compiles.
  """

  def __init__(self, passes: Counter):
    """Takes the number of passes to come for each padded length."""
    self._left = Counter(passes)
    self.total = sum(cost(size) * count for size, count in passes.items())
    self._seen: set[int] = set()
    self._first: list[tuple[float, float]] = []  # cost and seconds of first passes
    self._rate: float | None = None  # seconds per cost

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
    return self._rate * self._cost_left + compiling * to_compile


def cost(num_res: int) -> float:
  """What a pass of a padded length takes, in units of one at 256 residues or so."""
  return (num_res / 256) ** 2 * (1 + num_res / 1000)


def number(count: int, what: str) -> str:
  """(1, 'row') -> '1 row', (2, 'row') -> '2 rows'."""
  return f'{count} {what}{"s" * (count != 1)}'


def duration(seconds: float | None) -> str:
  """3725 -> '1:02:05'."""
  return '-' if seconds is None else str(datetime.timedelta(seconds=round(seconds)))


@dataclasses.dataclass
class Screen:
  """What the person at the program sees.

  `live` shows bars (a terminal), else lines are printed as they come; `quiet` leaves only warnings and errors.
  """

  live: bool = False
  quiet: bool = False
  debug: bool = False

  @classmethod
  def of_stdout(cls, *, quiet: bool = False, debug: bool = False) -> 'Screen':
    """The screen that suits where standard output goes."""
    import os

    terminal = sys.stdout.isatty() and os.environ.get('TERM', '') not in ('', 'dumb')
    return cls(live=terminal and not quiet, quiet=quiet, debug=debug)


class Progress:
  """Reports a run's steps to the log and to the live display."""

  def __init__(self, clock: Clock, num_jobs: int, display: '_Display | None'):
    self.clock, self.num_jobs = clock, num_jobs
    self._display = display
    self._what = ''

  def job(self, index: int, name: str, text: str) -> None:
    """A protein begins."""
    self._what = f'[{index}/{self.num_jobs}] {name}'
    _log.info('%s: %s', self._what, text)
    self._show('')

  def step(self, text: str) -> None:
    """Something begins that takes its time."""
    _log.info('%s %s', self._what, text, extra=_LIVE)
    self._show(text)

  def passed(self, step: str, size: int, one: Any, num_passes: int, is_first: bool) -> None:
    """A recycling pass has ended; `one` is its prediction.Pass."""
    self.clock.passed(size, one.seconds, is_first)
    ptm = '' if one.ptm is None else f', pTM {one.ptm:.2f}'
    moved = f', moved {one.change:.1f} Å' if one.index else ''
    text = f'{step}, pass {one.index + 1} of {num_passes}: pLDDT {one.mean_plddt:.1f}{ptm}{moved}'
    left = self.clock.left()
    left = '' if left is None else f', {duration(left)} left in all'
    _log.info('%s %s, %.1f s%s', self._what, text, one.seconds, left, extra=_LIVE)
    self._show(text)

  def skipped(self, size: int, count: int) -> None:
    """Passes turned out not to be needed."""
    self.clock.skip(size, count)
    self._show(None)

  def _show(self, text: str | None) -> None:
    if self._display is not None:
      self._display.update(self.clock.fraction, self.clock.left(), self._what, text)


class _Display:
  """One bar for the whole run and a line for what happens now."""

  def __init__(self, console):
    from rich import live, progress, spinner, table

    self._bar = progress.Progress(
        progress.TextColumn('{task.description}'), progress.BarColumn(), progress.TaskProgressColumn(),
        progress.TextColumn('[dim]elapsed'), progress.TimeElapsedColumn(),
        progress.TextColumn('[dim]left'), progress.TextColumn('{task.fields[left]}'), console=console)
    self._task = self._bar.add_task('all', total=1.0, left='-')
    self._spinner, self._table = spinner.Spinner('dots'), table.Table
    self._line = ''
    self.live = live.Live(get_renderable=self._render, console=console, refresh_per_second=8, transient=True)

  def _render(self):
    from rich.text import Text

    grid = self._table.grid(padding=(0, 1))
    grid.add_row(self._spinner, Text(self._line, overflow='ellipsis', no_wrap=True))
    outer = self._table.grid()
    outer.add_row(grid)
    outer.add_row(self._bar.get_renderable())
    return outer

  def update(self, fraction: float, left: float | None, what: str, text: str | None) -> None:
    if text is not None:
      self._line = f'{what}  {text}'
    self._bar.update(self._task, completed=fraction, left=duration(left))


# ------------------------------------------------------------------------------------------ where lines go


class _Tolerant:
  """A log that cannot be written must not end the run, nor fill the screen with tracebacks."""

  def handleError(self, record):  # noqa: N802 (the name is that of logging.Handler)
    pass


class _File(_Tolerant, logging.FileHandler):
  pass


class _Lines(_Tolerant, logging.StreamHandler):
  pass


class _AboveTheBar(_Tolerant, logging.Handler):
  """Prints lines above the live display, except those that the display shows itself."""

  _STYLES = {logging.WARNING: 'yellow', logging.ERROR: 'red'}

  def __init__(self, console):
    super().__init__()
    self._console = console

  def emit(self, record):
    if getattr(record, 'live', False) and record.levelno < logging.WARNING:
      return
    try:
      self._console.print(self.format(record), style=self._STYLES.get(record.levelno), markup=False, highlight=False,
                          soft_wrap=True)
    except Exception:
      self.handleError(record)


class _Plain(logging.Formatter):
  """Lines for people: warnings marked, no tracebacks unless asked for."""

  def __init__(self, form: str, tracebacks: bool):
    super().__init__(form, '%Y-%m-%d %H:%M:%S')
    self._tracebacks = tracebacks

  def format(self, record):
    record = logging.makeLogRecord(record.__dict__)
    if record.levelno >= logging.WARNING:
      record.msg = f'{record.levelname}: {record.msg}'
    if not self._tracebacks:
      record.exc_info = record.exc_text = None
    return super().format(record)


_TIMED = '%(asctime)s %(message)s'


@contextlib.contextmanager
def reporting(log_file: Path, screen: Screen | None) -> Iterator[Any]:
  """Sends what is logged inside the block to a file and to the screen; yields rich's console of a live screen, or None.

  Raises:
    InputError: the file cannot be written.
  """
  try:
    handlers: list[logging.Handler] = [_File(log_file, encoding='utf-8')]
  except OSError as error:
    raise InputError(f'{log_file}: cannot be written ({error.strerror}); choose a place you may write to') from error
  debug = screen is not None and screen.debug
  handlers[0].setFormatter(_Plain(_TIMED, tracebacks=True))
  handlers[0].setLevel(logging.DEBUG if debug else logging.INFO)
  console = None
  if screen is not None:
    if screen.live:
      from rich.console import Console

      console = Console(file=sys.stdout)
      handlers.append(_AboveTheBar(console))
    else:
      handlers.append(_Lines(sys.stdout))
    handlers[1].addFilter(lambda record: not getattr(record, 'told', False))
    handlers[1].setFormatter(_Plain('%(message)s' if screen.live else _TIMED, tracebacks=debug))
    handlers[1].setLevel(logging.WARNING if screen.quiet else logging.DEBUG if debug else logging.INFO)
  before = _package_log.level, _package_log.propagate
  _package_log.setLevel(logging.DEBUG if debug else logging.INFO)
  _package_log.propagate = screen is None
  for handler in handlers:
    _package_log.addHandler(handler)
  try:
    yield console
  finally:
    for handler in handlers:
      _package_log.removeHandler(handler)
      with contextlib.suppress(OSError):  # the disk may be full
        handler.close()
    _package_log.setLevel(before[0])
    _package_log.propagate = before[1]


@contextlib.contextmanager
def displayed(clock: Clock, num_jobs: int, console: Any) -> Iterator[Progress]:
  """The progress of a run, on the live display if there is a console for it."""
  if console is None:
    yield Progress(clock, num_jobs, None)
    return
  display = _Display(console)
  with display.live:
    yield Progress(clock, num_jobs, display)
