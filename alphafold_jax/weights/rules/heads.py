# SPDX-License-Identifier: Apache-2.0
"""Rules of the prediction heads."""

from collections.abc import Iterator, Mapping
from typing import Any

from alphafold_jax.weights.rules.parts import Rule, linear, norm


def heads(h: Mapping[str, Any], c_m: int, c_z: int, c_s: int) -> Iterator[Rule]:
  """The heads of a section of the configuration."""
  yield from linear('heads/distogram', 'distogram_head/half_logits', c_z, h['num_distogram_bins'])
  yield from linear('heads/masked_msa', 'masked_msa_head/logits', c_m, h['num_masked_msa_classes'])
  yield from linear('heads/experimentally_resolved', 'experimentally_resolved_head/logits', c_s, h['num_atoms'])
  yield from norm('heads/plddt/norm', 'predicted_lddt_head/input_layer_norm', c_s)
  yield from linear('heads/plddt/hidden_1', 'predicted_lddt_head/act_0', c_s, h['c_plddt'])
  yield from linear('heads/plddt/hidden_2', 'predicted_lddt_head/act_1', h['c_plddt'], h['c_plddt'])
  yield from linear('heads/plddt/logits', 'predicted_lddt_head/logits', h['c_plddt'], h['num_plddt_bins'])
  if h['num_pae_bins']:
    yield from linear('heads/pae', 'predicted_aligned_error_head/logits', c_z, h['num_pae_bins'])
