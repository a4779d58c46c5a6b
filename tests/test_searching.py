# SPDX-License-Identifier: Apache-2.0
"""From a bare sequence to alignments, templates and structures (runs/work/searching.py, runs/alignments.py)."""

import itertools
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from small_runs import NETWORK, OTHER, SEQUENCE, fasta, load_json, names, predict

from alphafold_jax import atomic, cli, runs
from alphafold_jax.data import features
from alphafold_jax.errors import ResourceError, SearchError
from alphafold_jax.runs import alignments
from alphafold_jax.runs.work import searching
from alphafold_jax.search import options as search_options
from alphafold_jax.search.found import Found, FoundPairs, Rows
from alphafold_jax.search.options import SearchOptions

EXAMPLES = Path(__file__).parents[1] / 'examples'
DATABASE = EXAMPLES / 'database' / 'uniref_sample.fasta.gz'
QUERY = EXAMPLES / 'single_sequence' / '4zey_A.fasta'
SEARCH = ('--msa-mode', 'hmmer', '--database', f'uniref90={DATABASE}', '--num-threads', '2')
TEMPLATES = (
  '--templates',
  '--database',
  str(EXAMPLES / 'database' / 'pdb_seqres_sample.txt'),
  '--local-pdb-path',
  str(EXAMPLES / 'templates'),
)
ONE_MODEL = ('--params', 'random', *NETWORK, '--num-recycle', '0', '--num-models', '1')


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
  """Searches of one test are not found by another."""
  monkeypatch.setenv('ALPHAFOLD_JAX_SEARCHES', str(tmp_path_factory.mktemp('searches')))


class Fake:
  """An engine that finds one row for every sequence, and refuses those that it is told to."""

  name = 'fake'

  def __init__(self, refused=(), ends_after=None):
    self.refused, self.ends_after, self.asked = refused, ends_after, []

  def identity(self):
    return {'engine': 'fake'}

  def search(self, sequences, watch):
    self.asked.append(list(sequences))
    for index, sequence in enumerate(sequences):
      if index == self.ends_after:
        raise SearchError('the server has gone')
      watch(index / len(sequences), 'searching')
      text = f'>query\n{sequence}\n>row\n{sequence[:-1]}-\n'
      yield (
        index,
        (
          SearchError(f'{sequence[:5]} is refused') if sequence in self.refused else Found((Rows('uniref90', text, 2),))
        ),
      )


@pytest.fixture
def fake(monkeypatch):
  """Makes `--msa-mode server` a fake engine."""
  engine = Fake()
  monkeypatch.setitem(search_options._ENGINES, 'server', lambda options, cache: engine)
  return engine


FAKE = ('--msa-mode', 'server')


def test_one_command_leads_from_a_bare_sequence_to_structures_with_templates(tmp_path):
  out = tmp_path / 'out'
  assert predict(QUERY, out, *ONE_MODEL, *SEARCH, *TEMPLATES) == 0
  files = names(out)
  assert {'4zey_A.a3m', '4zey_A_coverage.png', '4zey_A.done.txt'} <= files
  assert any(name.endswith('.pdb') and 'rank_001' in name for name in files)
  record = load_json(out / '4zey_A.done.txt')
  assert record['num_rows'] > 200
  log = (out / 'log.txt').read_text()
  cited = (out / 'cite.bibtex').read_text()
  assert all(name in cited for name in ('Jumper2021', 'Eddy2011', 'Larralde2023')) and 'Mirdita' not in cited
  assert 'in uniref90' in log and 'identical, covers' in log and 'templates' in log
  before = log.count('searching for homologues')
  assert predict(QUERY, out, *ONE_MODEL, *SEARCH, *TEMPLATES) == 0  # nothing is searched for or computed again
  log = (out / 'log.txt').read_text()
  assert before == log.count('searching for homologues') == 1 and 'done already: 1 protein' in log


def test_features_are_the_same_in_one_step_in_two_and_from_files_carried_elsewhere(tmp_path):
  """`predict --msa-only`, `msa` and then `predict --msa-only`: the same arrays, so the same predictions."""
  assert predict(QUERY, tmp_path / 'one', '--msa-only', *SEARCH) == 0
  assert cli.main(['msa', str(QUERY), str(tmp_path / 'msa'), *SEARCH]) == 0
  assert predict(tmp_path / 'msa' / '4zey_A.a3m', tmp_path / 'two', '--msa-only') == 0
  batches = [features.load_features(tmp_path / folder / '4zey_A.features.npz')[0] for folder in ('one', 'two')]
  for name in ('tokens', 'deletions', 'profile', 'mask'):
    np.testing.assert_array_equal(*(getattr(batch.msa, name) for batch in batches))


