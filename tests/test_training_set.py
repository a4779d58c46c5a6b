# SPDX-License-Identifier: Apache-2.0
"""Examples are drawn as Suppl. 1.2.4 to 1.2.8 and 1.3 say, by number, and are what the files hold."""

import collections
import dataclasses
import logging

import jax
import numpy as np
import pytest
import small_cache

from alphafold_jax import fields
from alphafold_jax.data.alignment import encode
from alphafold_jax.data.features import make_batch
from alphafold_jax.data.training.cache import TrainingCache, open_cache
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.data.training.training_set import DataSpec, TrainingSet, whole_chain
from alphafold_jax.errors import InputError

RNG = np.random.default_rng(11)
LENGTHS = {'a': 20, 'b': 30, 'c': 40, 'd': 64, 'e': 90, 'held': 35, 'coarse': 33, 'mono': 36}
SEQUENCES = {name: small_cache.random_sequence(RNG, n) for name, n in LENGTHS.items()}
SEQUENCES['mono'] = 'A' * 32 + 'CDEF'
CLUSTERS = {'a': 1, 'b': 1, 'c': 1, 'd': 2, 'e': 3, 'held': 4, 'coarse': 5, 'mono': 6}
SPEC = DataSpec(crop_size=48, num_rows=16, num_templates=0, length_floor=25, length_cap=50)


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> TrainingCache:
  folder = tmp_path_factory.mktemp('set')
  table = small_cache.write_table(
    folder / 't.csv',
    [
      {
        'id': name,
        'cluster': CLUSTERS[name],
        'split': 'validation' if name == 'held' else 'train',
        'resolution': 9.5 if name == 'coarse' else '',
      }
      for name in SEQUENCES
    ],
  )
  return small_cache.make_cache(folder, SEQUENCES, depth=60, table=table)


@pytest.fixture(scope='module')
def predicted(tmp_path_factory) -> TrainingCache:
  folder = tmp_path_factory.mktemp('predicted')
  sequence = small_cache.random_sequence(np.random.default_rng(1), 40)
  plddt = np.where(np.arange(40) % 4 == 0, 49.9, 50.0)
  (folder / 'p.pdb').write_text(small_cache.pdb_text(sequence, b_factors=plddt))
  build_cache(folder / 'p.pdb', folder / 'cache', predicted=True, processes=1)
  return open_cache(folder / 'cache')


def record_of(cache: TrainingCache, name: str):
  return cache[next(i for i, entry in enumerate(cache.entries) if entry.id == name)]


def same(a, b) -> bool:
  return all(np.array_equal(x, y) for (_, _, x), (_, _, y) in zip(fields.leaves(a), fields.leaves(b), strict=True))


# Which chain


def test_validation_coarse_and_monotonous_chains_are_never_drawn(cache):
  examples = TrainingSet([cache], SPEC, seed=0, batch_size=4)
  assert {examples.example(i)[0] for i in range(200)} == {'a', 'b', 'c', 'd', 'e'}
  assert examples.describe()['experimental'] == {
    'chains': 5,
    'clusters': 3,
    'with alignment': 5,
    'split validation': 1,
    'resolution': 1,
    'single residue': 1,
  }


def test_clusters_are_drawn_alike_and_long_chains_more_often(cache):
  examples = TrainingSet([cache], SPEC, seed=0, batch_size=4)
  num = 3000
  drawn = collections.Counter(examples.example(i)[0] for i in range(num))
  accept = {name: max(min(LENGTHS[name], 50), 25) / 50 for name in 'abcde'}
  weight = {name: accept[name] / (3 if name in 'abc' else 1) for name in 'abcde'}
  for name in 'abcde':
    expected = weight[name] / sum(weight.values())
    assert abs(drawn[name] / num - expected) < 4 * np.sqrt(expected * (1 - expected) / num), name


def test_distillation_takes_its_share(cache, predicted):
  spec = dataclasses.replace(SPEC, distillation_fraction=0.75)
  examples = TrainingSet([cache, predicted], spec, seed=0, batch_size=4)
  share = np.mean([examples.example(i)[0] == 'p' for i in range(800)])
  assert abs(share - 0.75) < 0.06
  without = TrainingSet([cache, predicted], SPEC, seed=0, batch_size=4)
  assert 'p' not in {without.example(i)[0] for i in range(100)}


