# SPDX-License-Identifier: Apache-2.0
"""What surrounds the network: files and features of small proteins, and features of a deep alignment.

  python benchmarks/host_work.py                                   # 200 proteins; rewrites docs/benchmarks.md
  python benchmarks/host_work.py --num-proteins 30 --small --json  # a look

`alphafold-jax predict` runs on random sequences of 24 to 32 residues, with one model and no recycles, with pictures and
without, each in a process of its own that finds its compiled programs. The share is what of the time between the first
protein's end and the last one's is in no pass of the network, so was not hidden behind the device; once more without
proteins that took ten times as long as most, since a program was compiled or read for them. Milliseconds are
those of one core, in the threads that do the host's work. Then an A3M text of 10,000 rows of 500 residues is made a
batch, beside passes over its letters that read it, and that look each letter up in a table.
"""

import argparse
import collections
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import throughput
import turns

_LENGTHS = 24, 33
SMALL = ('evoformer.num_block=1', 'extra_msa.num_block=1', 'structure.num_layer=2')
_LETTERS = np.frombuffer(b'ACDEFGHIKLMNPQRSTVWY', np.uint8)
_SIDES = {'with pictures': [], 'without': ['--skip-output', 'plots']}


# --- Small proteins ---


def small_proteins(given: argparse.Namespace, folder: Path, inputs: Path, flags: Sequence[str]) -> dict[str, Any]:
  """Seconds of the run and of its passes, the share of the rest, and milliseconds a protein by what they are for."""
  network = [flag for row in SMALL if given.small for flag in ('--config', row)]
  common = ['--model-type', given.model_type, '--params', 'random', '--num-models', '1', '--num-recycle', '0', *network]
  out = Path(tempfile.mkdtemp(dir=folder))
  spent = run(['predict', str(inputs), str(out), *common, *flags], folder)
  ended, passes = [], []
  for path in sorted(out.glob('.results/*/*.npz'), key=lambda path: path.stat().st_mtime):
    with np.load(path) as arrays:
      passes.append(sum(one['seconds'] for one in json.loads(arrays['__result__'].tobytes())['passes']))
    ended.append(path.stat().st_mtime)
  gaps, device = np.diff(ended), np.array(passes[1:])
  usual = gaps < 10 * np.median(gaps)  # in the others a program was compiled or read
  each = {name: 1000 * seconds / len(ended) for name, seconds in sorted(spent.items())}
  shares = {
    name: max(0.0, 1 - float(device[which].sum() / gaps[which].sum()))
    for name, which in {'share': usual | True, 'usual_share': usual}.items()
  }
  return {'seconds': float(gaps.sum()), 'device_seconds': float(device.sum()), **shares, 'milliseconds': each}


def _write_inputs(folder: Path, count: int) -> Path:
  """Alignments of eight rows."""
  folder.mkdir()
  rng = np.random.default_rng(0)
  queries = [rng.choice(_LETTERS, length).tobytes().decode() for length in rng.integers(*_LENGTHS, count)]
  throughput.write_alignments(folder, queries, 8, 0)
  return folder


def run(arguments: Sequence[str], cache: Path) -> dict[str, float]:
  """Runs the command in a process of its own; returns the seconds that its threads spent."""
  environment = os.environ | {
    'XDG_CACHE_HOME': str(cache),
    'PYTHONPATH': os.pathsep.join([str(turns.ROOT), os.environ.get('PYTHONPATH', '')]),
  }
  command = [sys.executable, __file__, '--inside', *arguments]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
  if done.returncode:
    raise SystemExit(f'{" ".join(command)} failed:\n{done.stderr[-3000:]}')
  return json.loads(done.stdout.splitlines()[-1])


def run_inside(arguments: Sequence[str]) -> int:
  """The command, with the time of its threads; prints JSON."""
  from alphafold_jax import cli
  from alphafold_jax.output import files
  from alphafold_jax.runs.fleet import beside, predicting

  spent: collections.Counter[str] = collections.Counter()

  def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **options: Any) -> Any:
      start = time.thread_time()
      try:
        return function(*given, **options)
      finally:
        spent[name] += time.thread_time() - start

    return call

  rows = {name: dataclasses.replace(row, render=timed(name, row.render)) for name, row in files.FORMATS.items()}
  with (
    mock.patch.dict(files.FORMATS, rows),
    mock.patch.object(beside.Behind, '_do', timed('all files', beside.Behind._do)),
    mock.patch.object(predicting.work, 'load', timed('features', predicting.work.load)),
  ):
    code = cli.main(list(arguments))
  print(json.dumps(spent))
  return code


# --- A deep alignment ---


