# SPDX-License-Identifier: Apache-2.0
"""The engine `hmmer` finds and aligns what the program jackhmmer does (recorded in tests/data/hmmer)."""

import gzip
import itertools
import os
import random
import threading
from pathlib import Path

import pytest

from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.data.records import read_text, split_records
from alphafold_jax.data.stockholm import stockholm_to_a3m
from alphafold_jax.errors import InputError, ResourceError, SearchError
from alphafold_jax.search import best, fasta, hmmer
from alphafold_jax.search.databases import FASTA, MMSEQS, Database
from alphafold_jax.search.hmmer import Hmmer

RECORDED = Path(__file__).parent / 'data' / 'hmmer'
SAMPLE = Path(__file__).parent.parent / 'examples' / 'database' / 'uniref_sample.fasta.gz'
QUERIES = {record.name: record.text for record in split_records(read_text(RECORDED / 'queries.fasta'), 'queries')[0]}
PROTEIN = QUERIES['4zey_A']


def database(path: Path, role: str = 'custom') -> Database:
  return Database(role, path, FASTA)


def written(path: Path, records) -> Database:
  path.write_text(''.join(f'>{name}\n{sequence}\n' for name, sequence in records))
  return database(path)


def found(engine: Hmmer, sequences, watch=lambda fraction, text: None) -> list:
  """What the engine says of each sequence, in their order."""
  results = dict(engine.search(list(sequences), watch))
  return [results[i] for i in range(len(sequences))]


def names(rows) -> list[str]:
  return [line[1:] for line in rows.a3m.splitlines() if line.startswith('>')][1:]


def without_query_name(a3m: str) -> list[tuple[str, str]]:
  lines = a3m.splitlines()
  headers = [line.split(' ')[0] for line in lines[2::2]]  # without description
  return [('', lines[1]), *zip(headers, lines[3::2], strict=True)]


@pytest.fixture(scope='module')
def of_sample():
  """All queries in the example database, and the hits with their E-values."""
  evalues: dict[str, dict[str, float]] = {}

  class Telling(best.Best):
    def significant(self, num_targets):
      hits, num_hits = super().significant(num_targets)
      evalues[len(evalues)] = {hit.name: (hit.score, hit.pvalue * num_targets) for hit in hits}
      return hits, num_hits

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(hmmer, 'Best', Telling)
    results = found(Hmmer([database(SAMPLE)], 2), QUERIES.values())
  return dict(zip(QUERIES, results, strict=True)), dict(zip(QUERIES, evalues.values(), strict=True))


@pytest.mark.parametrize('query', QUERIES)
def test_the_hits_and_their_evalues_are_jackhmmers(of_sample, query):
  table = [line.split() for line in read_text(RECORDED / f'{query}.domtbl.gz').splitlines()]
  theirs = {words[0]: (float(words[7]), float(words[6])) for words in table}
  ours = of_sample[1][query]
  assert list(ours) == list(dict.fromkeys(words[0] for words in table))  # in the same order
  for name, (score, evalue) in theirs.items():
    assert ours[name][0] == pytest.approx(score, abs=0.0501)  # printed with one decimal
    assert ours[name][1] == pytest.approx(evalue, rel=0.0501)  # printed with two digits


@pytest.mark.parametrize('query', QUERIES)
def test_the_alignment_is_jackhmmers(of_sample, query):
  theirs = stockholm_to_a3m(read_text(RECORDED / f'{query}.sto.gz'), query)
  [rows] = of_sample[0][query].rows
  assert without_query_name(rows.a3m) == without_query_name(theirs)
  assert rows.num_found == theirs.count('>') - 1


def test_a_query_without_hits_gives_the_query(of_sample):
  [rows] = of_sample[0]['P30255'].rows
  assert rows.a3m == f'>query\n{QUERIES["P30255"]}\n' and rows.num_found == 0


