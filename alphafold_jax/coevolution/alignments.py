# SPDX-License-Identifier: Apache-2.0
"""From an alignment of any size to its couplings, on the host's processors.

Rows and residues are padded to few sizes, so that few programs are compiled. On two busy cores 1,000 rows of 100
residues took 0.5 s, 300 rows of 190 residues 0.4 s, 2,500 rows of 500 residues half a minute and 1 GiB. The largest
arrays hold 20 numbers for each residue and row, or 400 for each two residues, whichever is less.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import jax
import numpy as np

from alphafold_jax import devices
from alphafold_jax.arguments import is_number
from alphafold_jax.coevolution import mean_field
from alphafold_jax.constants import residues
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

MAX_RES = 512  # residues; memory grows with the square, time with the cube of their number
MAX_ROWS = 8192  # of deeper alignments as many rows are taken, at even distances; comparing them takes their square


@dataclasses.dataclass(frozen=True, eq=False)
class Couplings:
  """How strongly the residues of a protein are coupled in its family."""

  scores: np.ndarray  # [num_res, num_res] float32, symmetric, 0 on the diagonal; the largest are likely contacts
  neff: float  # effective number of rows: those alike in 80% of their residues count as one
  num_rows: int  # that were used

  __repr__ = one_line


def couplings(
  tokens: np.ndarray,
  mask: np.ndarray | None = None,
  weights: np.ndarray | None = None,
  *,
  identity: float = 0.8,
  coverage: float = 0.5,
  pseudocount: float = 0.5,
) -> Couplings:
  """The couplings of an alignment by mean-field analysis, with the average product correction.

  Args:
    tokens: [num_seq, num_res] integers: 0..19 residue types, 20 unknown, 21 a gap.
    mask: [num_seq, num_res] 0: nothing is known of this cell, as if the residue were of unknown type.
    weights: [num_seq] of the rows, 0 or more; None: one over the number of rows that are alike.
    identity: rows that share at least this of their residues are alike.
    coverage: rows with residues in fewer of the columns are left out; gaps of fragments look like couplings.
    pseudocount: share of frequencies that is uniform.

  Raises:
    InputError: the arrays are no alignment, hold no row, or have more than MAX_RES residues.
    ResourceError: JAX cannot start, or this process was forked after it started.
  """
  tokens = np.asarray(tokens)
  known = np.ones(tokens.shape, np.float32) if mask is None else np.asarray(mask, np.float32)
  _check(tokens, known, weights, {'identity': identity, 'coverage': coverage, 'pseudocount': pseudocount})
  rows = _rows(tokens, known, coverage)
  num_res, tokens, known = tokens.shape[1], tokens[rows], known[rows]
  sizes = row_bucket(len(rows)), residue_bucket(num_res)
  grown = [(0, size - have) for size, have in zip(sizes, tokens.shape, strict=True)]
  padded = np.pad(tokens.astype(np.int32), grown, constant_values=residues.GAP), np.pad(known, grown)
  given = None if weights is None else np.pad(np.asarray(weights, np.float32)[rows], grown[0])
  devices.start()
  with _on_the_host():
    scores, neff = mean_field.analysed(*padded, given, identity=identity, pseudocount=pseudocount)
    return Couplings(np.array(scores)[:num_res, :num_res], float(neff), len(rows))


def row_bucket(num_rows: int) -> int:
  """The padded number of rows: 16, 24, 32, 48, 64, ...: a third more at most."""
  whole = 1 << max(4, (num_rows - 1).bit_length())
  return whole * 3 // 4 if num_rows <= whole * 3 // 4 and whole > 16 else whole


def residue_bucket(num_res: int) -> int:
  """The padded length: multiples of 16 to 128, then eight steps per doubling."""
  step = max(16, 1 << max(0, (num_res - 1).bit_length() - 4))
  return -(-num_res // step) * step


def _rows(tokens: np.ndarray, known: np.ndarray, coverage: float) -> np.ndarray:  # [n]
  """The rows that cover enough of what is known of them, at most MAX_ROWS; the query is one in any case."""
  shares = np.sum(known * (tokens != residues.GAP), axis=1) / np.maximum(np.sum(known, axis=1), 1)
  rows = np.flatnonzero((shares >= coverage) | (np.arange(len(tokens)) == 0))
  return rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS)).astype(int)]


def _check(tokens: np.ndarray, known: np.ndarray, weights: np.ndarray | None, shares: dict[str, float]) -> None:
  if tokens.ndim != 2 or not tokens.size or known.shape != tokens.shape:
    raise InputError(
      f'couplings of tokens of shape {tokens.shape} with a mask of shape {known.shape}; both must be [rows, residues]'
    )
  if tokens.dtype.kind not in 'iu' or tokens.min() < 0 or tokens.max() > residues.GAP:
    raise InputError(f'couplings of tokens {tokens.min()} to {tokens.max()}; they must be integers from 0 to 21')
  if tokens.shape[1] > MAX_RES:
    raise InputError(f'couplings of {tokens.shape[1]} residues; at most {MAX_RES} are computed, give a part of them')
  if weights is not None and not _are_weights(np.asarray(weights), len(tokens)):
    raise InputError(f'couplings with weights that are none: one is needed for each of {len(tokens)} rows, 0 or more')
  for name, value in shares.items():
    if not (is_number(value, 0, 1) and 0 < value < 1):
      raise InputError(f'{name}={value}: must lie between 0 and 1')


def _are_weights(weights: np.ndarray, num_rows: int) -> bool:
  return weights.shape == (num_rows,) and bool(np.all(weights >= 0)) and 0 < float(np.sum(weights)) < np.inf


@contextlib.contextmanager
def _on_the_host() -> Iterator[None]:
  """Computes inside the block on the host's processors, where JAX has them: the devices are for networks."""
  try:
    place = jax.local_devices(backend='cpu')[0]
  except RuntimeError:  # JAX_PLATFORMS leaves them out
    place = None
  with jax.default_device(place) if place is not None else contextlib.nullcontext():
    yield
