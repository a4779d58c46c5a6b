# SPDX-License-Identifier: Apache-2.0
"""Building a training cache from structure files and alignments, which several processes parse.

The cache is made in a hidden folder beside its place, `.NAME.part`, and moved there when complete: a build that is
killed or meets a full disk leaves nothing that could be mistaken for a cache, and the next one starts anew.
"""

import collections
import contextlib
import csv
import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, locks, spreading
from alphafold_jax.data.training import cache, chain_reading, complex_making, sources
from alphafold_jax.data.training.accounts import Given, Used, read_given
from alphafold_jax.data.training.sources import Paths
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

_WRITER_OPTIONS = 'group_size:1,zstd:9'  # one record per compressed group, for random access


@dataclasses.dataclass(frozen=True)
class CacheSummary:
  """The contents of a new cache, and what was left out of it."""

  path: Path
  num_chains: int
  num_with_alignment: int
  num_with_couplings: int
  num_clusters: int
  splits: dict[str, int]  # name -> chains
  skipped: tuple[tuple[str, str], ...]  # (file or chain, reason)
  notes: tuple[str, ...] = ()  # how much was used of what was given
  left_out: dict[str, int] = dataclasses.field(default_factory=dict)  # atoms in no chain, by reason; see structures.py
  num_complexes: int = 0


def build_cache(
  structures: Paths,
  out: str | Path,
  *,
  alignments: Paths = (),
  table: str | Path | None = None,
  columns: dict[str, str] | None = None,
  clusters: str | Path | None = None,
  predicted: bool = False,
  max_rows: int = 8192,
  couplings: bool = False,
  complexes: bool | str | Path = False,
  processes: int | None = None,
  progress: Callable[[int, int], None] | None = None,
) -> CacheSummary:
  """Builds a training cache.

  Args:
    structures: mmCIF or PDB files (also .gz), and folders of them.
    out: the cache's folder; must not exist yet, or be empty.
    alignments: A3M or Stockholm files (also .gz), and folders of them, the preferred ones first; see library.py.
    table: CSV with the column `id` and any of cluster, split (train, pilot, validation or test), resolution, method,
      release_date, exclude; chains that it does not list are left out, as are those whose `exclude` is neither empty
      nor 0.
    columns: names of those columns in the table where they differ, such as {'cluster': 'cluster30'}.
    clusters: tab-separated representative and member, as `mmseqs easy-cluster` writes it.
    predicted: the structures are predictions with pLDDT in the B-factor column, for self-distillation.
    max_rows: rows kept of an alignment; see chain_reading.py. Block deletion leaves about a fifth of them, so the
      1,152 rows of the paper's initial training need some 6,000; a small model needs fewer.
    couplings: whether those of residues are computed from all rows of each alignment, for networks that take them.
    complexes: of chains that are trained on together: True takes the assemblies of each file, a table its own rows; see
      assemblies.py.
    processes: that parse files; by default one per CPU.
    progress: called with (files done, files in all).

  Raises:
    InputError: no chain or complex can be used, an argument is wrong, or no chain makes use of one.
    ResourceError: the disk is full, or a parsing process died.
  """
  out = Path(out)
  _check_counts(max_rows=max_rows, processes=processes)
  given, skipped = read_given(found := sources.find_structures(structures), alignments, table, columns or {}, clusters)
  files = [file for one in found for file in one.files]
  given.check_entries([name for file in files for name in sources.entry_names(file)])
  options = chain_reading.ReadingOptions(given, predicted, max_rows, couplings, complexes is True)
  assemblies = [] if isinstance(complexes, bool) else complex_making.read_table(complexes)
  with _building(out) as folder:
    left_out, coupled = collections.Counter[str](), list[str]()
    parsed = _counted(_parse(files, options, processes), left_out, assemblies)
    results = chain_reading.with_couplings(parsed, coupled)
    entries, used = _write_records(folder / cache.RECORDS, results, len(files), skipped, progress)
    _check_use(given, used, skipped, entries, files)
    skipped = [*dict.fromkeys(skipped), *given.unmatched(used, {name for name, _ in skipped})]
    made = _write_complexes(folder, entries, assemblies, skipped) if complexes else 0
    _write_tables(folder, entries, skipped, _settings(options))
  counts = {'num_with_couplings': len(coupled), 'num_complexes': made}
  return _summary(out, entries, skipped, given.notes(used), left_out, counts)


def _summary(
  out: Path,
  entries: list[cache.ChainEntry],
  skipped: list[tuple[str, str]],
  notes: Iterator[str],
  left_out: Mapping[str, int],
  counts: Mapping[str, int],
) -> CacheSummary:
  return CacheSummary(
    path=out,
    num_chains=len(entries),
    num_with_alignment=sum(entry.depth > 1 for entry in entries),
    num_clusters=len({entry.cluster for entry in entries}),
    splits=dict(collections.Counter(entry.split for entry in entries)),
    skipped=tuple(skipped),
    notes=tuple(notes),
    left_out=dict(left_out),
    **counts,
  )


def _write_complexes(
  folder: Path,
  entries: list[cache.ChainEntry],
  assemblies: list[complex_making.ChainAssembly],
  skipped: list[tuple[str, str]],
) -> int:
  """Writes the list of complexes, and appends to `skipped` what is left out; their number."""
  made, unmade = complex_making.add_complexes(cache.TrainingCache(folder, tuple(entries)), assemblies, skipped)
  skipped += unmade
  return len(made)


