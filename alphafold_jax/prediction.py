# SPDX-License-Identifier: Apache-2.0
"""From a model and a query to a prediction: the Python API."""

import dataclasses
import functools
import gc
import logging
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax import devices, ops, planning, programs, schema, tuning
from alphafold_jax.data import features, padding
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.jobnames import safe_name
from alphafold_jax.data.queries import Query
from alphafold_jax.errors import NumericalError, ResourceError
from alphafold_jax.model import alphafold
from alphafold_jax.ops import seam
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.record import Pass
from alphafold_jax.settings import Settings
from alphafold_jax.weights import official, store
from alphafold_jax.weights.random import random_params

_log = logging.getLogger(__name__)
MAX_ROWS = 40_960  # alignment rows that go to the device; the profile is that of all
OnPass = Callable[[Pass, Callable[[], Prediction]], None]  # is given a pass, and what fetches the structure so far
_RAN_OUT: set[Hashable] = set()  # the programs that took more memory than there was


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """A network with its parameters; `prepare` and `iterate` are pure, so jit, grad, vmap and shard them as you like."""

  name: str
  config: config_dict.ConfigDict
  params: alphafold.Params
  source: str  # the file of the parameters, or 'random'

  @functools.cached_property
  def spec(self) -> alphafold.AlphaFoldSpec:
    return alphafold.make_spec(self.config)

  @property
  def is_random(self) -> bool:
    return self.source == 'random'

  @property
  def note(self) -> store.Note | None:
    """What must be said of its predictions; None if they are AlphaFold 2's own."""
    return store.note_of(self.name, self.is_random)

  @property
  def has_pae(self) -> bool:
    """Whether it predicts errors of pairs, and so pTM."""
    return bool(self.config.heads.num_pae_bins)

  def prepare(self, params: alphafold.Params, key: jax.Array | None, batch: schema.Batch) -> alphafold.Context:
    """What all passes share; the key is consumed, and needed with dropout only."""
    return alphafold.network(self.spec).prepare(params, key, batch)

  def iterate(
    self,
    params: alphafold.Params,
    key: jax.Array,
    batch: schema.Batch,
    context: alphafold.Context,
    previous: schema.Recycled,
  ) -> schema.Outputs:
    """One pass; the key is consumed."""
    return alphafold.network(self.spec).iterate(params, key, batch, context, previous)

  def initial(self, num_res: int) -> schema.Recycled:
    """What the first pass recycles."""
    return alphafold.network(self.spec).initial(num_res)


def load_model(name: str, params: str | Path | None = None, *, strict: bool = False, **changes: Any) -> Model:
  """Loads a published model, or the one that ships with the package.

  Args:
    name: 'model_1' to 'model_5', or with '_ptm'; or 'mini'.
    params: an official `.npz`, a folder with them, or 'random'; None: the default folder, for 'mini' the package.
    strict: refuse a file with arrays that the model does not use.
    **changes: settings of config.py with '__' for '.', such as evoformer__num_block=2.

  Raises:
    InputError: no such model or setting.
    WeightsError: no such file, or it does not fit.
    ResourceError: this process was forked after JAX started.
  """
  devices.start()
  config = configs.changed(configs.model_config(name), {key.replace('__', '.'): v for key, v in changes.items()})
  if params == 'random':
    source, values = 'random', random_params(config, seed=configs.model_number(name))
  else:
    source = str(store.find_params(name, params))
    store.verify_file(source)  # what was installed is what is loaded
    values = official.load_official(source, config, strict)
  return Model(name=name, config=config, params=jax.tree.map(jnp.asarray, values), source=source)


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
  devices.start()
  settings = (settings or Settings()).with_changes(**changes)
  batch = as_batch(query, templates)
  name = name or getattr(query, 'name', None) or 'query'
  task = _Task(model, configured(model, settings), settings, batch, name, seed)
  try:
    return _in_memory(task, plan or _plan(task, make_room), on_pass, make_room)
  except NumericalError:
    if task.config.dtype == 'float32':
      raise
  _log.warning('%s: %s gave NaN or infinity in %s; computing again in float32', name, model.name, task.config.dtype)
  task = dataclasses.replace(task, config=configs.changed(task.config, {'dtype': 'float32'}))
  return _in_memory(task, _plan(task, make_room), on_pass, make_room)


def make_plan(
  model: Model, batch: schema.Batch, settings: Settings | None = None, make_room: Callable[[], bool] = lambda: False
) -> planning.Plan:
  """How a batch will be computed in the memory there is, known before minutes are spent on compiling.

  Args:
    model: from `load_model`.
    batch: from `as_batch`.
    settings: how to run.
    make_room: as for `predict`.

  Raises:
    InputError: there are fewer devices.
    ResourceError: naming what each device needs, what there is, and the length that would fit.
  """
  settings = settings or Settings()
  return _plan(_Task(model, configured(model, settings), settings, batch), make_room)


