# SPDX-License-Identifier: Apache-2.0
"""Arrays of a prediction as a page holds them: whole numbers, compressed by zlib, as base64; `packed.js` reads them.

N_res residues, N_atom atoms of all residues. Numbers of more than one byte are written as planes: all low bytes, then
all high bytes, which compresses better.
"""

import base64
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.one_line import one_line
from alphafold_jax.output.alignment_rows import grouped_rows
from alphafold_jax.output.record import PredictionRecord

FINEST = 0.01  # Å, to which coordinates are rounded; coarser where a structure is wider than 655 Å
PAE_STEP = 0.125  # Å; a byte goes to 31.875, and no error is above 31.75
MAX_PAIRS = 1 << 24  # of residues of all models of a page; of more, blocks of pairs are averaged
MAX_ROWS = 200  # of an alignment that are drawn
GAP = 255  # in the alignment's bytes, which else are the identity of the row, 0..100 %
_LEVEL = 1  # of compression; higher ones make a page 3% smaller
_CA = residues.ATOM_INDEX['CA']


class PackedAtoms(NamedTuple):
  """The atoms of one prediction."""

  patterns: list[list[int]]  # which of the 37 atoms a residue has, each kind once
  step: float  # Å, one unit of a coordinate
  data: bytes  # [N_res] pattern of each residue; x, y and z [N_atom] each as differences from the atom before

  def __repr__(self) -> str:
    return one_line(self)


class PackedPae(NamedTuple):
  """The errors of one prediction."""

  side: int  # rows, and columns
  block: int  # residues that a row, or a column, stands for
  data: bytes  # [side, side] differences from the byte above, in units of PAE_STEP

  def __repr__(self) -> str:
    return one_line(self)


class PackedAlignment(NamedTuple):
  """The rows of an alignment, as many as are drawn."""

  rows: int
  ends: list[float]  # where groups of rows end, as a share of all rows
  data: bytes  # [rows, N_res] identity of the row to the query in %, or GAP

  def __repr__(self) -> str:
    return one_line(self)


def as_text(data: bytes) -> str:
  """Bytes compressed, in letters that HTML takes as they are."""
  return base64.b64encode(zlib.compress(data, _LEVEL)).decode('ascii')


def planes(numbers: np.ndarray) -> bytes:
  """Whole numbers below 65536: their low bytes, then their high bytes."""
  numbers = np.asarray(numbers).astype(np.uint16)
  return (numbers & 0xFF).astype(np.uint8).tobytes() + (numbers >> 8).astype(np.uint8).tobytes()


def atoms(prediction: PredictionRecord, positions: np.ndarray) -> PackedAtoms:
  """The atoms of a prediction.

  Args:
    prediction: tells which atoms there are.
    positions: [N_res, 37, 3] Å, as `laid_on_best` has them: around the origin.
  """
  there = np.asarray(prediction.atom_mask) > 0.5
  patterns, which = np.unique(there, axis=0, return_inverse=True)
  of_atoms = np.asarray(positions, np.float64)[there]  # [N_atom, 3]
  step = max(FINEST, float(np.abs(of_atoms).max(initial=0)) / 32767)
  units = np.round(of_atoms / step).astype(np.int16)
  differences = np.diff(units, axis=0, prepend=np.zeros((1, 3), np.int16))  # of 16 bits, which go round
  zigzag = ((differences << 1) ^ (differences >> 15)).astype(np.uint16)  # 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
  data = planes(which.ravel()) + b''.join(planes(axis) for axis in zigzag.T)
  return PackedAtoms([np.flatnonzero(pattern).tolist() for pattern in patterns], step, data)


def pae(values: np.ndarray, num_models: int = 1) -> PackedPae:
  """The errors of a prediction, one byte a pair.

  Args:
    values: [N_res, N_res] Å.
    num_models: that share a page, and MAX_PAIRS.
  """
  values = np.asarray(values, np.float32)
  block = max(1, int(np.ceil(len(values) / np.sqrt(MAX_PAIRS / num_models))))
  if block > 1:
    values = _averaged(values, block)
  units = np.clip(np.round(values / PAE_STEP), 0, 255).astype(np.uint8)
  differences = np.diff(units, axis=0, prepend=np.zeros((1, len(units)), np.uint8))  # of 8 bits, which go round
  return PackedPae(len(units), block, differences.tobytes())


def _averaged(values: np.ndarray, block: int) -> np.ndarray:
  """The mean of each block of pairs; the last may be smaller."""
  starts = np.arange(0, len(values), block)
  counts = np.diff(starts, append=len(values))
  sums = np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)
  return sums / (counts[:, None] * counts)


def alignment(tokens: np.ndarray, chain_lengths: Sequence[int]) -> PackedAlignment:
  """The rows of an alignment that are drawn, those most similar to the query first, in groups of a complex.

  Args:
    tokens: [N_seq, N_res], row 0 the query.
    chain_lengths: of its chains.
  """
  drawn = grouped_rows(tokens, chain_lengths)
  kept = np.linspace(0, len(drawn.identity) - 1, min(len(drawn.identity), MAX_ROWS)).round().astype(int)
  identity = drawn.identity[kept]
  data = np.where(np.isnan(identity), GAP, np.nan_to_num(identity)).astype(np.uint8)
  return PackedAlignment(len(data), [end / len(tokens) for end in drawn.ends], data.tobytes())


def laid_on_best(predictions: Sequence[PredictionRecord]) -> list[np.ndarray]:
  """The positions of each prediction [N_res, 37, 3], turned so that they can be compared.

  The first lies around the origin, its longest axis across and its shortest towards the eye; the others on top of it,
  by CA atoms that count as much as both models trust them.
  """
  best = predictions[0]
  posed, alpha, trust = [_posed(best)], np.asarray(best.atom_positions)[:, _CA], np.asarray(best.plddt)
  target = posed[0][:, _CA]
  for other in predictions[1:]:
    positions = np.asarray(other.atom_positions, np.float64)
    same = (_has_alpha(best) & _has_alpha(other)) if len(positions) == len(alpha) else np.zeros(len(alpha), bool)
    if not same.any():
      posed.append(_posed(other))
      continue
    weights = np.where(same, trust * np.asarray(other.plddt), 0) + 1e-6 * same
    posed.append(_superposed(positions, positions[:, _CA], target, weights))
  return posed


def _has_alpha(prediction: PredictionRecord) -> np.ndarray:
  return np.asarray(prediction.atom_mask)[:, _CA] > 0.5


def _posed(prediction: PredictionRecord) -> np.ndarray:
  """Positions around the origin along their principal axes."""
  positions, has_alpha = np.asarray(prediction.atom_positions, np.float64), _has_alpha(prediction)
  alpha = positions[has_alpha, _CA] if has_alpha.any() else np.zeros((1, 3))
  middle = alpha.mean(axis=0)
  _, axes = np.linalg.eigh(np.cov(alpha - middle, rowvar=False, ddof=0))  # the longest last
  axes = axes[:, ::-1] * np.sign(np.linalg.det(axes[:, ::-1]))  # a rotation, no reflection
  return (positions - middle) @ axes


def _superposed(positions: np.ndarray, moved: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Positions turned and shifted so that the points `moved` [N, 3] come to lie on `target` (Kabsch 1976)."""
  share = weights / weights.sum()
  from_middle, to_middle = share @ moved, share @ target
  u, _, vt = np.linalg.svd((moved - from_middle).T @ (share[:, None] * (target - to_middle)))
  turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
  return (positions - from_middle) @ turn + to_middle
