# SPDX-License-Identifier: Apache-2.0
"""Sampling, masking and clustering of alignment rows: the shares of the paper, and draws that padding cannot change."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alphafold.model.tf import data_transforms

from alphafold_jax import schema
from alphafold_jax.data import features, padding
from alphafold_jax.model.sampling import MsaSample, SamplingSpec, cluster, mask_rows, sample_msa, shuffle_rows

SPEC = SamplingSpec(num_msa=4, num_extra=5, masked_fraction=0.15, uniform_prob=0.1, profile_prob=0.1, same_prob=0.1)
GAP, MASK = 21, 22


def random_msa(num_seq: int = 11, num_res: int = 9, seed: int = 0) -> schema.Msa:
  """Tokens of which no two rows are alike: the first two residues number the row."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, 22, (num_seq, num_res)).astype(np.int32)
  tokens[:, 0], tokens[:, 1] = np.divmod(np.arange(num_seq), 20)
  return schema.Msa(
    tokens=tokens,
    deletions=rng.integers(0, 5, tokens.shape).astype(np.float32),
    mask=np.ones(tokens.shape, np.float32),
    pinned=np.eye(1, num_seq, dtype=np.float32)[0],
    profile=features.profile(tokens),
  )


@functools.cache
def sampler(spec: SamplingSpec):
  return jax.jit(lambda key, msa: sample_msa(key, msa, spec))


def sample(seed: int, msa: schema.Msa, spec: SamplingSpec = SPEC) -> MsaSample:
  return jax.tree.map(np.asarray, sampler(spec)(jax.random.key(seed), msa))


def rows_of(*tokens: np.ndarray) -> list[tuple[int, ...]]:
  """All rows in a fixed order."""
  return sorted(map(tuple, np.concatenate(tokens).tolist()))


# ------------------------------------------------------------------------------------------ choice of rows


@pytest.mark.parametrize('seed', range(3))
def test_every_row_becomes_a_cluster_or_an_extra_row_once(seed):
  msa = random_msa()
  drawn = sample(seed, msa, dataclasses.replace(SPEC, num_extra=100))
  assert rows_of(drawn.target.tokens, drawn.extra_tokens) == rows_of(msa.tokens)
  assert drawn.extra_mask.all() and drawn.mask.all()


def test_rows_keep_their_deletions():
  msa = random_msa()
  drawn = sample(0, msa, dataclasses.replace(SPEC, num_extra=100))
  pairs = rows_of(
    np.concatenate([drawn.target.tokens, drawn.deletions], axis=1),
    np.concatenate([drawn.extra_tokens, drawn.extra_deletions], axis=1),
  )
  assert pairs == rows_of(np.concatenate([msa.tokens, msa.deletions], axis=1))


def test_pinned_rows_stay_in_front_in_their_order():
  msa = random_msa()
  pinned = np.zeros(11, np.float32)
  pinned[[0, 3, 7]] = 1
  msa = dataclasses.replace(msa, pinned=pinned)
  for seed in range(5):
    np.testing.assert_array_equal(sample(seed, msa).target.tokens[:3], msa.tokens[[0, 3, 7]])


def test_the_other_rows_come_in_any_order():
  msa = random_msa()
  first = {tuple(sample(seed, msa).target.tokens[1]) for seed in range(60)}
  assert len(first) == 10  # each of the ten rows; one is missing by chance in 2 of 100 choices of seeds


def test_empty_rows_come_last():
  msa = random_msa()
  mask = msa.mask.copy()
  mask[[2, 5]] = 0
  order = np.asarray(shuffle_rows(jax.random.key(0), dataclasses.replace(msa, mask=mask)))
  assert sorted(order) == list(range(11)) and set(order[-2:]) == {2, 5} and order[0] == 0


