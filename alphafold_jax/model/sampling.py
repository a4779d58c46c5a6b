# SPDX-License-Identifier: Apache-2.0
"""Choosing, masking and clustering alignment rows (Suppl. 1.2.7), anew on every pass, on the device.

Random numbers are drawn per row, then per residue, so they do not depend on how far either axis is padded.
C cluster rows, X extra rows, R rows that are not clusters.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from alphafold_jax import schema
from alphafold_jax.schema import Array, array

NUM_TOKENS = 23  # 20 residue types, unknown, gap, mask
_GAP, _MASK = 21, 22
_ROWS_AT_ONCE = 256  # rows clustered per step: bounds memory for deep alignments


@dataclasses.dataclass(frozen=True)
class SamplingSpec:
  """How many rows the network sees, and how cluster rows are masked."""

  num_msa: int
  num_extra: int
  masked_fraction: float
  uniform_prob: float
  profile_prob: float
  same_prob: float
  clusters: str = 'nearest'  # a row of CLUSTERS: how the other rows are shared among the clusters

  def rows(self, depth: int) -> tuple[int, int]:
    """How many cluster and extra rows an alignment of this depth gives; where none is left, one empty extra row."""
    num_msa = min(self.num_msa, depth)
    return num_msa, min(self.num_extra, max(1, depth - num_msa))


@schema.pytree
class MsaSample:
  """Rows drawn for one pass: clusters with their members' statistics, and extra rows one by one."""

  tokens: Array = array('num_msa', 'num_res', dtype='int32')  # after masking
  deletions: Array = array('num_msa', 'num_res')
  mask: Array = array('num_msa', 'num_res')
  profile: Array = array('num_msa', 'num_res', 23)  # token frequencies in the cluster, its centre included
  deletion_mean: Array = array('num_msa', 'num_res')
  target: schema.MaskedMsa
  extra_tokens: Array = array('num_extra', 'num_res', dtype='int32')
  extra_deletions: Array = array('num_extra', 'num_res')
  extra_mask: Array = array('num_extra', 'num_res')


def shuffle_rows(key: jax.Array, msa: schema.Msa) -> jax.Array:
  """Draws the order of rows: pinned rows first as they stand, the others at random, empty rows last.

  Returns:
    [num_seq] row indices; the key is consumed.
  """
  num_seq = msa.tokens.shape[0]
  keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(num_seq))
  draws = jax.vmap(jax.random.uniform)(keys)
  draws = jnp.where(msa.pinned > 0, -1.0, draws)
  empty = jnp.sum(msa.mask, axis=-1) == 0
  return jnp.argsort(jnp.where(empty, 2.0, draws), stable=True)


def mask_rows(key: jax.Array, tokens: jax.Array, profile: jax.Array, spec: SamplingSpec) -> tuple[jax.Array, jax.Array]:
  """Replaces a share of the tokens: by a uniform residue, one of the profile, itself, or else the mask token.

  Args:
    key: consumed
    tokens: [C, num_res]
    profile: [num_res, 22]
    spec: probabilities

  Returns:
    tokens [C, num_res] after masking, and where they may have changed [C, num_res].
  """
  num_row, num_res = tokens.shape
  uniform = jnp.concatenate([jnp.full(20, 1 / 20), jnp.zeros(2)])
  shared = spec.uniform_prob * uniform + spec.profile_prob * profile  # [num_res, 22]

  def one_row(where, draw, row):  # both [num_res]
    replaced = where < spec.masked_fraction
    probs = shared + spec.same_prob * jax.nn.one_hot(row, 22)
    # Inverse transform sampling: one draw per residue; what the 22 tokens leave over is the mask token.
    what = jnp.sum(draw[:, None] >= jnp.cumsum(probs, axis=-1), axis=-1)
    return jnp.where(replaced, what, row), replaced.astype(jnp.float32)

  keys = jax.vmap(lambda row: jax.random.split(jax.random.fold_in(key, row)))(jnp.arange(num_row))
  # All in one row: most of the time to compile all this goes to random numbers.
  draws = jax.vmap(lambda key: jax.random.uniform(key, (num_res,)))(keys.reshape(-1)).reshape(num_row, 2, num_res)
  return jax.vmap(one_row)(draws[:, 0], draws[:, 1], tokens)