def test_neither_threads_nor_company_nor_chunks_change_what_is_found(of_sample, monkeypatch):
  together = of_sample[0]
  assert found(Hmmer([database(SAMPLE)], 1), [PROTEIN]) == [together['4zey_A']]  # alone: another way to read
  monkeypatch.setattr(hmmer, '_GROUP', 1)
  monkeypatch.setattr(fasta.chunks, '__defaults__', (20_000,))
  chosen = ('ubiquitin', '4zey_A')
  for result, name in zip(found(Hmmer([database(SAMPLE)], 3), [QUERIES[name] for name in chosen]), chosen, strict=True):
    assert result == together[name]
  monkeypatch.setattr(hmmer, '_GROUP', 50_000)
  for result, name in zip(found(Hmmer([database(SAMPLE)], 3), [QUERIES[name] for name in chosen]), chosen, strict=True):
    assert result == together[name]


def test_a_plain_file_gives_the_same_as_a_packed_one(of_sample, tmp_path):
  plain = tmp_path / 'sample.fasta'
  plain.write_bytes(gzip.decompress(SAMPLE.read_bytes()))
  assert found(Hmmer([database(plain)], 2), [PROTEIN]) == [of_sample[0]['4zey_A']]


@pytest.mark.parametrize(('role', 'cap'), [('mgnify', 501), ('custom', 10_000)])
def test_rows_beyond_the_roles_cap_are_counted_and_not_kept(tmp_path, monkeypatch, role, cap):
  rows = best.Best(cap, 1e-4, 1e-3)
  letters = random.Random(0)
  hits = [
    best.Hit(letters.uniform(50, 100), f'{i:06}', 1e-20, (best.Domain(1e-20, f'{i:06}'), best.Domain(1.0, 'no')))
    for i in range(6 * cap)
  ]
  for begin in range(0, len(hits), 100):
    rows.add(hits[begin : begin + 100], begin + 100)
  records, num_found = rows.records(len(hits))
  hits.sort(key=lambda hit: -hit.score)
  assert num_found == len(hits) and records == [hit.name for hit in hits[: cap - 1]]
  assert Database(role, tmp_path, FASTA).settings.max_rows == cap


def test_each_database_gives_rows_with_its_cap_in_the_order_of_merging(of_sample, tmp_path):
  everything = of_sample[0]['3u8v_A'].rows[0]
  one, two = tmp_path / 'mgy_clusters.fa.gz', tmp_path / 'uniref90.fa.gz'
  for path in (one, two):
    path.write_bytes(SAMPLE.read_bytes())
  told = []
  [result] = found(
    Hmmer([database(one, 'mgnify'), database(two, 'uniref90')], 2),
    [QUERIES['3u8v_A']],
    lambda fraction, text: told.append(fraction),
  )
  assert [rows.database for rows in result.rows] == ['uniref90', 'mgnify']
  assert names(result.rows[0]) == names(everything)
  assert names(result.rows[1]) == names(everything)[:500] and result.rows[1].num_found == everything.num_found
  assert told == sorted(told) and told[-1] == 1


def test_rows_of_equal_names_are_all_kept(tmp_path):
  base = written(tmp_path / 'a.fasta', [('same', PROTEIN), ('same', PROTEIN[:-1] + 'W')])
  [result] = found(Hmmer([base], 1), [PROTEIN])
  assert names(result.rows[0]) == ['same/1-84', 'same/1-83']


def test_odd_but_harmless_files_are_read(tmp_path):
  path = tmp_path / 'odd.fasta'
  protein = PROTEIN.encode()
  path.write_bytes(
    b'\n>caf\xe9 Latin-1\r\n%s\r\n%s*\r\n' % (protein[:40].lower(), protein[40:])
    + b'>empty\n\n>nucleotides\nACGT\n>breaks off in the middle\n'
    + protein[:60]
  )
  for company in ([], [QUERIES['ubiquitin']]):
    result = found(Hmmer([database(path)], 2), [PROTEIN, *company])[0]
    assert names(result.rows[0]) == ['café/1-84', 'breaks/1-60']
    parse_a3m(result.rows[0].a3m, 'x')


