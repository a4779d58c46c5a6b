# SPDX-License-Identifier: Apache-2.0
"""The files of a protein change at once: the new are put together in a hidden folder, then take the place of the old.

    OUT/.results/{job}/files.json    the names of all files of the protein, and what they were made of
    OUT/.results/{job}/new           what will be its files
    OUT/.results/{job}/next          predictions behind them, see stored.py, that would replace those of the old
    OUT/.results/{job}/change.json   that they take their place now; whoever comes next completes it

A run that is killed leaves the old files with their record, or the new with theirs; or, between two renames, no record,
and the next run of the protein completes the change. All that is removed is logged.
"""

import contextlib
import errno
import functools
import json
import logging
import os
import re
import shutil
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, untrusted
from alphafold_jax.naming import listed
from alphafold_jax.screen import LOG_ONLY, number
from alphafold_jax.sharing import differences

_log = logging.getLogger(__name__)
NEXT = 'next'
_STALE = 3600  # seconds after which a temporary file belongs to no running process
_MAX_SHOWN = 5  # proteins whose removed files are told one by one on the screen
_RANK = re.compile(r'^(.*)_rank_\d+_(?=.*_seed_\d+\.)', re.DOTALL)  # the last, since a protein may be called so
_UNION = {'--random-seed', '--num-seeds', '--num-models', '--model-order', '--stop-at-score'}  # these remove nothing
_INPUT = 'of another sequence, alignment or templates'


def unranked(name: str) -> str:
  """The name of a prediction's file before it had a rank; other names stay as they are."""
  return _RANK.sub(r'\1_', name)


def tidied_names(out: Path) -> set[str]:
  """The names in the output folder, after removing what killed runs left half-written."""
  names = set(os.listdir(out))
  for name in [name for name in names if name.startswith('.') and name.endswith('.part')]:
    with contextlib.suppress(OSError):
      if time.time() - (out / name).stat().st_mtime > _STALE:
        (out / name).unlink()
  return names


# ------------------------------------------------------------------------------------------ what there is


class Journal:
  """What is known of a protein's files: their names, and once they are whole also what they were made of."""

  def __init__(self, path: Path):
    self._path = path

  @functools.cached_property
  def content(self) -> Mapping[str, Any]:
    """`input`: key of the input; `files`: names; `made`: keys of predictions by tag, if they are whole; `flags`."""
    try:
      content = untrusted.from_json(self._path.read_text(encoding='utf-8'))
      return content | {'files': [name for name in content['files'] if os.path.basename(name) == name]}
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged: then nothing is ours to remove
      return {'input': None, 'files': []}

  @property
  def files(self) -> frozenset[str]:
    return frozenset(self.content['files'])

  def add(self, names: Iterable[str]) -> None:
    """Puts names on record, before the files are written."""
    if not self.files.issuperset(names := list(names)):
      self.keep(self.files.union(names), self.content.get('input'))

  def keep(self, names: Iterable[str], input_key: str | None, **made_of: Any) -> None:
    """Replaces what is on record."""
    self.content = {'input': input_key, 'files': sorted(names), **made_of}
    atomic.make_folder(self._path.parent)
    atomic.write_text(self._path, json.dumps(self.content, indent=1) + '\n')


class Earlier:
  """The whole files of a protein that an earlier run left, each by its name without a rank."""

  def __init__(self, out: Path, names: Iterable[str], archive: str):
    """Looks which of these files are there, also inside the archive of that name."""
    self._out, self._archive = out, out / archive
    self.names = [name for name in names if (out / name).is_file()]
    self._loose = {unranked(name): name for name in self.names}
    self._packed: dict[str, str] = {}
    if archive in self.names:
      with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(self._archive) as file:
        self._packed = {unranked(name): name for name in file.namelist()}

  def name_of(self, name: str) -> str | None:
    """What a file is called now, given its name without a rank; None if there is none outside of an archive."""
    return self._loose.get(name)

  def take(self, name: str, target: Path) -> bool:
    """Makes a second file of one, given its name without a rank; False: there is none."""
    if (old := self._loose.get(name)) is not None:
      try:
        os.link(self._out / old, target)
      except OSError:  # no such links on this file system
        shutil.copy2(self._out / old, target)
      return True
    if (old := self._packed.get(name)) is not None:
      with zipfile.ZipFile(self._archive) as file, atomic.replacing(target) as new:
        new.write(file.read(old))
      return True
    return False


# ------------------------------------------------------------------------------------------ the change


def move(path: Path, target: Path) -> None:
  """Renames a file, also where the hidden folder is on another disk."""
  try:
    os.replace(path, target)
  except OSError as error:
    if error.errno != errno.EXDEV:
      raise
    with open(path, 'rb') as old, atomic.replacing(target) as new:
      shutil.copyfileobj(old, new)
    path.unlink()


