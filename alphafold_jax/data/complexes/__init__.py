# SPDX-License-Identifier: Apache-2.0
"""Alignments of complexes: one for each distinct chain, some of their rows in pairs, and how one is made of them.

alignments  a complex's alignments, paired and unpaired
a3m         read and written as ColabFold does
arrays      inside a file of features
pairing     by species, as AlphaFold-Multimer does
merging     all of them side by side: the one alignment that features are made of
texts       of A3M texts that are given chain by chain
"""

from alphafold_jax.data.complexes.a3m import as_text, parse
from alphafold_jax.data.complexes.alignments import ComplexAlignment, bare
from alphafold_jax.data.complexes.arrays import from_arrays, to_arrays
from alphafold_jax.data.complexes.merging import COLABFOLD, DEEPMIND, FOR_MONOMER_MODELS, Merging, merge
from alphafold_jax.data.complexes.pairing import paired_by_species, species
from alphafold_jax.data.complexes.texts import ChainTexts, of_texts

__all__ = [
  'COLABFOLD',
  'DEEPMIND',
  'FOR_MONOMER_MODELS',
  'ChainTexts',
  'ComplexAlignment',
  'Merging',
  'as_text',
  'bare',
  'from_arrays',
  'merge',
  'of_texts',
  'paired_by_species',
  'parse',
  'species',
  'to_arrays',
]
