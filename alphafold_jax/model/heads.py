# SPDX-License-Identifier: Apache-2.0
"""The prediction heads (Suppl. 1.9): each maps a representation to logits, without activation or loss."""

import dataclasses
import functools
from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import confidence, ops, schema
from alphafold_jax.model.layers import LayerNorm, Linear


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
  """All heads: their logits, for training, or the confidence that comes of them."""

  def __init__(self, spec: HeadsSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, r: schema.Representations) -> schema.Logits:
    s = self.spec
    distogram, pae = ops.symmetric(self._of_pairs(r.pair.shape[-1]), r.pair)
    return schema.Logits(
      distogram=distogram,
      masked_msa=_head('masked_msa', s.num_masked_msa_classes)(r.msa),  # Suppl. 1.9.9
      plddt=PerResidueLDDT(s, name='plddt')(r.structure_module),
      experimentally_resolved=_head('experimentally_resolved', s.num_atoms)(r.single),  # Suppl. 1.9.10
      pae=pae,
    )

  @hk.name_like('__call__')
  def confidence(
    self,
    r: schema.Representations,
    structure: schema.Structure,
    mask: jax.Array,
    keep_distogram: bool = False,
    asym_id: jax.Array | None = None,
  ) -> confidence.Confidence:
    """`confidence.summarise` of the logits, of which those of pairs are made for a few rows at a time.

    Args:
      r: representations
      structure: of the structure module
      mask: [N_res]
      keep_distogram: whether all of it is kept, in half precision
      asym_id: [N_res] chains, between which ipTM is; None: there is no ipTM
    """
    logits = self._of_pairs(r.pair.shape[-1])
    most_bins = max(self.spec.num_distogram_bins, self.spec.num_pae_bins)
    by_pair = functools.partial(ops.symmetric, z=r.pair, width=2 * r.pair.shape[-1] + 3 * most_bins)
    pairs = by_pair(lambda z, transposed: confidence.of_pairs(*logits(z, transposed), mask))
    distogram = None
    if keep_distogram:  # by itself: each call gives one array
      distogram = by_pair(lambda z, transposed: confidence.log_distogram(logits(z, transposed)[0]))
    plddt = PerResidueLDDT(self.spec, name='plddt')(r.structure_module)
    return confidence.of_summaries(plddt, pairs, structure.atom_positions, mask, asym_id, distogram)

  @hk.transparent
  def _of_pairs(self, c_z: int) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array | None]]:
    """Makes a function of pairs ij and the same pairs as ji, [..., c_z] each, to distogram and PAE logits."""
    s = self.spec
    distogram = _head('distogram', s.num_distogram_bins).function(c_z)  # Suppl. 1.9.8
    pae = _head('pae', s.num_pae_bins).function(c_z) if s.num_pae_bins else None  # Suppl. 1.9.7

    def logits(z, transposed):
      z, transposed = z.astype(jnp.float32), transposed.astype(jnp.float32)
      return distogram(z) + distogram(transposed), pae(z) if pae is not None else None

    return logits


def _head(name: str, num_output: int) -> Linear:
  return Linear(num_output, init='zeros', name=name)


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
