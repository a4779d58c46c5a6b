# SPDX-License-Identifier: Apache-2.0
"""Frames, torsion angles and atoms: what must hold of them, and parity with the published program."""

import gzip
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alphafold.model import all_atom, modules, quat_affine, r3
from Bio.PDB import MMCIFParser, calc_dihedral, vectors

from alphafold_jax.constants import residues, rigid_groups
from alphafold_jax.geometry import atoms, rigid

CHAIN_FILE = pathlib.Path(__file__).parent / 'data' / '1u5y_D.cif.gz'


class Chain(NamedTuple):
  """A real chain, 28 of whose side-chain atoms were not resolved."""

  aatype: np.ndarray  # [N]
  positions: np.ndarray  # [N, 37, 3] Å
  mask: np.ndarray  # [N, 37]


@pytest.fixture(scope='module')
def chain() -> Chain:
  with gzip.open(CHAIN_FILE, 'rt') as file:
    parsed = list(MMCIFParser(QUIET=True).get_structure('chain', file).get_residues())
  aatype = np.array([residues.RESTYPE_INDEX[residues.RESTYPE_3TO1[residue.get_resname()]] for residue in parsed])
  positions, mask = np.zeros((len(parsed), 37, 3), np.float32), np.zeros((len(parsed), 37), np.float32)
  for row, residue in enumerate(parsed):
    for atom in residue:
      positions[row, residues.ATOM_INDEX[atom.id]] = atom.coord
      mask[row, residues.ATOM_INDEX[atom.id]] = 1
  assert (residues.ATOM37_MASK[aatype] > mask).sum() == 28
  return Chain(aatype.astype(np.int32), positions, mask)


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
  return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


from_three_points = jax.jit(rigid.from_three_points)


def random_frames(seed: int, *batch_shape: int) -> rigid.Rigid:
  return from_three_points(*normal(seed, 3, *batch_shape, 3, scale=3))


def random_angles(seed: int, num_res: int) -> np.ndarray:
  angles = normal(seed, num_res, 7, 2)
  return angles / np.linalg.norm(angles, axis=-1, keepdims=True)


def backbone_frames(positions: np.ndarray) -> rigid.Rigid:
  return from_three_points(*(positions[..., residues.ATOM_INDEX[name], :] for name in ('N', 'CA', 'C')))


torsion_angles = jax.jit(atoms.torsion_angles)


@jax.jit
def build(aatype: np.ndarray, backbone: rigid.Rigid, angles: np.ndarray) -> tuple[rigid.Rigid, jax.Array]:
  """The group frames [N, 8] and atoms [N, 14, 3] of Algorithm 24."""
  frames = atoms.torsion_frames(aatype, backbone, angles)
  return frames, atoms.atom14_positions(aatype, frames)


@jax.jit
def published_build(aatype: np.ndarray, backbone: r3.Rigids, angles: np.ndarray) -> tuple[r3.Rigids, jax.Array]:
  frames = all_atom.torsion_angles_to_frames(aatype, backbone, angles)
  return frames, r3.vecs_to_tensor(all_atom.frames_and_literature_positions_to_atom14_pos(aatype, frames))


def published_rigids(frames: rigid.Rigid) -> r3.Rigids:
  return r3.Rigids(r3.rots_from_tensor3x3(frames.rotation), r3.vecs_from_tensor(frames.translation))


def assert_equal_frames(ours: rigid.Rigid, theirs: rigid.Rigid | r3.Rigids, atol: float = 1e-6):
  if isinstance(theirs, r3.Rigids):
    flat = np.asarray(r3.rigids_to_tensor_flat12(theirs))
    theirs = rigid.Rigid(rotation=flat[..., :9].reshape(*flat.shape[:-1], 3, 3), translation=flat[..., 9:])
  np.testing.assert_allclose(ours.rotation, theirs.rotation, rtol=0, atol=atol)
  np.testing.assert_allclose(ours.translation, theirs.translation, rtol=1e-6, atol=atol)


# Frames.


def test_composition_applies_the_right_frame_first_and_is_associative():
  a, b, c = (random_frames(seed, 5) for seed in range(3))
  points = normal(3, 5, 3)
  np.testing.assert_allclose((a @ b).apply(points), a.apply(b.apply(points)), atol=1e-5)
  assert_equal_frames((a @ b) @ c, a @ (b @ c), atol=1e-5)


