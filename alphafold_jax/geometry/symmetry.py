# SPDX-License-Identifier: Apache-2.0
"""The second set of names that symmetric side chains allow (Suppl. 1.8.5, Suppl. Table 3).

Half a turn of the last chi of Asp, Glu, Phe and Tyr gives the same structure with some atom names swapped.
N residues; layout of 14 atoms and the eight rigid groups as elsewhere in this package.
"""

import jax
import jax.numpy as jnp

from alphafold_jax import schema
from alphafold_jax.constants import rigid_groups, stereochemistry
from alphafold_jax.geometry.rigid import Rigid


def has_twin(aatype: schema.Array) -> jax.Array:
  """Which atoms [N, 14] carry another name in the other naming."""
  columns = jnp.asarray(stereochemistry.TWIN_COLUMNS)[aatype]
  return (columns != jnp.arange(14)).astype(jnp.float32)


def swap_names(aatype: schema.Array, atoms: schema.Array) -> jax.Array:
  """Values of atoms [N, 14, ...] in the other naming."""
  columns = jnp.asarray(stereochemistry.TWIN_COLUMNS)[aatype]
  return jnp.take_along_axis(atoms, columns[(..., *(None,) * (atoms.ndim - 2))], axis=1)


def turn_groups(aatype: schema.Array, groups: Rigid) -> Rigid:
  """Rigid groups [N, 8] in the other naming: those of symmetric ends make half a turn about their x-axes."""
  periodic = jnp.asarray(rigid_groups.CHI_PI_PERIODIC)[aatype]  # [N, 4]
  sign = jnp.concatenate([jnp.ones_like(periodic), 1 - 2 * periodic], axis=-1)  # [N, 8]
  column_signs = jnp.stack([jnp.ones_like(sign), sign, sign], axis=-1)  # x stays; y and z turn around
  return Rigid(rotation=groups.rotation * column_signs[..., None, :], translation=groups.translation)
