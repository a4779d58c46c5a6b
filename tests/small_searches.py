# SPDX-License-Identifier: Apache-2.0
"""Engines of the smallest kind, and a process that searches with one of them and takes its time.

As a program: small_searches.py ENGINE FOLDER SECONDS SEQUENCE..., which says what is searched for and what was found.
"""

import subprocess
import sys
import time
from pathlib import Path

from alphafold_jax.errors import SearchError
from alphafold_jax.search import pairing
from alphafold_jax.search.cache import SearchCache
from alphafold_jax.search.finding import Search
from alphafold_jax.search.found import Found, FoundPairs, Rows, TemplateHit

HIT = TemplateHit('4zey', 'A', 'MKV', ((0, 0), (2, 1)), start=4, description='x', evalue=1e-9)
SETTINGS = {'engine': 'one', 'database': 'abc'}


def found(sequence, *, rows=1):
  text = f'>query\n{sequence}\n' + f'>hit\n{sequence}\n' * rows
  return Found((Rows('uniref90', text, rows),), (HIT,), ('a note',))


class Engine:
  """Finds every sequence once, except those that it is told to fail on."""

  name = 'fake'

  def __init__(self, settings=SETTINGS, failing=(), silent=()):
    self.settings, self.failing, self.silent, self.asked = settings, failing, silent, []

  def identity(self):
    return self.settings

  def search(self, sequences, watch):
    self.asked.append(list(sequences))
    for index, sequence in reversed(list(enumerate(sequences))):
      watch(0.5, 'half')
      if sequence not in self.silent:
        yield index, SearchError('refused') if sequence in self.failing else found(sequence)


class ChainEngine:
  """Finds two taxa for every chain, as an engine of pairs does that searches for chains alone."""

  name, strategy = 'fake', 'greedy'

  def __init__(self, failing=(), strategy='greedy'):
    self.failing, self.asked, self.strategy = failing, [], strategy

  def identity(self):
    return {'database': 'abc'}

  def parts(self, chains):
    return tuple(chains)

  def search(self, parts, watch):
    self.asked += parts
    for index, chain in enumerate(parts):
      watch(index / len(parts), 'fake')
      text = f'>query\n{chain}\n>a TaxID=7\n{chain}\n>b TaxID=5\n{chain}\n'
      yield index, SearchError('refused') if chain in self.failing else Found((Rows('db', text, 2),))

  def pairs(self, chains, found):
    paired = pairing.by_taxon([one.rows[0].a3m for one in found], self.strategy)
    return FoundPairs(tuple(f'>query\n{chain}\n{rows}' for chain, rows in zip(chains, paired, strict=True)))


def find(engine, cache, sequences, templates=None):
  """What is found for each sequence, by its place."""
  return dict(Search(engine, templates, cache).find(sequences, lambda fraction, text: None))


def found_pairs(engine, cache, asked):
  """What is found for each complex, in their order."""
  search = Search(Engine(), None, cache, lambda: engine)
  told = []
  results = dict(search.find_pairs(asked, lambda fraction, text: told.append(fraction)))
  assert told == sorted(told)
  return [results[index] for index in range(len(asked))]


# ------------------------------------------------------------------------------------------ in another process

_FINDING = {  # engine, and what is printed of what was found
  'sequences': (Engine, lambda *given: [len(find(*given))]),
  'pairs': (ChainEngine, lambda engine, cache, chains: [one.num_rows for one in found_pairs(engine, cache, [chains])]),
}


def process(kind, cache, seconds, *sequences):
  """A process that shares a cache, begins with its search at once and is done after so many seconds."""
  command = [sys.executable, __file__, kind, str(cache.folder), str(seconds), *sequences]
  return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def main(kind, folder, seconds, *sequences):
  quick, finding = _FINDING[kind]

  class Slow(quick):
    def search(self, sequences, watch):
      print('searching', *sequences, flush=True)
      time.sleep(float(seconds))
      yield from super().search(sequences, watch)

  print('found', *finding(Slow(), SearchCache(Path(folder)), sequences), flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