def test_composition_inverse_and_application_equal_the_published_ones():
  a, b, points = random_frames(0, 5), random_frames(1, 5), normal(2, 5, 3)
  ours, theirs = (a, b), (published_rigids(a), published_rigids(b))
  assert_equal_frames(ours[0] @ ours[1], r3.rigids_mul_rigids(*theirs))
  assert_equal_frames(a.inverse(), r3.invert_rigids(theirs[0]))
  applied = r3.vecs_to_tensor(r3.rigids_mul_vecs(theirs[0], r3.vecs_from_tensor(points)))
  np.testing.assert_allclose(a.apply(points), applied, atol=1e-6)


def test_inverse_undoes_a_frame():
  frames, points = random_frames(0, 4, 2), normal(1, 4, 2, 3)
  assert_equal_frames(frames @ frames.inverse(), rigid.identity((4, 2)), atol=1e-5)
  np.testing.assert_allclose(frames.invert_apply(frames.apply(points)), points, atol=1e-5)
  np.testing.assert_allclose(frames.inverse().apply(points), frames.invert_apply(points), atol=1e-5)


def test_frames_with_added_axes_apply_to_all_points_of_their_residue():
  frames, points = random_frames(0, 6), normal(1, 6, 2, 4, 3)  # residues, heads, points
  applied = frames[:, None, None].apply(points)
  np.testing.assert_array_equal(applied, frames[..., None, None].apply(points))
  for row in range(6):
    np.testing.assert_allclose(applied[row], points[row] @ frames[row].rotation.T + frames[row].translation, atol=1e-5)


def homogeneous(frames):
  """Matrices [N, 4, 4] of frames [N]."""
  last_row = np.tile(np.float32([0, 0, 0, 1]), (len(frames.translation), 1, 1))
  top = np.concatenate([frames.rotation, frames.translation[..., None]], axis=-1)
  return np.concatenate([top, last_row], axis=-2)


def test_homogeneous_matrices_multiply_as_frames_compose():
  a, b = random_frames(0, 3), random_frames(1, 3)
  np.testing.assert_allclose(homogeneous(a @ b), np.matmul(homogeneous(a), homogeneous(b)), atol=1e-5)
  assert_equal_frames(rigid.from_matrix(homogeneous(a)), a, atol=0)


def test_change_of_unit_scales_the_origin_only():
  frames = random_frames(0, 3)
  np.testing.assert_array_equal(frames.scaled(10).translation, 10 * frames.translation)
  np.testing.assert_array_equal(frames.scaled(10).rotation, frames.rotation)


def test_three_points_recover_the_frame_they_were_placed_in():
  frames = random_frames(0, 8)
  local = jnp.array([[-0.5, 1.3, 0.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0]])  # x1 at positive y, x2 origin, x3 on +x
  placed = frames[:, None].apply(local)
  recovered = rigid.from_three_points(placed[:, 0], placed[:, 1], placed[:, 2])
  assert_equal_frames(recovered, frames, atol=1e-5)


def test_frames_of_three_points_equal_the_published_ones():
  x1, x2, x3 = normal(0, 3, 10, 3, scale=3)
  on_negative_x = r3.vecs_from_tensor(2 * x2 - x3)
  published = r3.rigids_from_3_points(on_negative_x, r3.vecs_from_tensor(x2), r3.vecs_from_tensor(x1))
  assert_equal_frames(rigid.from_three_points(x1, x2, x3), published, atol=2e-6)


@jax.jit
@jax.value_and_grad
def number_from_frame(points: jax.Array) -> jax.Array:
  frame = rigid.from_three_points(*points)
  return jnp.sum(frame.rotation * normal(0, 3, 3)) + jnp.sum(frame.invert_apply(jnp.ones(3)))


