# SPDX-License-Identifier: Apache-2.0
"""Which protein comes next: those of this process first, then what others have not begun or have abandoned."""

import dataclasses
import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax.data.padding import residue_bucket
from alphafold_jax.runs.files import DONE, ELSEWHERE, FAILED, KEPT, PARTIAL, Failure, Ledger, Outcome
from alphafold_jax.runs.fleet.claims import STOPPED, Claim, Claims, stands
from alphafold_jax.runs.fleet.progress import RunClock, cost
from alphafold_jax.runs.work import Job
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)
_SHOWN = 3  # proteins that are waited for, by name
_MAX_DEATHS = 2  # of processes, at one protein
_GIVEN_UP = (
  f'{_MAX_DEATHS} processes died at it without an error: the memory of the machine ran out (the system then sends '
  'SIGKILL), somebody ended them, or a driver or library failed. Try fewer --workers, a shallower alignment '
  '(--max-msa 128:256), or --no-compilation-cache; the same command tries it again'
)


@dataclasses.dataclass(frozen=True)
class Assignment:
  """A protein that this process has claimed."""

  job: Job  # with its alignment
  input_key: str  # digest of its input
  claim: Path
  deaths: int = 0  # processes that have died at it: if any, nothing else is done beside it

  @property
  def stands(self) -> bool:
    """Whether no other process has taken the protein over since."""
    return stands(self.claim)


def shares(jobs: Sequence[Job], count: int) -> list[list[Job]]:
  """The jobs by length, cut into parts of about equal cost: the same on every host, with few programs for each."""
  ordered = sorted(jobs, key=lambda job: (job.num_res, job.name))
  costs = [cost(residue_bucket(job.num_res)) for job in ordered]  # the run's own lengths depend on the device
  parts: list[list[Job]] = [[] for _ in range(count)]
  for job, one, before in zip(ordered, costs, itertools.accumulate(costs, initial=0.0)):
    middle = (before + one / 2) / sum(costs)
    parts[min(count - 1, int(middle * count))].append(job)
  return parts


def of_shard(jobs: Sequence[Job], shard: tuple[int, int] | None) -> tuple[list[Job], list[Job]]:
  """A shard's own jobs, and those of the others in the order in which to help: what they would come to last, first."""
  if shard is None:
    return list(jobs), []
  number_of_shard, count = shard
  parts = shares(jobs, count)
  others = (parts[(number_of_shard + i) % count] for i in range(count - 1))
  return parts[number_of_shard - 1], [job for part in others for job in reversed(part)]


@dataclasses.dataclass(frozen=True)
class Workload:
  """What a run has to predict; it can be sent to another process."""

  setup: Any  # a predicting.Setup
  own: Sequence[Job]  # in order; their input was read
  others: Sequence[Job]  # of other shards, in the order in which to help
  ledger: Ledger
  on_device: Callable[[dict[str, Any]], None]  # called once, with facts about the device

  def clock(self) -> RunClock:
    passes: Counter[int] = Counter()
    for job in self.own:
      passes[self.setup.lengths.of(job.num_res)] += self.passes_of(job)
    return RunClock(passes, len(self.own))

  def passes_of(self, job: Job) -> int:
    """How many passes of the network a protein takes at most."""
    options = self.setup.options.of(job.is_complex)
    return len(options.seeds) * sum(options.model_config(name).num_recycle + 1 for name in options.models)


