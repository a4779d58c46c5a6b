# SPDX-License-Identifier: Apache-2.0
"""Published parameter files, in and out: which array is which, and how each is laid out there and here.

A file is an `.npz` of arrays named `module//array` under PREFIX. A `Rule` ties one or more of them to one or more of
our parameters (also written `module//array`): most are renamed only; triangle projections are laid side by side, and
the structure module's keys, values and points are taken apart into the layout that monomers and multimers share.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alphafold_jax import atomic
from alphafold_jax.constants.couplings import NUM_CHANNELS
from alphafold_jax.errors import WeightsError
from alphafold_jax.screen import number
from alphafold_jax.weights import npz
from alphafold_jax.weights.npz import Shape

_log = logging.getLogger(__name__)
PREFIX = 'alphafold/alphafold_iteration/'
Arrays = tuple[np.ndarray, ...]


class Rule(NamedTuple):
  """Ties arrays of a published file (names without PREFIX, and their shapes) to parameters of ours."""

  official: tuple[str, ...]
  shapes: tuple[Shape, ...]
  ours: tuple[str, ...]
  to_ours: Callable[..., Arrays] = lambda *arrays: arrays
  to_official: Callable[..., Arrays] = lambda *arrays: arrays


def _same(ours: str, official: str, *shape: int) -> Rule:
  return Rule((official,), (shape,), (ours,))


def _linear(ours: str, official: str, *shape: int) -> Iterator[Rule]:
  """A map with weights of this shape, in which stacked layers put their number in front, and biases.

  Our parameters are `module//w` and `module//b`, or `module//name_w` and `module//name_b` where `ours` has a name.
  """
  stem = f'{ours}_' if '//' in ours else f'{ours}//'
  yield _same(f'{stem}w', f'{official}//weights', *shape)
  yield _same(f'{stem}b', f'{official}//bias', *shape[:-2], shape[-1])


def _norm(ours: str, official: str, *shape: int) -> Iterator[Rule]:
  for name in ('scale', 'offset'):
    yield _same(f'{ours}//{name}', f'{official}//{name}', *shape)


def _attention(
  ours: str, official: str, stack: Shape, c: int, heads: int, *, c_kv: int = 0, shared: bool = False, gated: bool = True
) -> Iterator[Rule]:
  """Attention from c channels to c_kv (0: the same); `shared`: keys and values are one head's."""
  dim = (c_kv or c) // heads
  kv = (dim,) if shared else (heads, dim)
  shapes = {
    'q': ('query_w', (c, heads, dim)),
    'k': ('key_w', (c_kv or c, *kv)),
    'v': ('value_w', (c_kv or c, *kv)),
    'gate_w': ('gating_w', (c, heads, dim)),
    'gate_b': ('gating_b', (heads, dim)),
    'out_w': ('output_w', (heads, dim, c)),
    'out_b': ('output_b', (c,)),
  }
  for name, (theirs, shape) in shapes.items():
    if gated or not name.startswith('gate'):
      yield _same(f'{ours}//{name}', f'{official}//{theirs}', *stack, *shape)


def _transition(ours: str, official: str, stack: Shape, c: int, factor: int) -> Iterator[Rule]:
  yield from _norm(f'{ours}/norm', f'{official}/input_layer_norm', *stack, c)
  for i, (end, shape) in enumerate({'in': (c, factor * c), 'out': (factor * c, c)}.items(), 1):
    yield _same(f'{ours}//w_{end}', f'{official}/transition{i}//weights', *stack, *shape)
    yield _same(f'{ours}//b_{end}', f'{official}/transition{i}//bias', *stack, shape[-1])


def _side_by_side(left: np.ndarray, right: np.ndarray) -> Arrays:
  return (np.concatenate([left, right], axis=-1),)


def _halves(both: np.ndarray) -> Arrays:
  return tuple(np.split(both, 2, axis=-1))


