# SPDX-License-Identifier: Apache-2.0
"""All that waits for a GPU, in one command that a short loan of one is enough for.

  benchmarks/gpu_day.sh                                 # nine minutes, into gpu_day/ or $OUT
  benchmarks/gpu_day.sh --minutes 5 --out gpu_day       # goes on with what is missing there
  benchmarks/gpu_day.sh --rehearse                      # on a CPU, at toy sizes
  python benchmarks/gpu_day.py --table gpu_day --write  # its results into docs/benchmarks.md

The parts stand in PARTS in the order of their worth, each with its share of the minutes; what one leaves goes to the
next. A part that hangs is ended with its children, one that fails is recorded, and the next goes on. Every result is a
line of results.jsonl at once, so that a cut-off costs only what follows. Exit code 0: all that could run here did.

Needs beyond JAX's own packages: gpu_day_requirements.txt, which says how to carry them to a machine without internet.
What is missing is named, and the rest runs.
"""

import argparse
import datetime
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import gpu_day_table
import turns
from gpu_day_runner import FAILED, FOLDER, MISSING, NOT_STARTED, SECONDS, STOPPED, Part, Record, Step, read, run

_HERE = Path(__file__).resolve().parent
_PACKAGES = (
  'jax',
  'jaxlib',
  'dm-haiku',
  'numpy',
  'optax',
  'alphafold-colabfold',
  'colabfold-kernels',
  'cuequivariance-jax',
  'triton',
  'grain',
  'orbax-checkpoint',
)
_SHARE_OF_MEMORY = 0.95  # that the longest chain may take
_FAST_COMPILING = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'  # every XLA knows them


@dataclass(frozen=True)
class Sizes:
  """How large everything is."""

  on_gpu: bool
  kernels: tuple[int, int]  # residues, alignment rows
  num_res: tuple[int, ...]  # beside the peer
  lengths: tuple[int, ...]  # of chains, of which the longest that runs is looked for
  crops: tuple[int, ...]  # of a training step
  num_msa: int
  num_extra: int
  num_extra_of_training: int
  num_block: int
  passes: int  # timed ones
  proteins: int  # small ones
  longest: int  # of them, residues
  predict: str = ''  # flags for the small proteins
  training: str = ''  # settings of `train_mini`
  steps: int = 0  # of `train_mini`; 0: until its time is over


FULL = Sizes(
  on_gpu=True,
  kernels=(256, 128),
  num_res=(384, 1024, 2048),
  lengths=(2048, 3072, 4096, 5120, 6144, 7168, 8192),
  crops=(256,),
  num_msa=512,
  num_extra=5120,
  num_extra_of_training=1024,
  num_block=48,
  passes=2,
  proteins=32,
  longest=64,
  predict='--model-type alphafold2_ptm --params random',
)
TOY = Sizes(
  on_gpu=False,
  kernels=(16, 8),
  num_res=(16,),
  lengths=(16, 24),
  crops=(16,),
  num_msa=8,
  num_extra=16,
  num_extra_of_training=16,
  num_block=1,
  passes=1,
  proteins=2,
  longest=16,
  predict='--model-type mini --num-recycle 0',
  training='model.evoformer.num_block=1 model.structure.num_layer=1 data.crop_size=16 step.max_passes=1 '
  'run.log_every=1 step.batch_size=1',
  steps=3,
)


def parts(sizes: Sizes) -> tuple[Part, ...]:
  """The table of the day: what is done, in which order, and its minutes of the default nine."""
  return (
    Part('smoke test', 0.4, (_own('smoke', sizes),)),
    Part('kernels', 1.1, _kernels(sizes)),
    Part('beside the peer', 1.6, _beside_peer(sizes)),
    Part('longest chain', 0.4, (_longest(sizes),)),
    Part('training step', 1.1, _training_step(sizes)),
    Part('small proteins', 0.4, (_small_proteins(sizes),)),
    Part('train_mini', 4.0, (_train_mini(sizes),)),
  )


def _script(name: str, *flags: Any) -> tuple[str, ...]:
  return (sys.executable, str(_HERE / name), *map(str, flags))


