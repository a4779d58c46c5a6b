# SPDX-License-Identifier: Apache-2.0
"""In which dtype an output folder is computed where nobody chose one: decided once, by whoever begins the folder.

    OUT/.results/dtype.json    the dtype of the predictions in the folder, on every machine

It is decided before there are digests, and all processes of a run are given it like any other setting. So a folder
that was begun in bfloat16 goes on in bfloat16 where that is slower, and nothing in it is mixed or computed twice. A run
that chooses another dtype replaces files, as with any other setting, and leaves the record as it is.
"""

import concurrent.futures
import dataclasses
import functools
import json
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from alphafold_jax import atomic, dtypes, sharing, untrusted
from alphafold_jax.choices import DTYPES
from alphafold_jax.data.padding import residue_bucket
from alphafold_jax.runs.files import HIDDEN
from alphafold_jax.runs.fleet import lengths, models, places, processes
from alphafold_jax.runs.fleet.places import Place
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job

_log = logging.getLogger(__name__)
_FILE = 'dtype.json'
_ROWS = 32  # alignment rows that proteins have at least, or so
_UNDECIDED = 2.0  # seconds after which a file without a dtype in it is nobody's any more
_POLL = 0.02
_T = TypeVar('_T')


def settled(options: Options, out: Path, jobs: Sequence[Job], where: Sequence[Place]) -> Options:
  """The options with a dtype: the one that was chosen, else the folder's, else the one that pays on this machine.

  Of processes that begin a folder at the same time, the first to put its dtype on record decides for all. Must be
  called inside of `sharing.using`, which keeps those apart that chose a dtype.

  Args:
    options: of the run.
    out: the output folder.
    jobs: what will be predicted, which says whether measuring is worth it.
    where: places of the processes that predict; none if a Ray cluster decides.

  Raises:
    InputError, ResourceError: the folder cannot be written, or JAX does not start.
  """
  path = out / HIDDEN / _FILE
  chosen, begun = options.settings.dtype, _on_record(path) or _of_config(out)
  if known := begun or chosen:
    begun = _recorded(path, known)
    if chosen:
      _log.info('dtype: %s, as chosen%s', chosen, f'; this folder was begun in {begun}' if chosen != begun else '')
      return options
    _log.info('dtype: %s, in which this folder was begun; --dtype computes it anew in another', begun)
    return _with(options, begun)
  choice = _decided(options, jobs, where)
  begun = _recorded(path, choice.dtype)
  _log.info('dtype: %s', choice if begun == choice.dtype else f'{begun}, in which another process began this folder')
  return _with(options, begun)


def _with(options: Options, dtype: str) -> Options:
  return dataclasses.replace(options, settings=dataclasses.replace(options.settings, dtype=dtype))


# ------------------------------------------------------------------------------------------ on record


def _recorded(path: Path, dtype: str) -> str:
  """Puts a dtype on record, unless there is one; returns the one that is."""
  if not sharing.create(path, {'dtype': dtype}):
    if (other := _on_record(path)) is not None:
      return other
    atomic.write_text(path, json.dumps({'dtype': dtype}))
  return dtype


def _on_record(path: Path) -> str | None:
  """The dtype on record, waiting for whoever writes it now; None if there is none, or what is there is damaged."""
  until = time.monotonic() + _UNDECIDED
  while (found := sharing.read(path, {'dtype': str})) is not None:
    if (dtype := found[1].get('dtype')) in DTYPES:
      return dtype
    if time.monotonic() > until:
      break
    time.sleep(_POLL)
  return None


def _of_config(out: Path) -> str | None:
  """The dtype that the record of a run names, where the hidden one is gone; None if there is none."""
  for path in sorted(out.glob('config*.json')):
    try:
      dtype = untrusted.from_json(path.read_text(encoding='utf-8'))['device']['dtype']
    except (OSError, ValueError, KeyError, TypeError):
      continue
    if dtype in DTYPES:
      return dtype
  return None


# ------------------------------------------------------------------------------------------ by the device


def _decided(options: Options, jobs: Sequence[Job], where: Sequence[Place]) -> dtypes.DtypeChoice:
  """The dtype that pays on what will be computed on.

  A process that leads others does not load JAX, nor one that has GPUs, whose memory a search may want first.
  """
  if places.visible_gpus() or (options.ray and places.is_for_gpus()):
    return dtypes.default('gpu')
  work = operations(options, jobs)
  if len(where) == 1:
    return dtypes.default(_backend(options), work, _measured)
  return dtypes.default('cpu', work, functools.partial(_elsewhere, _measured, options))


def _backend(options: Options) -> str:
  """Starts JAX."""
  models.prepare(options)
  from alphafold_jax import devices

  return devices.start()[0].platform


def _measured() -> dtypes.Measurement:
  from alphafold_jax import tuning

  return tuning.measure_dtype()


def _elsewhere(task: Callable[[], _T], options: Options) -> _T:
  """Does something that needs JAX in another process."""
  spawned: Any = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(1, spawned, processes.end_with_parent) as pool:
    pool.submit(_backend, options).result()
    return pool.submit(task).result()


def operations(options: Options, jobs: Sequence[Job]) -> float:
  """About how many floating-point operations a run will take at least: of few rows, padded no further than alone."""
  of_protein = lengths.of_protein(options, _ROWS)
  proteins = Counter(residue_bucket(job.num_res) for job in jobs)
  return sum(count * of_protein(length) for length, count in proteins.items())
