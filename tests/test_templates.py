# SPDX-License-Identifier: Apache-2.0
"""Structure files and the template features made of them."""

import functools
import gzip
import io
import random
from pathlib import Path

import numpy as np
import pytest
from alphafold.data import mmcif_parsing
from alphafold.data import templates as official_templates
from alphafold.model.tf import data_transforms
from Bio import PDB

from alphafold_jax.constants import residues
from alphafold_jax.data import features, templates
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import read_chain, read_chains
from alphafold_jax.errors import InputError

DATA = Path(__file__).parent / 'data'
MIT, TNF = DATA / '4zey.cif.gz', DATA / '1u5y_D.cif.gz'  # with selenomethionine; without
MIT_SEQUENCE = 'GMEGPLNLAHQQSRRADRLLAAGKYEEAISCHKKAAAYLSEAMKLTQSEQAHLSLELQRDSHMKQLLLIQERWKRAQREERLKA'
A = residues.ATOM_INDEX


@functools.cache
def official(path: Path):
  return mmcif_parsing.parse(file_id='x', mmcif_string=read_text(path), catch_all_errors=False).mmcif_object


def pdb_line(name, residue, number, xyz, chain='A', alt=' ', insertion=' ', occupancy=1.0, record='ATOM'):
  x, y, z = xyz
  return (
    f'{record:<6}{1:>5} {name:^4}{alt}{residue:>3} {chain}{number:>4}{insertion}   {x:8.3f}{y:8.3f}{z:8.3f}'
    f'{occupancy:6.2f}{20:6.2f}          {name[0]:>2}\n'
  )


def backbone(residue, number, **options):
  """N, CA and C of a residue, 3.8 Å on from the one before."""
  return ''.join(
    pdb_line(name, residue, number, (3.8 * number + shift, 0, 0), **options)
    for name, shift in (('N', 0), ('CA', 1.46), ('C', 2.5))
  )


@pytest.fixture
def write(tmp_path):
  def write(text: str | bytes, name: str = 'x.pdb') -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path

  return write


# Structures


@pytest.mark.parametrize('path', [MIT, TNF], ids=['4zey', '1u5y_D'])
def test_atoms_of_a_deposited_structure_equal_alphafolds(path):
  for name, chain in read_chains(path).items():
    positions, mask = official_templates._get_atom_positions(official(path), name, max_ca_ca_distance=150.0)
    np.testing.assert_array_equal(chain.atom_mask, mask)
    np.testing.assert_array_equal(chain.atom_positions, positions.astype(np.float32))
    sequence = official(path).chain_to_seqres[name]  # its Biopython table has no MSE, DeepMind's had
    assert ''.join('M' if b == 'X' else a for a, b in zip(chain.sequence, sequence, strict=True)) == chain.sequence
    assert sum(b == 'X' for b in sequence) == {MIT: 3, TNF: 0}[path]


def test_the_authors_numbering_is_kept():
  chain = read_chain(MIT)
  assert chain.numbering[:4] == ('0', '4', '5', '6') and read_chain(TNF, 'D').numbering[0] == '105'


def test_pdb_and_mmcif_of_one_structure_give_the_same_chain(write):
  writer, text = PDB.PDBIO(), io.StringIO()
  writer.set_structure(PDB.MMCIFParser(QUIET=True).get_structure('', io.StringIO(read_text(TNF))))
  writer.save(text)
  ours, theirs = read_chain(write(gzip.compress(text.getvalue().encode()), 'x.ent.gz')), read_chain(TNF)
  assert ours.sequence == theirs.sequence and ours.numbering == theirs.numbering and ours.id == theirs.id == 'D'
  np.testing.assert_array_equal(ours.atom_mask, theirs.atom_mask)
  np.testing.assert_allclose(ours.atom_positions, theirs.atom_positions, atol=1e-3)


