# SPDX-License-Identifier: Apache-2.0
"""Many proteins over many processes: none is done twice and none is lost, whoever dies (runs/fleet)."""

import csv
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import stand_in
from small_runs import ALONE, SEQUENCE, fasta, load_json, names, predict

from alphafold_jax import errors, sharing
from alphafold_jax.data.queries import Query
from alphafold_jax.runs import fleet
from alphafold_jax.runs.fleet import beside, claims, places, processes, queue
from alphafold_jax.runs.work import inputs

TESTS = Path(__file__).parent
LETTERS = 'ACDEFGHIKL'


# ------------------------------------------------------------------------------------------ claims

RACE = """if True:
  import logging, os, sys
  from pathlib import Path
  from alphafold_jax.runs.fleet.claims import Claims
  logging.disable()
  mine = Claims(Path(sys.argv[1]))
  print('ready')
  sys.stdin.readline()
  print(*(i for i in range(100) if mine.take(str(i))))
  sys.stdin.readline()
  os._exit(0)  # gives nothing back
"""


def own_environment():
  """The environment of a process that finds the tests' modules and keeps compiled programs where they do."""
  return os.environ | {'PYTHONPATH': os.pathsep.join([str(TESTS), str(TESTS.parent)]), 'PYTHONUNBUFFERED': '1'}


def started(*arguments, code='import sys, stand_in; sys.exit(stand_in.main())'):
  """Starts Python code in a process of its own, the first of its group."""
  return subprocess.Popen(
    [sys.executable, '-c', code, *map(str, arguments)],
    env=own_environment(),
    text=True,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    start_new_session=True,
  )


def test_of_several_processes_one_gets_a_protein_also_after_all_died(tmp_path):
  for _ in range(2):  # the second time the claims are those of dead processes
    racing = [started(tmp_path, code=RACE) for _ in range(2)]
    for process in racing:
      assert process.stdout.readline() == 'ready\n'
    for process in racing:
      process.stdin.write('\n')
      process.stdin.flush()
    taken = [process.stdout.readline().split() for process in racing]
    for process in racing:
      process.communicate('\n', timeout=300)
    assert sorted(map(int, sum(taken, []))) == list(range(100))


