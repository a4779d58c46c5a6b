# SPDX-License-Identifier: Apache-2.0
"""hmmsearch in this process against the programs of HMMER 3.3.2 (tests/data/templates/record.sh)."""

import functools
import gzip
from pathlib import Path

import pytest
from alphafold.data import parsers

from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search.databases import FASTA, Database
from alphafold_jax.search.templates import hmmsearch

DATA = Path(__file__).parent / 'data' / 'templates'
SAMPLE = Path(__file__).parents[1] / 'examples' / 'database' / 'pdb_seqres_sample.txt'
QUERIES = ('4zey_A', '3u8v_A', '1ctq_A')  # the last without homologues


@functools.cache
def recorded(name: str) -> str:
  return gzip.decompress((DATA / f'{name}.gz').read_bytes()).decode()


def seqres(path: Path = SAMPLE) -> Database:
  return Database('pdb_seqres', path, FASTA)


@functools.cache
def found(query: str):
  return hmmsearch.search(recorded(f'{query}.a3m'), seqres())


@pytest.mark.parametrize('query', QUERIES)
def test_hits_and_columns_are_those_that_alphafold_reads_from_the_program(query):
  sequence = recorded(f'{query}.a3m').split('\n')[1]
  a3m = parsers.convert_stockholm_to_a3m(recorded(f'{query}.hits.sto'), remove_first_row_gaps=False)
  official = parsers.parse_hmmsearch_a3m(sequence, a3m, skip_first=False)
  assert [hit.name for hit in found(query)] == [theirs.name for theirs in official]
  assert len(official) > 50
  for hit, theirs in zip(found(query), official, strict=True):
    assert hit.sequence == theirs.hit_sequence.replace('-', '')
    assert len(hit.pairs) == theirs.aligned_cols
    assert [(q, hit.start + t) for q, t in hit.pairs] == [
      (q, t) for q, t in zip(theirs.indices_query, theirs.indices_hit, strict=True) if t >= 0
    ]


@pytest.mark.parametrize('query', QUERIES)
def test_evalues_are_those_of_the_program(query):
  table = [line.split() for line in recorded(f'{query}.domtbl').splitlines() if not line.startswith('#')]
  ours = {(hit.name, hit.start + 1): hit.evalue for hit in found(query)}
  theirs = {(row[0], int(row[17])): float(row[12]) for row in table}
  assert ours.keys() == theirs.keys()
  for key, evalue in theirs.items():
    assert ours[key] == pytest.approx(evalue, rel=0.06), key  # two digits are printed


def test_size_of_chunks_and_number_of_threads_change_nothing(monkeypatch):
  monkeypatch.setattr(hmmsearch, '_CHUNK', 5000)
  told = []
  hits = hmmsearch.search(recorded('4zey_A.a3m'), seqres(), num_threads=3, watch=lambda share, _: told.append(share))
  assert hits == found('4zey_A')
  assert len(told) > 10 and told == sorted(told) and told[-1] == 1


def test_a_packed_database_gives_the_same(tmp_path):
  packed = tmp_path / 'pdb_seqres.txt.gz'
  packed.write_bytes(gzip.compress(SAMPLE.read_bytes()))
  assert hmmsearch.search(recorded('4zey_A.a3m'), seqres(packed)) == found('4zey_A')


def test_nucleic_acids_are_no_templates(tmp_path):
  text = SAMPLE.read_text()
  (tmp_path / 'x.txt').write_text(text.replace('>2crb_A mol:protein', '>2crb_A mol:na'))
  names = [hit.name for hit in hmmsearch.search(recorded('4zey_A.a3m'), seqres(tmp_path / 'x.txt'))]
  assert names == [hit.name for hit in found('4zey_A') if hit.name != '2crb_A']


def test_names_of_other_kinds_of_entries_are_kept(tmp_path):
  sequence = recorded('4zey_A.a3m').split('\n')[1]
  (tmp_path / 'x.txt').write_text(f'>my_model_A\n{sequence}\n>model\n{sequence}\n>1ABC_B mol:protein\n{sequence}\n')
  hits = hmmsearch.search(recorded('4zey_A.a3m'), seqres(tmp_path / 'x.txt'))
  assert {(hit.entry, hit.chain) for hit in hits} == {('my_model', 'A'), ('model', ''), ('1abc', 'B')}


@pytest.mark.parametrize('length', [1, 2, 5])
def test_a_very_short_query_is_searched_with(length):
  hits = hmmsearch.search(f'>q\n{"MKVLA"[:length]}\n', seqres())
  assert all(q < length for hit in hits for q, _ in hit.pairs)


def test_insertions_of_the_alignment_are_not_columns():
  """The profile has one column per residue of the query, whatever the rows insert."""
  plain = '>q\nMKVLAAGIVGLCAKAYLE\n>a\nMKVLAAGIVGLCAKAYLE\n'
  inserted = plain + '>b\nMKVLAAGggsggIVGLCAKA-LE\n'
  sequence = plain.split('\n')[1]
  for text in (plain, inserted):
    lines = hmmsearch._stockholm(text).decode().split('\n')
    assert lines[-3].count('x') == len(sequence)


def test_a_ragged_alignment_is_refused():
  with pytest.raises(InputError, match='rows of different widths'):
    hmmsearch.search('>q\nMKVL\n>a\nMKV\n', seqres())


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'the file is empty'),
    (b'hello', "there is no '>' header at the beginning"),
    (gzip.compress(SAMPLE.read_bytes())[:9000], 'the gzip data break off'),
    (b'>1abc_A mol:protein\nMK1L\n', "'1abc_A', line 1 of its sequence, column 3: '1' is no residue"),
  ],
  ids=['empty', 'text', 'cut', 'symbol'],
)
def test_a_bad_database_is_refused_by_name(content, message, tmp_path):
  path = tmp_path / 'pdb_seqres.txt'
  path.write_bytes(content)
  with pytest.raises(InputError, match=f'{path}.*{message}'):
    hmmsearch.search(recorded('4zey_A.a3m'), seqres(path))


def test_a_sequence_longer_than_hmmer_takes_is_told(tmp_path):
  path = tmp_path / 'pdb_seqres.txt'
  path.write_text('>1abc_A mol:protein\n' + 'MKVLAAGIVG' * 10_001 + '\n')
  with pytest.raises(SearchError, match=f'{path}: hmmsearch cannot search it .*100000'):
    hmmsearch.search(recorded('4zey_A.a3m'), seqres(path))


def test_the_missing_package_is_named(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'pyhmmer', None)
  with pytest.raises(SearchError, match=r"pyhmmer is not installed .*pip install '\.\[search\]'"):
    hmmsearch.search('>q\nMKVL\n', seqres())
