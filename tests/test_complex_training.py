# SPDX-License-Identifier: Apache-2.0
"""The training step on complexes is the same on any layout of devices."""

import devices
import numpy as np
import pytest
import small_complex_training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope='module')
def on_devices(tmp_path_factory):
  """A step on one device and on four, as arrays by `layout:path`."""
  return devices.arrays_of(small_complex_training, tmp_path_factory.mktemp('devices'), '1x1', '2x2')


def test_losses_of_complexes_do_not_depend_on_the_devices(on_devices):
  for name in ('.loss', '.losses', *(f".terms['{loss}']" for loss, _ in small_complex_training.LOSSES.weights)):
    one, many = (on_devices[f'{layout}:metrics[0]{name}'] for layout in ('1x1', '2x2'))
    np.testing.assert_allclose(many, one, rtol=1e-5, err_msg=name)
    assert np.isfinite(one).all(), name


def test_gradients_of_complexes_do_not_depend_on_the_devices(on_devices):
  one, many = (on_devices[f'{layout}:state[0].moments.mu'] for layout in ('1x1', '2x2'))
  np.testing.assert_allclose(many, one, rtol=0, atol=1e-5 * np.max(np.abs(one)))
  assert np.max(np.abs(one)) > 0
