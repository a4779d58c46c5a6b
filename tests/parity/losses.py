# SPDX-License-Identifier: Apache-2.0
"""The losses beside the oracle's, and the labels they compare with.

Both sides differentiate the same free numbers: quaternions and translations of every layer's backbone frames, the rigid
groups and atoms of the last, angles and logits. The oracle's labels are made by its own functions.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import small_targets
from alphafold.model import all_atom, all_atom_multimer, folding, geometry, modules, quat_affine, r3
from alphafold.model.tf import data_transforms
from scipy.spatial import transform

from alphafold_jax import schema
from alphafold_jax.losses import labels as our_labels
from alphafold_jax.losses import total

TOLERANCE = 1e-4  # of the largest value
_CONFIG = oracle.configuration('model_1_ptm').model
_HEADS = _CONFIG.heads
Fields = Mapping[str, jax.Array]


@schema.pytree
class Leaves:
  """What both sides take gradients to."""

  quaternions: jax.Array  # [N_layer, N_res, 4] of unit length
  translations: jax.Array  # [N_layer, N_res, 3] Å
  group_rotations: jax.Array  # [N_res, 8, 3, 3]
  group_translations: jax.Array  # [N_res, 8, 3] Å
  atom14: jax.Array  # [N_res, 14, 3] Å
  angles: jax.Array  # [N_layer, N_res, 7, 2]
  unnormalized_angles: jax.Array  # [N_layer, N_res, 7, 2]
  logits: schema.Logits


class Example(NamedTuple):
  """One structure and one prediction of it, in both programs' words."""

  leaves: Leaves
  batch: schema.Batch
  outputs: schema.Outputs
  fields: Fields


def make_example(batch: schema.Batch, outputs: schema.Outputs) -> Example:
  structure = outputs.structure
  turns = transform.Rotation.from_matrix(structure.frame_rotations.reshape(-1, 3, 3)).as_quat(scalar_first=True)
  leaves = Leaves(
    quaternions=turns.reshape(*structure.frame_rotations.shape[:2], 4).astype(np.float32),
    translations=structure.frame_translations,
    group_rotations=structure.group_rotations,
    group_translations=structure.group_translations,
    atom14=structure.atom14_positions,
    angles=structure.angles,
    unnormalized_angles=structure.unnormalized_angles,
    logits=outputs.logits,
  )
  return Example(leaves, batch, outputs, official_fields(batch, outputs))


# ------------------------------------------------------------------------------------------ the oracle's labels


def official_labels(batch: schema.Batch) -> dict[str, np.ndarray]:
  """Frames, angles and both namings of the targets as the oracle derives them."""
  aatype, targets = jnp.asarray(batch.aatype), jax.tree.map(jnp.asarray, batch.targets)
  positions, mask = targets.atom_positions, targets.atom_mask
  fields = data_transforms.make_atom14_masks({'aatype': batch.aatype})
  fields = {name: np.asarray(value) for name, value in fields.items()}
  for name in ('atom14_atom_exists', 'atom37_atom_exists'):
    fields[name] = fields[name] * batch.seq_mask[:, None]
  fields |= all_atom.atom37_to_frames(aatype, positions, mask)
  angles = all_atom.atom37_to_torsion_angles(aatype[None], positions[None], mask[None])
  fields |= {name: value[0] for name, value in angles.items()}
  fields['atom14_gt_positions'] = all_atom.atom37_to_atom14(positions, fields)
  fields['atom14_gt_exists'] = all_atom.atom37_to_atom14(mask, fields)
  other, other_mask = all_atom_multimer.get_alt_atom14(
    aatype, geometry.Vec3Array.from_array(fields['atom14_gt_positions']), fields['atom14_gt_exists']
  )
  fields['atom14_alt_gt_positions'] = other.to_array()
  fields['atom14_alt_gt_exists'] = other_mask
  fields['pseudo_beta'], fields['pseudo_beta_mask'] = modules.pseudo_beta_fn(aatype, positions, mask)
  # Its structure module wants backbone frames as quaternions.
  rotation, translation = quat_affine.make_transform_from_reference(*(positions[:, column] for column in range(3)))
  quaternions = quat_affine.rot_to_quat(rotation, unstack_inputs=True)
  fields['backbone_affine_tensor'] = jnp.concatenate([quaternions, translation], axis=-1)
  return jax.device_get(fields)


