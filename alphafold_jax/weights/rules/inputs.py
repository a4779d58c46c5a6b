# SPDX-License-Identifier: Apache-2.0
"""Rules of what comes before the stacks: the embedders and the templates."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from alphafold_jax.constants.couplings import NUM_CHANNELS
from alphafold_jax.weights.rules.parts import Arrays, Rule, attention, linear, norm, same
from alphafold_jax.weights.rules.trunk import pair_block

_ROWS = {'torsions': 57, 'side_chains': 34}  # features of a residue in a template's row, by the setting
_NUM_TYPES = 22  # of a template's residues


def embedders(config: Mapping[str, Any]) -> Iterator[Rule]:
  """The input and recycling embedders, the extra-MSA embedder and the single representation."""
  e = config['embedder']
  c_m, c_z, num_types = e['c_m'], e['c_z'], 22 if e['break_flag'] else 21
  yield from linear('input_embedder/target', 'evoformer/preprocess_1d', num_types, c_m)
  yield from linear('input_embedder/msa', 'evoformer/preprocess_msa', 49, c_m)
  yield from linear('input_embedder/left', 'evoformer/left_single', num_types, c_z)
  yield from linear('input_embedder/right', 'evoformer/right_single', num_types, c_z)
  yield from linear('input_embedder/relative_position', *_relative_positions(e), c_z)
  if e['couplings']:  # of a network of our own
    yield same('couplings_embedder/linear//w', 'evoformer/couplings//weights', NUM_CHANNELS, c_z)
  yield from linear('recycling_embedder/distance', 'evoformer/prev_pos_linear', e['recycle_bins'], c_z)
  yield from norm('recycling_embedder/msa_norm', 'evoformer/prev_msa_first_row_norm', c_m)
  yield from norm('recycling_embedder/pair_norm', 'evoformer/prev_pair_norm', c_z)
  yield from linear('extra_msa_embedder', 'evoformer/extra_msa_activations', 25, e['c_extra'])
  yield from linear('single', 'evoformer/single_activations', c_m, config['c_s'])


def _relative_positions(e: Mapping[str, Any]) -> tuple[str, int]:
  """The published name, and how many numbers say where two residues stand (model/embedders.py)."""
  num_offsets, copies = 2 * e['max_relative'] + 1, e['max_relative_chain']
  if not copies:
    return 'evoformer/pair_activiations', num_offsets  # so spelt
  return 'evoformer/~_relative_encoding/position_activations', num_offsets + 1 + 1 + 2 * copies + 1 + 1


def templates(t: Mapping[str, Any], c_m: int, c_z: int, fused: bool) -> Iterator[Rule]:
  """The rows and the pairs of templates."""
  yield from linear('template_embedder/torsions_in', 'evoformer/template_single_embedding', _ROWS[t['rows']], c_m)
  yield from linear('template_embedder/torsions_out', 'evoformer/template_projection', c_m, c_m)
  yield from _AGGREGATION[t['aggregation']](t, 'evoformer/template_embedding', c_z, fused)


def _attended(t: Mapping[str, Any], official: str, c_z: int, fused: bool) -> Iterator[Rule]:
  single, c_t = f'{official}/single_template_embedding', t['c_t']
  yield from linear('template_embedder/pair_stack/embed', f'{single}/embedding2d', 88, c_t)
  yield from norm('template_embedder/pair_stack/norm', f'{single}/output_layer_norm', c_t)
  ours, theirs = 'template_embedder/pair_stack/stack/block', f'{single}/template_pair_stack/__layer_stack_no_state'
  yield from pair_block(ours, theirs, (t['num_block'],), c_t, t['pair'], fused)
  attended = f'{official}/attention'
  yield from attention('template_attention', attended, (), c_z, t['num_head'], c_kv=c_t, gated=False)


def _averaged(t: Mapping[str, Any], official: str, c_z: int, fused: bool) -> Iterator[Rule]:
  """Nine maps with biases in published files: distances, mask, types of j and i, x, y, z, mask, and the query."""
  ours, single, c_t = 'template_mean/template', f'{official}/single_template_embedding', t['c_t']
  maps, bins = [f'{single}/template_pair_embedding_{i}' for i in range(9)], t['num_bins']
  scalars = [maps[i] for i in (1, 4, 5, 6, 7)]  # maps of one number have no axis for it there
  yield Rule(
    tuple(f'{name}//weights' for name in (maps[0], *scalars)),
    ((bins, c_t), *[(c_t,)] * len(scalars)),
    (f'{ours}//geometry',),
    lambda *arrays: (np.concatenate([np.atleast_2d(array) for array in arrays]),),
    lambda array: (array[:bins], *array[bins:]),
  )
  yield same(f'{ours}//type_j', f'{maps[2]}//weights', _NUM_TYPES, c_t)
  yield same(f'{ours}//type_i', f'{maps[3]}//weights', _NUM_TYPES, c_t)
  biases = tuple(f'{name}//bias' for name in maps[:8])
  yield Rule(biases, ((c_t,),) * 8, (f'{ours}//bias',), _stacked, tuple)
  yield from linear('template_mean/query', maps[8], c_z, c_t)
  yield from norm('template_mean/query_norm', f'{single}/query_embedding_norm', c_z)
  theirs = f'{single}/template_embedding_iteration'
  yield from pair_block(f'{ours}/stack/block', theirs, (t['num_block'],), c_t, t['pair'], fused)
  yield from norm(f'{ours}/norm', f'{single}/output_layer_norm', c_t)
  yield from linear('template_mean/out', f'{official}/output_linear', c_t, c_z)


def _stacked(*arrays: np.ndarray) -> Arrays:
  return (np.stack(arrays),)


_AGGREGATION: Mapping[str, Callable[..., Iterator[Rule]]] = {
  'attention': _attended,
  'mean': _averaged,
}  # by the setting
