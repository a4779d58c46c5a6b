# SPDX-License-Identifier: Apache-2.0
"""From a model and a query to a prediction: the Python API."""

import contextlib
import dataclasses
import functools
import gc
import logging
import time
import warnings
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from alphafold_jax import batches, devices, ops, planning, programs, schema, tuning
from alphafold_jax import config as configs
from alphafold_jax.arguments import check_kind, check_whole, wrong
from alphafold_jax.batches import as_batch as as_batch
from alphafold_jax.choices import MAX_SEED
from alphafold_jax.data import features, padding
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.jobnames import safe_name
from alphafold_jax.data.queries import Query
from alphafold_jax.errors import NumericalError, ResourceError
from alphafold_jax.model import alphafold
from alphafold_jax.models import Model
from alphafold_jax.models import load_model as load_model
from alphafold_jax.one_line import one_line
from alphafold_jax.ops import seam
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.record import Pass
from alphafold_jax.screen import number
from alphafold_jax.settings import Settings

_log = logging.getLogger(__name__)
OnPass = Callable[[Pass, Callable[[], Prediction]], None]  # is given a pass, and what fetches the structure so far
_RAN_OUT: set[Hashable] = set()  # the programs that took more memory than there was


def predict(
  model: Model,
  query: Query | Alignment | schema.Batch | str,
  *,
  seed: int = 0,
  name: str | None = None,
  templates: schema.Templates | None = None,
  settings: Settings | None = None,
  on_pass: OnPass | None = None,
  plan: planning.Plan | None = None,
  make_room: Callable[[], bool] = lambda: False,
  **changes: Any,
) -> Prediction:
  """Predicts one protein with one model and seed.

  Args:
    model: from `load_model`.
    query: from `read_queries`, or an alignment, a batch, or a bare sequence.
    seed: all randomness comes from it.
    name: of the protein; by default the query's.
    templates: structures placed on the query, from `data.templates`.
    settings: how to run.
    on_pass: called after each pass with its numbers and a function that fetches the structure so far; if it has to
      begin again, in another precision or with less memory, the first pass comes again.
    plan: from `make_plan`, of this model, query and settings; by default made now.
    make_room: frees what else is in the memory, before anything slower is tried; False: there was nothing.
    **changes: fields of Settings to change, such as num_recycle=3.

  Raises:
    InputError: the query or a setting cannot be used, or there are fewer devices than it says.
    ResourceError: it does not fit the devices' memory, and the message says what would; or this process was forked
      after JAX started.
    NumericalError: NaN or infinity came out, in float32 too.
  """
  _check_arguments(model, seed, name, templates, settings, plan)
  if on_pass is not None and not callable(on_pass):
    raise wrong('on_pass', on_pass, 'must be a function of a Pass and of what fetches the structure')
  if not callable(make_room):
    raise wrong('make_room', make_room, 'must be a function that says whether it made room')
  devices.start()
  settings = (settings or Settings()).with_changes(**changes)
  batches.warn_of_bare_sequence(query)
  batch = batches.to_batch(query, templates)
  if model.config.templates is None and np.any(np.asarray(batch.templates.mask)):
    warnings.warn(f'templates are not used by {model.name}; model_1 and model_2 take them', stacklevel=2)
  name = name or getattr(query, 'name', None) or 'query'
  task = _Task(model, configured(model, settings), settings, batch, plan.num_res if plan else None, name, seed)
  try:
    return _in_memory(task, plan or _plan(task, make_room), on_pass, make_room)
  except NumericalError:
    if task.config.dtype == 'float32':
      raise
  _log.warning('%s: %s gave NaN or infinity in %s; computing again in float32', name, model.name, task.config.dtype)
  task = dataclasses.replace(task, config=configs.changed(task.config, {'dtype': 'float32'}))
  return _in_memory(task, _plan(task, make_room), on_pass, make_room)


def make_plan(
  model: Model,
  batch: schema.Batch,
  settings: Settings | None = None,
  make_room: Callable[[], bool] = lambda: False,
  num_res: int | None = None,
) -> planning.Plan:
  """How a batch will be computed in the memory there is, known before minutes are spent on compiling.

  Args:
    model: from `load_model`.
    batch: from `as_batch`.
    settings: how to run.
    make_room: as for `predict`.
    num_res: padded residues, at least the batch's, which many proteins share; no more than those of a protein alone
      are taken where memory is short, or if None.

  Raises:
    InputError: there are fewer devices.
    ResourceError: naming what each device needs, what there is, and the length that would fit.
  """
  settings = settings or Settings()
  return _plan(_Task(model, configured(model, settings), settings, batch, num_res), make_room)