def official_fields(batch: schema.Batch, outputs: schema.Outputs) -> Fields:
  """Everything the oracle's losses read besides the prediction."""
  labels = official_labels(batch)
  constants = data_transforms.residue_constants
  ambiguous = np.zeros((21, 14), np.float32)
  for name, swaps in constants.residue_atom_renaming_swaps.items():
    restype = constants.restype_order[constants.restype_3to1[name]]
    names = constants.restype_name_to_atom14_names[name]
    ambiguous[restype] = [atom in {*swaps, *swaps.values()} for atom in names]
  angles = labels['torsion_angles_sin_cos'][:, 3:]
  extra = {
    'atom14_atom_is_ambiguous': ambiguous[batch.aatype],
    'backbone_affine_mask': labels['rigidgroups_gt_exists'][:, 0],
    'chi_angles': np.arctan2(angles[..., 0], angles[..., 1]),
    'chi_mask': labels['torsion_angles_mask'][:, 3:],
    'all_atom_positions': batch.targets.atom_positions,
    'all_atom_mask': batch.targets.atom_mask,
    'true_msa': outputs.masked_msa.tokens,
    'bert_mask': outputs.masked_msa.mask,
    'resolution': batch.targets.resolution,
    'use_clamped_fape': batch.targets.use_clamped_fape,
    'aatype': batch.aatype,
    'residue_index': batch.residue_index,
    'seq_mask': batch.seq_mask,
  }
  return labels | extra


LABELS: Mapping[str, tuple[Callable[[our_labels.Labels], Any], Callable[[Fields], Any]]] = {  # ours, theirs
  'atom14 positions': (lambda x: x.atom14_positions, lambda f: f['atom14_gt_positions']),
  'atom14 mask': (lambda x: x.atom14_mask, lambda f: f['atom14_gt_exists']),
  'alternative atom14 positions': (lambda x: x.alternative_atom14_positions, lambda f: f['atom14_alt_gt_positions']),
  'alternative atom14 mask': (lambda x: x.alternative_atom14_mask, lambda f: f['atom14_alt_gt_exists']),
  'atoms of the residue type': (lambda x: x.atom37_exists, lambda f: f['atom37_atom_exists']),
  'pseudo beta': (lambda x: x.pseudo_beta, lambda f: f['pseudo_beta']),
  'pseudo beta mask': (lambda x: x.pseudo_beta_mask, lambda f: f['pseudo_beta_mask']),
  'groups mask': (lambda x: x.groups_mask, lambda f: f['rigidgroups_gt_exists']),
  'groups': (lambda x: _flat(x.groups, x.groups_mask), lambda f: _their_groups(f, 'rigidgroups_gt_frames')),
  'alternative groups': (
    lambda x: _flat(x.alternative_groups, x.groups_mask),
    lambda f: _their_groups(f, 'rigidgroups_alt_gt_frames'),
  ),
  'torsions mask': (lambda x: x.torsions_mask, lambda f: f['torsion_angles_mask']),
  'torsions': (
    lambda x: x.torsions * x.torsions_mask[..., None],
    lambda f: f['torsion_angles_sin_cos'] * f['torsion_angles_mask'][..., None],
  ),
  'alternative torsions': (
    lambda x: x.alternative_torsions * x.torsions_mask[..., None],
    lambda f: f['alt_torsion_angles_sin_cos'] * f['torsion_angles_mask'][..., None],
  ),
}


def _flat(groups, mask):
  """Rotations row by row, then translations, of the groups that are known."""
  flat = jnp.concatenate([groups.rotation.reshape(*mask.shape, 9), groups.translation], axis=-1)
  return flat * mask[..., None]


def _their_groups(fields, name):
  return fields[name] * fields['rigidgroups_gt_exists'][..., None]


# ------------------------------------------------------------------------------------------ both sides' losses


def our_loss(name: str, example: Example, leaves: Leaves) -> jax.Array:
  """Our loss as a function of the leaves."""
  return total.LOSSES[name](example.batch, our_labels.make_labels(example.batch), _outputs(example, leaves))


def _outputs(example: Example, leaves: Leaves) -> schema.Outputs:
  components = jnp.moveaxis(leaves.quaternions, -1, 0)
  rows = quat_affine.quat_to_rot(jnp.stack(components, axis=-1))
  structure = dataclasses.replace(
    example.outputs.structure,
    frame_rotations=jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2),
    frame_translations=leaves.translations,
    group_rotations=leaves.group_rotations,
    group_translations=leaves.group_translations,
    atom14_positions=leaves.atom14,
    angles=leaves.angles,
    unnormalized_angles=leaves.unnormalized_angles,
  )
  return dataclasses.replace(example.outputs, structure=structure, logits=leaves.logits)


def official_value(example: Example, leaves: Leaves) -> dict[str, Any]:
  """The oracle's own output dict of the structure module."""
  sides = {
    'frames': r3.Rigids(
      rot=r3.rots_from_tensor3x3(leaves.group_rotations[None]),
      trans=r3.vecs_from_tensor(leaves.group_translations[None]),
    ),
    'atom_pos': r3.vecs_from_tensor(leaves.atom14[None]),
    'angles_sin_cos': leaves.angles,
    'unnormalized_angles_sin_cos': leaves.unnormalized_angles,
  }
  affines = jnp.concatenate([leaves.quaternions, leaves.translations], axis=-1)
  return {
    'traj': affines,
    'final_affines': affines[-1],
    'sidechains': sides,
    'final_atom14_positions': leaves.atom14,
    'final_atom_positions': example.outputs.structure.atom_positions,
  }


def _their_backbone(fields, value, _):
  ret = {'loss': jnp.zeros(())}
  folding.backbone_loss(ret, fields, value, _HEADS.structure_module)
  return ret['loss']


