# SPDX-License-Identifier: Apache-2.0
"""Every kernel of every operation on this device, beside the others and beside what its arithmetic takes at least.

  python benchmarks/kernels.py                                  # rewrites docs/benchmarks.md
  python benchmarks/kernels.py --num-res 384 --num-rows 512 --dtype bfloat16 --json

Times are of one call, the fastest of a few. The share is of the device's own rate in a large matrix product: the
operation's multiplications at that rate, over the time it took. On CPUs only `xla_chunked` and its reference run.
"""

import argparse
import dataclasses
import json
import sys

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


def measure(num_res: int, num_rows: int, dtype: str) -> dict:
  """All trials at one size."""
  rate = flops.matmul_rate(dtype=dtype)
  trials = tuning.try_all(_SIZES | {'rows': num_rows, 'residues': num_res}, dtype, references=True)
  return {
    'num_res': num_res,
    'num_rows': num_rows,
    'dtype': dtype,
    'matmul_rate': rate,
    'trials': [dataclasses.asdict(trial) for trial in trials],
  }


def table(results: list[dict], command: str) -> str:
  """The results in Markdown."""
  device = devices.describe()
  lines = [f'{device["count"]} x {device["kind"]}; {turns.versions()}. Command: `{command}`']
  for result in results:
    lines += [
      '',
      f'{result["num_res"]} residues, {result["num_rows"]} rows, {result["dtype"]}; '
      f'{result["matmul_rate"] / 1e12:.2f} TFLOP/s in a large matrix product.',
      '',
      '| operation | kernel | ms | over `xla_chunked` | share of that rate | error |',
      '|:--|:--|--:|--:|--:|--:|',
    ]
    everywhere = {
      one['operation']: one['seconds'] or float('nan') for one in result['trials'] if one['row'] == seam.EVERYWHERE
    }
    for one in result['trials']:
      name = one['operation']
      if one['seconds'] is None:
        lines.append(f'| {name} | {one["row"]} | | | | {one["reason"].split(": ", 1)[-1]} |')
        continue
      least = operation_flops(name, result['num_rows'], result['num_res']) / result['matmul_rate']
      lines.append(
        f'| {name} | {one["row"]} | {1e3 * one["seconds"]:.3g} | {one["seconds"] / everywhere[name]:.2f} | '
        f'{least / one["seconds"]:.0%} | {one["error"]:.1e} |'
      )
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--num-res', type=int, nargs='+', default=(128, 256), help='residues (default: 128 256)')
  parser.add_argument('--num-rows', type=int, default=128, help='alignment rows (default: %(default)s)')
  parser.add_argument('--dtype', default=devices.default_dtype(), help='default: %(default)s')
  parser.add_argument('--json', action='store_true', help='print one JSON object per size, and write no table')
  given = parser.parse_args()
  results = [measure(num_res, given.num_rows, given.dtype) for num_res in given.num_res]
  if given.json:
    print('\n'.join(map(json.dumps, results)))
    return
  text = table(results, ' '.join(['python', 'benchmarks/kernels.py', *sys.argv[1:]]))
  print(text)
  turns.write_section('kernels', text)


if __name__ == '__main__':
  main()
