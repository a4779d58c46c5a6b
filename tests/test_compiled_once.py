# SPDX-License-Identifier: Apache-2.0
"""Compiled programs on disk: the next process reads what this one compiled, and nothing that it should not."""

import dataclasses
import errno
import logging
import re
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import lowering
import numpy as np
import pytest
import small_predictions
from jax.experimental import serialize_executable
from small_runs import environment

from alphafold_jax import atomic, compiled_once, devices, locks, program_files, programs, schema
from alphafold_jax.ops import attention_cudnn, attention_pallas


@pytest.fixture
def folder(tmp_path):
  before = jax.config.jax_compilation_cache_dir
  jax.config.update('jax_compilation_cache_dir', str(tmp_path))
  yield tmp_path
  jax.config.update('jax_compilation_cache_dir', before)


@pytest.fixture
def told():
  """What is told while a test runs."""
  texts = []
  with compiled_once.watched('this test', texts.append):
    yield texts


@schema.pytree
class _Tree:
  """A class of arrays, as programs take them."""

  values: schema.Array


class Doubling:
  """A function under jit that counts how often it is traced."""

  def __init__(self):
    self.traced = 0

  def __call__(self, identity, values=jnp.arange(3.0)):  # noqa: B008
    def function(tree):
      self.traced += 1
      return dataclasses.replace(tree, values=2 * tree.values)

    tree = _Tree(values=values)
    return np.asarray(compiled_once.compiled(jax.jit(function), identity, (tree,))(tree).values)


def kept(folder):
  return sorted(folder.glob('program-*'))


def test_a_program_compiled_before_is_read_and_not_even_traced(folder, told):
  double = Doubling()
  for _ in range(3):
    np.testing.assert_array_equal(double('one'), [0, 2, 4])
  assert double.traced == 1 and len(kept(folder)) == 1
  begun, done, *read = told
  assert begun == 'compiling for this test' and done.startswith('compiled in ') and len(read) == 2
  assert all(re.match(r'read the program for this test in \d+\.\d s ', text) for text in read)


def test_what_differs_in_identity_shape_dtype_settings_flags_code_or_machine_is_another_program(folder, monkeypatch):
  double = Doubling()
  double('one')
  double('two')
  double('one', jnp.arange(4.0))
  double('one', jnp.arange(3))
  with jax.default_matmul_precision('bfloat16'):
    double('one')
  monkeypatch.setenv('LIBTPU_INIT_ARGS', '--a_flag')
  double('one')
  monkeypatch.setattr(compiled_once, 'source', lambda: 'changed code')
  double('one')
  monkeypatch.setattr(devices, 'machine_facts', lambda: {'device': 'another machine'})
  double('one')
  assert double.traced == 8 == len(kept(folder))


def test_a_damaged_file_is_made_anew(folder, told, caplog):
  double = Doubling()
  double('one')
  (path,) = kept(folder)
  whole = path.read_bytes()
  flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
  for count, damage in enumerate((b'', b'nonsense', b'[' * 9999, whole[:200], whole[:-1], flipped), start=2):
    path.write_bytes(damage)
    caplog.clear()
    np.testing.assert_array_equal(double('one'), [0, 2, 4])
    assert double.traced == count and len(caplog.records) == 1 and str(path) in caplog.text
  np.testing.assert_array_equal(double('one'), [0, 2, 4])
  assert double.traced == count


def test_a_file_that_a_failing_disk_does_not_deliver_is_compiled_again_and_left(folder, caplog, monkeypatch):
  double = Doubling()
  double('one')

  def fail(path):
    raise OSError(errno.EIO, 'Input/output error', str(path))

  monkeypatch.setattr(program_files, 'read', fail)
  monkeypatch.setattr(program_files, 'write', lambda *_: None)
  np.testing.assert_array_equal(double('one'), [0, 2, 4])
  assert double.traced == 2 and len(caplog.records) == 1 and kept(folder)


def test_where_nothing_can_be_kept_it_is_compiled_and_said_once(folder, tmp_path, told, caplog, monkeypatch):
  monkeypatch.setattr(locks, 'take', lambda *_, **__: pytest.fail('it asks for a lock that no file can hold'))
  double = Doubling()
  jax.config.update('jax_compilation_cache_dir', str(tmp_path / 'missing' / 'folder'))
  np.testing.assert_array_equal(double('one'), [0, 2, 4])
  assert [record.levelno for record in caplog.records] == [logging.WARNING]
  assert 'cannot be kept there for later runs (no such file or directory); set XDG' in caplog.text
  jax.config.update('jax_compilation_cache_dir', None)
  np.testing.assert_array_equal(double('one'), [0, 2, 4])
  assert double.traced == 2 and len(caplog.records) == 1 and told[2] == 'compiling for this test'


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_full_disk_and_a_read_only_one_are_said_and_leave_no_half_file(code, folder, monkeypatch, caplog):
  def fail(_):
    raise OSError(code, 'as on that disk')

  monkeypatch.setattr(atomic, '_reach_disk', fail)
  np.testing.assert_array_equal(Doubling()('one'), [0, 2, 4])
  remedy = 'make room there, or set XDG' if code == errno.ENOSPC else 'set XDG'
  assert f'{folder}: compiled programs cannot be kept there for later runs (as on that disk); {remedy}' in caplog.text
  assert len(caplog.records) == 1
  assert not kept(folder) and not list(folder.glob('.*'))


@pytest.mark.parametrize('name', ['serialize', 'deserialize_and_load'])
def test_where_programs_cannot_be_read_back_the_cache_of_jax_keeps_them(name, folder, monkeypatch, told):
  def fail(*_, **__):
    raise NotImplementedError('not here')

  monkeypatch.setattr(serialize_executable, name, fail)
  compiled_once._can_keep.cache_clear()
  double = Doubling()
  for _ in range(2):
    np.testing.assert_array_equal(double('one'), [0, 2, 4])
  compiled_once._can_keep.cache_clear()
  assert not kept(folder) and told[0] == 'compiling for this test, or reading what an earlier run compiled'


