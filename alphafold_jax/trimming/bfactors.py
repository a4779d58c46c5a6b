# SPDX-License-Identifier: Apache-2.0
"""Expected errors and B-factors from pLDDT, by published formulas; the table is at the foot.

A mean square error along three axes corresponds to a B-factor of 8 pi^2 / 3 times it.
"""

import math
from collections.abc import Callable

import numpy as np

MOST_IN_PDB = 999.99  # Å², what the B-factor's column of a PDB file holds
_PER_SQUARE = 8 * math.pi**2 / 3  # B-factor of a mean square error of 1 Å²
_MOST_RMSD = 20.0  # Å; Phenix
_VRMS_INTERCEPT = 0.25  # Å; Phenix, vrms_from_rmsd_intercept
_MRPARSE_FLAT = 657.97  # Å², of an error of 5 Å: MrParse's for a pLDDT of 50 or less


def expected_rmsd(plddt: np.ndarray) -> np.ndarray:
  """The expected error of residues: 1.5 exp(4 (0.7 - pLDDT / 100)).

  Args:
    plddt: [...] 0 to 100; what is beyond counts as the nearer end.

  Returns:
    [...] Å: 1.5 where pLDDT is 70.

  Source: phenix.process_predicted_model (cctbx, `get_rmsd_from_plddt`).
  """
  fraction = np.clip(np.asarray(plddt, np.float64) / 100, 0, 1)
  return 1.5 * np.exp(4 * (0.7 - fraction))


def vrms(plddt: np.ndarray) -> float:
  """The error of a whole model that Phaser is told, in Å: 0.25 + the mean expected error of its residues.

  Args:
    plddt: [num_res] 0 to 100, of the residues of the model.

  Source: phenix.process_predicted_model (cctbx, `get_vrms_list`, with an intercept of 0.25 and a slope of 1).
  """
  return _VRMS_INTERCEPT + float(np.mean(expected_rmsd(plddt)))


def phenix(plddt: np.ndarray) -> np.ndarray:  # [...] 0..100 -> [...] Å²
  """B-factors of the expected errors, of which the largest count as 20 Å (cctbx, `get_b_values_rmsd`)."""
  return _PER_SQUARE * np.minimum(expected_rmsd(plddt), _MOST_RMSD) ** 2


def mrparse(plddt: np.ndarray) -> np.ndarray:  # [...] 0..100 -> [...] Å²
  """MrParse's B-factors: of an error of 0.6 / p^3, p = pLDDT / 100; the same for all p of 0.5 or less."""
  fraction = np.clip(np.asarray(plddt, np.float64) / 100, 0, 1)
  above = np.minimum(_PER_SQUARE * (0.6 / np.maximum(fraction, 0.5) ** 3) ** 2, MOST_IN_PDB)
  return np.where(fraction <= 0.5, _MRPARSE_FLAT, above)


def keep(plddt: np.ndarray) -> np.ndarray:  # [...] 0..100 -> [...] 0..100
  """pLDDT itself, for programs that make B-factors of it themselves."""
  return np.asarray(plddt, np.float64)


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {'phenix': phenix, 'mrparse': mrparse, 'keep': keep}
