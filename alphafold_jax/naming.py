# SPDX-License-Identifier: Apache-2.0
"""Names that a person gives, matched with the names that are there; and how messages show them.

One rule: a name means the one that is spelt so; else the only one that differs from it in upper and lower case alone.
"""

import collections
import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

Value = TypeVar('Value')


class Names(Generic[Value]):
  """Values by name."""

  def __init__(self, values: Mapping[str, Value]):
    self._values = dict(values)
    self._alike: dict[str, list[str]] = collections.defaultdict(list)
    for name in self._values:
      self._alike[name.casefold()].append(name)

  def __len__(self) -> int:
    return len(self._values)

  def __iter__(self) -> Iterator[str]:
    return iter(self._values)

  def __getitem__(self, name: str) -> Value:
    return self._values[name]

  def meant(self, name: str, others: Collection[str] = ()) -> str | None:
    """The name that is meant by one that a person wrote; None if there is none, or more than one.

    Args:
      name: as written.
      others: names that mean something else if they are spelt exactly so, such as chain 'A' beside chain 'a'.
    """
    if name in self._values:
      return name
    alike = [one for one in self._alike.get(name.casefold(), ()) if one not in others]
    return alike[0] if len(alike) == 1 else None


def listed(names: Iterable[str], most: int = 5) -> str:
  """('a', 'b') -> 'a, b'; beyond `most` names 'a, b, c, d, e and 7 more'."""
  names = list(names)
  more = f' and {len(names) - most:,} more' if len(names) > most else ''
  return f'{", ".join(names[:most])}{more}'


def nearest(name: str, known: Iterable[str], *, alike: float = 0.6) -> str | None:
  """The known name that was meant by a wrong one: the first that it begins, or the one most like it; None for neither.

  Args:
    name: as written; its case does not count.
    known: the names that there are.
    alike: share of letters that must be the same, 0 to 1.
  """
  folded = {one.casefold(): one for one in known}
  asked = name.casefold()
  longer = [one for one in folded if asked and one.startswith(asked)]
  near = longer or difflib.get_close_matches(asked, folded, 1, alike)
  return folded[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
  """('val', ['train', 'validation']) -> "; did you mean 'validation'?"; '' where no name is like it."""
  near = nearest(name, known)
  return f'; did you mean {near!r}?' if near else ''


def chain_name(index: int) -> str:
  """The index-th chain's name, from 0, in the PDB's order: A to Z, then AA, BA, ... ZA, AB, ..."""
  name, index = '', index + 1
  while index > 0:
    index, letter = divmod(index - 1, 26)
    name += chr(ord('A') + letter)
  return name


def pair_name(one: str, other: str) -> str:
  """('A', 'B') -> 'A-B', as ColabFold names pairs of chains; where a name has a dash itself 'A-1 - B'.

  Names have no white space, so that two pairs of chains never have one name.
  """
  return (' - ' if '-' in one + other else '-').join((one, other))