class Queue:
  """The proteins that are left, and the claims on them."""

  def __init__(self, workload: Workload, claims: Claims, clock: RunClock):
    """Starts with everything; `clock` gets the passes of what turns out to be this run's, and loses those of others."""
    self._own = {job.name: job for job in workload.own}
    self._others = {job.name: job for job in workload.others}
    self._ledger, self._claims, self._clock = workload.ledger, claims, clock
    self._passes_of, self._lengths = workload.passes_of, workload.setup.lengths
    self._waits = workload.setup.options.shard is None  # for what others do; a shard leaves it to those that are alive
    self._seen: dict[str, Claim] = {}  # of others, when there was nothing to do
    self._has_logged_others = False

  @property
  def is_empty(self) -> bool:
    """Whether nothing is left, nor in the hands of others that must be waited for."""
    return not (self._own or self._others)

  def coming(self, count: int, avoid: Collection[str] = ()) -> list[Job]:
    """The first of what probably comes next, not claimed yet."""
    return list(itertools.islice((job for name, job in self._own.items() if name not in avoid), count))

  def alike(self, job: Job) -> int:
    """How many of this run's proteins that are left have the padded length and kind of one, which is not counted."""
    return sum(self._are_alike(job, other) for other in self._own.values())

  def _are_alike(self, job: Job, other: Job) -> bool:
    """Whether two proteins can be computed in one pass."""
    return job.is_complex == other.is_complex and self._lengths.of(job.num_res) == self._lengths.of(other.num_res)

  def take(self, avoid: Collection[str] = ()) -> Assignment | None:
    """Claims the next protein that is not to be avoided. None: none can be had now; ask again until `is_empty`."""
    for job in [*self._own.values(), *self._others.values()]:
      if job.name not in avoid and (assignment := self._claimed(job)) is not None:
        self._seen.clear()
        return assignment
    if not avoid:
      self._look_at_others()
    return None

  def take_alike(self, first: Assignment, count: int) -> list[Assignment]:
    """Claims up to so many of this run's further proteins that are like one; none if processes died at it."""
    found: list[Assignment] = []
    for other in [*self._own.values()]:
      if first.deaths or len(found) == count:
        break
      if self._are_alike(first.job, other) and (assignment := self._claimed(other)) is not None:
        found.append(assignment)
    return found

  def ended(self, outcome: Outcome, failures: Sequence[Failure] = ()) -> None:
    """Puts on record how a protein ended, and gives it back."""
    self._ledger.end(outcome, failures)
    self._give_back(outcome.job)

  def died(self, assignment: Assignment) -> Assignment | None:
    """Counts the death of a process that predicted a protein for this one.

    Returns:
      the protein to be predicted again, with nothing beside it; None: it is given up, and has failed.
    """
    self._claims.count_death(assignment.job.name, os.getpid())
    if assignment.deaths + 1 < _MAX_DEATHS:
      return dataclasses.replace(assignment, deaths=assignment.deaths + 1)
    self._give_up(assignment.job)
    return None

  def _give_up(self, job: Job) -> None:
    """Puts a protein on record as failed that processes died at."""
    _log.error('%s: %s', job.name, _GIVEN_UP)
    self._ledger.fail(job, 'predict', 'WorkerDied', _GIVEN_UP)
    self._give_back(job.name)

  def _give_back(self, name: str) -> None:
    outcome, failures = self._ledger.outcomes[name], list(map(dataclasses.asdict, self._ledger.failures_of(name)))
    content = {'predictions': list(outcome.predictions), 'files': list(outcome.files), 'failures': failures}
    self._claims.end(name, outcome.status, key=self._ledger.key_of(name), **content)

  def settle(self, pids: Collection[int]) -> None:
    """Puts on record how proteins ended since this run began.

    Args:
      pids: processes of this run; proteins of other shards count for it if one of these ended them.
    """
    for job in [*self._own.values(), *self._others.values()]:
      last = self._claims.last(job.name)
      if last is None or last.ended in (None, STOPPED, ELSEWHERE) or last.renewed < self._claims.started:
        continue
      if last.key == self._ledger.key(job) and (job.name in self._own or last.pid in pids):
        self._ledger.ours.add(job.name)
        self._drop(job)
        status = DONE if last.ended == KEPT else last.ended  # it was found done, since this run began
        outcome = Outcome(job.name, status, last.predictions, last.files)
        self._ledger.end(outcome, [Failure(**failure) for failure in last.failures])

  # ---------------------------------------------------------------------------------------- one protein

  def _drop(self, job: Job) -> None:
    """Takes a protein off that this process does not run."""
    if self._own.pop(job.name, None) is not None:
      self._clock.skip(self._lengths.of(job.num_res), self._passes_of(job))
    self._others.pop(job.name, None)

  def _claimed(self, job: Job) -> Assignment | None:
    """A protein claimed; None if it cannot be had, or nothing is left to do."""
    if self._is_settled(job) or (claim := self._claims.take(job.name)) is None:
      return None
    return self._assigned(job, claim)

  def _is_settled(self, job: Job) -> bool:
    """Whether there is nothing to do since another process did it, well or not."""
    last = self._claims.last(job.name)
    if last is not None and not self._claims.is_over(last):
      return False  # it is not to be had either
    is_others = job.name in self._others
    if is_others and (record := self._ledger.record(job)) is not None:
      self._drop(job)
      self._ledger.end_as_kept(job, record)
      return True
    if last is None or last.ended not in (FAILED, PARTIAL) or last.key != self._ledger.key(job):
      return False
    if not is_others and last.renewed < self._claims.started:
      return False  # of an earlier run: it is tried again
    self._drop(job)
    self._ledger.end(Outcome(job.name, last.ended), () if is_others else [Failure(**one) for one in last.failures])
    return True

  def _assigned(self, job: Job, claim: Path) -> Assignment | None:
    """A protein that was just claimed, made ready; None if it failed, or if another process had finished it before."""
    if self._others.pop(job.name, None) is not None:
      self._ledger.ours.add(job.name)
      self._clock.add(self._lengths.of(job.num_res), self._passes_of(job))
      self._own[job.name] = job
    ready = self._ledger.readable(self._ledger.with_alignments([job], None))
    record = self._ledger.record(ready[0]) if ready else None
    deaths = self._claims.deaths[job.name]
    if ready and record is None and deaths < _MAX_DEATHS:
      self._own.pop(job.name)
      return Assignment(ready[0], self._ledger.digests[job.name], claim, deaths)
    self._drop(job)
    if ready and record is None:
      self._give_up(job)
      return None
    if record is not None:
      self._ledger.end_as_kept(job, record)
    self._give_back(job.name)
    return None

  def _look_at_others(self) -> None:
    """Waits for what other processes are at, or leaves it to them once they are seen to be alive."""
    lasts = ((name, self._claims.last(name)) for name in (*self._own, *self._others))
    held = {name: last for name, last in lasts if last is not None and not self._claims.is_over(last)}
    if not held:
      return
    if not self._has_logged_others:
      shown = ', '.join([f'{name} ({claim})' for name, claim in held.items()][:_SHOWN]) + ', ...' * (len(held) > _SHOWN)
      what = 'waiting for' if self._waits else 'looking whether they are alive:'
      _log.info('nothing else is left; %s %s that others work on: %s', what, number(len(held), 'protein'), shown)
      self._has_logged_others = True
    for name, claim in () if self._waits else held.items():
      if self._seen.setdefault(name, claim) != claim:  # it was renewed meanwhile
        self._drop(self._own.get(name) or self._others[name])
        self._ledger.end(Outcome(name, ELSEWHERE))
