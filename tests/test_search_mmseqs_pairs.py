# SPDX-License-Identifier: Apache-2.0
"""Chains paired by the taxonomy of MMseqs2 databases, one search a chain: the pairs that MMseqs2 makes of a complex."""

import os
import random
import subprocess

import numpy as np
import pytest
from small_searches import Engine

from alphafold_jax.search import databases
from alphafold_jax.search.cache import SearchCache
from alphafold_jax.search.finding import Search
from alphafold_jax.search.mmseqs import making, pairs
from alphafold_jax.search.mmseqs import program as mmseqs_program
from alphafold_jax.search.mmseqs.profile_search import MMseqsSettings
from alphafold_jax.search.options import SearchOptions

UNGAPPED = MMseqsSettings(ungapped=True)
LETTERS = 'ACDEFGHIKLMNPQRSTVWY'
NAMED = {'first': 'OX=9606', 'second': 'TaxID=10090', 'third': 'OX=562', 'fourth': 'TaxID=4932', 'fifth': ''}


def protein(seed: int, length: int = 120) -> str:
  return ''.join(random.Random(seed).choices(LETTERS, k=length))


def relative(sequence: str, seed: int, changed: float) -> str:
  """A sequence with some of its residues changed, one left out and one put in."""
  chance = random.Random(seed)
  letters = [chance.choice(LETTERS) if chance.random() < changed else letter for letter in sequence]
  return ''.join([*letters[:40], *letters[41:70], 'W', *letters[70:]])


CHAINS = [protein(seed) for seed in range(3)]
TAXA_OF = [  # of the relatives of each chain, the less alike behind
  ('first', 'second', 'first', 'third', 'fifth'),
  ('second', 'first', 'second', 'third', 'fourth'),
  ('fourth', 'first', 'first'),
]


def records():
  """(header, sequence) of a database in which the three chains have relatives in four taxa."""
  for chain, (sequence, names) in enumerate(zip(CHAINS, TAXA_OF, strict=True)):
    for place, name in enumerate(names):
      yield f'c{chain}_{place} made up {NAMED[name]} GN=x', relative(sequence, 10 * chain + place, 0.1 + 0.08 * place)
  for seed in range(100, 130):
    yield f'u{seed} unrelated OX=9606', protein(seed)


def call(*arguments) -> None:
  """Runs the program itself."""
  environment = os.environ | {'MMSEQS_NUM_THREADS': '1', 'MMSEQS_CALL_DEPTH': '1'}
  command = [mmseqs_program.find(), *map(str, arguments), '-v', '1']
  subprocess.run(command, check=True, env=environment, capture_output=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  made = tmp_path_factory.mktemp('a folder')
  (made / 'toy.fasta').write_text(''.join(f'>{header}\n{sequence}\n' for header, sequence in records()))
  return made


@pytest.fixture(scope='module')
def plain(folder):
  making.build(folder / 'toy.fasta', folder / 'toy', 1)
  for part in ('nodes', 'names', 'merged'):  # MMseqs2 itself wants them to be there, and does not read them to pair
    (folder / f'toy_{part}.dmp').touch()
  return databases.parse(str(folder / 'toy'))


@pytest.fixture(scope='module')
def clustered(folder, plain):
  """The same in the layout of ColabFold's databases: taxa are those of the members."""
  base = folder / 'toy_clusters'
  call('createdb', folder / 'toy.fasta', f'{base}_seq', '--shuffle', 0, '--dbtype', 1)
  call('linclust', f'{base}_seq', folder / 'clusters', folder / 'tmp', '--min-seq-id', 0.3, '-c', 0.8)
  call('align', f'{base}_seq', f'{base}_seq', folder / 'clusters', f'{base}_aln', '-a', '-e', 'inf')
  call('createsubdb', folder / 'clusters', f'{base}_seq', base)
  for part in ('mapping', 'nodes.dmp', 'names.dmp', 'merged.dmp'):
    (folder / f'toy_clusters_{part}').write_bytes((folder / f'toy_{part}').read_bytes())
  return databases.parse(f'uniref30={base}')


def whole_complex(folder, database) -> dict[str, list[list[str]]]:
  """The rows of each chain as MMseqs2 pairs them, by strategy: the commands of colabfold_search for one complex."""
  work = folder / f'whole_{database.path.name}'
  work.mkdir()
  (work / 'q.fasta').write_text(''.join(f'>{101 + i}\n{sequence}\n' for i, sequence in enumerate(CHAINS)))
  query, target = work / 'q', making.layout(database)
  call('createdb', work / 'q.fasta', query, '--shuffle', 0, '--dbtype', 1)
  how = '--num-iterations 3 -a -e 0.1 --max-seqs 10000 --prefilter-mode 1'.split()
  call('search', query, target.path, work / 'res', work / 'tmp', *how)
  call('mvdb', work / 'tmp' / 'latest' / 'profile_1', work / 'prof')
  call('lndb', f'{query}_h', work / 'prof_h')
  found = work / 'res'
  if target.alignments is not None:
    how = '--expansion-mode 0 -e inf --expand-filter-clusters 0 --max-seq-id 0.95'.split()
    call('expandaln', query, target.members, found, target.alignments, work / 'exp', *how)
    found = work / 'exp'
  how = '-e 0.001 --max-accept 1000000 -c 0.5 --cov-mode 1'.split()
  call('align', work / 'prof', target.members, found, work / 'aln', *how)
  rows = {}
  for number, strategy in enumerate(('greedy', 'complete')):
    mode, made = ('--pairing-mode', number), work / strategy
    made.mkdir()
    call('pairaln', query, target.path, work / 'aln', made / 'pair', *mode, '--pairing-dummy-mode', 0)
    call('align', work / 'prof', target.members, made / 'pair', made / 'bt', '-e', 'inf', '-a')
    call('pairaln', query, target.path, made / 'bt', made / 'final', *mode, '--pairing-dummy-mode', 1)
    call('result2msa', query, target.members, made / 'final', made / 'a3m', '--msa-format-mode', 5)
    call('unpackdb', made / 'a3m', made / 'out', '--unpack-name-mode', 0, '--unpack-suffix', '')
    texts = [(made / 'out' / f'{index}').read_text().replace('\0', '') for index in range(len(CHAINS))]
    rows[strategy] = [text.splitlines()[3::2] for text in texts]
  return rows


def searched(engine, chains=tuple(CHAINS)):
  told: list[float] = []
  results = dict(engine.search(engine.parts(chains), lambda fraction, text: told.append(fraction)))
  assert told == sorted(told) and told[-1] == 1
  return [results[index] for index in range(len(chains))]


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['plain', 'clustered'])
def test_chains_searched_for_alone_make_the_pairs_of_the_whole_complex(request, folder, kind):
  database = request.getfixturevalue(kind)
  engines = {name: pairs.MMseqsPairs([database], 1, name, UNGAPPED) for name in ('greedy', 'complete')}
  found = searched(engines['greedy'])
  paired = {name: engine.pairs(CHAINS, found).chains for name, engine in engines.items()}
  rows = {name: [text.splitlines()[3::2] for text in texts] for name, texts in paired.items()}
  assert rows == whole_complex(folder, database)
  assert {name: list(map(len, of_chains)) for name, of_chains in rows.items()} == {
    'greedy': [4] * 3,
    'complete': [1] * 3,
  }
  assert all(text.count(' TaxID=9606\n') == 1 for texts in paired.values() for text in texts)


