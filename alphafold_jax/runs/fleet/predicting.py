# SPDX-License-Identifier: Apache-2.0
"""One protein with all its models and seeds: what can be resumed is, what fails is told and does not stop the rest."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax.data.padding import residue_bucket
from alphafold_jax.errors import AlphaFoldError, NumericalError, WeightsError
from alphafold_jax.output.files import tag
from alphafold_jax.runs.files import results
from alphafold_jax.runs.files.outputs import JobFiles
from alphafold_jax.runs.files.report import DONE, ELSEWHERE, FAILED, PARTIAL, Failure, Outcome
from alphafold_jax.runs.files.results import Result
from alphafold_jax.runs.fleet import claims
from alphafold_jax.runs.fleet.models import Models
from alphafold_jax.runs.fleet.overlap import Ahead, Behind
from alphafold_jax.runs.fleet.progress import Progress
from alphafold_jax.runs.fleet.queue import Assignment
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import inputs
from alphafold_jax.runs.work.inputs import Job
from alphafold_jax.runs.work.keys import Keys
from alphafold_jax.runs.work.templates import TemplateSource
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)
_MAX_PROGRAMS = 24  # compiled programs that are kept in memory


class CannotWrite(Exception):
  """The output folder takes no more files, so no further protein can be finished either."""

  def __init__(self, job: str, cause: str, message: str):
    """Takes the protein, the kind of error that says so, and its message."""
    super().__init__(job, cause, message)
    self.job, self.cause, self.message = job, cause, message


class _Lost(Exception):
  """Another process has taken the protein over."""


@dataclasses.dataclass(eq=False)
class _Protein:
  """One protein while it is run; from the first prediction on its files are written in a thread of their own."""

  assignment: Assignment
  files: JobFiles
  batch: Any = None
  kernels: Any = None  # what it was computed with last
  found: list[Result] = dataclasses.field(default_factory=list)
  failures: list[Failure] = dataclasses.field(default_factory=list)
  is_over: bool = False  # its files cannot be written, or it was lost: nothing further is predicted of it
  is_lost: bool = False

  @property
  def job(self) -> Job:
    return self.assignment.job


class Predictor:
  """Runs the jobs of a process one after the other, the host's work on the one before and the one to come beside."""

  def __init__(
    self,
    out: Path,
    options: Options,
    models: Models,
    keys: Keys,
    templates: TemplateSource | None,
    progress: Progress,
    ended: Callable[[Outcome, list[Failure]], None],
  ):
    """Takes the run, and what is told how each protein ended, perhaps from another thread."""
    self._out, self._options, self._models, self._keys = out, options, models, keys
    self._progress, self._ended = progress, ended
    self._settings = options.run_settings()
    self._num_passes = {name: options.model_config(name).num_recycle + 1 for name in options.models}
    self._programs: set[Any] = set()
    self._ahead = Ahead(lambda job: inputs.load_batch(job, templates))
    self._behind = Behind()

  def __enter__(self) -> 'Predictor':
    return self

  def __exit__(self, *_) -> None:
    self._ahead.close()
    self._behind.close()

  def run(self, assignment: Assignment, ahead: Job | None = None) -> None:
    """Predicts a protein; its last files are written later, and then it is told how it ended.

    Args:
      assignment: the protein.
      ahead: what probably comes next: its features are made meanwhile.

    Raises:
      CannotWrite: the disk is full, or the folder cannot be written any more, now or for an earlier protein.
      WeightsError: the parameters of a model cannot be loaded.
    """
    job = assignment.job
    protein = _Protein(assignment, JobFiles(self._out, job, self._options))
    with self._failing(protein, 'input'):
      protein.batch = self._ahead.get(job)
    self._ahead.begin(ahead)
    if protein.failures:
      self._progress.skipped(residue_bucket(job.num_res), len(self._options.seeds) * sum(self._num_passes.values()))
      self._ended(Outcome(job.name, FAILED), protein.failures)
      return
    num_templates = int(np.sum(protein.batch.templates.mask))
    sizes = [
      number(job.num_res, 'residue'),
      number(len(protein.batch.msa.tokens), 'alignment row'),
      *([number(num_templates, 'template')] if num_templates else []),
    ]
    self._progress.job(job.name, ', '.join(sizes))
    self._write(protein, 'output', lambda: protein.files.start_anew(assignment.input_key))
    self._predict_all(protein)
    self._behind.put(functools.partial(self._finish, protein), 'protein')

  def check(self) -> None:
    """Raises CannotWrite if it turned out meanwhile that files cannot be written."""
    self._behind.check()

  def drain(self) -> None:
    """Waits until everything is written; raises as `run` does."""
    self._behind.drain()

  def _finish(self, protein: _Protein) -> None:
    """Ranks the predictions, writes the protein's own files and tells how it ended."""
    outcome = Outcome(protein.job.name, FAILED)
    with self._failing(protein, 'output'):
      if protein.found and not protein.is_lost:
        outcome = self._ranked(protein)
    if protein.is_lost:
      _log.warning('%s: another process has taken it over, and finishes it', protein.job.name)
      outcome = Outcome(protein.job.name, ELSEWHERE)
    self._ended(outcome, protein.failures)

  def _ranked(self, protein: _Protein) -> Outcome:
    self._check_claim(protein)
    key = None if protein.failures else self._keys.job(protein.assignment.input_key)
    record = protein.files.finish(protein.found, protein.batch, key, {'notes': list(protein.found[0].notes)})
    best = record['predictions'][0]
    _log.info(
      '%s: best of %d is %s, seed %d, pLDDT %.1f; %d files',
      protein.job.name,
      len(protein.found),
      best['model'],
      best['seed'],
      best['mean_plddt'],
      len(record['files']),
    )
    return Outcome(protein.job.name, PARTIAL if protein.failures else DONE, record['predictions'], record['files'])

  def _predict_all(self, protein: _Protein) -> None:
    """Runs each model and seed; what goes wrong with one is among the protein's failures."""
    size = residue_bucket(protein.job.num_res)
    left = {(name, seed): self._num_passes[name] for name in self._options.models for seed in self._options.seeds}
    try:
      for name, seed in list(left):
        score, given_up = None, True
        with self._failing(protein, 'predict', name, seed):
          try:
            count = functools.partial(_count_down, left, (name, seed))
            score = self._resumed(protein, name, seed)
            score = self._predicted(protein, name, seed, count) if score is None else score
            given_up = False
          except Exception as error:
            given_up = not isinstance(error, NumericalError)  # of another model or seed there may be numbers
            self._behind.do(functools.partial(protein.files.discard, tag(name, seed), self._num_passes[name]))
            raise
        self._progress.skipped(size, left.pop((name, seed)))
        if given_up or protein.is_over or (score is not None and score > self._options.stop_at_score):
          break
    finally:
      self._progress.skipped(size, sum(left.values()))

  def _resumed(self, protein: _Protein, name: str, seed: int) -> float | None:
    """The score of an earlier run's result, its files written anew; None if there is no such result."""
    if self._options.overwrite_existing_results:
      return None
    files = protein.files
    key = self._keys.prediction(protein.assignment.input_key, name, seed)
    result = results.find(files.folder, tag(name, seed), key, files.extras)
    if result is None:
      return None

    def write():
      files.write_prediction(result.load(), result.tag)
      protein.found.append(result)
      _log.info('%s %s, seed %d: done before, %s', protein.job.name, name, seed, _scores(result))

    self._write(protein, 'predict', write, name, seed)
    return result.score(self._options.ranking)

  def _predicted(self, protein: _Protein, name: str, seed: int, count: Callable[[], None]) -> float:
    """Computes a prediction, has its raw result kept and its files written; returns its score."""
    from alphafold_jax import prediction
    from alphafold_jax.output.predicted import check_finite

    job, files = protein.job, protein.files
    size, part = residue_bucket(job.num_res), tag(name, seed)
    model = self._models.get(name)
    make_room = functools.partial(self._make_room, name, job.name)
    plan = prediction.make_plan(model, protein.batch, self._settings, make_room)
    if plan.step and plan.kernels != protein.kernels:
      _log.info('%s: memory is short, so it is computed with %s', job.name, plan)
    protein.kernels = plan.kernels
    is_first = self._is_new_program(model, protein.batch, plan)
    step = f'{name}, seed {seed}'
    how = f': compiling for up to {size} residues, once (kept for later runs)' if is_first else ''
    self._progress.step(f'{step}{how or ": running"}')
    passes: list[Any] = []

    def on_pass(one, fetch):
      if one.index < len(passes):  # begins again, in float32 or with less memory
        passes.clear()
      fetched = fetch() if self._options.save_recycles else None
      if fetched is not None:
        self._behind.do(lambda: files.write_pass(fetched, part, one.index))
      passes.append(fetched and (fetched.atom_positions, fetched.plddt))
      count()
      self._progress.passed(step, size, one, self._num_passes[name], is_first and one.index == 0)

    predicted = prediction.predict(
      model,
      protein.batch,
      seed=seed,
      name=job.query.name,
      settings=self._settings,
      on_pass=on_pass,
      plan=plan,
      make_room=make_room,
    )
    check_finite(predicted)
    key = self._keys.prediction(protein.assignment.input_key, name, seed)

    def write():
      result = results.save(files.folder, part, key, predicted, _extras(files.extras, predicted, passes))
      files.write_prediction(predicted, part)
      protein.found.append(result)
      _log.info(
        '%s %s, seed %d: %s, %s, %.1f s',
        job.name,
        name,
        seed,
        _scores(result),
        number(len(result.passes) - 1, 'recycle'),
        result.seconds,
      )

    self._write(protein, 'predict', write, name, seed)
    return results.score(predicted, self._options.ranking)

  def _write(
    self, protein: _Protein, stage: str, task: Callable[[], None], model: str | None = None, seed: int | None = None
  ) -> None:
    """Has files of a protein written, unless they could not be before, or it is not ours any more."""

    def write():
      with self._failing(protein, stage, model, seed):
        if protein.is_over:
          return
        try:
          self._check_claim(protein)
          task()
        except Exception:
          protein.is_over = True
          if model is not None and not protein.is_lost:
            protein.files.discard(tag(model, seed), self._num_passes[model])
          raise

    self._behind.put(write, model and 'prediction')

  def _check_claim(self, protein: _Protein) -> None:
    if not claims.stands(protein.assignment.claim):
      protein.is_lost = True
      raise _Lost

  def _make_room(self, model: str, job: str) -> bool:
    """Drops the other models where memory is short: nothing becomes slower by it."""
    dropped = self._models.drop_others(model)
    if dropped:
      _log.info('%s: memory is short; the other models in it are dropped', job)
    return dropped

  def _is_new_program(self, model, batch, plan) -> bool:
    """Whether the network will be compiled; forgets old programs when there are many."""
    from alphafold_jax import prediction

    program = prediction.program_key(model, batch, self._settings, plan)
    if program in self._programs:
      return False
    if len(self._programs) >= _MAX_PROGRAMS:
      prediction.forget_programs()
      self._programs.clear()
    self._programs.add(program)
    return True

  @contextlib.contextmanager
  def _failing(
    self, protein: _Protein, stage: str, model: str | None = None, seed: int | None = None
  ) -> Iterator[None]:
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
      message = str(error) or type(error).__name__
      protein.failures.append(
        Failure(job.name, job.query.name, job.query.source, stage, type(error).__name__, message, model, seed)
      )
      expected = isinstance(error, AlphaFoldError)
      where = f'{job.name} {model}, seed {seed}' if model else job.name
      _log.error(
        '%s: %s',
        where,
        message if expected else f'{type(error).__name__}: {message}',
        exc_info=None if expected else error,
      )


def _scores(result: Result) -> str:
  return f'pLDDT {result.mean_plddt:.1f}' + ('' if result.ptm is None else f', pTM {result.ptm:.2f}')


def _count_down(left: dict[Any, int], key: Any) -> None:
  left[key] = max(0, left[key] - 1)


def _extras(wanted: tuple[str, ...], prediction: Any, passes: list[Any]) -> dict[str, np.ndarray]:
  """The arrays that only some outputs need."""
  kept = prediction.representations
  values: dict[str, Callable[[], np.ndarray]] = {
    'single': lambda: kept.single,
    'pair': lambda: kept.pair,
    'contact_probability': lambda: prediction.contact_probability,
    'pass_positions': lambda: np.stack([positions for positions, _ in passes]),
    'pass_plddt': lambda: np.stack([plddt for _, plddt in passes]),
  }
  return {name: values[name]() for name in wanted}
