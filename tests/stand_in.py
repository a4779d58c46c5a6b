# SPDX-License-Identifier: Apache-2.0
"""What stands for predicting in tests of the queue: quick, without JAX; a protein's name decides how it goes.

`slow...` takes long, `fail...` fails, `kill...` ends its process by SIGKILL, `once...` only the first time. Every try
is a line in OUT/.ran: protein and process.
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
from alphafold_jax.runs import batch
from alphafold_jax.runs.files.report import DONE, FAILED, Failure, Outcome
from alphafold_jax.runs.fleet.starting import Setup

FLAGS = ('--params', 'random', '--num-models', '1', '--msa-mode', 'single_sequence')


@dataclasses.dataclass(frozen=True)
class StandIn:
  """Instead of runs.fleet.starting.Setup."""

  out: Path
  options: Any
  models: Any
  keys: Any
  templates: Any

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

  def check(self):
    pass

  def drain(self):
    pass

  def run(self, assignment, ahead=None):
    job, out = assignment.job, self._setup.out
    self._progress.job(assignment.index, job.name, 'runs')
    is_first = job.name not in {line.split()[0] for line in ran_lines(out)}
    with open(out / '.ran', 'a', encoding='utf-8') as file:
      file.write(f'{job.name} {os.getpid()}\n')
    time.sleep(60 if job.name.startswith('slow') else 0.1)
    if job.name.startswith('kill') or (is_first and job.name.startswith('once')):
      os.kill(os.getpid(), signal.SIGKILL)
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
  """The true Setup; the first worker that is about to keep a second model's result is killed."""

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


def main() -> int:
  """The command, with a stand-in for predicting."""
  batch.Setup = StandIn
  return cli.main(sys.argv[1:])