def configured(model: Model, settings: Settings) -> config_dict.ConfigDict:
  """A model's configuration with these settings; dtype and kernels that were not chosen are the fastest here.

  Raises:
    InputError: there are no such kernels.
  """
  config = dataclasses.replace(settings, dtype=settings.dtype or tuning.dtype()).apply(model.config)
  if config.kernels.implementation == seam.AUTO:
    return configs.changed(config, {'kernels.implementation': tuning.preferred()})
  try:
    seam.choices(config.kernels.implementation)
  except ValueError as error:
    raise wrong('kernels', config.kernels.implementation, str(error)) from error
  return config


def _check_arguments(model: Any, seed: Any, name: Any, templates: Any, settings: Any, plan: Any) -> None:
  check_kind('model', model, Model, 'must be a model, from afj.load_model')
  check_whole('seed', seed, 0, MAX_SEED)
  check_kind('name', name, (str, type(None)), 'must be text')
  check_kind('templates', templates, (schema.Templates, type(None)), 'must be from data.templates.stack_templates')
  check_kind(
    'settings', settings, (Settings, type(None)), 'must be afj.Settings(...), such as afj.Settings(num_recycle=3)'
  )
  check_kind('plan', plan, (planning.Plan, type(None)), 'must be from make_plan')


def program_key(model: Model, batch: schema.Batch, settings: Settings, plan: planning.Plan | None = None) -> Hashable:
  """Equal for predictions that run the same compiled program."""
  task = _Task(model, configured(model, settings), settings, batch, plan.num_res if plan else None)
  return task.program(plan.kernels if plan else None)


def forget_programs() -> None:
  """Frees the memory of all compiled programs."""
  programs.compiled.cache_clear()
  _RAN_OUT.clear()


@dataclasses.dataclass(frozen=True, eq=False)
class _Task:
  """What is to be computed."""

  model: Model
  config: config_dict.ConfigDict  # the model's, with the settings
  settings: Settings
  batch: schema.Batch  # unpadded
  num_res: int | None  # padded; None: by its own length
  name: str = ''  # of the protein
  seed: int = 0

  __repr__ = one_line

  @functools.cached_property
  def sizes(self) -> dict[str, int]:
    return planning.padded_sizes(self.config, self.batch, self.settings.num_devices, self.num_res)

  @property
  def alone(self) -> '_Task':
    """The same, padded by its own length."""
    return dataclasses.replace(self, num_res=None)

  @functools.cached_property
  def spec(self) -> alphafold.AlphaFoldSpec:
    return alphafold.make_spec(planning.reduced(self.config, self.sizes))

  def program(self, kernels: ops.Kernels | None = None) -> tuple[tuple, Hashable]:
    """The arguments of `programs.compiled`, and the sizes: equal for what is compiled once."""
    spec, kept = dataclasses.replace(self.spec, kernels=kernels or self.spec.kernels), self.settings
    sizes = self.sizes['num_res'], self.sizes['num_templ']  # the rows of a pass are part of the spec
    return (spec, kept.keep_representations, kept.num_devices, kept.keep_distogram), sizes

  def plan(self) -> planning.Plan:
    """What fits the memory that is free now, and did not turn out not to."""
    sizes, num_devices = self.sizes, self.settings.num_devices
    num_params = sum(x.size for x in jax.tree.leaves(self.model.params))
    available = devices.available_bytes(num_devices)
    if available is not None and num_devices == 1:
      available += 4 * num_params  # the estimate contains them, but they are there already
    keep = self.settings.keep_distogram
    work = planning.Work(self.spec, sizes['num_seq'], sizes['num_templ'], num_params, num_devices, keep)
    plan = planning.plan(work, sizes['num_res'], available, devices.num_separate())
    while plan.below and self.program(plan.kernels) in _RAN_OUT:
      plan = plan.below
    return plan


def _plan(task: _Task, make_room: Callable[[], bool]) -> planning.Plan:
  """The plan; pads as if alone, and makes room, rather than compute otherwise than asked."""
  if task.num_res is not None:
    with contextlib.suppress(ResourceError):
      if not (plan := task.plan()).step:
        return plan
    task = task.alone
  while True:
    try:
      plan = task.plan()
    except ResourceError:
      if not make_room():
        raise
    else:
      if not plan.step or not make_room():
        return plan


