# SPDX-License-Identifier: Apache-2.0
"""What folds is trained behind a trunk that stays as it is: benchmarks/mini_chains.py."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import small_targets
import small_training

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import mini_chains  # noqa: E402

from alphafold_jax import config as configs  # noqa: E402
from alphafold_jax.losses import total  # noqa: E402
from alphafold_jax.model import alphafold, recycling  # noqa: E402

CONFIG = configs.changed(small_training.make_config(), dict.fromkeys(small_training.DROPOUT, 0.0))
EXAMPLES = SimpleNamespace(example=lambda place: (f'example {place}', small_training.make_example(place)))


@pytest.fixture(scope='module')
def phase():
  """The step of the script: some of its losses, of which the violations are most."""
  loss = total.make_spec({'backbone_fape': 0.5, 'violation': 1.0, 'plddt': 0.05})
  spec = small_training.make_spec(network=alphafold.make_spec(CONFIG), loss=loss, batch_size=2, max_passes=1)
  return SimpleNamespace(step=dataclasses.replace(spec, optimizer=dataclasses.replace(spec.optimizer, ema_decay=0.5)))


@pytest.fixture(scope='module')
def kept(phase):
  return mini_chains.keep(small_training.params(), phase, EXAMPLES, 2)  # after one pass and after two


def test_behind_a_kept_trunk_is_the_structure_that_the_whole_network_predicts(phase, kept):
  network = alphafold.network(phase.step.network)
  params = small_training.params()
  trained, others = mini_chains.split(params)
  behind_it = mini_chains.kept_loss(others)
  loss_of = small_targets.fast_jit(lambda key, kept: behind_it(phase.step, trained, key, kept, None))

  @small_targets.fast_jit
  def whole_loss(key, batch, num_passes):
    outputs = recycling.recycle(network, params, key, batch, network.prepare(params, key, batch), num_passes)
    return total.total_loss(phase.step.loss, batch, outputs)

  for place in range(2):
    key = jax.random.key(place)
    whole, terms = whole_loss(key, small_training.make_example(place), 1 + place)
    behind, same = loss_of(key, jax.tree.map(lambda leaf, place=place: leaf[place], kept))
    np.testing.assert_allclose(behind, whole, rtol=2e-3)  # pairs are kept in half precision
    assert same.keys() == terms.keys()


def test_only_what_folds_is_trained_and_its_loss_falls(phase, kept):
  params, told = small_training.params(), []
  after = mini_chains.train(params, phase, kept, 80, told.append)
  changed = {name for name in params for leaf in params[name] if np.any(after[name][leaf] != params[name][leaf])}
  assert changed == {name for name in params if name.startswith(('single', 'structure_module/', 'heads/plddt/'))}
  losses = [float(line.split('loss ')[1].split(',')[0]) for line in told]
  assert len(losses) == 20 and np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])


def test_the_settings_are_those_of_the_small_model_with_violations():
  phase = mini_chains.run_phase(16_000, 64)
  weights = dict(phase.step.loss.weights)
  assert weights['violation'] == 1.0 and weights['smooth_lddt'] == 1.0 and 'distogram' not in weights
  assert phase.data.crop_size == 64 and phase.step.optimizer.cooldown_start == 8_000
