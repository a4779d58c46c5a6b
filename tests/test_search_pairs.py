# SPDX-License-Identifier: Apache-2.0
"""Rows to be paired: found once for all complexes, by a server or chain by chain, and put side by side."""

import gzip
import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from msa_server import Answer, Waits, pair_rows, serving
from small_searches import ChainEngine, Engine, found_pairs, process

from alphafold_jax.data.chains import Chains
from alphafold_jax.data.complexes import parse
from alphafold_jax.data.records import read_text
from alphafold_jax.errors import SearchError
from alphafold_jax.search import complexes, databases, fasta, finding, pairing
from alphafold_jax.search.cache import SearchCache, key_of
from alphafold_jax.search.databases import FASTA, Database
from alphafold_jax.search.finding import Search
from alphafold_jax.search.found import Found, FoundComplex, FoundPairs, NoPairs, Rows
from alphafold_jax.search.server import pairs as server_pairs
from alphafold_jax.search.server.engine import Server
from alphafold_jax.search.server.host import Host
from alphafold_jax.search.server.pairs import ServerPairs
from alphafold_jax.search.uniprot import UniProtPairs

RECORDED = Path(__file__).parent / 'data' / 'pairs'  # two real answers
ONE, TWO, SIX = 'MKTAYIAKQRQISFVKSHFSRQ', 'DAEFRHDSGYEVHHQKLVFF', 'GSHMSLFDFFKNKGSAWWWW'
PROTEINS = [f'{ONE[i:]}{TWO[: i + 3]}' for i in range(6)]
SOURCE = 'http://host, pair.a3m'


@pytest.fixture
def cache(tmp_path):
  with_folder = SearchCache(tmp_path / 'searches')
  yield with_folder
  with_folder.close()


def rows_of(a3m):
  """Names and rows below the first."""
  lines = a3m.splitlines()
  return list(zip(lines[2::2], lines[3::2], strict=True))


def recorded(name):
  path = RECORDED / name
  return (gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()).decode()


def blocks_of(text):
  """{sequence: text of the rows} of a recorded answer."""
  parts = (block.strip('\n').split('\n', 2) for block in text.split('\0') if block.strip('\n'))
  return {sequence: f'{rows}\n' for _, sequence, rows in parts}


# ------------------------------------------------------------------------------------------ a server


@pytest.fixture
def host():
  with serving() as running:
    yield running


def server(host, strategy='greedy', *, use_env=False, **settings):
  return ServerPairs(Host(host.url, **settings), strategy, use_env=use_env, clock=Waits().clock)


@pytest.mark.parametrize(('name', 'depth'), [('3g5o.a3m', 14), ('hemoglobin.a3m.gz', 49)])
def test_a_real_answer_gives_its_rows_side_by_side(host, cache, name, depth):
  host.pairs = blocks_of(recorded(name))
  chains = tuple(host.pairs)
  (found,) = found_pairs(server(host), cache, [chains])
  assert found.num_rows == (depth + 1, depth + 1) and not found.by_species and found.notes == ()
  for sequence, text in zip(chains, found.chains, strict=True):
    assert text == f'>query\n{sequence}\n{host.pairs[sequence]}'
  first, second = pairing.alignments(found)
  assert (first.query, second.query) == chains and len(first.names) == len(second.names) == depth + 1


def test_a_real_answer_is_the_paired_rows_of_colabfolds_own_file(host, cache):
  host.pairs = blocks_of(recorded('3g5o.a3m'))
  chains, alignment = parse(read_text(RECORDED.parent / 'complexes' / '3g5o.a3m.gz'), 'x')
  (found,) = found_pairs(server(host), cache, [chains.distinct])
  for own, theirs in zip(pairing.alignments(found), alignment.paired, strict=True):
    np.testing.assert_array_equal(own.tokens, theirs.tokens)


@pytest.mark.parametrize(
  ('strategy', 'use_env', 'mode'),
  [
    ('greedy', False, 'pairgreedy'),
    ('complete', False, 'paircomplete'),
    ('greedy', True, 'pairgreedy-env'),
    ('complete', True, 'paircomplete-env'),
  ],
)
def test_the_mode_says_how_to_pair_and_by_what(host, cache, strategy, use_env, mode):
  (found,) = found_pairs(server(host, strategy, use_env=use_env), cache, [(ONE, TWO)])
  assert host.modes == [mode] and host.count('submit') == 0
  names = [name for name, _ in rows_of(found.chains[0])]
  assert names == ['>PairW', '>PairY', '>PairH'] * (1 + use_env)  # of both databases, without a second query


