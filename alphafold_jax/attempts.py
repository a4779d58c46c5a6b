# SPDX-License-Identifier: Apache-2.0
"""A protein is computed as the memory there is and the dtype allow: where one way fails, the next is tried."""

import contextlib
import dataclasses
import gc
import logging
from collections.abc import Callable

import jax

from alphafold_jax import config as configs
from alphafold_jax import passes, planning
from alphafold_jax.errors import NumericalError, ResourceError
from alphafold_jax.output.files import Prediction
from alphafold_jax.passes import OnPass
from alphafold_jax.screen import number
from alphafold_jax.tasks import RAN_OUT, Task

_log = logging.getLogger(__name__)


def complete(task: Task, plan: planning.Plan, on_pass: OnPass | None, make_room: Callable[[], bool]) -> Prediction:
  """Computes a protein alone, in float32 if it overflows in another dtype."""
  try:
    return _in_memory(task, plan, on_pass, make_room)
  except NumericalError:
    if task.config.dtype == 'float32':
      raise
  return in_float32(task, on_pass, make_room)


def in_float32(task: Task, on_pass: OnPass | None, make_room: Callable[[], bool]) -> Prediction:
  """Computes a protein alone once more, after it overflowed in another dtype."""
  name, dtype = task.model.name, task.config.dtype
  _log.warning('%s: %s gave NaN or infinity in %s; computing again in float32', task.name, name, dtype)
  task = dataclasses.replace(task, config=configs.changed(task.config, {'dtype': 'float32'}))
  return _in_memory(task, planned(task, make_room), on_pass, make_room)


def _in_memory(task: Task, plan: planning.Plan, on_pass: OnPass | None, make_room: Callable[[], bool]) -> Prediction:
  """Runs by plan; when memory runs out nevertheless, makes room or else goes a step down, and begins again."""
  while True:
    task = task.padded_to(plan.num_res)
    try:
      return _run(task, plan, on_pass)
    except jax.errors.JaxRuntimeError as error:
      if not ran_out(error):
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
      RAN_OUT.add(task.program(plan.kernels))
      plan = below


def _below(task: Task, plan: planning.Plan) -> planning.Plan | None:
  """What takes less memory than a plan: less padding, or else the step below."""
  if task.alone.sizes['num_res'] < plan.num_res:
    with contextlib.suppress(ResourceError):
      return task.alone.plan()
  return plan.below


def _run(task: Task, plan: planning.Plan, on_pass: OnPass | None) -> Prediction:
  (found,) = passes.run([task], plan, [on_pass])
  if isinstance(found, NumericalError):
    raise found
  return found


def planned(task: Task, make_room: Callable[[], bool]) -> planning.Plan:
  """The plan; pads as if alone, and makes room, rather than compute otherwise than asked."""
  if task.num_res is not None:
    with contextlib.suppress(ResourceError):
      if not (found := task.plan()).step:
        return found
    task = task.alone
  while True:
    try:
      found = task.plan()
    except ResourceError:
      if not make_room():
        raise
    else:
      if not found.step or not make_room():
        return found


def ran_out(error: jax.errors.JaxRuntimeError) -> bool:
  """Whether a device ran out of memory."""
  return 'RESOURCE_EXHAUSTED' in str(error)
