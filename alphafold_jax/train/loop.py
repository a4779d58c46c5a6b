# SPDX-License-Identifier: Apache-2.0
"""The run: examples in, steps, and what is saved and told in between. `alphafold-jax train`."""

import contextlib
import dataclasses
import json
import logging
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import config_dict

from alphafold_jax import atomic
from alphafold_jax.data.training import cache, feeding, training_set
from alphafold_jax.errors import NumericalError
from alphafold_jax.screen import Display, Screen, duration, reporting
from alphafold_jax.train import parameters, sharding, specs, validation, watch
from alphafold_jax.train import step as steps
from alphafold_jax.train.checkpoints import Checkpoints
from alphafold_jax.train.step import Metrics, TrainState

_log = logging.getLogger(__name__)
_COUNTED = ('chains', 'clusters', 'with alignment')  # the other counts are what filters took out


@dataclasses.dataclass(frozen=True)
class Options:
  """What a person chooses for a run."""

  directory: Path  # of the run
  config: config_dict.ConfigDict  # an experiment
  data: tuple[Path, ...]  # caches, of experimental and of predicted structures
  init_from: Path | None = None  # an official `.npz` to start from, or the folder of another run


def train(options: Options, screen: Screen | None = None) -> int:
  """Runs to the end, or goes on from where the folder's last checkpoint stands.

  Args:
    options: what a person chooses
    screen: what the person sees; None for nothing but the log of the run

  Returns:
    0 when the end was reached, or the run was asked to stop (SIGTERM) and is saved; 1 if saving failed.

  Raises:
    InputError, ResourceError: before the first step.
    NumericalError: too many steps in a row whose gradients were not finite.
  """
  run = Run(options)
  log = atomic.make_folder(options.directory) / _log_name()
  with reporting(log, screen) as console, _stopping() as asked_to_stop:
    display = Display(console) if console is not None else None
    with display.live if display is not None else contextlib.nullcontext():
      run.begin(display)
      return run.go(asked_to_stop)


def _log_name() -> str:
  """Each host has its own log; that of the first is the run's."""
  return f'log_{jax.process_index()}.txt' if jax.process_index() else 'log.txt'


