# SPDX-License-Identifier: Apache-2.0
"""The Evoformer, the extra-MSA stack and their parts beside the oracle's.

Our parts give what they update with the update added, the oracle's the update.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from alphafold.model import modules

from alphafold_jax.model import evoformer, layers, msa, pair
from parity.case import Case
from parity.inputs import SPEC, THEIRS

_GLOBAL = THEIRS.global_config
_TRUNK = THEIRS.embeddings_and_evoformer


def cases(stack: str) -> Iterator[Case]:
  """The modules that the main and the extra-MSA stack have in common, and the whole block."""
  is_extra = stack == 'extra MSA'
  spec = SPEC.extra_msa if is_extra else SPEC.evoformer
  scopes = ('extra_msa_stack/block/',) if is_extra else ('evoformer/block/',)
  their_scope = 'evoformer/extra_msa_stack/' if is_extra else 'evoformer/evoformer_iteration/'
  config = _TRUNK.evoformer

  def m(x):
    return x.extra if is_extra else x.m

  def mask(x):
    return x.extra_mask if is_extra else x.msa_mask

  def case(name, ours, theirs):
    return Case(f'{stack}: {name}', ours, theirs, scopes, their_scope, layer=0)

  yield case(
    'row attention with pair bias (Alg. 7)',
    lambda x: msa.MSARowAttentionWithPairBias(spec.num_head, name='row_attention')(m(x), x.z, mask(x)) - m(x),
    lambda x: modules.MSARowAttentionWithPairBias(config.msa_row_attention_with_pair_bias, _GLOBAL)(m(x), mask(x), x.z),
  )
  column = modules.MSAColumnGlobalAttention if is_extra else modules.MSAColumnAttention
  yield case(
    'global column attention (Alg. 19)' if is_extra else 'column attention (Alg. 8)',
    lambda x: (
      evoformer.COLUMN_ATTENTION[spec.column_attention](spec.num_head, name='column_attention')(m(x), mask(x)) - m(x)
    ),
    lambda x: column(config.msa_column_attention, _GLOBAL)(m(x), mask(x)),
  )
  yield case(
    'MSA transition (Alg. 9)',
    lambda x: layers.Transition(spec.transition_factor, name='transition')(m(x)) - m(x),
    lambda x: modules.Transition(config.msa_transition, _GLOBAL, name='msa_transition')(m(x), mask(x)),
  )
  yield case(
    'outer product mean (Alg. 10)',
    lambda x: _by_presence(
      msa.OuterProductMean(spec.c_outer, name='outer_product_mean')(jnp.zeros_like(x.z), m(x), mask(x)), mask(x)
    ),
    lambda x: _by_presence(modules.OuterProductMean(config.outer_product_mean, _GLOBAL, 128)(m(x), mask(x)), mask(x)),
  )
  yield from pair_cases(stack, spec.pair, config, scopes[0] + 'pair/', their_scope, lambda x: x.z)

  def our_block(x):
    new_m, new_z = evoformer.EvoformerBlock(spec, name='block')(m(x), x.z, mask(x), x.pair_mask)
    return {'msa': new_m} | _by_presence(new_z, mask(x))

  def their_block(x):
    block = modules.EvoformerIteration(config, _GLOBAL, is_extra_msa=is_extra, name=their_scope.split('/')[1])
    new = block({'msa': m(x), 'pair': x.z}, {'msa': mask(x), 'pair': x.pair_mask}, is_training=False)
    return {'msa': new['msa']} | _by_presence(new['pair'], mask(x))

  yield Case(
    f'{stack}: whole block (Alg. {18 if is_extra else 6})',
    our_block,
    their_block,
    (scopes[0].removesuffix('block/'),),
    'evoformer/',
    layer=0,
  )


def _by_presence(z: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
  """Takes the pairs of columns apart that no row has both of: division by 1e-3 makes them a thousand times larger."""
  present = (mask.T @ mask > 0)[..., None]
  return {'pair': jnp.where(present, z, 0), 'absent pair': jnp.where(present, 0, z)}


def pair_cases(stack, spec, config, our_scope, their_scope, z) -> Iterator[Case]:
  """The triangle updates and the transition of a stack's block."""

  def case(name, ours, theirs):
    return Case(f'{stack}: {name}', ours, theirs, (our_scope,), their_scope, layer=0)

  for direction, algorithm in (('outgoing', 11), ('incoming', 12)):
    yield case(
      f'triangle multiplication, {direction} (Alg. {algorithm})',
      lambda x, d=direction: (
        pair.TriangleMultiplication(spec.c_triangle, outgoing=d == 'outgoing', name=f'multiplication_{d}')(
          z(x), x.pair_mask
        )
        - z(x)
      ),
      lambda x, name=f'triangle_multiplication_{direction}': modules.TriangleMultiplication(
        config[name], _GLOBAL, name=name
      )(z(x), x.pair_mask),
    )
  for node, algorithm in (('starting', 13), ('ending', 14)):
    yield case(
      f'triangle attention, {node} node (Alg. {algorithm})',
      lambda x, node=node: (
        pair.TriangleAttention(spec.num_head, starting=node == 'starting', name=f'attention_{node}')(z(x), x.pair_mask)
        - z(x)
      ),
      lambda x, name=f'triangle_attention_{node}_node': modules.TriangleAttention(config[name], _GLOBAL, name=name)(
        z(x), x.pair_mask
      ),
    )
  yield case(
    'pair transition (Alg. 15)',
    lambda x: layers.Transition(spec.transition_factor, name='transition')(z(x)) - z(x),
    lambda x: modules.Transition(config.pair_transition, _GLOBAL, name='pair_transition')(z(x), x.pair_mask),
  )
