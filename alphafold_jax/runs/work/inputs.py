# SPDX-License-Identifier: Apache-2.0
"""The proteins of a run: found at the start, their features made one at a time when their turn comes.

Beside what `data.queries` reads, the .npz files of `--msa-only` are proteins too, alone or in a directory.
"""

import dataclasses
import io
import json
import logging
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import Alignment, single_sequence
from alphafold_jax.data.jobnames import safe_name, unique_job_names
from alphafold_jax.data.padding import msa_depth_bucket, residue_bucket
from alphafold_jax.data.queries import FailedQuery, Query, Scan, read_a3m, scan_queries
from alphafold_jax.data.records import read_bytes
from alphafold_jax.errors import InputError

_log = logging.getLogger(__name__)
_FEATURES = '.npz'
_CHECK_AT_START = 50  # alignments; of more, only the query is read before their job comes
_UNKNOWN = frozenset('XJO')
_TABLES = ('.csv', '.tsv')
_NOTHING_KNOWN = (
  'every residue is of unknown type (X, J or O), so there is nothing to build; give the real residue types'
)
_BARE = (
  'a bare sequence, and nothing was said about homologues. Give an alignment (.a3m, or a CSV table with a column '
  'a3mpath), or choose how to search: --msa-mode hmmer or mmseqs2 with --database, or server, which sends the '
  'sequence to another machine; or say --msa-mode single_sequence to fold it as it is, which is far less accurate'
)


class Contents:
  """The files of a run's proteins, each read once for all that is made of it: checks, digest, depth, features, a copy.

  What was read last is kept in memory, up to `max_bytes` in all; what had to go is read again when it is asked for. So
  every file is read once where all of them fit, and a file of a larger run twice: at the start, and when its protein's
  turn comes. In another process nothing has been read yet.
  """

  def __init__(self, max_bytes: int = 256 << 20):
    self._max_bytes = max_bytes
    self._kept: OrderedDict[Path, bytes] = OrderedDict()  # what was asked for last is the last
    self._num_bytes = 0
    self._lock = threading.Lock()

  def __reduce__(self) -> tuple[Any, ...]:
    return Contents, (self._max_bytes,)

  def read(self, path: Path) -> bytes:
    """What is in a file, decompressed.

    Raises:
      InputError: it cannot be read.
    """
    with self._lock:
      if path in self._kept:
        self._kept.move_to_end(path)
        return self._kept[path]
    content = read_bytes(path)
    with self._lock:
      if path not in self._kept:
        self._kept[path] = content
        self._num_bytes += len(content)
      while self._num_bytes > self._max_bytes:
        self._num_bytes -= len(self._kept.popitem(last=False)[1])
    return content


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
  """One protein of a run."""

  name: str  # safe for file names, unique in the run
  query: Query
  features: Path | None = None  # a file of `--msa-only`, instead of the query's alignment
  hits: Path | None = None  # template hits of a search, as JSON
  contents: Contents = dataclasses.field(default_factory=Contents, repr=False)  # shared by all jobs of a run

  @property
  def num_res(self) -> int:
    return len(self.query.sequence)

  @property
  def alignment_path(self) -> Path | None:
    """The file that the alignment is read from."""
    path = self.query.alignment
    return Path(path) if isinstance(path, str | Path) else None

  def content(self) -> bytes | None:
    """What is in the file of the alignment or features, decompressed; None if there is none.

    Raises:
      InputError: it cannot be read.
    """
    path = self.features or self.alignment_path
    return None if path is None else self.contents.read(path)


@dataclasses.dataclass(frozen=True)
class Inputs:
  """What was found: jobs in the order of the input, and what cannot be used."""

  jobs: tuple[Job, ...]
  failures: tuple[FailedQuery, ...]
  notes: tuple[str, ...]


