# SPDX-License-Identifier: Apache-2.0
"""Examples of complexes: which one is drawn, its chains and crop, the alignments beside one another, and the targets.

As in AlphaFold-Multimer the alignments of copies lie side by side, row beside row, and those of different sequences
below one another, with gaps for the others (`features` of a complex); rows of different chains are not paired yet.

Departs from the paper: complexes are drawn with probability proportional to (acceptance by length) / (size of their
cluster), as single chains are, and not an entry first and then one of its assemblies.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from alphafold_jax import schema
from alphafold_jax.constants import residues
from alphafold_jax.data import features
from alphafold_jax.data.training.assembled import AssembledChains, ComplexEntry, assemble
from alphafold_jax.data.training.cache import ChainEntry, TrainingCache
from alphafold_jax.data.training.chain_cropping import choose_chains, crop_contiguous, crop_spatial
from alphafold_jax.data.training.data_spec import DataSpec
from alphafold_jax.data.training.packing import ChainRecord, without_alignment
from alphafold_jax.data.training.sampling import delete_blocks, random_rows
from alphafold_jax.errors import InputError

# (rng, record, index of the cache, index in it) -> templates on all residues of a chain
TemplateSource = Callable[[np.random.Generator, ChainRecord, int, int], schema.Templates]


class ComplexPool:
  """The complexes of some caches that pass the filters of single chains."""

  def __init__(self, caches: Sequence[TrainingCache], spec: DataSpec):
    """Filters the complexes and computes their probabilities.

    Args:
      caches: from `open_cache`.
      spec: sizes, filters and probabilities.

    Raises:
      InputError: no complex passes the filters, or a list of complexes is damaged.
    """
    self.caches, self.spec = tuple(caches), spec
    self.removed: collections.Counter[str] = collections.Counter()
    found = [(which, one) for which, cache in enumerate(self.caches) for one in cache.complexes]
    kept = [(which, one) for which, one in found if not self._counted(self._reason(which, one))]
    if not kept:
      raise InputError(
        f'data.complex_fraction is {spec.complex_fraction:g}, but there is no complex to train on ({len(found)} in all'
        f'{"".join(f", {count} left out by {why}" for why, count in self.removed.items())}); list some with '
        '`alphafold-jax dataset --complexes`'
      )
    self.entries = tuple(one for _, one in kept)
    self._caches = tuple(which for which, _ in kept)
    lengths = [sum(self._chain(which, name).length for name in one.chains) for which, one in kept]
    acceptance = np.clip(lengths, spec.length_floor, spec.length_cap) / spec.length_cap
    clusters = collections.Counter(one.cluster for one in self.entries)
    weights = acceptance / np.array([clusters[one.cluster] for one in self.entries])
    self._cumulative = np.cumsum(weights) / weights.sum()
    self.num_clusters = len(clusters)

  def _chain(self, which: int, name: str) -> ChainEntry:
    cache = self.caches[which]
    return cache.entries[cache.places[name]]

  def _reason(self, which: int, one: ComplexEntry) -> str:
    """The filter that removes a complex; '' for none."""
    chains = [self._chain(which, name) for name in one.chains]
    if one.split != 'train':
      return f'split {one.split}'
    if max(chain.resolution for chain in chains) > self.spec.max_resolution:
      return 'resolution'
    if max(chain.largest_share for chain in chains) > self.spec.max_single_residue:
      return 'single residue'
    return 'predicted structure' if any(chain.is_distillation for chain in chains) else ''

  def _counted(self, reason: str) -> bool:
    self.removed.update([reason] if reason else [])
    return bool(reason)

  def draw(self, rng: np.random.Generator) -> int:
    """The index of a random complex."""
    place = np.searchsorted(self._cumulative, rng.random(), side='right')
    return min(int(place), len(self.entries) - 1)

  def example(
    self, rng: np.random.Generator, chosen: int, clamped: bool, draw_templates: TemplateSource
  ) -> schema.Batch:
    """Draws chains, crop, rows and templates of a complex; the example, unpadded.

    Args:
      rng: advanced.
      chosen: index of the complex.
      clamped: whether the backbone FAPE is.
      draw_templates: of a chain.

    Raises:
      InputError: a record cannot be read.
    """
    spec, entry, which = self.spec, self.entries[chosen], self._caches[chosen]
    cache = self.caches[which]
    whole = assemble(entry, lambda name: cache[cache.places[name]])
    chains = list(range(1, len(whole.records) + 1))
    if len(chains) > spec.max_chains:
      near = choose_chains(rng, whole.ca, whole.known, whole.asym_id, spec.max_chains, spec.interface_distance)
      chains = near.tolist()
      whole = whole.keep(chains)
    shown = _crop(rng, whole, spec)
    drawn: dict[str, schema.Templates] = {}
    for name, record in zip([entry.chains[chain - 1] for chain in chains], whole.records, strict=True):
      if name not in drawn:
        drawn[name] = draw_templates(rng, record, which, cache.places[name])
    templates = _side_by_side([drawn[entry.chains[chain - 1]] for chain in chains], shown)
    alone = rng.random() < spec.single_sequence_fraction
    msa = _draw_rows(rng, whole, shown, spec, alone)
    return _make_batch(whole, shown, msa, templates, clamped, spec.max_chains)


def whole_complex(cache: TrainingCache, index: int, spec: DataSpec, max_rows: int) -> schema.Batch:
  """The batch of a complex for validation: all residues of all chains, unpadded, its copies as many as its chains.

  Args:
    cache: of the complex.
    index: in `cache.complexes`.
    spec: gives the number of template slots, which stay empty.
    max_rows: alignment rows, drawn at random with a fixed seed; 1: the sequences alone.
  """
  whole = assemble(cache.complexes[index], lambda name: cache[cache.places[name]])
  shown = np.arange(len(whole.sequence))
  every_row = dataclasses.replace(spec, num_deletion_blocks=0, num_rows=max_rows)
  msa = _draw_rows(np.random.default_rng(0), whole, shown, every_row, max_rows == 1)
  templates = features.empty_templates(spec.num_templates, len(shown))
  return _make_batch(whole, shown, msa, templates, True, len(whole.records))


def with_one_copy(batch: schema.Batch, num_copies: int) -> schema.Batch:
  """The example of a single chain in the form of those of complexes: a chain of one copy."""
  targets = batch.targets

  def only(array: np.ndarray) -> np.ndarray:
    copies = np.zeros((num_copies, *array.shape), array.dtype)
    copies[0] = array
    return copies

  copies = {'copy_positions': only(targets.atom_positions), 'copy_mask': only(targets.atom_mask)}
  return dataclasses.replace(batch, targets=dataclasses.replace(targets, **copies))


def _crop(rng: np.random.Generator, whole: AssembledChains, spec: DataSpec) -> np.ndarray:  # [N]
  """The residues that the example shows, ascending."""
  shown = None
  if rng.random() < spec.spatial_fraction:
    shown = crop_spatial(rng, whole.ca, whole.known, whole.asym_id, spec.crop_size, spec.interface_distance)
  return crop_contiguous(rng, whole.lengths, spec.crop_size) if shown is None else shown


def _blocks(
  whole: AssembledChains, shown: np.ndarray
) -> Iterator[tuple[ChainRecord, list[tuple[np.ndarray, np.ndarray]]]]:
  """Of each distinct sequence that is shown: a record; and of each of its chains where it is shown, and what of it."""
  by_sequence: dict[str, list[int]] = {}
  for chain, record in enumerate(whole.records):
    by_sequence.setdefault(record.sequence, []).append(chain)
  for chains in by_sequence.values():
    parts = [np.flatnonzero(whole.asym_id[shown] == chain + 1) for chain in chains]
    pieces = [(at, whole.places[shown[at]]) for at in parts if len(at)]
    if pieces:
      yield whole.records[chains[0]], pieces


def _draw_rows(
  rng: np.random.Generator, whole: AssembledChains, shown: np.ndarray, spec: DataSpec, alone: bool
) -> schema.Msa:
  """Rows of each sequence's alignment below one another, under all sequences in row 0; the profile is that of all rows.

  Args:
    rng: advanced.
    whole: the complex.
    shown: [N] residues.
    spec: how rows are drawn.
    alone: whether the sequences are shown without homologues.
  """
  blocks = [(without_alignment(record) if alone else record, pieces) for record, pieces in _blocks(whole, shown)]
  depths = [len(record.tokens) for record, _ in blocks]
  left = [delete_blocks(rng, depth, spec.num_deletion_blocks, spec.deletion_block_fraction)[1:] for depth in depths]
  owner = np.repeat(np.arange(len(blocks)), list(map(len, left)))
  kept = random_rows(rng, np.arange(len(owner) + 1), spec.num_rows)[1:] - 1  # row 0 is that of the sequences
  owner, rows = owner[kept], np.concatenate(left)[kept]

  tokens = np.full((len(rows) + 1, len(shown)), residues.GAP, np.int32)
  deletions = np.zeros(tokens.shape, np.float32)
  profile = np.zeros((len(shown), residues.GAP + 1), np.float32)
  total = 1 + sum(depth - 1 for depth in depths)
  for block, (record, pieces) in enumerate(blocks):
    own = np.flatnonzero(owner == block)
    for at, places in pieces:
      tokens[0, at] = record.tokens[0, places]
      tokens[np.ix_(own + 1, at)] = record.tokens[np.ix_(rows[own], places)]
      deletions[np.ix_(own + 1, at)] = record.deletions[np.ix_(rows[own], places)]
      profile[at] = record.profile[places] * (depths[block] / total)
      profile[at, residues.GAP] += 1 - depths[block] / total
  return schema.Msa(
    tokens=tokens,
    deletions=deletions,
    mask=np.ones(tokens.shape, np.float32),
    pinned=np.eye(1, len(tokens), dtype=np.float32)[0],
    profile=profile,
  )


def _side_by_side(templates: Sequence[schema.Templates], shown: np.ndarray) -> schema.Templates:
  """The templates of each chain as templates of the complex, slot by slot."""
  return schema.Templates(
    aatype=np.concatenate([one.aatype for one in templates], axis=1)[:, shown],
    atom_positions=np.concatenate([one.atom_positions for one in templates], axis=1)[:, shown],
    atom_mask=np.concatenate([one.atom_mask for one in templates], axis=1)[:, shown],
    mask=np.max([one.mask for one in templates], axis=0),
  )


def _make_batch(
  whole: AssembledChains,
  shown: np.ndarray,
  msa: schema.Msa,
  templates: schema.Templates,
  clamped: bool,
  num_copies: int,
) -> schema.Batch:
  """The unpadded example of some residues [N] of a complex."""
  positions, mask = whole.structure(shown)
  copy_positions, copy_mask = whole.copies(shown, num_copies)
  targets = schema.Targets(
    atom_positions=positions,
    atom_mask=mask,
    resolution=np.float32(max(record.resolution for record in whole.records)),
    use_clamped_fape=np.float32(clamped),
    is_distillation=np.float32(0),
    copy_positions=copy_positions,
    copy_mask=copy_mask,
  )
  return dataclasses.replace(
    features.make_batch(''.join(whole.sequence[i] for i in shown), templates=templates),
    residue_index=whole.residue_index[shown],
    asym_id=whole.asym_id[shown],
    entity_id=whole.of_residues(whole.entities)[shown],
    sym_id=whole.of_residues(whole.sym)[shown],
    msa=msa,
    targets=targets,
  )
