# SPDX-License-Identifier: Apache-2.0
"""Every kernel of every operation on this device, beside the others and beside what its arithmetic takes at least.

  python benchmarks/kernels.py                                  # rewrites docs/benchmarks.md
  python benchmarks/kernels.py --num-res 384 --num-rows 512 --dtype bfloat16 --gradients --json

With --gradients the value and the gradients to all arguments but masks as well. Times are of one call, the fastest of a few. The share is of the device's own rate in a large matrix product: the
operation's multiplications at that rate, over the time it took. On CPUs only `xla_chunked` and its reference run.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flops
import turns

from alphafold_jax import devices, tuning
from alphafold_jax.ops import seam

# Channels, heads, as the Evoformer (pair: 128, 4) and the extra stack (MSA: 64, 8) have them.
_SIZES = {'channels': 128, 'heads': 4, 'outer': 32}


def operation_flops(name: str, rows: int, n: int) -> int:
  """Floating-point operations of the problems of tuning.py, two for each multiply-add of a matrix product."""
  c, heads, h = (_SIZES[key] for key in ('channels', 'heads', 'outer'))
  head_dim = c // heads
  return {
    'self_attention': 2 * rows * n * (5 * c * c + 2 * n * c),
    'global_attention': 2 * rows * n * (2 * c * c + 2 * c * head_dim + 2 * c),
    'outer_product_mean': 2 * (2 * rows * n * c * h + rows * (n * h) ** 2 + n * n * h * h * c),
    'transition': 16 * n * n * c * c,
    'triangle_multiplication': 2 * (6 * n * n * c * c + n**3 * c),
  }[name]


def measure(num_res: int, num_rows: int, dtype: str, gradients: bool) -> Iterator[dict]:
  """One trial after another at one size."""
  of_all = {
    'num_res': num_res,
    'num_rows': num_rows,
    'dtype': dtype,
    'matmul_rate': flops.matmul_rate(dtype=dtype),
  }
  sizes = _SIZES | {'rows': num_rows, 'residues': num_res}
  for trial in tuning.try_each(sizes, dtype, references=True, gradients=gradients):
    yield of_all | dataclasses.asdict(trial)


def rows_of_table(trials: Sequence[Mapping[str, Any]]) -> list[str]:
  """The trials of one size in Markdown."""
  gradients = any(one['gradient_seconds'] or one['gradient_reason'] for one in trials)
  head = '| operation | kernel | ms | over `xla_chunked` | share of that rate | error |'
  more = ' value and gradient, ms | over `xla_chunked` | error of the gradient |' if gradients else ''
  lines = [head + more, '|:--|:--|--:|--:|--:|--:|' + '--:|--:|--:|' * gradients]
  everywhere = {one['operation']: one for one in trials if one['row'] == seam.EVERYWHERE}
  for one in trials:
    cells = _value_cells(one, everywhere.get(one['operation'], {}))
    cells += _gradient_cells(one, everywhere.get(one['operation'], {})) if gradients else []
    lines.append(f'| {" | ".join([one["operation"], one["row"], *cells])} |')
  return lines


def _value_cells(one: Mapping[str, Any], everywhere: Mapping[str, Any]) -> list[str]:
  if one['seconds'] is None:
    return ['', '', '', _short(one['reason'])]
  least = operation_flops(one['operation'], one['num_rows'], one['num_res']) / one['matmul_rate']
  return [
    f'{1e3 * one["seconds"]:.3g}',
    _ratio(one['seconds'], everywhere.get('seconds')),
    f'{least / one["seconds"]:.0%}',
    f'{one["error"]:.1e}',
  ]


def _gradient_cells(one: Mapping[str, Any], everywhere: Mapping[str, Any]) -> list[str]:
  if one['gradient_seconds'] is None:
    return ['', '', _short(one['gradient_reason'])]
  ratio = _ratio(one['gradient_seconds'], everywhere.get('gradient_seconds'))
  return [f'{1e3 * one["gradient_seconds"]:.3g}', ratio, f'{one["gradient_error"]:.1e}']


def _ratio(seconds: float, other: float | None) -> str:
  return f'{seconds / other:.2f}' if other else ''


def _short(reason: str) -> str:
  return reason.split(': ', 1)[-1].replace('|', '/')


def table(results: list[list[dict]], command: str) -> str:
  """The results in Markdown: the trials of each size."""
  device = devices.describe()
  lines = [f'{device["count"]} x {device["kind"]}; {turns.versions()}. Command: `{command}`']
  for trials in results:
    first = trials[0]
    lines += [
      '',
      f'{first["num_res"]} residues, {first["num_rows"]} rows, {first["dtype"]}; '
      f'{first["matmul_rate"] / 1e12:.2f} TFLOP/s in a large matrix product.',
      '',
      *rows_of_table(trials),
    ]
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--num-res', type=int, nargs='+', default=(128, 256), help='residues (default: 128 256)')
  parser.add_argument('--num-rows', type=int, default=128, help='alignment rows (default: %(default)s)')
  parser.add_argument('--dtype', default=devices.default_dtype(), help='default: %(default)s')
  parser.add_argument('--gradients', action='store_true', help='the gradients too')
  parser.add_argument('--json', action='store_true', help='print one JSON object per kernel, and write no table')
  given = parser.parse_args()
  results = []
  for num_res in given.num_res:
    results.append([])
    for trial in measure(num_res, given.num_rows, given.dtype, given.gradients):
      results[-1].append(trial)
      if given.json:
        print(json.dumps(trial), flush=True)
  if given.json:
    return
  text = table(results, ' '.join(['python', 'benchmarks/kernels.py', *sys.argv[1:]]))
  print(text)
  turns.write_section('kernels', text)


if __name__ == '__main__':
  main()
