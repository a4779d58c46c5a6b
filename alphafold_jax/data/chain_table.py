# SPDX-License-Identifier: Apache-2.0
"""The line above the alignment of a complex, as ColabFold writes it: '#93,87<TAB>1,1', lengths and copies.

Both are of the distinct chains, in whose columns the rows stand, one behind the other; copies have no columns.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from alphafold_jax.data.chains import MOST_CHAINS, Chains, spans
from alphafold_jax.errors import InputError

_LINE = re.compile(r'#\s*(\d+(?:\s*,\s*\d+)*)\s+(\d+(?:\s*,\s*\d+)*)\s*$')
_ALMOST = re.compile(r'#\s*\d+\s*[,;]')  # nothing else begins so
_MOST_DIGITS = 9


class ChainTable(NamedTuple):
  """Lengths and numbers of copies of the distinct chains of an alignment."""

  lengths: tuple[int, ...]
  copies: tuple[int, ...]
  number: int = 1  # of its line

  @property
  def is_complex(self) -> bool:
    """Whether there is more than one chain, copies counted."""
    return sum(self.copies) > 1

  @property
  def line(self) -> str:
    """The line that says so."""
    return f'#{_listed(self.lengths)}\t{_listed(self.copies)}'

  def chains(self, query: str) -> Chains:
    """All chains, copies side by side.

    Args:
      query: the distinct chains, one behind the other.
    """
    distinct = [query[span] for span in spans(self.lengths)]
    return Chains(tuple(chain for chain, count in zip(distinct, self.copies, strict=True) for _ in range(count)))


def find(comments: Iterable[tuple[int, str]], source: str) -> ChainTable | None:
  """What the '#' lines of an alignment say of its chains; None if they say nothing.

  Args:
    comments: line numbers and lines.
    source: names the file in messages.

  Raises:
    InputError: a line contradicts itself or another, or announces more chains than can be.
  """
  found: ChainTable | None = None
  for number, comment in comments:
    place = f'{source}, line {number}: {_shown(comment)}'
    if not (match := _LINE.match(comment)):
      if _ALMOST.match(comment):
        raise InputError(
          f"{place} looks like the lengths and copies of chains and is not; write it as '#93,87<TAB>1,2', lengths and "
          'numbers of copies of the distinct chains, or remove it'
        )
      continue
    lengths, copies = (tuple(map(_whole, group.split(','))) for group in match.groups())
    if len(lengths) != len(copies):
      raise InputError(
        f'{place} has {len(lengths)} lengths and {len(copies)} numbers of copies; write one of each for every '
        f'distinct chain, such as {ChainTable(lengths[:2], (1,) * len(lengths[:2])).line!r}'
      )
    if not all((*lengths, *copies)):
      raise InputError(f'{place} has a 0 in it; every chain has residues, and at least one copy')
    if sum(copies) > MOST_CHAINS:
      raise InputError(f'{place} announces {sum(copies):,} chains; at most {MOST_CHAINS:,} are predicted together')
    table = ChainTable(lengths, copies, number)
    if found and found[:2] != table[:2]:
      raise InputError(f'{place}, but line {found.number} is {found.line!r}; give one alignment a file')
    found = found or table
  return found


def check(table: ChainTable | None, query: str, source: str) -> None:
  """Refuses a table that does not fit the query, the first row of its alignment.

  Raises:
    InputError: it is of another length, or two of its chains are one; the message names `source`.
  """
  if table is None:
    return
  place = f'{source}, line {table.number}: {_shown(table.line)}'
  if sum(table.lengths) != len(query):
    total = ' + '.join(map(str, table.lengths[:8])) + (' + ...' if len(table.lengths) > 8 else '')
    total = total if len(table.lengths) == 1 else f'{total} = {sum(table.lengths)}'
    raise InputError(
      f'{place} announces {total} residues, but the query (first row) has {len(query)}; correct or remove the line'
    )
  seen: dict[str, int] = {}
  for index, span in enumerate(spans(table.lengths)):
    first = seen.setdefault(query[span], index)
    if first != index:
      raise InputError(
        f'{place}, but its chains {first + 1} and {index + 1} are one and the same; write such a chain once, with its '
        'number of copies behind the tab'
      )


def _whole(digits: str) -> int:
  """A number; one of too many digits is as good as any that is too large."""
  return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _listed(numbers: Iterable[int]) -> str:
  return ','.join(map(str, numbers))


def _shown(line: str) -> str:
  return repr(line if len(line) <= 60 else f'{line[:57]}...')
