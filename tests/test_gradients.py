# SPDX-License-Identifier: Apache-2.0
"""Gradients of the whole network: finite, to every parameter and to the sequence, and the same with less memory."""

import dataclasses
import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_network
from small_network import make_batch, make_recycled, make_spec, params

import alphafold_jax as afj
from alphafold_jax import errors, fields, schema
from alphafold_jax.data import alignment, features, padding
from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.model import sampling, templates
from alphafold_jax.model.evoformer import evoformer_stack

# Whatever these add to attention logits is the same for all keys, and softmax does not see it.
UNSEEN = (
  'row_attention/pair_norm//offset',
  'structure_module/layer/ipa/k//b',
  'structure_module/pair_logits//b',
)
NUM_RES, PADDED = small_network.NUM_RES, {'num_res': 13, 'num_seq': 12, 'num_templ': 4}


@functools.cache
def step():
  """From parameters, soft sequence and weights to (loss, outputs), and the loss's gradients to the first two.

  The loss is the weighted mean squares of what is real: of the heads' logits that come from the trunk alone, and of
  all else.
  """
  batch, previous = padding.pad_batch(make_batch(), PADDED), padding.pad_batch(make_recycled(), PADDED)
  run = small_network.one_pass(make_spec())

  def mean_square(field, array):
    real = array[tuple(slice(NUM_RES if axis == 'num_res' else None) for axis in field.metadata['axes'])]
    return jnp.mean(jnp.square(real))

  def loss(params, soft_sequence, weights):
    given = afj.with_sequence(jax.tree.map(jnp.asarray, batch), soft_sequence)
    outputs = run(params, jax.random.key(0), given, previous)
    logits = fields.map_leaves(mean_square, outputs.logits)
    of_trunk = logits.distogram + logits.pae + logits.masked_msa
    others = [fields.map_leaves(mean_square, part) for part in (outputs.structure, outputs.recycled)]
    rest = logits.plddt + logits.experimentally_resolved + sum(jax.tree.leaves(others))
    return jnp.dot(weights, jnp.stack([of_trunk, rest])), outputs

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True), compiler_options=small_network.FAST)


@functools.cache
def gradients(weights: tuple[float, ...] = (1, 1)) -> tuple[schema.Outputs, dict, np.ndarray]:
  """Outputs, and the gradients to the parameters and the soft sequence."""
  (_, outputs), (to_params, to_sequence) = step()(params(), soft_sequence(), np.array(weights, np.float32))
  return jax.device_get((outputs, to_params, to_sequence))


def soft_sequence() -> np.ndarray:
  """The one that the batch has, padded."""
  return padding.pad_batch(make_batch(), PADDED).soft_sequence


def by_name(tree: dict) -> dict[str, np.ndarray]:
  return {f'{module}//{leaf}': array for module, leaves in tree.items() for leaf, array in leaves.items()}


def test_gradients_are_finite_with_padding_and_empty_slots():
  outputs, to_params, to_sequence = gradients()
  for name, array in by_name(to_params).items():
    assert np.isfinite(array).all(), name
  assert np.isfinite(to_sequence).all()
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outputs))


def test_every_parameter_receives_gradient():
  _, to_params, _ = gradients()
  typical = np.median([np.abs(array).max() for array in by_name(to_params).values()])
  for name, array in by_name(to_params).items():
    per_layer = array.reshape(2, -1) if '/block' in name else array.reshape(1, -1)  # every stack has two blocks
    largest = np.abs(per_layer).max(axis=1)
    if name.endswith(UNSEEN):
      assert (largest < 1e-4 * typical).all(), name
    else:
      assert (largest > 1e-4 * typical).all(), (name, largest, typical)


def test_gradient_reaches_the_sequence_of_real_residues_only():
  _, _, to_sequence = gradients()
  assert (np.abs(to_sequence[:NUM_RES]).max(axis=1) > 1e-2).all() and not to_sequence[NUM_RES:].any()


def test_the_gradient_to_the_sequence_is_the_slope_of_what_the_trunk_gives():
  """The structure module stops gradients of rotations (Algorithm 20, line 20), so what follows it has another slope."""
  of_trunk, width = (1, 0), 1e-2
  gradient, weights = gradients(of_trunk)[2], np.array(of_trunk, np.float32)
  direction = gradient / np.abs(gradient).max()
  (high, _), _ = step()(params(), soft_sequence() + width * direction, weights)
  (low, _), _ = step()(params(), soft_sequence() - width * direction, weights)
  assert (high - low) / (2 * width) == pytest.approx(np.sum(gradient * direction), rel=0.005)


