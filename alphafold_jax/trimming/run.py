# SPDX-License-Identifier: Apache-2.0
"""One prediction from its file to the files that are made of it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import untrusted
from alphafold_jax.data.jobnames import safe_name
from alphafold_jax.data.pae_files import pae_beside, read_pae
from alphafold_jax.errors import InputError
from alphafold_jax.trimming import writing
from alphafold_jax.trimming.predicted import PredictedModel, read_predicted
from alphafold_jax.trimming.trimmed import NONE, TrimmedModel, TrimSettings, trimmed


def trim(
  structure: str | Path,
  output: str | Path | None = None,
  *,
  pae: str | Path | None = None,
  name: str = '',
  overwrite: bool = False,
  **settings: Any,
) -> TrimmedModel:
  """Leaves out what is not to be relied on in a prediction, splits the rest into domains, and makes B-factors.

  Args:
    structure: PDB or mmCIF file of a prediction (also .gz), with pLDDT as its B-factors.
    output: folder for the files, see `writing`, made if missing; None: nothing is written.
    pae: the file of its predicted aligned error; None: the one that lies beside it, if any.
    name: of the files; by default the structure's without ending.
    overwrite: replace files that are there with other content.
    **settings: the fields of TrimSettings.

  Raises:
    InputError: a file cannot be used or is no prediction, nothing is left, or a file is in the way.
    ResourceError: the disk is full.
  """
  chosen = TrimSettings(**settings)
  model = read_predicted(structure)
  matrix, pae_file = _pae(model, pae) if chosen.domains != NONE or pae is not None else (None, None)
  found = trimmed(safe_name(name or _stem(model.path)), model, matrix, pae_file, chosen)
  if output is None:
    return found
  return dataclasses.replace(found, files=writing.write(found, output, overwrite=overwrite))


def _stem(path: Path) -> str:
  """A structure file's name without its endings."""
  name = path.name.removesuffix('.gz')
  return name.rpartition('.')[0] or name


def _pae(model: PredictedModel, given: str | Path | None) -> tuple[np.ndarray | None, Path | None]:
  """The PAE of the model's residues [num_res, num_res], Å, and its file; None twice where there is none."""
  if given is not None:
    path, matrix = Path(given), read_pae(given)
  elif (found := pae_beside(model.path)) is not None:
    path, matrix = found
  else:
    return None, None
  places = _places(model, len(matrix))
  if places is None:
    raise InputError(
      f'{path}: PAE of {len(matrix)} residues, but {model.path} has {len(model.plddt)}; give the PAE file of this '
      'structure by --pae FILE, or leave it out by --domains none'
    )
  return matrix[np.ix_(places, places)], path


def _places(model: PredictedModel, size: int) -> np.ndarray | None:
  """The rows of a PAE that the residues have; None where it is not that of this structure.

  Residues of unknown type have no atoms, so PDB files lack them: then a single chain's numbers, from 1, tell.
  """
  if len(model.plddt) == size:
    return np.arange(size)
  numbers = [untrusted.whole_number(number) or 0 for number in model.numbering]
  is_of_numbers = len(model.chains) == 1 and len(set(numbers)) == len(numbers) and min(numbers) >= 1
  return np.array(numbers) - 1 if is_of_numbers and max(numbers) <= size and len(numbers) < size else None
