# SPDX-License-Identifier: Apache-2.0
"""Numbers of a prediction for programs: scores as strict JSON, in ColabFold's schemas and AlphaFold DB's; NumPy arrays.

PAE row i, column j: expected error of residue j when aligned on residue i. NaN is refused, never written.
"""

import functools
import json
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from alphafold_jax import errors
from alphafold_jax.constants.distogram import distogram_edges
from alphafold_jax.interfaces import PAE_CUTOFF
from alphafold_jax.output import record
from alphafold_jax.output.record import ARRAYS, OF_CHAINS, REPRESENTATIONS, PredictionRecord

_ALL = (*ARRAYS, 'pae', *OF_CHAINS, 'contact_probability', 'distogram', *REPRESENTATIONS)
AFDB_MAX_PAE = 31.75  # Å, the largest error the head can express


def scores_json(prediction: PredictionRecord, pae_cutoff: float = PAE_CUTOFF) -> str:
  """`{"plddt": [...], "max_pae": ..., "pae": [[...]], "ptm": ..., "iptm": ...}`, without what the model lacks.

  Of several chains with `ipsae`, `pdockq` and the other scores of interfaces as `colabfold_batch --calc-extra-ptm` has
  them, and all scores of `interfaces.SCORES` under `interfaces`. `pae_cutoff`, in Å, is that of ipSAE.
  """
  record.check_finite(prediction)
  scores: dict[str, Any] = {'plddt': _rounded(prediction.plddt, 2)}
  if (pae := prediction.pae) is not None:
    scores |= {'max_pae': float(np.max(pae)), 'pae': _rounded(pae, 2)}
  scores |= {name: _rounded(value, 2) for name in ('ptm', 'iptm') if (value := getattr(prediction, name)) is not None}
  scores |= _of_interfaces(prediction, pae_cutoff)
  return json.dumps(scores | _noted(prediction), allow_nan=False)


def _of_interfaces(prediction: PredictionRecord, pae_cutoff: float) -> dict[str, Any]:
  """The scores that there are of several chains alone."""
  if (scored := prediction.interface_scores(pae_cutoff)) is None:
    return {}
  chains = prediction.chains
  names = {'ipsae': 'ipsae', 'pdockq': 'pdockq', 'pdockq2': 'pdockq2'}
  names |= {'pairwise_actifptm': 'actifptm', 'pairwise_iptm': 'iptm'}
  found: dict[str, Any] = {key: scored.by_direction(name, chains) for key, name in names.items()}
  found |= {'per_chain_ptm': dict(zip(chains, scored.chain_ptm.tolist())), 'actifptm': scored.actifptm}
  found |= {'interfaces': scored.by_pair(chains), 'has_clash': scored.clashes.has_clash}
  return found | ({} if pae_cutoff == PAE_CUTOFF else {'ipsae_cutoff': pae_cutoff})


def pae_json(prediction: PredictionRecord) -> str:
  """ColabFold's form: one object, errors to two decimals."""
  pae = _checked_pae(prediction)
  content = {'predicted_aligned_error': _rounded(pae, 2), 'max_predicted_aligned_error': float(np.max(pae))}
  return json.dumps(content | _noted(prediction), allow_nan=False)


def pae_json_afdb(prediction: PredictionRecord, whole: bool = False) -> str:
  """AlphaFold's form, a list of one object, errors to one decimal; or AlphaFold DB's, errors in whole Å."""
  pae = _checked_pae(prediction)
  content = {
    'predicted_aligned_error': np.rint(pae).astype(int).tolist() if whole else _rounded(pae, 1),
    'max_predicted_aligned_error': AFDB_MAX_PAE,
  }
  return json.dumps([content | _noted(prediction)], allow_nan=False)


def confidence_json(prediction: PredictionRecord) -> str:
  """AlphaFold's and AlphaFold DB's form of pLDDT: numbers of residues, scores, and the letters of their bands."""
  record.check_finite(prediction)
  plddt = np.asarray(prediction.plddt, np.float64)
  letters = np.array(list('DLMH'))[np.searchsorted([50, 70, 90], plddt, side='right')]  # very low to high
  content = {
    'residueNumber': (np.asarray(prediction.residue_index) + 1).tolist(),
    'confidenceScore': _rounded(plddt, 2),
    'confidenceCategory': letters.tolist(),
  }
  return json.dumps(content | _noted(prediction), allow_nan=False)


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
  if 'distogram' in arrays:
    arrays['distogram_edges'] = distogram_edges()
  for name in ('ptm', 'iptm'):
    if (value := getattr(prediction, name)) is not None:
      arrays[name] = np.float32(value)
  if prediction.chain_names:
    arrays['chain_names'] = np.array(prediction.chain_names)
  return lambda file: np.savez_compressed(file, **arrays)


def _noted(prediction: PredictionRecord) -> dict[str, list[str]]:
  return {'notes': list(prediction.notes)} if prediction.notes else {}


def _checked_pae(prediction: PredictionRecord) -> np.ndarray:
  if (pae := prediction.pae) is None:
    raise errors.InputError('this model predicts no aligned error (PAE); use a _ptm model, such as model_1_ptm')
  record.check_finite(prediction)
  return pae


def _rounded(values: Any, decimals: int) -> Any:
  return np.round(np.asarray(values, np.float64), decimals).tolist()
