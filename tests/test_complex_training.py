# SPDX-License-Identifier: Apache-2.0
"""The training step on complexes: the same on any layout of devices and in any order of copies."""

import devices
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_complex_training
import small_network
import small_training

from alphafold_jax.train import step as steps


@pytest.fixture(scope='module')
def on_devices(tmp_path_factory):
  """Two steps on one device and on four, as arrays by `layout:path`."""
  return devices.arrays_of(small_complex_training, tmp_path_factory.mktemp('devices'), '1x1', '2x2')


def test_losses_of_complexes_do_not_depend_on_the_devices(on_devices):
  for name in ('.loss', '.losses', *(f".terms['{loss}']" for loss, _ in small_complex_training.LOSSES.weights)):
    one, many = (on_devices[f'{layout}:metrics[0]{name}'] for layout in ('1x1', '2x2'))
    np.testing.assert_allclose(many, one, rtol=1e-5, err_msg=name)
    assert np.isfinite(one).all(), name


def test_gradients_of_complexes_do_not_depend_on_the_devices(on_devices):
  one, many = (on_devices[f'{layout}:state[0].moments.mu'] for layout in ('1x1', '2x2'))
  np.testing.assert_allclose(many, one, rtol=0, atol=1e-5 * np.max(np.abs(one)))


def test_a_step_does_not_see_in_which_order_the_true_copies_stand():
  """The labels of a homodimer's two chains exchanged, while its sequences, alike, stay: the same gradient."""
  spec = small_complex_training.make_spec(examples_at_once=2)
  state = steps.initial_state(spec, jax.random.key(0), small_training.params())
  step = jax.jit(
    lambda batch: steps.train_step(spec, state, jax.random.key(1), batch, jnp.arange(2)),
    compiler_options=small_network.FAST,
  )
  (after, metrics), (other, again) = (step(small_complex_training.make_batch(order)) for order in ((0, 1), (1, 0)))
  np.testing.assert_allclose(again.losses, metrics.losses, rtol=1e-6)
  np.testing.assert_allclose(
    other.moments.mu, after.moments.mu, rtol=0, atol=1e-6 * float(jnp.max(jnp.abs(after.moments.mu)))
  )
  assert int(metrics.wrong) == 0
