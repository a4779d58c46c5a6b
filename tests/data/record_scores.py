# SPDX-License-Identifier: Apache-2.0
"""Records what other programs say of the structures in tests/score_cases.py, in recorded_scores.json beside this file.

    pip install tmtools biotite        # TM-align; lDDT
    apt-get install tm-align           # the TM-score program
    PYTHONPATH=tests python tests/data/record_scores.py

TM-align finds its own alignment, so that is recorded too: the score is compared for the same pairs of residues.
"""

import importlib.metadata
import json
import re
import subprocess
import tempfile
from pathlib import Path

import biotite.structure as struc
import numpy as np
import score_cases
import tmtools

from alphafold_jax.constants import residues


def tm_align(predicted: np.ndarray, true: np.ndarray) -> dict[str, object]:
  """TM-align's TM-score, by the length of the true chain, and the predicted residue it laid on each true one, or -1."""
  sequence = 'A' * len(true)
  result = tmtools.tm_align(predicted, true, sequence, sequence)
  place, pairs = -1, []
  for mine, their in zip(result.seqxA, result.seqyA, strict=True):
    place += mine != '-'
    if their != '-':
      pairs.append(place if mine != '-' else -1)
  return {'tm_score': result.tm_norm_chain2, 'aligned': pairs}


def tm_score(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
  """What the TM-score program prints."""
  with tempfile.TemporaryDirectory() as folder:
    paths = [_write_pdb(Path(folder) / name, points) for name, points in (('model.pdb', predicted), ('true.pdb', true))]
    text = subprocess.run(['TMscore', *paths], capture_output=True, text=True, check=True).stdout
  patterns = {'tm_score': r'TM-score\s*=\s*([\d.]+)', 'gdt_ts': r'GDT-TS-score=\s*([\d.]+)',
              'gdt_ha': r'GDT-HA-score=\s*([\d.]+)', 'rmsd': r'RMSD of  the common residues=\s*([\d.]+)'}  # fmt: skip
  return {name: float(re.search(pattern, text)[1]) for name, pattern in patterns.items()}


def _write_pdb(path: Path, points: np.ndarray) -> str:
  lines = [
    f'ATOM  {i:>5}  CA  ALA A{i:>4}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C'
    for i, (x, y, z) in enumerate(points, start=1)
  ]
  path.write_text('\n'.join([*lines, 'TER', 'END', '']))
  return str(path)


def all_atom_lddt(predicted: np.ndarray, true: np.ndarray, mask: np.ndarray) -> float:
  """lDDT of the atoms in a mask [N, 37]; biotite takes atom names as they are."""
  residue, column = np.nonzero(mask)

  def atoms(positions):
    array = struc.AtomArray(len(residue))
    array.coord = positions[residue, column]
    array.res_id, array.chain_id[:] = residue + 1, 'A'
    array.res_name[:] = 'ALA'
    array.atom_name = np.array(residues.ATOM_TYPES)[column]
    return array

  return float(struc.lddt(atoms(true), atoms(predicted)))


def main() -> None:
  cases = {}
  for name, (predicted, true) in score_cases.ca_cases().items():
    cases[name] = {'tm_align': tm_align(predicted, true), 'tm_score_program': tm_score(predicted, true)}
    print(name, cases[name]['tm_align']['tm_score'], cases[name]['tm_score_program'])
  predicted, true, mask = score_cases.plain_atoms()
  lddt = all_atom_lddt(predicted, true, mask)
  print('lDDT', lddt)
  versions = {name: importlib.metadata.version(name) for name in ('tmtools', 'biotite')}
  content = {'programs': versions | {'TMscore': _tm_score_version()}, 'ca_cases': cases, 'plain_atoms': {'lddt': lddt}}
  Path(__file__).with_name('recorded_scores.json').write_text(_dumped(content))


def _dumped(content: object) -> str:
  """JSON with a line for each entry, but lists of numbers on one."""
  text = json.dumps(content, indent=1)
  return re.sub(r'\[[-\d,\s]+\]', lambda found: ' '.join(found[0].split()), text) + '\n'


def _tm_score_version() -> str:
  found = subprocess.run(['dpkg-query', '-W', '-f', '${Version}', 'tm-align'], capture_output=True, text=True)
  return found.stdout or 'unknown'


if __name__ == '__main__':
  main()
