# SPDX-License-Identifier: Apache-2.0
"""What is computed of the proteins of a run, each alone or several in one pass, and what is told of it meanwhile."""

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from alphafold_jax import folders
from alphafold_jax.errors import AlphaFoldError, WeightsError
from alphafold_jax.output import record
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.record import PASS_ARRAYS, Pass
from alphafold_jax.runs.files import Failure, JobFiles
from alphafold_jax.runs.fleet.beside import Behind
from alphafold_jax.runs.fleet.lengths import Lengths
from alphafold_jax.runs.fleet.models import Models
from alphafold_jax.runs.fleet.progress import Progress
from alphafold_jax.runs.fleet.queue import Assignment
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job, LoadedJob
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)
Which = tuple[str, int]  # model and seed


@contextlib.contextmanager
def _said_before() -> Iterator[None]:
  """Silences what a program is told of templates that its model does not take: a run has said it when it began."""
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'templates are not used by')
    yield


class CannotWrite(Exception):
  """The output folder takes no more files, so no further protein can be finished either."""

  def __init__(self, job: str, cause: str, message: str):
    """Names the protein whose files cannot be written; `cause` is the type of the error."""
    super().__init__(job, cause, message)
    self.job, self.cause, self.message = job, cause, message


@dataclasses.dataclass(eq=False)
class Protein:
  """One protein while it is run; from the first prediction on its files are written in a thread of their own."""

  assignment: Assignment
  files: JobFiles
  behind: Behind  # the thread that writes them
  progress: Progress
  left: dict[Which, int]  # passes that are to come
  loaded: LoadedJob = dataclasses.field(init=False)  # once its input was read
  found: list[Prediction] = dataclasses.field(default_factory=list)
  failures: list[Failure] = dataclasses.field(default_factory=list)
  is_over: bool = False  # its files cannot be written, or it was lost: nothing further is predicted of it
  is_lost: bool = False
  is_enough: bool = False  # nothing further is predicted of it: it scored well, or what went wrong would go wrong again
  together: dict[Which, Prediction | AlphaFoldError] = dataclasses.field(default_factory=dict)  # computed with others

  @property
  def job(self) -> Job:
    return self.assignment.job


class _Watch:
  """Reports the passes of a prediction, and keeps the structures after them where files are made of them."""

  def __init__(self, protein: Protein, which: Which, size: int, num_passes: int, is_new: bool):
    """Of a protein that is padded to `size` residues; `is_new`: the program will be compiled."""
    self._protein, self._which, self._size, self._num_passes, self._is_new = protein, which, size, num_passes, is_new
    self._step = '{}, seed {}'.format(*which)
    self._passes: list[tuple[np.ndarray, np.ndarray]] = []  # positions and pLDDT after each

  def begun(self, more: str = '') -> contextlib.AbstractContextManager:
    """Reports that it begins; inside the block it is told that programs are compiled."""
    from alphafold_jax import compiled_once

    progress = self._protein.progress
    progress.step(f'{self._step}: {"beginning" if self._is_new else "running"}{more}')
    return compiled_once.watched(f'up to {self._size} residues', lambda text: progress.step(f'{self._step}: {text}'))

  def passed(self, one: Pass, fetch: Callable[[], Prediction]) -> None:
    protein, files = self._protein, self._protein.files
    if not one.index:  # perhaps it begins again, in float32 or with less memory
      self._passes.clear()
    if files.wants_passes:
      fetched = fetch()
      protein.behind.do(lambda: files.write_pass(fetched))
      self._passes.append((fetched.atom_positions, fetched.plddt))
    protein.left[self._which] = max(0, protein.left[self._which] - 1)
    protein.progress.passed(self._step, self._size, one, self._num_passes, self._is_new and one.index == 0)

  def finished(self, predicted: Prediction) -> Prediction:
    """The prediction with the structures after its passes; NumericalError: it holds NaN or infinity."""
    record.check_finite(predicted)
    stacked = dict(zip(PASS_ARRAYS, map(np.stack, zip(*self._passes))))
    return dataclasses.replace(predicted, arrays={**predicted.arrays, **stacked})