@pytest.mark.parametrize(
  'points', [np.zeros((3, 3)), np.ones((3, 3)), [[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[1, 2, 3], [1, 2, 3], [0, 0, 0]]]
)
def test_gradients_at_points_that_span_no_plane_are_finite(points):
  value, gradient = number_from_frame(jnp.asarray(points, jnp.float32))
  assert np.isfinite(value) and np.isfinite(gradient).all()


def from_affine(affine: quat_affine.QuatAffine) -> rigid.Rigid:
  rotation = jnp.stack([jnp.stack(row, -1) for row in affine.rotation], -2)
  return rigid.Rigid(rotation=rotation, translation=jnp.stack(affine.translation, -1))


def test_quaternion_vectors_update_frames_as_published():
  quaternion, translation, update, points = normal(0, 7, 4), normal(1, 7, 3), normal(2, 7, 6), normal(3, 7, 3)
  quaternion /= np.linalg.norm(quaternion, axis=-1, keepdims=True)
  before = quat_affine.QuatAffine(jnp.asarray(quaternion), list(jnp.asarray(translation.T)))
  after = before.pre_compose(jnp.asarray(update))
  ours = from_affine(before) @ rigid.from_quaternion_vector(update[:, :3], update[:, 3:])
  assert_equal_frames(ours, from_affine(after))
  published = jnp.stack(after.invert_point(list(jnp.asarray(points.T))), -1)
  np.testing.assert_allclose(ours.invert_apply(points), published, atol=2e-6)


def test_a_quaternion_vector_turns_right_handed_about_itself():
  zero = jnp.zeros(3)
  np.testing.assert_array_equal(rigid.from_quaternion_vector(zero, zero).rotation, np.eye(3))
  quarter = rigid.from_quaternion_vector(jnp.array([0.0, 0.0, np.tan(np.pi / 8)]), zero)  # 45 degrees about z
  np.testing.assert_allclose(quarter.apply(jnp.array([1.0, 0.0, 0.0])), [0.5**0.5, 0.5**0.5, 0], atol=1e-6)


def test_frames_never_use_matrix_products_that_a_device_may_round():
  frames = random_frames(0, 4)
  program = str(jax.make_jaxpr(lambda f, p: ((f @ f.inverse()).apply(p), f.invert_apply(p)))(frames, normal(1, 4, 3)))
  assert 'dot_general' not in program


# Atoms and torsion angles.


def test_torsion_angles_equal_the_published_ones_with_atoms_and_residues_missing(chain):
  gap = slice(20, 24)
  aatype, mask, positions = chain.aatype.copy(), chain.mask.copy(), chain.positions.copy()
  aatype[gap], mask[gap], positions[gap] = residues.GAP, 0, 0
  aatype[40] = residues.UNKNOWN
  batch = [np.stack([a, b]) for a, b in zip((aatype, positions, mask), chain)]  # two templates

  theirs = jax.jit(all_atom.atom37_to_torsion_angles)(*map(jnp.asarray, batch))
  ours = jax.jit(jax.vmap(atoms.torsion_angles))(*batch)
  names = ('torsion_angles_sin_cos', 'alt_torsion_angles_sin_cos', 'torsion_angles_mask')
  for name, angles in zip(names, ours):
    np.testing.assert_allclose(angles, theirs[name], atol=1e-5, err_msg=name)


def points_of(chain: Chain) -> dict[str, list[vectors.Vector]]:
  return {name: [vectors.Vector(*row) for row in chain.positions[:, i]] for name, i in residues.ATOM_INDEX.items()}


def degrees_between(sin_cos: np.ndarray, radians: float | list[float]) -> np.ndarray:
  difference = np.degrees(np.arctan2(sin_cos[..., 0], sin_cos[..., 1]) - np.asarray(radians))
  return np.abs((difference + 180) % 360 - 180)


def test_torsion_angles_equal_those_of_biopython(chain):
  sin_cos, _, mask = map(np.asarray, torsion_angles(*chain))
  at, checked = points_of(chain), 0
  for i in range(1, len(chain.aatype)):
    four = {0: (at['CA'][i - 1], at['C'][i - 1], at['N'][i], at['CA'][i])}
    four[1] = (at['C'][i - 1], at['N'][i], at['CA'][i], at['C'][i])
    names = rigid_groups.CHI_ATOMS.get(residues.RESTYPE_1TO3[residues.RESTYPES[chain.aatype[i]]], '').split()
    four |= {3 + chi: tuple(at[name][i] for name in names[chi : chi + 4]) for chi in range(len(names) - 3)}
    for torsion in (torsion for torsion in four if mask[i, torsion]):
      assert degrees_between(sin_cos[i, torsion], calc_dihedral(*four[torsion])) < 0.01
      checked += 1
  assert checked > 250


def test_psi_points_to_the_next_nitrogen_though_measured_from_oxygen(chain):
  sin_cos, _, _ = map(np.asarray, torsion_angles(*chain))
  n, ca, c = (points_of(chain)[name] for name in ('N', 'CA', 'C'))
  psi = [calc_dihedral(n[i], ca[i], c[i], n[i + 1]) for i in range(len(n) - 1)]
  assert degrees_between(sin_cos[:-1, 2], psi).max() < 15  # the carbonyl is almost flat


def test_torsion_angles_do_not_change_when_the_chain_is_moved(chain):
  moved = random_frames(0)[None, None].apply(chain.positions) * chain.mask[..., None]
  before, alternative_before, mask = torsion_angles(*chain)
  after, alternative_after, _ = torsion_angles(chain.aatype, moved, chain.mask)
  np.testing.assert_allclose(before * mask[..., None], after * mask[..., None], atol=1e-4)
  np.testing.assert_allclose(alternative_before * mask[..., None], alternative_after * mask[..., None], atol=1e-4)


def test_alternative_angles_swap_the_interchangeable_atoms(chain):
  angles, alternative, mask = torsion_angles(*chain)
  backbone = backbone_frames(chain.positions)
  built, swapped = (np.asarray(build(chain.aatype, backbone, turns)[1]) for turns in (angles, alternative))
  pairs = {'D': ('OD1', 'OD2'), 'E': ('OE1', 'OE2'), 'F': ('CD1', 'CD2'), 'Y': ('CE1', 'CE2')}
  for i, letter in enumerate(residues.RESTYPES[t] for t in chain.aatype):
    if letter in pairs and mask[i, 3:][rigid_groups.CHI_MASK[chain.aatype[i]] > 0].all():
      first, second = (residues.ATOM14_NAMES[chain.aatype[i]].index(name) for name in pairs[letter])
      np.testing.assert_allclose(built[i, [first, second]], swapped[i, [second, first]], atol=0.05)
    elif letter not in pairs:
      np.testing.assert_array_equal(built[i], swapped[i])


def test_group_frames_and_atoms_of_all_residue_types_equal_the_published_ones():
  aatype = np.arange(21)
  backbone, angles = random_frames(0, 21), random_angles(1, 21)
  frames, built = build(aatype, backbone, angles)
  published_frames, published = published_build(aatype, published_rigids(backbone), angles)
  assert_equal_frames(frames, published_frames, atol=2e-6)
  np.testing.assert_allclose(built, published, atol=2e-6)
  assert not np.asarray(built)[residues.ATOM14_MASK == 0].any()


def test_angles_measured_on_built_atoms_are_those_they_were_built_with():
  aatype, angles = np.arange(20), random_angles(0, 20)
  _, built = build(aatype, random_frames(1, 20), angles)
  positions = atoms.atom14_to_atom37(built, aatype)
  measured, _, mask = torsion_angles(aatype, positions, residues.ATOM37_MASK[:20])
  # Psi and chis lie inside a residue; pre-omega and phi depend on the residue before.
  np.testing.assert_array_equal(mask[:, 3:], rigid_groups.CHI_MASK[:20])
  np.testing.assert_allclose(measured[:, 2:] * mask[:, 2:, None], angles[:, 2:] * mask[:, 2:, None], atol=5e-3)


def test_a_real_chain_rebuilt_from_its_frames_and_angles_is_near_itself(chain):
  angles, _, _ = torsion_angles(*chain)
  _, built = build(chain.aatype, backbone_frames(chain.positions), angles)
  rebuilt = atoms.atom14_to_atom37(built, chain.aatype)
  complete = (residues.ATOM37_MASK[chain.aatype] == chain.mask).all(-1)  # residues without missing atoms
  distances = np.linalg.norm(rebuilt - chain.positions, axis=-1)[complete][chain.mask[complete] > 0]
  assert np.median(distances) < 0.1 and distances.max() < 1  # real bonds and angles are not quite ideal


def test_atoms_in_37_columns_equal_the_published_ones():
  aatype = np.arange(21)
  batch = {
    'residx_atom37_to_atom14': jnp.asarray(residues.ATOM37_TO_ATOM14[aatype]),
    'atom37_atom_exists': jnp.asarray(residues.ATOM37_MASK[aatype]),
  }
  for values in (normal(0, 21, 14, 3), normal(1, 21, 14)):
    published = all_atom.atom14_to_atom37(jnp.asarray(values), batch)
    np.testing.assert_array_equal(atoms.atom14_to_atom37(values, aatype), published)


def test_pseudo_beta_equals_the_published_one_also_over_templates(chain):
  aatype, positions, mask = (np.stack([a, a[::-1]]) for a in chain)
  ours = atoms.pseudo_beta(aatype, positions), atoms.pseudo_beta(aatype, mask)
  for mine, published in zip(ours, modules.pseudo_beta_fn(aatype, positions, mask)):
    np.testing.assert_array_equal(mine, published)


def test_gradients_reach_frames_and_angles_and_are_finite_for_every_residue_type():
  aatype = np.arange(21)

  def total(frames, angles):
    return jnp.sum(build(aatype, frames, angles)[1] * normal(0, 21, 14, 3))

  by_frames, by_angles = jax.jit(jax.grad(total, argnums=(0, 1)))(random_frames(1, 21), random_angles(2, 21))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((by_frames, by_angles)))
  moving = np.concatenate([np.ones((20, 1)), rigid_groups.CHI_MASK[:20]], axis=-1)  # psi and the chis
  assert np.array_equal(np.abs(by_angles[:20, 2:]).sum(-1) > 0, moving > 0)
  assert (np.abs(by_frames.translation[:20]) > 0).all()
