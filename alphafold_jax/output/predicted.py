# SPDX-License-Identifier: Apache-2.0
"""What every writer reads of a prediction: its fields, its chains and their atoms, and the check that all is finite."""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from alphafold_jax import errors
from alphafold_jax.constants import residues


class Predicted(Protocol):
  """The attributes a prediction must have to be written; host arrays without padding."""

  aatype: np.ndarray  # [N_res] 0..19, 20: unknown
  atom_positions: np.ndarray  # [N_res, 37, 3] Å
  atom_mask: np.ndarray  # [N_res, 37]
  plddt: np.ndarray  # [N_res] 0..100
  pae: np.ndarray | None  # [N_res, N_res] Å
  ptm: float | None
  residue_index: np.ndarray  # [N_res] position in the chain, from 0; files count from 1
  asym_id: np.ndarray  # [N_res] one number per chain


@dataclasses.dataclass(frozen=True)
class Atom:
  name: str
  element: str
  position: tuple[float, float, float]  # Å


@dataclasses.dataclass(frozen=True)
class Residue:
  name: str  # three letters
  number: int  # from 1
  plddt: float  # rounded to the two decimals that files hold
  atoms: tuple[Atom, ...]  # none for an unknown residue


def chains(prediction: Predicted) -> list[list[Residue]]:
  """The residues of each chain, chains in order of first appearance.

  Raises:
    NumericalError: a coordinate or score that would be written is NaN or infinite.
    InputError: there is no atom to write.
  """
  check_finite(prediction)
  if not np.any(np.asarray(prediction.atom_mask) > 0.5):
    raise errors.InputError(
      'the prediction has no atoms to write: every residue is of unknown type (X); give the real residue types'
    )
  asym_ids = np.asarray(prediction.asym_id)
  first = sorted(np.unique(asym_ids, return_index=True)[1])
  return [[_residue(prediction, i) for i in np.flatnonzero(asym_ids == asym_ids[start])] for start in first]


def check_finite(prediction: Predicted) -> None:
  """Refuses NaN and infinity, naming the residue, and the atom where there is one."""
  positions, mask = np.asarray(prediction.atom_positions), np.asarray(prediction.atom_mask)
  bad_atoms = np.argwhere((mask > 0.5) & ~np.isfinite(positions).all(-1) | ~np.isfinite(mask))
  if len(bad_atoms):
    residue, atom = bad_atoms[0]
    raise _not_finite(prediction, residue, f'atom {residues.ATOM_TYPES[atom]}', positions[residue, atom].tolist())
  _check_scores(prediction, 'pLDDT', prediction.plddt)
  for name in ('pae', 'ptm', 'iptm'):
    _check_scores(prediction, name, getattr(prediction, name, None))


def chain_name(index: int) -> str:
  """The index-th chain's name in the PDB's order: A to Z, then AA, BA, ... ZA, AB, ..."""
  name, index = '', index + 1
  while index > 0:
    index, letter = divmod(index - 1, 26)
    name += chr(ord('A') + letter)
  return name


def mean_plddt(prediction: Predicted) -> float:
  return float(np.mean(np.asarray(prediction.plddt, np.float64)))


def _residue(prediction, i) -> Residue:
  aatype = int(prediction.aatype[i])
  name = 'UNK' if aatype >= residues.UNKNOWN else residues.RESTYPE_1TO3[residues.RESTYPES[aatype]]
  return Residue(
    name,
    int(prediction.residue_index[i]) + 1,
    round(float(prediction.plddt[i]), 2),
    tuple(_atoms(prediction.atom_positions[i], prediction.atom_mask[i])),
  )


def _atoms(positions, mask) -> Iterator[Atom]:
  for atom in np.flatnonzero(np.asarray(mask) > 0.5):
    name = residues.ATOM_TYPES[atom]
    yield Atom(name, name[0], tuple(float(x) for x in positions[atom]))  # elements of the 37: C, N, O, S


def _check_scores(prediction, name, values):
  if values is None:
    return
  bad = np.argwhere(~np.isfinite(np.asarray(values, np.float64)))
  if not len(bad):
    return
  value = np.asarray(values)[tuple(bad[0])]
  if not bad.shape[1]:
    raise errors.NumericalError(f'{name} is {value}: nothing was written; run again in float32')
  raise _not_finite(prediction, bad[0][0], name, value)


def _not_finite(prediction, i, what, value):
  return errors.NumericalError(
    f'residue {int(prediction.residue_index[i]) + 1} of chain {int(prediction.asym_id[i])}: {what} is {value}, '
    'not a finite number; nothing was written; run again in float32'
  )