def find(source: str | Path | Query | Sequence[Query], *, takes_bare: bool, prefix: str | None = None) -> Inputs:
  """Looks for proteins; raises InputError when there is none that can be run.

  Args:
    source: a path as `scan_queries` takes it, a .npz file of features, or queries at hand.
    takes_bare: whether a sequence without an alignment is a protein to run; otherwise it is refused.
    prefix: names the jobs PREFIX_0, PREFIX_1, ... instead of after the proteins.
  """
  contents = Contents()
  scan = _items(source, contents)
  jobs, failures = [], []
  names = unique_job_names([item.name for item in scan])
  if prefix:
    names = [f'{safe_name(prefix)}_{i:0{len(str(len(names)))}d}' for i in range(len(names))]
  for item, name in zip(scan, names, strict=True):
    if isinstance(item, FailedQuery):
      failures.append(dataclasses.replace(item, job=name))
    elif set(item.sequence) <= _UNKNOWN:
      failures.append(FailedQuery(item.name, item.source, f'{item.source or item.name}: {_NOTHING_KNOWN}', name))
    elif item.alignment is None and not isinstance(item, _FeatureQuery) and not takes_bare:
      failures.append(FailedQuery(item.name, item.source, f'{item.source or item.name}: {_BARE}', name))
    else:
      features = item.path if isinstance(item, _FeatureQuery) else None
      jobs.append(Job(name, item, features, contents=contents))
  if not jobs:
    raise InputError(_nothing_to_run(failures))
  return Inputs(tuple(jobs), tuple(failures), scan.notes)


def _nothing_to_run(failures: Sequence[FailedQuery]) -> str:
  """All failures, as far as they fit on a screen."""
  bare = [failure for failure in failures if failure.message.endswith(_BARE)]
  if len(failures) > 1 and len(bare) == len(failures):
    return f'{failures[0].source} and {len(bare) - 1} more: {_BARE}'
  shown = [failure.message for failure in failures[:10]]
  if len(failures) > len(shown):
    shown.append(f'... and {len(failures) - len(shown)} more')
  return '\n'.join(shown if len(failures) == 1 else ['none of the proteins can be run:', *shown])


@dataclasses.dataclass(frozen=True)
class _FeatureQuery(Query):
  """A protein whose features were made before."""

  path: Path | None = None


def _items(source: str | Path | Query | Sequence[Query], contents: Contents) -> Scan:
  if isinstance(source, Query):
    return Scan((source,))
  if not isinstance(source, str | Path):
    return Scan(tuple(source))
  readers = {_FEATURES: lambda path, _: iter([_feature_query(path)])}
  return scan_queries(source, check_alignments=_is_small(Path(source)), read=contents.read, others=readers)


def _is_small(path: Path) -> bool:
  """Whether all alignments can be read to their end before the first is predicted."""
  try:
    if path.suffix.lower() in _TABLES and path.is_file():
      with open(path, 'rb') as file:
        return sum(1 for _ in zip(range(_CHECK_AT_START + 1), file)) <= _CHECK_AT_START
    entries = list(path.iterdir()) if path.is_dir() else []
  except (OSError, ValueError):  # scan_queries will say what is wrong
    return True
  return len(entries) <= _CHECK_AT_START and not any(entry.suffix.lower() in _TABLES for entry in entries)


def _feature_query(path: Path) -> Query | FailedQuery:
  """Name and sequence in a features file; the rest is read when its job comes."""
  is_packed = path.suffix.lower() == '.gz'
  stem = (path.stem if is_packed else path.name)[: -len(_FEATURES)].removesuffix('.features')
  try:
    with np.load(io.BytesIO(read_bytes(path)) if is_packed else path, allow_pickle=False) as archive:
      metadata = json.loads(archive['__format__'].tobytes())['metadata']
      letters = ''.join(residues.MSA_ALPHABET[token] for token in archive['aatype'])
    return _FeatureQuery(str(metadata.get('name') or stem), letters, None, str(path), path=path)
  except Exception:
    from alphafold_jax.data import features  # it knows what is wrong with the file

    try:
      features.load_features(path)
    except InputError as error:
      return FailedQuery(stem, str(path), str(error))
    return FailedQuery(stem, str(path), f"{path}: array 'aatype' holds no sequence; make the features again")


