# SPDX-License-Identifier: Apache-2.0
"""Writes a training run's best parameters as those that ship with the package: alphafold_jax/weights/mini.npz.

  python benchmarks/mini_ship.py RUN_DIR

Takes the averaged parameters of the checkpoint that is best by validation, of a run of `train_mini` that began from
nothing, or from the parameters that ship.
"""

import argparse
import sys
from pathlib import Path

from alphafold_jax import config as configs
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.train import parameters
from alphafold_jax.transfer.files import digest, human_size
from alphafold_jax.weights import official, shipped


def ship(run: Path, path: Path, step: int | None = None) -> str:
  """Writes the file and reads it back as `mini`; returns a line about it.

  Raises:
    InputError: the run did not begin from nothing, or has no such checkpoint.
    WeightsError: its network is not that of config.py.
  """
  params, trained, step = parameters.load_averaged(run, step)
  began = trained.get(parameters.ORIGIN, parameters.FRESH)
  if began != parameters.FRESH:
    raise InputError(f'{run}: began from {began}; the model that ships is trained from nothing')
  config = configs.model_config(shipped.MODEL)
  published = official.to_official(params, trained['model'])
  params = official.from_official(published, config, f'{run}, step {step}', strict=True)
  size = shipped.store(params, config, path, origin=f'Step {step} of {trained.get("name", "a run")}.')
  official.load_official(path, config, strict=True)
  return f'{path}: {human_size(size)}, step {step}, SHA-256 {digest(path)["sha256"]}'


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('run_dir', type=Path, metavar='RUN_DIR', help='folder of the training run')
  parser.add_argument('--step', type=int, metavar='N', help='of the checkpoint (default: the best by validation)')
  parser.add_argument('--out', type=Path, metavar='FILE', default=shipped.path(), help='default: %(default)s')
  given = parser.parse_args()
  try:
    print(ship(given.run_dir, given.out, given.step))
  except AlphaFoldError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main())
