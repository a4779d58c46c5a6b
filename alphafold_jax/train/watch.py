# SPDX-License-Identifier: Apache-2.0
"""What is told of a run while it goes: metrics.csv and validation.csv, TensorBoard events, the log and a live bar.

The CSV files are the record; TensorBoard gets the same numbers. A run that goes on from a checkpoint drops the lines
that were written after it.
"""

import csv
import io
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from alphafold_jax import atomic
from alphafold_jax.errors import InputError, how_to_install
from alphafold_jax.screen import LIVE

_log = logging.getLogger(__name__)
METRICS, VALIDATION = 'metrics.csv', 'validation.csv'
_MEMORY = 0.9  # how much of the speed estimate is kept at each step


class Table:
  """A CSV file that grows by lines; its columns are those of the first line."""

  def __init__(self, path: Path, last_step: int):
    """Opens it, and drops lines of steps after the last one that counts."""
    self.path = path
    self._columns: list[str] = []
    if path.is_file():
      lines = read(path)
      kept = [line for line in lines if int(line['step']) <= last_step]
      self._columns = list(lines[0]) if lines else []
      if len(kept) < len(lines):
        atomic.write_text(path, self._text(kept, header=True))

  def add(self, line: Mapping[str, float]) -> None:
    """Writes a line."""
    first = not self._columns
    self._columns = self._columns or list(line)
    with self.path.open('a', encoding='utf-8', newline='') as file:
      file.write(self._text([line], header=first))

  def _text(self, lines, *, header: bool) -> str:
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, self._columns, lineterminator='\n', extrasaction='ignore')
    if header:
      writer.writeheader()
    writer.writerows(
      {name: f'{value:.6g}' if isinstance(value, float) else value for name, value in line.items()} for line in lines
    )
    return text.getvalue()


def read(path: Path) -> list[dict[str, str]]:
  """The lines of such a file.

  Raises:
    InputError: it is not there or holds no table.
  """
  try:
    with path.open(encoding='utf-8', newline='') as file:
      lines = [line for line in csv.DictReader(file) if line.get('step', '').isdigit() and None not in line.values()]
  except OSError as error:
    raise InputError(f'{path}: cannot be read ({error.strerror}); is this the folder of a training run?') from None
  return lines


class Clock:
  """Speed and time left."""

  def __init__(self, step: int, last_step: int, batch_size: int):
    self.step, self.last_step, self.batch_size = step, last_step, batch_size
    self._seconds: float | None = None  # per step
    self._before: float | None = None  # when the last step ended; None: the next one's time does not count

  def tick(self, step: int) -> None:
    """Counts a finished step; the first, which compiles, tells nothing about the others."""
    now = time.monotonic()
    if self._before is not None:
      seconds = now - self._before
      self._seconds = seconds if self._seconds is None else _MEMORY * self._seconds + (1 - _MEMORY) * seconds
    self.step, self._before = step, now

  def pause(self) -> None:
    """What passes until the next step ends is not all training."""
    self._before = None

  @property
  def samples_per_second(self) -> float:
    return self.batch_size / self._seconds if self._seconds else 0.0

  @property
  def fraction(self) -> float:
    return self.step / self.last_step

  @property
  def left(self) -> float | None:
    """Seconds to go; None while no step but the first, which compiles, is known."""
    return None if self._seconds is None else self._seconds * (self.last_step - self.step)


class Watch:
  """Writes a run's numbers everywhere they belong; on one host only."""

  def __init__(self, directory: Path, step: int, *, writes: bool = True):
    self._tables = {name: Table(directory / name, step) for name in (METRICS, VALIDATION)} if writes else {}
    self._events = _event_writer(directory / 'events', step) if writes else None

  def training(self, line: Mapping[str, float], text: str) -> None:
    """Numbers of the steps since the last line."""
    self._tell(METRICS, 'train', line)
    _log.info(text, extra=LIVE)

  def validation(self, line: Mapping[str, float], text: str) -> None:
    """Scores of the validation chains."""
    self._tell(VALIDATION, 'validation', line)
    _log.info(text)

  def _tell(self, table: str, group: str, line: Mapping[str, float]) -> None:
    if not self._tables:
      return
    self._tables[table].add(line)
    if self._events is not None:
      for name, value in line.items():
        if name != 'step':
          self._events.add_scalar(f'{group}/{name}', value, int(line['step']))
      self._events.flush()

  def close(self) -> None:
    if self._events is not None:
      self._events.close()


def _event_writer(directory: Path, step: int):
  try:
    from tensorboardX import SummaryWriter
  except ImportError:
    _log.warning(
      'tensorboardX is not installed, so there are no TensorBoard events; metrics.csv has the same numbers (%s)',
      how_to_install('train'),
    )
    return None
  return SummaryWriter(str(directory), purge_step=step or None)
