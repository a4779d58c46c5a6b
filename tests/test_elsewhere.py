# SPDX-License-Identifier: Apache-2.0
"""Programs for machines that are not here: their names and facts, and what a compiled program says of itself."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alphafold_jax import cli, config, errors, experiments, machine
from alphafold_jax.elsewhere import compilers, lowering, report, targets

GIB = 2**30
ROOT = Path(__file__).parents[1]
PROGRAM = (Path(__file__).parent / 'data' / 'elsewhere' / 'tpu.txt').read_text(encoding='utf-8')  # of exchanges.py
WITH_UNKNOWN_GROUPS = PROGRAM.replace('replica_groups={{0,1,2,3}}', 'replica_groups=@groups')
SOLD = {  # GiB, by the names of machines or the pages of their makers
  'v4': 32, 'v5e': 16, 'v5p': 95, 'v6e': 32,
  'b200': 180, 'h200': 141, 'h100': 80, 'a100-80': 80, 'a100-40': 40, 'l40s': 48, 'l4': 24, 't4': 16,
}  # fmt: skip


# ------------------------------------------------------------------------------------------ the machines


@pytest.mark.parametrize(
  'text, platform, num_devices, topology',
  [
    ('v5e:2x2', 'tpu', 4, 'v5e:2x2'),
    ('v5e:16x16', 'tpu', 256, 'v5e:16x16'),
    ('V4:2x2x4', 'tpu', 16, 'v4:2x2x4'),
    ('v5p:16x16x24', 'tpu', 6144, 'v5p:16x16x24'),
    ('h200', 'cuda', 1, '1x1x1'),
    ('a100-80:8', 'cuda', 8, '1x8x1'),
  ],
)
def test_a_target_is_a_topology_of_tpus_or_gpus_of_one_host(text, platform, num_devices, topology):
  target = targets.parse(text)
  assert (target.platform, target.num_devices) == (platform, num_devices)
  assert target.options['topology' if platform == 'cuda' else 'topology_name'] == topology
  assert targets.parse(target.name) == target


@pytest.mark.parametrize(
  'text, message',
  [
    ('h2000', 'did you mean h200'),
    ('v7:2x2', 'no such machine'),
    ('v5e', 'has no size; give v5e:AxB, such as v5e:2x2'),
    ('v5e:2x2x2', "has the size '2x2x2'"),
    ('v4:2x2', 'give v4:AxBxC, such as v4:2x2x1'),
    ('v5e:0x2', "has the size '0x2'"),
    ('h200:many', 'no number of GPUs'),
    ('h200:17', 'no host has so many; give at most 16'),
    ('v5e:3x5', 'there is no such slice; there are 1x1, 2x2, 2x4, .*, 16x16'),
    ('v6e:16x32', 'there is no such slice'),
    ('v4:3x2x1', 'no such slice; sides are 1, 2 or multiples of 4'),
    ('v5p:16x16x28', 'chips at most 6,144'),
  ],
)
def test_a_wrong_target_is_refused_with_what_may_have_been_meant(text, message):
  with pytest.raises(errors.InputError, match=message):
    targets.parse(text)


def test_chips_of_two_cores_are_one_device_and_less_than_a_host_is_said_to_be():
  assert targets.parse('v5p:2x2x1').options['chip_config_name'] == 'megacore'
  assert 'chip_config_name' not in targets.parse('v5e:2x2').options
  assert targets.parse('v6e:1x1').options['chips_per_host_bounds'] == (1, 1, 1)


def test_every_machine_has_the_memory_it_is_sold_with_and_a_source():
  rows = targets.CHIPS | targets.GPUS
  assert set(rows) == set(SOLD)
  for name, row in rows.items():
    assert 0.92 * SOLD[name] <= row.memory / GIB <= SOLD[name], name  # drivers keep some
    assert row.source and row.peak > row.bandwidth > 1e11, name


def test_what_a_compiler_is_told_of_a_gpu_names_each_fact_once_in_balanced_braces():
  for gpu in targets.GPUS.values():
    text = targets.gpu_config(gpu)
    assert text.count('{') == text.count('}') == 3
    names = re.findall(r'(\w+)(?=:| \{)', text)
    assert len(names) - len(set(names)) == 2  # major and minor, of the GPU and of cuDNN
    assert f'device_memory_size: {gpu.memory}' in text and f'core_count: {gpu.cores}' in text


# ------------------------------------------------------------------------------------------ what is said


class _Refusing:
  """A lowered program whose compiler has no room, or another reason."""

  def __init__(self, message):
    self.message = message

  def compile(self):
    raise RuntimeError(self.message)


class _Willing:
  """A lowered program, and the compiled one."""

  def __init__(self, text):
    self.text = text

  def compile(self):
    return self

  def as_text(self):
    return self.text

  def memory_analysis(self):
    names = ('argument', 'output', 'alias', 'temp')
    sizes = {f'{name}_size_in_bytes': i * GIB for i, name in enumerate(names, 2)}
    return type('Stats', (), sizes | {'peak_memory_in_bytes': 5 * GIB})


def work(lowered):
  return lowering.Lowering('pass', 'a toy', lowered, 4, 2**28, 8 * GIB, GIB)


def test_a_report_has_the_same_for_people_and_for_programs():
  target = targets.parse('h200')
  found = report.compiled(target, work(_Willing(PROGRAM)))
  said = json.loads(json.dumps(found.as_json()))
  assert (said['kind'], said['chunk_bytes'], said['devices']) == ('pass', 2**28, 4)
  assert {'target', 'planned_bytes', 'reserved_bytes', 'fits', 'kernels', 'compile_seconds', 'versions'} <= set(said)
  assert said['reserved_bytes'] == (2 + 3 - 4 + 5) * GIB and said['fits'] is True
  assert said['collectives']['all-gather'] == {'count': 5, 'bytes': 15 * 64 * 128 * 4}
  assert said['note'] == 'compiled, not measured' and said['note'] in str(found)
  assert '6.00 GiB of 8.00 GiB on each device: fits; planned 1.00 GiB' in str(found)


def test_of_a_tpu_the_most_at_any_moment_must_be_free():
  found = report.compiled(targets.parse('v5e:2x2'), work(_Willing(PROGRAM)))
  assert found.reserved == found.as_json()['reserved_bytes'] == found.as_json()['parts']['peak'] == 5 * GIB
  assert 'temporaries 5.00 GiB, peak 5.00 GiB' in str(found) and 'peak' not in str(
    report.compiled(targets.parse('h200'), work(_Willing(PROGRAM)))
  )


@pytest.mark.parametrize(
  'text, reason',
  [(None, 'no text'), ('HloModule x', 'no beginning'), (WITH_UNKNOWN_GROUPS, 'unknown form: replica_groups=@groups')],
)
def test_of_a_program_that_cannot_be_read_the_memory_is_told_and_nothing_else(text, reason):
  found = report.compiled(targets.parse('h200'), work(_Willing(text)))
  said = found.as_json()
  assert reason in said['not_read'] and said['reserved_bytes'] == 6 * GIB
  assert said['kernels'] is said['collectives'] is said['expected_seconds'] is None
  assert 'cannot be read' in str(found) and not re.search('expected|kernels', str(found))


@pytest.mark.parametrize(
  'message',
  [
    'Ran out of memory in memory space hbm. Used 20.25G of 15.75G hbm. Exceeded by 4.50G.',
    'Ran out of memory on HBM, the total memory required for HLO temporaries (20.25G) exceeds available HBM (15.75G).',
  ],
)
def test_a_program_that_the_compiler_has_no_room_for_does_not_fit(message):
  found = report.compiled(targets.parse('v5e:2x2'), work(_Refusing(message)))
  assert (found.fits, found.reserved, found.as_json()['kernels']) == (False, int(20.25 * GIB), None)
  assert found.available == found.as_json()['available_bytes'] == int(15.75 * GIB)  # by its compiler, not by our table
  assert 'DOES NOT FIT' in str(found)
  with pytest.raises(errors.InputError, match='its compiler refuses the program: INVALID_ARGUMENT: no'):
    report.compiled(targets.parse('v5e:2x2'), work(_Refusing('INVALID_ARGUMENT: no')))


def test_of_a_gpu_jax_has_the_share_that_predictions_take():
  target = targets.parse('h200')
  assert target.available() == int(0.92 * target.memory)
  assert target.available(targets.SHARE_OF_TRAINING) == int(0.75 * target.memory)


def test_of_a_tpu_programs_have_what_its_compiler_gives_them():
  of_compilers = {'v4:2x2x1': 30.75, 'v5e:2x2': 15.75, 'v6e:2x2': 31.25}  # as they say on refusing
  for name, gib in of_compilers.items():
    target = targets.parse(name)
    assert target.available() == target.available(targets.SHARE_OF_TRAINING) == gib * GIB < target.memory, name
  assert targets.parse('v5p:2x2x1').available() == 95 * GIB  # as published; its compiler says 95.73


# ------------------------------------------------------------------------------------------ what is refused


def test_fewer_devices_than_asked_for_are_refused_with_what_has_enough():
  with pytest.raises(errors.InputError, match='h200: it has 1 device, not 4; give h200:4'):
    compilers.devices_of(targets.parse('h200'), 4)
  with pytest.raises(errors.InputError, match='a larger topology'):
    compilers.devices_of(targets.parse('v5e:2x2'), 8)


def test_a_compiler_that_is_not_installed_is_named_with_its_extra(monkeypatch):
  monkeypatch.setattr(compilers.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(errors.ResourceError, match=r'TPUs is not installed \(libtpu\); .*\[tpu\].* needs no device'):
    compilers.devices_of(targets.parse('v5e:2x2'), 1)
  with pytest.raises(errors.ResourceError, match=r'NVIDIA GPUs is not installed .*\[cuda12\].*\[cuda13\]'):
    compilers.devices_of(targets.parse('h200'), 1)


@pytest.mark.parametrize(
  'name, said, becomes, message',
  [
    ('v4:2x2x1', 'Topology layout "v4:2x2x1" is not divisible', errors.InputError, 'does not know this machine'),
    (
      'v4:2x2x1',
      'no such attribute',
      errors.ResourceError,
      r'does not start \(no such attribute\); .* one version: .*jax',
    ),
    ('h200', 'topology of another version', errors.ResourceError, 'does not start'),
  ],
)
def test_a_compiler_that_does_not_start_is_no_fault_of_the_target(name, said, becomes, message, monkeypatch):
  from jax.experimental import topologies

  def refuse(**_):
    raise RuntimeError(said)

  monkeypatch.setattr(compilers.importlib.util, 'find_spec', lambda name: True)
  monkeypatch.setattr(topologies, 'get_topology_desc', refuse)
  with pytest.raises(becomes, match=message):
    compilers.devices_of(targets.parse(name), 1)


def test_the_environment_is_not_set_once_jax_runs(monkeypatch):
  monkeypatch.setattr(machine, 'jax_has_begun', lambda: True)
  before = dict(os.environ)
  with pytest.raises(errors.ResourceError, match='process of its own'):
    compilers.prepare()
  assert dict(os.environ) == before


@pytest.mark.parametrize(
  'words, message',
  [
    (['--for', 'h2000'], 'did you mean h200'),
    (['--for', 'h200', '--experiment', 'train_mini', '--num-res', '64'], '--num-res: of predictions'),
    (['--for', 'h200', '--num-res', '0'], '--num-res 0: give a whole number above 0'),
    (['--for', 'h200', '--devices', '-2'], '--devices -2: give'),
    (['--model', 'mini'], '--for'),
  ],
)
def test_a_wrong_command_is_refused_by_its_flag(words, message, capsys):
  assert cli.main(['compile', *words]) == 2
  assert message in capsys.readouterr().err


@pytest.mark.parametrize('experiment, path', [(None, ''), ('train_mini', 'model.')])
def test_the_flag_for_kernels_goes_before_their_setting(experiment, path, monkeypatch):
  from alphafold_jax.cli import compile as command

  models, changes = [], [(f'{path}kernels.implementation', 'xla'), (f'{path}dtype', 'float32')]
  monkeypatch.setattr(lowering, 'prediction', lambda target, config, *_: models.append(config))
  monkeypatch.setattr(lowering, 'training', lambda target, config: models.append(config.model))
  given = argparse.Namespace(
    experiment=experiment, kernels='pallas', config=changes, model='mini', num_res=None, devices=None
  )
  command._work(targets.parse('h200'), given)
  assert (models[0].kernels.implementation, models[0].dtype) == ('pallas', 'float32')


# ------------------------------------------------------------------------------------------ really compiled

_SMALL = '--model mini --num-res 16 --config evoformer.num_block=1 --config extra_msa.num_block=1'


@pytest.mark.skipif(not compilers.importlib.util.find_spec('libtpu'), reason='the extra tpu is not installed')
def test_a_small_pass_is_really_compiled_for_a_chip_that_is_not_here():
  command = [sys.executable, '-m', 'alphafold_jax', 'compile', '--for', 'v5e:2x2', '--json', *_SMALL.split()]
  done = subprocess.run(command, capture_output=True, encoding='utf-8', cwd=ROOT, check=True)
  said = json.loads(done.stdout.splitlines()[-1])
  assert said['fits'] and 0 < said['reserved_bytes'] < said['planned_bytes'] and said['parts']['aliased'] > 0
  assert 'libtpu' in said['versions']


_TWO_SIZES = """
from alphafold_jax.elsewhere import compilers, reading, report, targets
compilers.prepare()
import jax
import jax.numpy as jnp
from alphafold_jax.model import pair
from alphafold_jax.ops import seam
import haiku as hk

