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


def _pair_updates(r: int) -> int:
  multiplication = 2 * (6 * r * r * _C_Z**2 + r**3 * _C_Z)
  attention = _self_attention(r, r, _C_Z) + 2 * r * r * _C_Z * _PAIR_HEADS
  return 2 * multiplication + 2 * attention + 16 * r * r * _C_Z**2


def _msa_updates(r: int, s: int, c: int, column: int) -> int:
  row = _self_attention(s, r, c) + 2 * r * r * _C_Z * _MSA_HEADS
  outer = 2 * (2 * s * r * c * _C_OUTER + s * (r * _C_OUTER) ** 2 + r * r * _C_OUTER**2 * _C_Z)
  return row + column + 16 * s * r * c * c + outer


def pass_flops(r: int, num_msa: int, num_extra: int, num_block: int = 48, num_extra_block: int = 4) -> int:
  """Floating-point operations of one pass at r residues."""
  head_dim = _C_E // _MSA_HEADS
  column = 2 * num_extra * r * (2 * _C_E**2 + 2 * _C_E * head_dim + 2 * _C_E)  # global: one query, one key head
  main = _msa_updates(r, num_msa, _C_M, _self_attention(r, num_msa, _C_M)) + _pair_updates(r)
  extra = _msa_updates(r, num_extra, _C_E, column) + _pair_updates(r)
  return num_block * main + num_extra_block * extra


def step_flops(r: int, num_msa: int, num_extra: int, num_block: int = 48, num_extra_block: int = 4) -> int:
  """Those of a training step's value and gradient after one pass: the pass, and backwards the pass again, recomputed,
  and twice as much for the gradients to activations and to parameters."""
  return 4 * pass_flops(r, num_msa, num_extra, num_block, num_extra_block)


def matmul_rate(size: int = 2048, repeats: int = 5, dtype: str = 'float32') -> float:
  """Measured floating-point operations per second of a large matrix product on the default device."""
  size *= 1 if jax.default_backend() == 'cpu' else 4
  x = jnp.ones((size, size), dtype)
  product = jax.jit(jnp.dot)
  jax.block_until_ready(product(x, x))
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(product(x, x))
    seconds.append(time.perf_counter() - start)
  return 2 * size**3 / min(seconds)
