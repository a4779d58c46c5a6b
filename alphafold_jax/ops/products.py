# SPDX-License-Identifier: Apache-2.0
"""Products of activations and weights: the one door to the matrix units of the devices.

XLA:CPU reaches a processor's bfloat16 unit (AMX, AVX512-BF16) only where both operands are bfloat16 and the result is
float32; with a bfloat16 result it computes in float32 and rounds. GPUs and TPUs sum in float32 in any case, and there a
bfloat16 result saves writing twice as much.
"""

import functools

import jax
import jax.numpy as jnp

from alphafold_jax.ops import seam


def dot(x: jax.Array, w: jax.Array) -> jax.Array:
  """Multiplies the last axis of x [..., c] by a matrix [c, d]: [..., d], in the dtype of `einsum`."""
  return einsum('ac,cd->ad', x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[-1])


def einsum(equation: str, a: jax.Array, b: jax.Array) -> jax.Array:
  """Multiplies two arrays, with their gradients by products of the same kind.

  Args:
    equation: as of `jnp.einsum`; an index of one operand is also one of the other or of the result.
    a: the first operand
    b: the second

  Returns:
    the product, in float32 on CPUs, elsewhere in the operands' dtype.
  """
  if a.dtype == b.dtype == jnp.bfloat16 and seam.platform(seam.current()) == 'cpu':
    return _summed_in_float32(equation, a, b)
  return jnp.einsum(equation, a, b)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _summed_in_float32(equation, a, b):
  return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


def _backwards(equation, operands, gradient):
  """Rounds the gradient to the operands' dtype: a product of float32 by bfloat16 would not reach the unit."""
  a, b = operands
  operands, result = equation.split('->')
  of_a, of_b = operands.split(',')
  gradient = gradient.astype(a.dtype)
  to_a = _summed_in_float32(f'{result},{of_b}->{of_a}', gradient, b)
  to_b = _summed_in_float32(f'{of_a},{result}->{of_b}', a, gradient)
  return to_a.astype(a.dtype), to_b.astype(b.dtype)


_summed_in_float32.defvjp(lambda equation, a, b: (_summed_in_float32(equation, a, b), (a, b)), _backwards)
