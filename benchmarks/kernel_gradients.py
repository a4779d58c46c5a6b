# SPDX-License-Identifier: Apache-2.0
"""The gradients of a kernel beside those of the reference in float32, and the time of value and gradients."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax import ops, tuning
from alphafold_jax.ops import seam

_TOLERANCE = 0.05  # of a gradient's norm: bfloat16 rounds at 0.004, and what it rounds adds up
_RUNS = 5
# Which argument of an operation is its mask.
_MASK = {'self_attention': 3, 'global_attention': 3, 'outer_product_mean': 4, 'triangle_multiplication': 3}


class Gradients(NamedTuple):
  """How one row did backwards."""

  gradient_seconds: float | None = None  # of the fastest run of value and gradients; None: it does not run
  gradient_error: float | None = None  # of the one that is furthest from the reference's, as a share of its norm
  gradient_reason: str = ''  # why there are none, or wrong ones


class Operation:
  """An operation whose rows are differentiated one after another, on one problem, to all arguments but the mask."""

  def __init__(self, name: str, sizes: Mapping[str, int], dtype: str):
    self.name = name
    self._run, self._arguments = tuning.problem(name, sizes, dtype)
    self._tolerance = _TOLERANCE

  @functools.cached_property
  def _expected(self) -> Any:
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), self._arguments)
    with jax.default_matmul_precision('highest'):
      return self._gradients(seam.REFERENCE)(*exact)

  def _gradients(self, row: str) -> Callable:
    """From the arguments to the gradients of a weighed sum of the result."""

    def loss(*arguments):
      with ops.use_kernels(ops.Kernels(f'{self.name}={row}', strict=True)):
        result = self._run(*arguments).astype(jnp.float32)
      return jnp.sum(result * jax.random.normal(jax.random.key(0), result.shape))

    numbers = [index for index in range(len(self._arguments)) if index != _MASK.get(self.name)]
    return jax.jit(jax.grad(loss, numbers))

  def differentiate(self, row: str) -> Gradients:
    """Runs one row backwards; if anything goes wrong, that is the reason why there is no gradient."""
    gradients = self._gradients(row)
    try:
      found = jax.block_until_ready(gradients(*self._arguments))
      seconds = min(self._seconds(gradients) for _ in range(_RUNS))
    except seam.Declined as error:
      return Gradients(gradient_reason=str(error))
    except Exception as error:  # a kernel may raise any exception, at any stage
      return Gradients(gradient_reason=f'{type(error).__name__}: {str(error).splitlines()[0][:200]}')
    off = float(max(map(_distance, jax.tree.leaves(found), jax.tree.leaves(self._expected))))
    reason = '' if off <= self._tolerance else f'it computes other gradients (off by {off:.2g})'  # also where NaN
    if row == seam.REFERENCE:
      self._tolerance = max(_TOLERANCE, 2 * off)  # what the dtype itself costs
    return Gradients(seconds, off, reason)

  def _seconds(self, gradients: Callable) -> float:
    start = time.perf_counter()
    jax.block_until_ready(gradients(*self._arguments))
    return time.perf_counter() - start


def _distance(found: jax.Array, expected: jax.Array) -> float:
  """The norm of the difference as a share of the norm of what is expected."""
  return float(jnp.linalg.norm((found.astype(jnp.float32) - expected).ravel()) / jnp.linalg.norm(expected.ravel()))
