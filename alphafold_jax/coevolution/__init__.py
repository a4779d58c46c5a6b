# SPDX-License-Identifier: Apache-2.0
"""Which residues of a family changed together: what distances were predicted from before there were networks.

mean_field  the mathematics, in JAX: weights of rows, couplings of columns, the average product correction
alignments  an alignment of any size as couplings
contacts    how many of the strongest couplings are contacts of a structure
inputs      couplings as a network takes them
"""

from alphafold_jax.coevolution.alignments import MAX_RES, MAX_ROWS, Couplings, couplings
from alphafold_jax.coevolution.contacts import contact_precision
from alphafold_jax.coevolution.inputs import MIN_ROWS, features, levels, no_features, refusal

__all__ = [
  'MAX_RES',
  'MAX_ROWS',
  'MIN_ROWS',
  'Couplings',
  'contact_precision',
  'couplings',
  'features',
  'levels',
  'no_features',
  'refusal',
]
