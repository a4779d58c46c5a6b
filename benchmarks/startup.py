# SPDX-License-Identifier: Apache-2.0
"""The time before a prediction's first pass: compiling in a first process, and in one that comes after it.

  python benchmarks/startup.py                     # 32 residues; rewrites docs/benchmarks.md

Each process starts with nothing in memory; the first with an empty folder for compiled programs, the second with what
the first left there. Both run in turns, and the smallest of each stage counts. What compiling takes is the first pass
and the preparation before it less a later pass, on the clock on the wall.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import turns


def one_process(num_res: int, depth: int, model_name: str) -> dict[str, float]:
  """Predicts once, with compiled programs kept where the environment says; seconds of each stage."""
  start = time.perf_counter()
  import numpy as np

  import alphafold_jax as afj
  from alphafold_jax import devices
  from alphafold_jax.data import alignment, features

  predict = afj.predict  # whose modules are loaded when it is first asked for
  devices.use_compilation_cache()
  imported = time.perf_counter()
  model = afj.load_model(model_name, 'random')
  loaded = time.perf_counter()
  rng = np.random.default_rng(0)
  rows = (''.join(rng.choice(list('ACDEFGHIKLMNPQRSTVWY'), num_res)) for _ in range(depth))
  text = ''.join(f'>{index}\n{row}\n' for index, row in enumerate(rows))
  batch = features.make_batch(alignment.parse_a3m(text, 'random rows'), num_templates=0)
  began = time.perf_counter()
  passes = predict(model, batch, num_recycle=2).passes
  seconds = time.perf_counter() - began
  later = min(one.seconds for one in passes[1:])
  return {
    'import': imported - start,
    'parameters': loaded - imported,
    'compiling': seconds - len(passes) * later,
    'pass': later,
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--num-res', type=int, default=32, help='residues (default: %(default)s)')
  parser.add_argument('--depth', type=int, default=8, help='alignment rows (default: %(default)s)')
  parser.add_argument('--model', default='model_5_ptm', help='default: %(default)s')
  parser.add_argument('--turns', type=int, default=3, help='of both processes (default: %(default)s)')
  parser.add_argument('--json', action='store_true', help='print one JSON object, and write no table')
  parser.add_argument('--inside', action='store_true', help='be one of the processes')
  given = parser.parse_args()
  if given.inside:
    print(json.dumps(one_process(given.num_res, given.depth, given.model)))
    return
  runs = [both(given) for _ in range(given.turns)]
  sides = {side: {stage: min(run[side][stage] for run in runs) for stage in runs[0][side]} for side in runs[0]}
  report(given, sides)


def both(given: argparse.Namespace) -> dict[str, dict[str, float]]:
  """A process with an empty cache and one after it."""
  sides = {}
  with tempfile.TemporaryDirectory() as cache:
    environment = os.environ | {
      'XDG_CACHE_HOME': cache,
      'PYTHONPATH': os.pathsep.join([str(turns.ROOT), os.environ.get('PYTHONPATH', '')]),
    }
    for side in ('first', 'second'):
      done = subprocess.run(
        [
          sys.executable,
          __file__,
          '--inside',
          '--num-res',
          str(given.num_res),
          '--depth',
          str(given.depth),
          '--model',
          given.model,
        ],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
      )
      sides[side] = json.loads(done.stdout.splitlines()[-1])
  return sides


def report(given: argparse.Namespace, sides: dict[str, dict[str, float]]) -> None:
  """Prints the seconds of each stage, and writes their table."""
  if given.json:
    print(json.dumps(sides))
    return
  stages = list(sides['first'])
  lines = [
    f'{given.model}, {given.num_res} residues, {given.depth} alignment rows. {turns.versions()}. Command: '
    f'`{" ".join(["python", "benchmarks/startup.py", *sys.argv[1:]])}`',
    '',
    f'| process | {", s | ".join(stages)}, s |',
    '|:--|' + '--:|' * len(stages),
  ]
  for side, seconds in sides.items():
    lines.append(f'| {side} | {" | ".join(f"{seconds[stage]:.2f}" for stage in stages)} |')
  share = sides['second']['compiling'] / sides['first']['compiling']
  text = '\n'.join(
    [
      *lines,
      '',
      f'Compiling in the second process takes {share:.1%} of that in the first.',
    ]
  )
  print(text)
  turns.write_section('startup', text)


if __name__ == '__main__':
  main()
