# SPDX-License-Identifier: Apache-2.0
"""The commands that benchmarks/faults.py disturbs, runs of them, and what of their files must be the same every time.

What may differ is named here and nowhere else: ALLOWED keys and columns, and the files of LEFT_OUT.
"""

import contextlib
import csv
import dataclasses
import fnmatch
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import turns

ALLOWED = (
  'date',
  'finished',
  'seconds',
  'free_bytes',
  'compilation_cache',
  'mtime_ns',
  'seconds_per_step',
  'samples_per_second',
  'hours_left',
)
EQUAL = {'already done': 'done'}  # in summary.csv: which of two runs did a protein
ALLOWED_WORDS = 'dates, durations, free memory, the folder of compiled programs, `already done` for `done`'
LEFT_OUT = (  # who did what and when: logs, claims, runs, locks; and what a killed process left half-written
  'log*.txt', 'claim.*', '.run.*', '.*.part', 'lock', '.lock', 'events.out.*', 'checkpoints',
)  # fmt: skip
LEFT_OUT_WORDS = 'log.txt, claims, records of runs, locks, TensorBoard events, hidden .part files'
_LIMIT = 600  # seconds of one run
_TELLING = re.compile('done before|already done|going on|taken over|abandon|cannot be|is full|are free|re-?installed')
SEQUENCES = {'p': 'MKTAYIAKQRQISFVKSHFS', 'q': 'GSHMKELAARLDQTFWVNPC', 'r': 'MADEEKLPPGWEKRMSRSSGRVYYFNHITNAS'}
_QUICK = {'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true'}  # a step compiles for minutes, and computes for milliseconds
_DOWNLOADED = {  # what the archive of the download holds: large enough to be killed in the middle of
  f'alphafold/alphafold_iteration/part_{i}//weights': (1000, 2000) for i in range(4)
}


@dataclasses.dataclass(frozen=True)
class Command:
  """One command of the program."""

  name: str
  arguments: Callable[[Path, Path], Sequence[str]]  # given the folder of inputs, and OUT
  prepare: Callable[[Path], None] = lambda inputs: None
  finally_: Callable[[Path, Path], Mapping[str, str]] = lambda out, inputs: {}  # further digests
  program: Sequence[str] = ('-m', 'alphafold_jax')
  env: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def line(self, inputs: Path, out: Path) -> list[str]:
    """The command line."""
    return [sys.executable, *self.program, *self.arguments(inputs, out)]


def environment(cache: Path) -> dict[str, str]:
  """Of a process that keeps what it compiles and finds in a folder."""
  paths = os.pathsep.join([str(turns.ROOT), str(turns.ROOT / 'tests')])
  kept = {name: value for name, value in os.environ.items() if not name.startswith(('ALPHAFOLD_JAX_', 'JAX_COMP'))}
  return kept | {
    'XDG_CACHE_HOME': str(cache),
    'PYTHONPATH': paths,
    'JAX_PLATFORMS': 'cpu',
    'RAY_USAGE_STATS_ENABLED': '0',
  }


# ------------------------------------------------------------------------------------------ what is left behind


def digests(out: Path, command: Command, inputs: Path) -> dict[str, str]:
  """A digest of every file of a command, without what may differ."""
  found = {}
  for path in sorted(path for path in out.rglob('*') if path.is_file()):
    name = path.relative_to(out)
    if not any(fnmatch.fnmatch(part, pattern) for part in name.parts for pattern in LEFT_OUT):
      found[str(name)] = hashlib.sha256(_essence(path, out)).hexdigest()[:16]
  return found | dict(command.finally_(out, inputs))


def _essence(path: Path, out: Path) -> bytes:
  """The content of a file without what may differ; the place of OUT itself is replaced."""
  if path.suffix == '.npz':
    return _arrays(path)
  content = path.read_bytes().replace(str(out.parent).encode(), b'@')
  if path.suffix == '.json' or path.name.endswith('.done.txt'):
    return json.dumps(_without(json.loads(content))).encode()
  if path.suffix == '.csv':
    rows = csv.DictReader(io.StringIO(content.decode()))
    same = [{name: EQUAL.get(value, value) for name, value in row.items() if name not in ALLOWED} for row in rows]
    return json.dumps(same).encode()
  return content