def test_the_chains_of_a_complex_go_out_together_and_once_in_whatever_order_they_come(host, cache):
  engine = server(host)
  one, other = found_pairs(engine, cache, [(ONE, TWO), (TWO, ONE)])
  assert one.chains == other.chains[::-1] and one.chains[0].startswith(f'>query\n{ONE}\n')
  assert [what for kind, what in host.asked if kind == 'pair'] == [f'>101\n{TWO}\n>102\n{ONE}\n']
  assert found_pairs(server(host), cache, [(TWO, ONE)]) == [other]  # kept
  assert host.count('pair') == 1
  found_pairs(server(host, 'complete'), cache, [(ONE, TWO)])
  assert host.count('pair') == 2


def test_nothing_is_sent_for_copies_of_one_chain(host, cache):
  assert found_pairs(server(host), cache, [(ONE,)]) == [FoundPairs((f'>query\n{ONE}\n',))]
  assert not host.asked


def test_passing_failures_are_tried_again(host, cache):
  host.plans['pair'] = [Answer(b'oops', 500), Answer({'status': 'RATELIMIT'})]
  host.plans['poll'] = [Answer({'status': 'RUNNING'}), Answer({'status': 'UNKNOWN'})]
  host.plans['download'] = [Answer(b'x' * 99)]
  (found,) = found_pairs(server(host), cache, [(ONE, TWO)])
  assert found.num_rows == (4, 4) and host.count('pair') == 4


def test_a_later_run_asks_for_the_ticket_of_a_complex(host, cache, tmp_path):
  host.plans['poll'] = [Answer({'status': 'RUNNING'})] * 5
  with pytest.raises(SearchError, match='no result within'):
    found_pairs(server(host, tickets=tmp_path / 'tickets', deadline=20), cache, [(ONE, TWO)])
  host.plans['poll'] = []
  (found,) = found_pairs(server(host, tickets=tmp_path / 'tickets'), cache, [(ONE, TWO)])
  assert found.num_rows == (4, 4) and host.count('pair') == 1 and not list((tmp_path / 'tickets').iterdir())


def test_a_complex_on_which_the_server_fails_does_not_spoil_the_others(host, cache):
  host.bad = {SIX}
  first, bad, last = found_pairs(server(host), cache, [(ONE, TWO), (ONE, SIX), (ONE, TWO, 'MKV')])
  assert isinstance(bad, SearchError) and 'reports ERROR for the complex of GSHM' in str(bad)
  assert first.num_rows == (4, 4) and last.num_rows == (4, 4, 4)


def test_a_server_that_fails_on_every_complex_is_given_up(host, cache):
  host.bad = {SIX}
  with pytest.raises(SearchError, match='so did it for the 6 tickets before'):
    found_pairs(server(host), cache, [(SIX, protein) for protein in [*PROTEINS, ONE, TWO]])
  assert host.count('pair') == 7


def changed(host, cache, change):
  host.change = lambda files: files | {'pair.a3m': change(files['pair.a3m'])}
  return found_pairs(server(host), cache, [(ONE, TWO)])[0]


@pytest.mark.parametrize(
  'change',
  [
    lambda text: text.replace('\0', ''),
    lambda text: text.replace('\0', '\0\0\n\0'),
    lambda text: f'\n\0{text}'.replace('>Pair', '\0>Pair'),
    lambda text: text.replace(f'\n\0>102\n{ONE}', f'\0>102\n\0{ONE[:7]}\0{ONE[7:]}'),
    lambda text: text.removesuffix('\n\0'),
    lambda text: text.replace('\n', '\r\n'),
  ],
  ids=['none', 'many', 'before rows', 'in a sequence', 'cut at the end', 'line ends'],
)
def test_nul_bytes_may_stand_anywhere_or_nowhere(host, cache, change):
  found = changed(host, cache, change)
  assert found.num_rows == (4, 4)
  assert found.chains == tuple(f'>query\n{sequence}\n{pair_rows(sequence)}' for sequence in (ONE, TWO))


