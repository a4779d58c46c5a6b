# SPDX-License-Identifier: Apache-2.0
"""One output folder, one truth: commands of other settings do not write into a folder together (sharing)."""

import json
import os
import threading
import time

import pytest
from test_queue import started

from alphafold_jax import errors, runs, sharing
from alphafold_jax.search.options import SearchOptions
from alphafold_jax.settings import Settings

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
  speed = {'shard': (1, 2), 'workers': 3, 'ray': 'auto', 'sort_queries_by': 'none', 'compilation_cache': False}
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
