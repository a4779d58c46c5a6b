# SPDX-License-Identifier: Apache-2.0
"""Hostile surroundings: homes, names, files, disks, streams and processes as they should not be."""

import contextlib
import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alphafold_jax import atomic, doctor, folders, installed, machine, screen
from alphafold_jax.cli import main
from alphafold_jax.data import records
from alphafold_jax.data.queries import FailedQuery, Query, scan_queries
from alphafold_jax.errors import InputError, ResourceError, SearchError, WeightsError
from alphafold_jax.search.cache import SearchCache
from alphafold_jax.search.found import Found
from alphafold_jax.weights import shipped, store

FASTA = '>good\nMKTAYIAKQR\n'
LATIN1 = os.fsdecode(b'prot\xe9')  # a name of the years before UTF-8


@contextlib.contextmanager
def as_nobody():
  """Runs the block as a user who may not enter the folders of others; whoever is not root is one already."""
  before = os.geteuid()
  if before == 0:
    os.seteuid(65534)
  try:
    yield
  finally:
    os.seteuid(before)


@pytest.fixture
def locked(tmp_path):
  """A folder that may not be entered."""
  folder = tmp_path / 'locked'
  folder.mkdir()
  (folder / 'params_model_1.npz').touch()
  folder.chmod(0)
  yield folder
  folder.chmod(0o700)


@pytest.fixture
def no_variables(monkeypatch):
  for name in ('XDG_CACHE_HOME', *folders.VARIABLES.values()):
    monkeypatch.delenv(name, raising=False)


# ------------------------------------------------------------------------------------------ homes


@pytest.mark.parametrize('given', [None, '', 'relative/home'])
def test_without_an_absolute_home_in_the_environment_the_systems_list_counts(given, monkeypatch, no_variables):
  monkeypatch.delenv('HOME') if given is None else monkeypatch.setenv('HOME', given)
  monkeypatch.setattr(folders, '_listed_home', lambda: '/home/listed')
  assert folders.home() == Path('/home/listed')
  monkeypatch.setattr(folders, '_listed_home', lambda: '')
  assert folders.user_cache('params') == Path('/nonexistent/.cache/alphafold_jax/params')
  assert folders.expanded('~/x') == Path('/nonexistent/x')


def test_a_user_whom_the_system_does_not_list_has_no_home(monkeypatch):
  monkeypatch.setattr(os, 'getuid', lambda: 543_210)
  assert folders._listed_home() == ''


def test_the_home_of_an_unknown_user_is_refused_by_name(tmp_path, monkeypatch):
  with pytest.raises(InputError, match=r"~nobody-here/x: there is no user 'nobody-here'"):
    folders.expanded('~nobody-here/x')
  monkeypatch.setenv('ALPHAFOLD_JAX_SEARCHES', '~nobody-here/x')
  with pytest.raises(InputError, match='ALPHAFOLD_JAX_SEARCHES: ~nobody-here'):
    folders.user_cache('searches')
  monkeypatch.chdir(tmp_path)
  (tmp_path / '~mine').touch()  # as editors name their copies
  assert folders.expanded('~mine') == Path('~mine')


def test_no_parameters_are_seen_in_a_home_that_is_locked_a_file_or_a_broken_link(
  tmp_path, locked, monkeypatch, no_variables
):
  (tmp_path / 'file').touch()
  (tmp_path / 'link').symlink_to('nowhere')
  for home, why in (
    (locked, 'permission denied'),
    (tmp_path / 'file', 'not a directory'),
    (tmp_path / 'link', 'no such'),
  ):
    monkeypatch.setenv('HOME', str(home))
    with as_nobody() if home == locked else contextlib.nullcontext():
      assert not store.has_any(['model_1_ptm']) and why in store.default_place()
      assert {row.status for row in store.list_params()} == {'missing'}
      assert any(mark == '!!' and 'ALPHAFOLD_JAX_PARAMS' in text for mark, _, text in doctor._home(None))


def test_a_folder_of_parameters_that_was_named_and_is_locked_is_an_error(locked, monkeypatch):
  monkeypatch.setattr(shipped, 'exists', lambda: True)  # which reads the package, perhaps in a home that is locked too
  with as_nobody():
    with pytest.raises(WeightsError, match='permission denied'):
      store.find_params('model_1', locked)
    with pytest.raises(WeightsError, match=r'cannot be read \(Permission denied\)\. Make it readable'):
      store.list_params(locked)


# ------------------------------------------------------------------------------------------ files that are none


def test_what_cannot_be_read_among_good_files_is_a_failed_protein(tmp_path, locked):
  (tmp_path / 'good.fasta').write_text(FASTA)
  (tmp_path / 'broken.fasta').symlink_to('nowhere')
  (tmp_path / 'circle.fasta').symlink_to('circle.fasta')
  (tmp_path / 'zero.a3m').symlink_to('/dev/zero')
  os.mkfifo(tmp_path / 'pipe.fasta')  # nobody writes: reading would wait for ever
  found = {item.name: item for item in scan_queries(tmp_path)}
  assert [name for name, item in found.items() if isinstance(item, Query)] == ['good']
  said = {name: item.message for name, item in found.items() if isinstance(item, FailedQuery)}
  assert set(said) == {'broken', 'circle', 'zero', 'pipe'}
  assert 'is a link to nowhere, which leads nowhere' in said['broken'] and 'symbolic links' in said['circle']
  assert 'is a pipe' in said['pipe'] and 'device, not a file' in said['zero']
  with as_nobody(), pytest.raises(InputError, match='Permission denied'):
    records.read_text(locked / 'params_model_1.npz')


