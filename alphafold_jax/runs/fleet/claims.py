# SPDX-License-Identifier: Apache-2.0
"""Who works on which protein, so that processes and hosts that share an output folder do none of them twice.

    OUT/.results/{job}/claim.3      who has the protein, or how it ended; the file of the highest number counts

Whoever creates the next number has the protein; the file system lets exactly one do so. That is allowed when there is
no claim, when the last has ended, and when it is abandoned: its process is dead on this machine, or has not renewed it
for two minutes, by the file system's clock and not by those of hosts. No locks, which shared file systems often lack.
A claim says how many processes have died at its protein, so that whoever comes next gives up one that kills them.
"""

import dataclasses
import datetime
import json
import logging
import os
import platform
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, untrusted

_log = logging.getLogger(__name__)
RENEWED_EVERY = 20.0  # seconds
ABANDONED_AFTER = 120.0  # seconds; file systems may show a renewal a minute late
STOPPED = 'stopped'  # how a claim ends whose run was stopped
_NAME = 'claim.'


@dataclasses.dataclass(frozen=True)
class Claim:
  """What the last claim of a protein says."""

  number: int
  renewed: float  # by the file system's clock
  host: str = ''
  machine: str = ''  # equal only where process numbers mean the same processes
  pid: int = 0
  ended: str | None = None  # an outcome's status, or 'stopped'
  key: str | None = None  # of the content that it ended with
  deaths: int = 1  # processes that have died at the protein, if this claim is found abandoned
  failures: Sequence[dict[str, Any]] = dataclasses.field(default=(), compare=False)
  predictions: Sequence[dict[str, Any]] = dataclasses.field(default=(), compare=False)  # as in the outcome
  files: Sequence[str] = dataclasses.field(default=(), compare=False)

  def __str__(self) -> str:
    return f'{self.host or "an unknown host"}, process {self.pid or "unknown"}'


