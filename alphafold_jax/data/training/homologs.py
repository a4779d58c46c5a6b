# SPDX-License-Identifier: Apache-2.0
"""Templates of chains of a training set (Suppl. 1.2.3): other chains, aligned by sequence, drawn or the best ones."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from alphafold_jax import schema
from alphafold_jax.data.alignment import align
from alphafold_jax.data.features import empty_templates
from alphafold_jax.data.structures import Chain
from alphafold_jax.data.templates import Template, template_from_chain
from alphafold_jax.data.training.cache import TrainingCache
from alphafold_jax.data.training.packing import ChainRecord
from alphafold_jax.errors import InputError

MAX_HITS = 20  # Suppl. 1.2.3
Reader = Callable[[int], ChainRecord]


def sample_templates(
  rng: np.random.Generator,
  record: ChainRecord,
  window: slice,
  relatives: Sequence[int],
  read: Reader,
  num_templates: int,
  max_identity: float = 1.0,
  fewest: int = 0,
) -> schema.Templates:
  """Draws min(Uniform[0, n], num_templates) of n chains, at most 20, as templates for a window of another's residues.

  A chain whose sequence holds the other or is part of it is no template: its structure would be the answer.

  Args:
    rng: advanced.
    record: the chain that gets the templates.
    window: its residues that the example shows.
    relatives: the numbers of the chains to draw from.
    read: returns the record of a number.
    num_templates: slots; those left over stay empty.
    max_identity: of the aligned residues; a chain above it is no template either.
    fewest: where the uniform numbers begin, as far as there are so many chains.
  """
  hits = rng.permutation(np.asarray(relatives, int))[:MAX_HITS]
  wanted = min(int(rng.integers(min(fewest, len(hits)), len(hits) + 1)), num_templates)
  return _stacked(_placed(record, hits, read, max_identity), wanted, window, num_templates)


def best_templates(cache: TrainingCache, index: int, num_templates: int) -> schema.Templates:
  """The training chains of a cache that most resemble one of its chains, on all its residues.

  What is hidden in training is not: only the chain's own sequence, its parts and what it is a part of.

  Args:
    cache: whose templates were looked for.
    index: of the chain.
    num_templates: slots; those left over stay empty.

  Raises:
    InputError: nobody looked for templates, or a record cannot be read.
  """
  if cache.hits is None:
    raise InputError(
      f'{cache.path}: its templates were not looked for; `alphafold-jax dataset {cache.path} --templates` does it'
    )
  record = cache[index]
  found = _placed(record, cache.hits.of(index), cache.__getitem__, 1.0)
  return _stacked(found, num_templates, slice(0, len(record.sequence)), num_templates)


def _placed(record: ChainRecord, chains: Iterable[int], read: Reader, max_identity: float) -> Iterator[Template]:
  """The chains that can be templates, in their order."""
  for chain in chains:
    template = _template(record, read(int(chain)))
    if template is not None and template.identity <= max_identity:
      yield template


def _stacked(templates: Iterator[Template], wanted: int, window: slice, num_templates: int) -> schema.Templates:
  """The first of some templates in the window, then empty slots."""
  stacked = empty_templates(num_templates, window.stop - window.start)
  for slot, template in zip(range(wanted), templates, strict=False):
    stacked.aatype[slot] = template.aatype[window]
    stacked.atom_positions[slot] = template.atom_positions[window]
    stacked.atom_mask[slot] = template.atom_mask[window]
    stacked.mask[slot] = 1
  return stacked


def _template(record: ChainRecord, other: ChainRecord) -> Template | None:
  """The other chain's atoms on this one's residues; None if it is the same protein or does not align."""
  if other.sequence in record.sequence or record.sequence in other.sequence:
    return None
  chain = Chain(
    id=other.id,
    sequence=other.sequence,
    atom_positions=other.atom_positions,
    atom_mask=other.atom_mask,
    numbering=tuple(str(i) for i in other.residue_index),
    b_factors=np.zeros(len(other.sequence), np.float32),
  )
  try:
    pairs = align(record.sequence, other.sequence)
    return template_from_chain(record.sequence, chain, pairs, name=other.id, source=other.id)
  except InputError:
    return None
