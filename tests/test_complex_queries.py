# SPDX-License-Identifier: Apache-2.0
"""Queries of several chains: from every kind of file, in the given order, with their alignments and templates."""

import dataclasses
import gzip
import json
from pathlib import Path

import jax
import numpy as np
import pytest

import alphafold_jax as afj
from alphafold_jax import batches, fields, schema
from alphafold_jax.constants import residues
from alphafold_jax.data import complexes, features
from alphafold_jax.data.alignment import single_sequence
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.queries import FailedQuery, Query, read_queries, scan_queries
from alphafold_jax.data.templates import Template, joined
from alphafold_jax.errors import InputError
from alphafold_jax.runs import work
from alphafold_jax.runs.work import keys

DATA = Path(__file__).parent / 'data'
A3M = '#3,2\t1,1\n>101\t102\nMKTAY\n>a\tb\nM-TA-\n>101\nMKT--\n>u\nMKW--\n>102\n---AY\n'


@pytest.fixture
def write(tmp_path):
  """Writes a file and returns its path."""

  def write(name: str, content: str | bytes) -> Path:
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith('.gz') else content)
    return tmp_path / name

  return write


def chains_of(query: Query) -> tuple[str, ...]:
  return query.chains.sequences


def rows(query: Query) -> list[str]:
  """The rows of a query's alignment as letters."""
  tokens = query.load_alignment().tokens
  return [''.join(residues.MSA_ALPHABET[token] for token in row) for row in tokens]


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
  ('name', 'text'),
  [
    ('p.fasta', '>x\nMKT:AY:MKT\n'),
    ('p.fasta', '>x\nMKT:\nAY\n:MKT\n'),
    ('p.fa.gz', '>x\nMKT*:AY*:MKT*\n'),
    ('p.pir', '>P1;x\nof three chains\nMKT:AY:MKT*\n'),
    ('p.csv', 'id,sequence\nx,MKT:AY:MKT\n'),
    ('p.tsv', 'id\tsequence\nx\tmkt: ay :mkt\n'),
  ],
)
def test_colons_stand_between_chains(write, name, text):
  (query,) = read_queries(write(name, text))
  assert (query.name, query.sequence, query.lengths) == ('x', 'MKTAYMKT', (3, 2, 3))
  assert chains_of(query) == ('MKT', 'AY', 'MKT') and query.chain_names == ('A', 'B', 'C')
  assert query.chains.entities == (1, 2, 1) and query.alignment is None


def test_the_records_of_a_file_may_be_the_chains_of_one_complex(write):
  path = write('dimer.fasta', '>alpha one\nMKT\n>beta\nAY:GG\n')
  (query,) = read_queries(path, complex=True)
  assert query.name == 'dimer' and chains_of(query) == ('MKT', 'AY', 'GG')
  assert query.notes == ('one complex of all records: A is alpha, B is beta, C is beta',)
  assert [one.lengths for one in read_queries(path)] == [(), (2, 2)]
  (bad,) = scan_queries(write('bad.fasta', '>alpha\nMKT\n>beta\nA1\n'), complex=True)
  assert isinstance(bad, FailedQuery) and "line 4, column 2: '1' in record 'beta' is a digit" in bad.message
  (one,) = read_queries(write('one.fasta', '>alpha\nMKT\n'), complex=True)
  assert (one.name, one.lengths) == ('alpha', ())


