# SPDX-License-Identifier: Apache-2.0
"""The memory of one pass: what compilers reserve on each device, reckoned from sizes.

The largest moment is in the MSA stack, in the extra-MSA stack, in a triangle multiplication, where the pair
representation lives beside a normalised copy in another order, the product, and a few channels of edges, or in the
embedding of a template, in networks whose passes do that. How much of these a compiler has at a time depends on the
compiler, and not on the machine it compiles for: a row of `RESERVED` for each, fitted a little high to what they state.
"""

from typing import NamedTuple

import jax

from alphafold_jax.constants.couplings import NUM_CHANNELS
from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.ops import attention, outer_product, seam, triangle


class Reserved(NamedTuple):
  """What a compiler has at a time, in multiples of the named array unless it says otherwise."""

  params: bool  # whether there is a copy of all parameters in the trunk's dtype
  rows: bool  # whether the alignment that rows were drawn from is counted
  spare: float  # all moments are multiplied by it, for what is not reckoned
  msa: float  # copies of the MSA representation in its stack
  deep: float  # copies of the extra MSA representation in its stack
  stacks: float  # copies of the pair representation there, beside that of the pass before
  triangle: float  # the same in a triangle multiplication
  templates: float  # the same while a template is embedded in a pass
  slots: float  # arrays of all pairs at a template's width that this takes beside them
  extra: float  # copies of the extra MSA representation in both of these
  edges: float  # arrays of a device's edges for each channel that is multiplied at a time
  gathered: float  # the same of all devices' edges, where devices share the protein
  shared: float  # copies of the pair representation while several devices exchange theirs
  slices: float  # of the bytes of a slice, in the stacks
  last_line: float  # of the bytes of a slice, in the last line of a triangle multiplication
  scratch: float  # of the bytes of a slice, at all moments
  results: int  # float32 numbers of a pair that a pass gives; two more of complexes


_ON_CPU = Reserved(
  params=True, rows=True, spare=1, msa=2.2, deep=3, stacks=2, triangle=3.2, templates=2, slots=6, extra=0,
  edges=4.3, gathered=2, shared=0, slices=0, last_line=0, scratch=2, results=5,
)  # fmt: skip
_ON_GPU = Reserved(
  params=False, rows=False, spare=1.02, msa=1.25, deep=1.25, stacks=0, triangle=2, templates=0, slots=4, extra=1,
  edges=6, gathered=1.4, shared=4.85, slices=0.765, last_line=1, scratch=0, results=2,
)  # fmt: skip
RESERVED = {
  # benchmarks/memory.py. The scratch of fused products, two slices, is not stated by the compiler.
  'cpu': _ON_CPU,
  # tests/data/elsewhere/figures.json. The pass before is dropped once it is read: z of this pass takes its place.
  'gpu': _ON_GPU,
  # The same figures. Of TPUs what they need at the fullest moment.
  'tpu': _ON_GPU._replace(params=True, rows=True, spare=1.025, extra=0, edges=4.3, gathered=1, shared=3.6),
}  # fmt: skip
_BYTES = {'float32': 4, 'bfloat16': 2}
# What devices gather at a time, and its copy in another order.
_GATHERED_COLUMNS = 2 * outer_product.LEAST_ROWS  # of each device


def pass_bytes(
  spec: AlphaFoldSpec, num_res: int, depth: int, num_templates: int, num_params: int, num_devices: int = 1
) -> int:
  """Peak bytes of one pass on each device, at padded sizes, parameters included.

  Devices that share the protein have a part of its arrays each, the alignment and the parameters whole, and gather
  slices of others' parts.

  Args:
    spec: of the network
    num_res: residues
    depth: alignment rows
    num_templates: templates
    num_params: number of parameters
    num_devices: that share the protein
  """
  item, has = _BYTES[spec.dtype], RESERVED[_compiler(spec.kernels)]
  e = spec.embedder
  num_msa, num_extra = spec.sampling.rows(depth)
  own = num_res / num_devices
  budget = seam.budget(spec.kernels)
  channels = triangle.channels_at_once(int(item * own * num_res), num_devices, budget)
  pair = own * num_res * e.c_z
  msa = (num_msa + num_templates) * own * e.c_m
  extra = num_extra * own * e.c_extra
  slot = own * num_res * spec.templates.c_t if spec.templates else 0
  in_every_pass = spec.templates is not None and spec.templates.in_every_pass
  slices = has.slices * _slice_bytes(spec, num_res) / item
  moments = [
    has.stacks * pair + has.msa * msa + slices,
    has.stacks * pair + msa + has.deep * extra + slices,
    has.triangle * pair + msa + has.extra * extra + has.edges * channels * own * num_res,
  ]
  line = has.last_line * min(budget, own * triangle.last_line_bytes(num_res, e.c_z, e.c_z)) / item
  moments.append(pair + msa + has.extra * extra + line)
  if in_every_pass:
    moments.append(has.templates * pair + msa + has.extra * extra + has.slots * slot)
  columns = num_devices * max(num_extra * spec.extra_msa.c_outer, (num_msa + num_templates) * spec.evoformer.c_outer)
  gathered = has.gathered * channels * num_res**2 + _GATHERED_COLUMNS * columns if num_devices > 1 else 0
  exchanged = has.shared * pair + msa + has.extra * extra if num_devices > 1 else 0
  trunk = item * max(has.spare * max(moments) + gathered, exchanged)
  rows = 4 * own * (28 * num_msa + 3 * num_extra)  # drawn before the pass: a profile of 23 and five numbers; three
  inputs = item * pair + 12 * depth * num_res * has.rows + rows + item * (0 if in_every_pass else num_templates * slot)
  inputs += 4 * NUM_CHANNELS * num_res**2 if e.couplings else 0
  # Contact probability, errors and TM terms, and the first two apart; of complexes TM terms and contacts of interfaces.
  results = 4 * (has.results + (2 if e.max_relative_chain else 0)) * own * num_res
  params = param_bytes(spec, num_params)
  return int(params + inputs + trunk + results + has.scratch * budget)


def param_bytes(spec: AlphaFoldSpec, num_params: int) -> int:
  """Bytes of so many parameters in float32, and of their copy in the trunk's dtype if there is one."""
  item, has = _BYTES[spec.dtype], RESERVED[_compiler(spec.kernels)]
  return (4 + (item if item < 4 and has.params else 0)) * num_params


def _compiler(kernels: seam.Kernels) -> str:
  """The row of the compiler that kernels are for."""
  platform = kernels.platform or jax.default_backend()
  return platform if platform in RESERVED else 'gpu'


def _slice_bytes(spec: AlphaFoldSpec, num_res: int) -> int:
  """The most that a slice takes: its budget, or the fewest rows of attention where these are long."""
  num_head, c_m = spec.evoformer.num_head, spec.embedder.c_m
  return max(seam.budget(spec.kernels), attention.least_bytes(num_res, num_head, c_m // num_head))
