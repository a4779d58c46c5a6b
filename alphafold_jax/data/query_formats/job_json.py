# SPDX-License-Identifier: Apache-2.0
"""The JSON input of AlphaFold 3 and AlphaFold Server: one item for each job, with its alignments and templates."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alphafold_jax.data import alphafold3
from alphafold_jax.data.alignment import Alignment, single_sequence
from alphafold_jax.data.alignment_files import as_a3m, checked_query
from alphafold_jax.data.alphafold3 import JobProtein
from alphafold_jax.data.complexes import ComplexAlignment, of_texts
from alphafold_jax.data.job_alignments import chain_texts, files_of
from alphafold_jax.data.query import Items, Opened, Reading, check_same, query_of
from alphafold_jax.data.query_formats.job_templates import templates_of
from alphafold_jax.data.query_formats.letters import ReadChains, read_chains
from alphafold_jax.data.records import FastaRecord
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
  proteins = alphafold3.proteins(job, source)
  read = [_sequence(protein, source) for protein in proteins]
  if any(protein.entry.get('templates') for protein in proteins) and num_jobs > 1:
    raise InputError(f'{source}: several jobs with templates in a file; give each job a file')
  chains = [letters for letters, protein in zip(read, proteins, strict=True) for _ in range(protein.copies)]
  alone = len(chains) == 1
  alignment, own = (
    _alignment(file, proteins[0], read[0].sequence, source, num_jobs)
    if alone
    else _alignments(file, proteins, source, num_jobs)
  )
  return Reading(
    ''.join(one.sequence for one in chains),
    (*_unique(note for one in read for note in one.notes), *own, *_unused(job, proteins, source)),
    alignment,
    templates_of(proteins, file.path, source),
    lengths=() if alone else tuple(len(one.sequence) for one in chains),
    chain_names=() if alone else alphafold3.names_of(proteins),
  )


def _sequence(protein: JobProtein, source: str) -> ReadChains:
  """The letters of one entry."""
  record = FastaRecord(protein.names[0] if protein.names else 'A', 1, ((1, protein.sequence),), unit='residue')
  read = read_chains(record, source)
  if len(read.sequences) > 1:
    raise InputError(f"{source}: ':' in the sequence of {protein.place}; give each chain an entry of its own")
  return read


def _alignment(
  file: Opened, protein: JobProtein, sequence: str, source: str, num_jobs: int
) -> tuple[Alignment | Path | None, list[str]]:
  """The unpaired alignment of a protein alone, checked, and notes; None: nothing is said about it."""
  notes = []
  given = {key: alphafold3.text_of(protein.entry, key, source) for key in ('unpairedMsa', 'pairedMsa')}
  files = files_of(protein, file.path.parent, source)
  if given['pairedMsa'] or 'pairedMsa' in files:
    notes.append('the paired alignment not used: a single chain has nothing to pair with')
  if 'unpairedMsa' in files:
    alignment = files['unpairedMsa']
    head = checked_query(file.read(alignment), str(alignment))
  elif text := given['unpairedMsa']:
    if num_jobs > 1:
      raise InputError(f'{source}: several jobs with alignments in a file; give each job a file')
    alignment = file.path
    head = checked_query(text.encode(), f'{source}, "unpairedMsa"')
  else:
    if given['unpairedMsa'] is None:
      return None, notes
    return single_sequence(sequence), [*notes, 'its "unpairedMsa" is empty: folded without homologues']
  if len(head.chains) > 1:
    raise InputError(f'{source}: its alignment is that of a complex, {head.chains.lengths}; give that of the protein')
  check_same(head.query, sequence, f'{source}: the alignment')
  return alignment, [*notes, *head.notes]


def _alignments(
  file: Opened, proteins: list[JobProtein], source: str, num_jobs: int
) -> tuple[ComplexAlignment | Path | None, list[str]]:
  """The alignments of a complex, checked, and notes; the file itself where it holds them.

  None: nothing is said about them. Those that other files hold are kept in memory.
  """
  files = [files_of(protein, file.path.parent, source) for protein in proteins]
  read = [{key: as_a3m(file.read(path), str(path)) for key, path in of_chain.items()} for of_chain in files]
  texts = [
    given._replace(unpaired=own.get('unpairedMsa', given.unpaired), paired=own.get('pairedMsa', given.paired))
    for given, own in zip(chain_texts(proteins, source), read, strict=True)
  ]
  alignment = of_texts(texts)
  if alignment is None:
    return None, []
  notes = list(alignment.notes)
  if not any(of_chain.unpaired or of_chain.paired for of_chain in texts):
    notes.append('its alignments are empty: folded without homologues')
  elif len(alignment.queries) == 1 and any(of_chain.paired for of_chain in texts):
    notes.append('the paired alignment not used: copies of one chain have nothing to pair with')
  if any(files):
    return alignment, notes
  if num_jobs > 1 and any(of_chain.unpaired or of_chain.paired for of_chain in texts):
    raise InputError(f'{source}: several jobs with alignments in a file; give each job a file')
  return (alignment if num_jobs > 1 else file.path), notes


def _unused(job: dict[str, Any], proteins: list[JobProtein], source: str) -> list[str]:
  """Notes on what is not followed."""
  notes = []
  modifications = [protein.entry.get('modifications') for protein in proteins]
  if wrong := [modified for modified in modifications if modified and not isinstance(modified, list)]:
    raise InputError(f'{source}: "modifications" is {json.dumps(wrong[0])[:40]}; expected a list')
  if modified := sum(len(one) for one in modifications if one):
    notes.append(f'{number(modified, "modified residue")} read as in the sequence, without the modification')
  if seeds := job.get('modelSeeds'):
    notes.append(f'modelSeeds {json.dumps(seeds)[:30]} not used: --random-seed and --num-seeds say which')
  of_proteins = {key for protein in proteins for key in protein.entry}
  others = [*sorted(set(job) - _FOLLOWED), *sorted(of_proteins - _FOLLOWED_OF_PROTEIN)]
  if others:
    notes.append(f'not used: {", ".join(others)[:100]}')
  return notes


def _unique(notes: Iterable[str]) -> list[str]:
  return list(dict.fromkeys(notes))
