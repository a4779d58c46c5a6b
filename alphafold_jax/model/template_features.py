# SPDX-License-Identifier: Apache-2.0
"""What a network is shown of template structures: features of their pairs and residues (Suppl. Table 1), and slots.

T templates; one template is a `schema.Templates` without the leading axis.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from alphafold_jax import ops, schema
from alphafold_jax.geometry import atoms, rigid
from alphafold_jax.model.embedders import distance_bins

NUM_TYPES = 22  # 20 residue types, unknown, no residue
_ALANINE, _NOTHING = 0, 21
_N, _CA, _C = 0, 1, 2  # atom37
Bins = tuple[float, float, int]  # of distances: from and to so many Å, and their number


def pair_features(aatype: jax.Array, positions: jax.Array, atom_mask: jax.Array, bins: Bins) -> jax.Array:
  """[N_res, N_res, 88] of one template: distances 39, mask 1, residue types 22 + 22, unit vector 3, mask 1.

  Departs from the paper: the unit vectors of Suppl. Table 1 are left zero, and the mask that is applied to all
  channels is that of the backbone atoms.
  """
  beta, beta_mask = atoms.pseudo_beta(aatype, positions), atoms.pseudo_beta(aatype, atom_mask)
  types = jax.nn.one_hot(aatype, NUM_TYPES)
  mask = ops.pairwise(jnp.multiply, _backbone_mask(atom_mask))[..., None]
  features = jnp.concatenate(
    [
      distance_bins(beta, *bins),
      ops.pairwise(jnp.multiply, beta_mask)[..., None],
      ops.pairwise(lambda i, j: jnp.concatenate(jnp.broadcast_arrays(j, i), axis=-1), types),
      jnp.zeros((*mask.shape[:2], 3)),
      mask,
    ],
    axis=-1,
  )
  return features * mask


def pair_geometry(template: schema.Templates, bins: Bins) -> jax.Array:
  """[N_res, N_res, 44] of one template: distances 39, their mask 1, unit vector 3, its mask 1 (Evans et al. 2021).

  Zero between residues that are not of one structure. The unit vector is the direction from C-alpha to C-alpha in the
  backbone frame of the first; from a residue to itself it is zero.
  """
  aatype, positions, atom_mask = template.aatype, template.atom_positions, template.atom_mask
  together = ops.pairwise(jnp.equal, template.structure_id)
  beta_mask = together * ops.pairwise(jnp.multiply, atoms.pseudo_beta(aatype, atom_mask))
  frame_mask = together * ops.pairwise(jnp.multiply, _backbone_mask(atom_mask))
  beta = atoms.pseudo_beta(aatype, positions)
  frames = rigid.from_three_points(positions[:, _N], positions[:, _CA], positions[:, _C])
  # The difference comes before the rotation: the other way round, zero would be rounding noise, made one of length 1.
  towards = ops.pairwise(lambda frame, point: frame.invert_apply(point.translation), frames)
  length = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(towards), axis=-1, keepdims=True), 1e-12))
  return jnp.concatenate(
    [
      distance_bins(beta, *bins) * beta_mask[..., None],
      beta_mask[..., None],
      towards / length * frame_mask[..., None],
      frame_mask[..., None],
    ],
    axis=-1,
  )


def _backbone_mask(atom_mask: jax.Array) -> jax.Array:
  return atom_mask[..., _N] * atom_mask[..., _CA] * atom_mask[..., _C]


def torsion_features(aatype: jax.Array, positions: jax.Array, atom_mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """[T, N_res, 57] residue type 22, torsions 14, mirrored torsions 14, mask 7; and the rows' mask [T, N_res]."""
  sin_cos, mirrored, mask = jax.vmap(atoms.torsion_angles)(aatype, positions, atom_mask)
  flat = (*aatype.shape, 14)
  types = jax.nn.one_hot(aatype, NUM_TYPES)
  features = jnp.concatenate([types, sin_cos.reshape(flat), mirrored.reshape(flat), mask], axis=-1)
  return features, mask[..., 2]  # rows count where psi is known


def side_chain_features(aatype: jax.Array, positions: jax.Array, atom_mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """[T, N_res, 34] residue type 22, sines 4 and cosines 4 of the known chi angles, mask 4; and the rows' mask."""
  sin_cos, _, mask = jax.vmap(atoms.torsion_angles)(aatype, positions, atom_mask)
  chi, mask = sin_cos[..., 3:, :], mask[..., 3:]
  sin, cos = jnp.moveaxis(chi * mask[..., None], -1, 0)
  features = jnp.concatenate([jax.nn.one_hot(aatype, NUM_TYPES), sin, cos, mask], axis=-1)
  return features, mask[..., 0]  # rows count where chi1 is known


# What of a template's residues is put after the rows of the alignment (Alg. 2 line 7), and where it counts.
ROWS: Mapping[str, Callable[..., tuple[jax.Array, jax.Array]]] = {
  'torsions': torsion_features,
  'side_chains': side_chain_features,
}


def filled_slots(templates: schema.Templates, asym_id: jax.Array) -> schema.Templates:
  """Slots as the published networks of complexes have always seen them.

  There is at least one. In an empty slot, and in the chains to which a slot aligns no residue, all residues are alanine
  and no atom is known; and each chain has a structure of its own, unless the templates say otherwise.
  """
  if not templates.mask.shape[0]:
    templates = jax.tree.map(lambda array: jnp.zeros((1, *array.shape[1:]), array.dtype), templates)
  is_aligned = (templates.aatype != _NOTHING) & (templates.mask > 0)[:, None]  # [T, N_res]
  same_chain = asym_id[:, None] == asym_id[None]
  has_template = jnp.any(is_aligned[:, None] & same_chain, axis=-1)  # [T, N_res], for all residues of a chain alike
  structure_id = templates.structure_id
  return dataclasses.replace(
    templates,
    aatype=jnp.where(has_template, templates.aatype, _ALANINE),
    atom_mask=templates.atom_mask * has_template[..., None],
    structure_id=jnp.broadcast_to(asym_id, is_aligned.shape) if structure_id is None else structure_id,
  )
