# SPDX-License-Identifier: Apache-2.0
"""Validation during a run: whole chains, predicted with the averaged parameters, scored against their structures."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alphafold_jax import confidence, devices, schema
from alphafold_jax.constants import residues
from alphafold_jax.data import padding
from alphafold_jax.data.training.cache import TrainingCache
from alphafold_jax.data.training.homologs import best_templates
from alphafold_jax.data.training.training_set import DataSpec, whole_chain
from alphafold_jax.geometry import scores
from alphafold_jax.model import alphafold, recycling
from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.screen import number

_CA = residues.ATOM_INDEX['CA']


@dataclasses.dataclass(frozen=True)
class ChainScore:
  """The scores of one validation chain."""

  id: str
  length: int
  lddt_ca: float  # 0..1, mean over resolved residues
  tm: float  # 0..1
  mean_plddt: float  # 0..100


def choose_chains(
  caches: Sequence[TrainingCache], spec: DataSpec, num: int, max_length: int, split: str = 'validation'
) -> list[tuple[str, schema.Batch]]:
  """The first chain of each cluster of a split: its id and its unpadded batch with targets.

  Args:
    caches: of which the experimental chains are taken.
    spec: gives the alignment rows of a batch, and how many templates from training chains it shows.
    num: the most chains; 0: none.
    max_length: residues; longer chains are left out.
    split: of the table that the cache was made with.

  Raises:
    InputError: templates are asked for, and nobody looked for them.
  """
  found: dict[str, tuple[str, schema.Batch]] = {}
  for cache in caches:
    for index, entry in enumerate(cache.entries):
      fits = entry.split == split and entry.length <= max_length and not entry.is_distillation
      if fits and entry.cluster not in found and len(found) < num:
        templates = best_templates(cache, index, spec.validation_templates) if spec.validation_templates else None
        found[entry.cluster] = entry.id, whole_chain(cache[index], spec, spec.num_rows, templates)
  return list(found.values())


def describe_absence(caches: Sequence[TrainingCache], max_length: int, split: str = 'validation') -> str:
  """Why there is no chain to validate with, and what to do about it."""
  entries = [entry for cache in caches for entry in cache.entries if not entry.is_distillation]
  chosen = [entry for entry in entries if entry.split == split]
  if chosen:
    shortest = min(entry.length for entry in chosen)
    return (
      f'all of {number(len(chosen), "chain")} of the split {split} are longer than run.max_validation_length='
      f'{max_length}; the shortest has {number(shortest, "residue")}; raise that setting'
    )
  splits = collections.Counter(entry.split for entry in entries)
  shown = ', '.join(f'{count} {name or "without a name"}' for name, count in splits.most_common())
  return (
    f'no chain is of the split {split} (there are: {shown or "none"}); name some in the column `split` of '
    '`alphafold-jax dataset --table`'
  )


@functools.cache
def _folder(spec: AlphaFoldSpec, num_passes: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """Compiles a prediction: (params, key, batch) -> atom positions [N, 37, 3] Å, pLDDT [N]."""
  network = alphafold.network(spec)

  def fold(params, key, batch):
    context = network.prepare(params, key, batch)
    outputs = recycling.recycle(network, params, key, batch, context, num_passes)
    return outputs.structure.atom_positions, confidence.plddt(outputs.logits.plddt)

  return jax.jit(fold)


def fold(spec: AlphaFoldSpec, params: Any, batch: schema.Batch, num_passes: int) -> tuple[np.ndarray, np.ndarray]:
  """Predicts a chain or a complex; those of equal padded size share a compilation.

  Args:
    spec: of the network, as it predicts
    params: the averaged parameters
    batch: unpadded, N residues
    num_passes: of the network

  Returns:
    atom positions [N, 37, 3] Å, and pLDDT [N], 0..100
  """
  devices.start()
  num_res = len(batch.aatype)
  if batch.targets is not None:  # the network looks at none; without copies all batches are of one form
    batch = dataclasses.replace(batch, targets=dataclasses.replace(batch.targets, copy_positions=None, copy_mask=None))
  sizes = {'num_res': padding.residue_bucket(num_res), 'num_seq': padding.msa_depth_bucket(len(batch.msa.tokens))}
  padded = jax.tree.map(jnp.asarray, padding.pad_batch(batch, sizes))
  positions, plddt = jax.device_get(_folder(spec, num_passes)(params, jax.random.key(0), padded))
  return positions[:num_res], plddt[:num_res]


def score_chains(
  spec: AlphaFoldSpec, params: Any, chains: Sequence[tuple[str, schema.Batch]], num_passes: int
) -> list[ChainScore]:
  """Predicts and scores chains, from `choose_chains`, one after another; the other arguments are those of `fold`."""
  results = []
  for name, batch in chains:
    positions, plddt = fold(spec, params, batch, num_passes)
    results.append(_score(name, batch, positions[:, _CA], plddt))
  return results


def _score(name: str, batch: schema.Batch, ca: np.ndarray, plddt: np.ndarray) -> ChainScore:
  true, mask = batch.targets.atom_positions[:, _CA], batch.targets.atom_mask[:, _CA]
  lddt = scores.lddt_ca(ca, true, mask)
  return ChainScore(
    id=name,
    length=len(ca),
    lddt_ca=float(np.sum(lddt * mask) / np.sum(mask)),
    tm=float(scores.tm_score(ca, true, mask)),
    mean_plddt=float(np.mean(plddt)),
  )


def mean_scores(scored: Sequence[ChainScore]) -> dict[str, float]:
  """Means over the chains, and the correlation of mean pLDDT with lDDT-C-alpha, NaN where either is constant."""
  lddt, tm, plddt = (np.array([getattr(one, name) for one in scored]) for name in ('lddt_ca', 'tm', 'mean_plddt'))
  varied = len(scored) > 2 and np.std(lddt) > 0 and np.std(plddt) > 0
  return {
    'lddt_ca': float(np.mean(lddt)),
    'tm': float(np.mean(tm)),
    'plddt': float(np.mean(plddt)),
    'plddt_pearson': float(np.corrcoef(lddt, plddt)[0, 1]) if varied else float('nan'),
  }
