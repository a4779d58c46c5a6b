# SPDX-License-Identifier: Apache-2.0
"""Several small proteins in one pass, which alone would leave most of an accelerator idle."""

import functools
import gc
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax

from alphafold_jax import attempts, batches, passes, schema
from alphafold_jax.arguments import check_whole, wrong
from alphafold_jax.choices import MAX_TOGETHER
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.queries import Query
from alphafold_jax.errors import NumericalError, ResourceError
from alphafold_jax.models import Model
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.record import Pass
from alphafold_jax.passes import OnPass
from alphafold_jax.prediction import to_settings, to_task
from alphafold_jax.settings import Settings
from alphafold_jax.tasks import RAN_OUT, Task

_log = logging.getLogger(__name__)
OnPassOf = Callable[[int, Pass, Callable[[], Prediction]], None]  # as OnPass, with the index of the protein before
Found = Prediction | NumericalError | ResourceError


def predict_together(
  model: Model,
  queries: Sequence[Query | Alignment | schema.Batch | str],
  *,
  seeds: Sequence[int] | int = 0,
  names: Sequence[str | None] | None = None,
  chain_names: Sequence[Sequence[str] | None] | None = None,
  num_proteins: int | None = None,
  num_res: int | None = None,
  settings: Settings | None = None,
  on_pass: OnPassOf | None = None,
  make_room: Callable[[], bool] = lambda: False,
  **changes: Any,
) -> list[Found]:
  """Predicts several small proteins, or one with several seeds, those of like sizes in one pass.

  Each comes out as `predict` gives it, up to rounding, and ends its recycling by itself. Together are those of one
  padded length, of as many templates and rows of a pass; fewer than a program takes are filled up, so that nothing is
  compiled for them. Where memory is short, half as many are computed together.

  Args:
    model: from `load_model`.
    queries: each as for `predict`.
    seeds: of each, or one for all.
    names: of each; by default the query's.
    chain_names: of the chains of each, in their order; by default the query's, else A, B, ...
    num_proteins: how many are computed in one pass, at most 64; None: what the device is good for, on CPUs one.
    num_res: padded residues of all; None: each by its own length.
    settings: how to run.
    on_pass: called after each pass of each protein with its index and what `predict` gives.
    make_room: as for `predict`.
    **changes: fields of Settings to change, such as num_recycle=3.

  Returns:
    of each its prediction, or the error that `predict` would have raised: it gave NaN in float32 too, or does not fit.

  Raises:
    InputError: a query or a setting cannot be used, or there are fewer devices than it says.
  """
  if isinstance(queries, str) or not isinstance(queries, Sequence):
    raise wrong('queries', queries, 'must be a list of queries')
  settings = to_settings(settings, changes, make_room)
  _check_number(num_proteins, settings)
  for query in queries:
    batches.warn_of_bare_sequence(query)
  given = {'seeds': seeds, 'names': names, 'chain_names': chain_names}
  rows = zip(queries, *(_of_each(key, values, queries) for key, values in given.items()))
  tasks = [to_task(model, query, seed, name, None, settings, num_res, chains) for query, seed, name, chains in rows]
  found: dict[int, Found] = {}
  for group in _groups(tasks):
    several = num_proteins or tasks[group[0]].together(len(group))
    tell = [on_pass and functools.partial(on_pass, index) for index in group]
    found |= zip(group, _computed([tasks[index] for index in group], tell, several, make_room))
  return [found[index] for index in range(len(tasks))]


def _check_number(num_proteins: Any, settings: Settings) -> None:
  if num_proteins is not None:
    check_whole('num_proteins', num_proteins, 1, MAX_TOGETHER)
    if num_proteins > 1 and settings.num_devices > 1:
      raise wrong('num_proteins', num_proteins, 'must be 1 where several devices share a protein (num_devices)')


def _of_each(name: str, values: Any, queries: Sequence[Any]) -> list[Any]:
  """A value for each query: the same for all, or from a list."""
  if isinstance(values, str) or not isinstance(values, Sequence):
    return [values] * len(queries)
  if len(values) != len(queries):
    raise wrong(name, values, f'must be as many as there are queries, {len(queries)}')
  return list(values)


def _groups(tasks: Sequence[Task]) -> list[list[int]]:
  """Indices of tasks of one program."""
  found: dict[Hashable, list[int]] = {}
  for index, task in enumerate(tasks):
    found.setdefault(task.program(), []).append(index)
  return list(found.values())


def _computed(
  tasks: Sequence[Task], on_pass: Sequence[OnPass | None], several: int, make_room: Callable[[], bool]
) -> list[Found]:
  """Computes proteins of one program, so many at a time, or fewer where memory is short."""
  found: list[Found] = []
  while len(found) < len(tasks):
    part = slice(len(found), len(found) + several)
    if several == 1:
      found += [_alone(task, tell, make_room) for task, tell in zip(tasks[part], on_pass[part])]
    elif (at_once := _at_once(tasks[part], on_pass[part], several)) is None:
      several //= 2
    else:
      found += [
        _alone(task, tell, make_room, one) if isinstance(one, NumericalError) else one
        for task, tell, one in zip(tasks[part], on_pass[part], at_once)
      ]
  return found


def _alone(
  task: Task, on_pass: OnPass | None, make_room: Callable[[], bool], error: NumericalError | None = None
) -> Found:
  """What becomes of a protein alone; after an error, in float32, unless that was so before."""
  if error is not None and task.config.dtype == 'float32':
    return error
  try:
    if error is not None:
      return attempts.in_float32(task, on_pass, make_room)
    return attempts.complete(task, attempts.planned(task, make_room), on_pass, make_room)
  except (NumericalError, ResourceError) as raised:
    return raised


def _at_once(
  tasks: Sequence[Task], on_pass: Sequence[OnPass | None], several: int
) -> list[Prediction | NumericalError] | None:
  """What becomes of proteins in a program of several; None if it would need slices, or memory ran out."""
  try:
    plan = tasks[0].plan(several)
  except ResourceError:
    return None
  if plan.step:
    return None
  try:
    return passes.run(tasks, plan, on_pass)
  except jax.errors.JaxRuntimeError as error:
    if not attempts.ran_out(error):
      raise
  gc.collect()  # the error's traceback held the arrays
  _log.warning('the device ran out of memory with %d proteins together; beginning again with fewer', several)
  RAN_OUT.add(tasks[0].program(plan.kernels, several))
  return None
