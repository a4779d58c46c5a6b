# SPDX-License-Identifier: Apache-2.0
"""A chain of two real domains, as in EGFR: human HRAS, its floppy end as a linker, and the protein of PDB entry 4ZEY.

HRAS has the pLDDT of its AlphaFold DB entry; pLDDT of the second domain, the place of it, and the PAE are made up.
"""

from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.structures import Chain, read_chains
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.record import Pass

DATA = Path(__file__).parent / 'data'
FIRST, SECOND = 'AF-P01112-F1-model_v4.cif.gz', '4zey.cif.gz'
BORDER = 189  # residues of the first domain and the linker
LOOP = range(20, 32)  # residues of the second domain that are not sure
APART = 22.0  # Å of PAE
_SHIFT = 60.0  # Å


def linked(begin: int = 0) -> Prediction:
  """The prediction, without so many residues at its beginning."""
  first, second = (next(iter(read_chains(DATA / name).values())) for name in (FIRST, SECOND))
  seen = second.atom_mask[:, residues.ATOM_INDEX['CA']] > 0
  plddt = np.concatenate([first.b_factors, np.where(np.isin(np.arange(seen.sum()), LOOP), 55.0, 91.0)])
  arrays = {
    'aatype': np.array([residues.LETTER_TO_TOKEN[letter] for letter in _letters(first, second, seen)]),
    'atom_positions': np.concatenate([first.atom_positions, second.atom_positions[seen] + np.float32([_SHIFT, 0, 0])]),
    'atom_mask': np.concatenate(
      [first.atom_mask * (np.arange(37) != residues.ATOM_INDEX['OXT']), second.atom_mask[seen]]
    ),
    'plddt': plddt.astype(np.float32),
    'residue_index': np.arange(len(plddt)),
    'asym_id': np.ones(len(plddt), int),
    'pae': _pae(plddt),
  }
  arrays = {name: values[begin:] for name, values in arrays.items()} | {'pae': arrays['pae'][begin:, begin:]}
  return Prediction(
    'linked', 'linked', 'model_1_ptm', 0, float(plddt.mean()), 0.5, (Pass(0, 80.0, 0.5, 1.0, 2.0),), arrays
  )


def _letters(first: Chain, second: Chain, seen: np.ndarray) -> str:
  return first.sequence + ''.join(letter for letter, there in zip(second.sequence, seen, strict=True) if there)


def _pae(plddt: np.ndarray) -> np.ndarray:  # [num_res, num_res] Å
  """Small within a domain, large between them and around residues of low pLDDT; not symmetric."""
  side = np.arange(len(plddt)) < BORDER
  pae = np.where(side[:, None] == side, 2.0, APART)
  unsure = np.where(plddt < 70, (100 - plddt) / 4, 0)
  pae = pae + unsure[:, None] + 1.2 * unsure + np.random.default_rng(0).uniform(0, 1, pae.shape)
  np.fill_diagonal(pae, 0.2)
  return np.minimum(pae, 31.0).astype(np.float32)
