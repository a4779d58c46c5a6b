# SPDX-License-Identifier: Apache-2.0
"""The steps of gpu_day.py that no other benchmark has, each a command of its own that prints lines of JSON.

python benchmarks/gpu_day_steps.py smoke|kernels_chosen|longest|small_proteins|train_mini [flags]
"""

import argparse
import csv
import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gpu_day_runner
import turns

_SAVING = 15.0  # seconds that a run of training gets to save itself
_PARAMETERS = 93_000_000  # of model_5_ptm
_LETTERS = 'ACDEFGHIKLMNPQRSTVWY'


def say(**result: Any) -> None:
  """Prints one result."""
  print(json.dumps(result), flush=True)


# --- Smoke test ---


def smoke(given: argparse.Namespace) -> None:
  """JAX and Haiku on the device: a matrix product, a Haiku module and its gradient, and the device's rates."""
  import flops
  import haiku as hk
  import jax
  import jax.numpy as jnp

  device = jax.devices()[0]
  stats = device.memory_stats() or {}
  say(check='device', platform=device.platform, kind=device.device_kind, bytes_limit=stats.get('bytes_limit'))
  x = jax.random.normal(jax.random.key(0), (128, 128))
  off = float(jnp.max(jnp.abs(jax.jit(jnp.dot)(x, x) - jnp.dot(x, x, precision='highest'))))
  say(check='matrix product', off=off)

  def module(x):
    return hk.Linear(8)(jax.nn.relu(hk.LayerNorm(-1, True, True)(hk.Linear(64)(x))))

  network = hk.without_apply_rng(hk.transform(module))
  params = network.init(jax.random.key(1), x)
  value, gradients = jax.jit(jax.value_and_grad(lambda params: jnp.mean(network.apply(params, x) ** 2)))(params)
  norm = math.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradients)))
  say(check='Haiku module', value=float(value), gradient_norm=norm)
  say(check='rates', **flops.rates())
  if not (off < 1 and math.isfinite(norm) and norm > 0):
    raise SystemExit(f'wrong numbers: a matrix product is off by {off}, the norm of a gradient is {norm}')
  if device.platform == 'cpu' and not given.rehearse:
    raise SystemExit('JAX computes on the CPU: it sees no GPU')


def kernels_chosen(given: argparse.Namespace) -> None:
  """The kernels that predictions choose by the trials of this day, which are kept for the processes that follow.

  Nothing is tried anew, so that a kernel that hangs does so once.
  """
  from alphafold_jax import tuning
  from alphafold_jax.ops import seam

  fields = {field.name for field in dataclasses.fields(tuning.Trial)}
  lines = [line for line in gpu_day_runner.read(given.results) if 'operation' in line]
  trials = [tuning.Trial(**{name: line[name] for name in fields}) for line in lines]
  trials = [trial for trial in trials if trial.row != seam.REFERENCE]  # which keeps to no budget of memory
  nothing = [tuning.Trial(name, seam.EVERYWHERE, reason='not tried') for name in seam.OPERATIONS]
  say(chosen=tuning.keep(trials or nothing))


# --- The longest chain ---


def longest(given: argparse.Namespace) -> None:
  """One pass of ever longer chains, until memory or time ends, from the longest that the planner would take.

  Few blocks are enough: they run one after another, and need the memory of all.
  """
  ends, lengths = time.monotonic() + given.seconds, sorted(given.lengths)
  memory = _memory() * given.share_of_memory
  planned = max((length for length in lengths if _planned_bytes(length, given) <= memory), default=lengths[0])
  say(planned=planned, memory_bytes=memory)
  at = lengths.index(planned)
  if _one_pass(lengths[at], ends, given):
    for length in lengths[at + 1 :]:
      if not _one_pass(length, ends, given):
        return
  else:
    for length in reversed(lengths[:at]):
      if _one_pass(length, ends, given):
        return


