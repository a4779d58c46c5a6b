# SPDX-License-Identifier: Apache-2.0
"""Templates for training examples (Suppl. 1.2.3): earlier chains of the same cluster, aligned by sequence."""

from collections.abc import Callable, Sequence

import numpy as np

from alphafold_jax import schema
from alphafold_jax.data.alignment import align
from alphafold_jax.data.features import empty_templates
from alphafold_jax.data.structures import Chain
from alphafold_jax.data.templates import Template, template_from_chain
from alphafold_jax.data.training.packing import Record
from alphafold_jax.errors import InputError

_MAX_HITS = 20  # Suppl. 1.2.3


def sample_templates(
  rng: np.random.Generator,
  record: Record,
  window: slice,
  relatives: Sequence[int],
  read: Callable[[int], Record],
  num_templates: int,
) -> schema.Templates:
  """Of at most 20 hits min(Uniform[0, n], num_templates), at random, cut to a window of the chain's residues.

  Chains that hold the same sequence or part of it are no templates: they would give the answer away.

  Args:
    rng: advanced.
    record: the chain.
    window: its residues that are shown.
    relatives: numbers of chains that may serve.
    read: gives the record of such a number.
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


def _template(record: Record, other: Record) -> Template | None:
  """The other chain on this one's residues; None when it is the same protein or hardly aligns."""
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
