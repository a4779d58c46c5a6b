# SPDX-License-Identifier: Apache-2.0
"""Small folders of structures and alignments, and training caches made of them."""

from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.training.cache import TrainingCache, open_cache
from alphafold_jax.data.training.cache_building import build_cache

_BACKBONE = {'N': (1.46, 0.0, 0.0), 'CA': (2.3, 0.2, 0.1), 'C': (1.9, 0.9, 1.2), 'O': (2.5, 1.5, 2.1)}


def random_sequence(rng: np.random.Generator, num_res: int) -> str:
  return ''.join(rng.choice(list(residues.RESTYPES), num_res))


def pdb_text(sequence: str, b_factors=None, missing=(), numbers=None) -> str:
  """A helix of backbone atoms, 1.5 Å and 100 degrees per residue; `missing` residues are left out."""
  lines = []
  for i, letter in enumerate(sequence):
    if i in missing or letter == 'X':
      continue
    turn = np.deg2rad(100 * i)
    for name, (radius, angle, rise) in _BACKBONE.items():
      x, y, z = radius * np.cos(turn + angle), radius * np.sin(turn + angle), 1.5 * i + rise
      number = i + 1 if numbers is None else numbers[i]
      b = 20.0 if b_factors is None else b_factors[i]
      lines.append(
        f'ATOM  {1:>5} {name:^4} {residues.RESTYPE_1TO3[letter]:>3} A{number:>4}    '
        f'{x:8.3f}{y:8.3f}{z:8.3f}{1:6.2f}{b:6.2f}          {name[0]:>2}'
      )
  return '\n'.join([*lines, 'END', ''])


def write_structures(folder: Path, sequences: dict[str, str]) -> Path:
  folder.mkdir(parents=True, exist_ok=True)
  for name, sequence in sequences.items():
    (folder / f'{name}.pdb').write_text(pdb_text(sequence))
  return folder


def write_alignments(folder: Path, sequences: dict[str, str], depth: int, seed: int = 0) -> Path:
  """Rows with a third of their letters drawn anew, some gaps and some insertions."""
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  letters = np.array([*residues.RESTYPES, '-'])
  for name, sequence in sequences.items():
    rows = [f'>query\n{sequence}']
    for k in range(depth - 1):
      row = np.where(rng.random(len(sequence)) < 0.3, rng.choice(letters, len(sequence)), list(sequence))
      at = int(rng.integers(1, len(sequence)))
      rows.append(f'>row{k}\n{"".join(row[:at])}{"ag" * (k % 2)}{"".join(row[at:])}')
    (folder / f'{name}.a3m').write_text('\n'.join(rows) + '\n')
  return folder


def make_cache(folder: Path, sequences: dict[str, str], depth: int = 1, **options) -> TrainingCache:
  """A cache of helices, with alignments if `depth` is above 1."""
  structures = write_structures(folder / 'structures', sequences)
  if depth > 1:
    options['alignments'] = write_alignments(folder / 'alignments', sequences, depth)
  build_cache(structures, folder / 'cache', processes=1, **options)
  return open_cache(folder / 'cache')


def write_table(path: Path, rows: list[dict[str, object]]) -> Path:
  names = list(rows[0])
  path.write_text('\n'.join([','.join(names), *(','.join(str(row[n]) for n in names) for row in rows)]) + '\n')
  return path


def damage(path: Path) -> None:
  """Overwrites some bytes of a cache's first record."""
  content = bytearray((path / 'records.array_record').read_bytes())
  content[200:264] = bytes(64)
  (path / 'records.array_record').write_bytes(content)
