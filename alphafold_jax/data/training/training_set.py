# SPDX-License-Identifier: Apache-2.0
"""Training examples by number: chain, alignment rows, residues and templates (Suppl. 1.2.4 to 1.2.8, 1.3).

Example i is a function of (seed, i) alone: there are no epochs and no shuffle buffer, and the order of threads and
hosts has no effect. So a run resumes from the number of its step, and any example can be made again by its number.

Departs from the paper: chains are drawn with replacement, with probability proportional to (length acceptance) /
(cluster size), the same distribution as the paper's draws and rejections; the network draws clusters and extra rows
anew on every pass from the rows chosen here; templates are training chains of like sequence
(template_finding.py) or, where nobody looked for them, other chains of the same cluster, instead of HHsearch's hits.
"""

import collections
import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence

import numpy as np

from alphafold_jax import coevolution, schema
from alphafold_jax.data import features, padding
from alphafold_jax.data.training.cache import ChainEntry, TrainingCache
from alphafold_jax.data.training.complex_examples import ComplexPool, with_one_copy
from alphafold_jax.data.training.data_spec import DataSpec as DataSpec
from alphafold_jax.data.training.homologs import MAX_HITS, sample_templates
from alphafold_jax.data.training.packing import ChainRecord, without_alignment
from alphafold_jax.data.training.sampling import crop_start, delete_blocks, random_rows
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)
_KINDS = ('experimental', 'predicted')  # of structures
_EXAMPLE, _CLAMPED = 0, 1  # streams of random numbers
_MAX_DRAWS = 50  # broken records in a row before training is given up


@dataclasses.dataclass(frozen=True)
class _Pool:
  """The chains of one kind that pass the filters."""

  places: np.ndarray  # [num_chain, 2] index of the cache, index in it
  cumulative: np.ndarray  # [num_chain] rising to 1: probabilities summed up
  entries: tuple[ChainEntry, ...]
  clusters: dict[str, list[int]]  # chains of each

  def draw(self, rng: np.random.Generator) -> int:
    """The index of a random chain."""
    place = np.searchsorted(self.cumulative, rng.random(), side='right')
    return min(int(place), len(self.entries) - 1)  # the sum may stay a rounding error below 1

  def relatives(self, chosen: int) -> list[int]:
    """The other chains of a chain's cluster, without those released on its date or later (Suppl. 1.2.3)."""
    own = self.entries[chosen]
    return [i for i in self.clusters[own.cluster] if i != chosen and _is_earlier(self.entries[i], own)]


def _is_earlier(other: ChainEntry, own: ChainEntry) -> bool:
  """Whether a chain was released before another, as far as both dates are known."""
  return not own.release_date or other.release_date < own.release_date