def _triangle_multiplication(ours: str, official: str, stack: Shape, c: int, hidden: int) -> Iterator[Rule]:
  yield from _norm(f'{ours}/norm', f'{official}/layer_norm_input', *stack, c)
  for name, theirs in {'proj': 'projection', 'gate': 'gate'}.items():
    for end, leaf, shape in (('w', 'weights', (*stack, c, hidden)), ('b', 'bias', (*stack, hidden))):
      sides = tuple(f'{official}/{side}_{theirs}//{leaf}' for side in ('left', 'right'))
      yield Rule(sides, (shape, shape), (f'{ours}//{name}_{end}',), _side_by_side, _halves)
  for name in ('scale', 'offset'):
    yield _same(f'{ours}//norm_{name}', f'{official}/center_layer_norm//{name}', *stack, hidden)
  for name, theirs, size in (('out', 'output_projection', hidden), ('out_gate', 'gating_linear', c)):
    yield from _linear(f'{ours}//{name}', f'{official}/{theirs}', *stack, size, c)


def _triangle_attention(ours: str, official: str, stack: Shape, c: int, heads: int) -> Iterator[Rule]:
  yield from _norm(f'{ours}/norm', f'{official}/query_norm', *stack, c)
  yield _same(f'{ours}/pair_bias//w', f'{official}//feat_2d_weights', *stack, c, heads)
  yield from _attention(ours, f'{official}/attention', stack, c, heads)


def _pair_block(ours: str, official: str, stack: Shape, c: int, pair: Mapping[str, Any]) -> Iterator[Rule]:
  for direction in ('outgoing', 'incoming'):
    name = f'multiplication_{direction}'
    yield from _triangle_multiplication(f'{ours}/{name}', f'{official}/triangle_{name}', stack, c, pair['c_triangle'])
  for node in ('starting', 'ending'):
    theirs = f'{official}/triangle_attention_{node}_node'
    yield from _triangle_attention(f'{ours}/attention_{node}', theirs, stack, c, pair['num_head'])
  yield from _transition(f'{ours}/transition', f'{official}/pair_transition', stack, c, pair['transition_factor'])


def _evoformer_block(ours: str, official: str, section: Mapping[str, Any], c_m: int, c_z: int) -> Iterator[Rule]:
  stack, heads, hidden = (section['num_block'],), section['num_head'], section['c_outer']
  row, column, outer = f'{ours}/row_attention', f'{ours}/column_attention', f'{ours}/outer_product_mean'
  their_row = f'{official}/msa_row_attention_with_pair_bias'
  yield from _norm(f'{row}/norm', f'{their_row}/query_norm', *stack, c_m)
  yield from _norm(f'{row}/pair_norm', f'{their_row}/feat_2d_norm', *stack, c_z)
  yield _same(f'{row}/pair_bias//w', f'{their_row}//feat_2d_weights', *stack, c_z, heads)
  yield from _attention(row, f'{their_row}/attention', stack, c_m, heads)
  is_global = section['column_attention'] == 'global'
  their_column = f'{official}/msa_column_global_attention' if is_global else f'{official}/msa_column_attention'
  yield from _norm(f'{column}/norm', f'{their_column}/query_norm', *stack, c_m)
  yield from _attention(column, f'{their_column}/attention', stack, c_m, heads, shared=is_global)
  yield from _transition(f'{ours}/transition', f'{official}/msa_transition', stack, c_m, section['transition_factor'])
  their_outer = f'{official}/outer_product_mean'
  yield from _norm(f'{outer}/norm', f'{their_outer}/layer_norm_input', *stack, c_m)
  for side in ('left', 'right'):
    yield from _linear(f'{outer}//{side}', f'{their_outer}/{side}_projection', *stack, c_m, hidden)
  yield _same(f'{outer}//out_w', f'{their_outer}//output_w', *stack, hidden, hidden, c_z)
  yield _same(f'{outer}//out_b', f'{their_outer}//output_b', *stack, c_z)
  yield from _pair_block(f'{ours}/pair', official, stack, c_z, section['pair'])


