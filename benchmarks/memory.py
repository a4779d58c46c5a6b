# SPDX-License-Identifier: Apache-2.0
"""The memory estimate of model/memory.py beside what the compiler reserves.

  python benchmarks/memory.py

For each case one pass is compiled, not run; needs no weights. `compiled` is arguments, outputs that are no arguments,
and temporaries as `compiled.memory_analysis()` states them. On CPUs XLA takes scratch for fused products besides, which
it does not state: about twice the largest slice (ops/seam.py), which the estimate contains.
"""

import argparse

import jax

from alphafold_jax import config as configs
from alphafold_jax import prediction
from alphafold_jax.data import features, padding
from alphafold_jax.model import alphafold, memory, recycling

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
)


def compare(name: str, num_res: int, depth: int, num_templates: int, dtype: str) -> tuple[int, int]:
  """Estimated and compiled bytes of one pass."""
  sizes = {'num_res': num_res, 'num_seq': depth, 'num_templ': num_templates}
  config = prediction.reduced(configs.changed(configs.model_config(name), {'dtype': dtype}), sizes)
  spec = alphafold.make_spec(config)
  batch = padding.pad_batch(features.make_batch('A' * num_res, num_templates=num_templates), sizes)
  previous = recycling.initial_recycled(num_res, config.embedder.c_m, config.embedder.c_z)
  key = jax.random.key(0)
  params = jax.eval_shape(alphafold.network(spec).init, key, batch)
  prepare, one_pass = prediction._compiled(spec, False)
  context = jax.eval_shape(prepare, params, key, batch)
  stats = one_pass.lower(params, key, batch, context, previous).compile().memory_analysis()
  used = (stats.argument_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes
          + stats.temp_size_in_bytes)
  num_params = sum(x.size for x in jax.tree.leaves(params))
  return memory.pass_bytes(spec, num_res, depth, num_templates, num_params), used


def main() -> None:
  argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
  print('| model | residues | rows | templates | dtype | estimate, MiB | compiled, MiB | ratio |')
  print('|:--|--:|--:|--:|:--|--:|--:|--:|')
  for case in CASES:
    estimate, used = compare(*case)
    name, num_res, depth, num_templates, dtype = case
    print(f'| {name} | {num_res} | {depth} | {num_templates} | {dtype} | {estimate / 2**20:.0f} | {used / 2**20:.0f} | '
          f'{estimate / used:.2f} |', flush=True)


if __name__ == '__main__':
  main()
