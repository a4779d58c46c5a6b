# SPDX-License-Identifier: Apache-2.0
"""Templates that a person has chosen in a JSON file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from alphafold_jax.data.structures import read_chain
from alphafold_jax.data.template_map import for_query, read_template_map
from alphafold_jax.data.templates import template_from_structure
from alphafold_jax.errors import InputError

DATA = Path(__file__).parent / 'data'
TNF = DATA / '1u5y_D.cif.gz'
SEQUENCE = read_chain(TNF).sequence


@pytest.fixture
def write(tmp_path):
  def write(content) -> Path:
    path = tmp_path / 'templates.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path

  return write


def test_pairs_place_residues_where_they_say(write):
  pairs = [[i, i + 5] for i in range(40)]
  chosen = read_template_map(write([{'structure': str(TNF), 'chain': 'D', 'pairs': pairs}]))
  (template,) = for_query(chosen, 'any', SEQUENCE)
  same = template_from_structure(SEQUENCE, TNF, 'D', residue_map=[tuple(pair) for pair in pairs])
  assert template.residue_map == dict(pairs)
  np.testing.assert_array_equal(template.atom_positions, same.atom_positions)


def test_an_alignment_or_the_sequences_alone_place_it_too(write, tmp_path):
  (tmp_path / 'pair.a3m').write_text(f'>query\n{SEQUENCE}\n>template\n{"-" * 3}{SEQUENCE[3:]}\n')
  chosen = read_template_map(write([{'structure': str(TNF), 'alignment': 'pair.a3m'}, {'structure': str(TNF)}]))
  aligned, alone = for_query(chosen, 'any', SEQUENCE)
  assert aligned.residue_map == {i: i for i in range(3, len(SEQUENCE))}
  assert alone.residue_map == {i: i for i in range(len(SEQUENCE))}


def test_paths_are_relative_to_the_file(write, tmp_path):
  (tmp_path / 'near.cif.gz').write_bytes(TNF.read_bytes())
  assert read_template_map(write([{'structure': 'near.cif.gz'}]))[0].structure == tmp_path / 'near.cif.gz'


def test_a_template_may_be_for_one_protein_of_a_run(write):
  chosen = read_template_map(write([{'structure': str(TNF), 'query': 'one'}]))
  assert len(for_query(chosen, 'one', SEQUENCE)) == 1
  assert for_query(chosen, 'two', SEQUENCE) == []


def test_a_template_that_cannot_be_placed_is_an_error_with_its_place(write):
  chosen = read_template_map(write([{'structure': str(TNF), 'pairs': [[0, 0], [500, 1]]}]))
  with pytest.raises(InputError, match=r'templates.json, template 1: .*the residue map holds \(500, 1\)'):
    for_query(chosen, 'any', SEQUENCE)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('[{"structure": }]', r'line 1, column 16: not JSON'),
    ({}, 'expected a list of templates'),
    ([], 'expected a list of templates'),
    (['x.cif'], 'template 1: expected {"structure": "FILE", ...}, not "x.cif"'),
    ([{'chain': 'A'}], 'template 1: the key "structure" is missing'),
    ([{'structure': 'gone.cif'}], "template 1, 'structure': no file .*gone.cif"),
    ([{'structure': 5}], "template 1, 'structure': expected text in quotes, not 5"),
    ([{'structure': str(TNF)}, {'structure': str(TNF), 'chain': ''}], "template 2, 'chain': expected text"),
    ([{'structure': str(TNF), 'pair': []}], "template 1: no such key 'pair'; choose structure, chain, pairs"),
    ([{'structure': str(TNF), 'pairs': [[1, 2], [3]]}], r"'pairs': expected pairs of whole numbers, .* not \[3\]"),
    ([{'structure': str(TNF), 'pairs': [[1, 2.5]]}], r'not \[1, 2.5\]'),
    ([{'structure': str(TNF), 'pairs': [[True, 2]]}], r'not \[true, 2\]'),
    ([{'structure': str(TNF), 'pairs': {'0': 1}}], r'not {"0": 1}'),
    ([{'structure': str(TNF), 'pairs': [], 'alignment': 'x.a3m'}], 'give "pairs" or "alignment", not both'),
  ],
)
def test_a_wrong_file_is_refused_at_its_place(content, message, write):
  path = write(content)
  with pytest.raises(InputError, match=re.escape(str(path)) + '.*' + message):
    read_template_map(path)