target = targets.parse('v5e:2x2')
place = jax.sharding.SingleDeviceSharding(compilers.devices_of(target, 1)[0])

def update(z, mask):
  return pair.TriangleMultiplication(128, outgoing=True)(z, mask)

def compile(num_res):
  z, mask = (jax.ShapeDtypeStruct((num_res, num_res, *c), jnp.bfloat16, sharding=place) for c in ((128,), ()))
  network = hk.transform(update)
  with seam.use_kernels(seam.Kernels('auto', 2**28, platform='tpu')):
    params = jax.eval_shape(network.init, jax.random.key(0), z, mask)
    params = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=place), params)
    lowered = jax.jit(lambda *a: network.apply(a[0], None, *a[1:]), donate_argnums=1).trace(params, z, mask)
    return lowered.lower(lowering_platforms=('tpu',)).compile()

memory = reading.memory_of(compile(2048), 'tpu')
try:
  compile(4096)
except Exception as error:
  print(memory.peak, memory.arguments + memory.temporaries, *report._NO_ROOM.search(str(error)).groups())
"""


@pytest.mark.skipif(not compilers.importlib.util.find_spec('libtpu'), reason='the extra tpu is not installed')
def test_chips_that_a_compiler_really_does_not_take_are_refused_before_it_ends_the_process():
  command = [sys.executable, '-m', 'alphafold_jax', 'compile', '--for', 'v5e:4x4', '--devices', '4', *_SMALL.split()]
  done = subprocess.run(command, capture_output=True, encoding='utf-8', cwd=ROOT)
  assert done.returncode == 2 and 'does not take 4 of its chips' in done.stderr and 'v5e:2x2' in done.stderr


@pytest.mark.skipif(not compilers.importlib.util.find_spec('libtpu'), reason='the extra tpu is not installed')
def test_a_compiler_of_tpus_really_refuses_by_the_peak():
  done = subprocess.run([sys.executable, '-c', _TWO_SIZES], capture_output=True, encoding='utf-8', cwd=ROOT, check=True)
  peak, stated, *refusal = done.stdout.split()
  used, room = (float(size.removesuffix('G')) for size in refusal)
  assert room == 15.75 and used == pytest.approx(4 * int(peak) / GIB, rel=0.01)  # four times as many pairs
  assert used < 0.8 * 4 * int(stated) / GIB  # the sum of the parts is no measure


HERE = targets.Machine('here', 'here', 'cpu', 1, 4 * GIB, 1.0, 1.0, 'none', {})
ONE_BLOCK = {'evoformer.num_block': 1, 'extra_msa.num_block': 1}


@pytest.fixture
def here(monkeypatch):
  """A machine whose devices are those of this process."""
  import jax

  monkeypatch.setattr(lowering, 'devices_of', lambda target, num: jax.devices()[:num])
  return HERE


def test_a_pass_is_lowered_as_it_is_planned(here):
  chosen = config.changed(config.model_config('mini'), ONE_BLOCK)
  found = lowering.prediction(here, chosen, 20)
  depth = chosen.sampling.num_msa + chosen.sampling.num_extra
  assert f'24 residues, {depth} alignment rows, float32' in found.what
  assert re.search(r'tensor<24x24x\d+xf32>', found.lowered.as_text())
  assert 0 < found.planned <= found.available == 4 * GIB
  assert (found.kind, found.chunk_bytes) == ('pass', 8 * 2**20)  # a CPU's


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'kernels.implementation': 'palas'}, "kernel 'palas' is not one of"),
    ({'kernels.implementation': 'cudnn'}, 'it needs an NVIDIA GPU, not a CPU'),
    ({'evoformer.num_head': 0}, 'there is no such program'),
  ],
)
def test_settings_without_a_program_for_the_machine_are_refused(here, changes, message):
  with pytest.raises(errors.InputError, match=message):
    lowering.prediction(here, config.changed(config.model_config('mini'), ONE_BLOCK | changes), 20)


@pytest.mark.parametrize(
  'error, becomes',
  [
    (ValueError('no'), errors.InputError),
    (ZeroDivisionError('no'), errors.InputError),
    (NotImplementedError('such a block'), errors.InputError),
    (TypeError('sub got incompatible shapes for broadcasting: (3,), (4,).'), errors.InputError),
    (RuntimeError('cuDNN not found.'), errors.ResourceError),
    (RuntimeError('cuDNN is not detected.'), errors.ResourceError),
    (TypeError("lower() got an unexpected keyword argument 'lowering_platforms'"), TypeError),
    (RuntimeError('the compiler is out of order'), RuntimeError),
    (AttributeError('jax has no such attribute'), AttributeError),
  ],
)
def test_only_what_comes_of_settings_is_told_as_such(error, becomes):
  with pytest.raises(becomes) as told, lowering._settings_refused():
    raise error
  assert told.type is becomes
  if becomes is errors.ResourceError:
    assert 'pip install nvidia-cudnn-cu12' in str(told.value)


def test_a_step_is_lowered_in_the_phase_of_the_largest_crop_and_in_bfloat16(here):
  changes = {f'model.{key}': value for key, value in ONE_BLOCK.items()} | {'model.structure.num_layer': 1}
  chosen = config.changed(experiments.experiment_config('train_mini'), changes)
  found = lowering.training(here, chosen)
  assert 'phase longer, crops of 96 residues, 128 rows, batch of 4, bfloat16, mesh 1 x 1' in found.what
  assert re.search(r'tensor<4x96x21xf32>', found.lowered.as_text())
  assert (found.kind, found.planned) == ('step', None)
