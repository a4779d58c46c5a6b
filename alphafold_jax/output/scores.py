# SPDX-License-Identifier: Apache-2.0
"""Scores as strict JSON, in the schemas that other programs read: ColabFold's scores and PAE, AlphaFold DB's PAE.

PAE row i, column j: expected error of residue j when aligned on residue i. NaN is refused, never written.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from alphafold_jax import errors
from alphafold_jax.output import predicted
from alphafold_jax.output.predicted import Predicted

AFDB_MAX_PAE = 31.75  # Å, the largest error the head can express


def scores_json(prediction: Predicted, notes: Sequence[str] = ()) -> str:
  """`{"plddt": [...], "max_pae": ..., "pae": [[...]], "ptm": ..., "iptm": ...}`, without what the model lacks."""
  predicted.check_finite(prediction)
  scores: dict[str, Any] = {'plddt': _rounded(prediction.plddt, 2)}
  if prediction.pae is not None:
    scores |= {'max_pae': _maximum(prediction.pae), 'pae': _rounded(prediction.pae, 2)}
  for name in ('ptm', 'iptm'):
    if getattr(prediction, name, None) is not None:
      scores[name] = _rounded(getattr(prediction, name), 2)
  return _dump(scores | _noted(notes))


def pae_json(prediction: Predicted, notes: Sequence[str] = ()) -> str:
  """ColabFold's form: one object, errors to two decimals."""
  _require_pae(prediction)
  return _dump(
    {
      'predicted_aligned_error': _rounded(prediction.pae, 2),
      'max_predicted_aligned_error': _maximum(prediction.pae),
      **_noted(notes),
    }
  )


def pae_json_afdb(prediction: Predicted, notes: Sequence[str] = ()) -> str:
  """AlphaFold's and AlphaFold DB's form: a list of one object, errors to one decimal."""
  _require_pae(prediction)
  return _dump(
    [
      {
        'predicted_aligned_error': _rounded(prediction.pae, 1),
        'max_predicted_aligned_error': AFDB_MAX_PAE,
        **_noted(notes),
      }
    ]
  )


def _noted(notes: Sequence[str]) -> dict[str, list[str]]:
  return {'notes': list(notes)} if notes else {}


def _require_pae(prediction):
  if prediction.pae is None:
    raise errors.InputError('this model predicts no aligned error (PAE); use a _ptm model, such as model_1_ptm')
  predicted.check_finite(prediction)


def _maximum(values) -> float:
  return float(np.max(values))


def _rounded(values, decimals) -> Any:
  return np.round(np.asarray(values, np.float64), decimals).tolist()


def _dump(value) -> str:
  return json.dumps(value, allow_nan=False)
