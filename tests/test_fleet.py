# SPDX-License-Identifier: Apache-2.0
"""Many devices, on Ray and without: no protein is done twice and none is lost, whoever dies (runs/fleet)."""

import functools
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest
import ray
import stand_in
from ray.cluster_utils import Cluster
from small_runs import ALONE, OTHER, SEQUENCE, fasta, load_json, names, predict, raw
from test_queue import own_environment, proteins, started, statuses, tries

from alphafold_jax.runs import fleet
from alphafold_jax.runs.fleet import actors, claims, processes
from alphafold_jax.runs.fleet.places import workers_of_cluster

pytestmark = pytest.mark.timeout(300)
TWO = ('--workers', '2')


@pytest.fixture(scope='module')
def cluster():
  """Three machines of a processor each, which are processes of this one; this process has joined them."""
  with pytest.MonkeyPatch.context() as patch:
    for name in ('PYTHONPATH', 'PYTHONUNBUFFERED'):
      patch.setenv(name, own_environment()[name])
    patch.setenv('JAX_COMPILATION_CACHE_DIR', jax.config.jax_compilation_cache_dir)
    patch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.5')
    patch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    patch.setattr(ray._private.worker, '_worker_logs_enabled', False)
    quick = {'health_check_failure_threshold': 2, 'health_check_period_ms': 500, 'memory_monitor_refresh_ms': 0}
    made = Cluster(initialize_head=True, head_node_args={'include_dashboard': False, '_system_config': quick})
    for _ in range(2):
      made.add_node()
    ray.init(made.address, log_to_driver=False, logging_level=logging.CRITICAL)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def stands_in(monkeypatch):
  monkeypatch.setattr(fleet, 'Setup', stand_in.StandIn)
  for module in (actors, processes):
    monkeypatch.setattr(module, '_POLL', 0.05)


@pytest.fixture(params=['Ray', 'children'])
def way(request, stands_in, monkeypatch):
  """The flags for two processes, either way."""
  if request.param == 'Ray':
    return '--ray', request.getfixturevalue('cluster').address, *TWO
  monkeypatch.setitem(sys.modules, 'ray', None)
  return TWO


def wait_for(condition):
  until = time.monotonic() + 120
  while not condition():
    assert time.monotonic() < until
    time.sleep(0.05)


# ------------------------------------------------------------------------------------------ deaths


def test_who_dies_costs_nothing_but_time_and_a_protein_that_kills_two_has_failed(way, tmp_path):
  called = ['a', 'once', 'b', 'kill', 'fail', 'c']
  source, out = proteins(tmp_path, *called), tmp_path / 'out'
  assert predict(source, out, *stand_in.FLAGS, *way) == 1
  assert tries(out) == Counter(called + ['once', 'kill'])
  assert len({line.split()[1] for line in stand_in.ran_lines(out)}) >= 3
  assert statuses(out) == dict.fromkeys(called, 'done') | dict.fromkeys(('kill', 'fail'), 'failed')
  failures = {failure['job']: failure for failure in load_json(out / 'failures.json')}
  assert failures['fail']['error'] == 'ValueError' and failures['kill']['error'] == 'WorkerDied'
  assert failures['kill']['stage'] == 'predict' and re.search('SIGKILL.*--workers', failures['kill']['message'])
  log = (out / 'log.txt').read_text()
  assert 'it was at once' in log and all(f'] {name}: runs' in log for name in called)
  assert {'log.txt', 'config.json', 'summary.csv'} <= names(out) and not list(out.glob('*shard*'))
  assert predict(source, out, *stand_in.FLAGS, *way) == 1  # the same command tries again what failed
  assert tries(out) == Counter(called + ['once', 'kill', 'fail', 'kill', 'kill'])


def test_proteins_that_were_run_together_when_a_process_died_are_run_each_alone(way, tmp_path):
  called = ['kill', *'abcdefg']
  source, out = proteins(tmp_path, *called), tmp_path / 'out'
  assert predict(source, out, *stand_in.FLAGS, *way, '--batch', '3') == 1
  assert statuses(out) == dict.fromkeys(called, 'done') | {'kill': 'failed'}
  (failure,) = load_json(out / 'failures.json')
  assert (failure['job'], failure['error']) == ('kill', 'WorkerDied')
  groups = [line.split() for line in (out / '.together').read_text().splitlines()]
  (together,) = [group for group in groups if 'kill' in group and len(group) > 1]
  assert max(map(len, groups)) == 3 and all([name] in groups for name in together)