def test_a_pipe_that_the_shell_has_opened_is_read():
  end, start = os.pipe()
  os.write(start, b'id\n')
  os.close(start)
  assert records.read_text(f'/dev/fd/{end}') == 'id\n'
  os.close(end)


def test_a_broken_link_in_place_of_a_folder_is_refused(tmp_path):
  (tmp_path / 'out').symlink_to('nowhere')
  with pytest.raises(InputError, match='a broken link is where a folder is needed'):
    atomic.make_folder(tmp_path / 'out')


# ------------------------------------------------------------------------------------------ names


def test_a_name_that_is_not_utf8_is_written_with_its_odd_bytes_spelled_out(tmp_path):
  atomic.write_text(tmp_path / LATIN1, f'{LATIN1} is 3 Å long')
  assert (tmp_path / LATIN1).read_text(encoding='utf-8') == 'prot\\udce9 is 3 Å long'
  (tmp_path / LATIN1).rename(tmp_path / f'{LATIN1}.a3m')
  (tmp_path / f'{LATIN1}.a3m').write_text(FASTA)
  (query,) = scan_queries(tmp_path).queries
  assert (query.name, query.job) == ('prot\\udce9', 'prot_udce9')


def test_a_path_for_libraries_in_c_must_be_utf8():
  atomic.check_name('/data/Köln')
  with pytest.raises(InputError, match='not UTF-8.*choose a name that is'):
    atomic.check_name(LATIN1)


# ------------------------------------------------------------------------------------------ disks and file servers


def failing(number, times):
  """A function that the system refuses a few times, and then does nothing."""
  calls = iter(range(times))

  def call(*arguments, **named):
    if next(calls, None) is not None:
      raise OSError(number, os.strerror(number))

  return call


@pytest.mark.parametrize(('times', 'reads'), [(1, True), (2, False)])
def test_a_stale_file_handle_is_asked_for_anew_once(times, reads, tmp_path, monkeypatch):
  (tmp_path / 'a').write_text('text')
  refuse, read = failing(errno.ESTALE, times), Path.read_bytes
  monkeypatch.setattr(Path, 'read_bytes', lambda self: refuse() or read(self))
  with contextlib.nullcontext() if reads else pytest.raises(InputError, match='a: cannot be read .*[Ss]tale'):
    assert records.read_text(tmp_path / 'a') == 'text'


def test_a_file_stays_as_it_was_where_the_disk_fails(tmp_path, monkeypatch):
  atomic.write_text(tmp_path / 'a', 'before')
  for number, words in ((errno.EIO, 'the disk or its server failed'), (errno.ESTALE, 'file server')):
    monkeypatch.setattr(os, 'fsync', failing(number, 1))
    with pytest.raises(ResourceError, match=words):
      atomic.write_text(tmp_path / 'a', 'after')
    assert (tmp_path / 'a').read_text() == 'before' and os.listdir(tmp_path) == ['a']


def test_file_systems_that_cannot_sync_or_change_modes_are_written_to(tmp_path, monkeypatch):
  monkeypatch.setattr(os, 'fsync', failing(errno.EINVAL, 1))
  monkeypatch.setattr(os, 'chmod', failing(errno.EPERM, 1))
  atomic.write_text(tmp_path / 'a', 'text')
  assert (tmp_path / 'a').read_text() == 'text'


def test_too_many_open_files_and_too_large_ones_are_named_with_the_remedy():
  for number, words in ((errno.EMFILE, 'ulimit -n'), (errno.EFBIG, 'ulimit -f'), (errno.ENOSPC, 'the disk is full')):
    error = OSError(number, os.strerror(number), 'out/a')
    assert words in str(atomic.explained('out/a', error)) and words in atomic.of_system(error)
    assert atomic.of_system(error).startswith('out/a: ')


def test_a_search_that_cannot_be_read_just_now_is_kept(tmp_path, monkeypatch):
  cache = SearchCache(tmp_path)
  cache.put('ab' * 32, 'MKT', 'engine', Found(()))
  with monkeypatch.context() as patched:
    patched.setattr('gzip.open', failing(errno.EIO, 1))
    assert cache.get('ab' * 32) is None
  assert cache.get('ab' * 32) == Found(())
  cache.close()


# ------------------------------------------------------------------------------------------ the machine


def test_processors_are_counted_where_the_system_does_not_say_which_are_ours(monkeypatch):
  monkeypatch.delattr(os, 'sched_getaffinity')
  monkeypatch.setattr(os, 'process_cpu_count', lambda: None, raising=False)
  monkeypatch.setattr(os, 'cpu_count', lambda: 12)
  for text, expected in (('max 100000', 12), ('250000 100000', 3), ('9900000 100000', 12), ('nonsense', 12)):
    monkeypatch.setattr(machine, '_text', lambda path, text=text: text)
    assert machine.processors() == [] and machine.num_processors() == expected


