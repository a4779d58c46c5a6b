# SPDX-License-Identifier: Apache-2.0
"""One output folder, one truth: commands of other settings do not write into a folder together (sharing)."""

import errno
import json
import logging
import os
import threading
import time
import types
import zipfile

import pytest
from small_runs import SEQUENCE, fasta
from test_queue import started

from alphafold_jax import cli, errors, runs, sharing
from alphafold_jax.runs.files import changes
from alphafold_jax.search.options import SearchOptions
from alphafold_jax.settings import Settings
from alphafold_jax.train import loop

RACE = """if True:
  import sys, time
  from pathlib import Path
  from alphafold_jax import sharing
  print('ready')
  for line in sys.stdin:
    folder = Path(line.strip())
    try:
      with sharing.using(folder, 'predict', sys.argv[1]):
        print('in')
        sys.stdin.readline()
    except sharing.InputError:
      print('refused')
      sys.stdin.readline()
"""


@pytest.mark.slow
def test_of_processes_that_start_together_with_other_settings_exactly_one_goes_on(tmp_path):
  racing = [started(settings, code=RACE) for settings in 'abc']
  assert [process.stdout.readline() for process in racing] == ['ready\n'] * 3
  for i in range(10):
    (tmp_path / str(i)).mkdir()
    for process in racing:
      process.stdin.write(f'{tmp_path / str(i)}\n')
    for process in racing:
      process.stdin.flush()
    assert sorted(process.stdout.readline() for process in racing) == ['in\n', 'refused\n', 'refused\n']
    for process in racing:
      process.stdin.write('\n')
      process.stdin.flush()
  for process in racing:
    process.communicate(timeout=60)


def test_of_threads_that_start_together_those_of_one_setting_go_on(tmp_path):
  for _ in range(5):  # in one folder, so that those who have left stand in its order too
    inside, together, leave = [], threading.Barrier(6), threading.Barrier(6)

    def race(settings, together=together, leave=leave, inside=inside):
      together.wait()
      try:
        with sharing.using(tmp_path, 'predict', settings):
          inside.append(settings)
          leave.wait()
      except errors.InputError:
        leave.wait()

    threads = [threading.Thread(target=race, args=(settings,)) for settings in 'ababab']
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    assert sorted(inside) in (['a'] * 3, ['b'] * 3)
  assert len(sharing.numbers(tmp_path / sharing.HIDDEN, '.run.')) <= 30


def test_who_is_refused_reads_by_whom_and_which_flags_differ(tmp_path):
  with sharing.using(tmp_path, 'predict', 's', {'--num-recycle': '--num-recycle 0', '--zip': '--zip', '--same': '1'}):
    with (
      pytest.raises(errors.InputError) as refused,
      sharing.using(tmp_path, 'predict', 't', {'--num-recycle': '--num-recycle 6', '--same': '1'}),
    ):
      pass
    with sharing.using(tmp_path, 'predict', 's'):
      pass
    with pytest.raises(errors.InputError, match=r'\(predict --num-recycle 0.*\): wait for it, or choose another'):
      with sharing.using(tmp_path, 'train'):
        pass
  who = f'{os.uname().nodename}, process {os.getpid()}'
  assert str(refused.value) == (
    f'{tmp_path} is in use by {who} (predict --num-recycle 0 --zip); this run has --num-recycle 6 without --zip: '
    'wait for it, use its settings, or choose another output folder'
  )
  with sharing.using(tmp_path, 'train'):
    pass


@pytest.mark.parametrize(
  ('machine', 'pid', 'age', 'state', 'blocks'),
  [
    ('here', 2**22 + 1, 0, 'running', False),  # killed
    ('here', 2**22 + 1, 0, 'asking', False),
    ('here', 'own', 100, 'running', True),
    ('elsewhere', 2**22 + 1, 100, 'running', True),
    ('elsewhere', 2**22 + 1, 130, 'running', False),
    ('elsewhere', 2**22 + 1, 130, 'asking', False),
    ('elsewhere', 1, 0, 'ended', False),
  ],
)
def test_a_run_blocks_others_while_it_lives(machine, pid, age, state, blocks, tmp_path):
  (tmp_path / sharing.HIDDEN).mkdir()
  path = tmp_path / sharing.HIDDEN / '.run.5'
  machine, pid = {'here': sharing.MACHINE}.get(machine, machine), {'own': os.getpid()}.get(pid, pid)
  content = {'host': 'h', 'machine': machine, 'pid': pid, 'program': 'predict', 'settings': 's', 'flags': {}}
  path.write_text(json.dumps(content | {'state': state}))
  os.utime(path, (time.time() - age,) * 2)
  try:
    with sharing.using(tmp_path, 'predict', 't'):
      assert not blocks
  except errors.InputError:
    assert blocks
  with sharing.using(tmp_path, 'predict', 's'):
    assert path.exists() == blocks and (tmp_path / sharing.HIDDEN / '.run.7').exists()


