# SPDX-License-Identifier: Apache-2.0
"""Many proteins of mixed lengths: what the queue makes of them, beside one protein after another.

  python benchmarks/throughput.py                                  # 100 proteins; rewrites docs/benchmarks.md
  python benchmarks/throughput.py --num-proteins 12 --max-length 96 --workers 1 --json

Lengths are drawn as those of a bacterial proteome: log-normal, half of them below 280 residues; what is longer than
--max-length or shorter than 30 is drawn again. Sequences are random, and their alignments rows of them with a third of
the residues changed. `alphafold-jax predict` runs on them once for each number of workers (several are actors on Ray
where it is installed, else child processes), with an empty folder for compiled programs. The plain loop runs on every
k-th protein by length, in one process: features, a program for exactly that length, its passes, its files.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import turns

from alphafold_jax.data import padding

_MEDIAN, _SPREAD, _SHORTEST = 280, 0.6, 30  # residues; standard deviation of the logarithm; residues
_LETTERS = np.array(list('ACDEFGHIKLMNPQRSTVWY'))
_LOOP = 'plain loop'
_FILES = ('pdb', 'mmcif', 'scores', 'plddt_plot')
_PAE_FILES = ('pae', 'pae_plot')
_COLUMNS = (
  'side',
  'proteins',
  'proteins an hour',
  'residues a second',
  'programs',
  'compiling',
  'padding of residues',
  'of pairs',
  'between passes, s each',
  'peak memory, MiB',
)


class Protein(NamedTuple):
  """One that was predicted: residues, padded residues, and seconds of its passes, the first with compiling."""

  num_res: int
  padded: int
  passes: Sequence[float]

  @property
  def compiling(self) -> float:
    return max(0.0, self.passes[0] - float(np.median(self.passes[1:])))


# --- Proteins ---


def sequences(count: int, max_length: int, seed: int) -> list[str]:
  """Random sequences whose lengths are mixed as a bacterium's."""
  rng = np.random.default_rng(seed)
  found = []
  while len(found) < count:
    num_res = round(rng.lognormal(np.log(_MEDIAN), _SPREAD))
    if _SHORTEST <= num_res <= max_length:
      found.append(''.join(rng.choice(_LETTERS, num_res)))
  return found


def write_alignments(folder: Path, queries: Sequence[str], depth: int, seed: int) -> None:
  """One A3M for each, of the query and rows like it."""
  rng = np.random.default_rng(seed)
  for index, query in enumerate(queries):
    rows = np.tile(list(query), (depth, 1))
    changed = rng.random(rows.shape) < 1 / 3
    changed[0] = False
    rows[changed] = rng.choice(_LETTERS, changed.sum())
    text = ''.join(f'>row_{row}\n{"".join(letters)}\n' for row, letters in enumerate(rows))
    (folder / f'protein_{index:03}.a3m').write_text(text)


# --- Sides ---


def queued(inputs: Path, out: Path, given: argparse.Namespace, workers: int) -> dict:
  """The command on all proteins."""
  command = [
    sys.executable,
    '-m',
    'alphafold_jax',
    'predict',
    str(inputs),
    str(out),
    '--workers',
    str(workers),
    '--model-type',
    given.model_type,
    '--num-models',
    '1',
    '--num-recycle',
    str(given.num_recycle),
    *(['--params', given.params] if given.params else []),
  ]
  seconds, peak, _ = _run(command)
  log, proteins, ended = (out / 'log.txt').read_text(), [], []
  lengths = [int(length) for length in re.findall(r'padded to ([\d, ]+) residues', log)[0].split(', ')]
  for path in sorted(out.glob('.results/*/*.npz'), key=lambda path: path.stat().st_mtime):
    with np.load(path) as arrays:
      num_res, header = len(arrays['aatype']), json.loads(arrays['__result__'].tobytes())
    padded = next(length for length in lengths if length >= num_res)
    proteins.append(Protein(num_res, padded, [one['seconds'] for one in header['passes']]))
    ended.append(path.stat().st_mtime)
  between = np.diff(ended) - [sum(protein.passes) for protein in proteins[1:]]
  host = float(np.median(between)) if workers == 1 else None
  programs = log.count('compiling for up to')
  return _figures(f'{workers} worker{"s" * (workers > 1)}', proteins, seconds, peak, host, programs)


