# SPDX-License-Identifier: Apache-2.0
"""What a person may ask of a search, and what databases are (search/options.py, search/databases.py)."""

import os
import re

import pytest

from alphafold_jax import cli
from alphafold_jax.errors import InputError
from alphafold_jax.runs.options import search_flags
from alphafold_jax.search import databases
from alphafold_jax.search.databases import FASTA, HHSUITE, MMSEQS, Database, identity, parse
from alphafold_jax.search.options import SearchOptions
from alphafold_jax.search.standard_sets import find_set


@pytest.fixture
def folder(tmp_path):
  """A folder of databases as AlphaFold's scripts and `db build` leave them, empty inside."""
  for name in (
    'uniref90/uniref90.fasta',
    'mgnify/mgy_clusters_2022_05.fa',
    'uniprot/uniprot.fasta',
    'small_bfd/bfd-first_non_consensus_sequences.fasta',
    'pdb_seqres/pdb_seqres.txt',
    'mine.fasta.gz',
    'bfd/bfd_metaclust_a3m.ffindex',
    'pdb70/pdb70_a3m.ffindex',
    'readme.txt',
    'uniref30_2302_db.dbtype',
    'uniref30_2302_db_h.dbtype',
    'uniref30_2302_db_seq.dbtype',
    'uniref30_2302_db_seq_h.dbtype',
    'uniref30_2302_db',
    'colabfold_envdb_202108_db.dbtype',
    'colabfold_envdb_202108_db_h.dbtype',
    'colabfold_envdb_202108_db',
    'pdb_mmcif/mmcif_files/1abc.cif',
  ):
    path = tmp_path / 'data' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('>a\nMKV\n')
  (tmp_path / 'data' / 'bare').mkdir()
  return tmp_path / 'data'


@pytest.mark.parametrize(
  ('name', 'role', 'kind'),
  [
    ('uniref90/uniref90.fasta', 'uniref90', FASTA),
    ('mgnify/mgy_clusters_2022_05.fa', 'mgnify', FASTA),
    ('small_bfd/bfd-first_non_consensus_sequences.fasta', 'small_bfd', FASTA),
    ('mine.fasta.gz', 'custom', FASTA),
    ('bfd/bfd_metaclust', 'bfd', HHSUITE),
    ('pdb70/pdb70', 'pdb70', HHSUITE),
    ('uniref30_2302_db', 'uniref30', MMSEQS),
    ('colabfold_envdb_202108_db', 'env', MMSEQS),
    ('pdb_seqres/pdb_seqres.txt', 'pdb_seqres', FASTA),
  ],
)
def test_role_and_kind_are_told_by_name_and_files(folder, name, role, kind):
  assert parse(str(folder / name)) == Database(role, folder / name, kind)
  assert parse(f'custom={folder / name}') == Database('custom', folder / name, kind)


def test_every_database_in_a_folder_is_found_once(folder):
  found = {(one.role, one.path.name) for one in databases.found_in(folder)}
  assert found == {
    ('uniref90', 'uniref90.fasta'),
    ('mgnify', 'mgy_clusters_2022_05.fa'),
    ('uniprot', 'uniprot.fasta'),
    ('small_bfd', 'bfd-first_non_consensus_sequences.fasta'),
    ('pdb_seqres', 'pdb_seqres.txt'),
    ('custom', 'mine.fasta.gz'),
    ('bfd', 'bfd_metaclust'),
    ('pdb70', 'pdb70'),
    ('uniref30', 'uniref30_2302_db'),
    ('env', 'colabfold_envdb_202108_db'),
  }


def test_a_folder_stands_for_what_the_search_can_use(folder):
  options = SearchOptions('hmmer', databases=(folder,))
  assert [one.role for one in databases.in_order(options.parsed)] == ['uniref90', 'small_bfd', 'mgnify', 'uniprot']
  assert options.template_database is None
  options = SearchOptions('hmmer', databases=(folder,), templates=True)
  assert options.template_database.role == 'pdb_seqres'
  assert options.structures == folder / 'pdb_mmcif' / 'mmcif_files'
  options = SearchOptions('mmseqs2', databases=(folder,))
  assert [one.role for one in databases.in_order(options.parsed)] == ['uniref30', 'env']


def test_what_a_folder_holds_besides_is_known_and_can_be_named(folder):
  options = SearchOptions('hmmer', databases=(folder, f'Custom={folder}/mine.fasta.gz'))
  assert 'custom' in {one.role for one in options.parsed}
  assert [one.path.name for one in options.left_out] == [
    'bfd_metaclust', 'colabfold_envdb_202108_db', 'pdb70', 'pdb_seqres.txt', 'uniref30_2302_db'
  ]  # fmt: skip