def test_templates_found_by_a_search_are_part_of_the_features(tmp_path):
  assert predict(QUERY, tmp_path / 'with', '--msa-only', *SEARCH, *TEMPLATES) == 0
  assert predict(QUERY, tmp_path / 'without', '--msa-only', *SEARCH) == 0
  found = {name: features.load_features(tmp_path / name / '4zey_A.features.npz')[0] for name in ('with', 'without')}
  assert found['with'].templates.mask.sum() >= 1 and found['without'].templates.mask.sum() == 0
  np.testing.assert_array_equal(found['with'].msa.tokens, found['without'].msa.tokens)


def test_no_template_released_after_the_date_is_used(tmp_path):
  assert predict(QUERY, tmp_path / 'out', '--msa-only', *SEARCH, *TEMPLATES, '--max-template-date', '1980-01-01') == 0
  batch, _ = features.load_features(tmp_path / 'out' / '4zey_A.features.npz')
  assert batch.templates.mask.sum() == 0
  log = (tmp_path / 'out' / 'log.txt').read_text()
  assert 'template skipped' in log and 'no template is used' in log


def test_proteins_of_one_sequence_are_searched_for_once(tmp_path, fake):
  source = fasta(tmp_path / 'p.fasta', first=SEQUENCE, second=OTHER, third=SEQUENCE)
  assert cli.main(['msa', str(source), str(tmp_path / 'out'), *FAKE]) == 0
  assert fake.asked == [[SEQUENCE, OTHER]]
  assert (tmp_path / 'out' / 'third.a3m').read_text() == f'>third\n{SEQUENCE}\n>row\n{SEQUENCE[:-1]}-\n'


class FakePairs:
  """Searches for chains alone, and pairs the rows that it is told to."""

  name, strategy = 'fake', 'greedy'

  def __init__(self, rows=''):
    self.asked, self.rows = [], rows  # the rows of each chain, {} being its sequence but for the last residue

  def identity(self):
    return {'engine': 'fake pairs'}

  def parts(self, chains):
    return tuple(chains)

  def search(self, parts, watch):
    self.asked += parts
    for index, chain in enumerate(parts):
      yield index, Found((Rows('uniprot', f'>query\n{chain}\n', 1),))

  def pairs(self, chains, found):
    return FoundPairs(tuple(f'>query\n{chain}\n{self.rows.format(chain[:-1])}' for chain in chains))


@pytest.mark.slow
def test_all_pairs_of_eight_proteins_take_eight_searches_and_none_the_next_time(tmp_path, fake, monkeypatch):
  pairs = FakePairs()
  monkeypatch.setitem(search_options._PAIR_ENGINES, 'server', lambda options, cache: pairs)
  proteins = [SEQUENCE[:index] + 'W' + SEQUENCE[index:] for index in range(8)]
  both = list(itertools.combinations_with_replacement(range(8), 2))
  source = fasta(tmp_path / 'p.fasta', **{f'p{a}{b}': f'{proteins[a]}:{proteins[b]}' for a, b in both})
  assert len(both) == 36 and predict(source, tmp_path / 'out', '--msa-only', *FAKE) == 0
  assert sorted(itertools.chain.from_iterable(fake.asked)) == sorted(proteins) == sorted(pairs.asked)
  for out in ('out', 'another'):  # what is kept with the results, and what is kept in the cache
    assert predict(source, tmp_path / out, '--msa-only', *FAKE) == 0
    assert sum(map(len, fake.asked)) == len(pairs.asked) == 8
    assert sum(name.endswith('.features.npz') for name in names(tmp_path / out)) == 36


