# SPDX-License-Identifier: Apache-2.0
"""Batches for the training loop, made ahead of it by Grain's threads.

Global batch k holds the examples k * batch_size ... (k + 1) * batch_size - 1 of the training set, and each host takes
its slice of them: the batches depend neither on the number of hosts nor on that of threads.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from alphafold_jax import fields, installed, schema
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

_ENDLESS = sys.maxsize // 2**20  # batches


class Examples(Protocol):
  """Examples by number, such as a TrainingSet."""

  batch_size: int  # of all hosts together

  def example(self, index: int) -> tuple[str, schema.Batch]:
    """The chain's id and the example of a number."""
    ...


@dataclasses.dataclass(frozen=True)
class Feed:
  """This host's part of one mini-batch."""

  step: int
  ids: tuple[str, ...]  # of the chains
  batch: schema.Batch  # every array with a leading axis, the examples

  __repr__ = one_line


class Batches:
  """An iterator over `Feed`, whose state is the number of the next step."""

  def __init__(self, examples: Any, first: int, local: int):
    """Wraps a Grain iterator over feeds of `local` examples each, the first of which is step `first`."""
    self._examples, self._first, self._local = examples, first, local

  def __iter__(self) -> 'Batches':
    return self

  def __next__(self) -> Feed:
    return next(self._examples)

  def get_state(self) -> dict[str, int]:
    """The next step, for a checkpoint."""
    return {'step': self._first + self._examples.get_state()['next_index'] // self._local}

  def set_state(self, state: Mapping[str, int]) -> None:
    """Goes on at a state of this or another iterator over the same training set."""
    self._examples.set_state({'next_index': (state['step'] - self._first) * self._local})


def batches(
  training_set: Examples,
  *,
  start: int = 0,
  stop: int | None = None,
  host: int = 0,
  num_hosts: int = 1,
  num_threads: int = 4,
  ahead: int = 2,
) -> Batches:
  """Iterates over the mini-batches of steps start, start + 1, ... stop - 1.

  Args:
    training_set: the examples; its batch size is that of all hosts together.
    start: the first step.
    stop: the step after the last; None: there is no end.
    host: this process's number.
    num_hosts: processes in all; must divide the batch size.
    num_threads: that make examples.
    ahead: mini-batches that are made in advance.

  Raises:
    InputError: the hosts do not divide the batch size, or Grain is not installed.
  """
  if training_set.batch_size % num_hosts:
    raise InputError(f'a batch of {training_set.batch_size} examples cannot be divided among {num_hosts} hosts')
  grain = installed.module('grain', 'train', InputError)
  local = training_set.batch_size // num_hosts
  num_steps = (_ENDLESS if stop is None else stop) - start

  def example(place: int) -> tuple[int, str, schema.Batch]:
    step = start + place // local
    index = step * training_set.batch_size + host * local + place % local
    return step, *training_set.example(index)

  examples = grain.MapDataset.range(num_steps * local).map(example)
  options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=max(num_threads, ahead * local))
  return Batches(iter(examples.to_iter_dataset(options).batch(local, batch_fn=_feed)), start, local)


def stack(examples: Sequence[schema.Batch]) -> schema.Batch:
  """Examples of equal shape as one batch, every array with a leading axis of examples."""
  arrays: dict[str, list[np.ndarray]] = {}
  for example in examples:
    for name, _, value in fields.leaves(example):
      arrays.setdefault(name, []).append(value)
  return fields.from_leaves(schema.Batch, {name: np.stack(values) for name, values in arrays.items()}, 'batch')


def _feed(examples: Sequence[tuple[int, str, schema.Batch]]) -> Feed:
  steps, ids, parts = zip(*examples, strict=True)
  return Feed(step=steps[0], ids=ids, batch=stack(parts))