def test_sequences_too_long_for_hmmer_are_left_out_with_a_note(tmp_path):
  long = ''.join(random.Random(0).choices('ACDEFGHIKLMNPQRSTVWY', k=100_001))
  base = written(tmp_path / 'long.fasta', [('long', long), ('short', PROTEIN), ('at the limit', long[:100_000])])
  for company in ([], [QUERIES['ubiquitin']]):
    result = found(Hmmer([base], 2), [PROTEIN, *company])[0]
    assert names(result.rows[0]) == ['short/1-84']
    assert result.notes == (f'{base.path}: 1 sequence of more than 100,000 residues not searched',)


BAD = {
  'empty': (b'', 'the file is empty'),
  'blank': (b'\n\n', 'the file is empty'),
  'header': (b'MKTAYIAK\n', "no '>' header"),
  'alignment': (b'# STOCKHOLM 1.0\n', "no '>' header"),
  'dna': (b'>chromosome\n' + b'ACGTTGCANN' * 20, 'DNA or RNA'),
  'rna': (b'>one\n' + b'acguugca' * 20 + b'\n>two\n' + b'acguugca' * 20, 'DNA or RNA'),
  'truncated': (gzip.compress(os.urandom(100_000).hex().replace('0', '>a\n').encode())[:30_000], 'break off'),
  'damaged': (gzip.compress(b'>a\nMKTA\n' * 999, mtime=0)[:-8] + bytes(8), 'damaged gzip data'),
  'binary': (b'>a\nMK\0\x01\xffTA\n', "record 'a', line 1 of its sequence, column 3: '\\x00' is no residue"),
  'digit': (b'>a\nMKTA\n>b words\nMKTA\nMK7A\n', "record 'b', line 2 of its sequence, column 3: '7' is no residue"),
  'gap': (b'>a\nMKTA\n>b\nMK-A\n', 'without gaps'),
  'nameless': (b'>a\nMKTA\n> \nMKTAW\n', "the '>' header above the sequence 'MKTAW' has no name"),
  'zstd': (b'\x28\xb5\x2f\xfd0123', 'zstd data; unpack the file'),
}


@pytest.mark.parametrize('kind', BAD)
@pytest.mark.parametrize('number', [1, 2])
def test_a_bad_database_is_refused_with_its_name_and_the_place(tmp_path, kind, number):
  content, said = BAD[kind]
  path = tmp_path / f'{kind}.fasta'
  path.write_bytes(content)
  with pytest.raises(InputError) as refused:
    found(Hmmer([database(path)], 2), list(QUERIES.values())[:number])
  assert str(path) in str(refused.value) and said in str(refused.value)


def test_a_record_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
  monkeypatch.setattr(fasta, '_LONGEST', 10_000)
  path = tmp_path / 'one.fasta'
  path.write_bytes(b'>endless\n' + b'MKTAYIAKQR' * 5_000)
  with pytest.raises(InputError, match=r"one\.fasta, record 'endless': over 10,000 bytes without a new '>' header"):
    list(fasta.chunks(path, 1_000))


def test_a_database_of_another_kind_or_none_is_refused(tmp_path):
  with pytest.raises(InputError, match='MMseqs2 database'):
    Hmmer([Database('uniref30', tmp_path / 'db', MMSEQS)], 1)
  with pytest.raises(InputError, match='--database'):
    Hmmer([], 1)
  with pytest.raises(InputError, match='gone.fasta: cannot be read'):
    Hmmer([database(tmp_path / 'gone.fasta')], 1)


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    (lambda path: path.write_text('>a\nMKTA\n'), 'changed while it was searched'),
    (lambda path: path.unlink(missing_ok=True), 'cannot be read'),
  ],
)
def test_a_database_that_changes_or_disappears_while_it_is_read_is_refused(tmp_path, change, said):
  base = written(tmp_path / 'a.fasta', [('a', PROTEIN), ('b', PROTEIN)])
  searching = Hmmer([base], 1).search([PROTEIN], lambda fraction, text: change(base.path))
  with pytest.raises(InputError, match=said):
    list(searching)


