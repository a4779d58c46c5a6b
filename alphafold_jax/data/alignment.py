# SPDX-License-Identifier: Apache-2.0
"""A3M alignments as arrays of integers; freely written ones are accepted, inconsistent ones refused.

In A3M the first record is the query; in the others an upper-case letter or '-' stands in a column of the query,
lower-case letters are insertions between columns ('.' only pads them). Letters become tokens by one table:
the 20 residues 0..19, B as D, Z as E, U as C, J, O and X as unknown (20), '-' as gap (21).

Departs from AlphaFold: its program uses that table for the alignment but calls B, Z and U unknown in the sequence
itself; here the query's residue types follow the one table, so that row 0 and the sequence always agree.
"""

import dataclasses
import functools
import re
import string
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from alphafold_jax import installed
from alphafold_jax.arguments import wrong
from alphafold_jax.constants import residues
from alphafold_jax.data import chain_table, symbols
from alphafold_jax.data.chain_table import ChainTable
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.records import ANNOTATIONS, NO_ALIGNMENT_SYMBOL, FastaRecord, split_records
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line
from alphafold_jax.screen import number

MAX_ROWS = 40_960  # that go to the device
_NO_LETTER = re.compile('[^A-Za-z]')
_CONSENSUS = re.compile(r'(.*[_|.-])?consensus(/\d+-\d+)?', re.IGNORECASE)  # as HH-suite and alignment viewers name it
_NO_COLUMN = str.maketrans('', '', string.ascii_lowercase + '.')

_OPEN_GAP, _EXTEND_GAP = -11, -1  # of alignments of two sequences, as BLAST has them with BLOSUM62
_TOKENS = np.full(256, residues.UNKNOWN, np.int32)
_TOKENS[[ord(letter) for letter in residues.LETTER_TO_TOKEN]] = list(residues.LETTER_TO_TOKEN.values())


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
  """Rows aligned to a query; row 0 is the query."""

  names: tuple[str, ...]  # header of each row
  tokens: np.ndarray  # [num_seq, num_res] int32
  deletions: np.ndarray  # [num_seq, num_res] int32, residues left out just before this column
  query: str  # the query's letters, upper case
  notes: tuple[str, ...] = ()  # what was repaired or left out on reading
  lengths: tuple[int, ...] = ()  # residues of each chain that it spans, in order; none: one chain

  __repr__ = one_line


def encode(sequence: str) -> np.ndarray:  # [num_res] int32
  """Tokens of upper-case letters and '-'."""
  return _TOKENS[np.frombuffer(sequence.encode('ascii'), np.uint8)]


def profile(tokens: np.ndarray) -> np.ndarray:  # [num_seq, num_res] -> [num_res, 22] float32
  """Frequency of each token in each column, gaps included."""
  num_seq, num_res = tokens.shape
  cells = np.arange(num_res) * 22 + tokens  # [num_seq, num_res]
  counts = np.bincount(cells.ravel(), minlength=num_res * 22)
  return (counts.reshape(num_res, 22) / num_seq).astype(np.float32)


def checked(sequence: str, name: str = 'query') -> str:
  """A sequence in upper case; InputError, with its name, when it is empty or not of letters."""
  if not isinstance(sequence, str):
    raise wrong(name, sequence, 'must be a sequence as text')
  if bad := _NO_LETTER.search(sequence):
    why = symbols.advice(bad[0]) or 'is no residue; give letters A-Z only'
    raise InputError(f'sequence {name!r}, residue {bad.start() + 1}: {symbols.shown(bad[0])} {why}')
  if not sequence:
    raise InputError(f'sequence {name!r} is empty; give at least one residue')
  return sequence.upper()


def checked_chains(sequence: str, name: str = 'query') -> Chains:
  """The chains of a sequence in which ':' stands between them, in upper case.

  Raises:
    InputError: with its name, when a chain is empty or not of letters.
  """
  if not isinstance(sequence, str):
    raise wrong(name, sequence, 'must be a sequence as text')
  parts = sequence.split(':')
  for index, part in enumerate(parts, start=1):
    if not part and len(parts) > 1:
      raise InputError(
        f"sequence {name!r}: chain {index} of {len(parts)} is empty; remove the ':' that is too many, or give the chain"
      )
  if len(parts) == 1:
    return Chains((checked(sequence, name),))
  return Chains(tuple(checked(part, f'{name}, chain {index}') for index, part in enumerate(parts, start=1)))


def single_sequence(sequence: str, name: str = 'query') -> Alignment:
  """The alignment of a query without homologues; of a complex, 'AAA:BBB', its chains side by side."""
  chains = checked_chains(sequence, name)
  tokens = encode(chains.sequence)[None]
  lengths = chains.lengths if len(chains) > 1 else ()
  return Alignment((name,), tokens, np.zeros_like(tokens), chains.sequence, lengths=lengths)


