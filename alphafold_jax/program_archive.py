# SPDX-License-Identifier: Apache-2.0
"""Compiled programs in one file, for other machines of the same kind.

A plain tar archive: first `programs.json` with what the programs were compiled for and the size and SHA-256 of each,
then the programs. The archive is not trusted to be whole or harmless as an archive, but a program in it is code that
will run: no digest can tell whether it means well.
"""

import hashlib
import io
import json
import logging
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from alphafold_jax import atomic, program_files, untrusted
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number
from alphafold_jax.transfer import archives, files

_log = logging.getLogger(__name__)
_FORMAT = 1
_LISTING = 'programs.json'
_LONGEST_LISTING = 4 << 20  # bytes
_LARGEST = 1 << 30  # bytes of a program
_PATIENCE = 60.0  # s to wait for another import
_AGAIN = 'copy it again, or export it anew with `alphafold-jax cache programs export`'


class _NotOursError(Exception):
  """The archive is not one that `export` made."""


def export(folder: Path, facts: Mapping[str, str], archive: Path) -> list[program_files.KeptProgram]:
  """Writes the programs of a folder to a new archive; those for other machines and versions stay out.

  Args:
    folder: of programs.
    facts: of this machine and code, as in the programs' headings.
    archive: the file to make.

  Returns:
    the programs in it.

  Raises:
    InputError: there is none, the file exists, or it cannot be written.
    ResourceError: the disk is full.
  """
  if os.path.lexists(archive):
    raise InputError(f'{archive}: exists; remove it, or choose another name')
  there = [one for one in program_files.kept(folder) if one.heading]
  found = [one for one in there if one.heading and one.heading.facts == dict(facts) and _whole(one)]
  found.sort(key=lambda one: one.path.name)
  if not found:
    raise InputError(
      f'{folder}: no whole program of this machine and these versions among {number(len(there), "program")}; predict '
      'a protein of each length that matters, and export then'
    )
  listed = {one.path.name: {'size': one.num_bytes, 'sha256': files.digest(one.path)['sha256']} for one in found}
  listing = json.dumps({'format': _FORMAT, 'facts': dict(facts), 'programs': listed}, indent=1).encode()
  with atomic.replacing(archive) as out, tarfile.open(fileobj=out, mode='w') as tar:
    tar.addfile(_member(_LISTING, len(listing)), io.BytesIO(listing))
    for one in found:
      with open(one.path, 'rb') as file:
        tar.addfile(_member(one.path.name, one.num_bytes), file)
  return found


def _whole(one: program_files.KeptProgram) -> bool:
  try:
    program_files.check(one.path)
  except (OSError, program_files.DamagedError) as error:
    _log.warning('%s: damaged, so it is left out: %s', one.path, error)
    return False
  return True


def _member(name: str, size: int) -> tarfile.TarInfo:
  member = tarfile.TarInfo(name)
  member.size = size
  return member


def take_in(archive: Path, folder: Path, facts: Mapping[str, str]) -> tuple[int, int]:
  """Puts the programs of an archive beside those of a folder, all or none; whole ones that are there stay.

  Args:
    archive: from `export`.
    folder: of programs.
    facts: of this machine and code.

  Returns:
    how many are new, and how many were there.

  Raises:
    InputError: it cannot be read, is damaged, or was made on another kind of machine or with other versions.
    ResourceError: the disk is full.
    TransferError: the folder cannot be written, or another import does not end.
  """
  is_tar = False
  try:
    with _opened(archive) as file, files.lock(folder, _PATIENCE), files.staging(folder) as staged:
      files.require_space(folder, os.fstat(file.fileno()).st_size, 'the import')
      with tarfile.open(fileobj=file, mode='r:') as tar:
        is_tar = True
        names = _unpack(tar, staged, facts, archive)
      return _put_in_place(names, staged, folder)
  except InputError:  # which is a ValueError too
    raise
  except archives.BROKEN as error:
    what = 'cut off or damaged' if is_tar else 'no plain tar archive, as an export is'
    raise InputError(f'{archive}: {what}; nothing is imported, {_AGAIN}') from error
  except (archives.UnsafeArchiveError, program_files.DamagedError, _NotOursError) as error:
    raise InputError(f'{archive}: {error}; nothing is imported, {_AGAIN}') from error
  except OSError as error:
    raise InputError(f'{archive}: cannot be read ({error.strerror or error}); nothing is imported, {_AGAIN}') from error


