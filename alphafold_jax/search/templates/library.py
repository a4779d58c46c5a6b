# SPDX-License-Identifier: Apache-2.0
"""A folder of structures: the file of an entry, its release date, the entry that replaced it.

Known layouts: AlphaFold's mmcif_files/4zey.cif, the PDB's own archive (ze/4zey.cif.gz, ze/pdb4zey.ent.gz), and a
person's own folder (4zey_A.cif.gz, model.pdb). No folder is listed, and no file read before it is needed.
"""

import io
import re
from pathlib import Path

from Bio.PDB.MMCIF2Dict import MMCIF2Dict

from alphafold_jax.data.records import read_text
from alphafold_jax.errors import InputError

_STEMS = ('{entry}', '{entry}_{chain}', 'pdb{entry}', '{middle}/{entry}', '{middle}/pdb{entry}')
_ENDINGS = ('.cif', '.cif.gz', '.mmcif', '.mmcif.gz', '.pdb', '.pdb.gz', '.ent', '.ent.gz')
_PDB_ID = re.compile(r'[0-9][A-Za-z0-9]{3}')
_ISO_DATE = re.compile(r'\d{4}-\d\d-\d\d')
_HISTORY = re.compile(r'^(?:loop_\s+)?_pdbx_audit_revision_history\..*?(?=^#|^loop_|\Z)', re.MULTILINE | re.DOTALL)
_REVISION = re.compile(r'^REVDAT +\d+ +(\d\d)-([A-Z]{3})-(\d\d) ', re.MULTILINE)
_MONTHS = ('JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC')
_FIRST_YEAR = 70  # of the PDB, 1970: two-digit years from here on are of the last century


def entry_and_chain(name: str) -> tuple[str, str]:
  """Entry and the authors' chain name in a name like `4zey_A`; without '_' the chain is ''."""
  entry, underscore, chain = name.rpartition('_')
  if not underscore:
    entry, chain = name, ''
  return (entry.lower() if _PDB_ID.fullmatch(entry) else entry), chain


class StructureFolder:
  """Structures in a folder, by the names of their entries."""

  def __init__(self, folder: str | Path, obsolete: str | Path | None = None):
    """Opens a folder.

    Args:
      folder: of mmCIF or PDB files, also .gz.
      obsolete: the PDB's list obsolete.dat, of entries withdrawn or replaced.

    Raises:
      InputError: there is no such folder or list.
    """
    self.folder = Path(folder).expanduser()
    if not self.folder.is_dir():
      raise InputError(f'{folder}: no such folder of structures')
    self._replaced_by = _read_obsolete(obsolete) if obsolete is not None else {}

  def current(self, entry: str) -> str:
    """The entry itself, or the first of those that replaced it; InputError if it was withdrawn."""
    replacement = self._replaced_by.get(entry, entry)
    if not replacement:
      raise InputError('the entry was withdrawn from the PDB')
    return replacement

  def find(self, entry: str, chain: str = '') -> Path:
    """The file of an entry; InputError if the folder holds none."""
    for name in dict.fromkeys((entry, entry.upper())):
      for stem in _STEMS:
        start = self.folder / stem.format(entry=name, chain=chain, middle=name[1:3].lower())
        for ending in _ENDINGS:
          if (path := start.with_name(start.name + ending)).is_file():
            return path
    raise InputError(f'{self.folder}: no file of entry {entry}')


def release_date(path: str | Path) -> str | None:
  """When an entry was first released, as YYYY-MM-DD; None if that is not in its file."""
  text = read_text(path)
  if history := _HISTORY.search(text):
    dates = _revision_dates(history[0])
  else:
    dates = [_iso(*found) for found in _REVISION.findall(text) if found[1] in _MONTHS]
  return min(filter(_ISO_DATE.fullmatch, dates), default=None)


def _revision_dates(history: str) -> list[str]:
  """The dates in the mmCIF category of an entry's revisions; none where it is damaged."""
  try:
    return MMCIF2Dict(io.StringIO(f'data_\n{history}')).get('_pdbx_audit_revision_history.revision_date', [])
  except Exception:  # of a malformed line Biopython raises errors of any type
    return []


def _iso(day: str, month: str, year: str) -> str:
  century = 19 if int(year) >= _FIRST_YEAR else 20
  return f'{century}{year}-{_MONTHS.index(month) + 1:02d}-{day}'


def _read_obsolete(path: str | Path) -> dict[str, str]:
  """Entry -> what replaced it, '' for nothing. Lines read 'OBSLTE    31-JUL-94 116L     216L'."""
  rows = (line.split() for line in read_text(path).splitlines() if line.startswith('OBSLTE'))
  found = {row[2].lower(): row[3].lower() if len(row) > 3 else '' for row in rows if len(row) > 2}
  if not found:
    raise InputError(f"{path}: no line begins with OBSLTE; give the PDB's list obsolete.dat")
  return found