def _counted(
  results: Iterator[chain_reading.FileChains],
  left_out: collections.Counter[str],
  assemblies: list[complex_making.ChainAssembly],
) -> Iterator[chain_reading.FileChains]:
  """The results, while what each file's chains leave out is added up, and its assemblies are collected."""
  for result in results:
    left_out.update(result.left_out)
    assemblies += result.assemblies
    yield result


def _settings(options: chain_reading.ReadingOptions) -> dict[str, Any]:
  """What cache.json says of how files were read."""
  settings = {'max_rows': options.max_rows, 'predicted': options.predicted}
  return settings | ({'couplings': True} if options.couplings else {})


def _check_counts(**counts: int | None) -> None:
  for name, count in counts.items():
    if count is not None and count < 1:
      raise InputError(f'{name}={count}: must be 1 or more')


def _check_use(
  given: Given, used: Used, skipped: list[tuple[str, str]], entries: list[cache.ChainEntry], files: list[Path]
) -> None:
  """Raises InputError where no chain could be used, or no chain made use of something that was given."""
  if used.names:
    given.check(used, skipped)
  if not entries:
    reasons = ''.join(f'\n  {name}: {reason}' for name, reason in skipped[:5])
    raise InputError(f'no usable structure in {number(len(files), "file")}; the first reasons:{reasons}')


def _parse(
  files: list[Path], options: chain_reading.ReadingOptions, processes: int | None
) -> Iterator[chain_reading.FileChains]:
  """The chains of each file, in the files' order."""
  yield from spreading.spread(
    chain_reading.read_one, files, chain_reading.set_options, (options,), processes, 'parsed structures'
  )


def _write_records(
  path: Path,
  results: Iterator[chain_reading.FileChains],
  total: int,
  skipped: list[tuple[str, str]],
  progress: Callable[[int, int], None] | None,
) -> tuple[list[cache.ChainEntry], Used]:
  """Writes every chain to the record file, and appends to `skipped` what is left out.

  Returns:
    the entries, and what chains used of all that was given.
  """
  entries: list[cache.ChainEntry] = []
  taken: set[str] = set()
  used = Used()
  with _record_file(path) as write:
    for done, result in enumerate(results, start=1):
      skipped += result.skipped
      used.add(result.used)
      for entry, content in result.chains:
        if entry.id in taken:
          skipped.append((result.source, f'chain {entry.id} was taken from another file already'))
          continue
        taken.add(entry.id)
        write(content)
        entries.append(entry)
      if progress is not None:
        progress(done, total)
  return entries, used


@contextlib.contextmanager
def _record_file(path: Path) -> Iterator[Callable[[bytes], None]]:
  """Opens a record file that is complete when the block ends; yields the function that writes a record."""

  def checked(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
      return function(*arguments)
    except RuntimeError as error:  # ArrayRecord has no other exceptions
      said = (code for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if os.strerror(code) in str(error))
      raise OSError(next(said, errno.EIO), str(error)) from error

  writer = checked(cache.array_record().ArrayRecordWriter, str(path), _WRITER_OPTIONS)
  yield lambda content: checked(writer.write, content)
  checked(writer.close)


def _write_tables(
  folder: Path, entries: list[cache.ChainEntry], skipped: list[tuple[str, str]], settings: dict[str, Any]
) -> None:
  """Writes index.csv, skipped.csv and, last, cache.json."""
  names = [field.name for field in dataclasses.fields(cache.ChainEntry)]
  index = ([getattr(entry, name) for name in names] for entry in entries)
  for name, header, rows in ((cache.INDEX, names, index), (cache.SKIPPED, ['file', 'reason'], skipped)):
    with atomic.replacing(folder / name, 'w') as file:
      writer = csv.writer(file, lineterminator='\n')
      writer.writerow(header)
      writer.writerows(rows)
  size = (folder / cache.RECORDS).stat().st_size
  manifest = {'format': cache.FORMAT, 'version': cache.VERSION, 'num_records': len(entries), 'num_bytes': size}
  atomic.write_text(folder / cache.MANIFEST, json.dumps({**manifest, 'settings': settings}, indent=1) + '\n')
  cache.open_cache(folder)[len(entries) - 1]  # the end of the file is there and readable


@contextlib.contextmanager
def _building(out: Path) -> Iterator[Path]:
  """Yields a new folder that becomes `out` when the block ends, and is removed if it ends by an error."""
  atomic.check_name(out)
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise InputError(f'{out}: exists already; remove it or choose another place for the cache')
  atomic.make_folder(out.parent)
  folder = out.with_name(f'.{out.name}.part')
  with _locked(out.with_name(f'.{out.name}.lock'), out):
    shutil.rmtree(folder, ignore_errors=True)  # of a build that was killed
    atomic.make_folder(folder)
    try:
      yield folder
      os.replace(folder, out)
    except BaseException as error:
      shutil.rmtree(folder, ignore_errors=True)
      if isinstance(error, OSError):
        raise atomic.explained(out, error) from error
      raise


@contextlib.contextmanager
def _locked(path: Path, out: Path) -> Iterator[None]:
  """Holds a lock that ends with this process at the latest; InputError when another build holds it."""
  try:
    file = open(path, 'wb')
  except OSError as error:
    raise atomic.explained(path, error) from error
  with file:
    if locks.take(file) is False:
      raise InputError(f'{out}: another process is building this cache; wait for it or choose another place')
    try:
      yield
    finally:
      path.unlink(missing_ok=True)
