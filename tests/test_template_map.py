# SPDX-License-Identifier: Apache-2.0
"""Templates that a person has chosen in a JSON file."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from alphafold_jax.data.structures import read_chain
from alphafold_jax.data.template_map import for_query, meant_for, read_template_map
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


def test_proteins_are_known_by_name_first_word_and_job_in_any_case_and_absent_ones_are_listed(write):
  names = [('sp|P1|X a protein', 'sp_P1_X_a_protein'), ('Two', 'Two'), ('two', 'two_12345678')]
  queries = ('SP|P1|X', 'sp_p1_x_a_protein', ' Two ', 'two', 'TWO', None)
  chosen = read_template_map(write([{'structure': str(TNF)} | ({'query': one} if one else {}) for one in queries]))
  meant, notes = meant_for(chosen, names)
  assert [one.query for one in meant] == [names[0][0], names[0][0], 'Two', 'two', 'TWO', None]
  (note,) = notes  # 'TWO' could be either
  assert "template 5: no protein of this run is called 'TWO'; there are 'sp|P1|X a protein', 'Two', 'two'" in note


def test_a_map_for_no_protein_of_the_run_is_an_error_with_the_names_of_both_sides(write):
  chosen = read_template_map(write([{'structure': str(TNF), 'query': name} for name in ('protein7', 'x')]))
  with pytest.raises(InputError, match="called 'protein7'; there are 'protein_7' .and 1 other template too."):
    meant_for(chosen, [('protein_7', 'protein_7')])


def test_the_example_in_the_documentation_works(tmp_path):
  text = (Path(__file__).parents[1] / 'docs' / 'search.md').read_text(encoding='utf-8')
  (example,) = re.findall(r'```json\n(.*?)```', text, re.DOTALL)
  (tmp_path / 'map.json').write_text(example)
  entries = json.loads(example)
  lines = gzip.decompress(TNF.read_bytes())
  for entry in entries:
    packed = entry['structure'].endswith('.gz')
    (tmp_path / entry['structure']).write_bytes(TNF.read_bytes() if packed else lines)
    if 'alignment' in entry:
      (tmp_path / entry['alignment']).write_text(f'>query\n{SEQUENCE}\n>other\n{SEQUENCE}\n')
  (tmp_path / 'map.json').write_text(example.replace('"chain": "A"', '"chain": "D"'))  # the name in this structure
  chosen, notes = meant_for(read_template_map(tmp_path / 'map.json'), [('protein_7', 'protein_7')])
  placed = for_query(chosen, 'protein_7', SEQUENCE)
  assert not notes and len(placed) == 3
  assert placed[0].residue_map == {query: residue for query, residue in entries[0]['pairs']}


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
