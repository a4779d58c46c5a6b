# SPDX-License-Identifier: Apache-2.0
"""bfloat16 on CPUs only where it was measured to pay; and one dtype in one output folder, whoever computes there."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading

import jax
import pytest
from small_runs import ALONE, OTHER, SEQUENCE, count_predictions, fasta, load_json, names, predict, python

from alphafold_jax import dtypes, machine, runs, sharing, tuning
from alphafold_jax.data.queries import Query
from alphafold_jax.dtypes import Measurement, Turns
from alphafold_jax.runs.fleet import dtype, places
from alphafold_jax.runs.fleet.places import Place
from alphafold_jax.runs.work import Job
from alphafold_jax.settings import Settings

PAYS, SLOWER = (1.6, 1.5, 1.6, 1.5, 1.6, 1.5, 1.6), (0.9, 1.0, 0.9, 1.0, 0.9, 1.0, 0.9)
DISTURBED = (1.6, 3.1, 0.9, 2.5, 1.4, 0.7, 1.6)


def timed(*ratios):
  """Stands for what runs something in a dtype; each turn has the next of the ratios."""
  left = iter(ratios)
  return lambda name: 2**-10 * (next(left) if name == 'float32' else 1)


def measured(product=PAYS, network=PAYS):
  return tuning.measure_dtype(timed(*product), timed(*network))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  """A user's cache of the test's own."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  tuning.dtype.cache_clear()
  yield tmp_path / 'cache' / 'alphafold_jax' / 'tuning'
  tuning.dtype.cache_clear()


# ------------------------------------------------------------------------------------------ measuring


@pytest.mark.parametrize(
  ('ratios', 'is_steady', 'pays'),
  [
    (PAYS, True, True),
    (SLOWER, True, False),
    ((1.3, 1.3, 1.3, 1.3, 1.3), True, True),
    ((1.29, 1.29, 1.29, 1.29, 1.29), True, False),
    (DISTURBED, False, False),
    ((1.35, 1.35, 1.35, 1.28, 1.28, 1.35, 1.28), False, False),  # the halves disagree
    ((1.6, 1.5, 9.0, 1.5, 1.6, 1.5, 0.4), True, True),  # a turn or two do not count
  ],
)
def test_bfloat16_pays_from_1_3_on_and_without_any_doubt(ratios, is_steady, pays):
  assert (Turns(ratios).is_steady, Turns(ratios).pays) == (is_steady, pays)


def test_float32_and_bfloat16_take_turns_seven_times_and_fewer_where_a_turn_takes_long():
  for seconds, num_turns in ((0.01, 7), (1.0, 5)):
    called = []
    found = dtypes.in_turns(lambda name, one=seconds, called=called: (called.append(name), one)[1])
    assert called == ['float32', 'bfloat16'] * num_turns and found.ratios == (1.0,) * num_turns


def test_where_a_large_product_gains_too_little_nothing_more_is_measured():
  assert measured(product=SLOWER, network=()) == Measurement(Turns(SLOWER))
  assert measured(product=DISTURBED, network=()) == Measurement(Turns(DISTURBED))
  assert measured(network=SLOWER) == Measurement(Turns(PAYS), Turns(SLOWER))


@pytest.mark.parametrize(
  ('found', 'told'),
  [
    (Measurement(Turns(PAYS), Turns(PAYS)), 'bfloat16; 1.60 times as fast as float32 on this CPU (1.50 to 1.60 in 7 '),
    (Measurement(Turns(PAYS), Turns(SLOWER)), 'float32; bfloat16 is 0.90 times as fast on this CPU (0.90 to 1.00 in 7'),
    (Measurement(Turns(SLOWER)), 'turns of products), and pays from 1.3 on'),
    (Measurement(Turns(PAYS), Turns(DISTURBED)), 'measured beside other work (1.60 times as fast, 0.70 to 3.10 in 7'),
  ],
)
def test_the_choice_is_told_with_its_figures(found, told):
  assert told in str(found.choice)


@pytest.mark.slow
def test_the_operations_of_a_block_are_timed_in_both_dtypes_by_small_programs(monkeypatch):
  monkeypatch.setattr(tuning, '_PRODUCT', (8, 8, 8))
  monkeypatch.setattr(tuning, '_BLOCK_SIZES', {'rows': 3, 'residues': 8, 'outer': 4})
  monkeypatch.setattr(tuning, '_BLOCK', tuple((name, 32, count) for name, _, count in tuning._BLOCK))
  for seconds in (tuning._product_seconds(), tuning._block_seconds()):
    assert seconds('float32') > 0 and seconds('bfloat16') > 0