def test_a_name_that_holds_an_equals_sign_is_a_name(tmp_path):
  (tmp_path / 'a=b.fasta').write_text('>a\nMKV\n')
  assert parse(str(tmp_path / 'a=b.fasta')).role == 'custom'


@pytest.mark.parametrize(
  ('settings', 'word'),
  [
    ({'mode': 'guess'}, 'choose one of'),
    ({'mode': 'hmmer'}, '--msa-mode hmmer needs a FASTA file'),
    ({'mode': 'mmseqs2'}, 'db build'),
    ({'mode': 'hmmer', 'databases': ('{}/nowhere.fasta',)}, 'no such file'),
    ({'mode': 'hmmer', 'databases': ('role={}/mine.fasta.gz',)}, "no role 'role'"),
    ({'mode': 'hmmer', 'databases': ('{}/uniref30_2302_db',)}, 'needs a FASTA file'),
    ({'mode': 'hmmer', 'databases': ('{}/mine.fasta.gz', '{}/uniref30_2302_db')}, 'cannot search'),
    ({'mode': 'hmmer', 'databases': ('{}/pdb_mmcif',)}, 'databases in it: none among 1 item'),
    ({'mode': 'hmmer', 'databases': ('{}/uniprot',)}, 'uniprot.fasta only pairs the chains of complexes'),
    ({'mode': 'mmseqs2', 'databases': ('{}/uniprot',)}, 'databases in it: uniprot.fasta (FASTA file, uniprot)'),
    (
      {'mode': 'hmmer', 'databases': ('{}/mine.fasta.gz', 'uniprot={}/uniprot/uniprot.fasta'), 'pair_mode': 'unpaired'},
      'which --pair-mode unpaired does not',
    ),
    ({'mode': 'server', 'pair_mode': 'both'}, 'choose one of unpaired_paired, paired, unpaired'),
    ({'mode': 'server', 'pair_strategy': 'lazy'}, 'choose one of greedy, complete'),
    ({'mode': 'single_sequence', 'pair_mode': 'paired'}, '--pair-mode: of use only with a search'),
    ({'mode': 'server', 'pair_mode': 'unpaired', 'pair_strategy': 'complete'}, '--pair-strategy: of use only with'),
    ({'mode': 'hmmer', 'databases': ('unirf90={}/mine.fasta.gz',)}, "did you mean 'uniref90'?"),
    ({'mode': 'hmmer', 'databases': ('uniprot={}/uniprot',)}, 'databases in it: uniprot.fasta'),
    ({'mode': 'hmmer', 'databases': ('{}', '{}/uniref90/uniref90.fasta')}, 'uniref90.fasta is given twice'),
    ({'mode': 'hmmer', 'databases': ('{}', 'uniprot={}/uniprot/uniprot.fasta')}, 'uniprot.fasta is given twice'),
    ({'mode': 'hmmer', 'databases': ('{}/mine.fasta.gz',), 'max_template_hits': 5}, '--max-template-hits: of use only'),
    (
      {'mode': 'hmmer', 'databases': ('{}',), 'templates': True, 'local_pdb_path': '{}/bare'},
      'there is no file in it; it holds the structures',
    ),
    ({'mode': 'hmmer', 'databases': ('{}/mine.fasta.gz', '{}/pdb_seqres/pdb_seqres.txt')}, 'only with --templates'),
    ({'mode': 'hmmer', 'databases': ('{}/mine.fasta.gz',), 'templates': True}, 'pdb_seqres=FILE.txt'),
    (
      {'mode': 'hmmer', 'databases': ('{}/mine.fasta.gz', '{}/pdb_seqres/pdb_seqres.txt'), 'templates': True},
      '--local-pdb-path',
    ),
    (
      {
        'mode': 'hmmer',
        'databases': ('{}/mine.fasta.gz', '{}/pdb_seqres/pdb_seqres.txt'),
        'templates': True,
        'local_pdb_path': '{}/none',
      },
      'no such folder',
    ),
    ({'mode': 'single_sequence', 'templates': True}, '--custom-template-path'),
    ({'mode': 'single_sequence', 'databases': ('{}/mine.fasta.gz',)}, 'cannot search'),
    ({'mode': 'server', 'databases': ('{}/mine.fasta.gz',)}, 'the server has its own'),
    ({'mode': 'server', 'offline': True}, '--offline forbids'),
    ({'mode': 'mmseqs2_uniref', 'offline': True}, '--offline forbids'),
    (
      {
        'mode': 'hmmer',
        'databases': ('{}/mine.fasta.gz', '{}/pdb_seqres/pdb_seqres.txt', '{}/pdb70/pdb70'),
        'templates': True,
        'local_pdb_path': '{}',
      },
      'templates are searched for in one',
    ),
    ({'mode': 'hmmer', 'databases': ('{}/mine.fasta.gz',), 'gpu': True}, '--gpu: of use only with --msa-mode mmseqs2'),
    ({'mode': 'hmmer', 'databases': ('{}/mine.fasta.gz',), 'host_url': 'https://x.org'}, '--host-url: of use only'),
    ({'mode': 'hmmer', 'databases': ('{}/mine.fasta.gz',), 'local_pdb_path': '{}'}, 'of use only with --templates'),
    ({'mode': 'server', 'templates': True, 'local_pdb_path': '{}'}, 'a server sends its own'),
    ({'mode': 'server', 'max_template_date': '2020-01-01'}, '--max-template-date: of use only'),
    ({'mode': 'server', 'num_threads': 0}, '1 or more'),
  ],
)
def test_what_cannot_be_done_is_refused_with_the_remedy(folder, settings, word):
  settings = {
    key: tuple(text.format(folder) for text in value)
    if key == 'databases'
    else value.format(folder)
    if key == 'local_pdb_path'
    else value
    for key, value in settings.items()
  }
  with pytest.raises(InputError, match=re.escape(word)):
    SearchOptions(**settings)


