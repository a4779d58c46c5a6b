# SPDX-License-Identifier: Apache-2.0
"""The whole of training, from a file to a structure: a small network learns one protein by heart."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_experiment
from learning import QUICKER, compiled_fast

from alphafold_jax import config as configs
from alphafold_jax.data.training import cache, feeding, training_set
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.train import specs, validation
from alphafold_jax.train import step as steps

PROTEIN = Path(__file__).parent / 'data' / '1aie_A.cif.gz'  # 31 residues, a strand and a helix
CHANGES = {
  'model.c_s': 32,
  'model.embedder.c_z': 32,
  'model.evoformer.num_block': 2,
  'model.structure.c_s': 32,
  'model.structure.num_layer': 3,
  'model.heads.num_pae_bins': 0,
  'model.sampling.masked_fraction': 0.0,
  'data.num_rows': 1,  # the sequence alone, always the same
  'optimizer.learning_rate': 4e-3,
  'optimizer.warmup_samples': 50,
  'optimizer.ema_decay': 0.9,
  'loss.pae': 0.0,
  'loss.experimentally_resolved': 0.0,
  'step.batch_size': 1,
  'step.max_passes': 1,
}
STEPS_AT_ONCE, MOST_STEPS = 50, 1000


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_one_protein_is_learnt_to_lddt_ca_above_0_95(tmp_path, dtype):
  build_cache([PROTEIN], tmp_path / 'set', processes=1)
  config = configs.changed(small_experiment.get_config(), CHANGES | {'model.dtype': dtype})
  spec = specs.make_step_spec(config)
  data_spec = specs.make_section(training_set.DataSpec, 'data', config)
  chain = training_set.whole_chain(cache.open_cache(tmp_path / 'set')[0], data_spec, data_spec.num_rows)
  # Far-off structures get no gradient from the clamped loss.
  targets = dataclasses.replace(chain.targets, use_clamped_fape=np.float32(0))
  batch = jax.tree.map(jnp.asarray, feeding.stack([dataclasses.replace(chain, targets=targets)]))

  @functools.partial(jax.jit, donate_argnums=0, compiler_options=QUICKER)
  def some_steps(state):
    def one_step(state, _):
      return steps.train_step(spec, state, jax.random.key(1), batch, jnp.arange(1))

    state, metrics = jax.lax.scan(one_step, state, None, length=STEPS_AT_ONCE)
    return state, metrics.loss

  def score(state):
    return validation.score_chains(specs.make_validation_spec(config), state.ema, [('1aie_A', chain)], spec.max_passes)[
      0
    ]

  with compiled_fast():
    state = steps.initial_state(spec, jax.random.key(0))
    assert score(state).lddt_ca < 0.3
  losses = []
  while int(state.step) < MOST_STEPS and score(state).lddt_ca <= 0.95:
    state, loss = some_steps(state)
    losses += [float(one) for one in loss]
  learnt = score(state)
  assert learnt.lddt_ca > 0.95 and learnt.tm > 0.8, learnt
  assert learnt.mean_plddt > 70  # it has also learnt how good it is
  assert sum(losses[-50:]) < 0.5 * sum(losses[:50])