class TrainingSet:
  """Random access to an endless sequence of examples."""

  def __init__(self, caches: Sequence[TrainingCache], spec: DataSpec, seed: int, batch_size: int):
    """Filters the chains and computes their probabilities.

    Args:
      caches: from `open_cache`.
      spec: sizes, filters and probabilities.
      seed: not negative.
      batch_size: examples of a global mini-batch, all of which clamp the FAPE or none.

    Raises:
      InputError: no chain passes the filters, a file of template hits is damaged, or couplings are to be shown that
        nobody computed of alignments that give some.
    """
    self.caches, self.spec, self.seed, self.batch_size = tuple(caches), spec, seed, batch_size
    made = [_make_pool(self.caches, spec, is_distillation) for is_distillation in range(len(_KINDS))]
    self._pools, self._removed = zip(*made)
    self._hits = [cache.hits if spec.num_templates else None for cache in self.caches]
    self.complexes = ComplexPool(self.caches, spec) if spec.complex_fraction else None
    shares = (1 - spec.distillation_fraction, spec.distillation_fraction)
    for kind, pool, share in zip(_KINDS, self._pools, shares, strict=True):
      if share > 0 and not pool.entries:
        raise InputError(f'no {kind} chain is left to train on: {self.describe()}; check filters and splits')
    self.has_couplings = bool(spec.couplings_fraction) and self._find_couplings()

  def example(self, index: int) -> tuple[str, schema.Batch]:
    """The id of a chain or complex, and the padded example of a number.

    A record that cannot be read is logged, and another chain is drawn in its place.

    Raises:
      InputError: 50 records in a row cannot be read.
    """
    for attempt in range(_MAX_DRAWS):
      rng = np.random.default_rng([self.seed, _EXAMPLE, index, attempt])
      kind, id, make = self._draw(rng)
      try:
        return id, make(rng, index)
      except InputError as error:
        _log.warning('example %d: %s %s is replaced by another one: %s', index, kind, id, error)
    raise InputError(f'example {index}: {_MAX_DRAWS} chains in a row could not be read; build the cache again')

  def _draw(self, rng: np.random.Generator) -> tuple[str, str, Callable[[np.random.Generator, int], schema.Batch]]:
    """Draws a chain or a complex: which of the two, its id, and the function that makes an example of it."""
    is_predicted = int(rng.random() < self.spec.distillation_fraction)
    if self.complexes is not None and not is_predicted and rng.random() < self.spec.complex_fraction:
      chosen = self.complexes.draw(rng)
      return 'complex', self.complexes.entries[chosen].id, functools.partial(self._make_complex, self.complexes, chosen)
    pool = self._pools[is_predicted]
    chosen = pool.draw(rng)
    return 'chain', pool.entries[chosen].id, functools.partial(self._make, pool, chosen)

  def use_clamped_fape(self, step: int) -> bool:
    """Whether all examples of a step clamp the backbone FAPE, or none."""
    return bool(np.random.default_rng([self.seed, _CLAMPED, step]).random() < self.spec.clamped_fraction)

  def idle(self) -> dict[int, str]:
    """The caches from which no example is drawn, by their index, and why."""
    shares = (1 - self.spec.distillation_fraction, self.spec.distillation_fraction)
    held = [set(pool.places[:, 0].tolist()) for pool in self._pools]  # caches, by kind of structure
    drawn = [caches for caches, share in zip(held, shares, strict=True) if share > 0]
    undrawn = f'data.distillation_fraction={self.spec.distillation_fraction:g} draws none of its chains'
    unfit = 'none of its chains is of the split train and passes the filters'
    idle = set(range(len(self.caches))).difference(*drawn)
    return {i: undrawn if any(i in caches for caches in held) else unfit for i in sorted(idle)}

  def describe(self) -> dict[str, dict[str, int]]:
    """Of each kind of structure: numbers of chains, clusters, chains with an alignment, and chains per filter."""
    return {
      kind: {
        'chains': len(pool.entries),
        'clusters': len({entry.cluster for entry in pool.entries}),
        'with alignment': sum(entry.depth > 1 for entry in pool.entries),
        **removed,
      }
      for kind, pool, removed in zip(_KINDS, self._pools, self._removed, strict=True)
    }

  def _read(self, pool: _Pool, chosen: int) -> ChainRecord:
    which, place = pool.places[chosen]
    return self.caches[which][int(place)]

  def _find_couplings(self) -> bool:
    """Whether the record of any chain has couplings; InputError if none has, though its alignment gives some."""
    lacking = 0
    for pool in self._pools:
      for i, entry in enumerate(pool.entries):
        if coevolution.refusal(entry.depth_found, entry.length):
          continue  # there could be none
        with contextlib.suppress(InputError):  # told when the chain is drawn
          if self._read(pool, i).couplings is not None:
            return True
          lacking += 1
    if lacking:
      raise InputError(
        f'data.couplings_fraction is {self.spec.couplings_fraction:g}, but no chain here has couplings, though '
        f'{number(lacking, "alignment")} would give some; build the cache with `alphafold-jax dataset --couplings`, or '
        'train without: data.couplings_fraction=0'
      )
    return False

  def _make(self, pool: _Pool, chosen: int, rng: np.random.Generator, index: int) -> schema.Batch:
    """Draws crop, rows and templates of a chain; the padded example."""
    spec, record = self.spec, self._read(pool, chosen)
    num_res = len(record.sequence)
    clamped = self.use_clamped_fape(index // self.batch_size)
    start = crop_start(rng, num_res, spec.crop_size, clamped)
    window = slice(start, min(num_res, start + spec.crop_size))
    if rng.random() < spec.single_sequence_fraction:
      record = without_alignment(record)
    rows = delete_blocks(rng, len(record.tokens), spec.num_deletion_blocks, spec.deletion_block_fraction)
    rows = random_rows(rng, rows, spec.num_rows)
    templates = self._draw_templates(rng, record, window, pool, chosen)
    batch = _make_batch(record, window, rows, templates, spec.min_confidence, clamped)
    if spec.couplings_fraction:
      shown = rng.random() < spec.couplings_fraction
      batch = dataclasses.replace(batch, couplings=_couplings(record if shown else without_alignment(record), window))
    if self.complexes is not None:
      batch = with_one_copy(batch, spec.max_chains)
    return self._padded(batch)

  def _make_complex(self, pool: ComplexPool, chosen: int, rng: np.random.Generator, index: int) -> schema.Batch:
    """Draws chains, crop, rows and templates of a complex; the padded example."""
    clamped = self.use_clamped_fape(index // self.batch_size)
    batch = pool.example(rng, chosen, clamped, self._templates_of)
    if self.spec.couplings_fraction:
      batch = dataclasses.replace(batch, couplings=coevolution.no_features(len(batch.aatype)))
    return self._padded(batch)

  def _padded(self, batch: schema.Batch) -> schema.Batch:
    return padding.pad_batch(batch, {'num_res': self.spec.crop_size, 'num_seq': self.spec.num_rows})

  @functools.cached_property
  def _chosen(self) -> dict[tuple[int, int], int]:
    """Of each experimental chain, by its cache and its index there, its index in the pool."""
    return {(int(which), int(place)): i for i, (which, place) in enumerate(self._pools[0].places)}

  def _templates_of(self, rng: np.random.Generator, record: ChainRecord, which: int, place: int) -> schema.Templates:
    """Draws templates of a chain of a complex, on all its residues."""
    window = slice(0, len(record.sequence))
    return self._draw_templates(rng, record, window, self._pools[0], self._chosen[which, place])

  def _draw_templates(
    self, rng: np.random.Generator, record: ChainRecord, window: slice, pool: _Pool, chosen: int
  ) -> schema.Templates:
    """Draws templates of a chain among its hits or, where nobody looked for them, in its cluster (Suppl. 1.2.3)."""
    num, caps, drop = self.spec.num_templates, self.spec.template_identity_caps, self.spec.template_drop_fraction
    if not num or (drop and rng.random() < drop):
      return features.empty_templates(num, window.stop - window.start)
    cap = caps[int(rng.integers(len(caps)))] if len(caps) > 1 else caps[0]
    which, place = pool.places[chosen]
    cache, hits = self.caches[which], self._hits[which]
    fewest = self.spec.fewest_templates
    if hits is None:
      found, read = pool.relatives(chosen), functools.partial(self._read, pool)
    else:
      earlier = (i for i in hits.of(int(place), cap) if _is_earlier(cache.entries[i], pool.entries[chosen]))
      found, read = list(earlier)[:MAX_HITS], cache.__getitem__
    return sample_templates(rng, record, window, found, read, num, cap, fewest)


def whole_chain(
  record: ChainRecord, spec: DataSpec, max_rows: int, templates: schema.Templates | None = None
) -> schema.Batch:
  """A chain's batch for validation: all its residues, unpadded.

  Args:
    record: from a cache.
    spec: gives the confidence threshold and, where no templates are given, the number of empty slots.
    max_rows: alignment rows, drawn at random with a fixed seed; 1: the sequence alone.
    templates: on all its residues, such as from `homologs.best_templates`.
  """
  num_res = len(record.sequence)
  record = record if max_rows > 1 else without_alignment(record)
  rows = random_rows(np.random.default_rng(0), np.arange(len(record.tokens)), max_rows)
  if templates is None:
    templates = features.empty_templates(spec.num_templates, num_res)
  whole = slice(0, num_res)
  batch = _make_batch(record, whole, rows, templates, spec.min_confidence, True)
  return dataclasses.replace(batch, couplings=_couplings(record, whole)) if spec.couplings_fraction else batch


def _make_pool(caches: Sequence[TrainingCache], spec: DataSpec, is_distillation: int) -> tuple[_Pool, dict[str, int]]:
  """The chains of one kind that pass the filters, with their probabilities, and how many each filter removed."""
  places, entries = [], []
  removed: collections.Counter[str] = collections.Counter()
  for which, cache in enumerate(caches):
    for place, entry in enumerate(cache.entries):
      if entry.is_distillation != is_distillation:
        continue
      if entry.split != 'train':
        removed[f'split {entry.split}'] += 1
      elif entry.resolution > spec.max_resolution:
        removed['resolution'] += 1
      elif entry.largest_share > spec.max_single_residue:
        removed['single residue'] += 1
      else:
        places.append((which, place))
        entries.append(entry)
  clusters = collections.defaultdict(list)
  for i, entry in enumerate(entries):
    clusters[entry.cluster].append(i)
  lengths = np.array([entry.length for entry in entries])
  acceptance = np.clip(lengths, spec.length_floor, spec.length_cap) / spec.length_cap
  weights = acceptance / np.array([len(clusters[entry.cluster]) for entry in entries])
  weights = _favoured(weights, np.array([entry.depth > 1 for entry in entries], bool), spec.alignment_fraction)
  cumulative = np.cumsum(weights) / max(weights.sum(), 1e-30)
  pool = _Pool(np.array(places, int).reshape(-1, 2), cumulative, tuple(entries), clusters)
  return pool, dict(removed)


def _favoured(weights: np.ndarray, chosen: np.ndarray, least: float) -> np.ndarray:  # [num_chain] each
  """Weights that give the chosen chains, if there are any, at least the share `least`."""
  share = weights[chosen].sum() / max(weights.sum(), 1e-30)
  if share == 0 or share >= least:
    return weights
  return np.where(chosen, weights * least / share, weights * (1 - least) / (1 - share))


def _make_batch(
  record: ChainRecord,
  window: slice,
  rows: np.ndarray,
  templates: schema.Templates,
  min_confidence: float,
  clamped: bool,
) -> schema.Batch:
  """The unpadded example of a window of residues and some rows; the profile is that of all rows."""
  tokens = record.tokens[rows, window].astype(np.int32)
  msa = schema.Msa(
    tokens=tokens,
    deletions=record.deletions[rows, window].astype(np.float32),
    mask=np.ones(tokens.shape, np.float32),
    pinned=np.eye(1, len(tokens), dtype=np.float32)[0],
    profile=record.profile[window],
  )
  return dataclasses.replace(
    features.make_batch(record.sequence[window], templates=templates),
    residue_index=record.residue_index[window],
    msa=msa,
    targets=_targets(record, window, min_confidence, clamped),
  )


def _couplings(record: ChainRecord, window: slice) -> np.ndarray:  # [n, n, NUM_CHANNELS] float32
  """What the network is told of the couplings in the window; zeros where the record has none."""
  if record.couplings is None:
    return coevolution.no_features(window.stop - window.start)
  return coevolution.features(record.couplings, record.neff, window)


def _targets(record: ChainRecord, window: slice, min_confidence: float, clamped: bool) -> schema.Targets:
  """The structure in the window; of a predicted one only the confident residues."""
  positions, mask = record.atom_positions[window], record.atom_mask[window]
  if record.confidence is not None:
    mask = mask * (record.confidence[window] >= min_confidence)[:, None]
    positions = positions * mask[..., None]
  return schema.Targets(
    atom_positions=positions,
    atom_mask=mask.astype(np.float32),
    resolution=np.float32(record.resolution),
    use_clamped_fape=np.float32(clamped),
    is_distillation=np.float32(record.confidence is not None),
  )
