# SPDX-License-Identifier: Apache-2.0
"""Real structures as training targets, and made-up predictions of them: what losses are tried on."""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
from scipy.spatial import transform

from alphafold_jax import schema
from alphafold_jax.constants import residues
from alphafold_jax.data import features, padding, structures
from alphafold_jax.geometry import atoms
from alphafold_jax.geometry.rigid import Rigid

NUM_RES, NUM_LAYER, NUM_MSA = 48, 3, 5
_DATA = Path(__file__).parent / 'data'
_CA = residues.ATOM_INDEX['CA']

fast_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)  # compiles in half the time


def real_batch(name: str, start: int = 0, stop: int | None = None, *, observed_only: bool = False) -> schema.Batch:
  """A stretch of a chain in tests/data with its atoms; `observed_only` leaves unresolved residues out: a gap in the
  numbers."""
  chain = structures.read_chain(_DATA / f'{name}.cif.gz')
  kept = chain.atom_mask[:, _CA] > 0 if observed_only else np.ones(len(chain.sequence), bool)
  places = np.nonzero(kept)[0][start:stop]
  batch = features.make_batch(''.join(chain.sequence[place] for place in places), num_templates=1)
  targets = schema.Targets(
    atom_positions=chain.atom_positions[places],
    atom_mask=chain.atom_mask[places],
    resolution=np.float32(2.0),
    use_clamped_fape=np.float32(1.0),
    is_distillation=np.float32(0.0),
  )
  return dataclasses.replace(batch, residue_index=places.astype(np.int32), targets=targets)


def with_targets(batch: schema.Batch, **changes: np.ndarray) -> schema.Batch:
  """The same batch with other targets."""
  changes = {name: np.asarray(value, np.float32) for name, value in changes.items()}
  return dataclasses.replace(batch, targets=dataclasses.replace(batch.targets, **changes))


def gap_batch() -> schema.Batch:
  """Residues 40 to 88 of 1MUL: fourteen of them were not resolved, others lack side chains."""
  return real_batch('1mul_A', 40, 88)


def numbers_gap_batch() -> schema.Batch:
  """48 resolved residues of 1MUL, whose numbers jump from 56 to 71."""
  return real_batch('1mul_A', 24, 24 + NUM_RES, observed_only=True)


def ragged_batch() -> schema.Batch:
  """42 residues of 1U5Y, padded to 48: a tenth of the atoms are gone, two whole residues too, and two are unknown."""
  rng = np.random.default_rng(3)
  batch = real_batch('1u5y_D', 44)
  kept = (rng.random(batch.targets.atom_mask.shape) < 0.9).astype(np.float32)
  mask = batch.targets.atom_mask * kept
  mask[[5, 20]] = 0
  aatype = batch.aatype.copy()
  aatype[[9, 10]] = residues.UNKNOWN  # their atoms stay
  batch = dataclasses.replace(batch, aatype=aatype)
  batch = with_targets(
    batch, atom_mask=mask, atom_positions=batch.targets.atom_positions * mask[..., None], use_clamped_fape=0.0
  )
  return padding.pad_batch(batch, {'num_res': NUM_RES})


BATCHES = {'unresolved gap': gap_batch, 'gap in the numbers': numbers_gap_batch, 'ragged and padded': ragged_batch}


def prediction(batch: schema.Batch, noise: float = 1.5, seed: int = 0) -> schema.Outputs:
  """A prediction off by about `noise` Å and tenths of `noise` rad, some residues by ten times more; random logits."""
  rng = np.random.default_rng(seed)
  num_res = len(batch.aatype)
  targets = batch.targets
  true, angles, mask = jax.device_get(_frames_and_angles(batch.aatype, targets.atom_positions, targets.atom_mask))
  known = targets.atom_mask[:, :3].prod(axis=-1) > 0

  size = noise * rng.choice([1, 10], (num_res, 1), p=[0.9, 0.1])
  turns = transform.Rotation.from_rotvec(0.1 * noise * rng.normal(size=(NUM_LAYER * num_res, 3))).as_matrix()
  start = np.where(known[:, None, None], true.rotation, transform.Rotation.random(num_res, rng).as_matrix())
  rotations = start @ turns.reshape(NUM_LAYER, num_res, 3, 3)
  places = np.where(known[:, None], true.translation, 12 * rng.normal(size=(num_res, 3)))
  translations = places + size * rng.normal(size=(NUM_LAYER, num_res, 3))

  angle = np.arctan2(angles[..., 0], angles[..., 1])
  angle = np.where(mask > 0, angle, rng.uniform(-np.pi, np.pi, angle.shape))
  angle = angle + 0.1 * size * rng.normal(size=(NUM_LAYER, num_res, 7))
  unit = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
  unnormalized = unit * (1 + 0.3 * rng.normal(size=(*unit.shape[:-1], 1)))
  return assemble(batch, rotations, translations, unit, unnormalized, random_logits(batch))


