# SPDX-License-Identifier: Apache-2.0
"""Kernels are tried on the machine at hand: wrong, failing and slow ones are left out, and the result is remembered."""

import logging
import time

import jax
import jax.numpy as jnp
import pytest

from alphafold_jax import tuning
from alphafold_jax.ops import seam
from alphafold_jax.ops.transition import TRANSITION

SMALL = {'rows': 3, 'residues': 8, 'channels': 16, 'heads': 2, 'outer': 4}


xla = TRANSITION['xla'].compute


def slow(*given):
  return jax.pure_callback(lambda x: (time.sleep(0.2), x)[1], given[0], xla(*given))


def failing(*_):
  raise RuntimeError('no such instruction\nand much more')


ROWS = {
  'slow': seam.Row(slow),
  'wrong': seam.Row(lambda *given: 1.5 * xla(*given)),
  'not a number': seam.Row(lambda x, norm, w: jnp.nan * x),
  'failing': seam.Row(failing),
  'elsewhere': seam.Row(failing, unavailable=lambda platform: f'needs more than a {platform}'),
  'choosy': seam.Row(failing, declines=lambda platform, x, norm, w: f'activations in {x.dtype}'),
}


@pytest.fixture
def rows(monkeypatch):
  """The transition alone, with rows of every kind."""
  fast = {'fast': seam.Row(xla)}
  monkeypatch.setattr(seam, 'OPERATIONS', {'transition': {**TRANSITION, **ROWS, **fast}})
  problems = tuning._problems
  monkeypatch.setattr(tuning, '_problems', lambda sizes: {'transition': problems(sizes)['transition']})


def test_every_operation_has_a_problem_and_its_rows_compute_the_same():
  trials = tuning.try_all(SMALL)
  assert {trial.operation for trial in trials} == set(seam.OPERATIONS)
  for trial in trials:
    if trial.row == seam.EVERYWHERE:
      assert trial.seconds > 0 and trial.error < 0.03 and not trial.reason


def test_kernels_that_are_wrong_or_fail_or_run_elsewhere_are_left_out_with_their_reason(rows):
  trials = {trial.row: trial for trial in tuning.try_all(SMALL)}
  assert {name for name, trial in trials.items() if trial.seconds is not None} == {'xla_chunked', 'slow', 'fast'}
  assert trials['wrong'].reason.startswith('it computes something else (off by 0.')
  assert 'something else' in trials['not a number'].reason
  assert trials['failing'].reason == 'RuntimeError: no such instruction'
  assert trials['elsewhere'].reason == "kernel 'elsewhere' cannot be used for transition: needs more than a cpu"
  assert trials['choosy'].reason == "kernel 'choosy' does not take activations in bfloat16 for transition"


def test_the_fastest_of_those_that_compute_the_same_is_chosen():
  trials = [
    tuning.Trial('transition', 'xla_chunked', 2.0, 0.0),
    tuning.Trial('transition', 'xla', 1.0, 0.0),
    tuning.Trial('self_attention', 'xla_chunked', 1.0, 0.0),
    tuning.Trial('self_attention', 'cudnn', 2.0, 0.0),
    tuning.Trial('global_attention', 'xla_chunked', reason='failed'),
  ]
  assert tuning.fastest(trials) == 'transition=xla'
  assert tuning.fastest(trials[2:]) == 'auto'


def test_what_was_found_is_kept_for_the_next_run_and_a_damaged_file_is_made_anew(rows, tmp_path, monkeypatch, caplog):
  monkeypatch.setattr(tuning, '_SIZES', SMALL)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  tuning._remembered.cache_clear()
  with caplog.at_level(logging.WARNING, 'alphafold_jax'):
    assert tuning.preferred(tmp_path) in ('transition=fast', 'auto')  # which of two that are the same is the faster?
  assert 'kernel wrong is not used for transition: it computes something else' in caplog.text
  assert 'elsewhere' not in caplog.text
  monkeypatch.setattr(tuning, 'try_all', lambda: pytest.fail('tried again'))
  tuning._remembered.cache_clear()
  tuning.preferred(tmp_path)
  (tmp_path / 'kernels.json').write_text('[{"operation": "transition", "row": "gone", "seconds": 1}]')
  monkeypatch.setattr(tuning, 'try_all', lambda: [tuning.Trial('transition', 'fast', 1.0, 0.0)])
  tuning._remembered.cache_clear()
  assert tuning.preferred(tmp_path) == 'transition=fast'
  tuning._remembered.cache_clear()


def test_a_cpu_has_no_choice(monkeypatch):
  monkeypatch.setattr(tuning, 'try_all', lambda: pytest.fail('tried'))
  assert tuning.preferred() == 'auto'


def test_a_day_that_has_tried_all_kernels_leaves_nothing_to_try(tmp_path, monkeypatch):
  trials = [tuning.Trial('transition', 'xla_chunked', 2.0, 0.0), tuning.Trial('transition', 'pallas', 1.0, 0.0)]
  assert tuning.keep(trials, tmp_path) == 'transition=pallas'
  monkeypatch.setattr(tuning, 'try_all', lambda: pytest.fail('tried again'))
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  tuning._remembered.cache_clear()
  assert tuning.preferred(tmp_path) == 'transition=pallas'
  tuning._remembered.cache_clear()
