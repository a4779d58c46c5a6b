# SPDX-License-Identifier: Apache-2.0
"""Arrays as NumPy's files: one representation (.npy), or all there is of a prediction (.npz); never pickled."""

import functools
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from alphafold_jax import errors
from alphafold_jax.output.record import ARRAYS, REPRESENTATIONS, PredictionRecord

_ALL = (*ARRAYS, 'pae', 'contact_probability', *REPRESENTATIONS)


def npy(prediction: PredictionRecord, name: str) -> Callable[[IO[bytes]], Any]:
  """Writes a representation, 'single' or 'pair', to an open file.

  Raises:
    InputError: it was not kept.
    NumericalError: it holds NaN or infinity.
  """
  if (values := prediction.arrays.get(name)) is None:
    raise errors.InputError(f'the {name} representation was not kept; ask for representations when predicting')
  if not np.isfinite(values).all():
    raise errors.NumericalError(f'the {name} representation holds NaN or infinity: not written; run in float32')
  return functools.partial(np.save, arr=values, allow_pickle=False)


def npz(prediction: PredictionRecord) -> Callable[[IO[bytes]], Any]:
  """Writes all arrays and scores of a prediction to an open file."""
  arrays: dict[str, Any] = {name: prediction.arrays[name] for name in _ALL if name in prediction.arrays}
  arrays |= {'mean_plddt': np.float32(prediction.mean_plddt), 'notes': np.array(prediction.notes, dtype=str)}
  if prediction.ptm is not None:
    arrays['ptm'] = np.float32(prediction.ptm)
  return lambda file: np.savez_compressed(file, **arrays)