def test_a_process_whose_disk_is_full_gets_nothing_more_and_others_do_its_protein(way, tmp_path):
  called = ['full', *'abcdefgh']
  source, out = proteins(tmp_path, *called), tmp_path / 'out'
  assert predict(source, out, *stand_in.FLAGS, *way) == 0
  ran = [line.split() for line in stand_in.ran_lines(out)]
  found_full, again = [pid for name, pid in ran if name == 'full']
  assert again != found_full and ran.index(['full', found_full]) == [pid for _, pid in ran].index(found_full)
  assert Counter(name for name, _ in ran) == Counter([*called, 'full'])
  assert set(statuses(out).values()) == {'done'} and 'no space left' in (out / 'log.txt').read_text()


def test_a_run_ends_when_no_process_can_write(way, tmp_path, capsys):
  source, out = proteins(tmp_path, 'never_1', 'never_2', 'never_3'), tmp_path / 'out'
  assert predict(source, out, *stand_in.FLAGS, *way) == 1
  assert set(statuses(out).values()) == {'failed', 'not run'}
  (failure,) = load_json(out / 'failures.json')
  assert failure['stage'] == 'output' and failure['error'] == 'ResourceError'
  assert 'No further protein is run' in capsys.readouterr().out


def test_processes_that_cannot_start_end_the_run_with_a_message(way, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(fleet, 'Setup', stand_in.Broken)
  assert predict(proteins(tmp_path, 'a', 'b'), tmp_path / 'out', *stand_in.FLAGS, *way) == 2
  shown = capsys.readouterr()
  assert 'no worker could be started: ' in shown.err and '--workers 1 runs in this process' in shown.err
  assert not tries(tmp_path / 'out') and not list((tmp_path / 'out').glob('failures*'))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """What one process gives: of two proteins and two models."""
  folder = tmp_path_factory.mktemp('whole')
  assert predict(fasta(folder / 'p.fasta', p=SEQUENCE, q=OTHER), folder / 'out', *ALONE, '--num-models', '2') == 0
  return folder


def test_two_processes_give_what_one_gives_also_when_one_is_killed(whole, way, tmp_path, monkeypatch):
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', jax.config.jax_compilation_cache_dir)
  monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.5')
  monkeypatch.setattr(fleet, 'Setup', stand_in.Dying)
  source, out = whole / 'p.fasta', tmp_path / 'out'
  assert predict(source, out, *ALONE, '--num-models', '2', *way) == 0
  died = (out / '.died').read_text()
  assert f'{died} model_1_ptm, seed 0: done before' in (out / 'log.txt').read_text()
  assert names(out) == names(whole / 'out')
  for job in 'pq':
    for name, array in raw(whole / 'out', job).items():
      np.testing.assert_allclose(raw(out, job)[name], array, atol=1e-3, err_msg=name)


# ------------------------------------------------------------------------------------------ a cluster


def meanwhile(out, num_waiting, change):
  """Starts a thread that calls a function once so many processes wait at a protein, and lets them go on."""

  def act():
    wait_for(lambda: sum(name.startswith('wait') for name in tries(out)) == num_waiting)
    change([int(line.split()[1]) for line in stand_in.ran_lines(out) if line.startswith('wait')])
    (out / '.go').touch()

  thread = threading.Thread(target=act)
  thread.start()
  return thread


def parent_of(pid):
  return int(Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[1])


def test_a_hundred_proteins_over_three_machines_are_each_done_once(cluster, stands_in, tmp_path):
  called, machines = ['wait_1', 'wait_2', 'wait_3', *(f'p{i}' for i in range(97))], []
  source, out = fasta(tmp_path / 'in.fasta', **{name: SEQUENCE for name in called}), tmp_path / 'out'
  thread = meanwhile(out, 3, lambda pids: machines.extend(map(parent_of, pids)))
  assert predict(source, out, *stand_in.FLAGS, '--ray', 'auto', '--workers', '3', '--sort-queries-by', 'none') == 0
  thread.join()
  assert tries(out) == Counter(called) and set(statuses(out).values()) == {'done'}
  assert len(set(machines)) == 3 == len({line.split()[1] for line in stand_in.ran_lines(out)})
  assert '[100/100] ' in (out / 'log.txt').read_text()


def test_the_proteins_of_a_machine_that_is_lost_are_done_elsewhere(cluster, stands_in, tmp_path):
  source, out = proteins(tmp_path, 'wait_1', 'wait_2', 'wait_3', *'abcd'), tmp_path / 'out'

  def lose_one(pids):
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    wait_for(lambda: any(map(is_over, pids)))

  thread = meanwhile(out, 3, lose_one)
  try:
    assert predict(source, out, *stand_in.FLAGS, '--ray', 'auto') == 0  # --workers: one on each machine without GPUs
  finally:
    thread.join()
    cluster.add_node()
  assert sorted(tries(out).values()) == [1] * 6 + [2] and set(statuses(out).values()) == {'done'}


def test_each_process_gets_the_gpus_that_share_a_protein_where_a_cluster_has_any(monkeypatch):
  nodes = [
    {'Alive': alive, 'Resources': {'CPU': 16.0, 'GPU': gpus}}
    for alive, gpus in ((True, 8.0), (True, 6.0), (False, 8.0))
  ]
  nodes.append({'Alive': True, 'Resources': {'CPU': 16.0}})
  assert workers_of_cluster(nodes, None, 1) == (14, {'num_cpus': 0, 'num_gpus': 1})
  assert workers_of_cluster(nodes, None, 4) == (3, {'num_cpus': 0, 'num_gpus': 4})
  assert workers_of_cluster(nodes, 2, 4)[0] == 2
  with pytest.raises(fleet.InputError, match='--devices 9: no machine of the Ray cluster has more than 8 GPUs'):
    workers_of_cluster(nodes, None, 9)
  assert workers_of_cluster(nodes[3:], None, 1)[0] == 1 and workers_of_cluster(nodes[3:], 5, 1) == (
    5,
    {'num_cpus': 1, 'scheduling_strategy': 'SPREAD'},
  )
  monkeypatch.setattr('alphafold_jax.runs.fleet.places.is_for_gpus', lambda: True)
  assert workers_of_cluster(nodes[3:], 5, 4) == (5, {'num_cpus': 0, 'num_gpus': 4})  # the machines are yet to come


def test_a_cluster_needs_ray_and_an_address(tmp_path, monkeypatch, capsys):
  source, out = proteins(tmp_path, 'a'), tmp_path / 'out'
  assert predict(source, out, *stand_in.FLAGS, '--ray', 'ray://head:10001') == 2
  assert 'HOST:PORT of the cluster, such as head:6379' in capsys.readouterr().err
  monkeypatch.setitem(sys.modules, 'ray', None)
  assert predict(source, out, *stand_in.FLAGS, '--ray', 'auto') == 2
  assert "run `pip install '.[cluster]'`" in capsys.readouterr().err and not out.exists()


def test_where_no_cluster_answers_the_message_says_how_to_start_one(tmp_path):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  flags = (*stand_in.FLAGS, '--ray', address)
  failing = started_fleet('predict', proteins(tmp_path, 'a'), tmp_path / 'out', *flags, with_ray=True)
  told = failing.communicate(timeout=120)[0]
  assert failing.returncode == 2 and f'error: --ray {address}: ' in told and 'ray start --head' in told


# ------------------------------------------------------------------------------------------ the end of a run


def started_fleet(*arguments, with_ray):
  """Starts the command with a stand-in for predicting."""
  return started(*arguments, code=f'import sys, stand_in; sys.exit(stand_in.main(with_ray={with_ray}))')


def descendants(pid):
  """The processes that a process has started, and those that these have."""
  parents = {}
  for path in Path('/proc').glob('[0-9]*/stat'):
    try:
      parents[int(path.parent.name)] = int(path.read_text().rpartition(')')[2].split()[1])
    except OSError:  # it has ended
      continue
  found = [pid]
  for one in found:
    found += [child for child, parent in parents.items() if parent == one]
  return found[1:]


def is_over(pid):
  try:
    return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'  # nobody has asked how it ended
  except OSError:
    return True


def peers_and_listeners(pids):
  """The addresses that processes listen at or are connected to, as hexadecimal numbers."""
  inodes = set()
  for pid in pids:
    for file in Path(f'/proc/{pid}/fd').glob('*'):
      try:
        inodes.update(re.findall(r'socket:\[(\d+)\]', os.readlink(file)))
      except OSError:  # closed
        continue
  lines = [
    line.split()
    for name in ('tcp', 'tcp6', 'udp', 'udp6')
    for line in Path(f'/proc/net/{name}').read_text().splitlines()[1:]
  ]
  ours = [line for line in lines if line[9] in inodes]
  return {line[2 if int(line[2].split(':')[1], 16) else 1].split(':')[0] for line in ours}


LOOPBACK = {'0100007F', '0000000000000000FFFF00000100007F', '00000000000000000000000001000000'}


def test_a_ray_of_our_own_is_quiet_and_contacts_nothing_and_ctrl_c_ends_it(tmp_path):
  source, out = proteins(tmp_path, 'once', 'wait_1', 'wait_2'), tmp_path / 'out'
  leading = started_fleet('predict', source, out, *stand_in.FLAGS, *TWO, with_ray=True)
  wait_for(lambda: {'wait_1', 'wait_2'} <= set(tries(out)))
  all_of_them = descendants(leading.pid)
  commands = ' '.join(Path(f'/proc/{pid}/cmdline').read_text() for pid in all_of_them)
  assert 'gcs_server' in commands and 'Predicting' in commands
  addresses = peers_and_listeners([leading.pid, *all_of_them])
  assert addresses and addresses <= LOOPBACK
  os.killpg(leading.pid, signal.SIGINT)  # as a terminal's Ctrl-C
  told = leading.communicate(timeout=120)[0]
  assert leading.returncode == 130 and 'this process has loaded JAX: False' in told
  lines = [line for line in told.splitlines() if not re.match(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ', line)]
  assert len(lines) == 2 and lines[0].startswith('alphafold-jax: stopped; run the same command again'), told
  wait_for(lambda: all(map(is_over, all_of_them)))
  assert tries(out) == {'once': 2, 'wait_1': 1, 'wait_2': 1}
  (out / '.go').touch()
  resumed = started_fleet('predict', source, out, *stand_in.FLAGS, with_ray=True)
  assert 'done already: 1 protein' in resumed.communicate(timeout=120)[0] and resumed.returncode == 0
  assert tries(out) == {'once': 2, 'wait_1': 2, 'wait_2': 2}


@pytest.mark.parametrize(
  ('how', 'code', 'with_ray'),
  [
    (signal.SIGTERM, 143, True),
    (signal.SIGKILL, -9, True),
    (signal.SIGINT, 130, False),
    (signal.SIGTERM, 143, False),
    (signal.SIGKILL, -9, False),
  ],
)
def test_no_process_outlives_the_leading_one(how, code, with_ray, cluster, tmp_path):
  source, out = proteins(tmp_path, 'wait_1', 'wait_2'), tmp_path / 'out'
  flags = ('--ray', cluster.address) if with_ray else ()
  leading = started_fleet('predict', source, out, *stand_in.FLAGS, *TWO, *flags, with_ray=with_ray)
  wait_for(lambda: len(stand_in.ran_lines(out)) == 2)
  os.killpg(leading.pid, how) if how == signal.SIGINT else leading.send_signal(how)
  assert leading.wait(timeout=120) == code
  for line in stand_in.ran_lines(out):
    wait_for(functools.partial(is_over, line.split()[1]))
  again = claims.Claims(out / '.results')
  assert all(again.is_over(again.last(name)) for name in ('wait_1', 'wait_2'))
  assert all(again.take(name) and again.deaths[name] == 0 for name in ('wait_1', 'wait_2'))  # nobody is to blame


# ------------------------------------------------------------------------------------------ child processes


def test_children_are_a_part_of_a_shard(stands_in, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', None)
  called = [*'abcdef', 'fail']
  source, out = proteins(tmp_path, *called), tmp_path / 'out'
  searched = ('--msa-mode', 'hmmer', '--database', fasta(tmp_path / 'database.fasta', other=SEQUENCE))
  assert predict(source, out, *stand_in.FLAGS[:-2], *map(str, searched), *TWO, '--shard', '1/2') == 1
  assert tries(out) == Counter(called)  # also what another shard would have begun with
  assert statuses(out) == dict.fromkeys(called, 'done') | {'fail': 'failed'}
  assert load_json(out / 'failures.shard-1-of-2.json')[0]['job'] == 'fail'


def test_children_compute_everything_again_if_asked(stands_in, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', None)
  source, out = proteins(tmp_path, *'abcd'), tmp_path / 'out'
  for num_runs in (1, 2):
    assert predict(source, out, *stand_in.FLAGS, *TWO, '--overwrite-existing-results') == 0
    assert tries(out) == dict.fromkeys('abcd', num_runs) and set(statuses(out).values()) == {'done'}
