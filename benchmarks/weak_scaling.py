# SPDX-License-Identifier: Apache-2.0
"""What a chip computes and receives in a training step when chips and batch grow together.

  python benchmarks/weak_scaling.py                    # v5e; a minute for each size
  python benchmarks/weak_scaling.py --for v6e 2 8 64   # numbers of chips

A chip alone has one example, otherwise two chips share one. The step is traced for simulated devices, neither compiled
nor run: products and exchanges are those that it asks for. `alphafold-jax compile --for v5e:4x4 --experiment
train_initial` says, slowly, what the compiler makes of them.

Two chips together compute a little less than one alone: 64.3 TFLOP, not 65.5. One alone attends to the alignment's
columns in two slices, each computed anew on the way back; of two chips each has half of the columns, which is one.
"""

import argparse
import collections
import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from alphafold_jax.elsewhere import targets

EXPERIMENT = 'train_initial'
CHIPS = (1, 4, 16, 256)
_KINDS = {  # of exchanges that are counted, by the names of JAX's primitives
  'psum': 'all-reduce',
  'psum_invariant': 'all-reduce',
  'pmax': 'all-reduce',
  'pmin': 'all-reduce',
  'all_gather': 'all-gather',
  'all_to_all': 'all-to-all',
  'reduce_scatter': 'reduce-scatter',
  'ppermute': 'collective-permute',
}
_NO_EXCHANGE = ('axis_index', 'pvary')  # name an axis, and nothing is exchanged
COLUMNS = (
  'chips', 'examples', 'TFLOP of a chip', 'received by it, GB', 'of it gradients, GB', 'compute, s', 'links, s',
  'compute, s at most', 'links, s at most',
)  # fmt: skip


@dataclasses.dataclass
class Asked:
  """What a device computes and receives."""

  flops: collections.Counter  # of products, by dtype
  received: collections.Counter  # bytes, by kind and axis
  of_gradients: int = 0  # bytes of these, along all axes


def count(jaxpr: Any, mesh: Mapping[str, int], num_params: int) -> Asked:
  """Counts products and exchanges of a traced program; the bodies of `while` once.

  Args:
    jaxpr: closed or not
    mesh: devices along each axis
    num_params: of the network, whose gradients are summed as one vector

  Raises:
    InputError: it exchanges in a way that is not counted.
  """
  from alphafold_jax.elsewhere import reading
  from alphafold_jax.errors import InputError

  found = Asked(collections.Counter(), collections.Counter())
  for one, times in _equations(getattr(jaxpr, 'jaxpr', jaxpr), 1):
    axes = _axes(one, mesh)
    if one.primitive.name == 'dot_general':
      left, right = (variable.aval for variable in one.invars)
      (summed, _), _ = one.params['dimension_numbers']
      flops = 2 * math.prod(one.outvars[0].aval.shape) * math.prod(left.shape[side] for side in summed)
      found.flops[str(max(left.dtype, right.dtype, key=lambda dtype: dtype.itemsize))] += times * flops
    elif kind := _KINDS.get(one.primitive.name):
      for axis in axes:
        for result in (variable.aval for variable in one.outvars):
          received = times * reading.received(kind, result.size * result.dtype.itemsize, mesh[axis])
          found.received[kind, axis] += received
          found.of_gradients += received if result.shape == (num_params,) else 0
    elif axes and one.primitive.name not in _NO_EXCHANGE:
      raise InputError(f'{one.primitive.name} over {axes}: not counted; add it to _KINDS of {__file__}')
  return found


def _axes(one: Any, mesh: Mapping[str, int]) -> list[str]:
  """The axes of the mesh that an equation names."""
  named = one.params.get('axes', one.params.get('axis_name', ()))
  return [axis for axis in (named if isinstance(named, (tuple, list)) else (named,)) if axis in mesh]


def _equations(jaxpr: Any, times: int) -> Iterator[tuple[Any, int]]:
  """All equations, also of the programs within, and how often each runs."""
  for one in jaxpr.eqns:
    yield one, times
    inner = times * (one.params['length'] if one.primitive.name == 'scan' else 1)
    for value in one.params.values():
      for program in value if isinstance(value, (tuple, list)) else (value,):
        program = getattr(program, 'jaxpr', program)
        if hasattr(program, 'eqns'):
          yield from _equations(program, inner)


def traced(num_chips: int) -> dict[str, Any]:
  """The numbers of a step on simulated devices; JAX must not have started."""
  os.environ |= {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': f'--xla_force_host_platform_device_count={num_chips}'}
  import jax

  from alphafold_jax import config, experiments
  from alphafold_jax.elsewhere import lowering

  shared = min(2, num_chips)
  settings = {'step.batch_size': num_chips // shared, 'run.model_devices': shared}
  chosen = config.changed(experiments.experiment_config(EXPERIMENT), settings)
  step = lowering.step_program(chosen, jax.devices(), targets.TPU)
  state, *_ = step.arguments
  num_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  found = count(step.program.trace(*step.arguments).jaxpr, {'data': num_chips // shared, 'model': shared}, num_params)
  return {
    'chips': num_chips,
    'examples': num_chips // shared,
    'flops': dict(found.flops),
    'received': sum(found.received.values()),
    'gradients': found.of_gradients,
  }


def row(kind: str, found: Mapping[str, Any]) -> list[str]:
  """A line of the table; seconds at published rates, and at the shares of them that roofline.py assumes."""
  from alphafold_jax.elsewhere import counting, reading, roofline

  machine = targets.parse(f'{kind}:{"x".join("441"[: targets.CHIPS[kind].num_sides])}')
  exchange = {'all': reading.Exchange(1, found['received'])}
  work = counting.WorkCount(found['flops'], {}, (), False)
  expected = roofline.expected(machine, work, reading.ProgramContents({}, exchange, False))
  ends = (expected.published, expected.parts)
  return [
    f'{found["chips"]:,}',
    f'{found["examples"]:,}',
    f'{sum(found["flops"].values()) / 1e12:.1f}',
    f'{found["received"] / 1e9:.2f}',
    f'{found["gradients"] / 1e9:.2f}',
    *(f'{end[name]:.3f}' for end in ends for name in ('compute', 'links')),
  ]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('chips', nargs='*', type=int, default=CHIPS)
  parser.add_argument('--for', dest='kind', default='v5e', choices=targets.CHIPS)
  parser.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
  given = parser.parse_args()
  if given.inside:
    print(json.dumps(traced(given.chips[0])))
    return
  print(f'| {" | ".join(COLUMNS)} |\n|{"--:|" * len(COLUMNS)}')
  for num_chips in given.chips:
    command = [sys.executable, __file__, '--inside', str(num_chips)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding='utf-8')
    print(f'| {" | ".join(row(given.kind, json.loads(done.stdout.splitlines()[-1])))} |', flush=True)


if __name__ == '__main__':
  main()