def test_a_set_that_nothing_is_drawn_from_is_known_with_the_reason(cache, predicted):
  assert TrainingSet([cache, predicted], SPEC, seed=0, batch_size=4).idle() == {
    1: 'data.distillation_fraction=0 draws none of its chains'
  }
  spec = dataclasses.replace(SPEC, distillation_fraction=0.5)
  assert TrainingSet([cache, predicted], spec, seed=0, batch_size=4).idle() == {}
  held_out = TrainingCache(cache.path, tuple(dataclasses.replace(one, split='test') for one in cache.entries))
  why = TrainingSet([cache, held_out], SPEC, seed=0, batch_size=4).idle()
  assert why == {1: 'none of its chains is of the split train and passes the filters'}


def test_chains_with_an_alignment_can_be_favoured(tmp_path):
  structures = small_cache.write_structures(tmp_path / 'structures', {name: SEQUENCES[name] for name in 'abcde'})
  msas = small_cache.write_alignments(tmp_path / 'msa', {'e': SEQUENCES['e']}, depth=9)
  build_cache(structures, tmp_path / 'cache', alignments=msas, processes=1)
  cache = open_cache(tmp_path / 'cache')
  as_they_come = 50 / (25 + 30 + 40 + 50 + 50)
  for least, expected in ((0.0, as_they_come), (0.1, as_they_come), (0.7, 0.7), (1.0, 1.0)):
    examples = TrainingSet([cache], dataclasses.replace(SPEC, alignment_fraction=least), seed=0, batch_size=4)
    share = np.mean([examples.example(i)[0] == 'e' for i in range(800)])
    assert abs(share - expected) < 0.06


def test_nothing_to_draw_from_is_an_error_that_counts(cache, predicted):
  with pytest.raises(InputError, match="no experimental chain is left .*'single residue': 6"):
    TrainingSet([cache], dataclasses.replace(SPEC, max_single_residue=0.01), seed=0, batch_size=4)
  with pytest.raises(InputError, match='no predicted chain'):
    TrainingSet([cache], dataclasses.replace(SPEC, distillation_fraction=0.5), seed=0, batch_size=4)


@pytest.mark.parametrize(
  ('field', 'value', 'said'),
  [
    ('crop_size', 0, 'data.crop_size is 0; expected a whole number above 0'),
    ('clamped_fraction', 90, 'data.clamped_fraction is 90; expected a share from 0 to 1'),
  ],
)
def test_numbers_that_make_no_sense_are_refused(field, value, said):
  with pytest.raises(InputError, match=said):
    DataSpec(**{field: value})


# The same number, the same example


def test_an_example_depends_on_seed_and_number_only(cache):
  one, two = (TrainingSet([cache], SPEC, seed=5, batch_size=4) for _ in range(2))
  for i in (7, 0, 12_345_678_901):
    (name, batch), (name2, batch2) = one.example(i), two.example(i)
    assert name == name2 and same(batch, batch2)
  other = TrainingSet([cache], SPEC, seed=6, batch_size=4)
  assert not all(same(one.example(i)[1], other.example(i)[1]) for i in range(5))
  assert not all(same(one.example(i)[1], one.example(i + 1)[1]) for i in range(5))


# What it shows


def test_every_example_has_the_shapes_of_the_spec(cache):
  examples = TrainingSet([cache], dataclasses.replace(SPEC, num_templates=2), seed=0, batch_size=4)
  for i in range(20):
    _, batch = examples.example(i)
    assert fields.axis_sizes(batch) == {'num_res': 48, 'num_seq': 16, 'num_templ': 2}
    for name, field, value in fields.leaves(batch):
      assert isinstance(value, np.ndarray | np.generic) and value.dtype == field.metadata['dtype'], name


def test_a_crop_is_a_window_of_the_chain(cache):
  examples = TrainingSet([cache], SPEC, seed=0, batch_size=4)
  seen = set()
  for i in range(100):
    name, batch = examples.example(i)
    record = record_of(cache, name)
    num = int(batch.seq_mask.sum())
    assert num == min(48, LENGTHS[name])
    window = slice(int(batch.residue_index[0]), int(batch.residue_index[0]) + num)
    seen.add((name, window.start))
    np.testing.assert_array_equal(batch.residue_index[:num], np.arange(window.start, window.stop))
    np.testing.assert_array_equal(batch.aatype[:num], encode(record.sequence)[window])
    np.testing.assert_array_equal(batch.targets.atom_positions[:num], record.atom_positions[window])
    np.testing.assert_array_equal(batch.targets.atom_mask[:num], record.atom_mask[window])
    np.testing.assert_array_equal(batch.msa.profile[:num], record.profile[window])
    assert not batch.targets.atom_mask[num:].any() and not batch.msa.mask[:, num:].any()
  assert len({start for name, start in seen if name == 'e'}) > 8


