# SPDX-License-Identifier: Apache-2.0
"""Several proteins in one pass give what each gives alone."""

import dataclasses

import jax
import numpy as np
import pytest
import small_network
import small_predictions

from alphafold_jax import config as configs
from alphafold_jax import devices, errors, passes, planning, prediction, programs, tasks, together
from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.ops import seam
from alphafold_jax.settings import Settings

LETTERS = 'ACDEFGHIKLMNPQRSTVWY'
HOW = {'num_recycle': 2, 'num_ensemble': 2, 'max_msa': (3, 2), 'dtype': 'float32'}


def alignment(num_res, depth=7):
  rows = (''.join(LETTERS[(3 * i + row * i // 2 + row) % 20] for i in range(num_res)) for row in range(depth))
  return parse_a3m('\n'.join(f'>{row}\n{text}' for row, text in enumerate(rows)), 'a3m')


QUERIES = [alignment(length) for length in (9, 12, 16)]


@pytest.fixture(scope='module')
def model():
  return small_predictions.make_model()


@pytest.fixture(scope='module')
def alone(model):
  return [prediction.predict(model, query, seed=seed, **HOW) for seed, query in enumerate(QUERIES)]


@pytest.fixture(autouse=True)
def forgetful():
  yield
  tasks.RAN_OUT.clear()


def check_alike(found, alone):
  for ours, other in zip(found, alone, strict=True):
    fields = ('atom_positions', 'plddt', 'pae', 'contact_probability')
    small_network.assert_close(*({name: getattr(one, name) for name in fields} for one in (ours, other)), 1e-5)
    np.testing.assert_allclose([ours.ptm, ours.mean_plddt], [other.ptm, other.mean_plddt], rtol=1e-5)
    assert len(ours.passes) == len(other.passes) and ours.sequence == other.sequence and ours.seed == other.seed


def test_each_comes_out_as_if_alone_and_a_last_group_is_filled_up(model, alone):
  seen = []
  found = together.predict_together(
    model,
    QUERIES,
    seeds=[0, 1, 2],
    num_proteins=2,
    on_pass=lambda index, one, fetch: seen.append((index, fetch())),
    **HOW,
  )
  check_alike(found, alone)
  assert [index for index, _ in seen] == [0, 1, 0, 1, 0, 1, 2, 2, 2]
  assert all(np.array_equal(seen[last][1].plddt, found[index].plddt) for index, last in enumerate((4, 5, 8)))


def test_each_stops_recycling_by_itself(model, alone):
  change = [one.passes[1].change for one in alone]
  assert max(change) > 1.01 * min(change)
  between = HOW | {'recycle_early_stop_tolerance': (min(change) + max(change)) / 2}
  found = together.predict_together(model, QUERIES, seeds=[0, 1, 2], num_proteins=2, **between)
  assert [len(one.passes) for one in found] == [2 if one < np.mean([min(change), max(change)]) else 3 for one in change]
  check_alike(found, [prediction.predict(model, query, seed=i, **between) for i, query in enumerate(QUERIES)])


def test_one_that_gives_nan_is_computed_again_alone_in_float32(model, alone, caplog, monkeypatch):
  run = passes.run

  def overflowing(of, *arguments):
    return [alone[0], errors.NumericalError('overflow')] if of[0].config.dtype == 'bfloat16' else run(of, *arguments)

  monkeypatch.setattr(passes, 'run', overflowing)
  found = together.predict_together(model, QUERIES[:2], seeds=[0, 1], num_proteins=2, **HOW | {'dtype': 'bfloat16'})
  assert 'query: model_1_ptm gave NaN or infinity in bfloat16; computing again in float32' in caplog.text
  check_alike(found, alone[:2])


def test_one_that_gives_nan_in_float32_fails_and_the_others_do_not(model, alone, monkeypatch):
  compiled = programs.compiled

  def with_nan(*what):
    found = compiled(*what)

    def one_pass(*arguments):
      result = found.one_pass(*arguments)
      score = dataclasses.replace(result.confidence, finite=result.confidence.finite.at[0].set(False))
      return dataclasses.replace(result, confidence=score)

    return found._replace(one_pass=one_pass)

  monkeypatch.setattr(programs, 'compiled', with_nan)
  failed, *found = together.predict_together(model, QUERIES[:2], seeds=[0, 1], names=['a', 'b'], num_proteins=2, **HOW)
  assert isinstance(failed, errors.NumericalError) and str(failed).startswith('a: model_1_ptm gave NaN or infinity')
  check_alike(found, alone[1:2])


def test_half_as_many_are_computed_together_where_memory_runs_out(model, alone, monkeypatch, caplog):
  compiled, asked = programs.compiled, []

  def limited(*what):
    found = compiled(*what)
    asked.append(found.num_proteins)

    def runs_out(*_):
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')

    return found._replace(draw=runs_out) if found.num_proteins > 2 else found

  monkeypatch.setattr(programs, 'compiled', limited)
  for _ in range(2):
    check_alike(together.predict_together(model, QUERIES, seeds=[0, 1, 2], num_proteins=8, **HOW), alone)
  assert asked == [8, 4, 2, 2, 2, 2]
  assert 'ran out of memory with 8 proteins together; beginning again with fewer' in caplog.text


def test_what_does_not_fit_alone_is_refused_alone(model, alone, monkeypatch):
  monkeypatch.setattr(devices, 'available_bytes', lambda *_: 1000)
  found = together.predict_together(model, QUERIES[:2], num_proteins=2, **HOW)
  assert all(isinstance(one, errors.ResourceError) for one in found)


def test_proteins_of_other_programs_are_not_together(model):
  queries = [alignment(9), alignment(20), alignment(12), alignment(12, depth=1)]
  keys = [prediction.program_key(model, prediction.as_batch(query), Settings(**HOW)) for query in queries]
  assert keys[0] == keys[2] and len(set(keys)) == 3


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'queries': QUERIES[0]}, 'must be a list of queries'),
    ({'num_proteins': 0}, 'num_proteins=0: must be a whole number from 1 to 64'),
    ({'num_proteins': 2, 'num_devices': 2}, 'must be 1 where several devices share a protein'),
    ({'seeds': [1]}, 'seeds=.*must be as many as there are queries, 2'),
    ({'names': 'ab'}, None),
  ],
)
def test_wrong_arguments_are_named(model, arguments, message):
  if message:
    with pytest.raises(errors.InputError, match=message):
      together.predict_together(model, **{'queries': QUERIES[:2]} | arguments)
  assert together.predict_together(model, []) == []