def test_hundreds_of_chains_keep_their_order(write):
  chains = [f'{"ACDEFGHIKLMNPQRSTVWY"[i % 20]}{"ACDEFGHIKLMNPQRSTVWY"[i // 20]}' for i in range(300)]
  (query,) = read_queries(write('p.fasta', f'>x\n{":".join(chains)}\n'))
  assert chains_of(query) == tuple(chains) and len(set(query.chain_names)) == 300
  assert features.make_batch(':'.join(chains)).asym_id.max() == 300
  (bad,) = scan_queries(write('q.fasta', f'>x\n{":".join("AC" for _ in range(1001))}\n'))
  assert '1,001 chains; at most 1,000 are predicted together' in bad.message


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    (
      '>x\n:MKT\n',
      "line 2, column 1: ':' in record 'x' stands between the chains of a complex, and chain 1 of 2 is empty",
    ),
    ('>x\nMKT:XXJ\n', 'every residue of chain B is of unknown type (X, J or O), so there is nothing to build of it'),
    ('>x\nMKT:ALAGLYALAGLY\n', "chain 2 of record 'x' is in three-letter codes (ALAGLYALA...)"),
    ('>x\nMKT:A1\n', "line 2, column 6: '1' in record 'x' is a digit"),
    ('>x\nMKT*:A1\n', "line 2, column 7: '1' in record 'x' is a digit"),
    ('>x\nMKT*AY:AY\n', "line 2, column 4: '*' in record 'x' is a stop in the middle"),
  ],
)
def test_a_chain_that_cannot_be_is_refused_with_its_place(write, text, message):
  (failure,) = scan_queries(write('p.fasta', text)).failures
  assert message in failure.message


def test_notes_name_the_chain(write):
  (query,) = read_queries(write('p.fasta', f'>x\nMKX:{"ACGT" * 6}\n'))
  assert query.notes == ('X read as unknown', 'chain 2: only the letters of DNA or RNA; read as a protein')


def test_an_alignment_of_colabfold_is_a_complex(write):
  (query,) = read_queries(write('p.a3m', A3M.replace('1,1', '2,1')))
  assert chains_of(query) == ('MKT', 'MKT', 'AY') and query.alignment.name == 'p.a3m'
  assert rows(query) == ['MKTMKTAY', 'M-TM-TA-', 'MKTMKT--', 'MKWMKW--', '------AY']
  (real,) = read_queries(DATA / 'complexes' / 'haemoglobin.a3m.gz')
  assert real.lengths == (141, 141, 146, 146) and real.load_alignment().tokens.shape == (231, 574)
  (again,) = read_queries(write('q.a3m', '#3\t1\n>q\nMKT\n'))
  assert again.lengths == ()


def test_a_table_gives_the_order_of_chains_to_an_alignment_of_colabfold(write):
  write('x.a3m', A3M.replace('1,1', '2,1'))
  text = 'id,sequence,a3mpath\nx,MKT:AY:MKT,x.a3m\ny,,x.a3m\nz,MKT:AY,x.a3m\nw,AY:MKV:MKT,x.a3m\n'
  x, y, z, w = scan_queries(write('p.csv', text))
  assert chains_of(x) == ('MKT', 'AY', 'MKT') and chains_of(y) == ('MKT', 'MKT', 'AY')
  assert rows(x) == ['MKTAYMKT', 'M-TA-M-T', 'MKT--MKT', 'MKW--MKW', '---AY---']
  assert 'the alignment x.a3m is of chains of 3, 3, 2 residues, the sequence of 3, 2; they must be' in z.message
  assert 'they must be the same chains' in w.message
  write('y.a3m', '>q\nMKTAY\n')
  (bare,) = scan_queries(write('q.csv', 'id,sequence,a3mpath\nx,MKT:AY:AY,y.a3m\n')).failures
  assert "does not say where its chains end; put the line '#3,2\\t1,2'" in bare.message


def test_a_table_may_name_an_alignment_for_each_chain(write):
  write('a.a3m', '>q\nMKT\n>a\nM-T\n')
  write('b.a3m', '>q\nAY\n>a\nA-\n')
  text = 'id,sequence,a3mpath\nx,AY:MKT:MKT,b.a3m:a.a3m:a.a3m\ny,MKT:AY,a.a3m:\n'
  text += 'z,MKT:AY,a.a3m:b.a3m:\nw,MKT:AY,b.a3m:a.a3m\n'
  x, y, z, w = scan_queries(write('p.csv', text))
  assert rows(x) == ['AYMKTMKT', 'AY------', 'A-------', '--MKTMKT', '--M-TM-T']
  assert rows(y) == ['MKTAY', 'MKT--', 'M-T--', '---AY']
  assert '2 chains and 3 alignments; name one for each chain' in z.message
  assert 'line 5, chain 1: the alignment begins with AY... (2 residues), the chain with MKT... (3)' in w.message
  (missing,) = scan_queries(write('q.csv', 'id,sequence,a3mpath\nv,MKT:AY,a.a3m:none.a3m\n')).failures
  assert 'none.a3m does not exist' in missing.message


