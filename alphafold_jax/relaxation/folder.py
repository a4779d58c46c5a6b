# SPDX-License-Identifier: Apache-2.0
"""Relaxed structures in a folder: which files are relaxed, what theirs are called, and what was done before.

{stem}_relaxed.pdb or .cif   the structure; of x_unrelaxed_rank_001_... it is x_relaxed_rank_001_...
{stem}_relax.json            its record; likewise x_relax_rank_001_....json
relax_metrics.json           the records of all, by the name of the relaxed structure
"""

import dataclasses
import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alphafold_jax import atomic, folders, untrusted
from alphafold_jax.data.records import absent, read_bytes
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.relaxation.forms import MMCIF, format_of
from alphafold_jax.relaxation.protocols import Protocol
from alphafold_jax.relaxation.relaxing import Relaxed, RelaxPlan, relax_all
from alphafold_jax.screen import LOG, number

_log = logging.getLogger(__name__)
METRICS = 'relax_metrics.json'
_FORMAT = 1  # raise it when the same structure would be relaxed otherwise
_STRUCTURE = re.compile(r'(?P<stem>.+?)\.(pdb|ent|cif|mmcif)(\.gz)?', re.IGNORECASE)
_UNRELAXED = re.compile(r'(?P<job>.+)_unrelaxed_(?P<tag>.+)', re.DOTALL)
_LEFT = re.compile(r'.*_relaxed(_.*)?|.*_seed_\d+(\.r|_r)\d+', re.DOTALL)  # relaxed, or of one recycling pass
_RECORD = re.compile(r'(?P<start>.+)_relax(?P<rest>_.+)?\.json', re.DOTALL)


class FilesOfRelaxed(NamedTuple):
  """The files of one relaxed structure."""

  structure: str
  record: str


def names_of(file: Path) -> FilesOfRelaxed:
  """What the files of a structure's relaxation are called."""
  stem = _stem(file)
  if ranked := _UNRELAXED.fullmatch(stem):
    return names_for(ranked['job'], f'_{ranked["tag"]}', format_of(file))
  return names_for(stem, '', format_of(file))


def names_for(job: str, rest: str, form: str) -> FilesOfRelaxed:
  """The same by the parts of the names: the protein, what is behind `_relaxed`, and the ending."""
  return FilesOfRelaxed(f'{job}_relaxed{rest}{form}', f'{job}_relax{rest}.json')


def key_of(content: bytes, protocol: Protocol) -> str:
  """The digest of all that makes a relaxed structure: its start, and how it is relaxed."""
  made_of = [_FORMAT, hashlib.sha256(content).hexdigest(), dataclasses.asdict(protocol)]
  return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


# ------------------------------------------------------------------------------------------ what there is


def find(given: Sequence[str | Path]) -> list[Path]:
  """The structure files among files and folders, each structure once: of one name PDB goes before mmCIF.

  Relaxed structures and those of single recycling passes are left out of folders.

  Raises:
    InputError: one of them does not exist or holds no structure, or two would have results of the same name.
  """
  found: dict[str, Path] = {}
  for one in given:
    for file in _in(folders.expanded(one)):
      name = names_of(file).record
      if (other := found.setdefault(name, file)) != file:
        raise InputError(f'{file}: its results would be called like those of {other}; relax them into two folders')
  return list(found.values())


def _in(path: Path) -> list[Path]:
  """The structures of a folder, or the file itself, which may have any name."""
  if not path.is_dir():
    if not path.exists():
      raise InputError(f'{path}: {absent(path, "no such file or folder")}')
    return [path]
  best: dict[str, Path] = {}
  for file in sorted(path.iterdir(), key=lambda file: (format_of(file) == MMCIF, file.name)):
    named = _STRUCTURE.fullmatch(file.name)
    if named and file.is_file() and not file.name.startswith('.') and not _LEFT.fullmatch(named['stem']):
      best.setdefault(named['stem'], file)
  if not best:
    raise InputError(f'{path}: no structure to relax (.pdb, .ent, .cif or .mmcif, also .gz)')
  return sorted(best.values())


