# SPDX-License-Identifier: Apache-2.0
"""CSV and TSV tables with the columns id, sequence and perhaps a3mpath: one item for each row that says anything.

The chains of a complex stand in the one cell of their sequence, with ':' between them; so may the paths of
their alignments, one for each chain.
"""

import os
from pathlib import Path

from alphafold_jax.data.alignment_files import as_a3m
from alphafold_jax.data.complexes import ChainTexts, of_texts
from alphafold_jax.data.query import Items, Opened, Reading, check_chains, query_of
from alphafold_jax.data.query_formats.aligned import alignment_query
from alphafold_jax.data.query_formats.letters import ReadChains, read_chains
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
    read = _sequence(file.path, row)
    return Reading(read.sequence, (*notes, *read.notes), lengths=read.lengths)
  if ':' in a3m and not os.path.exists(_path(file, a3m)):
    return _by_chain(file, row, a3m.split(':'), notes)
  path = _path(file, a3m, place)
  found = alignment_query(path, file.read(path))
  if not row.fields['sequence'].strip():
    return found._replace(notes=(*notes, *found.notes))
  given = _sequence(file.path, row)
  check_chains(found, given.sequences, f'{place}: the alignment {a3m}')
  return Reading(given.sequence, (*notes, *given.notes), path, lengths=given.lengths)


def _path(file: Opened, a3m: str, place: str | None = None) -> Path:
  """The alignment that a cell names, beside the table or from the working directory, as in ColabFold.

  Raises:
    InputError: there is none, and a `place` for the message was given.
  """
  path = file.path.parent / a3m
  if not os.path.exists(path) and os.path.exists(a3m):
    path = Path(a3m)
  if place and not os.path.lexists(path):
    raise InputError(f'{place}: its a3mpath {path} does not exist; correct it, or leave the cell empty')
  return path


def _by_chain(file: Opened, row: TableRow, names: list[str], notes: tuple[str, ...]) -> Reading:
  """A complex with an alignment for each chain, '' for a chain without homologues; they are kept in memory."""
  place, given = f'{file.path}, line {row.line}', _sequence(file.path, row)
  if len(names) != len(given.sequences):
    raise InputError(
      f'{place}: {number(len(given.sequences), "chain")} and {len(names)} alignments; name one for each chain, with '
      "':' between them, and nothing for a chain without homologues"
    )
  paths = [_path(file, name.strip(), place) if name.strip() else None for name in names]
  alignment = of_texts(
    [
      ChainTexts(sequence, 1, f'{place}, chain {index}', as_a3m(file.read(path), str(path)) if path else '')
      for index, (sequence, path) in enumerate(zip(given.sequences, paths, strict=True), start=1)
    ]
  )
  said = alignment.notes if alignment else ()
  return Reading(given.sequence, (*notes, *given.notes, *said), alignment, lengths=given.lengths)


def _sequence(path: Path, row: TableRow) -> ReadChains:
  """The checked sequence of a row."""
  text = row.fields['sequence'].strip()
  if not text or text in _MISSING:
    said = f' ({text!r} is an empty cell)' if text else ''
    raise InputError(
      f'{path}, line {row.line}: row {row.fields["id"]!r} has no sequence{said}; add it or remove the row'
    )
  lines = ((row.line, text),)
  return read_chains(FastaRecord(row.fields['id'], row.line, lines, unit='residue'), path)
