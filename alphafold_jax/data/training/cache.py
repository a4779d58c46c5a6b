# SPDX-License-Identifier: Apache-2.0
"""The training cache: parsed chains in one file that is read at random places, and a table of them for people.

A cache is a folder:
  records.array_record  one chain per record (data/training/packing.py)
  index.csv             one line per record, in the same order (`ChainEntry`)
  skipped.csv           files and chains that were left out, and names that match none, with the reason
  cache.json            version, sizes and settings; written last
  templates.npz         which training chains resemble each chain, where they were looked for (template_hits.py)
  complexes.json        which chains form assemblies, where they were looked for (complexes.py)

The format is ArrayRecord, which Grain reads: every record is compressed (zstd) and has a checksum (if one is damaged,
the others stay readable), any record is found without reading those before it, and one file holds from ten chains to
the whole PDB, which as 200,000 files would burden a network disk. Reading a record takes about a millisecond; parsing
mmCIF and A3M takes a hundred times longer than a training step can wait.
"""

import csv
import dataclasses
import functools
import threading
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

from alphafold_jax import atomic, installed, untrusted
from alphafold_jax.data.training import complexes, template_hits
from alphafold_jax.data.training.packing import ChainRecord, unpack
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

FORMAT = 'alphafold_jax training cache'
VERSION = 1
RECORDS, INDEX, SKIPPED, MANIFEST = 'records.array_record', 'index.csv', 'skipped.csv', 'cache.json'
_READER_OPTIONS = {'options': 'readahead_buffer_size:0', 'file_reader_buffer_size': 1 << 15}  # for random access


@dataclasses.dataclass(frozen=True)
class ChainEntry:
  """One chain's line of index.csv, which its record need not be read for."""

  id: str
  length: int  # residues
  num_resolved: int  # residues with a CA atom
  resolution: float  # Å; 0: unknown, or a method without one
  method: str  # '' unknown
  release_date: str  # YYYY-MM-DD, '' unknown
  cluster: str  # chains that are sampled as one; the chain's own id where no clusters were given
  split: str  # of SPLITS in source_table.py; only 'train' is trained on
  largest_share: float  # of the commonest residue type
  depth: int  # rows of the alignment as kept, the query counted
  depth_found: int  # rows before the cap
  alignment: str  # its files, joined by ' + ', '' without
  is_distillation: int  # 1: a predicted structure


class TrainingCache:
  """An opened cache; `cache[i]` reads record i. May be used from several threads and sent to other processes."""

  def __init__(self, path: Path, entries: tuple[ChainEntry, ...]):
    self.path = path
    self.entries = entries
    self._reader: Any = None
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return len(self.entries)

  def __getitem__(self, index: int) -> ChainRecord:
    """Reads the record of `entries[index]`.

    Raises:
      InputError: it cannot be read, or belongs to another chain.
    """
    entry = self.entries[index]
    try:
      record = unpack(self._open().read([index])[0])
    except InputError:
      raise
    except Exception as error:  # of a damaged record ArrayRecord and numpy raise errors of any type
      raise InputError(
        f'{self.path / RECORDS}: record {index} ({entry.id}) cannot be read ({type(error).__name__}: {error}); '
        'build the cache again'
      ) from None
    if record.id != entry.id:
      raise InputError(f'{self.path}: record {index} is {record.id}, the index says {entry.id}; build the cache again')
    return record

  @functools.cached_property
  def hits(self) -> template_hits.TemplateHits | None:
    """Which training chains resemble each chain; None where nobody looked for them.

    Raises:
      InputError: the file is damaged, or of another cache.
    """
    return template_hits.read(self.path / template_hits.FILE, [entry.id for entry in self.entries])

  @functools.cached_property
  def complexes(self) -> tuple[complexes.ComplexEntry, ...]:
    """The assemblies of its chains; none where nobody looked for them.

    Raises:
      InputError: the file is damaged, or of another cache.
    """
    return complexes.read(self.path / complexes.FILE, list(self.places))

  @functools.cached_property
  def places(self) -> dict[str, int]:
    """The index of each chain by its id."""
    return {entry.id: place for place, entry in enumerate(self.entries)}

  def _open(self) -> Any:
    with self._lock:
      if self._reader is None:
        self._reader = array_record().ArrayRecordReader(str(self.path / RECORDS), **_READER_OPTIONS)
      return self._reader

  def __reduce__(self) -> tuple[type, tuple[Path, tuple[ChainEntry, ...]]]:
    return type(self), (self.path, self.entries)


def exists(path: str | Path) -> bool:
  """Whether a folder is a cache, as far as its name tells: whole or damaged."""
  return (Path(path) / MANIFEST).is_file()


def open_cache(path: str | Path) -> TrainingCache:
  """Opens a cache that `build_cache` made.

  Raises:
    InputError: there is none, or it is of another version, damaged or incomplete.
  """
  path = Path(path)
  atomic.check_name(path)
  manifest = _read_manifest(path)
  entries = _read_index(path / INDEX)
  if len(entries) != manifest['num_records']:
    raise InputError(
      f'{path / INDEX}: {number(len(entries), "line")}, the cache has {number(manifest["num_records"], "record")}; '
      'build the cache again'
    )
  size = (path / RECORDS).stat().st_size if (path / RECORDS).is_file() else -1
  if size != manifest['num_bytes']:
    found = 'is missing' if size < 0 else f'has {size} bytes'
    raise InputError(
      f'{path / RECORDS}: {found}, expected {manifest["num_bytes"]} bytes; copy the cache again or build it anew'
    )
  return TrainingCache(path, entries)


def array_record() -> ModuleType:
  """The module that reads and writes ArrayRecord; InputError where it is not installed."""
  return installed.module('array_record.python.array_record_module', 'train', InputError)


def _read_manifest(path: Path) -> dict[str, Any]:
  """The content of cache.json, after its format and version were checked."""
  make = f'make one with `alphafold-jax dataset STRUCTURES... {path}`'
  try:
    manifest = untrusted.from_json((path / MANIFEST).read_text(encoding='utf-8'))
    kind, version = manifest['format'], manifest['version']
    _ = manifest['num_records'], manifest['num_bytes']
  except (FileNotFoundError, NotADirectoryError):
    what = 'no such folder' if not path.exists() else f'{MANIFEST} is missing' if path.is_dir() else 'this is a file'
    raise InputError(f'{path}: no training cache here ({what}); {make}') from None
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise InputError(f'{path / MANIFEST}: damaged ({type(error).__name__}: {error}); build the cache again') from None
  if kind != FORMAT:
    raise InputError(f'{path}: not a training cache of this program (format {kind!r})')
  if version != VERSION:
    raise InputError(f'{path}: a cache of version {version}, this program reads {VERSION}; build the cache again')
  return manifest


def _read_index(path: Path) -> tuple[ChainEntry, ...]:
  """The lines of index.csv."""
  types = typing.get_type_hints(ChainEntry)
  try:
    with open(path, encoding='utf-8', newline='') as file:
      return tuple(ChainEntry(**{name: of(row[name]) for name, of in types.items()}) for row in csv.DictReader(file))
  except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
    raise InputError(f'{path}: damaged ({type(error).__name__}: {error}); build the cache again') from None
