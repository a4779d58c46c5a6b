# SPDX-License-Identifier: Apache-2.0
"""What the head of an alignment says of a complex's chains.

    #93,87<TAB>2,1                              lengths of the distinct chains, and how many copies there are of each
    >101<TAB>102<TAB>order=101,102,101          the first record: the distinct chains, joined; copies have no columns

The first line is ColabFold's. It leaves no place for the order A, B, A: read alone, copies stand side by side. What
stands in the first header behind the names of the distinct chains ColabFold ignores, and so two fields of ours are
there, each only where it says something: `order`, all chains by those names, and `repeats=no`, that unpaired rows which
a paired row of the chain repeats do not count, as in AlphaFold-Multimer.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from alphafold_jax.data.chains import MOST_CHAINS, Chains, spans
from alphafold_jax.errors import InputError

_LINE = re.compile(r'#\s*(\d+(?:\s*,\s*\d+)*)\s+(\d+(?:\s*,\s*\d+)*)\s*$')
_ALMOST = re.compile(r'#\s*\d+\s*[,;]')  # nothing else begins so
_MOST_DIGITS = 9
FIRST_ID = 101  # of the distinct chains in headers
_ORDER, _NO_REPEATS = 'order=', 'repeats=no'


class ChainTable(NamedTuple):
  """Lengths and numbers of copies of the distinct chains of an alignment."""

  lengths: tuple[int, ...]
  copies: tuple[int, ...]
  number: int = 1  # of its line
  order: tuple[int, ...] = ()  # which distinct chain each chain is, from 0; none: copies side by side
  drop_repeats: bool = False  # unpaired rows that a paired row of the chain repeats do not count

  @classmethod
  def of(cls, sequences: Sequence[str], distinct: Sequence[str], drop_repeats: bool = False) -> 'ChainTable':
    """The table of a complex.

    Args:
      sequences: of its chains.
      distinct: its distinct chains in the order of their columns.
      drop_repeats: see there.
    """
    copies = Counter(sequences)
    table = cls(tuple(map(len, distinct)), tuple(copies[one] for one in distinct))
    order = tuple(list(distinct).index(one) for one in sequences)
    return table._replace(order=() if order == table.side_by_side else order, drop_repeats=drop_repeats)

  @property
  def side_by_side(self) -> tuple[int, ...]:
    """The order of chains in which each copy follows the one before."""
    return tuple(index for index, count in enumerate(self.copies) for _ in range(count))

  @property
  def ids(self) -> list[str]:
    """What the distinct chains are called in headers."""
    return [str(id) for id, _ in enumerate(self.lengths, start=FIRST_ID)]

  @property
  def header(self) -> str:
    """The header of the first record, of a complex."""
    fields = self.ids
    if self.order:
      fields = [*fields, _ORDER + ','.join(self.ids[index] for index in self.order)]
    return '\t'.join([*fields, _NO_REPEATS] if self.drop_repeats and len(self.lengths) > 1 else fields)

  @property
  def is_complex(self) -> bool:
    """Whether there is more than one chain, copies counted."""
    return sum(self.copies) > 1

  @property
  def line(self) -> str:
    """The line that says so."""
    return f'#{_listed(self.lengths)}\t{_listed(self.copies)}'

  def chains(self, query: str) -> Chains:
    """All chains, in their order.

    Args:
      query: the distinct chains, one behind the other.
    """
    distinct = [query[span] for span in spans(self.lengths)]
    return Chains(tuple(distinct[index] for index in self.order or self.side_by_side))


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


def with_fields(table: ChainTable | None, header: str, place: str) -> ChainTable | None:
  """The table with what the header of the first record says beyond it.

  Args:
    table: of the line above.
    header: of the first record.
    place: of that record, for messages.

  Raises:
    InputError: the order is that of other chains.
  """
  if table is None:
    return None
  for field in map(str.strip, header.split('\t')[len(table.lengths) :]):
    if field == _NO_REPEATS:
      table = table._replace(drop_repeats=True)
    elif field.startswith(_ORDER):
      named = [name.strip() for name in field.removeprefix(_ORDER).split(',')]
      copies = Counter(named)
      if [copies.pop(name, 0) for name in table.ids] != list(table.copies) or copies:
        raise InputError(
          f'{place}: {_shown(field)} is not the order of the chains that {table.line!r} announces; it must name '
          f'{", ".join(table.ids[:8])} as often as each has copies; correct or remove it'
        )
      table = table._replace(order=tuple(map(table.ids.index, named)))
  return table


def _whole(digits: str) -> int:
  """A number; one of too many digits is as good as any that is too large."""
  return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _listed(numbers: Iterable[int]) -> str:
  return ','.join(map(str, numbers))


def _shown(line: str) -> str:
  return repr(line if len(line) <= 60 else f'{line[:57]}...')
