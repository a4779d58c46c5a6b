# SPDX-License-Identifier: Apache-2.0
"""Where a command's lines go: a live display on a terminal, plain lines elsewhere, and all of them to a file.

All that a run reports goes through the logger `alphafold_jax`, and whole into log.txt. A terminal shows the live
display in place of the lines that it makes redundant; elsewhere every line is printed with its time.
"""

import contextlib
import dataclasses
import datetime
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphafold_jax import atomic
from alphafold_jax.errors import ResourceError

_package_log = logging.getLogger('alphafold_jax')
LOG = 'log.txt'
LIVE = {'live': True}  # `extra` of lines that the live display replaces
LOG_ONLY = {'log_only': True}  # `extra` of lines for log.txt only: the screen shows the same in another way
_FOREIGN = ('absl', 'asyncio', 'jax', 'orbax')  # loggers of libraries, whose lines go to the log file only


def name_of_shard(name: str, shard: tuple[int, int] | None) -> str:
  """('log.txt', (3, 16)) -> 'log.shard-3-of-16.txt'."""
  stem, _, ending = name.rpartition('.')
  return name if shard is None else f'{stem}.shard-{shard[0]}-of-{shard[1]}.{ending}'


def number(count: int, what: str) -> str:
  """(1, 'row') -> '1 row', (2, 'row') -> '2 rows'."""
  return f'{count} {what}{"s" * (count != 1)}'


def duration(seconds: float | None) -> str:
  """3725 -> '1:02:05'."""
  return '-' if seconds is None else str(datetime.timedelta(seconds=round(seconds)))


def open_streams() -> None:
  """Makes the standard streams take all that is written: any letter, and also where they were closed (`>&-`).

  Otherwise the first file that is opened would become the standard output of all libraries.
  """
  for number, name in enumerate(('stdin', 'stdout', 'stderr')):
    stream = getattr(sys, name)
    if isinstance(stream, io.TextIOWrapper):
      with contextlib.suppress(io.UnsupportedOperation):  # a program has read from its standard input before
        stream.reconfigure(errors='replace')  # an Å must not end a run where it cannot be shown
    elif stream is None:
      with contextlib.suppress(OSError):  # the lowest number that is free is the one that was closed
        setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), 'r' if number == 0 else 'w', encoding='utf-8'))


def close_output() -> None:
  """Writes what standard output still holds.

  Raises:
    ResourceError: it cannot be written, such as on a full disk.
    BrokenPipeError: its reader has gone.
  """
  try:
    if sys.stdout is not None:
      sys.stdout.flush()
  except BrokenPipeError:
    raise
  except (OSError, ValueError) as error:
    sys.stdout = None  # or Python would try again, and fail with a traceback
    raise ResourceError(
      f'standard output cannot be written ({getattr(error, "strerror", None) or error}), so part of what was said '
      'there is lost; files that were written are whole'
    ) from error


@dataclasses.dataclass
class Screen:
  """What is shown on standard output."""

  live: bool = False  # bars, for a terminal; else lines as they come
  quiet: bool = False  # warnings and errors only
  debug: bool = False  # also debugging lines and tracebacks

  @classmethod
  def of_stdout(cls, *, quiet: bool = False, debug: bool = False) -> 'Screen':
    """The screen for where standard output goes: live on a terminal."""
    terminal = sys.stdout.isatty() and os.environ.get('TERM', '') not in ('', 'dumb')
    return cls(live=terminal and not quiet, quiet=quiet, debug=debug)