def test_a_changed_alignment_of_a_complex_is_not_taken(write):
  (query,) = read_queries(path := write('p.a3m', A3M))
  path.write_text(A3M.replace('MKTAY', 'MKTWY').replace('---AY', '---WY'))
  with pytest.raises(InputError, match=r'p.a3m: the alignment .*p.a3m: no alignment of chain B'):
    query.load_alignment()


# ------------------------------------------------------------------------------------------ the input of AlphaFold 3


def job(*proteins: dict, **more: object) -> str:
  return json.dumps({'name': 'x', 'sequences': [{'protein': one} for one in proteins], 'modelSeeds': [1]} | more)


UNIPROT = '>q\n{}\n>tr|A0A000|A0A000_HUMAN\n{}\n'


def test_a_job_of_several_proteins_is_a_complex_under_its_names(write):
  text = job({'id': ['H', 'I'], 'sequence': 'MKT'}, {'id': 'L', 'sequence': 'AY'})
  (query,) = read_queries(write('p.json', text))
  assert chains_of(query) == ('MKT', 'MKT', 'AY') and query.chain_names == ('H', 'I', 'L') and query.alignment is None


def test_the_alignments_of_a_job_are_paired_by_species(write):
  first = {'id': 'A', 'sequence': 'MKT', 'unpairedMsa': '>q\nMKT\n>a\nM-T\n', 'pairedMsa': UNIPROT.format('MKT', 'MKV')}
  second = {'id': 'B', 'sequence': 'AY', 'unpairedMsa': '', 'pairedMsa': UNIPROT.format('AY', 'AF')}
  (query,) = read_queries(write('p.json', job(first, second)))
  assert query.alignment.name == 'p.json'
  assert rows(query) == ['MKTAY', 'MKVAF', 'MKT--', 'M-T--', '---AY']
  write('a.a3m', first['unpairedMsa'])
  write('b.a3m', first['pairedMsa'])
  elsewhere = {'id': 'A', 'sequence': 'MKT', 'unpairedMsaPath': 'a.a3m', 'pairedMsaPath': 'b.a3m'}
  (other,) = read_queries(write('q.json', job(second, elsewhere)))
  assert rows(other) == ['AYMKT', 'AFMKV', 'AY---', '--MKT', '--M-T']
  second['pairedMsa'] = UNIPROT.format('AY', 'AF').replace('HUMAN', 'MOUSE')
  (alone,) = read_queries(write('r.json', job(first, second)))
  assert any('nothing paired: no species has rows of two chains' in note for note in alone.notes)
  assert rows(alone) == ['MKTAY', 'MKT--', 'M-T--', '---AY']


def test_the_templates_of_a_job_go_to_their_chains(write):
  mmcif = gzip.decompress((DATA / '1ctq_A.cif.gz').read_bytes()).decode()
  places = {'queryIndices': [*range(15)], 'templateIndices': [*range(15)]}
  ras = {'id': ['A', 'C'], 'sequence': 'MTEYKLVVVGAGGVGKSALT', 'templates': [{'mmcif': mmcif, **places}]}
  (query,) = read_queries(write('p.json', job(ras, {'id': 'B', 'sequence': 'MKTAY', 'templates': []})))
  assert [template.chain for template in query.templates] == [0, 1]
  assert len({template.identity() for template in query.templates}) == 2
  batch = batches.to_batch(query, None)
  assert batch.templates.mask.tolist() == [1, 0, 0, 0]
  has_atoms = batch.templates.atom_mask[0].any(axis=1)
  assert has_atoms.tolist() == ([True] * 15 + [False] * 5) * 2 + [False] * 5


