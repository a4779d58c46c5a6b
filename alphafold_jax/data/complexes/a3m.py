# SPDX-License-Identifier: Apache-2.0
"""The A3M file of a complex, as ColabFold writes and reads it.

    #3,2<TAB>1,2          lengths of the distinct chains and how many copies there are of each
    >101<TAB>102          perhaps with the order of all chains, see data/chain_table.py
    MKTAY                 the distinct chains, joined; copies are not written
    >one<TAB>other
    M-TAY                 residues of two or more chains: a paired row, with a name for each chain
    >101
    MKT--                 residues of one chain: an unpaired row of it; its own sequence comes first
    >102
    ---AY

Departs from ColabFold: insertions between the last residue column of a chain and the first of the next belong to
neither where both have residues, since the file does not say to which; it counts them to the next chain. And of a
chain that has no rows of its own the sequence alone is its unpaired alignment.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import Alignment, encode, parse_rows, single_sequence
from alphafold_jax.data.chain_table import FIRST_ID, ChainTable
from alphafold_jax.data.chains import Chains, spans
from alphafold_jax.data.complexes.alignments import ComplexAlignment, headed, rows_of
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

_BREAKS = re.compile(r'[\r\n\0]+')
_LETTERS = np.frombuffer(residues.MSA_ALPHABET.encode(), np.uint8)
_INSERTED = 'x'  # which residues were inserted is not kept, only how many
Pieces = Iterator[tuple[str, str]]  # name and row of one record


def parse(text: str, source: str) -> tuple[Chains, ComplexAlignment]:
  """Reads the A3M text of a complex.

  Args:
    text: with the line '#lengths<TAB>copies'; without it there is one chain.
    source: names the text in messages.

  Returns:
    The chains, in the order that the file says, else copies side by side; and the alignments of the distinct ones.

  Raises:
    InputError: the line and the rows do not fit together, or a row holds what is no residue.
  """
  joined, table = parse_rows(text, source, 'records')
  table = table or ChainTable((len(joined.query),), (1,))
  parts = _parts(joined, table.lengths)
  with_residue = np.stack([(part.tokens != residues.GAP).any(axis=1) for part in parts], axis=1)  # [num_seq, num_chain]
  num_chains = with_residue.sum(axis=1)
  queries = [single_sequence(part.query, str(id)) for id, part in enumerate(parts, start=FIRST_ID)]
  if len(parts) == 1:
    unpaired, paired = parts, queries
  else:
    pairs = np.flatnonzero(num_chains > 1)
    paired = [_own_names(rows_of(part, pairs), i, len(parts)) for i, part in enumerate(parts)]
    alone = [np.flatnonzero(with_residue[:, i] & (num_chains == 1)) for i in range(len(parts))]
    unpaired = [
      headed(rows_of(part, rows), str(id)) for id, (part, rows) in enumerate(zip(parts, alone, strict=True), FIRST_ID)
    ]
  empty = int((num_chains == 0).sum())
  notes = (*joined.notes, *([f'{number(empty, "row")} of gaps alone left out'] if empty and len(parts) > 1 else []))
  return table.chains(joined.query), ComplexAlignment(tuple(unpaired), tuple(paired), notes, table.drop_repeats)


def _parts(joined: Alignment, lengths: Sequence[int]) -> list[Alignment]:
  """The columns of each distinct chain."""
  parts: list[Alignment] = []
  for span in spans(lengths):
    tokens, deletions = joined.tokens[:, span], joined.deletions[:, span].copy()
    if parts:
      deletions[(parts[-1].tokens != residues.GAP).any(axis=1), 0] = 0
    parts.append(Alignment(joined.names, tokens, deletions, joined.query[span]))
  return parts


def _own_names(alignment: Alignment, index: int, num_chains: int) -> Alignment:
  """Paired rows of a chain under its own names; under the whole header where that has not one for each chain."""
  headers = [name.split('\t') for name in alignment.names]
  names = (parts[index] if len(parts) >= num_chains else ' '.join(parts) for parts in headers)
  return dataclasses.replace(alignment, names=tuple(names))


# ------------------------------------------------------------------------------------------ writing


def as_text(alignment: ComplexAlignment, chains: Chains) -> str:
  """The A3M text of a complex; insertions are written as 'x'.

  Args:
    alignment: of the distinct chains.
    chains: the complex.

  Raises:
    InputError: the alignments are of other chains.
  """
  queries = {encode(query).tobytes(): query for query in alignment.queries}  # the same residues in other letters
  found = [queries.get(encode(sequence).tobytes(), '') for sequence in chains.sequences]
  if set(found) != set(alignment.queries):
    raise InputError(f'alignments of {len(alignment.queries)} chains, and a complex of {len(chains.distinct)} others')
  table = ChainTable.of(found, alignment.queries, alignment.drop_repeats)
  lengths, ids = table.lengths, table.ids
  lines = [table.line]
  for index, pieces in enumerate(zip(*map(_records, alignment.paired, ids), strict=True)):
    name = _joined_name([name for name, _ in pieces]) if index else table.header
    lines += [f'>{name}', ''.join(row for _, row in pieces)]
  for index, of_chain in enumerate(alignment.unpaired):
    before, behind = '-' * sum(lengths[:index]), '-' * sum(lengths[index + 1 :])
    for name, row in _records(of_chain, ids[index]):
      lines += [f'>{name}', f'{before}{row}{behind}']
  return '\n'.join(lines) + '\n'


def _joined_name(names: Sequence[str]) -> str:
  """The header of a paired row; what stands behind a tab in a chain's own name is left out."""
  return '\t'.join(name.split('\t')[0] for name in names) if len(names) > 1 else names[0]


def _records(alignment: Alignment, id: str) -> Pieces:
  """Name and letters of each row, insertions in lower case; the first row, the chain, has its id for a name."""
  rows = zip((id, *alignment.names[1:]), alignment.tokens, alignment.deletions, strict=True)
  for index, (name, tokens, deletions) in enumerate(rows):
    row = alignment.query if index == 0 else _LETTERS[tokens].tobytes().decode()
    if deletions.any():
      row = ''.join(_INSERTED * int(count) + letter for count, letter in zip(deletions, row, strict=True))
    yield _BREAKS.sub(' ', name), row
