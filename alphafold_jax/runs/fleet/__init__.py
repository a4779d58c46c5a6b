# SPDX-License-Identifier: Apache-2.0
"""Who does it: this process, others of this machine, a Ray cluster, and all that share the output folder.

places        which devices of this machine, or which Ray
processes     this process, or child processes of it
actors        actors on Ray, of this machine, or of all machines of a cluster
queue         which protein comes next; the shares of shards
claims        who works on which protein, over processes and hosts
dtype         in which the folder is computed where nobody chose one
lengths       to which proteins are padded
models        parameters located, identified, loaded and kept, and the device that they are for
predicting    one protein with all its models and seeds
beside        the host's work beside the device: features ahead and files behind
progress      how far it has come, time left
"""

import importlib.util
import logging
from collections.abc import Sequence
from typing import Any

from alphafold_jax.errors import InputError, how_to_install
from alphafold_jax.runs.files import HIDDEN
from alphafold_jax.runs.fleet import actors, lengths, processes, progress
from alphafold_jax.runs.fleet.claims import Claims
from alphafold_jax.runs.fleet.dtype import settled
from alphafold_jax.runs.fleet.lengths import Lengths
from alphafold_jax.runs.fleet.models import Models
from alphafold_jax.runs.fleet.places import Place, expects_accelerators, on_this_machine
from alphafold_jax.runs.fleet.predicting import CannotWrite, Setup
from alphafold_jax.runs.fleet.queue import Workload, of_shard
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job
from alphafold_jax.screen import Screen

__all__ = [
  'Lengths', 'Models', 'Place', 'Setup', 'Workload', 'lengths_of', 'of_shard', 'places_of', 'predict_all', 'settled',
]  # fmt: skip

_log = logging.getLogger(__name__)


def places_of(options: Options) -> list[Place]:
  """A place on this machine for each process that will predict; none if a cluster decides.

  Raises:
    InputError: there are fewer GPUs, or Ray is wanted and is not installed.
  """
  if options.ray is None:
    return on_this_machine(options.workers, options.settings.num_devices)
  if not _has_ray():
    raise InputError(f'--ray needs Ray, which is not installed; {how_to_install("cluster")}')
  return []


def lengths_of(jobs: Sequence[Job], options: Options) -> Lengths:
  """The padded lengths of a run, of all its proteins."""
  options = options.of(all(job.is_complex for job in jobs))
  return lengths.of_run([job.num_res for job in jobs], options, expects_accelerators(options.ray is not None))


def predict_all(workload: Workload, places: Sequence[Place], console: Any, screen: Screen | None) -> None:
  """Has all proteins predicted, in the simplest way that uses all places; how each ended is in the ledger.

  Args:
    workload: what there is.
    places: from `places_of`.
    console: rich's, for a live display; None: without.
    screen: what the person sees; None: nothing.

  Raises:
    AlphaFoldError: no further protein can be run.
  """
  places = places[: max(1, len(workload.own) + len(workload.others))]
  folder = workload.setup.out / HIDDEN
  try:
    if len(places) > 1 and not _has_ray():
      processes.run_children(workload, places, screen)
      return
    with Claims(folder, blames=len(places) == 1) as claims, progress.displayed(workload.clock(), console) as shown:
      if len(places) == 1:
        processes.run_here(workload, claims, shown)
      else:
        actors.run_actors(workload, claims, shown, places)
  except CannotWrite as error:
    _log.error('%s: %s. No further protein is run', error.job, error.message)
    job = next(job for job in (*workload.own, *workload.others) if job.name == error.job)
    workload.ledger.fail(job, 'output', error.cause, error.message)


def _has_ray() -> bool:
  return importlib.util.find_spec('ray') is not None
