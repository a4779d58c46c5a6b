# SPDX-License-Identifier: Apache-2.0
"""All losses by name, and their weighted sum (Suppl. 1.9).

To add a loss: a function of predicted and true values, a row in LOSSES, a weight of the row's name in experiments.py.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from alphafold_jax import schema
from alphafold_jax.constants import residues
from alphafold_jax.errors import InputError
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.losses import classification, fape, torsion, violations
from alphafold_jax.losses.labels import Labels, make_labels, rename_ambiguous

_CA = residues.ATOM_INDEX['CA']


@dataclasses.dataclass(frozen=True)
class LossSpec:
  """The losses that are computed, with the weight of each in the sum; hashable."""

  weights: tuple[tuple[str, float], ...]


def make_spec(weights: Mapping[str, float]) -> LossSpec:
  """The spec of weights by name; a loss that is not named, or has weight 0, is not computed.

  Raises:
    InputError: LOSSES has no row of a name.
  """
  if unknown := sorted(set(weights) - set(LOSSES)):
    raise InputError(f'there is no loss {", ".join(unknown)}; there are {", ".join(LOSSES)}')
  return LossSpec(tuple((name, weight) for name, weight in weights.items() if weight))


def total_loss(spec: LossSpec, batch: schema.Batch, outputs: schema.Outputs) -> tuple[jax.Array, dict[str, jax.Array]]:
  """The loss of one example, a scalar, and its terms by name, unweighted.

  The loss is the sum of weight times value, times the square root of the number of residues (Suppl. 1.9): long chains
  count for more, though their terms are means.

  Raises:
    InputError: the network lacks the head that a loss is computed from.
  """
  labels = make_labels(batch)
  values = {name: LOSSES[name](batch, labels, outputs) for name, _ in spec.weights}
  weighted = sum((weight * values[name] for name, weight in spec.weights), start=jnp.zeros(()))
  return weighted * jnp.sqrt(jnp.sum(batch.seq_mask)), values


def _backbone(structure: schema.Structure) -> Rigid:
  """The backbone frames of every layer [N_layer, N_res]."""
  return Rigid(rotation=structure.frame_rotations, translation=structure.frame_translations)


def _side_chain_fape(labels: Labels, structure: schema.Structure) -> jax.Array:
  groups = Rigid(rotation=structure.group_rotations, translation=structure.group_translations)
  true = rename_ambiguous(labels, structure.atom14_positions)
  return fape.side_chain_fape(
    groups, true.groups, labels.groups_mask, structure.atom14_positions, true.atom14_positions, true.atom14_mask
  )


def _pae_loss(batch: schema.Batch, labels: Labels, outputs: schema.Outputs) -> jax.Array:
  if outputs.logits.pae is None:
    raise InputError(
      'loss.pae has a weight, but the network has no head for aligned errors; set it to 0, or heads.num_pae_bins to 64'
    )
  frames = _backbone(outputs.structure)[-1]
  return classification.pae_loss(
    outputs.logits.pae, frames, labels.backbone, labels.backbone_mask, batch.targets.resolution
  )


LOSSES: dict[str, Callable[[schema.Batch, Labels, schema.Outputs], jax.Array]] = {
  'backbone_fape': lambda batch, labels, outputs: fape.backbone_fape(
    _backbone(outputs.structure), labels.backbone, labels.backbone_mask, batch.targets.use_clamped_fape
  ),
  'side_chain_fape': lambda batch, labels, outputs: _side_chain_fape(labels, outputs.structure),
  'torsion': lambda batch, labels, outputs: torsion.torsion_loss(
    outputs.structure.angles, labels.torsions, labels.alternative_torsions, labels.torsions_mask
  ),
  'angle_norm': lambda batch, labels, outputs: torsion.angle_norm_loss(
    outputs.structure.unnormalized_angles, batch.seq_mask
  ),
  'distogram': lambda batch, labels, outputs: classification.distogram_loss(
    outputs.logits.distogram, labels.pseudo_beta, labels.pseudo_beta_mask
  ),
  'masked_msa': lambda batch, labels, outputs: classification.masked_msa_loss(
    outputs.logits.masked_msa, outputs.masked_msa.tokens, outputs.masked_msa.mask
  ),
  'plddt': lambda batch, labels, outputs: classification.plddt_loss(
    outputs.logits.plddt,
    outputs.structure.atom_positions[:, _CA],
    labels.ca_positions,
    labels.ca_mask,
    batch.targets.resolution,
  ),
  'experimentally_resolved': lambda batch, labels, outputs: classification.experimentally_resolved_loss(
    outputs.logits.experimentally_resolved, labels.atom37_mask, labels.atom37_exists, batch.targets.resolution
  ),
  'pae': _pae_loss,
  'violation': lambda batch, labels, outputs: violations.violation_loss(
    outputs.structure.atom14_positions, labels.atom14_exists, batch.aatype, batch.residue_index, batch.asym_id
  ),
}