def test_all_that_holds_the_query_follows_another_sequence():
  a3m = '>q\nACDEF\n>1\nAC-EF\n>2\nWYDEaF\n'
  old, new = (features.make_batch(parse_a3m(text, 'a3m')) for text in (a3m, a3m.replace('ACDEF', 'WYVGX')))
  assert (old.msa.profile != new.msa.profile).any() and old.msa.deletions.any()
  for sequence in ('wyvgx', new.soft_sequence, new.soft_sequence.tolist()):
    changed = afj.with_sequence(old, sequence)
    for (name, _, ours), (_, _, theirs) in zip(fields.leaves(changed), fields.leaves(new), strict=True):
      np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-7 if name == 'msa.profile' else 0, err_msg=name)


def test_the_profile_of_the_querys_cluster_is_as_soft_as_the_sequence():
  batch = features.make_batch(parse_a3m('>q\nACDEF\n>1\nAC-EF\n', 'a3m'))
  soft = np.full((5, 21), 1 / 21, np.float32)
  spec = dataclasses.replace(make_spec(**small_network.DETERMINISTIC).sampling, num_msa=1)
  given = afj.with_sequence(batch, soft)
  drawn = sampling.sample_msa(jax.random.key(0), given.msa, spec, given.soft_sequence)
  other = np.eye(23)[batch.msa.tokens[1]]
  np.testing.assert_allclose(drawn.profile[0], (np.pad(soft, ((0, 0), (0, 2))) + other) / 2, atol=1e-6)


def test_probabilities_without_unknown_residues_may_leave_out_their_column():
  batch, probs = afj.make_batch(alignment.single_sequence('ACDEF')), np.full((5, 20), 0.05, np.float32)
  soft = jax.jit(afj.with_sequence)(batch, probs).soft_sequence
  np.testing.assert_array_equal(soft, np.pad(probs, ((0, 0), (0, 1))))


@pytest.mark.parametrize(
  ('sequence', 'message'),
  [
    ('ACDE', r'shape \(4, 21\); the batch has 5 residues'),
    ('AC1EF', "sequence 'sequence', residue 3"),
    (np.full((5, 21), np.nan), 'NaN'),
    (np.ones((5, 22)), r'shape \(5, 22\).*of shape \(5, 21\)'),
    (['A', 'C'], 'of type list; give letters'),
    (None, 'of type NoneType; give letters'),
  ],
)
def test_a_sequence_that_does_not_fit_the_batch_is_refused(sequence, message):
  with pytest.raises(errors.InputError, match=message):
    afj.with_sequence(features.make_batch('ACDEF'), sequence)


def test_another_sequence_in_a_batch_gives_that_sequences_batch():
  one_hot = features.make_batch('WYVGX').soft_sequence
  changed = afj.with_sequence(afj.make_batch('ACDEF'), one_hot)
  jax.tree.map(np.testing.assert_array_equal, changed, features.make_batch('WYVGX', num_templates=0))
  with pytest.raises(errors.InputError, match=r'shape \(4, 21\); the batch has 5 residues'):
    afj.with_sequence(changed, one_hot[:4])


def test_rematerialisation_changes_neither_values_nor_gradients():
  rng = np.random.default_rng(0)
  m, z = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 7, 32), (7, 7, 24)))
  features = rng.normal(size=(7, 7, 88)).astype(np.float32)

  def value_and_gradients(remat):
    spec = make_spec(**{'evoformer.remat': remat, 'templates.remat': remat})

    def trunk(m, z, features):
      m, z = evoformer_stack(spec.evoformer, 'evoformer', m, z, jnp.ones((4, 7)), jnp.ones((7, 7)))
      t = templates.TemplatePairStack(spec.templates, name='pair_stack')(features, jnp.ones((7, 7)))
      return jnp.mean(m**2) + jnp.mean(z**2) + jnp.mean(t[..., 0] ** 2)

    apply = hk.transform(trunk).apply
    step = jax.value_and_grad(lambda params, *inputs: apply(params, None, *inputs), argnums=(0, 1, 2))
    below = {
      name.removeprefix('template_embedder/'): leaves
      for name, leaves in params().items()
      if name.startswith(('evoformer/', 'template_embedder/pair_stack'))
    }
    program = jax.jit(step).lower(below, m, z, features)
    return program.as_text(), jax.device_get(program.compile(small_network.FAST)(below, m, z, features))

  plain, lean = value_and_gradients(remat=False), value_and_gradients(remat=True)
  assert lean[0].count('optimization_barrier') > plain[0].count('optimization_barrier')  # it was rematerialised
  small_network.assert_close(lean[1][0], plain[1][0], 1e-6)
  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(plain[1][1]))
  for ours, other in zip(jax.tree.leaves(lean[1]), jax.tree.leaves(plain[1]), strict=True):
    np.testing.assert_allclose(ours, other, atol=1e-5 * largest)
