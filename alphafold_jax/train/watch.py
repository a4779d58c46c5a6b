# SPDX-License-Identifier: Apache-2.0
"""The numbers of a run while it trains: metrics.csv and validation.csv, TensorBoard events, lines of the log.

The CSV files are the record; TensorBoard gets the same numbers. A run that goes on from a checkpoint drops the lines
that were written after it.
"""

import contextlib
import csv
import io
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alphafold_jax import atomic, untrusted
from alphafold_jax.errors import InputError, how_to_install
from alphafold_jax.screen import LIVE, duration
from alphafold_jax.train.step import Metrics

_log = logging.getLogger(__name__)
METRICS, VALIDATION = 'metrics.csv', 'validation.csv'
_MEANS = ('loss', 'gradient_norm', 'update_norm', 'learning_rate', 'num_passes')  # of Metrics, in metrics.csv
_KEPT = 0.9  # share of the speed estimate that one step keeps


class Table:
  """A CSV file that grows by lines; its columns are those of the first line, and what later lines add."""

  def __init__(self, path: Path, last_step: int):
    """Drops the lines of steps after `last_step` if the file is there; the first line makes it if it is not."""
    self.path = path
    self._columns: list[str] = []
    if path.is_file():
      lines = read(path)
      kept = [line for line in lines if int(line['step']) <= last_step]
      self._columns = list(lines[0]) if lines else []
      if len(kept) < len(lines):
        atomic.write_text(path, self._text(kept, header=True))

  def add(self, line: Mapping[str, float]) -> None:
    """Appends a line: numbers by column; ResourceError where the disk is full."""
    first, added = not self._columns, [name for name in line if name not in self._columns]
    self._columns += added
    try:
      if added and not first:  # such as a loss that a phase begins to compute
        atomic.write_text(self.path, self._text(read(self.path), header=True))
      with self.path.open('a', encoding='utf-8', newline='') as file:
        file.write(self._text([line], header=first))
    except OSError as error:
      raise atomic.explained(self.path, error) from error

  def _text(self, lines: Iterable[Mapping[str, Any]], *, header: bool) -> str:
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, self._columns, lineterminator='\n', extrasaction='ignore')
    if header:
      writer.writeheader()
    writer.writerows(
      {name: f'{value:.6g}' if isinstance(value, float) else value for name, value in line.items()} for line in lines
    )
    return text.getvalue()


def read(path: Path) -> list[dict[str, str]]:
  """The complete lines of metrics.csv or validation.csv, text by column.

  Raises:
    InputError: the file cannot be read.
  """
  try:
    with path.open(encoding='utf-8', newline='') as file:
      whole = (line for line in csv.DictReader(file) if None not in line.values())
      lines = [line for line in whole if untrusted.whole_number(line.get('step')) is not None]
  except (OSError, ValueError, csv.Error) as error:
    why = getattr(error, 'strerror', None) or error
    raise InputError(f'{path}: cannot be read ({why}); is this the folder of a training run?') from None
  return lines


class StepClock:
  """The speed of training and the time left."""

  def __init__(self, step: int, last_step: int, batch_size: int):
    self.step, self.last_step, self.batch_size = step, last_step, batch_size
    self._seconds: float | None = None  # per step
    self._before: float | None = None  # when the last step ended; None: the next one's time does not count

  def tick(self, step: int) -> None:
    """Counts a finished step; the time of the first, which compiles, is left out."""
    now = time.monotonic()
    if self._before is not None:
      seconds = now - self._before
      self._seconds = seconds if self._seconds is None else _KEPT * self._seconds + (1 - _KEPT) * seconds
    self.step, self._before = step, now

  def pause(self) -> None:
    """Leaves out the time until the next step ends."""
    self._before = None

  @property
  def samples_per_second(self) -> float:
    """The mean speed, recent steps weighing more; 0 until it is known."""
    return self.batch_size / self._seconds if self._seconds else 0.0

  @property
  def fraction(self) -> float:
    """The share of the run's steps that are taken, 0 to 1."""
    return self.step / self.last_step

  @property
  def left(self) -> float | None:
    """Seconds until the last step; None until the speed is known."""
    return None if self._seconds is None else self._seconds * (self.last_step - self.step)