# ------------------------------------------------------------------------------------------ by hand


def test_a_query_may_be_made_of_chains():
  query = Query('x', 'mkt:AY')
  assert (query.sequence, query.lengths, query.chain_names) == ('MKTAY', (3, 2), ('A', 'B'))
  same = Query('x', 'MKTAY', lengths=(3, 2), chain_names=('H', 'L'))
  assert chains_of(same) == ('MKT', 'AY') and same.chains.names == ('H', 'L')
  assert dataclasses.replace(query, job='y').lengths == (3, 2)
  assert Query('x', 'MKTAY', lengths=(5,)) == Query('x', 'MKTAY')
  for arguments in ({'sequence': 'MKT:'}, {'sequence': 'MKTAY', 'lengths': (3, 3)}, {'sequence': 'MKT:X'}):
    with pytest.raises(InputError):
      Query('x', **arguments)
  with pytest.raises(InputError, match="lengths=.1, 4.: of 'x': ':' divides its sequence otherwise"):
    Query('x', 'MKT:AY', lengths=(1, 4))
  with pytest.raises(InputError, match="two chains have the name 'A'"):
    Query('x', 'MKT:AY', chain_names=('A', 'A'))


def test_a_complex_is_not_shown_as_the_protein_of_the_same_letters():
  one, two = Query('x', 'MKTAY'), Query('x', 'MKT:AY')
  assert "sequence='MKT:AY', lengths=(3, 2)" in repr(two) and repr(one) != repr(two)
  long = Query('x' * 500, ':'.join(['ACDEFGHIKL'] * 200), source='y' * 500)
  assert len(repr(long)) < 300 and 'lengths=tuple of 200' in repr(long)


def test_a_complex_has_another_key_than_the_protein_of_the_same_letters():
  def key(*arguments: object, **more: object) -> str:
    return keys.of_input(work.inputs.Job('x', Query('x', *arguments, **more)))

  assert key('MKTAY') == keys.of_json(['MKTAY', None])  # as ever
  assert len({key('MKTAY'), key('MKT:AY'), key('MK:TAY')}) == 3
  assert key('MKT:AY') == key('MKT:AY', chain_names=('H', 'L'))
  alignment = complexes.parse(A3M, 'x')[1]
  fewer = complexes.ComplexAlignment(complexes.bare(alignment.queries).unpaired, alignment.paired)
  assert len({key('MKT:AY', alignment), key('MKT:AY', fewer), key('MKT:AY')}) == 3


def test_an_alignment_may_be_given_by_chain_or_over_all_residues():
  alignment = complexes.parse(A3M, 'x')[1]
  assert rows(Query('x', 'AY:MKT', alignment)) == ['AYMKT', 'A-M-T', 'AY---', '--MKT', '--MKW']
  merged = complexes.merge(alignment, Chains(('MKT', 'AY')))
  query = Query('x', 'MKT:AY', merged)
  assert query.load_alignment() is merged
  with pytest.raises(InputError, match='x: the alignment is of chains of 3, 2 residues, the sequence of 2, 3'):
    Query('x', 'MK:TAY', merged).load_alignment()
  with pytest.raises(InputError, match='the alignment is of chains of 3, 2 residues, the sequence of 5'):
    Query('x', 'MKTAY', merged).load_alignment()
  with pytest.raises(InputError, match='has one alignment over all chains; give those of each chain'):
    query.load_complex()
  with pytest.raises(InputError, match='x: the alignment: no alignment of chain B'):
    Query('x', 'MKT:AW', alignment).load_alignment()


# ------------------------------------------------------------------------------------------ the network's input