def _without(value: Any) -> Any:
  if isinstance(value, dict):
    return {name: _without(one) for name, one in value.items() if name not in ALLOWED}
  return [_without(one) for one in value] if isinstance(value, list) else value


def _arrays(path: Path) -> bytes:
  """Names and bytes of the arrays; those that hold JSON without what may differ."""
  state = hashlib.sha256()
  with np.load(path, allow_pickle=False) as archive:
    for name in sorted(archive.files):
      array = archive[name]
      text = name.startswith('__')
      state.update(name.encode())
      state.update(json.dumps(_without(json.loads(array.tobytes()))).encode() if text else array.tobytes())
  return state.digest()


# ------------------------------------------------------------------------------------------ runs of them


class Ended(NamedTuple):
  """How a run ended: its exit code, negative for a signal, and all it said."""

  code: int
  said: str

  def word(self) -> str:
    """The line that says most to a person: what was kept of an earlier run or failed, else the last."""
    lines = [re.sub(r'^[-\d]{10} [:\d]{8} ', '', line).strip() for line in self.said.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)]
    return (telling or lines or ['nothing'])[-1]


@dataclasses.dataclass(frozen=True)
class Stage:
  """A command with its inputs, and what it leaves when nobody disturbs it."""

  command: Command
  inputs: Path
  cache: Path
  seconds: float
  expected: dict[str, str]
  num_bytes: int  # of all its files

  def start(self, out: Path, cache: Path, *, prefix: Sequence[str] = (), **env: str) -> 'Running':
    return Running([*prefix, *self.command.line(self.inputs, out)], {**environment(cache), **self.command.env, **env})


class Running:
  """A run, in a process group of its own."""

  def __init__(self, line: Sequence[str], env: dict[str, str]):
    self._said = tempfile.TemporaryFile('w+', errors='replace')  # noqa: SIM115 (open until `end`)
    self._process = subprocess.Popen(
      line, env=env, stdout=self._said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
    )

  def end(self, kill_after: float | None = None) -> Ended:
    """Waits for the end, or kills all its processes after some seconds."""
    try:
      self._process.wait(_LIMIT if kill_after is None else kill_after)
    except subprocess.TimeoutExpired:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(self._process.pid, signal.SIGKILL)
      self._process.wait()
    with self._said as said:
      said.seek(0)
      return Ended(self._process.returncode, said.read())


def make_stage(command: Command, work: Path) -> Stage:
  """Runs the command undisturbed, twice: the first fills the cache, the second is what all others are compared with."""
  inputs, cache = work / 'inputs', work / 'cache'
  for folder in (inputs, cache):
    folder.mkdir(parents=True)
  command.prepare(inputs)
  bare = Stage(command, inputs, cache, 0.0, {}, 0)
  for name in ('first', 'second'):
    if command.name == 'msa':  # what it finds is kept: each run has to search
      shutil.rmtree(cache)
      cache.mkdir()
    out = work / name / 'out'
    out.parent.mkdir()
    begin = time.monotonic()
    ended = bare.start(out, cache).end()
    if ended.code:
      raise RuntimeError(f'{command.name} ends with {ended.code} without being disturbed: {ended.said[-3000:]}')
  seconds = time.monotonic() - begin
  num_bytes = sum(path.stat().st_size for path in out.rglob('*') if path.is_file())
  return dataclasses.replace(bare, seconds=seconds, expected=digests(out, command, inputs), num_bytes=num_bytes)


# ------------------------------------------------------------------------------------------ the commands


def _fasta(inputs: Path) -> None:
  (inputs / 'in.fasta').write_text(''.join(f'>{name}\n{sequence}\n' for name, sequence in SEQUENCES.items()))


def _predict(*more: str) -> Callable[[Path, Path], Sequence[str]]:
  flags = ('--msa-mode', 'single_sequence', '--num-recycle', '1', '--num-seeds', '2', *more)
  return lambda inputs, out: ['predict', str(inputs / 'in.fasta'), str(out), *flags]


