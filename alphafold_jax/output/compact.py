# SPDX-License-Identifier: Apache-2.0
"""Foldcomp's form of a structure: torsion angles in some 13 bytes for each residue (Kim et al., Bioinformatics 2023).

Its package (extra `foldcomp`) compresses the text of a PDB file. Coordinates of a chain with usual
bonds come back within about 0.1 Å, and pLDDT in 256 steps over its range. It holds one chain without gaps; what it
cannot hold is refused here, since the package may crash on it, and so is a structure that does not come back: it keeps
torn bonds and bent angles as usual ones.
"""

from collections.abc import Sequence

import numpy as np

from alphafold_jax import errors, installed
from alphafold_jax.output import pdb, record
from alphafold_jax.output.record import PredictionRecord, Residue
from alphafold_jax.screen import number

PACKAGE = 'foldcomp'  # and the extra that installs it
_LEAST = 3  # residues
_BACKBONE = {'N', 'CA', 'C'}
_MOST = 0.3  # Å, r.m.s.d. of the CA atoms that come back
_REMEDY = 'Foldcomp holds one chain without gaps; take the PDB or mmCIF file'
_BOND = 1.33  # Å between C and N of neighbours
_TORN = 2.0  # Å, beyond which they are not bonded


def to_foldcomp(prediction: PredictionRecord, name: str) -> bytes:
  """The prediction as the content of an FCZ file.

  Args:
    prediction: of a single chain.
    name: that is kept in the file.

  Raises:
    InputError: the form cannot hold it, or not well enough; or the package is not installed.
    NumericalError: it holds NaN or infinity.
  """
  chains = record.chains(prediction)
  if len(chains) > 1:
    raise errors.InputError(f'{len(chains)} chains: {_REMEDY}')
  if len(chains[0]) < _LEAST:
    raise errors.InputError(f'fewer than {_LEAST} residues: {_REMEDY}')
  for before, residue in zip([None, *chains[0]], chains[0]):
    if missing := _BACKBONE - {atom.name for atom in residue.atoms}:
      raise errors.InputError(f'residue {residue.number} has no atom {min(missing)}: {_REMEDY}')
    if before is not None and residue.number != before.number + 1:
      raise errors.InputError(f'residue {residue.number} follows {before.number}: {_REMEDY}')
  foldcomp, text = installed.module(PACKAGE, PACKAGE, errors.InputError), pdb.to_pdb(prediction)
  packed = foldcomp.compress(name, text)
  deviation = _ca(foldcomp.decompress(packed)[1]) - _ca(text)
  if (off := float(np.sqrt(np.mean(np.sum(deviation**2, axis=-1))))) > _MOST:
    raise errors.InputError(
      f'its CA atoms would come back {off:.2f} Å off (r.m.s.d.), more than {_MOST} Å, as Foldcomp takes all bonds to '
      f'be of usual lengths and angles{_torn(chains[0])}: take the PDB or mmCIF file, or relax the structure '
      '(--amber) and pack that by the program foldcomp'
    )
  return packed


def _torn(chain: Sequence[Residue]) -> str:
  """Where neighbours are not bonded, for a message; '' where all are."""
  places = [{atom.name: np.array(atom.position) for atom in residue.atoms} for residue in chain]
  apart = [float(np.linalg.norm(one['C'] - other['N'])) for one, other in zip(places, places[1:])]
  torn = [i for i, distance in enumerate(apart) if distance > _TORN]
  if not torn:
    return ''
  widest = max(torn, key=lambda i: apart[i])
  return (
    f', and its chain is broken in {number(len(torn), "place")}, widest behind residue {chain[widest].number} '
    f'({apart[widest]:.1f} Å from C to N, {_BOND} in a bond)'
  )


def _ca(text: str) -> np.ndarray:  # [N_res, 3] Å
  """The CA atoms of a PDB text."""
  lines = [line for line in text.splitlines() if line.startswith('ATOM') and line[12:16] == ' CA ']
  return np.array([[float(line[start : start + 8]) for start in (30, 38, 46)] for line in lines])