def test_there_is_an_extra_row_even_if_nothing_is_left():
  drawn = sample(0, random_msa(num_seq=1))
  assert drawn.tokens.shape == (1, 9) and drawn.extra_mask.shape == (1, 9) and not drawn.extra_mask.any()
  drawn = sample(0, random_msa(num_seq=4))
  assert drawn.tokens.shape == (4, 9) and not drawn.extra_mask.any()


# ------------------------------------------------------------------------------------------ randomness


def assert_equal_trees(a, b) -> None:
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_one_key_gives_one_sample_and_another_key_another():
  msa = random_msa()
  assert_equal_trees(sample(3, msa), sample(3, msa))
  assert (sample(3, msa).tokens != sample(4, msa).tokens).any()


def test_jax_draws_are_independent_of_the_size_of_what_is_drawn():
  assert jax.config.jax_threefry_partitionable  # JAX's default since 0.5
  key = jax.random.key(0)
  np.testing.assert_array_equal(jax.random.uniform(key, (5,)), jax.random.uniform(key, (9,))[:5])


@pytest.mark.parametrize('spec', [SPEC, dataclasses.replace(SPEC, masked_fraction=1.0)])
def test_padding_of_residues_and_rows_changes_no_draw(spec):
  msa = random_msa()
  padded = padding.pad_batch(msa, {'num_res': 16, 'num_seq': 20})
  for seed in range(3):
    ours = sample(seed, msa, spec)
    cut = padding.crop(sample(seed, padded, spec), {'num_res': 9})
    for name in ('tokens', 'deletions', 'mask', 'extra_tokens', 'extra_deletions', 'extra_mask'):
      np.testing.assert_array_equal(getattr(cut, name), getattr(ours, name), err_msg=name)
    assert_equal_trees(cut.target, ours.target)
    np.testing.assert_allclose(cut.profile, ours.profile, atol=1e-6)
    np.testing.assert_allclose(cut.deletion_mean, ours.deletion_mean, atol=1e-6)


def test_padding_is_never_masked_out_nor_counted():
  padded = padding.pad_batch(random_msa(), {'num_res': 16, 'num_seq': 20})
  drawn = sample(0, padded, dataclasses.replace(SPEC, masked_fraction=1.0))
  assert not drawn.target.mask[:, 9:].any() and drawn.target.mask[:, :9].all()
  assert not drawn.profile[:, 9:].any()


# ------------------------------------------------------------------------------------------ masking


