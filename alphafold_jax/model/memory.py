# SPDX-License-Identifier: Apache-2.0
"""How much device memory one pass takes, estimated before anything is compiled."""

from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.ops import seam

_BYTES = {'float32': 4, 'bfloat16': 2}


def pass_bytes(spec: AlphaFoldSpec, num_res: int, depth: int, num_templates: int, num_params: int) -> int:
  """Peak bytes of one pass at padded sizes, parameters included.

  The largest moment is in a block of the MSA or extra-MSA stack, where a few arrays of that size live beside the pair
  representation, or among the heads. The factors are fitted, a little high, to what the compiler reports on a CPU:
  benchmarks/memory.py.

  Args:
    spec: of the network
    num_res: residues
    depth: alignment rows
    num_templates: templates
    num_params: number of parameters
  """
  item = _BYTES[spec.dtype]
  e, s = spec.embedder, spec.sampling
  num_msa = min(s.num_msa, depth)
  num_extra = max(1, min(s.num_extra, depth - num_msa))
  pair = num_res**2 * e.c_z
  msa = (num_msa + num_templates) * num_res * e.c_m
  extra = num_extra * num_res * e.c_extra
  templates = num_templates * num_res**2 * spec.templates.c_t if spec.templates else 0
  cast_params = item * num_params if item < 4 else 0
  trunk = item * (3.5 * pair + max(3.5 * pair, 4.2 * msa, 4.4 * extra) + templates) + cast_params
  heads = 4 * 7 * pair  # in float32
  inputs = 4 * num_params + 4 * pair + 12 * depth * num_res + item * templates
  return int(inputs + max(trunk, heads) + 2 * seam.budget(spec.kernels))