def training_numbers(clock: StepClock, metrics: Sequence[Metrics]) -> dict[str, float]:
  """A line of metrics.csv: the step, and the means of the metrics of the steps since the line before."""
  scalars = [
    {name: getattr(one, name) for name in _MEANS} | {f'loss_{name}': value for name, value in one.terms.items()}
    for one in metrics
  ]
  scalars = jax.device_get(scalars)
  means = {name: float(np.mean([one[name] for one in scalars])) for name in scalars[0]}
  samples = clock.step * clock.batch_size
  return {'step': clock.step, 'samples': samples, 'samples_per_second': clock.samples_per_second} | means


def display_line(clock: StepClock, metrics: Metrics) -> str:
  """The live display's line for one step."""
  return (
    f'step {clock.step}/{clock.last_step}  loss {float(metrics.loss):.3f}  '
    f'gradient {float(metrics.gradient_norm):.2f}  {clock.samples_per_second:.2f} samples/s'
  )


class Watch:
  """Writes a run's numbers to its tables, TensorBoard events and log."""

  def __init__(self, directory: Path, step: int, *, writes: bool = True):
    """Opens a run's files and drops lines and events of steps after `step`; hosts that do not write only log."""
    self._tables = {name: Table(directory / name, step) for name in (METRICS, VALIDATION)} if writes else {}
    self._events = _event_writer(directory / 'events', step) if writes else None

  def training(self, clock: StepClock, metrics: Sequence[Metrics]) -> None:
    """Writes and logs the means of the metrics of the steps since the line before."""
    line = training_numbers(clock, metrics)
    self._write(METRICS, 'train', line)
    text = (
      f'step {clock.step}/{clock.last_step}: loss {line["loss"]:.3f}, gradient {line["gradient_norm"]:.2f}, '
      f'{clock.samples_per_second:.2f} samples/s, {duration(clock.left)} left'
    )
    _log.info(text, extra=LIVE)

  def validation(self, step: int, samples: int, means: Mapping[str, float]) -> None:
    """Writes and logs mean scores of validation: those of chains and, where there are some, of complexes."""
    self._write(VALIDATION, 'validation', {'step': step, 'samples': samples, **means})
    _log.info(
      f'step {step}: validation lDDT-CA {means["lddt_ca"]:.3f}, TM {means["tm"]:.3f}, pLDDT {means["plddt"]:.1f} '
      f'(correlation with lDDT {means["plddt_pearson"]:.2f})'
      + (f', DockQ {means["dockq"]:.3f}' if 'dockq' in means else '')
    )

  def _write(self, table: str, group: str, line: Mapping[str, float]) -> None:
    if not self._tables:
      return
    self._tables[table].add(line)
    if (events := self._events) is not None:
      with self._event_errors():
        for name, value in line.items():
          if name != 'step':
            events.add_scalar(f'{group}/{name}', value, int(line['step']))
        events.flush()

  @contextlib.contextmanager
  def _event_errors(self) -> Iterator[None]:
    """Goes on without events where they cannot be written: the tables have the same numbers."""
    try:
      yield
    except OSError as error:
      _log.warning('no more TensorBoard events: they cannot be written (%s)', error.strerror or error)
      self._events = None

  def close(self) -> None:
    """Closes the events; no more may be written."""
    with self._event_errors():
      if self._events is not None:
        self._events.close()


def _event_writer(directory: Path, step: int) -> Any:
  """TensorBoard's writer; None, with a warning in the log, where tensorboardX is not installed."""
  try:
    from tensorboardX import SummaryWriter
  except ImportError:
    _log.warning(
      'tensorboardX is not installed, so there are no TensorBoard events; metrics.csv has the same numbers (%s)',
      how_to_install('train'),
    )
    return None
  logging.getLogger('tensorboardX').setLevel(logging.ERROR)  # it warns of each NaN, which the log shows anyway
  return SummaryWriter(str(directory), purge_step=step or None)