def test_a_run_that_is_known_to_live_here_blocks_others_whatever_the_clock(tmp_path):
  with sharing.using(tmp_path, 'predict', 's'):
    os.utime(tmp_path / sharing.HIDDEN / '.run.0', (1, 1))
    with pytest.raises(errors.InputError), sharing.using(tmp_path, 'predict', 't'):
      pass
    path = tmp_path / sharing.HIDDEN / '.run.0'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'born': '1'}))  # its number is another process's by now
    with sharing.using(tmp_path, 'predict', 't'):
      pass


def test_whoever_died_before_it_had_written_a_word_does_not_block(tmp_path, monkeypatch):
  monkeypatch.setattr(sharing, '_UNDECIDED', 0.1)
  (tmp_path / sharing.HIDDEN).mkdir()
  (tmp_path / sharing.HIDDEN / '.run.0').touch()
  with sharing.using(tmp_path, 'predict', 's'):
    pass


def test_a_run_renews_its_file(tmp_path, monkeypatch):
  monkeypatch.setattr(sharing, 'RENEWED_EVERY', 0.01)
  with sharing.using(tmp_path, 'predict', 's'):
    path = tmp_path / sharing.HIDDEN / '.run.0'
    os.utime(path, (1, 1))
    until = time.monotonic() + 60
    while path.stat().st_mtime < 2 and time.monotonic() < until:
      time.sleep(0.01)
    assert path.stat().st_mtime > 2


def test_flags_that_only_share_out_or_speed_up_work_are_not_among_those_that_count(tmp_path):
  database = tmp_path / 'd.fasta'
  database.write_text('>d\nMKT\n')
  search = SearchOptions('hmmer', (database,), num_threads=3, offline=True, search_cache=tmp_path)
  speed = {
    'shard': (1, 2),
    'workers': 3,
    'batch': 1,
    'ray': 'auto',
    'sort_queries_by': 'none',
    'compilation_cache': False,
  }
  plain = runs.Options().flags()
  assert runs.Options(**speed, settings=Settings(num_devices=2)).flags() == plain
  shaping = {
    'num_models': 2, 'model_order': (3, 4), 'num_seeds': 2, 'random_seed': 4, 'max_seq': 8, 'max_extra_seq': 9,
    'rank': 'ptm', 'stop_at_score': 80, 'jobname_prefix': 'n', 'save_all': True, 'zip': True, 'msa_only': True,
    'skip_output': frozenset({'plots', 'msa'}), 'params': 'random', 'model_type': 'alphafold2_ptm',
    'custom_template_path': 'x', 'config': {'evoformer.num_block': 1}, 'search': search,
    'settings': Settings(num_recycle=0, dtype='bfloat16', use_dropout=True),
  }  # fmt: skip
  found = runs.Options(**shaping).flags()
  new = {name: text for name, text in found.items() if plain.get(name) != text}
  assert new['--num-recycle'] == '--num-recycle 0' and new['--use-dropout'] == '--use-dropout'
  assert new['--model-order'] == '--model-order 3,4' and new['--skip-output'] == '--skip-output msa,plots'
  assert new['--config evoformer.num_block'] == '--config evoformer.num_block=1'
  assert new['--msa-mode'] == '--msa-mode hmmer' and new['--database'] == f'--database {database}'
  assert len(new) == len(shaping) - 3 + 1 + 3 + 4  # of the three that hold several


def test_alignments_of_two_searches_do_not_mix(tmp_path, capsys):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  command = ['msa', str(source), str(out), '--msa-mode', 'single_sequence']
  assert cli.main(command) == 0
  with sharing.using(out, 'msa', 'other', {'--msa-mode': '--msa-mode hmmer'}):
    assert cli.main(command) == 2
  assert '(msa --msa-mode hmmer' in capsys.readouterr().err
  for text, told in (('>p\nM\n', 1), ((out / 'p.a3m').read_text(), 1)):
    (out / 'p.a3m').write_text(text)
    assert cli.main(command) == 0
    assert (out / 'log.txt').read_text().count('p.a3m: another alignment was there') == told


def test_two_trainings_in_one_folder_would_mix_their_checkpoints(tmp_path, monkeypatch):
  monkeypatch.setattr(loop, 'Run', lambda options: types.SimpleNamespace(first_host=True))
  options = loop.TrainOptions(directory=tmp_path, config=None, data=())
  with sharing.using(tmp_path, 'train'):
    with pytest.raises(errors.InputError, match=r'is in use by .* \(train\): wait for it, or choose another'):
      loop.train(options)
  assert {path.name for path in tmp_path.iterdir()} == {sharing.HIDDEN}