@pytest.mark.parametrize(('mode', 'num_rows'), [('server', 6), ('hmmer', 2)])
def test_a_complex_is_the_same_in_one_step_and_in_two(tmp_path, monkeypatch, mode, num_rows):
  monkeypatch.setitem(search_options._ENGINES, mode, lambda options, cache: Fake())
  monkeypatch.setitem(search_options._PAIR_ENGINES, mode, lambda options, cache: FakePairs('>row\n{}-\n'))
  flags = FAKE if mode == 'server' else SEARCH
  source = fasta(tmp_path / 'p.fasta', x=f'{SEQUENCE}:{OTHER}:{SEQUENCE}')
  assert cli.main(['msa', str(source), str(tmp_path / 'msa'), *flags]) == 0
  assert predict(source, tmp_path / 'one', '--msa-only', *flags) == 0
  assert predict(tmp_path / 'msa' / 'x.a3m', tmp_path / 'two', '--msa-only') == 0
  one, two = (features.load_features(tmp_path / name / 'x.features.npz')[0] for name in ('one', 'two'))
  np.testing.assert_array_equal(one.entity_id, np.repeat([1, 2, 1], 20))
  for name, array in (('entity_id', one.entity_id), ('sym_id', one.sym_id)):
    np.testing.assert_array_equal(array, getattr(two, name))
  np.testing.assert_array_equal(one.msa.tokens, two.msa.tokens)
  assert len(one.msa.tokens) == num_rows  # AlphaFold leaves out unpaired rows that a paired one repeats


def test_a_protein_whose_search_fails_is_on_record_and_the_others_go_on(tmp_path, fake):
  fake.refused = [OTHER]
  source = fasta(tmp_path / 'p.fasta', good=SEQUENCE, bad=OTHER)
  assert predict(source, tmp_path / 'out', '--msa-only', *FAKE) == 1
  (failure,) = load_json(tmp_path / 'out' / 'failures.json')
  assert (failure['job'], failure['stage'], failure['error']) == ('bad', 'search', 'SearchError')
  assert (tmp_path / 'out' / 'good.features.npz').is_file()


def test_what_was_found_before_a_search_ended_is_used_and_kept(tmp_path, fake):
  fake.ends_after = 1
  source = fasta(tmp_path / 'p.fasta', first=SEQUENCE, second=OTHER)
  assert cli.main(['msa', str(source), str(tmp_path / 'out'), *FAKE]) == 1
  assert (tmp_path / 'out' / 'first.a3m').is_file() and not (tmp_path / 'out' / 'second.a3m').exists()
  fake.ends_after = None
  assert cli.main(['msa', str(source), str(tmp_path / 'out'), *FAKE]) == 0
  assert fake.asked == [[SEQUENCE, OTHER], [OTHER]]


@pytest.mark.parametrize('command', ['msa', 'predict'])
def test_a_full_disk_fails_the_protein_and_loses_no_search(tmp_path, fake, monkeypatch, capsys, command):
  source = fasta(tmp_path / 'p.fasta', first=SEQUENCE)
  more = () if command == 'msa' else ('--msa-only',)

  def full(path, *_):
    raise ResourceError(f'{path}: the disk is full')

  with monkeypatch.context() as patch:
    patch.setattr(*{'msa': (alignments, '_write'), 'predict': (searching.Searches, '_keep')}[command], full)
    assert cli.main([command, str(source), str(tmp_path / 'out'), *FAKE, *more]) == 1
  assert 'the disk is full' in capsys.readouterr().out
  assert cli.main([command, str(source), str(tmp_path / 'out'), *FAKE, *more]) == 0
  assert len(fake.asked) == 1


def test_a_results_folder_needs_no_cache_to_go_on(tmp_path, fake, monkeypatch):
  source = fasta(tmp_path / 'p.fasta', first=SEQUENCE)
  assert predict(source, tmp_path / 'out', '--msa-only', *FAKE) == 0
  monkeypatch.setenv('ALPHAFOLD_JAX_SEARCHES', str(tmp_path / 'empty'))
  assert predict(source, tmp_path / 'out', '--msa-only', *FAKE) == 0
  assert len(fake.asked) == 1


def test_ten_thousand_sequences_in_one_file(fake, monkeypatch):
  monkeypatch.setattr(atomic.os, 'fsync', lambda file: None)  # with twenty thousand files that takes minutes
  letters = 'ACDEFGHIKLMNPQRSTVWY'
  sequences = {
    f'p{i}': f'{SEQUENCE}{letters[i // 400 % 20]}{letters[i // 20 % 20]}{letters[i % 20]}{"AC"[i // 8000]}'
    for i in range(10_000)
  }
  in_memory = Path('/dev/shm')
  with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as folder:
    monkeypatch.setenv('ALPHAFOLD_JAX_SEARCHES', f'{folder}/searches')
    source = fasta(Path(folder) / 'many.fasta', **sequences)
    summary = alignments.run(source, f'{folder}/out', SearchOptions('server'))
    assert len(summary.written) == 10_000 and not summary.failures
    assert Path(folder, 'out', 'p9999.a3m').read_text().startswith(f'>p9999\n{sequences["p9999"]}\n')
    alignments.run(source, f'{folder}/out', SearchOptions('server'))
  assert len(fake.asked) == 1 and len(fake.asked[0]) == 10_000


