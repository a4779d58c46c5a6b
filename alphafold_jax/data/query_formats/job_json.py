# SPDX-License-Identifier: Apache-2.0
"""The JSON input of AlphaFold 3 and AlphaFold Server: one item for each job, with its alignment and templates."""

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from alphafold_jax.data import alphafold3
from alphafold_jax.data.alignment import Alignment, single_sequence
from alphafold_jax.data.alignment_files import checked_query
from alphafold_jax.data.query import Items, Opened, Reading, check_same, query_of
from alphafold_jax.data.query_formats.letters import read_sequence
from alphafold_jax.data.records import FastaRecord, read_text
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

_FOLLOWED = {'name', 'sequences', 'dialect', 'version', 'modelSeeds', 'bondedAtomPairs'}
_FOLLOWED_OF_PROTEIN = {
  *('id', 'sequence', 'description', 'count', 'glycans', 'modifications', 'templates'),
  *('unpairedMsa', 'unpairedMsaPath', 'pairedMsa', 'pairedMsaPath'),
}


def read_jobs(file: Opened) -> Items:
  """One item for each job."""
  jobs = alphafold3.read_jobs(file.text, str(file.path))
  for index, job in enumerate(jobs, start=1):
    given = job.get('name')
    name = (isinstance(given, str) and given.encode('utf-8', 'replace').decode().strip()) or file.stem
    source = str(file.path) if len(jobs) == 1 else f'{file.path}, job {index}'
    yield query_of(name, source, _job, file, job, source, len(jobs))


def _job(file: Opened, job: dict[str, Any], source: str, num_jobs: int) -> Reading:
  protein = alphafold3.only_protein(job, source)
  record = FastaRecord(protein.get('id') or 'A', 1, ((1, protein['sequence'].strip()),), unit='residue')
  sequence, notes = read_sequence(dataclasses.replace(record, name=str(record.name)), source)
  alignment, own = _alignment(file, protein, sequence, source, num_jobs)
  templates = _templates(file.path, protein, sequence, source)
  if templates and num_jobs > 1:
    raise InputError(f'{source}: several jobs with templates in a file; give each job a file')
  return Reading(sequence, (*notes, *own, *_unused(job, protein, source)), alignment, templates)


def _alignment(
  file: Opened, protein: dict[str, Any], sequence: str, source: str, num_jobs: int
) -> tuple[Alignment | Path | None, list[str]]:
  """The unpaired alignment, checked, and notes; None: nothing is said about it."""
  notes = []
  text = alphafold3.text_of(protein, 'unpairedMsa', source)
  path = alphafold3.text_of(protein, 'unpairedMsaPath', source)
  if text and path:
    raise InputError(f'{source}: both "unpairedMsa" and "unpairedMsaPath"; give one of them')
  if any(alphafold3.text_of(protein, key, source) for key in ('pairedMsa', 'pairedMsaPath')):
    notes.append('the paired alignment not used: a single chain has nothing to pair with')
  if path:
    alignment = file.path.parent / path
    if not os.path.lexists(alignment):
      raise InputError(f'{source}: its "unpairedMsaPath" {alignment} does not exist; correct it')
    query, own = checked_query(file.read(alignment), str(alignment))
  elif text:
    if num_jobs > 1:
      raise InputError(f'{source}: several jobs with alignments in a file; give each job a file')
    alignment = file.path
    query, own = checked_query(text.encode(), f'{source}, "unpairedMsa"')
  else:
    if text is None:
      return None, notes
    return single_sequence(sequence), [*notes, 'its "unpairedMsa" is empty: folded without homologues']
  check_same(query, sequence, f'{source}: the alignment')
  return alignment, [*notes, *own]


def _unused(job: dict[str, Any], protein: dict[str, Any], source: str) -> list[str]:
  """Notes on what is not followed."""
  notes = []
  if modified := protein.get('modifications'):
    if not isinstance(modified, list):
      raise InputError(f'{source}: "modifications" is {json.dumps(modified)[:40]}; expected a list')
    notes.append(f'{number(len(modified), "modified residue")} read as in the sequence, without the modification')
  if seeds := job.get('modelSeeds'):
    notes.append(f'modelSeeds {json.dumps(seeds)[:30]} not used: --random-seed and --num-seeds say which')
  others = [*sorted(set(job) - _FOLLOWED), *sorted(set(protein) - _FOLLOWED_OF_PROTEIN)]
  if others:
    notes.append(f'not used: {", ".join(others)[:100]}')
  return notes


@dataclasses.dataclass(frozen=True)
class ListedTemplate:
  """A template of a job; the file is read again when the template is placed."""

  path: Path  # of the JSON file
  index: int  # from 0

  def place(self, query_sequence: str) -> Any:
    """The structure on the protein's residues.

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
    return hashlib.sha256(json.dumps(self._read()).encode()).hexdigest()

  def _read(self) -> tuple[str, list[tuple[int, int]]]:
    """The text of the structure, and pairs of residues of protein and template, from 0."""
    job = alphafold3.read_jobs(read_text(self.path), str(self.path))[0]
    try:
      entry = alphafold3.only_protein(job, str(self.path))['templates'][self.index]
      text = entry.get('mmcif') or read_text(self.path.parent / entry['mmcifPath'])
      return text, list(zip(entry['queryIndices'], entry['templateIndices'], strict=True))
    except (LookupError, TypeError, ValueError):  # these were checked when the run began
      raise InputError(f'{self.path}: changed since the run began; run the same command again') from None


def _templates(path: Path, protein: dict[str, Any], sequence: str, source: str) -> tuple[ListedTemplate, ...] | None:
  """The templates of a job, whose places are checked; None: nothing is said about them."""
  entries = protein.get('templates')
  if entries is None:
    return None
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
    if max(indices[0]) >= len(sequence):
      raise InputError(f'{place}: queryIndices up to {max(indices[0])}, but the protein has {len(sequence)} residues')
  return tuple(ListedTemplate(path, index) for index in range(len(entries)))
