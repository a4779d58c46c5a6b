# SPDX-License-Identifier: Apache-2.0
"""Crops of complexes: pieces of all chains, or the surroundings of an interface (AlphaFold-Multimer, in equal shares).

What is not published is as in Uni-Fold and OpenFold. T residues of all chains, one chain behind the other; N of a crop.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

_PER_PLACE = 1e-3  # Å per residue, so that equally distant ones have an order


def crop_contiguous(rng: np.random.Generator, lengths: Sequence[int], crop_size: int) -> np.ndarray:
  """One piece of each chain, as far as there is room: [N] ascending.

  The chains are cut in random order. A piece is at least so long that the crop will be full, at most what is left of
  it, and any length between is equally likely, as are all places in the chain.

  Args:
    rng: advanced.
    lengths: residues of each chain.
    crop_size: residues; the crop has as many unless there are fewer in all.
  """
  starts = np.cumsum([0, *lengths])
  room, to_come = crop_size, sum(lengths)
  pieces = []
  for chain in rng.permutation(len(lengths)):
    length = lengths[chain]
    to_come -= length
    size = int(rng.integers(min(length, max(0, room - to_come)), min(room, length) + 1))
    start = int(starts[chain] + rng.integers(length - size + 1))
    pieces.append(np.arange(start, start + size))
    room -= size
  return np.sort(np.concatenate(pieces))


def crop_spatial(
  rng: np.random.Generator, ca: np.ndarray, known: np.ndarray, asym_id: np.ndarray, crop_size: int, distance: float
) -> np.ndarray | None:
  """The residues nearest to a random one at an interface: [N] ascending; None if no chains touch.

  Args:
    rng: advanced.
    ca: [T, 3] Å.
    known: [T] which of them are.
    asym_id: [T] the chain of each residue.
    crop_size: residues; the crop has as many unless there are fewer in all.
    distance: Å between CA atoms of two chains that touch.
  """
  touching = interface_residues(ca, known, asym_id, distance)
  if not len(touching):
    return None
  centre = rng.choice(touching)
  away = np.linalg.norm(ca - ca[centre], axis=-1) + _PER_PLACE * np.arange(len(ca))
  away[~np.asarray(known, bool)] = np.inf  # those come last, in their order
  return np.sort(np.argsort(away, kind='stable')[:crop_size])


def interface_residues(ca: np.ndarray, known: np.ndarray, asym_id: np.ndarray, distance: float) -> np.ndarray:
  """The residues of which a CA atom of another chain is near: [num] ascending; arguments as in `crop_spatial`."""
  there = np.flatnonzero(known)
  pairs = cKDTree(ca[there]).query_pairs(distance, output_type='ndarray') if len(there) else np.zeros((0, 2), int)
  pairs = there[pairs]
  return np.unique(pairs[asym_id[pairs[:, 0]] != asym_id[pairs[:, 1]]])


def choose_chains(
  rng: np.random.Generator, ca: np.ndarray, known: np.ndarray, asym_id: np.ndarray, num: int, distance: float
) -> np.ndarray:
  """The chains nearest to a random residue at an interface, or to any residue if no chains touch: [num] ascending.

  Args:
    rng: advanced.
    ca, known, asym_id, distance: as in `crop_spatial`; chains count from 1.
    num: chains, fewer than there are.
  """
  candidates = interface_residues(ca, known, asym_id, distance)
  centre = rng.choice(candidates if len(candidates) else np.flatnonzero(known))
  away = np.where(known > 0, np.linalg.norm(ca - ca[centre], axis=-1), np.inf)
  nearest = np.full(asym_id.max(), np.inf)
  np.minimum.at(nearest, asym_id - 1, away)
  return np.sort(np.argsort(nearest, kind='stable')[:num]) + 1