def _embedders(config: Mapping[str, Any]) -> Iterator[Rule]:
  e = config['embedder']
  c_m, c_z = e['c_m'], e['c_z']
  yield from _linear('input_embedder/target', 'evoformer/preprocess_1d', 22, c_m)
  yield from _linear('input_embedder/msa', 'evoformer/preprocess_msa', 49, c_m)
  yield from _linear('input_embedder/left', 'evoformer/left_single', 22, c_z)
  yield from _linear('input_embedder/right', 'evoformer/right_single', 22, c_z)
  num_offsets = 2 * e['max_relative'] + 1
  yield from _linear('input_embedder/relative_position', 'evoformer/pair_activiations', num_offsets, c_z)  # so spelt
  if e.get('couplings'):  # of a network of our own; runs from before it have no such setting
    yield _same('couplings_embedder/linear//w', 'evoformer/couplings//weights', NUM_CHANNELS, c_z)
  yield from _linear('recycling_embedder/distance', 'evoformer/prev_pos_linear', e['recycle_bins'], c_z)
  yield from _norm('recycling_embedder/msa_norm', 'evoformer/prev_msa_first_row_norm', c_m)
  yield from _norm('recycling_embedder/pair_norm', 'evoformer/prev_pair_norm', c_z)
  yield from _linear('extra_msa_embedder', 'evoformer/extra_msa_activations', 25, e['c_extra'])
  yield from _linear('single', 'evoformer/single_activations', c_m, config['c_s'])


def _templates(t: Mapping[str, Any], c_m: int, c_z: int) -> Iterator[Rule]:
  single = 'evoformer/template_embedding/single_template_embedding'
  c_t = t['c_t']
  yield from _linear('template_embedder/torsions_in', 'evoformer/template_single_embedding', 57, c_m)
  yield from _linear('template_embedder/torsions_out', 'evoformer/template_projection', c_m, c_m)
  yield from _linear('template_embedder/pair_stack/embed', f'{single}/embedding2d', 88, c_t)
  yield from _norm('template_embedder/pair_stack/norm', f'{single}/output_layer_norm', c_t)
  ours, theirs = 'template_embedder/pair_stack/stack/block', f'{single}/template_pair_stack/__layer_stack_no_state'
  yield from _pair_block(ours, theirs, (t['num_block'],), c_t, t['pair'])
  their_attention = 'evoformer/template_embedding/attention'
  yield from _attention('template_attention', their_attention, (), c_z, t['num_head'], c_kv=c_t, gated=False)


def _split_heads(heads: int, components: int, parts: Shape) -> Callable[[np.ndarray], Arrays]:
  """From the first component of all heads, then the second, ... to one array [..., heads * part * components] a part.

  The components of a point are x, y and z, a number has one; in each head the parts lie one behind the other.
  """

  def convert(array: np.ndarray) -> Arrays:
    array = array.reshape(*array.shape[:-1], components, heads, sum(parts))
    pieces = np.split(np.moveaxis(array, -3, -1), np.cumsum(parts)[:-1], axis=-2)  # each [..., heads, part, components]
    return tuple(piece.reshape(*piece.shape[:-3], -1) for piece in pieces)

  return convert


def _join_heads(heads: int, components: int, parts: Shape) -> Callable[..., Arrays]:
  """The inverse of `_split_heads`."""

  def convert(*arrays: np.ndarray) -> Arrays:
    pieces = [a.reshape(*a.shape[:-1], heads, part, components) for a, part in zip(arrays, parts, strict=True)]
    array = np.moveaxis(np.concatenate(pieces, axis=-2), -1, -3)
    return (array.reshape(*array.shape[:-3], -1),)

  return convert