@pytest.mark.parametrize(
  ('change', 'pattern'),
  [
    (lambda text: text.split('\0')[0], '1 of 2 chains are missing, such as MKTAYI'),
    (lambda text: text.replace(f'>PairH\n{ONE[:-1]}H\n', ''), 'unequal numbers .3 for DAEFRHDSGYEV..., 2 for MKTAYI'),
    (lambda text: text.replace(f'>102\n{ONE}', f'>102\n{SIX}MK'), 'is that of another sequence, GSHMSL'),
    (lambda text: text.replace(f'{ONE[:-1]}H', ONE[:5]), "row 'PairH'.*another number of columns"),
    (lambda text: f'>PairX\nMKV\n{text}', "row 'PairX' stands before the first chain"),
    (lambda text: 'nothing here', "stands before any '>' header"),
    (lambda text: text + text.split('\0')[0], '1 of 2 chains are missing'),
  ],
  ids=['missing', 'unequal', 'other query', 'short row', 'before', 'no alignment', 'half of a second database'],
)
def test_pairs_that_are_none_are_an_error_of_their_complex(host, cache, change, pattern):
  found = changed(host, cache, change)
  assert isinstance(found, SearchError) and re.search(pattern, str(found))
  assert '127.0.0.1' in str(found) and 'pair.a3m' in str(found)


@pytest.mark.parametrize(
  'text', ['', '\0\n\0', f'>101\n{TWO}\n\0>102\n{ONE}\n\0'], ids=['empty', 'NUL bytes', 'the chains alone']
)
def test_an_answer_without_pairs_goes_on_unpaired_with_a_note(host, cache, text):
  found = changed(host, cache, lambda _: text)
  assert found.chains == (f'>query\n{ONE}\n', f'>query\n{TWO}\n')
  (note,) = found.notes
  assert re.fullmatch(r'found no pairs because http.* relatives of two of the chains; goes on unpaired', note)


def test_an_archive_without_pairs_is_refused(host, cache):
  host.change = lambda files: {'pair.sh': ''}
  with pytest.raises(SearchError, match='the results lack pair.a3m'):
    found_pairs(server(host), cache, [(ONE, TWO)])


@pytest.mark.parametrize('name', ['3g5o.a3m', 'hemoglobin.a3m.gz'])
def test_recorded_files_are_read_to_the_letter(name):
  text = recorded(name)
  rows = blocks_of(text)
  names = dict(zip(('101', '102'), rows, strict=True))
  read = server_pairs._paired_rows(text, names, SOURCE)
  assert {sequence: ''.join(read[sent]) for sent, sequence in names.items()} == rows


# ------------------------------------------------------------------------------------------ one search for a chain


ALL_PAIRS = list(itertools.combinations(PROTEINS, 2))


def test_all_pairs_of_six_proteins_take_six_searches(cache):
  engine = ChainEngine()
  found = found_pairs(engine, cache, ALL_PAIRS)
  assert len(found) == 15 and all(one.num_rows == (3, 3) for one in found)
  assert [one.chains[0].split('\n')[1] for one in found] == [first for first, _ in ALL_PAIRS]
  assert Counter(engine.asked) == Counter(PROTEINS)
  again = ChainEngine()
  assert found_pairs(again, cache, ALL_PAIRS[::-1]) == found[::-1] and not again.asked


def test_all_pairs_of_six_proteins_at_a_server_take_one_search_each_and_a_ticket_a_pair(host, cache):
  waits = Waits()
  search = Search(Server(Host(host.url), waits.clock), None, cache, lambda: server(host))
  for _ in range(2):
    assert len(dict(search.find(PROTEINS, lambda *_: None))) == 6
    assert len(dict(search.find_pairs(ALL_PAIRS, lambda *_: None))) == 15
  (asked,) = [what for kind, what in host.asked if kind == 'submit']
  assert asked.count('>') == 6 and host.count('pair') == 15


