# SPDX-License-Identifier: Apache-2.0
"""Rules of the blocks of the trunk: triangle updates, pair stacks, the Evoformer and the extra-MSA stack."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from alphafold_jax.weights.npz import Shape
from alphafold_jax.weights.rules.parts import Arrays, Rule, attention, linear, norm, same, transition


def _side_by_side(left: np.ndarray, right: np.ndarray) -> Arrays:
  return (np.concatenate([left, right], axis=-1),)


def _halves(both: np.ndarray) -> Arrays:
  return tuple(np.split(both, 2, axis=-1))


def _triangle_multiplication(
  ours: str, official: str, stack: Shape, c: int, hidden: int, fused: bool
) -> Iterator[Rule]:
  """Both sides' projections lie side by side here, left first; and in published files if `fused`."""
  norm_in, norm_out = ('left_norm_input', 'center_norm') if fused else ('layer_norm_input', 'center_layer_norm')
  yield from norm(f'{ours}/norm', f'{official}/{norm_in}', *stack, c)
  for name, theirs in {'proj': 'projection', 'gate': 'gate'}.items():
    if fused:
      yield from linear(f'{ours}//{name}', f'{official}/{theirs}', *stack, c, 2 * hidden)
      continue
    for end, leaf, shape in (('w', 'weights', (*stack, c, hidden)), ('b', 'bias', (*stack, hidden))):
      sides = tuple(f'{official}/{side}_{theirs}//{leaf}' for side in ('left', 'right'))
      yield Rule(sides, (shape, shape), (f'{ours}//{name}_{end}',), _side_by_side, _halves)
  for name in ('scale', 'offset'):
    yield same(f'{ours}//norm_{name}', f'{official}/{norm_out}//{name}', *stack, hidden)
  for name, theirs, size in (('out', 'output_projection', hidden), ('out_gate', 'gating_linear', c)):
    yield from linear(f'{ours}//{name}', f'{official}/{theirs}', *stack, size, c)


def _triangle_attention(ours: str, official: str, stack: Shape, c: int, heads: int) -> Iterator[Rule]:
  yield from norm(f'{ours}/norm', f'{official}/query_norm', *stack, c)
  yield same(f'{ours}/pair_bias//w', f'{official}//feat_2d_weights', *stack, c, heads)
  yield from attention(ours, f'{official}/attention', stack, c, heads)


def pair_block(ours: str, official: str, stack: Shape, c: int, pair: Mapping[str, Any], fused: bool) -> Iterator[Rule]:
  """Triangle updates and a transition of c channels, stacked."""
  for direction in ('outgoing', 'incoming'):
    name = f'multiplication_{direction}'
    theirs, hidden = f'{official}/triangle_{name}', pair['c_triangle']
    yield from _triangle_multiplication(f'{ours}/{name}', theirs, stack, c, hidden, fused)
  for node in ('starting', 'ending'):
    theirs = f'{official}/triangle_attention_{node}_node'
    yield from _triangle_attention(f'{ours}/attention_{node}', theirs, stack, c, pair['num_head'])
  yield from transition(f'{ours}/transition', f'{official}/pair_transition', stack, c, pair['transition_factor'])


def evoformer_block(
  ours: str, official: str, section: Mapping[str, Any], c_m: int, c_z: int, fused: bool
) -> Iterator[Rule]:
  """The blocks of a section of the configuration, `evoformer` or `extra_msa`."""
  stack, heads, hidden = (section['num_block'],), section['num_head'], section['c_outer']
  row, column, outer = f'{ours}/row_attention', f'{ours}/column_attention', f'{ours}/outer_product_mean'
  their_row = f'{official}/msa_row_attention_with_pair_bias'
  yield from norm(f'{row}/norm', f'{their_row}/query_norm', *stack, c_m)
  yield from norm(f'{row}/pair_norm', f'{their_row}/feat_2d_norm', *stack, c_z)
  yield same(f'{row}/pair_bias//w', f'{their_row}//feat_2d_weights', *stack, c_z, heads)
  yield from attention(row, f'{their_row}/attention', stack, c_m, heads)
  is_global = section['column_attention'] == 'global'
  their_column = f'{official}/msa_column_global_attention' if is_global else f'{official}/msa_column_attention'
  yield from norm(f'{column}/norm', f'{their_column}/query_norm', *stack, c_m)
  yield from attention(column, f'{their_column}/attention', stack, c_m, heads, shared=is_global)
  yield from transition(f'{ours}/transition', f'{official}/msa_transition', stack, c_m, section['transition_factor'])
  their_outer = f'{official}/outer_product_mean'
  yield from norm(f'{outer}/norm', f'{their_outer}/layer_norm_input', *stack, c_m)
  for side in ('left', 'right'):
    yield from linear(f'{outer}//{side}', f'{their_outer}/{side}_projection', *stack, c_m, hidden)
  yield same(f'{outer}//out_w', f'{their_outer}//output_w', *stack, hidden, hidden, c_z)
  yield same(f'{outer}//out_b', f'{their_outer}//output_b', *stack, c_z)
  yield from pair_block(f'{ours}/pair', official, stack, c_z, section['pair'], fused)