def _invariant_point_attention(ours: str, official: str, s: Mapping[str, Any], c_z: int) -> Iterator[Rule]:
  c, heads, dim_qk, dim_v = s['c_s'], s['num_head'], s['c_qk'], s['c_v']
  points_qk, points_v = s['num_point_qk'], s['num_point_v']
  for names, theirs, components, parts in (
    (('q',), 'q_scalar', 1, (dim_qk,)),
    (('k', 'v'), 'kv_scalar', 1, (dim_qk, dim_v)),
    (('q_points',), 'q_point_local', 3, (points_qk,)),
    (('k_points', 'v_points'), 'kv_point_local', 3, (points_qk, points_v)),
  ):
    split, join = _split_heads(heads, components, parts), _join_heads(heads, components, parts)
    width = components * heads * sum(parts)
    for end, leaf, shape in (('w', 'weights', (c, width)), ('b', 'bias', (width,))):
      targets = tuple(f'{ours}/{name}//{end}' for name in names)
      yield Rule((f'{official}/{theirs}//{leaf}',), (shape,), targets, split, join)
  yield _same(f'{ours}//point_weight', f'{official}//trainable_point_weights', heads)
  yield from _linear('structure_module/pair_logits', f'{official}/attention_2d', c_z, heads)
  yield from _linear(f'{ours}/out', f'{official}/output_projection', heads * (dim_v + 4 * points_v + c_z), c)


def _structure(s: Mapping[str, Any], c_z: int) -> Iterator[Rule]:
  c, c_angle = s['c_s'], s['c_angle']
  ours, official = 'structure_module/layer', 'structure_module/fold_iteration'
  yield from _norm('structure_module/single_norm', 'structure_module/single_layer_norm', c)
  yield from _norm('structure_module/pair_norm', 'structure_module/pair_layer_norm', c_z)
  yield from _linear('structure_module/single', 'structure_module/initial_projection', c, c)
  yield from _invariant_point_attention(f'{ours}/ipa', f'{official}/invariant_point_attention', s, c_z)
  yield from _norm(f'{ours}/ipa_norm', f'{official}/attention_layer_norm', c)
  for i in range(s['num_transition_layer']):
    yield from _linear(f'{ours}/transition_{i + 1}', f'{official}/transition{_suffix(i)}', c, c)
  yield from _norm(f'{ours}/transition_norm', f'{official}/transition_layer_norm', c)
  yield from _linear(f'{ours}/backbone_update', f'{official}/affine_update', c, 6)
  angles, their_angles = f'{ours}/angle_resnet', f'{official}/rigid_sidechain'
  yield from _linear(f'{angles}/single', f'{their_angles}/input_projection', c, c_angle)
  yield from _linear(f'{angles}/single_initial', f'{their_angles}/input_projection_1', c, c_angle)
  for i in range(s['num_angle_block']):
    for end, theirs in (('in', 'resblock1'), ('out', 'resblock2')):
      yield from _linear(f'{angles}/block_{i + 1}_{end}', f'{their_angles}/{theirs}{_suffix(i)}', c_angle, c_angle)
  yield from _linear(f'{angles}/angles', f'{their_angles}/unnormalized_angles', c_angle, 14)


def _suffix(i: int) -> str:
  """Haiku's numbering of modules of one name: nothing, _1, _2."""
  return f'_{i}' if i else ''


def _heads(h: Mapping[str, Any], c_m: int, c_z: int, c_s: int) -> Iterator[Rule]:
  yield from _linear('heads/distogram', 'distogram_head/half_logits', c_z, h['num_distogram_bins'])
  yield from _linear('heads/masked_msa', 'masked_msa_head/logits', c_m, h['num_masked_msa_classes'])
  yield from _linear('heads/experimentally_resolved', 'experimentally_resolved_head/logits', c_s, h['num_atoms'])
  yield from _norm('heads/plddt/norm', 'predicted_lddt_head/input_layer_norm', c_s)
  yield from _linear('heads/plddt/hidden_1', 'predicted_lddt_head/act_0', c_s, h['c_plddt'])
  yield from _linear('heads/plddt/hidden_2', 'predicted_lddt_head/act_1', h['c_plddt'], h['c_plddt'])
  yield from _linear('heads/plddt/logits', 'predicted_lddt_head/logits', h['c_plddt'], h['num_plddt_bins'])
  if h['num_pae_bins']:
    yield from _linear('heads/pae', 'predicted_aligned_error_head/logits', c_z, h['num_pae_bins'])


