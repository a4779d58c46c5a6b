# SPDX-License-Identifier: Apache-2.0
"""The padded lengths of a run over many proteins: few, so that little is compiled, and as close as that allows."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

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


def operations(config: Mapping[str, Any], num_res: int, depth: int | None = None) -> float:
  """Floating-point operations of a pass at a padded length, roughly: products of the two stacks.

  The terms are those of Suppl. Algorithms 6 and 18 at their usual shapes: four projections in and one out per
  attention, transitions of four times the width, and the cube of the length in triangles.

  Args:
    config: of a model.
    num_res: padded residues.
    depth: rows of the alignment; None: as many as a pass takes.
  """
  n, z = num_res, config['embedder']['c_z']
  pair = 60 * n**2 * z**2 + 12 * n**3 * z
  total = 0.0
  left = config['sampling']['num_msa'] + config['sampling']['num_extra'] if depth is None else depth
  for stack, rows, width in (('evoformer', 'num_msa', 'c_m'), ('extra_msa', 'num_extra', 'c_extra')):
    s, c, outer = min(left, config['sampling'][rows]), config['embedder'][width], config[stack]['c_outer']
    left -= s
    column = s if config[stack]['column_attention'] == 'full' else 0  # global attention has no pairs of rows
    alignment = 36 * s * n * c**2 + 4 * s * n * (n + column) * c + 2 * outer**2 * (s + z) * n**2
    total += config[stack]['num_block'] * config['num_ensemble'] * (alignment + pair)
  return total
