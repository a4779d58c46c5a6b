# SPDX-License-Identifier: Apache-2.0
"""The engine that pairs chains by the taxonomy of MMseqs2 databases, as `colabfold_search` does.

A chain is searched for alone, whichever complexes it is in: of each taxon its best hit is kept, with the taxon's
number. The chains of a complex are paired afterwards (pairing.py). This is the same as what MMseqs2 does for a whole
complex, whose module `pairaln` takes the best hit of each taxon and of each chain without a look at the other chains.
The steps and their numbers are those of ColabFold 1.6.3 (colabfold/mmseqs/search.py), but that `pairaln` gets each
chain as a group of its own, in which it keeps all taxa.

Departs from MMseqs2: sequences whose taxon is not known are not paired, where it takes them for those of one taxon.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax.choices import COMPLETE
from alphafold_jax.errors import InputError
from alphafold_jax.search import databases as database_files
from alphafold_jax.search import pairing
from alphafold_jax.search.databases import MMSEQS, Database
from alphafold_jax.search.found import Found, FoundPairs, Result, Rows, Watch
from alphafold_jax.search.mmseqs import profile_search
from alphafold_jax.search.mmseqs import program as mmseqs_program
from alphafold_jax.search.mmseqs.making import Layout, layout, taxa_file
from alphafold_jax.search.mmseqs.profile_search import (
  EXPAND,
  USUAL,
  MMseqsSettings,
  Recipe,
  search_steps,
  write_queries,
)
from alphafold_jax.search.mmseqs.program import Step, Workplace

_BLOCK = 1000  # sequences searched together, which bounds the disk that is used
_EXPAND_ALL = '--expand-filter-clusters 0 --max-seq-id 0.95'.split()
_ALIGN = '-e 0.001 --max-accept 1000000 -c 0.5 --cov-mode 1'.split()
_BEST_OF_EACH_TAXON = '--pairing-mode 1 --pairing-dummy-mode 0'.split()  # of all taxa that the group, one chain, has
_TRACE = '-e inf -a'.split()
_COLUMNS = 'target,taxid,qstart,qaln,taln'


def with_taxa(databases: Sequence[Database]) -> list[Database]:
  """The databases that chains can be paired by: those for alignments or pairs that have a taxonomy."""
  usable = (
    *database_files.of_kind(databases, MMSEQS, templates=False),
    *database_files.for_pairs(databases, MMSEQS),
  )
  by_file = {one.path.resolve(): one for one in usable}  # one that is named for both uses is searched once
  return [one for one in by_file.values() if taxa_file(one).is_file()]


class MMseqsPairs:
  """MMseqs2 as an engine of pairs."""

  name = 'mmseqs2'

  def __init__(
    self,
    databases: Sequence[Database],
    num_threads: int,
    strategy: str,
    settings: MMseqsSettings = USUAL,
  ):
    """Checks program and databases.

    Args:
      databases: MMseqs2 databases; those without a taxonomy are left out.
      num_threads: of the program.
      strategy: a value of choices.PAIR_STRATEGIES.
      settings: how to search.

    Raises:
      SearchError: the program is missing.
      InputError: a database cannot be searched, or none has a taxonomy.
    """
    self._program = mmseqs_program.find()
    self._num_threads, self._settings, self.strategy = num_threads, settings, strategy
    self._databases = [(one, layout(one, gpu=settings.gpu)) for one in with_taxa(databases)]
    if not self._databases:
      raise InputError('MMseqs2 has no database with a taxonomy, by which chains are paired')

  def identity(self) -> Mapping[str, Any]:
    """See `PairEngine.identity`."""
    return {
      'engine': self.name,
      'version': mmseqs_program.version(self._program),
      **dataclasses.asdict(self._settings),
      'databases': [database_files.identity(one) for one, _ in self._databases],
    }

  def parts(self, chains: Sequence[str]) -> tuple[str, ...]:
    """Each chain alone, so that all its complexes share a search."""
    return tuple(chains)

  def search(self, parts: Sequence[str], watch: Watch) -> Iterator[Result]:
    """See `PairEngine.search`."""
    for start in range(0, len(parts), _BLOCK):
      block = parts[start : start + _BLOCK]

      def shown(fraction: float, text: str, start: int = start, size: int = len(block)) -> None:
        watch((start + fraction * size) / len(parts), f'pairs: {text}')

      with mmseqs_program.workplace(self._program, self._num_threads) as place:
        write_queries(place, block)
        _each_alone(place, len(block))
        recipes = [self._recipe(place, number) for number in range(len(self._databases))]
        profile_search.run(place, recipes, shown)
        for index, sequence in enumerate(block):
          yield start + index, self._found(place.folder, recipes, index, sequence)

  def pairs(self, chains: Sequence[str], found: Sequence[Found]) -> FoundPairs:
    """The rows of each chain, paired by taxon in each database for itself."""
    texts = list(FoundPairs.none(chains).chains)
    for of_database in zip(*(one.rows for one in found), strict=True):
      paired = pairing.by_taxon([rows.a3m for rows in of_database], self.strategy)
      texts = [text + rows for text, rows in zip(texts, paired, strict=True)]
    result = FoundPairs(tuple(texts))
    if result.num_rows[0] > 1:
      return result
    share = 'all of the chains' if self.strategy == COMPLETE else 'two of the chains'
    names = ', '.join(str(one.path) for one, _ in self._databases)
    return FoundPairs.none(chains, f'no taxon in {names} has relatives of {share}')

  def _recipe(self, place: Workplace, number: int) -> Recipe:
    database, target = self._databases[number]
    members = _linked_members(place.folder / f'linked{number}', database, target)
    return Recipe(number, target, database.role, tuple(_steps(number, target, members, self._settings)))

  def _found(self, folder: Path, recipes: Sequence[Recipe], index: int, sequence: str) -> Found:
    """The best hit of each taxon, by database."""
    rows = []
    for (one, _), recipe in zip(self._databases, recipes, strict=True):
      text = (folder / recipe.results / f'{index}').read_text(encoding='utf-8', errors='replace').replace('\0', '')
      records = _records(text, len(sequence))
      rows.append(Rows(one.role, f'>query\n{sequence}\n{"".join(records)}', len(records)))
    return Found(tuple(rows))


def _each_alone(place: Workplace, count: int) -> None:
  """Makes each query a group of its own, where createdb has made all of a file one."""
  (place.folder / 'queries.lookup').write_text(''.join(f'{index}\t{index}\t{index}\n' for index in range(count)))


def _steps(number: int, target: Layout, members: Path, settings: MMseqsSettings) -> Iterator[Step]:
  """Search, open the clusters, align to the profile, keep the best hit of each taxon, and write a table.

  `members` are those of the target under a name whose taxa MMseqs2 finds.
  """
  load, found = ('--db-load-mode', target.load_mode), f'{number}/found'
  steps, profile = search_steps(number, 'queries', target, settings)
  yield from steps
  if target.alignments is not None:
    clusters, found = found, f'{number}/members'
    how = (*load, *EXPAND, *_EXPAND_ALL)
    yield Step.of('expandaln', 'queries', target.members, clusters, target.alignments, found, *how, weight=4)
  yield Step.of('align', profile, target.members, found, f'{number}/aligned', *load, *_ALIGN, weight=10)
  best = f'{number}/best'
  yield Step.of('pairaln', 'queries', members, f'{number}/aligned', best, *load, *_BEST_OF_EACH_TAXON)
  yield Step.of('align', profile, target.members, best, f'{number}/traced', *load, *_TRACE, weight=2)
  table = ('--format-output', _COLUMNS, '--db-output', 1)
  yield Step.of('convertalis', 'queries', members, f'{number}/traced', f'{number}/result', *load, *table)


def _linked_members(folder: Path, database: Database, target: Layout) -> Path:
  """The members of a database under a name whose taxa MMseqs2 finds, by links in a folder of this search.

  It takes NAME for a database with taxa if NAME_mapping is there, where taxa of clustered members are under another
  name, and files of the tree of life, which it does not read for this.
  """
  folder.mkdir()
  start = target.members.name
  name = 'members.idx' if start.endswith('.idx') else 'members'
  for path in target.members.parent.iterdir():
    rest = path.name.removeprefix(start)
    if path.name.startswith(start) and (not rest or rest.startswith(('.', '_h'))):
      os.symlink(path, folder / f'{name}{rest}')
  for one in dict.fromkeys(('members', name)):  # of an index it reads the one and wants the other to be there
    os.symlink(taxa_file(database), folder / f'{one}_mapping')
    for part in ('nodes', 'names', 'merged'):
      (folder / f'{one}_{part}.dmp').touch()
  return folder / name


def _records(table: str, num_res: int) -> list[str]:
  """A3M records of the table's lines, one for each taxon, the best first; those without a taxon are left out."""
  best: dict[int, str] = {}
  for line in table.splitlines():
    target, taxon, start, query, row = line.split('\t')
    if taxon != '0':
      letters = ''.join(b.lower() if a == '-' else b for a, b in zip(query, row.upper(), strict=True))
      before = '-' * (int(start) - 1)
      behind = '-' * (num_res - len(before) - sum(a != '-' for a in query))
      best.setdefault(int(taxon), f'>{pairing.with_taxon(target, int(taxon))}\n{before}{letters}{behind}\n')
  return list(best.values())
