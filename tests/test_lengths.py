# SPDX-License-Identifier: Apache-2.0
"""The padded lengths of a run: the cheapest there are, the same for all who share it, and no result depends on them."""

import itertools
import random

import pytest

from alphafold_jax.data.padding import best_lengths, residue_bucket
from alphafold_jax.runs.fleet import lengths, places
from alphafold_jax.runs.options import Options
from alphafold_jax.settings import Settings

MIXED = [round(30 * 1.0837**i) for i in range(24)]  # 30 to 190 residues


def total(chosen, proteins, program):
  """What it costs to compute proteins at some lengths, where a pass costs the square."""
  return program * len(chosen) + sum(
    passes * next(length for length in chosen if length >= own) ** 2 for own, passes in proteins.items()
  )


def test_the_best_lengths_are_those_that_trying_all_would_find():
  rng = random.Random(0)
  for _ in range(50):
    proteins = {8 * size: rng.randint(1, 9) for size in rng.sample(range(2, 40), rng.randint(1, 8))}
    program = 10 ** rng.uniform(2, 7)
    own = sorted(proteins)
    subsets = ((*some, own[-1]) for count in range(len(own)) for some in itertools.combinations(own[:-1], count))
    best = min(total(chosen, proteins, program) for chosen in subsets)
    found = best_lengths(proteins, lambda length: length**2, program)
    assert total(found, proteins, program) == pytest.approx(best) and set(found) <= set(own)


def test_compiling_for_nothing_keeps_every_length_and_compiling_without_end_leaves_one():
  proteins = {16: 3, 64: 1, 128: 2}
  assert best_lengths(proteins, float, 0.0) == (16, 64, 128)
  assert best_lengths(proteins, float, 1e30) == (128,)
  assert best_lengths({}, float, 1.0) == ()


def test_a_protein_alone_keeps_its_own_length():
  for num_res in (5, 100, 777):
    assert lengths.of_run([num_res], Options(), False).of(num_res) == residue_bucket(num_res)


@pytest.mark.parametrize('on_accelerator', [False, True])
def test_the_lengths_of_a_run_do_not_depend_on_the_order_of_proteins_and_hold_them_all(on_accelerator):
  options = Options(model_type='mini')
  chosen = lengths.of_run(MIXED, options, on_accelerator)
  assert chosen == lengths.of_run(reversed(MIXED), options, on_accelerator)
  assert all(residue_bucket(num_res) <= chosen.of(num_res) for num_res in MIXED)
  assert len(chosen.chosen) <= 4 < len(set(map(residue_bucket, MIXED)))


def test_what_takes_long_is_padded_less_and_accelerators_compile_less():
  few, many = (
    Options(model_type='mini', settings=Settings(num_recycle=0)),
    Options(model_type='alphafold2', num_seeds=5),
  )
  counts = [
    len(lengths.of_run(MIXED, options, on_accelerator).chosen)
    for options, on_accelerator in ((few, True), (few, False), (many, False))
  ]
  assert counts == sorted(counts) and counts[0] < counts[2]


def test_lengths_can_be_split_over_devices():
  options = Options(model_type='mini', settings=Settings(num_devices=3))
  assert all(length % 3 == 0 for length in lengths.of_run(MIXED, options, False).chosen)


def test_operations_are_those_that_were_counted():
  """12.8 and 11.9 TFLOP at 128 residues, of all products that models 1 and 5 trace to."""
  one, five = (lengths.operations(Options(model_type='alphafold2').model_config(f'model_{i}'), 128) for i in (1, 5))
  assert one == pytest.approx(12.8e12, rel=0.05) and five == pytest.approx(11.9e12, rel=0.05)


def test_rows_beyond_the_clusters_are_extra_rows_and_absent_ones_cost_nothing():
  config = Options(model_type='alphafold2').model_config('model_1')
  main, extra = config.sampling.num_msa, config.sampling.num_extra
  counted = [lengths.operations(config, 128, depth) for depth in (1, main, main + 1, main + extra, None)]
  steps = [after - before for before, after in zip(counted, counted[1:])]
  assert steps[0] / (main - 1) > 10 * steps[1] > 0 and steps[2] > 0 == steps[3]


def test_accelerators_are_expected_where_jax_would_find_them(monkeypatch):
  monkeypatch.setattr(places, 'visible_gpus', lambda: [])
  monkeypatch.setattr(places, 'is_for_gpus', lambda: True)
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu,cuda')
  assert not places.expects_accelerators(in_cluster=False) and places.expects_accelerators(in_cluster=True)
  monkeypatch.setattr(places, 'visible_gpus', lambda: ['0'])
  assert places.expects_accelerators(in_cluster=False)
