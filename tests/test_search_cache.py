# SPDX-License-Identifier: Apache-2.0
"""Searches are made once, kept whole, and shared by processes (search/cache.py, search/finding.py)."""

import errno
import gzip
import json
import os
import signal
import time

import pytest
from small_searches import HIT, SETTINGS, Engine, find, found, process

from alphafold_jax import atomic, cli
from alphafold_jax.errors import ResourceError, SearchError
from alphafold_jax.search import cache as caches
from alphafold_jax.search.finding import alignment_text
from alphafold_jax.search.found import Found, Rows


@pytest.fixture
def cache(tmp_path):
  with_folder = caches.SearchCache(tmp_path / 'searches')
  yield with_folder
  with_folder.close()


def test_what_is_kept_comes_back_as_it_was(cache):
  key = caches.key_of('MKV', SETTINGS)
  assert cache.get(key) is None
  cache.put(key, 'MKV', 'fake', found('MKV'))
  assert cache.get(key) == found('MKV')


def test_a_sequence_is_searched_for_once(cache):
  engine = Engine()
  first = find(engine, cache, ['MKV', 'AAA'])
  assert first == {0: found('MKV'), 1: found('AAA')}
  assert find(engine, cache, ['AAA', 'GGG', 'MKV']) == {0: found('AAA'), 1: found('GGG'), 2: found('MKV')}
  assert engine.asked == [['MKV', 'AAA'], ['GGG']]


@pytest.mark.parametrize('other', [{'engine': 'two', 'database': 'abc'}, {'engine': 'one', 'database': 'changed'}])
def test_another_engine_or_database_is_another_search(cache, other):
  find(Engine(), cache, ['MKV'])
  engine = Engine(other)
  find(engine, cache, ['MKV'])
  assert engine.asked == [['MKV']]


def test_one_failure_is_not_kept_and_stops_nothing_else(cache):
  results = find(Engine(failing=['AAA']), cache, ['MKV', 'AAA', 'GGG'])
  assert isinstance(results.pop(1), SearchError) and results == {0: found('MKV'), 2: found('GGG')}
  engine = Engine()
  find(engine, cache, ['MKV', 'AAA', 'GGG'])
  assert engine.asked == [['AAA']]


def test_an_engine_that_forgets_a_sequence_is_found_out(cache):
  with pytest.raises(SearchError, match='no result for 1 of 2 sequences'):
    find(Engine(silent=['AAA']), cache, ['MKV', 'AAA'])


class Templates:
  """Finds one hit for every alignment."""

  name = 'fake templates'

  def __init__(self):
    self.asked = []

  def identity(self):
    return {'database': 'pdb'}

  def search(self, sequence, given, watch):
    self.asked.append((sequence, len(given.rows)))
    return Found((), (HIT,), ('of templates',))


def test_templates_are_searched_for_by_the_alignment_and_kept_apart(cache):
  engine, templates = Engine(), Templates()
  result = find(engine, cache, ['MKV'], templates)[0]
  assert result.rows == found('MKV').rows and result.hits == (HIT,) and result.notes == ('a note', 'of templates')
  assert find(engine, cache, ['MKV'], templates)[0] == result
  assert engine.asked == [['MKV']] and templates.asked == [('MKV', 1)]
  assert find(engine, cache, ['MKV'])[0] == found('MKV') and engine.asked == [['MKV']]


@pytest.mark.parametrize(
  'damage',
  [
    lambda content: content[: len(content) // 2],
    lambda content: b'',
    lambda content: b'no gzip',
    lambda content: gzip.compress(b'{}\n{}\n'),
    lambda content: gzip.compress(b'{"format": 1}\n[1, 2]\n'),
  ],
)
def test_a_damaged_entry_is_searched_for_again(cache, damage):
  find(Engine(), cache, ['MKV'])
  (path,) = cache.folder.glob('??/*')
  path.write_bytes(damage(path.read_bytes()))
  engine = Engine()
  assert find(engine, cache, ['MKV'])[0] == found('MKV') and engine.asked == [['MKV']]
  assert find(engine, cache, ['MKV'])[0] == found('MKV') and len(engine.asked) == 1


def test_a_full_disk_is_said_and_leaves_no_half_entry(cache, monkeypatch):
  def full(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(atomic.os, 'fsync', full)
  with pytest.raises(ResourceError, match='the disk is full'):
    find(Engine(), cache, ['MKV'])
  monkeypatch.undo()
  assert not [path for path in cache.folder.glob('??/*')]
  assert find(Engine(), cache, ['MKV'])[0] == found('MKV')


def test_two_processes_at_once_make_a_search_once(cache):
  first = process('sequences', cache, 1.5, 'MKV', 'AAA')
  assert first.stdout.readline() == 'searching MKV AAA\n'
  second = process('sequences', cache, 0, 'AAA', 'GGG')
  out, _ = second.communicate(timeout=60)
  assert out == 'searching GGG\nfound 2\n'
  assert first.communicate(timeout=60)[0] == 'found 2\n'


def test_the_search_of_a_killed_process_is_made_by_the_one_that_waits(cache):
  first = process('sequences', cache, 600, 'MKV')
  assert first.stdout.readline() == 'searching MKV\n'
  second = process('sequences', cache, 0, 'MKV')
  time.sleep(0.5)
  assert second.poll() is None  # it waits
  first.send_signal(signal.SIGKILL)
  out, _ = second.communicate(timeout=60)
  assert out == 'searching MKV\nfound 1\n'
  first.wait(timeout=60)
  assert not list(cache.folder.glob('??/.*'))


def test_the_cache_is_listed_and_cleaned_by_a_command(cache, capsys):
  find(Engine(), cache, ['MKV', 'AAAA'])
  (old,) = [entry for entry in cache.entries() if entry.num_res == 3]
  os.utime(old.path, (0, time.time() - 10 * 86400))
  assert cli.main(['cache', 'list', '--search-cache', str(cache.folder)]) == 0
  shown = capsys.readouterr().out.splitlines()
  assert '3 residues' in shown[1] and '2 rows' in shown[1] and '4 residues' in shown[2]
  assert shown[3].startswith('2 in all')
  assert cli.main(['cache', 'clean', '--older-than', '5', '--search-cache', str(cache.folder)]) == 0
  assert [entry.num_res for entry in cache.entries()] == [4]
  capsys.readouterr()
  assert cli.main(['cache', 'clean', '--older-than', '5', '--search-cache', str(cache.folder)]) == 0
  assert 'None removed: all that are kept (1) were used in the last 5 days' in capsys.readouterr().out
  assert cli.main(['cache', 'clean', '--search-cache', str(cache.folder)]) == 0
  assert not list(cache.entries())


def test_the_rows_of_all_databases_follow_the_query_in_order():
  rows = (
    Rows('uniref90', '>query\nMKV\n>a/1-3\nMKI\n>b\nM-I\n', 3),
    Rows('mgnify', '>query\nMKV\n', 1),
    Rows('bfd', '>query\nMKV\n>c\nMaKV', 2),
  )
  assert alignment_text('my  protein', 'MKV', Found(rows)) == '>my protein\nMKV\n>a/1-3\nMKI\n>b\nM-I\n>c\nMaKV\n'


def test_entries_name_no_place_and_no_sequence_of_others(cache):
  """What is kept can be carried to another machine: nothing in it depends on where it was made."""
  find(Engine(), cache, ['MKV'])
  (path,) = cache.folder.glob('??/*')
  heading, content = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())
  assert set(heading) == {'format', 'num_res', 'engine', 'num_rows'} and set(content) == {'rows', 'hits', 'notes'}
