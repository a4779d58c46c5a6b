# SPDX-License-Identifier: Apache-2.0
"""One protein with all its models and seeds: resumed where it can be; what fails is reported and stops nothing else.

The host works beside the device: on features of the protein that comes next, and on files of the one before.
"""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax.choices import RANKINGS
from alphafold_jax.errors import AlphaFoldError, NumericalError, WeightsError
from alphafold_jax.output import record
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.painter import Painter
from alphafold_jax.output.record import PASS_ARRAYS, Pass
from alphafold_jax.runs import work
from alphafold_jax.runs.files import DONE, ELSEWHERE, FAILED, PARTIAL, Failure, JobFiles, Outcome, Removals, told
from alphafold_jax.runs.fleet import claims
from alphafold_jax.runs.fleet.beside import Ahead, Behind, Lanes
from alphafold_jax.runs.fleet.lengths import Lengths
from alphafold_jax.runs.fleet.models import Models
from alphafold_jax.runs.fleet.progress import Progress
from alphafold_jax.runs.fleet.queue import Assignment
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job, Keys, LoadedJob, TemplateSource
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)
_Which = tuple[str, int]  # model and seed


class CannotWrite(Exception):
  """The output folder takes no more files, so no further protein can be finished either."""

  def __init__(self, job: str, cause: str, message: str):
    """Names the protein whose files cannot be written; `cause` is the type of the error."""
    super().__init__(job, cause, message)
    self.job, self.cause, self.message = job, cause, message


class _Lost(Exception):
  """Another process has taken the protein over."""


@dataclasses.dataclass(eq=False)
class _Protein:
  """One protein while it is run; from the first prediction on its files are written in a thread of their own."""

  assignment: Assignment
  files: JobFiles
  behind: Behind  # the thread that writes them
  loaded: LoadedJob = dataclasses.field(init=False)  # once its input was read
  found: list[Prediction] = dataclasses.field(default_factory=list)
  failures: list[Failure] = dataclasses.field(default_factory=list)
  is_over: bool = False  # its files cannot be written, or it was lost: nothing further is predicted of it
  is_lost: bool = False

  @property
  def job(self) -> Job:
    return self.assignment.job


@dataclasses.dataclass(frozen=True)
class Setup:
  """All that a process needs to know of a run; it can be sent to another process."""

  out: Path
  options: Options
  models: Models
  keys: Keys
  templates: TemplateSource | None
  lengths: Lengths

  def start_device(self, who: str = '') -> dict[str, Any]:
    """Loads JAX and logs what it computes on, in lines that begin with `who`; returns facts for the run's record."""
    return self.models.start_device(who, self.templates is not None)

  def predictor(self, progress: Progress, ended: Callable[[Outcome, list[Failure]], None]) -> 'Predictor':
    """What predicts, see there; InputError: with the settings there is no network, or there are fewer devices."""
    from alphafold_jax import devices, planning

    devices.first(self.options.settings.num_devices)
    if self.options.settings.kernels or self.options.config:
      planning.check_network(self.options.model_config(self.options.models[0]))
    return Predictor(self, progress, ended)


