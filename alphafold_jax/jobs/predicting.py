# SPDX-License-Identifier: Apache-2.0
"""One protein with all its models and seeds: what can be resumed is, what fails is told and does not stop the rest."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from alphafold_jax.data.padding import residue_bucket
from alphafold_jax.errors import AlphaFoldError, NumericalError, ResourceError, WeightsError
from alphafold_jax.jobs import inputs, results
from alphafold_jax.jobs.inputs import Job
from alphafold_jax.jobs.keys import Keys
from alphafold_jax.jobs.models import Models
from alphafold_jax.jobs.options import Options
from alphafold_jax.jobs.outputs import JobFiles
from alphafold_jax.jobs.progress import Progress
from alphafold_jax.jobs.report import DONE, FAILED, PARTIAL, Failure, Outcome
from alphafold_jax.jobs.results import Result
from alphafold_jax.jobs.templates import TemplateSource
from alphafold_jax.output.files import tag
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)
_MAX_PROGRAMS = 24  # compiled programs that are kept in memory


class CannotWrite(Exception):
  """The output folder takes no more files, so no further protein can be finished either."""


class Predictor:
  """Runs the jobs of a run, one at a time."""

  def __init__(self, options: Options, models: Models, keys: Keys, templates: TemplateSource | None,
               progress: Progress):
    self._options, self._models, self._keys = options, models, keys
    self._templates, self._progress = templates, progress
    self._settings = options.run_settings()
    self._num_passes = {name: options.model_config(name).num_recycle + 1 for name in options.models}
    self._programs: set[Any] = set()

  def run(self, index: int, job: Job, input_key: str, files: JobFiles) -> tuple[Outcome, list[Failure]]:
    """Predicts a protein and writes its files.

    Args:
      index: of the job in the run, from 1.
      job: the protein.
      input_key: digest of its sequence and alignment.
      files: where they go.

    Raises:
      CannotWrite: the disk is full, or the folder cannot be written any more.
      WeightsError: the parameters of a model cannot be loaded.
    """
    failures: list[Failure] = []
    found: list[Result] = []
    with self._failing(job, 'input', failures):
      batch = inputs.load_batch(job, self._templates)
    if failures:
      self._progress.skipped(residue_bucket(job.num_res), len(self._options.seeds) * sum(self._num_passes.values()))
      return Outcome(job.name, FAILED), failures
    num_templates = int(np.sum(batch.templates.mask))
    sizes = [number(job.num_res, 'residue'), number(len(batch.msa.tokens), 'alignment row'),
             *([number(num_templates, 'template')] if num_templates else [])]
    self._progress.job(index, job.name, ', '.join(sizes))
    with self._failing(job, 'output', failures):
      files.start_anew(input_key)
      self._predict_all(job, batch, input_key, files, found, failures)
    if not found:
      return Outcome(job.name, FAILED), failures
    with self._failing(job, 'output', failures):
      facts = {'notes': list(found[0].notes)}
      record = files.finish(found, batch, None if failures else self._keys.job(input_key), facts)
      best = record['predictions'][0]
      _log.info('%s: best of %d is %s, seed %d, pLDDT %.1f; %d files', job.name, len(found), best['model'],
                best['seed'], best['mean_plddt'], len(record['files']))
      return Outcome(job.name, PARTIAL if failures else DONE, record['predictions'], record['files']), failures
    return Outcome(job.name, FAILED), failures

  def _predict_all(self, job, batch, input_key, files, found, failures) -> None:
    """Adds to `found` what each model and seed gives, and to `failures` what went wrong."""
    size = residue_bucket(job.num_res)
    left = {(name, seed): self._num_passes[name] for name in self._options.models for seed in self._options.seeds}
    try:
      for name, seed in list(left):
        key = self._keys.prediction(input_key, name, seed)
        given_up = True
        with self._failing(job, 'predict', failures, name, seed):
          try:
            count = functools.partial(_count_down, left, (name, seed))
            found.append(self._resumed(job, name, seed, key, files)
                         or self._predicted(job, batch, name, seed, key, files, count))
            given_up = False
          except Exception as error:
            given_up = not isinstance(error, NumericalError)  # of another model or seed there may be numbers
            files.discard(tag(name, seed), self._num_passes[name])
            raise
        self._progress.skipped(size, left.pop((name, seed)))
        if given_up or (found and found[-1].score(self._options.ranking) > self._options.stop_at_score):
          break
    finally:
      self._progress.skipped(size, sum(left.values()))

  def _resumed(self, job, name, seed, key, files) -> Result | None:
    """The result of an earlier run, its files written anew."""
    if self._options.overwrite_existing_results:
      return None
    result = results.find(files.folder, tag(name, seed), key, files.extras)
    if result is not None:
      files.write_prediction(result.load(), result.tag)
      _log.info('%s %s, seed %d: done before, %s', job.name, name, seed, _scores(result))
    return result

  def _predicted(self, job, batch, name, seed, key, files, count: Callable[[], None]) -> Result:
    """Computes a prediction, keeps its raw result and writes its files."""
    from alphafold_jax.output.predicted import check_finite

    size, part = residue_bucket(job.num_res), tag(name, seed)
    model = self._models.get(name)
    is_first = self._is_new_program(model, batch)
    step = f'{name}, seed {seed}'
    how = f': compiling for up to {size} residues, once (kept for later runs)' if is_first else ''
    self._progress.step(f'{step}{how or ": running"}')
    passes: list[Any] = []

    def on_pass(one, fetch):
      if one.index < len(passes):  # begins again, in float32
        _log.warning('%s %s: NaN or infinity came out; computing again in float32', job.name, step)
        passes.clear()
      fetched = fetch() if self._options.save_recycles else None
      if fetched is not None:
        files.write_pass(fetched, part, one.index)
      passes.append(fetched and (fetched.atom_positions, fetched.plddt))
      count()
      self._progress.passed(step, size, one, self._num_passes[name], is_first and one.index == 0)

    prediction = self._with_room(model, batch, seed, job.query.name, on_pass)
    check_finite(prediction)
    result = results.save(files.folder, part, key, prediction, _extras(files.extras, prediction, passes))
    files.write_prediction(prediction, part)
    _log.info('%s %s, seed %d: %s, %s, %.1f s', job.name, name, seed, _scores(result),
              number(len(result.passes) - 1, 'recycle'), result.seconds)
    return result

  def _with_room(self, model, batch, seed, name, on_pass) -> Any:
    """Predicts; when memory is short, once more without the other models in it."""
    from alphafold_jax import prediction

    try:
      return prediction.predict(model, batch, seed=seed, name=name, settings=self._settings, on_pass=on_pass)
    except ResourceError as error:
      if isinstance(error.__cause__, OSError) or not self._models.drop_others(model.name):
        raise
      _log.info('%s: memory is short; trying again without the other models in it', name)
    return prediction.predict(model, batch, seed=seed, name=name, settings=self._settings, on_pass=on_pass)

  def _is_new_program(self, model, batch) -> bool:
    """Whether the network will be compiled; forgets old programs when there are many."""
    from alphafold_jax import prediction

    program = prediction.program_key(model, batch, self._settings)
    if program in self._programs:
      return False
    if len(self._programs) >= _MAX_PROGRAMS:
      prediction.forget_programs()
      self._programs.clear()
    self._programs.add(program)
    return True

  @contextlib.contextmanager
  def _failing(self, job: Job, stage: str, failures: list[Failure], model: str | None = None,
               seed: int | None = None) -> Iterator[None]:
    """Turns what goes wrong inside the block into a failure of the protein, except what concerns the whole run."""
    try:
      yield
    except (CannotWrite, WeightsError):
      raise
    except Exception as error:
      if stage != 'input' and (isinstance(error, OSError) or isinstance(error.__cause__, OSError)):
        raise CannotWrite(str(error)) from error
      message = str(error) or type(error).__name__
      failures.append(Failure(job.name, job.query.name, job.query.source, stage, type(error).__name__, message, model,
                              seed))
      expected = isinstance(error, AlphaFoldError)
      where = f'{job.name} {model}, seed {seed}' if model else job.name
      _log.error('%s: %s', where, message if expected else f'{type(error).__name__}: {message}',
                 exc_info=None if expected else error)


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
