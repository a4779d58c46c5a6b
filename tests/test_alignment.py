# SPDX-License-Identifier: Apache-2.0
"""A3M files: what they say is what the network gets, and what is wrong with one is said."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from alphafold.data import parsers, pipeline
from alphafold.model.tf import data_transforms

from alphafold_jax.constants import residues
from alphafold_jax.data import features
from alphafold_jax.data.alignment import encode, parse_a3m, single_sequence
from alphafold_jax.data.records import decode, read_text
from alphafold_jax.errors import InputError

DATA = Path(__file__).parent / 'data'
A3M = DATA / '4zey_A.a3m.gz'
SMALL = '>query\nMKTAY\n>one\nM-TAY\n>two\nMkKTgaA-\n'


def oracle(text: str) -> dict[str, np.ndarray]:
  """Tokens, deletions and profile of AlphaFold's own feature pipeline, in our residue order."""
  raw = pipeline.make_msa_features([parsers.parse_a3m(text)])
  protein = data_transforms.correct_msa_restypes({'msa': raw['msa']})
  profile = data_transforms.make_hhblits_profile(dict(protein))['hhblits_profile']
  return {'tokens': np.asarray(protein['msa']), 'deletions': raw['deletion_matrix_int'], 'profile': np.asarray(profile)}


@pytest.mark.parametrize(
  'text',
  [
    read_text(A3M),
    SMALL,
    '>q\nACDEFGHIKLMNPQRSTVWY\n>all letters\nBZUJOXBZUJOXBZUJ----\n>insertions\nabAcCdD--efgGHIKLMNPQRSTVWYxyz\n',
  ],
  ids=['4zey_A', 'small', 'rare letters'],
)
def test_tokens_deletions_and_profile_equal_alphafolds(text):
  ours, theirs = parse_a3m(text, 'x'), oracle(text)
  np.testing.assert_array_equal(ours.tokens, theirs['tokens'])
  np.testing.assert_array_equal(ours.deletions, theirs['deletions'])
  np.testing.assert_allclose(features.profile(ours.tokens), theirs['profile'], atol=1e-6)


def test_lower_case_letters_are_counted_at_the_next_column():
  alignment = parse_a3m(SMALL, 'x')
  assert alignment.deletions.tolist() == [[0] * 5, [0] * 5, [0, 1, 0, 2, 0]]
  assert alignment.names == ('query', 'one', 'two')
  assert ''.join(residues.MSA_ALPHABET[token] for token in alignment.tokens[2]) == 'MKTA-'


def test_of_rows_equal_in_the_querys_columns_the_first_is_kept():
  # a repeats q and c repeats b; B and D differ as letters
  text = '>q\nMKT\n>a\nMaaKT\n>b\nM-T\n>c\nM-cT\n>d\nMBT\n>e\nMDT\n'
  alignment = parse_a3m(text, 'x')
  assert alignment.names == ('q', 'b', 'd', 'e')
  assert alignment.notes == ('2 duplicate rows left out',)
  everything = parse_a3m(text, 'x', drop_duplicates=False)
  np.testing.assert_array_equal(everything.tokens, oracle(text)['tokens'])  # this oracle keeps them; DeepMind's drops


def test_letters_follow_the_documented_table():
  assert ''.join(residues.MSA_ALPHABET[token] for token in encode('BZUJOX-')) == 'DECXXX-'
  assert parse_a3m('>q\nBZUJOX\n', 'x').tokens.tolist() == [encode('DECXXX').tolist()]


@pytest.mark.parametrize(
  'text',
  [
    SMALL.replace('\n', '\r\n'),
    SMALL.replace('\n', '\r'),
    '\n\n' + SMALL.replace('\n', '\n\n'),
    SMALL.replace('MKTAY', 'MK\nTA\nY').replace('M-TAY', 'M-\n  TAY  '),
    SMALL.replace('\n', '\n ').replace('MKTAY', 'MK TA\tY'),
    SMALL + '\0',
    SMALL.replace('>one', '\0>query\nMKTAY\n>one'),
    SMALL.replace('M-TAY', 'M-..T.AY'),
    '#5\t1\n' + SMALL,
    '#A3M#\n# made by hand\n' + SMALL,
    '>ss_pred\nCCHHH\n>ss_conf\n98721\n' + SMALL,
    SMALL.replace('MKTAY', 'mktay'),
    SMALL.replace('MKTAY', 'MktAY'),
    '\ufeff' + SMALL,
  ],
  ids=lambda text: repr(text[:12]),
)
def test_line_ends_blank_lines_separators_and_comments_change_nothing(text):
  alignment, plain = parse_a3m(decode(text.encode(), 'x'), 'x'), parse_a3m(SMALL, 'x')
  np.testing.assert_array_equal(alignment.tokens, plain.tokens)
  np.testing.assert_array_equal(alignment.deletions, plain.deletions)
  assert alignment.query == 'MKTAY' and alignment.names == plain.names