def test_of_several_threads_one_gets_an_abandoned_protein(tmp_path):
  for i in range(50):
    claims.Claims(tmp_path).take(str(i))
    os.utime(tmp_path / str(i) / 'claim.0', (1, 1))
  taken, together = [], threading.Barrier(8)

  def race():
    mine = claims.Claims(tmp_path)
    together.wait()
    taken.extend(i for i in range(50) if mine.take(str(i)))

  threads = [threading.Thread(target=race) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert sorted(taken) == list(range(50))


def test_a_claim_counts_while_its_process_lives_and_renews_it(tmp_path, monkeypatch):
  monkeypatch.setattr(sharing, 'RENEWED_EVERY', 0.01)
  other = claims.Claims(tmp_path)
  with claims.Claims(tmp_path) as mine:
    path = mine.take('p')
    os.utime(path, (1, 1))
    until = time.monotonic() + 60
    while path.stat().st_mtime < 2 and time.monotonic() < until:
      time.sleep(0.01)
    assert other.take('p') is None and claims.stands(path)
  assert mine.last('p').ended == claims.STOPPED and other.take('p') is not None
  assert not claims.stands(path)  # which a process would see that was only suspended


@pytest.mark.parametrize(
  ('machine', 'pid', 'age', 'is_over'),
  [
    ('elsewhere', 1, 100, False),
    ('elsewhere', 1, 130, True),
    ('here', 'own', 100, False),
    ('here', 'own', 130, True),
    ('here', 2**22 + 1, 0, True),
  ],
)
def test_a_claim_is_abandoned_after_two_minutes_or_when_its_process_is_dead(machine, pid, age, is_over, tmp_path):
  (tmp_path / 'p').mkdir()
  path = tmp_path / 'p' / 'claim.7'
  machine, pid = {'here': sharing.MACHINE}.get(machine, machine), {'own': os.getpid()}.get(pid, pid)
  path.write_text(json.dumps({'host': 'h', 'machine': machine, 'pid': pid}))
  os.utime(path, (time.time() - age,) * 2)
  mine = claims.Claims(tmp_path)
  assert mine.is_over(mine.last('p')) == is_over
  assert (mine.take('p') is not None) == is_over and (tmp_path / 'p' / 'claim.8').exists() == is_over


def test_a_claim_that_is_being_written_counts(tmp_path):
  (tmp_path / 'p').mkdir()
  (tmp_path / 'p' / 'claim.0').touch()
  assert claims.Claims(tmp_path).take('p') is None


def abandoned(folder, job, **content):
  """Writes the claim of a process that died while it held a protein."""
  path = claims.atomic.make_folder(folder / job) / 'claim.3'
  path.write_text(json.dumps({'host': 'h', 'machine': sharing.MACHINE, 'pid': 2**22 + 1} | content))
  return path


@pytest.mark.parametrize(
  ('content', 'deaths'),
  [({}, 1), ({'deaths': 1}, 1), ({'deaths': 2}, 2), ({'deaths': 0}, 0), ({'deaths': 2, 'ended': 'stopped'}, 0)],
)
def test_who_takes_over_an_abandoned_protein_knows_how_many_died_at_it(content, deaths, tmp_path):
  abandoned(tmp_path, 'p', **content)  # {}: as written before deaths were counted
  mine = claims.Claims(tmp_path)
  assert mine.take('p') and mine.deaths['p'] == deaths and mine.last('p').deaths == deaths + 1
  assert mine.count_death('p', os.getpid()) and mine.last('p').deaths == deaths + 2
  assert not mine.count_death('p', os.getpid() + 1)
  mine.end('p', 'done')
  leading = claims.Claims(tmp_path, blames=False)
  assert leading.take('p') and leading.last('p').deaths == 0  # its own death says nothing of the protein


def test_all_shards_and_a_resumed_run_pad_alike(tmp_path, stands_in):
  source, out = fasta(tmp_path / 'p.fasta', a='A' * 30, b='A' * 70, c='A' * 150, d='A' * 190), tmp_path / 'out'
  for shard in ('1/2', '2/2', '2/2'):
    assert predict(source, out, *stand_in.FLAGS, '--shard', shard) == 0
  logs = ''.join(path.read_text() for path in out.glob('log*.txt'))
  lengths = [line.partition('padded to ')[2] for line in logs.splitlines() if 'padded to ' in line]
  assert len(lengths) >= 2 and len(set(lengths)) == 1 and '192' in lengths[0]


def test_a_protein_that_two_processes_died_at_is_given_up_by_the_next_and_tried_when_asked_again(tmp_path, stands_in):
  source, out = proteins(tmp_path, 'a', 'deadly', 'b'), tmp_path / 'out'
  abandoned(out / '.results', 'deadly', deaths=2)
  assert predict(source, out, *stand_in.FLAGS, '--shard', '2/2') == 1
  assert tries(out) == {'a': 1, 'b': 1} and statuses(out)['deadly'] == 'failed'
  (failure,) = load_json(out / 'failures.shard-2-of-2.json')
  assert failure['error'] == 'WorkerDied' and failure['stage'] == 'predict' and '--workers' in failure['message']
  assert predict(source, out, *stand_in.FLAGS) == 0
  assert tries(out) == {'a': 1, 'b': 1, 'deadly': 1}


# ------------------------------------------------------------------------------------------ shares


def some_jobs(count, seed=0):
  rng = random.Random(seed)
  return [inputs.Job(f'p{i}', Query(f'p{i}', 'A' * rng.randint(20, 1500))) for i in range(count)]


def test_shares_hold_every_protein_once_at_about_equal_cost_in_any_order_of_the_input():
  found = some_jobs(300)
  parts = queue.shares(found, 7)
  assert Counter(job.name for part in parts for job in part) == Counter(job.name for job in found)
  costs = [sum(queue.cost(queue.residue_bucket(job.num_res)) for job in part) for part in parts]
  assert max(costs) < 1.1 * min(costs)
  again = queue.shares(random.Random(1).sample(found, len(found)), 7)
  assert [[job.name for job in part] for part in again] == [[job.name for job in part] for part in parts]


def test_a_shard_helps_with_all_that_is_not_its_own():
  found = some_jobs(20)
  for number in (1, 2, 3):
    own, others = queue.of_shard(found, (number, 3))
    assert sorted(job.name for job in own + others) == sorted(job.name for job in found)
  assert [len(part) for part in queue.shares(found[:2], 5)].count(1) == 2


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--shard', '0/4'], 'numbered from 1 to 4'),
    (['--shard', '5/4'], 'numbered from 1 to 4'),
    (['--shard', '1/0'], '--shard 1/0'),
    (['--shard', '/16'], 'I/N, such as 3/16'),
    (['--shard', '3'], 'I/N'),
    (['--shard', '1/2', '--overwrite-existing-results'], 'do not go together'),
    (['--workers', '0'], '1 or more'),
  ],
)
def test_a_shard_or_a_number_of_workers_that_cannot_be_exits_2(flags, message, tmp_path, capsys):
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out', *ALONE, *flags) == 2
  assert message in capsys.readouterr().err and not (tmp_path / 'out').exists()


