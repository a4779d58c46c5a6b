# SPDX-License-Identifier: Apache-2.0
"""The templates in the input of AlphaFold 3: structures whose places on the chains are given."""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold_jax.data import alphafold3
from alphafold_jax.data.alphafold3 import JobProtein
from alphafold_jax.data.records import read_text
from alphafold_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ListedTemplate:
  """A template of a job; the file is read again when the template is placed."""

  path: Path  # of the JSON file
  index: int  # from 0, in its list
  entry: int = 0  # which of the job's proteins has it
  chain: int = 0  # which chain of the complex it is placed on

  def place(self, query_sequence: str) -> Any:
    """The structure on the chain's residues.

    Raises:
      InputError: it cannot be placed there.
    """
    from alphafold_jax.data import templates

    text, pairs = self._read()
    source = f'{self.path}, template {self.index + 1}'
    with tempfile.TemporaryDirectory() as folder:
      structure = Path(folder) / f'template_{self.index + 1}.cif'
      structure.write_text(text, encoding='utf-8')
      try:
        return templates.template_from_structure(query_sequence, structure, residue_map=pairs)
      except InputError as error:
        raise InputError(f'{source}: {str(error).replace(str(structure), "its mmCIF")}') from None

  def identity(self) -> str:
    """A digest of the structure and its place."""
    place = [*self._read(), *([self.chain] if self.chain else [])]
    return hashlib.sha256(json.dumps(place).encode()).hexdigest()

  def _read(self) -> tuple[str, list[tuple[int, int]]]:
    """The text of the structure, and pairs of residues of protein and template, from 0."""
    job = alphafold3.read_jobs(read_text(self.path), str(self.path))[0]
    try:
      entry = alphafold3.proteins(job, str(self.path))[self.entry].entry['templates'][self.index]
      text = entry.get('mmcif') or read_text(self.path.parent / entry['mmcifPath'])
      return text, list(zip(entry['queryIndices'], entry['templateIndices'], strict=True))
    except (LookupError, TypeError, ValueError):  # these were checked when the run began
      raise InputError(f'{self.path}: changed since the run began; run the same command again') from None


def templates_of(proteins: Sequence[JobProtein], path: Path, source: str) -> tuple[ListedTemplate, ...] | None:
  """The templates of a job, whose places are checked, for every chain; None: nothing is said about them."""
  found: list[ListedTemplate] = []
  first = 0
  for number, protein in enumerate(proteins):
    count = _checked(path, protein, source)
    chains = range(first, first + protein.copies)
    found += [ListedTemplate(path, index, number, chain) for chain in chains for index in range(count)]
    first += protein.copies
  return tuple(found) if any(protein.entry.get('templates') is not None for protein in proteins) else None


def _checked(path: Path, protein: JobProtein, source: str) -> int:
  """How many templates an entry has, whose places fit its sequence."""
  entries = protein.entry.get('templates')
  if entries is None:
    return 0
  if not isinstance(entries, list):
    raise InputError(f'{source}: "templates" is no list')
  for index, entry in enumerate(entries, start=1):
    place = f'{source}, template {index}'
    given = [key for key in ('mmcif', 'mmcifPath') if isinstance(entry, dict) and isinstance(entry.get(key), str)]
    if len(given) != 1:
      raise InputError(f'{place}: expected one of "mmcif" (the text) and "mmcifPath"')
    if given == ['mmcifPath'] and not os.path.isfile(path.parent / entry['mmcifPath']):
      raise InputError(f'{place}: no file {path.parent / entry["mmcifPath"]}')
    indices = [entry.get(key) for key in ('queryIndices', 'templateIndices')]
    if not all(isinstance(one, list) and all(type(i) is int and i >= 0 for i in one) for one in indices):
      raise InputError(f'{place}: "queryIndices" and "templateIndices" must be lists of whole numbers from 0')
    if len(indices[0]) != len(indices[1]) or not indices[0]:
      raise InputError(f'{place}: {len(indices[0])} queryIndices and {len(indices[1])} templateIndices; give pairs')
    if max(indices[0]) >= (num_res := len(protein.letters)):
      raise InputError(f'{place}: queryIndices up to {max(indices[0])}, but the protein has {num_res} residues')
  return len(entries)
