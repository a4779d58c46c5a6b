# SPDX-License-Identifier: Apache-2.0
"""Stockholm files become the A3M that AlphaFold makes of them, or are refused with the place."""

import gzip
from pathlib import Path

import pytest
from alphafold.data import parsers

from alphafold_jax.data.stockholm import stockholm_to_a3m
from alphafold_jax.errors import InputError

RECORDED = sorted((Path(__file__).parent / 'data' / 'hmmer').glob('*.sto.gz'))
BEGIN = '# STOCKHOLM 1.0\n'


@pytest.mark.parametrize('path', RECORDED, ids=lambda path: path.name)
def test_the_a3m_is_alphafolds(path):
  text = gzip.decompress(path.read_bytes()).decode()
  theirs = parsers.convert_stockholm_to_a3m(text).replace(' \n', '\n')  # a blank stands where there is no description
  assert stockholm_to_a3m(text, 'x') == theirs


def test_columns_without_a_residue_of_the_first_row_become_insertions():
  text = f'{BEGIN}q  MK..T-A\na/1-5 M-ggTLA\nb mkg.-LA\n//\n'
  assert stockholm_to_a3m(text, 'x') == '>q\nMKTA\n>a/1-5\nM-ggTlA\n>b\nMKg-lA\n'


def test_blocks_are_joined_and_descriptions_kept():
  text = f'{BEGIN}#=GF ID x\n#=GS a DE a protein\n\nq MK\na M-\n#=GC RF xx\n\nq TA\na -A\n#=GR a PP 99\n//\n\n'
  assert stockholm_to_a3m(text, 'x') == '>q\nMKTA\n>a a protein\nM--A\n'


@pytest.mark.parametrize(('text', 'said'), [
    ('', 'line 1'),
    ('>q\nMK\n', 'line 1'),
    (BEGIN + 'q MK\n', 'breaks off'),
    (BEGIN + '//\n', 'no rows'),
    (BEGIN + 'q MK\na M\n//\n', "'a' has 1 column and the first 2"),
    (BEGIN + 'q MK\na MK\n\nq MK\n//\n', "'a' has 2 columns and the first 4"),
    (BEGIN + 'q MK\na MK\na MK\n//\n', "line 4: row 'a' stands twice"),
    (BEGIN + 'q MK\na MK\n\nq MK\nb MK\n//\n', "line 6: row 'b' was missing"),
    (BEGIN + 'q MK\na M*\n//\n', "line 3: '*' in row 'a'"),
    (BEGIN + 'q MK\na M K\n//\n', 'line 3: expected a name and a row'),
    (BEGIN + 'q --\na MK\n//\n', "'q', holds no residue"),
    (BEGIN + 'q MK\n//\n# STOCKHOLM 1.0\n', 'line 4: text behind the end'),
])  # fmt: skip
def test_a_bad_file_is_refused_with_the_place(text, said):
  with pytest.raises(InputError, match='a.sto') as refused:
    stockholm_to_a3m(text, 'a.sto')
  assert said in str(refused.value)
