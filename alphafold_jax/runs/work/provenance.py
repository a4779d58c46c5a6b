# SPDX-License-Identifier: Apache-2.0
"""What a run knows of how a protein came to be predicted: its headers, how homologues and templates were found."""

import contextlib
import functools
import re
from collections.abc import Iterator

from alphafold_jax import installed
from alphafold_jax.data.records import read_first_record
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.headers import of_uniprot
from alphafold_jax.output.provenance import EarlierStep, Provenance, UsedDatabase
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work.inputs import Job
from alphafold_jax.search import databases
from alphafold_jax.search.databases import FASTA, HHSUITE, MMSEQS, Database
from alphafold_jax.search.options import SINGLE, SearchOptions
from alphafold_jax.search.standard_sets import STANDARD_SETS

_NAMES = {  # of databases, by role; others are called as their files
  'uniref90': 'UniRef90', 'bfd': 'BFD', 'small_bfd': 'BFD, small', 'mgnify': 'MGnify', 'uniprot': 'UniProt',
  'uniref30': 'UniRef30', 'env': 'ColabFoldDB', 'pdb_seqres': 'PDB seqres', 'pdb70': 'PDB70', 'pdb100': 'PDB100',
}  # fmt: skip
_URLS = {(one.role, one.kind): one.url for one in reversed(STANDARD_SETS.values())}
_DATED = re.compile(r'_(\d{4}_\d{2}|\d{6}|\d{4})(?=[_.]|$)')  # as in mgy_clusters_2022_05.fa and uniref30_2302_db


def of_job(job: Job, options: Options) -> Provenance:
  """What is known of a protein before it is predicted.

  Args:
    job: with the alignment that a search found, if there was one.
    options: of the run.
  """
  return Provenance(_headers(job), (*_alignment(job, options), *_templates(job, options)), options.origin)


def _headers(job: Job) -> tuple[str, ...]:
  """The headers of the chains, or that of all; where a file of an alignment has one of UniProt, that."""
  query = job.query
  if query.titles:
    return query.titles
  path = job.alignment_path
  if path is not None and not job.is_complex and of_uniprot(query.name) is None:
    with contextlib.suppress(InputError):  # it is read as a whole elsewhere, where that is an error
      lines = [line for line in read_first_record(path).splitlines() if line.startswith('>')]
      if lines and of_uniprot(lines[-1][1:]) is not None:
        return (lines[-1][1:],)
  return (query.name,)


def _alignment(job: Job, options: Options) -> Iterator[EarlierStep]:
  search = options.search
  if job.hits is None or search is None:
    if job.file is not None:
      yield EarlierStep(
        'alignment', 'an alignment that was given' if job.features is None else 'features that were given'
      )
    return
  if search.uses_server:
    sequences = UsedDatabase(f'the databases of {search.host_url}, which does not state them', url=search.host_url)
    yield EarlierStep('alignment', f'--msa-mode {search.mode}', 'MMseqs2 server', None, search.host_url, (sequences,))
  elif search.mode != SINGLE:
    used = [one for one in search.parsed if not one.settings.templates and (job.is_complex or not one.settings.pairs)]
    program, kind = ('jackhmmer (pyhmmer)', FASTA) if search.mode == 'hmmer' else ('MMseqs2', MMSEQS)
    found = tuple(map(_used, databases.in_order(used)))
    yield EarlierStep('alignment', f'--msa-mode {search.mode}', program, _version(kind), databases=found)


def _templates(job: Job, options: Options) -> Iterator[EarlierStep]:
  if job.query.templates or options.custom_template_path or options.template_complex or options.template_map:
    yield EarlierStep('templates', 'structures that were given')
  elif job.hits is not None and options.search is not None and options.search.templates:
    yield _template_search(options.search)


def _template_search(search: SearchOptions) -> EarlierStep:
  details = f'at most {search.max_template_hits} hits'
  details += f', structures released until {search.max_template_date}' if search.max_template_date else ''
  if (database := search.template_database) is None or search.uses_server:
    return EarlierStep('templates', details, 'MMseqs2 server', None, search.host_url)
  program = {FASTA: 'hmmsearch (pyhmmer)', HHSUITE: 'hhsearch', MMSEQS: 'MMseqs2'}[database.kind]
  return EarlierStep('templates', details, program, _version(database.kind), databases=(_used(database),))


def _used(database: Database) -> UsedDatabase:
  """A database with the version that its file's name states, and where its publisher offers it."""
  dated = _DATED.search(database.path.name)
  name = _NAMES.get(database.role, database.path.name)
  return UsedDatabase(name, dated and dated[1], _URLS.get((database.role, database.kind)))


@functools.cache
def _version(kind: str) -> str | None:
  """The version of the program that searches databases of a kind; None if it cannot be asked."""
  from alphafold_jax.search.mmseqs import program as mmseqs
  from alphafold_jax.search.templates import hhsearch

  with contextlib.suppress(AlphaFoldError):
    if kind == MMSEQS:
      return mmseqs.version(mmseqs.find())
    return installed.version('pyhmmer') if kind == FASTA else hhsearch.version(hhsearch.program())
  return None
