# SPDX-License-Identifier: Apache-2.0
"""The models of a run: found and checked before anything runs, loaded once, kept as memory allows; and their plans.

Here a process that predicts also begins: with JAX and a place for compiled programs.
"""

import copy
import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Collection, Hashable, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import folders, machine
from alphafold_jax.choices import SINGLE
from alphafold_jax.errors import WeightsError
from alphafold_jax.runs.options import RANDOM, Options
from alphafold_jax.transfer import files
from alphafold_jax.weights import npz, official, store

_log = logging.getLogger(__name__)
_SHARE = 0.25  # of the free memory that models may take which are not running
_MAX_PROGRAMS = 24  # compiled programs that are kept in memory


@dataclasses.dataclass(frozen=True)
class PlannedModel:
  """A model, and how it will compute one protein."""

  model: Any  # a prediction.Model
  plan: Any  # a planning.Plan
  make_room: Callable[[], bool]  # drops the other models from memory; False: there was none
  is_new: bool  # whether its program will be compiled


class Digests(dict[str, str]):
  """SHA-256 of parameters by model, or 'random'; those of models that are not run are looked up when asked for."""

  def __init__(self, params: str | Path | None):
    super().__init__()
    self._params = params

  def __missing__(self, model: str) -> str:
    """WeightsError: the parameters are not there, or are all in one file."""
    if self._params == RANDOM:
      return RANDOM
    path = store.find_params(model, self._params)
    if self._params is not None and path == folders.expanded(self._params):
      raise WeightsError(f'{path}: holds one model')
    self[model] = _digest(path)
    return self[model]


def _digest(path: Path) -> str:
  return store.verify_file(path) or files.digest(path)['sha256']


def prepare(options: Options) -> None:
  """Says how JAX is to start, before it does: with what share of a GPU's memory, and whether it keeps programs."""
  os.environ.setdefault('XLA_PYTHON_CLIENT_MEM_FRACTION', str(machine.GPU_SHARE))
  import jax

  if not options.compilation_cache:
    jax.config.update('jax_enable_compilation_cache', False)


