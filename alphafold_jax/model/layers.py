# SPDX-License-Identifier: Apache-2.0
"""The small parts every block is made of: linear maps, layer normalisation, attention weights, dropout, transition."""

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import ops
from alphafold_jax.ops import axial

# Suppl. 1.11.4 "Parameters initialization".
INITIALIZERS = {
  'linear': lambda: hk.initializers.VarianceScaling(1.0, 'fan_in', 'truncated_normal'),
  'relu': lambda: hk.initializers.VarianceScaling(2.0, 'fan_in', 'truncated_normal'),
  'glorot': lambda: hk.initializers.VarianceScaling(1.0, 'fan_avg', 'uniform'),
  'zeros': lambda: jnp.zeros,  # the last layer of each residual update, gates, and logits
}


def _parameter(name: str, shape: tuple[int, ...], init: str, num_input: int, num_output: int) -> jax.Array:
  """A parameter drawn as the matrix [num_input, num_output] that it is, then given its shape."""
  draw = INITIALIZERS[init]()
  return hk.get_parameter(name, shape, init=lambda _, dtype: draw((num_input, num_output), dtype).reshape(shape))


class Linear(hk.Module):
  """x w + b over the last axis."""

  def __init__(self, num_output: int, init: str = 'linear', bias: bool = True, name: str | None = None):
    super().__init__(name=name)
    self.num_output, self.init, self.bias = num_output, init, bias

  def __call__(self, x: jax.Array) -> jax.Array:  # [..., c] -> [..., num_output]
    y = jnp.dot(x, self.weights(x.shape[-1]))
    if self.bias:
      y += hk.get_parameter('b', (self.num_output,), init=jnp.zeros)
    return y

  def weights(self, num_input: int) -> jax.Array:
    """Its matrix alone, [num_input, num_output], for operations that multiply by themselves."""
    return _parameter('w', (num_input, self.num_output), self.init, num_input, self.num_output)

  def of_rows(self, num_input: int) -> Callable[[jax.Array], jax.Array]:
    """Itself as a pure function, for arrays that are mapped in slices."""
    w, b = self.weights(num_input), hk.get_parameter('b', (self.num_output,), init=jnp.zeros)
    return lambda x: jnp.dot(x, w) + b


class LayerNorm(hk.Module):
  """Layer normalisation over the channels, statistics in float32."""

  def __call__(self, x: jax.Array) -> jax.Array:  # [..., c]
    return ops.layer_norm(x, *self.weights(x.shape[-1]))

  def weights(self, c: int) -> ops.NormWeights:
    """Its parameters alone, for operations that normalise by themselves."""
    return ops.NormWeights(
      scale=hk.get_parameter('scale', (c,), init=jnp.ones), offset=hk.get_parameter('offset', (c,), init=jnp.zeros)
    )


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
  """Creates one attention layer's parameters in the module that calls it.

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
    q=_parameter('q', (c_q, *heads), 'glorot', c_q, width),
    k=_parameter('k', (c_kv, *kv), 'glorot', c_kv, kv_width),
    v=_parameter('v', (c_kv, *kv), 'glorot', c_kv, kv_width),
    gate_w=_parameter('gate_w', (c_q, *heads), 'zeros', c_q, width) if gated else None,
    gate_b=hk.get_parameter('gate_b', heads, init=jnp.ones) if gated else None,
    out_w=_parameter('out_w', (*heads, c_out), 'zeros', width, c_out),
    out_b=hk.get_parameter('out_b', (c_out,), init=jnp.zeros),
  )


class Transition(hk.Module):
  """Algorithms 9 "MSATransition" and 15 "PairTransition": adds a two-layer network of every position."""

  def __init__(self, factor: int, name: str | None = None):
    super().__init__(name=name)
    self.factor = factor

  def __call__(self, x: jax.Array) -> jax.Array:  # [A, B, c]
    c = x.shape[-1]
    norm = LayerNorm(name='norm').weights(c)  # line 1
    return ops.transition(
      x,
      norm,
      ops.TransitionWeights(  # lines 2, 3
        w_in=_parameter('w_in', (c, self.factor * c), 'relu', c, self.factor * c),
        b_in=hk.get_parameter('b_in', (self.factor * c,), init=jnp.zeros),
        w_out=_parameter('w_out', (self.factor * c, c), 'zeros', self.factor * c, c),
        b_out=hk.get_parameter('b_out', (c,), init=jnp.zeros),
      ),
    )


def dropout(x: jax.Array, rate: float) -> jax.Array:
  """Zeroes entries with probability `rate` and rescales the rest (Suppl. 1.11.6)."""
  keep = dropout_factors(x.shape, rate)
  return x if keep is None else (keep * x).astype(x.dtype)


def dropout_factors(
  shape: tuple[int, ...], rate: float, shared_axis: int | None = None, sharded_axis: int | None = None
) -> jax.Array | None:
  """What dropout multiplies an array of that shape by: 0 or 1 / (1 - rate) (Suppl. 1.11.6); None: there is no dropout.

  With `shared_axis` one mask serves that whole axis, which is 1 in the result: 0 is the paper's DropoutRowwise, 1 its
  DropoutColumnwise. The remaining axes are residues, then channels, so the draws of a residue do not depend on padding.
  `sharded_axis` is the one of which a device holds a share (ops/axial.py); the draws are those of the whole.
  """
  if rate == 0.0:
    return None
  shape = list(shape)
  if shared_axis is not None:
    shape[shared_axis] = 1
  if sharded_axis in (None, shared_axis):
    keep = jax.random.bernoulli(hk.next_rng_key(), 1.0 - rate, shape)
  else:
    shape[sharded_axis] *= axial.num_shares()
    keep = axial.share(jax.random.bernoulli(hk.next_rng_key(), 1.0 - rate, shape), sharded_axis)
  return keep / (1.0 - rate)