@pytest.mark.parametrize('sequence', ['M', 'X', 'W' * 3, 'X' * 40, 'BZUOJX' * 5])
def test_a_query_of_hardly_any_sense_gives_itself(sequence):
  [result] = found(Hmmer([database(SAMPLE)], 2), [sequence])
  assert result.rows[0].a3m == f'>query\n{sequence}\n'


def test_a_query_of_5000_residues_finds_the_domains_in_it(tmp_path):
  letters = random.Random(1)
  flank = [''.join(letters.choices('ACDEFGHIKLMNPQRSTVWY', k=2_458)) for _ in range(2)]
  query = flank[0] + PROTEIN + flank[1]
  base = written(tmp_path / 'a.fasta', [('part', PROTEIN), ('whole', query), ('other', flank[1][::-1])])
  [result] = found(Hmmer([base], 2), [query])
  assert names(result.rows[0]) == ['whole/1-5000', 'part/1-84']
  assert result.rows[0].a3m.splitlines()[5] == '-' * 2_458 + PROTEIN + '-' * 2_458


def test_a_query_that_fails_does_not_disturb_the_others(tmp_path, monkeypatch):
  base = written(tmp_path / 'a.fasta', [('a', PROTEIN), ('b', QUERIES['ubiquitin'])])
  kept = hmmer._kept

  def failing(hits, query):
    if query.index == 3:
      raise MemoryError
    if query.index == 4:
      raise OverflowError('numerical overflow')
    return kept(hits, query)

  monkeypatch.setattr(hmmer, '_kept', failing)
  good, digit, empty, memory, overflow, last = found(
    Hmmer([base], 2), [PROTEIN, 'MK1', '', 'MKTAYIAK', 'MKTAYIAKQ', QUERIES['ubiquitin']]
  )
  assert names(good.rows[0]) == ['a/1-84'] and names(last.rows[0]) == ['b/1-76']
  assert isinstance(digit, InputError) and "'1' is no residue" in str(digit)
  assert isinstance(empty, InputError) and 'empty' in str(empty)
  assert isinstance(memory, ResourceError) and 'sequence 4 (8 residues)' in str(memory)
  assert isinstance(overflow, SearchError) and 'numerical overflow' in str(overflow)


def test_an_interrupt_ends_the_threads(monkeypatch):
  monkeypatch.setattr(fasta.chunks, '__defaults__', (20_000,))
  asked = itertools.count()

  def interrupting(fraction, text):
    if next(asked) == 3:
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    found(Hmmer([database(SAMPLE)], 2), QUERIES.values(), interrupting)
  assert not [thread for thread in threading.enumerate() if thread.name.startswith('hmmer')]


def test_many_queries_share_a_reading(tmp_path, monkeypatch):
  letters = random.Random(2)
  queries = [''.join(letters.choices('ACDEFGHIKLMNPQRSTVWY', k=20)) for _ in range(60)]
  base = written(tmp_path / 'a.fasta', [(f'{i}', query) for i, query in enumerate(queries)])
  readings = []
  chunks = fasta.chunks
  monkeypatch.setattr(fasta, 'chunks', lambda path: readings.append(path) or chunks(path))
  monkeypatch.setattr(hmmer, '_GROUP', 400)
  results = found(Hmmer([base], 2), queries)
  assert len(readings) == 3
  assert [names(result.rows[0]) for result in results] == [[f'{i}/1-20'] for i in range(60)]


def test_what_shapes_the_result_is_in_the_identity_and_threads_are_not(tmp_path):
  base = written(tmp_path / 'a.fasta', [('a', PROTEIN)])
  same = Hmmer([base], 1).identity()
  assert Hmmer([base], 7).identity() == same
  assert same['settings']['incE'] == 1e-4 and same['program'].startswith('pyhmmer')
  assert Hmmer([Database('mgnify', base.path, FASTA)], 1).identity() != same
  written(base.path, [('a', PROTEIN[1:])])
  assert Hmmer([base], 1).identity() != same
