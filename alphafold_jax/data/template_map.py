# SPDX-License-Identifier: Apache-2.0
"""Templates that a person has chosen, with their places on the query: a JSON file.

    [{"structure": "1mh1.cif.gz", "chain": "A", "pairs": [[0, 3], [1, 4]]},
     {"structure": "relative.pdb", "alignment": "query_and_relative.a3m"},
     {"structure": "close.cif", "query": "protein_7"}]

`pairs` are residues of the query and of the chain's sequence, both from 0, as in AlphaFold 3's input; `alignment` is a
file of two rows. Without either the sequences are aligned. `query` names the one protein of a run that the template is
for, by its name, the name's first word, or that of its files; case does not count. Paths are relative to the file.
These templates are not filtered: one that cannot be placed is an error.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import folders, untrusted
from alphafold_jax.data.records import read_text
from alphafold_jax.data.templates import Template, template_from_structure
from alphafold_jax.errors import InputError
from alphafold_jax.naming import Names, listed
from alphafold_jax.screen import number


@dataclasses.dataclass(frozen=True)
class ChosenTemplate:
  """One entry of the file."""

  source: str  # the file and the entry's place in it, for messages
  structure: Path
  chain: str | None = None  # the authors' name
  pairs: tuple[tuple[int, int], ...] | None = None  # (residue of the query, residue of the chain), from 0
  alignment: Path | None = None
  query: str | None = None  # name of the protein it is for; None: for all

  def place(self, query_sequence: str) -> Template:
    """The structure on the residues of a query.

    Args:
      query_sequence: one-letter codes.

    Raises:
      InputError: it cannot be placed there.
    """
    try:
      return template_from_structure(
        query_sequence, self.structure, self.chain, residue_map=self.pairs, alignment=self.alignment
      )
    except InputError as error:
      raise InputError(f'{self.source}: {error}') from None


def read_template_map(path: str | Path) -> tuple[ChosenTemplate, ...]:
  """The templates of a file, in its order.

  Raises:
    InputError: the file, or one that it names, is missing or not as described above.
  """
  text = read_text(path)
  try:
    entries = untrusted.from_json(text)
  except json.JSONDecodeError as error:
    raise InputError(f'{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg})') from None
  except ValueError as error:
    raise InputError(f'{path}: not JSON of a template map ({error})') from None
  if not isinstance(entries, list) or not entries:
    raise InputError(f'{path}: expected a list of templates, [{{"structure": "FILE", "pairs": [[0, 0], ...]}}, ...]')
  return tuple(_entry(entry, Path(path).parent, f'{path}, template {i}') for i, entry in enumerate(entries, start=1))


def meant_for(
  chosen: Sequence[ChosenTemplate], names: Iterable[tuple[str, str]]
) -> tuple[tuple[ChosenTemplate, ...], tuple[str, ...]]:
  """The templates with their proteins' own names as `query`, and a note on each that is for none of them.

  Args:
    chosen: what `read_template_map` gives.
    names: of all proteins of the run: its own, and that of its files.

  Raises:
    InputError: every one of them is for a protein that is not in the run.
  """
  names = list(names)
  known = {word: name for name, _ in reversed(names) for word in name.split()[:1]}
  known |= {job: name for name, job in names} | {name: name for name, _ in names}
  proteins = Names(known)
  placed, notes = [], []
  for one in chosen:
    meant = None if one.query is None else proteins.meant(one.query.strip())
    if one.query is not None and meant is None:
      there = f'there are {listed(repr(name) for name in dict.fromkeys(name for name, _ in names))}'
      notes.append(f'{one.source}: no protein of this run is called {one.query!r}; {there}')
    placed.append(dataclasses.replace(one, query=one.query if meant is None else known[meant]))
  if len(notes) == len(placed):
    more = f' (and {number(len(notes) - 1, "other template")} too)' if len(notes) > 1 else ''
    raise InputError(f'{notes[0]}{more}')
  return tuple(placed), tuple(notes)


def for_query(chosen: Sequence[ChosenTemplate], name: str, sequence: str) -> list[Template]:
  """The templates meant for one protein, placed on it.

  Args:
    chosen: what `read_template_map` or `meant_for` gives.
    name: of the protein.
    sequence: its one-letter codes.

  Raises:
    InputError: one of them cannot be placed.
  """
  return [one.place(sequence) for one in chosen if one.query in (None, name)]


def _entry(entry: Any, folder: Path, source: str) -> ChosenTemplate:
  """One entry, checked."""
  if not isinstance(entry, dict):
    raise InputError(f'{source}: expected {{"structure": "FILE", ...}}, not {json.dumps(entry)[:60]}')
  if unknown := sorted(set(entry) - set(_FIELDS)):
    raise InputError(f'{source}: no such key {unknown[0]!r}; choose {", ".join(_FIELDS)}')
  if 'structure' not in entry:
    raise InputError(f'{source}: the key "structure" is missing; it names a PDB or mmCIF file')
  if 'pairs' in entry and 'alignment' in entry:
    raise InputError(f'{source}: give "pairs" or "alignment", not both')
  values: dict[str, Any] = {key: _FIELDS[key](value, folder, f'{source}, {key!r}') for key, value in entry.items()}
  return ChosenTemplate(source, **values)


def _text(value: Any, _: Path, where: str) -> str:
  if not isinstance(value, str) or not value:
    raise InputError(f'{where}: expected text in quotes, not {json.dumps(value)[:60]}')
  return value


def _file(value: Any, folder: Path, where: str) -> Path:
  path = folder / folders.expanded(_text(value, folder, where))
  if not os.path.isfile(path):  # not path.is_file(), which raises OSError of a name that is too long
    raise InputError(f'{where}: no file {path}')
  return path


def _pairs(value: Any, _: Path, where: str) -> tuple[tuple[int, int], ...]:
  pairs = value if isinstance(value, list) else [value]
  for pair in pairs:
    if not (isinstance(pair, list) and len(pair) == 2 and all(type(index) is int for index in pair)):
      raise InputError(f'{where}: expected pairs of whole numbers, [[0, 5], [1, 6], ...], not {json.dumps(pair)[:60]}')
  return tuple((q, t) for q, t in pairs)


_FIELDS: dict[str, Callable[[Any, Path, str], Any]] = {
  'structure': _file,
  'chain': _text,
  'pairs': _pairs,
  'alignment': _file,
  'query': _text,
}
