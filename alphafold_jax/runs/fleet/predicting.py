# SPDX-License-Identifier: Apache-2.0
"""Proteins with all their models and seeds: resumed where they can be; what fails is reported and stops nothing else.

The host works beside the device: on features of the protein that comes next, and on files of the one before.
"""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax.choices import MAX_TOGETHER
from alphafold_jax.errors import AlphaFoldError, NumericalError, WeightsError
from alphafold_jax.output import record
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.painter import Painter
from alphafold_jax.runs import work
from alphafold_jax.runs.files import (
  DONE,
  ELSEWHERE,
  FAILED,
  PARTIAL,
  Failure,
  JobFiles,
  Outcome,
  Removals,
  Unwritten,
  told,
)
from alphafold_jax.runs.fleet.beside import Ahead, Lanes
from alphafold_jax.runs.fleet.computing import CannotWrite, OnDevice, Protein, Which
from alphafold_jax.runs.fleet.lengths import Lengths
from alphafold_jax.runs.fleet.models import Models
from alphafold_jax.runs.fleet.progress import Progress
from alphafold_jax.runs.fleet.queue import Assignment
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job, Keys, TemplateSource
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)


class _Lost(Exception):
  """Another process has taken the protein over."""


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
      for name in self.models.names:
        planning.check_network(self.options.model_config(name))
    return Predictor(self, progress, ended)


