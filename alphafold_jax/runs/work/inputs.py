# SPDX-License-Identifier: Apache-2.0
"""The proteins of a run: found at the start, their features made one at a time when their turn comes.

Beside what `data.queries` reads, the .npz files of `--msa-only` are proteins too, alone or in a directory.
"""

import dataclasses
import hashlib
import io
import json
import logging
import os
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax.choices import AFDB_NAMES, COLABFOLD_NAMES
from alphafold_jax.constants import residues
from alphafold_jax.data import complexes
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.alignment_files import as_a3m
from alphafold_jax.data.jobnames import safe_name, unique_job_names
from alphafold_jax.data.padding import msa_depth_bucket, residue_bucket
from alphafold_jax.data.queries import FailedQuery, Query, Scan, scan_queries
from alphafold_jax.data.query_formats.fasta import is_joined
from alphafold_jax.data.records import read_bytes, read_errors, refuse_special
from alphafold_jax.errors import InputError
from alphafold_jax.headers import of_uniprot

_log = logging.getLogger(__name__)
_FEATURES = '.npz'
_NO_LISTS = (bytes, Mapping)  # of queries, though they can be gone through
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
  turn comes. Digest and depth are made at the first reading and kept. In another process nothing has been read yet.
  """

  def __init__(self, max_bytes: int = 256 << 20):
    self._max_bytes = max_bytes
    self._kept: OrderedDict[Path, bytes] = OrderedDict()  # what was asked for last is the last
    self._digests: dict[Path, str] = {}
    self._depths: dict[Path, int] = {}
    self._num_bytes = 0
    self._lock = threading.Lock()

  def __reduce__(self) -> tuple[Any, ...]:
    return Contents, (self._max_bytes,)

  def read(self, path: Path) -> bytes:
    """What is in a file, decompressed.

    Raises:
      InputError: it cannot be read, or holds something else than before.
    """
    with self._lock:
      if path in self._kept:
        self._kept.move_to_end(path)
        return self._kept[path]
    content = read_bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    with self._lock:
      if self._digests.setdefault(path, digest) != digest:
        raise InputError(f'{path}: changed since the run began; run the same command again')
      if path not in self._kept:
        self._kept[path] = content
        self._num_bytes += len(content)
      while self._num_bytes > self._max_bytes:
        self._num_bytes -= len(self._kept.popitem(last=False)[1])
    return content

  def digest(self, path: Path) -> str:
    """SHA-256 of what is in a file, decompressed; see `read`."""
    if path not in self._digests:
      self.read(path)
    return self._digests[path]

  def depth(self, path: Path) -> int:
    """Records of an alignment file, counted without checking them; see `read`."""
    if path not in self._depths:
      self._depths[path] = as_a3m(self.read(path), str(path)).count('>')
    return self._depths[path]


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
  def is_complex(self) -> bool:
    """Whether it has several chains."""
    return len(self.query.lengths) > 1

  @property
  def chain_names(self) -> tuple[str, ...]:
    """The names that its chains were given; none of a single one."""
    names = getattr(self.query, 'chain_names', ())
    return tuple(names) if len(names) > 1 else ()

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
    return None if self.file is None else self.contents.read(self.file)

  @property
  def file(self) -> Path | None:
    """The file of the alignment or features."""
    return self.features or self.alignment_path

  def digest(self) -> str | None:
    """SHA-256 of `content`; None if there is none."""
    return None if self.file is None else self.contents.digest(self.file)


@dataclasses.dataclass(frozen=True)
class Inputs:
  """What was found: jobs in the order of the input, and what cannot be used."""

  jobs: tuple[Job, ...]
  failures: tuple[FailedQuery, ...]
  notes: tuple[str, ...]
  warnings: tuple[str, ...] = ()  # what was asked for and has no effect

  @property
  def kinds(self) -> tuple[bool, ...]:
    """Which kinds of proteins there are: False, of one chain, and True, of several."""
    return tuple(sorted({job.is_complex for job in self.jobs}))


def find(
  source: str | Path | Query | Sequence[Query],
  *,
  takes_bare: bool,
  prefix: str | None = None,
  complex: bool = False,
  naming: str = COLABFOLD_NAMES,
) -> Inputs:
  """Looks for proteins; raises InputError when there is none that can be run.

  Args:
    source: a path as `scan_queries` takes it, a .npz file of features, or queries at hand.
    takes_bare: whether a sequence without an alignment is a protein to run; otherwise it is refused.
    prefix: names the jobs PREFIX_0, PREFIX_1, ... instead of after the proteins.
    complex: whether the records of a FASTA file are the chains of one complex.
    naming: of choices.NAMINGS: whether jobs have their accession in UniProt for a name, where the header has one.
  """
  contents = Contents()
  scan = _items(source, contents, complex)
  jobs, failures = [], []
  names = unique_job_names([_named(item.name, naming) for item in scan])
  if prefix:
    names = [f'{safe_name(prefix)}_{i:0{len(str(len(names)))}d}' for i in range(len(names))]
  for item, name in zip(scan, names, strict=True):
    if isinstance(item, FailedQuery):
      failures.append(dataclasses.replace(item, job=name))
    elif set(item.sequence) <= residues.UNKNOWN_LETTERS:
      failures.append(FailedQuery(item.name, item.source, f'{item.source or item.name}: {_NOTHING_KNOWN}', name))
    elif item.alignment is None and not isinstance(item, _FeatureQuery) and not takes_bare:
      failures.append(FailedQuery(item.name, item.source, f'{item.source or item.name}: {_BARE}', name))
    else:
      features = item.path if isinstance(item, _FeatureQuery) else None
      jobs.append(Job(name, item, features, contents=contents))
  if not jobs:
    raise InputError(_nothing_to_run(failures))
  return Inputs(tuple(jobs), tuple(failures), scan.notes, _without_effect(scan) if complex else ())


def _named(name: str, naming: str) -> str:
  entry = of_uniprot(name) if naming == AFDB_NAMES else None
  return name if entry is None else entry.identifier


def _without_effect(scan: Scan) -> tuple[str, ...]:
  """That nothing was joined though the chains of complexes were to be."""
  if any(map(is_joined, scan)):
    return ()
  return (
    '--complex has no effect: it joins the records of a FASTA file, and there is none of several records; each protein '
    'is predicted as it is given',
  )


def _nothing_to_run(failures: Sequence[FailedQuery]) -> str:
  """All failures, as far as they fit on a screen."""
  if not failures:
    return 'there is no protein to run; the list of queries is empty'
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


def _items(source: str | Path | Query | Sequence[Query], contents: Contents, is_complex: bool) -> Scan:
  if isinstance(source, Query):
    return Scan((source,))
  if isinstance(source, str | os.PathLike):
    others = {_FEATURES: lambda path: [_feature_query(path)]}
    return scan_queries(source, read=contents.read, others=others, complex=is_complex)
  items: tuple[Any, ...] = (
    tuple(source) if isinstance(source, Iterable) and not isinstance(source, _NO_LISTS) else (source,)
  )
  for item in items:
    if not isinstance(item, Query):
      raise InputError(f'{item!r:.60} is of type {type(item).__name__}; give the path of a file or folder, or queries')
  return Scan(items)


def _feature_query(path: Path) -> Query | FailedQuery:
  """Name and sequence in a features file; the rest is read when its job comes."""
  is_packed = path.suffix.lower() == '.gz'
  stem = (path.stem if is_packed else path.name)[: -len(_FEATURES)].removesuffix('.features')
  try:
    refuse_special(path)
    with np.load(io.BytesIO(read_bytes(path)) if is_packed else path, allow_pickle=False) as archive:
      metadata = json.loads(archive['__format__'].tobytes())['metadata']
      letters = ''.join(residues.MSA_ALPHABET[token] for token in archive['aatype'])
      lengths = tuple(np.unique(archive['asym_id'], return_counts=True)[1].tolist())
    name = str(metadata.get('name') or stem)
    names = tuple(metadata.get('chain_names', ()))
    return _FeatureQuery(name, letters, None, str(path), lengths=lengths, chain_names=names, path=path)
  except InputError as error:  # of the chains
    return FailedQuery(stem, str(path), str(error))
  except Exception:
    from alphafold_jax.data import features  # it knows what is wrong with the file

    try:
      with read_errors(path):
        features.load_features(path)
    except InputError as error:
      return FailedQuery(stem, str(path), str(error))
    return FailedQuery(stem, str(path), f"{path}: array 'aatype' holds no sequence; make the features again")


def in_order(
  jobs: Sequence[Job],
  by: str,
  seed: int = 0,
  depths: Mapping[str, int] | None = None,
  padded: Callable[[int], int] = residue_bucket,
) -> list[Job]:
  """The jobs as they will run: those that share a compiled program side by side, unless asked otherwise.

  Args:
    by: a value of `--sort-queries-by`.
    seed: of a random order.
    depths: rows of each job's alignment by its name, if they are known.
    padded: the length that each is padded to.
  """
  if by == 'random':
    return random.Random(seed).sample(list(jobs), len(jobs))
  if by == 'none':
    return list(jobs)
  rows = {job.name: depth(job) for job in jobs} if depths is None else depths

  def buckets(job: Job) -> tuple[int, int, int]:
    return padded(job.num_res), msa_depth_bucket(rows[job.name]), job.num_res

  orders: dict[str, Callable[[Job], Any]] = {
    'length': buckets,
    'longest': lambda job: [-size for size in buckets(job)],
    'msa_depth': lambda job: (rows[job.name], job.num_res),
  }
  return sorted(jobs, key=orders[by])


def depth(job: Job) -> int:
  """Rows of the alignment, counted without checking them; 0 if they cannot be."""
  try:
    held = job.query.alignment
    if isinstance(held, Alignment) and job.features is None:
      return len(held.tokens)
    if isinstance(held, complexes.ComplexAlignment):
      return sum(len(one.tokens) for one in (*held.unpaired, held.paired[0]))
    if job.file is None:
      return 1
    if job.features is None:
      return job.contents.depth(job.file)
    with np.load(io.BytesIO(job.contents.read(job.file)), allow_pickle=False) as archive:
      return len(archive['msa.mask'])
  except Exception as error:  # the job itself will fail and say why
    _log.debug('%s: the rows of the alignment cannot be counted (%s)', job.name, error)
    return 0