# ------------------------------------------------------------------------------------------ shards and runs together


def proteins(folder, *called):
  return fasta(folder / 'in.fasta', **{name: SEQUENCE + LETTERS[:i] for i, name in enumerate(called)})


def tries(out):
  return Counter(line.split()[0] for line in stand_in.ran_lines(out))


def statuses(out):
  with open(out / 'summary.csv', newline='') as file:
    return {row['job']: row['status'] for row in csv.DictReader(file)}


@pytest.fixture
def stands_in(monkeypatch):
  monkeypatch.setattr(fleet, 'Setup', stand_in.StandIn)
  monkeypatch.setattr(processes, '_POLL', 0.05)


def test_shards_together_do_every_protein_once_and_the_last_has_the_whole_summary(tmp_path):
  source, out = proteins(tmp_path, *(f'p{i}' for i in range(9))), tmp_path / 'out'
  running = [started('predict', source, out, *stand_in.FLAGS, '--shard', f'{i}/3') for i in (1, 2, 3)]
  told = [process.communicate(timeout=300)[0] for process in running]
  assert [process.returncode for process in running] == [0, 0, 0], told
  assert tries(out) == Counter(f'p{i}' for i in range(9))
  assert set(statuses(out)) == {f'p{i}' for i in range(9)}
  assert set(statuses(out).values()) <= {'done', 'already done'}
  assert {f'log.shard-{i}-of-3.txt' for i in (1, 2, 3)} <= names(out) and 'log.txt' not in names(out)
  assert not list(out.glob('failures*'))


def test_a_shard_does_what_absent_ones_leave_but_not_what_failed_elsewhere(tmp_path, stands_in, capsys):
  source, out = proteins(tmp_path, 'a', 'b', 'fail', 'c', 'd'), tmp_path / 'out'
  assert predict(source, out, *stand_in.FLAGS, '--shard', '3/3') == 1
  assert tries(out) == Counter(['a', 'b', 'fail', 'c', 'd'])
  assert load_json(out / 'failures.shard-3-of-3.json')[0]['job'] == 'fail'
  for own_is_failed, shard in ((False, '1/3'), (True, '2/3')):  # 'fail' is in the middle
    assert predict(source, out, *stand_in.FLAGS, '--shard', shard) == int(own_is_failed)
    assert tries(out)['fail'] == 1 + own_is_failed and max(tries(out)[name] for name in 'abcd') == 1
  assert statuses(out) == dict.fromkeys('abcd', 'already done') | {'fail': 'failed'}
  assert 'shard 2 of 3, ' in capsys.readouterr().out


def test_two_runs_on_one_folder_share_the_work_and_both_report_all_of_it(tmp_path):
  called = [f'p{i}' for i in range(6)] + ['fail']
  source, out = proteins(tmp_path, *called), tmp_path / 'out'
  running = [started('predict', source, out, *stand_in.FLAGS) for _ in range(2)]
  told = [process.communicate(timeout=300)[0] for process in running]
  assert [process.returncode for process in running] == [1, 1], told
  assert max(tries(out)[name] for name in called[:-1]) == 1 and set(tries(out)) == set(called)
  assert all('done' in text and '1 failed' in text for text in told)
  assert set(statuses(out)) == set(called)


def test_a_shard_leaves_what_a_living_process_is_at(tmp_path, stands_in, monkeypatch):
  source, out = proteins(tmp_path, 'a', 'b'), tmp_path / 'out'
  monkeypatch.setattr(sharing, 'RENEWED_EVERY', 0.01)
  with claims.Claims(claims.atomic.make_folder(out / '.results')) as other:
    other.take('b')
    assert predict(source, out, *stand_in.FLAGS, '--shard', '1/2') == 0
  assert tries(out) == {'a': 1} and statuses(out)['b'] == 'elsewhere'
  assert predict(source, out, *stand_in.FLAGS) == 0
  assert tries(out) == {'a': 1, 'b': 1}