def test_offline_forbids_only_what_contacts_another_machine(folder):
  SearchOptions('hmmer', databases=(folder,), offline=True)
  SearchOptions('single_sequence', offline=True)


def test_secrets_are_not_among_the_options(monkeypatch):
  monkeypatch.setenv('ALPHAFOLD_JAX_HOST_PASSWORD', 'hush')
  monkeypatch.setenv('ALPHAFOLD_JAX_HOST_API_KEY', 'hush')
  assert 'hush' not in str(SearchOptions('server', host_user='me').as_json())


def pairs_of(tmp_path, **settings):
  """What is said of a complex of two chains."""
  options = SearchOptions(**settings, search_cache=tmp_path / 'searches')
  return dict(options.make().find_pairs([('MKV', 'AAA')], lambda *_: None))[0]


def test_without_uniprot_a_complex_goes_on_unpaired_and_the_note_says_what_to_name(folder, tmp_path):
  found = pairs_of(tmp_path, mode='hmmer', databases=(f'{folder}/mine.fasta.gz',))
  assert found.chains == ('>query\nMKV\n', '>query\nAAA\n')
  assert found.notes == (
    'found no pairs because no UniProt database was named (--database uniprot=FILE); goes on unpaired',
  )
  assert pairs_of(tmp_path, mode='hmmer', databases=(f'{folder}/mine.fasta.gz',), pair_mode='unpaired').notes == ()


def test_uniprot_pairs_chains_and_adds_no_row_to_an_alignment(folder, tmp_path):
  for path in (folder / 'mine.fasta.gz', folder / 'uniprot' / 'uniprot.fasta'):
    path.write_text('>tr|A0A0C5BVQ8|A0A0C5BVQ8_STAAU\nMKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEK\n')
  mine, uniprot = f'{folder}/mine.fasta.gz', f'{folder}/uniprot/uniprot.fasta'
  alone, both = (SearchOptions('hmmer', databases=given, search_cache=tmp_path) for given in ((mine,), (mine, uniprot)))
  assert alone.make().key('MKV') == both.make().key('MKV')
  assert alone.make().pair_key(['MKV', 'AAA']) != both.make().pair_key(['MKV', 'AAA'])
  found = pairs_of(tmp_path, mode='hmmer', databases=(mine, uniprot))
  assert found.by_species and found.num_rows == (1, 1)


def test_one_file_may_serve_for_alignments_and_for_pairs(folder):
  options = SearchOptions('hmmer', databases=(f'custom={folder}/mine.fasta.gz', f'uniprot={folder}/mine.fasta.gz'))
  assert [one.role for one in options.parsed] == ['custom', 'uniprot']


def test_the_servers_pairs_have_environmental_ones_by_their_own_mode(tmp_path):
  engines = {}
  for mode in ('server', 'mmseqs2_uniref', 'mmseqs2_uniref_env', 'mmseqs2_uniref_env_envpair'):
    options = SearchOptions(mode, search_cache=tmp_path, pair_strategy='complete')
    engines[mode] = options.make()._pairs.identity()['mode']
  assert engines.pop('mmseqs2_uniref_env_envpair') == 'paircomplete-env' and set(engines.values()) == {'paircomplete'}


