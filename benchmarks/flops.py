# SPDX-License-Identifier: Apache-2.0
"""How many floating-point operations one pass of the network takes, two for each multiply-add of a matrix product.

Closed forms of the paper's network without templates (c_m 256, c_z 128, c_e 64, heads 8 and 4); embedders, structure
module and heads are below a hundredth and left out. r residues, s alignment rows.
"""

import time

import jax
import jax.numpy as jnp

_C_M, _C_Z, _C_E, _C_OUTER = 256, 128, 64, 32
_MSA_HEADS, _PAIR_HEADS = 8, 4


def _self_attention(rows: int, s: int, c: int) -> int:
  """q, k, v, gate and output projections; logits and averages."""
  return 2 * rows * s * (5 * c * c + 2 * s * c)


def pair_flops(r: int) -> dict[str, int]:
  """Operations of each update of the pair representation in one block."""
  multiplication = 2 * (6 * r * r * _C_Z**2 + r**3 * _C_Z)
  attention = _self_attention(r, r, _C_Z) + 2 * r * r * _C_Z * _PAIR_HEADS
  return {
    'multiplication_outgoing': multiplication,
    'multiplication_incoming': multiplication,
    'attention_starting': attention,
    'attention_ending': attention,
    'pair_transition': 16 * r * r * _C_Z**2,
  }


def msa_flops(r: int, s: int, is_extra: bool = False) -> dict[str, int]:
  """Operations of each update of the MSA representation in one block, and of the outer product mean."""
  c, head_dim = (_C_E if is_extra else _C_M), _C_E // _MSA_HEADS
  column = _self_attention(r, s, c)
  if is_extra:
    column = 2 * s * r * (2 * c**2 + 2 * c * head_dim + 2 * c)  # global: one query, one key head
  return {
    'row_attention': _self_attention(s, r, c) + 2 * r * r * _C_Z * _MSA_HEADS,
    'column_attention': column,
    'transition': 16 * s * r * c * c,
    'outer_product_mean': 2 * (2 * s * r * c * _C_OUTER + s * (r * _C_OUTER) ** 2 + r * r * _C_OUTER**2 * _C_Z),
  }


def pass_flops(r: int, num_msa: int, num_extra: int, num_block: int = 48, num_extra_block: int = 4) -> int:
  """Floating-point operations of one pass at r residues."""
  main, extra, pair = (
    sum(parts.values()) for parts in (msa_flops(r, num_msa), msa_flops(r, num_extra, is_extra=True), pair_flops(r))
  )
  return num_block * (main + pair) + num_extra_block * (extra + pair)


def step_flops(r: int, num_msa: int, num_extra: int, num_block: int = 48, num_extra_block: int = 4) -> int:
  """Those of a training step's value and gradient after one pass: the pass, and backwards the pass again, recomputed,
  and twice as much for the gradients to activations and to parameters."""
  return 4 * pass_flops(r, num_msa, num_extra, num_block, num_extra_block)


def matmul_rate(size: int = 2048, repeats: int = 5, dtype: str = 'float32') -> float:
  """Measured floating-point operations per second of a large matrix product on the default device.

  Args:
    size: rows and columns of the factors on a CPU; four times as many elsewhere.
    repeats: of which the fastest counts.
    dtype: of the factors; the product is float32, as CPUs' bfloat16 units want it.
  """
  size *= 1 if jax.default_backend() == 'cpu' else 4
  x = jax.random.normal(jax.random.key(0), (size, size), dtype)
  product = jax.jit(lambda x: jnp.dot(x, x, preferred_element_type=jnp.float32))
  jax.block_until_ready(product(x))
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(product(x))
    seconds.append(time.perf_counter() - start)
  return 2 * size**3 / min(seconds)


def rates() -> dict[str, float]:
  """The rates in both dtypes."""
  return {dtype: matmul_rate(dtype=dtype) for dtype in ('float32', 'bfloat16')}


def describe(measured: dict[str, float]) -> str:
  """The rates in words, for the conditions above a table."""
  return (
    f'{measured["float32"] / 1e9:.0f} GFLOP/s in a large float32 matrix product, '
    f'{measured["bfloat16"] / 1e9:.0f} in one of bfloat16 factors with a float32 result'
  )
