# SPDX-License-Identifier: Apache-2.0
"""The chains of one structure file, with their alignments and table entries, as records of the cache.

Runs in worker processes and loads nothing but parsers. A file that cannot be used gives a reason instead of an error.

Of an alignment deeper than the cap the query and a random subset of the other rows are kept, in their order: a subset
has the diversity and the profile of the whole, while the first rows are the nearest homologs only (files are sorted by
similarity, and block deletion relies on that order). The choice depends on the chain's id alone.
"""

import dataclasses
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alphafold_jax import atomic
from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import encode, parse_a3m, profile
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import Chain, read_chains
from alphafold_jax.data.training.cache import ChainEntry
from alphafold_jax.data.training.deposition import Deposition, deposition
from alphafold_jax.data.training.packing import ChainRecord, pack, residue_index
from alphafold_jax.data.training.placement import AlignmentLibrary, alignment_name, place_alignment
from alphafold_jax.data.training.sampling import random_rows
from alphafold_jax.data.training.source_table import SourceTable
from alphafold_jax.errors import InputError

_MIN_RESOLVED = 10  # residues with a CA atom
_CA = residues.ATOM_INDEX['CA']
_SUFFIXES = ('.gz', '.cif', '.mmcif', '.pdb', '.ent')


@dataclasses.dataclass(frozen=True)
class ReadingOptions:
  """The arguments of `build_cache` that reading a file depends on."""

  libraries: tuple[AlignmentLibrary, ...]  # the preferred ones first
  table: SourceTable
  predicted: bool  # B-factors are pLDDT
  max_rows: int  # of an alignment


@dataclasses.dataclass(frozen=True)
class FileChains:
  """The usable chains of one file, and what was left out."""

  source: str  # the file's path
  chains: tuple[tuple[ChainEntry, bytes], ...]  # with their packed records
  skipped: tuple[tuple[str, str], ...]  # (file or chain, reason)
  alignments: tuple[str, ...] = ()  # paths of those taken


_options: ReadingOptions | None = None  # of this worker process


def set_options(options: ReadingOptions) -> None:
  """Sets the options of this process, so that they are sent once to each worker and not with every file."""
  global _options
  _options = options


def read_one(path: Path) -> FileChains:
  """`read_file` with the options of `set_options`."""
  assert _options is not None
  return read_file(path, _options)


def read_file(path: Path, options: ReadingOptions) -> FileChains:
  """Reads the chains of one mmCIF or PDB file."""
  made: list[tuple[ChainEntry, bytes]] = []
  skipped: list[tuple[str, str]] = []
  used: list[str] = []
  try:
    chains = read_chains(path)
    origin = deposition(read_text(path))
  except InputError as error:
    return FileChains(str(path), (), ((str(path), str(error)),))
  for chain in chains.values():
    try:
      made.append(_read_chain(path, chain, len(chains) == 1, origin, options, skipped, used))
    except InputError as error:
      skipped.append((f'{path} chain {chain.id}', str(error)))
  return FileChains(str(path), tuple(made), tuple(skipped), tuple(used))


def _read_chain(
  path: Path,
  chain: Chain,
  is_only: bool,
  origin: Deposition,
  options: ReadingOptions,
  skipped: list[tuple[str, str]],
  used: list[str],
) -> tuple[ChainEntry, bytes]:
  """Entry and packed record of a chain; appends its alignment to `used`, and alignments that fail to `skipped`."""
  stem = atomic.printable(path.name)
  for suffix in _SUFFIXES:
    stem = stem.removesuffix(suffix)
  names = [stem, f'{stem}_{chain.id}'] if is_only else [f'{stem}_{chain.id}']
  name, row = options.table.find(names)
  resolved = int(chain.atom_mask[:, _CA].sum())
  if resolved < _MIN_RESOLVED:
    raise InputError(f'only {resolved} residues have a CA atom, at least {_MIN_RESOLVED} are needed')
  tokens, deletions, source = _alignment(names, chain.sequence, options, skipped)
  if source is not None:
    used.append(str(source))
  kept = random_rows(np.random.default_rng(zlib.crc32(name.encode())), np.arange(len(tokens)), options.max_rows)
  record = ChainRecord(
    id=name,
    sequence=chain.sequence,
    residue_index=residue_index(chain),
    atom_positions=chain.atom_positions,
    atom_mask=chain.atom_mask,
    tokens=tokens[kept],
    deletions=deletions[kept],
    profile=profile(tokens),
    resolution=float(row.get('resolution') or origin.resolution),
    confidence=chain.b_factors if options.predicted else None,
  )
  own = encode(chain.sequence)
  counts = np.bincount(own[own < residues.UNKNOWN], minlength=20)
  entry = ChainEntry(
    id=name,
    length=len(chain.sequence),
    num_resolved=resolved,
    resolution=record.resolution,
    method=row.get('method') or origin.method,
    release_date=row.get('release_date') or origin.release_date,
    cluster=row.get('cluster') or options.table.clusters.get(name, name),
    split=row.get('split', 'train'),
    largest_share=round(float(counts.max() / max(1, counts.sum())), 3),
    depth=len(kept),
    depth_found=len(tokens),
    alignment='' if source is None else source.name,
    is_distillation=int(options.predicted),
  )
  return entry, pack(record)


def _alignment(
  names: Sequence[str], sequence: str, options: ReadingOptions, skipped: list[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray, Path | None]:
  """Tokens, deletions and path of the first alignment that fits; the sequence alone where none does."""
  for library in options.libraries:
    for path in library.candidates(names, sequence):
      try:
        return *place_alignment(parse_a3m(read_text(path), str(path)), sequence, str(path)), path
      except InputError as error:
        if alignment_name(path) in names:  # others were only tried because their queries are similar
          skipped.append((str(path), str(error)))
  tokens = encode(sequence)[None]
  return tokens, np.zeros_like(tokens), None
