# SPDX-License-Identifier: Apache-2.0
"""The kernel seam: the network's expensive steps as pure functions of activations and weights.

A file such as attention.py holds one operation: its mathematics as the `xla` reference and, in the table at its foot,
every other way to compute it. Kernels have files of their own, named after the operation and the row. Which row runs is
decided at trace time by `seam.Kernels`, never inside a module of the model. An operation normalises its input and adds
its update to it (residual.py), slice by slice and in place (slicing.py).
"""

from alphafold_jax.ops.attention import AttentionWeights, attend, global_attention, pair_bias, self_attention
from alphafold_jax.ops.layer_norm import NormWeights, layer_norm
from alphafold_jax.ops.outer_product import OuterProductWeights, outer_product_mean
from alphafold_jax.ops.pairs import (
  all_residues,
  by_rows,
  column_attention,
  dropout,
  in_order,
  msa_dropout,
  own_residues,
  pair_dropout,
  pairs_by_rows,
  pairwise,
  row_attention,
  symmetric,
  zero_pairs,
)
from alphafold_jax.ops.points import squared_distances
from alphafold_jax.ops.products import dot, einsum
from alphafold_jax.ops.seam import Kernels, use_kernels
from alphafold_jax.ops.transition import TransitionWeights, transition
from alphafold_jax.ops.triangle import TriangleWeights, triangle_multiplication

__all__ = [
  'AttentionWeights',
  'Kernels',
  'NormWeights',
  'OuterProductWeights',
  'TransitionWeights',
  'TriangleWeights',
  'all_residues',
  'attend',
  'by_rows',
  'column_attention',
  'dot',
  'dropout',
  'einsum',
  'global_attention',
  'in_order',
  'layer_norm',
  'msa_dropout',
  'outer_product_mean',
  'own_residues',
  'pair_bias',
  'pair_dropout',
  'pairs_by_rows',
  'pairwise',
  'row_attention',
  'self_attention',
  'squared_distances',
  'symmetric',
  'transition',
  'triangle_multiplication',
  'use_kernels',
  'zero_pairs',
]
