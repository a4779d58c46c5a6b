# SPDX-License-Identifier: Apache-2.0
"""The account of what a structure file has and its protein chains have not, by reason."""

from collections import Counter

_ATOMS = {  # reasons that count atoms; all others count molecules
  'hydrogen': ('hydrogen', 'hydrogens'),
  'alternative': ('atom of alternative locations', 'atoms of alternative locations'),
  'unknown name': ('atom whose name is not that of an amino acid', 'atoms whose names are not those of amino acids'),
  'other model': ('atom of other models or behind END', 'atoms of other models or behind END'),
}
_UNNAMED = ('water', 'hydrogen', 'alternative', 'other model')  # what they are says enough
_MOST_NAMES = 8  # in a line


class LeftOut:
  """Counts atoms that are in no chain."""

  def __init__(self) -> None:
    self.atoms: Counter[str] = Counter()  # by reason
    self._names: dict[str, Counter[str]] = {}  # by reason: atoms of each name
    self._molecules: Counter[str] = Counter()
    self._remarkable: Counter[str] = Counter()

  def add(self, reason: str, name: str, atoms: int = 1, *, remarkable: bool = False) -> None:
    """Counts a molecule, or atoms of one residue.

    Args:
      reason: what it is, in the singular.
      name: of the residue, or of the residue and the atom.
      atoms: how many.
      remarkable: it may have been meant as part of a protein.
    """
    if not atoms:
      return
    self.atoms[reason] += atoms
    self._names.setdefault(reason, Counter())[name] += atoms
    self._molecules[reason] += 1
    self._remarkable[reason] += remarkable

  def line(self, *, only_remarkable: bool = False) -> str:
    """All reasons in one line, such as '12 waters, 2 ligands (HEM 43 atoms, SO4 5 atoms)'; '' for nothing."""
    return ', '.join(self._part(reason) for reason in self.atoms if not only_remarkable or self._remarkable[reason])

  def _part(self, reason: str) -> str:
    count = self.atoms[reason] if reason in _ATOMS else self._molecules[reason]
    one, many = _ATOMS.get(reason, (reason, _plural(reason)))
    what = f'{count:,} {one if count == 1 else many}'
    if reason in _UNNAMED:
      return what
    names = [f'{name} {_of(atoms)}' for name, atoms in self._names[reason].most_common(_MOST_NAMES)]
    more = ', ...' if len(self._names[reason]) > _MOST_NAMES else ''
    return f'{what} ({", ".join(names)}{more})'


def _plural(reason: str) -> str:
  """residue of chains -> residues of chains; water -> waters."""
  first, of, rest = reason.partition(' of ')
  return f'{first}s{of}{rest}'


def _of(atoms: int) -> str:
  return '1 atom' if atoms == 1 else f'{atoms:,} atoms'