def _one_pass(num_res: int, ends: float, given: argparse.Namespace) -> bool:
  """Whether a chain of this length runs, which is printed; SystemExit if it fails in another way than expected."""
  import predict_vs_alphafold

  left = ends - time.monotonic()
  if left < 1:
    say(num_res=num_res, num_block=given.num_block, ended='no time left')
    return False
  case = predict_vs_alphafold.Case(num_res, given.num_msa, given.num_extra, given.num_block, given.dtype)
  command = turns.side_command(predict_vs_alphafold.__file__, 'ours', case, passes=0)
  try:
    done = subprocess.run(command, env=turns.side_environment(), capture_output=True, text=True, timeout=left)
  except subprocess.TimeoutExpired:
    say(num_res=num_res, num_block=given.num_block, ended=f'no end after {left:.0f} s')
    return False
  if not done.returncode:
    say(num_res=num_res, num_block=given.num_block, **json.loads(done.stdout.splitlines()[-1]))
    return True
  if 'RESOURCE_EXHAUSTED' not in done.stderr and 'out of memory' not in done.stderr.lower():
    raise SystemExit(done.stderr[-2000:])
  say(num_res=num_res, num_block=given.num_block, ended='out of memory')
  return False


def _planned_bytes(num_res: int, given: argparse.Namespace) -> int:
  from alphafold_jax import config as configs
  from alphafold_jax import planning
  from alphafold_jax.model import alphafold

  changes = {'sampling.num_msa': given.num_msa, 'sampling.num_extra': given.num_extra, 'dtype': given.dtype}
  spec = alphafold.make_spec(configs.changed(configs.model_config('model_5_ptm'), changes))
  return planning.pass_bytes(spec, num_res, given.num_msa + given.num_extra, 0, _PARAMETERS)


def _memory() -> int:
  """Bytes of the GPU, or of the host where there is none; JAX would take the GPU from the processes that follow."""
  from alphafold_jax import machine

  query = ['nvidia-smi', '--query-gpu=memory.total', '--format=csv,noheader,nounits']
  try:
    said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    return int(said.split()[0]) * 2**20
  except (OSError, ValueError, IndexError, subprocess.CalledProcessError):
    return machine.free_bytes() or 0


# --- Small proteins ---


def small_proteins(given: argparse.Namespace) -> None:
  """`predict` on many small proteins, together if it can and one by one, compiling and then not."""
  help_text = _alphafold_jax(['predict', '--help'])
  ways = {'one by one': ['--batch', '1'], 'together': ['--batch', 'auto']}
  if '--batch' not in help_text:
    say(side='together', missing='predict has no --batch')
    ways = {'one by one': []}
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, 'small.fasta')
    path.write_text(''.join(f'>p{i}\n{sequence}\n' for i, sequence in enumerate(_sequences(given))))
    for side, flags in reversed(ways.items()):
      for run in ('with compiling', 'without'):
        flags_of_run = [*flags, '--overwrite-existing-results'] if run == 'without' else flags
        start = time.perf_counter()
        _alphafold_jax(['predict', str(path), str(Path(folder, side)), *_SMALL, *given.flags, *flags_of_run])
        seconds = time.perf_counter() - start
        say(side=side, run=run, proteins=given.proteins, seconds=seconds, per_hour=3600 * given.proteins / seconds)


_SMALL = ['--msa-mode', 'single_sequence', '--skip-output', 'plots', '--num-models', '1', '--quiet']


