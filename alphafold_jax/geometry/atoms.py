# SPDX-License-Identifier: Apache-2.0
"""Atoms from frames and torsion angles, and back (Algorithms 24 and 25, Suppl. 1.8.4 and Table 2).

Written for one chain or complex of N residues; vmap for more. Residue types `aatype` [N] are 0..19, 20 is unknown.
Torsion angles are (sin, cos) of pre-omega, phi, psi and chi1 to chi4; the eight rigid groups are the backbone and
those that the seven angles turn. Layouts of 37 and 14 atoms: see constants/residues.py. Positions in Å.

Half a turn of the last chi of Asp, Glu, Phe and Tyr gives the same structure with some atom names swapped: their other
naming (Suppl. 1.8.5, Suppl. Table 3).
"""

import jax
import jax.numpy as jnp

from alphafold_jax import schema
from alphafold_jax.constants import residues, rigid_groups, stereochemistry
from alphafold_jax.geometry import rigid

_N, _CA, _C, _CB, _O = (residues.ATOM_INDEX[name] for name in ('N', 'CA', 'C', 'CB', 'O'))
_FIRST_CHI = 4  # the rigid group of chi1


def _rotations_about_x(sin_cos: schema.Array) -> jax.Array:
  """Rotations [..., 3, 3] by angles [..., 2]: Algorithm 25 "makeRotX"."""
  sin, cos = sin_cos[..., 0], sin_cos[..., 1]
  zero, one = jnp.zeros_like(sin), jnp.ones_like(sin)
  rows = [[one, zero, zero], [zero, cos, -sin], [zero, sin, cos]]
  return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def torsion_frames(aatype: schema.Array, backbone: rigid.Rigid, angles: schema.Array) -> rigid.Rigid:
  """The global frames [N, 8] of all rigid groups: Algorithm 24 "computeAllAtomCoordinates", lines 2-10.

  From backbone frames [N] and angles [N, 7, 2] of unit length. Groups that a residue type lacks get zero matrices.
  """
  default = rigid.from_matrix(jnp.asarray(rigid_groups.DEFAULT_FRAMES)[aatype])  # [N, 8]
  no_turn = jnp.broadcast_to(jnp.array([0, 1], angles.dtype), (*angles.shape[:-2], 1, 2))
  turn = _rotations_about_x(jnp.concatenate([no_turn, angles], axis=-2))  # [N, 8, 3, 3]
  turned = default @ rigid.Rigid(rotation=turn, translation=jnp.zeros_like(default.translation))

  groups = [turned[..., group] for group in range(_FIRST_CHI + 1)]  # relative to the backbone
  for group in range(_FIRST_CHI + 1, 8):  # a later chi's frame is relative to that of the chi before
    groups.append(groups[-1] @ turned[..., group])
  to_backbone = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *groups)
  return backbone[..., None] @ to_backbone


def atom14_positions(aatype: schema.Array, frames: rigid.Rigid) -> jax.Array:
  """Positions [N, 14, 3] of all atoms from the rigid groups [N, 8]: line 11 of Algorithm 24; 0 where there is none."""
  groups = jax.nn.one_hot(jnp.asarray(rigid_groups.ATOM14_GROUP)[aatype], 8, dtype=frames.translation.dtype)

  def of_each_atom(
    leaf: jax.Array,
  ) -> jax.Array:  # [N, 8, ...] -> [N, 14, ...]; unlike indexing, no scatter in backward
    return jnp.einsum('nag,ng...->na...', groups, leaf, precision=jax.lax.Precision.HIGHEST)

  positions = jax.tree.map(of_each_atom, frames).apply(jnp.asarray(rigid_groups.ATOM14_GROUP_POSITIONS)[aatype])
  return positions * jnp.asarray(residues.ATOM14_MASK)[aatype][..., None]


def atom14_to_atom37(atoms: schema.Array, aatype: schema.Array) -> jax.Array:
  """Values of atoms [N, 14, ...] in the layout [N, 37, ...]; 0 where there is no such atom."""
  beside = (..., *(None,) * (atoms.ndim - 2))  # broadcasts over the axes after that of atoms
  columns = jnp.asarray(residues.ATOM37_TO_ATOM14)[aatype]  # [N, 37]
  spread = jnp.take_along_axis(atoms, columns[beside], axis=1)
  return spread * jnp.asarray(residues.ATOM37_MASK, atoms.dtype)[aatype][beside]


def atom37_to_atom14(atoms: schema.Array, aatype: schema.Array) -> jax.Array:
  """Values of atoms [N, 37, ...] in the layout [N, 14, ...]; 0 where there is no such atom."""
  beside = (..., *(None,) * (atoms.ndim - 2))
  columns = jnp.asarray(residues.ATOM14_TO_ATOM37)[aatype]  # [N, 14]
  gathered = jnp.take_along_axis(atoms, columns[beside], axis=1)
  return gathered * jnp.asarray(residues.ATOM14_MASK, atoms.dtype)[aatype][beside]


def pseudo_beta(aatype: schema.Array, atoms: schema.Array) -> jax.Array:
  """What [..., 37, *] holds of CB, or of CA for glycine: positions [..., 3] Å, or whether they are known [...]."""
  is_glycine = jnp.asarray(aatype) == residues.RESTYPE_INDEX['G']
  beside = (..., *(None,) * (atoms.ndim - is_glycine.ndim - 1))
  of_each = (slice(None),) * is_glycine.ndim
  return jnp.where(is_glycine[beside], atoms[(*of_each, _CA)], atoms[(*of_each, _CB)])