def test_single_chains_and_complexes_of_a_run_share_their_searches(cache):
  class Telling(Engine):
    def search(self, sequences, watch):
      yield from super().search(sequences, watch)
      watch(1.0, 'done')

  engine, chain_engine = Telling(), ChainEngine()
  search = Search(engine, None, cache, lambda: chain_engine)
  told: list[float] = []
  asked = [(ONE,), (ONE, TWO), (ONE,), (TWO, SIX), (SIX, ONE)]
  found = dict(complexes.find(search, asked, lambda done, text: told.append(done)))
  assert told == sorted(told) and len(found) == 5
  for index, chains in enumerate(asked):
    assert [one.rows[0].a3m.split('\n')[1] for one in found[index].chains] == list(chains)
    assert found[index].pairs.num_rows == ((1,) if len(chains) == 1 else (3, 3))
  assert engine.asked == [[ONE, TWO, SIX]] and chain_engine.asked == [ONE, TWO, SIX]


@pytest.mark.parametrize(('mode', 'depth'), [('unpaired_paired', 2), ('paired', 1)])
def test_of_pairs_alone_the_chains_stand_alone_beside_them_but_copies_keep_their_rows(mode, depth):
  rows = {chain: f'>query\n{chain}\n>a\nW{chain[1:]}\n' for chain in (ONE, TWO)}
  one, two = (Found((Rows('db', text, 2),)) for text in rows.values())
  both = FoundComplex((one, two), FoundPairs((rows[ONE], rows[TWO])))
  alignment = complexes.alignment_of(Chains((ONE, TWO)), both, mode, 'greedy')
  assert [len(one.tokens) for one in alignment.unpaired] == [depth, depth]
  assert [len(one.tokens) for one in alignment.paired] == [2, 2]
  copies = complexes.alignment_of(Chains((ONE, ONE)), FoundComplex((one,), FoundPairs.none([ONE])), mode, 'greedy')
  assert [len(one.tokens) for one in (*copies.unpaired, *copies.paired)] == [2, 1]


def test_of_a_run_those_fail_whose_chain_fails(cache):
  search = Search(Engine(failing=[SIX]), None, cache, lambda: ChainEngine(failing=[TWO]))
  asked = [(ONE,), (SIX,), (ONE, SIX), (ONE, TWO), (TWO,), (ONE, 'MKV')]
  found = dict(complexes.find(search, asked, lambda done, text: None))
  assert [isinstance(found[index], SearchError) for index in range(6)] == [False, True, True, True, False, False]


def test_the_key_of_a_single_chain_is_that_of_its_search_and_a_complexs_has_all_in_it(cache):
  searches = [
    Search(Engine(settings), None, cache, lambda strategy=strategy: ChainEngine(strategy=strategy))
    for settings, strategy in (({'a': 1}, 'greedy'), ({'a': 2}, 'greedy'), ({'a': 1}, 'complete'))
  ]
  assert [complexes.key(search, [ONE]) for search in searches] == [search.key(ONE) for search in searches]
  keys = {complexes.key(search, chains) for search in searches for chains in ([ONE, TWO], [TWO, ONE], [ONE, SIX])}
  assert len(keys) == 9


def test_little_is_kept_in_memory_and_the_rest_is_read_again(cache, monkeypatch):
  whole = found_pairs(ChainEngine(), cache, ALL_PAIRS)
  monkeypatch.setattr(finding, 'RECENT', 1)
  assert found_pairs(ChainEngine(), cache, ALL_PAIRS) == whole
  engine = ChainEngine()
  results = Search(Engine(), None, cache, lambda: engine).find_pairs([(ONE, TWO)], lambda *_: None)
  get = cache.get
  monkeypatch.setattr(cache, 'get', lambda key: None)  # somebody empties the cache
  assert 'has gone from there meanwhile' in str(dict(results)[0])
  monkeypatch.setattr(cache, 'get', get)


def test_a_chain_that_fails_fails_its_complexes_alone_and_is_not_kept(cache):
  asked = [(ONE, TWO), (ONE, SIX), (TWO, SIX)]
  good, *bad = found_pairs(ChainEngine(failing=[SIX]), cache, asked)
  assert good.num_rows == (3, 3) and all(isinstance(one, SearchError) for one in bad)
  engine = ChainEngine()
  assert [one.num_rows for one in found_pairs(engine, cache, asked)] == [(3, 3)] * 3 and engine.asked == [SIX]


