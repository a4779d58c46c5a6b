# SPDX-License-Identifier: Apache-2.0
"""One structure file to cache records: its chains, what the tables say of them, and their alignments.

Runs in worker processes and loads nothing but parsers. Whatever is wrong with a file becomes a reason, not an error.

Of an alignment deeper than the cap the query and a random subset of the other rows are kept, in their order: a subset
has the depth, the diversity and the profile of the whole, where the first rows would be the nearest homologs only
(files are sorted by similarity, and block deletion counts on that order). The choice depends on the chain's id alone.
"""

import dataclasses
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import encode, parse_a3m
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import Chain, read_chains
from alphafold_jax.data.training.cache import Entry
from alphafold_jax.data.training.deposition import Deposition, deposition
from alphafold_jax.data.training.packing import Record, pack, residue_index
from alphafold_jax.data.training.placement import Library, place_alignment
from alphafold_jax.data.training.source_table import SourceTable
from alphafold_jax.errors import InputError

_MIN_RESOLVED = 10  # residues with a CA atom
_CA = residues.ATOM_INDEX['CA']
_SUFFIXES = ('.gz', '.cif', '.mmcif', '.pdb', '.ent')


@dataclasses.dataclass(frozen=True)
class Job:
  """What is the same for all files."""

  libraries: tuple[Library, ...]
  table: SourceTable
  predicted: bool
  max_rows: int


@dataclasses.dataclass(frozen=True)
class Result:
  """What came of one file."""

  source: str
  chains: tuple[tuple[Entry, bytes], ...]
  skipped: tuple[tuple[str, str], ...]  # (file or chain, reason)
  alignments: tuple[str, ...] = ()  # paths of those taken


_job: Job | None = None  # of this worker process


def set_job(job: Job) -> None:
  """Called once in every worker process."""
  global _job
  _job = job


def read_file_of_job(path: Path) -> Result:
  """`read_file` with the job that was set."""
  return read_file(path, _job)


def read_file(path: Path, job: Job) -> Result:
  """All chains of one file as entries and packed records."""
  made, skipped, used = [], [], []
  try:
    chains = read_chains(path)
    origin = deposition(read_text(path))
  except InputError as error:
    return Result(str(path), (), ((str(path), str(error)),))
  for chain in chains.values():
    try:
      made.append(_read_chain(path, chain, len(chains) == 1, origin, job, skipped, used))
    except InputError as error:
      skipped.append((f'{path} chain {chain.id}', str(error)))
  return Result(str(path), tuple(made), tuple(skipped), tuple(used))


def _read_chain(path: Path, chain: Chain, is_only: bool, origin: Deposition, job: Job, skipped: list, used: list):
  """Entry and packed record of a chain; the alignment it takes goes into `used`, those that fail into `skipped`."""
  stem = path.name
  for suffix in _SUFFIXES:
    stem = stem.removesuffix(suffix)
  names = [stem, f'{stem}_{chain.id}'] if is_only else [f'{stem}_{chain.id}']
  name, row = job.table.find(names)
  resolved = int(chain.atom_mask[:, _CA].sum())
  if resolved < _MIN_RESOLVED:
    raise InputError(f'only {resolved} residues have a CA atom, at least {_MIN_RESOLVED} are needed')
  tokens, deletions, source = _alignment(names, chain.sequence, job, skipped)
  if source is not None:
    used.append(str(source))
  kept = _kept_rows(len(tokens), job.max_rows, name)
  record = Record(
    id=name,
    sequence=chain.sequence,
    residue_index=residue_index(chain),
    atom_positions=chain.atom_positions,
    atom_mask=chain.atom_mask,
    tokens=tokens[kept],
    deletions=deletions[kept],
    profile=_profile(tokens),
    resolution=float(row.get('resolution') or origin.resolution),
    confidence=chain.b_factors if job.predicted else None,
  )
  own = encode(chain.sequence)
  counts = np.bincount(own[own < residues.UNKNOWN], minlength=20)
  entry = Entry(
    id=name,
    length=len(chain.sequence),
    num_resolved=resolved,
    resolution=record.resolution,
    method=row.get('method') or origin.method,
    release_date=row.get('release_date') or origin.release_date,
    cluster=row.get('cluster') or job.table.clusters.get(name, name),
    split=row.get('split', 'train'),
    largest_share=round(float(counts.max() / max(1, counts.sum())), 3),
    depth=len(kept),
    depth_found=len(tokens),
    alignment='' if source is None else source.name,
    is_distillation=int(job.predicted),
  )
  return entry, pack(record)


def _alignment(
  names: Sequence[str], sequence: str, job: Job, skipped: list
) -> tuple[np.ndarray, np.ndarray, Path | None]:
  """Tokens, deletions and path of the first alignment that fits; the sequence alone where none does."""
  for library in job.libraries:
    for path in library.candidates(names, sequence):
      try:
        return *place_alignment(parse_a3m(read_text(path), str(path)), sequence, str(path)), path
      except InputError as error:
        if library.is_named(path, names):  # a mere resemblance need not fit, what bears the name should
          skipped.append((str(path), str(error)))
  tokens = encode(sequence)[None]
  return tokens, np.zeros_like(tokens), None


def _kept_rows(num_seq: int, max_rows: int, name: str) -> np.ndarray:
  """The query and a random subset of the other rows, in their order."""
  if num_seq <= max_rows:
    return np.arange(num_seq)
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  others = rng.choice(num_seq - 1, max(0, max_rows - 1), replace=False) + 1
  return np.concatenate([[0], np.sort(others)])


def _profile(tokens: np.ndarray) -> np.ndarray:  # [num_seq, num_res] -> [num_res, 22] float32
  """Frequency of each token in each column, gaps included."""
  cells = np.arange(tokens.shape[1]) * 22 + tokens
  counts = np.bincount(cells.ravel(), minlength=tokens.shape[1] * 22)
  return (counts.reshape(-1, 22) / len(tokens)).astype(np.float32)
