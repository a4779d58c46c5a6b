# SPDX-License-Identifier: Apache-2.0
"""Two sequences aligned residue by residue, by BLOSUM62 with affine gaps."""

import functools
from collections.abc import Mapping

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import encode


def align(query: str, template: str) -> dict[int, int]:
  """Query index -> template index, both from 0, of the aligned residues; gaps at the ends are free."""
  query, template = canonical(query), canonical(template)
  blocks = _aligner().align(query, template)[0].aligned
  return {int(q) + i: int(t) + i for (q, end), (t, _) in zip(*blocks, strict=True) for i in range(int(end) - int(q))}


def score(query: str, template: str) -> float:
  """The score of the best alignment of two sequences of canonical letters; quicker than the alignment itself."""
  return _aligner().score(query, template)


def canonical(sequence: str) -> str:
  """A sequence in the 20 letters and X, by the table of data/alignment.py."""
  return ''.join(residues.MSA_ALPHABET[token] for token in encode(sequence))


def identical(query: str, template: str, pairs: Mapping[int, int]) -> int:
  """How many aligned residues are of the same, known type."""
  a, b = encode(query)[list(pairs)], encode(template)[list(pairs.values())]
  return int(np.sum((a == b) & (a < residues.UNKNOWN)))


@functools.cache
def _aligner() -> PairwiseAligner:
  aligner = PairwiseAligner(mode='global')
  aligner.substitution_matrix = substitution_matrices.load('BLOSUM62')
  aligner.open_gap_score, aligner.extend_gap_score = -11, -1
  aligner.end_gap_score = 0
  return aligner