def configured(model: Model, settings: Settings) -> config_dict.ConfigDict:
  """A model's configuration with these settings, and unless kernels were chosen those that are the fastest here."""
  config = settings.apply(model.config)
  if config.kernels.implementation != seam.AUTO:
    return config
  return configs.changed(config, {'kernels.implementation': tuning.preferred()})


def as_batch(query: Query | Alignment | schema.Batch | str, templates: schema.Templates | None = None) -> schema.Batch:
  """The unpadded input arrays of anything that can be predicted."""
  if isinstance(query, schema.Batch):
    padding.axis_sizes(query)  # checks the shapes against one another
    return query
  if isinstance(query, Query):
    query = query.load_alignment() or query.sequence
  return features.make_batch(query, templates=templates, num_templates=0, max_rows=MAX_ROWS)


def program_key(model: Model, batch: schema.Batch, settings: Settings, plan: planning.Plan | None = None) -> Hashable:
  """Equal for predictions that run the same compiled program."""
  return _Task(model, configured(model, settings), settings, batch).program(plan.kernels if plan else None)


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
  name: str = ''  # of the protein
  seed: int = 0

  @functools.cached_property
  def sizes(self) -> dict[str, int]:
    return planning.padded_sizes(self.config, self.batch, self.settings.num_devices)

  @functools.cached_property
  def spec(self) -> alphafold.AlphaFoldSpec:
    return alphafold.make_spec(planning.reduced(self.config, self.sizes))

  def program(self, kernels: ops.Kernels | None = None) -> tuple[alphafold.AlphaFoldSpec, bool, int, Hashable]:
    """Equal for what is compiled once."""
    spec = dataclasses.replace(self.spec, kernels=kernels or self.spec.kernels)
    return spec, self.settings.keep_representations, self.settings.num_devices, tuple(self.sizes.items())

  def plan(self) -> planning.Plan:
    """What fits the memory that is free now, and did not turn out not to."""
    sizes, num_devices = self.sizes, self.settings.num_devices
    num_params = sum(x.size for x in jax.tree.leaves(self.model.params))
    available = devices.available_bytes(num_devices)
    if available is not None and num_devices == 1:
      available += 4 * num_params  # the estimate contains them, but they are there already
    work = planning.Work(self.spec, sizes['num_seq'], sizes['num_templ'], num_params, num_devices)
    plan = planning.plan(work, sizes['num_res'], available, devices.num_separate())
    while plan.below and self.program(plan.kernels) in _RAN_OUT:
      plan = plan.below
    return plan


def _plan(task: _Task, make_room: Callable[[], bool]) -> planning.Plan:
  """The plan; makes room rather than compute otherwise than asked."""
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
    try:
      return _run(task, plan, on_pass)
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      found_room, below = make_room(), plan.below
      if not found_room and below is None:
        raise ResourceError(
          f'{task.name}: the device ran out of memory at {task.sizes["num_res"]} residues (padded) and '
          f'{task.sizes["num_seq"]} alignment rows; use a device with more memory, more devices (--devices), '
          '--dtype bfloat16, or a shallower alignment (--max-msa 128:256)'
        ) from error
    gc.collect()  # the error's traceback held the arrays
    if found_room or below is None:
      _log.warning('%s: the device ran out of memory; beginning again with more of it free', task.name)
    else:
      _log.warning('%s: the device ran out of memory with %s; beginning again with %s', task.name, plan.how, below.how)
      _RAN_OUT.add(task.program(plan.kernels))
      plan = below


def _run(task: _Task, plan: planning.Plan, on_pass: OnPass | None) -> Prediction:
  """Recycles until done, Algorithm 30."""
  config, batch, sizes, params = task.config, task.batch, task.sizes, task.model.params
  if not sizes['num_templ']:
    batch = dataclasses.replace(batch, templates=features.empty_templates(0, len(batch.aatype)))
    params = {name: values for name, values in params.items() if not name.startswith('template')}
  spec, keep_representations, num_devices, _ = task.program(plan.kernels)
  compiled = programs.compiled(spec, keep_representations, num_devices)
  key = jax.random.key(task.seed)
  params, padded = compiled.put((params, padding.pad_batch(batch, sizes)))
  context = compiled.prepare(params, jax.random.fold_in(key, config.num_recycle + 1), padded)
  previous, done = compiled.initial(padded), []
  for index in range(config.num_recycle + 1):
    start = time.monotonic()
    result = compiled.one_pass(params, jax.random.fold_in(key, index), padded, context, previous)
    done.append(_finished(task, result, index, start))
    if on_pass is not None:
      on_pass(done[-1], functools.partial(_fetch, task, result, tuple(done)))
    if index and done[-1].change <= config.recycle_early_stop_tolerance:
      break
    previous = result.recycled
  return _fetch(task, result, tuple(done))


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
  if score.pae is not None:
    arrays['pae'] = host(score.pae, 2)
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
