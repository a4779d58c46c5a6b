# SPDX-License-Identifier: Apache-2.0
"""From a model and a query to a prediction: the Python API."""

import dataclasses
import logging
import warnings
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import config_dict

from alphafold_jax import attempts, batches, devices, planning, programs, schema, tuning
from alphafold_jax.arguments import check_kind, check_whole, wrong
from alphafold_jax.batches import as_batch as as_batch
from alphafold_jax.choices import MAX_SEED
from alphafold_jax.constants import residues
from alphafold_jax.data import initial_guess as guessing
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.complexes import COLABFOLD, FOR_MONOMER_MODELS
from alphafold_jax.data.queries import Query
from alphafold_jax.models import Model
from alphafold_jax.models import load_model as load_model
from alphafold_jax.ops import seam
from alphafold_jax.output.files import Prediction
from alphafold_jax.passes import OnPass
from alphafold_jax.settings import Settings
from alphafold_jax.tasks import RAN_OUT, Task

_log = logging.getLogger(__name__)


def predict(
  model: Model,
  query: Query | Alignment | schema.Batch | str,
  *,
  seed: int = 0,
  name: str | None = None,
  chain_names: Sequence[str] | None = None,
  templates: schema.Templates | None = None,
  initial_guess: str | Path | np.ndarray | None = None,
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
    chain_names: of its chains, in their order; by default the query's, else A, B, ...
    templates: structures placed on the query, from `data.templates`.
    initial_guess: a structure that the first pass goes on from: a file, or atoms [num_res, 37, 3] in Å.
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
  check_kind('plan', plan, (planning.Plan, type(None)), 'must be from make_plan')
  if on_pass is not None and not callable(on_pass):
    raise wrong('on_pass', on_pass, 'must be a function of a Pass and of what fetches the structure')
  settings = to_settings(settings, changes, make_room)
  batches.warn_of_bare_sequence(query)
  task = to_task(model, query, seed, name, templates, settings, plan.num_res if plan else None, chain_names)
  if initial_guess is not None:
    task = dataclasses.replace(task, initial_guess=_guess(initial_guess, task.batch))
  return attempts.complete(task, plan or attempts.planned(task, make_room), on_pass, make_room)


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
  return attempts.planned(Task(model, configured(model, settings), settings, batch, num_res), make_room)


def configured(model: Model, settings: Settings) -> config_dict.ConfigDict:
  """A model's configuration with these settings; dtype and kernels that were not chosen are the fastest here.

  Raises:
    InputError: there are no such kernels.
  """
  kernels = settings.kernels or model.config.kernels.implementation
  if kernels == seam.AUTO:
    kernels = tuning.preferred()
  try:
    seam.choices(kernels)
  except ValueError as error:
    raise wrong('kernels', kernels, str(error)) from error
  return dataclasses.replace(settings, dtype=settings.dtype or tuning.dtype(), kernels=kernels).apply(model.config)


def to_settings(settings: Any, changes: dict[str, Any], make_room: Any) -> Settings:
  """The settings of a prediction, whose other arguments are checked here too; JAX has started then."""
  check_kind(
    'settings', settings, (Settings, type(None)), 'must be afj.Settings(...), such as afj.Settings(num_recycle=3)'
  )
  if not callable(make_room):
    raise wrong('make_room', make_room, 'must be a function that says whether it made room')
  devices.start()
  return (settings or Settings()).with_changes(**changes)


def to_task(
  model: Any,
  query: Any,
  seed: Any,
  name: Any,
  templates: Any,
  settings: Settings,
  num_res: int | None,
  chain_names: Any = None,
) -> Task:
  """What is to be computed; InputError, or a warning to the caller of the caller, if an argument is not right."""
  check_kind('model', model, Model, 'must be a model, from afj.load_model')
  check_whole('seed', seed, 0, MAX_SEED)
  check_kind('name', name, (str, type(None)), 'must be text')
  check_kind('templates', templates, (schema.Templates, type(None)), 'must be from data.templates.stack_templates')
  merging = COLABFOLD if model.config.embedder.max_relative_chain else FOR_MONOMER_MODELS
  batch = batches.to_batch(query, templates, model.takes_couplings, merging)
  if np.any(np.asarray(batch.templates.mask)) and not planning.takes_templates(model.config, batch):
    of_chains = model.config.templates is not None
    takers = 'models of complexes take those of several chains' if of_chains else 'model_1, model_2 and mini take them'
    warnings.warn(f'templates are not used by {model.name}; {takers}', stacklevel=3)
  name = name or getattr(query, 'name', None) or 'query'
  names = tuple(chain_names or getattr(query, 'chain_names', ()))
  _check_chain_names(names, batch)
  return Task(model, configured(model, settings), settings, batch, num_res, name, seed, names)


def _guess(given: Any, batch: schema.Batch) -> np.ndarray:
  """The structure that the first pass is given, [num_res, 37, 3] Å; InputError if it is not of this protein."""
  if isinstance(given, str | Path):
    letters = ''.join(residues.MSA_ALPHABET[token] for token in batch.aatype)
    lengths = np.unique(batch.asym_id, return_counts=True)[1].tolist()
    return guessing.initial_guess(Chains.cut(letters, lengths), given)
  positions, shape = np.asarray(given), (len(batch.aatype), 37, 3)
  if positions.shape != shape or positions.dtype.kind != 'f' or not np.isfinite(positions).all():
    raise wrong('initial_guess', given, f'must be a file, or finite numbers [{shape[0]}, 37, 3] in Å')
  return positions.astype(np.float32)


def _check_chain_names(names: tuple[Any, ...], batch: schema.Batch) -> None:
  num_chains = len(np.unique(batch.asym_id))
  if names and (len(names) != num_chains or len(set(names)) != num_chains or not all(map(_is_text, names))):
    raise wrong('chain_names', names, f'must be {num_chains} different names, one for each chain')


def _is_text(value: Any) -> bool:
  return isinstance(value, str) and bool(value.strip())


def program_key(
  model: Model,
  batch: schema.Batch,
  settings: Settings,
  plan: planning.Plan | None = None,
  num_res: int | None = None,
  num_proteins: int = 1,
) -> Hashable:
  """Equal for predictions that run the same compiled program; without a plan, that of what was asked for."""
  task = Task(model, configured(model, settings), settings, batch, plan.num_res if plan else num_res)
  return task.program(plan.kernels if plan else None, num_proteins)


def forget_programs() -> None:
  """Frees the memory of all compiled programs."""
  programs.compiled.cache_clear()
  RAN_OUT.clear()
