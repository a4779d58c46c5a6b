# SPDX-License-Identifier: Apache-2.0
"""The padded lengths of a run over many proteins: few, so that little is compiled, and as close as that allows."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable

from alphafold_jax.costs import operations
from alphafold_jax.data.padding import best_lengths, residue_bucket
from alphafold_jax.runs.options import Options

# What compiling takes, in floating-point operations of passes. Two cores compile for 8 to 13 s and run passes at 1e11
# (mini) to 2e11 a second; it is taken a little high, since near the best the sum hardly changes, and programs take
# memory. Accelerators, reckoned: 40 s at some 5e13.
_PROGRAM_ON_CPU = 2e12
_PROGRAM_ON_ACCELERATOR = 2e15


@dataclasses.dataclass(frozen=True)
class Lengths:
  """Where each protein of a run is padded to."""

  chosen: tuple[int, ...] = ()  # residues, ascending
  num_devices: int = 1

  def of(self, num_res: int) -> int:
    """The padded length: the next of the run's, or that of a protein alone if none holds it."""
    alone = residue_bucket(num_res, self.num_devices)
    return next((length for length in self.chosen if length >= num_res), alone)


def of_run(num_res: Iterable[int], options: Options, on_accelerator: bool) -> Lengths:
  """Chooses the padded lengths of a run.

  They follow from all proteins of the run, whether or not they are done, from the options, and from the kind of
  device: a resumed run, its workers and all shards choose the same.

  Args:
    num_res: residues of all proteins.
    options: of the run.
    on_accelerator: where compiling takes as long as many more passes.
  """
  num_devices = options.settings.num_devices
  proteins = Counter(residue_bucket(length, num_devices) for length in num_res)
  program = _PROGRAM_ON_ACCELERATOR if on_accelerator else _PROGRAM_ON_CPU
  return Lengths(best_lengths(proteins, of_protein(options), program), num_devices)


def of_protein(options: Options, depth: int | None = None) -> Callable[[int], float]:
  """What gives the operations of all passes of a protein from its padded length; `depth` as in `operations`."""
  configs = [options.model_config(name) for name in options.models]

  def of_length(num_res: int) -> float:
    return len(options.seeds) * sum((config.num_recycle + 1) * operations(config, num_res, depth) for config in configs)

  return of_length
