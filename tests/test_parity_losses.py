# SPDX-License-Identifier: Apache-2.0
"""Every loss and its gradient equal the oracle's on real structures with missing atoms and gaps."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import small_targets
from alphafold.model import folding
from parity import losses
from parity.case import relative_error

from alphafold_jax.losses import labels, total

EXAMPLES = losses.examples()
make_labels = small_targets.fast_jit(labels.make_labels)
rename_ambiguous = small_targets.fast_jit(labels.rename_ambiguous)


@functools.cache
def example(name: str) -> losses.Example:
  return EXAMPLES[name]()


@pytest.mark.parametrize('name', EXAMPLES)
@pytest.mark.parametrize('loss', losses.THEIRS)
def test_loss_and_gradient_equal_the_official_ones(loss, name):
  for what, error in losses.errors(loss, example(name)).items():
    assert error < losses.TOLERANCE, f'{what}: {error}'


@pytest.mark.parametrize('name', EXAMPLES)
def test_labels_equal_the_official_ones(name):
  ours = jax.device_get(make_labels(example(name).batch))
  theirs = losses.official_labels(example(name).batch)
  for what, (our_part, their_part) in losses.LABELS.items():
    assert relative_error(our_part(ours), their_part(theirs)) < 1e-5, what


@pytest.mark.parametrize('name', EXAMPLES)
def test_the_same_residues_are_renamed(name):
  given = example(name)
  fields = {key: jnp.asarray(value) for key, value in given.fields.items()}
  theirs = small_targets.fast_jit(folding.compute_renamed_ground_truth)(fields, jnp.asarray(given.leaves.atom14))
  ours = rename_ambiguous(make_labels(given.batch), given.leaves.atom14)
  np.testing.assert_array_equal(ours.atom14_positions, theirs['renamed_atom14_gt_positions'])
  np.testing.assert_array_equal(ours.atom14_mask, theirs['renamed_atom14_gt_exists'])


def test_some_residues_are_renamed():
  swapped = [
    np.any(
      rename_ambiguous(make_labels(given.batch), given.leaves.atom14).atom14_positions
      != given.fields['atom14_gt_positions']
    )
    for given in map(example, EXAMPLES)
  ]
  assert any(swapped)


def test_their_structure_module_adds_up_the_same_terms():
  given = example('unresolved gap')
  spec = total.make_spec(
    {'backbone_fape': 0.5, 'side_chain_fape': 0.5, 'torsion': 0.5, 'angle_norm': 0.01, 'violation': 1.0}
  )
  config = oracle.configuration('model_1_ptm').model

  def structure_loss(value, fields):
    return folding.StructureModule(config.heads.structure_module, config.global_config).loss(value, fields)['loss']

  fields = {key: jnp.asarray(value) for key, value in given.fields.items()}
  value = losses.official_value(given, given.leaves)
  theirs = small_targets.fast_jit(hk.transform(structure_loss).apply)({}, None, value, fields)
  ours = small_targets.fast_jit(lambda batch, outputs: total.total_loss(spec, batch, outputs)[0])(*given[1:3])
  assert float(ours) == pytest.approx(float(theirs) * np.sqrt(given.batch.seq_mask.sum()), rel=1e-4)