def test_rows_are_of_the_alignment_with_the_query_first(cache):
  examples = TrainingSet([cache], SPEC, seed=0, batch_size=4)
  depths = []
  for i in range(60):
    name, batch = examples.example(i)
    record = record_of(cache, name)
    num, start = int(batch.seq_mask.sum()), int(batch.residue_index[0])
    everything = {
      (t.tobytes(), d.tobytes())
      for t, d in zip(record.tokens[:, start : start + num], record.deletions[:, start : start + num], strict=True)
    }
    depth = int((batch.msa.mask.sum(axis=1) > 0).sum())
    depths.append(depth)
    rows = {
      (t.astype(np.uint8).tobytes(), d.astype(np.uint8).tobytes())
      for t, d in zip(batch.msa.tokens[:depth, :num], batch.msa.deletions[:depth, :num], strict=True)
    }
    assert rows <= everything
    np.testing.assert_array_equal(batch.msa.tokens[0, :num], batch.aatype[:num])
    assert batch.msa.pinned.tolist() == [1] + [0] * 15
    assert (batch.msa.tokens[depth:] == 21).all()
  assert 1 <= min(depths) < max(depths) <= 16  # block deletion leaves few rows at times


def test_examples_agree_with_the_features_of_prediction(cache):
  spec = dataclasses.replace(SPEC, crop_size=40, num_rows=60, num_deletion_blocks=0)
  examples = TrainingSet([cache], spec, seed=0, batch_size=4)
  batch = next(batch for name, batch in map(examples.example, range(100)) if name == 'c')
  expected = make_batch(SEQUENCES['c'], num_templates=0)
  for name in ('aatype', 'soft_sequence', 'seq_mask', 'residue_index', 'asym_id', 'entity_id', 'sym_id'):
    np.testing.assert_array_equal(getattr(batch, name), getattr(expected, name), err_msg=name)
  np.testing.assert_allclose(batch.msa.profile.sum(axis=-1), 1, atol=1e-4)


def test_a_share_is_shown_without_its_alignment(cache):
  spec = dataclasses.replace(SPEC, single_sequence_fraction=0.4, num_deletion_blocks=0)
  examples = TrainingSet([cache], spec, seed=0, batch_size=4)
  alone = []
  for i in range(300):
    _, batch = examples.example(i)
    alone.append(batch.msa.mask[1:].sum() == 0)
    if alone[-1]:
      num = int(batch.seq_mask.sum())
      np.testing.assert_array_equal(batch.msa.profile[:num], np.eye(22)[batch.aatype[:num]])
  assert abs(np.mean(alone) - 0.4) < 0.1


def test_clamping_is_decided_for_whole_mini_batches(cache):
  examples = TrainingSet([cache], SPEC, seed=0, batch_size=4)
  for step in range(25):
    flags = {float(examples.example(4 * step + k)[1].targets.use_clamped_fape) for k in range(4)}
    assert flags == {float(examples.use_clamped_fape(step))}
  share = np.mean([examples.use_clamped_fape(step) for step in range(4000)])
  assert abs(share - 0.9) < 0.02


def test_low_confidence_residues_of_predicted_structures_are_no_target(predicted):
  examples = TrainingSet([predicted], dataclasses.replace(SPEC, distillation_fraction=1.0), seed=0, batch_size=4)
  name, batch = examples.example(0)
  assert name == 'p' and batch.targets.is_distillation == 1
  confident = batch.targets.atom_mask[:40].any(axis=1)
  np.testing.assert_array_equal(confident, np.arange(40) % 4 != 0)
  assert batch.seq_mask[:40].all() and not batch.targets.atom_positions[:40][~confident].any()


def test_the_targets_say_what_the_losses_ask(cache):
  _, batch = TrainingSet([cache], SPEC, seed=0, batch_size=4).example(3)
  assert batch.targets.is_distillation == 0 and batch.targets.resolution == 0  # unknown


# Templates


def test_no_templates_are_no_slots(cache):
  _, batch = TrainingSet([cache], SPEC, seed=0, batch_size=4).example(0)
  assert batch.templates.mask.shape == (0,) and batch.templates.atom_positions.shape == (0, 48, 37, 3)