@functools.cache
def masked(masked_fraction: float = 0.15) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Many cells of residue 3 whose column is half 5, half gap: tokens before and after, where replaced, the profile."""
  tokens = np.full((400, 500), 3, np.int32)
  profile = np.zeros((500, 22), np.float32)
  profile[:, [5, GAP]] = 0.5
  spec = dataclasses.replace(SPEC, masked_fraction=masked_fraction)
  after, where = jax.jit(mask_rows, static_argnums=3)(jax.random.key(0), tokens, profile, spec)
  return tokens, np.asarray(after), np.asarray(where) > 0, profile


def assert_share(count: int, total: int, share: float) -> None:
  """Five standard deviations of a binomial."""
  assert abs(count - total * share) <= 5 * np.sqrt(total * share * (1 - share)), (count / total, share)


def test_fifteen_percent_are_masked():
  tokens, after, where, _ = masked()
  assert_share(where.sum(), where.size, 0.15)
  np.testing.assert_array_equal(after[~where], tokens[~where])


def test_replacements_have_the_shares_of_the_paper():
  _, after, where, _ = masked()
  found = np.bincount(after[where], minlength=23)
  expected = np.full(23, 0.1 / 20)
  expected[[20, GAP, MASK]] = 0, 0, 0.7
  expected[3] += 0.1  # itself
  expected[[5, GAP]] += 0.05  # the profile
  for token in range(23):
    assert_share(found[token], where.sum(), expected[token])


def test_rows_and_columns_are_masked_independently():
  _, _, where, _ = masked()
  for axis in (0, 1):
    shares = where.mean(axis=axis)
    expected = np.sqrt(0.15 * 0.85 / where.shape[axis])
    assert 0.85 < shares.std() / expected < 1.15
  assert (where[0] != where[1]).any() and (where[:, 0] != where[:, 1]).any()


def test_without_masking_the_clusters_are_the_rows_themselves():
  drawn = sample(0, random_msa(), dataclasses.replace(SPEC, masked_fraction=0.0))
  np.testing.assert_array_equal(drawn.tokens, drawn.target.tokens)
  assert not drawn.target.mask.any()


def test_the_target_is_the_row_before_masking():
  msa = random_msa()
  drawn = sample(0, msa, dataclasses.replace(SPEC, masked_fraction=1.0))
  np.testing.assert_array_equal(drawn.target.tokens[0], msa.tokens[0])
  assert (drawn.tokens == MASK).mean() > 0.4 and (drawn.target.tokens < MASK).all()


# ------------------------------------------------------------------------------------------ clusters


@pytest.mark.parametrize(('num_clusters', 'num_rest'), [(4, 7), (5, 1), (1, 9), (3, 700)])
def test_clusters_equal_alphafolds(num_clusters, num_rest):
  rng = np.random.default_rng(num_rest)
  shape, rest = (num_clusters, 13), (num_rest, 13)
  protein = {
    'msa': rng.integers(0, 23, shape).astype(np.int32),  # 22: masked before clustering
    'msa_mask': np.ones(shape, np.float32),
    'deletion_matrix': rng.integers(0, 9, shape).astype(np.float32),
    'extra_msa': rng.integers(0, 22, rest).astype(np.int32),
    'extra_msa_mask': np.ones(rest, np.float32),
    'extra_deletion_matrix': rng.integers(0, 9, rest).astype(np.float32),
  }
  rows = ('deletion_matrix', 'msa_mask', 'extra_msa', 'extra_deletion_matrix', 'extra_msa_mask')
  ours = jax.jit(cluster)(jax.nn.one_hot(protein['msa'], 23), *(protein[name] for name in rows))
  theirs = data_transforms.summarize_clusters()(data_transforms.nearest_neighbor_clusters()(dict(protein)))
  np.testing.assert_allclose(ours[0], theirs['cluster_profile'], atol=1e-6)
  np.testing.assert_allclose(ours[1], theirs['cluster_deletion_mean'], rtol=1e-6)


def test_a_cluster_profile_counts_its_centre_and_sums_to_one():
  tokens = np.array([[0, 1, 2, 3], [10, 11, 12, 13]], np.int32)
  rest = np.array([[0, 1, 2, 9], [10, 11, 12, GAP]], np.int32)
  ones, zeros = np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32)
  profile, _ = cluster(jax.nn.one_hot(tokens, 23), zeros, ones, rest, zeros, ones)
  np.testing.assert_allclose(jnp.sum(profile, axis=-1), 1, atol=1e-5)
  assert profile[0, 3, 3] == pytest.approx(0.5, abs=1e-5) and profile[0, 3, 9] == pytest.approx(0.5, abs=1e-5)
  assert profile[1, 3, GAP] == pytest.approx(0.5, abs=1e-5)


def test_gaps_and_masks_do_not_count_as_agreement():
  centres = np.array([[GAP, GAP, MASK, 5], [1, 2, 3, 4]], np.int32)
  row = np.array([[GAP, GAP, 7, 4]], np.int32)  # shares two gaps with the first, one residue with the second
  deletions = np.array([[6, 6, 6, 6]], np.float32)
  _, mean = cluster(jax.nn.one_hot(centres, 23), np.zeros((2, 4)), np.ones((2, 4)), row, deletions, np.ones((1, 4)))
  np.testing.assert_allclose(mean, [[0, 0, 0, 0], [3, 3, 3, 3]], atol=1e-5)
