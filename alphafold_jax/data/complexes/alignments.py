# SPDX-License-Identifier: Apache-2.0
"""The alignments of a complex at rest: of each distinct chain, whatever its copies, one unpaired and one paired."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from alphafold_jax.data.alignment import Alignment, encode, single_sequence
from alphafold_jax.data.chains import MOST_CHAINS
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line
from alphafold_jax.screen import number


@dataclasses.dataclass(frozen=True, eq=False)
class ComplexAlignment:
  """The alignments of a complex's distinct chains, all in one order; row 0 of each is its chain.

  Raises:
    InputError: they do not fit together, above all paired ones of different numbers of rows.
  """

  unpaired: tuple[Alignment, ...]  # one of each distinct chain
  paired: tuple[Alignment, ...]  # the same, of equally many rows: row k of one beside row k of the others
  notes: tuple[str, ...] = ()  # what was repaired, left out or not found
  drop_repeats: bool = False  # unpaired rows that a paired row of the chain repeats do not count, as of DEEPMIND

  __repr__ = one_line

  def __post_init__(self) -> None:
    object.__setattr__(self, 'unpaired', tuple(self.unpaired))
    object.__setattr__(self, 'paired', tuple(self.paired))
    if not self.unpaired or len(self.unpaired) > MOST_CHAINS:
      raise InputError(f'alignments of {len(self.unpaired)} chains; give those of 1 to {MOST_CHAINS}')
    if len(self.paired) != len(self.unpaired):
      raise InputError(
        f'paired alignments of {number(len(self.paired), "chain")}, unpaired ones of {len(self.unpaired)}; give both '
        'of every distinct chain'
      )
    _check_queries(self)
    if len(set(depths := [len(one.tokens) for one in self.paired])) > 1:
      counts = ', '.join(
        f'{number(n, "row")} of chain {i} ({q[:10]}...)' for i, (n, q) in _numbered(depths, self.queries)
      )
      raise InputError(
        f'paired alignments of different numbers of rows: {counts}; row k of one chain is beside row k of the others, '
        'so give each as many, and a row of gaps where there is nothing to pair'
      )

  @property
  def queries(self) -> tuple[str, ...]:
    """The sequence of each distinct chain."""
    return tuple(alignment.query for alignment in self.unpaired)


def bare(queries: Iterable[str]) -> ComplexAlignment:
  """The alignments of distinct chains without homologues."""
  rows = tuple(map(single_sequence, queries))
  return ComplexAlignment(rows, rows)


def headed(alignment: Alignment, name: str = 'query') -> Alignment:
  """The alignment with its query as the first row, under this name where it is not there yet."""
  query = encode(alignment.query)[None]
  if len(alignment.tokens) and np.array_equal(alignment.tokens[:1], query):
    return alignment
  return dataclasses.replace(
    alignment,
    names=(name, *alignment.names),
    tokens=np.concatenate([query, alignment.tokens]),
    deletions=np.concatenate([np.zeros_like(query), alignment.deletions]),
  )


def rows_of(alignment: Alignment, rows: Sequence[int] | np.ndarray | slice) -> Alignment:
  """The alignment with these of its rows."""
  chosen = np.arange(len(alignment.names))[rows]
  return dataclasses.replace(
    alignment,
    names=tuple(alignment.names[i] for i in chosen),
    tokens=alignment.tokens[chosen],
    deletions=alignment.deletions[chosen],
  )


def _check_queries(alignment: ComplexAlignment) -> None:
  """Refuses alignments of a chain twice, or whose first rows are not the chains."""
  for index, (one, other) in enumerate(zip(alignment.unpaired, alignment.paired, strict=True), start=1):
    for what, rows in (('unpaired', one), ('paired', other)):
      if rows.query != one.query or not np.array_equal(rows.tokens[:1], encode(one.query)[None]):
        raise InputError(f'the {what} alignment of chain {index} does not begin with the chain, {one.query[:30]}...')
  if len(set(alignment.queries)) < len(alignment.queries):
    raise InputError('alignments of one chain twice; give those of every distinct chain once, whatever its copies')


def _numbered(depths: Sequence[int], queries: Sequence[str]) -> list[tuple[int, tuple[int, str]]]:
  return list(enumerate(zip(depths, queries, strict=True), start=1))