# ------------------------------------------------------------------------------------------ devices


@pytest.mark.parametrize(
  ('visible', 'num_workers', 'expected'),
  [
    ('0,1,2,3', None, ['0', '1', '2', '3']),
    ('4,GPU-ab', None, ['4', 'GPU-ab']),
    ('0,1,2,3', 2, ['0,1', '2,3']),
    ('2,-1,3', None, [None]),
    ('', None, [None]),
    ('0,1', 1, [None]),
  ],
)
def test_every_worker_has_gpus_of_its_own(visible, num_workers, expected, monkeypatch):
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
  plugin = places.importlib.metadata.EntryPoint('xla_cuda13', 'jax_plugins.xla_cuda13', 'jax_plugins')
  monkeypatch.setattr(places.importlib.metadata, 'entry_points', lambda group: [plugin])
  found = places.on_this_machine(num_workers)
  assert [place.environment.get('CUDA_VISIBLE_DEVICES') for place in found] == expected


def test_gpus_are_counted_where_the_driver_lists_them_and_only_if_jax_can_use_them(tmp_path, monkeypatch):
  for name in ('0000:01:00.0', '0000:02:00.0'):
    (tmp_path / name).mkdir()
  monkeypatch.setattr(places, '_GPUS', tmp_path)
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  monkeypatch.setattr(places.importlib.metadata, 'entry_points', lambda group: [])
  assert places.visible_gpus() == []
  plugin = places.importlib.metadata.EntryPoint('xla_cuda13', 'jax_plugins.xla_cuda13', 'jax_plugins')
  monkeypatch.setattr(places.importlib.metadata, 'entry_points', lambda group: [plugin])
  assert places.visible_gpus() == ['0', '1']
  with pytest.raises(errors.InputError, match='--workers 3: there are 2 GPUs'):
    places.on_this_machine(3)
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  assert places.visible_gpus() == []


# ------------------------------------------------------------------------------------------ host work beside the device


def test_files_are_written_in_order_behind_the_device_and_one_prediction_waits_at_most():
  behind, done, gate = beside.Behind(), [], threading.Event()
  behind.put(lambda: (gate.wait(60), done.append(1)), 'prediction')
  behind.put(lambda: done.append(2))
  threading.Timer(0.1, gate.set).start()
  assert done == []
  behind.put(lambda: done.append(3), 'prediction')  # waits for the first
  assert done[0] == 1
  behind.drain()
  assert done == [1, 2, 3]
  behind.close()


def test_nothing_is_written_after_something_could_not_be():
  behind, done = beside.Behind(), []
  behind.put(lambda: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    behind.drain()
  with pytest.raises(ZeroDivisionError):
    behind.put(lambda: done.append(1))
  behind.close()
  assert not done


def test_files_of_small_proteins_are_written_side_by_side_and_those_of_large_ones_one_after_another():
  lanes, both = beside.Lanes(), threading.Barrier(2)
  small = [lanes.next(30) for _ in range(3)]
  assert len(set(small)) == 3 and lanes.next(30) is small[0] and lanes.next(2000) is lanes.next(3000)
  for one in small[:2]:
    one.put(lambda: both.wait(60), 'protein')  # would wait for one another for ever in one thread
  lanes.drain()
  lanes.close()


def test_nothing_is_written_side_by_side_after_something_could_not_be():
  lanes, done = beside.Lanes(), []
  failing, other = lanes.next(30), lanes.next(30)
  failing.put(lambda: 1 / 0)
  for method in (failing.drain, lambda: other.put(lambda: done.append(1)), lambda: lanes.next(30), lanes.drain):
    with pytest.raises(ZeroDivisionError):
      method()
  lanes.close()
  assert not done


def test_features_are_made_ahead_once_also_when_another_protein_comes():
  loaded = []
  ahead = beside.Ahead(lambda job: loaded.append(job.name) or job.name)
  first, second, third = some_jobs(3)
  ahead.begin([second])
  assert ahead.get(second) == 'p1' and loaded == ['p1']
  ahead.begin([third])
  assert ahead.get(first) == 'p0' and ahead.get(third) == 'p2'
  ahead.close()
