# SPDX-License-Identifier: Apache-2.0
"""The memory estimate of footprint.py beside what the compiler reserves, and what sharing a protein saves.

  python benchmarks/memory.py               # on one device
  python benchmarks/memory.py --devices 8   # on each of eight, simulated where there are none, beside one alone

For each case one pass is compiled, not run; needs no weights. `compiled` is arguments, outputs that are no arguments,
and temporaries as `compiled.memory_analysis()` states them for each device. On CPUs XLA takes scratch for fused
products besides, which it does not state: about twice the largest slice (ops/seam.py), which the estimate contains.
"""

import argparse
import os
from typing import NamedTuple

# model, residues, alignment rows, templates, dtype
CASES = (
  ('model_5_ptm', 64, 1152, 0, 'float32'),
  ('model_5_ptm', 128, 1152, 0, 'float32'),
  ('model_5_ptm', 256, 1152, 0, 'float32'),
  ('model_5_ptm', 256, 1536, 0, 'bfloat16'),
  ('model_5_ptm', 512, 1536, 0, 'float32'),
  ('model_5_ptm', 512, 16, 0, 'float32'),
  ('model_3', 256, 8192, 0, 'float32'),
  ('model_1_ptm', 256, 8192, 4, 'float32'),
  ('model_1_ptm', 384, 16, 4, 'float32'),
  ('model_1_ptm', 384, 16, 4, 'bfloat16'),
  ('model_1_multimer_v3', 256, 16, 4, 'float32'),
  ('model_1_multimer_v3', 256, 2560, 4, 'float32'),
)
SHARED = (
  ('model_5_ptm', 512, 16, 0, 'float32'),
  ('model_5_ptm', 512, 1536, 0, 'float32'),
  ('model_5_ptm', 512, 1536, 0, 'bfloat16'),
  ('model_5_ptm', 1024, 1536, 0, 'float32'),
  ('model_1_ptm', 512, 8192, 4, 'float32'),
)


class Bytes(NamedTuple):
  """Bytes of one pass, on each device."""

  estimate: int
  compiled: int
  temporary: int  # of the compiled ones


def compare(name: str, num_res: int, depth: int, num_templates: int, dtype: str, num_devices: int = 1) -> Bytes:
  """Compiles one pass."""
  import jax

  from alphafold_jax import config as configs
  from alphafold_jax import planning, programs
  from alphafold_jax.data import features, padding
  from alphafold_jax.model import alphafold

  sizes = {'num_res': num_res, 'num_seq': depth, 'num_templ': num_templates}
  config = planning.reduced(configs.changed(configs.model_config(name), {'dtype': dtype}), sizes)
  spec = alphafold.make_spec(config)
  batch = padding.pad_batch(features.make_batch('A' * num_res, num_templates=num_templates), sizes)
  key = jax.random.key(0)
  params = jax.eval_shape(alphafold.network(spec).init, key, batch)
  compiled = programs.compiled(spec, False, num_devices)
  pass_key, bare = programs.PassKey.of(0, 0), programs.without_alignment(batch)
  context, previous = compiled.begin.eval_shape(params, pass_key, bare)
  key, rows = compiled.draw.eval_shape(pass_key, batch)
  stats = compiled.one_pass.compile(params, key, bare, context, previous, rows).memory_analysis()
  used = (
    stats.argument_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes + stats.temp_size_in_bytes
  )
  num_params = sum(x.size for x in jax.tree.leaves(params))
  estimate = planning.pass_bytes(spec, num_res, depth, num_templates, num_params, num_devices)
  return Bytes(estimate, used, stats.temp_size_in_bytes)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--devices', type=int, default=1, metavar='N')
  num_devices = parser.parse_args().devices
  if num_devices > 1:
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count={num_devices}'
  columns = ['model', 'residues', 'rows', 'templates', 'dtype', 'estimate, MiB', 'compiled, MiB', 'ratio']
  columns += ['temporary, MiB', 'of one device'] if num_devices > 1 else []
  print(f'| {" | ".join(columns)} |\n|{"--:|" * len(columns)}')
  for case in SHARED if num_devices > 1 else CASES:
    found = compare(*case, num_devices)
    row = [*case, *(f'{number / 2**20:.0f}' for number in found[:2]), f'{found.estimate / found.compiled:.2f}']
    if num_devices > 1:
      row += [f'{found.temporary / 2**20:.0f}', f'{found.temporary / compare(*case).temporary:.2f}']
    print(f'| {" | ".join(map(str, row))} |', flush=True)


if __name__ == '__main__':
  main()
