# SPDX-License-Identifier: Apache-2.0
"""Who works in a folder, told by numbered files, so that processes and hosts share it and spoil nothing.

    FOLDER/.results/.run.3    one command that writes into the folder: who, by which settings, and whether it has ended

Whoever creates the next number comes next; the file system lets exactly one do so, and the file of the highest number
is never removed, so that the order is strict. A file counts until it says that its owner has ended, or is abandoned:
its process is dead on this machine, or has not renewed it for two minutes, by the file system's clock and not by those
of hosts. No locks, which shared file systems often lack. Claims on single proteins (runs/fleet/claims.py) are such
files too.
"""

import contextlib
import dataclasses
import json
import logging
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, untrusted
from alphafold_jax.errors import InputError

_log = logging.getLogger(__name__)
HIDDEN = '.results'  # the folder in an output folder that is not for people
RENEWED_EVERY = 20.0  # seconds
ABANDONED_AFTER = 120.0  # seconds; file systems may show a renewal a minute late
_RUN = '.run.'  # no job's name begins with a dot
_ASKING, _RUNNING, _ENDED = 'asking', 'running', 'ended'
_UNDECIDED = 10.0  # seconds after which a run that is alive and still asking counts as running
_POLL = 0.02


# ------------------------------------------------------------------------------------------ numbered files


def numbers(folder: Path, name: str) -> list[int]:
  """The numbers of the files NAME0, NAME1, ... that a folder holds, in any order."""
  try:
    names = os.listdir(folder)
  except OSError:
    return []
  ends = (one.removeprefix(name) for one in names if one.startswith(name))
  return [int(end) for end in ends if end.isdecimal()]


def create(path: Path, content: Mapping[str, Any]) -> bool:
  """Creates a file with JSON in it; False: there is one already.

  Raises:
    InputError, ResourceError: the folder cannot be written.
  """
  try:
    with open(path, 'x', encoding='utf-8') as file:
      json.dump(content, file)
  except FileExistsError:
    return False
  except OSError as error:
    raise atomic.explained(path, error) from error
  return True


def read(path: Path, fields: Mapping[str, type]) -> tuple[float, dict[str, Any]] | None:
  """When a file was renewed, by the file system's clock, and what it says: {} while it is being written. None: gone.

  Args:
    path: of the file.
    fields: what is read, by name; a value of another type counts as absent.

  Raises:
    InputError: another user does not let it be read, so that nobody knows whether its owner lives.
  """
  try:
    with open(path, encoding='utf-8') as file:  # asks the server anew
      renewed = os.fstat(file.fileno()).st_mtime
      content = untrusted.from_json(file.read())
  except PermissionError as error:
    raise InputError(
      f'{path}: cannot be read ({error.strerror}); it is of a run of another user, who can allow it (umask, chmod), '
      'or choose another output folder'
    ) from error
  except OSError:
    return None
  except ValueError:
    content = {}
  known = content if isinstance(content, dict) else {}
  return renewed, {name: value for name, value in known.items() if isinstance(value, fields.get(name, ()))}


def rewrite(path: Path, content: Mapping[str, Any]) -> None:
  """Replaces what a file says, unless it is gone or cannot be written: after two minutes it counts as abandoned."""
  try:
    if path.exists():
      atomic.write_text(path, json.dumps(content))
  except Exception as error:  # such as a full disk
    _log.debug('%s: %s', path, error)


def now(folder: Path) -> float:
  """The time in seconds, by the clock of a folder's file system."""
  with tempfile.TemporaryFile(dir=folder) as file:
    return os.fstat(file.fileno()).st_mtime


# ------------------------------------------------------------------------------------------ their owners


def this_process() -> dict[str, Any]:
  """What a file says of the process that owns it."""
  return {'host': platform.node(), 'machine': MACHINE, 'pid': os.getpid()}


@dataclasses.dataclass(frozen=True)
class Owner:
  """Who owns a numbered file, and when it was renewed."""

  number: int
  renewed: float  # by the file system's clock
  host: str = ''
  machine: str = ''  # equal only where process numbers mean the same processes
  pid: int = 0

  def __str__(self) -> str:
    return f'{self.host or "an unknown host"}, process {self.pid or "unknown"}'

  def is_gone(self, folder: Path) -> bool:
    """Whether the owner is dead, or has not renewed its file in `folder` for two minutes."""
    if self.machine == MACHINE and not _is_alive(self.pid):
      return True
    return abs(now(folder) - self.renewed) > ABANDONED_AFTER  # the file system's clock may have been set back


class Renewing:
  """Renews files every 20 seconds until its block ends."""

  def __init__(self) -> None:
    """Renews nothing yet; paths may be put into and taken from `paths` at any time."""
    self.paths: set[Path] = set()
    self._closed = threading.Event()
    self._thread = threading.Thread(target=self._run, name='renewing', daemon=True)

  def __enter__(self) -> 'Renewing':
    self._thread.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._closed.set()

  def _run(self) -> None:
    while not self._closed.wait(RENEWED_EVERY):
      for path in list(self.paths):
        try:
          os.utime(path)
        except OSError as error:
          _log.debug('%s: cannot be renewed (%s)', path, error)


def _is_alive(pid: int) -> bool:
  """Whether there is a process of this number, though it may be another one by now; then only time ends its files."""
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except (OSError, OverflowError):  # of another user; no number that a process can have
    return True
  return True


