# SPDX-License-Identifier: Apache-2.0
"""Training examples made per second, beside those that a training step takes.

  python benchmarks/feeding.py                        # on two real entries from tests/data
  python benchmarks/feeding.py --data CACHE           # on a training set of yours
  python benchmarks/feeding.py --step-seconds 0.9 --batch-size 8

`--step-seconds` is the time of one step on one device, as benchmarks/train_step.py prints it; the last column is then
how many times faster examples come than the step takes them: above 1, training never waits for data.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from alphafold_jax.data.training.cache import TrainingCache, open_cache
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.data.training.feeding import batches
from alphafold_jax.data.training.training_set import DataSpec, TrainingSet

TEST_DATA = Path(__file__).parents[1] / 'tests' / 'data'
SPECS = {  # the data sections of experiments.py
  'train_mini': DataSpec(
    crop_size=64, num_rows=128, num_templates=2, single_sequence_fraction=0.15, couplings_fraction=0.9
  ),
  'train_initial': DataSpec(crop_size=256, num_rows=2048, num_templates=4),
  'train_initial, no templates': DataSpec(crop_size=256, num_rows=2048, num_templates=0),
  'train_finetune, no templates': DataSpec(crop_size=384, num_rows=10_240, num_templates=0),
}


def small_cache(folder: Path) -> TrainingCache:
  """Two real chains, one with a real alignment."""
  structures = [TEST_DATA / '4zey.cif.gz', TEST_DATA / '1u5y_D.cif.gz']
  build_cache(structures, folder / 'cache', alignments=TEST_DATA / '4zey_A.a3m.gz', couplings=True, processes=1)
  return open_cache(folder / 'cache')


def milliseconds(function, repeats: int) -> tuple[float, float]:
  """Median and 95th percentile of one call, for arguments 0, 1, ..."""
  times = []
  for i in range(repeats):
    start = time.perf_counter()
    function(i)
    times.append(1e3 * (time.perf_counter() - start))
  return float(np.median(times)), float(np.percentile(times, 95))


def rate(examples: TrainingSet, num_threads: int, num_batches: int) -> float:
  """Examples per second from the iterator, without the first batch."""
  feed = batches(examples, stop=num_batches + 1, num_threads=num_threads)
  next(feed)
  start = time.perf_counter()
  for _ in feed:
    pass
  return num_batches * examples.batch_size / (time.perf_counter() - start)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--data', type=Path, nargs='*', help='training caches')
  parser.add_argument('--batch-size', type=int, default=8, help='examples a step takes on this host')
  parser.add_argument('--step-seconds', type=float, help='time of one step')
  parser.add_argument('--examples', type=int, default=400, help='number of examples timed')
  given = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    caches = [open_cache(path) for path in given.data] if given.data else [small_cache(Path(folder))]
    cores = len(os.sched_getaffinity(0))
    total, rng = sum(len(cache) for cache in caches), np.random.default_rng(0)
    first = caches[0]
    median, slow = milliseconds(lambda _: first[int(rng.integers(len(first)))], given.examples)
    print(f'{total} chains, {cores} CPU cores; reading one record: {median:.2f} ms (95%: {slow:.2f} ms)\n')
    print('| examples of | one, ms | 95%, ms | per second, 1 thread | per second, 4 threads | times the need |')
    print('|:--|--:|--:|--:|--:|--:|')
    for name, spec in SPECS.items():
      examples = TrainingSet(caches, spec, seed=0, batch_size=given.batch_size)
      median, slow = milliseconds(examples.example, given.examples)
      num_batches = max(2, given.examples // given.batch_size)
      one, four = (rate(examples, threads, num_batches) for threads in (1, 4))
      need = f'{max(one, four) * given.step_seconds / given.batch_size:.1f}' if given.step_seconds else ''
      print(f'| {name} | {median:.1f} | {slow:.1f} | {one:.0f} | {four:.0f} | {need} |', flush=True)


if __name__ == '__main__':
  main()
