# SPDX-License-Identifier: Apache-2.0
"""The account of what a structure file has and its protein chains have not, by reason."""

from collections import Counter
from collections.abc import Mapping

_OF_ATOMS = {  # reasons that count atoms; all others count molecules
  'hydrogen': ('hydrogen', 'hydrogens'),
  'alternative': ('atom of alternative locations', 'atoms of alternative locations'),
  'unknown name': ('atom of a name that no amino acid has', 'atoms of names that no amino acid has'),
  'other model': ('atom of other models', 'atoms of other models'),
  'behind END': ('atom behind the line END', 'atoms behind the line END'),
  'other data block': ('atom of other data blocks', 'atoms of other data blocks'),
}
_UNNAMED = (
  'water',
  'hydrogen',
  'alternative',
  'other model',
  'behind END',
  'other data block',
)  # what they are says enough
_MOST_NAMES = 8  # in a line


class LeftOut:
  """Counts atoms that are in no chain."""

  def __init__(self) -> None:
    self._atoms: Counter[tuple[str, str, bool]] = Counter()  # by reason, name, and whether it is remarkable
    self._molecules: Counter[tuple[str, bool]] = Counter()

  def add(self, reason: str, name: str, atoms: int = 1, *, remarkable: bool = False) -> None:
    """Counts a molecule, or atoms of one residue.

    Args:
      reason: what it is, in the singular.
      name: of the residue, or of the residue and the atom.
      atoms: how many.
      remarkable: it may have been meant as part of a protein.
    """
    if atoms:
      self._atoms[reason, name, remarkable] += atoms
      self._molecules[reason, remarkable] += 1

  def atoms(self) -> dict[str, int]:
    """Atoms by reason."""
    found: Counter[str] = Counter()
    for (reason, _, _), count in self._atoms.items():
      found[reason] += count
    return dict(found)

  def line(self, *, only_remarkable: bool = False) -> str:
    """All reasons in one line, such as '12 waters, 2 ligands (HEM 43 atoms, SO4 5 atoms)'; '' for nothing."""
    names: dict[str, Counter[str]] = {}
    molecules: Counter[str] = Counter()
    for (reason, name, remarkable), count in self._atoms.items():
      if remarkable or not only_remarkable:
        names.setdefault(reason, Counter())[name] += count
    for (reason, remarkable), count in self._molecules.items():
      molecules[reason] += count if remarkable or not only_remarkable else 0
    return ', '.join(_part(reason, molecules[reason], named) for reason, named in names.items())


def _part(reason: str, molecules: int, names: Counter[str]) -> str:
  """One reason, with how many there are and how they are called."""
  count = names.total() if reason in _OF_ATOMS else molecules
  one, many = _OF_ATOMS.get(reason, (reason, _plural(reason)))
  what = f'{count:,} {one if count == 1 else many}'
  if reason in _UNNAMED:
    return what
  listed = [f'{name} {atoms:,} atom{"s" * (atoms != 1)}' for name, atoms in names.most_common(_MOST_NAMES)]
  return f'{what} ({", ".join(listed)}{", ..." if len(names) > _MOST_NAMES else ""})'


def totals(atoms: Mapping[str, int]) -> str:
  """Atoms by reason in one line, such as '120 of waters, 40 hydrogens'."""
  ordered = sorted(atoms.items(), key=lambda item: -item[1])
  return ', '.join(
    f'{count:,} {_OF_ATOMS[reason][count != 1] if reason in _OF_ATOMS else f"of {_plural(reason)}"}'
    for reason, count in ordered
  )


def _plural(reason: str) -> str:
  """residue of chains -> residues of chains; water -> waters."""
  first, of, rest = reason.partition(' of ')
  return f'{first}s{of}{rest}'
