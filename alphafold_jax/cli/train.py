# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax train`."""

import argparse
import importlib.util
import pathlib
import typing
from typing import Any

if typing.TYPE_CHECKING:
  from ml_collections import config_dict

from alphafold_jax.cli import flags

_NAMES = ('train_initial', 'train_finetune', 'train_mini')  # experiments.py, which would load more than --help needs


def run(given: argparse.Namespace) -> int:
  from alphafold_jax.errors import InputError

  directory = pathlib.Path(given.run_dir)
  if given.plot:
    from alphafold_jax.train import curves

    print(curves.draw(directory))
    return 0
  if not given.data:
    raise InputError(f'{flags.PROGRAM} train: no training set; give --data CACHE, written by {flags.PROGRAM} dataset')
  from alphafold_jax import devices
  from alphafold_jax.screen import Screen
  from alphafold_jax.train import loop, sharding

  options = loop.TrainOptions(
    directory=directory,
    config=_config(given),
    data=tuple(map(pathlib.Path, given.data)),
    init_from=pathlib.Path(given.init_from) if given.init_from else None,
  )
  if given.hosts:
    sharding.join_hosts(None if given.hosts == 'auto' else given.hosts)
  if not given.no_compilation_cache:
    devices.use_compilation_cache()
  return loop.train(options, Screen.of_stdout(quiet=given.quiet))


def _config(given: argparse.Namespace) -> 'config_dict.ConfigDict':
  """The experiment, from a file or by name, with the changes asked for."""
  from alphafold_jax import config, experiments
  from alphafold_jax.errors import InputError

  files = [one for one in given.config if isinstance(one, str)]
  changes = dict(one for one in given.config if not isinstance(one, str))
  if len(files) > 1:
    raise InputError(f'--config: several files ({", ".join(files)}); give one')
  if files and given.model:
    raise InputError('--model: the configuration file says which model is trained; give --experiment instead of a file')
  result = _from_file(files[0]) if files else experiments.experiment_config(given.experiment, given.model)
  return config.changed(result, changes)


def _from_file(text: str) -> 'config_dict.ConfigDict':
  """The result of `get_config` of a Python file; of FILE:ARGUMENT, with that argument."""
  from alphafold_jax.errors import InputError

  path, _, argument = text.partition(':')
  spec = importlib.util.spec_from_file_location('config_file', path)
  if spec is None or spec.loader is None or not pathlib.Path(path).is_file():
    raise InputError(f'--config {path}: no such Python file; give FILE.py or KEY=VALUE')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise InputError(f'--config {path}: it defines no get_config()')
  return module.get_config(*([argument] if argument else []))


def _file_or_change(text: str) -> str | tuple[str, Any]:
  return text if '=' not in text else flags.change(text)


_file_or_change.__name__ = 'FILE.py or KEY=VALUE'


def add(commands: Any) -> None:
  train = commands.add_parser(
    'train',
    help='train the network, from scratch or from given parameters',
    allow_abbrev=False,
    usage=f'{flags.PROGRAM} train RUN_DIR --data CACHE [flags]',
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description=(
      'Trains the network on all devices there are. A run that was stopped or killed goes on from its last\n'
      'checkpoint when the same command is given again. docs/training.md has the commands for clusters and pods.'
    ),
  )
  train.set_defaults(run=run)
  train.add_argument('run_dir', metavar='RUN_DIR', help='folder of the run: checkpoints, metrics.csv, log.txt')
  for flag, settings in _FLAGS.items():
    train.add_argument(flag, **settings)


_FLAGS: dict[str, dict[str, Any]] = {
  '--data': {
    'metavar': 'CACHE',
    'action': 'append',
    'default': [],
    'help': f'training set written by `{flags.PROGRAM} dataset`; repeat for several, such as one of '
    'predicted structures, which is mixed in as data.distillation_fraction says',
  },
  '--experiment': {'choices': _NAMES, 'default': 'train_initial', 'help': 'which recipe (default: %(default)s)'},
  '--model': {'metavar': 'NAME', 'help': 'train this model instead of the one of the experiment, such as model_3_ptm'},
  '--config': {
    'type': _file_or_change,
    'metavar': 'FILE.py|KEY=VALUE',
    'action': 'append',
    'default': [],
    'help': 'an experiment from a file with get_config(), or a change such as '
    'optimizer.learning_rate=5e-4; also --config.optimizer.learning_rate=5e-4',
  },
  '--init-from': {
    'metavar': 'PATH',
    'help': 'start from these parameters: an official .npz, or the folder of another run',
  },
  '--hosts': {
    'metavar': 'ADDRESS,N,I',
    'help': 'this is process I of N, which meet at ADDRESS (host:port) of the '
    'first; "auto" on TPU pods and under SLURM',
  },
  '--plot': {**flags.SWITCH, 'help': 'only draw the curves of the run so far to RUN_DIR/curves.png'},
  '--no-compilation-cache': {**flags.SWITCH, 'help': 'do not keep compiled programs for later runs'},
  '--quiet': {**flags.SWITCH, 'help': 'show warnings and errors only; RUN_DIR/log.txt is complete all the same'},
}