def _own(step: str, sizes: Sizes, *flags: Any) -> Step:
  rehearse = () if sizes.on_gpu else ('--rehearse',)
  return Step(step, _script('gpu_day_steps.py', step, *rehearse, *flags), needs=('jax', 'haiku'))


def _kernels(sizes: Sizes) -> tuple[Step, ...]:
  num_res, num_rows = sizes.kernels
  flags = ('--num-res', num_res, '--num-rows', num_rows, '--dtype', 'bfloat16', '--gradients', '--json')
  every = Step('every kernel', _script('kernels.py', *flags), needs=('jax', 'haiku'), share=0.85)
  return (every, _own('kernels_chosen', sizes, '--results', FOLDER)._replace(always=True))


def _beside_peer(sizes: Sizes) -> tuple[Step, ...]:
  """Ours and the peer's kernels at all sizes, then the peer without them."""
  first, then = ('ours', 'peer, its kernels'), ('peer, subbatch_size 4',)
  order = [(side, num_res) for num_res in sizes.num_res for side in first]
  order += [(side, num_res) for num_res in sizes.num_res for side in then]
  return tuple(_side('predict_vs_alphafold.py', side, num_res, sizes.num_extra, sizes) for side, num_res in order)


def _training_step(sizes: Sizes) -> tuple[Step, ...]:
  order = [(side, crop) for crop in sizes.crops for side in ('ours', 'peer', 'ours, whole step')]
  return tuple(_side('train_step.py', side, crop, sizes.num_extra_of_training, sizes) for side, crop in order)


def _side(script: str, side: str, num_res: int, num_extra: int, sizes: Sizes) -> Step:
  """One side of a benchmark at one size, in a process of its own."""
  num_msa = min(sizes.num_msa, 128) if script == 'train_step.py' else sizes.num_msa
  flags = ['--side', side, '--num-res', num_res, '--num-msa', num_msa, '--num-extra', num_extra]
  flags += ['--num-block', sizes.num_block, '--passes', sizes.passes]
  flags += ['--dtype', 'bfloat16'] if script == 'predict_vs_alphafold.py' else []
  return Step(
    f'{side} at {num_res}',
    _script(script, *flags),
    facts={'side': side, 'num_res': num_res},
    needs=('jax', 'haiku', *(('alphafold',) if side.startswith('peer') else ())),
    absent='these kernels need a GPU' if 'kernels' in side and not sizes.on_gpu else None,
    environment={'JAX_ENABLE_COMPILATION_CACHE': 'false'},
  )


def _longest(sizes: Sizes) -> Step:
  flags = ('--lengths', *sizes.lengths, '--share-of-memory', _SHARE_OF_MEMORY, '--seconds', SECONDS)
  flags += ('--num-msa', sizes.num_msa, '--num-extra', sizes.num_extra, '--num-block', min(sizes.num_block, 2))
  environment = {'XLA_PYTHON_CLIENT_MEM_FRACTION': str(_SHARE_OF_MEMORY)}
  return _own('longest', sizes, *flags)._replace(environment=environment)


def _small_proteins(sizes: Sizes) -> Step:
  flags = ('--proteins', sizes.proteins, '--longest', sizes.longest, f'--flags={sizes.predict}')
  step = _own('small_proteins', sizes, *flags)
  return step._replace(needs=(*step.needs, 'gemmi', 'modelcif'))


def _train_mini(sizes: Sizes) -> Step:
  flags = (f'--settings={sizes.training}', '--steps', sizes.steps, '--seconds', SECONDS)
  step = _own('train_mini', sizes, *flags)
  return step._replace(needs=(*step.needs, 'grain', 'array_record', 'orbax.checkpoint', 'gemmi'))


# --- The day ---


def conditions() -> dict[str, Any]:
  """The machine, its driver, the versions and the date."""
  gpu = _output('nvidia-smi', '--query-gpu=name,driver_version,memory.total', '--format=csv,noheader')
  cuda = sorted(
    f'{name} {one.version}'
    for one in metadata.distributions()
    if (name := one.metadata['Name'] or '').startswith(('nvidia-', 'jax-cuda'))
  )
  return {
    'gpu': gpu or 'none that nvidia-smi shows',
    'processors': turns.machine(),
    'python': sys.version.split()[0],
    'packages': {name: _version(name) for name in _PACKAGES},
    'cuda': cuda,
    'commit': _output('git', '-C', str(turns.ROOT), 'rev-parse', '--short', 'HEAD'),
    'date': datetime.date.today().isoformat(),
  }


