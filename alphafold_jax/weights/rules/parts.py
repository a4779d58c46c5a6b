# SPDX-License-Identifier: Apache-2.0
"""Rules of the parts that every block is made of: linear maps, norms, attention, transitions.

`ours` and `official` name a module on both sides; stacked layers put their number in front of every shape.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from alphafold_jax.weights.npz import Shape

Arrays = tuple[np.ndarray, ...]


class Rule(NamedTuple):
  """Ties arrays of a published file (names without their common prefix, and their shapes) to parameters of ours."""

  official: tuple[str, ...]
  shapes: tuple[Shape, ...]
  ours: tuple[str, ...]
  to_ours: Callable[..., Arrays] = lambda *arrays: arrays
  to_official: Callable[..., Arrays] = lambda *arrays: arrays


def same(ours: str, official: str, *shape: int) -> Rule:
  """An array that is the same on both sides."""
  return Rule((official,), (shape,), (ours,))


def linear(ours: str, official: str, *shape: int) -> Iterator[Rule]:
  """A map with weights of this shape, in which stacked layers put their number in front, and biases.

  Our parameters are `module//w` and `module//b`, or `module//name_w` and `module//name_b` where `ours` has a name.
  """
  stem = f'{ours}_' if '//' in ours else f'{ours}//'
  yield same(f'{stem}w', f'{official}//weights', *shape)
  yield same(f'{stem}b', f'{official}//bias', *shape[:-2], shape[-1])


def norm(ours: str, official: str, *shape: int) -> Iterator[Rule]:
  """Layer normalisation."""
  for name in ('scale', 'offset'):
    yield same(f'{ours}//{name}', f'{official}//{name}', *shape)


def attention(
  ours: str, official: str, stack: Shape, c: int, heads: int, *, c_kv: int = 0, shared: bool = False, gated: bool = True
) -> Iterator[Rule]:
  """Attention from c channels to c_kv (0: the same); `shared`: keys and values are one head's."""
  dim = (c_kv or c) // heads
  kv = (dim,) if shared else (heads, dim)
  shapes = {
    'q': ('query_w', (c, heads, dim)),
    'k': ('key_w', (c_kv or c, *kv)),
    'v': ('value_w', (c_kv or c, *kv)),
    'gate_w': ('gating_w', (c, heads, dim)),
    'gate_b': ('gating_b', (heads, dim)),
    'out_w': ('output_w', (heads, dim, c)),
    'out_b': ('output_b', (c,)),
  }
  for name, (theirs, shape) in shapes.items():
    if gated or not name.startswith('gate'):
      yield same(f'{ours}//{name}', f'{official}//{theirs}', *stack, *shape)


def transition(ours: str, official: str, stack: Shape, c: int, factor: int) -> Iterator[Rule]:
  """The two-layer network of every position."""
  yield from norm(f'{ours}/norm', f'{official}/input_layer_norm', *stack, c)
  for i, (end, shape) in enumerate({'in': (c, factor * c), 'out': (factor * c, c)}.items(), 1):
    yield same(f'{ours}//w_{end}', f'{official}/transition{i}//weights', *stack, *shape)
    yield same(f'{ours}//b_{end}', f'{official}/transition{i}//bias', *stack, shape[-1])
