# SPDX-License-Identifier: Apache-2.0
"""The training cache: what goes in comes out, what is broken is named, and a build is whole or not there."""

import csv
import gzip
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_cache

from alphafold_jax import cli
from alphafold_jax.data.alignment import encode, parse_a3m
from alphafold_jax.data.features import profile
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import read_chain
from alphafold_jax.data.training import cache_building, packing
from alphafold_jax.data.training.cache import open_cache
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.data.training.chain_reading import _names
from alphafold_jax.data.training.library import choose, read_library, read_query
from alphafold_jax.data.training.source_table import SourceTable, read_clusters
from alphafold_jax.data.training.sources import find_alignments
from alphafold_jax.errors import InputError, ResourceError
from alphafold_jax.naming import Names

DATA = Path(__file__).parent / 'data'
MIT, TNF, MIT_MSA = DATA / '4zey.cif.gz', DATA / '1u5y_D.cif.gz', DATA / '4zey_A.a3m.gz'
RNG = np.random.default_rng(7)
SEQUENCES = {name: small_cache.random_sequence(RNG, 30 + 5 * i) for i, name in enumerate(('one', 'two', 'three'))}


def reasons(summary) -> str:
  return '\n'.join(f'{name}: {reason}' for name, reason in summary.skipped)


@pytest.fixture(scope='module')
def real(tmp_path_factory):
  """A cache of two real entries; one has a real alignment."""
  folder = tmp_path_factory.mktemp('real')
  for path in (MIT, TNF):
    shutil.copy(path, folder)
  (folder / 'msa').mkdir()
  shutil.copy(MIT_MSA, folder / 'msa')
  summary = build_cache(
    [folder / MIT.name, folder / TNF.name], folder / 'cache', alignments=folder / 'msa', processes=1
  )
  return summary, open_cache(folder / 'cache')


# What goes in comes out


def test_a_real_chain_comes_out_as_it_was_read(real):
  _, cache = real
  for path in (MIT, TNF):
    chain = read_chain(path)
    record = next(cache[i] for i, entry in enumerate(cache.entries) if entry.id.startswith(path.name.split('.')[0]))
    assert record.sequence == chain.sequence
    np.testing.assert_array_equal(record.atom_mask, chain.atom_mask)
    np.testing.assert_allclose(record.atom_positions, chain.atom_positions, atol=5.1e-4)
    assert record.atom_positions.dtype == record.atom_mask.dtype == np.float32
    np.testing.assert_array_equal(record.tokens[0], encode(chain.sequence))


def test_a_real_alignment_comes_out_as_it_was_read(real):
  _, cache = real
  alignment = parse_a3m(read_text(MIT_MSA), 'a3m')
  entry = next(i for i, entry in enumerate(cache.entries) if entry.depth > 1)
  record = cache[entry]
  num_equal = min(len(alignment.tokens), len(record.tokens))
  assert num_equal > 50
  np.testing.assert_array_equal(record.tokens, alignment.tokens)
  np.testing.assert_array_equal(record.deletions, np.minimum(alignment.deletions, 255))
  np.testing.assert_allclose(record.profile, profile(alignment.tokens), atol=1e-5)


def test_method_resolution_and_date_are_read_from_the_file(real):
  _, cache = real
  entry = next(entry for entry in cache.entries if entry.id.startswith('4zey'))
  assert entry.method == 'X-RAY DIFFRACTION'
  assert 1 < entry.resolution < 3  # of the deposited entry
  assert entry.release_date.startswith('201')


def test_a_pdb_file_tells_method_resolution_and_date(tmp_path):
  head = (
    'HEADER    OXYGEN TRANSPORT                        07-MAR-84   4HHB              \n'
    'EXPDTA    X-RAY DIFFRACTION                                                     \n'
    'REVDAT   2   24-FEB-09 4HHB    1       VERSN                                    \n'
    'REVDAT   1   17-JUL-84 4HHB    0                                                \n'
    'REMARK   2                                                                      \n'
    'REMARK   2 RESOLUTION.    1.74 ANGSTROMS.                                       \n'
  )
  (tmp_path / 'x.pdb').write_text(head + small_cache.pdb_text(SEQUENCES['one']))
  build_cache(tmp_path / 'x.pdb', tmp_path / 'cache', processes=1)
  entry = open_cache(tmp_path / 'cache').entries[0]
  assert (entry.method, entry.resolution, entry.release_date) == ('X-RAY DIFFRACTION', 1.74, '1984-07-17')


