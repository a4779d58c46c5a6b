# SPDX-License-Identifier: Apache-2.0
"""Another sequence in a batch, hard or soft: all that holds the sequence follows, under jit and gradients too."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from alphafold_jax import schema
from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import checked_chains, encode
from alphafold_jax.errors import InputError

_NUM_TYPES = residues.UNKNOWN + 1  # 20 and unknown


def with_sequence(batch: schema.Batch, sequence: schema.Array | str) -> schema.Batch:
  """The batch with another query; probabilities let gradients reach the sequence.

  Everything that holds the query follows: residue types and with them atoms, target features, row 0 of the alignment,
  its share of the profile, and, as the network draws them, the profile of its cluster. Deletions, the other rows,
  couplings, templates and the numbers of chains (copies stay copies) stay. So one-hot probabilities give the batch that
  `make_batch` makes of the sequence and these rows; only the profile is equal up to rounding (1e-7), and it does
  nothing but weigh what masked residues are replaced by.

  Args:
    batch: one example, its first alignment row the query.
    sequence: letters (of a complex 'AAA:BBB'), or probabilities of the residue types, unknown last: [num_res, 21], or
      [num_res, 20] without it.

  Raises:
    InputError: it is of another length, of no residues, or holds no finite numbers.
  """
  if not isinstance(batch, schema.Batch):
    raise InputError(f'batch={type(batch).__name__}: with_sequence changes a batch; make one with afj.make_batch')
  if np.ndim(batch.aatype) != 1:
    raise InputError(
      f'a batch with aatype of shape {np.shape(batch.aatype)}; with_sequence takes one example: jax.vmap'
    )
  num_res = len(batch.aatype)
  probs = _of_letters(sequence, batch.asym_id) if isinstance(sequence, str) else _checked(sequence)
  if probs.shape != (num_res, _NUM_TYPES):
    raise InputError(
      f'a sequence of shape {probs.shape}; the batch has {num_res} residues: give as many letters, or probabilities '
      f'of shape ({num_res}, {_NUM_TYPES})'
    )
  batch = jax.tree.map(jnp.asarray, batch)
  is_res = batch.seq_mask > 0
  aatype = jnp.where(is_res, jnp.argmax(probs, axis=-1), batch.aatype).astype(jnp.int32)
  tokens = batch.msa.tokens
  num_seq = jnp.sum(jnp.any(batch.msa.mask > 0, axis=-1))
  change = jnp.pad(probs - batch.soft_sequence, ((0, 0), (0, 1))) / num_seq  # [num_res, 22]
  msa = dataclasses.replace(
    batch.msa,
    tokens=tokens.at[0].set(jnp.where(is_res, aatype, tokens[0])),
    profile=batch.msa.profile + change,
  )
  return dataclasses.replace(batch, aatype=aatype, soft_sequence=probs, msa=msa)


def _of_letters(sequence: str, asym_id: schema.Array) -> np.ndarray:  # [num_res, 21]
  """Letters as one-hot rows; where they are divided into chains, these must be the chains of the batch."""
  chains = checked_chains(sequence, 'sequence')
  if len(chains) > 1 and not isinstance(asym_id, jax.core.Tracer):
    ids, counts = np.unique(np.asarray(asym_id), return_counts=True)
    lengths = tuple(counts[ids > 0].tolist())  # 0: padding
    if lengths != chains.lengths:
      raise InputError(f'a sequence of chains of {chains.lengths} residues; the batch has chains of {lengths}')
  return np.eye(_NUM_TYPES, dtype=np.float32)[encode(chains.sequence)]


def _checked(probabilities: schema.Array) -> jax.Array:  # [num_res, 20 or 21] -> [num_res, 21]
  """Probabilities in float32, with a column for unknown residues; traced ones are taken to be finite."""
  if not isinstance(probabilities, jax.core.Tracer):
    try:
      given = np.asarray(probabilities, np.float32)
    except (TypeError, ValueError):
      given = np.zeros((), np.float32)
    if not given.ndim:
      raise InputError(
        f'a sequence of type {type(probabilities).__name__}; give letters, or probabilities [num_res, {_NUM_TYPES}]'
      )
    if not np.isfinite(given).all():
      raise InputError('the probabilities of the sequence hold NaN or infinity; give finite ones')
  probs = jnp.asarray(probabilities, jnp.float32)
  return jnp.pad(probs, ((0, 0), (0, 1))) if probs.ndim == 2 and probs.shape[1] == _NUM_TYPES - 1 else probs
