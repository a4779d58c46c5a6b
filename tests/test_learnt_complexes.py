# SPDX-License-Identifier: Apache-2.0
"""Training on complexes, from a file to an interface: a small network learns a heterodimer and a homodimer by heart.

The homodimer is two neighbours in a ring, each of which meets the other with a side of its own: which of them is called
the first makes two complexes of it, 9.8 Å apart. (Those of a dimer about a twofold axis, such as 1A2K, are the same.)
The two take turns as targets, so that little would be learnt unless the copies were put right: without copies to choose
from, the same program came to DockQ 0.16 in 1,000 steps.
"""

import dataclasses
import functools

import complex_cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_experiment
from complex_cases import AXIS, FOURFOLD, placed
from learning import QUICKER, compiled_fast

from alphafold_jax import config as configs
from alphafold_jax import experiments
from alphafold_jax.constants import residues
from alphafold_jax.data.structures import Chain
from alphafold_jax.data.training import cache, feeding, training_set
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.geometry import superposition
from alphafold_jax.train import complex_validation, specs, validation
from alphafold_jax.train import step as steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LENGTH = 20  # of each chain
_NO_LOSS = ('chain_centres', 'masked_msa', 'plddt', 'experimentally_resolved', 'pae', 'violation')
CHANGES = {
  'model.templates': None,
  'model.extra_msa.num_block': 0,  # a third less to compile
  'model.c_s': 32,
  'model.embedder.c_z': 32,
  'model.structure.c_s': 32,
  'model.structure.num_layer': 3,
  'model.heads.num_pae_bins': 0,
  'model.sampling.masked_fraction': 0.0,
  'model.extra_msa.remat': False,
  'model.evoformer.remat': False,
  **{f'model.{key}': 0.0 for key in configs.DROPOUT if not key.startswith('templates')},
  'model.dtype': 'float32',
  'data.num_templates': 0,
  'data.num_rows': 1,  # the sequences alone, always the same
  'optimizer.learning_rate': 6e-3,
  'optimizer.warmup_samples': 50,
  'optimizer.ema_decay': 0.9,
  **{f'loss.{name}': 0.0 for name in _NO_LOSS},
  'step.batch_size': 1,
  'step.max_passes': 1,
}
STEPS_AT_ONCE, MOST_STEPS = 50, 600
STARTS = 4  # seeds; with two of five the heterodimer got stuck


@pytest.fixture(scope='module')
def config():
  multimer = configs.changed(experiments.experiment_config('train_multimer'), small_experiment.sizes())
  return configs.changed(multimer, CHANGES)


@pytest.fixture(scope='module')
def some_steps(config):
  """(state, batches) -> state: 50 steps on two batches that take turns; both tests run this one program."""
  spec = specs.make_step_spec(config)

  @functools.partial(jax.jit, compiler_options=QUICKER)
  def run(state, batches):
    def one_step(state, _):
      batch = jax.tree.map(lambda leaf: leaf[state.step % 2], batches)
      return steps.train_step(spec, state, jax.random.key(1), batch, jnp.arange(1))[0], None

    return jax.lax.scan(one_step, state, None, length=STEPS_AT_ONCE)[0]

  return run


def fresh(config, seed):
  """The state before the first step."""
  with compiled_fast():
    return steps.initial_state(specs.make_step_spec(config), jax.random.key(seed))


def piece(chain: Chain, first: int, name: str) -> Chain:
  """Residues of a chain, as a chain."""
  part = slice(first, first + LENGTH)
  fields = ('sequence', 'atom_positions', 'atom_mask', 'numbering', 'b_factors')
  return dataclasses.replace(chain, id=name, **{field: getattr(chain, field)[part] for field in fields})


def example(folder, chains, config):
  """The complex of a file's chains as a training set has it."""
  build_cache([complex_cases.write(folder / 'dimer.pdb', chains)], folder / 'set', complexes=True, processes=1)
  spec = specs.make_section(training_set.DataSpec, 'data', config)
  (found,) = complex_validation.choose_complexes([cache.open_cache(folder / 'set')], spec, 1, 256, 'train')
  # Far-off structures get no gradient from the clamped loss.
  targets = dataclasses.replace(found[1].targets, use_clamped_fape=np.float32(0))
  return dataclasses.replace(found[1], targets=targets)


def exchanged(batch):
  """The same complex with the numbers of its two copies exchanged."""
  targets, first = batch.targets, batch.asym_id == 1
  positions, mask = targets.copy_positions[::-1], targets.copy_mask[::-1]
  own = {
    'atom_positions': np.where(first[:, None, None], positions[0], positions[1]),
    'atom_mask': np.where(first[:, None], mask[0], mask[1]),
  }
  targets = dataclasses.replace(targets, copy_positions=positions, copy_mask=mask, **own)
  return dataclasses.replace(batch, targets=targets)


def score(state, batch, config):
  """DockQ of the one interface, with equal chains in the better order."""
  spec = specs.make_validation_spec(config)
  return complex_validation.score_complexes(spec, state.ema, [('dimer', batch)], 1)[0].dockq


def learnt(some_steps, batches, config):
  """The state in which a complex is known, from the first start that leads there, or the last state of the last."""
  stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(feeding.stack([batch]) for batch in batches))
  for seed in range(STARTS):
    state = fresh(config, seed)
    assert score(state, batches[0], config) < 0.5
    while int(state.step) < MOST_STEPS:
      state = some_steps(state, stacked)
      if min(score(state, batch, config) for batch in batches) > 0.8:
        return state
  return state


def test_a_heterodimer_is_learnt_to_dockq_above_0_8(config, some_steps, tmp_path):
  alpha, beta, *_ = complex_cases.read('2HHB.pdb.gz')
  batch = example(tmp_path, [piece(alpha, 102, 'A'), piece(beta, 107, 'B')], config)
  state = learnt(some_steps, [batch, batch], config)
  assert score(state, batch, config) > 0.8, int(state.step)


def test_a_homodimer_whose_copies_change_their_order_is_learnt_to_dockq_above_0_8(config, some_steps, tmp_path):
  subunit = placed(piece(complex_cases.read('1EXB.pdb.gz')[1], 0, 'A'), np.eye(3), -AXIS)
  chains = [placed(subunit, turn, name=name) for turn, name in zip(FOURFOLD, 'AB')]
  batch = example(tmp_path, chains, config)
  assert set(batch.entity_id) == {1} and set(batch.sym_id) == {1, 2}
  orders = batch, exchanged(batch)
  ca = [order.targets.atom_positions[:, residues.ATOM_INDEX['CA']] for order in orders]
  assert superposition.rmsd(*ca) > 5  # Å: as targets without copies they contradict one another

  state = learnt(some_steps, orders, config)
  assert min(score(state, order, config) for order in orders) > 0.8, int(state.step)
  predicted, _ = validation.fold(specs.make_validation_spec(config), state.ema, batch, 1)
  as_numbered = [complex_validation.score_interfaces(order, predicted)[0].score for order in orders]
  assert max(as_numbered) > 0.8 and min(as_numbered) < 0.23  # one of the two was learnt, not their mean
