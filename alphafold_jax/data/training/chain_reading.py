# SPDX-License-Identifier: Apache-2.0
"""The chains of one structure file, with their alignments and table entries, as records of the cache.

Runs in worker processes and loads nothing but parsers; only `with_couplings` runs in the one that writes. A file that
cannot be used gives a reason instead of an error.

Of an alignment deeper than the cap the query and a random subset of the other rows are kept, in their order: a subset
has the diversity and the profile of the whole, while the first rows are the nearest homologs only (files are sorted by
similarity, and block deletion relies on that order). The choice depends on the chain's id alone.
"""

import dataclasses
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import encode, profile
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import Chain, read_structure
from alphafold_jax.data.training import sources
from alphafold_jax.data.training.accounts import Given, Used
from alphafold_jax.data.training.assemblies import ChainAssembly, read_assemblies
from alphafold_jax.data.training.cache import ChainEntry
from alphafold_jax.data.training.deposition import Deposition, deposition
from alphafold_jax.data.training.packing import ChainRecord, add_couplings, pack, residue_index
from alphafold_jax.data.training.sampling import random_rows
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line
from alphafold_jax.screen import number

_MIN_RESOLVED = 10  # residues with a CA atom
_CA = residues.ATOM_INDEX['CA']


@dataclasses.dataclass(frozen=True)
class ReadingOptions:
  """The arguments of `build_cache` that reading a file depends on."""

  given: Given  # alignments, table and clusters
  predicted: bool  # B-factors are pLDDT
  max_rows: int  # of an alignment
  couplings: bool = False  # whether those of alignments will be computed
  complexes: bool = False  # whether assemblies of chains are looked for


@dataclasses.dataclass(frozen=True)
class FileChains:
  """The usable chains of one file, and what was left out."""

  source: str  # the file's path
  chains: tuple[tuple[ChainEntry, bytes], ...]  # with their packed records
  skipped: tuple[tuple[str, str], ...]  # (file or chain, reason), and warnings of how the file was read
  used: Used = dataclasses.field(default_factory=Used)
  left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)  # atoms that are in no chain, by reason
  # By chain, all rows of its alignment [num_seq, num_res] uint8, where couplings are computed of them.
  rows: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  assemblies: tuple[ChainAssembly, ...] = ()  # of several chains

  __repr__ = one_line


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
  used, rows, taken = Used(), dict[str, np.ndarray](), dict[str, str]()
  try:
    content = read_structure(path)
    text = read_text(path)
    origin = deposition(text)
  except InputError as error:
    return FileChains(str(path), (), ((str(path), str(error)),))
  skipped += [(str(path), warning) for warning in content.warnings]
  names = _names(path, list(content.chains))
  for chain in content.chains.values():
    try:
      made.append(_read_chain(chain, names, origin, options, skipped, used, rows))
      taken[chain.id] = made[-1][0].id
    except InputError as error:
      skipped.append((f'{path} chain {chain.id}', str(error)))
  found: list[ChainAssembly] = []
  if options.complexes:
    asyms = {chain.asym: chain.id for chain in content.chains.values() if chain.asym}
    try:
      found = read_assemblies(text, sources.entry_names(path)[-1], taken, asyms, str(path))
    except InputError as error:
      skipped.append((str(path), str(error)))
  return FileChains(str(path), tuple(made), tuple(skipped), used, content.left_out, rows, tuple(found))


def _names(path: Path, chains: list[str]) -> dict[str, list[str]]:
  """The possible names of each chain of a file: '4zey_A' of 4zey.cif, pdb4zey.ent or 4zey_A.cif."""
  entries = sources.entry_names(path)
  return {
    chain: [name for one in entries for name in [one] * (len(chains) == 1) + [f'{one}_{chain}']] for chain in chains
  }


def _read_chain(
  chain: Chain,
  all_names: dict[str, list[str]],
  origin: Deposition,
  options: ReadingOptions,
  skipped: list[tuple[str, str]],
  used: Used,
  rows: dict[str, np.ndarray],
) -> tuple[ChainEntry, bytes]:
  """Entry and packed record of a chain; adds to `used` and `rows`, and alignments that fail to `skipped`."""
  names = all_names[chain.id]
  others = {name for id, some in all_names.items() if id != chain.id for name in some}
  listed = options.given.find(names, others, used)
  name, row = listed.name, listed.row
  resolved = int(chain.atom_mask[:, _CA].sum())
  if resolved < _MIN_RESOLVED:
    raise InputError(f'{number(resolved, "residue")} with a CA atom; at least {_MIN_RESOLVED} are needed')
  tokens, deletions, label = options.given.alignment(names, chain.sequence, used, skipped)
  if options.couplings and label:
    rows[name] = tokens.astype(np.uint8)
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
    cluster=listed.cluster or name,
    split=row.get('split', 'train'),
    largest_share=round(float(counts.max() / max(1, counts.sum())), 3),
    depth=len(kept),
    depth_found=len(tokens),
    alignment=label,
    is_distillation=int(options.predicted),
  )
  return entry, pack(record)


def with_couplings(results: Iterable[FileChains], coupled: list[str]) -> Iterator[FileChains]:
  """The results, with couplings in the records of the alignments whose rows were read for them.

  They are computed one after another in the process that asks for the results, while others read on. What has some is
  added to `coupled`; of the others the reason is among what was skipped.
  """
  for result in results:
    if not result.rows:
      yield result
      continue
    from alphafold_jax import coevolution  # loads JAX, which is not needed otherwise

    chains, refused = [], []
    for entry, content in result.chains:
      if (rows := result.rows.get(entry.id)) is not None:
        if why := coevolution.refusal(*rows.shape):
          refused.append((f'{result.source} chain {entry.id}', f'no couplings: {why}'))
        else:
          found = coevolution.couplings(rows)
          content = add_couplings(content, coevolution.levels(found.scores), found.neff)
          coupled.append(entry.id)
      chains.append((entry, content))
    yield dataclasses.replace(result, chains=tuple(chains), skipped=(*result.skipped, *refused), rows={})