def test_pack_and_unpack_are_inverse():
  rng = np.random.default_rng(1)
  num_res, num_seq = 23, 9
  mask = (rng.random((num_res, 37)) < 0.3).astype(np.float32)
  mask[4] = 0  # an unresolved residue
  record = packing.ChainRecord(
    id='some é',
    sequence='A' * num_res,
    residue_index=np.cumsum(rng.integers(1, 9, num_res)).astype(np.int32),
    atom_positions=(np.round(rng.normal(0, 5, (num_res, 37, 3)) + 900, 3) * mask[..., None]).astype(np.float32),
    atom_mask=mask,
    tokens=rng.integers(0, 22, (num_seq, num_res)).astype(np.uint8),
    deletions=rng.integers(0, 255, (num_seq, num_res)).astype(np.uint8),
    profile=rng.dirichlet(np.ones(22), num_res).astype(np.float32),
    resolution=2.25,
    confidence=rng.uniform(0, 100, num_res).astype(np.float32),
  )
  back = packing.unpack(packing.pack(record))
  assert (back.id, back.sequence, back.resolution) == (record.id, record.sequence, record.resolution)
  np.testing.assert_allclose(back.atom_positions, record.atom_positions, atol=6e-4)
  np.testing.assert_allclose(back.profile, record.profile, atol=1e-5)
  for name in ('residue_index', 'atom_mask', 'tokens', 'deletions', 'confidence'):
    np.testing.assert_array_equal(getattr(back, name), getattr(record, name), err_msg=name)


def test_a_cache_survives_pickling_as_worker_processes_need(real):
  _, cache = real
  again = pickle.loads(pickle.dumps(cache))
  assert again.entries == cache.entries and again[0].sequence == cache[0].sequence


def test_several_processes_make_the_same_cache_as_one(tmp_path):
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  for processes in (1, 2):
    build_cache(structures, tmp_path / f'cache{processes}', processes=processes)
  for name in ('records.array_record', 'index.csv', 'skipped.csv', 'cache.json'):
    assert (tmp_path / 'cache1' / name).read_bytes() == (tmp_path / 'cache2' / name).read_bytes(), name


def test_the_index_is_a_table_for_people(real):
  _, cache = real
  with open(cache.path / 'index.csv') as file:
    rows = list(csv.DictReader(file))
  assert [row['id'] for row in rows] == [entry.id for entry in cache.entries]
  assert {'length', 'resolution', 'cluster', 'split', 'depth', 'is_distillation'} <= set(rows[0])


# Numbering


def test_unresolved_residues_are_counted_and_masked(tmp_path):
  lines = read_text(TNF).splitlines()
  place = [line.split('.')[1] for line in lines if line.startswith('_atom_site.')].index('label_seq_id')
  kept = [line for line in lines if not (line.startswith('ATOM') and line.split()[place] in ('11', '12'))]
  assert len(kept) < len(lines)
  (tmp_path / 'x.cif').write_text('\n'.join(kept) + '\n')
  build_cache(tmp_path / 'x.cif', tmp_path / 'cache', processes=1)
  cache, whole = open_cache(tmp_path / 'cache'), read_chain(TNF)
  record = cache[0]
  assert (cache.entries[0].length, cache.entries[0].num_resolved) == (len(whole.sequence), len(whole.sequence) - 2)
  assert record.sequence == whole.sequence
  np.testing.assert_array_equal(record.residue_index, np.arange(len(record.sequence)))
  assert np.flatnonzero(record.atom_mask.sum(axis=1) == 0).tolist() == [10, 11]


def test_the_index_jumps_where_an_undeclared_gap_is(tmp_path):
  (tmp_path / 'gap.pdb').write_text(small_cache.pdb_text('ACDEFGHIKLMNPQRSTVWYACDE', missing={7, 8, 9}))
  record = packing.residue_index(read_chain(tmp_path / 'gap.pdb'))
  assert record.tolist() == [*range(7), *range(10, 24)]


def numbered(tmp_path, *numbers: str, spacing: float = 3.8) -> list[int]:
  """The index of a straight chain of alanines whose number and insertion code are given."""
  atoms = (('N', 0.0), ('CA', 1.4), ('C', 2.5))
  text = ''.join(
    f'ATOM  {1:>5} {name:^4} ALA A{number:>5}   {spacing * i + x:8.3f}{0:8.3f}{0:8.3f}{1:6.2f}{20:6.2f}          C\n'
    for i, number in enumerate(numbers)
    for name, x in atoms
  )
  (tmp_path / 'x.pdb').write_text(text)
  return packing.residue_index(read_chain(tmp_path / 'x.pdb')).tolist()


def test_the_index_ignores_numbers_that_jump_along_a_bond(tmp_path):
  assert numbered(tmp_path, '10 ', '11 ', '15 ', '16 ') == [0, 1, 2, 3]
  assert numbered(tmp_path, '10 ', '11 ', '15 ', '16 ', spacing=9.0) == [0, 1, 5, 6]


def test_insertion_codes_count_on_by_one(tmp_path):
  assert numbered(tmp_path, '-1 ', '10A', '10B', '11 ', '14C') == [0, 1, 2, 3, 4]
  assert numbered(tmp_path, '-1 ', ' 1A', '10B', '10C', '11 ', spacing=9.0) == [0, 2, 11, 12, 13]