def test_a_batch_numbers_chains_entities_and_copies():
  batch = features.make_batch('MKT:AY:MKT')
  assert batch.asym_id.tolist() == [1, 1, 1, 2, 2, 3, 3, 3] and batch.entity_id.tolist() == [1, 1, 1, 2, 2, 1, 1, 1]
  assert batch.sym_id.tolist() == [1, 1, 1, 1, 1, 2, 2, 2] and batch.residue_index.tolist() == [0, 1, 2, 0, 1, 0, 1, 2]
  assert batch.msa.pinned.tolist() == [1]
  features.check_batch(batch, 'batch')
  for (name, field, one), (_, _, other) in zip(
    fields.leaves(batch), fields.leaves(features.make_batch('MKTAYMKT')), strict=True
  ):
    assert one.dtype == field.metadata['dtype'] and one.shape == other.shape, name


def test_every_way_to_give_a_complex_makes_one_batch(write):
  query = Query('x', 'MKT:AY', complexes.parse(A3M, 'x')[1])
  wanted = batches.to_batch(query, None)
  assert wanted.msa.tokens.shape == (5, 5) and wanted.msa.pinned.tolist() == [1, 0, 0, 0, 0]
  (read,) = read_queries(write('p.a3m', A3M))
  for given in (read, query.load_alignment()):
    made = batches.to_batch(given, None)
    assert all(map(np.array_equal, jax.tree.leaves(wanted), jax.tree.leaves(made)))
  bare = batches.to_batch(Query('x', 'MKT:AY'), None)
  assert all(map(np.array_equal, jax.tree.leaves(bare), jax.tree.leaves(batches.to_batch('MKT:AY', None))))
  with pytest.warns(UserWarning, match='a sequence without an alignment'):
    assert afj.make_batch('MKT:AY').asym_id.tolist() == [1, 1, 1, 2, 2]
  wrong = dataclasses.replace(single_sequence('MKT:AY'), lengths=(3, 3))
  with pytest.raises(InputError, match='its query has 5 residues, its chains 6'):
    features.make_batch(wrong)


@pytest.mark.parametrize('merging', [complexes.COLABFOLD, complexes.FOR_MONOMER_MODELS])
@pytest.mark.parametrize('sequence', ['MKT:AY', 'MKT:MKT', 'MKT:AY:MKT', 'MKT'])
def test_a_sequence_without_homologues_is_the_same_by_either_door(sequence, merging):
  alone = afj.single_sequence(sequence)
  assert len(alone.tokens) == len(alone.names) == {'MKT:AY': 3, 'MKT:AY:MKT': 3}.get(sequence, 1)
  given = sequence, alone, Query('x', sequence), Query('x', sequence, alone)
  wanted, *others = (batches.to_batch(one, None, merging=merging) for one in given)
  for other in others:
    assert all(map(np.array_equal, jax.tree.leaves(wanted), jax.tree.leaves(other)))


def test_the_order_of_chains_does_not_matter_but_for_the_order_of_residues():
  alignment = complexes.parse(A3M.replace('1,1', '2,1'), 'x')[1]
  first, second = (
    features.make_batch(complexes.merge(alignment, Chains(order)))
    for order in (('MKT', 'AY', 'MKT'), ('MKT', 'MKT', 'AY'))
  )
  order = [0, 1, 2, 5, 6, 7, 3, 4]
  for name in ('aatype', 'residue_index', 'entity_id', 'sym_id'):
    np.testing.assert_array_equal(getattr(first, name)[order], getattr(second, name))
  np.testing.assert_array_equal(first.msa.tokens[:, order], second.msa.tokens)
  np.testing.assert_array_equal(first.msa.profile[order], second.msa.profile)


def test_another_sequence_keeps_the_chains():
  batch = features.make_batch('MKT:AY')
  np.testing.assert_array_equal(afj.with_sequence(batch, 'WWW:YY').aatype, features.make_batch('WWW:YY').aatype)
  with pytest.raises(InputError, match=r'a sequence of chains of \(2, 3\) residues; the batch has chains of \(3, 2\)'):
    afj.with_sequence(batch, 'WW:WYY')


