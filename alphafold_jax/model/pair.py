# SPDX-License-Identifier: Apache-2.0
"""Updates of the pair representation, Algorithms 11 to 15; each gives the representation with its update added.

z [N_res, N_res, c_z] pair representation, mask [N_res, N_res], keep dropout's factors or None.
"""

import dataclasses
from collections.abc import Callable

import haiku as hk
import jax

from alphafold_jax import ops
from alphafold_jax.model.layers import LayerNorm, Linear, Transition, attention_weights, filled, weight


class TriangleMultiplication(hk.Module):
  """Algorithms 11 "TriangleMultiplicationOutgoing" and 12 "TriangleMultiplicationIncoming"."""

  def __init__(self, c_hidden: int, outgoing: bool, name: str | None = None):
    super().__init__(name=name)
    self.c_hidden, self.outgoing = c_hidden, outgoing

  def __call__(self, z: jax.Array, mask: jax.Array, keep: jax.Array | None = None) -> jax.Array:
    c_z, hidden = z.shape[-1], self.c_hidden
    norm = LayerNorm(name='norm').weights(c_z)  # line 1
    weights = ops.TriangleWeights(
      proj_w=weight('proj_w', (c_z, 2 * hidden)),
      proj_b=filled('proj_b', (2 * hidden,)),
      gate_w=weight('gate_w', (c_z, 2 * hidden), 'zeros'),
      gate_b=filled('gate_b', (2 * hidden,), 1.0),
      norm_scale=filled('norm_scale', (hidden,), 1.0),
      norm_offset=filled('norm_offset', (hidden,)),
      out_w=weight('out_w', (hidden, c_z), 'zeros'),
      out_b=filled('out_b', (c_z,)),
      out_gate_w=weight('out_gate_w', (c_z, c_z), 'zeros'),
      out_gate_b=filled('out_gate_b', (c_z,), 1.0),
    )
    return ops.triangle_multiplication(z, norm, weights, mask, outgoing=self.outgoing, keep=keep)  # lines 2-4


class TriangleAttention(hk.Module):
  """Algorithms 13 "TriangleAttentionStartingNode" and 14 "TriangleAttentionEndingNode"."""

  def __init__(self, num_head: int, starting: bool, name: str | None = None):
    super().__init__(name=name)
    self.num_head, self.starting = num_head, starting

  def __call__(self, z: jax.Array, mask: jax.Array, keep: jax.Array | None = None) -> jax.Array:
    c_z = z.shape[-1]
    norm = LayerNorm(name='norm').weights(c_z)  # line 1
    pair_bias = ops.pair_bias(z, norm, Linear(self.num_head, has_bias=False, name='pair_bias').matrix(c_z))  # line 3
    weights = attention_weights(c_z, c_z, self.num_head, c_z // self.num_head)
    attend = ops.self_attention if self.starting else ops.column_attention
    return attend(z, norm, weights, mask, pair_bias, keep=keep)  # lines 2, 4-7


@dataclasses.dataclass(frozen=True)
class PairSpec:
  """One pass over the pair representation; `order` names rows of PAIR_UPDATES."""

  num_head: int
  c_triangle: int
  transition_factor: int
  dropout: float
  order: tuple[str, ...]


# name -> (module, the axis that shares its dropout mask)
PAIR_UPDATES: dict[str, tuple[Callable[..., Callable], int]] = {
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
    rate = self.spec.dropout
    for update in self.spec.order:
      module, shared_axis = PAIR_UPDATES[update]
      keep = ops.pair_dropout(hk.next_rng_key(), rate, z, shared_axis) if rate else None
      z = module(self.spec, update)(z, mask, keep)
    return Transition(self.spec.transition_factor, name='transition')(z)