# Tables


def test_the_table_names_clusters_splits_and_what_to_leave_out(tmp_path):
  table = small_cache.write_table(
    tmp_path / 't.csv',
    [
      {'id': 'one', 'c30': 'x', 'part': 'train', 'resolution': 2.5, 'odd': ''},
      {'id': 'two', 'c30': 'x', 'part': 'validation', 'resolution': '', 'odd': 'clash'},
    ],
  )
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  summary = build_cache(
    structures,
    tmp_path / 'cache',
    table=table,
    processes=1,
    columns={'cluster': 'c30', 'split': 'part', 'exclude': 'odd'},
  )
  (entry,) = open_cache(tmp_path / 'cache').entries
  assert (entry.id, entry.cluster, entry.split, entry.resolution) == ('one', 'x', 'train', 2.5)
  assert 'excludes two (clash)' in reasons(summary) and 'does not list three' in reasons(summary)


def test_clusters_may_come_from_mmseqs(tmp_path):
  (tmp_path / 'clu.tsv').write_text('one\tone\none\ttwo\nthree\tthree\n')
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  build_cache(structures, tmp_path / 'cache', clusters=tmp_path / 'clu.tsv', processes=1)
  assert {e.id: e.cluster for e in open_cache(tmp_path / 'cache').entries} == {
    'one': 'one',
    'two': 'one',
    'three': 'three',
  }


@pytest.mark.parametrize(
  ('text', 'columns', 'said'),
  [
    ('id,cluster\none,1\n', {'clustr': 'x'}, 'no column clustr'),
    ('id,cluster\none,1\n', {'cluster': 'c30'}, "has no column 'c30'; it has id, cluster"),
    ('name\none\n', {}, "has no column 'id'"),
    ('id\none\none\n', {}, "line 3: chain 'one' is listed twice"),
    ('id,resolution\none,good\n', {}, "line 2: the resolution is 'good'"),
    ('id,resolution\none,nan\n', {}, "line 2: the resolution is 'nan'"),
    ('id,split\none,train\ntwo,val\n', {}, "line 3: the split is 'val'; .* or test; did you mean 'validation'"),
    ('id,split\none,\n', {}, "line 2: the split is ''; expected train, pilot, validation or test"),
    ('id,release_date\none,1.2.2020\n', {}, "line 2: the release date is '1.2.2020'; expected YYYY-MM-DD"),
    ('id,cluster\n,1\n', {}, 'line 2: there is no name of a chain'),
    (
      'id,cluster\nfour,1\nfive,1\n',
      {},
      "names no chain .*; the first of its 2 names is 'four', the first of a file 'one'",
    ),
  ],
)
def test_a_wrong_table_is_named(tmp_path, text, columns, said):
  (tmp_path / 't.csv').write_text(text)
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  with pytest.raises(InputError, match=said):
    build_cache(structures, tmp_path / 'cache', table=tmp_path / 't.csv', columns=columns, processes=1)


def test_ids_match_in_other_case_and_columns_too_and_the_rest_is_counted_and_listed(tmp_path):
  (tmp_path / 't.csv').write_text('ID;Split;note\nOne;Train;x\nTWO;VALIDATION;\nnine_A;test;\n')
  (tmp_path / 'clu.tsv').write_text('ONE\tONE\nONE\tNine\n')
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  summary = build_cache(
    structures, tmp_path / 'c', table=tmp_path / 't.csv', clusters=tmp_path / 'clu.tsv', processes=1
  )
  entries = {entry.id: (entry.split, entry.cluster) for entry in open_cache(tmp_path / 'c').entries}
  assert entries == {'one': ('train', 'ONE'), 'two': ('validation', 'two')}
  assert [note.split(': ', 1)[1] for note in summary.notes] == [
    'columns not used: note',
    '1 of 3 names without a chain here (nine_A)',
    '1 of 2 names without a chain here (Nine)',
    '1 chain not named, a cluster of its own (two)',
    '1 chain of the structures not named, so not taken',
  ]
  listed = (tmp_path / 'c' / 'skipped.csv').read_text()
  assert 't.csv,"names nine_A, which is no chain' in listed and 'clu.tsv,"names Nine' in listed
  assert 'clu.tsv,"does not name chain two' in listed and 'does not list three' in listed


def test_clusters_of_a_table_go_before_others_and_the_command_says_so(tmp_path):
  table = small_cache.write_table(tmp_path / 't.csv', [{'id': 'one', 'cluster': 'x'}, {'id': 'two', 'cluster': ''}])
  (tmp_path / 'clu.tsv').write_text('y\tone\ny\ttwo\n')
  structures = small_cache.write_structures(tmp_path / 's', {name: SEQUENCES[name] for name in ('one', 'two')})
  summary = build_cache(structures, tmp_path / 'c', table=table, clusters=tmp_path / 'clu.tsv', processes=1)
  assert [entry.cluster for entry in open_cache(tmp_path / 'c').entries] == ['x', 'y']
  assert summary.notes == (f'{table}: its clusters go before those of {tmp_path / "clu.tsv"}: 1 chain',)


