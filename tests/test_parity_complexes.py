# SPDX-License-Identifier: Apache-2.0
"""The network of complexes gives what DeepMind's gives, with random parameters, to 1e-4 of the largest value."""

import pytest
from parity import complexes


@pytest.mark.slow
@pytest.mark.parametrize('case', complexes.CASES, ids=lambda case: f'{case.model}: {case.inputs}')
def test_three_passes_predict_what_the_official_program_does(case):
  for index, found in enumerate(complexes.errors(case)):
    for output, error in found.items():
      assert error < complexes.TOLERANCE, (index, output)
