# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax train`."""

import argparse
import importlib.util
import pathlib
import traceback
import typing
from typing import Any

from alphafold_jax import choices
from alphafold_jax.cli import flags
from alphafold_jax.cli.flags import PROGRAM, Flags, choice, command, several, switch, value
from alphafold_jax.errors import AlphaFoldError, InputError

if typing.TYPE_CHECKING:
  from ml_collections import ConfigDict


def run(given: argparse.Namespace) -> int:
  directory = pathlib.Path(given.run_dir)
  if given.plot:
    from alphafold_jax.train import curves

    print(curves.draw(directory))
    return 0
  if given.pack or given.unpack:
    return _carry(given, directory)
  if not given.data:
    raise InputError(f'{PROGRAM} train: no training set; give --data CACHE, written by {PROGRAM} dataset')
  from alphafold_jax import devices
  from alphafold_jax.screen import Screen
  from alphafold_jax.train import loop, sharding, specs

  options = loop.TrainOptions(
    directory=directory,
    config=_config(given),
    data=tuple(map(pathlib.Path, given.data)),
    init_from=pathlib.Path(given.init_from) if given.init_from else None,
    extend=given.extend,
  )
  if given.extend and not given.init_from:
    raise InputError('--extend: of which parameters? Give them by --init-from PATH')
  if given.hosts:
    sharding.join_hosts(None if given.hosts == 'auto' else given.hosts)
  run, step = specs.make_section(specs.RunSpec, 'run', options.config), options.config.step
  sizes = step.get('batch_size', 1), step.get('examples_at_once', 1)  # what is missing is refused by name below
  sharding.divide_processors(run.cpu_devices, *sizes, run.model_devices)
  if not given.no_compilation_cache:
    devices.use_compilation_cache()
  return loop.train(options, Screen.of_stdout(quiet=given.quiet))


def _carry(given: argparse.Namespace, directory: pathlib.Path) -> int:
  """Writes the run as one file, or makes its folder of one."""
  if given.pack and given.unpack:
    raise InputError('--pack and --unpack: give one of them')
  from alphafold_jax.train import one_file

  done = one_file.pack(directory, pathlib.Path(given.pack)) if given.pack else None
  print(done or one_file.unpack(pathlib.Path(given.unpack), directory))
  return 0


def _config(given: argparse.Namespace) -> 'ConfigDict':
  """The experiment, from a file or by name, with the changes asked for."""
  from alphafold_jax import config, experiments

  files = [one for one in given.config if isinstance(one, str)]
  changes = dict(one for one in given.config if not isinstance(one, str))
  if len(files) > 1:
    raise InputError(f'--config: several files ({", ".join(files)}); give one')
  if files and given.model:
    raise InputError('--model: the configuration file says which model is trained; give --experiment instead of a file')
  result = _from_file(files[0]) if files else experiments.experiment_config(given.experiment, given.model)
  return config.changed(result, changes)


def _from_file(text: str) -> 'ConfigDict':
  """Calls `get_config` of a Python file, named as `FILE`, or as `FILE:ARGUMENT` to give it an argument."""
  path, _, argument = text.partition(':')
  spec = importlib.util.spec_from_file_location('config_file', path)
  if spec is None or spec.loader is None or not pathlib.Path(path).is_file():
    raise InputError(f'--config {path}: no such Python file; give FILE.py or KEY=VALUE')
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    if not hasattr(module, 'get_config'):
      raise InputError(f'--config {path}: it defines no get_config()')
    return module.get_config(*([argument] if argument else []))
  except AlphaFoldError:
    raise
  except Exception as error:  # whatever a person's own program fails of
    raise InputError(f'--config {path}{_line_in(path, error)}: {type(error).__name__}: {error}') from error


def _line_in(path: str, error: Exception) -> str:
  """', line 7', the last one of a file that an error passed through; '' if it passed through none."""
  if isinstance(error, SyntaxError):
    return ''  # its message says where
  lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
  return f', line {lines[-1]}' if lines else ''


def _file_or_change(text: str) -> str | tuple[str, Any]:
  return text if '=' not in text else flags.change(text)


_file_or_change.__name__ = 'FILE.py or KEY=VALUE'
_ARGUMENTS: Flags = {
  'run_dir': value('RUN_DIR', 'folder of the run: checkpoints, metrics.csv, log.txt'),
  '--data': several(
    'CACHE',
    f'training set written by `{PROGRAM} dataset`; repeat for several, such as one of predicted structures, which is '
    'mixed in as data.distillation_fraction says',
  ),
  '--experiment': choice(choices.EXPERIMENTS, 'which recipe (default: %(default)s)', default=choices.EXPERIMENTS[0]),
  '--model': value('NAME', 'train this model instead of the one of the experiment, such as model_3_ptm'),
  '--config': several(
    'FILE.py|KEY=VALUE',
    'an experiment from a file with get_config(), or a change such as optimizer.learning_rate=5e-4; also '
    '--config.optimizer.learning_rate=5e-4',
    type=_file_or_change,
  ),
  '--init-from': value('PATH', 'start from these parameters: an official .npz, or the folder of another run'),
  '--extend': switch(
    'with --init-from: parameters that PATH lacks, such as those of a new input, begin as in a new run'
  ),
  '--hosts': value(
    'ADDRESS,N,I',
    'this is process I of N, which meet at ADDRESS (host:port) of the first; "auto" on TPU pods and under SLURM',
  ),
  '--plot': switch('only draw the curves of the run so far to RUN_DIR/curves.png'),
  '--pack': value(
    'FILE', 'only write the run as one file: configuration, numbers, last checkpoint, and the average of the best'
  ),
  '--unpack': value('FILE', 'only make RUN_DIR of such a file; the same training command then goes on from it'),
  '--no-compilation-cache': flags.NO_COMPILATION_CACHE,
  '--quiet': flags.quiet('RUN_DIR'),
}


def add(commands: Any) -> None:
  command(
    commands,
    'train RUN_DIR --data CACHE [flags]',
    run,
    'train the network, from scratch or from given parameters',
    description='Trains the network on all devices there are. A run that was stopped or killed goes on from its last\n'
    'checkpoint when the same command is given again. docs/training.md has the commands for clusters and pods.',
    arguments=_ARGUMENTS,
  )
