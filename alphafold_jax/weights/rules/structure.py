# SPDX-License-Identifier: Apache-2.0
"""Rules of the structure module, whose attention has two published layouts and one of ours."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from alphafold_jax.weights.npz import Shape
from alphafold_jax.weights.rules.parts import Arrays, Rule, linear, norm, same


def structure(s: Mapping[str, Any], c_z: int) -> Iterator[Rule]:
  """The structure module of a section of the configuration."""
  c, c_angle = s['c_s'], s['c_angle']
  ours, official = 'structure_module/layer', 'structure_module/fold_iteration'
  yield from norm('structure_module/single_norm', 'structure_module/single_layer_norm', c)
  yield from norm('structure_module/pair_norm', 'structure_module/pair_layer_norm', c_z)
  yield from linear('structure_module/single', 'structure_module/initial_projection', c, c)
  yield from _invariant_point_attention(f'{ours}/ipa', f'{official}/invariant_point_attention', s, c_z)
  yield from norm(f'{ours}/ipa_norm', f'{official}/attention_layer_norm', c)
  for i in range(s['num_transition_layer']):
    yield from linear(f'{ours}/transition_{i + 1}', f'{official}/transition{_suffix(i)}', c, c)
  yield from norm(f'{ours}/transition_norm', f'{official}/transition_layer_norm', c)
  update = 'affine_update' if s['scalar_bias'] else 'quat_rigid/rigid'
  yield from linear(f'{ours}/backbone_update', f'{official}/{update}', c, 6)
  angles, their_angles = f'{ours}/angle_resnet', f'{official}/rigid_sidechain'
  yield from linear(f'{angles}/single', f'{their_angles}/input_projection', c, c_angle)
  yield from linear(f'{angles}/single_initial', f'{their_angles}/input_projection_1', c, c_angle)
  for i in range(s['num_angle_block']):
    for end, theirs in (('in', 'resblock1'), ('out', 'resblock2')):
      yield from linear(f'{angles}/block_{i + 1}_{end}', f'{their_angles}/{theirs}{_suffix(i)}', c_angle, c_angle)
  yield from linear(f'{angles}/angles', f'{their_angles}/unnormalized_angles', c_angle, 14)


def _suffix(i: int) -> str:
  """Haiku's numbering of modules of one name: nothing, _1, _2."""
  return f'_{i}' if i else ''


def _invariant_point_attention(ours: str, official: str, s: Mapping[str, Any], c_z: int) -> Iterator[Rule]:
  heads, points_v = s['num_head'], s['num_point_v']
  yield from (_by_component if s['scalar_bias'] else _by_head)(ours, official, s)
  yield same(f'{ours}//point_weight', f'{official}//trainable_point_weights', heads)
  yield from linear('structure_module/pair_logits', f'{official}/attention_2d', c_z, heads)
  yield from linear(f'{ours}/out', f'{official}/output_projection', heads * (s['c_v'] + 4 * points_v + c_z), s['c_s'])


def _by_component(ours: str, official: str, s: Mapping[str, Any]) -> Iterator[Rule]:
  """Queries, keys and values of single chains' networks: x of all heads, then y, then z; keys and values as one."""
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


def _by_head(ours: str, official: str, s: Mapping[str, Any]) -> Iterator[Rule]:
  """Queries, keys and values of complexes' networks: an axis for heads, in each head x of all points, then y, then z.

  What is no point has no bias.
  """
  c, heads = s['c_s'], s['num_head']
  for name, dim in (('q', s['c_qk']), ('k', s['c_qk']), ('v', s['c_v'])):
    weights = f'{official}/{name}_scalar_projection//weights'
    yield Rule((weights,), ((c, heads, dim),), (f'{ours}/{name}//w',), *_flattened(heads, 1))
  for name, points in (('q', s['num_point_qk']), ('k', s['num_point_qk']), ('v', s['num_point_v'])):
    theirs, mine = f'{official}/{name}_point_projection/point_projection', f'{ours}/{name}_points'
    for end, leaf, lead in (('w', 'weights', (c,)), ('b', 'bias', ())):
      shape = (*lead, heads, 3 * points)
      yield Rule((f'{theirs}//{leaf}',), (shape,), (f'{mine}//{end}',), *_flattened(heads, 3))


def _flattened(heads: int, components: int) -> tuple[Callable[[np.ndarray], Arrays], Callable[[np.ndarray], Arrays]]:
  """From [..., heads, components * part] to [..., heads * part * components], and back."""

  def to_ours(array: np.ndarray) -> Arrays:
    array = array.reshape(*array.shape[:-1], components, -1)
    return (array.swapaxes(-1, -2).reshape(*array.shape[:-3], -1),)

  def to_official(array: np.ndarray) -> Arrays:
    array = array.reshape(*array.shape[:-1], heads, -1, components)
    return (array.swapaxes(-1, -2).reshape(*array.shape[:-2], -1),)

  return to_ours, to_official
