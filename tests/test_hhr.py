# SPDX-License-Identifier: Apache-2.0
"""HH-suite's result files, and the program hhsearch."""

import gzip
from pathlib import Path

import pytest
from alphafold.data import parsers

from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search import databases
from alphafold_jax.search.templates import hhsearch
from alphafold_jax.search.templates.hhsearch import parse_hhr

DATA = Path(__file__).parent / 'data'
TEXT = gzip.decompress((DATA / 'templates' / 'yCD.hhr.gz').read_bytes()).decode()
LINES = TEXT.splitlines()
FIRST = LINES.index('No 1')


def changed(line: int, old: str, new: str) -> str:
  """The text with one line changed; `line` counts from the first block."""
  lines = list(LINES)
  assert old in lines[FIRST + line]
  lines[FIRST + line] = lines[FIRST + line].replace(old, new, 1)
  return '\n'.join(lines)


def test_hits_are_those_of_the_official_parser():
  ours, official = parse_hhr(TEXT, 'x'), parsers.parse_hhr(TEXT)
  assert len(ours) == len(official) == 123
  for hit, theirs in zip(ours, official, strict=True):
    assert theirs.name.lower().startswith(hit.entry) and theirs.name[5:].startswith(f'{hit.chain} ')
    assert hit.description == theirs.name.partition(' ')[2].strip()
    assert hit.sequence == theirs.hit_sequence.replace('-', '')
    assert hit.probability_sum == theirs.sum_probs
    assert len(hit.pairs) == theirs.aligned_cols
    assert [(q, hit.start + t) for q, t in hit.pairs] == [
      (q, t) for q, t in zip(theirs.indices_query, theirs.indices_hit, strict=True) if q >= 0 and t >= 0
    ]


def test_evalues_are_read():
  assert parse_hhr(TEXT, 'x')[0].evalue == pytest.approx(2.1e-38)


def test_a_result_without_hits_is_an_empty_list():
  before_hits = next(i for i, line in enumerate(LINES) if line.startswith(' No Hit')) + 1
  assert parse_hhr('\n'.join(LINES[:before_hits]), 'x') == []


def test_older_results_without_the_templates_diversity_are_read():
  older = TEXT.replace('  Template_Neff=', '  Neff=')
  with pytest.raises(RuntimeError):
    parsers.parse_hhr(older)
  assert parse_hhr(older, 'x') == parse_hhr(TEXT, 'x')


def test_a_result_that_breaks_off_is_refused():
  with pytest.raises(InputError, match='x.hhr: the table lists 123 hits, but 60 alignments follow'):
    parse_hhr(TEXT[: TEXT.index('\nNo 61')], 'x.hhr')
  last_stretch = max(i for i, line in enumerate(LINES) if line.startswith('Q '))
  with pytest.raises(InputError, match='hit 1MZU_B is said to have 48 aligned columns, but 0 are there'):
    parse_hhr('\n'.join(LINES[:last_stretch]), 'x.hhr')


@pytest.mark.parametrize(
  ('line', 'old', 'new', 'message'),
  [
    (1, '>', '', "expected '>' and the name of the hit"),
    (2, 'Sum_probs=', 'Sum=', 'expected the scores Sum_probs, E-value, Aligned_cols'),
    (2, 'Sum_probs=', 'Sum_probs=x', 'expected the scores Sum_probs, E-value, Aligned_cols'),
    (4, 'MVT', 'MV', 'is no stretch of an alignment'),  # letters and numbers disagree
    (4, 'MVT', 'M*T', 'is no stretch of an alignment'),
    (4, ' 1 M', ' 2 M', 'is no stretch of an alignment'),
  ],
)
def test_a_damaged_line_is_named(line, old, new, message):
  with pytest.raises(InputError, match=f'x.hhr, line {FIRST + line + 1}: .*{message}'):
    parse_hhr(changed(line, old, new), 'x.hhr')


def test_another_format_is_refused():
  with pytest.raises(InputError, match="x: no HH-suite result: the table of hits, ' No Hit', is missing"):
    parse_hhr('# STOCKHOLM 1.0\n', 'x')


# The program


def write_hh_database(prefix: Path, alignments: dict[str, str]) -> databases.Database:
  """An HH-suite database: entries that end in NUL, with an index of name, place and length.

  hhsearch reads the alignments and needs of the cs219 states only that there is one for each column.
  """
  for kind in ('a3m', 'cs219'):
    data, index = b'', ''
    for name in sorted(alignments):
      row = alignments[name].split('\n')[1]
      entry = (alignments[name].encode() if kind == 'a3m' else b'\x10' * len(row)) + b'\0'
      index += f'{name}\t{len(data)}\t{len(entry)}\n'
      data += entry
    Path(f'{prefix}_{kind}.ffdata').write_bytes(data)
    Path(f'{prefix}_{kind}.ffindex').write_text(index)
  return databases.Database('pdb70', prefix, databases.HHSUITE)


@pytest.fixture(scope='module')
def alignments():
  """Real alignments of two families, each under the name of a structure; MIT domain and a metal-binding protein."""
  return {
    name: gzip.decompress((DATA / 'templates' / f'{name}.a3m.gz').read_bytes()).decode()
    for name in ('4zey_A', '3u8v_A')
  }


@pytest.fixture(scope='module')
def database(alignments, tmp_path_factory):
  named = {name: f'>{name} a family\n' + text.partition('\n')[2] for name, text in alignments.items()}
  return write_hh_database(tmp_path_factory.mktemp('hh') / 'mini', named)


def test_the_program_finds_the_family(alignments, database):
  hits = hhsearch.search(alignments['4zey_A'], database)
  assert hits[0].name == '4zey_A' and hits[0].evalue < 1e-20 and hits[0].description == 'a family'
  assert hits[0].pairs == tuple((i, i) for i in range(84)) and hits[0].probability_sum > 70


def test_the_database_is_told_by_its_files(database):
  assert databases.parse(f'pdb70={database.path}') == database


def test_what_the_program_complains_of_is_told(alignments, tmp_path):
  missing = databases.Database('pdb70', tmp_path / 'none', databases.HHSUITE)
  with pytest.raises(SearchError, match=r'none: hhsearch ended with status \d+: (.|\n)*could not open file'):
    hhsearch.search(alignments['4zey_A'], missing)


def test_a_missing_program_is_named(monkeypatch, tmp_path):
  monkeypatch.setenv('ALPHAFOLD_JAX_HHSEARCH', str(tmp_path / 'hhsearch'))
  with pytest.raises(SearchError, match='ALPHAFOLD_JAX_HHSEARCH=.*no such program'):
    hhsearch.program()


def test_no_temporary_files_are_left(alignments, database, monkeypatch, tmp_path):
  monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
  hhsearch.search(alignments['4zey_A'], database)
  assert not list(tmp_path.iterdir())
