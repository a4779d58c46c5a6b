# SPDX-License-Identifier: Apache-2.0
"""Which protein comes next: those of this process first, then what others have not begun or have abandoned."""

import dataclasses
import itertools
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from alphafold_jax.data.padding import residue_bucket
from alphafold_jax.runs.files import ELSEWHERE, FAILED, PARTIAL, Failure, Ledger, Outcome
from alphafold_jax.runs.fleet.claims import Claim, Claims
from alphafold_jax.runs.fleet.progress import Clock, cost
from alphafold_jax.runs.work import Job
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)
_SHOWN = 3  # proteins that are waited for, by name


@dataclasses.dataclass(frozen=True)
class Assignment:
  """A protein that this process has claimed."""

  index: int  # in the order of claiming, from 1
  job: Job  # with its alignment
  input_key: str  # digest of its input
  claim: Path


def shares(jobs: Sequence[Job], count: int) -> list[list[Job]]:
  """The jobs by length, cut into parts of about equal cost: the same on every host, with few programs for each.

  Args:
    jobs: all proteins.
    count: number of parts; some may be empty.
  """
  ordered = sorted(jobs, key=lambda job: (job.num_res, job.name))
  costs = [cost(residue_bucket(job.num_res)) for job in ordered]
  parts: list[list[Job]] = [[] for _ in range(count)]
  for job, one, before in zip(ordered, costs, itertools.accumulate(costs, initial=0.0)):
    middle = (before + one / 2) / sum(costs)
    parts[min(count - 1, int(middle * count))].append(job)
  return parts


def of_shard(jobs: Sequence[Job], shard: tuple[int, int] | None) -> tuple[list[Job], list[Job]]:
  """A shard's own jobs, and those of the others in the order in which to help: what they would come to last, first.

  Args:
    jobs: all proteins.
    shard: number, from 1, and count; None: all jobs are its own.
  """
  if shard is None:
    return list(jobs), []
  number_of_shard, count = shard
  parts = shares(jobs, count)
  others = (parts[(number_of_shard + i) % count] for i in range(count - 1))
  return parts[number_of_shard - 1], [job for part in others for job in reversed(part)]


class Queue:
  """The proteins that are left, and the claims on them."""

  def __init__(
    self,
    own: Sequence[Job],
    others: Sequence[Job],
    book: Ledger,
    claims: Claims,
    clock: Clock,
    *,
    passes_per_job: int = 1,
    waits: bool = True,
  ):
    """Starts a queue.

    Args:
      own: proteins of this process, in order; their input was read.
      others: those of other shards, which may be done, in the order in which to help.
      book: what is known of all.
      claims: of this process.
      clock: is told of proteins that turn out to be this run's, or not to be.
      passes_per_job: for the clock.
      waits: for proteins that others work on; otherwise they are left to those that are alive.
    """
    self._own = {job.name: job for job in own}
    self._others = {job.name: job for job in others}
    self._book, self._claims, self._clock = book, claims, clock
    self._passes_per_job, self._waits = passes_per_job, waits
    self._seen: dict[str, Claim] = {}  # of others, when there was nothing to do
    self._count = 0
    self._told = False

  @property
  def is_empty(self) -> bool:
    """Whether nothing is left, nor in the hands of others that must be waited for."""
    return not (self._own or self._others)

  def peek(self, avoid: Collection[str] = ()) -> Job | None:
    """What probably comes next, not claimed yet."""
    return next((job for name, job in self._own.items() if name not in avoid), None)

  def take(self, avoid: Collection[str] = ()) -> Assignment | None:
    """Claims the next protein; None if there is none now. If the queue is not empty then, ask again later.

    Args:
      avoid: names of proteins to pass over.
    """
    for job in [*self._own.values(), *self._others.values()]:
      if job.name in avoid or self._is_settled(job) or (claim := self._claims.take(job.name)) is None:
        continue
      if (assignment := self._assigned(job, claim)) is not None:
        self._seen.clear()
        return assignment
    if not avoid:
      self._look_at_others()
    return None

  def ended(self, outcome: Outcome, failures: Sequence[Failure] = ()) -> None:
    """Takes down how a protein ended, and gives it back."""
    self._book.end(outcome, failures)
    self._give_back(outcome.job)

  def _give_back(self, name: str) -> None:
    failures = [dataclasses.asdict(failure) for failure in self._book.failures_of(name)]
    self._claims.end(name, self._book.outcomes[name].status, self._book.key_of(name), failures)

  # ---------------------------------------------------------------------------------------- one protein

  def _drop(self, job: Job) -> None:
    """Takes a protein off that this process does not run."""
    if self._own.pop(job.name, None) is not None:
      self._clock.skip(residue_bucket(job.num_res), self._passes_per_job)
    self._others.pop(job.name, None)

  def _is_settled(self, job: Job) -> bool:
    """Whether there is nothing to do since another process did it, well or not."""
    last = self._claims.last(job.name)
    if last is not None and not self._claims.is_over(last):
      return False  # it is not to be had either
    is_others = job.name in self._others
    if is_others and (record := self._book.record(job)) is not None:
      self._drop(job)
      self._book.kept(job, record)
      return True
    if last is None or last.ended not in (FAILED, PARTIAL) or last.key != self._book.key(job):
      return False
    if not is_others and last.renewed < self._claims.started:
      return False  # of an earlier run: it is tried again
    self._drop(job)
    self._book.end(Outcome(job.name, last.ended), () if is_others else [Failure(**one) for one in last.failures])
    return True

  def _assigned(self, job: Job, claim: Path) -> Assignment | None:
    """A protein that was just claimed, made ready; None if it failed, or if another process had finished it before."""
    if self._others.pop(job.name, None) is not None:
      self._book.ours.add(job.name)
      self._clock.add(residue_bucket(job.num_res), self._passes_per_job)
      self._own[job.name] = job
    ready = self._book.readable(self._book.with_alignments([job], None))
    if ready and (record := self._book.record(ready[0])) is None:
      self._own.pop(job.name)
      self._count += 1
      return Assignment(self._count, ready[0], self._book.digests[job.name], claim)
    self._drop(job)
    if ready:
      self._book.kept(job, record)
    self._give_back(job.name)
    return None

  def _look_at_others(self) -> None:
    """Waits for what other processes are at, or leaves it to them once they are seen to be alive."""
    held = {}
    for name in (*self._own, *self._others):
      if (last := self._claims.last(name)) is not None and not self._claims.is_over(last):
        held[name] = last
    if not held:
      return
    if not self._told:
      shown = ', '.join(f'{name} ({claim})' for name, claim in list(held.items())[:_SHOWN])
      _log.info(
        'nothing else is left; %s %s that others work on: %s%s',
        'waiting for' if self._waits else 'looking whether they are alive:',
        number(len(held), 'protein'),
        shown,
        ', ...' * (len(held) > _SHOWN),
      )
      self._told = True
    for name, claim in () if self._waits else held.items():
      if self._seen.setdefault(name, claim) != claim:  # it was renewed meanwhile
        self._drop(self._own.get(name) or self._others[name])
        self._book.end(Outcome(name, ELSEWHERE))