class Models:
  """The models of a run by name."""

  def __init__(self, options: Options, kinds: Collection[bool] = (False,)):
    """Finds all parameter files.

    Args:
      options: of the run.
      kinds: of its proteins, from `Inputs.kinds`.

    Raises:
      WeightsError: one is missing or is not that model's; the message says what to run.
    """
    self._options = options
    self._settings = options.run_settings()
    self._loaded: dict[str, Any] = {}
    self._programs: set[Hashable] = set()
    self._last: tuple[str, Any] | None = None  # protein and kernels of the last plan
    self.names = tuple(dict.fromkeys(name for kind in kinds for name in options.of(kind).models))
    self.paths: dict[str, Path] = {}
    self.digests = Digests(options.params)
    if options.is_random:
      self.digests.update(dict.fromkeys(self.names, RANDOM))
      return
    for name in self.names:
      path = self.paths[name] = store.find_params(name, options.params)
      wrong, _ = npz.shape_problems(npz.read_shapes(path), official.official_shapes(options.model_config(name)))
      if wrong:
        raise npz.misfit(str(path), name, wrong)
      self.digests[name] = _digest(path)

  def settled(self, options: Options) -> 'Models':
    """The same, to be run in the dtype that these options name; nothing of them is loaded yet."""
    found = copy.copy(self)
    found._options, found._settings = options, options.run_settings()
    return found

  def facts(self) -> dict[str, Any]:
    """For the record of a run: each model's file and its SHA-256, or 'random'."""
    return {
      name: {'file': str(self.paths[name].absolute()), 'sha256': digest} if name in self.paths else digest
      for name, digest in self.digests.items()
    }

  @property
  def notes(self) -> tuple[store.Note, ...]:
    """The words that every file of the run must carry, such as that the weights are random."""
    found = (store.note_of(name, self.paths.get(name, RANDOM)) for name in self.names)
    return tuple(dict.fromkeys(note for note in found if note))

  def get(self, name: str) -> Any:
    """The model, from memory or loaded now."""
    if name not in self._loaded:
      from alphafold_jax import prediction

      if not self._room_for_another():
        self._loaded.clear()
      changes = {key.replace('.', '__'): value for key, value in self._options.changes().items()}
      params = RANDOM if self._options.is_random else self.paths[name]
      _log.info('%s: %s', name, 'random weights' if self._options.is_random else f'parameters from {params}')
      self._loaded[name] = prediction.load_model(name, params, **changes)
    return self._loaded[name]

  def planned(self, name: str, job: str, batch: Any, num_res: int) -> PlannedModel:
    """A model from memory or loaded now, and how it will compute a protein in what there is.

    Args:
      name: of the model.
      job: name of the protein.
      batch: its unpadded schema.Batch.
      num_res: padded residues, of the run's lengths; fewer are taken where memory is short.

    Raises:
      WeightsError: the parameters cannot be loaded.
      ResourceError: the protein does not fit.
    """
    from alphafold_jax import attempts, prediction
    from alphafold_jax.tasks import Task

    model, make_room = self.get(name), functools.partial(self._drop_others, name, job)
    task = Task(model, prediction.configured(model, self._settings), self._settings, batch, num_res)
    plan = attempts.planned(task, make_room)
    if plan.step and self._last != (job, plan.kernels):
      _log.info('%s: memory is short, so it is computed with %s', job, plan)
    self._last = job, plan.kernels
    is_new = self._is_new_program(task.padded_to(plan.num_res).program(plan.kernels))
    return PlannedModel(model, plan, make_room, is_new)

  def ready_for(
    self, name: str, job: str, batches: Sequence[Any], num_res: int, num_proteins: int
  ) -> tuple[Any, Callable[[], bool], bool]:
    """For proteins that are computed together: the model, what makes room for them, and whether it will be compiled.

    Args:
      name: of the model.
      job: name of one of the proteins.
      batches: the unpadded schema.Batch of each.
      num_res: padded residues.
      num_proteins: in one pass.

    Raises:
      WeightsError: the parameters cannot be loaded.
    """
    model = self.get(name)
    keys = (self._key(model, batch, num_res=num_res, num_proteins=num_proteins) for batch in batches)
    is_new = [self._is_new_program(key) for key in dict.fromkeys(keys)]
    return model, functools.partial(self._drop_others, name, job), any(is_new)

  def together(self, num_res: int, count: int) -> int:
    """How many proteins of a padded length are computed in one pass, of so many that there are.

    They are taken to have all alignment rows that a pass samples, or one where sequences are taken as they are.
    """
    from alphafold_jax import devices, planning

    options = self._options
    if options.batch is not None:
      return min(options.batch, 1 << (count - 1).bit_length())
    if self._settings.num_devices > 1:
      return 1
    configs, free = [options.model_config(name) for name in self.names], devices.available_bytes()
    if options.search is not None and options.search.mode == SINGLE:
      configs = [planning.reduced(config, {'num_seq': 1, 'num_templ': 0}) for config in configs]
    keep = self._settings.keep_distogram
    return min(planning.together(config, num_res, free, count, keep) for config in configs)

  def _drop_others(self, name: str, job: str) -> bool:
    """Forgets all models but one where memory is short: nothing becomes slower by it. False if there was no other."""
    others = set(self._loaded) - {name}
    for other in others:
      del self._loaded[other]
    if others:
      _log.info('%s: memory is short; the other models in it are dropped', job)
    return bool(others)

  def _key(self, model: Any, batch: Any, **how: Any) -> Hashable:
    from alphafold_jax import prediction

    return prediction.program_key(model, batch, self._settings, **how)

  def _is_new_program(self, program: Hashable) -> bool:
    """Whether the network will be compiled; forgets old programs when there are many."""
    from alphafold_jax import prediction

    if program in self._programs:
      return False
    if len(self._programs) >= _MAX_PROGRAMS:
      prediction.forget_programs()
      self._programs.clear()
    self._programs.add(program)
    return True

  def _room_for_another(self) -> bool:
    """Whether there is memory for another model beside those that are loaded."""
    if not self._loaded:
      return True
    import jax

    from alphafold_jax import devices

    available = devices.available_bytes()
    size = max(sum(x.nbytes for x in jax.tree.leaves(model.params)) for model in self._loaded.values())
    return available is None or size * len(self.names) <= _SHARE * (available + size * len(self._loaded))

  # ---------------------------------------------------------------------------------------- the device

  def start_device(self, who: str, has_templates: bool) -> dict[str, Any]:
    """Loads JAX and logs what it computes on, in lines that begin with `who`; returns facts for the run's record."""
    _log.info('%sstarting JAX', who)
    prepare(self._options)
    import jax

    from alphafold_jax import devices, tuning

    device = devices.describe()
    free = '' if device['free_bytes'] is None else f', {device["free_bytes"] / 2**30:.1f} GiB free'
    kind = device['kind'] if device['kind'] == device['platform'] else f'{device["kind"]} ({device["platform"]})'
    _log.info('%sJAX %s on %d x %s%s', who, jax.__version__, device['count'], kind, free)
    if hint := devices.idle_accelerator():
      _log.warning('%s', hint)
    self._log_longest(who, has_templates)
    if self._options.compilation_cache:  # else JAX was told so before it started
      if (cache := devices.use_compilation_cache()) is None:
        _log.warning('%s', devices.cannot_keep())
      else:
        _log.info('%scompiled programs are kept in %s', who, cache)
        device['compilation_cache'] = str(cache)
    device['kernels'] = self._settings.kernels or tuning.preferred()
    if device['kernels'] != 'auto':
      _log.info('%skernels: %s', who, device['kernels'])
    return device | {'dtype': self._settings.dtype}

  def _log_longest(self, who: str, has_templates: bool) -> None:
    """Logs how long a protein may be, before one is begun that is too long."""
    from alphafold_jax import devices, planning

    num_devices = self._settings.num_devices
    if (free := devices.available_bytes(num_devices)) is None:
      return
    fitting = []
    for name in self.names:
      config = self._options.model_config(name)
      num_templ = config.max_templates if has_templates else 0
      rows = f'{config.sampling.num_msa}:{config.sampling.num_extra}'
      fitting.append((planning.longest(config, free, num_devices, num_templ, self._settings.keep_distogram), rows))
    longest, rows = min(fitting)
    where, each = ('this device', '') if num_devices == 1 else (f'{num_devices} devices together', ' on each')
    room = f'{free / 2**30:.1f} GiB free{each}, {rows} alignment rows, {self._settings.dtype}'
    _log.info('%sup to about %s residues fit %s (%s)', who, f'{longest:,}', where, room)
