# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax cache programs export | import | list | clean`."""

import argparse
import contextlib
import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, folders, program_archive, program_files
from alphafold_jax.cli.flags import actions, command, value
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number
from alphafold_jax.transfer.files import human_size

_VARIABLE = 'JAX_COMPILATION_CACHE_DIR'
_OURS, _JAXS = ('program-*', 'traced-*'), ('*-cache', '*-atime')  # files by who writes them
MOST_DAYS = 36_500


def export(given: argparse.Namespace) -> int:
  folder, facts = _here()
  found = program_archive.export(folder, facts, folders.expanded(given.file))
  size = human_size(sum(one.num_bytes for one in found))
  print(f'{given.file}: {number(len(found), "program")}, {size}, for machines of this kind:')
  _show_facts(facts)
  return 0


def take_in(given: argparse.Namespace) -> int:
  folder, facts = _here()
  new, there = program_archive.take_in(folders.expanded(given.file), folder, facts)
  beside = f'; {there} of its programs {"was" if there == 1 else "were"} there' if there else ''
  print(f'{folder}: {number(new, "program")} imported{beside}')
  return 0


def _here() -> tuple[Path, dict[str, str]]:
  """The folder of this machine's programs, and what they depend on."""
  from alphafold_jax import compiled_once, devices

  if (folder := devices.use_compilation_cache()) is None:
    raise InputError(devices.cannot_keep())
  atomic.make_folder(folder)
  return folder, compiled_once.facts()


def _show_facts(facts: dict[str, str]) -> None:
  for name, fact in facts.items():
    print(f'  {name:<14} {fact}')


def show(given: argparse.Namespace) -> int:
  found = {folder: sorted(program_files.kept(folder), key=lambda one: one.used) for folder in _folders()}
  width = max((len(_what(one)) for programs in found.values() for one in programs), default=0)
  for folder, programs in found.items():
    if programs:
      print(f'Programs in {folder}')
    for one in programs:
      print(f'  {_line(one, width)}')
  sizes = [one.num_bytes for programs in found.values() for one in programs]
  print(f'{len(sizes)} in all, {human_size(sum(sizes))}' if sizes else f'No programs in {folders.user_cache("xla")}')
  return 0


def _line(one: program_files.KeptProgram, width: int) -> str:
  key, made = one.path.name.partition('-')[2][:12], ''
  if one.heading:
    versions = ', '.join(
      f'{name} {one.heading.facts.get(name, "of unknown version")}' for name in ('alphafold_jax', 'jax')
    )
    made = f'compiled in {one.heading.seconds:.1f} s, {versions}'
  return f'{key}  {one.used:%Y-%m-%d %H:%M}  {_what(one):<{width}} {human_size(one.num_bytes):>10}  {made}'.rstrip()


def _what(one: program_files.KeptProgram) -> str:
  return one.heading.what if one.heading else 'damaged; it will be compiled again'


def clean(given: argparse.Namespace) -> int:
  if not 0 <= given.older_than <= MOST_DAYS:
    raise InputError(f'--older-than {given.older_than:g}: give days, from 0 to {MOST_DAYS:,}')
  limit = datetime.datetime.now().timestamp() - given.older_than * 86_400
  count = size = 0
  for path in _files():
    with contextlib.suppress(FileNotFoundError):  # another process removed it
      about = path.stat()
      if about.st_mtime <= limit:
        path.unlink()
        count, size = count + 1, size + about.st_size
  print(f'{number(count, "file")} removed, {human_size(size)}' if count else 'None to remove')
  return 0


def _folders() -> Iterator[Path]:
  """Those that hold programs, of all kinds of machines and versions."""
  if elsewhere := os.environ.get(_VARIABLE):
    yield Path(elsewhere)
  yield from sorted(path for path in folders.user_cache('xla').glob('*') if path.is_dir())


def _files() -> Iterator[Path]:
  """All that predictions left there; in a folder of JAX's own choosing only what is ours."""
  ours = folders.user_cache('xla')
  for folder in _folders():
    for pattern in _OURS + (_JAXS if folder.parent == ours else ()):
      yield from (path for path in folder.glob(pattern) if not path.is_dir())


_FILE = {'file': value('FILE', 'the archive')}
_OLDER = {'--older-than': value('DAYS', 'only those not used for so many days', type=float, default=0.0)}
_TRUST = (
  'Puts the programs of an archive where predictions find them. Programs are code that will run: import them from '
  'people you trust only. What was compiled with other versions, or for another kind of machine, is refused, and so is '
  'an archive that was damaged; programs that are there stay.'
)
_EXPORTED = (
  'Writes the compiled programs of this machine and these versions to one file, with their digests, for machines of '
  'the same kind.'
)


def add(commands: Any) -> None:
  group = actions(commands, 'programs', 'copy, list or remove compiled programs')
  command(
    group, 'export', export, 'write compiled programs to a file', arguments=_FILE, description=_EXPORTED
  )  # fmt: skip
  command(group, 'import', take_in, 'take compiled programs from a file', arguments=_FILE, description=_TRUST)
  command(group, 'list', show, 'the compiled programs that are kept, those not used for longest first', arguments={})
  command(group, 'clean', clean, 'remove compiled programs, all or those not used for some time', arguments=_OLDER)
