# SPDX-License-Identifier: Apache-2.0
"""Gradients of the whole network: finite, to every parameter and to the sequence, and the same with less memory."""

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
from alphafold_jax.data import features, padding
from alphafold_jax.model import templates
from alphafold_jax.model.evoformer import evoformer_stack

# Whatever these add to attention logits is the same for all keys, and softmax does not see it.
UNSEEN = (
  'row_attention/pair_norm//offset',
  'structure_module/layer/ipa/k//b',
  'structure_module/pair_logits//b',
)
NUM_RES, PADDED = small_network.NUM_RES, {'num_res': 13, 'num_seq': 12, 'num_templ': 4}


@functools.cache
def gradients() -> tuple[schema.Outputs, dict, np.ndarray]:
  """Outputs, and the gradients of the mean squares of what is real to the parameters and the soft sequence."""
  batch, previous = padding.pad_batch(make_batch(), PADDED), padding.pad_batch(make_recycled(), PADDED)
  run = small_network.one_pass(make_spec())

  def mean_square(field, array):
    real = array[tuple(slice(NUM_RES if axis == 'num_res' else None) for axis in field.metadata['axes'])]
    return jnp.mean(jnp.square(real))

  def loss(params, soft_sequence):
    given = afj.with_sequence(jax.tree.map(jnp.asarray, batch), soft_sequence)
    outputs = run(params, jax.random.key(0), given, previous)
    terms = [fields.map_leaves(mean_square, part) for part in (outputs.structure, outputs.logits, outputs.recycled)]
    return sum(jax.tree.leaves(terms)), outputs

  step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True), compiler_options=small_network.FAST)
  (_, outputs), (to_params, to_sequence) = step(params(), batch.soft_sequence)
  return jax.device_get((outputs, to_params, to_sequence))


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


def test_another_sequence_in_a_batch_gives_that_sequences_batch():
  one_hot = features.make_batch('WYVGX').soft_sequence
  changed = afj.with_sequence(afj.make_batch('ACDEF'), one_hot)
  jax.tree.map(np.testing.assert_array_equal, changed, features.make_batch('WYVGX', num_templates=0))
  with pytest.raises(errors.InputError, match=r'shape \(4, 21\); expected \(5, 21\)'):
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
