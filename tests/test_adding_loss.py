# SPDX-License-Identifier: Apache-2.0
"""A new loss is one function, one row in losses/total.py and one weight in experiments.py, and no other edit."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import small_experiment
import small_training

from alphafold_jax import config as configs
from alphafold_jax import experiments, schema
from alphafold_jax.constants import residues
from alphafold_jax.data.training import feeding
from alphafold_jax.losses import labels, total
from alphafold_jax.train import specs, watch
from alphafold_jax.train import step as steps
from alphafold_jax.weights.random import random_params

CA = residues.ATOM_INDEX['CA']
WEIGHT = 0.25


def compactness(batch: schema.Batch, targets: labels.Labels, outputs: schema.Outputs) -> jax.Array:
  """Mean squared distance of CA atoms from their centre, Å^2, without padding."""
  ca, mask = outputs.structure.atom_positions[:, CA], batch.seq_mask[:, None]
  centre = jnp.sum(mask * ca, axis=0) / jnp.sum(mask)
  return jnp.sum(mask * jnp.square(ca - centre)) / jnp.sum(mask)


@pytest.fixture
def config(monkeypatch):
  """An experiment with the new loss; the others are left out, since they take long to compile."""
  others = {f'loss.{name}': 0.0 for name in total.LOSSES}
  monkeypatch.setitem(total.LOSSES, 'compactness', compactness)
  monkeypatch.setitem(experiments.LOSS_WEIGHTS, 'compactness', WEIGHT)
  return configs.changed(
    small_experiment.get_config(), others | {'model.structure.num_layer': 1, 'step.batch_size': 1, 'step.max_passes': 1}
  )


def test_a_new_loss_is_trained_on_and_logged(config):
  spec = specs.make_step_spec(config)
  state = steps.initial_state(spec, jax.random.key(0), random_params(config.model, 0))
  batch = feeding.stack([small_training.make_example(0)])
  step = jax.jit(
    lambda state: steps.train_step(spec, state, jax.random.key(1), batch, jnp.arange(1)), compiler_options=oracle.FAST
  )
  after, metrics = jax.device_get(step(state))
  assert metrics.terms.keys() == {'compactness'} and metrics.terms['compactness'] > 0
  np.testing.assert_allclose(
    metrics.loss, WEIGHT * metrics.terms['compactness'] * np.sqrt(batch.seq_mask.sum()), rtol=1e-5
  )
  assert metrics.gradient_norm > 0 and np.linalg.norm(after.moments.mu) > 0  # its gradient reached the parameters
  logged = watch.training_numbers(watch.StepClock(1, 8, 1), [metrics])
  assert logged['loss_compactness'] == pytest.approx(float(metrics.terms['compactness']))


def test_a_run_begun_before_a_loss_was_added_may_go_on_without_it(config, tmp_path):
  now = config.to_dict()
  before = now | {'loss': {name: weight for name, weight in now['loss'].items() if name != 'compactness'}}
  assert specs.check_same(before, now | {'loss': now['loss'] | {'compactness': 0.0}}, tmp_path) == []
  with pytest.raises(ValueError, match='loss.compactness: 0.0 there, 0.25 now'):
    specs.check_same(before, now, tmp_path)
