# SPDX-License-Identifier: Apache-2.0
"""The door of relaxation: structures relaxed in processes of their own, several at once, each with a time limit."""

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, errors, folders, machine
from alphafold_jax.arguments import check_kind, is_number, is_whole, wrong
from alphafold_jax.errors import AlphaFoldError, InputError, ResourceError
from alphafold_jax.one_line import one_line
from alphafold_jax.output.record import PredictionRecord
from alphafold_jax.relaxation import engine, protocols
from alphafold_jax.relaxation.forms import MMCIF, PDB
from alphafold_jax.relaxation.protocols import OFFICIAL, Protocol
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)
MAX_SECONDS = 3600.0  # of one structure, where nobody says otherwise
_GPUS = ('CUDA', 'HIP', 'OpenCL')  # tried in this order, then CPU
_THREADS = 4  # of one structure, at most: more gain little
Ended = Callable[[int, 'Relaxed | AlphaFoldError'], None]


@dataclasses.dataclass(frozen=True)
class RelaxPlan:
  """How structures are relaxed, and on what."""

  protocol: Protocol = OFFICIAL
  use_gpu: bool = False  # CUDA, HIP or OpenCL, where they can be used; else CPUs
  time_limit: float = MAX_SECONDS  # seconds of one structure
  workers: int | None = None  # structures at once; None: what the processors are good for, on GPUs one

  def __post_init__(self):
    if not is_number(self.time_limit, 1e-3, 1e9):
      raise wrong('time_limit', self.time_limit, 'must be more than 0 seconds')
    if self.workers is not None and not is_whole(self.workers, 1):
      raise wrong('workers', self.workers, 'must be 1 or more')

  @property
  def platforms(self) -> tuple[str, ...]:
    """Of OpenMM, in the order in which they are tried."""
    return (*(_GPUS if self.use_gpu else ()), 'CPU')


@dataclasses.dataclass(frozen=True, eq=False)
class Relaxed:
  """A relaxed structure, and what is known of how it went."""

  text: str  # of its PDB or mmCIF file
  form: str  # '.pdb' or '.cif'
  record: Mapping[str, Any]  # see docs/relaxation.md; energies in kcal/mol, distances in Å

  def save(self, path: str | Path) -> Path:
    """Writes the structure; returns the path."""
    atomic.write_text(path, self.text)
    return Path(path)

  @property
  def told(self) -> str:
    """How it went, in a line."""
    of = self.record
    out = of['violating_residues_before'], int(of['remaining_violations_count'])
    clashes = of['violations_before']['clashes'], of['violations_after']['clashes']
    return (
      f'{_energy(of["energy_before"])} -> {_energy(of["energy_after"])} kcal/mol, '
      f'violating residues {out[0]} -> {out[1]}, clashes {clashes[0]} -> {clashes[1]}, '
      f'moved {of["rmsd_heavy_atoms"]:.2f} Å, {of["seconds"]:.0f} s on {of["platform"]}'
    )

  @property
  def how(self) -> str:
    """How it was made, in a line: protocol, force field, engine, rounds."""
    of, by = self.record, protocols.from_json(self.record['protocol'])
    rounds = f'{number(len(of["rounds"]), "round")} of at most {by.max_outer_iterations}'
    return (
      f'{by.name} protocol: {by.said}; {rounds}; OpenMM {of["openmm"]}, pdbfixer {of["pdbfixer"]}, {of["platform"]}'
    )

  __repr__ = one_line


def _energy(value: float) -> str:
  """'-9,130', or '1.7e+19' where atoms lie on top of one another."""
  return f'{value:,.0f}' if abs(value) < 1e7 else f'{value:.1e}'


def relax(
  source: str | Path | PredictionRecord,
  protocol: str = OFFICIAL.name,
  *,
  use_gpu: bool = False,
  time_limit: float = MAX_SECONDS,
  **changes: Any,
) -> Relaxed:
  """Relaxes a prediction, or the protein of a PDB or mmCIF file, in a process of its own.

  Args:
    source: a prediction, or a file (also .gz).
    protocol: 'official', or 'fast'.
    use_gpu: try GPUs first.
    time_limit: seconds.
    **changes: fields of the protocol to change, such as max_iterations=0 (no limit).

  Raises:
    InputError: it cannot be relaxed, and the message says why; or OpenMM is not installed.
    ResourceError: the time is over, or the process died.
    NumericalError: no finite energy.
  """
  check_kind('source', source, (str, os.PathLike, PredictionRecord), 'must be a prediction, or the name of a file')
  plan = RelaxPlan(protocols.protocol(protocol, **changes), use_gpu, time_limit, workers=1)
  found = relax_all([source], plan)[0]
  if isinstance(found, AlphaFoldError):
    raise found
  return found