def test_pairs_are_kept_under_keys_of_their_own(cache):
  engine = Engine()
  search = Search(engine, None, cache, ChainEngine)
  assert search.key(ONE) == key_of(ONE, engine.identity())  # as without pairs
  assert len({search.key(ONE), search.pair_key([ONE, TWO]), search.pair_key([TWO, ONE])}) == 3
  other = Search(engine, None, cache, lambda: ChainEngine(strategy='complete'))
  assert other.pair_key([ONE, TWO]) != search.pair_key([ONE, TWO]) and other.key(ONE) == search.key(ONE)
  found_pairs(ChainEngine(), cache, [(ONE, TWO)])
  assert cache.get(search.key(ONE)) is None


def test_what_shapes_pairs_is_asked_once_however_many_complexes_there_are(cache):
  class Counting(ChainEngine):
    asked_for_identity = 0

    def identity(self):
      self.asked_for_identity += 1  # reads parts of databases
      return super().identity()

  engine = Counting()
  search = Search(Engine(), None, cache, lambda: engine)
  assert len({search.pair_key(chains) for chains in ALL_PAIRS}) == 15
  assert len(dict(search.find_pairs(ALL_PAIRS, lambda *_: None))) == 15
  assert engine.asked_for_identity == 1


def test_an_engine_of_pairs_is_made_only_for_a_complex(cache):
  def refuse():
    raise SearchError('no such program')

  search = Search(Engine(), None, cache, refuse)
  assert dict(search.find([ONE], lambda *_: None))
  with pytest.raises(SearchError, match='no such program'):
    next(search.find_pairs([(ONE, TWO)], lambda *_: None))


def test_without_pairs_the_chains_go_on_alone_and_a_reason_is_said(cache):
  bare = (f'>query\n{ONE}\n', f'>query\n{TWO}\n')
  assert found_pairs(NoPairs(), cache, [(ONE, TWO)]) == [FoundPairs(bare)]
  (found,) = found_pairs(NoPairs('of the weather'), cache, [(ONE, TWO)])
  assert found == FoundPairs(bare, notes=('found no pairs because of the weather; goes on unpaired',))


@pytest.mark.slow
def test_two_processes_at_once_search_for_a_chain_once(cache):
  first = process('pairs', cache, 2.0, 'MKV', 'AAA')
  assert first.stdout.readline() == 'searching MKV AAA\n'
  second = process('pairs', cache, 0, 'AAA', 'GGG')
  out, _ = second.communicate(timeout=60)
  assert out == 'searching GGG\nfound (3, 3)\n'
  assert first.communicate(timeout=60)[0] == 'found (3, 3)\n'


# ------------------------------------------------------------------------------------------ pairing by taxon


def alignment(sequence, *rows):
  return f'>query\n{sequence}\n' + ''.join(f'>{name} TaxID={taxon}\n{row}\n' for name, taxon, row in rows)


FIRST = alignment('MKV', ('a', 9, 'MKI'), ('b', 10, 'MkkKV'), ('c', 9, 'M-V'), ('d', 2, '-KV'))
SECOND = alignment('AAAA', ('e', 10, 'AAAG'), ('f', 9, 'AA-A'), ('g', 10, 'A--A'), ('h', 3, 'AAA-'))
THIRD = alignment('GG', ('i', 9, 'GA'), ('j', 3, 'AG'))


def test_the_best_row_of_a_taxon_stands_beside_the_best_rows_of_it_of_the_other_chains():
  first, second = pairing.by_taxon([FIRST, SECOND], 'greedy')
  assert first == '>a TaxID=9\nMKI\n>b TaxID=10\nMkkKV\n' and second == '>f TaxID=9\nAA-A\n>e TaxID=10\nAAAG\n'
  assert (first, second) == pairing.by_taxon([FIRST, SECOND], 'complete')


def test_greedy_takes_taxa_of_two_chains_and_complete_those_of_all():
  greedy = pairing.by_taxon([FIRST, SECOND, THIRD], 'greedy')
  taxa = [re.findall(r'TaxID=(\d+)', text) for text in greedy]
  assert taxa == [['3', '9', '10']] * 3
  assert [text.split('\n')[1] for text in greedy] == ['---', 'AAA-', 'AG']  # gaps where a chain has no row
  assert greedy[2].split('\n')[5] == '--'
  complete = pairing.by_taxon([FIRST, SECOND, THIRD], 'complete')
  assert [text.split('\n')[:2] for text in complete] == [
    ['>a TaxID=9', 'MKI'], ['>f TaxID=9', 'AA-A'], ['>i TaxID=9', 'GA']
  ]  # fmt: skip


