# SPDX-License-Identifier: Apache-2.0
"""What the text of a compiled program says: its exchanges and its kernels."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alphafold_jax import errors
from alphafold_jax.elsewhere import reading

ROOT = Path(__file__).parents[1]
TOY = ROOT / 'tests' / 'data' / 'elsewhere'  # programs of exchanges.py, by what they were compiled for
OWN = 64 * 128 * 4  # bytes of a device's part in the toy
SUM = 2 * OWN * 3 // 4  # what a device receives when four sum such parts
EXCHANGED = {  # by hand: five times in a loop, the rest once; the last loop's length is not known
  'all-gather': (5, 5 * 3 * OWN),
  'all-to-all': (5, 5 * 3 * OWN),
  'collective-permute': (1, OWN),
}
OF_TPU = {'all-reduce': (2, 3 * SUM)}  # which sums whole arrays where parts are wanted, two of them at once
OF_OTHERS = {'all-reduce': (2, 2 * SUM), 'reduce-scatter': (1, SUM // 2)}


def exchanged(found):
  return {kind: (one.count, one.bytes) for kind, one in found.collectives.items()}


@pytest.mark.parametrize('name, others', [('tpu', OF_TPU), ('cuda', OF_OTHERS)])
def test_exchanges_are_counted_with_the_trips_of_their_loops(name, others):
  found = reading.read((TOY / f'{name}.txt').read_text(encoding='utf-8'), 4)
  assert exchanged(found) == EXCHANGED | others
  assert found.is_least


def test_exchanges_of_a_program_that_is_really_compiled_here(tmp_path):
  text = tmp_path / 'cpu.txt'
  command = [sys.executable, str(TOY / 'exchanges.py'), 'cpu', str(text)]
  subprocess.run(command, check=True, env=os.environ | {'PYTHONPATH': str(ROOT)})
  found = reading.read(text.read_text(encoding='utf-8'), 4)
  assert exchanged(found) == EXCHANGED | OF_OTHERS


@pytest.mark.parametrize(
  'groups, num_devices',
  [
    ('{{0,1},{2,3}}', 2),
    ('[2,2]<=[4]', 2),
    ('[2,2]<=[2,2]T(1,0)', 2),
    ("mesh['data'=2,'model'=2] {'model'}", 2),
    ("mesh['data'=2,'model'=2], device_ids=([4]T(1,0)) {'data'}", 2),
    ("mesh['data'=2,'model'=2] {'data','model'}", 4),
    ('{}', 4),
  ],
)
def test_groups_of_devices_in_every_form_that_compilers_write(groups, num_devices):
  found = reading.read(gathering(groups), 4)
  assert found.collectives['all-gather'].bytes == 1024 * (num_devices - 1) // num_devices


@pytest.mark.parametrize('groups', ["mesh['x'=4] {'x':(1)2}", '@groups', "mesh['x'=4]"])
def test_groups_in_an_unknown_form_are_refused(groups):
  with pytest.raises(errors.InputError, match=re.escape(f'unknown form: replica_groups={groups}')):
    reading.read(gathering(groups), 4)


def gathering(groups):
  """A program whose devices gather 1,024 bytes."""
  return f"""
ENTRY %main (p: f32[64]) -> f32[256] {{
  %p = f32[64]{{0}} parameter(0)
  ROOT %a = f32[256]{{0}} all-gather(%p), channel_id=1, replica_groups={groups}, dimensions={{0}}
}}
"""


def test_bytes_of_types():
  assert reading.num_bytes('bf16[8,4]{1,0:T(8,128)(2,1)}') == 64
  assert reading.num_bytes('(f32[3]{0}, /*index=1*/pred[5], s32[])') == 21
  assert reading.num_bytes('f8e4m3fn[10]') == 10
  assert reading.num_bytes('token[]') == 0


def test_kernels_are_ours_and_those_of_libraries():
  text = """
ENTRY %main (p: f32[2]) -> f32[2] {
  %p = f32[2]{0} parameter(0)
  %a = f32[2]{0} custom-call(%p), custom_call_target="__gpu$xla.gpu.triton", backend_config={}
  %b = f32[2]{0} custom-call(%a), custom_call_target="__cudnn$fmhaSoftmax"
  %c = f32[2]{0} custom-call(%b), custom_call_target="__gpu$xla.gpu.triton", backend_config={}
  ROOT %d = f32[2]{0} custom-call(%c), custom_call_target="AllocateBuffer"
}
"""
  found = reading.read(text, 1)
  assert found.kernels == {'__gpu$xla.gpu.triton': 2, '__cudnn$fmhaSoftmax': 1}
  assert (found.collectives, found.is_least) == ({}, False)