def test_the_record_of_a_run_says_how_chains_are_paired_only_where_it_is_unusual():
  usual = search_flags(SearchOptions('server'))
  assert not [flag for flag in usual if 'pair' in flag]
  flags = search_flags(SearchOptions('server', pair_mode='paired', pair_strategy='complete'))
  assert flags == usual | {'--pair-mode': '--pair-mode paired', '--pair-strategy': '--pair-strategy complete'}


@pytest.mark.parametrize('how', ['content', 'longer', 'another role'])
def test_a_changed_database_is_another_one(tmp_path, how):
  path = tmp_path / 'x.fasta'
  path.write_text('>a\nMKV\n')
  before = identity(parse(str(path)))
  assert identity(parse(str(path))) == before
  path.write_text({'content': '>a\nMKI\n', 'longer': '>a\nMKV\n>b\nA\n'}.get(how, '>a\nMKV\n'))
  after = identity(parse(f'mgnify={path}' if how == 'another role' else str(path)))
  assert after != before


def test_a_database_is_the_same_under_another_name_and_time(tmp_path):
  for name in ('a.fasta', 'b.fasta'):
    (tmp_path / name).write_text('>a\nMKV\n')
  os.utime(tmp_path / 'b.fasta', (0, 0))
  assert identity(parse(str(tmp_path / 'a.fasta'))) == identity(parse(str(tmp_path / 'b.fasta')))


def test_a_database_is_made_of_its_own_files_and_an_index_makes_no_other_one_of_it(folder):
  before = identity(parse(str(folder / 'uniref30_2302_db')))
  names = {path.name for path in databases.files_of(parse(str(folder / 'uniref30_2302_db')))}
  assert names == {f'uniref30_2302_db{part}' for part in ('', '.dbtype', '_h.dbtype', '_seq.dbtype', '_seq_h.dbtype')}
  for name in ('uniref30_2302_db.idx', 'uniref30_2302_db.idx.3', 'uniref30_2302_db.fasta', 'uniref30_2302_db_new'):
    (folder / name).write_text('x')
  assert identity(parse(str(folder / 'uniref30_2302_db'))) == before
  (folder / 'uniref30_2302_db_seq.1').write_text('x')
  assert identity(parse(str(folder / 'uniref30_2302_db'))) != before


def test_a_large_database_that_changed_in_place_is_another_one(tmp_path):
  path = tmp_path / 'large.fasta'
  with open(path, 'wb') as file:
    file.truncate(200 << 20)
  before = identity(parse(str(path)))
  with open(path, 'r+b') as file:
    file.seek(100_000_001)
    file.write(b'x')
  os.utime(path, ns=(1, 1))
  assert identity(parse(str(path))) != before


@pytest.mark.parametrize(
  ('command', 'said'),
  [
    ('db list {}/nowhere', 'nowhere: no such folder of databases'),
    ('db list {}/mine.fasta.gz', 'mine.fasta.gz: no such folder of databases'),
    ('db download UniRef', "did you mean 'uniref90'?"),
    ('db download uniref90 --sha256 abc', 'a digest has 64 hexadecimal digits'),
    ('db download --force', '--force: which database? name it'),
    ('cache list --search-cache {}/nowhere', 'nowhere: no such folder'),
    ('cache clean --search-cache {}/nowhere', 'nowhere: no such folder'),
    ('cache clean --search-cache {} --older-than -3', 'give days, from 0 to'),
  ],
)
def test_what_a_command_names_and_nothing_matches_is_an_error(folder, command, said, capsys):
  assert cli.main(command.format(folder).split()) == 2
  assert said in capsys.readouterr().err
  assert not (folder / 'nowhere').exists()


def test_standard_sets_are_known_in_any_case():
  assert find_set('UniRef90') is find_set('uniref90')


def test_flags_of_a_search_without_a_mode_are_an_error(tmp_path, capsys):
  (tmp_path / 'p.a3m').write_text('>q\nMKV\n')
  for flag in ('--database', '--local-pdb-path'):
    assert cli.main(['predict', str(tmp_path / 'p.a3m'), str(tmp_path / 'out'), flag, str(tmp_path)]) == 2
    assert f'{flag}: of use only with --msa-mode' in capsys.readouterr().err
  assert cli.main(['predict', str(tmp_path / 'p.a3m'), str(tmp_path / 'out'), '--pair-mode', 'paired']) == 2
  assert '--pair-mode: of use only with --msa-mode' in capsys.readouterr().err
