# SPDX-License-Identifier: Apache-2.0
"""Padding never changes what is there, cropping undoes it, and bucket sizes keep their promises."""

import dataclasses
import random

import jax.numpy as jnp
import numpy as np
import pytest

from alphafold_jax import fields, schema
from alphafold_jax.data import features, padding
from alphafold_jax.errors import InputError


def random_tree(cls: type, sizes: dict[str, int], seed: int, **given):
  """An object of any schema type with random arrays."""
  rng = np.random.default_rng(seed)
  values = dict(given)
  for field in dataclasses.fields(cls):
    if field.name in values:
      continue
    if dataclasses.is_dataclass(field.type):
      values[field.name] = random_tree(field.type, sizes, seed)
    else:
      shape = [axis if isinstance(axis, int) else sizes[axis] for axis in field.metadata['axes']]
      values[field.name] = rng.integers(1, 9, shape).astype(field.metadata['dtype'])
  return cls(**values)


def assert_equal(a, b) -> None:
  ours, theirs = list(fields.leaves(a)), list(fields.leaves(b))
  assert [name for name, _, _ in ours] == [name for name, _, _ in theirs]
  for (name, _, x), (_, _, y) in zip(ours, theirs, strict=True):
    assert np.asarray(x).dtype == np.asarray(y).dtype and np.array_equal(x, y), name


@pytest.mark.parametrize('seed', range(8))
def test_cropping_undoes_padding_for_any_sizes(seed):
  rng = random.Random(seed)
  sizes = {
    axis: rng.randint(0 if axis != 'num_res' else 1, 9) for axis in ('num_res', 'num_seq', 'num_templ', 'num_copies')
  }
  larger = {axis: size + rng.randint(0, 7) for axis, size in sizes.items()}
  batch = random_tree(schema.Batch, sizes, seed)
  padded = padding.pad_batch(batch, larger)
  assert padding.axis_sizes(padded) == larger
  assert_equal(padding.crop(padded, sizes), batch)


def test_padding_holds_each_fields_fill_value_and_no_mask():
  batch = padding.pad_batch(features.make_batch('MKT'), {'num_res': 5, 'num_seq': 2, 'num_templ': 6})
  assert batch.aatype.tolist() == [12, 11, 16, 20, 20]
  assert batch.msa.tokens.tolist() == [[12, 11, 16, 21, 21], [21] * 5]
  assert batch.seq_mask.tolist() == [1, 1, 1, 0, 0]
  assert batch.msa.mask.sum() == 3 and batch.msa.pinned.tolist() == [1, 0]
  assert (batch.templates.aatype == 21).all() and batch.templates.mask.tolist() == [0] * 6


def test_axes_that_are_not_named_stay():
  batch = padding.pad_batch(features.make_batch('MKT'), {'num_seq': 4})
  assert padding.axis_sizes(batch) == {'num_res': 3, 'num_seq': 4, 'num_templ': 4}


def test_outputs_of_the_device_are_cropped_too_and_absent_heads_stay_absent():
  sizes = {'num_res': 6, 'num_msa': 2, 'num_layer': 2, 'c_m': 3, 'c_z': 2, 'c_s': 4}
  logits = random_tree(schema.Logits, sizes, 0, pae=None)
  outputs = random_tree(schema.Outputs, sizes, 0, logits=dataclasses.replace(logits, plddt=jnp.ones((6, 50))))
  cropped = padding.crop(outputs, {'num_res': 4})
  assert cropped.logits.pae is None
  assert cropped.logits.distogram.shape == (4, 4, 64) and cropped.recycled.pair.shape == (4, 4, 2)
  assert cropped.representations.msa.shape == (2, 4, 3) and cropped.structure.angles.shape == (2, 4, 7, 2)
  assert isinstance(cropped.logits.plddt, np.ndarray) and cropped.logits.plddt.shape == (4, 50)
  np.testing.assert_array_equal(cropped.recycled.pair, outputs.recycled.pair[:4, :4])


def test_padding_refuses_to_shrink_and_names_an_array_of_wrong_shape():
  batch = features.make_batch('MKT')
  with pytest.raises(InputError, match='axis num_res from 3 to 2'):
    padding.pad_batch(batch, {'num_res': 2})
  with pytest.raises(InputError, match=r"array 'seq_mask' has shape \(4,\).*num_res is 3 in 'aatype'"):
    padding.pad_batch(dataclasses.replace(batch, seq_mask=np.ones(4, np.float32)), {'num_res': 8})


def test_residue_buckets_hold_the_length_and_waste_at_most_an_eighth_of_a_long_one():
  buckets = [padding.residue_bucket(n) for n in range(1, 5000)]
  assert buckets == sorted(buckets) and all(bucket >= n and bucket % 8 == 0 for n, bucket in enumerate(buckets, 1))
  distinct = sorted(set(buckets))
  assert distinct[:4] == [16, 24, 32, 40] and {64, 128, 256, 512, 1024, 2048} < set(distinct)
  assert all(b / a <= 1.125 for a, b in zip(distinct, distinct[1:]) if a >= 64)
  assert all(padding.residue_bucket(bucket) == bucket for bucket in distinct)


def test_depth_buckets_hold_the_rows_and_are_few():
  buckets = [padding.msa_depth_bucket(n) for n in range(1, 30000)]
  assert all(bucket >= n for n, bucket in enumerate(buckets, 1))
  distinct = sorted(set(buckets))
  assert distinct[:8] == [1, 16, 64, 128, 256, 512, 1536, 5632] and 11264 in distinct
  assert all(b / a <= 4 for a, b in zip(distinct, distinct[1:]) if a >= 16)


@pytest.mark.parametrize('num_taken', [1, 2, 96, 1536, 5628, 5632, 9000])
def test_padded_depths_hold_the_rows_and_those_that_are_taken_are_in_few_buckets(num_taken):
  depths = [padding.padded_depth(n, num_taken) for n in range(1, 12_000)]
  assert depths[0] == 1 and depths == sorted(depths)
  assert all(depth >= n for n, depth in enumerate(depths, 1))
  assert len({min(depth, num_taken) for depth in depths}) <= (2 if num_taken <= 96 else 9)
  assert all(depth >= num_taken for n, depth in enumerate(depths, 1) if n > num_taken)
