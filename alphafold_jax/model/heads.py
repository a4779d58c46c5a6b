# SPDX-License-Identifier: Apache-2.0
"""The prediction heads (Suppl. 1.9): each maps a representation to logits, without activation or loss."""

import dataclasses

import haiku as hk
import jax

from alphafold_jax import schema
from alphafold_jax.model.layers import LayerNorm, Linear
from alphafold_jax.ops import axial


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