# ------------------------------------------------------------------------------------------ how many


def test_on_cpus_the_planner_takes_one():
  assert planning.together(configs.model_config('mini'), 64, 10**12, 50) == 1


def test_an_accelerator_takes_as_many_as_neither_fill_it_nor_half_of_the_memory(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  mini, large = configs.model_config('mini'), configs.model_config('model_1_ptm')
  mini, large = (configs.changed(config, {'dtype': 'bfloat16'}) for config in (mini, large))
  assert [planning.together(mini, 64, 10**11, most) for most in (1, 2, 3, 30, 500)] == [1, 2, 4, 32, 64]
  assert [planning.together(large, size, 10**11, 500) for size in (32, 64, 128, 256)] == [4, 2, 1, 1]
  unbounded = planning.together(mini, 256, None, 500)
  work, found = planning._work(mini, 1, 0, False), []
  for free in (10**6, 10**9, 2 * 10**9, 10**11):
    found.append(count := planning.together(mini, 256, free, 500))
    taken, doubled = (
      dataclasses.replace(work, num_proteins=n).needed(256, work.spec.kernels) for n in (count, 2 * count)
    )
    assert count == 1 or taken <= free // 2
    assert count == unbounded or doubled > free // 2
  assert found == sorted(found) and found[0] == 1 and found[-1] == unbounded > found[1]


def test_several_need_the_parameters_once(model):
  spec = small_network.make_spec()
  one = planning.Work(spec, 10, 0, 10**6)
  two = dataclasses.replace(one, num_proteins=2)
  kernels = spec.kernels
  half = seam.divided(kernels, 2)
  assert 2 * seam.budget(half) == seam.budget(kernels)
  assert 2 * one.needed(64, half) - two.needed(64, kernels) == 4 * 10**6
  assert planning.plan(two, 64, None).num_proteins == 2


@pytest.mark.parametrize(
  ('asked', 'used'),
  [
    ('auto', 'auto'),
    ('cudnn', 'auto'),
    ('self_attention=cudnn,transition=pallas', 'transition=pallas'),
    ('self_attention=pallas,triangle_multiplication=cuequivariance', 'self_attention=pallas'),
  ],
)
def test_kernels_that_take_one_protein_give_way(asked, used):
  kernels = seam.Kernels(asked, chunk_bytes=1000)
  assert seam.divided(kernels, 4) == seam.Kernels(used, chunk_bytes=250)
  assert seam.divided(kernels, 1) == kernels
  strict = dataclasses.replace(kernels, strict=True)
  assert seam.divided(strict, 4) == dataclasses.replace(strict, chunk_bytes=250)
