# SPDX-License-Identifier: Apache-2.0
"""What must not change the network's output: padding, chunks, order of rows, motions; and what must."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_network
from scipy.spatial import transform
from small_network import DETERMINISTIC, FAST, NUM_RES, assert_close, make_batch, make_recycled, make_spec, params, run

from alphafold_jax import confidence, programs, schema
from alphafold_jax import config as configs
from alphafold_jax.data import features, padding
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.model import alphafold, evoformer, recycling

PADDED = {'num_res': 16, 'num_seq': 14, 'num_templ': 5}


@pytest.fixture(scope='module')
def plain() -> schema.Outputs:
  """The deterministic network on the batch whose rows are pinned."""
  return run(make_spec(**DETERMINISTIC), make_batch(), make_recycled())


def motion(seed: int = 0) -> Rigid:
  rotation = transform.Rotation.random(random_state=seed).as_matrix().astype(np.float32)
  return Rigid(rotation=rotation, translation=np.array([7, -20, 31], np.float32))


# ------------------------------------------------------------------------------------------ padding


def test_padding_of_residues_rows_and_templates_changes_neither_draws_nor_values():
  """With rows drawn and masked at random, and dropout: a draw that moved would show everywhere."""
  spec, batch, previous = make_spec(**configs.DROPOUT), make_batch(pinned=False), make_recycled()
  ours = run(spec, batch, previous)
  padded = run(spec, padding.pad_batch(batch, PADDED), padding.pad_batch(previous, PADDED))
  assert_close(padding.crop(padded, {'num_res': NUM_RES}), ours)
  other = run(spec, batch, previous, seed=1)
  assert np.abs(other.representations.pair - ours.representations.pair).max() > 0.1


def test_what_stands_in_padding_does_not_matter():
  spec, rng = make_spec(**configs.DROPOUT), np.random.default_rng(0)
  batch = padding.pad_batch(make_batch(pinned=False), PADDED)
  previous = padding.pad_batch(make_recycled(), PADDED)

  def scribble(array, mask, values):
    return np.where(mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim)) > 0, array, values).astype(array.dtype)

  msa, templates, is_res = batch.msa, batch.templates, batch.seq_mask
  rewritten = dataclasses.replace(
    batch,
    aatype=scribble(batch.aatype, is_res, 3),
    soft_sequence=scribble(batch.soft_sequence, is_res, rng.random(batch.soft_sequence.shape)),
    residue_index=scribble(batch.residue_index, is_res, 999),
    msa=dataclasses.replace(
      msa,
      tokens=scribble(msa.tokens, msa.mask, rng.integers(0, 22, msa.tokens.shape)),
      deletions=scribble(msa.deletions, msa.mask, 9),
      profile=scribble(msa.profile, is_res, 0.1),
    ),
    templates=dataclasses.replace(templates, aatype=scribble(templates.aatype, templates.mask, 5)),
  )
  assert_close(
    padding.crop(run(spec, rewritten, previous), {'num_res': NUM_RES}),
    padding.crop(run(spec, batch, previous), {'num_res': NUM_RES}),
  )


def test_empty_template_slots_equal_no_templates():
  spec, batch = make_spec(**DETERMINISTIC), make_batch()
  empty, none = (
    run(spec, dataclasses.replace(batch, templates=features.empty_templates(slots, NUM_RES)), make_recycled())
    for slots in (3, 0)
  )
  assert_close(empty, none)


# ------------------------------------------------------------------------------------------ how it is computed


@pytest.mark.parametrize('kernels', [{'kernels.implementation': 'xla'}, {'kernels.chunk_bytes': 1}])
def test_kernels_and_chunks_do_not_change_the_result(plain, kernels):
  assert_close(run(make_spec(**DETERMINISTIC, **kernels), make_batch(), make_recycled()), plain)


def test_vmap_over_two_proteins_equals_one_after_the_other():
  spec = make_spec(**DETERMINISTIC)
  pairs = [(make_batch(seed=seed), make_recycled(seed=seed)) for seed in (0, 1)]
  stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *pairs)
  both = jax.vmap(small_network.compiled(spec), in_axes=(None, None, 0, 0))(params(), jax.random.key(0), *stacked)
  for i, pair in enumerate(pairs):
    one = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), both)
    assert_close(small_network.comparable(one), run(spec, *pair))


def test_jit_changes_nothing_but_rounding():
  spec, rng = make_spec(), np.random.default_rng(0)
  m, z = jnp.asarray(rng.normal(size=(4, 7, 32))), jnp.asarray(rng.normal(size=(7, 7, 24)))
  block = hk.transform(
    lambda m, z: evoformer.EvoformerBlock(spec.evoformer, name='block')(m, z, jnp.ones((4, 7)), jnp.ones((7, 7)))
  ).apply
  first = small_network.layer_of(params(), 'evoformer/')
  assert_close(jax.jit(block)(first, None, m, z), block(first, None, m, z))


def test_a_bfloat16_trunk_is_near_float32_and_keeps_coordinates_and_logits_float32(plain):
  half = run(make_spec(**DETERMINISTIC, dtype='bfloat16'), make_batch(), make_recycled())
  assert {leaf.dtype.name for leaf in jax.tree.leaves(half)} == {'float32', 'int32'}
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(half))
  assert_close(half.representations.pair, plain.representations.pair, 0.05)
  assert_close(half.logits.distogram, plain.logits.distogram, 0.05)
  assert np.abs(half.representations.pair - plain.representations.pair).max() > 1e-4  # it was bfloat16


# ------------------------------------------------------------------------------------------ what the paper implies


def test_the_order_of_alignment_rows_below_the_query_does_not_matter():
  batch, rng = make_batch(), np.random.default_rng(0)
  tokens = batch.msa.tokens.copy()
  tokens[4:] = tokens[[0, 1, 2, 3, 2]]  # rows that are not clusters: each near one cluster only
  tokens[4:, :3] = rng.integers(0, 20, (5, 3))
  msa = dataclasses.replace(batch.msa, tokens=tokens)
  order = np.array([0, 3, 1, 2, 8, 5, 7, 4, 6])
  shuffled = dataclasses.replace(msa, tokens=tokens[order], deletions=msa.deletions[order], mask=msa.mask[order])
  spec = make_spec(**DETERMINISTIC)
  ours, other = (run(spec, dataclasses.replace(batch, msa=rows), make_recycled()) for rows in (msa, shuffled))
  assert_close(other.representations.msa, ours.representations.msa[order[:4]])
  for name in ('structure', 'recycled'):
    assert_close(getattr(other, name), getattr(ours, name))
  assert_close(other.logits.distogram, ours.logits.distogram)


def test_only_differences_of_residue_numbers_matter(plain):
  batch = make_batch()
  shifted = dataclasses.replace(batch, residue_index=batch.residue_index + 500)
  assert_close(run(make_spec(**DETERMINISTIC), shifted, make_recycled()), plain)
  gap = dataclasses.replace(batch, residue_index=batch.residue_index + 20 * (np.arange(NUM_RES) > 5))
  broken = run(make_spec(**DETERMINISTIC), gap, make_recycled())
  assert np.abs(broken.representations.pair - plain.representations.pair).max() > 1e-2


def test_a_motion_of_the_recycled_structure_changes_nothing(plain):
  previous = make_recycled()
  moved = dataclasses.replace(previous, atom_positions=np.asarray(motion().apply(previous.atom_positions)))
  assert_close(run(make_spec(**DETERMINISTIC), make_batch(), moved), plain)
  stretched = dataclasses.replace(previous, atom_positions=previous.atom_positions * 1.3)
  other = run(make_spec(**DETERMINISTIC), make_batch(), stretched)
  assert np.abs(other.representations.pair - plain.representations.pair).max() > 1e-2


def test_a_motion_of_templates_changes_nothing_but_angles_to_a_residue_before_the_first():
  batch = make_batch()
  templates = dataclasses.replace(
    batch.templates,
    aatype=np.tile(batch.aatype, (3, 1)),
    atom_mask=np.ones((3, NUM_RES, 37), np.float32),
    atom_positions=np.random.default_rng(0).normal(size=(3, NUM_RES, 37, 3)).astype(np.float32) * 5,
  )
  moved = dataclasses.replace(templates, atom_positions=np.asarray(motion().apply(templates.atom_positions)))
  prepare = jax.jit(alphafold.network(make_spec()).prepare)
  ours, other = (
    jax.device_get(prepare(params(), None, dataclasses.replace(batch, templates=t)).templates)
    for t in (templates, moved)
  )
  assert_close(other.pair, ours.pair)
  assert_close(other.rows[:, 1:], ours.rows[:, 1:], 1e-4)


def test_an_ensemble_averages_the_representations_of_its_draws():
  spec, context = make_spec(templates=None), alphafold.Context(templates=None)
  batch, previous = jax.tree.map(jnp.asarray, make_batch(pinned=False)), make_recycled()
  trunk = hk.transform(lambda key: alphafold.AlphaFold(spec).trunk_of_draw(key, batch, context, previous))
  trunk = jax.jit(trunk.apply, compiler_options=small_network.FAST)
  key = jax.random.key(5)
  keys = jax.random.split(next(hk.PRNGSequence(key)), 2)  # as the pass splits its own
  one, other = (trunk(params(), None, key) for key in keys)
  assert np.abs(one.pair - other.pair).max() > 1e-3

  iterate = alphafold.network(make_spec(templates=None, num_ensemble=2)).iterate
  both = jax.jit(iterate, compiler_options=small_network.FAST)(params(), key, batch, context, previous)
  assert_close(both.recycled.msa_first_row, (one.first_row + other.first_row) / 2)
  assert_close(both.recycled.pair, (one.pair + other.pair) / 2)
  assert_close(both.representations.msa, one.msa)
  assert_close(both.masked_msa, one.target)


def test_the_change_between_structures_is_that_of_distances_of_real_residues():
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=(2, 9, 37, 3)).astype(np.float32) * 5
  mask = np.ones(9, np.float32)
  assert float(recycling.distance_change(a, np.asarray(motion().apply(a)), mask)) == pytest.approx(0, abs=1e-4)
  distances = [np.linalg.norm(x[:, None, 1] - x[None, :, 1], axis=-1) for x in (a, b)]
  expected = np.sqrt(np.mean((distances[0] - distances[1]) ** 2))
  assert float(recycling.distance_change(a, b, mask)) == pytest.approx(expected, rel=1e-5)
  padded = [np.concatenate([x, 99 * rng.normal(size=(4, 37, 3))]) for x in (a, b)]
  assert float(recycling.distance_change(*padded, np.append(mask, np.zeros(4)))) == pytest.approx(expected, rel=1e-5)


def test_a_misspelt_or_missing_setting_is_an_error_before_anything_is_traced():
  config = small_network.make_config().to_dict()
  for broken in (
    config | {'evoformer': config['evoformer'] | {'num_blocks': 3}},
    {key: value for key, value in config.items() if key != 'heads'},
  ):
    with pytest.raises(ValueError, match='the configuration does not fit the network.*(num_blocks|heads)'):
      alphafold.make_spec(broken)


@pytest.mark.parametrize(
  ('dtype', 'chunk_bytes', 'num_ensemble'), [('float32', 0, 1), ('float32', 20_000, 2), ('bfloat16', 20_000, 1)]
)
def test_a_prediction_of_rows_drawn_before_says_what_the_logits_of_all_pairs_would(dtype, chunk_bytes, num_ensemble):
  """`predict` makes the logits of pairs a few rows at a time, and keeps pairs in the dtype of the trunk."""
  network = alphafold.network(
    make_spec(**{'dtype': dtype, 'kernels.chunk_bytes': chunk_bytes, 'num_ensemble': num_ensemble})
  )
  batch, previous = jax.tree.map(jnp.asarray, make_batch()), make_recycled()
  previous = dataclasses.replace(previous, pair=jnp.asarray(previous.pair, dtype))
  context = jax.jit(network.prepare)(params(), jax.random.key(0), batch)
  key = jax.random.key(1)
  whole = jax.jit(network.iterate, compiler_options=FAST)(params(), key, batch, context, previous)
  drawn, bare = jax.jit(network.rows)({}, key, batch), programs.without_alignment(batch)
  rows = jax.jit(network.predict, compiler_options=FAST)(params(), key, bare, context, previous, drawn)
  assert rows.recycled.pair.dtype == dtype and whole.recycled.pair.dtype == jnp.float32
  expected = (confidence.summarise(whole, batch.seq_mask), whole.structure.atom_positions)
  found = (rows.confidence, rows.structure.atom_positions)
  assert_close(*jax.tree.map(lambda x: np.asarray(x, np.float32), (found, expected)), 1e-5)