def test_clusters_that_name_no_chain_are_an_error_with_a_name_of_each_side(tmp_path):
  (tmp_path / 'clu.tsv').write_text('9zzz_A\t9zzz_A\n')
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  with pytest.raises(
    InputError, match="names no chain .*; the first of its 1 name is '9zzz_A', the first of a file 'one'"
  ):
    build_cache(structures, tmp_path / 'c', clusters=tmp_path / 'clu.tsv', processes=1)
  (tmp_path / 'clu.tsv').write_text('One_B\tOne_B\n')  # of such a file there could be one
  with pytest.raises(InputError, match="the first of its 1 name is 'One_B', the first of a chain 'one'"):
    build_cache(structures, tmp_path / 'c', clusters=tmp_path / 'clu.tsv', processes=1)
  assert not (tmp_path / 'c').exists()
  (tmp_path / 'clu.tsv').write_text('a\tone\nb\tone\n')
  with pytest.raises(InputError, match="line 2: chain 'one' is listed twice"):
    build_cache(structures, tmp_path / 'c', clusters=tmp_path / 'clu.tsv', processes=1)


def test_a_chain_is_meant_by_its_exact_name_before_one_in_other_case():
  table = SourceTable(clusters=Names({'1abc_A': 'x'}))
  assert table.find(['1abc_A'], {'1abc_a'}).cluster == 'x'
  assert table.find(['1abc_a'], {'1abc_A'}).cluster == ''
  assert table.find(['1ABC_a']).cluster == 'x'


def test_headers_of_rcsb_name_their_chains(tmp_path):
  (tmp_path / 'clu.tsv').write_text('r\t1ELW_1|Chains A, B[auth X]|TPR1|Homo sapiens (9606)\n')
  clusters = read_clusters(tmp_path / 'clu.tsv')
  assert {name: clusters[name] for name in clusters} == {'1ELW_A': 'r', '1ELW_X': 'r'}


def test_files_are_known_by_their_name_whatever_its_case_suffix_and_prefix():
  for name in ('4zey.cif', '4zey.CIF.GZ', '4zey.ent'):
    assert _names(Path(name), ['A', 'b']) == {'A': ['4zey_A'], 'b': ['4zey_b']}
  assert _names(Path('pdb4zey.ent.gz'), ['A']) == {'A': ['pdb4zey', 'pdb4zey_A', '4zey', '4zey_A']}


# Alignments


STOCKHOLM = '# STOCKHOLM 1.0\nx {}\nh {}\n//\n'


def library_of(folder: Path, files: dict[str, str]):
  for name, text in files.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
  (found,) = find_alignments(folder)
  return found, *read_library(found)


def test_every_layout_and_kind_of_alignments_is_found(tmp_path):
  one, two, three = SEQUENCES.values()
  a3m = '>q\n{}\n>h\n{}\n'
  found, library, broken = library_of(
    tmp_path / 'msas',
    {
      'one.A3M': a3m.format(one, one[:-1] + '-'),
      'two/a3m/mgnify_hits.a3m': a3m.format(two, two[:-1] + '-'),
      'two/a3m/uniref90_hits.sto': STOCKHOLM.format(two, '-' + two[1:]),
      'two/hhr/pdb70_hits.hhr': 'no alignment',
      'th/three.a3m': a3m.format(three, three[:-1] + '-'),
      '.hidden/x.a3m': 'never read',
    },
  )
  assert not broken and found.ignored() == '1 other file ignored (1 .hhr)'
  chosen = {name: choose([library], [name.upper()], sequence) for name, sequence in SEQUENCES.items()}
  assert {name: one.label for name, one in chosen.items()} == {
    'one': 'one.A3M',
    'two': 'two/a3m/uniref90_hits.sto + two/a3m/mgnify_hits.a3m',
    'three': 'th/three.a3m',
  }
  expected = [encode(row) for row in (two, '-' + two[1:], two[:-1] + '-')]  # AlphaFold's order of databases
  np.testing.assert_array_equal(chosen['two'].tokens, expected)


def test_rows_of_secondary_structure_before_the_query_change_nothing(tmp_path):
  own = SEQUENCES['two']
  annotated = f'>ss_pred\n{"C" * len(own)}\n>ss_conf\n{"9" * len(own)}\n>q\n{own}\n>h\n{own[:-1]}-\n'
  plain = f'>q\n{own}\n>h\n{own[:-1]}-\n'
  for name, text in (('with', annotated), ('without', plain)):
    _, library, broken = library_of(tmp_path / name, {'two.a3m': text})
    assert not broken and read_query(tmp_path / name / 'two.a3m') == own
    np.testing.assert_array_equal(choose([library], ['two'], own).tokens, [encode(own), encode(own[:-1] + '-')])