def _opened(archive: Path) -> BinaryIO:
  """The archive, open; InputError unless it is a file with something in it that can be read."""
  try:
    about = archive.stat()
    what = 'a folder' if stat.S_ISDIR(about.st_mode) else None if stat.S_ISREG(about.st_mode) else 'a pipe or a device'
    if what is None and not about.st_size:
      what = 'an empty file'
    if what is not None:
      raise InputError(f'{archive}: {what}; give a file that `alphafold-jax cache programs export` has written')
    return open(archive, 'rb')
  except OSError as error:
    advice = 'give a file that `alphafold-jax cache programs export` has written, and that you may read'
    raise InputError(f'{archive}: {(error.strerror or str(error)).lower()}; {advice}') from error


def _unpack(tar: tarfile.TarFile, staged: Path, facts: Mapping[str, str], archive: Path) -> list[str]:
  """Writes all programs to a folder, each compared with the listing; returns their names."""
  listed: dict[str, Any] = {}
  names: list[str] = []
  for index, (_, member) in enumerate(archives.members(tar, _LARGEST)):
    if not index:
      listed = _listing(tar, member, facts, archive)
      continue
    if (expected := listed.get(member.name)) is None:
      raise _NotOursError(f'{member.name!r} is not in its listing')
    state = hashlib.sha256()
    archives.extract(tar, member, staged / member.name, state.update)
    if expected != {'size': member.size, 'sha256': state.hexdigest()}:
      raise program_files.DamagedError(f'the digest of {member.name} is not the one in the listing')
    if program_files.check(staged / member.name).facts != dict(facts):
      raise _NotOursError(f'{member.name} was compiled for another machine than the listing says')
    names.append(member.name)
  if missing := sorted(set(listed) - set(names)):
    raise _NotOursError(
      f'{len(missing)} of its programs are missing, such as {missing[0]}' if listed else 'it is empty'
    )
  if not names:
    raise _NotOursError('it holds no program')
  return names


def _listing(tar: tarfile.TarFile, member: tarfile.TarInfo, facts: Mapping[str, str], archive: Path) -> dict[str, Any]:
  """What the archive says it holds, if it is for this kind of machine."""
  if member.name != _LISTING or member.size > _LONGEST_LISTING:
    raise _NotOursError(f'it does not begin with {_LISTING}, so it was not made by `cache programs export`')
  source = tar.extractfile(member)
  assert source is not None  # only links and special files have no content
  try:
    given = untrusted.from_json(source.read())
    form, theirs, listed = given['format'], given['facts'], given['programs']
    is_whole = all(map(program_files.is_plain, [*theirs, *theirs.values()])) and isinstance(listed, dict)
  except (ValueError, KeyError, TypeError, AttributeError):
    raise _NotOursError(f'its {_LISTING} does not say what it holds') from None
  if form != _FORMAT:
    raise _NotOursError(f'its {_LISTING} is of format {form!r:.20}, this version of alphafold_jax knows {_FORMAT}')
  if not is_whole or not all(map(program_files.NAME.fullmatch, listed)):
    raise _NotOursError(f'its {_LISTING} names what no export does')
  differing = [name for name in {**theirs, **facts} if theirs.get(name) != facts.get(name)]
  if differing:
    shown = ', '.join(f'{name} {theirs.get(name, "none")} (here {facts.get(name, "none")})' for name in differing)
    raise InputError(
      f'{archive}: its programs were compiled for something else: {shown}. Nothing is imported; export them on a '
      'machine of the same kind with the same versions, or let this one compile its own'
    )
  return listed


def _put_in_place(names: list[str], staged: Path, folder: Path) -> tuple[int, int]:
  """Moves programs to where they are not, or not whole; how many, and how many stayed."""
  moved = 0
  for name in names:
    try:
      program_files.check(folder / name)
    except (OSError, program_files.DamagedError):
      with files.disk_errors(folder / name):
        os.replace(staged / name, folder / name)
      moved += 1
  return moved, len(names) - moved