def deep_a3m(depth: int, num_res: int) -> bytes:
  """Rows with gaps at their ends and a few insertions."""
  rng = np.random.default_rng(0)
  query = rng.choice(_LETTERS, num_res)
  records = [b'>query\n' + query.tobytes()]
  for row in range(1, depth):
    letters = np.where(rng.random(num_res) < rng.uniform(0.1, 0.8), rng.choice(_LETTERS, num_res), query)
    begin, end = np.sort(rng.integers(0, num_res + 1, 2))
    letters[: begin // 2] = letters[(end + num_res) // 2 :] = ord('-')
    places = rng.integers(0, num_res, rng.integers(0, 6))
    letters = np.insert(letters, places, rng.choice(_LETTERS, len(places)) + 32)
    records.append(b'>UniRef100_%06d a cluster n=%d Tax=Bacteria\n%s' % (row, row, letters.tobytes()))
  return b'\n'.join(records) + b'\n'


def deep_alignment(depth: int, num_res: int, folder: Path) -> dict[str, float]:
  """Seconds of each step from a file to a padded batch, the least of three."""
  from alphafold_jax.data import alignment, alignment_files, features, padding, records

  path = folder / 'deep.a3m'
  path.write_bytes(content := deep_a3m(depth, num_res))
  table = np.zeros(256, np.int32)
  text = records.decode(content, 'a3m')
  parsed = alignment.parse_a3m(text, 'a3m')
  batch = features.make_batch(parsed)
  features.save_features(folder / 'deep.npz', batch)
  sizes = {'num_res': padding.residue_bucket(num_res), 'num_seq': padding.msa_depth_bucket(depth)}
  return {
    'floor: reading the file': _least(path.read_bytes),
    'floor: a table over its letters': _least(lambda: table[np.frombuffer(content, np.uint8)]),
    'check at the start of a run': _least(lambda: alignment_files.checked_query(content, 'a3m')),
    'parse': _least(lambda: alignment.parse_a3m(alignment_files.as_a3m(content, 'a3m'), 'a3m')),
    'batch': _least(lambda: features.make_batch(parsed)),
    'pad': _least(lambda: padding.pad_batch(batch, sizes)),
    'read features of --msa-only': _least(lambda: features.load_features(folder / 'deep.npz')),
  }


def _least(function: Callable[[], Any]) -> float:
  seconds = []
  for _ in range(3):
    start = time.perf_counter()
    function()
    seconds.append(time.perf_counter() - start)
  return min(seconds)


# --- All ---


def table(sides: dict[str, dict], deep: dict[str, float], given: argparse.Namespace, command: str) -> str:
  """The results in Markdown."""
  lines = [
    f'{given.num_proteins} proteins of {_LENGTHS[0]} to {_LENGTHS[1] - 1} residues, {given.model_type} with random '
    f'weights{", one block" if given.small else ""}; {os.cpu_count()} cores; {turns.versions()}. Command: `{command}`',
    '',
    '| files | seconds | in passes | not hidden | without compiling | milliseconds of a core a protein |',
    '|:--|--:|--:|--:|--:|:--|',
  ]
  for name, side in sides.items():
    each = ', '.join(f'{part} {value:.1f}' for part, value in side['milliseconds'].items())
    shares = f'{side["share"]:.0%} | {side["usual_share"]:.0%}'
    lines.append(f'| {name} | {side["seconds"]:.1f} | {side["device_seconds"]:.1f} | {shares} | {each} |')
  rows = f'{given.depth:,} rows of {given.num_res} residues'
  lines += ['', f'| features of {rows} | seconds |', '|:--|--:|']
  return '\n'.join(lines + [f'| {name} | {seconds:.3f} |' for name, seconds in deep.items()])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--num-proteins', type=int, default=200, help='default: %(default)s')
  parser.add_argument('--model-type', default='mini', choices=('mini', 'alphafold2', 'alphafold2_ptm'))
  parser.add_argument('--small', action='store_true', help='one block of each kind')
  parser.add_argument('--depth', type=int, default=10_000, help='alignment rows (default: %(default)s)')
  parser.add_argument('--num-res', type=int, default=500, help='residues of the deep alignment (default: %(default)s)')
  parser.add_argument('--json', action='store_true', help='print one JSON object, and write no table')
  parser.add_argument('--inside', nargs=argparse.REMAINDER, help='be the run')
  given = parser.parse_args()
  if given.inside:
    sys.exit(run_inside(given.inside))
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    few, all_of_them = _write_inputs(folder / 'few', 20), _write_inputs(folder / 'all', given.num_proteins)
    small_proteins(given, folder, few, _SIDES['without'])  # fills the cache of compiled programs
    sides = {side: small_proteins(given, folder, all_of_them, flags) for side, flags in _SIDES.items()}
    deep = deep_alignment(given.depth, given.num_res, folder)
  if given.json:
    print(json.dumps({**sides, 'deep': deep}))
    return
  text = table(sides, deep, given, ' '.join(['python', 'benchmarks/host_work.py', *sys.argv[1:]]))
  print(text)
  if given.num_proteins >= 200 and not given.small:  # less is a look
    turns.write_section('host work', text)


if __name__ == '__main__':
  main()