def test_an_alignment_is_found_however_many_like_it_cannot_be_used(tmp_path):
  own = SEQUENCES['two']
  files = {f'{i}.a3m': f'>q\n{own}\n>h\n{own}AC\n' for i in range(5)}
  _, library, _ = library_of(tmp_path, files | {'zz.a3m': f'>q\n{own}\n>h\n{own[:-1]}-\n'})
  chosen = choose([library], ['other'], own)
  assert chosen.label == 'zz.a3m' and len(chosen.tokens) == 2
  assert len(chosen.refused) == 5 and "record 'h' has 37 aligned columns" in chosen.refused[0][1]


def test_the_command_ends_with_what_was_not_used_or_fails(tmp_path, capsys):
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  (structures / 'notes.txt').touch()
  msas = small_cache.write_alignments(tmp_path / 'm', {'one': SEQUENCES['one']}, depth=3)
  (msas / 'two.a3m').write_text(f'>q\n{SEQUENCES["two"]}\n')
  table = tmp_path / 't.csv'
  table.write_text('id\none\ntwo\nnine\n')
  flags = ['--msas', str(msas), '--table', str(table), '--processes', '1', '--quiet']
  assert cli.main(['dataset', str(structures), str(tmp_path / 'c'), *flags]) == 0
  assert capsys.readouterr().out.splitlines() == [
    f'{tmp_path / "c"}: 2 chains (2 train) in 2 clusters, 1 with an alignment',
    f'{structures}: 1 other file ignored (1 .txt)',
    'alignments that hold the query alone: those of 1 chain (two)',
    f'{table}: 1 of 3 names without a chain here (nine)',
    f'{table}: 1 chain of the structures not named, so not taken',
    f'What was not taken or not used: 2 lines in {tmp_path / "c" / "skipped.csv"}',
  ]
  for more, said in (
    (['--max-rows', '0'], 'max_rows=0: must be 1 or more'),
    (['--column', 'cluster=a', '--column', 'cluster=b'], 'cluster is b by another --column'),
    (['--msas', str(tmp_path / 'nowhere')], 'nowhere: no such file or folder of alignments'),
  ):
    assert cli.main(['dataset', str(structures), str(tmp_path / 'd'), *flags, *more]) == 2
    assert said in capsys.readouterr().err
  assert cli.main(['dataset', str(structures), str(tmp_path / 'd'), '--column', 'cluster=a']) == 2
  assert '--column: names a column of the table; give it by --table' in capsys.readouterr().err


def test_a_folder_without_an_alignment_is_an_error_that_says_what_is_there(tmp_path):
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  (tmp_path / 'm').mkdir()
  with pytest.raises(InputError, match=r'--msas .*m: no alignment \(.a3m, .sto.*in it; it is empty'):
    build_cache(structures, tmp_path / 'c', alignments=tmp_path / 'm', processes=1)
  (tmp_path / 'm' / 'one.hhr').touch()
  with pytest.raises(InputError, match=r'in it; 1 other file \(1 .hhr\) instead'):
    build_cache(structures, tmp_path / 'c', alignments=tmp_path / 'm', processes=1)
  (tmp_path / 'm' / 'one.a3m').write_text('ACDEF\n')
  with pytest.raises(InputError, match="none can be read of 1 alignment; the first: .*stands before any '>'"):
    build_cache(structures, tmp_path / 'c', alignments=tmp_path / 'm', processes=1)


def test_alignments_that_fit_no_chain_are_an_error_and_those_not_needed_are_not(tmp_path):
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  good = small_cache.write_alignments(tmp_path / 'good', SEQUENCES, depth=3)
  spare = small_cache.write_alignments(tmp_path / 'spare', {'one': SEQUENCES['one']}, depth=4)
  other = small_cache.random_sequence(np.random.default_rng(3), 40)
  wrong = small_cache.write_alignments(tmp_path / 'wrong', {'two': other}, depth=3)
  with pytest.raises(InputError, match="wrong: no chain could use any of its 1 alignment,.*'s query is not the struct"):
    build_cache(structures, tmp_path / 'c', alignments=wrong, processes=1)
  summary = build_cache(structures, tmp_path / 'c', alignments=[good, spare], processes=1)
  assert summary.notes == (f'{spare}: 0 of 1 alignment file used',) and summary.num_with_alignment == 3


