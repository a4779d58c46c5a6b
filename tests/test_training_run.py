# SPDX-License-Identifier: Apache-2.0
"""Whole runs of a tiny network: resuming, stopping, saving, failing, and what is written on the way."""

import csv
import errno
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import small_experiment
import small_runs
from ml_collections import config_dict

from alphafold_jax import cli, errors, machine, screen
from alphafold_jax.data.training import training_set
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.train import checkpoints, curves, loop, parameters, specs, watch
from alphafold_jax.train import step as steps

DATA = Path(__file__).parent / 'data'
CONFIG = str(Path(small_experiment.__file__))


@pytest.fixture(scope='module', autouse=True)
def compiled_fast():
  """Most of these tests' time goes to compiling steps, here and in the processes that they start."""
  jax.config.update('jax_disable_most_optimizations', True)
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', 'true')
    yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  """Two real chains: one to train on, one to validate with."""
  folder = tmp_path_factory.mktemp('cache')
  table = folder / 'table.csv'
  table.write_text('id,split\n4zey_A,train\n1u5y_D,validation\n')
  summary = build_cache(
    [DATA / '4zey.cif.gz', DATA / '1u5y_D.cif.gz'],
    folder / 'set',
    table=table,
    alignments=DATA / '4zey_A.a3m.gz',
    processes=1,
  )
  assert summary.splits == {'train': 1, 'validation': 1}
  return str(folder / 'set')


def train(run, cache, *more: str) -> int:
  return cli.main(['train', str(run), '--data', cache, '--config', CONFIG, '--quiet', '--no-compilation-cache', *more])


def saved(run):
  """The arrays of a run's last checkpoint."""
  folder = checkpoints.Checkpoints(Path(run) / 'checkpoints')
  config = json.loads((Path(run) / 'config.json').read_text())
  spec = specs.make_step_spec(config_dict.ConfigDict(config))
  state, _ = folder.restore(folder.latest(), steps.initial_state(spec, jax.random.key(0)))
  folder.close()
  return jax.device_get(state)


def assert_same_bits(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope='module')
def whole_run(cache, tmp_path_factory):
  run = tmp_path_factory.mktemp('whole') / 'run'
  assert train(run, cache) == 0
  return run


@pytest.fixture(scope='module')
def half_run(cache, tmp_path_factory):
  """The same run, ended after two of its four steps."""
  run = tmp_path_factory.mktemp('half') / 'run'
  assert train(run, cache, '--config', 'run.num_samples=4') == 0
  return run


def lines(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


def test_a_run_writes_its_numbers(whole_run):
  logged = lines(whole_run / 'metrics.csv')
  assert [int(line['step']) for line in logged] == [1, 2, 3, 4]
  assert [int(line['samples']) for line in logged] == [2, 4, 6, 8]
  for line in logged:
    assert all(np.isfinite(float(value)) for value in line.values())
    assert float(line['loss']) > 0 and 1 <= float(line['num_passes']) <= 2
  assert {'loss_backbone_fape', 'loss_masked_msa', 'gradient_norm', 'learning_rate'} <= set(logged[0])
  (validated,) = lines(whole_run / 'validation.csv')
  assert int(validated['step']) == 4 and 0 < float(validated['lddt_ca']) < 1
  assert 'finished: 4 steps' in (whole_run / 'log.txt').read_text()
  assert list((whole_run / 'events').glob('events.out.tfevents.*'))


def test_a_terminal_shows_a_live_display(whole_run, cache, tmp_path):
  shown = small_runs.in_terminal('train', tmp_path / 'run', '--data', cache, '--config', CONFIG)
  assert '\x1b[' in shown and 'compiling for the first step' in shown and 'elapsed' in shown
  assert re.search(r'step 4/4  loss \d+\.\d+  gradient \d+\.\d+  \d+\.\d+ samples/s', shown)
  assert 'validation lDDT-CA' in shown and 'finished: 4 steps' in shown
  assert 'step 4/4: loss' not in shown  # the line that the display replaces
  assert 'step 4/4: loss' in (tmp_path / 'run' / 'log.txt').read_text()


def test_what_is_said_while_a_run_begins_is_in_its_log(cache, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)  # as if it were not installed
  config = config_dict.ConfigDict(small_experiment.get_config())
  config.run.num_samples = 0
  assert loop.train(loop.TrainOptions(directory=tmp_path / 'run', config=config, data=(Path(cache),))) == 0
  assert 'WARNING: tensorboardX is not installed' in (tmp_path / 'run' / 'log.txt').read_text()


def run_of(tmp_path, *data, **changes) -> loop.Run:
  config = config_dict.ConfigDict(small_experiment.get_config())
  config.run.update(changes)
  return loop.Run(loop.TrainOptions(directory=tmp_path / 'run', config=config, data=tuple(map(Path, data))))


def test_validation_every_0_steps_is_none_at_all(cache, tmp_path):
  run = run_of(tmp_path, cache, validate_every=0)
  assert run.validation == [] and run.unvalidated == ''
  assert not any(run._validates(step) for step in range(1, run.num_steps + 1))
  run = run_of(tmp_path, cache, validate_every=3)
  assert [step for step in range(1, 5) if run._validates(step)] == [3, 4]  # the last step as well


def test_a_set_without_validation_chains_is_said_with_the_reason(cache, tmp_path, caplog):
  build_cache(DATA / '4zey.cif.gz', tmp_path / 'set', processes=1)
  run = run_of(tmp_path, tmp_path / 'set')
  assert 'no chain is of the split validation (there are: 1 train); name some' in run.unvalidated
  assert 'all of 1 chain of the split' in run_of(tmp_path, cache, max_validation_length=9).unvalidated
  assert run_of(tmp_path, tmp_path / 'set', num_validation=0).unvalidated == ''


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    ({'validate_every': -1}, 'run.validate_every is -1; expected a whole number of 0 or more'),
    ({'log_every': 0}, 'run.log_every is 0; expected a whole number of 1 or more'),
    ({'num_samples': 1}, r'run.num_samples=1: less than one batch \(step.batch_size=2\)'),
  ],
)
def test_numbers_of_a_run_that_make_no_sense_are_refused(changes, said, cache, tmp_path):
  with pytest.raises(errors.InputError, match=said):
    run_of(tmp_path, cache, **changes)


