# SPDX-License-Identifier: Apache-2.0
"""Foldcomp's form of a structure: torsion angles in some 13 bytes for each residue (Kim et al., Bioinformatics 2023).

Its package (extra `foldcomp`) compresses the text of a PDB file. Coordinates come back within about 0.1 Å, and pLDDT in
256 steps over its range. It holds one chain without gaps; what it cannot hold is refused here, since the package may
crash on it.
"""

from alphafold_jax import errors, installed
from alphafold_jax.output import pdb, record
from alphafold_jax.output.record import PredictionRecord

PACKAGE = 'foldcomp'  # and the extra that installs it
_REMEDY = 'Foldcomp holds one chain without gaps; there are the PDB and mmCIF files'


def to_foldcomp(prediction: PredictionRecord, name: str) -> bytes:
  """The prediction as the content of an FCZ file.

  Args:
    prediction: of a single chain.
    name: that is kept in the file.

  Raises:
    InputError: the form cannot hold it, or the package is not installed.
    NumericalError: it holds NaN or infinity.
  """
  chains = record.chains(prediction)
  if len(chains) > 1:
    raise errors.InputError(f'{len(chains)} chains: {_REMEDY}')
  for before, residue in zip([None, *chains[0]], chains[0]):
    if not residue.atoms:
      raise errors.InputError(f'residue {residue.number} has no atoms: {_REMEDY}')
    if before is not None and residue.number != before.number + 1:
      raise errors.InputError(f'residue {residue.number} follows {before.number}: {_REMEDY}')
  return installed.module(PACKAGE, PACKAGE, errors.InputError).compress(name, pdb.to_pdb(prediction))
