# SPDX-License-Identifier: Apache-2.0
"""Who works on which protein, so that processes and hosts that share an output folder do none of them twice.

    OUT/.results/{job}/claim.3      who has the protein, or how it ended; the file of the highest number counts

Whoever creates the next number has the protein (sharing.py says how). That is allowed when there is no claim, when the
last has ended, and when it is abandoned. A claim says how many processes have died at its protein, so that whoever
comes next gives up one that kills them.
"""

import dataclasses
import datetime
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, sharing

_log = logging.getLogger(__name__)
STOPPED = 'stopped'  # how a claim ends whose run was stopped
_NAME = 'claim.'


@dataclasses.dataclass(frozen=True)
class Claim(sharing.Owner):
  """What the last claim of a protein says."""

  ended: str | None = None  # an outcome's status, or 'stopped'
  key: str | None = None  # of the content that it ended with
  deaths: int = 1  # processes that have died at the protein, if this claim is found abandoned
  failures: Sequence[dict[str, Any]] = dataclasses.field(default=(), compare=False)
  predictions: Sequence[dict[str, Any]] = dataclasses.field(default=(), compare=False)  # as in the outcome
  files: Sequence[str] = dataclasses.field(default=(), compare=False)


_FIELDS: dict[str, type] = {  # what is read of a claim
  **dict.fromkeys(('host', 'machine', 'ended', 'key'), str),
  **dict.fromkeys(('pid', 'deaths'), int),
  **dict.fromkeys(('failures', 'predictions', 'files'), list),
}


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
    self._renewing = sharing.Renewing()
    self.deaths: dict[str, int] = {}  # by protein: how many processes had died at it when it was claimed
    self.started = sharing.now(folder) if started is None else started

  def __enter__(self) -> 'Claims':
    self._renewing.__enter__()
    return self

  def __exit__(self, *_: object) -> None:
    self._renewing.__exit__()
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
    if not sharing.create(path, sharing.this_process() | {'taken': taken, 'deaths': self.deaths[job] + self._risk}):
      return None
    if not stands(path):  # looked long ago: meanwhile there were several more
      path.unlink(missing_ok=True)
      return None
    if last is not None and last.ended is None:
      _log.warning('%s was abandoned by %s; it is taken over', job, last)
    self._held[job] = path
    self._renewing.paths.add(path)
    for number in sharing.numbers(folder, _NAME):
      if number < _number(path):
        (folder / f'{_NAME}{number}').unlink(missing_ok=True)
    return path

  def end(self, job: str, how: str, **content: Any) -> None:
    """Gives a protein back; `how` is its outcome's status, `content` fields of Claim that say more."""
    path = self._held.pop(job)
    self._renewing.paths.discard(path)
    sharing.rewrite(path, sharing.this_process() | {'ended': how} | content)

  def count_death(self, job: str, pid: int) -> bool:
    """Counts one more death at a protein if process `pid` of this machine holds its claim; returns whether it does."""
    last = self.last(job)
    if last is None or last.ended is not None or (last.machine, last.pid) != (sharing.MACHINE, pid):
      return False
    counted = sharing.this_process() | {'pid': pid, 'deaths': last.deaths + 1}
    sharing.rewrite(self._folder / job / f'{_NAME}{last.number}', counted)
    return True

  def last(self, job: str) -> Claim | None:
    """The last claim of a protein; None if there never was one."""
    numbers = sharing.numbers(self._folder / job, _NAME)
    if not numbers or (found := sharing.read(self._folder / job / f'{_NAME}{max(numbers)}', _FIELDS)) is None:
      return None
    renewed, content = found
    return Claim(max(numbers), renewed, **content)

  def is_over(self, claim: Claim) -> bool:
    """Whether nobody works on a protein any more, going by its last claim."""
    return claim.ended is not None or claim.is_gone(self._folder)


def stands(path: Path) -> bool:
  """Whether nobody has taken a protein over since it was claimed by this file."""
  return max(sharing.numbers(path.parent, _NAME), default=0) <= _number(path)


def _number(path: Path) -> int:
  return int(path.name.removeprefix(_NAME))
