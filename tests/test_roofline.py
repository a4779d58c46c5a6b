# SPDX-License-Identifier: Apache-2.0
"""The time that the work of compiled programs should take: a range, expected and not measured."""

import importlib
import json
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from alphafold_jax import errors
from alphafold_jax.elsewhere import counting, lowering, reading, report, roofline, targets

TOY = Path(__file__).parent / 'data' / 'elsewhere'
BOTH_WAYS = {  # GB/s of a device, both ways together, as published
  'v4': 6 * 2 * 50, 'v5e': 400, 'v5p': 1200, 'v6e': 800,
  'b200': 1800, 'h200': 900, 'h100': 900, 'a100-80': 600, 'a100-40': 600, 'l40s': 64, 'l4': 64, 't4': 32,
}  # fmt: skip
FLOAT32 = {  # TFLOP/s without matrix units, by the datasheets
  'b200': 75, 'h200': 67, 'h100': 67, 'a100-80': 19.5, 'a100-40': 19.5, 'l40s': 91.6, 'l4': 30.3, 't4': 8.1,
}  # fmt: skip


MACHINE = targets.Machine(  # per second
  'x', 'x', 'cuda', 4, 1, 100.0, 10.0, 'none', {}, 1.0, peak_float32=50.0, exact_float32=20.0
)


def work(flops, traffic):
  return counting.WorkCount(flops, {}, (counting.Launch('a', 'fusion', '', 'f32[]', 0, traffic),), False)


def exchanging(num_bytes):
  return reading.ProgramContents({}, {'all-reduce': reading.Exchange(1, num_bytes)}, False)


@pytest.mark.parametrize(
  'flops, traffic, received, low, bound',
  [
    ({'bfloat16': 800}, 20, 1, 8, 'compute'),
    ({'float32': 100, 'exact float32': 40, 'bfloat16': 100}, 10, 1, 5, 'compute'),
    ({'bfloat16': 100}, 70, 1, 7, 'memory'),
    ({}, 10, 9, 9, 'links'),
  ],
)
def test_the_low_end_is_the_longest_and_the_high_end_the_sum(flops, traffic, received, low, bound):
  found = roofline.expected(MACHINE, work(flops, traffic), exchanging(received))
  assert found.low == pytest.approx(low) and found.bound == bound
  rates = {'bfloat16': 100, 'float32': 50, 'exact float32': 20}
  compute = sum(number / rates[dtype] for dtype, number in flops.items())
  high = compute / roofline.SHARE_OF_PEAK + traffic / 10 / roofline.SHARE_OF_BANDWIDTH
  assert found.high == pytest.approx(high + received / roofline.SHARE_OF_LINKS)


@pytest.mark.parametrize(
  'name, share', [('v5e:2x2', 0.8 / 4), ('v6e:2x2', 0.8 / 4), ('v4:2x2x1', 0.8 / 6), ('h200:4', 0.4)]
)
def test_two_neighbouring_chips_have_one_link_of_those_of_each(name, share):
  machine = targets.parse(name)
  found = roofline.expected(machine, work({}, 0), exchanging(10**9))
  assert found.share_of_links == pytest.approx(share)
  assert found.parts['links'] == pytest.approx(10**9 / machine.link / share)


def test_what_moves_little_takes_as_long_as_its_launch():
  steps = [counting.Launch('a', 'fusion', '', 'f32[]', 3, size) for size in (60, 0)]
  found = roofline.expected(MACHINE, counting.WorkCount({}, {}, tuple(steps), False), exchanging(0))
  assert found.parts['launches'] == pytest.approx(3 * roofline.SECONDS_OF_A_LAUNCH['cuda'])
  assert found.parts['memory'] == pytest.approx(10)


def test_an_expectation_says_that_it_is_none_of_measurements():
  counts = counting.WorkCount({'bfloat16': 10**12}, {'kernel': 2}, (), True)
  found = roofline.expected(MACHINE, counts, exchanging(0))
  said = json.loads(json.dumps(found.as_json()))
  assert set(said) == set(roofline.FIELDS)
  assert said['assumptions']['note'] == 'expected, not measured' and said['assumptions']['share_of_peak'] == 0.4
  assert said['expected_seconds'] == [1e10, 2.5e10]
  for words in ('not measured', 'not counted of kernel in 2 places', 'counted once', 'TFLOP: 1 in bfloat16', 'a pass'):
    assert words in found.said('a pass')


