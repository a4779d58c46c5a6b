# SPDX-License-Identifier: Apache-2.0
"""CSV and TSV tables with the columns id, sequence and perhaps a3mpath: one item for each row that says anything."""

import os
from pathlib import Path

from alphafold_jax.data.query import Items, Opened, Reading, check_same, query_of
from alphafold_jax.data.query_formats.aligned import alignment_query
from alphafold_jax.data.query_formats.letters import read_sequence
from alphafold_jax.data.records import FastaRecord, TableRow, parse_table
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

_COLUMNS = ('id', 'sequence', 'a3mpath')
_TEMPLATES = 'templatepath'
_MISSING = {'nan', 'NaN', 'NA', 'N/A', '#N/A', '<NA>', 'None', 'null', 'NULL'}  # as programs write an empty cell


def read_table(file: Opened) -> Items:
  """One item for each row; those without content are counted."""
  rows = parse_table(file.text, str(file.path), ('id', 'sequence'), 'id,sequence and perhaps a3mpath')
  filled = [row for row in rows if row]
  if not filled:
    raise InputError(f'{file.path}: the table has no rows under its column names')
  for index, row in enumerate(filled, start=1):
    given = row.fields['id'].strip()
    name = given or f'{file.stem}_{index}'
    source = f'{file.path}, row {index} (line {row.line})'
    yield query_of(name, source, _row, file, row, () if given else ('its row has no id',))
  if empty := len(rows) - len(filled):
    yield f'{file.path}: {number(empty, "row")} without content left out'
  if others := [column for column in filled[0].fields if column and column not in (*_COLUMNS, _TEMPLATES)]:
    yield f'{file.path}: {number(len(others), "column")} not read: {", ".join(others)[:100]}'


def _row(file: Opened, row: TableRow, notes: tuple[str, ...]) -> Reading:
  place = f'{file.path}, line {row.line}'
  if extra := [field for field in row.beyond if field.strip()]:
    raise InputError(f'{place}: {extra[0][:40]!r} stands in a column without a name; is there a comma too many?')
  if row.fields.get(_TEMPLATES, '').strip():
    raise InputError(f'{place}: the column {_TEMPLATES} is not read; name the structure in a --template-map file')
  if not (a3m := row.fields.get('a3mpath', '').strip()):
    sequence, own = _sequence(file.path, row)
    return Reading(sequence, (*notes, *own))
  alignment = file.path.parent / a3m
  if not os.path.exists(alignment) and os.path.exists(a3m):  # relative to the working directory, as in ColabFold
    alignment = Path(a3m)
  if not os.path.lexists(alignment):
    raise InputError(f'{place}: its a3mpath {alignment} does not exist; correct it, or leave the cell empty')
  found = alignment_query(alignment, file.read(alignment))
  if not row.fields['sequence'].strip():
    return found._replace(notes=(*notes, *found.notes))
  given, own = _sequence(file.path, row)
  check_same(found.sequence, given, f'{place}: the alignment {a3m}')
  return Reading(given, (*notes, *own), alignment)


def _sequence(path: Path, row: TableRow) -> tuple[str, tuple[str, ...]]:
  """The checked sequence of a row."""
  text = row.fields['sequence'].strip()
  if not text or text in _MISSING:
    said = f' ({text!r} is an empty cell)' if text else ''
    raise InputError(
      f'{path}, line {row.line}: row {row.fields["id"]!r} has no sequence{said}; add it or remove the row'
    )
  lines = ((row.line, text),)
  return read_sequence(FastaRecord(row.fields['id'], row.line, lines, unit='residue'), path)
