# SPDX-License-Identifier: Apache-2.0
"""The alignments of a complex from A3M texts that are given chain by chain, as in the input of AlphaFold 3."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alphafold_jax.data.alignment import Alignment, encode, parse_a3m, single_sequence
from alphafold_jax.data.complexes.alignments import ComplexAlignment, bare
from alphafold_jax.data.complexes.pairing import paired_by_species
from alphafold_jax.errors import InputError


class ChainTexts(NamedTuple):
  """What is given for a chain; texts of A3M."""

  sequence: str
  copies: int
  place: str  # names it in messages
  unpaired: str | None = None  # '': no homologues; None: nothing is said
  paired: str | None = None  # rows that bear species in their names


def of_texts(chains: Sequence[ChainTexts]) -> ComplexAlignment | None:
  """The alignments of a complex; None if nothing is said of any chain.

  Args:
    chains: a sequence that comes twice counts as copies; its texts are those of the first.

  Raises:
    InputError: a text is no alignment of its chain, or only some chains have one.
  """
  if not any(chain.unpaired is not None or chain.paired for chain in chains):
    return None
  distinct: dict[str, ChainTexts] = {}
  notes = []
  for chain in chains:
    first = distinct.setdefault(chain.sequence, chain._replace(copies=0))
    if first.copies and (chain.unpaired or chain.paired) and chain[3:] != first[3:]:
      notes.append(f'{chain.place}: its alignment not used, that of the same sequence before is')
    distinct[chain.sequence] = first._replace(copies=first.copies + chain.copies)
  lacking = [chain.place for chain in distinct.values() if chain.unpaired is None and not chain.paired]
  if lacking:
    raise InputError(f'{lacking[0]}: no alignment, though other chains have one; give one, or an empty text for none')
  unpaired = [_parsed(chain, chain.unpaired) for chain in distinct.values()]
  if len(distinct) == 1 or not any(chain.paired for chain in distinct.values()):
    found = ComplexAlignment(tuple(unpaired), bare(distinct).paired)
  else:
    uniprot = [_parsed(chain, chain.paired) for chain in distinct.values()]
    found = paired_by_species(unpaired, uniprot, [chain.copies for chain in distinct.values()])
  return ComplexAlignment(found.unpaired, found.paired, (*found.notes, *notes))


def _parsed(chain: ChainTexts, text: str | None) -> Alignment:
  """The alignment of a chain; of no text, its sequence alone."""
  if not text or not text.strip():
    return single_sequence(chain.sequence)
  alignment = parse_a3m(text, chain.place)
  if not np.array_equal(encode(alignment.query), encode(chain.sequence)):
    raise InputError(
      f'{chain.place}: the alignment begins with {alignment.query[:30]}... ({len(alignment.query)} residues), the '
      f'chain with {chain.sequence[:30]}... ({len(chain.sequence)}); its first row must be the chain'
    )
  return dataclasses.replace(alignment, query=chain.sequence)