def test_products_are_told_in_full_numbers_most_first():
  counts = counting.WorkCount({'float32': 2 * 10**11, 'bfloat16': 1_462_800 * 10**9}, {}, (), False)
  assert 'TFLOP: 1,460 in bfloat16, 0.2 in float32;' in roofline.expected(MACHINE, counts, exchanging(0)).said('a pass')


class _Lowered:
  """A lowered program, and the compiled one."""

  def __init__(self, text):
    self.text = text

  def compile(self):
    return self

  def as_text(self):
    return self.text

  def memory_analysis(self):
    names = (*(f'{name}_size' for name in ('argument', 'output', 'alias', 'temp')), 'peak_memory')
    return type('Stats', (), {f'{name}_in_bytes': 1 for name in names})


def test_a_report_expects_for_people_and_for_programs():
  lowered = _Lowered((TOY / 'tpu.txt').read_text(encoding='utf-8'))
  found = report.compiled(targets.parse('v5e:2x2'), lowering.Lowering('step', 'a toy', lowered, 4, 2**28, 2**30, None))
  said = found.as_json()
  received = sum(one['bytes'] for one in said['collectives'].values())
  assert set(roofline.FIELDS) <= set(said) and said['bound'] == 'launches'
  assert said['parts_of_low_end']['links'] == pytest.approx(received / 200e9, rel=1e-3)
  assert re.search(r'^expected     .* a step, not measured: bound by launches', str(found), re.MULTILINE)


def test_links_and_rates_of_float32_are_those_published():
  for name, rows in (targets.CHIPS | targets.GPUS).items():
    assert rows.link * 2 == BOTH_WAYS[name] * 1e9, name
  for name, rate in FLOAT32.items():
    machine = targets.parse(name)
    assert machine.exact_float32 == pytest.approx(rate * 1e12, rel=0.02), name
    assert machine.exact_float32 <= machine.peak_float32 <= machine.peak
  assert math.isinf(targets.Machine('x', 'x', 'cpu', 1, 1, 1.0, 1.0, 'none', {}).link)


@pytest.fixture
def weak_scaling(monkeypatch):
  monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / 'benchmarks'))
  return importlib.import_module('weak_scaling')


def test_weak_scaling_counts_what_a_step_asks_for(weak_scaling):
  mesh = jax.sharding.Mesh(jax.devices()[:1], ('model',))

  def step(x, w):  # [8, 16], [16, 16]
    def body(x, _):
      return jax.lax.psum(x @ w, 'model'), jax.lax.all_gather(x, 'model', tiled=True)

    x, _ = jax.lax.scan(jax.checkpoint(body), x, None, length=5)
    return jax.lax.while_loop(lambda x: x.sum() < 3, lambda x: x @ w, x)

  specs = (jax.sharding.PartitionSpec(),) * 2
  mapped = jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=specs[0], check_vma=False)
  jaxpr = jax.jit(mapped).trace(jnp.ones((8, 16)), jnp.ones((16, 16))).jaxpr
  found = weak_scaling.count(jaxpr, {'model': 4}, num_params=0)
  assert found.flops == {'float32': (5 + 1) * 2 * 8 * 16 * 16}
  size = 8 * 16 * 4  # of what is summed, and of a part that is gathered, here by one device
  assert found.received == {('all-reduce', 'model'): 5 * 2 * size * 3 // 4, ('all-gather', 'model'): 5 * size * 3 // 4}


def test_weak_scaling_counts_gradients_over_all_axes_and_refuses_what_it_does_not_count(weak_scaling):
  mesh = jax.sharding.Mesh([jax.devices()[:1]], ('data', 'model'))

  def traced(step):
    spec = jax.sharding.PartitionSpec()
    mapped = jax.shard_map(step, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    return jax.jit(mapped).trace(jnp.ones(100)).jaxpr

  def step(gradient):  # [100], of as many parameters
    gradient, loss = jax.lax.psum((jax.lax.psum(gradient, 'model'), gradient.sum()), 'data')
    return gradient + loss + jax.lax.axis_index('data')

  found = weak_scaling.count(traced(step), {'data': 4, 'model': 2}, num_params=100)
  assert found.of_gradients == 2 * 400 * 3 // 4 + 2 * 400 * 1 // 2
  assert sum(found.received.values()) == found.of_gradients + 2 * 4 * 3 // 4
  with pytest.raises(errors.InputError, match='pbroadcast over .*model.*: not counted'):
    weak_scaling.count(traced(lambda x: jax.lax.pbroadcast(x, ('model',), 0)), {'data': 4, 'model': 2}, 100)
