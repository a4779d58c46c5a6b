# SPDX-License-Identifier: Apache-2.0
"""From tokens to representations: Algorithms 3 (input), 4 and 5 (relative positions) and 32 (recycling).

m [N_seq, N_res, c_m] MSA representation, z [N_res, N_res, c_z] pair representation.
"""

import dataclasses
import math

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import ops, schema
from alphafold_jax.constants.couplings import NUM_CHANNELS
from alphafold_jax.geometry import atoms
from alphafold_jax.model.layers import LayerNorm, Linear
from alphafold_jax.model.sampling import NUM_TOKENS, MsaSample, shares

_FAR = 1 << 20  # residues between two chains, for a network that was never shown several


def deletion_features(deletions: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Whether anything was deleted before a position, and how much, squashed to [0, 1) (Suppl. Table 1)."""
  return jnp.clip(deletions, 0.0, 1.0), deletion_value(deletions)


def deletion_value(deletions: jax.Array) -> jax.Array:
  return jnp.arctan(deletions / 3.0) * (2.0 / math.pi)


def features(batch: schema.Batch, sample: MsaSample, break_flag: bool = True) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The inputs of the network: `target_features`, `msa_features`, `extra_msa_features`."""
  return target_features(batch, break_flag), msa_features(batch, sample), extra_msa_features(sample)


def target_features(batch: schema.Batch, break_flag: bool = True) -> jax.Array:
  """[N_res, 22]: a flag for breaks between domains, never set here, and the sequence; [N_res, 21] without the flag."""
  return jnp.pad(batch.soft_sequence, ((0, 0), (1, 0))) if break_flag else batch.soft_sequence


def msa_features(batch: schema.Batch, sample: MsaSample) -> jax.Array:
  """[N_clust, N_res, 49]: token 23, deletions 2, cluster profile 23, mean deletions 1 (Suppl. Table 1)."""
  tokens = shares(sample.tokens, sample.target.mask, sample.mask, ops.own_residues(batch.soft_sequence))
  has_deletion, value = deletion_features(sample.deletions)
  scalars = jnp.stack([has_deletion, value], axis=-1)
  mean = deletion_value(sample.deletion_mean)[..., None]
  return jnp.concatenate([tokens, scalars, sample.profile, mean], axis=-1)


def extra_msa_features(sample: MsaSample) -> jax.Array:
  """[N_extra, N_res, 25]: token 23, deletions 2."""
  has_deletion, value = deletion_features(sample.extra_deletions)
  tokens = jax.nn.one_hot(sample.extra_tokens, NUM_TOKENS)
  return jnp.concatenate([tokens, jnp.stack([has_deletion, value], axis=-1)], axis=-1)


@dataclasses.dataclass(frozen=True)
class EmbedderSpec:
  """Widths, the reach of relative positions, and the distance bins (Å) of recycled structures."""

  c_m: int
  c_z: int
  c_extra: int
  max_relative: int
  recycle_bins: int
  recycle_min: float
  recycle_max: float
  couplings: bool = False  # whether the pair representation is given those of the alignment; published models are not
  break_flag: bool = True  # whether the sequence is given with a flag for breaks between domains
  max_relative_chain: int = 0  # how far copies of an entity are numbered apart; 0: a network of single chains


class InputEmbedder(hk.Module):
  """Algorithm 3."""

  def __init__(self, spec: EmbedderSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(
    self, target: jax.Array, msa: jax.Array, batch: schema.Batch
  ) -> tuple[jax.Array, jax.Array]:  # target [N_res, 21 or 22], msa [N_clust, N_res, 49]
    left = Linear(self.spec.c_z, name='left')(target)  # line 1
    right = Linear(self.spec.c_z, name='right')(target)
    z = ops.pairwise(jnp.add, left, right)  # line 2
    z += Linear(self.spec.c_z, name='relative_position')(relative_positions(batch, self.spec, z.dtype))  # line 3
    m = Linear(self.spec.c_m, name='msa')(msa)
    m += ops.own_residues(Linear(self.spec.c_m, name='target')(target))  # line 4
    return m, z


def relative_positions(batch: schema.Batch, spec: EmbedderSpec, dtype: jnp.dtype = jnp.float32) -> jax.Array:
  """Algorithms 4 "relpos" and 5 "one_hot": where two residues stand to one another, as zeros and ones.

  A network of single chains has [N_res, N_res, 65] offsets; another chain is as far away as can be. One of complexes
  (Evans et al. 2021) has [N_res, N_res, 73]: 65 offsets, another chain; the same entity; 5 numbers of copies between
  them, another entity.
  """
  reach, copies = spec.max_relative, spec.max_relative_chain
  if not copies:
    offset = _offsets(batch.residue_index + _FAR * batch.asym_id, reach)  # line 1
    return jax.nn.one_hot(offset, 2 * reach + 1, dtype=dtype)  # line 2
  same_chain = ops.pairwise(jnp.equal, batch.asym_id)
  same_entity = ops.pairwise(jnp.equal, batch.entity_id)
  offset = jnp.where(same_chain, _offsets(batch.residue_index, reach), 2 * reach + 1)
  apart = jnp.where(same_entity, _offsets(batch.sym_id, copies), 2 * copies + 1)
  parts = [
    jax.nn.one_hot(offset, 2 * reach + 2, dtype=dtype),
    same_entity[..., None].astype(dtype),
    jax.nn.one_hot(apart, 2 * copies + 2, dtype=dtype),
  ]
  return jnp.concatenate(parts, axis=-1)


def _offsets(index: jax.Array, reach: int) -> jax.Array:
  """[N_res, N_res] from 0 to twice the reach, which stand for -reach or less to reach or more."""
  return jnp.clip(ops.pairwise(jnp.subtract, index), -reach, reach) + reach


class CouplingsEmbedder(hk.Module):
  """What all rows of an alignment say of pairs of residues, as an update of the pair representation.

  Not of the paper, whose network sees only the rows that it draws. A linear map that is zero when training begins; it
  has no bias, so that a protein without couplings is computed as by a network that knows of none.
  """

  def __init__(self, spec: EmbedderSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, couplings: jax.Array | None, num_res: int, dtype: jnp.dtype) -> jax.Array:
    if couplings is None:  # the parameters must be there all the same
      couplings = jnp.zeros((num_res, num_res, NUM_CHANNELS))
    linear = Linear(self.spec.c_z, init='zeros', has_bias=False, name='linear')
    return linear(ops.own_residues(couplings).astype(dtype))


class RecyclingEmbedder(hk.Module):
  """Algorithm 32: the previous pass as an update of the first MSA row and of the pair representation."""

  def __init__(self, spec: EmbedderSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(
    self, aatype: jax.Array, previous: schema.Recycled, dtype: jnp.dtype = jnp.float32
  ) -> tuple[jax.Array, jax.Array]:  # of the pair representation in dtype
    s = self.spec
    # Departs from the paper: below the first bin no bin is set, and line 1's 15 bins of 1.25 Å end in an open one.
    beta = atoms.pseudo_beta(aatype, previous.atom_positions)
    distance, norm = Linear(s.c_z, name='distance').function(s.recycle_bins), LayerNorm(name='pair_norm').weights(s.c_z)

    def rows(beta_i: jax.Array, pair: jax.Array) -> jax.Array:  # a few, or all pairs are there in float32
      square = jnp.sum(jnp.square(beta_i[:, None] - beta[None]), axis=-1, keepdims=True)
      bins = _bins(square, s.recycle_min, s.recycle_max, s.recycle_bins)  # lines 1, 2
      return (distance(bins).astype(jnp.float32) + ops.layer_norm(pair.astype(jnp.float32), *norm)).astype(
        dtype
      )  # line 3

    z = ops.pairs_by_rows(rows, (beta,), (previous.pair,), 3 * s.c_z)
    return ops.own_residues(LayerNorm(name='msa_norm')(previous.msa_first_row)), z  # line 4


def distance_bins(positions: jax.Array, low: float, high: float, num_bins: int) -> jax.Array:
  """[N, N, num_bins]: which bin (Å) each distance is in; nearer than `low` is none, the last bin is open."""
  square = jnp.sum(jnp.square(ops.pairwise(jnp.subtract, positions)), axis=-1, keepdims=True)
  return _bins(square, low, high, num_bins)


def _bins(square: jax.Array, low: float, high: float, num_bins: int) -> jax.Array:
  """The same of squared distances [..., 1]."""
  lower = jnp.square(jnp.linspace(low, high, num_bins))
  upper = jnp.append(lower[1:], 1e8)
  return ((square > lower) & (square < upper)).astype(jnp.float32)
