# SPDX-License-Identifier: Apache-2.0
"""The structure module: Algorithm 20, with invariant point attention (22) and the backbone update (23).

s [N_res, c_s] single representation, z [N_res, N_res, c_z] pair representation, T a Rigid of N_res frames whose
translations are in units of `position_scale` Å. H heads, P points. All in float32.
"""

import dataclasses
import math

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import ops, schema
from alphafold_jax.constants import residues
from alphafold_jax.geometry import atoms, rigid
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.model.layers import LayerNorm, Linear, dropout, filled

_HIGHEST = jax.lax.Precision.HIGHEST
_INVERSE_SOFTPLUS_OF_1 = math.log(math.expm1(1.0))


@dataclasses.dataclass(frozen=True)
class StructureSpec:
  """Sizes of the structure module; `position_scale` in Å."""

  num_layer: int
  c_s: int
  num_head: int
  c_qk: int
  c_v: int
  num_point_qk: int
  num_point_v: int
  num_transition_layer: int
  dropout: float
  position_scale: float
  c_angle: int
  num_angle_block: int
  scalar_bias: bool = True  # of the attention's queries, keys and values that are no points
  point_epsilon: float = 1e-8  # added to squared lengths of points, in squares of `position_scale`


class InvariantPointAttention(hk.Module):
  """Algorithm 22; called with the pair logits of line 3, which no layer changes."""

  def __init__(self, spec: StructureSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, s: jax.Array, z: jax.Array, pair_logits: jax.Array, frames: Rigid, mask: jax.Array) -> jax.Array:
    """Attends over all residues; pair_logits [N_res, N_res, H], mask [N_res]; returns [N_res, c_s]."""
    spec, heads = self.spec, self.spec.num_head

    q = self._scalars(s, spec.c_qk, 'q')  # line 1
    k = self._scalars(s, spec.c_qk, 'k')
    v = self._scalars(s, spec.c_v, 'v')
    q_points = self._points(s, frames, spec.num_point_qk, 'q_points')  # line 2, in the global frame
    k_points = self._points(s, frames, spec.num_point_qk, 'k_points')
    v_points = self._points(s, frames, spec.num_point_v, 'v_points')  # line 3
    gamma = jax.nn.softplus(filled('point_weight', (heads,), _INVERSE_SOFTPLUS_OF_1))
    point_scale = -0.5 * gamma * (3 * spec.num_point_qk * 9 / 2) ** -0.5

    width = heads * (spec.c_v + 4 * spec.num_point_v + z.shape[-1])
    out = Linear(spec.c_s, init='zeros', name='out').function(width)

    def attend(q, q_points, rotation, translation, rows_mask, pair_logits, z):  # some residues i, to all residues j
      # Lines 5-7. Each of the three terms has unit variance, hence the thirds; 9/2 is that of a squared distance.
      distance = ops.squared_distances(q_points, k_points)  # [b, N_res, H]
      logits = jnp.einsum('ihc,jhc->ijh', q, k, precision=_HIGHEST) * (3 * spec.c_qk) ** -0.5
      logits += point_scale * distance + 3**-0.5 * pair_logits
      logits -= 1e5 * (1 - rows_mask[:, None] * mask[None])[..., None]
      weights = jax.nn.softmax(logits, axis=1)

      o = jnp.einsum('ijh,jhc->ihc', weights, v, precision=_HIGHEST)  # line 9
      o_points = jnp.einsum('ijh,jhpx->ihpx', weights, v_points, precision=_HIGHEST)  # line 10
      o_points = Rigid(rotation=rotation, translation=translation)[:, None, None].invert_apply(o_points)
      square = spec.point_epsilon + jnp.sum(jnp.square(o_points), axis=-1)
      norm = jnp.sqrt(jnp.maximum(square, 1e-16))  # a floor, for its gradient
      o_pair = jnp.einsum('ijh,ijc->ihc', weights, z)  # line 8
      # The points' coordinates enter the last layer component by component: all x, all y, all z.
      parts = [o, *jnp.moveaxis(o_points, -1, 0), norm, o_pair]
      return out(jnp.concatenate([part.reshape(len(q), -1) for part in parts], axis=-1))  # line 11

    residues_i = (q, q_points, frames.rotation, frames.translation, mask)
    return ops.by_rows(attend, residues_i, (pair_logits, z), width=6 * heads)

  @hk.transparent
  def _scalars(self, s: jax.Array, c: int, name: str) -> jax.Array:  # [N_res, H, c]
    heads = self.spec.num_head
    return Linear(heads * c, has_bias=self.spec.scalar_bias, name=name)(s).reshape(s.shape[0], heads, c)

  @hk.transparent
  def _points(self, s: jax.Array, frames: Rigid, num_point: int, name: str) -> jax.Array:
    """Points [N_res, H, P, 3] in each residue's own frame, moved to the global one."""
    local = Linear(3 * self.spec.num_head * num_point, name=name)(s)
    local = local.reshape(s.shape[0], self.spec.num_head, num_point, 3)
    return frames[:, None, None].apply(local)