class Claims:
  """The claims of this process on the proteins of an output folder; held ones are renewed until the block ends."""

  def __init__(self, folder: Path, *, blames: bool = True, started: float | None = None):
    """Holds nothing yet.

    Args:
      folder: of hidden folders, OUT/.results.
      blames: whether a protein is to blame if this process dies while it holds it. Not where this process has others
        predict, nor where another counts its deaths.
      started: when the run began that this process is part of, in seconds of the file system's clock; None: now.
    """
    self._folder, self._risk = folder, int(blames)
    self._held: dict[str, Path] = {}
    self.deaths: dict[str, int] = {}  # by protein: how many processes had died at it when it was claimed
    self._closed = threading.Event()
    self._renewing = threading.Thread(target=self._renew, name='claims', daemon=True)
    self.started = self._now() if started is None else started

  def __enter__(self) -> 'Claims':
    self._renewing.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._closed.set()
    for job in list(self._held):
      self.end(job, STOPPED)

  def take(self, job: str) -> Path | None:
    """Claims a protein by its name; returns the file that holds the claim, or None if another process has it.

    Raises:
      InputError, ResourceError: the folder cannot be written.
    """
    folder = atomic.make_folder(self._folder / job)
    last = self.last(job)
    if last is not None and not self.is_over(last):
      return None
    path = folder / f'{_NAME}{last.number + 1 if last else 0}'
    self.deaths[job] = last.deaths if last is not None and last.ended is None else 0
    taken = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
    try:
      with open(path, 'x', encoding='utf-8') as file:
        json.dump(_who() | {'taken': taken, 'deaths': self.deaths[job] + self._risk}, file)
    except FileExistsError:
      return None
    except OSError as error:
      raise atomic.explained(path, error) from error
    if not stands(path):  # looked long ago: meanwhile there were several more
      path.unlink(missing_ok=True)
      return None
    if last is not None and last.ended is None:
      _log.warning('%s was abandoned by %s; it is taken over', job, last)
    self._held[job] = path
    for number in _numbers(folder):
      if number < _number(path):
        (folder / f'{_NAME}{number}').unlink(missing_ok=True)
    return path

  def end(self, job: str, how: str, **content: Any) -> None:
    """Gives a protein back; `how` is its outcome's status, `content` fields of Claim that say more."""
    _rewrite(self._held.pop(job), _who() | {'ended': how} | content)

  def count_death(self, job: str, pid: int) -> bool:
    """Counts one more death at a protein if process `pid` of this machine holds its claim; returns whether it does."""
    last = self.last(job)
    if last is None or last.ended is not None or (last.machine, last.pid) != (_MACHINE, pid):
      return False
    _rewrite(self._folder / job / f'{_NAME}{last.number}', _who() | {'pid': pid, 'deaths': last.deaths + 1})
    return True

  def last(self, job: str) -> Claim | None:
    """The last claim of a protein; None if there never was one."""
    numbers = _numbers(self._folder / job)
    if not numbers:
      return None
    try:
      with open(self._folder / job / f'{_NAME}{max(numbers)}', encoding='utf-8') as file:  # asks the server anew
        renewed = os.fstat(file.fileno()).st_mtime
        text = file.read()
    except OSError:  # gone since
      return None
    except ValueError:  # damaged: no text
      text = ''
    try:
      found = untrusted.from_json(text).items()
      content: dict[str, Any] = {name: value for name, value in found if isinstance(value, _FIELDS.get(name, ()))}
    except (ValueError, AttributeError):  # being written
      content = {}
    return Claim(max(numbers), renewed, **content)

  def is_over(self, claim: Claim) -> bool:
    """Whether nobody works on a protein any more, going by its last claim."""
    if claim.ended is not None or (claim.machine == _MACHINE and not _is_alive(claim.pid)):
      return True
    return self._now() - claim.renewed > ABANDONED_AFTER

  def _now(self) -> float:
    """The file system's own time."""
    with tempfile.TemporaryFile(dir=self._folder) as file:
      return os.fstat(file.fileno()).st_mtime

  def _renew(self) -> None:
    while not self._closed.wait(RENEWED_EVERY):
      for path in list(self._held.values()):
        try:
          os.utime(path)
        except OSError as error:
          _log.debug('%s: cannot be renewed (%s)', path, error)


def stands(path: Path) -> bool:
  """Whether nobody has taken a protein over since it was claimed by this file."""
  return max(_numbers(path.parent), default=0) <= _number(path)


def _rewrite(path: Path, content: dict[str, Any]) -> None:
  try:
    if path.exists():
      atomic.write_text(path, json.dumps(content))
  except Exception as error:  # the disk is full; after two minutes the claim counts as abandoned
    _log.debug('%s: %s', path, error)


def _numbers(folder: Path) -> list[int]:
  try:
    names = os.listdir(folder)
  except OSError:
    return []
  ends = (name.removeprefix(_NAME) for name in names if name.startswith(_NAME))
  return [int(end) for end in ends if end.isdecimal()]


def _number(path: Path) -> int:
  return int(path.name.removeprefix(_NAME))


def _is_alive(pid: int) -> bool:
  """Whether there is a process of this number, though it may be another one by now; then only time ends its claims."""
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except (OSError, OverflowError):  # of another user; no number that a process can have
    return True
  return True


def _machine() -> str:
  """What this start of this machine is, and which of its process numbers are ours: containers have their own."""
  try:
    return f'{Path("/proc/sys/kernel/random/boot_id").read_text().strip()} {os.readlink("/proc/self/ns/pid")}'
  except OSError:  # not Linux
    return platform.node()


_MACHINE = _machine()
_FIELDS: dict[str, type] = {  # what is read of a claim
  **dict.fromkeys(('host', 'machine', 'ended', 'key'), str),
  **dict.fromkeys(('pid', 'deaths'), int),
  **dict.fromkeys(('failures', 'predictions', 'files'), list),
}


def _who() -> dict[str, Any]:
  return {'host': platform.node(), 'machine': _MACHINE, 'pid': os.getpid()}