def test_a_cache_given_twice_is_refused(cache, tmp_path):
  with pytest.raises(errors.InputError, match='given twice; its chains would count double'):
    run_of(tmp_path, cache, f'{cache}/../{Path(cache).name}')


def test_what_other_libraries_log_goes_to_the_file_only(tmp_path, capsys):
  with screen.reporting(tmp_path / 'log.txt', screen.Screen()):
    logging.getLogger('absl').warning('Requested what nobody did')
  shown = capsys.readouterr()
  assert 'Requested' not in shown.out + shown.err
  assert 'WARNING: absl: Requested what nobody did' in (tmp_path / 'log.txt').read_text()


def test_a_run_without_its_data_makes_nothing(tmp_path, capsys):
  assert train(tmp_path / 'run', str(tmp_path / 'missing')) == 2
  said = capsys.readouterr().err
  assert 'no training cache here (no such folder); make one with `alphafold-jax dataset' in said
  assert not (tmp_path / 'run').exists()


def test_a_run_that_goes_on_ends_as_one_that_never_stopped(whole_run, half_run, cache, tmp_path):
  run = shutil.copytree(half_run, tmp_path / 'run')
  assert int(saved(run).step) == 2
  assert train(run, cache) == 0
  assert_same_bits(saved(run), saved(whole_run))
  assert [line['loss'] for line in lines(run / 'metrics.csv')] == [
    line['loss'] for line in lines(whole_run / 'metrics.csv')
  ]


def test_a_run_carried_as_one_file_ends_as_one_that_never_moved(whole_run, half_run, cache, tmp_path, capsys):
  run = tmp_path / 'elsewhere' / 'run'
  assert cli.main(['train', str(half_run), '--pack', str(tmp_path / 'run.zip')]) == 0
  assert cli.main(['train', str(run), '--unpack', str(tmp_path / 'run.zip')]) == 0
  assert 'step 2 of train_mini' in capsys.readouterr().out
  assert train(run, cache) == 0
  assert_same_bits(saved(run), saved(whole_run))
  assert [line['loss'] for line in lines(run / 'metrics.csv')] == [
    line['loss'] for line in lines(whole_run / 'metrics.csv')
  ]
  assert curves._continued(run, batch_size=2) == [4]


def test_lines_written_after_the_last_checkpoint_are_dropped_when_it_goes_on(half_run, cache, tmp_path):
  run = shutil.copytree(half_run, tmp_path / 'run')
  with open(run / 'metrics.csv', 'a') as file:
    file.write(','.join(['3', *'9' * (len(lines(run / 'metrics.csv')[0]) - 1)]) + '\n')
  assert train(run, cache) == 0
  assert [int(line['step']) for line in lines(run / 'metrics.csv')] == [1, 2, 3, 4]


ENDLESS = tuple(
  f'--config=run.{change}' for change in ('num_samples=1000000', 'checkpoint_every=1000000', 'validate_every=0')
)


def endless(run, cache, *more: str) -> subprocess.Popen:
  """A process that trains until it is stopped."""
  command = ['train', str(run), '--data', cache, '--config', CONFIG, *ENDLESS, *more]
  return subprocess.Popen([sys.executable, '-m', 'alphafold_jax', *command], env=small_runs.environment())