def test_a_missing_engine_is_named_with_the_remedy(tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, 'pyhmmer.plan7', None)  # as if it were not installed
  assert cli.main(['msa', str(QUERY), str(tmp_path / 'out'), *SEARCH]) == 2
  assert "pip install '.[search]'" in capsys.readouterr().err


def test_an_engine_is_not_asked_for_proteins_that_have_an_alignment(tmp_path, fake):
  (tmp_path / 'in').mkdir()
  (tmp_path / 'in' / 'given.a3m').write_text(f'>q\n{SEQUENCE}\n')
  fasta(tmp_path / 'in' / 'p.fasta', bare=OTHER)
  assert predict(tmp_path / 'in', tmp_path / 'out', '--msa-only', *FAKE) == 0
  assert fake.asked == [[OTHER]]
  assert not searching.is_bare(runs.work.inputs.find(tmp_path / 'in' / 'given.a3m', takes_bare=False).jobs[0])


def test_a_database_that_changed_is_searched_again(tmp_path):
  database = fasta(tmp_path / 'mine.fasta', first=SEQUENCE, other=OTHER)
  source = fasta(tmp_path / 'p.fasta', query=SEQUENCE)
  flags = ('--msa-mode', 'hmmer', '--database', str(database), '--num-threads', '1')
  for expected in (2, 2, 3):
    assert cli.main(['msa', str(source), str(tmp_path / 'out'), *flags]) == 0
    assert (tmp_path / 'out' / 'query.a3m').read_text().count('>') == expected
    if expected == 2 and (tmp_path / 'once').exists():
      fasta(database, first=SEQUENCE, other=OTHER, second=SEQUENCE)
    (tmp_path / 'once').touch()


def test_the_templates_of_a_map_are_placed_as_it_says(tmp_path, capsys):
  (tmp_path / 'map.json').write_text(json.dumps([{'structure': str(EXAMPLES / 'templates' / '2crb_A.cif.gz')}]))
  flags = ('--msa-only', '--msa-mode', 'single_sequence', '--template-map', str(tmp_path / 'map.json'))
  assert predict(QUERY, tmp_path / 'out', *flags) == 0
  batch, _ = features.load_features(tmp_path / 'out' / '4zey_A.features.npz')
  assert batch.templates.mask.tolist() == [1, 0, 0, 0] and batch.templates.atom_mask[0].sum() > 400
  assert predict(QUERY, tmp_path / 'out', *flags, '--custom-template-path', str(EXAMPLES / 'templates')) == 2
  assert 'templates come from one place' in capsys.readouterr().err


def test_doctor_lists_engines_and_databases_with_their_sizes(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('ALPHAFOLD_JAX_DATABASES', str(tmp_path))
  cli.main(['doctor'])
  assert f'none in {tmp_path}' in ' '.join(capsys.readouterr().out.split())
  (tmp_path / 'uniref90.fasta.gz').write_bytes(DATABASE.read_bytes())
  monkeypatch.setenv('ALPHAFOLD_JAX_HHSEARCH', str(tmp_path / 'nothing'))
  cli.main(['doctor'])
  told = ' '.join(capsys.readouterr().out.split())  # without line breaks
  assert 'pyhmmer 0.' in told and 'mmseqs ' in told and 'kalign-python' in told
  assert 'uniref90: ' in told and 'KiB)' in told and 'ALPHAFOLD_JAX_HHSEARCH' in told
  assert cli.main(['db', 'list', str(tmp_path)]) == 0
  assert 'uniref90.fasta.gz' in capsys.readouterr().out


def test_offline_nothing_is_sent(tmp_path, fake, capsys):
  source = fasta(tmp_path / 'p.fasta', first=SEQUENCE)
  assert cli.main(['msa', str(source), str(tmp_path / 'out'), *FAKE, '--offline']) == 2
  assert '--offline forbids' in capsys.readouterr().err and not fake.asked


def test_config_json_tells_how_it_was_searched(tmp_path):
  assert predict(QUERY, tmp_path / 'out', '--msa-only', *SEARCH) == 0
  search = json.loads((tmp_path / 'out' / 'config.json').read_text())['options']['search']
  assert search['mode'] == 'hmmer' and search['databases'] == [f'uniref90={DATABASE}']
