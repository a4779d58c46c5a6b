# SPDX-License-Identifier: Apache-2.0
"""Rows of the chains of a complex side by side, as A3M texts.

By taxon, as MMseqs2's module `pairaln` does: of each chain the best row of a taxon, beside the other chains' best rows
of it, in the order of the taxon's number. The taxon is said in a row's name: 'UniRef100_P69905 TaxID=9606'.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from alphafold_jax.choices import COMPLETE
from alphafold_jax.data.alignment import Alignment, in_columns, parse_a3m
from alphafold_jax.search.found import FoundPairs

_TAXON = re.compile(r' TaxID=(\d+)$')


def with_taxon(name: str, taxon: int) -> str:
  """A row's name that says its taxon."""
  return f'{name} TaxID={taxon}'


def records_of(a3m: str) -> list[str]:
  """The records of an A3M text below the first: name, line end, row."""
  return [record.rstrip('\n') for record in a3m.removeprefix('>').split('\n>')[1:]]


def by_taxon(alignments: Sequence[str], strategy: str) -> tuple[str, ...]:
  """Pairs the rows of chains by taxon.

  Args:
    alignments: A3M text of each chain: its sequence, then rows whose names say their taxon, best first.
    strategy: greedy: taxa that two or more chains have, rows of gaps for the others; complete: those that all have.

  Returns:
    A3M text of each chain without its sequence, of equal numbers of rows.
  """
  best = [_best_of_each_taxon(text) for text in alignments]
  counts = Counter(taxon for rows in best for taxon in rows)
  least = len(alignments) if strategy == COMPLETE else 2
  chosen = sorted(taxon for taxon, count in counts.items() if count >= least)
  widths = [len(text.split('\n', 2)[1]) for text in alignments]
  return tuple(
    ''.join(f'>{rows.get(taxon) or _gaps(taxon, width)}\n' for taxon in chosen)
    for rows, width in zip(best, widths, strict=True)
  )


def _best_of_each_taxon(a3m: str) -> dict[int, str]:
  """The first record of each taxon."""
  best: dict[int, str] = {}
  for record in records_of(a3m):
    if known := _TAXON.search(record.partition('\n')[0]):
      best.setdefault(int(known[1]), record)
  return best


def _gaps(taxon: int, width: int) -> str:
  return f'{with_taxon("none", taxon)}\n{"-" * width}'


def distinct(sequence: str, alignments: Iterable[str], most: int | None = None) -> str:
  """The rows of alignments of one sequence as one A3M text, each row once.

  As in AlphaFold, rows are equal that have the same letters in the sequence's columns, and those that equal the
  sequence itself are left out too.

  Args:
    sequence: upper-case letters.
    alignments: A3M texts, each beginning with the sequence.
    most: rows read at most, the sequence included, before those that repeat are dropped; None: all.
  """
  records = [record for text in alignments for record in records_of(text)]
  seen, kept = {sequence}, [f'query\n{sequence}']
  for record in records[: most and most - 1]:
    name, _, row = record.partition('\n')
    letters = in_columns(row)
    if letters not in seen:
      seen.add(letters)
      kept.append(f'{name}\n{row}')
  return ''.join(f'>{record}\n' for record in kept)


def alignments(found: FoundPairs) -> tuple[Alignment, ...]:
  """What was found as arrays, one alignment per distinct chain; all rows stay, also those that repeat another.

  Unless they have yet to be paired by species, row k of each stands beside row k of the others.

  Raises:
    InputError: a row is not aligned to its sequence.
  """
  read = [
    parse_a3m(text, f'pairs of chain {number}', drop_duplicates=False) for number, text in enumerate(found.chains, 1)
  ]
  assert found.by_species or len({len(one.names) for one in read}) == 1  # engines see to it
  return tuple(read)
