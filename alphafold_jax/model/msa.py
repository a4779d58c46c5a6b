# SPDX-License-Identifier: Apache-2.0
"""Updates of the MSA representation, Algorithms 7, 8, 10 and 19; each gives what it updates with the update added.

m [N_seq, N_res, c_m] MSA representation, z [N_res, N_res, c_z] pair representation, mask [N_seq, N_res].
"""

import haiku as hk
import jax

from alphafold_jax import ops
from alphafold_jax.model.layers import LayerNorm, Linear, attention_weights, filled, weight


class MSARowAttentionWithPairBias(hk.Module):
  """Algorithm 7: each sequence attends along its residues, where the pair representation points it."""

  def __init__(self, num_head: int, dropout: float = 0.0, name: str | None = None):
    super().__init__(name=name)
    self.num_head, self.dropout = num_head, dropout

  def __call__(self, m: jax.Array, z: jax.Array, mask: jax.Array) -> jax.Array:
    c_m, c_z = m.shape[-1], z.shape[-1]
    norm, pair_norm = LayerNorm(name='norm').weights(c_m), LayerNorm(name='pair_norm').weights(c_z)  # line 1
    to_heads = Linear(self.num_head, has_bias=False, name='pair_bias').matrix(c_z)
    pair_bias = ops.pair_bias(z, pair_norm, to_heads)  # line 3
    weights = attention_weights(c_m, c_m, self.num_head, c_m // self.num_head)
    keep = ops.msa_dropout(hk.next_rng_key(), self.dropout, m) if self.dropout else None
    return ops.row_attention(m, norm, weights, mask, pair_bias, keep)  # lines 2, 4-7


class MSAColumnAttention(hk.Module):
  """Algorithm 8: each residue attends along the sequences of its column."""

  def __init__(self, num_head: int, name: str | None = None):
    super().__init__(name=name)
    self.num_head = num_head

  def __call__(self, m: jax.Array, mask: jax.Array) -> jax.Array:
    c_m = m.shape[-1]
    norm = LayerNorm(name='norm').weights(c_m)  # line 1
    weights = attention_weights(c_m, c_m, self.num_head, c_m // self.num_head)
    return ops.self_attention(m, norm, weights, mask.swapaxes(0, 1), axis=1)  # lines 2-6


class MSAColumnGlobalAttention(hk.Module):
  """Algorithm 19: column attention with one mean query, for the many rows of the extra MSA."""

  def __init__(self, num_head: int, name: str | None = None):
    super().__init__(name=name)
    self.num_head = num_head

  def __call__(self, m: jax.Array, mask: jax.Array) -> jax.Array:
    c_m = m.shape[-1]
    norm = LayerNorm(name='norm').weights(c_m)  # line 1
    weights = attention_weights(c_m, c_m, self.num_head, c_m // self.num_head, shared_kv=True)
    return ops.global_attention(m, norm, weights, mask.swapaxes(0, 1), axis=1)  # lines 2-7


class OuterProductMean(hk.Module):
  """Algorithm 10: adds to each pair the mean over sequences of the outer product of its columns."""

  def __init__(self, c_hidden: int, name: str | None = None):
    super().__init__(name=name)
    self.c_hidden = c_hidden

  def __call__(self, z: jax.Array, m: jax.Array, mask: jax.Array) -> jax.Array:
    c_m, c_z, hidden = m.shape[-1], z.shape[-1], self.c_hidden
    norm = LayerNorm(name='norm').weights(c_m)  # line 1
    weights = ops.OuterProductWeights(
      left_w=weight('left_w', (c_m, hidden)),
      left_b=filled('left_b', (hidden,)),
      right_w=weight('right_w', (c_m, hidden)),
      right_b=filled('right_b', (hidden,)),
      out_w=weight('out_w', (hidden, hidden, c_z), 'zeros', num_input=hidden * hidden),
      out_b=filled('out_b', (c_z,)),
    )
    return ops.outer_product_mean(z, m, norm, weights, mask)  # lines 2-4
