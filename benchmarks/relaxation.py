# SPDX-License-Identifier: Apache-2.0
"""The protocols of relaxation beside each other: time, clashes, violations, and how far atoms are moved.

  python benchmarks/relaxation.py                     # rewrites the table of docs/relaxation.md
  python benchmarks/relaxation.py model.pdb --json    # structures of your own; prints

The structures: an entry of AlphaFold DB, its first 60 residues with two side chains pushed into others, and what the
small model makes of the example. Each is relaxed by each protocol in turns, on OpenMM's CPU platform with all
processors.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gemmi
import turns

from alphafold_jax import machine, relaxation

PAGE = turns.ROOT / 'docs' / 'relaxation.md'
ENTRY = turns.ROOT / 'tests' / 'data' / 'AF-P01112-F1-model_v4.cif.gz'
EXAMPLE = turns.ROOT / 'examples' / '4zey_A.a3m'
SIDES: dict[str, dict[str, Any]] = {
  'official': {'protocol': 'official'},
  'fast': {'protocol': 'fast'},
  'fast, no solvent': {'protocol': 'fast', 'implicit_solvent': False},
}
_PUSHED = ((20, 55, 0.8), (39, 56, 0.7))  # a residue, whose side chain is moved onto another, by a share of the way


def structures(folder: Path) -> dict[str, Path]:
  """The structures by what they are."""
  found = {'189 residues of AlphaFold DB (P01112)': ENTRY}
  whole = gemmi.read_structure(str(ENTRY))
  chain = whole[0][0]
  for number in range(len(chain) - 1, 59, -1):
    del chain[number]
  for pushed, onto, share in _PUSHED:
    way = chain[onto]['CA'][0].pos - chain[pushed]['CA'][0].pos
    for atom in chain[pushed]:
      if atom.name not in ('N', 'CA', 'C', 'O', 'CB'):
        atom.pos = atom.pos + way * share
  whole.write_pdb(str(folder / 'pushed.pdb'))
  found['its first 60, two side chains pushed into others'] = folder / 'pushed.pdb'
  out = folder / 'mini'
  command = [
    sys.executable,
    '-m',
    'alphafold_jax',
    'predict',
    str(EXAMPLE),
    str(out),
    '--model-type',
    'mini',
    '--quiet',
  ]
  subprocess.run([*command, '--skip-output', 'plots,report'], check=True)
  found['84 residues by the small model (4ZEY), which clashes'] = next(out.glob('*_rank_001_*.pdb'))
  return found


def measured(path: Path, repeats: int) -> dict[str, dict[str, float]]:
  """What each protocol makes of a structure; seconds and r.m.s.d. are medians, the rest that of the last."""
  records: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
  for _ in range(repeats):
    for side, settings in SIDES.items():
      records[side].append(dict(relaxation.relax(path, **settings).record))
  return {side: _summed(found) for side, found in records.items()}


def _summed(records: Sequence[dict[str, Any]]) -> dict[str, float]:
  last = records[-1]
  return {
    'seconds': statistics.median(record['seconds'] for record in records),
    'cpu_seconds': statistics.median(record['cpu_seconds'] for record in records),
    'rounds': len(last['rounds']),
    'clashes_before': last['violations_before']['clashes'],
    'clashes': last['violations_after']['clashes'],
    'violating_before': last['violating_residues_before'],
    'violating': int(last['remaining_violations_count']),
    'rmsd': statistics.median(record['rmsd_heavy_atoms'] for record in records),
    'rmsd_ca': statistics.median(record['rmsd_ca'] for record in records),
  }


def table(found: dict[str, dict[str, dict[str, float]]], repeats: int, command: str) -> str:
  """The results in Markdown."""
  lines = [
    f"OpenMM's CPU platform, {machine.num_processors()} threads; {turns.machine()}; "
    f'{turns.versions("openmm", "pdbfixer")}; medians of {repeats}. Command: `{command}`',
    '',
    '| structure | protocol | s | s of CPU | rounds | clashes | violating residues | r.m.s.d., heavy atoms | CA |',
    '|:--|:--|--:|--:|--:|--:|--:|--:|--:|',
  ]
  for name, sides in found.items():
    for side, one in sides.items():
      lines.append(
        f'| {name} | {side} | {one["seconds"]:.1f} | {one["cpu_seconds"]:.1f} | {one["rounds"]} | '
        f'{one["clashes_before"]} to {one["clashes"]} | {one["violating_before"]} to {one["violating"]} | '
        f'{one["rmsd"]:.3f} Å | {one["rmsd_ca"]:.3f} Å |'
      )
      name = ''
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('files', nargs='*', type=Path, help='structures, in the place of those above')
  parser.add_argument('--repeats', type=int, default=3, help='default: %(default)s')
  parser.add_argument('--json', action='store_true', help='print JSON, and write no table')
  given = parser.parse_args()
  os.environ.setdefault('OPENMM_CPU_THREADS', str(machine.num_processors()))
  with tempfile.TemporaryDirectory() as name:
    chosen = {path.name: path for path in given.files} or structures(Path(name))
    found = {}
    for said, path in chosen.items():
      found[said] = measured(path, given.repeats)
      print(json.dumps({said: found[said]}), flush=True)
  if given.json:
    return
  text = table(found, given.repeats, ' '.join(['python', 'benchmarks/relaxation.py', *sys.argv[1:]]))
  print(text)
  if not given.files:
    turns.write_section('relaxation', text, PAGE)


if __name__ == '__main__':
  main()
