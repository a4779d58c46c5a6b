# SPDX-License-Identifier: Apache-2.0
"""Which array of a published file is which parameter of ours, and how each is laid out there and here.

A `Rule` ties one or more arrays, named `module//array`, to one or more of our parameters, written alike. Most are
renamed only. Networks of single chains and of complexes, which have one layout here, have two there: of triangles, and
of the structure module's queries, keys and values. Which it is, is told by the settings of the network.
"""

from collections.abc import Mapping
from typing import Any

from alphafold_jax import config as configs
from alphafold_jax.weights.rules.heads import heads
from alphafold_jax.weights.rules.inputs import embedders, templates
from alphafold_jax.weights.rules.parts import Rule
from alphafold_jax.weights.rules.structure import structure
from alphafold_jax.weights.rules.trunk import evoformer_block

__all__ = ['Rule', 'rules']


def rules(config: Mapping[str, Any]) -> list[Rule]:
  """All rules of a configuration's network; it may be one that was kept before some of its settings existed."""
  config = configs.completed(config)
  e, c_s, fused = config['embedder'], config['c_s'], config['fused_triangles']
  c_m, c_z = e['c_m'], e['c_z']
  found = [*embedders(config)]
  if config['templates'] is not None:
    found += templates(config['templates'], c_m, c_z, fused)
  extra, main = config['extra_msa'], config['evoformer']
  found += evoformer_block('extra_msa_stack/block', 'evoformer/extra_msa_stack', extra, e['c_extra'], c_z, fused)
  found += evoformer_block('evoformer/block', 'evoformer/evoformer_iteration', main, c_m, c_z, fused)
  found += structure(config['structure'], c_z)
  found += heads(config['heads'], c_m, c_z, c_s)
  return found