def _born(pid: int) -> str | None:
  """When a process of this machine began, in the machine's ticks; '' if it is dead, None if it cannot be seen."""
  try:
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return '' if fields[0] in 'ZX' else fields[19]  # Z: nobody has asked yet how it ended
  except (OSError, IndexError):
    return None


def _machine() -> str:
  """What this start of this machine is, and which of its process numbers are ours: containers have their own."""
  try:
    return f'{Path("/proc/sys/kernel/random/boot_id").read_text().strip()} {os.readlink("/proc/self/ns/pid")}'
  except OSError:  # not Linux
    return platform.node()


MACHINE = _machine()


# ------------------------------------------------------------------------------------------ one folder, one truth


@dataclasses.dataclass(frozen=True)
class _Command(Owner):
  """A command that writes into a folder."""

  program: str = ''
  settings: str | None = None
  flags: Mapping[str, str] = dataclasses.field(default_factory=dict)
  state: str | None = None  # None: being written
  born: str | None = None  # when its process began, in the machine's own count; None: not known

  def is_gone(self, folder: Path) -> bool:
    """As of every owner; but one that is known to live on this machine is not gone, suspended or whatever the clock."""
    if self.machine == MACHINE and self.born is not None and (born := _born(self.pid)) is not None:
      return born != self.born
    return super().is_gone(folder)


_FIELDS: dict[str, type] = {  # what is read of a command
  **dict.fromkeys(('host', 'machine', 'program', 'settings', 'state', 'born'), str),
  **{'pid': int, 'flags': dict},
}


@contextlib.contextmanager
def using(
  folder: Path, program: str, settings: str | None = None, flags: Mapping[str, str] | None = None
) -> Iterator[None]:
  """Lets a command write into a folder while the block runs, beside those of the same settings only.

  Args:
    folder: must exist; nothing but a hidden file is written there.
    program: the command's name.
    settings: digest of all that shapes what is written; None: nobody else may write there.
    flags: by name, as a person would write them, to say what differs.

  Raises:
    InputError: a living command of other settings writes there; the message names it and what differs.
    InputError, ResourceError: the folder cannot be written.
  """
  place = atomic.make_folder(folder / HIDDEN)
  content = this_process() | {
    'born': _born(os.getpid()),
    'program': program,
    'settings': settings,
    'flags': dict(flags or {}),
  }
  path = _enter(place, content | {'state': _ASKING})
  try:
    for number in sorted(numbers(place, _RUN)):
      if number < int(path.name.removeprefix(_RUN)) and (other := _decided(place, number)) is not None:
        if settings is None or other.settings != settings:
          raise InputError(f'{folder} is in use by {_differing(other, program, flags or {})}')
    rewrite(path, content | {'state': _RUNNING})
    with Renewing() as renewing:
      renewing.paths.add(path)
      yield
  finally:
    rewrite(path, content | {'state': _ENDED})


def _enter(place: Path, content: Mapping[str, Any]) -> Path:
  """Creates the file of the next number; returns its path."""
  number = max(numbers(place, _RUN), default=-1) + 1
  while True:
    path = place / f'{_RUN}{number}'
    if not create(path, content):
      number += 1
    elif (highest := max(numbers(place, _RUN), default=number)) > number:  # looked too long ago
      path.unlink(missing_ok=True)
      number = highest + 1
    else:
      return path


def _decided(place: Path, number: int) -> _Command | None:
  """A run that came before, once it knows whether it may go on; None if it has ended, and its file is removed."""
  path, until = place / f'{_RUN}{number}', time.monotonic() + _UNDECIDED
  while (run := _read_command(path)) is not None:
    if run.state == _ENDED or (run.state is not None and run.is_gone(place)):
      break
    if run.state == _RUNNING or (run.state == _ASKING and time.monotonic() > until):
      return run
    if time.monotonic() > until:  # whoever made the file died before it had written a word
      break
    time.sleep(_POLL)
  path.unlink(missing_ok=True)
  return None


def _read_command(path: Path) -> _Command | None:
  found = read(path, _FIELDS)
  if found is None:
    return None
  renewed, content = found
  content['flags'] = {name: str(flag) for name, flag in content.get('flags', {}).items()}
  return _Command(int(path.name.removeprefix(_RUN)), renewed, **content)


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, str]:
  """The flags of two commands that differ, as each has them, such as ('--num-recycle 0', 'default --num-recycle')."""
  both = {**one, **other}
  names = [name for name in both if one.get(name) != other.get(name)]
  absent = {name: f'without {name}' if both[name] == name else f'default {name}' for name in names}
  first, second = (' '.join(flags.get(name, absent[name]) for name in names) for flags in (one, other))
  return first, second


def _differing(other: _Command, program: str, flags: Mapping[str, str]) -> str:
  """Who uses a folder, what differs, and what to do."""
  theirs, ours = differences(other.flags, flags)
  who = f'{other} ({other.program}{" " * bool(theirs)}{theirs})'
  if other.program != program or other.settings is None:
    return f'{who}: wait for it, or choose another output folder'
  has = (
    f'this run {"is" if ours.startswith("without") else "has"} {ours}'
    if ours
    else 'this run has other parameters, templates or databases'
  )
  return f'{who}; {has}: wait for it, use its settings, or choose another output folder'
