# SPDX-License-Identifier: Apache-2.0
"""Kernels are compared backwards too: wrong gradients, and those that another row would compute, are named."""

import sys
from pathlib import Path

import jax
import pytest

from alphafold_jax.ops import seam
from alphafold_jax.ops.transition import TRANSITION

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import kernel_gradients  # noqa: E402

SMALL = {'rows': 3, 'residues': 8, 'channels': 16, 'heads': 2, 'outer': 4}
xla = TRANSITION['xla'].compute


@jax.custom_vjp
def wrong_backwards(*given):
  return xla(*given)


wrong_backwards.defvjp(
  lambda *given: jax.vjp(xla, *given), lambda vjp, gradient: jax.tree.map(lambda x: 1.5 * x, vjp(gradient))
)
ROWS = {
  'wrong backwards': seam.Row(wrong_backwards),
  'forwards only': seam.Row(xla, declines_gradient=lambda platform, *given: 'any arguments'),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', seam.OPERATIONS)
def test_gradients_of_slices_are_those_of_the_reference(name):
  operation = kernel_gradients.Operation(name, SMALL, 'float32')
  for row in (seam.REFERENCE, seam.EVERYWHERE):
    found = operation.differentiate(row)
    assert found.gradient_seconds > 0 and found.gradient_error < 1e-5 and not found.gradient_reason


@pytest.mark.slow
def test_wrong_gradients_and_those_of_another_row_are_named(monkeypatch):
  monkeypatch.setattr(seam, 'OPERATIONS', {'transition': {**TRANSITION, **ROWS}})
  operation = kernel_gradients.Operation('transition', SMALL, 'float32')
  wrong, forwards = (operation.differentiate(row) for row in ROWS)
  assert wrong.gradient_seconds > 0 and wrong.gradient_reason == 'it computes other gradients (off by 0.5)'
  assert forwards.gradient_seconds is None
  assert forwards.gradient_reason == "kernel 'forwards only' cannot differentiate transition with any arguments"
