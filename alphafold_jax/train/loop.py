# SPDX-License-Identifier: Apache-2.0
"""A training run: examples, steps, and between them logs, validation and checkpoints. `alphafold-jax train`."""

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

from alphafold_jax import atomic, compiled_once, sharing
from alphafold_jax.data.training import cache, feeding, phased, training_set
from alphafold_jax.errors import InputError, NumericalError
from alphafold_jax.screen import Display, Screen, number, reporting
from alphafold_jax.train import complex_validation, parameters, phases, sharding, specs, validation, watch
from alphafold_jax.train import step as steps
from alphafold_jax.train.checkpoints import Checkpoints
from alphafold_jax.train.step import Metrics, TrainState

_log = logging.getLogger(__name__)
_COUNTED = ('chains', 'clusters', 'with alignment')  # the other counts are of chains that filters removed


@dataclasses.dataclass(frozen=True)
class TrainOptions:
  """The choices of a user for one run."""

  directory: Path  # of the run
  config: config_dict.ConfigDict  # an experiment
  data: tuple[Path, ...]  # caches, of experimental and of predicted structures
  init_from: Path | None = None  # an official `.npz` to start from, or the folder of another run
  extend: bool = False  # whether what `init_from` lacks begins as in a new run


def train(options: TrainOptions, screen: Screen | None = None) -> int:
  """Trains to the run's end, from the folder's last checkpoint if it has one.

  Args:
    options: the run.
    screen: shows the log; None: the log goes to its file only.

  Returns:
    0 when the end was reached, or a signal stopped the run and it is saved; 1 if saving failed.

  Raises:
    InputError, ResourceError: the run cannot begin; nothing was computed.
    NumericalError: too many steps in a row had gradients that are not finite.
  """
  run = Run(options)
  log = atomic.make_folder(options.directory) / _log_name()
  alone = sharing.using(options.directory, 'train') if run.first_host else contextlib.nullcontext()
  with alone, reporting(log, screen) as console, _stopping() as asked_to_stop:
    display = Display(console) if console is not None else None
    with display.live if display is not None else contextlib.nullcontext():
      run.begin(display)
      return run.go(asked_to_stop)


def _log_name() -> str:
  """The name of this host's log; the first host's is log.txt."""
  return f'log_{jax.process_index()}.txt' if jax.process_index() else 'log.txt'


