# SPDX-License-Identifier: Apache-2.0
"""Stockholm alignments, as HMMER writes them, turned into A3M text.

The first row is the query. A column in which it has a residue becomes a column of the A3M; in the others, residues are
insertions (lower case). An alignment may be written in several blocks, each with all rows.
"""

import re

from alphafold_jax.data import symbols
from alphafold_jax.data.records import NO_ALIGNMENT_SYMBOL
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

MARK = '# STOCKHOLM'
_STRETCH = re.compile('-+|[^-]+')


def stockholm_to_a3m(text: str, source: str) -> str:
  """The alignment as A3M text.

  Raises:
    InputError: it is no Stockholm file, breaks off, or has rows that do not fit together; the message names `source`.
  """
  rows, descriptions = _read(text, source)
  query_name, query = next(iter(rows.items()))
  if not query.strip('-'):
    raise InputError(f'{source}: the first row, {query_name!r}, holds no residue; put the query first')
  stretches = [(found.start(), found.end(), found[0][0] != '-') for found in _STRETCH.finditer(query)]
  records = []
  for name, row in rows.items():
    parts = (
      row[start:end] if columns else row[start:end].replace('-', '').lower() for start, end, columns in stretches
    )
    header = f'{name} {descriptions[name]}' if name in descriptions else name
    records.append(f'>{header}\n{"".join(parts)}\n')
  return ''.join(records)


def _read(text: str, source: str) -> tuple[dict[str, str], dict[str, str]]:
  """The rows in upper case with '-' for gaps, and the descriptions of some; both by name."""
  lines = text.splitlines()
  if not lines or not lines[0].startswith(MARK):
    raise InputError(f"{source}, line 1: a Stockholm file begins with '{MARK} 1.0'")
  parts: dict[str, list[str]] = {}
  descriptions: dict[str, str] = {}
  end = None
  for at, line in enumerate(lines[1:], start=2):
    place = f'{source}, line {at}'
    if end and line.strip():
      raise InputError(f"{place}: text behind the end of the alignment ('//' in line {end}); give one alignment a file")
    if line.startswith('#=GS'):
      words = line.split(maxsplit=3)
      if len(words) == 4 and words[2] == 'DE':  # #=GS NAME DE TEXT
        descriptions[words[1]] = words[3].strip()
    elif line.rstrip() == '//':
      end = at
    elif line.strip() and not line.startswith('#'):
      _add(line, parts, place)
  if not end:
    raise InputError(f"{source}: the file breaks off: its last line should be '//'; copy or write it again")
  if not parts:
    raise InputError(f'{source}: there are no rows in the alignment')
  rows = {name: ''.join(blocks).upper() for name, blocks in parts.items()}
  width = len(next(iter(rows.values())))
  for name, row in rows.items():
    if len(row) != width:
      raise InputError(
        f'{source}: row {name!r} has {number(len(row), "column")} and the first {width}; write the file again'
      )
  return rows, descriptions


def _add(line: str, parts: dict[str, list[str]], place: str) -> None:
  """Adds a row's part of a block."""
  words = line.split()
  if len(words) != 2:
    raise InputError(f'{place}: expected a name and a row of the alignment, found {len(words)} words')
  name, row = words
  if bad := NO_ALIGNMENT_SYMBOL.search(row):
    why = symbols.advice(bad[0]) or "is no residue or gap; a row holds letters, '-' and '.' only"
    raise InputError(f'{place}: {symbols.shown(bad[0])} in row {name!r} {why}')
  blocks = parts.setdefault(name, [])
  num_blocks = len(next(iter(parts.values())))  # of the first row, which begins each block
  if len(blocks) + 1 > num_blocks and name != next(iter(parts)):
    raise InputError(f'{place}: row {name!r} stands twice in a block; give each row a name of its own')
  if len(blocks) + 1 < num_blocks:
    raise InputError(f'{place}: row {name!r} was missing from an earlier block; each block holds all rows')
  blocks.append(row.replace('.', '-'))