def test_unresolved_residues_of_an_mmcif_keep_their_place(write):
  lines = read_text(TNF).splitlines(keepends=True)
  kept = [line for line in lines if not (line.startswith('ATOM') and line.split()[8] in ('3', '4', '5'))]
  cut, whole = read_chain(write(''.join(kept), 'x.cif')), read_chain(TNF)
  assert cut.sequence == whole.sequence and cut.numbering[2:5] == ('', '', '')
  assert not cut.atom_mask[2:5].any()
  np.testing.assert_array_equal(cut.atom_mask[5:], whole.atom_mask[5:])
  np.testing.assert_array_equal(cut.atom_positions[5:], whole.atom_positions[5:])


def test_an_mmcif_without_its_sequence_gives_the_observed_residues(write):
  lines = [line for line in read_text(TNF).splitlines(keepends=True) if line.startswith(('_atom_site.', 'ATOM'))]
  chain = read_chain(write('data_x\nloop_\n' + ''.join(lines), 'x.cif'))
  assert chain.sequence == read_chain(TNF).sequence
  np.testing.assert_array_equal(chain.atom_positions, read_chain(TNF).atom_positions)


def test_only_the_first_model_counts(write):
  model = 'MODEL     {}\n{}ENDMDL\n'
  first, second = backbone('ALA', 1), backbone('ALA', 1) + backbone('GLY', 2)
  path = write(model.format(1, first) + model.format(2, second))
  writer, text = PDB.MMCIFIO(), io.StringIO()
  writer.set_structure(PDB.PDBParser(QUIET=True).get_structure('', path))
  writer.save(text)
  assert read_chain(path).sequence == read_chain(write(text.getvalue(), 'x.cif')).sequence == 'A'


def test_the_alternative_of_highest_occupancy_is_taken_and_the_first_among_equals(write):
  text = backbone('ALA', 1)
  for name, shares in (('CB', (0.3, 0.7)), ('O', (0.5, 0.5))):
    for alt, x, share in zip('AB', (1, 2), shares, strict=True):
      text += pdb_line(name, 'ALA', 1, (x, 0, 0), alt=alt, occupancy=share)
  chain = read_chain(write(text))
  assert chain.atom_positions[0, A['CB'], 0] == 2 and chain.atom_positions[0, A['O'], 0] == 1


def test_of_two_residues_at_one_place_the_fuller_is_taken(write):
  text = backbone('SER', 1, alt='A', occupancy=0.4) + backbone('THR', 1, alt='B', occupancy=0.6) + backbone('GLY', 2)
  assert read_chain(write(text)).sequence == 'TG'


def test_insertion_codes_are_residues_of_their_own(write):
  text = backbone('ALA', 52) + backbone('GLY', 52, insertion='A') + backbone('SER', 52, insertion='B')
  text += backbone('VAL', 53)
  chain = read_chain(write(text))
  assert chain.sequence == 'AGSV' and chain.numbering == ('52', '52A', '52B', '53')


def test_selenomethionine_is_methionine_and_ligands_and_water_are_no_residues(write):
  text = backbone('MSE', 1, record='HETATM') + pdb_line('SE', 'MSE', 1, (7, 8, 9), record='HETATM') + backbone('SEC', 2)
  text += backbone('GLY', 300, record='HETATM') + pdb_line('O', 'HOH', 400, (0, 0, 0), record='HETATM')
  text += pdb_line('C1', 'ATP', 500, (0, 0, 0), record='HETATM')
  chain = read_chain(write(text))
  assert chain.sequence == 'MU'
  assert chain.atom_positions[0, A['SD']].tolist() == [7, 8, 9] and chain.atom_mask[0, A['SD']] == 1


@pytest.mark.parametrize('near', ['NH1', 'NH2'])
def test_of_arginines_nitrogens_nh1_is_the_nearer_to_cd(write, near):
  text = backbone('ARG', 1) + pdb_line('CD', 'ARG', 1, (0, 0, 0))
  text += ''.join(pdb_line(name, 'ARG', 1, (1 if name == near else 4, 0, 0)) for name in ('NH1', 'NH2'))
  assert read_chain(write(text)).atom_positions[0, [A['NH1'], A['NH2']], 0].tolist() == [1, 4]


