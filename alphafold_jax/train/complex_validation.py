# SPDX-License-Identifier: Apache-2.0
"""Validation of a run on complexes: whole ones, predicted with the averaged parameters, each interface scored by DockQ.

Copies are put in the order in which the losses take them, losses/permutation.py.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from alphafold_jax import schema
from alphafold_jax.constants import residues
from alphafold_jax.data.training.cache import TrainingCache
from alphafold_jax.data.training.complex_examples import whole_complex
from alphafold_jax.data.training.complexes import ComplexEntry
from alphafold_jax.data.training.training_set import DataSpec
from alphafold_jax.geometry import dockq
from alphafold_jax.losses import permutation
from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.train import validation

_CA = residues.ATOM_INDEX['CA']
_nearest_copies = jax.jit(permutation.nearest_copies)


@dataclasses.dataclass(frozen=True)
class ComplexScore:
  """The interfaces of one validation complex."""

  id: str
  interfaces: tuple[dockq.DockQ, ...]  # of each pair of chains in contact

  @property
  def dockq(self) -> float:
    """0..1, the mean over interfaces."""
    return float(np.mean([one.score for one in self.interfaces]))


def choose_complexes(
  caches: Sequence[TrainingCache], spec: DataSpec, num: int, max_length: int, split: str = 'validation'
) -> list[tuple[str, schema.Batch]]:
  """The first complex of each cluster all of whose chains are of a split: its id and its unpadded batch with targets.

  Args:
    caches: of which the complexes are taken.
    spec: gives the alignment rows of a batch.
    num: the most complexes; 0: none.
    max_length: residues of all chains together; longer complexes are left out, and so are those without contacts.
    split: of the table that the cache was made with.

  Raises:
    InputError: a record cannot be read.
  """
  found: dict[str, tuple[str, schema.Batch]] = {}
  for cache in caches:
    for index, entry in enumerate(cache.complexes):
      if len(found) == num:
        return list(found.values())
      if entry.cluster not in found and _fits(cache, entry, max_length, split):
        batch = whole_complex(cache, index, spec, spec.num_rows)
        if next(_interfaces(batch), None) is not None:
          found[entry.cluster] = entry.id, batch
  return list(found.values())


def _fits(cache: TrainingCache, entry: ComplexEntry, max_length: int, split: str) -> bool:
  chains = [cache.entries[cache.places[name]] for name in entry.chains]
  own = entry.split == split and all(chain.split == split and not chain.is_distillation for chain in chains)
  return own and sum(chain.length for chain in chains) <= max_length


def score_complexes(
  spec: AlphaFoldSpec, params: Any, complexes: Sequence[tuple[str, schema.Batch]], num_passes: int
) -> list[ComplexScore]:
  """Predicts and scores complexes, from `choose_complexes`; the other arguments are those of `validation.fold`."""
  results = []
  for name, batch in complexes:
    positions, _ = validation.fold(spec, params, batch, num_passes)
    nearest = jax.device_get(_nearest_copies(batch, positions[:, _CA]))
    results.append(ComplexScore(name, score_interfaces(nearest, positions)))
  return results


def score_interfaces(batch: schema.Batch, positions: np.ndarray) -> tuple[dockq.DockQ, ...]:
  """DockQ of each pair of chains that are in contact in the targets.

  Args:
    batch: unpadded; each chain's targets are its own, in this order of copies.
    positions: [N, 37, 3] Å, predicted
  """
  exists = residues.ATOM37_MASK[batch.aatype]
  true, known = batch.targets.atom_positions, batch.targets.atom_mask

  def of_chain(at: np.ndarray) -> tuple[dockq.StandIn, dockq.HeavyAtoms]:
    stand_in = dockq.stand_in(np.arange(len(at)), true[at], known[at], positions[at], exists[at])
    return stand_in, dockq.heavy_atoms(positions[at], exists[at])

  results = []
  for one, other, interface in _interfaces(batch):
    (first, of_first), (second, of_second) = of_chain(one), of_chain(other)
    met = dockq.touching(of_first, of_second, dockq.CONTACT)
    results.append(dockq.score_interface(interface, first, second, met))
  return tuple(results)


def _interfaces(batch: schema.Batch) -> Iterator[tuple[np.ndarray, np.ndarray, dockq.TrueInterface]]:
  """The residues of two chains that are in contact in the targets, and where they meet."""
  positions, mask = batch.targets.atom_positions, batch.targets.atom_mask
  chains = [np.flatnonzero(batch.asym_id == number) for number in np.unique(batch.asym_id)]
  atoms = [(at, dockq.heavy_atoms(positions[at], mask[at])) for at in chains if mask[at].any()]
  for (one, of_one), (other, of_other) in itertools.combinations(atoms, 2):
    if (interface := dockq.true_interface(of_one, of_other)) is not None:
      yield one, other, interface


def mean_scores(scored: Sequence[ComplexScore]) -> dict[str, float]:
  """The mean DockQ over all interfaces, and their number; nothing without complexes."""
  found = [interface.score for one in scored for interface in one.interfaces]
  return {'dockq': float(np.mean(found)), 'interfaces': len(found)} if found else {}


def describe_absence(caches: Sequence[TrainingCache], max_length: int, split: str = 'validation') -> str:
  """Why there is no complex to validate with."""
  entries = [(cache, entry) for cache in caches for entry in cache.complexes]
  own = [one for one in entries if _fits(*one, max_length=10**9, split=split)]
  if not own:
    return f'no complex has only chains of the split {split}'
  if any(_fits(*one, max_length, split) for one in own):
    return f'no complex of the split {split} has chains in contact'
  return f'all complexes of the split {split} are longer than run.max_validation_length={max_length}'
