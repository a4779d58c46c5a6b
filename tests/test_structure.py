# SPDX-License-Identifier: Apache-2.0
"""The structure module does not know where in space, or which way round, a protein lies."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import transform
from small_network import assert_close, make_spec, params

from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.model import structure

NUM_RES = 9
SPEC = make_spec().structure


@pytest.fixture(scope='module')
def inputs() -> dict:
  """Activations, frames in space, and a mask with a gap."""
  rng = np.random.default_rng(0)
  turns = transform.Rotation.random(NUM_RES, random_state=0).as_matrix()
  mask = np.ones(NUM_RES)
  mask[4] = 0
  arrays = {
    's': rng.normal(size=(NUM_RES, SPEC.c_s)),
    's_initial': rng.normal(size=(NUM_RES, SPEC.c_s)),
    'z': rng.normal(size=(NUM_RES, NUM_RES, 24)),
    'pair_logits': rng.normal(size=(NUM_RES, NUM_RES, SPEC.num_head)),
    'mask': mask,
    'frames': Rigid(rotation=turns, translation=2 * rng.normal(size=(NUM_RES, 3))),
  }
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), arrays)


def motion(mirrored: bool = False) -> Rigid:
  rotation = transform.Rotation.random(random_state=7).as_matrix() * (-1 if mirrored else 1)
  return Rigid(rotation=jnp.asarray(rotation, jnp.float32), translation=jnp.array([3.0, -5, 4]))


def below(scope: str) -> dict:
  return {name.removeprefix(scope): leaves for name, leaves in params().items() if name.startswith(scope)}


@jax.jit
def attention(x: dict) -> jax.Array:
  module = hk.transform(
    lambda: structure.InvariantPointAttention(SPEC, name='ipa')(
      x['s'], x['z'], x['pair_logits'], x['frames'], x['mask']
    )
  )
  return module.apply(below('structure_module/layer/'), None)


@jax.jit
def layer(x: dict) -> tuple[jax.Array, Rigid, jax.Array]:
  module = hk.transform(
    lambda: structure.StructureLayer(SPEC, name='layer')(
      x['s'], x['frames'], x['s_initial'], x['z'], x['pair_logits'], x['mask']
    )
  )
  return module.apply(below('structure_module/'), None)


@jax.jit
def fold(x: dict) -> tuple[jax.Array, object]:
  module = hk.transform(
    lambda: structure.StructureModule(SPEC, name='structure_module')(x['s'], x['z'], jnp.arange(NUM_RES), x['mask'])
  )
  return module.apply(params(), None)


def real(x: dict, array: jax.Array) -> np.ndarray:
  """Without masked residues, whose attention is rounding noise."""
  return np.asarray(array)[np.asarray(x['mask']) > 0]


def test_invariant_point_attention_does_not_change_when_all_frames_move(inputs):
  moved = inputs | {'frames': motion() @ inputs['frames']}
  assert_close(real(inputs, attention(moved)), real(inputs, attention(inputs)))


def test_invariant_point_attention_sees_motions_of_one_residue_but_not_mirror_images(inputs):
  expected = real(inputs, attention(inputs))
  mirrored = inputs | {'frames': motion(mirrored=True) @ inputs['frames']}
  assert_close(real(inputs, attention(mirrored)), expected)  # a mirrored space is as good: distances, local points
  one_moved = jax.tree.map(lambda a, b: a.at[0].set(b[0]), inputs['frames'], motion() @ inputs['frames'])
  other = real(inputs, attention(inputs | {'frames': one_moved}))
  change = np.abs(other - expected).max(axis=-1)
  assert change[0] > 1e-2 and change[1:].max() > 1e-3


def test_a_layer_moves_its_output_frames_with_its_input_frames(inputs):
  s, frames, angles = layer(inputs)
  moved_s, moved_frames, moved_angles = layer(inputs | {'frames': motion() @ inputs['frames']})
  expected = motion() @ frames
  assert_close(real(inputs, moved_s), real(inputs, s))
  assert_close(real(inputs, moved_angles), real(inputs, angles))
  assert_close(real(inputs, moved_frames.rotation), real(inputs, expected.rotation))
  assert_close(real(inputs, moved_frames.translation), real(inputs, expected.translation))


def test_all_frames_are_rotations_and_angles_unit_vectors(inputs):
  _, result = fold(inputs)
  turned_back = np.einsum('lnij,lnik->lnjk', result.frame_rotations, result.frame_rotations)
  np.testing.assert_allclose(turned_back, np.broadcast_to(np.eye(3), turned_back.shape), atol=1e-5)
  np.testing.assert_allclose(np.linalg.det(result.frame_rotations), 1, atol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(result.angles, axis=-1), 1, atol=1e-5)


def test_the_structure_is_told_in_angstrom(inputs):
  _, result = fold(inputs)
  ca = result.atom_positions[:, 1]
  np.testing.assert_allclose(ca, result.frame_translations[-1], atol=1e-5)
  bond = np.linalg.norm(result.atom_positions[:, 0] - ca, axis=-1)
  np.testing.assert_allclose(bond, 1.46, atol=0.02)  # N to CA


def test_residues_beyond_the_mask_do_not_move_the_others(inputs):
  _, expected = fold(inputs)
  noise = jnp.asarray(np.random.default_rng(1).normal(size=(NUM_RES, SPEC.c_s)), jnp.float32)
  hidden = inputs['mask'][:, None] == 0
  _, other = fold(inputs | {'s': jnp.where(hidden, noise, inputs['s'])})
  assert_close(real(inputs, other.atom_positions), real(inputs, expected.atom_positions))
