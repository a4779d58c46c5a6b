# SPDX-License-Identifier: Apache-2.0
"""Training sets that follow one another: the settings of examples may change in the course of a run."""

from collections.abc import Sequence

from alphafold_jax import schema
from alphafold_jax.data.training.training_set import TrainingSet


class PhasedSet:
  """Random access to examples, each from the training set of its number; still a function of (seed, number) alone."""

  def __init__(self, sets: Sequence[tuple[int, TrainingSet]]):
    """Joins sets, each with the number of its first example, ascending from 0; their batch sizes are equal."""
    self.sets = tuple(sets)
    self.batch_size = sets[0][1].batch_size

  def example(self, index: int) -> tuple[str, schema.Batch]:
    """The chain's id and the padded example of a number, see `TrainingSet.example`."""
    return [training_set for first, training_set in self.sets if first <= index][-1].example(index)
