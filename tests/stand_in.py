# SPDX-License-Identifier: Apache-2.0
"""What stands for predicting in tests of the fleet: quick, without JAX; a protein's name decides how it goes.

`fail...` fails, `kill...` ends its process by SIGKILL, `once...` only the first time, `wait...` goes on once there is a
file OUT/.go, `full...` finds the disk full in the first process that comes to it, `never...` in every process. Every
try is a line in OUT/.ran: protein and process.
"""

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from alphafold_jax import cli
from alphafold_jax.runs import fleet
from alphafold_jax.runs.files import DONE, FAILED, Failure, Outcome
from alphafold_jax.runs.fleet.predicting import CannotWrite, Setup

FLAGS = ('--params', 'random', '--num-models', '1', '--msa-mode', 'single_sequence')


@dataclasses.dataclass(frozen=True)
class StandIn:
  """Instead of runs.fleet.predicting.Setup."""

  out: Path
  options: Any
  models: Any
  keys: Any
  templates: Any
  lengths: Any

  def start_device(self, who: str = '') -> dict[str, Any]:
    return {'platform': 'none'}

  def predictor(self, progress, ended) -> '_Predictor':
    return _Predictor(self, progress, ended)


class _Predictor:
  """Instead of runs.fleet.predicting.Predictor."""

  def __init__(self, setup, progress, ended):
    self._setup, self._progress, self._ended = setup, progress, ended

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def drain(self):
    pass

  def together(self, job, count):
    return min(count, self._setup.options.batch or 1)

  def most_together(self):
    return dict.fromkeys(self._setup.lengths.chosen, self._setup.options.batch or 1)

  def run(self, assignments, ahead=()):
    with open(self._setup.out / '.together', 'a', encoding='utf-8') as file:
      file.write(' '.join(assignment.job.name for assignment in assignments) + '\n')
    for assignment in assignments:
      self._run(assignment)

  def _run(self, assignment):
    job, out = assignment.job, self._setup.out
    self._progress.job(job.name, 'runs')
    before = [line.split() for line in ran_lines(out)]
    is_first = job.name not in {name for name, _ in before}
    with open(out / '.ran', 'a', encoding='utf-8') as file:
      file.write(f'{job.name} {os.getpid()}\n')
    time.sleep(0.1)
    until = time.monotonic() + 100
    while job.name.startswith('wait') and not (out / '.go').exists() and time.monotonic() < until:
      time.sleep(0.05)
    if job.name.startswith('kill') or (is_first and job.name.startswith('once')):
      os.kill(os.getpid(), signal.SIGKILL)
    if job.name.startswith('never') or (is_first and job.name.startswith('full')):
      raise CannotWrite(job.name, 'ResourceError', 'no space left')
    if job.name.startswith('fail'):
      failure = Failure(job.name, job.query.name, job.query.source, 'predict', 'ValueError', 'as told')
      self._ended(Outcome(job.name, FAILED), [failure])
      return
    row = {'rank': 1, 'model': 'm', 'seed': 0, 'mean_plddt': 50.0, 'ptm': None, 'seconds': 0.1}
    record = {'key': self._setup.keys.job(assignment.input_key), 'predictions': [row], 'files': [f'{job.name}.pdb']}
    (out / f'{job.name}.pdb').write_text('')
    (out / f'{job.name}.done.txt').write_text(json.dumps(record))
    self._ended(Outcome(job.name, DONE, [row], record['files']), [])


class Broken(StandIn):
  """Its processes end before they are ready."""

  def start_device(self, who: str = '') -> dict[str, Any]:
    os._exit(3)


class Dying(Setup):
  """The true Setup; the first process that is about to keep a second model's result is killed."""

  def predictor(self, progress, ended):
    replace, out = os.replace, self.out

    def killing(old, new):
      if str(new).endswith('model_2_seed_000.npz') and not (out / '.died').exists():
        (out / '.died').write_text(Path(new).parent.name)
        os.kill(os.getpid(), signal.SIGKILL)
      replace(old, new)

    os.replace = killing
    return super().predictor(progress, ended)


def ran_lines(out: Path) -> list[str]:
  return (out / '.ran').read_text().splitlines() if (out / '.ran').exists() else []


def main(*, with_ray: bool = True) -> int:
  """The command, with a stand-in for predicting, as it is without `nohup`, which would ignore Ctrl-C."""
  signal.signal(signal.SIGINT, signal.default_int_handler)
  if not with_ray:
    sys.modules['ray'] = None
  fleet.Setup = StandIn
  code = cli.main(sys.argv[1:])
  print('this process has loaded JAX:', 'jax' in sys.modules)
  return code
