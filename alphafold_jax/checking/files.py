# SPDX-License-Identifier: Apache-2.0
"""Is a parameter file what it should be: digest, names, shapes and types of its arrays, finite values? Without JAX."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from alphafold_jax.checking.findings import Finding, Verdict
from alphafold_jax.errors import ResourceError, WeightsError
from alphafold_jax.screen import number
from alphafold_jax.transfer.files import digest
from alphafold_jax.weights import manifest, npz, official
from alphafold_jax.weights.published import advising

_DTYPE = 'float32'  # of all published arrays
_SHOWN = 8  # problems of one file
Arrays = dict[str, np.ndarray]


def check_file(model: str, path: pathlib.Path, config: Mapping[str, Any]) -> tuple[Finding, Arrays | None]:
  """Checks one file.

  Args:
    model: its name.
    path: of the file.
    config: of the model.

  Returns:
    the finding, and the arrays by published name; None where the model cannot be made of them.
  """
  try:
    recorded = manifest.verify_file(path, full=True)
    with advising():
      sha256 = recorded or digest(path)['sha256']
    arrays = npz.read_arrays(path)
  except (WeightsError, ResourceError) as error:
    return Finding(model, 'file', Verdict.WRONG, path.name, tuple(str(error).splitlines())), None
  shapes = {name: array.shape for name, array in arrays.items()}
  wrong, surplus = npz.shape_problems(shapes, official.official_shapes(config))
  wrong += _no_numbers(arrays)
  odd = [line.replace('unexpected', 'not used by the model') for line in surplus]
  odd += [f'of type {a.dtype}, should be {_DTYPE}: {name}' for name, a in arrays.items() if a.dtype != _DTYPE]
  digests = 'as installed' if recorded else '(no digest of it is known to compare with)'
  said = f'{number(len(arrays), "array")}, SHA-256 {sha256[:16]} {digests}'
  if problems := wrong + odd:
    return Finding(model, 'file', Verdict.WRONG, said, tuple(npz.shown(problems, _SHOWN))), None if wrong else arrays
  return Finding(model, 'file', Verdict.HOLDS, f'{said}; names, shapes and types as expected, all finite'), arrays


def _no_numbers(arrays: Arrays) -> list[str]:
  """One line for each array that is not of numbers, or not of finite ones."""
  lines = []
  for name, array in arrays.items():
    if array.dtype.kind not in 'fiub':
      lines.append(f'not numbers: {name} of type {array.dtype}')
    elif not (finite := np.isfinite(array)).all():
      place = tuple(int(index) for index in np.argwhere(~finite)[0])
      lines.append(f'not finite: {np.count_nonzero(~finite)} of {array.size} values of {name}, first at {place}')
  return lines