def _version(package: str) -> str | None:
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return None


def _output(*command: str) -> str:
  try:
    return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
  except (OSError, subprocess.TimeoutExpired):
    return ''


def _record_conditions(record: Record, minutes: float, rehearse: bool) -> None:
  """Writes down where and with what the day begins.

  Raises:
    SystemExit: the folder has results of another machine, other versions or another kind of day.
  """
  now = conditions() | {'rehearsal': rehearse}
  for line in read(record.results.parent):
    if before := line.get('conditions'):
      changed = [key for key in now if key != 'date' and before.get(key) != now[key]]
      if changed:
        raise SystemExit(
          f'{record.results} has results with another {", ".join(changed)}; name another folder by --out'
        )
  record.add(conditions=now, minutes=minutes)
  for key, value in now.items():
    words = [f'{name} {version or "MISSING"}' for name, version in value.items()] if isinstance(value, dict) else value
    record.log(f'{key}: {", ".join(words) if isinstance(words, list) else words}')


def day(sizes: Sizes, minutes: float, folder: Path, chosen: list[str]) -> int:
  """Runs the chosen parts; returns the exit code."""
  record = Record(folder)
  _record_conditions(record, minutes, rehearse=not sizes.on_gpu)
  with tempfile.TemporaryDirectory() as cache:
    os.environ.update(_environment(cache, sizes.on_gpu))
    went = []
    try:
      for status in run([part for part in parts(sizes) if part.name in chosen], minutes, record):
        went.append(status)
        (folder / 'table.md').write_text(gpu_day_table.table(read(folder)) + '\n', encoding='utf-8')
    except KeyboardInterrupt:
      record.log('interrupted; what was measured is kept')
      return 1
  failed, missing = (sum(status in some for status in went) for some in ((FAILED, STOPPED, NOT_STARTED), (MISSING,)))
  record.log(
    f'{len(went)} steps: {failed} failed, were stopped or not started, {missing} cannot run here; {folder / "table.md"}'
  )
  return int(failed > 0 or missing == len(went) > 0)


def _environment(cache: str, on_gpu: bool) -> dict[str, str]:
  """Of all steps: they share a new cache, so that kernels are tried, and programs compiled, anew, but once."""
  environment = {
    'PYTHONPATH': os.pathsep.join([str(turns.ROOT), os.environ.get('PYTHONPATH', '')]),
    'PYTHONUNBUFFERED': '1',
    'XDG_CACHE_HOME': cache,
  }
  if not on_gpu:
    flags = f'{os.environ.get("XLA_FLAGS", "")} {_FAST_COMPILING}'.strip()
    environment |= {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags}
  return environment


def _interrupt(number: int, frame: FrameType | None) -> None:
  raise KeyboardInterrupt


def main() -> None:
  names = [part.name for part in parts(FULL)]
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--minutes', type=float, help='that it may take (default: 9; of a rehearsal 30, if need be)')
  parser.add_argument('--rehearse', action='store_true', help='at toy sizes, on a CPU')
  parser.add_argument('--out', type=Path, default=Path(os.environ.get('OUT') or 'gpu_day'), help='default: %(default)s')
  parser.add_argument('--parts', nargs='+', choices=names, default=names, help='only these')
  parser.add_argument('--table', type=Path, metavar='FOLDER', help='print the table of these results, and run nothing')
  parser.add_argument('--write', action='store_true', help='with --table: also write it into docs/benchmarks.md')
  given = parser.parse_args()
  if given.table:
    text = gpu_day_table.table(read(given.table))
    print(text)
    if given.write:
      turns.write_section('gpu_day', text)
    return
  signal.signal(signal.SIGTERM, _interrupt)
  minutes = given.minutes or (30.0 if given.rehearse else 9.0)
  sys.exit(day(TOY if given.rehearse else FULL, minutes, given.out, given.parts))


if __name__ == '__main__':
  main()
