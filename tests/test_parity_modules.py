# SPDX-License-Identifier: Apache-2.0
"""Every module gives what DeepMind's gives, with random parameters, to 1e-5 of the largest value."""

import pytest
from parity.case import TOLERANCE, errors
from parity.inputs import MASKS
from parity.modules import CASES


@pytest.mark.parametrize('masks', MASKS)
@pytest.mark.parametrize('name', CASES)
def test_module_equals_the_official_one(name, masks):
  for output, error in errors(CASES[name], masks).items():
    assert error < TOLERANCE, output
