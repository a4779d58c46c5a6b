# SPDX-License-Identifier: Apache-2.0
"""All losses by name, and their weighted sum (Suppl. 1.9).

To add a loss: a function of predicted and true values, a row in LOSSES, a weight of the row's name in experiments.py.

In complexes 'chain_fape' and 'interface_fape' take the place of 'backbone_fape' (Evans et al. 2021, 2.4), and the
targets of equal chains are put in the order that is nearest to the prediction before anything is compared.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from alphafold_jax import schema
from alphafold_jax.constants import residues, stereochemistry
from alphafold_jax.errors import InputError
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.losses import chain_centres, classification, fape, permutation, smooth_lddt, torsion, violations
from alphafold_jax.losses.labels import Labels, make_labels, rename_ambiguous

_CA = residues.ATOM_INDEX['CA']
_BACKBONE = slice(3)  # N, CA and C, of the 14 atoms


@dataclasses.dataclass(frozen=True)
class ChainLossSpec:
  """How losses deal with several chains: section `chains` of an experiment. By default as the published monomers do."""

  interface_clamp: float = 30.0  # Å, limit of the FAPE between chains
  interface_unit: float = 20.0  # Å
  floored_errors: bool = False  # distances in the FAPE: AlphaFold-Multimer's form, see fape.py
  corrected_violations: bool = False  # without the published program's slips, see violations.py
  average_clashes: bool = False  # an atom counts the mean of its clashes
  bond_tolerance: float = stereochemistry.TOLERATED_DEVIATIONS  # standard deviations a peptide bond may be off

  def __post_init__(self):
    for name, unit in (('interface_clamp', 'Å'), ('interface_unit', 'Å'), ('bond_tolerance', 'standard deviations')):
      if not (value := getattr(self, name)) > 0:
        raise InputError(f'chains.{name} is {value!r}; expected {unit} above 0')


@dataclasses.dataclass(frozen=True)
class LossSpec:
  """The losses that are computed, with the weight of each in the sum; hashable."""

  weights: tuple[tuple[str, float], ...]
  chains: ChainLossSpec = ChainLossSpec()


def make_spec(weights: Mapping[str, float], chains: Mapping[str, Any] | None = None) -> LossSpec:
  """The spec of weights by name; a loss that is not named, or has weight 0, is not computed.

  Args:
    weights: by the names of LOSSES
    chains: settings of `ChainLossSpec`; those not named are as by default

  Raises:
    InputError: LOSSES has no row of a name, or a setting is out of bounds.
    TypeError: there is no such setting.
  """
  if unknown := sorted(set(weights) - set(LOSSES)):
    raise InputError(f'there is no loss {", ".join(unknown)}; there are {", ".join(LOSSES)}')
  named = tuple((name, weight) for name, weight in weights.items() if weight)
  return LossSpec(named, ChainLossSpec(**(chains or {})))


def total_loss(spec: LossSpec, batch: schema.Batch, outputs: schema.Outputs) -> tuple[jax.Array, dict[str, jax.Array]]:
  """The loss of one example, a scalar, and its terms by name, unweighted.

  The loss is the sum of weight times value, times the square root of the number of residues (Suppl. 1.9): long chains
  count for more, though their terms are means.

  Raises:
    InputError: the network lacks the head that a loss is computed from.
  """
  batch = permutation.nearest_copies(batch, outputs.structure.frame_translations[-1])
  labels = make_labels(batch)
  values = {name: _loss(spec, name)(batch, labels, outputs) for name, _ in spec.weights}
  weighted = sum((weight * values[name] for name, weight in spec.weights), start=jnp.zeros(()))
  return weighted * jnp.sqrt(jnp.sum(batch.seq_mask)), values


def _backbone(structure: schema.Structure) -> Rigid:
  """The backbone frames of every layer [N_layer, N_res]."""
  return Rigid(rotation=structure.frame_rotations, translation=structure.frame_translations)


def _side_chain_fape(
  batch: schema.Batch, labels: Labels, outputs: schema.Outputs, chains: ChainLossSpec = ChainLossSpec()
) -> jax.Array:
  structure = outputs.structure
  groups = Rigid(rotation=structure.group_rotations, translation=structure.group_translations)
  true = rename_ambiguous(labels, structure.atom14_positions)
  return fape.side_chain_fape(
    groups,
    true.groups,
    labels.groups_mask,
    structure.atom14_positions,
    true.atom14_positions,
    true.atom14_mask,
    chains.floored_errors,
  )


def _fape_of_pairs(
  pairs: jax.Array,
  batch: schema.Batch,
  labels: Labels,
  outputs: schema.Outputs,
  chains: ChainLossSpec,
  clamp: float = fape.CLAMP,
  unit: float = fape.SCALE,
) -> jax.Array:
  """The backbone FAPE of some pairs [N_res, N_res]; clamp and unit in Å."""
  true, mask, clamped = labels.backbone, labels.backbone_mask, batch.targets.use_clamped_fape
  return fape.fape_of_pairs(
    _backbone(outputs.structure), true, mask, pairs, clamped, clamp, unit, chains.floored_errors
  )


def _chain_fape(
  batch: schema.Batch, labels: Labels, outputs: schema.Outputs, chains: ChainLossSpec = ChainLossSpec()
) -> jax.Array:
  return _fape_of_pairs(fape.same_chain(batch.asym_id), batch, labels, outputs, chains)


def _interface_fape(
  batch: schema.Batch, labels: Labels, outputs: schema.Outputs, chains: ChainLossSpec = ChainLossSpec()
) -> jax.Array:
  scale = chains.interface_clamp, chains.interface_unit
  return _fape_of_pairs(1 - fape.same_chain(batch.asym_id), batch, labels, outputs, chains, *scale)


def _violation(
  batch: schema.Batch, labels: Labels, outputs: schema.Outputs, chains: ChainLossSpec = ChainLossSpec()
) -> jax.Array:
  return violations.violation_loss(
    outputs.structure.atom14_positions,
    labels.atom14_exists,
    batch.aatype,
    batch.residue_index,
    batch.asym_id,
    chains.corrected_violations,
    chains.average_clashes,
    chains.bond_tolerance,
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


LOSSES: dict[str, Callable[..., jax.Array]] = {  # of (batch, labels, outputs)
  'backbone_fape': lambda batch, labels, outputs: fape.backbone_fape(
    _backbone(outputs.structure), labels.backbone, labels.backbone_mask, batch.targets.use_clamped_fape
  ),
  'chain_fape': _chain_fape,
  'interface_fape': _interface_fape,
  'chain_centres': lambda batch, labels, outputs: chain_centres.chain_centre_loss(
    outputs.structure.frame_translations[-1], labels.ca_positions, labels.ca_mask, batch.asym_id
  ),
  'side_chain_fape': _side_chain_fape,
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
  'smooth_lddt': lambda batch, labels, outputs: smooth_lddt.smooth_lddt_loss(
    outputs.structure.atom14_positions[:, _BACKBONE],
    labels.atom14_positions[:, _BACKBONE],
    labels.atom14_mask[:, _BACKBONE],
  ),
  'violation': _violation,
}
_OF_CHAINS = ('chain_fape', 'interface_fape', 'side_chain_fape', 'violation')  # that take the settings of chains too


def _loss(spec: LossSpec, name: str) -> Callable[..., jax.Array]:
  """The function of a loss, with the spec's settings of chains if it takes them."""
  return functools.partial(LOSSES[name], chains=spec.chains) if name in _OF_CHAINS else LOSSES[name]