def _sequences(given: argparse.Namespace) -> list[str]:
  """Random ones, each a residue shorter than the one before, down to three quarters of the longest."""
  rng, span = random.Random(0), max(1, given.longest // 4)
  return [''.join(rng.choices(_LETTERS, k=given.longest - index % span)) for index in range(given.proteins)]


def _alphafold_jax(arguments: Sequence[str]) -> str:
  """Runs the program; what it printed."""
  command = [sys.executable, '-m', 'alphafold_jax', *arguments]
  done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  if done.returncode:
    raise SystemExit(f'{" ".join(command)} failed:\n{done.stdout[-2000:]}')
  return done.stdout


# --- Training the small model ---


def train_mini(given: argparse.Namespace) -> None:
  """The recipe of the model that ships, on the structures of the tests, until the time is over; then it is saved."""
  ends = time.monotonic() + given.seconds - _SAVING
  with tempfile.TemporaryDirectory() as folder:
    data, run = Path(folder, 'data'), Path(folder, 'run')
    structures = str(turns.ROOT / 'tests' / 'data')
    _alphafold_jax(['dataset', structures, str(data), '--msas', structures, '--couplings', '--quiet'])
    settings = ['run.log_every=5', 'run.validate_every=0', *given.settings]
    command = [sys.executable, '-m', 'alphafold_jax', 'train', str(run), '--data', str(data), '--quiet']
    command += ['--experiment', 'train_mini', *(word for one in settings for word in ('--config', one))]
    with subprocess.Popen(command, stdout=sys.stderr) as process:
      _watch(process, run / 'metrics.csv', ends, given.steps)
      if process.poll() is None:
        process.send_signal(signal.SIGTERM)
      code = process.wait()
    lines = _metrics(run / 'metrics.csv')
    saved = sorted(int(path.name) for path in run.glob('checkpoints/*') if path.name.isdigit())
    say(progress='end', checkpoint=saved[-1] if saved else None, **_speed(lines))
  if code or not lines or not saved:
    raise SystemExit(f'training ended with exit code {code}, {len(lines)} lines of numbers and checkpoints {saved}')


def _watch(process: subprocess.Popen, path: Path, ends: float, steps: int) -> None:
  """Prints a run's speed as it goes, until it ends, the time is over or so many steps are taken."""
  told = 0
  while process.poll() is None and time.monotonic() < ends:
    lines = _metrics(path)
    if len(lines) > told:
      told = len(lines)
      say(progress='running', **_speed(lines))
    if steps and lines and int(lines[-1]['step']) >= steps:
      return
    time.sleep(2)


def _metrics(path: Path) -> list[dict[str, str]]:
  if not path.exists():
    return []
  with path.open(encoding='utf-8', newline='') as file:
    return [line for line in csv.DictReader(file) if None not in line.values()]


def _speed(lines: Sequence[dict[str, str]]) -> dict[str, float]:
  if not lines:
    return {}
  last = lines[-1]
  return {
    'samples': int(last['samples']),
    'samples_per_hour': round(3600 * float(last['samples_per_second']), 1),
    'loss': float(last['loss']),
  }


# --- Command line ---

STEPS = {step.__name__: step for step in (smoke, kernels_chosen, longest, small_proteins, train_mini)}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('step', choices=list(STEPS))
  parser.add_argument('--rehearse', action='store_true', help='on a CPU')
  parser.add_argument('--seconds', type=float, default=240, help='that the step may take')
  parser.add_argument('--lengths', type=int, nargs='+', default=(), help='longest: the chains to try')
  parser.add_argument('--share-of-memory', type=float, default=0.95, help='longest: of the device')
  parser.add_argument('--results', type=Path, help='kernels_chosen: the folder of the day')
  parser.add_argument('--num-msa', type=int, default=512)
  parser.add_argument('--num-extra', type=int, default=5120)
  parser.add_argument('--num-block', type=int, default=48)
  parser.add_argument('--dtype', default='bfloat16')
  parser.add_argument('--proteins', type=int, default=16, help='small_proteins: how many')
  parser.add_argument('--longest', type=int, default=64, help='small_proteins: residues')
  parser.add_argument('--flags', type=str.split, default=[], help='small_proteins: more flags of predict')
  parser.add_argument('--settings', type=str.split, default=[], help='train_mini: KEY=VALUE to change')
  parser.add_argument('--steps', type=int, default=0, help='train_mini: after which to stop')
  given = parser.parse_args()
  os.environ.setdefault('PYTHONPATH', str(turns.ROOT))
  STEPS[given.step](given)


if __name__ == '__main__':
  main()
