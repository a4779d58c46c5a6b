# SPDX-License-Identifier: Apache-2.0
"""What a chip computes and receives in a training step when chips and batch grow together, by the compiler of TPUs.

  python benchmarks/weak_scaling.py                                # v5e:1x1, 2x2, 4x4, 16x16; minutes each
  python benchmarks/weak_scaling.py --out scaling.jsonl v6e:2x2    # goes on with what the file has

A chip alone has one example, two chips share one otherwise. Nothing is run: expected, not measured.
Needs the extra tpu.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TOPOLOGIES = ('v5e:1x1', 'v5e:2x2', 'v5e:4x4', 'v5e:16x16')
EXPERIMENT = 'train_initial'
COLUMNS = (
  'chips', 'examples', 'TFLOP', 'traffic, GB', 'received, GB', 'compute, s', 'memory, s', 'links, s', 'links at most',
  'expected, s', 'samples a second of a chip',
)  # fmt: skip


def compiled(topology: str) -> dict[str, Any]:
  """What `alphafold-jax compile` says of a step in which two chips share an example, or one has it alone."""
  sides = topology.partition(':')[2].split('x')
  num_chips = 1
  for side in sides:
    num_chips *= int(side)
  shared = min(2, num_chips)
  changes = [f'step.batch_size={num_chips // shared}', f'run.model_devices={shared}']
  flags = ['--for', topology, '--experiment', EXPERIMENT, '--config', *changes, '--json']
  command = [sys.executable, '-m', 'alphafold_jax', 'compile', *flags]
  done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding='utf-8')
  return json.loads(done.stdout.splitlines()[-1])


def row(said: Mapping[str, Any]) -> list[str]:
  """A line of the table; seconds at published rates, but those expected."""
  seconds = said['parts_of_low_end']
  examples = said['devices'] // min(2, said['devices'])
  low, high = said['expected_seconds']
  received = sum(one['bytes'] for one in said['collectives'].values())
  return [
    f'{said["devices"]:,}',
    f'{examples:,}',
    f'{sum(said["flops"].values()) / 1e12:.1f}',
    f'{said["traffic_bytes"] / 1e9:,.0f}',
    f'{received / 1e9:.1f}',
    *(f'{seconds[name]:.3f}' for name in ('compute', 'memory', 'links')),
    f'{said["parts_of_high_end"]["links"] / high:.0%}',
    f'{low:.2f} to {high:.2f}',
    f'{examples / said["devices"] / high:.2f} to {examples / said["devices"] / low:.2f}',
  ]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('topologies', nargs='*', default=TOPOLOGIES)
  parser.add_argument('--out', type=Path, default=Path('weak_scaling.jsonl'), metavar='FILE')
  given = parser.parse_args()
  lines = given.out.read_text(encoding='utf-8').splitlines() if given.out.exists() else []
  found = {said['target']: said for said in map(json.loads, lines)}
  for topology in given.topologies:
    if topology not in found:
      found[topology] = compiled(topology)
      with given.out.open('a', encoding='utf-8') as out:
        out.write(json.dumps(found[topology]) + '\n')
  print(f'| {" | ".join(COLUMNS)} |\n|{"--:|" * len(COLUMNS)}')
  for topology in given.topologies:
    print(f'| {" | ".join(row(found[topology]))} |')


if __name__ == '__main__':
  main()