def test_a_package_that_is_broken_is_refused_with_the_reason(tmp_path, monkeypatch):
  (tmp_path / 'broken_package.py').write_text("raise AttributeError('no such thing in this numpy')")
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(SearchError, match='broken_package is installed, but cannot be loaded .*no such thing'):
    installed.module('broken_package')


def test_a_program_that_does_not_end_is_given_up(tmp_path, monkeypatch):
  monkeypatch.setattr(installed, '_PATIENCE', 0.1)
  (tmp_path / 'hangs').write_text('#!/bin/sh\nexec sleep 60\n')
  (tmp_path / 'hangs').chmod(0o755)
  start = time.monotonic()
  with pytest.raises(SearchError, match='hangs: cannot be run .*timed out'):
    installed.words_of(tmp_path / 'hangs')
  assert time.monotonic() - start < 10


def test_doctor_goes_on_after_a_part_that_fails(monkeypatch, capsys):
  def fails(data):
    yield 'ok', 'first', 'is fine'
    raise ZeroDivisionError('whatever')

  monkeypatch.setattr(doctor, 'PARTS', {'one': fails, 'two': lambda data: iter([('ok', 'last', 'is examined')])})
  assert doctor.examine() == 0
  shown = ' '.join(capsys.readouterr().out.split())
  assert 'is fine [!!] one cannot be examined (ZeroDivisionError: whatever)' in shown and 'is examined' in shown


# ------------------------------------------------------------------------------------------ streams


def test_output_that_is_lost_is_not_success(monkeypatch, capfd):
  monkeypatch.setattr(sys, 'stdout', open('/dev/full', 'w'))
  assert main(['--version']) == 1
  assert 'standard output cannot be written (No space left on device)' in capfd.readouterr().err


def test_closed_streams_are_opened_on_nothing(monkeypatch):
  for name in ('stdin', 'stdout', 'stderr'):
    monkeypatch.setattr(sys, name, None)
  screen.open_streams()
  print('heard by nobody')
  assert sys.stdin.read() == '' and not sys.stdout.isatty()
  for name in ('stdin', 'stdout', 'stderr'):
    getattr(sys, name).close()


def test_a_refusal_that_nothing_else_explains_is_a_message(monkeypatch, capsys):
  refuse = failing(errno.EMFILE, 1)
  monkeypatch.setattr(store, 'list_params', lambda *_: refuse())
  assert main(['params', 'list']) == 1
  assert 'too many files open (ulimit -n)' in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ forks

FORKING = """
import os, sys
import alphafold_jax as afj
import jax
from alphafold_jax import devices

def in_child(work):
  end, start = os.pipe()
  if os.fork() == 0:
    try:
      work()
      said = 'done'
    except Exception as error:
      said = f'{type(error).__name__}: {error}'
    os.write(start, said.encode())
    os._exit(0)
  os.close(start)
  print(os.read(end, 1000).decode())
  os.wait()

mean = lambda: float(jax.numpy.arange(3.0).mean())
in_child(lambda: (mean(), devices.start()))  # JAX is loaded, but has not begun
mean()  # now it has, without any help of ours
in_child(lambda: afj.load_model('mini'))
in_child(lambda: afj.make_batch('MKTAYIAKQR'))
"""


@pytest.mark.filterwarnings('ignore')
def test_a_process_forked_after_jax_began_is_told_so_at_once_and_others_are_not():
  run = subprocess.run([sys.executable, '-c', FORKING], capture_output=True, text=True, timeout=120, check=True)
  before, after, without_jax = run.stdout.splitlines()
  assert before == 'done' and without_jax == 'done'
  assert after.startswith('ResourceError: this process was forked after JAX started') and "'spawn'" in after


# ------------------------------------------------------------------------------------------ the doors

DOORS = {  # what only one file may ask of the system
  r'expanduser|Path\.home|getpwuid': 'folders.py',
  r'sched_getaffinity|cpu_count|/proc/(meminfo|cpuinfo)|/sys/fs': 'machine.py',
  r'\bfcntl\b': 'locks.py',
  r'register_at_fork|backends_are_initialized': 'machine.py',
}
TEXT_CALL = re.compile(r"\bopen\([^()]*, '[rwax]t?'|\.read_text\(\)|\.write_text\([^,()]*\)$|text=True(?!.*errors=)")


def test_each_hazard_has_one_door_and_no_text_depends_on_the_locale():
  package = Path(machine.__file__).parent
  for path in package.rglob('*.py'):
    text = path.read_text(encoding='utf-8')
    for asked, door in DOORS.items():
      assert path.name == door or not re.search(asked, text), f'{path}: {asked} is asked for in {door} alone'
    lines = [line.strip() for line in text.splitlines() if TEXT_CALL.search(line) and 'encoding=' not in line]
    assert not [line for line in lines if 'atomic.' not in line and '/proc/' not in line], path