def relax_all(
  sources: Sequence[str | Path | PredictionRecord],
  plan: RelaxPlan = RelaxPlan(),
  ended: Ended = lambda index, found: None,
) -> 'list[Relaxed | AlphaFoldError]':
  """Relaxes structures, several at once; what went wrong with one stands in its place, and ends no other.

  Args:
    sources: predictions or files.
    plan: how, and on what.
    ended: called with the place of each and what came of it, as they end.

  Raises:
    InputError: OpenMM or pdbfixer is not installed.
  """
  engine.check_installed()
  found: list[Relaxed | AlphaFoldError] = [ResourceError('not begun')] * len(sources)
  at_once = _at_once(plan, len(sources))
  threads = max(1, min(_THREADS, machine.num_processors() // at_once))
  with tempfile.TemporaryDirectory(prefix='relax-', ignore_cleanup_errors=True) as folder, _Processes() as processes:
    jobs = {
      processes.pool(at_once).submit(_outcome, processes, source, plan, Path(folder) / str(i), threads): i
      for i, source in enumerate(sources)
    }
    for job in concurrent.futures.as_completed(jobs):
      found[jobs[job]] = job.result()
      ended(jobs[job], found[jobs[job]])
  return found


def _at_once(plan: RelaxPlan, count: int) -> int:
  """How many structures are relaxed at once."""
  usual = 1 if plan.use_gpu else machine.num_processors()
  return max(1, min(plan.workers or usual, count))


# ------------------------------------------------------------------------------------------ one structure


def _outcome(
  processes: '_Processes', source: str | Path | PredictionRecord, plan: RelaxPlan, folder: Path, threads: int
) -> 'Relaxed | AlphaFoldError':
  """The relaxed structure, or why there is none."""
  try:
    folder.mkdir()
    path = _file_of(source, folder)
    try:
      return _answered(processes, path, plan, plan.platforms, folder, threads)
    except _Died as death:
      if not plan.use_gpu:
        raise ResourceError(f'{path}: its process {death}') from None
      _log.warning('%s: the process on a GPU %s; relaxed on CPUs', path, death)
    try:
      return _answered(processes, path, plan, plan.platforms[-1:], folder, threads)
    except _Died as death:
      raise ResourceError(f'{path}: its process {death}') from None
  except AlphaFoldError as error:
    return error
  except OSError as error:
    return ResourceError(atomic.of_system(error))


def _file_of(source: str | Path | PredictionRecord, folder: Path) -> Path:
  """The file of a structure; that of a prediction is written."""
  if not isinstance(source, PredictionRecord):
    return folders.expanded(source)
  from alphafold_jax.output import mmcif, pdb  # slow to load, and not for the worker

  try:
    text, form = pdb.to_pdb(source), PDB
  except InputError:  # too long for its columns
    text, form = mmcif.to_mmcif(source, source.job), MMCIF
  path = folder / f'{source.job}{form}'
  atomic.write_text(path, text)
  return path


class _Died(Exception):
  """A process ended without an answer; how."""


def _answered(
  processes: '_Processes', path: Path, plan: RelaxPlan, platforms: Sequence[str], folder: Path, threads: int
) -> Relaxed:
  """Asks a process; raises what it says went wrong, `_Died`, or ResourceError where the time is over."""
  request, answer = folder / 'request.json', folder / 'answer.json'
  asked = {'source': str(path), 'protocol': dataclasses.asdict(plan.protocol), 'platforms': platforms}
  atomic.write_text(request, json.dumps(asked | {'answer': str(answer)}))
  said = folder / 'said.txt'
  with open(said, 'wb') as output:
    try:
      code = processes.run([sys.executable, '-m', engine.WORKER, str(request)], output, plan, threads)
    except subprocess.TimeoutExpired:
      raise ResourceError(
        f'{path}: not relaxed within {plan.time_limit:g} s; '
        'allow more time or fewer iterations, or take the fast protocol'
      ) from None
  if not answer.exists():
    raise _Died(engine.how_it_ended(code, said.read_text(encoding='utf-8', errors='replace')))
  content = json.loads(answer.read_text(encoding='utf-8'))
  if 'error' in content:
    message = content['message'] if str(path) in content['message'] else f'{path}: {content["message"]}'
    raise getattr(errors, content['error'])(message)
  return Relaxed(**content)


class _Processes:
  """The processes that run now; none outlives the block."""

  def __init__(self) -> None:
    self._running: set[subprocess.Popen] = set()
    self._lock = threading.Lock()
    self._is_over = False
    self._pool: concurrent.futures.ThreadPoolExecutor | None = None

  def __enter__(self) -> '_Processes':
    return self

  def __exit__(self, *_: object) -> None:
    with self._lock:
      self._is_over = True
      for process in self._running:
        process.kill()
    if self._pool is not None:
      self._pool.shutdown(cancel_futures=True)

  def pool(self, at_once: int) -> concurrent.futures.ThreadPoolExecutor:
    """The threads that wait for them."""
    if self._pool is None:
      self._pool = concurrent.futures.ThreadPoolExecutor(at_once)
    return self._pool

  def run(self, command: Sequence[str], output: Any, plan: RelaxPlan, threads: int) -> int:
    """Runs a process to its end, or to the time limit, and returns its exit code."""
    with self._started(command, output, engine.environment(threads)) as process:
      try:
        return process.wait(plan.time_limit)
      finally:
        process.kill()
        process.wait()

  @contextlib.contextmanager
  def _started(self, command: Sequence[str], output: Any, environment: Mapping[str, str]) -> Iterator[subprocess.Popen]:
    with self._lock:
      if self._is_over:
        raise ResourceError('stopped')
      process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
      )
      self._running.add(process)
    try:
      yield process
    finally:
      with self._lock:
        self._running.discard(process)
