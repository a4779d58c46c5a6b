# SPDX-License-Identifier: Apache-2.0
"""Updates of the pair representation, Algorithms 11 to 15; each gives the representation with its update added.

z [N_res, N_res, c_z] pair representation, mask [N_res, N_res], keep dropout's factors or None.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import ops
from alphafold_jax.model.layers import LayerNorm, Linear, Transition, attention_weights, dropout_factors
from alphafold_jax.ops import axial


class TriangleMultiplication(hk.Module):
  """Algorithms 11 "TriangleMultiplicationOutgoing" and 12 "TriangleMultiplicationIncoming"."""

  def __init__(self, c_hidden: int, outgoing: bool, name: str | None = None):
    super().__init__(name=name)
    self.c_hidden, self.outgoing = c_hidden, outgoing

  def __call__(self, z: jax.Array, mask: jax.Array, keep: jax.Array | None = None) -> jax.Array:
    c_z, hidden = z.shape[-1], self.c_hidden
    linear = hk.initializers.VarianceScaling(1.0, 'fan_in', 'truncated_normal')
    norm = LayerNorm(name='norm').weights(c_z)  # line 1
    return ops.triangle_multiplication(
      z,
      norm,
      ops.TriangleWeights(  # lines 2-4
        proj_w=hk.get_parameter('proj_w', (c_z, 2 * hidden), init=linear),
        proj_b=hk.get_parameter('proj_b', (2 * hidden,), init=jnp.zeros),
        gate_w=hk.get_parameter('gate_w', (c_z, 2 * hidden), init=jnp.zeros),
        gate_b=hk.get_parameter('gate_b', (2 * hidden,), init=jnp.ones),
        norm_scale=hk.get_parameter('norm_scale', (hidden,), init=jnp.ones),
        norm_offset=hk.get_parameter('norm_offset', (hidden,), init=jnp.zeros),
        out_w=hk.get_parameter('out_w', (hidden, c_z), init=jnp.zeros),
        out_b=hk.get_parameter('out_b', (c_z,), init=jnp.zeros),
        out_gate_w=hk.get_parameter('out_gate_w', (c_z, c_z), init=jnp.zeros),
        out_gate_b=hk.get_parameter('out_gate_b', (c_z,), init=jnp.ones),
      ),
      mask,
      outgoing=self.outgoing,
      keep=keep,
    )


class TriangleAttention(hk.Module):
  """Algorithms 13 "TriangleAttentionStartingNode" and 14 "TriangleAttentionEndingNode"."""

  def __init__(self, num_head: int, starting: bool, name: str | None = None):
    super().__init__(name=name)
    self.num_head, self.starting = num_head, starting

  def __call__(self, z: jax.Array, mask: jax.Array, keep: jax.Array | None = None) -> jax.Array:
    c_z = z.shape[-1]
    norm = LayerNorm(name='norm').weights(c_z)  # line 1
    bias = axial.gather(ops.pair_bias(z, norm, Linear(self.num_head, bias=False, name='pair_bias').weights(c_z)), 0)
    weights = attention_weights(c_z, c_z, self.num_head, c_z // self.num_head)
    if self.starting:
      return ops.self_attention(z, norm, weights, mask, bias.transpose(2, 0, 1), keep=keep)  # lines 2-7

    def columns(z, mask, keep, axis):  # around the ending node: the same on the transposed graph
      return ops.self_attention(z, norm, weights, mask, bias.transpose(2, 1, 0), keep=keep, axis=axis)

    return axial.by_columns(columns, z, mask, keep)


@dataclasses.dataclass(frozen=True)
class PairSpec:
  """One pass over the pair representation; `order` names rows of PAIR_UPDATES."""

  num_head: int
  c_triangle: int
  transition_factor: int
  dropout: float
  order: tuple[str, ...]


# name -> (module, the axis that shares its dropout mask)
PAIR_UPDATES = {
  'multiplication_outgoing': (lambda s, name: TriangleMultiplication(s.c_triangle, outgoing=True, name=name), 0),
  'multiplication_incoming': (lambda s, name: TriangleMultiplication(s.c_triangle, outgoing=False, name=name), 0),
  'attention_starting': (lambda s, name: TriangleAttention(s.num_head, starting=True, name=name), 0),
  'attention_ending': (lambda s, name: TriangleAttention(s.num_head, starting=False, name=name), 1),
}


class PairStackBlock(hk.Module):
  """Algorithm 6 lines 6-10, and the block of Algorithm 16: triangle updates in the spec's order, and a transition."""

  def __init__(self, spec: PairSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, z: jax.Array, mask: jax.Array) -> jax.Array:
    for update in self.spec.order:
      module, shared_axis = PAIR_UPDATES[update]
      z = module(self.spec, update)(z, mask, dropout_factors(z.shape, self.spec.dropout, shared_axis, sharded_axis=0))
    return Transition(self.spec.transition_factor, name='transition')(z)