class Display:
  """One bar for the whole run and a line for what happens now."""

  def __init__(self, console: Any):
    """Shows nothing on the `rich.console.Console` before `live` is entered."""
    from rich import live, progress, spinner, table

    self._bar = progress.Progress(
      progress.TextColumn('{task.description}'),
      progress.BarColumn(),
      progress.TaskProgressColumn(),
      progress.TextColumn('[dim]elapsed'),
      progress.TimeElapsedColumn(),
      progress.TextColumn('[dim]left'),
      progress.TextColumn('{task.fields[left]}'),
      console=console,
    )
    self._task = self._bar.add_task('all', total=1.0, left='-')
    self._spinner, self._table = spinner.Spinner('dots'), table.Table
    self._line = ''
    self.live = live.Live(get_renderable=self._render, console=console, refresh_per_second=8, transient=True)

  def _render(self) -> Any:
    from rich.text import Text

    grid = self._table.grid(padding=(0, 1))
    grid.add_row(self._spinner, Text(self._line, overflow='ellipsis', no_wrap=True))
    outer = self._table.grid()
    outer.add_row(grid)
    outer.add_row(self._bar.get_renderable())
    return outer

  def update(self, fraction: float, left: float | None, line: str | None = None) -> None:
    """Moves the bar.

    Args:
      fraction: of the run that is done, 0 to 1.
      left: seconds, as estimated; None: not known.
      line: what happens now; None leaves the line as it is.
    """
    if line is not None:
      self._line = line
    self._bar.update(self._task, completed=fraction, left=duration(left))


class _Tolerant:
  """A log that cannot be written must not end the run, nor fill the screen with tracebacks."""

  def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is that of logging.Handler)
    pass


class _File(_Tolerant, logging.FileHandler):
  pass


class _Lines(_Tolerant, logging.StreamHandler):
  pass


class _AboveTheBar(_Tolerant, logging.Handler):
  """Prints lines above the live display, except those that the display shows itself."""

  _STYLES = {logging.WARNING: 'yellow', logging.ERROR: 'red'}

  def __init__(self, console: Any):
    super().__init__()
    self._console = console

  def emit(self, record: logging.LogRecord) -> None:
    if getattr(record, 'live', False) and record.levelno < logging.WARNING:
      return
    try:
      self._console.print(
        self.format(record), style=self._STYLES.get(record.levelno), markup=False, highlight=False
      )  # in lines that end between words
    except Exception:
      self.handleError(record)


class _Plain(logging.Formatter):
  """Lines for people: warnings marked, no tracebacks unless asked for."""

  def __init__(self, form: str, tracebacks: bool):
    super().__init__(form, '%Y-%m-%d %H:%M:%S')
    self._tracebacks = tracebacks

  def format(self, record: logging.LogRecord) -> str:
    record = logging.makeLogRecord(record.__dict__)
    if record.name.partition('.')[0] in _FOREIGN:
      record.msg = f'{record.name}: {record.msg}'
    if record.levelno >= logging.WARNING:
      record.msg = f'{record.levelname}: {record.msg}'
    if not self._tracebacks:
      record.exc_info = record.exc_text = None
    return super().format(record)


_TIMED = '%(asctime)s %(message)s'


@contextlib.contextmanager
def reporting(log_file: Path, screen: Screen | None) -> Iterator[Any]:
  """Sends what is logged inside the block to a file and to the screen.

  Yields:
    the `rich.console.Console` of a live screen, else None.

  Raises:
    InputError, ResourceError: the file cannot be written.
  """
  try:
    handlers: list[logging.Handler] = [_File(log_file, **atomic.TEXT)]
  except OSError as error:
    raise atomic.explained(log_file, error) from error
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
    handlers[1].addFilter(lambda record: not getattr(record, 'log_only', False))
    handlers[1].setFormatter(_Plain('%(message)s' if screen.live else _TIMED, tracebacks=debug))
    handlers[1].setLevel(logging.WARNING if screen.quiet else logging.DEBUG if debug else logging.INFO)
  before = _package_log.level, _package_log.propagate
  foreign = [logging.getLogger(name) for name in _FOREIGN if screen is not None]
  _package_log.setLevel(logging.DEBUG if debug else logging.INFO)
  _package_log.propagate = screen is None
  for handler in handlers:
    _package_log.addHandler(handler)
  for log in foreign:
    log.addHandler(handlers[0])
    log.propagate = False
  try:
    yield console
  finally:
    for log in foreign:
      log.removeHandler(handlers[0])
      log.propagate = True
    for handler in handlers:
      _package_log.removeHandler(handler)
      with contextlib.suppress(OSError):  # the disk may be full
        handler.close()
    _package_log.setLevel(before[0])
    _package_log.propagate = before[1]
