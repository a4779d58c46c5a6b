# SPDX-License-Identifier: Apache-2.0
"""The proteins of a run: found at the start, read one at a time when their turn comes.

Beside what `data.queries` reads, the .npz files of `--msa-only` are proteins too, alone or in a directory.
"""

import dataclasses
import io
import json
import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.jobnames import safe_name, unique_job_names
from alphafold_jax.data.padding import msa_depth_bucket, residue_bucket
from alphafold_jax.data.queries import FailedQuery, Query, scan_queries
from alphafold_jax.data.records import read_bytes
from alphafold_jax.errors import InputError
from alphafold_jax.runs.options import Options

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


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
  """One protein of a run."""

  name: str  # safe for file names, unique in the run
  query: Query
  features: Path | None = None  # a file of `--msa-only`, instead of the query's alignment
  hits: Path | None = None  # template hits of a search, as JSON

  @property
  def num_res(self) -> int:
    return len(self.query.sequence)

  @property
  def alignment_path(self) -> Path | None:
    """The file that the alignment is read from."""
    path = self.query.alignment
    return Path(path) if isinstance(path, str | Path) else None


@dataclasses.dataclass(frozen=True)
class Inputs:
  """What was found: jobs in the order of the input, and what cannot be used."""

  jobs: tuple[Job, ...]
  failures: tuple[FailedQuery, ...]
  notes: tuple[str, ...]


def find(source: str | Path | Query | Sequence[Query], options: Options) -> Inputs:
  """Looks for proteins; raises InputError when there is none that can be run.

  Args:
    source: a path as `scan_queries` takes it, a .npz file of features, or queries at hand.
    options: whether bare sequences are wanted, and how jobs are named.
  """
  items, notes = _items(source)
  jobs, failures = [], []
  prefix = options.jobname_prefix and safe_name(options.jobname_prefix)
  names = unique_job_names([item.name for item in items])
  if prefix:
    names = [f'{prefix}_{i:0{len(str(len(items)))}d}' for i in range(len(items))]
  for item, name in zip(items, names, strict=True):
    if isinstance(item, FailedQuery):
      failures.append(dataclasses.replace(item, job=name))
    elif set(item.sequence) <= _UNKNOWN:
      failures.append(FailedQuery(item.name, item.source, f'{item.source or item.name}: {_NOTHING_KNOWN}', name))
    elif item.alignment is None and not isinstance(item, _FeatureQuery) and options.search is None:
      failures.append(FailedQuery(item.name, item.source, f'{item.source or item.name}: {_BARE}', name))
    else:
      jobs.append(Job(name, item, item.path if isinstance(item, _FeatureQuery) else None))
  if not jobs:
    raise InputError(_nothing_to_run(failures))
  return Inputs(tuple(jobs), tuple(failures), tuple(notes))


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


def _items(source) -> tuple[list[Query | FailedQuery], list[str]]:
  if isinstance(source, Query):
    return [source], []
  if not isinstance(source, str | Path):
    return list(source), []
  path = Path(source)
  try:
    entries = sorted(path.iterdir()) if path.is_dir() else None
  except (OSError, ValueError):  # scan_queries will say what is wrong
    entries = []
  if entries is None and path.suffix.lower() == _FEATURES:
    return [_feature_query(path)], []
  entries = entries or []
  files = [entry for entry in entries if entry.suffix.lower() == _FEATURES and not entry.name.startswith('.')]
  try:
    scan = scan_queries(path, check_alignments=_is_small(path, entries))
  except InputError:
    if not files:
      raise
    return [_feature_query(file) for file in files], []
  notes = [] if files else list(scan.notes)
  return [*scan, *map(_feature_query, files)], notes


def _is_small(path: Path, entries: Sequence[Path]) -> bool:
  """Whether all alignments can be read to their end before the first is predicted."""
  if path.suffix.lower() in _TABLES and path.is_file():
    with open(path, 'rb') as file:
      return sum(1 for _ in zip(range(_CHECK_AT_START + 1), file)) <= _CHECK_AT_START
  return len(entries) <= _CHECK_AT_START and not any(entry.suffix.lower() in _TABLES for entry in entries)


def _feature_query(path: Path) -> Query | FailedQuery:
  """Name and sequence in a features file; the rest is read when its job comes."""
  stem = path.name[: -len(_FEATURES)].removesuffix('.features')
  try:
    with np.load(path, allow_pickle=False) as archive:
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


def in_order(jobs: Sequence[Job], options: Options, depths: Mapping[str, int] | None = None) -> list[Job]:
  """The jobs as they will run: those that share a compiled program side by side, unless asked otherwise.

  Args:
    jobs: proteins.
    options: say which order.
    depths: rows of each job's alignment by its name, if they are known.
  """
  by = options.sort_queries_by
  if by == 'random':
    return random.Random(options.random_seed).sample(list(jobs), len(jobs))
  if by == 'none':
    return list(jobs)
  depths = {job.name: depth(job) for job in jobs} if depths is None else depths

  def buckets(job):
    return residue_bucket(job.num_res), msa_depth_bucket(depths[job.name]), job.num_res

  orders = {
    'length': buckets,
    'longest': lambda job: [-size for size in buckets(job)],
    'msa_depth': lambda job: (depths[job.name], job.num_res),
  }
  return sorted(jobs, key=orders[by])


def read_content(job: Job) -> bytes | None:
  """What is in the file of a job's alignment or features, decompressed; None if it has none.

  Raises:
    InputError: it cannot be read.
  """
  path = job.features or job.alignment_path
  return None if path is None else read_bytes(path)


def depth(job: Job, content: bytes | None = None) -> int:
  """Rows of the alignment, as far as they can be told without checking it.

  Args:
    job: the protein.
    content: of its file, if it was read before.
  """
  try:
    if isinstance(job.query.alignment, Alignment) and job.features is None:
      return len(job.query.alignment.tokens)
    content = read_content(job) if content is None else content
    if job.features is not None:
      with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return len(archive['msa.mask'])
    return 1 if content is None else content.count(b'>')
  except Exception as error:  # the job itself will fail and say why
    _log.debug('%s: the depth of the alignment cannot be told (%s)', job.name, error)
    return 0


def load_batch(job: Job, templates: Any | None) -> Any:
  """The unpadded schema.Batch of a job, read and checked now, with what runs.work.templates places on it."""
  from alphafold_jax import prediction
  from alphafold_jax.data import features

  placed = templates.place(job) if templates else None
  if job.features is None:
    alignment = job.query.load_alignment()
    for note in alignment.notes if alignment else ():
      if note not in job.query.notes:
        _log.info('%s: %s', job.name, note)
    return prediction.as_batch(alignment or job.query.sequence, placed)
  batch, _ = features.load_features(job.features)
  return batch if placed is None else dataclasses.replace(batch, templates=placed)