@pytest.mark.slow
def test_all_pairs_of_three_chains_share_three_searches(plain, tmp_path, monkeypatch):
  asked = []
  search = pairs.MMseqsPairs.search
  monkeypatch.setattr(
    pairs.MMseqsPairs, 'search', lambda self, parts, watch: asked.extend(parts) or search(self, parts, watch)
  )
  complexes = [(CHAINS[0], CHAINS[1]), (CHAINS[1], CHAINS[2]), (CHAINS[2], CHAINS[0]), tuple(CHAINS)]
  kept = SearchCache(tmp_path)
  for _ in range(2):
    made = Search(Engine(), None, kept, lambda: pairs.MMseqsPairs([plain], 1, 'greedy', UNGAPPED))
    found = dict(made.find_pairs(complexes, lambda *_: None))
    assert [found[i].num_rows[0] - 1 for i in range(4)] == [3, 2, 1, 4]
  assert asked == CHAINS
  assert len(list(kept.entries())) == 3


@pytest.mark.slow
def test_chains_without_a_taxon_in_common_go_on_unpaired_with_a_note(plain):
  chains = (CHAINS[0], protein(1000))
  engine = pairs.MMseqsPairs([plain], 1, 'greedy', UNGAPPED)
  found = engine.pairs(chains, searched(engine, chains))
  assert found.num_rows == (1, 1)
  (note,) = found.notes
  assert note.startswith('found no pairs because no taxon in ') and note.endswith('two of the chains; goes on unpaired')


def test_of_a_table_each_taxon_gives_its_first_row_and_the_unknown_none():
  lines = ['a\t0\t1\tMKV\tMKV', 'b\t7\t2\tK-V\tkwi', 'c\t7\t1\tMKV\tMKI', 'd\t5\t1\tMK\t-K']
  assert pairs._records('\n'.join(lines) + '\n', 4) == ['>b TaxID=7\n-KwI-\n', '>d TaxID=5\n-K--\n']


def test_a_database_keeps_the_taxa_that_its_headers_say(plain, folder):
  content = (folder / 'toy_mapping').read_bytes()
  entries = np.frombuffer(content[5:], '<u4').reshape(-1, 2)
  assert entries[:5].tolist() == [[0, 9606], [1, 10090], [2, 9606], [3, 562], [5, 10090]]  # the fifth says none
  assert len(entries) == sum('=' in header.split(' GN')[0] for header, _ in records())
  assert pairs.with_taxa([plain]) == [plain]


def test_a_database_without_taxa_is_named_as_the_reason_for_no_pairs(folder, tmp_path):
  (folder / 'bare.fasta').write_text(f'>a\n{CHAINS[0]}\n')
  making.build(folder / 'bare.fasta', folder / 'bare', 1)
  assert not (folder / 'bare_mapping').exists()
  options = SearchOptions('mmseqs2', databases=(str(folder / 'bare'),), search_cache=tmp_path)
  (found,) = dict(options.make().find_pairs([CHAINS[:2]], lambda *_: None)).values()
  (note,) = found.notes
  assert f'{folder}/bare_mapping: not there' in note and note.endswith('goes on unpaired')