def _their_side_chains(fields, value, _):
  renamed = folding.compute_renamed_ground_truth(fields, value['final_atom14_positions'])
  return folding.sidechain_loss(fields, value | renamed, _HEADS.structure_module)['loss']


def _their_angles(name):
  def loss(fields, value, _):
    ret = {'loss': jnp.zeros(())}
    folding.supervised_chi_loss(ret, fields, value, _HEADS.structure_module)
    return ret[name]

  return loss


def _their_violation(fields, value, _):
  config = _HEADS.structure_module
  found = folding.find_structural_violations(fields, value['final_atom14_positions'], config)
  ret = {'loss': jnp.zeros(())}
  folding.structural_violation_loss(ret, fields, value | {'violations': found}, config)
  return ret['loss'] / config.structural_violation_loss_weight


def _their_head(module, head, **more):
  def loss(fields, value, leaves):
    value = {name: {'logits': getattr(leaves.logits, ours)} for name, ours in _LOGITS.items()} | {
      'structure_module': value
    }
    own = value[head] | {name: jnp.asarray(array) for name, array in more.items()}
    given = own if head in ('distogram', 'masked_msa', 'experimentally_resolved') else value | {head: own}
    run = hk.transform(lambda: module(_HEADS[head], _CONFIG.global_config).loss(given, fields)['loss'])
    return run.apply({}, None)

  return loss


_LOGITS = {  # the oracle's heads -> our logits
  'distogram': 'distogram',
  'masked_msa': 'masked_msa',
  'predicted_lddt': 'plddt',
  'predicted_aligned_error': 'pae',
  'experimentally_resolved': 'experimentally_resolved',
}

THEIRS: Mapping[str, Callable[[Fields, dict[str, Any], Leaves], jax.Array]] = {
  'backbone_fape': _their_backbone,
  'side_chain_fape': _their_side_chains,
  'torsion': _their_angles('chi_loss'),
  'angle_norm': _their_angles('angle_norm_loss'),
  'distogram': _their_head(modules.DistogramHead, 'distogram', bin_edges=np.linspace(2.3125, 21.6875, 63)),
  'masked_msa': _their_head(modules.MaskedMsaHead, 'masked_msa'),
  'plddt': _their_head(modules.PredictedLDDTHead, 'predicted_lddt'),
  'experimentally_resolved': _their_head(modules.ExperimentallyResolvedHead, 'experimentally_resolved'),
  'pae': _their_head(modules.PredictedAlignedErrorHead, 'predicted_aligned_error', breaks=np.linspace(0, 31, 63)),
  'violation': _their_violation,
}


def their_loss(name: str, example: Example, leaves: Leaves) -> jax.Array:
  """The oracle's loss as a function of the leaves."""
  fields = {key: jnp.asarray(value) for key, value in example.fields.items()}
  return THEIRS[name](fields, official_value(example, leaves), leaves)


@functools.cache
def _compiled(side: Callable[..., jax.Array], name: str) -> Callable[..., Any]:
  def value_and_gradient(leaves, batch, outputs, fields):
    return jax.value_and_grad(lambda x: side(name, Example(x, batch, outputs, fields), x))(leaves)

  return jax.jit(value_and_gradient, compiler_options=oracle.FAST)


def errors(name: str, example: Example) -> dict[str, float]:
  """Relative errors of the value and of every gradient that either side has."""
  ours, theirs = (jax.device_get(_compiled(side, name)(*example)) for side in (our_loss, their_loss))
  if not theirs[0]:
    raise AssertionError(f'{name}: nothing to compare, the loss is 0')
  found = {'value': abs(float(ours[0] - theirs[0])) / max(abs(float(theirs[0])), 1e-6)}
  scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(theirs[1]))
  flat, _ = jax.tree_util.tree_flatten_with_path(ours[1])
  for (path, a), b in zip(flat, jax.tree.leaves(theirs[1]), strict=True):
    largest = float(np.abs(b).max())
    difference = float(np.abs(a - b).max())
    found['gradient' + jax.tree_util.keystr(path)] = difference / (largest or scale or 1.0)
  return found


def examples() -> dict[str, Callable[[], Example]]:
  """Every batch with a noisy prediction of it, and one whose residues all stand at the origin."""

  def noisy(name):
    batch = small_targets.BATCHES[name]()
    return make_example(batch, small_targets.prediction(batch))

  def untrained():
    batch = small_targets.gap_batch()
    return make_example(batch, collapsed(batch))

  return {name: functools.partial(noisy, name) for name in small_targets.BATCHES} | {'all at the origin': untrained}


def collapsed(batch: schema.Batch) -> schema.Outputs:
  """What an untrained network predicts: every residue unturned at the origin."""
  outputs = small_targets.prediction(batch)
  shape = outputs.structure.frame_translations.shape
  angles = outputs.structure.angles
  return small_targets.assemble(
    batch, np.broadcast_to(np.eye(3), (*shape, 3)), np.zeros(shape), angles, angles, outputs.logits
  )