class Predictor:
  """Runs the jobs of a process one after the other, the host's work on the one before and the one to come beside."""

  def __init__(self, setup: Setup, progress: Progress, ended: Callable[[Outcome, list[Failure]], None]):
    """Has nothing to do yet; `ended` is called with how a protein ended, perhaps in another thread."""
    self._out, self._options, self._models, self._keys = setup.out, setup.options, setup.models, setup.keys
    self._lengths, self._progress, self._ended = setup.lengths, progress, ended
    self._num_passes = {name: setup.options.model_config(name).num_recycle + 1 for name in setup.options.models}
    self._ahead = Ahead(lambda job: work.load(job, setup.templates))
    self._lanes, self._removals, self._painter = Lanes(), Removals(), Painter()

  def __enter__(self) -> 'Predictor':
    return self

  def __exit__(self, *_: object) -> None:
    self._ahead.close()
    self._lanes.close()
    self._painter.close()
    self._removals.close()

  def run(self, assignment: Assignment, ahead: Job | None = None) -> None:
    """Predicts a protein; its last files are written later, and then `ended` is called.

    Args:
      assignment: the protein.
      ahead: what probably comes next: its features are made meanwhile.

    Raises:
      CannotWrite: the disk is full, or the folder cannot be written any more, now or for an earlier protein.
      WeightsError: the parameters of a model cannot be loaded.
    """
    job = assignment.job
    files = JobFiles(self._out, job, self._options, self._keys, self._removals, self._painter)
    protein = _Protein(assignment, files, self._lanes.next(job.num_res))
    with self._failing(protein, 'input'):
      protein.loaded = self._ahead.get(job)
    self._ahead.begin(ahead)
    if protein.failures:
      self._progress.skipped(self._lengths.of(job.num_res), len(self._options.seeds) * sum(self._num_passes.values()))
      self._ended(Outcome(job.name, FAILED), protein.failures)
      return
    num_templates = int(np.sum(protein.loaded.batch.templates.mask))
    templates = f', {number(num_templates, "template")}' if num_templates else ''
    shown = f'{number(job.num_res, "residue")}, {number(protein.loaded.num_rows, "alignment row")}{templates}'
    self._progress.job(job.name, shown)
    self._write(protein, 'output', lambda: protein.files.start_anew(assignment.input_key))
    self._predict_all(protein)
    protein.behind.put(functools.partial(self._finish, protein), 'protein')

  def drain(self) -> None:
    """Waits until everything is written; raises as `run` does."""
    self._lanes.drain()

  def _finish(self, protein: _Protein) -> None:
    """Ranks the predictions, writes the protein's own files and reports how it ended."""
    name, found, outcome = protein.job.name, protein.found, Outcome(protein.job.name, FAILED)
    with self._failing(protein, 'output'):
      if found and not protein.is_lost:
        self._check_claim(protein)
        done = protein.files.finish(found, protein.loaded, complete=not protein.failures)
        best, *others = done['predictions']
        shown = f'best of {len(others) + 1} is {best["model"]}, seed {best["seed"]}, {told(best["mean_plddt"], None)}'
        _log.info('%s: %s; %s', name, shown, number(len(done['files']), 'file'))
        outcome = Outcome(name, PARTIAL if protein.failures else DONE, [best, *others], done['files'])
      elif not protein.is_lost:
        protein.files.abandon()
    if protein.is_lost:
      _log.warning('%s: another process has taken it over, and finishes it', name)
      outcome = Outcome(name, ELSEWHERE)
    self._ended(outcome, protein.failures)

  def _predict_all(self, protein: _Protein) -> None:
    """Runs each model and seed; what goes wrong with one is among the protein's failures."""
    size = self._lengths.of(protein.job.num_res)
    left = {(name, seed): self._num_passes[name] for name in self._options.models for seed in self._options.seeds}
    try:
      for name, seed in list(left):
        score, given_up = None, True
        with self._failing(protein, 'predict', (name, seed)):
          try:
            score = self._predicted(protein, name, seed, left)
            given_up = False
          except Exception as error:
            given_up = not isinstance(error, NumericalError)  # of another model or seed there may be numbers
            protein.behind.do(functools.partial(protein.files.discard, record.tag(name, seed), self._num_passes[name]))
            raise
        self._progress.skipped(size, left.pop((name, seed)))
        if given_up or protein.is_over or (score is not None and score > self._options.stop_at_score):
          break
    finally:
      self._progress.skipped(size, sum(left.values()))

  def _predicted(self, protein: _Protein, name: str, seed: int, left: dict[_Which, int]) -> float:
    """Computes a prediction, or takes what an earlier run kept, and has its files written; returns its score."""
    files, key = protein.files, self._keys.prediction(protein.assignment.input_key, name, seed)
    before = None if self._options.overwrite_existing_results else files.kept(record.tag(name, seed), key)
    one = before or self._computed(protein, name, seed, left)

    def write() -> None:
      kept = before or files.keep(one, key)
      files.write_prediction(one.in_memory())
      protein.found.append(kept)
      scores = told(one.mean_plddt, one.ptm)
      took = f'{scores}, {number(len(one.passes) - 1, "recycle")}, {one.seconds:.1f} s'
      _log.info('%s %s, seed %d: %s', protein.job.name, name, seed, f'done before, {scores}' if before else took)

    self._write(protein, 'predict', write, (name, seed))
    return RANKINGS[self._options.ranking](one)

  def _computed(self, protein: _Protein, name: str, seed: int, left: dict[_Which, int]) -> Prediction:
    """Computes a prediction, with the structures after its passes where files are made of them."""
    from alphafold_jax import compiled_once, prediction

    job, files = protein.job, protein.files
    size, step = self._lengths.of(job.num_res), f'{name}, seed {seed}'
    planned = self._models.planned(name, job.name, protein.loaded.batch, size)
    self._progress.step(f'{step}: {"beginning" if planned.is_new else "running"}')
    passes: list[tuple[np.ndarray, np.ndarray]] = []  # positions and pLDDT after each

    def on_pass(one: Pass, fetch: Callable[[], Prediction]) -> None:
      if not one.index:  # perhaps it begins again, in float32 or with less memory
        passes.clear()
      if files.wants_passes:
        fetched = fetch()
        protein.behind.do(lambda: files.write_pass(fetched))
        passes.append((fetched.atom_positions, fetched.plddt))
      left[name, seed] = max(0, left[name, seed] - 1)
      self._progress.passed(step, size, one, self._num_passes[name], planned.is_new and one.index == 0)

    watched = compiled_once.watched(f'up to {size} residues', lambda text: self._progress.step(f'{step}: {text}'))
    predicted = watched(prediction.predict)(
      planned.model,
      protein.loaded.batch,
      seed=seed,
      name=job.query.name,
      settings=self._options.run_settings(),
      on_pass=on_pass,
      plan=planned.plan,
      make_room=planned.make_room,
    )
    record.check_finite(predicted)
    stacked = dict(zip(PASS_ARRAYS, map(np.stack, zip(*passes))))
    return dataclasses.replace(predicted, arrays={**predicted.arrays, **stacked})

  def _write(self, protein: _Protein, stage: str, task: Callable[[], None], which: _Which | None = None) -> None:
    """Has files of a protein written, unless they could not be before, or it is not ours any more."""

    def write() -> None:
      with self._failing(protein, stage, which):
        if protein.is_over:
          return
        try:
          self._check_claim(protein)
          task()
        except Exception:
          protein.is_over = True
          if which and not protein.is_lost:
            protein.files.discard(record.tag(*which), self._num_passes[which[0]])
          raise

    protein.behind.put(write, 'prediction' if which else None)

  def _check_claim(self, protein: _Protein) -> None:
    if not claims.stands(protein.assignment.claim):
      protein.is_lost = True
      raise _Lost

  @contextlib.contextmanager
  def _failing(self, protein: _Protein, stage: str, which: _Which | None = None) -> Iterator[None]:
    """Turns what goes wrong inside the block into a failure of the protein, except what concerns the whole run."""
    job = protein.job
    try:
      yield
    except (CannotWrite, WeightsError):
      raise
    except _Lost:
      pass
    except Exception as error:
      if stage != 'input' and (isinstance(error, OSError) or isinstance(error.__cause__, OSError)):
        raise CannotWrite(job.name, type(error).__name__, str(error)) from error
      kind, message = type(error).__name__, str(error) or type(error).__name__
      protein.failures.append(Failure(job.name, job.query.name, job.query.source, stage, kind, message, *which or ()))
      where = '{} {}, seed {}'.format(job.name, *which) if which else job.name
      if isinstance(error, AlphaFoldError):
        _log.error('%s: %s', where, message)
      else:
        _log.error('%s: %s: %s', where, kind, message, exc_info=error)
