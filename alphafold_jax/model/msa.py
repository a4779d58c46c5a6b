# SPDX-License-Identifier: Apache-2.0
"""Updates of the MSA representation, Algorithms 7, 8, 10 and 19.

m [N_seq, N_res, c_m] MSA representation, z [N_res, N_res, c_z] pair representation, mask [N_seq, N_res].
"""

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import ops
from alphafold_jax.model.layers import LayerNorm, Linear, attention_weights
from alphafold_jax.ops import axial


class MSARowAttentionWithPairBias(hk.Module):
  """Algorithm 7: each sequence attends along its residues, told by the pair representation where to look."""

  def __init__(self, num_head: int, name: str | None = None):
    super().__init__(name=name)
    self.num_head = num_head

  def __call__(self, m: jax.Array, z: jax.Array, mask: jax.Array) -> jax.Array:
    c_m = m.shape[-1]
    m = LayerNorm(name='norm')(m)  # line 1
    bias = Linear(self.num_head, bias=False, name='pair_bias')(LayerNorm(name='pair_norm')(z))  # line 3
    bias = jnp.moveaxis(axial.gather(bias, 0), -1, 0)
    weights = attention_weights(c_m, c_m, self.num_head, c_m // self.num_head)
    update = ops.self_attention(axial.whole_rows(m), weights, axial.whole_rows(mask), bias)  # lines 2, 4-7
    return axial.whole_columns(update, m.shape[0])


class MSAColumnAttention(hk.Module):
  """Algorithm 8: each residue attends along the sequences of its column."""

  def __init__(self, num_head: int, name: str | None = None):
    super().__init__(name=name)
    self.num_head = num_head

  def __call__(self, m: jax.Array, mask: jax.Array) -> jax.Array:
    c_m = m.shape[-1]
    m = LayerNorm(name='norm')(m)  # line 1
    weights = attention_weights(c_m, c_m, self.num_head, c_m // self.num_head)
    return ops.self_attention(m.swapaxes(0, 1), weights, mask.swapaxes(0, 1)).swapaxes(0, 1)  # lines 2-6


class MSAColumnGlobalAttention(hk.Module):
  """Algorithm 19: column attention with one mean query, for the many rows of the extra MSA."""

  def __init__(self, num_head: int, name: str | None = None):
    super().__init__(name=name)
    self.num_head = num_head

  def __call__(self, m: jax.Array, mask: jax.Array) -> jax.Array:
    c_m = m.shape[-1]
    m = LayerNorm(name='norm')(m)  # line 1
    weights = attention_weights(c_m, c_m, self.num_head, c_m // self.num_head, shared_kv=True)
    return ops.global_attention(m.swapaxes(0, 1), weights, mask.swapaxes(0, 1)).swapaxes(0, 1)  # lines 2-7


class OuterProductMean(hk.Module):
  """Algorithm 10: the mean over sequences of the outer product of two columns, as a pair update."""

  def __init__(self, c_hidden: int, c_z: int, name: str | None = None):
    super().__init__(name=name)
    self.c_hidden, self.c_z = c_hidden, c_z

  def __call__(self, m: jax.Array, mask: jax.Array) -> jax.Array:  # [N_res, N_res, c_z]
    c_m, hidden = m.shape[-1], self.c_hidden
    m = LayerNorm(name='norm')(m)  # line 1
    linear = hk.initializers.VarianceScaling(1.0, 'fan_in', 'truncated_normal')
    return ops.outer_product_mean(m, ops.OuterProductWeights(  # lines 2-4
        left_w=hk.get_parameter('left_w', (c_m, hidden), init=linear),
        left_b=hk.get_parameter('left_b', (hidden,), init=jnp.zeros),
        right_w=hk.get_parameter('right_w', (c_m, hidden), init=linear),
        right_b=hk.get_parameter('right_b', (hidden,), init=jnp.zeros),
        out_w=hk.get_parameter('out_w', (hidden, hidden, self.c_z), init=jnp.zeros),
        out_b=hk.get_parameter('out_b', (self.c_z,), init=jnp.zeros),
    ), mask)