def aligned(tmp_path, sequence: str, query: str, rows: list[str], name: str = 'x', **options):
  for folder in ('s', 'a'):
    (tmp_path / folder).mkdir(exist_ok=True)
  (tmp_path / 's' / 'x.pdb').write_text(small_cache.pdb_text(sequence))
  text = '\n'.join(f'>{i}\n{row}' for i, row in enumerate([query, *rows]))
  (tmp_path / 'a' / f'{name}.a3m').write_text(text + '\n')
  summary = build_cache(tmp_path / 's', tmp_path / 'c', alignments=tmp_path / 'a', processes=1, **options)
  cache = open_cache(tmp_path / 'c')
  return summary, cache.entries[0], cache[0]


def beside_a_good_one(tmp_path, sequence: str, query: str, rows: list[str], name: str = 'x'):
  """As `aligned`, with a second chain whose alignment is good; the entry and record of the first."""
  small_cache.write_structures(tmp_path / 's', {'y': SEQUENCES['one']})
  small_cache.write_alignments(tmp_path / 'a', {'y': SEQUENCES['one']}, depth=3)
  return aligned(tmp_path, sequence, query, rows, name)


def test_an_alignment_of_another_sequence_is_refused_and_the_chain_kept_without(tmp_path):
  own, other = SEQUENCES['three'], small_cache.random_sequence(np.random.default_rng(3), 40)
  summary, entry, record = beside_a_good_one(tmp_path, own, other, [other[::-1]])
  assert (entry.depth, entry.alignment, summary.num_with_alignment) == (1, '', 1)
  assert record.tokens.shape == (1, 40)
  assert "the alignment's query is not the structure's sequence" in reasons(summary)
  assert 'x.a3m' in (tmp_path / 'c' / 'skipped.csv').read_text()


def test_an_alignment_with_a_tag_is_cut_to_the_chain(tmp_path):
  own = SEQUENCES['three']
  row = own[:10] + 'W' + own[11:]
  _, entry, record = aligned(tmp_path, own, f'HHHHHH{own}GS', [f'------{row}--', f'HHHHHHaa{own[:-1]}-GS'])
  assert (entry.depth, entry.alignment) == (3, 'x.a3m')
  np.testing.assert_array_equal(record.tokens, np.stack([encode(own), encode(row), encode(own[:-1] + '-')]))
  assert record.deletions[2].sum() == 2  # the insertion stays, the tag does not count


def test_residues_that_only_the_query_has_become_insertions(tmp_path):
  own = SEQUENCES['three']
  full = own[:20] + 'GGG' + own[20:]
  gapped = own[:20] + '-G-' + own[20:-1] + '-'
  _, entry, record = aligned(tmp_path, own, full, [full[:-1] + '-', gapped[:-2] + '--'])
  assert entry.depth == 3
  assert record.deletions.sum(axis=1).tolist() == [0, 3, 1]
  assert np.flatnonzero(record.deletions[1]).tolist() == [20]


def test_unknown_residues_speak_neither_for_nor_against(tmp_path):
  own = SEQUENCES['three']
  _, entry, record = aligned(tmp_path, own, own[:5] + 'XXXX' + own[9:], [own[:-1] + '-'])
  assert entry.depth == 2
  np.testing.assert_array_equal(record.tokens[0], encode(own))  # the chain's own residues


def test_an_alignment_of_another_name_is_found_by_its_query(tmp_path):
  own = SEQUENCES['three']
  mutant = own[:20] + ('A' if own[20] != 'A' else 'G') + own[21:]
  _, entry, record = aligned(tmp_path, own, mutant, [own[:-1] + '-'], name='P12345')
  assert (entry.depth, entry.alignment) == (2, 'P12345.a3m')
  np.testing.assert_array_equal(record.tokens[0], encode(own))


def test_alignments_that_nothing_took_are_reported(tmp_path):
  other = small_cache.random_sequence(np.random.default_rng(3), 40)
  summary, entry, _ = beside_a_good_one(tmp_path, SEQUENCES['three'], other, [other[::-1]], name='stranger')
  assert summary.notes == (f'{tmp_path / "a"}: 1 of 2 alignment files used',)
  assert entry.depth == 1 and 'stranger.a3m: an alignment that no chain took' in reasons(summary)


def test_a_broken_alignment_is_reported(tmp_path):
  own = SEQUENCES['three']
  summary, entry, _ = beside_a_good_one(tmp_path, own, own, [own + 'AC'])
  assert entry.depth == 1 and "record '1' has 42 aligned columns" in reasons(summary)


def test_a_deep_alignment_keeps_its_query_order_and_whole_profile(tmp_path):
  own = SEQUENCES['three']
  rng = np.random.default_rng(5)
  rows = [
    ''.join(np.where(rng.random(40) < 0.5, list(own), list(small_cache.random_sequence(rng, 40)))) for _ in range(100)
  ]
  _, entry, record = aligned(tmp_path, own, own, rows, max_rows=20)
  assert (entry.depth, entry.depth_found) == (20, 101)
  everything = np.stack([encode(row) for row in [own, *rows]])
  places = [int(np.flatnonzero((everything == row).all(axis=1))[0]) for row in record.tokens]
  assert places[0] == 0 and places == sorted(places) and max(places) > 50
  np.testing.assert_allclose(record.profile, profile(everything), atol=1e-5)


