# SPDX-License-Identifier: Apache-2.0
"""Files of predicted aligned errors in the forms that circulate, and where they lie beside a structure.

    AlphaFold, AlphaFold DB      [{"predicted_aligned_error": [[...]], ...}], a list of one object
    ColabFold                    {"predicted_aligned_error": [[...]], ...}, an object; its scores have "pae": [[...]]
    AlphaFold DB's first form    [{"residue1": [1, 1, ...], "residue2": [1, 2, ...], "distance": [...], ...}]
    AlphaFold 3                  {"pae": [[...]], ...}
    arrays of NumPy (.npz)       pae, as `--save-all` here and Boltz write them
    the matrix alone             [[...], [...], ...], as scripts write it

Row i, column j of a matrix is the error of residue j when aligned on residue i, in Å.
"""

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import untrusted
from alphafold_jax.data.records import decode, read_bytes, read_text
from alphafold_jax.errors import InputError
from alphafold_jax.naming import listed

_MATRICES = ('predicted_aligned_error', 'pae')  # keys
_PAIRS = ('residue1', 'residue2', 'distance')
_ZIP, _PICKLE, _ARRAY = b'PK\x03\x04', b'\x80', b'\x93NUMPY'  # first bytes
_KINDS = {list: 'a list', str: 'text', type(None): 'null', bool: 'true or false'}  # of JSON
_AGAIN = 'copy or download it again, or give JSON or .npz'
_DAMAGED = 'damaged or cut off; copy or download it again'
_STRUCTURE = re.compile(r'(.+?)\.(?:pdb|ent|cif|mmcif)(?:\.gz)?', re.IGNORECASE)
_RANKED = re.compile(r'ranked_(\d+)')  # of AlphaFold; ranking_debug.json says which model it is
_RANKING = 'ranking_debug.json'
_SCHEMES: tuple[tuple[str, tuple[str, ...]], ...] = (  # a structure's name without ending -> names of its PAE file
  (r'(.+)_(?:un)?relaxed_(.+)', (r'\1_scores_\2.json',)),  # here and ColabFold
  (r'(.+)_(?:un)?relaxed_rank_0*1_.+',
   (r'\1_predicted_aligned_error_v1.json', r'\1_predicted_aligned_error_afdb.json')),  # which are of the best model
  (r'(AF-.+)-model_(v\d+)', (r'\1-predicted_aligned_error_\2.json',)),  # AlphaFold DB
  (r'(?:un)?relaxed_(.+)', (r'pae_\1.json',)),  # AlphaFold
  (r'(.+)_model_(\d+)', (r'pae_\1_model_\2.npz', r'\1_full_data_\2.json')),  # Boltz; AlphaFold Server
  (r'(.+)_model', (r'\1_confidences.json',)),  # AlphaFold 3
  (r'(.+)', (r'\1_predicted_aligned_error_v1.json', r'\1_predicted_aligned_error.json', r'\1_pae.json',
             r'\1_scores.json')),
)  # fmt: skip


def read_pae(path: str | Path) -> np.ndarray:  # [N_res, N_res] float32, Å
  """The matrix of a PAE file of any of these forms (also .gz).

  Raises:
    InputError: it cannot be read, holds no PAE, or one that is not square or not finite; the message names the file.
  """
  values = _values(path)
  if isinstance(values, _Absent):
    raise InputError(
      f'{path}: no PAE in it: neither {" nor ".join(_MATRICES)}, nor {", ".join(_PAIRS)}; it holds '
      f'{listed(values.keys) or "nothing"}; give the PAE file of the prediction'
    )
  return _matrix(values, path)


def pae_beside(structure: str | Path) -> tuple[Path, np.ndarray] | None:
  """The PAE file beside a structure, by the names that programs give the two, and its matrix [N_res, N_res] in Å.

  None if there is no file of such a name that holds a PAE, as of a model that predicts none.

  Raises:
    InputError: there is one, but it is damaged; see `read_pae`.
  """
  for path in _candidates(Path(structure)):
    if path.is_file() and not isinstance(values := _values(path), _Absent):
      return path, _matrix(values, path)
  return None


def _candidates(structure: Path) -> Iterator[Path]:
  """Where a PAE file may be, the likeliest first; each may be gzipped."""
  named = _STRUCTURE.fullmatch(structure.name)
  stem = named[1] if named else structure.stem
  names = [name for pattern, others in _SCHEMES if (found := re.fullmatch(pattern, stem)) for name in
           map(found.expand, others)]  # fmt: skip
  if ranked := _RANKED.fullmatch(stem):
    names[:0] = _of_ranking(structure.with_name(_RANKING), int(ranked[1]))
  for name in names:
    yield structure.with_name(name)
    yield structure.with_name(f'{name}.gz')


