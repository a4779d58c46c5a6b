# SPDX-License-Identifier: Apache-2.0
"""Crops of complexes: sizes, contiguous pieces, and what lies around an interface."""

import collections

import numpy as np
import pytest

from alphafold_jax.data.training import chain_cropping

LENGTHS = (40, 25, 60)
ASYM = np.repeat([1, 2, 3], LENGTHS)


@pytest.mark.parametrize('size', [1, 30, 64, 124, 125, 200])
def test_a_contiguous_crop_is_full_and_one_piece_of_each_chain(size):
  for seed in range(60):
    crop = chain_cropping.crop_contiguous(np.random.default_rng(seed), LENGTHS, size)
    assert len(crop) == min(size, 125) and np.all(np.diff(crop) > 0)
    for chain in (1, 2, 3):
      piece = crop[ASYM[crop] == chain]
      assert np.all(np.diff(piece) == 1)


def test_every_size_and_place_of_a_piece_comes_up():
  sizes, starts = collections.Counter(), collections.Counter()
  for seed in range(3000):
    crop = chain_cropping.crop_contiguous(np.random.default_rng(seed), LENGTHS, 64)
    first = crop[ASYM[crop] == 1]
    sizes[len(first)] += 1
    if len(first) == 20:
      starts[int(first[0])] += 1
  assert set(sizes) == set(range(41))
  assert sum(sizes[n] for n in range(41)) == 3000 and sizes[40] < 1500
  assert len(starts) > 12 and max(starts) == 20


def test_pieces_follow_the_published_bounds():
  """The first chain that is cut may leave all to the others, or take all of the room that it can."""
  shares = []
  for seed in range(2000):
    crop = chain_cropping.crop_contiguous(np.random.default_rng(seed), (50, 50), 60)
    shares.append(int(np.sum(crop < 50)))
  assert min(shares) == 10 and max(shares) == 50
  # Whichever comes first is uniform in 10..50, and the other has the rest.
  counts = np.bincount(shares, minlength=51)[10:]
  assert abs(counts.mean() - 2000 / 41) < 1e-9 and counts.max() < 2.2 * counts.mean()


def lines(gap: float):
  """Three parallel chains, 3.8 Å between residues and some Å between the first two; the third is far away."""
  ca = np.zeros((len(ASYM), 3))
  for chain, offset in ((1, 0.0), (2, gap), (3, 200.0)):
    own = ASYM == chain
    ca[own, 0], ca[own, 1] = 3.8 * np.arange(own.sum()), offset
  return ca


def test_a_spatial_crop_holds_the_residues_nearest_to_one_at_an_interface():
  ca, known = lines(8.0), np.ones(len(ASYM))
  centres = collections.Counter()
  for seed in range(300):
    crop = chain_cropping.crop_spatial(np.random.default_rng(seed), ca, known, ASYM, 21, 10.0)
    assert len(crop) == 21 and np.all(np.diff(crop) > 0)
    assert set(ASYM[crop]) == {1, 2}
    assert len(chain_cropping.interface_residues(ca[crop], known[crop], ASYM[crop], 10.0)) > 1
    fits = [
      i
      for i in crop
      if np.array_equal(crop, np.sort(np.argsort(np.linalg.norm(ca - ca[i], axis=1) + 1e-3 * np.arange(125))[:21]))
    ]
    assert fits
    centres[fits[0]] += 1
  assert len(centres) > 25  # every residue of the interface may be the one


def test_chains_that_do_not_touch_have_no_spatial_crop():
  ca = lines(50.0)
  assert chain_cropping.crop_spatial(np.random.default_rng(0), ca, np.ones(len(ASYM)), ASYM, 20, 10.0) is None


def test_residues_that_were_not_resolved_come_last():
  ca, known = lines(8.0), np.ones(len(ASYM))
  known[5:20] = 0
  for seed in range(20):
    crop = chain_cropping.crop_spatial(np.random.default_rng(seed), ca, known, ASYM, 100, 10.0)
    assert known[crop].all()
  crop = chain_cropping.crop_spatial(np.random.default_rng(0), ca, known, ASYM, 112, 10.0)
  assert len(crop) == 112 and known[crop].sum() == 110 and set(crop[known[crop] == 0]) == {5, 6}


def test_of_many_chains_those_around_an_interface_are_chosen():
  rng = np.random.default_rng(0)
  asym = np.repeat(np.arange(1, 31), 10)
  ca = np.concatenate([rng.normal(size=(10, 3)) + (9.0 * chain, 0, 0) for chain in range(30)])
  for seed in range(20):
    chosen = chain_cropping.choose_chains(np.random.default_rng(seed), ca, np.ones(300), asym, 6, 10.0)
    assert len(chosen) == 6 and np.all(np.diff(chosen) == 1)  # neighbours


def test_crops_depend_on_the_seed_alone():
  ca, known = lines(8.0), np.ones(len(ASYM))
  for make in (
    lambda rng: chain_cropping.crop_contiguous(rng, LENGTHS, 50),
    lambda rng: chain_cropping.crop_spatial(rng, ca, known, ASYM, 50, 10.0),
  ):
    np.testing.assert_array_equal(make(np.random.default_rng(3)), make(np.random.default_rng(3)))
    assert len({make(np.random.default_rng(seed)).tobytes() for seed in range(20)}) > 5