def loop(inputs: Path, out: Path, given: argparse.Namespace) -> dict:
  """One protein after the other."""
  flags = [str(inputs), str(out), given.model_type, given.params or '', str(given.num_recycle), str(given.loop)]
  seconds, peak, output = _run([sys.executable, __file__, '--inside', *flags])
  rows = [json.loads(line) for line in output.splitlines()]
  proteins = [Protein(row['num_res'], row['num_res'], row['passes']) for row in rows]
  host = float(np.median([row['seconds'] - sum(row['passes']) for row in rows]))
  return _figures(_LOOP, proteins, seconds, peak, host, len({protein.num_res for protein in proteins}))


def loop_inside(inputs: str, out: str, model_type: str, params: str, num_recycle: str, count: str) -> None:
  """The plain loop, in its own process; prints a line of JSON for each protein."""
  import alphafold_jax as afj

  name = {'mini': 'mini', 'alphafold2': 'model_1', 'alphafold2_ptm': 'model_1_ptm'}[model_type]
  model = afj.load_model(name, params or None)
  paths = sorted(Path(inputs).glob('*.a3m'), key=lambda path: len(path.read_text()))
  exactly = mock.patch.object(padding, 'residue_bucket', lambda num_res, num_devices=1: num_res)  # nothing is padded
  for path in paths[:: max(1, len(paths) // int(count))][: int(count)]:
    start = time.perf_counter()
    with exactly:
      predicted = afj.predict(model, afj.read_queries(path)[0], name=path.stem, num_recycle=int(num_recycle))
    predicted.save(out, formats=_FILES + _PAE_FILES * model.has_pae)
    seconds, passes = time.perf_counter() - start, [one.seconds for one in predicted.passes]
    print(json.dumps({'num_res': len(predicted.sequence), 'passes': passes, 'seconds': seconds}), flush=True)


def _run(command: Sequence[str]) -> tuple[float, int, str]:
  """Seconds, peak bytes of all its processes, and what it printed; the folder for compiled programs is empty."""
  with tempfile.TemporaryDirectory() as cache, contextlib.ExitStack() as stack:
    environment = os.environ | {
      'XDG_CACHE_HOME': cache,
      'PYTHONPATH': os.pathsep.join([str(turns.ROOT), os.environ.get('PYTHONPATH', '')]),
    }
    start = time.perf_counter()
    with subprocess.Popen(
      command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
      peak = stack.enter_context(_watched(process.pid))
      output, errors = process.communicate()
    if process.returncode:
      raise SystemExit(f'{" ".join(command)} failed:\n{errors[-3000:] or output[-3000:]}')
    return time.perf_counter() - start, max(peak), output


@contextlib.contextmanager
def _watched(session: int) -> Iterator[list[int]]:
  """A list that takes up, twice a second, the bytes that all processes of a session hold."""
  held, over = [0], threading.Event()

  def watch():
    while not over.wait(0.5):
      held.append(sum(_resident(session)))

  thread = threading.Thread(target=watch)
  thread.start()
  try:
    yield held
  finally:
    over.set()
    thread.join()


def _resident(session: int) -> Iterator[int]:
  for folder in Path('/proc').glob('[0-9]*'):
    with contextlib.suppress(OSError):  # it has ended
      if int((folder / 'stat').read_text().rpartition(')')[2].split()[3]) == session:
        yield int((folder / 'statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def _figures(
  side: str, proteins: Sequence[Protein], seconds: float, peak: int, host: float | None, programs: int
) -> dict:
  num_res, padded = (np.array([getattr(protein, name) for protein in proteins]) for name in ('num_res', 'padded'))
  return {
    'side': side,
    'proteins': len(proteins),
    'seconds': seconds,
    'proteins_an_hour': 3600 * len(proteins) / seconds,
    'residues_a_second': float(num_res.sum() / seconds),
    'programs': programs,
    'compiling': sum(protein.compiling for protein in proteins) / sum(sum(protein.passes) for protein in proteins),
    'padding': 1 - float(num_res.sum() / padded.sum()),
    'pair_padding': 1 - float((num_res**2).sum() / (padded**2).sum()),
    'host_seconds': host,
    'memory_bytes': peak,
  }


# --- All sides ---


def table(sides: Sequence[dict], given: argparse.Namespace, command: str) -> str:
  """The results in Markdown."""
  lines = [
    f'{given.num_proteins} proteins of {_SHORTEST} to {given.max_length} residues, {given.depth} alignment rows '
    f'each, {given.model_type}{" with random weights" if given.params == "random" else ""}, '
    f'{given.num_recycle} recycles; {os.cpu_count()} cores; {turns.versions()}. Command: `{command}`',
    '',
    f'| {" | ".join(_COLUMNS)} |',
    '|:--|' + '--:|' * (len(_COLUMNS) - 1),
  ]
  for s in sides:
    lines.append(
      f'| {s["side"]} | {s["proteins"]} | {s["proteins_an_hour"]:.0f} | {s["residues_a_second"]:.1f} | '
      f'{s["programs"]} | {s["compiling"]:.0%} | {s["padding"]:.0%} | {s["pair_padding"]:.0%} | '
      f'{"" if s["host_seconds"] is None else format(s["host_seconds"], ".2f")} | {s["memory_bytes"] / 2**20:.0f} |'
    )
  by_name = {s['side']: s for s in sides}
  if _LOOP in by_name and '1 worker' in by_name:
    loop, one = by_name[_LOOP], by_name['1 worker']
    hidden = max(0.0, 1 - one['host_seconds'] / loop['host_seconds'])
    lines += [
      '',
      f'One worker: {one["residues_a_second"] / loop["residues_a_second"]:.1f} times the residues a second '
      f"of the loop; {hidden:.0%} of the host's time passes beside the device's.",
    ]
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--num-proteins', type=int, default=100, help='default: %(default)s')
  parser.add_argument('--max-length', type=int, default=192, help='residues (default: %(default)s)')
  parser.add_argument('--depth', type=int, default=8, help='alignment rows (default: %(default)s)')
  parser.add_argument('--seed', type=int, default=0, help='of lengths and letters (default: %(default)s)')
  parser.add_argument('--workers', type=int, nargs='*', default=(1, 2), help='numbers of workers (default: 1 2)')
  parser.add_argument('--loop', type=int, default=8, help='proteins of the plain loop; 0: none (default: %(default)s)')
  parser.add_argument(
    '--model-type',
    default='mini',
    choices=('mini', 'alphafold2', 'alphafold2_ptm'),
    help='its first model is run (default: %(default)s)',
  )
  parser.add_argument('--params', help='a parameter file or folder, or "random", which it is where mini is not there')
  parser.add_argument('--num-recycle', type=int, default=3, help='default: %(default)s')
  parser.add_argument('--json', action='store_true', help='print one JSON object per side, and write no table')
  parser.add_argument('--inside', nargs=6, help='be the plain loop')
  given = parser.parse_args()
  if given.inside:
    loop_inside(*given.inside)
    return
  from alphafold_jax.weights import shipped

  if given.params is None and given.model_type == 'mini' and not shipped.exists():
    given.params = 'random'
  with tempfile.TemporaryDirectory() as folder:
    inputs = Path(folder, 'alignments')
    inputs.mkdir()
    write_alignments(inputs, sequences(given.num_proteins, given.max_length, given.seed), given.depth, given.seed)
    sides = []
    for workers in given.workers:
      sides.append(queued(inputs, Path(folder, f'of_{workers}'), given, workers))
      print(json.dumps(sides[-1]), file=sys.stdout if given.json else sys.stderr, flush=True)
    if given.loop:
      sides.append(loop(inputs, Path(folder, 'of_loop'), given))
      print(json.dumps(sides[-1]), file=sys.stdout if given.json else sys.stderr, flush=True)
  if given.json:
    return
  text = table(sides, given, ' '.join(['python', 'benchmarks/throughput.py', *sys.argv[1:]]))
  print(text)
  if given.num_proteins >= 100:  # a smaller number is a look
    turns.write_section('throughput', text)


if __name__ == '__main__':
  main()
