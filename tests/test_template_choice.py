# SPDX-License-Identifier: Apache-2.0
"""Templates made of the hits of a search, against AlphaFold's own program; the folder they are taken from."""

import dataclasses
import gzip
from pathlib import Path
from types import SimpleNamespace

import colabfold_binaries
import numpy as np
import pytest
from alphafold.common import residue_constants
from alphafold.data import mmcif_parsing, parsers
from alphafold.data import templates as official_templates
from Bio.Data.PDBData import protein_letters_3to1_extended

from alphafold_jax.constants import residues
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import read_chain
from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search.databases import FASTA, Database
from alphafold_jax.search.found import TemplateHit
from alphafold_jax.search.templates import hmmsearch
from alphafold_jax.search.templates.choice import TemplateLimits, choose
from alphafold_jax.search.templates.hhsearch import parse_hhr
from alphafold_jax.search.templates.library import StructureFolder, entry_and_chain, release_date

DATA = Path(__file__).parent / 'data'
EXAMPLES = Path(__file__).parents[1] / 'examples'
DEAMINASES = ('2nx8', '1vq2', '2a8n')  # released 2007-08-21, 2004-12-21, 2005-09-27
YEAST = (
  'MVTGGMASKWDQKGMDIAYEEAALGYKEGGVPIGGCLINNKDGSVLGRGHNMRFQKGSATLHGEISTLENCGRLEGKVYKDTTLYTTLSPCDMCTGAIIMYGIPRC'
  'VVGENVNFKSKGEKYLQTRGHEVVVVDDERCKKIMKQFIDERPQDWFEDIGE'
)
MIT = 'GMEGPLNLAHQQSRRADRLLAAGKYEEAISCHKKAAAYLSEAMKLTQSEQAHLSLELQRDSHMKQLLLIQERWKRAQREERLKA'
OFFICIAL_ORDER = [residue_constants.ID_TO_HHBLITS_AA[i] for i in range(22)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
  """Structures as AlphaFold keeps them: 2nx8.cif."""
  folder = tmp_path_factory.mktemp('mmcif_files')
  for path in (
    *(DATA / 'templates' / f'{name}.cif.gz' for name in DEAMINASES),
    DATA / '4zey.cif.gz',
    *(EXAMPLES / 'templates' / f'{name}_A.cif.gz' for name in ('2crb', '1c1y', '1mh1')),
  ):
    (folder / f'{path.name[:4]}.cif').write_text(read_text(path))
  return folder


@pytest.fixture(scope='module')
def profile_hits() -> list[TemplateHit]:
  return parse_hhr(read_text(DATA / 'templates' / 'yCD.hhr.gz'), 'yCD.hhr')


def hit_of(structure, start: int = 0, end: int | None = None, **changes) -> TemplateHit:
  """A hit that aligns a stretch of a chain to the first residues of the query, one by one."""
  sequence = structure.sequence[start:end]
  plain = TemplateHit('2nx8', 'A', sequence, tuple((i, i) for i in range(len(sequence))), start)
  return dataclasses.replace(plain, **changes)


@pytest.fixture(scope='module')
def deaminase(folder):
  return read_chain(folder / '2nx8.cif', 'A')


# Against AlphaFold


def accepted_by_alphafold(hit: TemplateHit, query: str) -> bool:
  """AlphaFold 2.3.2's filters; the installed fork of it has all of them but the date taken out."""
  length = len(hit.sequence)
  return (
    len(hit.pairs) / len(query) > 0.1 and not (hit.sequence in query and length / len(query) > 0.95) and (length >= 10)
  )


def official(monkeypatch, featurizer, query: str, hits: list[TemplateHit], folder: Path, max_date: str):
  """AlphaFold's features of the hits, as if its own parsers had read them."""
  # 2.3.2 knows the parents of modified residues (SCOPData), as this table does; the fork calls them X.
  monkeypatch.setattr(mmcif_parsing, 'PDBData', SimpleNamespace(protein_letters_3to1=protein_letters_3to1_extended))
  mmcif_parsing.parse.cache_clear()
  theirs = [
    parsers.TemplateHit(
      index=i,
      name=hit.name,
      aligned_cols=len(hit.pairs),
      sum_probs=hit.probability_sum,
      query=query[hit.pairs[0][0] :],
      hit_sequence=hit.sequence,
      indices_query=[q for q, _ in hit.pairs],
      indices_hit=[hit.start + t for _, t in hit.pairs],
    )
    for i, hit in enumerate(hits, start=1)
    if accepted_by_alphafold(hit, query) and (folder / f'{hit.entry}.cif').exists()
  ]
  made = featurizer(str(folder), max_date, 20, colabfold_binaries.binary_path('kalign'), None, None)
  return made.get_templates(query, theirs).features


def assert_same(chosen, features, where=slice(None)) -> None:
  """Equal names, order, letters, masks and positions."""
  assert [template.name for template in chosen.templates] == [
    name.decode() for name in features['template_domain_names']
  ]
  for i, template in enumerate(chosen.templates):
    letters = [OFFICIAL_ORDER[token] for token in features['template_aatype'][i].argmax(-1)]
    assert [residues.MSA_ALPHABET[token] for token in template.aatype[where]] == np.array(letters)[where].tolist()
    np.testing.assert_array_equal(template.atom_mask[where], features['template_all_atom_masks'][i][where])
    np.testing.assert_allclose(
      template.atom_positions[where], features['template_all_atom_positions'][i][where], atol=1e-3
    )


@pytest.mark.parametrize(
  ('max_date', 'names'), [('2020-05-14', ['2nx8_A', '1vq2_A', '2a8n_B']), ('2006-01-01', ['1vq2_A', '2a8n_B'])]
)
def test_templates_of_hhsearch_are_alphafolds(max_date, names, profile_hits, folder, monkeypatch):
  chosen = choose(YEAST, profile_hits, StructureFolder(folder), TemplateLimits(max_date=max_date))
  assert [template.name for template in chosen.templates] == names
  assert_same(
    chosen, official(monkeypatch, official_templates.HhsearchHitFeaturizer, YEAST, profile_hits, folder, max_date)
  )


@pytest.mark.parametrize(('query', 'names'), [('4zey_A', ['2crb_A']), ('1ctq_A', ['1c1y_A', '1mh1_A'])])
def test_templates_of_hmmsearch_are_alphafolds(query, names, folder, monkeypatch):
  a3m = read_text(DATA / 'templates' / f'{query}.a3m.gz')
  sequence = a3m.split('\n')[1]
  hits = hmmsearch.search(a3m, Database('pdb_seqres', EXAMPLES / 'database' / 'pdb_seqres_sample.txt', FASTA))
  chosen = choose(sequence, hits, StructureFolder(folder), TemplateLimits(max_date='2021-01-01'))
  assert [template.name for template in chosen.templates] == names
  assert f'{query}: the query itself, ' in ''.join(chosen.skipped)
  assert_same(
    chosen, official(monkeypatch, official_templates.HmmsearchHitFeaturizer, sequence, hits, folder, '2021-01-01')
  )


def test_selenomethionine_and_a_tag_are_placed_as_alphafold_does(folder, monkeypatch):
  """4zey as deposited: its chain begins with a residue of the tag, its methionines hold selenium."""
  query = MIT.replace('QRDSHMKQ', 'QRDSAMKQ')
  hits = [TemplateHit('4zey', 'A', MIT[3:80], tuple((i + 3, i) for i in range(77)), 3)]
  chosen = choose(query, hits, StructureFolder(folder))
  assert len(chosen.templates) == 1
  assert_same(
    chosen, official(monkeypatch, official_templates.HmmsearchHitFeaturizer, query, hits, folder, '2100-01-01')
  )


def test_other_letters_in_the_file_are_realigned_as_alphafold_does(deaminase, folder, monkeypatch):
  """The hit misses two residues of the file's sequence and has three others."""
  letters = deaminase.sequence[10:60] + deaminase.sequence[62:150]
  for place in (20, 70, 71):
    letters = letters[:place] + ('A' if letters[place] != 'A' else 'G') + letters[place + 1 :]
  hits = [hit_of(deaminase, sequence=letters, pairs=tuple((i + 5, i) for i in range(len(letters))), start=10)]
  chosen = choose(YEAST, hits, StructureFolder(folder))
  assert 'aligned to the sequence in the file' in chosen.accepted[0]
  assert_same(
    chosen, official(monkeypatch, official_templates.HmmsearchHitFeaturizer, YEAST, hits, folder, '2100-01-01')
  )
  assert chosen.templates[0].residue_map[5 + 60] == 72  # behind the gap


def test_a_residue_that_the_file_lacks_is_left_out(deaminase, folder, monkeypatch):
  """Departs from AlphaFold, where it takes the chain's last residue."""
  letters = deaminase.sequence[10:60] + 'WWW' + deaminase.sequence[60:140]
  hits = [hit_of(deaminase, sequence=letters, pairs=tuple((i, i) for i in range(len(letters))), start=10)]
  chosen = choose(YEAST, hits, StructureFolder(folder))
  lacking = [q for q in range(len(letters)) if q not in chosen.templates[0].residue_map]
  assert len(lacking) == 3
  theirs = official(monkeypatch, official_templates.HmmsearchHitFeaturizer, YEAST, hits, folder, '2100-01-01')
  assert_same(chosen, theirs, where=[q for q in range(len(YEAST)) if q not in lacking])
  last = OFFICIAL_ORDER[theirs['template_aatype'][0][lacking[0]].argmax()]
  assert last == deaminase.sequence[-1] and not chosen.templates[0].atom_mask[lacking].any()


# What is accepted, and why not


def test_every_hit_that_was_tried_is_told_of(profile_hits, folder):
  chosen = choose(YEAST, profile_hits, StructureFolder(folder))
  assert len(chosen.templates) == len(chosen.accepted) == 3
  assert len(chosen.skipped) == len(profile_hits) - 3
  assert chosen.accepted[0] == '2nx8_A: 26% identical, covers 94%, released 2007-08-21'
  assert '1ox7_B: the query itself, 158 of its 158 residues' in chosen.skipped
  assert any(line.startswith('1z3a_B: ') and 'no file of entry 1z3a' in line for line in chosen.skipped)


def test_hits_are_ranked_by_their_sum_of_probabilities(profile_hits, folder):
  backwards = choose(YEAST, profile_hits[::-1], StructureFolder(folder))
  assert [one.name for one in backwards.templates] == ['2nx8_A', '1vq2_A', '2a8n_B']
  assert [
    one.name for one in choose(YEAST, profile_hits, StructureFolder(folder), TemplateLimits(max_templates=1)).templates
  ] == ['2nx8_A']


@pytest.mark.parametrize(
  ('changes', 'reason'),
  [
    ({'pairs': tuple((i, i) for i in range(15))}, 'aligned to 9% of the query, more than 10% are needed'),
    ({'sequence': YEAST, 'pairs': tuple((i, i) for i in range(158))}, 'the query itself, 158 of its 158 residues'),
    ({'pairs': tuple((i + 100, i) for i in range(100))}, 'found for another query'),
    ({'entry': '9xyz'}, 'no file of entry 9xyz'),
    ({'sequence': 'W' * 100}, 'only 0% identical to that of the hit, 90% are needed'),
  ],
)
def test_a_hit_that_cannot_serve_is_skipped_with_the_reason(changes, reason, deaminase, folder):
  chosen = choose(YEAST, [hit_of(deaminase, 10, 110, **changes)], StructureFolder(folder))
  assert not chosen.templates and len(chosen.skipped) == 1
  assert reason in chosen.skipped[0]


def test_a_short_hit_is_skipped(deaminase, folder):
  chosen = choose(YEAST[:50], [hit_of(deaminase, 10, 19)], StructureFolder(folder))
  assert chosen.skipped == ('2nx8_A: 9 residues long, 10 are needed',)


def test_a_younger_structure_is_skipped(deaminase, folder):
  hit = hit_of(deaminase, 10, 110)
  chosen = choose(YEAST, [hit], StructureFolder(folder), TemplateLimits(max_date='2007-08-20'))
  assert chosen.skipped == ('2nx8_A: released on 2007-08-21, later than 2007-08-20',)
  assert choose(YEAST, [hit], StructureFolder(folder), TemplateLimits(max_date='2007-08-21')).templates


def test_a_structure_without_a_date_is_skipped_only_where_dates_count():
  chain = read_chain(EXAMPLES / 'templates' / '1elw_A.cif.gz')
  library, hit = StructureFolder(EXAMPLES / 'templates'), hit_of(chain, 0, 80, entry='1elw')
  assert choose(MIT, [hit], library).accepted[0].endswith('release date unknown')
  chosen = choose(MIT, [hit], library, TemplateLimits(max_date='2021-01-01'))
  assert '1elw_A.cif.gz: does not say when it was released' in chosen.skipped[0]


def test_chains_with_the_same_residues_give_one_template(deaminase, folder):
  """For pdb_seqres; hits of pdb70 are taken as they come, as AlphaFold does."""
  twice = [hit_of(deaminase, 10, 110)] * 2
  chosen = choose(YEAST, twice, StructureFolder(folder))
  assert len(chosen.templates) == 1
  assert chosen.skipped == ('2nx8_A: shows the same residues as a template before it',)
  ranked = [dataclasses.replace(hit, probability_sum=90.0) for hit in twice]
  assert len(choose(YEAST, ranked, StructureFolder(folder)).templates) == 2


def test_another_chain_with_the_hits_residues_stands_in(deaminase, folder):
  chosen = choose(YEAST, [hit_of(deaminase, 10, 110, chain='Q')], StructureFolder(folder))
  assert chosen.templates[0].name == '2nx8_A'
  assert chosen.accepted[0].endswith('its chain A has the residues of 2nx8_Q')


def test_x_stands_for_any_residue(deaminase, folder):
  letters = 'X'.join((deaminase.sequence[10:40], deaminase.sequence[41:110]))
  chosen = choose(YEAST, [hit_of(deaminase, 10, 110, sequence=letters)], StructureFolder(folder))
  assert chosen.templates[0].residue_map == {i: i + 10 for i in range(100)}


def test_a_hit_in_a_repeat_stays_where_it_was_found(tmp_path):
  repeat = 'MKVLAAGIVGLCAK'
  lines = [
    f'ATOM  {i + 1:5d}  CA  ALA A{i + 1:4d}    {3.8 * i:8.3f}{0:8.3f}{0:8.3f}  1.00 20.00           C\n'
    for i in range(28)
  ]
  (tmp_path / 'repeat.pdb').write_text(''.join(lines))
  hit = TemplateHit('repeat', 'A', 'A' * 14, tuple((i, i) for i in range(14)), start=14)
  chosen = choose(repeat, [hit], StructureFolder(tmp_path))
  assert chosen.templates[0].residue_map == {i: i + 14 for i in range(14)}


def test_a_chain_that_is_not_there_is_named(deaminase, tmp_path):
  lines = [
    f'ATOM  {i + 1:5d}  CA  ALA {"AB"[i // 20]}{i + 1:4d}    {3.8 * i:8.3f}{0:8.3f}{0:8.3f}  1.00 20.00\n'
    for i in range(40)
  ]
  (tmp_path / '2nx8.pdb').write_text(''.join(lines))
  chosen = choose(YEAST, [hit_of(deaminase, 10, 110, chain='Q')], StructureFolder(tmp_path))
  assert chosen.skipped == ("2nx8_Q: no chain 'Q' in the file, which has A, B",)


def test_a_damaged_file_is_skipped_by_name(deaminase, folder, tmp_path):
  text = (folder / '2nx8.cif').read_text()
  (tmp_path / '2nx8.cif').write_text(text[: text.index('_atom_site.') + 2000])
  (skipped,) = choose(YEAST, [hit_of(deaminase, 10, 110)], StructureFolder(tmp_path)).skipped
  assert skipped.startswith('2nx8_A: ') and '2nx8.cif' in skipped


def test_coordinates_far_apart_are_refused(deaminase, folder, tmp_path):
  lines = (folder / '2nx8.cif').read_text().splitlines()
  shifted = [
    'ATOM ' + line[5:].replace(words[10], '900.000', 1)
    if (words := line.split())[:1] == ['ATOM'] and words[3] == 'CA' and words[8] == '50'
    else line
    for line in lines
  ]
  assert shifted != lines
  (tmp_path / '2nx8.cif').write_text('\n'.join(shifted))
  assert 'the file is damaged' in choose(YEAST, [hit_of(deaminase, 10, 110)], StructureFolder(tmp_path)).skipped[0]


@pytest.mark.parametrize('seen', [{'30'}, set()])
def test_one_residue_with_coordinates_is_enough(seen, deaminase, folder, tmp_path, monkeypatch):
  """AlphaFold asks for five atoms; here all but one or none of the aligned residues lost theirs."""
  lost = {str(number) for number in range(21, 41)} - seen
  lines = (folder / '2nx8.cif').read_text().splitlines()
  (tmp_path / '2nx8.cif').write_text(
    '\n'.join(line for line in lines if not (line.startswith('ATOM ') and line.split()[8] in lost))
  )
  hits = [hit_of(deaminase, 20, 40)]
  chosen = choose(YEAST, hits, StructureFolder(tmp_path))
  theirs = official(monkeypatch, official_templates.HmmsearchHitFeaturizer, YEAST, hits, tmp_path, '2100-01-01')
  if seen:
    assert_same(chosen, theirs)
  else:
    assert '0 atoms of chain A align to the query, 5 are needed' in chosen.skipped[0]
    assert not theirs['template_all_atom_masks'].any()


def test_withdrawn_and_replaced_entries(deaminase, folder, tmp_path):
  (tmp_path / 'obsolete.dat').write_text(
    ' LIST OF OBSOLETE COORDINATE ENTRIES AND SUCCESSORS\n'
    'OBSLTE    06-NOV-19 6G9Y\n'
    'OBSLTE    31-JUL-94 1OLD     2NX8\n'
    'OBSLTE    26-SEP-06 2H33     2JM5 2OWI\n'
  )
  library = StructureFolder(folder, tmp_path / 'obsolete.dat')
  assert library.current('2h33') == '2jm5' and library.current('4zey') == '4zey'
  official_table = official_templates._parse_obsolete(str(tmp_path / 'obsolete.dat'))
  assert official_table == {'6g9y': None, '1old': '2nx8', '2h33': '2jm5'}
  hits = [hit_of(deaminase, 10, 110, entry='6g9y'), hit_of(deaminase, 10, 110, entry='1old')]
  chosen = choose(YEAST, hits, library)
  assert chosen.skipped == ('6g9y_A: the entry was withdrawn from the PDB',)
  assert [template.name for template in chosen.templates] == ['2nx8_A']


def test_kalign_is_asked_for_only_where_it_is_needed(deaminase, folder, monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'kalign', None)
  assert choose(YEAST, [hit_of(deaminase, 10, 110)], StructureFolder(folder)).templates
  with pytest.raises(SearchError, match='kalign is not installed'):
    choose(
      YEAST,
      [hit_of(deaminase, sequence='A' + deaminase.sequence[12:111], pairs=tuple((i, i) for i in range(100)))],
      StructureFolder(folder),
    )


@pytest.mark.parametrize('date', ['2020', '2020-13-01', '20200101', 'today'])
def test_a_date_that_is_none_is_refused(date):
  with pytest.raises(InputError, match=f'max_template_date={date!r}: write a date as YYYY-MM-DD'):
    TemplateLimits(max_date=date)


def test_no_hits_give_no_templates(folder):
  chosen = choose(YEAST, [], StructureFolder(folder))
  assert chosen.templates == chosen.accepted == chosen.skipped == ()


# The folder


@pytest.mark.parametrize(
  'layout',
  [
    '4zey.cif',
    '4zey.cif.gz',
    '4ZEY.cif',
    'ze/4zey.cif.gz',
    'pdb4zey.ent',
    'ze/pdb4zey.ent.gz',
    '4zey_A.cif.gz',
    '4zey.pdb',
    '4zey.mmcif',
  ],
)
def test_an_entry_is_found_in_the_usual_layouts(layout, tmp_path):
  path = tmp_path / layout
  path.parent.mkdir(exist_ok=True)
  path.touch()
  assert StructureFolder(tmp_path).find('4zey', 'A').samefile(path)


def test_a_missing_entry_or_folder_is_named(tmp_path):
  with pytest.raises(InputError, match=f'{tmp_path}: no file of entry 4zey'):
    StructureFolder(tmp_path).find('4zey', 'A')
  with pytest.raises(InputError, match='nowhere: no such folder of structures'):
    StructureFolder('nowhere')
  with pytest.raises(InputError, match='obsolete.dat: no such file'):
    StructureFolder(tmp_path, tmp_path / 'obsolete.dat')
  (tmp_path / 'obsolete.dat').write_text('hello\n')
  with pytest.raises(InputError, match='no line begins with OBSLTE'):
    StructureFolder(tmp_path, tmp_path / 'obsolete.dat')


def test_a_library_is_not_listed_or_read_to_find_an_entry(tmp_path, monkeypatch):
  (tmp_path / '4zey.cif').touch()
  for method in ('iterdir', 'glob', 'rglob', 'read_bytes'):
    monkeypatch.setattr(Path, method, lambda *_: pytest.fail('read'))
  assert StructureFolder(tmp_path).find('4zey').name == '4zey.cif'


@pytest.mark.parametrize('name', ['4zey', '2nx8', '1vq2', '2crb', '1mh1'])
def test_release_dates_are_alphafolds(name, folder):
  header = mmcif_parsing.parse(file_id=name, mmcif_string=(folder / f'{name}.cif').read_text()).mmcif_object.header
  assert release_date(folder / f'{name}.cif') == header['release_date']


def test_the_release_date_of_a_pdb_file_is_its_first_revision(tmp_path):
  (tmp_path / 'x.pdb').write_text('REVDAT   2   24-FEB-09 1MUL    1       VERSN\nREVDAT   1   17-JUL-96 1MUL    0\n')
  assert release_date(tmp_path / 'x.pdb') == '1996-07-17'
  (tmp_path / 'y.pdb').write_text('ATOM\n')
  assert release_date(tmp_path / 'y.pdb') is None


def test_a_history_without_a_loop_is_read(tmp_path):
  (tmp_path / 'x.cif').write_text(
    'data_x\n_pdbx_audit_revision_history.ordinal 1\n'
    "_pdbx_audit_revision_history.revision_date '2015-05-06'\n_cell.length_a 1\n"
  )
  assert release_date(tmp_path / 'x.cif') == '2015-05-06'
  (tmp_path / 'y.cif.gz').write_bytes(gzip.compress(b'_pdbx_audit_revision_history.revision_date ?\n'))
  assert release_date(tmp_path / 'y.cif.gz') is None


@pytest.mark.parametrize(
  ('name', 'parts'),
  [('4ZEY_A', ('4zey', 'A')), ('4zey_AAA', ('4zey', 'AAA')), ('2wga', ('2wga', '')), ('My_one_B', ('My_one', 'B'))],
)
def test_names_of_entries_and_chains(name, parts):
  assert entry_and_chain(name) == parts