def wait_for(num_steps: int, run: Path, processes: list[subprocess.Popen]) -> None:
  deadline = time.monotonic() + 600
  while not (run / 'metrics.csv').is_file() or len(lines(run / 'metrics.csv')) < num_steps:
    assert time.monotonic() < deadline and all(process.poll() is None for process in processes)
    time.sleep(0.2)


def stop_after(num_steps: int, run: Path, processes: list[subprocess.Popen]) -> None:
  """Waits for some steps of a run, asks the last of its processes to stop, and waits for all of them to end well."""
  try:
    wait_for(num_steps, run, processes)
    processes[-1].send_signal(signal.SIGTERM)
    assert [process.wait(120) for process in processes] == [0] * len(processes)
  finally:
    for process in processes:
      process.kill()


def test_sigterm_saves_and_ends_well(cache, tmp_path, monkeypatch):
  """The signal comes once the first line is written; without it, nothing would be saved before the end."""
  run = tmp_path / 'run'
  write = watch.Watch.training

  def write_and_stop(self, clock, metrics):
    write(self, clock, metrics)
    if clock.step == 1:
      os.kill(os.getpid(), signal.SIGTERM)

  monkeypatch.setattr(watch.Watch, 'training', write_and_stop)
  assert train(run, cache, *ENDLESS) == 0
  done = int(saved(run).step)
  assert done >= 1 and done == int(lines(run / 'metrics.csv')[-1]['step'])
  assert f'stopped at step {done}' in (run / 'log.txt').read_text()


def test_a_killed_run_goes_on(cache, tmp_path):
  """Killed amid steps and saves; its last complete checkpoint is where it goes on."""
  run = tmp_path / 'run'
  process = endless(run, cache, '--config', 'run.checkpoint_every=1')
  try:
    wait_for(3, run, [process])
  finally:
    process.kill()
  process.wait()
  logged = len(lines(run / 'metrics.csv'))
  assert train(run, cache, '--config', 'run.validate_every=0', '--config', f'run.num_samples={2 * (logged + 2)}') == 0
  log = (run / 'log.txt').read_text()
  shared = 2 if machine.num_processors() > 1 else 1  # the batch is of two examples
  assert f'{shared} device' in log.splitlines()[0]
  assert 'going on after step' in log and f'run.num_samples: 1000000 there, {2 * (logged + 2)} now' in log
  assert json.loads((run / 'config.json').read_text())['run']['num_samples'] == 2 * (logged + 2)
  assert [int(line['step']) for line in lines(run / 'metrics.csv')] == list(range(1, logged + 3))


def test_two_processes_train_as_one_and_stop_together(whole_run, cache, tmp_path):
  """Two hosts with a device each: the same losses as one device, one checkpoint, and SIGTERM to one stops both."""
  run = tmp_path / 'run'
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  stop_after(4, run, [endless(run, cache, '--hosts', f'{address},2,{index}') for index in range(2)])
  logged, alone = lines(run / 'metrics.csv'), lines(whole_run / 'metrics.csv')
  assert [int(line['step']) for line in logged] == list(range(1, len(logged) + 1))
  for name in ('loss', 'gradient_norm'):
    np.testing.assert_allclose(float(logged[0][name]), float(alone[0][name]), rtol=1e-5)
    # Looser: Adam makes as large a change of a gradient that is all rounding.
    np.testing.assert_allclose(
      [float(line[name]) for line in logged[1:4]], [float(line[name]) for line in alone[1:]], rtol=1e-2
    )
  assert [line['num_passes'] for line in logged[:4]] == [line['num_passes'] for line in alone]
  assert int(saved(run).step) == len(logged)
  for log in ('log.txt', 'log_1.txt'):
    assert f'stopped at step {len(logged)}' in (run / log).read_text()


def test_a_run_may_go_on_to_another_end_and_decay_and_says_so(tmp_path):
  config = small_experiment.get_config().to_dict()
  optimizer, run = config['optimizer'], config['run']
  changed = config | {'optimizer': optimizer | {'decay_samples': 7}, 'run': run | {'num_samples': 9}}
  assert specs.check_same(config, config, tmp_path) == []
  changes = specs.check_same(config, changed, tmp_path)
  assert len(changes) == 2 and changes[0].endswith('there, 7 now') and changes[1] == 'run.num_samples: 8 there, 9 now'
  with pytest.raises(errors.InputError, match='run.seed: 0 there, 1 now'):
    specs.check_same(config, config | {'run': run | {'seed': 1}}, tmp_path)


