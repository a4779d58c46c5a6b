# SPDX-License-Identifier: Apache-2.0
"""The small parts every block is made of: parameters, linear maps, layer normalisation, dropout, transition."""

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import ops

# Suppl. 1.11.4 "Parameters initialization".
INITIALIZERS: dict[str, Callable[[], Callable]] = {
  'linear': lambda: hk.initializers.VarianceScaling(1.0, 'fan_in', 'truncated_normal'),
  'relu': lambda: hk.initializers.VarianceScaling(2.0, 'fan_in', 'truncated_normal'),
  'glorot': lambda: hk.initializers.VarianceScaling(1.0, 'fan_avg', 'uniform'),
  'zeros': lambda: jnp.zeros,  # the last layer of each residual update, gates, and logits
}


def weight(
  name: str,
  shape: tuple[int, ...],
  init: str = 'linear',
  *,
  num_input: int | None = None,
  num_output: int | None = None,
) -> jax.Array:
  """Makes a weight in the module that calls it.

  Args:
    name: of the parameter
    shape: of the parameter
    init: a row of INITIALIZERS
    num_input, num_output: the matrix that is drawn, then given its shape; None: the first and the last axis
  """
  drawn = (num_input or shape[0], num_output or shape[-1])
  draw = INITIALIZERS[init]()
  return hk.get_parameter(name, shape, init=lambda _, dtype: draw(drawn, dtype).reshape(shape))


def filled(name: str, shape: tuple[int, ...], value: float = 0.0) -> jax.Array:
  """Makes a parameter that begins filled with one value, such as a bias, in the module that calls it."""
  return hk.get_parameter(name, shape, init=hk.initializers.Constant(value))


class Linear(hk.Module):
  """x w + b over the last axis."""

  def __init__(self, num_output: int, init: str = 'linear', has_bias: bool = True, name: str | None = None):
    super().__init__(name=name)
    self.num_output, self.init, self.has_bias = num_output, init, has_bias

  def __call__(self, x: jax.Array) -> jax.Array:  # [..., c] -> [..., num_output]
    y = ops.dot(x, self.matrix(x.shape[-1]))
    return (y + filled('b', (self.num_output,)) if self.has_bias else y).astype(x.dtype)

  def matrix(self, num_input: int) -> jax.Array:
    """Its matrix alone, [num_input, num_output], for operations that multiply by themselves."""
    return weight('w', (num_input, self.num_output), self.init)

  def function(self, num_input: int) -> Callable[[jax.Array], jax.Array]:
    """Itself as a pure function of [..., num_input], for what is computed a few rows at a time."""
    w, b = self.matrix(num_input), filled('b', (self.num_output,))
    return lambda x: ops.dot(x, w) + b


class LayerNorm(hk.Module):
  """Layer normalisation over the channels, statistics in float32."""

  def __call__(self, x: jax.Array) -> jax.Array:  # [..., c]
    return ops.layer_norm(x, *self.weights(x.shape[-1]))

  def weights(self, c: int) -> ops.NormWeights:
    """Its parameters alone, for operations that normalise by themselves."""
    return ops.NormWeights(scale=filled('scale', (c,), 1.0), offset=filled('offset', (c,)))


def attention_weights(
  c_q: int,
  c_out: int,
  num_head: int,
  head_dim: int,
  *,
  c_kv: int | None = None,
  shared_kv: bool = False,
  gated: bool = True,
) -> ops.AttentionWeights:
  """Makes one attention layer's parameters in the module that calls it.

  Args:
    c_q: channels of the queries' input
    c_out: channels of the output
    num_head: heads
    head_dim: channels per head
    c_kv: channels of the keys' input, if not c_q
    shared_kv: one key and value head for all query heads (Alg. 19)
    gated: whether a sigmoid gate multiplies the heads' averages
  """
  c_kv = c_kv or c_q
  heads, width = (num_head, head_dim), num_head * head_dim
  kv = (head_dim,) if shared_kv else heads
  kv_width = head_dim if shared_kv else width
  return ops.AttentionWeights(
    q=weight('q', (c_q, *heads), 'glorot', num_output=width),
    k=weight('k', (c_kv, *kv), 'glorot', num_output=kv_width),
    v=weight('v', (c_kv, *kv), 'glorot', num_output=kv_width),
    gate_w=weight('gate_w', (c_q, *heads), 'zeros', num_output=width) if gated else None,
    gate_b=filled('gate_b', heads, 1.0) if gated else None,
    out_w=weight('out_w', (*heads, c_out), 'zeros', num_input=width),
    out_b=filled('out_b', (c_out,)),
  )


class Transition(hk.Module):
  """Algorithms 9 "MSATransition" and 15 "PairTransition": adds a two-layer network of every position."""

  def __init__(self, factor: int, name: str | None = None):
    super().__init__(name=name)
    self.factor = factor

  def __call__(self, x: jax.Array) -> jax.Array:  # [A, B, c]
    c = x.shape[-1]
    norm = LayerNorm(name='norm').weights(c)  # line 1
    weights = ops.TransitionWeights(
      w_in=weight('w_in', (c, self.factor * c), 'relu'),
      b_in=filled('b_in', (self.factor * c,)),
      w_out=weight('w_out', (self.factor * c, c), 'zeros'),
      b_out=filled('b_out', (c,)),
    )
    return ops.transition(x, norm, weights)  # lines 2, 3


def dropout(x: jax.Array, rate: float) -> jax.Array:
  """Zeroes entries with probability `rate` and scales up the others (Suppl. 1.11.6)."""
  return ops.dropout(hk.next_rng_key(), rate, x) if rate else x