def test_atoms_that_are_missing_are_masked(write):
  text = backbone('ALA', 1) + pdb_line('N', 'GLY', 2, (9, 9, 9)) + backbone('SER', 3)
  chain = read_chain(write(text))
  assert chain.sequence == 'AGS' and chain.atom_mask[:, A['CA']].tolist() == [1, 0, 1]
  assert chain.atom_mask.sum() == 7 and not chain.atom_positions[chain.atom_mask == 0].any()


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('', 'neither PDB nor mmCIF'),
    ('>x\nMKT\n', 'neither PDB nor mmCIF'),
    (b'\x89PNG\r\n\x1a\n' + bytes(64), 'is this a binary file'),
    ('data_x\nloop_\n_atom_site.group_PDB\n', 'lacks label_comp_id'),
    (pdb_line('N', 'ALA', 1, (0, 0, 0)), r'1 residue of chains without CA atoms \(ALA 1 atom\)'),
    (backbone('DA', 1), r'no protein chain; the file holds 1 nucleotide \(DA 3 atoms\)'),
    (backbone('ALA', 1).replace('  0.000', '    abc'), 'line 1: columns 31-54 hold no three coordinates'),
    (pdb_line('CA', 'ALA', 1, (float('nan'), 0, 0)), 'coordinates that are not finite'),
  ],
)
def test_a_file_that_is_no_structure_is_refused(write, content, message):
  path = write(content)
  with pytest.raises(InputError, match=message) as error:
    read_chains(path)
  assert str(path) in str(error.value)


def test_a_truncated_mmcif_is_refused(write):
  text = read_text(TNF)
  with pytest.raises(InputError, match='Wrong number of values in loop _atom_site.*truncated'):
    read_chains(write(text[: text.rindex('ATOM') + 20], 'x.cif'))
  with pytest.raises(InputError, match='break off before their end'):
    read_chains(write(TNF.read_bytes()[:-100], 'x.cif.gz'))


def test_a_chain_that_is_not_there_is_said_with_those_that_are(write):
  path = write(backbone('ALA', 1) + backbone('GLY', 1, chain='b'))
  with pytest.raises(InputError, match=r"x.pdb: chain 'B' not found; has A, b"):
    read_chain(path, 'B')
  with pytest.raises(InputError, match='holds the protein chains A, b; say which'):
    read_chain(path)
  assert read_chain(path, 'b').sequence == 'G'


def test_random_damage_to_structures_raises_nothing_but_input_errors(write):
  rng = random.Random(0)
  cif = read_text(TNF)
  head, _, table = cif.partition('ATOM')
  small = (head + 'ATOM' + ''.join(table.splitlines(keepends=True)[:20])).encode()
  pdb = (backbone('ALA', 1) + backbone('ARG', 2) + backbone('MSE', 3, record='HETATM')).encode()
  pieces = [b'\n', b' ', b"'", b'"', b'_', b'#', b';', b'-', b'?', b'A', b'9']
  refused = 0
  for i in range(400):
    content = bytearray((small, pdb)[i % 2])
    for _ in range(rng.randint(1, 5)):
      at = rng.randrange(len(content))
      content[at : at + rng.randint(0, 3)] = rng.choice(pieces)
    try:
      chains = read_chains(write(bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])))
    except InputError:
      refused += 1
      continue
    assert all(len(chain.sequence) == len(chain.atom_mask) == len(chain.numbering) for chain in chains.values())
  assert 20 < refused < 400


# Templates