def _of_ranking(path: Path, rank: int) -> list[str]:
  """The name of the PAE file of AlphaFold's ranked_{rank}, from 0; none where its ranking does not say."""
  try:
    return [f'pae_{Path(untrusted.from_json(read_text(path))["order"][rank]).name}.json']
  except (InputError, ValueError, KeyError, IndexError, TypeError):
    return []


# ------------------------------------------------------------------------------------------ content


class _Absent:
  """What a file holds that has no PAE."""

  def __init__(self, content: Any):
    self.keys = list(map(str, content)) if isinstance(content, Mapping) else [_KINDS.get(type(content), 'a number')]


def _values(path: str | Path) -> Any:
  """What a file has for a matrix, not yet checked."""
  content = read_bytes(path)
  if content.startswith(_ZIP):
    return _of_arrays(content, path)
  if content.startswith(_PICKLE):
    raise InputError(f'{path}: a pickle, which could run any program, is not read; write the matrix as JSON or .npz')
  if content.startswith(_ARRAY):
    raise InputError(f'{path}: a .npy file is not read; write the matrix as JSON, or as pae into a .npz file')
  try:
    found = untrusted.from_json(decode(content, str(path)))
  except InputError:
    raise
  except ValueError as error:
    raise InputError(f'{path}: not JSON ({error}); damaged, cut off or of another kind; {_AGAIN}') from None
  if isinstance(found, list) and found and all(isinstance(row, list) for row in found):
    return found
  if isinstance(found, list) and len(found) == 1:
    found = found[0]
  if isinstance(found, dict):
    for key in _MATRICES:
      if key in found:
        return found[key]
    if all(key in found for key in _PAIRS):
      return _of_pairs(found, path)
  return _Absent(found)


def _of_arrays(content: bytes, path: str | Path) -> Any:
  try:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
      return arrays['pae'] if 'pae' in arrays else _Absent(arrays)
  except Exception as error:  # NumPy and zipfile raise whatever a damaged byte leads to
    raise InputError(f'{path}: no readable .npz file ({error}); {_DAMAGED}') from None


def _of_pairs(content: Mapping[str, Any], path: str | Path) -> np.ndarray:
  """The matrix of a list of pairs of residues, numbered from 1; NaN where a pair is missing."""
  try:
    first, second = (np.asarray(content[key], np.int64).reshape(-1) for key in _PAIRS[:2])
    distance = np.asarray(content[_PAIRS[2]], np.float32).reshape(-1)
  except (ValueError, TypeError, OverflowError) as error:
    raise InputError(f'{path}: {", ".join(_PAIRS)} are no lists of numbers ({error}); {_DAMAGED}') from None
  size = int(first.max(initial=0))
  if not len(first) == len(second) == len(distance) == size**2 or not size:
    raise InputError(
      f'{path}: {len(first)}, {len(second)} and {len(distance)} values of {", ".join(_PAIRS)}, where {size} residues '
      f'have {size**2} pairs; {_DAMAGED}'
    )
  if min(first.min(), second.min()) < 1 or second.max() > size:
    raise InputError(f'{path}: residues are not numbered from 1 to {size}; {_DAMAGED}')
  matrix = np.full((size, size), np.nan, np.float32)
  matrix[first - 1, second - 1] = distance
  return matrix


def _matrix(values: Any, path: str | Path) -> np.ndarray:
  """A square matrix of finite errors, or InputError."""
  try:
    if isinstance(values, np.ndarray) and np.iscomplexobj(values):
      raise TypeError('complex numbers')
    with np.errstate(over='ignore'):
      matrix = np.array(values, np.float32)
  except (ValueError, TypeError, OverflowError) as error:
    raise InputError(f'{path}: the PAE is no table of numbers ({error}); {_DAMAGED}') from None
  if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
    shape = ' x '.join(map(str, matrix.shape)) or 'a single number'
    raise InputError(f'{path}: the PAE is {shape} and not square; {_DAMAGED}')
  if not (fine := np.isfinite(matrix) & (matrix >= 0)).all():
    row, column = np.argwhere(~fine)[0] + 1
    raise InputError(
      f'{path}: the PAE of residue {column} aligned on residue {row} is {matrix[row - 1, column - 1]}, and must be a '
      f'number of Å from 0; {_DAMAGED}'
    )
  return matrix