def test_a_checkpoint_of_another_configuration_says_which_fields_differ(whole_run, cache, capsys):
  assert train(whole_run, cache, '--config', 'optimizer.learning_rate=0.5', '--config', 'loss.pae=0.0') == 2
  shown = capsys.readouterr().err
  assert 'optimizer.learning_rate: 0.001 there, 0.5 now' in shown and 'loss.pae: 0.1 there, 0.0 now' in shown


def test_a_misspelt_key_is_named_before_anything_is_compiled(cache, tmp_path, capsys):
  assert train(tmp_path / 'run', cache, '--config', 'optimizer.lerning_rate=1') == 2
  assert "'optimizer.lerning_rate'" in capsys.readouterr().err
  assert not (tmp_path / 'run').exists()


def test_a_dotted_flag_changes_the_configuration_too(cache, tmp_path, capsys):
  assert train(tmp_path / 'run', cache, '--config.optimizer.lerning_rate=1') == 2
  assert "'optimizer.lerning_rate'" in capsys.readouterr().err


def test_a_full_disk_leaves_the_checkpoint_before_valid(cache, tmp_path, monkeypatch, capsys):
  run = tmp_path / 'run'
  real = checkpoints.Checkpoints.save

  def save(self, step, *args, **kwargs):
    if step > 2:

      def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

      monkeypatch.setattr(self._manager, 'save', full)
    return real(self, step, *args, **kwargs)

  monkeypatch.setattr(checkpoints.Checkpoints, 'save', save)
  assert train(run, cache) == 1
  assert 'step 4 was not saved' in (run / 'log.txt').read_text()
  assert int(saved(run).step) == 2


def test_gradients_that_stay_not_finite_end_the_run_and_name_the_examples(cache, tmp_path, monkeypatch, capsys):
  real = training_set.TrainingSet.example

  def broken(self, index):
    name, batch = real(self, index)
    batch.targets.atom_positions[:] = np.nan
    return name, batch

  monkeypatch.setattr(training_set.TrainingSet, 'example', broken)
  assert train(tmp_path / 'run', cache) != 0
  assert '2 steps in a row' in capsys.readouterr().err
  assert '(4zey_A, 4zey_A)' in (tmp_path / 'run' / 'log.txt').read_text()


def test_the_best_by_validation_is_kept_beside_the_last_ones(tmp_path):
  folder = checkpoints.Checkpoints(tmp_path / 'c', keep_last=2)
  for step, score in ((1, 0.2), (2, 0.9), (3, 0.4), (4, 0.3), (5, None)):
    assert folder.save(step, {'w': np.full(3, step)}, {'next': step}, {'a': 1}, score)
  assert folder.wait()
  assert (folder.latest(), folder.best()) == (5, 2)
  assert sorted(int(path.name) for path in (tmp_path / 'c').iterdir()) == [2, 4, 5]
  folder.close()


def test_the_curves_are_drawn(whole_run, capsys):
  assert cli.main(['train', str(whole_run), '--plot']) == 0
  assert (whole_run / 'curves.png').read_bytes().startswith(b'\x89PNG')


def test_without_a_training_set_the_command_says_what_to_run(tmp_path, capsys):
  assert cli.main(['train', str(tmp_path / 'run')]) == 2
  assert 'alphafold-jax dataset' in capsys.readouterr().err


def test_a_run_starts_from_the_best_of_another(whole_run, cache, tmp_path):
  run = loop.Run(
    loop.TrainOptions(
      directory=tmp_path / 'run', config=small_experiment.get_config(), data=(Path(cache),), init_from=whole_run
    )
  )
  run.begin()
  assert int(run.state.step) == 0
  assert_same_bits(jax.device_get(run.state.params), parameters.load_averaged(whole_run)[0])
  run.checkpoints.close()
  run.watch.close()


def test_parameters_to_start_from_that_are_not_there_are_named(cache, tmp_path, capsys):
  assert train(tmp_path / 'run', cache, '--init-from', str(tmp_path / 'missing.npz')) == 2
  assert 'missing.npz' in capsys.readouterr().err


def test_numbers_on_a_full_disk_end_the_run_in_words_and_events_do_not_end_it(tmp_path, caplog):
  with pytest.raises(errors.ResourceError, match='/dev/full: the disk is full'):
    watch.Table(Path('/dev/full'), 0).add({'step': 1})
  full = OSError(errno.ENOSPC, 'No space left on device')

  class Events:
    def add_scalar(self, *_):
      raise full

  written = watch.Watch(tmp_path, 0)
  written.close()
  written._events = Events()
  for step in (1, 2):
    written._write(watch.METRICS, 'train', {'step': step, 'loss': 1.0})
  written.close()
  assert caplog.text.count('no more TensorBoard events: they cannot be written (No space left on device)') == 1
  assert [line['step'] for line in watch.read(tmp_path / watch.METRICS)] == ['1', '2']
