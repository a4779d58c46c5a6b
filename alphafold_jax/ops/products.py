# SPDX-License-Identifier: Apache-2.0
"""Products of activations and weights: the one door to the matrix units of the devices.

GPUs and TPUs take any form of product. XLA:CPU (jax 0.10 to 0.12) is fast in some forms only, and this file brings
products into these:

- A processor's bfloat16 unit (AMX, AVX512-BF16) computes only what has bfloat16 operands and a float32 result.
- One operand must have the axis that is summed over as its last, else both are made float32. Weight gradients sum over
  the rows of both operands, so there one is copied in another order first.
- The result must be laid out as it is written. Where XLA would rather have it transposed it finds no program for
  bfloat16, and fails when it runs.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import layout

from alphafold_jax.ops import seam

CUSTOM_CALLS = ('LayoutConstraint',)  # XLA's own, gone once it has compiled


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
  if seam.platform(seam.current()) != 'cpu':
    return jnp.einsum(equation, a, b)
  return _on_cpu(equation, a, b)


def einsum_in_float32(equation: str, a: jax.Array, b: jax.Array) -> jax.Array:
  """`einsum` with a result in float32 on every device, for logits and long sums."""
  if seam.platform(seam.current()) != 'cpu':
    return _elsewhere(equation, a, b)
  return _on_cpu(equation, a, b)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _elsewhere(equation, a, b):
  return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _on_cpu(equation, a, b):
  of_a, of_b, result = equation.replace('->', ',').split(',')
  summed = {*of_a, *of_b} - {*result}
  if of_a[-1] not in summed and of_b[-1] not in summed:
    # One is copied: that which is smaller together with the result, if that comes out in another order then.
    ways = [_copied_first(of_a, of_b, result, a, b), _copied_first(of_b, of_a, result, b, a)]
    return min(ways, key=lambda way: way[0])[1]()
  return _as_written(jnp.einsum(equation, a, b, preferred_element_type=jnp.float32))


def _copied_first(of_a, of_b, result, a, b):
  """A product with a as first operand, copied so that the axes that are summed over are its last, and what it copies.

  Returns:
    the number of elements that are copied, and what computes the product.
  """
  shared = [index for index in of_a if index in of_b and index in result]
  own, summed = ([i for i in of_a if i not in of_b], [i for i in of_a if i not in result])
  last = [index for index in of_b if index not in of_a]
  order, natural = ''.join(shared + own + summed), ''.join(shared + own + last)
  sizes = dict(zip(of_a + of_b, a.shape + b.shape, strict=True))
  copied = a.size + (math.prod(sizes[index] for index in result) if natural != result else 0)

  def product():
    first = _as_written(a.transpose([of_a.index(index) for index in order]))
    found = _as_written(jnp.einsum(f'{order},{of_b}->{natural}', first, b, preferred_element_type=jnp.float32))
    return found.transpose([natural.index(index) for index in result])

  return copied, product


def _as_written(x):
  """Keeps XLA from another order of the axes in memory than the one that is written."""
  return layout.with_layout_constraint(x, layout.Layout(tuple(range(x.ndim))))


def _backwards(product, equation, operands, gradient):
  """Rounds the gradient to the operands' dtype: products of float32 by bfloat16 are made in float32 everywhere."""
  a, b = operands
  of_a, of_b, result = equation.replace('->', ',').split(',')
  gradient = gradient.astype(a.dtype)
  to_a = product(f'{result},{of_b}->{of_a}', gradient, b)
  to_b = product(f'{of_a},{result}->{of_b}', a, gradient)
  return to_a.astype(a.dtype), to_b.astype(b.dtype)


def _with_gradients(product):
  product.defvjp(lambda equation, a, b: (product(equation, a, b), (a, b)), functools.partial(_backwards, product))


_with_gradients(_elsewhere)
_with_gradients(_on_cpu)
