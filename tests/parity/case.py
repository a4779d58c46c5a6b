# SPDX-License-Identifier: Apache-2.0
"""One comparison: a module on both sides, and the largest difference between what they give."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import oracle

from alphafold_jax.weights import official
from alphafold_jax.weights.random import random_official
from parity.inputs import OURS, Inputs, make_inputs

TOLERANCE = 1e-5  # of the largest output value


class Case(NamedTuple):
  """One module on both sides; each returns an array, or a dict of arrays with the same keys."""

  name: str
  ours: Callable[[Inputs], Any]
  theirs: Callable[[Inputs], Any]
  our_scopes: tuple[str, ...]  # what comes before the names that `ours` gives its modules
  their_scope: str
  layer: int | None = None  # which of a stack
  silenced: tuple[str, ...] = ()  # official names (parts of) whose arrays are zero in this case


def relative_error(ours: Any, theirs: Any) -> float:
  """Largest difference over the largest value of the reference."""
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  if ours.shape != theirs.shape:
    raise AssertionError(f'shapes differ: ours {ours.shape}, theirs {theirs.shape}')
  return float(np.max(np.abs(ours - theirs)) / (np.max(np.abs(theirs)) or 1))


def errors(case: Case, masks: str) -> dict[str, float]:
  """The error of every output of a case."""
  arrays = {
    name: np.zeros_like(array) if any(part in name for part in case.silenced) else array
    for name, array in _arrays().items()
  }
  x, key = make_inputs(masks), jax.random.PRNGKey(0)
  ours = _compiled(case.ours)(_our_params(arrays, case), key, x)
  theirs = _their_compiled(case.theirs)(
    oracle.haiku_params(arrays, official.PREFIX + case.their_scope, case.layer), key, x
  )
  if not isinstance(ours, dict):
    ours, theirs = {'': ours}, {'': theirs}
  return {name: relative_error(ours[name], theirs[name]) for name in theirs}


@functools.cache
def _arrays() -> dict[str, np.ndarray]:
  return random_official(OURS, seed=5)


@functools.cache
def _compiled(function: Callable[[Inputs], Any]) -> Callable[..., Any]:
  return jax.jit(hk.transform(function).apply)


@functools.cache
def _their_compiled(function: Callable[[Inputs], Any]) -> Callable[..., Any]:
  return jax.jit(hk.transform(function).apply, compiler_options=oracle.FAST)


def _our_params(arrays, case):
  params = {}
  for module, leaves in official.from_official(arrays, OURS).items():
    for scope in case.our_scopes:
      if module.startswith(scope):
        params.setdefault(
          module.removeprefix(scope),
          {leaf: jnp.asarray(value if case.layer is None else value[case.layer]) for leaf, value in leaves.items()},
        )
  return params