def test_templates_are_relatives_on_the_right_residues(tmp_path):
  rng = np.random.default_rng(2)
  own = small_cache.random_sequence(rng, 50)
  mutant = ''.join(np.where(rng.random(50) < 0.3, list(small_cache.random_sequence(rng, 50)), list(own)))
  sequences = {'own': own, 'rel': 'GSG' + mutant, 'part': own[3:45]}
  table = small_cache.write_table(
    tmp_path / 't.csv', [{'id': name, 'cluster': 1, 'split': 'train'} for name in sequences]
  )
  cache = small_cache.make_cache(tmp_path, sequences, table=table)
  spec = dataclasses.replace(SPEC, crop_size=50, num_templates=4)
  examples = TrainingSet([cache], spec, seed=0, batch_size=4)
  counts = collections.Counter()
  for i in range(80):
    name, batch = examples.example(i)
    if name != 'own':
      continue
    used = int(batch.templates.mask.sum())
    counts[used] += 1
    if used:
      # 'part' holds the chain's own structure and must not be shown; 'rel' starts three residues earlier.
      aligned = batch.templates.aatype[0] != 21
      assert aligned.sum() > 40
      np.testing.assert_array_equal(batch.templates.aatype[0][aligned], encode(mutant)[aligned])
      np.testing.assert_array_equal(batch.templates.atom_positions[0, 20], record_of(cache, 'rel').atom_positions[23])
    assert not batch.templates.atom_mask[used:].any()
  assert set(counts) == {0, 1}  # of n hits Uniform[0, n] are shown


@pytest.mark.parametrize(
  ('own', 'other', 'shown'),
  [
    ('2010-01-01', '2009-12-31', True),
    ('2010-01-01', '2010-01-01', False),
    ('2010-01-01', '2010-01-02', False),
    ('2010-01-01', '', True),
    ('', '2010-01-01', True),
  ],
)
def test_templates_came_out_before_the_chain(tmp_path, own, other, shown):
  rng = np.random.default_rng(2)
  sequence = small_cache.random_sequence(rng, 50)
  mutant = ''.join(np.where(rng.random(50) < 0.3, list(small_cache.random_sequence(rng, 50)), list(sequence)))
  table = small_cache.write_table(
    tmp_path / 't.csv',
    [
      {'id': name, 'cluster': 1, 'split': 'train', 'release_date': date}
      for name, date in (('own', own), ('rel', other))
    ],
  )
  cache = small_cache.make_cache(tmp_path, {'own': sequence, 'rel': mutant}, table=table)
  examples = TrainingSet([cache], dataclasses.replace(SPEC, crop_size=50, num_templates=1), seed=0, batch_size=4)
  drawn = [batch.templates.mask.sum() for name, batch in map(examples.example, range(40)) if name == 'own']
  assert (max(drawn) > 0) == shown


# Validation


def test_a_whole_chain_is_neither_cropped_nor_padded(cache):
  batch = whole_chain(record_of(cache, 'e'), SPEC, max_rows=30)
  assert fields.axis_sizes(batch) == {'num_res': 90, 'num_seq': 30, 'num_templ': 0}
  assert same(batch, whole_chain(record_of(cache, 'e'), SPEC, max_rows=30))
  np.testing.assert_array_equal(batch.targets.atom_positions, record_of(cache, 'e').atom_positions)
  alone = whole_chain(record_of(cache, 'e'), SPEC, max_rows=1)
  assert alone.msa.tokens.shape == (1, 90)
  np.testing.assert_array_equal(alone.msa.profile, np.eye(22)[alone.aatype])


# Faults


class Unreadable(TrainingCache):
  """A cache whose records of some chains cannot be read."""

  broken: set[str] = set()

  def __getitem__(self, index):
    if self.entries[index].id in self.broken:
      raise InputError(f'record {index} ({self.entries[index].id}) cannot be read')
    return super().__getitem__(index)


def test_a_chain_that_cannot_be_read_is_replaced_and_reported(cache, caplog):
  bad = Unreadable(cache.path, cache.entries)
  bad.broken = {'d'}
  good, examples = (TrainingSet([c], SPEC, seed=0, batch_size=4) for c in (cache, bad))
  with caplog.at_level(logging.WARNING):
    drawn = [examples.example(i) for i in range(60)]
  expected = [good.example(i) for i in range(60)]
  assert all(name != 'd' for name, _ in drawn)
  replaced = [i for i, (name, _) in enumerate(expected) if name == 'd']
  assert replaced and len(caplog.records) >= len(replaced)
  assert f'example {replaced[0]}: chain d is replaced' in caplog.text and 'cannot be read' in caplog.text
  for i, ((name, batch), (name2, batch2)) in enumerate(zip(drawn, expected, strict=True)):
    assert i in replaced or (name == name2 and same(batch, batch2))


def test_a_cache_of_which_nothing_can_be_read_ends_the_run(cache):
  bad = Unreadable(cache.path, cache.entries)
  bad.broken = set(SEQUENCES)
  with pytest.raises(InputError, match='chains in a row could not be read'):
    TrainingSet([bad], SPEC, seed=0, batch_size=4).example(0)


def test_an_example_is_a_pytree_the_step_can_take(cache):
  _, batch = TrainingSet([cache], SPEC, seed=0, batch_size=4).example(0)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(batch))
