# SPDX-License-Identifier: Apache-2.0
"""Blocks of alignment rows are taken out as Algorithm 1 says; crops start where Suppl. 1.2.8 says."""

import numpy as np
import pytest

from alphafold_jax.data.training.sampling import crop_start, delete_blocks


@pytest.mark.parametrize('num_seq', [1, 2, 3, 10, 1000])
def test_the_query_is_never_deleted(num_seq):
  for seed in range(50):
    kept = delete_blocks(np.random.default_rng(seed), num_seq, 5, 0.3)
    assert kept[0] == 0
    assert (np.diff(kept) > 0).all() and kept[-1] < num_seq


def test_what_is_deleted_are_at_most_five_blocks_of_three_tenths():
  for seed in range(100):
    kept = np.zeros(1000, bool)
    kept[delete_blocks(np.random.default_rng(seed), 1000, 5, 0.3)] = True
    edges = np.diff(np.concatenate([[True], kept[1:], [True]]).astype(int))  # the query's own row aside
    starts, ends = np.flatnonzero(edges < 0) + 1, np.flatnonzero(edges > 0) + 1
    assert len(starts) <= 5
    sizes = ends - starts
    assert (sizes[ends < 1000] >= 299).all()  # a whole block, or several merged; one may have lost the query's row
    assert sizes.sum() <= 1500


def test_a_row_survives_as_often_as_counting_says():
  # Row r is deleted by a block that starts at r-29 .. r of 100 rows: it survives five of them with (1 - 30/100)^5.
  kept = np.zeros(100)
  for seed in range(4000):
    kept[delete_blocks(np.random.default_rng(seed), 100, 5, 0.3)] += 1
  expected = [(1 - min(r + 1, 30) / 100) ** 5 for r in range(1, 100)]
  np.testing.assert_allclose(kept[1:] / 4000, expected, atol=0.04)


def test_no_blocks_delete_nothing():
  assert len(delete_blocks(np.random.default_rng(0), 77, 0, 0.3)) == 77
  assert len(delete_blocks(np.random.default_rng(0), 77, 5, 0.0)) == 77


def starts(num_res: int, clamped: bool) -> np.ndarray:
  rng = np.random.default_rng(0)
  return np.array([crop_start(rng, num_res, 64, clamped) for _ in range(20_000)])


def test_clamped_crops_start_anywhere_alike():
  share = np.bincount(starts(73, True), minlength=10) / 20_000
  np.testing.assert_allclose(share, 0.1, atol=0.01)


def test_unclamped_crops_tend_to_the_beginning():
  share = np.bincount(starts(73, False), minlength=10) / 20_000
  # P(start = s) = sum over x <= n - s of 1/(n + 1) * 1/(n - x + 1), n = 9.
  expected = [sum(1 / 10 / (9 - x + 1) for x in range(9 - s + 1)) for s in range(10)]
  np.testing.assert_allclose(share, expected, atol=0.01)


@pytest.mark.parametrize('clamped', [True, False])
@pytest.mark.parametrize('num_res', [1, 63, 64])
def test_a_chain_that_fits_is_not_cropped(num_res, clamped):
  assert (starts(num_res, clamped)[:100] == 0).all()