class AngleResnet(hk.Module):
  """Algorithm 20 lines 11-14: seven torsion angles as points of the plane, not yet normalised."""

  def __init__(self, spec: StructureSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, s: jax.Array, s_initial: jax.Array) -> jax.Array:  # [N_res, 7, 2]
    c = self.spec.c_angle
    # Departs from the paper: ReLU before the first linear maps.
    a = Linear(c, name='single')(jax.nn.relu(s)) + Linear(c, name='single_initial')(jax.nn.relu(s_initial))  # line 11
    for i in range(1, self.spec.num_angle_block + 1):  # lines 12, 13
      inner = Linear(c, init='relu', name=f'block_{i}_in')(jax.nn.relu(a))
      a += Linear(c, init='zeros', name=f'block_{i}_out')(jax.nn.relu(inner))
    return Linear(14, name='angles')(jax.nn.relu(a)).reshape(-1, 7, 2)  # line 14


class StructureLayer(hk.Module):
  """One pass of the loop of Algorithm 20; all eight share these weights."""

  def __init__(self, spec: StructureSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(
    self, s: jax.Array, frames: Rigid, s_initial: jax.Array, z: jax.Array, pair_logits: jax.Array, mask: jax.Array
  ) -> tuple[jax.Array, Rigid, jax.Array]:
    """Updates s [N_res, c_s] and the frames; pair_logits [N_res, N_res, H]; also gives the angles [N_res, 7, 2]."""
    spec = self.spec
    s += InvariantPointAttention(spec, name='ipa')(s, z, pair_logits, frames, mask)  # line 6
    s = LayerNorm(name='ipa_norm')(dropout(s, spec.dropout))  # line 7
    update = s
    for i in range(1, spec.num_transition_layer + 1):  # line 8
      last = i == spec.num_transition_layer
      update = Linear(spec.c_s, init='zeros' if last else 'relu', name=f'transition_{i}')(update)
      update = update if last else jax.nn.relu(update)
    s = LayerNorm(name='transition_norm')(dropout(s + update, spec.dropout))  # line 9
    # Algorithm 23 "BackboneUpdate".
    bcd, translation = jnp.split(Linear(6, init='zeros', name='backbone_update')(s), 2, axis=-1)
    frames = frames @ rigid.from_quaternion_vector(bcd, translation)  # line 10
    return s, frames, AngleResnet(spec, name='angle_resnet')(s, s_initial)


class StructureModule(hk.Module):
  """Algorithm 20."""

  def __init__(self, spec: StructureSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(
    self, single: jax.Array, pair: jax.Array, aatype: jax.Array, mask: jax.Array
  ) -> tuple[jax.Array, schema.Structure]:
    """Folds the chain.

    Args:
      single: [N_res, c_s]
      pair: [N_res, N_res, c_z], of any dtype
      aatype: [N_res]
      mask: [N_res]

    Returns:
      the final single representation [N_res, c_s], and the structure in Å.
    """
    spec, num_res = self.spec, aatype.shape[0]
    s_initial = LayerNorm(name='single_norm')(single)  # line 1
    norm = LayerNorm(name='pair_norm').weights(pair.shape[-1])

    def rows(pair: jax.Array) -> jax.Array:  # a few at a time, or compilers keep all pairs once more before the scale
      return ops.layer_norm(pair.astype(jnp.float32), *norm)

    z = ops.pairs_by_rows(rows, (), (pair,), 3 * pair.shape[-1])  # line 2
    s = Linear(spec.c_s, name='single')(s_initial)  # line 3
    frames = rigid.identity((num_res,))  # line 4
    layer = StructureLayer(spec, name='layer')
    pair_logits = Linear(spec.num_head, name='pair_logits')(z)

    def one_layer(carry, key):  # line 5
      s, frames = carry
      with hk.with_rng(key):
        s, frames, angles = layer(s, frames, s_initial, z, pair_logits, mask)
      # Gradients do not flow through the rotations from layer to layer (Suppl. 1.8.3, line 20).
      stopped = Rigid(rotation=jax.lax.stop_gradient(frames.rotation), translation=frames.translation)
      return (s, stopped), (frames, angles)

    keys = jax.random.split(hk.next_rng_key() if spec.dropout else jax.random.key(0), spec.num_layer)
    (s, _), (all_frames, raw_angles) = hk.scan(one_layer, (s, frames), keys)
    return s, self._structure(aatype, all_frames, raw_angles)

  @hk.transparent
  def _structure(self, aatype: jax.Array, frames: Rigid, raw_angles: jax.Array) -> schema.Structure:
    """All atoms of the last layer (lines 15, 23-25), and every layer's frames and angles."""
    frames = frames.scaled(self.spec.position_scale)
    square = jnp.sum(jnp.square(raw_angles), axis=-1, keepdims=True)
    angles = raw_angles / jnp.sqrt(jnp.maximum(square, 1e-12))
    groups = atoms.torsion_frames(aatype, frames[-1], angles[-1])
    atom14 = atoms.atom14_positions(aatype, groups)
    return schema.Structure(
      atom_positions=atoms.atom14_to_atom37(atom14, aatype),
      atom_mask=jnp.asarray(residues.ATOM37_MASK)[aatype],
      frame_rotations=frames.rotation,
      frame_translations=frames.translation,
      angles=angles,
      unnormalized_angles=raw_angles,
      group_rotations=groups.rotation,
      group_translations=groups.translation,
      atom14_positions=atom14,
    )
