# SPDX-License-Identifier: Apache-2.0
"""The prediction heads (Suppl. 1.9): each maps a representation to logits, without activation or loss."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import confidence, schema
from alphafold_jax.model.layers import LayerNorm, Linear
from alphafold_jax.ops import axial, slicing


@dataclasses.dataclass(frozen=True)
class HeadsSpec:
  """Bins and classes; `num_pae_bins` is 0 for models without that head."""

  num_distogram_bins: int
  num_masked_msa_classes: int
  num_plddt_bins: int
  c_plddt: int
  num_atoms: int
  num_pae_bins: int


class Heads(hk.Module):
  """All heads."""

  def __init__(self, spec: HeadsSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, r: schema.Representations) -> schema.Logits:
    s = self.spec

    def head(name, num_output):
      return Linear(num_output, init='zeros', name=name)

    half = head('distogram', s.num_distogram_bins)(r.pair)  # Suppl. 1.9.8
    return schema.Logits(
      distogram=half + axial.transpose(half),
      masked_msa=head('masked_msa', s.num_masked_msa_classes)(r.msa),  # Suppl. 1.9.9
      plddt=PerResidueLDDT(s, name='plddt')(r.structure_module),
      experimentally_resolved=head('experimentally_resolved', s.num_atoms)(r.single),  # Suppl. 1.9.10
      pae=head('pae', s.num_pae_bins)(r.pair) if s.num_pae_bins else None,  # Suppl. 1.9.7
    )

  @hk.name_like('__call__')
  def confidence(
    self, pair: jax.Array, structure_single: jax.Array, atom_positions: jax.Array, mask: jax.Array
  ) -> confidence.Confidence:
    """`confidence.summarise` of the logits, of which those of pairs are made and summed up a few rows at a time.

    Args:
      pair: [N_res, N_res, c_z]
      structure_single: [N_res, c_s] of the structure module
      atom_positions: [N_res, 37, 3] Å
      mask: [N_res]
    """
    s, c_z = self.spec, pair.shape[-1]
    distogram = Linear(s.num_distogram_bins, init='zeros', name='distogram').of_rows(c_z)
    pae = Linear(s.num_pae_bins, init='zeros', name='pae').of_rows(c_z) if s.num_pae_bins else None

    def of_rows(rows, columns):  # [b, N_res, c_z], and of the transposed pairs
      rows, columns = rows.astype(jnp.float32), columns.astype(jnp.float32)
      logits = distogram(rows) + distogram(columns)
      return confidence.of_pairs(logits, None if pae is None else pae(rows), mask)

    num_values = 2 * c_z + 3 * max(s.num_distogram_bins, s.num_pae_bins)
    bytes_per_row = 4 * pair.shape[1] * num_values
    if axial.num_shares() == 1:  # no transposed copy of all pairs
      pairs = slicing.map_rows(
        lambda rows, columns: of_rows(rows, columns.swapaxes(0, 1)), (pair,), bytes_per_row, columns=((pair, 1),)
      )
    else:
      pairs = slicing.map_rows(of_rows, (pair, axial.transpose(pair)), bytes_per_row)
    return confidence.of_summaries(PerResidueLDDT(s, name='plddt')(structure_single), pairs, atom_positions, mask)


class PerResidueLDDT(hk.Module):
  """Algorithm 29 "predictPerResidueLDDT_Ca", lines 1-3; the expectation is in confidence.plddt."""

  def __init__(self, spec: HeadsSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, s: jax.Array) -> jax.Array:  # [N_res, c_s] -> [N_res, 50]
    s = LayerNorm(name='norm')(s)
    s = jax.nn.relu(Linear(self.spec.c_plddt, init='relu', name='hidden_1')(s))
    s = jax.nn.relu(Linear(self.spec.c_plddt, init='relu', name='hidden_2')(s))
    return Linear(self.spec.num_plddt_bins, init='zeros', name='logits')(s)
