# SPDX-License-Identifier: Apache-2.0
"""Programs that find known structures by an alignment, behind one interface."""

from collections.abc import Callable, Mapping
from typing import Any

from alphafold_jax import installed
from alphafold_jax.data.alignment import in_columns
from alphafold_jax.search import databases
from alphafold_jax.search.databases import FASTA, HHSUITE, Database
from alphafold_jax.search.finding import alignment_text
from alphafold_jax.search.found import Found, TemplateEngine, TemplateHit, Watch
from alphafold_jax.search.templates import hhsearch, hmmsearch


class _Engine:
  """One program and its database, as a TemplateEngine."""

  def __init__(self, name: str, version: str, database: Database, find: Callable[[str, Watch], list[TemplateHit]]):
    self.name, self._version, self._database, self._find = name, version, database, find

  def identity(self) -> Mapping[str, Any]:
    """See `TemplateEngine.identity`."""
    return {'engine': self.name, 'program': self._version, 'database': databases.identity(self._database)}

  def search(self, sequence: str, found: Found, watch: Watch) -> Found:
    """Searches by UniRef90's rows, as AlphaFold does, or by all rows where that database was not searched."""
    rows = next((rows.a3m for rows in found.rows if rows.database == 'uniref90'), None)
    return Found((), tuple(self._find(_distinct(rows or alignment_text('query', sequence, found)), watch)))


def _distinct(a3m: str) -> str:
  """An alignment without the rows that repeat the columns of an earlier one."""
  first: dict[str, str] = {}  # record by its letters in the query's columns
  for record in ('\n' + a3m.strip()).split('\n>')[1:]:
    first.setdefault(in_columns(record.partition('\n')[2]), f'>{record}\n')
  return ''.join(first.values())


def make(database: Database, num_threads: int) -> TemplateEngine:
  """The program that searches a database of templates; SearchError if it is not installed."""
  return _ENGINES[database.kind](database, num_threads)


def _hmmsearch(database: Database, num_threads: int) -> TemplateEngine:
  version = f'pyhmmer {installed.module("pyhmmer").__version__}'
  return _Engine(
    'hmmsearch',
    version,
    database,
    lambda a3m, watch: hmmsearch.search(a3m, database, num_threads=num_threads, watch=watch),
  )


def _hhsearch(database: Database, num_threads: int) -> TemplateEngine:
  version = f'hhsearch {hhsearch.version(hhsearch.program())}'

  def find(a3m: str, watch: Watch) -> list[TemplateHit]:
    watch(0.0, f'hhsearch: {database.path.name}')
    return hhsearch.search(a3m, database, num_threads=num_threads)

  return _Engine('hhsearch', version, database, find)


_ENGINES: dict[str, Callable[[Database, int], TemplateEngine]] = {FASTA: _hmmsearch, HHSUITE: _hhsearch}
