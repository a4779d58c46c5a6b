# SPDX-License-Identifier: Apache-2.0
"""What is searched: files, their roles, and what identifies their content.

A database is given as PATH or ROLE=PATH. Its role sets how many rows it may add, in which order, and whether it holds
sequences for the alignment, for pairs of chains, or those of known structures (AlphaFold 2.3.2: data/pipeline.py,
data/pipeline_multimer.py, run_alphafold.py).
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from alphafold_jax import folders
from alphafold_jax.errors import InputError
from alphafold_jax.naming import Names, did_you_mean, listed

FASTA, MMSEQS, HHSUITE = 'FASTA file', 'MMseqs2 database', 'HH-suite database'
_WHOLE = 64 << 20  # bytes; larger files are identified by samples
_SAMPLE, _NUM_SAMPLES = 1 << 16, 64
_SEQUENCES = ('.fasta', '.fa', '.faa', '.fas', 'pdb_seqres.txt')
_NO_DATABASES = ('params', 'pdb_mmcif', 'mmcif_files')  # of AlphaFold's data folder; large


@dataclasses.dataclass(frozen=True)
class Role:
  """What a database is for."""

  order: int  # of merging
  max_rows: int | None = None  # the query included, as in AlphaFold
  templates: bool = False  # sequences of known structures
  pairs: bool = False  # rows to pair the chains of complexes by, and none of an alignment
  looks: str = ''  # pattern of the file names that have this role by default
  only_if_named: bool = False  # not taken where a folder of databases is given


ROLES: dict[str, Role] = {
  'uniref90': Role(0, 10_000, looks=r'uniref90'),
  'bfd': Role(1, looks=r'^bfd'),
  'small_bfd': Role(1, looks=r'bfd-first|small_bfd'),
  'mgnify': Role(2, 501, looks=r'mgy|mgnify'),
  'uniprot': Role(3, 50_000, pairs=True, looks=r'uniprot'),
  'custom': Role(4, 10_000, only_if_named=True),
  'uniref30': Role(0, looks=r'uniref30'),  # MMseqs2
  'env': Role(1, looks=r'colabfold_envdb|envdb|spire'),  # MMseqs2
  'pdb_seqres': Role(0, templates=True, looks=r'pdb_seqres'),  # hmmsearch
  'pdb70': Role(0, templates=True, looks=r'pdb70'),  # hhsearch
  'pdb100': Role(0, templates=True, looks=r'pdb100'),  # MMseqs2
}


@dataclasses.dataclass(frozen=True)
class Database:
  """One database."""

  role: str  # a key of ROLES
  path: Path  # the file, or what all its files begin with
  kind: str  # FASTA, MMSEQS or HHSUITE

  @property
  def settings(self) -> Role:
    """What its role sets."""
    return ROLES[self.role]


def found_in(folder: Path) -> list[Database]:
  """The databases in a folder and the folders in it, as AlphaFold's download scripts or `db download` leave them.

  Sorted by their paths; none where the folder cannot be read.
  """
  found = []
  folders = [folder, *sorted(path for path in _entries(folder) if path.is_dir() and path.name not in _NO_DATABASES)]
  for path in (entry for one in folders for entry in _entries(one)):
    name = path.name
    if name.endswith('_h.dbtype') and not name.endswith('_seq_h.dbtype'):
      base, kind = name.removesuffix('_h.dbtype'), MMSEQS
    elif name.endswith('_a3m.ffindex'):
      base, kind = name.removesuffix('_a3m.ffindex'), HHSUITE
    elif name.lower().removesuffix('.gz').endswith(_SEQUENCES) and path.is_file():
      base, kind = name, FASTA
    else:
      continue
    found.append(Database(_role_of(path.with_name(base)), path.with_name(base), kind))
  return sorted(found, key=lambda one: str(one.path))


def _entries(folder: Path) -> list[Path]:
  try:
    return sorted(folder.iterdir())
  except OSError:
    return []


def parse(text: str) -> Database:
  """The database that is given as `ROLE=PATH` or `PATH`; InputError if there is no such role or file."""
  given, equals, rest = text.partition('=')
  role = Names(ROLES).meant(given.strip()) or ''
  if not equals or (not role and os.path.exists(text)):
    role, rest = '', text
  elif not role:
    choices = f'choose {", ".join(ROLES)}, or give the path alone{did_you_mean(given, ROLES)}'
    raise InputError(f'--database {text}: no role {given!r}; {choices}')
  path = folders.expanded(rest)
  if kind := _kind(path):
    return Database(role or _role_of(path), path, kind)
  what = 'no such file; give a FASTA file (also .gz), or what the files of an MMseqs2 or HH-suite database begin with'
  if os.path.isdir(path):  # path.is_dir() raises OSError of a name that is too long
    there = [f'{one.path.relative_to(path)} ({one.kind}, {one.role})' for one in found_in(path)]
    what = f'a folder, which has no role; name the database itself; databases in it: {listed(there) or "none"}'
  raise InputError(f'--database {text}: {what}')


def _kind(path: Path) -> str | None:
  """The kind of the database whose files begin with a path; None if there is none."""
  if os.path.isfile(f'{path}.dbtype'):
    return MMSEQS
  if os.path.isfile(f'{path}_a3m.ffindex'):
    return HHSUITE
  return FASTA if os.path.isfile(path) else None


def _role_of(path: Path) -> str:
  name = path.name.lower()
  longest_first = sorted(ROLES.items(), key=lambda item: -len(item[0]))
  return next((role for role, known in longest_first if known.looks and re.search(known.looks, name)), 'custom')


def in_order(databases: Iterable[Database]) -> list[Database]:
  """The databases in the order in which their rows are merged."""
  return sorted(databases, key=lambda database: database.settings.order)


_PARTS = {  # what follows a database's name in those of its files
  MMSEQS: re.compile(r'(_(h|seq|seq_h|aln|ca|ss|mapping|taxonomy))?(\.(idx|dbtype|index|lookup|source|\d+))*'),
  HHSUITE: re.compile(r'_(a3m|hhm|cs219)\.ff(data|index)'),
}


def files_of(database: Database) -> list[Path]:
  """All files that make up a database."""
  if database.kind == FASTA:
    return [database.path]
  start, parts = database.path.name, _PARTS[database.kind]
  return [
    path
    for path in _entries(database.path.parent)
    if path.name.startswith(start) and path.is_file() and parts.fullmatch(path.name.removeprefix(start))
  ]


def identity(database: Database) -> dict[str, str | int]:
  """Identifies a database: its role and kind, sizes and content of its files; an index does not count.

  Of files over 64 MiB the content is 64 samples and the time of the last change.

  Raises:
    InputError: a file cannot be read.
  """
  state, total = hashlib.sha256(), 0
  for path in (path for path in files_of(database) if '.idx' not in path.name):
    try:
      about = path.stat()
      with open(path, 'rb') as file:
        if about.st_size <= _WHOLE:
          state.update(hashlib.file_digest(file, 'sha256').digest())
        else:
          state.update(f'{about.st_mtime_ns}'.encode())
          for i in range(_NUM_SAMPLES):
            file.seek((about.st_size - _SAMPLE) * i // (_NUM_SAMPLES - 1))
            state.update(file.read(_SAMPLE))
    except OSError as error:
      raise InputError(f'{path}: cannot be read ({error.strerror})') from None
    state.update(f'{path.name.removeprefix(database.path.name)} {about.st_size}'.encode())
    total += about.st_size
  return {'role': database.role, 'kind': database.kind, 'bytes': total, 'sha256': state.hexdigest()}


def size(database: Database) -> int:
  """Bytes of all its files."""
  return sum(path.stat().st_size for path in files_of(database))


def of_kind(databases: Sequence[Database], kind: str, *, templates: bool) -> list[Database]:
  """The databases of a kind, for alignments or for templates, in the order of merging."""
  settings = [(one, one.settings) for one in databases if one.kind == kind]
  return in_order(one for one, role in settings if role.templates == templates and not role.pairs)


def for_pairs(databases: Sequence[Database], kind: str) -> list[Database]:
  """The databases of a kind that only pair chains, in the order of merging."""
  return in_order(one for one in databases if one.kind == kind and one.settings.pairs)