# ------------------------------------------------------------------------------------------ kept per machine


def test_a_measurement_is_kept_for_this_machine_and_holds_for_small_work_too(cache):
  assert dtypes.default('cpu', dtypes.WORTH, measured).dtype == 'bfloat16'
  assert [path.name for path in cache.glob('*.json')] == [dtypes.file_name()]
  assert dtypes.default('cpu') == dtypes.default('cpu', dtypes.WORTH, pytest.fail) == measured().choice
  assert tuning.dtype() == 'bfloat16'


def test_little_work_is_not_worth_a_measurement(cache):
  assert dtypes.default('cpu', dtypes.WORTH / 2, pytest.fail).dtype == 'float32' == tuning.dtype()
  assert not cache.exists()


def test_accelerators_compute_in_bfloat16(monkeypatch):
  assert dtypes.default('gpu').dtype == dtypes.default('tpu', dtypes.WORTH, pytest.fail).dtype == 'bfloat16'
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  assert tuning.dtype() == 'bfloat16'


def test_within_a_process_the_dtype_of_the_api_does_not_change():
  assert tuning.dtype() == 'float32'
  dtypes.default('cpu', dtypes.WORTH, measured)
  assert tuning.dtype() == 'float32'


def test_processes_of_a_machine_that_would_disturb_one_another_measure_once():
  together, done = threading.Barrier(4), []

  def run():
    together.wait()
    assert dtypes.default('cpu', dtypes.WORTH, lambda: (done.append(1), measured())[1]).dtype == 'bfloat16'

  threads = [threading.Thread(target=run) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert done == [1]


def test_a_process_that_measures_for_ever_holds_up_no_other(cache, monkeypatch):
  monkeypatch.setattr(dtypes, '_PATIENCE', 0.0)
  with dtypes._alone(cache / dtypes.file_name()):
    assert dtypes.default('cpu', dtypes.WORTH, measured).dtype == 'bfloat16'


@pytest.mark.parametrize('found', [lambda: measured(network=DISTURBED), lambda: 1 / 0])
def test_a_disturbed_measurement_decides_for_float32_and_is_made_again(cache, found):
  choice = dtypes.default('cpu', dtypes.WORTH, found)
  assert choice.dtype == 'float32' and 'the next long run measures again' in choice.why
  assert not list(cache.glob('*.json'))
  assert dtypes.default('cpu', dtypes.WORTH, measured).dtype == 'bfloat16'


@pytest.mark.parametrize(
  'content',
  [
    '', '{', '[]', '{"product": 1, "network": null}', '{"product": [1.5, 1.5], "network": null}',
    '{"product": [1.5, 1.5, 1.5, 1.5, "1.5"], "network": null}', '{"product": [1.5, 1.5, 1.5, 1.5, NaN], "network": 0}',
    json.dumps({'product': PAYS, 'network': DISTURBED}), json.dumps({'product': [1e300] * 7, 'network': None}),
  ],
)  # fmt: skip
def test_a_damaged_kept_answer_is_measured_anew(cache, content):
  cache.mkdir(parents=True)
  (cache / dtypes.file_name()).write_text(content)
  assert dtypes.default('cpu').dtype == 'float32'
  assert dtypes.default('cpu', dtypes.WORTH, measured).dtype == dtypes.default('cpu').dtype == 'bfloat16'


def test_where_nothing_can_be_kept_it_is_measured_used_and_said(tmp_path):
  (tmp_path / 'cache').touch()
  choice = dtypes.default('cpu', dtypes.WORTH, measured)
  assert choice.dtype == 'bfloat16' and 'this cannot be kept' in choice.why and str(tmp_path / 'cache') in choice.why
  assert dtypes.default('cpu').dtype == 'float32'


def test_flags_of_xla_processors_and_their_number_lead_to_answers_of_their_own(monkeypatch):
  found = [dtypes.file_name()]
  monkeypatch.setattr(machine, 'num_processors', lambda: 999)
  found.append(dtypes.file_name())
  monkeypatch.setattr(machine, 'processor_abilities', lambda: 'model name: another')
  found.append(dtypes.file_name())
  monkeypatch.setenv('XLA_FLAGS', '--xla_cpu_experimental_ynn_fusion_type=')
  found.append(dtypes.file_name())
  monkeypatch.setattr(dtypes, '__version__', '9')
  assert len({*found, dtypes.file_name()}) == 5


WITHOUT_UNIT = """if True:
  import jax, jax.numpy as jnp
  from alphafold_jax import dtypes, tuning
  print(dtypes.default('cpu').dtype)
  x = jnp.ones((512, 512), jnp.bfloat16)
  compiled = jax.jit(lambda x: jnp.dot(x, x, preferred_element_type=jnp.float32)).lower(x).compile()
  print('ynn' in compiled.as_text())
  turns = iter([0.9, 1.0] * 7)
  product = lambda name: next(turns) if name == 'float32' else 1.0
  print(dtypes.default('cpu', dtypes.WORTH, lambda: tuning.measure_dtype(product)).dtype, tuning.dtype())
"""


@pytest.mark.slow
def test_a_cpu_without_the_unit_computes_in_float32_beside_one_with_it(cache, monkeypatch):
  assert dtypes.default('cpu', dtypes.WORTH, measured).dtype == 'bfloat16'
  flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_cpu_experimental_ynn_fusion_type='
  monkeypatch.setenv('XLA_FLAGS', flags)
  assert python(WITHOUT_UNIT).stdout.split() == ['float32', 'False', 'float32', 'float32']
  assert len(list(cache.glob('*.json'))) == 2
  monkeypatch.setenv('XLA_FLAGS', flags.rpartition(' ')[0])
  assert dtypes.default('cpu').dtype == 'bfloat16'


# ------------------------------------------------------------------------------------------ one folder, one dtype


@pytest.fixture
def out(tmp_path):
  (tmp_path / 'out' / sharing.HIDDEN).mkdir(parents=True)
  return tmp_path / 'out'


def decides(monkeypatch, name):
  """What this machine would compute a new folder in."""
  monkeypatch.setattr(dtype, '_decided', lambda *_: dtypes.DtypeChoice(name, 'as told'))


def settled(out, chosen=None):
  options = runs.Options(params='random', settings=Settings(dtype=chosen))
  return dtype.settled(options, out, [], [Place('one')]).settings.dtype


def test_a_folder_keeps_the_dtype_in_which_it_was_begun_on_every_host(out, monkeypatch, caplog):
  decides(monkeypatch, 'bfloat16')
  with caplog.at_level(logging.INFO, 'alphafold_jax'):
    assert settled(out) == 'bfloat16'
    decides(monkeypatch, 'float32')
    assert settled(out) == 'bfloat16'
    assert settled(out, 'float32') == 'float32'
    assert settled(out) == 'bfloat16'
  assert [record.message for record in caplog.records] == [
    'dtype: bfloat16; as told',
    'dtype: bfloat16, in which this folder was begun; --dtype computes it anew in another',
    'dtype: float32, as chosen; this folder was begun in bfloat16',
    'dtype: bfloat16, in which this folder was begun; --dtype computes it anew in another',
  ]


def test_a_folder_that_was_begun_with_a_chosen_dtype_keeps_it(out, monkeypatch):
  decides(monkeypatch, 'float32')
  assert settled(out, 'bfloat16') == 'bfloat16' == settled(out)


def test_of_processes_that_begin_a_folder_together_one_decides_for_all(out, monkeypatch):
  together, found = threading.Barrier(8), []
  monkeypatch.setattr(
    dtype, '_decided', lambda *_: dtypes.DtypeChoice(threading.current_thread().name, '') if together.wait() >= 0 else 0
  )
  threads = [
    threading.Thread(target=lambda: found.append(settled(out)), name=('float32', 'bfloat16')[i % 2]) for i in range(8)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(found) == 8 and len(set(found)) == 1


@pytest.mark.parametrize('content', ['', '{"dtype": "float16"}', '{"dtype": 1}', '['])
def test_a_damaged_record_is_taken_for_none(out, monkeypatch, content):
  monkeypatch.setattr(dtype, '_UNDECIDED', 0.0)
  decides(monkeypatch, 'bfloat16')
  path = out / sharing.HIDDEN / 'dtype.json'
  path.write_text(content)
  assert settled(out) == 'bfloat16' and load_json(path) == {'dtype': 'bfloat16'}


def test_where_the_record_is_gone_that_of_the_last_run_holds(out, monkeypatch):
  decides(monkeypatch, 'float32')
  (out / 'config.shard-1-of-2.json').write_text('[')
  (out / 'config.shard-2-of-2.json').write_text(json.dumps({'device': {'dtype': 'bfloat16'}}))
  assert settled(out) == 'bfloat16'


def test_a_process_with_gpus_or_that_leads_others_does_not_load_jax_for_it(out, monkeypatch):
  monkeypatch.setattr(dtype, '_backend', pytest.fail)
  options = runs.Options(params='random', workers=2)
  assert dtype._decided(options, [], [Place('one'), Place('two')]).dtype == 'float32'
  monkeypatch.setattr(places, 'visible_gpus', lambda: ['0'])
  assert dtype._decided(options, [], [Place('one')]).dtype == 'bfloat16'


def test_a_process_that_leads_others_has_another_measure_for_it(monkeypatch):
  done = []
  monkeypatch.setattr(dtype, 'operations', lambda *_: dtypes.WORTH)
  monkeypatch.setattr(dtype, '_elsewhere', lambda task, options: (done.append(task), measured())[1])
  assert dtype._decided(runs.Options(params='random'), [], [Place('one'), Place('two')]).dtype == 'bfloat16'
  assert done == [dtype._measured]


ELSEWHERE = """if True:
  from alphafold_jax import machine, runs
  from alphafold_jax.runs.fleet import dtype
  if __name__ == '__main__':
    print(dtype._elsewhere(machine.jax_has_begun, runs.Options(params='random')), machine.jax_has_begun())
"""


@pytest.mark.slow
def test_only_the_other_process_loads_jax():
  assert python(ELSEWHERE).stdout.split() == ['True', 'False']


KILLED = """if True:
  import functools, os
  from alphafold_jax import runs
  from alphafold_jax.runs.fleet import dtype
  if __name__ == '__main__':
    dtype._elsewhere(functools.partial(os.system, f'kill -9 {os.getpid()}'), runs.Options(params='random'))
"""


@pytest.mark.slow
def test_the_other_process_ends_with_the_one_that_is_killed():
  killed = subprocess.run(
    [sys.executable, '-c', KILLED], capture_output=True, timeout=60, check=False
  )  # or it holds these
  assert killed.returncode == -signal.SIGKILL, killed.stderr


def test_a_minute_of_work_is_worth_it_and_a_small_protein_is_not():
  def work(num_res, count, **options):
    return dtype.operations(runs.Options(params='random', **options), [Job('p', Query('p', 'M' * num_res))] * count)

  assert work(100, 1) > dtypes.WORTH > work(20, 1, num_models=1)
  assert work(300, 100, model_type='mini') > dtypes.WORTH > work(100, 1, model_type='mini')


@pytest.mark.slow
def test_a_whole_run_goes_on_in_the_dtype_of_its_folder(tmp_path, monkeypatch):
  out, computed = tmp_path / 'out', count_predictions(monkeypatch)
  decides(monkeypatch, 'bfloat16')
  assert predict(fasta(tmp_path / 'a.fasta', p=SEQUENCE), out, *ALONE) == 0
  decides(monkeypatch, 'float32')
  assert predict(fasta(tmp_path / 'a.fasta', p=SEQUENCE, q=OTHER), out, *ALONE) == 0
  assert [name for name, *_ in computed] == ['p', 'q']
  config = load_json(out / 'config.json')
  assert config['device']['dtype'] == config['options']['settings']['dtype'] == 'bfloat16'
  assert config['models']['model_1_ptm']['config']['dtype'] == 'bfloat16'
  keys = {name: load_json(out / f'{name}.done.txt')['key'] for name in 'pq'}
  before = names(out)
  assert predict(tmp_path / 'a.fasta', out, *ALONE, '--dtype', 'float32') == 0
  assert [name for name, *_ in computed[2:]] == ['p', 'q'] and names(out) == before
  assert all(load_json(out / f'{name}.done.txt')['key'] != key for name, key in keys.items())
  assert 'p: removed 5 files of an earlier run with --dtype bfloat16' in (out / 'log.txt').read_text()