class Predictor:
  """Runs the jobs of a process one after the other, the host's work on the one before and the one to come beside."""

  def __init__(self, setup: Setup, progress: Progress, ended: Callable[[Outcome, list[Failure]], None]):
    """Has nothing to do yet; `ended` is called with how a protein ended, perhaps in another thread."""
    self._out, self._options, self._models, self._keys = setup.out, setup.options, setup.models, setup.keys
    self._lengths, self._progress, self._ended = setup.lengths, progress, ended
    self._num_passes = {name: setup.options.model_config(name).num_recycle + 1 for name in setup.models.names}
    self._device = OnDevice(setup.options, setup.models, setup.lengths, self._num_passes)
    couplings = any(setup.options.model_config(name).embedder.couplings for name in setup.models.names)

    def load(job: Job) -> work.LoadedJob:
      merging = setup.options.merging(was_searched=job.hits is not None)
      return work.load(job, setup.templates, couplings, merging)

    self._ahead = Ahead(load)
    self._lanes, self._removals, self._painter = Lanes(), Removals(), Painter()
    self._unwritten = Unwritten()

  def __enter__(self) -> 'Predictor':
    return self

  def __exit__(self, *_: object) -> None:
    self._ahead.close()
    self._lanes.close()
    self._painter.close()
    self._removals.close()
    self._unwritten.close()

  def together(self, job: Job, count: int) -> int:
    """How many proteins of the padded length of one are to be run together, of so many that there are."""
    return min(count, self._device.several(job, count))

  def most_together(self) -> dict[int, int]:
    """How many proteins of each padded length of the run are to be run together, if there are so many."""
    return {size: self._models.together(size, MAX_TOGETHER) for size in self._lengths.chosen}

  def run(self, assignments: Sequence[Assignment], ahead: Sequence[Job] = ()) -> None:
    """Predicts proteins of one padded length and kind; the last files are written later, and then `ended` is called.

    Args:
      assignments: the proteins.
      ahead: what probably comes next: its features are made meanwhile.

    Raises:
      CannotWrite: the disk is full, or the folder cannot be written any more, now or for an earlier protein.
      WeightsError: the parameters of a model cannot be loaded.
    """
    proteins = [protein for assignment in assignments if (protein := self._begun(assignment, len(assignments) > 1))]
    self._ahead.begin(ahead)
    self._predict_all(proteins)
    for protein in proteins:
      protein.behind.put(functools.partial(self._finish, protein), 'protein')

  def _begun(self, assignment: Assignment, with_others: bool) -> Protein | None:
    """A protein that is about to be predicted; None if its input cannot be read."""
    job = assignment.job
    options, keys = self._options.of(job.is_complex), self._keys.of(job.is_complex)
    files = JobFiles(self._out, job, options, keys, self._removals, self._painter, self._unwritten)
    progress = self._progress.beside() if with_others else self._progress
    left = {(name, seed): self._num_passes[name] for name in options.models for seed in options.seeds}
    protein = Protein(assignment, files, self._lanes.next(job.num_res), progress, left)
    with self._failing(protein, 'input'):
      protein.loaded = self._ahead.get(job)
    if protein.failures:
      progress.skipped(self._lengths.of(job.num_res), sum(left.values()))
      self._ended(Outcome(job.name, FAILED), protein.failures)
      return None
    num_templates = int(np.sum(protein.loaded.batch.templates.mask))
    templates = f', {number(num_templates, "template")}' if num_templates else ''
    shown = f'{number(job.num_res, "residue")}, {number(protein.loaded.num_rows, "alignment row")}{templates}'
    progress.job(job.name, shown)
    self._write(protein, 'output', lambda: protein.files.start_anew(assignment.input_key))
    return protein

  def drain(self) -> None:
    """Waits until everything is written; raises as `run` does."""
    self._lanes.drain()

  def _finish(self, protein: Protein) -> None:
    """Ranks the predictions, writes the protein's own files and reports how it ended."""
    name, found, outcome = protein.job.name, protein.found, Outcome(protein.job.name, FAILED)
    with self._failing(protein, 'output'):
      if found and not protein.is_lost:
        self._check_claim(protein)
        done = protein.files.finish(found, protein.loaded, complete=not protein.failures)
        best, *others = done['predictions']
        scores = told(best['mean_plddt'], None, best.get('iptm'))
        shown = f'best of {len(others) + 1} is {best["model"]}, seed {best["seed"]}, {scores}'
        _log.info('%s: %s; %s', name, shown, number(len(done['files']), 'file'))
        outcome = Outcome(name, PARTIAL if protein.failures else DONE, [best, *others], done['files'])
      elif not protein.is_lost:
        protein.files.abandon()
    if protein.is_lost:
      _log.warning('%s: another process has taken it over, and finishes it', name)
      outcome = Outcome(name, ELSEWHERE)
    self._ended(outcome, protein.failures)

  def _predict_all(self, proteins: Sequence[Protein]) -> None:
    """Runs each model and seed of each; what goes wrong with one is among its protein's failures."""
    options = self._options.of(any(protein.job.is_complex for protein in proteins))  # all are of one kind
    try:
      for which in [(name, seed) for name in options.models for seed in options.seeds]:
        going = [protein for protein in proteins if not protein.is_enough]
        self._device.compute_together(going, which, lambda *one: self._kept(*one) is not None)
        for protein in proteins:
          if not protein.is_enough:
            self._predict(protein, which)
    finally:
      for protein in proteins:
        protein.progress.skipped(self._lengths.of(protein.job.num_res), sum(protein.left.values()))

  def _predict(self, protein: Protein, which: Which) -> None:
    """Runs a model with a seed."""
    score, given_up = None, True
    with self._failing(protein, 'predict', which):
      try:
        score = self._predicted(protein, which)
        given_up = False
      except Exception as error:
        given_up = not isinstance(error, NumericalError)  # of another model or seed there may be numbers
        discard = functools.partial(protein.files.discard, record.tag(*which), self._num_passes[which[0]])
        protein.behind.do(discard)
        raise
    protein.progress.skipped(self._lengths.of(protein.job.num_res), protein.left.pop(which))
    protein.is_enough = given_up or protein.is_over or (score is not None and score > self._options.stop_at_score)

  def _predicted(self, protein: Protein, which: Which) -> float:
    """Computes a prediction, or takes what an earlier run kept, and has its files written; returns its score."""
    files, (name, seed) = protein.files, which
    before, key = self._kept(protein, which), self._key(protein, which)
    one = before or self._device.computed(protein, which)

    def write() -> None:
      kept = before or files.keep(one, key)
      files.write_prediction(one.in_memory())
      protein.found.append(kept)
      scores = told(one.mean_plddt, one.ptm, one.iptm)
      took = f'{scores}, {number(len(one.passes) - 1, "recycle")}, {one.seconds:.1f} s'
      _log.info('%s %s, seed %d: %s', protein.job.name, name, seed, f'done before, {scores}' if before else took)

    self._write(protein, 'predict', write, which)
    return self._options.score(one)

  def _key(self, protein: Protein, which: Which) -> str:
    return self._keys.of(protein.job.is_complex).prediction(protein.assignment.input_key, *which)

  def _kept(self, protein: Protein, which: Which) -> Prediction | None:
    """What an earlier run kept."""
    if self._options.overwrite_existing_results:
      return None
    return protein.files.kept(record.tag(*which), self._key(protein, which))

  def _write(self, protein: Protein, stage: str, task: Callable[[], None], which: Which | None = None) -> None:
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

  def _check_claim(self, protein: Protein) -> None:
    if not protein.assignment.stands:
      protein.is_lost = True
      raise _Lost

  @contextlib.contextmanager
  def _failing(self, protein: Protein, stage: str, which: Which | None = None) -> Iterator[None]:
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