def parse_a3m(text: str, source: str, *, drop_duplicates: bool = True) -> Alignment:
  """Reads an A3M text of one chain.

  Args:
    text: the query first.
    source: names the text in messages.
    drop_duplicates: of rows that are equal in the query's columns keep only the first, as AlphaFold does.

  Raises:
    InputError: a row is not aligned to the query or holds what is no residue, or the alignment is that of a complex.
  """
  alignment, table = parse_rows(text, source, 'columns' if drop_duplicates else None)
  if table is not None and table.is_complex:
    raise InputError(
      f'{source}, line {table.number}: {table.line!r} announces a complex of several chains, and the alignment of a '
      'single chain is expected here; give one chain'
    )
  return alignment


def parse_rows(text: str, source: str, same: str | None) -> tuple[Alignment, ChainTable | None]:
  """Reads an A3M text of one chain or of several, and what its '#' line says of them.

  Args:
    text: the query first; of a complex the distinct chains joined.
    source: names the text in messages.
    same: of which rows only the first is kept: equal in the query's columns ('columns'), equal in name and all letters
      ('records'), or none is left out (None).

  Raises:
    InputError: as of `parse_a3m`; a complex is taken.
  """
  records, comments, notes = _sequences(text, source)
  head = _head(records, comments, source)
  rows, aligned = _aligned_rows(records, head.query, source)
  kept = _first_of_each(_SAME[same](records, rows, aligned)) if same else list(range(len(rows)))
  if dropped := len(rows) - len(kept):
    notes.append(f'{number(dropped, "duplicate row")} left out')
  alignment = Alignment(
    names=tuple(records[i].name for i in kept),
    tokens=encode(''.join(aligned[i] for i in kept)).reshape(len(kept), len(head.query)),
    deletions=_deletions([rows[i] for i in kept], len(head.query)),
    query=head.query,
    notes=(*head.notes, *notes),
  )
  return alignment, head.table


class AlignmentHead(NamedTuple):
  """What the first row of an alignment, and the '#' line above it, say."""

  query: str  # of a complex the distinct chains, joined
  notes: tuple[str, ...]  # how its letters are read
  table: ChainTable | None  # None: nothing is said of chains, there is one

  @property
  def chains(self) -> Chains:
    """All chains, in their order."""
    return self.table.chains(self.query) if self.table else Chains((self.query,))


def parse_query(head: str, source: str) -> AlignmentHead:
  """The query of an A3M text that may end behind it.

  Raises:
    InputError: as of `parse_rows`, for what stands there.
  """
  records, comments, _ = _sequences(head, source)
  return _head(records, comments, source)


def _head(records: list[FastaRecord], comments: list[tuple[int, str]], source: str) -> AlignmentHead:
  query, notes = _query_letters(records[0], source)
  table = chain_table.find(comments, source)
  chain_table.check(table, query, source)
  table = chain_table.with_fields(table, records[0].name, f'{source}, line {records[0].line}')
  return AlignmentHead(query, tuple(notes), table)


def _sequences(text: str, source: str) -> tuple[list[FastaRecord], list[tuple[int, str]], list[str]]:
  """The records that are sequences, all of them letters and gaps; '#' lines; notes on what is left out."""
  records, comments = split_records(text, source)
  kept = [record for record in records if record.id not in ANNOTATIONS]
  if not kept:
    raise InputError(f'{source}: no sequence besides secondary structure rows; the first record must be the query')
  for record in kept:
    record.refuse(
      NO_ALIGNMENT_SYMBOL, source, "is no residue, gap or insertion; an A3M row holds letters, '-' and '.' only"
    )
  left_out = len(records) - len(kept)
  return kept, comments, [f'{number(left_out, "secondary structure row")} left out'] if left_out else []


def _query_letters(record: FastaRecord, source: str) -> tuple[str, list[str]]:
  """The query in upper case, and a note if it was not."""
  if _CONSENSUS.fullmatch(record.id):
    raise InputError(
      f'{source}, line {record.line}: the first record, {record.id!r}, is a consensus of the alignment and no protein; '
      'remove it, so that the first row is the sequence to predict (or give it another name, if it is that)'
    )
  record.refuse(re.compile('-'), source, 'is a gap in the query (the first row); remove the columns without a residue')
  letters = record.text.replace('.', '')
  if not letters:
    raise InputError(f'{source}, line {record.line}: record {record.id!r}, the query, has no sequence')
  note = 'lower-case letters of the query read as residues'
  return letters.upper(), [] if letters.isupper() else [note]


