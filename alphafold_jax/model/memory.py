# SPDX-License-Identifier: Apache-2.0
"""How much device memory one pass takes, estimated before anything is compiled."""

from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.ops import seam

_BYTES = {'float32': 4, 'bfloat16': 2}


def pass_bytes(spec: AlphaFoldSpec, num_res: int, depth: int, num_templates: int, num_params: int) -> int:
  """Peak bytes of one pass at padded sizes, parameters included.

  The largest moment is inside an Evoformer block: both representations, a few temporaries of their size, and one
  operation's slice. The factors are set by benchmarks/memory.py against what the compiler reports.

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
  alignment = depth * num_res * 12 + num_msa * num_res * 4 * 75
  logits = num_res**2 * 4 * (spec.heads.num_distogram_bins + spec.heads.num_pae_bins)
  points = num_res**2 * 4 * spec.structure.num_head * 3 * spec.structure.num_point_qk
  trunk = item * (6 * pair + 4 * msa + max(4 * extra, 2 * msa) + templates) + 2 * seam.budget(spec.kernels)
  after = 4 * 3 * pair + logits + points
  return int(4 * num_params + 8 * pair + alignment + max(trunk, after))
