# SPDX-License-Identifier: Apache-2.0
"""How much device memory one pass takes, estimated before anything is compiled."""

from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.ops import seam, triangle

_BYTES = {'float32': 4, 'bfloat16': 2}
# What devices gather at a time, and its copy in another order.
_GATHERED_COLUMNS = 2 * 16  # of each device, ops/outer_product.py


def pass_bytes(
  spec: AlphaFoldSpec, num_res: int, depth: int, num_templates: int, num_params: int, num_devices: int = 1
) -> int:
  """Peak bytes of one pass on each device, at padded sizes, parameters included.

  The largest moment is one of three: in the MSA stack, in the extra-MSA stack, or in a triangle multiplication, where
  the pair representation lives beside its normalised and transposed copies, the product, and a few channels of edges.
  Devices that share the protein have a part of these each, the alignment and the parameters whole, and gather slices of
  others' parts. The factors are fitted, a little high, to what the compiler reports on a CPU: benchmarks/memory.py.

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
  budget = seam.budget(spec.kernels)
  channels = triangle.channels_at_once(int(item * own * num_res), num_devices, budget)
  pair = own * num_res * e.c_z
  msa = (num_msa + num_templates) * own * e.c_m
  extra = num_extra * own * e.c_extra
  templates = num_templates * own * num_res * spec.templates.c_t if spec.templates else 0
  moments = (2 * pair + 2.2 * msa, 2 * pair + msa + 3 * extra, 3.2 * pair + msa + 4.3 * channels * own * num_res)
  columns = num_devices * max(num_extra * spec.extra_msa.c_outer, (num_msa + num_templates) * spec.evoformer.c_outer)
  gathered = 2 * channels * num_res**2 + _GATHERED_COLUMNS * columns if num_devices > 1 else 0
  cast_params = num_params if item < 4 else 0
  trunk = item * (max(moments) + gathered + cast_params)
  inputs = 4 * num_params + item * pair + 12 * depth * num_res + item * templates
  results = 4 * 5 * own * num_res  # contact probability, errors and TM terms, and the first two apart
  return int(inputs + trunk + results + 2 * budget)
