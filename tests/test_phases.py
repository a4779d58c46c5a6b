# SPDX-License-Identifier: Apache-2.0
"""Phases of a run: settings that change after a number of samples."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_experiment

from alphafold_jax import cli, config, experiments
from alphafold_jax.data.training import training_set
from alphafold_jax.data.training.cache import open_cache
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.data.training.phased import PhasedSet
from alphafold_jax.data.training.training_set import DataSpec
from alphafold_jax.errors import InputError
from alphafold_jax.train import checkpoints, optimizer, phases, validation, watch
from alphafold_jax.train import step as steps

DATA = Path(__file__).parent / 'data'
LATER = {
  'physical': {'samples': 7, 'loss': {'violation': 0.5}},
  'longer': {'samples': 4, 'data': {'crop_size': 24}, 'step': {'max_passes': 1}, 'optimizer': {'clip_norm': 0.2}},
}


def experiment(**later):
  return config.changed(small_experiment.get_config(), {'phases': later})


def test_an_experiment_without_phases_has_one():
  (only,) = phases.make_phases(experiment())
  assert only.first_step == 0 and only.data.crop_size == 16 and only.step.max_passes == 2


def test_phases_follow_one_another_and_keep_what_those_before_them_set():
  first, longer, physical = phases.make_phases(experiment(**LATER))
  assert [first.first_step, longer.first_step, physical.first_step] == [0, 2, 4]  # of 2 samples; 7 ends within a step
  assert [phase.data.crop_size for phase in (first, longer, physical)] == [16, 24, 24]
  assert [phase.step.max_passes for phase in (first, longer, physical)] == [2, 1, 1]
  assert [phase.step.optimizer.clip_norm for phase in (first, longer, physical)] == [0.1, 0.2, 0.2]
  assert ['violation' in dict(phase.step.loss.weights) for phase in (first, longer, physical)] == [False, False, True]
  assert physical.changes == ('loss.violation=0.5',)


def test_a_step_belongs_to_the_phase_that_began_last():
  made = phases.make_phases(experiment(**LATER))
  assert [phases.at(made, step).name for step in range(6)] == ['', '', 'longer', 'longer', 'physical', 'physical']


def test_the_small_model_is_shown_more_residues_after_a_third_and_how_chains_are_built_in_the_last_tenth():
  recipe = experiments.experiment_config('train_mini')
  made, samples = phases.make_phases(recipe), recipe.run.num_samples
  assert [phase.first_step * recipe.step.batch_size / samples for phase in made] == [0, 0.3, 0.9]
  assert [phase.data.crop_size for phase in made] == [64, 96, 96]
  assert [phase.step.max_passes for phase in made] == [1, 3, 3]
  assert [dict(phase.step.loss.weights).get('violation') for phase in made] == [None, None, 0.03]
  rates = [float(optimizer.learning_rate(made[0].step.optimizer, n)) for n in (2_000, 50_000, 84_999, 95_000, samples)]
  np.testing.assert_allclose(rates, [2e-3, 2e-3, 2e-3, 2e-3 / 3, 0], atol=1e-9)


@pytest.mark.parametrize(
  ('phase', 'said'),
  [
    ({}, 'phases.later.samples is None'),
    ({'samples': -1}, 'phases.later.samples is -1'),
    ({'samples': 2, 'model': {'c_s': 8}}, 'phases.later.model: a phase sets samples, and sections data, loss'),
    ({'samples': 2, 'data': 3}, 'phases.later.data'),
    ({'samples': 2, 'data': {'crop': 3}}, "no setting 'data.crop'"),
    ({'samples': 2, 'data': {'crop_size': 0}}, 'data.crop_size is 0'),
    ({'samples': 2, 'step': {'batch_size': 4}}, 'phases.later.step.batch_size: the batch stays the same'),
  ],
)
def test_a_phase_that_makes_no_sense_is_refused(phase, said):
  with pytest.raises(InputError, match=said):
    phases.make_phases(experiment(later=phase))


def test_examples_come_from_the_set_of_their_number():
  class Numbered:
    batch_size = 2

    def __init__(self, name):
      self.name = name

    def example(self, index):
      return f'{self.name}{index}', None

  joined = PhasedSet([(0, Numbered('a')), (2, Numbered('b')), (5, Numbered('c'))])
  assert [joined.example(i)[0] for i in range(7)] == ['a0', 'a1', 'b2', 'b3', 'b4', 'c5', 'c6']


def test_numbers_that_begin_later_get_a_column(tmp_path):
  table = watch.Table(tmp_path / 'metrics.csv', 0)
  for line in ({'step': 1, 'loss': 2.0}, {'step': 2, 'loss': 1.0, 'loss_violation': 0.5}, {'step': 3, 'loss': 0.5}):
    table.add(line)
  table = watch.Table(tmp_path / 'metrics.csv', 2)  # goes on after step 2
  table.add({'step': 3, 'loss': 0.25, 'loss_violation': 0.125})
  lines = watch.read(tmp_path / 'metrics.csv')
  assert [line['loss_violation'] for line in lines] == ['', '0.5', '0.125']
  assert [line['loss'] for line in lines] == ['2', '1', '0.25']


@pytest.fixture
def cache(tmp_path):
  """One real chain to train on, one that judges a pilot."""
  table = tmp_path / 'table.csv'
  table.write_text('id,split\n4zey_A,train\n1u5y_D,pilot\n')
  build_cache([DATA / '4zey.cif.gz', DATA / '1u5y_D.cif.gz'], tmp_path / 'set', table=table, processes=1)
  return str(tmp_path / 'set')


def test_the_state_of_muon_is_kept_in_a_checkpoint(tmp_path):
  spec = phases.make_phases(config.changed(experiment(), {'optimizer.method': 'muon'}))[0].step
  shapes = jax.eval_shape(lambda: steps.initial_state(spec, jax.random.key(0)))
  rng = np.random.default_rng(0)
  state = jax.tree.map(lambda leaf: jnp.asarray(rng.integers(0, 9, leaf.shape), leaf.dtype), shapes)
  kept = checkpoints.Checkpoints(tmp_path)
  assert kept.save(3, state, {}, {}) and kept.wait()
  restored, _ = kept.restore(3, jax.tree.map(jnp.zeros_like, state))
  kept.close()
  jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_a_pilot_is_judged_by_clusters_set_aside(cache):
  opened = open_cache(cache)
  chosen = {split: validation.choose_chains([opened], DataSpec(), 9, 256, split) for split in ('pilot', 'validation')}
  assert [name for name, _ in chosen['pilot']] == ['1u5y_D'] and not chosen['validation']
  assert 'no chain is of the split validation' in validation.describe_absence([opened], 256)
  assert set(training_set.TrainingSet([opened], DataSpec(num_templates=0), 0, 2).example(0)[0:1]) == {'4zey_A'}


def test_a_run_changes_phase(cache, tmp_path, monkeypatch):
  monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', 'true')
  jax.config.update('jax_disable_most_optimizations', True)
  file = tmp_path / 'experiment.py'
  file.write_text(
    f'import sys\nsys.path.insert(0, {str(Path(small_experiment.__file__).parent)!r})\nimport small_experiment\n'
    'from alphafold_jax import config\n\n\n'
    'def get_config():\n  return config.changed(small_experiment.get_config(), {\n'
    "    'run.validate_every': 0, 'step.max_passes': 1, 'phases': {\n"
    "      'late': {'samples': 4, 'data': {'crop_size': 12}, 'loss': {'experimentally_resolved': 0.0}}}})\n"
  )

  def train(run, *more):
    return cli.main(
      ['train', str(run), '--data', cache, '--config', str(file), '--quiet', '--no-compilation-cache', *more]
    )

  try:
    run = tmp_path / 'run'
    for samples in (2, 6):  # stopped before the change
      assert train(run, '--config', f'run.num_samples={samples}') == 0
  finally:
    jax.config.update('jax_disable_most_optimizations', False)
  lines = watch.read(run / watch.METRICS)
  assert [bool(line['loss_experimentally_resolved']) for line in lines] == [True, True, False]
  assert 'phase late begins: data.crop_size=12, loss.experimentally_resolved=0.0' in (run / 'log.txt').read_text()
