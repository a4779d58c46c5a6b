# SPDX-License-Identifier: Apache-2.0
"""Every kernel of every operation on this device, beside the others and beside what its arithmetic takes at least.

  python benchmarks/kernels.py                                  # rewrites docs/benchmarks.md
  python benchmarks/kernels.py --num-res 384 --num-rows 512 --dtype bfloat16 --gradients --json

With --gradients also the value with the gradients to all arguments but masks. Times are of one call, the fastest of a
few. The share is of the device's own rate in a large matrix product: the operation's multiplications at that rate, over
the time it took. On CPUs only `xla_chunked` and its reference run.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator

import flops
import kernel_gradients
import kernels_table
import turns

from alphafold_jax import devices, tuning


def measure(num_res: int, num_rows: int, dtype: str, gradients: bool) -> Iterator[dict]:
  """One trial after another at one size."""
  of_all = {
    'num_res': num_res,
    'num_rows': num_rows,
    'dtype': dtype,
    'matmul_rate': flops.matmul_rate(dtype=dtype),
  }
  sizes = kernels_table.SIZES | {'rows': num_rows, 'residues': num_res}
  operation = None
  for trial in tuning.try_each(sizes, dtype, references=True):
    found = kernel_gradients.Gradients()
    if gradients and trial.seconds is not None:
      if operation is None or operation.name != trial.operation:
        operation = kernel_gradients.Operation(trial.operation, sizes, dtype)
      found = operation.differentiate(trial.row)
    yield of_all | dataclasses.asdict(trial) | found._asdict()


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
      *kernels_table.rows_of_table(trials),
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