def template(num_res: int, name: str) -> Template:
  mask = np.zeros((num_res, 37), np.float32)
  mask[:, residues.ATOM_INDEX['CA']] = 1
  positions = np.full((num_res, 37, 3), len(name), np.float32)
  return Template(name, np.full(num_res, 7, np.int32), positions, mask, {0: 0}, 1.0, 1.0)


def test_templates_of_chains_are_joined_slot_by_slot():
  chains = Chains(('MKT', 'AY', 'MKT'))
  slots = joined(chains, [[template(3, 'a'), template(3, 'bb')], [], [template(3, 'ccc')]])
  assert isinstance(slots, schema.Templates) and slots.mask.tolist() == [1, 1, 0, 0]
  assert slots.aatype[0].tolist() == [7, 7, 7, 0, 0, 7, 7, 7]  # alanine without atoms where a chain has none
  assert slots.aatype[1].tolist() == [7, 7, 7, 0, 0, 0, 0, 0] and (slots.aatype[2:] == 21).all()
  assert slots.atom_mask.any(axis=-1)[:2].tolist() == [
    [True, True, True, False, False, True, True, True],
    [True, True, True, False, False, False, False, False],
  ]
  assert slots.atom_positions[0, 5].max() == 3 and slots.atom_positions[1, 0].max() == 2
  features.make_batch('MKT:AY:MKT', templates=slots)
  for wrong, message in (
    ([[], []], 'templates of 2 chains; give a list for each of the 3'),
    ([[], [], []], 'no template for any chain'),
    ([[template(2, 'a')], [], []], 'chain A: its templates are for 2 residues, the chain has 3'),
    ([[template(3, 'a')] * 5, [], []], '5 templates given'),
  ):
    with pytest.raises(InputError, match=message):
      joined(chains, wrong)


# ------------------------------------------------------------------------------------------ runs


def test_a_run_takes_single_chains_and_complexes(write, tmp_path):
  write('p.fasta', '>x\nMKT:AY\n>y\nMKT\n')
  features.save_features(tmp_path / 'z.npz', features.make_batch('MKT:AY'), {'name': 'z'})
  found = work.find(tmp_path, takes_bare=True)
  assert [(one.name, one.query.lengths) for one in found.jobs] == [('x', (3, 2)), ('y', ()), ('z', (3, 2))]
  assert [one.is_complex for one in found.jobs] == [True, False, True] and found.kinds == (False, True)


def test_features_give_each_model_the_rows_that_it_takes(write, tmp_path, caplog):
  write('p.a3m', A3M.replace('1,1', '2,1').replace('>101\t102', '>101\t102\torder=101,102,101'))
  (job,) = work.find(tmp_path / 'p.a3m', takes_bare=True).jobs
  assert job.query.chains.sequences == ('MKT', 'AY', 'MKT')
  work.load(job, None).write_features(tmp_path)
  (features_job,) = work.find(tmp_path / 'p.features.npz', takes_bare=True).jobs
  caplog.set_level('INFO')
  for merging, num_rows in ((complexes.COLABFOLD, 5), (complexes.FOR_MONOMER_MODELS, 7)):
    wanted, found = (work.load(one, None, merging=merging) for one in (job, features_job))
    assert len(found.batch.msa.tokens) == num_rows and found.alignment_text() == wanted.alignment_text()
    assert all(map(np.array_equal, jax.tree.leaves(wanted.batch), jax.tree.leaves(found.batch)))
  (said,) = [one for one in caplog.messages if 'made for other models' in one]
  assert 'which take 5 of the rows; made anew of 7 for those of this run' in said


def test_features_of_one_alignment_over_all_chains_are_taken_as_they_are(tmp_path, caplog):
  merged = complexes.merge(complexes.parse(A3M, 'x')[1], Chains(('MKT', 'AY')))
  features.save_features(tmp_path / 'z.npz', features.make_batch(merged), {'name': 'z'})
  (job,) = work.find(tmp_path / 'z.npz', takes_bare=True).jobs
  caplog.set_level('INFO')
  loaded = work.load(job, None, merging=complexes.FOR_MONOMER_MODELS)
  np.testing.assert_array_equal(loaded.batch.msa.tokens, merged.tokens)
  assert 'z: its features hold no alignments of its chains' in caplog.text


