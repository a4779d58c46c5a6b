# SPDX-License-Identifier: Apache-2.0
"""The recycling of one protein, or of several that are computed together and stop each by itself."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from alphafold_jax import choices, interfaces, planning, programs
from alphafold_jax.data.jobnames import safe_name
from alphafold_jax.errors import NumericalError
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.record import OF_SINGLE_CHAINS, Pass
from alphafold_jax.tasks import Task

OnPass = Callable[[Pass, Callable[[], Prediction]], None]  # is given a pass, and what fetches the structure so far


@dataclasses.dataclass
class _Course:
  """How far a protein has come."""

  task: Task
  on_pass: OnPass | None
  of: Callable[[Any], Any]  # its part of what a program gives
  done: list[Pass] = dataclasses.field(default_factory=list)
  end: Prediction | NumericalError | None = None  # None: there are passes to come
  is_last: bool = False  # whether the next pass is

  def passed(self, index: int, result: programs.PassResult, numbers: Sequence[Any], seconds: float) -> None:
    """Takes note of a pass; `numbers` are mean pLDDT, pTM, ipTM, change in Å, and whether all of it is finite."""
    task, config = self.task, self.task.config
    mean_plddt, ptm, iptm, change, finite = numbers
    if not finite:
      self.end = NumericalError(
        f'{task.name}: {task.model.name} gave NaN or infinity in pass {index} in {config.dtype}; nothing of it is '
        'written'
      )
      return
    ptm, iptm = (None if score is None else float(score) for score in (ptm, iptm))
    self.done.append(Pass(index, float(mean_plddt), ptm, float(change), seconds, iptm))
    fetch = functools.partial(_fetch, task, result, self.of, tuple(self.done))
    if self.on_pass is not None:
      self.on_pass(self.done[-1], fetch)
    stands_still = index > 0 and self.done[-1].change <= config.recycle_early_stop_tolerance
    if index == config.num_recycle or self.is_last or (stands_still and config.early_stop == choices.COLABFOLD):
      self.end = fetch()
    self.is_last = stands_still  # AlphaFold runs one more pass, and takes that


def run(
  tasks: Sequence[Task], plan: planning.Plan, on_pass: Sequence[OnPass | None]
) -> list[Prediction | NumericalError]:
  """Recycles each protein until it is done, Algorithm 30.

  Args:
    tasks: of one model, of its settings and of one program; no more than the plan has proteins.
    plan: of all of them.
    on_pass: for each, called after each of its passes.

  Returns:
    what became of each: its error if NaN or infinity came out.
  """
  first = tasks[0]
  what, _ = first.program(plan.kernels, plan.num_proteins)
  compiled = programs.compiled(*what)

  def key_of(index: int) -> programs.PassKey:
    return compiled.stacked([programs.PassKey.of(task.seed, index) for task in tasks])

  batches = [task.padded() for task in tasks]
  padded, alignment = compiled.stacked([(programs.without_alignment(batch), batch.msa) for batch in batches])
  params, (padded, alignment) = compiled.put(first.params), compiled.put((padded, alignment))
  context, previous = compiled.begin(params, key_of(first.config.num_recycle + 1), padded)
  if any(task.initial_guess is not None for task in tasks):
    guesses = compiled.stacked([task.padded_guess() for task in tasks])
    positions = jax.device_put(guesses, previous.atom_positions.sharding)
    previous = dataclasses.replace(previous, atom_positions=positions)
  courses = [
    _Course(task, one, functools.partial(compiled.of, index=index))
    for index, (task, one) in enumerate(zip(tasks, on_pass, strict=True))
  ]
  index = 0
  while going := [course for course in courses if course.end is None]:
    start = time.monotonic()
    key, rows = compiled.draw(key_of(index), dataclasses.replace(padded, msa=alignment))
    result = compiled.one_pass(params, key, padded, context, previous, rows)
    del rows
    score = result.confidence
    numbers = score.mean_plddt, score.ptm, score.iptm, result.change, score.finite
    numbers = jax.device_get(numbers)  # waits for the pass
    seconds = (time.monotonic() - start) / len(going)
    for course in going:
      course.passed(index, result, course.of(numbers), seconds)
    previous = result.recycled
    del result  # what else it holds makes room for that of the next
    index += 1
  return [course.end for course in courses if course.end is not None]


def _notes(task: Task) -> tuple[str, ...]:
  """What every file of a prediction must say."""
  of_model = (task.model.note.text,) if task.model.note else ()
  is_strange = task.has_chains and not task.config.embedder.max_relative_chain
  return (*of_model, OF_SINGLE_CHAINS) if is_strange else of_model


def _fetch(task: Task, result: programs.PassResult, of: Callable[[Any], Any], done: tuple[Pass, ...]) -> Prediction:
  """Copies a protein's part of a result to the host and cuts the padding off."""
  model, batch = task.model, task.batch
  num_res = len(batch.aatype)
  score, representations = result.confidence, result.representations

  def host(array: jax.Array, axes: int = 1) -> np.ndarray:
    return np.asarray(of(array))[(slice(num_res),) * axes]

  arrays = {name: np.asarray(getattr(batch, name)) for name in ('aatype', 'residue_index', 'asym_id')} | {
    'atom_positions': host(result.recycled.atom_positions),
    'atom_mask': host(result.atom_mask),
    'plddt': host(score.plddt),
    'contact_probability': host(score.contact_probability, 2),
  }
  arrays |= {name: host(kept, 2) for name in ('pae', 'distogram') if (kept := getattr(score, name)) is not None}
  if score.own_chain_tm is not None:
    assert score.tm is not None and score.interface_contact is not None  # they come together
    terms = host(score.tm, 2), host(score.interface_contact, 2), host(score.own_chain_tm)
    arrays['chain_tm'] = interfaces.tm_of_chains(*terms, arrays['asym_id'])
  if representations is not None:
    arrays |= {'single': host(representations.single), 'pair': host(representations.pair, 2).astype(np.float32)}
  return Prediction(
    name=task.name,
    job=safe_name(task.name),
    model_name=model.name,
    seed=task.seed,
    mean_plddt=done[-1].mean_plddt,
    ptm=done[-1].ptm,
    iptm=done[-1].iptm,
    chain_names=task.chain_names if task.has_chains else (),
    passes=done,
    arrays=arrays,
    notes=_notes(task),
  )
