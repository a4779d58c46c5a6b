# SPDX-License-Identifier: Apache-2.0
"""The Evoformer (Algorithm 6) and the extra-MSA stack (Algorithm 18), which differ in their column attention.

m [N_seq, N_res, c_m] MSA representation, z [N_res, N_res, c_z] pair representation.
"""

import dataclasses
from collections.abc import Callable

import haiku as hk
import jax

from alphafold_jax import ops
from alphafold_jax.model.layers import Transition
from alphafold_jax.model.msa import (
  MSAColumnAttention,
  MSAColumnGlobalAttention,
  MSARowAttentionWithPairBias,
  OuterProductMean,
)
from alphafold_jax.model.pair import PairSpec, PairStackBlock

COLUMN_ATTENTION: dict[str, Callable[..., Callable]] = {'full': MSAColumnAttention, 'global': MSAColumnGlobalAttention}


@dataclasses.dataclass(frozen=True)
class EvoformerSpec:
  """A stack of blocks; `column_attention` names a row of COLUMN_ATTENTION."""

  num_block: int
  num_head: int
  c_outer: int
  transition_factor: int
  msa_dropout: float
  column_attention: str
  pair: PairSpec
  remat: bool
  outer_product_first: bool = False  # in each block; Evans et al. 2021


class EvoformerBlock(hk.Module):
  """One block of Algorithm 6 "EvoformerStack" or 18 "ExtraMsaStack"."""

  def __init__(self, spec: EvoformerSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(
    self, m: jax.Array, z: jax.Array, msa_mask: jax.Array, pair_mask: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    s = self.spec
    outer_product = OuterProductMean(s.c_outer, name='outer_product_mean')
    if s.outer_product_first:
      z = outer_product(z, m, msa_mask)
    m = MSARowAttentionWithPairBias(s.num_head, s.msa_dropout, name='row_attention')(m, z, msa_mask)  # line 2
    m = COLUMN_ATTENTION[s.column_attention](s.num_head, name='column_attention')(m, msa_mask)  # line 3
    m = Transition(s.transition_factor, name='transition')(m)  # line 4
    if s.outer_product_first:
      m, z = ops.in_order((m, z))
    else:
      z = outer_product(z, m, msa_mask)  # line 5
    return m, PairStackBlock(s.pair, name='pair')(z, pair_mask)  # lines 6-10


def evoformer_stack(
  spec: EvoformerSpec, name: str, m: jax.Array, z: jax.Array, msa_mask: jax.Array, pair_mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Runs `spec.num_block` blocks with parameters stacked along a leading axis, compiled once (Alg. 6 line 1)."""

  def block(m, z):
    return EvoformerBlock(spec, name='block')(m, z, msa_mask, pair_mask)

  return hk.experimental.layer_stack(spec.num_block, name=name)(hk.remat(block) if spec.remat else block)(m, z)
