# SPDX-License-Identifier: Apache-2.0
"""A structure that the first pass is given as if one before it had made it (Bennett et al. 2023, "initial guess")."""

import logging
from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.complex_templates import place_complex
from alphafold_jax.data.structures import read_chains
from alphafold_jax.data.templates import MIN_COVERAGE, MIN_IDENTITY, Template, template_from_structure
from alphafold_jax.errors import InputError

_log = logging.getLogger(__name__)
_CA = residues.ATOM_INDEX['CA']


def initial_guess(chains: Chains, path: str | Path) -> np.ndarray:
  """The atoms of a structure on the residues of a protein or complex.

  A residue without coordinates is put between its neighbours in the chain, all its atoms in one place; a chain that the
  structure lacks stays at the origin, as all do without a guess.

  Args:
    chains: what is predicted.
    path: PDB or mmCIF, also .gz.

  Returns:
    [num_res, 37, 3] Å

  Raises:
    InputError: the file cannot be read, or is of another protein.
  """
  placed = chains_of_structure(chains, path)
  for name, template in zip(chains.names, placed, strict=True):
    what = 'nothing' if template is None else f'{template.name}, {template.identity:.0%} identical'
    _log.info('initial guess of chain %s: %s', name, what)
  positions = np.zeros((chains.num_res, 37, 3), np.float32)
  for span, template in zip(chains.spans, placed, strict=True):
    if template is not None:
      positions[span] = _whole(template)
  return positions


def chains_of_structure(chains: Chains, path: str | Path) -> tuple[Template | None, ...]:
  """For each chain of a protein or complex the one of a structure that stands for it; None where there is none.

  Args:
    chains: what is predicted.
    path: PDB or mmCIF, also .gz.

  Raises:
    InputError: the file cannot be read, or is of another protein.
  """
  if len(chains) == 1:
    read_chains(path)
    try:
      one = template_from_structure(chains.sequence, path)
    except InputError:
      raise InputError(f'{path}: of another protein, none of its chains fits; give a structure of this one') from None
    if one.identity < MIN_IDENTITY or one.coverage < MIN_COVERAGE:
      raise InputError(
        f'{path}: of another protein ({one.identity:.0%} of the aligned residues are identical, {one.coverage:.0%} of '
        'the protein are covered); give a structure of this one'
      )
    return (one,)
  return place_complex(chains, path).templates


def _whole(template: Template) -> np.ndarray:
  """The atoms of a chain; those that are not known at the CA atom, known or not."""
  known = np.flatnonzero(template.atom_mask[:, _CA])
  everyone = np.arange(len(template.aatype))
  traced = np.stack([np.interp(everyone, known, template.atom_positions[known, _CA, axis]) for axis in range(3)], -1)
  return np.where(template.atom_mask[..., None] > 0, template.atom_positions, traced[:, None]).astype(np.float32)