def test_the_first_folder_of_alignments_is_preferred(tmp_path):
  for depth, name in ((3, 'good'), (9, 'deep')):
    small_cache.write_alignments(tmp_path / name, SEQUENCES, depth)
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  build_cache(structures, tmp_path / 'c', alignments=[tmp_path / 'good', tmp_path / 'deep'], processes=1)
  assert {entry.depth for entry in open_cache(tmp_path / 'c').entries} == {3}


# Predicted structures


def test_confidence_comes_from_the_b_factors_of_predicted_structures(tmp_path):
  sequence = SEQUENCES['one']
  plddt = np.round(np.random.default_rng(0).uniform(20, 100, len(sequence)), 2)
  (tmp_path / 'x.pdb').write_text(small_cache.pdb_text(sequence, b_factors=plddt))
  build_cache(tmp_path / 'x.pdb', tmp_path / 'cache', predicted=True, processes=1)
  cache = open_cache(tmp_path / 'cache')
  assert cache.entries[0].is_distillation == 1
  np.testing.assert_allclose(cache[0].confidence, plddt, atol=1e-4)


def test_b_factors_of_mmcif_files_are_those_of_the_ca_atoms():
  np.testing.assert_allclose(read_chain(TNF).b_factors[0], 39.1)  # the file's second atom


# Faults


def test_a_folder_without_a_usable_structure_is_refused(tmp_path):
  (tmp_path / 's').mkdir()
  with pytest.raises(InputError, match=r'no structure file \(.cif'):
    build_cache(tmp_path / 's', tmp_path / 'cache', processes=1)
  (tmp_path / 's' / 'a.pdb').write_text('nothing here\n')
  (tmp_path / 's' / 'b.cif').write_bytes(b'\x00\x01\x02')
  with pytest.raises(InputError, match='no usable structure in 2 files') as error:
    build_cache(tmp_path / 's', tmp_path / 'cache', processes=1)
  assert 'a.pdb' in str(error.value) and 'b.cif' in str(error.value)
  assert not (tmp_path / 'cache').exists() and not list(tmp_path.glob('.cache*'))