class Run:
  """One run between two starts of the program.

  Making it checks what was asked for and writes nothing; `begin` opens or makes the folder, `go` trains.
  """

  def __init__(self, options: Options):
    self.options, config = options, options.config
    self.spec, self.run = specs.make_step_spec(config), specs.make_section(specs.RunSpec, 'run', config)
    self.config = json.loads(config.to_json_best_effort())
    self.mesh = sharding.make_mesh(self.run.model_devices)
    sharding.check(self.spec, self.mesh, config.data.crop_size)
    self.first_host = jax.process_index() == 0

    data_spec = specs.make_section(training_set.DataSpec, 'data', config)
    caches = [cache.open_cache(path) for path in options.data]
    self.examples = training_set.TrainingSet(caches, data_spec, seed=self.run.seed, batch_size=self.spec.batch_size)
    self.validation = validation.choose_chains(
      caches, data_spec, self.run.num_validation, self.run.max_validation_length
    )

    self.num_steps = self.run.num_samples // self.spec.batch_size
    self.skipped = 0  # steps in a row
    self.saved = True

  def begin(self, display: Display | None = None) -> None:
    """Takes up the folder's last checkpoint, or begins from given parameters or fresh ones.

    Raises:
      InputError, ResourceError: the folder, its checkpoint or the parameters cannot be used.
    """
    self.display = display
    self.directory = atomic.make_folder(self.options.directory)
    self.checkpoints = Checkpoints(self.directory / 'checkpoints', self.run.keep_checkpoints)
    self.state, self.feed_state = self._starting_state()
    self.first_step = int(self.state.step)
    self.watch = watch.Watch(self.directory, self.first_step, writes=self.first_host)
    self.clock = watch.Clock(self.first_step, self.num_steps, self.spec.batch_size)

  def _starting_state(self) -> tuple[TrainState, dict[str, Any] | None]:
    """The state to go on from: of the folder's last checkpoint, of given parameters, or fresh."""
    latest, init_from = self.checkpoints.latest(), self.options.init_from
    params = None
    if latest is None and init_from:
      params = parameters.starting_params(init_from, self.config['model'])
    state = steps.initial_state(self.spec, jax.random.key(self.run.seed), params)
    state = sharding.on_every_device(state, self.mesh)
    if latest is None:
      self.config[parameters.ORIGIN] = parameters.origin(init_from)
      if self.first_host:
        atomic.write_text(self.directory / 'config.json', json.dumps(self.config, indent=2) + '\n')
      return state, None
    saved = self.checkpoints.config(latest)
    for change in specs.check_same(saved, self.config, self.directory):
      _log.info('changed since the checkpoint: %s', change)
    self.config[parameters.ORIGIN] = saved.get(parameters.ORIGIN, parameters.FRESH)
    return self.checkpoints.restore(latest, state)

  def go(self, asked_to_stop: Sequence[int]) -> int:
    """Steps until the end or until asked to stop."""
    self._introduce()
    if self.display is not None:
      self.display.update(self.clock.fraction, None, 'compiling the first step')
    step_function = sharding.sharded_step(self.spec, self.mesh)
    key, step, pending = jax.random.key(self.run.seed + 1), self.first_step, None
    feeds = feeding.batches(
      self.examples,
      stop=self.num_steps,
      host=jax.process_index(),
      num_hosts=jax.process_count(),
      num_threads=self.run.num_workers,
    )
    if self.feed_state is not None:
      feeds.set_state(self.feed_state)
    told = []
    for feed in feeds:
      first = jax.process_index() * len(feed.ids)
      batch, places = sharding.spread(feed.batch, first, self.mesh)
      self.state, metrics = step_function(self.state, key, batch, places)
      if pending is not None:  # looked at one step late, so that devices never wait for the host
        told = self._account(*pending, told)
      step, pending = feed.step + 1, (feed.step + 1, feed.ids, metrics)
      stop = self._stops(step, asked_to_stop)
      if step % self.run.checkpoint_every == 0 or self._validates(step) or step == self.num_steps or stop:
        told, pending = self._account(*pending, told), None
        score = self._validate(step) if self._validates(step) or step == self.num_steps else None
        self._save(step, feeds.get_state(), score)
        self.clock.pause()
      if stop:
        break
    self.saved = self.checkpoints.wait() and self.saved
    self.checkpoints.close()
    self.watch.close()
    if step < self.num_steps:
      _log.info('stopped at step %d of %d; run the same command again to go on', step, self.num_steps)
    else:
      _log.info('finished: %d steps; checkpoints are in %s', step, self.checkpoints.directory)
    return 0 if self.saved else 1

  def _stops(self, step: int, asked: Sequence[int]) -> bool:
    """Whether this is the last step for now; several hosts agree on it."""
    if jax.process_count() == 1:
      return bool(asked)
    return multihost_utils.reached_preemption_sync_point(step)

  def _introduce(self) -> None:
    sizes = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
    data, model = self.mesh.shape.values()
    _log.info(
      '%s: %.1f million parameters, %s, %d devices (%d x data, %d x model) of %d hosts',
      self.config['name'],
      sizes / 1e6,
      jax.devices()[0].device_kind,
      data * model,
      data,
      model,
      jax.process_count(),
    )
    for kind, counts in self.examples.describe().items():
      if counts['chains']:
        removed = ', '.join(f'{count} by {why}' for why, count in counts.items() if why not in _COUNTED)
        _log.info(
          '%d %s chains in %d clusters, %d with an alignment; left out: %s',
          counts['chains'],
          kind,
          counts['clusters'],
          counts['with alignment'],
          removed or 'none',
        )
    _log.info('%d validation chains', len(self.validation))
    what = 'going on after' if self.first_step else 'from'
    _log.info('%s step %d, to step %d (%d samples)', what, self.first_step, self.num_steps, self.run.num_samples)

  def _account(self, step: int, ids: Sequence[str], metrics: Metrics, told: list[Metrics]) -> list[Metrics]:
    """Waits for a step, checks that it was sound, and tells of it at its time."""
    wrong = int(metrics.wrong)
    self.clock.tick(step)
    if self.display is not None:
      self.display.update(self.clock.fraction, self.clock.left, _line(step, self.num_steps, metrics, self.clock))
    if wrong:
      self._skipped(step, wrong, ids, metrics)
    else:
      self.skipped = 0
      told = [*told, metrics]
    if step % self.run.log_every == 0 and told:
      self.watch.training(
        *_training_line(
          step, self.spec.batch_size, jax.device_get([_scalars(m) for m in told]), self.clock, self.num_steps
        )
      )
      told = []
    return told

  def _skipped(self, step: int, wrong: int, ids: Sequence[str], metrics: Metrics) -> None:
    self.skipped += 1
    finite = np.concatenate([np.asarray(shard.data) for shard in _own_shards(metrics.finite)])
    named = [name for name, good in zip(ids, finite, strict=True) if not good]
    _log.warning(
      'step %d skipped: the gradients of %d examples are not finite%s',
      step,
      wrong,
      f' ({", ".join(named)})' if named else ' (on another host)',
    )
    if self.skipped >= self.run.max_skipped:
      raise NumericalError(
        f'{self.directory}: {self.skipped} steps in a row had gradients that are not finite, the last with '
        f'{", ".join(named) or "examples of another host"}; look at these examples, or go on from the last '
        'checkpoint with a lower learning rate or in float32 (model.dtype)'
      )

  def _validates(self, step: int) -> bool:
    return bool(self.validation) and self.run.validate_every > 0 and step % self.run.validate_every == 0

  def _validate(self, step: int) -> float | None:
    """Scores the validation chains with the averaged parameters; the mean lDDT-C-alpha.

    Every host does the same, which takes no longer than waiting for one.
    """
    if not self.validation:
      return None
    params = jax.tree.map(lambda leaf: leaf.addressable_data(0), self.state.ema)
    found = validation.score_chains(self.spec.network, params, self.validation, self.spec.max_passes)
    means = validation.summary(found)
    text = (
      f'step {step}: validation lDDT-CA {means["lddt_ca"]:.3f}, TM {means["tm"]:.3f}, pLDDT {means["plddt"]:.1f} '
      f'(correlation with lDDT {means["plddt_pearson"]:.2f})'
    )
    self.watch.validation({'step': step, 'samples': step * self.spec.batch_size} | means, text)
    return means['lddt_ca']

  def _save(self, step: int, feed_state: Any, score: float | None) -> None:
    self.saved = self.checkpoints.save(step, self.state, feed_state, self.config, score)