def _torsion_atoms(aatype: schema.Array, atoms: schema.Array) -> jax.Array:
  """The four atoms of each torsion, [N, 7, 4, ...] from [N, 37, ...]; the residue before the first is all zeros."""
  before = jnp.concatenate([jnp.zeros_like(atoms[:1]), atoms[:-1]])
  backbone = [
    [before[:, _CA], before[:, _C], atoms[:, _N], atoms[:, _CA]],  # pre-omega
    [before[:, _C], atoms[:, _N], atoms[:, _CA], atoms[:, _C]],  # phi
    [atoms[:, _N], atoms[:, _CA], atoms[:, _C], atoms[:, _O]],  # psi plus pi
  ]
  chi_columns = jnp.asarray(rigid_groups.CHI_ATOM37)[aatype]  # [N, 4, 4]
  chi = jax.vmap(lambda residue, columns: residue[columns])(atoms, chi_columns)
  return jnp.concatenate([jnp.stack([jnp.stack(four, axis=1) for four in backbone], axis=1), chi], axis=1)


def torsion_angles(
  aatype: schema.Array, positions37: schema.Array, mask37: schema.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Torsion angles of a structure: (sin, cos) [N, 7, 2], the same in the other naming, mask [N, 7].

  Gaps (21) count as unknown residues. Departs from the paper: angles with missing atoms are computed from zero
  coordinates, since the published network gets the angles of templates unmasked. (The first residue's pre-omega is
  then rounding noise: three points on a line.)
  """
  aatype = jnp.minimum(aatype, residues.UNKNOWN)
  a, b, c, d = jnp.moveaxis(_torsion_atoms(aatype, positions37), 2, 0)  # each [N, 7, 3]
  frames = rigid.Rigid(rotation=rigid.rotation_from_axes(c - b, a - c), translation=c)
  local = frames.inverse().apply(d)  # in the order of the published program, whose rounding noise this reproduces
  sin_cos = jnp.stack([local[..., 2], local[..., 1]], axis=-1)
  sin_cos = sin_cos / jnp.sqrt(jnp.sum(sin_cos**2, axis=-1, keepdims=True) + 1e-8)
  # Psi was measured to O, which is opposite to the next residue's N.
  sin_cos = sin_cos * jnp.array([1, 1, -1, 1, 1, 1, 1], sin_cos.dtype)[:, None]

  chi_sign = 1 - 2 * jnp.asarray(rigid_groups.CHI_PI_PERIODIC)[aatype]  # [N, 4]
  sign = jnp.concatenate([jnp.ones_like(chi_sign[:, :3]), chi_sign], axis=-1)
  defined = jnp.concatenate([jnp.ones_like(chi_sign[:, :3]), jnp.asarray(rigid_groups.CHI_MASK)[aatype]], axis=-1)
  mask = jnp.prod(_torsion_atoms(aatype, mask37), axis=-1) * defined
  return sin_cos, sin_cos * sign[..., None], mask


def rigid_groups_of(
  aatype: schema.Array, positions37: schema.Array, mask37: schema.Array
) -> tuple[rigid.Rigid, jax.Array]:
  """The rigid groups [N, 8] of a structure, and whether they are known [N, 8]: the inverse of `torsion_frames`.

  A group is known if the three atoms that define it are. The groups of pre-omega and phi hold no heavy atom: they are
  identities and count as unknown.
  """
  aatype = jnp.minimum(aatype, residues.UNKNOWN)
  backbone = rigid.from_three_points(positions37[:, _N], positions37[:, _CA], positions37[:, _C])
  _, b, c, d = jnp.moveaxis(_torsion_atoms(aatype, positions37)[:, 2:], 2, 0)  # psi and chi1 to chi4: [N, 5, 3]
  turned = rigid.Rigid(rotation=rigid.rotation_from_axes(c - b, d - c), translation=c)
  parts = (backbone[..., None], rigid.identity((len(aatype), 2)), turned)
  frames = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *parts)

  known = jnp.prod(_torsion_atoms(aatype, mask37)[:, 2:, 1:], axis=-1)  # [N, 5]
  has_chi = jnp.asarray(rigid_groups.CHI_MASK)[aatype]
  backbone_mask = mask37[:, _N] * mask37[:, _CA] * mask37[:, _C]
  nothing = jnp.zeros((len(aatype), 2), known.dtype)
  mask = jnp.concatenate([backbone_mask[:, None], nothing, known[:, :1], known[:, 1:] * has_chi], axis=1)
  return frames, mask


def has_twin(aatype: schema.Array) -> jax.Array:
  """Whether each atom [N, 14] has another name in the other naming."""
  columns = jnp.asarray(stereochemistry.TWIN_COLUMNS)[aatype]
  return (columns != jnp.arange(14)).astype(jnp.float32)


def swap_names(aatype: schema.Array, atoms: schema.Array) -> jax.Array:
  """Values of atoms [N, 14, ...] in the other naming."""
  columns = jnp.asarray(stereochemistry.TWIN_COLUMNS)[aatype]
  return jnp.take_along_axis(atoms, columns[(..., *(None,) * (atoms.ndim - 2))], axis=1)


def turn_groups(aatype: schema.Array, groups: rigid.Rigid) -> rigid.Rigid:
  """Rigid groups [N, 8] in the other naming: the last of a symmetric side chain makes half a turn about its x-axis."""
  periodic = jnp.asarray(rigid_groups.CHI_PI_PERIODIC)[aatype]  # [N, 4]
  sign = jnp.concatenate([jnp.ones_like(periodic), 1 - 2 * periodic], axis=-1)  # [N, 8]
  column_signs = jnp.stack([jnp.ones_like(sign), sign, sign], axis=-1)  # x stays, y and z change sign
  return rigid.Rigid(rotation=groups.rotation * column_signs[..., None, :], translation=groups.translation)
