# SPDX-License-Identifier: Apache-2.0
"""The complexes of a training cache: which of its chains form an assembly, and where each goes. File complexes.json.

A chain is in the cache once, with its alignment, however many assemblies it is in and however often: an assembly names
its chains and moves them. complex_making.py makes the file.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, untrusted
from alphafold_jax.errors import InputError

FILE = 'complexes.json'
_FORMAT, _VERSION = 'alphafold_jax complexes', 1
Motion = tuple[float, ...]  # rotation row by row with the shift behind each row, 12 numbers; () leaves a chain in place


@dataclasses.dataclass(frozen=True)
class ComplexEntry:
  """One assembly of chains of a cache."""

  id: str
  chains: tuple[str, ...]  # ids of the cache; one that the assembly holds several times stands there as often
  motions: tuple[Motion, ...]  # of each chain
  entities: tuple[int, ...]  # of each chain, from 1; equal chains have the same
  cluster: str  # complexes that are sampled as one
  split: str  # of SPLITS in source_table.py


def write(path: Path, entries: Sequence[ComplexEntry]) -> None:
  """Writes the complexes of a cache, whole or not at all.

  Raises:
    InputError, ResourceError: it cannot be written.
  """
  lines = ',\n'.join(json.dumps(dataclasses.asdict(entry)) for entry in entries)
  header = f'{{"format": {json.dumps(_FORMAT)}, "version": {_VERSION}, "complexes": [\n'
  atomic.write_text(path, f'{header}{lines}\n]}}\n')


def read(path: Path, chains: Sequence[str]) -> tuple[ComplexEntry, ...]:
  """The complexes of a cache; none where it has no such file.

  Args:
    path: of the file.
    chains: the ids that the cache has.

  Raises:
    InputError: the file is damaged, of another version, or names a chain that the cache lacks.
  """
  try:
    content = untrusted.from_json(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    return ()
  except (OSError, ValueError) as error:
    raise InputError(f'{path}: damaged ({error}); build the cache again') from None
  if not isinstance(content, dict) or content.get('format') != _FORMAT:
    raise InputError(f'{path}: no list of complexes of this program; build the cache again')
  if content.get('version') != _VERSION:
    raise InputError(
      f'{path}: of version {content.get("version")}, this program reads {_VERSION}; build the cache again'
    )
  known = set(chains)
  try:
    entries = tuple(map(_entry, content['complexes']))
  except (KeyError, TypeError, ValueError) as error:
    raise InputError(f'{path}: damaged ({type(error).__name__}: {error}); build the cache again') from None
  for entry in entries:
    if missing := [name for name in entry.chains if name not in known]:
      raise InputError(f'{path}: complex {entry.id} names chain {missing[0]}, which this cache has not; build it again')
  return entries


def _entry(row: dict[str, Any]) -> ComplexEntry:
  """One complex of the file; KeyError, TypeError or ValueError where it is none."""
  entry = ComplexEntry(
    id=str(row['id']),
    chains=tuple(map(str, row['chains'])),
    motions=tuple(tuple(map(float, motion)) for motion in row['motions']),
    entities=tuple(map(int, row['entities'])),
    cluster=str(row['cluster']),
    split=str(row['split']),
  )
  sizes = {len(entry.motions), len(entry.entities)}
  numbers = [number for motion in entry.motions for number in motion]
  whole = {len(motion) for motion in entry.motions} <= {0, 12} and all(map(math.isfinite, numbers))
  if sizes != {len(entry.chains)} or len(entry.chains) < 2 or not whole:
    raise ValueError(f'complex {entry.id} is incomplete')
  return entry
