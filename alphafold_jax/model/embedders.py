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


def deletion_features(deletions: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Whether anything was deleted before a position, and how much, squashed to [0, 1) (Suppl. Table 1)."""
  return jnp.clip(deletions, 0.0, 1.0), deletion_value(deletions)


def deletion_value(deletions: jax.Array) -> jax.Array:
  return jnp.arctan(deletions / 3.0) * (2.0 / math.pi)


def features(batch: schema.Batch, sample: MsaSample) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The inputs of the network: `target_features`, `msa_features`, `extra_msa_features`."""
  return target_features(batch), msa_features(batch, sample), extra_msa_features(sample)


def target_features(batch: schema.Batch) -> jax.Array:
  """[N_res, 22]: a flag for breaks between domains, never set here, and the sequence."""
  return jnp.pad(batch.soft_sequence, ((0, 0), (1, 0)))


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


class InputEmbedder(hk.Module):
  """Algorithm 3."""

  def __init__(self, spec: EmbedderSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(
    self, target: jax.Array, msa: jax.Array, residue_index: jax.Array
  ) -> tuple[jax.Array, jax.Array]:  # target [N_res, 22], msa [N_clust, N_res, 49]
    left = Linear(self.spec.c_z, name='left')(target)  # line 1
    right = Linear(self.spec.c_z, name='right')(target)
    z = ops.pairwise(jnp.add, left, right)  # line 2
    z += self._relative_position(residue_index, z.dtype)  # line 3
    m = Linear(self.spec.c_m, name='msa')(msa)
    m += ops.own_residues(Linear(self.spec.c_m, name='target')(target))  # line 4
    return m, z

  @hk.transparent
  def _relative_position(self, residue_index: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Algorithms 4 "relpos" and 5 "one_hot"."""
    reach = self.spec.max_relative
    offset = ops.pairwise(jnp.subtract, residue_index)
    offset = jnp.clip(offset, -reach, reach) + reach  # line 1
    table = Linear(self.spec.c_z, name='relative_position')
    return table(jax.nn.one_hot(offset, 2 * reach + 1, dtype=dtype))  # line 2


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

  def __call__(self, aatype: jax.Array, previous: schema.Recycled) -> tuple[jax.Array, jax.Array]:
    s = self.spec
    # Departs from the paper: below the first bin no bin is set, and line 1's 15 bins of 1.25 Å end in an open one.
    beta = atoms.pseudo_beta(aatype, previous.atom_positions)
    bins = distance_bins(beta, s.recycle_min, s.recycle_max, s.recycle_bins)  # lines 1, 2
    pair = previous.pair.astype(jnp.float32)
    z = Linear(s.c_z, name='distance')(bins) + LayerNorm(name='pair_norm')(pair)  # line 3
    return ops.own_residues(LayerNorm(name='msa_norm')(previous.msa_first_row)), z  # line 4


def distance_bins(positions: jax.Array, low: float, high: float, num_bins: int) -> jax.Array:
  """[N, N, num_bins]: which bin (Å) each distance is in; nearer than `low` is none, the last bin is open."""
  lower = jnp.square(jnp.linspace(low, high, num_bins))
  upper = jnp.append(lower[1:], 1e8)
  square = jnp.sum(jnp.square(ops.pairwise(jnp.subtract, positions)), axis=-1, keepdims=True)
  return ((square > lower) & (square < upper)).astype(jnp.float32)