# ------------------------------------------------------------------------------------------ the files of a protein


TAG, OTHER_TAG = 'alphafold2_ptm_model_1_seed_000', 'alphafold2_ptm_model_1_seed_1000'


class Killed(BaseException):
  """Instead of SIGKILL."""


def begun(out):
  """A protein whose old files, of two ranks, are about to be replaced; returns the change and what to tell it."""
  folder = changes.atomic.make_folder(out / '.results' / 'p')
  old = ['p_a.txt', f'p_rank_001_{TAG}.pdb', 'p.done.txt']
  for name in old:
    (out / name).write_text('old')
  journal = changes.Journal(folder / 'files.json')
  journal.keep(old[:2], 'before', made={TAG: 'key'}, flags={})
  change = changes.Change(out, folder, out / 'p.done.txt', journal)
  for name in ('new', changes.NEXT):
    (folder / name).mkdir()
  names = ['p_a.txt', f'p_rank_002_{TAG}.pdb']
  for name in names:
    (change.new / name).write_text('new')
  (folder / changes.NEXT / 'x.npz').write_text('new')
  return change, (names, [old[1]], 'now', {'made': {}, 'flags': {}}, 'new')


def state(out):
  hidden = {'.results/p/files.json', '.results/p/x.npz', '.results/p/next/x.npz'}
  files = {str(path.relative_to(out)): path.read_text() for path in out.rglob('*') if path.is_file()}
  return {name: text for name, text in files.items() if not name.startswith('.') or name in hidden}


def test_a_change_that_is_cut_off_anywhere_leaves_the_old_or_is_completed_by_the_next(tmp_path, monkeypatch):
  (tmp_path / 'whole').mkdir()
  change, told = begun(tmp_path / 'whole')
  change.make(*told)
  whole = state(tmp_path / 'whole')
  assert whole.pop('.results/p/files.json') and whole == {
    'p_a.txt': 'new', f'p_rank_002_{TAG}.pdb': 'new', 'p.done.txt': 'new', '.results/p/x.npz': 'new'}  # fmt: skip
  seen = []
  for last in range(100):
    out = tmp_path / str(last)
    out.mkdir()
    change, told = begun(out)
    before, left = state(out), [last]

    def cut(original, left=left):
      def call(*arguments, **options):
        if not left[0]:
          raise Killed
        left[0] -= 1
        return original(*arguments, **options)

      return call

    with monkeypatch.context() as patch:
      for name in ('replace', 'unlink', 'rmdir'):
        patch.setattr(os, name, cut(getattr(os, name)))
      try:
        change.make(*told)
        break
      except Killed:
        pass
    now = state(out)
    seen.append(now == before)
    if now != before and 'p.done.txt' in now:
      assert now['p.done.txt'] == 'new' and all(now[name] == text for name, text in whole.items())
    journal = changes.Journal(out / '.results' / 'p' / 'files.json')
    changes.Change(out, out / '.results' / 'p', out / 'p.done.txt', journal).complete()
    assert state(out) == before or all(state(out).get(name) == text for name, text in whole.items())
    assert state(out) == before or set(state(out)) - set(whole) == {'.results/p/files.json'}
  assert seen[0] and not seen[-1] and len(seen) > 8


def test_files_without_a_rank_are_found_by_their_names_and_in_archives(tmp_path):
  assert changes.unranked(f'a_rank_001_b_unrelaxed_rank_012_{TAG}.r0.pdb') == f'a_rank_001_b_unrelaxed_{TAG}.r0.pdb'
  for name in ('p_coverage.png', f'p_unrelaxed_{TAG}.pdb', 'x_rank_001_y.a3m'):
    assert changes.unranked(name) == name
  (tmp_path / 'p.cif').write_text('loose')
  with zipfile.ZipFile(tmp_path / 'p.result.zip', 'w') as archive:
    archive.writestr(f'p_rank_003_{OTHER_TAG}.pdb', 'packed')
  earlier = changes.Earlier(tmp_path, ['p.cif', 'p.result.zip', 'gone.pdb'], 'p.result.zip')
  assert earlier.names == ['p.cif', 'p.result.zip']
  for name, text in (('p.cif', 'loose'), (f'p_{OTHER_TAG}.pdb', 'packed'), ('gone.pdb', None)):
    assert earlier.take(name, tmp_path / 'taken') == (text is not None)
    assert text is None or (tmp_path / 'taken').read_text() == text
    (tmp_path / 'taken').unlink(missing_ok=True)