def _in_memory(task: _Task, plan: planning.Plan, on_pass: OnPass | None, make_room: Callable[[], bool]) -> Prediction:
  """Runs by plan; when memory runs out nevertheless, makes room or else goes a step down, and begins again."""
  while True:
    task = dataclasses.replace(task, num_res=plan.num_res)
    try:
      return _run(task, plan, on_pass)
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      found_room, below = make_room(), _below(task, plan)
      if not found_room and below is None:
        raise ResourceError(
          f'{task.name}: the device ran out of memory at {number(task.sizes["num_res"], "residue")} (padded) and '
          f'{number(task.sizes["num_seq"], "alignment row")}; use a device with more memory, more devices (--devices), '
          '--dtype bfloat16, or a shallower alignment (--max-msa 128:256)'
        ) from error
    gc.collect()  # the error's traceback held the arrays
    if found_room or below is None:
      _log.warning('%s: the device ran out of memory; beginning again with more of it free', task.name)
    else:
      how = below.how if below.num_res == plan.num_res else f'{below.num_res} instead of {plan.num_res} padded residues'
      _log.warning('%s: the device ran out of memory with %s; beginning again with %s', task.name, plan.how, how)
      _RAN_OUT.add(task.program(plan.kernels))
      plan = below


def _below(task: _Task, plan: planning.Plan) -> planning.Plan | None:
  """What takes less memory than a plan: less padding, or else the step below."""
  if task.alone.sizes['num_res'] < plan.num_res:
    with contextlib.suppress(ResourceError):
      return task.alone.plan()
  return plan.below


def _run(task: _Task, plan: planning.Plan, on_pass: OnPass | None) -> Prediction:
  """Recycles until done, Algorithm 30."""
  config, batch, sizes, params = task.config, task.batch, task.sizes, task.model.params
  if not sizes['num_templ']:
    batch = dataclasses.replace(batch, templates=features.empty_templates(0, len(batch.aatype)))
    params = {name: values for name, values in params.items() if not name.startswith('template')}
  what, _ = task.program(plan.kernels)
  compiled = programs.compiled(*what)
  key = jax.random.key(task.seed)
  padded = padding.pad_batch(batch, sizes)
  params, padded, alignment = compiled.put((params, programs.without_alignment(padded), padded.msa))
  context = compiled.prepare(params, jax.random.fold_in(key, config.num_recycle + 1), padded)
  previous = compiled.initial(padded)
  done: list[Pass] = []
  while True:
    start, index = time.monotonic(), len(done)
    key_pass = jax.random.fold_in(key, index)
    rows = compiled.draw(key_pass, dataclasses.replace(padded, msa=alignment))
    result = compiled.one_pass(params, key_pass, padded, context, previous, rows)
    del rows
    done.append(_finished(task, result, index, start))
    if on_pass is not None:
      on_pass(done[-1], functools.partial(_fetch, task, result, tuple(done)))
    if index == config.num_recycle or index and done[-1].change <= config.recycle_early_stop_tolerance:
      return _fetch(task, result, tuple(done))
    previous = result.recycled
    del result  # what else it holds makes room for that of the next


def _finished(task: _Task, result: programs.PassResult, index: int, start: float) -> Pass:
  """Waits for a pass and checks that it gave numbers."""
  score = result.confidence
  mean_plddt, ptm, change, finite = jax.device_get((score.mean_plddt, score.ptm, result.change, score.finite))
  if not finite:
    raise NumericalError(
      f'{task.name}: {task.model.name} gave NaN or infinity in pass {index} in {task.config.dtype}; nothing of it is '
      'written'
    )
  return Pass(index, float(mean_plddt), None if ptm is None else float(ptm), float(change), time.monotonic() - start)


def _fetch(task: _Task, result: programs.PassResult, done: tuple[Pass, ...]) -> Prediction:
  """Copies a result to the host and cuts the padding off."""
  model, batch = task.model, task.batch
  num_res = len(batch.aatype)
  score, representations = result.confidence, result.representations

  def host(array: jax.Array, axes: int = 1) -> np.ndarray:
    return np.asarray(array)[(slice(num_res),) * axes]

  arrays = {name: np.asarray(getattr(batch, name)) for name in ('aatype', 'residue_index', 'asym_id')} | {
    'atom_positions': host(result.recycled.atom_positions),
    'atom_mask': host(result.atom_mask),
    'plddt': host(score.plddt),
    'contact_probability': host(score.contact_probability, 2),
  }
  arrays |= {name: host(kept, 2) for name in ('pae', 'distogram') if (kept := getattr(score, name)) is not None}
  if representations is not None:
    arrays |= {'single': host(representations.single), 'pair': host(representations.pair, 2).astype(np.float32)}
  return Prediction(
    name=task.name,
    job=safe_name(task.name),
    model_name=model.name,
    seed=task.seed,
    mean_plddt=done[-1].mean_plddt,
    ptm=done[-1].ptm,
    passes=done,
    arrays=arrays,
    notes=(model.note.text,) if model.note else (),
  )