def _scalars(metrics: Metrics) -> dict[str, Any]:
  one = {
    name: getattr(metrics, name) for name in ('loss', 'gradient_norm', 'update_norm', 'learning_rate', 'num_passes')
  }
  return one | {f'loss_{name}': value for name, value in metrics.terms.items()}


def _training_line(step, batch_size, told, clock, num_steps) -> tuple[dict[str, float], str]:
  """Means over the steps since the last line, and the same as a line of text."""
  means = {name: float(np.mean([one[name] for one in told])) for name in told[0]}
  line = {'step': step, 'samples': step * batch_size, 'samples_per_second': clock.samples_per_second} | means
  text = (
    f'step {step}/{num_steps}: loss {means["loss"]:.3f}, gradient {means["gradient_norm"]:.2f}, '
    f'{clock.samples_per_second:.2f} samples/s, {duration(clock.left)} left'
  )
  return line, text


def _line(step: int, num_steps: int, metrics: Metrics, clock: watch.Clock) -> str:
  """What the live display shows of a step."""
  return (
    f'step {step}/{num_steps}  loss {float(metrics.loss):.3f}  gradient {float(metrics.gradient_norm):.2f}  '
    f'{clock.samples_per_second:.2f} samples/s'
  )


def _own_shards(array: jax.Array) -> list[Any]:
  """The parts of an array that lie on this host, once each, in order."""
  shards = {shard.index[0].start or 0: shard for shard in array.addressable_shards}
  return [shards[start] for start in sorted(shards)]


@contextlib.contextmanager
def _stopping() -> Iterator[list[int]]:
  """A list that gets the number of the signal once the system or the person asks to stop.

  With several hosts SIGTERM is left to JAX, which tells the others of it.
  """
  asked: list[int] = []

  def ask(number, frame):
    if asked:  # asked twice: at once
      raise KeyboardInterrupt
    asked.append(number)
    _log.info('asked to stop: finishing this step and saving')

  before = {}
  for number in (signal.SIGTERM, signal.SIGINT) if jax.process_count() == 1 else ():
    with contextlib.suppress(ValueError):  # not the main thread
      before[number] = signal.signal(number, ask)
  try:
    yield asked
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