def rules(config: Mapping[str, Any]) -> list[Rule]:
  """All rules of a configuration's network."""
  e, c_s = config['embedder'], config['c_s']
  c_m, c_z = e['c_m'], e['c_z']
  found = [*_embedders(config)]
  if config['templates'] is not None:
    found += _templates(config['templates'], c_m, c_z)
  extra, main = config['extra_msa'], config['evoformer']
  found += _evoformer_block('extra_msa_stack/block', 'evoformer/extra_msa_stack', extra, e['c_extra'], c_z)
  found += _evoformer_block('evoformer/block', 'evoformer/evoformer_iteration', main, c_m, c_z)
  found += _structure(config['structure'], c_z)
  found += _heads(config['heads'], c_m, c_z, c_s)
  return found


def official_shapes(config: Mapping[str, Any]) -> dict[str, Shape]:
  """Names and shapes of all arrays in the published file of a configuration."""
  pairs = (pair for rule in rules(config) for pair in zip(rule.official, rule.shapes, strict=True))
  return {PREFIX + name: shape for name, shape in pairs}


def from_official(
  arrays: Mapping[str, np.ndarray], config: Mapping[str, Any], source: str = 'arrays', strict: bool = False
) -> dict[str, dict[str, np.ndarray]]:
  """Turns published arrays into our parameters, float32 in whatever precision they were stored.

  Args:
    arrays: by published name.
    config: of the model they should fit.
    source: names them in messages.
    strict: refuse arrays that the model does not use; else they are a warning in the log.

  Raises:
    WeightsError: an array is missing or has another shape; the message names it.
  """
  shapes = {name: np.shape(array) for name, array in arrays.items()}
  wrong, surplus = npz.shape_problems(shapes, official_shapes(config))
  if problems := wrong + surplus if strict else wrong:
    raise npz.misfit(source, config['name'], problems)
  if surplus:
    left = number(len(surplus), 'array')
    _log.warning('%s: %s not used by %s: %s', source, left, config['name'], '; '.join(npz.shown(surplus, 1)))
  params: dict[str, dict[str, np.ndarray]] = {}
  for rule in rules(config):
    converted = rule.to_ours(*(np.asarray(arrays[PREFIX + name], np.float32) for name in rule.official))
    for name, array in zip(rule.ours, converted, strict=True):
      module, leaf = name.split('//')
      params.setdefault(module, {})[leaf] = array
  return params


def to_official(params: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Turns our parameters into published arrays, the inverse of `from_official`.

  Raises:
    WeightsError: a parameter has no rule, so that it would be lost, or one that a rule needs is missing.
  """
  given = {f'{module}//{leaf}': array for module, leaves in params.items() for leaf, array in leaves.items()}
  needed = [name for rule in rules(config) for name in rule.ours]
  wrong = [f'without a rule: {name}' for name in sorted(given.keys() - set(needed))]
  wrong += [f'missing: {name}' for name in needed if name not in given]
  if wrong:
    remedy = 'a new parameter needs a rule in alphafold_jax/weights/official.py'
    what = (
      f'{number(len(wrong), "parameter")} {"does" if len(wrong) == 1 else "do"} not fit {config["name"]} ({remedy})'
    )
    raise WeightsError('\n  '.join([what, *npz.shown(wrong)]))
  arrays: dict[str, np.ndarray] = {}
  for rule in rules(config):
    converted = rule.to_official(*(np.asarray(given[name]) for name in rule.ours))
    arrays |= zip((PREFIX + name for name in rule.official), converted, strict=True)
  return arrays


def load_official(
  path: str | Path, config: Mapping[str, Any], strict: bool = False
) -> dict[str, dict[str, np.ndarray]]:
  """Reads a published `.npz` as the parameters of a model; `strict` as in `from_official`.

  Raises:
    WeightsError: the file cannot be read, or an array is missing or mis-shaped; the message names file and array.
  """
  return from_official(npz.read_arrays(Path(path)), config, str(path), strict)


def save_official(path: str | Path, params: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> None:
  """Writes parameters as a published `.npz`, whole or not at all, for every program that reads those.

  Raises:
    WeightsError: a parameter has no rule, or is missing.
    ResourceError, InputError: the disk is full, or the place cannot be written.
  """
  arrays: dict[str, Any] = to_official(params, config)
  with atomic.replacing(path) as file:
    np.savez(file, **arrays)
    npz.mark(file)
