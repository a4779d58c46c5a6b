# SPDX-License-Identifier: Apache-2.0
"""Pairs of structures whose scores were recorded from other programs (data/record_scores.py) and are tested.

Predictions are one of AlphaFold DB, and true structures bent or shaken by closed formulas, so that they are the same
everywhere.
"""

from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.structures import Chain, read_chain

DATA = Path(__file__).parent / 'data'
CA = residues.ATOM_INDEX['CA']


def chain(name: str) -> Chain:
  return read_chain(DATA / f'{name}.cif.gz', 'A' if name == '4zey' else None)


def ca_of(one: Chain) -> np.ndarray:
  """Resolved CA positions [N, 3]."""
  return one.atom_positions[one.atom_mask[:, CA] > 0, CA].astype(np.float64)


def shaken(points: np.ndarray, size: float, period: float) -> np.ndarray:  # [N, 3] Å
  """Points moved by waves along the chain, of a size (Å) and a period (residues)."""
  phase = 2 * np.pi * np.arange(len(points))[:, None] / period + np.array([0.0, 2.1, 4.4])
  return points + size * np.sin(phase) + 0.3 * size * np.cos(2.7 * phase)


def bent(points: np.ndarray, degrees: float, at: float) -> np.ndarray:  # [N, 3] Å
  """Points of which the part behind a share of the chain is turned about the z-axis through the hinge."""
  hinge = int(at * len(points))
  angle = np.radians(degrees)
  turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
  result = points.copy()
  result[hinge:] = (points[hinge:] - points[hinge]) @ turn.T + points[hinge]
  return result


def hras() -> tuple[Chain, Chain]:
  """A prediction of 189 residues and an experiment (1CTQ) that has the first 166 of them."""
  return chain('AF-P01112-F1-model_v4'), chain('1ctq_A')


def ca_cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Predicted and true CA positions [N, 3] each, one to one."""
  predicted, true = map(ca_of, hras())
  small, large = ca_of(chain('4zey')), ca_of(chain('1u5y_D'))
  length = min(len(small), len(large))
  return {
    'HRAS, AlphaFold DB against 1CTQ': (predicted[: len(true)], true),
    '1U5Y shaken a little': (shaken(large, 1.0, 23), large),
    '1U5Y shaken': (shaken(large, 3.0, 31), large),
    '1U5Y shaken much': (shaken(large, 6.0, 17), large),
    '1U5Y bent by 40 degrees': (bent(large, 40, 0.5), large),
    '4ZEY bent by 90 degrees at a third': (bent(small, 90, 1 / 3), small),
    '4ZEY shaken and bent': (bent(shaken(small, 2.0, 11), 25, 0.6), small),
    '4ZEY against the first residues of 1U5Y': (large[:length], small[:length]),
    'HRAS mirrored': (true * np.array([1, 1, -1]), true),
  }


def plain_atoms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Predicted and true atoms [N, 37, 3] of HRAS and those [N, 37] that both have and whose names are certain."""
  predicted, true = hras()
  length = len(true.sequence)
  mask = true.atom_mask * predicted.atom_mask[:length]
  doubtful = {'OD1', 'OD2', 'OE1', 'OE2', 'CD1', 'CD2', 'CE1', 'CE2', 'CG1', 'CG2', 'NH1', 'NH2', 'OXT'}
  mask = mask * ~np.isin(residues.ATOM_TYPES, list(doubtful))
  return predicted.atom_positions[:length].astype(np.float64), true.atom_positions.astype(np.float64), mask


def dense_lddt(predicted, predicted_mask, true, true_mask, group=None) -> float:
  """The definition, written out over all pairs of atoms of different residues, or of different groups [N]."""
  residue, column = np.nonzero(true_mask)
  a, b = predicted[residue, column].astype(np.float64), true[residue, column].astype(np.float64)
  there = predicted_mask[residue, column] > 0
  true_distances = np.linalg.norm(b[:, None] - b, axis=-1)
  off = np.abs(np.linalg.norm(a[:, None] - a, axis=-1) - true_distances)
  owner = residue if group is None else group[residue]
  counted = (true_distances < 15) & (owner[:, None] != owner)
  kept = np.mean([(off < t) & there[:, None] & there for t in (0.5, 1, 2, 4)], axis=0)
  return float(kept[counted].mean())
