# SPDX-License-Identifier: Apache-2.0
"""The metadata of a structure file: method, resolution, date of release; mmCIF is read with gemmi, PDB with Biopython.

Both formats leave every item optional: one that is missing or cannot be read stays unknown, without an error.
"""

import dataclasses
import io
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import gemmi
from Bio.PDB.parse_pdb_header import parse_pdb_header

_CATEGORIES = ('exptl', 'refine', 'em_3d_reconstruction', 'pdbx_audit_revision_history', 'database_PDB_rev')
_BLOCK = re.compile(rf'^(?:loop_[ \t]*\n)?[ \t]*_(?:{"|".join(_CATEGORIES)})\.', re.MULTILINE)
_BLOCK_END = re.compile(r'^#|^loop_|^_atom_site\.', re.MULTILINE)
_MMCIF = re.compile(r'^\s*_atom_site\.', re.MULTILINE)
_RESOLUTIONS = ('_refine.ls_d_res_high', '_em_3d_reconstruction.resolution')
_DATES = ('_pdbx_audit_revision_history.revision_date', '_database_PDB_rev.date')
_ITEMS = ('_exptl.method', *_RESOLUTIONS, *_DATES)
_DATE = re.compile(r'(19|20)\d\d-\d\d-\d\d')
_NO_DATE = '1909-01-08'  # what Biopython gives for a PDB file without one


@dataclasses.dataclass(frozen=True)
class Deposition:
  """How and when a structure was determined."""

  method: str = ''  # such as 'X-RAY DIFFRACTION'; '' unknown
  resolution: float = 0.0  # Å; 0: unknown, or a method without one
  release_date: str = ''  # YYYY-MM-DD; '' unknown


def deposition(text: str) -> Deposition:
  """Reads the metadata of a PDB or mmCIF text."""
  try:
    return _from_mmcif(text) if _MMCIF.search(text) else _from_pdb(text)
  except Exception:  # of a malformed line the readers raise errors of any type
    return Deposition()


def _from_mmcif(text: str) -> Deposition:
  """Reads only the few small categories that hold the metadata, and skips the many lines of atoms."""
  table: dict[str, list[str]] = {}
  end = 0
  while start := _BLOCK.search(text, end):
    stop = _BLOCK_END.search(text, start.end())
    end = stop.start() if stop else len(text)
    block = gemmi.cif.read_string('data_block\n' + text[start.start() : end]).sole_block()
    for item in _ITEMS:
      table.setdefault(item, []).extend(map(gemmi.cif.as_string, block.find_values(item)))
  methods = [method for method in table.get('_exptl.method', []) if method not in '.?']  # '' is in it too
  return Deposition(
    method='; '.join(methods),
    resolution=next((value for name in _RESOLUTIONS for value in _numbers(table.get(name, []))), 0.0),
    release_date=_earliest(date for name in _DATES for date in table.get(name, [])),
  )


def _from_pdb(text: str) -> Deposition:
  """Reads EXPDTA, REMARK 2 and REVDAT or HEADER."""
  head = parse_pdb_header(io.StringIO(text))
  method = (head.get('structure_method') or '').strip().upper()
  return Deposition(
    method='' if method == 'UNKNOWN' else method,
    resolution=next(_numbers([head.get('resolution')]), 0.0),
    release_date=_earliest([head['release_date']]) or _earliest([head['deposition_date']]),
  )


def _numbers(texts: Iterable[Any]) -> Iterator[float]:
  """The texts that are positive finite numbers."""
  for text in texts:
    try:
      value = float(text)
    except (TypeError, ValueError):
      continue
    if math.isfinite(value) and value > 0:
      yield value


def _earliest(dates: Iterable[str]) -> str:
  return min((date for date in dates if _DATE.fullmatch(date) and date != _NO_DATE), default='')