@pytest.mark.parametrize('path', [MIT, TNF], ids=['4zey', '1u5y_D'])
def test_features_for_a_given_residue_map_equal_alphafolds(path):
  chain = read_chain(path)
  query = 'MKTAYIAKQRQISFVKSHFSRQ'
  pairs = {2: 0, 3: 1, 4: 2, 7: 3, 8: 9, 9: 10, 10: 40, 11: 41, 12: 42, 13: 50, 14: 51, 21: len(chain.sequence) - 1}
  theirs, _ = official_templates._extract_template_features(
    official(path), 'x', pairs, official(path).chain_to_seqres[chain.id], query, chain.id, kalign_binary_path=''
  )
  ours = templates.template_from_structure(query, path, residue_map=list(pairs.items()))
  np.testing.assert_array_equal(ours.atom_positions, theirs['template_all_atom_positions'].astype(np.float32))
  np.testing.assert_array_equal(ours.atom_mask, theirs['template_all_atom_masks'])
  aatype = data_transforms.fix_templates_aatype({'template_aatype': theirs['template_aatype']})['template_aatype']
  # Methionine: see the test of atoms above.
  methionine = np.array([chain.sequence[pairs[i]] == 'M' if i in pairs else False for i in range(len(query))])
  np.testing.assert_array_equal(ours.aatype[~methionine], np.asarray(aatype)[~methionine])
  assert (ours.aatype[methionine] == residues.RESTYPE_INDEX['M']).all() and ours.aatype[0] == residues.GAP


def test_a_structure_of_the_query_itself_covers_it():
  template = templates.template_from_structure(MIT_SEQUENCE, MIT)
  assert template.name == '4zey_A' and template.identity == template.coverage == 1 and template.notes == ()
  assert template.residue_map == {i: i for i in range(84)}


def test_the_query_may_lack_add_or_change_residues():
  query = 'MHHHHH' + MIT_SEQUENCE[4:30] + MIT_SEQUENCE[36:60] + 'GSGSGS' + MIT_SEQUENCE[60:].replace('W', 'F')
  template = templates.template_from_structure(query.lower(), MIT)
  chain = read_chain(MIT)
  same = [q for q, t in template.residue_map.items() if query[q] == chain.sequence[t]]
  assert len(same) >= 70 and template.aatype[56:62].tolist() == [residues.GAP] * 6
  np.testing.assert_array_equal(template.atom_positions[-10:], chain.atom_positions[-10:])


def test_without_a_name_the_chain_that_aligns_best_is_taken(write):
  writer, text = PDB.PDBIO(), io.StringIO()
  structure = PDB.MMCIFParser(QUIET=True).get_structure('', io.StringIO(read_text(TNF)))
  other = PDB.MMCIFParser(QUIET=True).get_structure('', io.StringIO(read_text(MIT)))[0]['A']
  structure[0].add(other)
  writer.set_structure(structure)
  writer.save(text)
  path = write(text.getvalue())
  assert templates.template_from_structure(MIT_SEQUENCE, path).name == 'x_A'
  assert templates.template_from_structure(read_chain(TNF).sequence, path).name == 'x_D'


def test_an_alignment_that_says_little_is_noted():
  template = templates.template_from_structure(MIT_SEQUENCE, TNF)
  assert template.notes[0].startswith('only 22% of the residues aligned to 1u5y_D_D are identical')
  assert template.notes[0].endswith('give an alignment')


def test_given_pairs_of_which_few_are_identical_are_warned_of_when_they_are_used(caplog):
  shifted = templates.template_from_structure(MIT_SEQUENCE, MIT, residue_map={i: i + 1 for i in range(83)})
  right = templates.template_from_structure(MIT_SEQUENCE, MIT, residue_map={i: i for i in range(83)})
  assert right.notes == () and shifted.identity < 0.25
  templates.stack_templates([right, shifted])
  assert [record.levelname for record in caplog.records] == ['WARNING']
  assert 'template 4zey_A: only 13% of the residues given for 4zey_A are identical' in caplog.text


ROWS = {
  'gapped FASTA': '>q\nMKT--AYIAKQRQISFVKSH\n>t\n-GPLNLAHQQS--RRADRLL\n',
  'A3M': '>q\nMKTAYIAKQRQISFVKSH\n>t\n-GPlnLAHQQS--RRADRLL\n',
  'A3M with dots': '>q\nMKT..AYIAKQRQISFVKSH\n>t\n-GPlnLAHQQS--RRADRLL\n',
}