def test_files_cut_in_half_are_skipped_with_their_reason(tmp_path):
  folder = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  packed, text = TNF.read_bytes(), read_text(TNF)
  (folder / 'half.cif.gz').write_bytes(packed[: len(packed) // 2])
  (folder / 'cut.cif').write_text(text[: int(len(text) * 0.6) - 11])
  (folder / 'headless.cif').write_text(text[: text.index('_atom_site.')])
  summary = build_cache(folder, tmp_path / 'cache', processes=1)
  assert summary.num_chains == 3
  said = {Path(name).name: reason for name, reason in summary.skipped}
  assert 'gzip data break off' in said['half.cif.gz']
  assert 'truncated' in said['cut.cif'] or 'not a readable structure' in said['cut.cif']
  assert 'neither PDB nor mmCIF' in said['headless.cif']


def test_chains_that_are_useless_or_double_are_skipped_with_their_reason(tmp_path):
  folder = small_cache.write_structures(tmp_path / 's', {**SEQUENCES, 'tiny': 'ACDEF'})
  small_cache.write_structures(tmp_path / 't', {'one': SEQUENCES['one']})
  torn = small_cache.pdb_text(SEQUENCES['one']).splitlines()
  torn[5] = torn[5][:30] + f'{900:8.3f}' + torn[5][38:]  # one atom of residue 2
  (folder / 'torn.pdb').write_text('\n'.join(torn))
  summary = build_cache([folder, tmp_path / 't'], tmp_path / 'cache', processes=1)
  assert summary.num_chains == 3
  assert '5 residues with a CA atom; at least 10' in reasons(summary)
  assert 'chain one was taken from another file already' in reasons(summary)
  assert 'atoms of residue 2 are 9' in reasons(summary)


def test_an_existing_folder_is_not_overwritten(tmp_path):
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  (tmp_path / 'cache').mkdir()
  (tmp_path / 'cache' / 'thesis.txt').write_text('precious')
  with pytest.raises(InputError, match='exists already'):
    build_cache(structures, tmp_path / 'cache', processes=1)
  assert (tmp_path / 'cache' / 'thesis.txt').read_text() == 'precious'


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)

  class Full:
    def __init__(self, *_):
      pass

    def write(self, _):
      raise RuntimeError('write() failed: No space left on device')

    def close(self):
      raise RuntimeError('No space left on device')

  module = type('Module', (), {'ArrayRecordWriter': Full})
  monkeypatch.setattr(cache_building.cache, 'array_record', lambda: module)
  with pytest.raises(ResourceError, match='disk is full'):
    build_cache(structures, tmp_path / 'cache', processes=1)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['s']


_LIMITED = """
import resource, sys
from alphafold_jax.data.training.cache_building import build_cache
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
  build_cache(sys.argv[1], sys.argv[2], processes=1)
except Exception as error:
  print(type(error).__name__, error)
"""


def test_a_write_that_fails_midway_leaves_nothing(tmp_path):
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  command = [sys.executable, '-c', _LIMITED, str(structures), str(tmp_path / 'cache')]
  said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
  assert said.startswith('ResourceError') and 'ulimit -f' in said
  assert sorted(p.name for p in tmp_path.iterdir()) == ['s']


_BUILD = """
import sys, time
from alphafold_jax.data.training.cache_building import build_cache
def slowly(done, total):
  print(done, flush=True)
  time.sleep(60)
build_cache(sys.argv[1], sys.argv[2], processes=1, progress=slowly)
"""


def test_a_killed_build_leaves_no_cache_and_the_next_one_succeeds(tmp_path):
  structures = small_cache.write_structures(tmp_path / 's', SEQUENCES)
  command = [sys.executable, '-c', _BUILD, str(structures), str(tmp_path / 'cache')]
  with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
    assert process.stdout.readline() == b'1\n'
    with pytest.raises(InputError, match='another process is building'):
      build_cache(structures, tmp_path / 'cache', processes=1)
    process.send_signal(signal.SIGKILL)
  assert not (tmp_path / 'cache').exists()
  (tmp_path / '.cache.part' / 'stray').touch()  # in what it had begun
  with pytest.raises(InputError, match='no training cache here'):
    open_cache(tmp_path / 'cache')
  assert build_cache(structures, tmp_path / 'cache', processes=1).num_chains == 3
  assert len(open_cache(tmp_path / 'cache')) == 3
  assert sorted(p.name for p in tmp_path.iterdir()) == ['cache', 's']
  assert not (tmp_path / 'cache' / 'stray').exists()


@pytest.fixture
def built(tmp_path):
  return small_cache.make_cache(tmp_path, SEQUENCES, depth=5).path


def test_a_cache_of_another_version_or_program_is_refused(built):
  manifest = json.loads((built / 'cache.json').read_text())
  (built / 'cache.json').write_text(json.dumps({**manifest, 'version': 99}))
  with pytest.raises(InputError, match='version 99, this program reads 1; build the cache again'):
    open_cache(built)
  (built / 'cache.json').write_text(json.dumps({**manifest, 'format': 'else'}))
  with pytest.raises(InputError, match='not a training cache'):
    open_cache(built)
  (built / 'cache.json').write_text('{')
  with pytest.raises(InputError, match='damaged'):
    open_cache(built)


def test_a_truncated_cache_is_refused(built):
  records = built / 'records.array_record'
  os.truncate(records, records.stat().st_size // 2)
  with pytest.raises(InputError, match='copy the cache again'):
    open_cache(built)
  records.unlink()
  with pytest.raises(InputError, match='is missing'):
    open_cache(built)


def test_an_index_that_lost_lines_is_refused(built):
  lines = (built / 'index.csv').read_text().splitlines()
  (built / 'index.csv').write_text('\n'.join(lines[:-1]) + '\n')
  with pytest.raises(InputError, match='2 lines, the cache has 3 records'):
    open_cache(built)
  (built / 'index.csv').write_text('\n'.join([lines[0].replace('length', 'len'), *lines[1:]]) + '\n')
  with pytest.raises(InputError, match='damaged'):
    open_cache(built)


def test_a_damaged_record_is_noticed_and_the_others_stay_readable(built):
  small_cache.damage(built)
  cache = open_cache(built)
  readable = []
  for i in range(3):
    try:
      readable.append(cache[i].sequence == SEQUENCES[cache.entries[i].id])
    except InputError as error:
      assert 'cannot be read' in str(error) and cache.entries[i].id in str(error)
  assert readable == [True, True]


def test_gzipped_structures_are_found_in_folders_within_folders(tmp_path):
  folder = tmp_path / 's' / 'ab'
  folder.mkdir(parents=True)
  (folder / 'one.pdb.gz').write_bytes(gzip.compress(small_cache.pdb_text(SEQUENCES['one']).encode()))
  summary = build_cache(tmp_path / 's', tmp_path / 'cache', processes=1)
  assert summary.num_chains == 1 and open_cache(tmp_path / 'cache').entries[0].id == 'one'


def test_progress_is_reported(tmp_path):
  structures, reported = small_cache.write_structures(tmp_path / 's', SEQUENCES), []
  build_cache(structures, tmp_path / 'cache', processes=1, progress=lambda done, total: reported.append((done, total)))
  assert reported == [(1, 3), (2, 3), (3, 3)]