@fast_jit
def _frames_and_angles(aatype, positions37, mask37):
  """Backbone frames [N_res], torsion angles and which of them are known."""
  groups, _ = atoms.rigid_groups_of(aatype, positions37, mask37)
  angles, _, mask = atoms.torsion_angles(aatype, positions37, mask37)
  return groups[:, 0], angles, mask


@fast_jit
def _build(aatype, rotation, translation, angles):
  """Rigid groups [N_res, 8] and atoms [N_res, 14] of one layer."""
  groups = atoms.torsion_frames(aatype, Rigid(rotation=rotation, translation=translation), angles)
  atom14 = atoms.atom14_positions(aatype, groups)
  return groups, atom14, atoms.atom14_to_atom37(atom14, aatype)


def truth(batch: schema.Batch) -> schema.Outputs:
  """The prediction that has the true backbone frames and torsion angles."""
  return prediction(batch, noise=0.0)


def random_logits(batch: schema.Batch, seed: int = 1) -> schema.Logits:
  """Logits of unit variance."""
  rng = np.random.default_rng(seed)
  num_res = len(batch.aatype)

  def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)

  return schema.Logits(
    distogram=normal(num_res, num_res, 64),
    masked_msa=normal(NUM_MSA, num_res, 23),
    plddt=normal(num_res, 50),
    experimentally_resolved=normal(num_res, 37),
    pae=normal(num_res, num_res, 64),
  )


def assemble(batch, rotations, translations, angles, unnormalized, logits, seed: int = 2) -> schema.Outputs:
  """Outputs with these backbones and angles; what losses do not read is empty."""
  rng = np.random.default_rng(seed)
  as_float = [np.asarray(array, np.float32) for array in (rotations, translations, angles, unnormalized)]
  rotations, translations, angles, unnormalized = as_float
  num_res = len(batch.aatype)
  groups, atom14, atom37 = jax.device_get(_build(batch.aatype, rotations[-1], translations[-1], angles[-1]))
  structure = schema.Structure(
    atom_positions=atom37,
    atom_mask=residues.ATOM37_MASK[batch.aatype],
    frame_rotations=rotations,
    frame_translations=translations,
    angles=angles,
    unnormalized_angles=unnormalized,
    group_rotations=groups.rotation,
    group_translations=groups.translation,
    atom14_positions=atom14,
  )
  msa_mask = (rng.random((NUM_MSA, num_res)) < 0.15) * batch.seq_mask
  masked_msa = schema.MaskedMsa(
    tokens=rng.integers(0, 22, (NUM_MSA, num_res)).astype(np.int32), mask=msa_mask.astype(np.float32)
  )
  empty = np.zeros((num_res, 0), np.float32)
  pairs = np.zeros((num_res, num_res, 0), np.float32)
  return schema.Outputs(
    structure=structure,
    logits=logits,
    representations=schema.Representations(msa=empty[None], single=empty, pair=pairs, structure_module=empty),
    masked_msa=masked_msa,
    recycled=schema.Recycled(msa_first_row=empty, pair=pairs, atom_positions=structure.atom_positions),
  )


def with_structure(outputs: schema.Outputs, **changes: np.ndarray) -> schema.Outputs:
  """The same outputs with other coordinates or angles."""
  return dataclasses.replace(outputs, structure=dataclasses.replace(outputs.structure, **changes))
