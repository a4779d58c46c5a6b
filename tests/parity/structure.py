# SPDX-License-Identifier: Apache-2.0
"""The structure module and the heads beside the oracle's."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from alphafold.model import folding, modules, quat_affine, r3

from alphafold_jax import schema
from alphafold_jax.geometry import atoms
from alphafold_jax.model import heads, layers, structure
from parity.case import Case
from parity.inputs import SPEC, THEIRS, Inputs

_GLOBAL = THEIRS.global_config
_FOLD = THEIRS.heads.structure_module


def _their_affine(x: Inputs) -> jax.Array:
  return jnp.concatenate([x.quaternion, x.frames.translation], axis=-1)


def _rotation(affine: jax.Array) -> jax.Array:
  """Rotation matrices of their affines [..., 7]."""
  rows = quat_affine.QuatAffine.from_tensor(affine).rotation
  return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def _our_attention(x: Inputs) -> jax.Array:
  logits = layers.Linear(SPEC.structure.num_head, name='pair_logits')(x.z)
  return structure.InvariantPointAttention(SPEC.structure, name='ipa')(x.s, x.z, logits, x.frames, x.seq_mask)


def _their_attention(x: Inputs) -> jax.Array:
  return folding.InvariantPointAttention(_FOLD, _GLOBAL)(
    inputs_1d=x.s, inputs_2d=x.z, mask=x.seq_mask[:, None], affine=quat_affine.QuatAffine.from_tensor(_their_affine(x))
  )


def _our_layer(x: Inputs) -> dict[str, jax.Array]:
  logits = layers.Linear(SPEC.structure.num_head, name='pair_logits')(x.z)
  s, frames, angles = structure.StructureLayer(SPEC.structure, name='layer')(
    x.s, x.frames, x.single, x.z, logits, x.seq_mask
  )
  return {'s': s, 'rotation': frames.rotation, 'translation': frames.translation, 'angles': angles}


def _their_layer(x: Inputs) -> dict[str, jax.Array]:
  state, result = folding.FoldIteration(_FOLD, _GLOBAL)(
    {'act': x.s, 'affine': _their_affine(x)},
    sequence_mask=x.seq_mask[:, None],
    update_affine=True,
    is_training=False,
    initial_act=x.single,
    static_feat_2d=x.z,
    aatype=x.batch.aatype,
  )
  return {
    's': state['act'],
    'rotation': _rotation(result['affine']),
    'translation': result['affine'][:, 4:],
    'angles': result['sc']['unnormalized_angles_sin_cos'],
  }


def _our_side_chains(x: Inputs) -> dict[str, jax.Array]:
  raw = structure.AngleResnet(SPEC.structure, name='angle_resnet')(x.s, x.single)
  angles = raw / jnp.sqrt(jnp.maximum(jnp.sum(raw**2, axis=-1, keepdims=True), 1e-12))
  groups = atoms.torsion_frames(x.batch.aatype, x.frames, angles)
  return {'raw angles': raw, 'groups': groups.translation, 'atoms': atoms.atom14_positions(x.batch.aatype, groups)}


def _their_side_chains(x: Inputs) -> dict[str, jax.Array]:
  affine = quat_affine.QuatAffine.from_tensor(_their_affine(x))
  result = folding.MultiRigidSidechain(_FOLD.sidechain, _GLOBAL)(affine, [x.s, x.single], x.batch.aatype)
  return {
    'raw angles': result['unnormalized_angles_sin_cos'],
    'groups': r3.vecs_to_tensor(result['frames'].trans),
    'atoms': r3.vecs_to_tensor(result['atom_pos']),
  }


def _comparable(x: Inputs, by_layer: dict[str, jax.Array], last: dict[str, jax.Array]) -> dict[str, jax.Array]:
  """Leaves out what rounding decides: masked residues (their logits are near -1e5), directions of short vectors."""
  by_layer['angles'] *= jnp.linalg.norm(by_layer['raw angles'], axis=-1, keepdims=True)
  by_layer = {name: jnp.moveaxis(array, 1, 0) for name, array in by_layer.items()}  # residues first
  return {
    name: jnp.where(x.seq_mask.reshape(-1, *[1] * (array.ndim - 1)) > 0, array, 0)
    for name, array in (by_layer | last).items()
  }


def _our_structure(x: Inputs) -> dict[str, jax.Array]:
  s, result = structure.StructureModule(SPEC.structure, name='structure_module')(
    x.single, x.z, x.batch.aatype, x.seq_mask
  )
  return _comparable(
    x,
    {
      'rotations': result.frame_rotations,
      'translations': result.frame_translations,
      'angles': result.angles,
      'raw angles': result.unnormalized_angles,
    },
    {
      's': s,
      'positions': result.atom_positions,
      'atom mask': result.atom_mask,
      'atom14': result.atom14_positions,
      'groups': result.group_translations,
    },
  )


def _their_structure(x: Inputs) -> dict[str, jax.Array]:
  result = folding.StructureModule(_FOLD, _GLOBAL)({'single': x.single, 'pair': x.z}, x.official, is_training=False)
  sides = result['sidechains']
  return _comparable(
    x,
    {
      'rotations': _rotation(result['traj']),
      'translations': result['traj'][..., 4:],
      'angles': sides['angles_sin_cos'],
      'raw angles': sides['unnormalized_angles_sin_cos'],
    },
    {
      's': result['representations']['structure_module'],
      'positions': result['final_atom_positions'],
      'atom mask': result['final_atom_mask'],
      'atom14': result['final_atom14_positions'],
      'groups': r3.vecs_to_tensor(sides['frames'].trans)[-1],
    },
  )


def structure_cases() -> Iterator[Case]:
  ours = ('structure_module/layer/', 'structure_module/')
  theirs = 'structure_module/fold_iteration/'
  yield Case('structure: invariant point attention (Alg. 22)', _our_attention, _their_attention, ours, theirs)
  yield Case(
    'structure: one layer with backbone update (Alg. 20, 23)',
    _our_layer,
    _their_layer,
    ('structure_module/',),
    'structure_module/',
  )
  yield Case('structure: angles and side chains (Alg. 20, 24)', _our_side_chains, _their_side_chains, ours, theirs)
  yield Case('structure: all eight layers (Alg. 20)', _our_structure, _their_structure, ('',), '')


_HEADS = {  # ours -> theirs
  'distogram': ('distogram', modules.DistogramHead),
  'masked_msa': ('masked_msa', modules.MaskedMsaHead),
  'plddt': ('predicted_lddt', modules.PredictedLDDTHead),
  'experimentally_resolved': ('experimentally_resolved', modules.ExperimentallyResolvedHead),
  'pae': ('predicted_aligned_error', modules.PredictedAlignedErrorHead),
}


def head_cases() -> Iterator[Case]:
  for name, (their_name, module) in _HEADS.items():

    def ours(x, name=name):
      found = schema.Representations(msa=x.m, pair=x.z, single=x.single, structure_module=x.s)
      return getattr(heads.Heads(SPEC.heads, name='heads')(found), name)

    def theirs(x, name=their_name, module=module):
      found = {'msa': x.m, 'pair': x.z, 'single': x.single, 'structure_module': x.s}
      return module(THEIRS.heads[name], _GLOBAL)(found, x.official, is_training=False)['logits']

    yield Case(f'head: {name}', ours, theirs, ('',), '')
