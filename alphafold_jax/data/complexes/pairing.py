# SPDX-License-Identifier: Apache-2.0
"""Rows of different chains that come from one species, side by side (Evans et al. 2021, section 7.2).

Two proteins of one organism may touch, and where they do they change together. For each species the rows of every
chain are ordered by their likeness to the chain; the best of one goes beside the best of the others, as far as the
chain with fewest rows goes.

Departs from AlphaFold: rows are sorted stably, as its newest program does and its releases did not; the product of row
numbers is exact, where 64 bits overflow from five chains on. Both decide the order only.
"""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from alphafold_jax.arguments import wrong
from alphafold_jax.choices import PAIR_STRATEGIES
from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.complexes.alignments import ComplexAlignment, rows_of

_MOST_ROWS = 600  # of a species, in any chain: a species with more is not paired
_GAPS = -1  # the row of a chain that has none to pair
_GAPS_NAME = 'DUMMY'
_UNIPROT = re.compile(r'(?:tr|sp)\|[A-Za-z0-9]{6,10}(?:_\d)?\|[A-Za-z0-9]+_([A-Za-z0-9]{1,5})(?:_\d+)?')


def species(header: str) -> str:
  """The species in the name of a UniProt entry: 'HUMAN' of 'tr|A0A146SKV9|A0A146SKV9_HUMAN/4-90 ...'; else ''."""
  first = header.split(maxsplit=1)[:1]
  found = _UNIPROT.fullmatch(first[0].partition('/')[0]) if first else None
  return found[1] if found else ''


def paired_by_species(
  unpaired: Sequence[Alignment], uniprot: Sequence[Alignment], copies: Sequence[int], strategy: str = 'greedy'
) -> ComplexAlignment:
  """The alignments of a complex whose paired rows come from UniProt.

  Args:
    unpaired: of each distinct chain.
    uniprot: rows of each distinct chain that bear species in their names; no two of one chain should be equal.
    copies: how many there are of each chain; they count as chains, so that two copies make a pair.
    strategy: 'greedy' pairs species of two chains or more, and gives the others a row of gaps; 'complete' takes only
      those of all chains.

  Returns:
    The complex; a note says so if nothing was paired.

  Raises:
    InputError: the strategy is unknown, or the alignments do not fit together.
  """
  rows = pairs(uniprot, copies, strategy)
  notes = () if len(uniprot) == 1 or len(rows) > 1 else (_nothing_found(uniprot, strategy),)
  found = tuple(_with_gaps(one, column) for one, column in zip(uniprot, rows.T, strict=True))
  return ComplexAlignment(tuple(unpaired), found, notes)


def pairs(alignments: Sequence[Alignment], copies: Sequence[int], strategy: str = 'greedy') -> np.ndarray:
  """Which rows go side by side: [num_pairs, num_chains] int, -1 where a chain has none; the chains themselves first.

  Pairs of more chains come first; of equally many, those of lowest product of row numbers.
  """
  if strategy not in PAIR_STRATEGIES:
    raise wrong('pair_strategy', strategy, f'must be one of {", ".join(PAIR_STRATEGIES)}')
  groups = [_by_species(alignment) for alignment in alignments] if len(alignments) > 1 else []
  found: dict[int, list[tuple[int, ...]]] = defaultdict(list)
  found[sum(copies)].append((0,) * len(alignments))
  for name in sorted(set().union(*groups)):
    rows = [group.get(name, []) for group in groups]
    num_chains = sum(count for of_chain, count in zip(rows, copies, strict=True) if of_chain)
    left_out = num_chains < 2 or max(map(len, rows)) > _MOST_ROWS or (strategy == 'complete' and not all(rows))
    if not left_out:
      found[num_chains] += _side_by_side(rows)
  ordered = [
    row
    for num_chains in sorted(found, reverse=True)
    for row in sorted(found[num_chains], key=lambda row: abs(math.prod(i**count for i, count in zip(row, copies))))
  ]
  return np.array(ordered, int)


def _by_species(alignment: Alignment) -> dict[str, list[int]]:
  """The rows of each species, those most like the query first; rows without a species are left out."""
  alike = np.sum(alignment.tokens == alignment.tokens[:1], axis=1)  # gaps count like residues
  groups: dict[str, list[int]] = defaultdict(list)
  for row, name in enumerate(alignment.names):
    if found := species(name):
      groups[found].append(row)
  return {name: sorted(rows, key=lambda row: -alike[row]) for name, rows in groups.items()}


def _side_by_side(rows: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
  """The best row of each chain beside the best of the others, and so on; a chain without rows gives gaps."""
  depth = min(len(of_chain) for of_chain in rows if of_chain)
  return list(zip(*(of_chain[:depth] if of_chain else [_GAPS] * depth for of_chain in rows), strict=True))


def _with_gaps(alignment: Alignment, rows: np.ndarray) -> Alignment:
  """These rows of an alignment, one of gaps for each -1."""
  gaps = np.full_like(alignment.tokens[:1], residues.GAP)
  with_gaps = dataclasses.replace(
    alignment,
    names=(*alignment.names, _GAPS_NAME),
    tokens=np.concatenate([alignment.tokens, gaps]),
    deletions=np.concatenate([alignment.deletions, np.zeros_like(alignment.deletions[:1])]),
  )
  return rows_of(with_gaps, rows)


def _nothing_found(alignments: Sequence[Alignment], strategy: str) -> str:
  """The note on a complex without pairs."""
  without = [str(i) for i, one in enumerate(alignments, start=1) if not any(map(species, one.names))]
  if without:
    chains = f'chain{"s" * (len(without) > 1)} {", ".join(without[:8])}{", ..." if len(without) > 8 else ""}'
    why = f'no row of distinct {chains} has a species in its name, such as tr|A0A146SKV9|A0A146SKV9_FUNHE'
  else:
    why = 'no species has rows of ' + ('all chains' if strategy == 'complete' else 'two chains')
  return f'nothing paired: {why}; the chains go on with unpaired rows alone'