def test_rows_without_a_taxon_are_not_paired():
  without = '>query\nMKV\n>a\nMKI\n>b TaxID=x\nMKL\n'
  assert pairing.by_taxon([without, SECOND], 'greedy') == ('', '')


def test_each_row_is_kept_once_and_none_that_is_the_sequence():
  texts = ['>query\nMKV\n>a\nMKV\n>b\nMKI\n>c\nMwwKI\n', '>query\nMKV\n>d\n-KI\n>b\nMKI\n>e\nM-V\n']
  assert pairing.distinct('MKV', texts) == '>query\nMKV\n>b\nMKI\n>d\n-KI\n>e\nM-V\n'
  assert pairing.distinct('MKV', texts, most=5) == '>query\nMKV\n>b\nMKI\n>d\n-KI\n'


# ------------------------------------------------------------------------------------------ UniProt


def uniprot(path, records):
  path.write_text(''.join(f'>{name}\n{sequence}\n' for name, sequence in records))
  return Database('uniprot', path, FASTA)


PROTEIN = 'MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQTLGQHDFSAGEGLYTHMKALRPDEDRL'
OTHER = 'MAEGEITTFTALTEKFNLPPGNYKKPKLLYCSNGGHFLRILPDGTVDGTRDRSDQHIQLQLSAESVGEVYIKSTETGQYLAMDTDGLLYGSQTPNEECLFLERLEEN'


def test_uniprots_rows_are_found_for_each_chain_and_come_with_their_species(cache, tmp_path, monkeypatch):
  base = uniprot(
    tmp_path / 'uniprot.fasta',
    [
      ('sp|P00001|ONE_HUMAN', PROTEIN),
      ('tr|A0A0C5BVQ8|A0A0C5BVQ8_STAAU', f'{PROTEIN[:50]}W{PROTEIN[51:]}'),
      ('tr|A0A0C5BVQ9|A0A0C5BVQ9_STAAU', f'{PROTEIN[:50]}W{PROTEIN[51:]}'),
      ('sp|P00002|TWO_HUMAN', f'{OTHER[:30]}A{OTHER[31:]}'),
    ],
  )
  readings = []
  chunks = fasta.chunks
  monkeypatch.setattr(fasta, 'chunks', lambda path: readings.append(path) or chunks(path))
  found = found_pairs(UniProtPairs([base], 1, 'greedy'), cache, [(PROTEIN, OTHER), (OTHER, PROTEIN), (PROTEIN,)])
  assert len(readings) == 1
  first, turned, alone = found
  assert first.by_species and first.chains == turned.chains[::-1] and not alone.by_species
  of_protein, of_other = first.chains
  # not the chain itself, and each row once
  assert [name for name, _ in rows_of(of_protein)] == [f'>tr|A0A0C5BVQ8|A0A0C5BVQ8_STAAU/1-{len(PROTEIN)}']
  assert [name for name, _ in rows_of(of_other)] == [f'>sp|P00002|TWO_HUMAN/1-{len(OTHER)}']
  assert [one.query for one in pairing.alignments(first)] == [PROTEIN, OTHER]
  assert found_pairs(UniProtPairs([base], 1, 'greedy'), cache, [(PROTEIN, OTHER)]) == [first] and len(readings) == 1


def test_of_uniprot_the_first_rows_are_read_before_repeats_are_dropped(cache, tmp_path, monkeypatch):
  monkeypatch.setitem(databases.ROLES, 'uniprot', databases.Role(3, 3, pairs=True))
  rows = [f'{PROTEIN[:i]}{"W" * 6}{PROTEIN[i + 6 :]}' for i in (10, 30, 50)]
  base = uniprot(tmp_path / 'a.fasta', [('itself', PROTEIN), *((f'r{i}', row) for i, row in enumerate(rows))])
  (found,) = found_pairs(UniProtPairs([base], 1, 'greedy'), cache, [(PROTEIN, OTHER)])
  assert found.num_rows == (2, 1)