def test_a_file_of_results_has_the_order_of_the_query_whatever_that_of_its_alignment(write, tmp_path):
  write('x.a3m', A3M.replace('1,1', '2,1'))
  rows = 'x,MKT:AY:MKT,x.a3m\ny,MKT:MKT:AY,x.a3m\nz,BKT:AY:BKT,z.a3m\n'  # B is read as D
  write('z.a3m', A3M.replace('1,1', '2,1').replace('MKTAY', 'DKTAY').replace('MKT--', 'DKT--'))
  write('p.csv', f'id,sequence,a3mpath\n{rows}')
  x, y, z = (work.load(job, None).alignment_text() for job in work.find(tmp_path / 'p.csv', takes_bare=True).jobs)
  assert y == (tmp_path / 'x.a3m').read_text() and complexes.parse(x, 'x')[0].sequences == ('MKT', 'AY', 'MKT')
  assert complexes.parse(z, 'z')[0].sequences == ('DKT', 'AY', 'DKT')


def test_what_was_joined_is_said_and_what_was_not_is_warned_of(write, tmp_path):
  write('one.fasta', '>x\nMKT:AY\n')
  (warning,) = work.find(tmp_path, takes_bare=True, complex=True).warnings
  assert '--complex has no effect: it joins the records of a FASTA file' in warning
  assert not work.find(tmp_path, takes_bare=True).warnings
  write('two.fasta', '>x\nMKT\n>y\nAY\n')
  assert not work.find(tmp_path, takes_bare=True, complex=True).warnings


def test_what_is_wrong_with_the_chains_of_a_file_is_said_with_its_name(write):
  (failure,) = scan_queries(write('q.fasta', f'>x\n{":".join("AC" for _ in range(1001))}\n')).failures
  assert failure.message.startswith(f'{failure.source}: 1,001 chains') and 'q.fasta, record 1' in failure.source


@pytest.mark.parametrize('line', ['#3,2', '#3,2\t1,-1', '#3,2\t1.0,2', '#3,2\t1,', '#3;2\t1;1', '#3,2\t1,1 # dimer'])
def test_a_line_of_lengths_that_is_slightly_wrong_never_fuses_chains(write, line):
  with pytest.raises(InputError, match='looks like the lengths and copies of chains and is not|has 2 lengths and'):
    read_queries(write('p.a3m', f'{line}\n>101\t102\nMKTAY\n'))


def test_a_line_of_lengths_may_have_blanks(write):
  (query,) = read_queries(write('p.a3m', '# 3, 2\t1, 2\n>101\t102\nMKTAY\n'))
  assert query.lengths == (3, 2, 2)


@pytest.mark.parametrize(
  ('entries', 'names'),
  [
    ([{}, {'id': 'A'}], ('B', 'A')),
    ([{'id': 'A', 'count': 2}, {'id': 'B'}], ('A', 'C', 'B')),
    ([{}, {}], ('A', 'B')),
  ],
)
def test_names_in_a_job_stay_and_the_others_take_what_is_left(write, entries, names):
  proteins = [{'protein': {'sequence': 'MKTAY', **entry}} for entry in entries]
  job = {'name': 'x', 'modelSeeds': [1], 'sequences': proteins, 'dialect': 'alphafold3', 'version': 1}
  (query,) = read_queries(write('p.json', json.dumps(job)))
  assert query.chains.names == names


@pytest.mark.parametrize('names', [(1, 2), ('', 'B'), ('A\nB', 'C')])
def test_names_that_files_cannot_hold_are_refused(names):
  with pytest.raises(InputError, match='must be text without white space'):
    Query('x', 'MKT:AY', chain_names=names)


def test_lengths_must_be_whole_numbers():
  with pytest.raises(InputError, match='must be the residues of each chain, whole numbers'):
    Query('x', 'MKTAY', lengths=(3.0, 2))
