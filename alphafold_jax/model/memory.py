# SPDX-License-Identifier: Apache-2.0
"""How much device memory one pass takes, estimated before anything is compiled."""

from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.ops import seam

_BYTES = {'float32': 4, 'bfloat16': 2}
# What devices gather at a time, and its copy in another order.
_GATHERED_EDGES = 2 * 32  # channels, ops/triangle.py
_GATHERED_COLUMNS = 2 * 16  # of each device, ops/outer_product.py


def pass_bytes(
    spec: AlphaFoldSpec, num_res: int, depth: int, num_templates: int, num_params: int, num_devices: int = 1
) -> int:
  """Peak bytes of one pass on each device, at padded sizes, parameters included.

  The largest moment is in a block of the MSA or extra-MSA stack, where a few arrays of that size live beside the pair
  representation, or among the heads. Devices that share the protein have a part of these each, the alignment and the
  parameters whole, and gather slices of others' parts. The factors are fitted, a little high, to what the compiler
  reports on a CPU: benchmarks/memory.py.

  Args:
    spec: of the network
    num_res: residues
    depth: alignment rows
    num_templates: templates
    num_params: number of parameters
    num_devices: that share the protein
  """
  item = _BYTES[spec.dtype]
  e, s = spec.embedder, spec.sampling
  num_msa = min(s.num_msa, depth)
  num_extra = max(1, min(s.num_extra, depth - num_msa))
  own = num_res / num_devices
  pair = own * num_res * e.c_z
  msa = (num_msa + num_templates) * own * e.c_m
  extra = num_extra * own * e.c_extra
  templates = num_templates * own * num_res * spec.templates.c_t if spec.templates else 0
  columns = num_devices * max(num_extra * spec.extra_msa.c_outer, (num_msa + num_templates) * spec.evoformer.c_outer)
  gathered = item * (_GATHERED_EDGES * num_res**2 + _GATHERED_COLUMNS * columns) if num_devices > 1 else 0
  cast_params = item * num_params if item < 4 else 0
  trunk = item * (3.5 * pair + max(3.5 * pair, 4.2 * msa, 4.4 * extra) + templates) + cast_params + gathered
  heads = 4 * 7 * pair  # in float32
  inputs = 4 * num_params + 4 * pair + 12 * depth * num_res + item * templates
  return int(inputs + max(trunk, heads) + 2 * seam.budget(spec.kernels))