class OnDevice:
  """Computes predictions."""

  def __init__(self, options: Options, models: Models, lengths: Lengths, num_passes: Mapping[str, int]):
    """Has computed nothing yet; `num_passes` are those of each model."""
    self._options, self._models, self._lengths, self._num_passes = options, models, lengths, num_passes
    self._several: dict[int, int] = {}  # by padded length: proteins of one pass, the same for the whole run
    self._has_failed = False  # to compute several together
    self._guess = None if options.initial_guess is None else folders.expanded(options.initial_guess)

  def several(self, job: Job, count: int) -> int:
    """How many proteins of the padded length of one are computed in one pass, if there are so many at first."""
    size = self._lengths.of(job.num_res)
    if self._has_failed:
      return 1
    if size not in self._several:
      self._several[size] = self._models.together(size, count)
    return self._several[size]

  def computed(self, protein: Protein, which: Which) -> Prediction:
    """Computes a prediction, or takes what was computed of it with others; raises what went wrong."""
    from alphafold_jax import prediction

    if (one := protein.together.pop(which, None)) is not None:
      if isinstance(one, AlphaFoldError):
        raise one
      return one
    job, (name, seed), size = protein.job, which, self._lengths.of(protein.job.num_res)
    planned = self._models.planned(name, job.name, protein.loaded.batch, size)
    watch = _Watch(protein, which, size, self._num_passes[name], planned.is_new)
    with watch.begun(), _said_before():
      predicted = prediction.predict(
        planned.model,
        protein.loaded.batch,
        seed=seed,
        name=job.query.name,
        chain_names=job.chain_names,
        initial_guess=self._guess,
        settings=self._options.run_settings(),
        on_pass=watch.passed,
        plan=planned.plan,
        make_room=planned.make_room,
      )
    return watch.finished(predicted)

  def compute_together(
    self, proteins: Sequence[Protein], which: Which, is_kept: Callable[[Protein, Which], bool]
  ) -> None:
    """Computes proteins of one padded length in passes of several, for `computed` to take.

    Not those that an earlier run kept, nor if processes died at one. Where it fails in a way that is not one
    protein's, they are left to be computed alone.
    """
    if not proteins or self._guess is not None or any(protein.assignment.deaths for protein in proteins):
      return
    if (several := self.several(proteins[0].job, len(proteins))) == 1:
      return
    if not (proteins := [protein for protein in proteins if not is_kept(protein, which)]):
      return
    try:
      self._compute_together(proteins, which, several)
    except (CannotWrite, WeightsError):
      raise
    except Exception as error:
      shown = ', '.join(protein.job.name for protein in proteins)
      kind, how = type(error).__name__, 'from now on each protein is computed alone'
      _log.warning('%s: could not be computed together; %s (%s: %s)', shown, how, kind, error)
      self._has_failed = True

  def _compute_together(self, proteins: Sequence[Protein], which: Which, several: int) -> None:
    from alphafold_jax import together

    (name, seed), first, size = which, proteins[0].job, self._lengths.of(proteins[0].job.num_res)
    input_batches = [protein.loaded.batch for protein in proteins]
    model, make_room, is_new = self._models.ready_for(name, first.name, input_batches, size, several)
    watches = [_Watch(protein, which, size, self._num_passes[name], is_new) for protein in proteins]
    others = f', with {number(len(proteins) - 1, "other")}' if len(proteins) > 1 else ''
    with watches[0].begun(others), _said_before():
      found = together.predict_together(
        model,
        input_batches,
        seeds=seed,
        names=[protein.job.query.name for protein in proteins],
        chain_names=[protein.job.chain_names for protein in proteins],
        num_proteins=several,
        num_res=size,
        settings=self._options.run_settings(),
        on_pass=lambda index, *one: watches[index].passed(*one),
        make_room=make_room,
      )
    for protein, watch, one in zip(proteins, watches, found):
      protein.together[which] = one if isinstance(one, AlphaFoldError) else watch.finished(one)