def cluster(
  centres: jax.Array,
  deletions: jax.Array,
  mask: jax.Array,
  rest_tokens: jax.Array,
  rest_deletions: jax.Array,
  rest_mask: jax.Array,
  how: str = 'nearest',
) -> tuple[jax.Array, jax.Array]:
  """Gives each remaining row to the cluster centres it agrees with most and averages the members.

  Args:
    centres: [C, num_res, 23] tokens of the centres after masking, from `shares`
    deletions, mask: [C, num_res] of the centres
    rest_tokens, rest_deletions, rest_mask: [R, num_res] the other rows
    how: a row of CLUSTERS

  Returns:
    token frequencies [C, num_res, 23] and mean deletions [C, num_res], centres included.
  """
  num_clusters, num_res = mask.shape
  add_members, least = CLUSTERS[how]
  agreeing = jnp.arange(NUM_TOKENS) < _GAP  # gaps and masks agree with nothing
  centres = centres * mask[..., None]
  weighted = (centres * agreeing).reshape(num_clusters, -1)

  num_steps = math.ceil(rest_tokens.shape[0] / _ROWS_AT_ONCE)
  size = math.ceil(rest_tokens.shape[0] / num_steps)
  missing = num_steps * size - rest_tokens.shape[0]
  steps = tuple(
    jnp.pad(x, ((0, missing), (0, 0))).reshape(num_steps, size, num_res)
    for x in (rest_tokens, rest_deletions, rest_mask)
  )

  def add_rows(sums, rows):
    row_tokens, row_deletions, row_mask = rows
    one_hot = jax.nn.one_hot(row_tokens, NUM_TOKENS) * row_mask[..., None]
    agreement = one_hot.reshape(size, -1) @ weighted.T
    values = jnp.concatenate([one_hot, jnp.stack([row_mask, row_mask * row_deletions], axis=-1)], axis=-1)
    return add_members(sums, values, agreement, row_mask, mask), None

  sums = jnp.concatenate([centres, jnp.stack([mask, mask * deletions], axis=-1)], axis=-1)
  sums, _ = jax.lax.scan(add_rows, sums, steps)
  count = (least + sums[..., NUM_TOKENS])[..., None]
  return sums[..., :NUM_TOKENS] / count, sums[..., -1] / count[..., 0]


def _add_to_nearest(sums: jax.Array, values: jax.Array, agreement: jax.Array, *_: jax.Array) -> jax.Array:
  """Adds what rows [R, num_res, v] hold to the sums [C, num_res, v] of the clusters they agree with most, [R, C]."""
  return sums.at[jnp.argmax(agreement, axis=-1)].add(values)


def _add_by_overlap(
  sums: jax.Array, values: jax.Array, agreement: jax.Array, row_mask: jax.Array, mask: jax.Array
) -> jax.Array:
  """The same, but a row is split among clusters it agrees with equally, and counts once for each residue it covers.

  That is how the published networks of complexes were trained: beside its members a centre counts for next to nothing.
  """
  overlap = row_mask @ mask.T  # [R, C]
  share = jax.nn.softmax(1e3 * agreement, axis=-1) * overlap
  return sums + jnp.einsum('rc,rnv->cnv', share, values, precision=jax.lax.Precision.HIGHEST)


CLUSTERS: Mapping[str, tuple[Callable[..., jax.Array], float]] = {  # and what keeps a count from being zero
  'nearest': (_add_to_nearest, 1e-6),
  'softmax': (_add_by_overlap, 1e-30),
}


def shares(tokens: jax.Array, masked: jax.Array, mask: jax.Array, soft_sequence: jax.Array | None = None) -> jax.Array:
  """Cluster rows as shares of tokens: one-hot, but the query's row is the (perhaps soft) sequence where not masked.

  Args:
    tokens: [C, num_res] after masking, row 0 the query
    masked: [C, num_res] where they may have changed
    mask: [C, num_res] 0: padding
    soft_sequence: [num_res, 21]; None: the query's tokens

  Returns:
    [C, num_res, 23]
  """
  rows = jax.nn.one_hot(tokens, NUM_TOKENS)
  if soft_sequence is None:
    return rows
  query = jnp.pad(soft_sequence, ((0, 0), (0, NUM_TOKENS - soft_sequence.shape[-1])))
  is_query = (masked[0] == 0) & (mask[0] > 0)
  return rows.at[0].set(jnp.where(is_query[:, None], query, rows[0]))


def sample_msa(
  key: jax.Array, msa: schema.Msa, spec: SamplingSpec, soft_sequence: jax.Array | None = None
) -> MsaSample:
  """Draws the rows of one pass.

  The number of rows follows the alignment's (padded) depth where that is less than the spec's; there is always at
  least one extra row, masked if need be, since the outer product mean of no rows is not zero.

  Args:
    key: consumed
    msa: the whole alignment
    spec: sizes and masking probabilities
    soft_sequence: [num_res, 21] what the query's row counts as; None: its tokens
  """
  key_shuffle, key_mask = jax.random.split(key)
  depth = msa.tokens.shape[0]
  num_msa, num_extra = spec.rows(depth)
  num_rest = max(1, depth - num_msa)
  order = shuffle_rows(key_shuffle, msa)

  def split(x):
    x = jnp.pad(x[order], ((0, num_msa + num_rest - depth), (0, 0)))
    return x[:num_msa], x[num_msa:]

  true_tokens, rest_tokens = split(msa.tokens)
  deletions, rest_deletions = split(msa.deletions)
  mask, rest_mask = split(msa.mask)

  if spec.masked_fraction:
    tokens, masked = mask_rows(key_mask, true_tokens, msa.profile, spec)
  else:
    tokens, masked = true_tokens, jnp.zeros_like(mask)
  centres = shares(tokens, masked, mask, soft_sequence)
  profile, deletion_mean = cluster(centres, deletions, mask, rest_tokens, rest_deletions, rest_mask, spec.clusters)
  return MsaSample(
    tokens=tokens,
    deletions=deletions,
    mask=mask,
    profile=profile,
    deletion_mean=deletion_mean,
    target=schema.MaskedMsa(tokens=true_tokens, mask=masked * mask),
    extra_tokens=rest_tokens[:num_extra],
    extra_deletions=rest_deletions[:num_extra],
    extra_mask=rest_mask[:num_extra],
  )
