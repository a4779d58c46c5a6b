# SPDX-License-Identifier: Apache-2.0
"""Optimal superposition of two sets of points (Kabsch 1976) and the remaining distances, in numpy and float64.

Points [N, 3]; weights [N], such as a mask, by default all 1.
"""

import math

import numpy as np

from alphafold_jax import errors

_ITERATIONS = 5  # of superposition and choice, Jumper et al. 2021, Methods


def _paired(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The points of positive weight [M, 3] of both sets, and their weights [M], which sum to 1."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  weights = np.ones(a.shape[:1]) if weights is None else np.asarray(weights, np.float64)
  if a.ndim != 2 or a.shape[-1] != 3 or b.shape != a.shape or weights.shape != a.shape[:1]:
    raise errors.InputError(
      f'cannot superpose points {a.shape} on {b.shape} with weights {weights.shape}: needs [N, 3], [N, 3] and [N]'
    )
  counted = weights > 0  # the others may be NaN
  if not counted.any():
    raise errors.InputError(f'cannot superpose: none of the {len(a)} points has a positive weight; check the masks')
  return a[counted], b[counted], weights[counted] / weights[counted].sum()


def kabsch(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
  """The rotation [3, 3] and translation [3] that superpose a on b: `a @ rotation.T + translation` is nearest to b.

  They minimise the weighted sum of squared distances; the rotation is proper.

  Raises:
    InputError: the shapes differ, or no weight is positive.
  """
  a, b, weights = _paired(a, b, weights)
  center_a, center_b = weights @ a, weights @ b
  rotation = best_rotations((a - center_a).T @ (weights[:, None] * (b - center_b)))
  return rotation, center_b - rotation @ center_a


def best_rotations(covariances: np.ndarray) -> np.ndarray:
  """The proper rotations [..., 3, 3] that superpose centred points a on b, from the sums of a_i b_j [..., 3, 3]."""
  u, _, vt = np.linalg.svd(covariances)
  handedness = np.sign(np.linalg.det(u @ vt))  # -1: the best match would be a mirror image
  u[..., -1] *= handedness[..., None]
  return np.swapaxes(u @ vt, -1, -2)


def rmsd(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> float:
  """Root-mean-square distance of the superposed points; arguments and errors as in `kabsch`."""
  rotation, translation = kabsch(a, b, weights)
  a, b, weights = _paired(a, b, weights)
  return float(np.sqrt(weights @ np.sum((a @ rotation.T + translation - b) ** 2, axis=-1)))


def rmsd_of_best(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None, coverage: float = 0.95) -> float:
  """Root-mean-square distance of the share of points that fit best: of CA atoms, AlphaFold's r.m.s.d.95.

  Five times the chosen points, at first all, are superposed and the nearest ones chosen (Jumper et al. 2021, Methods);
  the result is the r.m.s.d. of the last choice. A share that is no whole number of points is rounded up.
  """
  a, b, _ = _paired(a, b, mask)
  keep = math.ceil(coverage * len(a) - 1e-9)
  chosen = np.arange(len(a))
  for _ in range(_ITERATIONS):
    rotation, translation = kabsch(a[chosen], b[chosen])
    squared = np.sum((a @ rotation.T + translation - b) ** 2, axis=-1)
    chosen = np.argsort(squared, kind='stable')[:keep]
  return rmsd(a[chosen], b[chosen])
