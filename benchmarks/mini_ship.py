# SPDX-License-Identifier: Apache-2.0
"""Writes a training run's best parameters as those that ship with the package: alphafold_jax/weights/mini.npz.

  python benchmarks/mini_ship.py RUN_DIR
  python benchmarks/mini_ship.py RUN_DIR RUN_DIR ...   # that went on from one: the mean; one given twice counts twice

Takes the averaged parameters of the checkpoint that is best by validation, of a run of `train_mini` that began from
nothing, or from the parameters that ship.
"""

import argparse
import collections
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from alphafold_jax import config as configs
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.model import alphafold
from alphafold_jax.train import parameters
from alphafold_jax.transfer.files import digest, human_size
from alphafold_jax.weights import official, shipped


def mean(runs: Sequence[Path], step: int | None = None) -> tuple[alphafold.Params, str]:
  """The mean of the runs' best averaged parameters, or of those of a step, and words about where they come from.

  Raises:
    InputError: a run did not begin from nothing, or has no such checkpoint.
    WeightsError: its network is not that of config.py.
  """
  config = configs.model_config(shipped.MODEL)
  found, steps = [], []
  for run in runs:
    params, trained, taken = parameters.load_averaged(run, step)
    began = trained.get(parameters.ORIGIN, parameters.FRESH)
    if began != parameters.FRESH:
      raise InputError(f'{run}: began from {began}; the model that ships is trained from nothing')
    published = official.to_official(params, trained['model'])
    found.append(official.from_official(published, config, f'{run}, step {taken}', strict=True))
    steps.append(f'step {taken} of {trained.get("name", "a run")}')
  times = [step if count == 1 else f'{step} ({count} times)' for step, count in collections.Counter(steps).items()]
  origin = times[0] if len(runs) == 1 else f'the mean of {", ".join(times)}'
  return jax.tree.map(lambda *same: sum(same) / len(same), *found), origin


def ship(params: alphafold.Params, origin: str, path: Path) -> str:
  """Writes the file and reads it back as `mini`; returns a line about it."""
  config = configs.model_config(shipped.MODEL)
  size = shipped.store(params, config, path, origin=f'{origin[0].upper()}{origin[1:]}.')
  official.load_official(path, config, strict=True)
  return f'{path}: {human_size(size)}, {origin}, SHA-256 {digest(path)["sha256"]}'


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('run_dir', type=Path, nargs='+', metavar='RUN_DIR', help='folder of a training run')
  parser.add_argument('--step', type=int, metavar='N', help='of the checkpoint (default: the best by validation)')
  parser.add_argument('--out', type=Path, metavar='FILE', default=shipped.path(), help='default: %(default)s')
  given = parser.parse_args()
  try:
    print(ship(*mean(given.run_dir, given.step), given.out))
  except AlphaFoldError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main())
