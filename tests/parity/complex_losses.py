# SPDX-License-Identifier: Apache-2.0
"""Losses of complexes beside those of the published multimer program that can be called one by one.

Its structure module's loss refuses to run, since it lacks permuted targets. Both sides differentiate frames, rigid
groups, atoms and angles; labels are ours, which are compared with the monomer's in losses.py.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import small_complexes
import small_targets
from alphafold.model import config as official_config
from alphafold.model import folding_multimer, geometry

from alphafold_jax import schema
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.losses import fape, torsion, violations
from alphafold_jax.losses.labels import Labels, NearestNaming, make_labels, rename_ambiguous

TOLERANCE = 1e-4  # of the largest value
CONFIG = official_config.model_config('model_1_multimer_v3').model.heads.structure_module


@schema.pytree
class Parts:
  """What both sides take gradients to."""

  frames: Rigid  # [N_layer, N_res]
  groups: Rigid  # [N_res, 8]
  atom14: jax.Array  # [N_res, 14, 3] Å
  angles: jax.Array  # [N_layer, N_res, 7, 2]
  unnormalized_angles: jax.Array  # [N_layer, N_res, 7, 2]


class Given(NamedTuple):
  """What else the losses read."""

  batch: schema.Batch
  labels: Labels
  true: NearestNaming


def parts_of(outputs: schema.Outputs) -> Parts:
  structure = outputs.structure
  return Parts(
    frames=Rigid(rotation=structure.frame_rotations, translation=structure.frame_translations),
    groups=Rigid(rotation=structure.group_rotations, translation=structure.group_translations),
    atom14=structure.atom14_positions,
    angles=structure.angles,
    unnormalized_angles=structure.unnormalized_angles,
  )


def given_of(batch: schema.Batch, outputs: schema.Outputs) -> Given:
  labels = jax.jit(make_labels, compiler_options=oracle.FAST)(batch)
  rename = jax.jit(rename_ambiguous, compiler_options=oracle.FAST)
  return Given(batch, labels, rename(labels, outputs.structure.atom14_positions))


def _rigid(frames: Rigid) -> geometry.Rigid3Array:
  return geometry.Rigid3Array(geometry.Rot3Array.from_array(jnp.asarray(frames.rotation)), _vector(frames.translation))


def _vector(points) -> geometry.Vec3Array:
  return geometry.Vec3Array.from_array(jnp.asarray(points))


# ------------------------------------------------------------------------------------------ theirs


def _their_backbone(between: bool):
  def loss(parts: Parts, given: Given) -> jax.Array:
    same = given.batch.asym_id[:, None] == given.batch.asym_id[None, :]
    value, _ = folding_multimer.backbone_loss(
      gt_rigid=_rigid(given.labels.backbone),
      gt_frames_mask=given.labels.backbone_mask,
      gt_positions_mask=given.labels.backbone_mask,
      target_rigid=_rigid(parts.frames),
      config=CONFIG.interface_fape if between else CONFIG.intra_chain_fape,
      pair_mask=1.0 - same if between else same,
    )
    return value

  return loss


def _their_side_chains(parts: Parts, given: Given) -> jax.Array:
  layers = jax.tree.map(lambda leaf: leaf[None], (_rigid(parts.groups), _vector(parts.atom14)))
  found = folding_multimer.sidechain_loss(
    _rigid(given.true.groups),
    given.labels.groups_mask,
    _vector(given.true.atom14_positions),
    given.true.atom14_mask,
    *layers,
    CONFIG,
  )
  return found['loss']


def _their_angles(which: int):
  def loss(parts: Parts, given: Given) -> jax.Array:
    chis = given.labels.torsions[:, 3:]
    return folding_multimer.supervised_chi_loss(
      sequence_mask=given.batch.seq_mask,
      target_chi_mask=given.labels.torsions_mask[:, 3:],
      aatype=given.batch.aatype,
      target_chi_angles=jnp.arctan2(chis[..., 0], chis[..., 1]),
      pred_angles=parts.angles,
      unnormed_angles=parts.unnormalized_angles,
      config=CONFIG,
    )[which]

  return loss


def _their_violations(parts: Parts, given: Given) -> jax.Array:
  batch, mask = given.batch, given.labels.atom14_exists
  found = folding_multimer.find_structural_violations(
    batch.aatype, batch.residue_index, mask, _vector(parts.atom14), CONFIG, batch.asym_id
  )
  return folding_multimer.structural_violation_loss(mask, found, CONFIG)


# ------------------------------------------------------------------------------------------ ours


def _our_backbone(between: bool):
  clamp = CONFIG.interface_fape.atom_clamp_distance if between else fape.CLAMP  # the published limit is 1,000 Å

  def loss(parts: Parts, given: Given) -> jax.Array:
    same = fape.same_chain(given.batch.asym_id)
    pairs, unit = (1 - same, 20.0) if between else (same, fape.SCALE)
    labels = given.labels
    return fape.fape_of_pairs(
      parts.frames, labels.backbone, labels.backbone_mask, pairs, 1.0, clamp, unit, floored=True
    )

  return loss


def _our_side_chains(parts: Parts, given: Given) -> jax.Array:
  true = given.true
  return fape.side_chain_fape(
    parts.groups,
    true.groups,
    given.labels.groups_mask,
    parts.atom14,
    true.atom14_positions,
    true.atom14_mask,
    floored=True,
  )


def _our_chis(parts: Parts, given: Given) -> jax.Array:
  labels = given.labels
  return torsion.torsion_loss(parts.angles, labels.torsions, labels.alternative_torsions, labels.torsions_mask)


def _our_violations(parts: Parts, given: Given) -> jax.Array:
  batch = given.batch
  return violations.violation_loss(
    parts.atom14, given.labels.atom14_exists, batch.aatype, batch.residue_index, batch.asym_id
  )


Loss = Callable[[Parts, Given], jax.Array]
LOSSES: Mapping[str, tuple[Loss, Loss]] = {  # ours, theirs
  'chain_fape': (_our_backbone(between=False), _their_backbone(between=False)),
  'interface_fape': (_our_backbone(between=True), _their_backbone(between=True)),
  'side_chain_fape': (_our_side_chains, _their_side_chains),
  'torsion': (_our_chis, _their_angles(1)),
  'angle_norm': (
    lambda parts, given: torsion.angle_norm_loss(parts.unnormalized_angles, given.batch.seq_mask),
    _their_angles(2),
  ),
  'violation': (_our_violations, _their_violations),
}


@functools.cache
def _compiled(name: str, side: int):
  return jax.jit(jax.value_and_grad(LOSSES[name][side]), compiler_options=oracle.FAST)


def example() -> tuple[schema.Batch, schema.Outputs]:
  """A dimer of pieces of real chains and a prediction off by some Å, in which they overlap."""
  batch = small_complexes.dimer()
  return batch, small_targets.prediction(batch)


def errors(name: str, batch: schema.Batch, outputs: schema.Outputs) -> dict[str, float]:
  """Relative errors of the value and of every gradient."""
  parts, given = parts_of(outputs), given_of(batch, outputs)
  ours, theirs = (jax.device_get(_compiled(name, side)(parts, given)) for side in range(2))
  if not theirs[0]:
    raise AssertionError(f'{name}: nothing to compare, the loss is 0')
  found = {'value': abs(float(ours[0] - theirs[0])) / abs(float(theirs[0]))}
  scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(theirs[1]))
  flat, _ = jax.tree_util.tree_flatten_with_path(ours[1])
  for (path, a), b in zip(flat, jax.tree.leaves(theirs[1]), strict=True):
    found['gradient' + jax.tree_util.keystr(path)] = float(np.abs(a - b).max()) / (float(np.abs(b).max()) or scale)
  return found