@pytest.mark.parametrize('text', ROWS.values(), ids=ROWS)
def test_an_alignment_of_two_rows_gives_the_residue_map(write, text):
  query = 'GG' + 'MKTAYIAKQRQISFVKSH' + 'RR'  # the rows hold parts of both sequences
  template = templates.template_from_structure(query, MIT, 'A', alignment=write(text, 'x.fasta'))
  start = MIT_SEQUENCE.index('GPLNLAH')
  expected = {3: 0, 4: 1, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8, 10: 9, 13: 10, 14: 11, 15: 12, 16: 13, 17: 14, 18: 15, 19: 16}
  assert template.residue_map == {q: start + t for q, t in expected.items()}


def test_a_template_row_of_another_version_of_the_entry_is_realigned(write):
  row = MIT_SEQUENCE[4:30] + MIT_SEQUENCE[32:].replace('W', 'Y')  # two residues fewer, one changed
  path = write(f'>q\n{row}\n>t\n{row}\n', 'x.fasta')
  template = templates.template_from_structure(row, MIT, alignment=path)
  assert template.residue_map[0] == 4 and template.residue_map[len(row) - 1] == 83 and len(template.residue_map) == 78


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('>q\nMKTAYIAKQR\n', 'one row; a template alignment has two'),
    ('>q\nMKTAYIAKQR\n>t\nGMEGPLNLAHQ\n', 'the rows have 10 and 11 columns'),
    ('>q\nWWWWWWWWWW\n>t\nGMEGPLNLAH\n', r'the query row \(WWWWWWWWWW...\) does not belong'),
    ('>q\nMKTAYIAKQR\n>t\nWWWWWWWWWW\n', r'the template row \(WWWWWWWWWW...\) does not belong'),
    ('>q\nMKTAYIAKQR\n>t\n----------\n', 'the template row .* does not belong'),
    ('>q\nMKTAYI1KQR\n>t\nGMEGPLNLAH\n', "line 2, column 7: '1' in record 'q'"),
  ],
)
def test_a_bad_template_alignment_is_refused(write, text, message):
  with pytest.raises(InputError, match=message):
    templates.template_from_structure('MKTAYIAKQR', MIT, alignment=write(text, 'x.fasta'))


@pytest.mark.parametrize(
  ('residue_map', 'message'),
  [
    ({}, 'no residue of the template is aligned'),
    ({0: 84}, r'holds \(0, 84\), the query has residues 0..83, the template 0..83'),
    ({-1: 0}, r'holds \(-1, 0\)'),
    ({0: 3, 1: 3}, 'uses a residue of the template twice'),
    ([(0, 3), (0, 4)], 'uses a residue of the query twice'),
    ({i: i for i in range(9)}, "only 9 residues of chain 'A' with coordinates align to the query, at least 10"),
  ],
)
def test_a_bad_residue_map_is_refused(residue_map, message):
  with pytest.raises(InputError, match=message):
    templates.template_from_structure(MIT_SEQUENCE, MIT, residue_map=residue_map)


def test_impossible_distances_are_refused(write):
  text = ''.join(backbone('ALA', i) for i in range(1, 12)) + backbone('ALA', 100)
  with pytest.raises(InputError, match="chain 'A' has 338 Å between the CA atoms of residues 11 and 100"):
    templates.template_from_structure('A' * 12, write(text))


def test_stacked_templates_fill_slots_in_order_and_leave_the_rest_masked():
  first = templates.template_from_structure(MIT_SEQUENCE, MIT)
  second = templates.template_from_structure(MIT_SEQUENCE, TNF)
  stacked = templates.stack_templates([first, second])
  assert stacked.mask.tolist() == [1, 1, 0, 0]
  np.testing.assert_array_equal(stacked.aatype[1], second.aatype)
  np.testing.assert_array_equal(stacked.atom_positions[0], first.atom_positions)
  assert not stacked.atom_mask[2:].any() and (stacked.aatype[2:] == residues.GAP).all()
  batch = features.make_batch(MIT_SEQUENCE, templates=stacked)
  assert batch.templates is stacked
  with pytest.raises(InputError, match='5 templates given; the model takes 1 to 4'):
    templates.stack_templates([first] * 5)
  with pytest.raises(InputError, match='different lengths'):
    templates.stack_templates([first, templates.template_from_structure(MIT_SEQUENCE[:40], MIT)])
