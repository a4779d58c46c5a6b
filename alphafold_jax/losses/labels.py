# SPDX-License-Identifier: Apache-2.0
"""The experimental structure in the forms that losses compare with, and Algorithm 26, which names its atoms.

Nothing here has a gradient. N_res residues of one example; unknown atoms and padding have mask 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax import schema
from alphafold_jax.constants import residues, stereochemistry
from alphafold_jax.geometry import atoms
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.schema import Array, array

_CA = residues.ATOM_INDEX['CA']


@schema.pytree
class Labels:
  """The experimental structure; "alternative" arrays have the other names of symmetric side chains (Algorithm 26)."""

  ca_positions: Array = array('num_res', 3)  # Å
  ca_mask: Array = array('num_res')
  pseudo_beta: Array = array('num_res', 3)  # Å; CB, or CA for glycine
  pseudo_beta_mask: Array = array('num_res')
  atom37_mask: Array = array('num_res', 37)  # which atoms were resolved
  atom37_exists: Array = array('num_res', 37)  # which atoms the residue type has
  atom14_exists: Array = array('num_res', 14)
  atom14_positions: Array = array('num_res', 14, 3)  # Å
  atom14_mask: Array = array('num_res', 14)
  alternative_atom14_positions: Array = array('num_res', 14, 3)  # Å
  alternative_atom14_mask: Array = array('num_res', 14)
  has_twin: Array = array('num_res', 14)  # atoms whose alternative name differs
  backbone: Rigid  # [N_res]
  backbone_mask: Array = array('num_res')
  groups: Rigid  # [N_res, 8] rigid groups
  alternative_groups: Rigid  # [N_res, 8]
  groups_mask: Array = array('num_res', 8)
  torsions: Array = array('num_res', 7, 2)  # (sin, cos) of pre-omega, phi, psi, chi1..4
  alternative_torsions: Array = array('num_res', 7, 2)
  torsions_mask: Array = array('num_res', 7)


def make_labels(batch: schema.Batch) -> Labels:
  """Computes frames, torsion angles and both namings from the atoms of `batch.targets`."""
  aatype = jnp.minimum(batch.aatype, residues.UNKNOWN)
  seq_mask = jnp.asarray(batch.seq_mask)[:, None]
  mask37 = batch.targets.atom_mask * seq_mask  # [N_res, 37]
  # Unknown atoms go to the origin, so that no number in the file can overflow.
  positions37 = jnp.where(mask37[..., None] > 0, batch.targets.atom_positions, 0)

  positions14, mask14 = atoms.atom37_to_atom14(positions37, aatype), atoms.atom37_to_atom14(mask37, aatype)
  groups, groups_mask = atoms.rigid_groups_of(aatype, positions37, mask37)
  torsions, alternative_torsions, torsions_mask = atoms.torsion_angles(aatype, positions37, mask37)
  labels = Labels(
    ca_positions=positions37[:, _CA],
    ca_mask=mask37[:, _CA],
    pseudo_beta=atoms.pseudo_beta(aatype, positions37),
    pseudo_beta_mask=atoms.pseudo_beta(aatype, mask37),
    atom37_mask=mask37,
    atom37_exists=jnp.asarray(residues.ATOM37_MASK)[aatype] * seq_mask,
    atom14_exists=jnp.asarray(residues.ATOM14_MASK)[aatype] * seq_mask,
    atom14_positions=positions14,
    atom14_mask=mask14,
    alternative_atom14_positions=atoms.swap_names(aatype, positions14),
    alternative_atom14_mask=atoms.swap_names(aatype, mask14),
    has_twin=atoms.has_twin(aatype),
    backbone=groups[:, 0],
    backbone_mask=groups_mask[:, 0],
    groups=groups,
    alternative_groups=atoms.turn_groups(aatype, groups),
    groups_mask=groups_mask,
    torsions=torsions,
    alternative_torsions=alternative_torsions,
    torsions_mask=torsions_mask,
  )
  return jax.lax.stop_gradient(labels)


class NearestNaming(NamedTuple):
  """The experimental atoms and rigid groups under the names that are nearest to a prediction."""

  atom14_positions: jax.Array  # [N_res, 14, 3] Å
  atom14_mask: jax.Array  # [N_res, 14]
  groups: Rigid  # [N_res, 8]


def rename_ambiguous(labels: Labels, predicted: Array) -> NearestNaming:
  """Names the atoms of symmetric side chains as in the prediction: Algorithm 26 "renameSymmetricGroundTruthAtoms".

  Chooses of a residue's two namings the one whose distances to all atoms with a single name are nearer to the
  predicted distances.

  Args:
    labels: of the experimental structure
    predicted: [N_res, 14, 3] Å
  """
  predicted = jax.lax.stop_gradient(predicted)
  columns = slice(*stereochemistry.TWIN_SPAN)  # no others have a second name
  anchors = labels.atom14_mask * (1 - labels.has_twin)
  counted = (labels.atom14_mask * labels.has_twin)[:, columns]
  predicted_distances = _distances(predicted[:, columns], predicted)

  def misfit(positions: Array) -> jax.Array:  # [N_res]
    distances = _distances(positions[:, columns], labels.atom14_positions)
    return jnp.sum(jnp.abs(predicted_distances - distances) * counted[..., None, None] * anchors, axis=(1, 2, 3))

  better = misfit(labels.alternative_atom14_positions) < misfit(labels.atom14_positions)

  def choose(alternative: jax.Array, original: jax.Array) -> jax.Array:
    return jnp.where(better.reshape(-1, *(1,) * (original.ndim - 1)), alternative, original)

  alternative = NearestNaming(
    labels.alternative_atom14_positions, labels.alternative_atom14_mask, labels.alternative_groups
  )
  original = NearestNaming(labels.atom14_positions, labels.atom14_mask, labels.groups)
  return jax.tree.map(choose, alternative, original)


def _distances(a: Array, b: Array) -> jax.Array:  # [N_res, A, 3], [N_res, B, 3] -> [N_res, A, N_res, B]
  return jnp.sqrt(1e-10 + sum(jnp.square(a[..., axis, None, None] - b[..., axis]) for axis in range(3)))
