# SPDX-License-Identifier: Apache-2.0
"""Templates for training examples (Suppl. 1.2.3): earlier chains of the same cluster, aligned by sequence."""

from collections.abc import Callable, Sequence

import numpy as np

from alphafold_jax import schema
from alphafold_jax.data.alignment import align
from alphafold_jax.data.features import empty_templates
from alphafold_jax.data.structures import Chain
from alphafold_jax.data.templates import Template, template_from_chain
from alphafold_jax.data.training.packing import ChainRecord
from alphafold_jax.errors import InputError

_MAX_HITS = 20  # Suppl. 1.2.3


def sample_templates(
  rng: np.random.Generator,
  record: ChainRecord,
  window: slice,
  relatives: Sequence[int],
  read: Callable[[int], ChainRecord],
  num_templates: int,
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
  """
  hits = rng.permutation(np.asarray(relatives, int))[:_MAX_HITS]
  wanted = min(int(rng.integers(len(hits) + 1)), num_templates)
  stacked = empty_templates(num_templates, window.stop - window.start)
  slot = 0
  for hit in hits:
    if slot == wanted:
      break
    if (template := _template(record, read(int(hit)))) is None:
      continue
    stacked.aatype[slot] = template.aatype[window]
    stacked.atom_positions[slot] = template.atom_positions[window]
    stacked.atom_mask[slot] = template.atom_mask[window]
    stacked.mask[slot] = 1
    slot += 1
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