class Change:
  """Puts a protein's new files in the place of the old."""

  def __init__(self, out: Path, folder: Path, done_path: Path, journal: Journal):
    """Does nothing yet; `folder` is the protein's hidden one."""
    self._out, self._folder, self._done_path, self._journal = out, folder, done_path, journal
    self._path, self.new = folder / 'change.json', folder / 'new'

  def make(self, names: Collection[str], remove: Iterable[str], input_key: str, made_of: Any, done: str | None) -> None:
    """Moves the new files to their places, removes others, and writes the record.

    Args:
      names: of all files of the protein from now on; those that are new are in the folder `new`.
      remove: names of files that go.
      input_key: of the protein's input.
      made_of: for the journal.
      done: the record of the protein as text; None if it is not complete.
    """
    plan = {'files': sorted(names), 'remove': sorted(remove), 'input': input_key, 'made_of': made_of, 'done': done}
    atomic.make_folder(self._folder)
    atomic.write_text(self._path, json.dumps(plan) + '\n')
    self.complete()

  def complete(self) -> None:
    """Does what is left of a change that was begun, by this process or one that was killed; else nothing."""
    try:
      plan = untrusted.from_json(self._path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
      return
    self._done_path.unlink(missing_ok=True)
    for name in plan['files']:
      with contextlib.suppress(FileNotFoundError):  # it is at its place
        move(self.new / name, self._out / name)
    for name in plan['remove']:
      (self._out / name).unlink(missing_ok=True)
    for path in (self._folder / NEXT).glob('*.npz'):
      os.replace(path, self._folder / path.name)
    self._journal.keep(plan['files'], plan['input'], **plan['made_of'])
    if plan['done'] is not None:
      atomic.write_text(self._done_path, plan['done'])
    self._path.unlink()
    self.clear()

  def clear(self) -> None:
    """Forgets new files."""
    shutil.rmtree(self.new, ignore_errors=True)


# ------------------------------------------------------------------------------------------ what is said of it


def lasting(flags: Mapping[str, str]) -> dict[str, str]:
  """The flags without those by which runs may differ whose predictions are kept and ranked together."""
  return {name: text for name, text in flags.items() if name not in _UNION}


def why(
  earlier: Mapping[str, Any], input_key: str | None, flags: Mapping[str, str], chain_names: Sequence[str] | None = None
) -> str:
  """What tells the files of an earlier run from those of a run.

  Args:
    earlier: its journal or record.
    input_key: of the protein's input.
    flags: of the run.
    chain_names: of the protein; None: they are not known.
  """
  is_other = earlier.get('input') not in (None, input_key)
  if chain_names is not None and earlier.get('chains') not in (None, list(chain_names)):
    names = f'with other names of chains ({listed(earlier["chains"])})'
    return f'of another input, {names}' if is_other else names  # a file that holds them as well is another
  if is_other:
    return _INPUT
  if earlier.get('flags') is None:
    return 'with other settings'
  said = (
    differences(lasting(earlier['flags']), lasting(flags))[0]
    or differences(earlier['flags'], flags)[0]
    or 'other parameters or templates'
  )
  return said if said.startswith('without') else f'with {said}'


class Unwritten:
  """Tells which kinds of files could not be written: the first of each kind at once, in the end how many there are."""

  def __init__(self, warn: Callable[..., None] = _log.warning):
    self._warn = warn
    self._counts: Counter[str] = Counter()
    self._jobs: dict[str, set[str]] = defaultdict(set)

  def tell(self, job: str, name: str, reason: str) -> None:
    """Tells that a file of a protein is not written."""
    kind = Path(name).suffix
    extra = LOG_ONLY if self._counts[kind] else None
    self._counts[kind] += 1
    self._jobs[kind].add(job)
    self._warn('%s: not written: %s', name, reason, extra=extra)

  def close(self) -> None:
    """Tells how many there were in all, where one of a kind stood for others."""
    for kind, count in self._counts.items():
      if count > 1:
        what = number(count, f'{kind} file'), number(len(self._jobs[kind]), 'protein')
        self._warn('not written in all: %s, of %s; see the log', *what)


class Removals:
  """Tells what is removed: each protein in the log, on the screen the first few and in the end their number."""

  def __init__(self, warn: Callable[..., None] = _log.warning):
    self._warn = warn
    self._counts: list[int] = []

  def tell(self, job: str, count: int, of_what: str) -> None:
    """Tells that files of a protein were removed, and of what run they were."""
    if count:
      self._counts.append(count)
      extra = None if len(self._counts) <= _MAX_SHOWN else LOG_ONLY
      self._warn('%s: removed %s of an earlier run %s', job, number(count, 'file'), of_what, extra=extra)

  def close(self) -> None:
    """Tells how many there were in all, if not all of them were shown."""
    if len(self._counts) > _MAX_SHOWN:
      files = number(sum(self._counts), 'file')
      self._warn('removed %s of earlier runs in all, of %s; see the log', files, number(len(self._counts), 'protein'))