def test_a_lower_case_query_is_noted():
  assert parse_a3m('>q\nmkt\n', 'x').notes == ('lower-case letters of the query read as residues',)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', 'f.a3m: the file is empty'),
    (' \n\0\n', 'f.a3m: the file is empty'),
    ('# only this\n', "there is no '>' header"),
    ('MKT\n>q\nMKT\n', "line 1: 'MKT' stands before any '>' header"),
    ('>q\n\n>a\nMKT\n', "line 1: record 'q', the query, has no sequence"),
    ('>ss_pred\nHHH\n', 'no sequence besides secondary structure'),
    ('>q\nMKT\n>a x\nMK\n>b\nMKT\n', "line 3: record 'a' has 2 aligned columns, expected 3"),
    ('>q\nMKT\n>a\nMKaaT-\n', "line 3: record 'a' has 4 aligned columns (lower-case letters are insertions"),
    ('>q\nMKT\n>a\n', "line 3: record 'a' has 0 aligned columns"),
    ('>q\nM-T\n', "line 2, column 2: '-' in record 'q' is a gap in the query"),
    ('>q\nMKT\n>a\nMK\nT*\n', "line 5, column 2: '*' in record 'a'"),
    ('>q\nMKT\n>a\nM1T\n', "line 4, column 2: '1' in record 'a'"),
    ('>q\nMK?\n', "line 2, column 3: '?' in record 'q'"),
    ('>q\nMKÄ\n', "line 2, column 3: 'Ä' (U+00C4 LATIN CAPITAL LETTER A WITH DIAERESIS) in record"),
    ('>q\nM\0KT\n', "line 2, column 2: '\\x00' in record 'q'"),
    ('#3,4\t1,1\n>q\nMKTMKTA\n', "line 1: '#3,4\\t1,1' announces a complex of several chains"),
    ('#3,4\t1\n>q\nMKTMKTA\n', 'has 2 lengths and 1 numbers of copies'),
    ('#3\t2\n>q\nMKT\n', 'announces a complex of several chains, and the alignment of a single chain is expected here'),
    ('#4\t1\n>q\nMKT\n', 'announces 4 residues, but the query (first row) has 3'),
    ('# STOCKHOLM 1.0\nq MKT\n//\n', 'line 1: this is a Stockholm file'),
  ],
)
def test_a_bad_alignment_is_refused_with_its_place(text, message):
  with pytest.raises(InputError) as error:
    parse_a3m(text, 'f.a3m')
  assert message in str(error.value) and str(error.value).startswith('f.a3m')


@pytest.mark.parametrize(
  ('sequence', 'message'),
  [
    ('', 'is empty'),
    ('MK1', "residue 3: '1'"),
    ('MK-', "'-'"),
    ('MK:', 'chain 2 of 2 is empty'),
    ('MK:1', "chain 2', residue 1: '1'"),
    ('MÄ', "'Ä'"),
  ],
)
def test_a_bad_bare_sequence_is_refused_with_its_place(sequence, message):
  with pytest.raises(InputError, match=message):
    single_sequence(sequence)


def test_random_damage_raises_nothing_but_input_errors():
  rng = random.Random(0)
  good = SMALL.replace('\n', '\r\n').encode() + b'#5\t1\n\0>x|y\nmmMKTAY'
  refused = 0
  for _ in range(3000):
    content = bytearray(good)
    for _ in range(rng.randint(1, 6)):
      at = rng.randrange(len(content) + 1)
      new = rng.choice([rng.randbytes(rng.randint(0, 3)), b'\n', b'>', b'-', b'\0', b'a'])
      content[at : at + rng.randint(0, 4)] = new
    try:
      alignment = parse_a3m(decode(bytes(content), 'x'), 'x')
    except InputError:
      refused += 1
      continue
    assert alignment.tokens.shape == alignment.deletions.shape == (len(alignment.names), len(alignment.query))
    assert 0 <= alignment.tokens.min() and alignment.tokens.max() <= 21 and alignment.deletions.min() >= 0
  assert 300 < refused < 3000


def test_reading_alignments_and_queries_does_not_load_jax():
  code = 'import sys, alphafold_jax.data.queries; sys.exit("jax" in sys.modules)'
  assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
