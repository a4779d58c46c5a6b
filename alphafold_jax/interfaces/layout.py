# SPDX-License-Identifier: Apache-2.0
"""Which residues are of which chain, and sums over the residues of each chain."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from alphafold_jax.one_line import one_line


@dataclasses.dataclass(frozen=True, eq=False)
class ChainLayout:
  """The chains of a complex in order of first appearance; arrays are given with the residues of a chain together."""

  order: np.ndarray  # [N_res] the residues, those of each chain together
  sizes: np.ndarray  # [N_chain] residues

  __repr__ = one_line

  @classmethod
  def of(cls, asym_id: np.ndarray) -> 'ChainLayout':
    """The layout of residues [N_res] with one number per chain, in any order."""
    _, first, which = np.unique(np.asarray(asym_id), return_index=True, return_inverse=True)
    chain = np.argsort(np.argsort(first))[which.ravel()]  # [N_res] by first appearance
    return cls(np.argsort(chain, kind='stable'), np.bincount(chain))

  @property
  def starts(self) -> np.ndarray:  # [N_chain]
    """The first residue of each chain in this order."""
    return np.cumsum(self.sizes) - self.sizes

  @property
  def chain(self) -> np.ndarray:  # [N_res]
    """The chain of each residue in this order, from 0."""
    return self.spread(np.arange(len(self.sizes)))

  def sorted(self, values: np.ndarray, axes: int = 1) -> np.ndarray:
    """An array with its first axes, or its first two, in this order; not copied where it is so already."""
    if np.array_equal(self.order, np.arange(len(self.order))):
      return values
    return values[self.order] if axes == 1 else values[np.ix_(self.order, self.order)]

  def sums(self, values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Sums over the residues of each chain: [..., N_res] -> [..., N_chain] float64."""
    return np.add.reduceat(values, self.starts, axis=axis, dtype=np.float64)

  def largest(self, values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The largest value among the residues of each chain: [..., N_res] -> [..., N_chain]."""
    return np.maximum.reduceat(values, self.starts, axis=axis)

  def spread(self, values: np.ndarray) -> np.ndarray:
    """The value of its chain for each residue: [..., N_chain] -> [..., N_res]."""
    return np.repeat(values, self.sizes, axis=-1)

  def blocks(self, most: int) -> Iterator[tuple[int, slice]]:
    """Each chain with its residues in this order, at most so many at a time."""
    for chain, (start, size) in enumerate(zip(self.starts.tolist(), self.sizes.tolist())):
      for first in range(start, start + size, most):
        yield chain, slice(first, min(first + most, start + size))