def test_what_cannot_be_written_is_told_once_of_a_kind_and_counted(caplog):
  unwritten = changes.Unwritten()
  for job, name in (('a', 'a_rank_001.pdb'), ('a', 'a_rank_002.pdb'), ('b', 'b_rank_001.pdb'), ('b', 'b.png')):
    unwritten.tell(job, name, '70 chains')
  shown = [record.message for record in caplog.records if not getattr(record, 'log_only', False)]
  assert shown == ['a_rank_001.pdb: not written: 70 chains', 'b.png: not written: 70 chains']
  unwritten.close()
  assert caplog.messages[-1] == 'not written in all: 3 .pdb files, of 2 proteins; see the log'


def test_files_of_chains_that_were_called_otherwise_are_not_said_to_be_of_other_parameters():
  before = {'input': 'i', 'flags': {}, 'chains': ['A', 'B']}
  assert changes.why(before, 'i', {}, ('H', 'L')) == 'with other names of chains (A, B)'
  assert changes.why(before, 'i', {}, ('A', 'B')) == 'with other parameters or templates'
  assert changes.why(before, 'j', {}, ('H', 'L')) == 'of another input, with other names of chains (A, B)'
  assert changes.why(before, 'j', {}, ('A', 'B')) == 'of another sequence, alignment or templates'


def test_removals_of_many_proteins_are_summed_up_on_the_screen(caplog):
  removals = changes.Removals()
  for i in range(7):
    removals.tell(f'p{i}', i, 'with --num-recycle 0')
  with caplog.at_level(logging.WARNING, 'alphafold_jax'):
    removals.close()
  told = [(record.getMessage(), getattr(record, 'log_only', False)) for record in caplog.records]
  assert told[0] == ('p1: removed 1 file of an earlier run with --num-recycle 0', False)
  assert told[5] == ('p6: removed 6 files of an earlier run with --num-recycle 0', True)
  assert told[6] == ('removed 21 files of earlier runs in all, of 6 proteins; see the log', False) and len(told) == 7


@pytest.mark.parametrize(
  ('before', 'said'),
  [
    ({'input': 'other', 'flags': {}}, 'of another sequence, alignment or templates'),
    ({'input': 'i'}, 'with other settings'),
    (
      {'input': 'i', 'flags': {'--num-recycle': '--num-recycle 0', '--random-seed': '--random-seed 7'}},
      'with --num-recycle 0 without --zip',
    ),
    ({'input': 'i', 'flags': {}}, 'without --zip'),
    ({'input': 'i', 'flags': {'--zip': '--zip', '--dtype': '--dtype float32'}}, 'with --dtype float32'),
    ({'input': 'i', 'flags': {'--zip': '--zip', '--random-seed': '--random-seed 7'}}, 'with --random-seed 7'),
    ({'input': 'i', 'flags': {'--zip': '--zip'}}, 'with other parameters or templates'),
  ],
)
def test_what_is_said_of_an_earlier_run_is_how_it_differed(before, said):
  assert changes.why(before, 'i', {'--zip': '--zip'}) == said


def test_flags_that_differ_are_told_as_each_command_has_them():
  one, other = {'--num-recycle': '--num-recycle 0', '--same': '--same 1'}, {'--zip': '--zip', '--same': '--same 1'}
  assert sharing.differences(one, other) == ('--num-recycle 0 without --zip', 'default --num-recycle --zip')
  assert sharing.differences(one, one) == ('', '')


def test_a_file_is_moved_where_the_hidden_folder_is_on_another_disk(tmp_path, monkeypatch):
  rename = os.replace

  def across(old, new):
    if os.path.basename(old) == 'a':
      raise OSError(errno.EXDEV, 'Invalid cross-device link')
    rename(old, new)

  monkeypatch.setattr(os, 'replace', across)
  (tmp_path / 'a').write_text('content')
  changes.move(tmp_path / 'a', tmp_path / 'b')
  assert (tmp_path / 'b').read_text() == 'content' and not (tmp_path / 'a').exists()


def test_a_run_that_another_user_hides_is_never_taken_for_gone(tmp_path, monkeypatch):
  with sharing.using(tmp_path, 'predict', 's'):
    pass
  (file,) = (tmp_path / sharing.HIDDEN).iterdir()

  def refuse(text):
    raise PermissionError(errno.EACCES, 'Permission denied')

  with monkeypatch.context() as patch:
    patch.setattr(sharing.untrusted, 'from_json', refuse)
    with pytest.raises(errors.InputError, match=r'\.run\.\d+: cannot be read \(Permission denied\); .* another user'):
      with sharing.using(tmp_path, 'predict', 't'):
        pass
  assert file.exists()
