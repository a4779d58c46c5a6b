# SPDX-License-Identifier: Apache-2.0
"""Complexes whose scores are tested: real ones (data/complexes), and others made of them by closed formulas."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import score_cases

from alphafold_jax.constants import residues
from alphafold_jax.data.structures import Chain, read_chains
from alphafold_jax.evaluation import aligning, comparing

COMPLEXES = score_cases.DATA / 'complexes'
LIMITS = aligning.Limits(min_identity=0.9, min_coverage=0.5)
# The operators of 1EXB's assembly, about its fourfold axis
FOURFOLD = [np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
AXIS = np.array([0.0, 50.3625, 0.0])  # Å, where it crosses the plane z = 0


@functools.cache
def read(name: str) -> tuple[Chain, ...]:
  """The chains of a file in data/complexes."""
  return tuple(read_chains(COMPLEXES / name).values())


def compared(predicted: Sequence[Chain], true: Sequence[Chain]) -> comparing.ChainComparison:
  return comparing.ChainComparison(predicted, true, LIMITS)


def placed(chain: Chain, rotation: np.ndarray, shift: Sequence[float] = (0, 0, 0), name: str | None = None) -> Chain:
  """A chain turned, then shifted (Å)."""
  positions = (chain.atom_positions.astype(np.float64) @ np.asarray(rotation).T + shift) * chain.atom_mask[..., None]
  return dataclasses.replace(chain, atom_positions=positions.astype(np.float32), id=name or chain.id)


def disturbed(chain: Chain, size: float, period: float = 23) -> Chain:
  """A chain whose residues are moved by waves along it, of a size (Å) and a period (residues)."""
  wave = score_cases.shaken(np.zeros((len(chain.sequence), 3)), size, period)[:, None]
  positions = (chain.atom_positions + wave) * chain.atom_mask[..., None]
  return dataclasses.replace(chain, atom_positions=positions.astype(np.float32))


def moved(chains: Sequence[Chain], seed: int = 0) -> list[Chain]:
  """A complex after one rotation and one shift."""
  draw = np.random.default_rng(seed)
  rotation, _ = np.linalg.qr(draw.normal(size=(3, 3)))
  rotation *= np.linalg.det(rotation)
  shift = draw.normal(scale=20, size=3)
  return [placed(chain, rotation, shift) for chain in chains]


def oxyhaemoglobin() -> list[Chain]:
  """The tetramer of 1HHO, whose file has one half of it."""
  alpha, beta = read('1HHO.pdb.gz')
  turn = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
  return [alpha, placed(alpha, turn, name='B'), dataclasses.replace(beta, id='C'), placed(beta, turn, name='D')]


def octamers() -> tuple[list[Chain], list[Chain]]:
  """A prediction of 1EXB's assembly A4B4, and the assembly; each chain of the prediction is off in its own way."""
  true = [placed(placed(chain, np.eye(3), -AXIS), turn, name='ABCDEFGH'[4 * kind + copy])
          for kind, chain in enumerate(read('1EXB.pdb.gz')) for copy, turn in enumerate(FOURFOLD)]  # fmt: skip
  predicted = []
  for i, chain in enumerate(true):
    angle = np.radians(3 * i)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    predicted.append(placed(disturbed(chain, 0.3 + 0.1 * i), turn, np.array([0.2 * i, -0.1 * i, 0.3 * i])))
  order = [6, 2, 1, 7, 0, 3, 5, 4]
  return [dataclasses.replace(predicted[i], id='ABCDEFGH'[k]) for k, i in enumerate(order)], true


def octahedron() -> list[Chain]:
  """24 copies of a small chain, each turned by one of the 24 rotations of a cube."""
  small = score_cases.chain('1aie_A')
  centre = score_cases.ca_of(small).mean(axis=0)
  signs = itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3))
  turns = [np.eye(3)[list(order)] * np.array(sign)[:, None] for order, sign in signs]
  rotations = [turn for turn in turns if np.linalg.det(turn) > 0]
  at_home = placed(small, np.eye(3), (20, 11, 5) - centre)
  return [placed(at_home, turn, name=chr(ord('A') + i)) for i, turn in enumerate(rotations)]


def write(path: Path, chains: Sequence[Chain]) -> Path:
  """A complex as PDB file, its residues numbered from 1 in each chain."""
  lines = []
  for chain in chains:
    for i, letter in enumerate(chain.sequence):
      residue = residues.RESTYPE_1TO3[letter]
      for column in np.flatnonzero(chain.atom_mask[i]):
        name, (x, y, z) = residues.ATOM_TYPES[column], chain.atom_positions[i, column]
        lines.append(
          f'ATOM  {len(lines) + 1:5d}  {name:<3} {residue} {chain.id}{i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00'
          f'{chain.b_factors[i]:6.2f}          {name[0]:>2}'
        )
    lines.append('TER')
  path.write_text('\n'.join([*lines, 'END', '']))
  return path
