# SPDX-License-Identifier: Apache-2.0
"""The files that a training set is made of: structures and alignments, those given and those in the folders given.

The case of a suffix does not count, and each file may be packed (.gz). Folders are read to any depth, links followed.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from alphafold_jax import atomic
from alphafold_jax.errors import InputError
from alphafold_jax.naming import listed
from alphafold_jax.screen import number

STRUCTURES = ('.cif', '.mmcif', '.pdb', '.ent')
ALIGNMENTS = ('.a3m', '.sto', '.stk', '.stockholm')
_PDB_FILE = re.compile(r'^pdb(?=\d\w{3}$)', re.IGNORECASE)  # before an entry's name in the PDB's own archive
Paths = str | Path | Sequence[str | Path]


@dataclasses.dataclass(frozen=True)
class SourceFiles:
  """The files of a kind under one path that was given."""

  path: Path
  files: tuple[Path, ...]  # sorted
  others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)  # suffix -> files ignored

  def ignored(self) -> str:
    """'7 other files ignored (4 .hhr, 3 .m8)'; '' where there are none."""
    kinds = [f'{count} {suffix or "without a suffix"}' for suffix, count in self.others.most_common()]
    return f'{number(self.others.total(), "other file")} ignored ({listed(kinds)})' if kinds else ''


def find_structures(given: Paths) -> list[SourceFiles]:
  """The structure files of each path given; InputError where one does not exist or has none."""
  return [_find(path, STRUCTURES, 'structure file') for path in paths_of(given)]


def find_alignments(given: Paths) -> list[SourceFiles]:
  """The alignment files of each path given; InputError where one does not exist or has none."""
  return [_find(path, ALIGNMENTS, 'alignment', flag='--msas ') for path in paths_of(given)]


def paths_of(given: Paths) -> list[Path]:
  """One path or several, as a list."""
  return [Path(given)] if isinstance(given, str | Path) else [Path(path) for path in given]


def stem(path: Path, suffixes: tuple[str, ...]) -> str:
  """A file's name without its suffixes of these and '.gz', whatever their case: '4ZEY.CIF.GZ' -> '4ZEY'."""
  name = atomic.printable(path.name)
  while name.lower().endswith(('.gz', *suffixes)) and name.rpartition('.')[0]:
    name = name.rpartition('.')[0]
  return name


def entry_names(path: Path) -> tuple[str, ...]:
  """What a structure file may be called: 'pdb4zey.ent.gz' -> pdb4zey, 4zey."""
  name = stem(path, STRUCTURES)
  return tuple(dict.fromkeys((name, _PDB_FILE.sub('', name))))


def _find(path: Path, suffixes: tuple[str, ...], what: str, flag: str = '') -> SourceFiles:
  """The files of a folder, or the one given, whose name may be any; InputError where there are none."""
  if os.path.isfile(path):  # not path.is_file(), which raises OSError of a name that is too long
    return SourceFiles(path, (path,))
  if not os.path.isdir(path):
    raise InputError(f'{flag}{path}: no such file or folder of {what}s')
  files = list(_below(path))
  taken = [file for file in files if file.name.lower().removesuffix('.gz').endswith(suffixes)]
  others = collections.Counter(sorted(file.suffix.lower() for file in set(files).difference(taken)))
  found = SourceFiles(path, tuple(sorted(taken)), others)
  if not taken:
    raise InputError(f'{flag}{path}: no {what} ({", ".join(suffixes)}, also .gz) in it; {_instead(found)}')
  return found


def _below(folder: Path) -> Iterator[Path]:
  """The files in a folder and the folders in it but hidden ones; a folder that links lead to twice is read once."""
  seen = set()

  def refuse(error: OSError) -> None:
    raise InputError(f'{error.filename}: cannot be read ({error.strerror}); make it readable or remove it') from None

  for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
    about = os.stat(place)
    if (about.st_dev, about.st_ino) in seen:
      folders.clear()
      continue
    seen.add((about.st_dev, about.st_ino))
    folders[:] = sorted(name for name in folders if not name.startswith('.'))
    yield from (Path(place, name) for name in files if not name.startswith('.'))


def _instead(found: SourceFiles) -> str:
  """What a folder holds instead of what was expected."""
  return found.ignored().replace(' ignored', '') + ' instead' if found.others else 'it is empty'