def in_order(jobs: Sequence[Job], by: str, seed: int = 0, depths: Mapping[str, int] | None = None) -> list[Job]:
  """The jobs as they will run: those that share a compiled program side by side, unless asked otherwise.

  Args:
    by: a value of `--sort-queries-by`.
    seed: of a random order.
    depths: rows of each job's alignment by its name, if they are known.
  """
  if by == 'random':
    return random.Random(seed).sample(list(jobs), len(jobs))
  if by == 'none':
    return list(jobs)
  rows = {job.name: depth(job) for job in jobs} if depths is None else depths

  def buckets(job: Job) -> tuple[int, int, int]:
    return residue_bucket(job.num_res), msa_depth_bucket(rows[job.name]), job.num_res

  orders: dict[str, Callable[[Job], Any]] = {
    'length': buckets,
    'longest': lambda job: [-size for size in buckets(job)],
    'msa_depth': lambda job: (rows[job.name], job.num_res),
  }
  return sorted(jobs, key=orders[by])


def depth(job: Job) -> int:
  """Rows of the alignment, counted without checking them; 0 if they cannot be."""
  try:
    if isinstance(job.query.alignment, Alignment) and job.features is None:
      return len(job.query.alignment.tokens)
    content = job.content()
    if content is None:
      return 1
    if job.features is None:
      return content.count(b'>')
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
      return len(archive['msa.mask'])
  except Exception as error:  # the job itself will fail and say why
    _log.debug('%s: the rows of the alignment cannot be counted (%s)', job.name, error)
    return 0


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedJob:
  """A job whose input was read and checked."""

  job: Job
  batch: Any  # its features, an unpadded schema.Batch

  @property
  def num_rows(self) -> int:
    return len(self.batch.msa.tokens)

  def alignment_text(self) -> str:
    """The alignment as A3M: the file itself, or one made from the features, with insertions as 'x'."""
    query, path = self.job.query, self.job.alignment_path
    if self.job.features is None and path is not None:
      return read_a3m(path, self.job.contents.read)
    if self.job.features is None and query.alignment is None:
      return f'>{_one_line(query.name)}\n{query.sequence}\n'
    names = getattr(query.alignment, 'names', None) or [query.name]
    lines = []
    rows = zip(np.asarray(self.batch.msa.tokens), np.asarray(self.batch.msa.deletions).astype(int))
    for row, (tokens, deletions) in enumerate(rows):
      pairs = zip(tokens.tolist(), deletions.tolist())
      letters = ''.join('x' * count + residues.MSA_ALPHABET[token] for token, count in pairs)
      name = _one_line(names[row]) if row < len(names) else f'row_{row}'
      lines += [f'>{name}', letters if row else query.sequence]
    return '\n'.join(lines) + '\n'


def _one_line(name: str) -> str:
  return ' '.join(name.split())


def load(job: Job, templates: Any | None) -> LoadedJob:
  """Reads and checks a job's input, and makes features of it, with what a source of templates places on it.

  Raises:
    InputError: it cannot be used.
  """
  from alphafold_jax import prediction
  from alphafold_jax.data import features

  placed = templates.place(job) if templates else None
  if job.features is not None:
    batch, _ = features.load_features(job.features, job.content())
    return LoadedJob(job, batch if placed is None else dataclasses.replace(batch, templates=placed))
  alignment = job.query.load_alignment(job.contents.read)
  for note in alignment.notes if alignment else ():
    if note not in job.query.notes:
      _log.info('%s: %s', job.name, note)
  return LoadedJob(job, prediction.as_batch(alignment or single_sequence(job.query.sequence), placed))
