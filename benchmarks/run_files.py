# SPDX-License-Identifier: Apache-2.0
"""What the files of a run take, pictures and page included, beside the passes that they are made of.

  python benchmarks/run_files.py                      # 128, 256 and 600 residues; rewrites docs/benchmarks.md
  python benchmarks/run_files.py --lengths 64 --json  # a look

`alphafold-jax predict` runs with five seeds of `mini`, of one block, random weights and no recycles: the files of five
such predictions are as many and as large as those of any five. Their seconds are those of a core in the threads that
write, the predictions that are kept for resuming among them. Longer proteins than `--longest-run`, which take a CPU too
long, are made up: the files of five of that size are written by the same functions, without a run.

A run of five published models with three recycles has 20 passes; beside one pass of such a model on this machine, by
the run's own record, stands how short a pass must be for the files to be a tenth of 20.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import host_work
import numpy as np
import throughput
import turns

from alphafold_jax.constants import residues
from alphafold_jax.data.structures import read_chain
from alphafold_jax.output import files, record

_LETTERS = np.frombuffer(b'ACDEFGHIKLMNPQRSTVWY', np.uint8)
_ROWS = 256  # of the alignment
_PASSES = 20  # of an ordinary run: five models, three recycles
_SHARE = 0.1  # of a run that its files may take
_FIVE = ('--model-type', 'mini', '--num-seeds', '5', '--num-recycle', '0')
_FORMATS = ('pdb', 'mmcif', 'scores', 'pae', 'coverage_plot', 'plddt_plot', 'pae_plot', 'chimerax', 'pymol', 'page')
_ENTRY = turns.ROOT / 'tests' / 'data' / 'AF-P01112-F1-model_v4.cif.gz'
_PUBLISHED = ('--model-type', 'alphafold2_ptm', '--num-models', '1', '--num-recycle', '1')


def measured(num_res: int, is_passed: bool, repeats: int, folder: Path) -> dict[str, Any]:
  """Seconds and sizes of the files of a protein; and seconds of a pass of a published model, if it is passed."""
  inputs, found = folder / 'inputs', []
  inputs.mkdir()
  small = [text for row in host_work.SMALL for text in ('--config', row)]
  query = np.random.default_rng(0).choice(_LETTERS, num_res).tobytes().decode()
  throughput.write_alignments(inputs, [query], _ROWS, 0)
  for turn in range(repeats):
    out = folder / f'out_{turn}'
    found.append(_run(inputs, out, folder, [*_FIVE, *small]))
  sizes = [path.stat().st_size for path in out.glob('protein_*')]
  least = min(found, key=lambda spent: spent['all files'])
  kinds = {name: seconds for name, seconds in least.items() if name not in ('all files', 'features')}
  result = {
    'num_res': num_res,
    'files': len(sizes),
    'bytes': sum(sizes),
    'page_bytes': next(out.glob('protein_*.html')).stat().st_size,
    'seconds': least['all files'],
    'kinds': dict(sorted(kinds.items(), key=lambda kind: -kind[1])),
  }
  if is_passed:
    _run(inputs, folder / 'published', folder, [*_PUBLISHED, '--skip-output', 'plots,report'])
    result['pass_seconds'] = _pass_seconds(folder / 'published')
  return result


def made_up(num_res: int, repeats: int, folder: Path) -> dict[str, Any]:
  """The same of predictions that are made up: a chain of AlphaFold DB as often as it takes, noise as PAE."""
  report, found = _made_up(num_res), []
  for turn in range(repeats):
    out, kinds = folder / f'out_{turn}', {}
    out.mkdir()
    for kind in _FORMATS:
      start = time.process_time()
      files.write(report, out, [kind])
      kinds[kind] = time.process_time() - start
    sizes = [path.stat().st_size for path in out.iterdir()]
    start = time.process_time()
    for one in report.predictions:
      np.savez_compressed(out / f'{one.tag}.npz', **one.arrays)
    kinds['kept'] = time.process_time() - start
    found.append(kinds)
  least = min(found, key=lambda kinds: sum(kinds.values()))
  return {
    'num_res': num_res,
    'files': len(sizes),
    'bytes': sum(sizes),
    'page_bytes': next(out.glob('*.html')).stat().st_size,
    'seconds': sum(least.values()),
    'kinds': dict(sorted(least.items(), key=lambda kind: -kind[1])),
    'is_made_up': True,
  }


def _made_up(num_res: int) -> record.Report:
  chain, rng = read_chain(_ENTRY), np.random.default_rng(0)
  aatype = np.array([residues.LETTER_TO_TOKEN[letter] for letter in chain.sequence])
  copy, place = np.divmod(np.arange(num_res), len(aatype))
  far = np.abs(np.subtract.outer(np.arange(num_res), np.arange(num_res))) ** 0.5
  predictions = []
  for number in range(1, 6):
    arrays = {
      'aatype': aatype[place],
      'residue_index': np.arange(num_res),
      'asym_id': np.ones(num_res, int),
      'atom_positions': chain.atom_positions[place] + 60 * copy[:, None, None] + rng.normal(0, 0.05, (num_res, 37, 3)),
      'atom_mask': chain.atom_mask[place],
      'plddt': rng.uniform(30, 95, num_res),
      'pae': (far + 5 * rng.random(far.shape)).clip(0, 31),
    }
    arrays = {name: value.astype(np.float32) if value.dtype == float else value for name, value in arrays.items()}
    predictions.append(files.Prediction('protein', 'protein', f'model_{number}_ptm', 0, 60.0, 0.5, (), arrays))
  tokens = np.where(rng.random((_ROWS, num_res)) < 0.5, rng.integers(0, 22, (_ROWS, num_res)), aatype[place])
  tokens[0] = aatype[place]
  return record.Report('protein', predictions, [one.tag for one in predictions], tokens)


def _run(inputs: Path, out: Path, cache: Path, flags: Sequence[str]) -> dict[str, float]:
  """Runs the command; returns the seconds of a core that its threads spent, by what for."""
  return host_work.run(['predict', str(inputs), str(out), '--params', 'random', '--quiet', *flags], cache)


def _pass_seconds(out: Path) -> float:
  """Of the last pass of a run, in which nothing is compiled."""
  with np.load(next(out.glob('.results/*/*.npz'))) as arrays:
    return json.loads(arrays['__result__'].tobytes())['passes'][-1]['seconds']


def table(rows: Sequence[dict[str, Any]], command: str) -> str:
  """The results in Markdown."""
  lines = [
    f'Five predictions of one protein, {_ROWS} alignment rows. {turns.machine()}; {turns.versions()}. '
    f'Command: `{command}`',
    '',
    '| residues | files | MB | page, MB | files, s of a core | of these the longest, s '
    f'| a tenth of {_PASSES} passes of, s | a pass here, s | share of {_PASSES} |',
    '|--:|--:|--:|--:|--:|:--|--:|--:|--:|',
  ]
  for row in rows:
    seconds = row['seconds']
    kinds = ', '.join(f'{name} {value:.2f}' for name, value in list(row['kinds'].items())[:3])
    here, share, made = '-', '-', ', made up' if 'is_made_up' in row else ''
    if 'pass_seconds' in row:
      here, share = f'{row["pass_seconds"]:.1f}', f'{seconds / (_PASSES * row["pass_seconds"]):.2%}'
    lines.append(
      f'| {row["num_res"]}{made} | {row["files"]} | {row["bytes"] / 1e6:.1f} | {row["page_bytes"] / 1e6:.2f} '
      f'| {seconds:.2f} | {kinds} | {seconds / (_SHARE * _PASSES):.2f} | {here} | {share} |'
    )
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--lengths', type=int, nargs='+', default=[128, 256, 600], help='residues (default: %(default)s)')
  parser.add_argument('--repeats', type=int, default=3, help='runs, of which the least counts (default: %(default)s)')
  said = 'residues up to which `predict` runs (default: %(default)s)'
  parser.add_argument('--longest-run', type=int, default=256, help=said)
  said = 'residues up to which a pass of a published model is timed (default: %(default)s)'
  parser.add_argument('--longest-pass', type=int, default=128, help=said)
  parser.add_argument('--json', action='store_true', help='print one JSON object for each length, and write no table')
  given = parser.parse_args()
  rows = []
  for num_res in given.lengths:
    with tempfile.TemporaryDirectory() as folder:
      if num_res > given.longest_run:
        rows.append(made_up(num_res, given.repeats, Path(folder)))
      else:
        rows.append(measured(num_res, num_res <= given.longest_pass, given.repeats, Path(folder)))
    print(json.dumps(rows[-1]), flush=True)
  if not given.json:
    text = table(rows, ' '.join(['python', 'benchmarks/run_files.py', *sys.argv[1:]]))
    print(text)
    turns.write_section('files of a run', text)


if __name__ == '__main__':
  main()
