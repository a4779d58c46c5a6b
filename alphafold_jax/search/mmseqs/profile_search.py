# SPDX-License-Identifier: Apache-2.0
"""The search that begins all others: with the sequence, then with a profile of what was found; and how steps are run.

A database is searched in a folder that is named by its number; what outlives the folder is its profile, and the
results, unpacked to one file for each query.
"""

import dataclasses
import shutil
from collections.abc import Iterable, Sequence

from alphafold_jax.search.found import Watch
from alphafold_jax.search.mmseqs.making import Layout
from alphafold_jax.search.mmseqs.program import Step, Workplace

EXPAND = '--expansion-mode 0 -e inf'.split()  # opens clusters
_SEARCH = '-a -e 0.1 --max-seqs 10000'.split()


@dataclasses.dataclass(frozen=True)
class MMseqsSettings:
  """How MMseqs2 searches."""

  sensitivity: float = 8.0  # of the search by k-mers, 1 to 8
  iterations: int = 3  # how often the first database is searched
  ungapped: bool = False  # compare to every sequence instead, as GPUs do: faster without an index, for few queries
  gpu: bool = False  # search on a GPU


USUAL = MMseqsSettings()


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What is done with one database."""

  number: int  # of the database
  target: Layout
  shown: str  # names it in the progress
  steps: tuple[Step, ...]  # the last leaves one text for each query in the database NUMBER/result

  @property
  def results(self) -> str:
    """The folder with the texts, named by the queries' indices."""
    return f'rows{self.number}'


def write_queries(place: Workplace, sequences: Sequence[str]) -> None:
  """Makes the database `queries`, in which sequences are named by their index."""
  with open(place.folder / 'queries.fasta', 'w', encoding='ascii') as file:
    file.writelines(f'>{index}\n{sequence}\n' for index, sequence in enumerate(sequences))
  place.run(Step.of('createdb', 'queries.fasta', 'queries', '--shuffle', 0, '--dbtype', 1))


def run(place: Workplace, recipes: Iterable[Recipe], watch: Watch) -> None:
  """Runs all steps, and unpacks the results."""
  parts = [(one, (*one.steps, _unpack(one))) for one in recipes]
  total, done = sum(step.weight for _, steps in parts for step in steps), 0.0
  for one, steps in parts:
    folder = place.folder / f'{one.number}'
    folder.mkdir()
    for step in steps:
      watch(done / total, f'{one.shown}: mmseqs {step.command}')
      place.run(dataclasses.replace(step, about=str(one.target.path)))
      done += step.weight
    shutil.rmtree(folder)
  watch(1.0, 'reading the results')


def _unpack(one: Recipe) -> Step:
  return Step.of('unpackdb', f'{one.number}/result', one.results, '--unpack-name-mode', 0, '--unpack-suffix', '')


def search_steps(number: int, query: str, target: Layout, settings: MMseqsSettings) -> tuple[list[Step], str]:
  """The steps of a profile search, which leave the hits in the database NUMBER/found; and the name of the profile."""
  load = ('--db-load-mode', target.load_mode)
  how = ('--num-iterations', settings.iterations, *load, *_SEARCH, *way_to_search(settings, settings.sensitivity))
  steps = [Step.of('search', query, target.path, f'{number}/found', f'{number}/tmp', *how, weight=30)]
  if settings.iterations == 1:
    return steps, query
  profile = f'profile{number}'
  steps.append(Step.of('mvdb', f'{number}/tmp/latest/profile_{settings.iterations - 2}', profile, weight=0))
  steps.append(Step.of('lndb', 'queries_h', f'{profile}_h', weight=0))
  return steps, profile


def way_to_search(settings: MMseqsSettings, sensitivity: float) -> tuple[str, ...]:
  """Arguments for a search by k-mers or an exhaustive one; releases before 15 know only the first."""
  if not (settings.ungapped or settings.gpu):
    return '-s', f'{sensitivity:.1f}'
  return '--prefilter-mode', '1', *(('--gpu', '1') if settings.gpu else ())