class Run:
  """One run in one process: the constructor checks the options, `begin` opens the folder, `go` trains."""

  def __init__(self, options: TrainOptions):
    """Checks the options and opens the caches; writes nothing.

    Args:
      options: the run.

    Raises:
      InputError: an option or a cache cannot be used.
    """
    self.options, config = options, options.config
    self.phases, self.run = phases.make_phases(config), specs.make_section(specs.RunSpec, 'run', config)
    self.spec = self.phases[0].step
    self.config = json.loads(config.to_json_best_effort())
    self.mesh = sharding.make_mesh(self.run.model_devices)
    for phase in self.phases:
      sharding.check(phase.step, self.mesh, phase.data.crop_size)
    self.first_host = jax.process_index() == 0

    caches = _open(options.data)
    self.examples, self.feed = self._training_sets(caches)
    self.validation_spec = specs.make_validation_spec(config)
    wanted = self.run.num_validation if self.run.validate_every else 0
    chosen = self.run.max_validation_length, self.run.validation_split
    self.validation = validation.choose_chains(caches, self.phases[0].data, wanted, *chosen)
    validates = [bool(self.validation) and any(entry.split == chosen[1] for entry in one.entries) for one in caches]
    idle = {options.data[i]: why for i, why in self.examples.idle().items() if not validates[i]}
    self.idle = [f'{path}: no example comes from it: {why}' for path, why in idle.items()]
    self.unvalidated = ''  # why, where validation is asked for
    if wanted and not self.validation:
      self.unvalidated = validation.describe_absence(caches, *chosen)
    self.validation_complexes, self.no_complex = [], ''  # and why there are none, where complexes are trained on
    if self.validation and any(phase.data.complex_fraction for phase in self.phases):
      self.validation_complexes = complex_validation.choose_complexes(caches, self.phases[0].data, wanted, *chosen)
      if not self.validation_complexes:
        self.no_complex = complex_validation.describe_absence(caches, *chosen)

    self.num_steps = self.run.num_samples // self.spec.batch_size
    if self.run.num_samples and not self.num_steps:
      raise InputError(
        f'run.num_samples={self.run.num_samples}: less than one batch (step.batch_size={self.spec.batch_size})'
      )
    self.skipped = 0  # steps in a row
    self.unlogged: list[Metrics] = []  # of the steps since the last line of the log
    self.saved = True

  def _training_sets(self, caches: Sequence[cache.TrainingCache]) -> tuple[training_set.TrainingSet, phased.PhasedSet]:
    """The first phase's examples, and all examples of the run."""
    sets = {
      phase.data: training_set.TrainingSet(caches, phase.data, seed=self.run.seed, batch_size=self.spec.batch_size)
      for phase in self.phases
    }
    starts = [(phase.first_step * self.spec.batch_size, sets[phase.data]) for phase in self.phases]
    return starts[0][1], phased.PhasedSet(starts)

  def begin(self, display: Display | None = None) -> None:
    """Loads the folder's last checkpoint, or begins from given or fresh parameters.

    Args:
      display: shows progress, if there is one.

    Raises:
      InputError, ResourceError: the folder, its checkpoint or the parameters cannot be used.
    """
    self.display = display
    self.directory = atomic.make_folder(self.options.directory)
    self.checkpoints = Checkpoints(self.directory / 'checkpoints', self.run.keep_checkpoints)
    self.state, self.feed_state = self._starting_state()
    self.first_step = int(self.state.step)
    self.watch = watch.Watch(self.directory, self.first_step, writes=self.first_host)
    self.clock = watch.StepClock(self.first_step, self.num_steps, self.spec.batch_size)

  def _starting_state(self) -> tuple[TrainState, dict[str, Any] | None]:
    """The first state, and the position in the data if it comes from a checkpoint, else None."""
    latest, init_from = self.checkpoints.latest(), self.options.init_from
    params, key = None, jax.random.key(self.run.seed)
    if latest is None and init_from:
      fresh = steps.initial_state(self.spec, key).params if self.options.extend else None
      params = parameters.starting_params(init_from, self.config['model'], fresh)
    state = steps.initial_state(self.spec, key, params)
    state = sharding.on_every_device(state, self.mesh)
    if latest is None:
      self._keep_config(parameters.origin(init_from))
      return state, None
    saved = self.checkpoints.config(latest)
    for change in specs.check_same(saved, self.config, self.directory):
      _log.info('changed since the checkpoint: %s', change)
    self._keep_config(saved.get(parameters.ORIGIN, parameters.FRESH))
    return self.checkpoints.restore(latest, state)

  def _keep_config(self, origin: str) -> None:
    """Writes config.json, whose schedule may have changed where a run goes on."""
    self.config[parameters.ORIGIN] = origin
    if self.first_host:
      atomic.write_text(self.directory / 'config.json', json.dumps(self.config, indent=2) + '\n')

  def go(self, asked_to_stop: Sequence[int]) -> int:
    """Trains until the last step, or until `asked_to_stop` holds a signal; returns the exit code, as `train` does."""
    self._log_introduction()
    key, step, pending = jax.random.key(self.run.seed + 1), self.first_step, None
    feeds = feeding.batches(
      self.feed,
      stop=self.num_steps,
      host=jax.process_index(),
      num_hosts=jax.process_count(),
      num_threads=self.run.num_workers,
    )
    if self.feed_state is not None:
      feeds.set_state(self.feed_state)
    for feed in feeds:
      first = jax.process_index() * len(feed.ids)
      batch, places = sharding.spread(feed.batch, first, self.mesh)
      phase = self._phase(feed.step)
      with compiled_once.watched(f'the first step{phase.name and " of phase "}{phase.name}', self._tell):
        self.state, metrics = sharding.sharded_step(phase.step, self.mesh)(self.state, key, batch, places)
      if pending is not None:  # read one step late, so that devices never wait for the host
        self._account(*pending)
      step, pending = feed.step + 1, (feed.step + 1, feed.ids, metrics)
      stop = self._stops(step, asked_to_stop)
      if step % self.run.checkpoint_every == 0 or self._validates(step) or step == self.num_steps or stop:
        self._account(*pending)
        pending = None
        score = self._validate(step) if self._validates(step) else None
        self.saved = self.checkpoints.save(step, self.state, feeds.get_state(), self.config, score)
        self.clock.pause()
      if stop:
        break
    self.saved = self.checkpoints.wait() and self.saved
    self.checkpoints.close()
    self.watch.close()
    if step < self.num_steps:
      _log.info('stopped at step %d of %d; run the same command again to go on', step, self.num_steps)
    else:
      _log.info('finished: %s; checkpoints are in %s', number(step, 'step'), self.checkpoints.directory)
    return 0 if self.saved else 1

  def _phase(self, step: int) -> phases.Phase:
    """The phase of a step; says so where it begins."""
    phase = phases.at(self.phases, step)
    if phase.name and phase.first_step == step:
      _log.info('phase %s begins: %s', phase.name, ', '.join(phase.changes))
    return phase

  def _tell(self, text: str) -> None:
    """Says that the step is compiled or read, in the log and on the screen."""
    _log.info('%s', text)
    if self.display is not None:
      self.display.update(self.clock.fraction, None, text)

  def _stops(self, step: int, asked: Sequence[int]) -> bool:
    """Whether to stop after this step; all hosts decide the same."""
    if jax.process_count() == 1:
      return bool(asked)
    return multihost_utils.reached_preemption_sync_point(step)

  def _log_introduction(self) -> None:
    sizes = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
    data, model = self.mesh.shape.values()
    _log.info(
      f'{self.config["name"]}: {sizes / 1e6:.1f} million parameters, {jax.devices()[0].device_kind}, '
      f'{number(data * model, "device")} ({data} x data, {model} x model) of {number(jax.process_count(), "host")}'
    )
    for kind, counts in self.examples.describe().items():
      if counts['chains']:
        removed = ', '.join(f'{count} by {why}' for why, count in counts.items() if why not in _COUNTED)
        _log.info(
          f'{number(counts["chains"], f"{kind} chain")} in {number(counts["clusters"], "cluster")}, '
          f'{counts["with alignment"]} with an alignment; left out: {removed or "none"}'
        )
    if (pool := self.examples.complexes) is not None:
      removed = ', '.join(f'{count} by {why}' for why, count in pool.removed.items())
      count, kinds = len(pool.entries), number(pool.num_clusters, 'cluster')
      _log.info('%d complex%s in %s; left out: %s', count, 'es' * (count != 1), kinds, removed or 'none')
    if self.examples.spec.couplings_fraction and not self.examples.has_couplings:
      _log.info('no couplings: no chain has an alignment that is deep enough, and short enough')
    for line in self.idle:
      _log.warning('%s', line)
    if self.unvalidated:
      _log.warning('no validation: %s; or leave it out: run.validate_every=0', self.unvalidated)
    else:
      _log.info(number(len(self.validation), 'validation chain'))
    if self.validation_complexes:
      _log.info('complexes to validate with: %d', len(self.validation_complexes))
    if self.no_complex:
      _log.warning('no validation of complexes: %s', self.no_complex)
    what = 'going on after' if self.first_step else 'from'
    _log.info(
      '%s step %d, to step %d (%s)', what, self.first_step, self.num_steps, number(self.run.num_samples, 'sample')
    )

  def _account(self, step: int, ids: Sequence[str], metrics: Metrics) -> None:
    """Waits for a step, counts it as skipped or good, and logs the good ones when a line is due."""
    wrong = int(metrics.wrong)
    self.clock.tick(step)
    if self.display is not None:
      self.display.update(self.clock.fraction, self.clock.left, watch.display_line(self.clock, metrics))
    if wrong:
      self._skipped(step, wrong, ids, metrics)
    else:
      self.skipped = 0
      self.unlogged.append(metrics)
    if step % self.run.log_every == 0 and self.unlogged:
      self.watch.training(self.clock, self.unlogged)
      self.unlogged = []

  def _skipped(self, step: int, wrong: int, ids: Sequence[str], metrics: Metrics) -> None:
    self.skipped += 1
    finite = np.concatenate([np.asarray(shard.data) for shard in _own_shards(metrics.finite)])
    named = [name for name, good in zip(ids, finite, strict=True) if not good]
    where = ', '.join(named) if named else 'on another host'
    _log.warning('step %d skipped: the gradients of %s are not finite (%s)', step, number(wrong, 'example'), where)
    if self.skipped >= self.run.max_skipped:
      raise NumericalError(
        f'{self.directory}: {self.skipped} steps in a row had gradients that are not finite, the last with '
        f'{", ".join(named) or "examples of another host"}; look at these examples, or go on from the last '
        'checkpoint with a lower learning rate or in float32 (model.dtype)'
      )

  def _validates(self, step: int) -> bool:
    """Whether this step is followed by validation: every few steps, and the last one."""
    return bool(self.validation) and (step % self.run.validate_every == 0 or step == self.num_steps)

  def _validate(self, step: int) -> float:
    """The mean lDDT-C-alpha of the validation chains with the averaged parameters.

    Every host computes it, which takes no longer than waiting for one of them.
    """
    params = jax.tree.map(lambda leaf: leaf.addressable_data(0), self.state.ema)
    passes = phases.at(self.phases, step - 1).step.max_passes
    scored = validation.score_chains(self.validation_spec, params, self.validation, passes)
    docked = complex_validation.score_complexes(self.validation_spec, params, self.validation_complexes, passes)
    means = validation.mean_scores(scored) | complex_validation.mean_scores(docked)
    self.watch.validation(step, step * self.spec.batch_size, means)
    return means['lddt_ca']