def in_columns(row: str) -> str:
  """The letters of an A3M row that stand in the query's columns: without dots and insertions, which are lower case."""
  return row.translate(_NO_COLUMN)


def _aligned_rows(records: list[FastaRecord], query: str, source: str) -> tuple[list[str], list[str]]:
  """Each record's letters without '.', and those in the query's columns: upper case or '-', as many as residues."""
  rows, aligned = [query], [query]
  for record in records[1:]:
    row = record.text.replace('.', '')
    letters = in_columns(row)
    if (width := len(letters)) != len(query):
      hint = ' (lower-case letters are insertions and do not count)' if len(row) != width else ''
      raise InputError(
        f'{source}, line {record.line}: record {record.id!r} has {number(width, "aligned column")}{hint}, expected '
        f'{len(query)}, the length of the query (first row); align it to this query again'
      )
    rows.append(row)
    aligned.append(letters)
  return rows, aligned


def _first_of_each(rows: Iterable[Hashable]) -> list[int]:
  """Indices of the rows that do not repeat an earlier one."""
  first: dict[Hashable, int] = {}
  for i, row in enumerate(rows):
    first.setdefault(row, i)
  return list(first.values())


_SAME: dict[str, Callable[..., Iterable[Hashable]]] = {  # what two rows have alike if they count as one
  'columns': lambda records, rows, aligned: aligned,
  'records': lambda records, rows, aligned: zip((record.name for record in records), rows, strict=True),
}


def _deletions(rows: list[str], num_res: int) -> np.ndarray:  # [num_seq, num_res] int32
  """Insertions before each column; those behind the last column belong to none and are dropped."""
  deletions = np.zeros((len(rows), num_res), np.int32)
  for i, row in enumerate(rows):
    if len(row) != num_res:
      places = np.flatnonzero(np.frombuffer(row.encode('ascii'), np.uint8) < ord('a'))  # '-' and upper case
      deletions[i] = np.diff(places, prepend=-1) - 1
  return deletions


# ------------------------------------------------------------ two sequences


def align(query: str, template: str) -> dict[int, int]:
  """Query index -> template index, both from 0, of the aligned residues; gaps at the ends are free."""
  query, template = canonical(query), canonical(template)
  blocks = _aligner().align(query, template)[0].aligned
  return {int(q) + i: int(t) + i for (q, end), (t, _) in zip(*blocks, strict=True) for i in range(int(end) - int(q))}


def paired(row: str, other: str) -> Iterator[tuple[int, int]]:
  """(index of a letter, index of the letter in its column of the other row), both from 0 and without counting '-'."""
  i = j = 0
  for a, b in zip(row, other, strict=False):  # callers compare the lengths, with a message of their own
    if a != '-' and b != '-':
      yield i, j
    i, j = i + (a != '-'), j + (b != '-')


def scores(query: str, others: Sequence[str]) -> np.ndarray:  # [num] int
  """The scores of the best alignments of a sequence, as `align` has them, to each of others; all of canonical letters.

  By vector instructions, so that a training set can be aligned to itself.

  Raises:
    InputError: parasail is not installed.
  """
  parasail = installed.module('parasail', 'train', InputError)  # only training sets align all to all
  profile = parasail.profile_create_32(query, parasail.blosum62)
  align = parasail.sg_striped_profile_32  # gaps at the ends are free; 32 bits hold the score of any two proteins
  found = np.array([align(profile, other, -_OPEN_GAP, -_EXTEND_GAP).score for other in others], int)
  return np.maximum(found, 0)  # to align no residue is an alignment too


def canonical(sequence: str) -> str:
  """A sequence in the 20 letters and X, by the one table."""
  return ''.join(residues.MSA_ALPHABET[token] for token in encode(sequence))


def identical(query: str, template: str, pairs: Mapping[int, int]) -> int:
  """How many aligned residues are of the same, known type."""
  a, b = encode(query)[list(pairs)], encode(template)[list(pairs.values())]
  return int(np.sum((a == b) & (a < residues.UNKNOWN)))


@functools.cache
def _aligner() -> Any:
  """BLOSUM62 with affine gaps, as a `Bio.Align.PairwiseAligner`."""
  from Bio.Align import PairwiseAligner, substitution_matrices  # slow to load, and seldom needed

  aligner = PairwiseAligner(mode='global')
  aligner.substitution_matrix = substitution_matrices.load('BLOSUM62')
  aligner.open_gap_score, aligner.extend_gap_score = _OPEN_GAP, _EXTEND_GAP
  aligner.end_gap_score = 0
  return aligner