def test_a_program_for_another_than_the_first_device_is_not_kept(folder):
  shapes = (jax.ShapeDtypeStruct((2,), jnp.float32),)
  assert compiled_once._name('one', shapes)
  with jax.default_device(jax.devices()[0]):
    assert compiled_once._name('one', shapes) is None


@pytest.mark.parametrize('name', ['calls back into its process', 'calls LAPACK, which JAX makes ready as it lowers'])
def test_a_function_that_not_every_process_can_run_is_not_kept(name, folder):
  def reporting(values):
    jax.debug.callback(lambda _: None, values)
    return values

  function = reporting if 'back' in name else jnp.linalg.eigvalsh
  program = compiled_once.compiled(jax.jit(function), name, (jnp.eye(2),))
  assert program(jnp.eye(2)).shape and not kept(folder)


@pytest.mark.parametrize(
  ('attend', 'lower'),
  [(attention_pallas.attend, lowering.exported), (attention_cudnn.attend, lowering.exported_for_no_device)],
  ids=['pallas', 'cudnn'],
)
def test_programs_with_gpu_kernels_can_be_kept(attend, lower, monkeypatch):
  monkeypatch.setattr('jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version', lambda: 91000)
  q, mask = jax.ShapeDtypeStruct((8, 4, 128, 32), jnp.bfloat16), jax.ShapeDtypeStruct((8, 128), jnp.float32)
  exported = lower('cuda', lambda q, mask: attend(q, q, q, mask, None), q, mask)
  assert exported.platforms == ('cuda',)


def test_a_kept_program_still_takes_over_the_memory_it_is_given(folder):
  values = jnp.zeros(1000)
  for _ in ('compiled', 'read'):
    program = programs.Program(lambda values: values + 1, 'one more', donate_argnums=0)
    assert program.compile(values).memory_analysis().alias_size_in_bytes == values.nbytes
  assert float(program(values)[0]) == 1 and values.is_deleted()


def test_a_kept_prediction_is_the_same_to_the_last_bit_and_compiles_nothing(folder):
  model, case = small_predictions.make_model(), small_predictions.Case(16, 0, {'num_recycle': 1}, ())
  compiled, found = [], []
  jax.monitoring.register_event_duration_secs_listener(listen := lambda name, *_, **__: compiled.append(name))
  for _ in ('compiled', 'read'):
    programs.compiled.cache_clear()  # as in another process, where small programs of JAX's own are compiled as well
    jax.clear_caches()
    compiled.clear()
    found.append(small_predictions.run(model, case, num_devices=1))
  jax.monitoring.unregister_event_duration_listener(listen)
  assert not [name for name in compiled if 'backend_compile' in name]
  jax.tree.map(np.testing.assert_array_equal, *found)
  whats = sorted(program_files.check(path).what for path in kept(folder))
  assert [what.split(', ')[:2] for what in whats] == [[name, '16 residues'] for name in ('begin', 'draw', 'one_pass')]
  assert 'rows, float32, ' in whats[2]


# ------------------------------------------------------------------------------------------ several processes

_WORKER = """
import sys, time
import jax, jax.numpy as jnp
from alphafold_jax import compiled_once
def function(x):
  print('traced', flush=True)
  time.sleep(float(sys.argv[1]))
  return x + 1
if len(sys.argv) > 2:
  compiled_once._name = lambda *_: sys.argv[2]
with compiled_once.watched('two', lambda text: print(text, flush=True)):
  print(compiled_once.compiled(jax.jit(function), 'shared', (jnp.zeros(2),))(jnp.zeros(2)))
"""


_NAME = '0' * 32


def start(folder, *arguments):
  return subprocess.Popen(
    [sys.executable, '-c', _WORKER, *map(str, arguments)],
    env=environment() | {'JAX_COMPILATION_CACHE_DIR': str(folder)},
    stdout=subprocess.PIPE,
    text=True,
  )


def test_of_two_processes_that_start_together_one_compiles(folder):
  both = [start(folder, 2) for _ in range(2)]
  first, second = sorted((process.communicate(timeout=120)[0] for process in both), key=len)
  assert 'compiling for two\ntraced\ncompiled in' in first and '[1. 1.]' in first
  assert second.startswith('waiting for another process that compiles for two\nread the program for two in ')
  assert '[1. 1.]' in second and len(kept(folder)) == 1


def test_a_process_that_sleeps_or_is_killed_while_it_compiles_is_not_waited_for_for_ever(folder, told, monkeypatch):
  monkeypatch.setattr(compiled_once, '_name', lambda *_: _NAME)
  arguments = (jnp.zeros(2),)
  holder = start(folder, 60, _NAME)
  try:
    while 'traced' not in holder.stdout.readline():
      pass
    holder.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(compiled_once, 'PATIENCE', 0.5)
    began = time.monotonic()
    compiled_once.compiled(jax.jit(lambda x: x + 1), 'any', arguments)
    assert time.monotonic() - began > 0.5
    assert told[:2] == ['waiting for another process that compiles for this test', 'compiling for this test']
    kept(folder)[0].unlink()
    monkeypatch.setattr(compiled_once, 'PATIENCE', 60.0)
    threading.Timer(0.3, holder.kill).start()
    compiled_once.compiled(jax.jit(lambda x: x + 2), 'any', arguments)
    assert time.monotonic() - began < 30 and told[3:5] == told[:2]
  finally:
    holder.kill()
    holder.communicate()