def _open(paths: Sequence[Path]) -> list[cache.TrainingCache]:
  """The caches; InputError where one cannot be used or is given twice."""
  for i, path in enumerate(paths):
    if path.resolve() in [other.resolve() for other in paths[:i]]:
      raise InputError(f'--data {path}: given twice; its chains would count double')
  return [cache.open_cache(path) for path in paths]


def _own_shards(array: jax.Array) -> list[Any]:
  """The parts of an array that lie on this host, once each, in order."""
  shards = {shard.index[0].start or 0: shard for shard in array.addressable_shards}
  return [shards[start] for start in sorted(shards)]


@contextlib.contextmanager
def _stopping() -> Iterator[list[int]]:
  """Yields a list to which SIGTERM and SIGINT append their number; a second signal interrupts at once.

  With several hosts JAX handles SIGTERM, and reports it to all of them.
  """
  asked: list[int] = []

  def ask(received: int, frame: Any) -> None:
    if asked:
      raise KeyboardInterrupt
    asked.append(received)
    _log.info('asked to stop: finishing this step and saving')

  before = {}
  for one in (signal.SIGTERM, signal.SIGINT) if jax.process_count() == 1 else ():
    with contextlib.suppress(ValueError):  # not the main thread
      before[one] = signal.signal(one, ask)
  try:
    yield asked
  finally:
    for one, handler in before.items():
      signal.signal(one, handler)
