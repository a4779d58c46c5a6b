# SPDX-License-Identifier: Apache-2.0
"""MMseqs2's profile search on this machine, as `colabfold_search` makes it.

The sequence is searched three times, with a profile of what was found from the second time on. Clusters among the
hits are opened, their members aligned to the profile, filtered, and written as an alignment. The profile then searches
the other databases. The steps and their numbers are those of ColabFold 1.6.3: colabfold/mmseqs/search.py.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import screen
from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search import databases as database_files
from alphafold_jax.search.databases import MMSEQS, Database
from alphafold_jax.search.found import Found, Rows, TemplateHit, Watch
from alphafold_jax.search.m8 import Line
from alphafold_jax.search.mmseqs import profile_search
from alphafold_jax.search.mmseqs import program as mmseqs_program
from alphafold_jax.search.mmseqs.making import Layout, layout
from alphafold_jax.search.mmseqs.profile_search import (
  EXPAND,
  USUAL,
  MMseqsSettings,
  Recipe,
  search_steps,
  way_to_search,
  write_queries,
)
from alphafold_jax.search.mmseqs.program import Step, Workplace

_BLOCK = 1000  # sequences searched together, which bounds the disk that is used
_SHORTEST = 12  # residues; of shorter exact copies MMseqs2 18 found none
_TEMPLATE_SEARCH = '-a -e 0.1'.split()
_TEMPLATE_SENSITIVITY = 7.5
_EXPAND_FIRST = '--expand-filter-clusters 1 --max-seq-id 0.95'.split()
_REALIGN = '-e 10 --max-accept 100000 --alt-ali 10 -a'.split()
_FILTER = '--qid 0 --qsc 0.8 --diff 0 --max-seq-id 1.0 --filter-min-enable 100'.split()
_ALIGNMENT = (
  '--msa-format-mode 6 --filter-msa 1 --filter-min-enable 1000 --diff 3000 --qid 0.0,0.2,0.4,0.6,0.8,1.0 '
  '--qsc 0 --max-seq-id 0.95'
).split()
_COLUMNS = 'target,qstart,qend,tstart,tend,evalue,cigar,tseq'


class MMseqs:
  """The engine."""

  name = 'mmseqs2'

  def __init__(self, databases: Sequence[Database], num_threads: int, settings: MMseqsSettings = USUAL):
    """Checks program and databases.

    Args:
      databases: MMseqs2 databases; at least one for alignments, the first of which makes the profile.
      num_threads: of the program.
      settings: how to search.

    Raises:
      SearchError: the program is missing, or cannot use a GPU.
      InputError: a database cannot be searched.
    """
    self._program = mmseqs_program.find()
    self._num_threads, self._settings = num_threads, settings
    self._databases = [
      (one, layout(one, gpu=settings.gpu))
      for templates in (False, True)
      for one in database_files.of_kind(databases, MMSEQS, templates=templates)
    ]
    if not any(not one.settings.templates for one, _ in self._databases):
      raise InputError('MMseqs2 has no database for alignments to search; name one, such as --database uniref30=PATH')
    if settings.gpu:
      self._check_gpu()

  def identity(self) -> Mapping[str, Any]:
    """See `Engine.identity`."""
    return {
      'engine': self.name,
      'version': mmseqs_program.version(self._program),
      **dataclasses.asdict(self._settings),
      'databases': [database_files.identity(one) for one, _ in self._databases],
    }

  def search(self, sequences: Sequence[str], watch: Watch) -> Iterator[tuple[int, Found]]:
    """See `Engine.search`."""
    for start in range(0, len(sequences), _BLOCK):
      yield from self._search_block(sequences[start : start + _BLOCK], start, len(sequences), watch)

  def _search_block(self, block: Sequence[str], start: int, total: int, watch: Watch) -> Iterator[tuple[int, Found]]:
    """Searches for sequences start, start + 1, ... of a total."""
    with mmseqs_program.workplace(self._program, self._num_threads) as place:
      self._run(place, block, lambda fraction, text: watch((start + fraction * len(block)) / total, text))
      for index, sequence in enumerate(block):
        yield start + index, self._found(place.folder, index, sequence)

  def _run(self, place: Workplace, sequences: Sequence[str], watch: Watch) -> None:
    """Runs all steps for some sequences; the results are in the folders rows0, rows1, ... by database then."""
    write_queries(place, sequences)
    recipes = [
      Recipe(number, target, one.role, tuple(_STEPS[one.settings.templates](number, target, self._settings)))
      for number, (one, target) in enumerate(self._databases)
    ]
    profile_search.run(place, recipes, watch)

  def _found(self, folder: Path, index: int, sequence: str) -> Found:
    """What was found for one sequence."""
    rows: list[Rows] = []
    hits: list[TemplateHit] = []
    notes: list[str] = []
    for number, (one, _) in enumerate(self._databases):
      text = (folder / f'rows{number}' / f'{index}').read_text(encoding='utf-8', errors='replace').replace('\0', '')
      if one.settings.templates:
        lines = text.splitlines()
        taken = [hit for hit in (_hit(line, len(sequence)) for line in lines) if hit is not None]
        hits += taken
        if left_out := len(lines) - len(taken):
          notes.append(
            f'{left_out} of {len(lines)} template hits in {one.path.name} left out: their names are not '
            'of the form 4zey_A'
          )
      else:
        rows.append(_rows(one, text, sequence))
    if len(sequence) < _SHORTEST and not any(one.num_found for one in rows):
      notes.append(
        f'{screen.number(len(sequence), "residue")}: too few for MMseqs2 to find homologues (it needs {_SHORTEST})'
      )
    hits.sort(key=lambda hit: hit.evalue or 0.0)
    return Found(tuple(rows), tuple(hits), tuple(notes))

  def _check_gpu(self) -> None:
    """Searches one sequence for itself on the GPU."""
    with mmseqs_program.workplace(self._program, self._num_threads) as place:
      write_queries(place, ['MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ'])
      try:
        place.run(Step.of('createdb', 'queries.fasta', 'padded', '--gpu', 1))
        place.run(Step.of('ungappedprefilter', 'queries', 'padded', 'found', '--gpu', 1))
      except SearchError as error:
        raise SearchError(
          f'{self._program} cannot search on a GPU ({error}); leave out --gpu, or name a build for GPUs '
          f'(https://github.com/soedinglab/MMseqs2/releases) in {mmseqs_program.VARIABLE}'
        ) from None


def _alignment_steps(number: int, target: Layout, settings: MMseqsSettings) -> Iterator[Step]:
  """Search, open the clusters, align to the profile, filter, and write the alignment."""
  load, found = ('--db-load-mode', target.load_mode), f'{number}/found'
  query = _profile_of_first(settings) if number else 'queries'
  steps, profile = search_steps(number, query, target, settings)
  yield from steps
  if target.alignments is not None:
    clusters, found = found, f'{number}/members'
    how = (*load, *EXPAND, *(() if number else _EXPAND_FIRST))
    yield Step.of('expandaln', query, target.members, clusters, target.alignments, found, *how, weight=4)
  yield Step.of('align', profile, target.members, found, f'{number}/aligned', *load, *_REALIGN, weight=10)
  yield Step.of('filterresult', 'queries', target.members, f'{number}/aligned', f'{number}/filtered', *load, *_FILTER)
  yield Step.of('result2msa', 'queries', target.members, f'{number}/filtered', f'{number}/result', *load, *_ALIGNMENT)


def _template_steps(number: int, target: Layout, settings: MMseqsSettings) -> Iterator[Step]:
  """Search with the profile, and write a table of the hits."""
  load = ('--db-load-mode', target.load_mode)
  query, found = _profile_of_first(settings), f'{number}/found'
  how = (*load, *_TEMPLATE_SEARCH, *way_to_search(settings, _TEMPLATE_SENSITIVITY))
  yield Step.of('search', query, target.path, found, f'{number}/tmp', *how, weight=5)
  table = ('--format-output', _COLUMNS, '--db-output', 1)
  yield Step.of('convertalis', query, target.headers, found, f'{number}/result', *load, *table)


def _profile_of_first(settings: MMseqsSettings) -> str:
  return 'profile0' if settings.iterations > 1 else 'queries'


_STEPS = {False: _alignment_steps, True: _template_steps}  # by whether the database is one of known structures


def _rows(database: Database, text: str, sequence: str) -> Rows:
  """An alignment as A3M: the query as given (MMseqs2 rewrites rare letters), then the rows, up to the role's cap."""
  records = text.split('\n>')[1:]
  most = database.settings.max_rows
  kept = ''.join(f'>{record.rstrip()}\n' for record in records[: most and most - 1])
  return Rows(database.role, f'>query\n{sequence}\n{kept}', len(records))


def _hit(line: str, num_res: int) -> TemplateHit | None:
  """The hit in a line of the table; None if the name is not of the form 4zey_A."""
  target, query_start, query_end, start, end, evalue, cigar, sequence = line.split('\t')
  if target.count('_') != 1:
    return None
  aligned = Line(target, int(query_start) - 1, int(query_end), int(start) - 1, int(end), float(evalue), cigar)
  return aligned.hit(sequence.upper(), num_res)
