# SPDX-License-Identifier: Apache-2.0
"""Batches come in order, the same for any number of threads and hosts, and go on where they stopped."""

import logging
from concurrent import futures

import numpy as np
import pytest
import small_cache

from alphafold_jax import fields
from alphafold_jax.data.training.cache import open_cache
from alphafold_jax.data.training.feeding import batches, stack
from alphafold_jax.data.training.training_set import DataSpec, TrainingSet
from alphafold_jax.errors import InputError

RNG = np.random.default_rng(3)
SEQUENCES = {f'chain{i}': small_cache.random_sequence(RNG, 20 + 4 * i) for i in range(6)}
SPEC = DataSpec(crop_size=32, num_rows=8, num_templates=1)


@pytest.fixture(scope='module')
def examples(tmp_path_factory) -> TrainingSet:
  cache = small_cache.make_cache(tmp_path_factory.mktemp('feed'), SEQUENCES, depth=20)
  return TrainingSet([cache], SPEC, seed=1, batch_size=4)


def arrays(feed) -> dict[str, np.ndarray]:
  return {name: value for name, _, value in fields.leaves(feed.batch)}


def assert_same(a, b) -> None:
  assert (a.step, a.ids) == (b.step, b.ids)
  for (name, x), y in zip(arrays(a).items(), arrays(b).values(), strict=True):
    np.testing.assert_array_equal(x, y, err_msg=name)


def test_batch_k_holds_the_examples_of_its_numbers(examples):
  feeds = list(batches(examples, start=2, stop=5, num_threads=2))
  assert [feed.step for feed in feeds] == [2, 3, 4]
  for feed in feeds:
    ids, parts = zip(*(examples.example(4 * feed.step + k) for k in range(4)), strict=True)
    assert feed.ids == ids
    for (name, x), y in zip(arrays(feed).items(), (v for _, _, v in fields.leaves(stack(parts))), strict=True):
      np.testing.assert_array_equal(x, y, err_msg=name)


def test_threads_change_nothing(examples):
  runs = [list(batches(examples, stop=6, num_threads=n)) for n in (1, 4)]
  for a, b in zip(*runs, strict=True):
    assert_same(a, b)


@pytest.mark.parametrize('num_hosts', [2, 4])
def test_hosts_share_a_batch_in_order(examples, num_hosts):
  whole = next(batches(examples, start=3, stop=4))
  parts = [next(batches(examples, start=3, stop=4, host=h, num_hosts=num_hosts)) for h in range(num_hosts)]
  assert sum((part.ids for part in parts), ()) == whole.ids
  for name, value in arrays(whole).items():
    np.testing.assert_array_equal(np.concatenate([arrays(part)[name] for part in parts]), value, err_msg=name)


def test_a_batch_must_divide_among_the_hosts(examples):
  with pytest.raises(InputError, match='4 examples cannot be divided among 3 hosts'):
    batches(examples, num_hosts=3)


def test_a_restored_iterator_goes_on_where_it_was(examples):
  first = batches(examples, stop=8, num_threads=2)
  for _ in range(3):
    next(first)
  state = first.get_state()
  assert state == {'step': 3}
  expected = [next(first) for _ in range(3)]
  second = batches(examples, stop=8, num_threads=3)
  second.set_state(state)
  for a in expected:
    assert_same(a, next(second))
  for a, b in zip(expected, batches(examples, start=3, stop=6), strict=True):  # a number does as well
    assert_same(a, b)


def test_a_state_means_the_same_for_another_number_of_hosts(examples):
  one = batches(examples, stop=8)
  next(one), next(one)
  parts = [batches(examples, stop=8, host=h, num_hosts=2) for h in range(2)]
  for part in parts:
    part.set_state(one.get_state())
  assert sum((next(part).ids for part in parts), ()) == next(one).ids


def test_it_never_ends_without_a_last_step(examples):
  far = batches(examples, start=10**9, num_threads=1)
  assert [next(far).step for _ in range(3)] == [10**9, 10**9 + 1, 10**9 + 2]


def test_a_damaged_file_does_not_end_the_run(tmp_path, caplog):
  cache = small_cache.make_cache(tmp_path, SEQUENCES, depth=20)
  small_cache.damage(cache.path)
  examples = TrainingSet([open_cache(cache.path)], SPEC, seed=1, batch_size=4)
  with caplog.at_level(logging.WARNING):
    feeds = list(batches(examples, stop=12, num_threads=2))
  assert len(feeds) == 12 and all(np.isfinite(feed.batch.msa.profile).all() for feed in feeds)
  assert 'chain chain0 is replaced by another one' in caplog.text and 'cannot be read' in caplog.text
  assert not any('chain0' in feed.ids for feed in feeds)


def test_threads_read_the_same_records_at_once(tmp_path):
  cache = small_cache.make_cache(tmp_path, SEQUENCES, depth=20)
  places = np.random.default_rng(0).integers(len(cache), size=400)
  with futures.ThreadPoolExecutor(8) as pool:
    read = list(pool.map(lambda i: cache[i].sequence, places))
  assert read == [SEQUENCES[cache.entries[i].id] for i in places]