def _training_set(inputs: Path) -> None:
  data = turns.ROOT / 'tests' / 'data'
  (inputs / 'table.csv').write_text('id,split\n4zey_A,train\n1u5y_D,validation\n')
  files = [str(data / name) for name in ('4zey.cif.gz', '1u5y_D.cif.gz')]
  command = ['dataset', *files, str(inputs / 'set'), '--table', str(inputs / 'table.csv'), '--processes', '1']
  done = subprocess.run([sys.executable, '-m', 'alphafold_jax', *command], env=environment(inputs), capture_output=True)
  if done.returncode:
    raise RuntimeError(done.stderr.decode())


def _train(inputs: Path, out: Path) -> Sequence[str]:
  experiment = str(turns.ROOT / 'tests' / 'small_experiment.py')
  changes = ('run.checkpoint_every=2', 'run.num_samples=24', 'run.validate_every=4')
  return ['train', str(out), '--data', str(inputs / 'set'), '--config', experiment] + [
    word for change in changes for word in ('--config', change)
  ]


def _trained(out: Path, inputs: Path) -> Mapping[str, str]:
  """The parameters that the run ends with."""
  target = out.parent / 'trained.npz'
  command = [sys.executable, '-m', 'alphafold_jax', 'params', 'export', str(out), str(target)]
  done = subprocess.run(command, env=environment(inputs), capture_output=True)
  return {'parameters': hashlib.sha256(_arrays(target)).hexdigest()[:16] if not done.returncode else 'not to be had'}


@functools.cache
def _archive() -> bytes:
  import parameter_server
  from small_archives import tar_of

  files = {f'params_{model}.npz': parameter_server.parameter_file(i, _DOWNLOADED) for i, model in
           enumerate(parameter_server.MODELS)}  # fmt: skip
  return tar_of({'LICENSE': b'CC BY 4.0', **files})


def download(url: str, target: str) -> int:
  """`params download` of an archive that is small; the command itself takes published ones only."""
  import logging

  import parameter_server

  from alphafold_jax.errors import AlphaFoldError
  from alphafold_jax.weights import store

  logging.basicConfig(level=logging.INFO, format='%(message)s')
  try:
    archive = store.Archive(url, models=parameter_server.MODELS)
    store.download(archive, target, expected=lambda model: _DOWNLOADED)
  except AlphaFoldError as error:
    print(error, file=sys.stderr)
    return 2
  return 0


@contextlib.contextmanager
def commands(chosen: Sequence[str]) -> Iterator[dict[str, Command]]:
  """The commands by name, with the servers and the cluster that those chosen need while the block runs."""
  import msa_server
  import parameter_server

  with contextlib.ExitStack() as stack:
    search = stack.enter_context(msa_server.serving()).url
    files = stack.enter_context(parameter_server.serving(_archive() if 'download' in chosen else b'')).url
    ray = stack.enter_context(_cluster()) if 'ray' in chosen else ''
    server = ('--msa-mode', 'server', '--host-url', search)
    made = (
      Command('predict', _predict(), _fasta),
      Command('workers', _predict('--workers', '2'), _fasta),
      Command('ray', _predict('--ray', ray, '--workers', '2'), _fasta),
      Command('train', _train, _training_set, _trained, env=_QUICK),
      Command('msa', lambda inputs, out: ['msa', str(inputs / 'in.fasta'), str(out), *server], _fasta),
      Command('download', lambda inputs, out: ['--download', files, str(out)],
              program=(str(Path(__file__).with_name('faults.py')),)),
    )  # fmt: skip
    yield {command.name: command for command in made}


@contextlib.contextmanager
def _cluster() -> Iterator[str]:
  """A Ray cluster of this machine alone, and its address; ends only its own processes."""
  from ray.cluster_utils import Cluster

  before = dict(os.environ)
  os.environ |= {'PYTHONPATH': environment(Path('/'))['PYTHONPATH'], 'RAY_USAGE_STATS_ENABLED': '0'}
  quick = {'health_check_failure_threshold': 2, 'health_check_period_ms': 500, 'memory_monitor_refresh_ms': 0}
  head = {'num_cpus': 2, 'include_dashboard': False, '_system_config': quick}
  made = Cluster(initialize_head=True, head_node_args=head)
  try:
    yield made.address
  finally:
    made.shutdown()
    os.environ.clear()
    os.environ |= before


def versions() -> str:
  """Of what takes part."""
  return turns.versions('orbax-checkpoint') + f'; Ray {importlib.metadata.version("ray")}'