def _stem(file: Path) -> str:
  named = _STRUCTURE.fullmatch(file.name)
  return named['stem'] if named else file.stem


def is_done(out: Path, names: FilesOfRelaxed, key: str) -> bool:
  """Whether the files of a relaxation are there, and are of this content."""
  record = read_record(out / names.record)
  return record is not None and record.get('key') == key and (out / names.structure).exists()


def structure_of(record: str) -> str:
  """The name of a relaxed structure, without its ending, by that of its record."""
  named = _RECORD.fullmatch(record)
  return f'{named["start"]}_relaxed{named["rest"] or ""}' if named else record


def read_record(path: Path) -> dict[str, Any] | None:
  """The record of a relaxation; None if there is none, or another file has its name."""
  try:
    content = untrusted.from_json(path.read_text(encoding='utf-8'))
    return content if 'remaining_violations' in content and 'energy_after' in content else None
  except (OSError, ValueError, TypeError):
    return None


# ------------------------------------------------------------------------------------------ what is made


def relax_files(files: Sequence[Path], out: Path, plan: RelaxPlan, *, again: bool = False) -> list[AlphaFoldError]:
  """Relaxes files into a folder, each as it is done, and logs how it went.

  Args:
    files: from `find`.
    out: the folder.
    plan: how.
    again: also what is done already.

  Returns:
    what went wrong, one for each structure that was not relaxed.
  """
  failures: list[AlphaFoldError] = []
  left: list[tuple[Path, str]] = []
  for file in files:
    try:
      key = key_of(read_bytes(file), plan.protocol)
    except InputError as error:
      _log.error('%s', error)
      failures.append(error)
      continue
    if again or not is_done(out, names_of(file), key):
      left.append((file, key))
  if done := len(files) - len(left) - len(failures):
    _log.info('done already: %s', number(done, 'structure'))

  def ended(index: int, found: Relaxed | AlphaFoldError) -> None:
    file, key = left[index]
    if isinstance(found, AlphaFoldError):
      _log.error('%s', found)
      failures.append(found)
      return
    save(found, out, names_of(file), key)
    for note in found.record['notes']:
      _log.info('%s: %s', file.name, note)
    _log.info('%s: %s', file.name, found.told)

  if left:
    _log.info('relaxing %s, %s protocol', number(len(left), 'structure'), plan.protocol.name)
    relax_all([file for file, _ in left], plan, ended)
  write_metrics(out)
  return failures


def save(found: Relaxed, out: Path, names: FilesOfRelaxed, key: str) -> None:
  """Writes a relaxed structure, then its record, which says that it is whole."""
  found.save(out / names.structure)
  atomic.write_text(out / names.record, dump(dict(found.record) | {'key': key}))


def write_metrics(out: Path, others: Mapping[str, Mapping[str, Any]] | None = None) -> None:
  """Writes relax_metrics.json of all records in a folder, and of others by the name of the relaxed structure."""
  found: dict[str, Mapping[str, Any]] = {}
  for path in sorted(out.glob('*_relax*.json')):
    if path.name != METRICS and (record := read_record(path)) is not None:
      found[structure_of(path.name)] = record
  found |= others or {}
  if found:
    atomic.write_text(out / METRICS, dump({name: found[name] for name in sorted(found)}))
  else:
    (out / METRICS).unlink(missing_ok=True)


def dump(content: Any) -> str:
  """JSON for people and programs."""
  return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + '\n'


def closing(files: Sequence[Path], failures: Sequence[AlphaFoldError], out: Path) -> str:
  """How it ended, in a line."""
  relaxed = len(files) - len(failures)
  where = f'Files are in {out}' if relaxed else f'The log is {out / LOG}'
  return f'{relaxed} of {number(len(files), "structure")} relaxed. {where}'
