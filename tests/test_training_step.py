# SPDX-License-Identifier: Apache-2.0
"""One training step: the same on any layout of devices, and as Algorithm 31 and Suppl. 1.11 have it."""

import dataclasses

import devices
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small_network
import small_training
from jax.flatten_util import ravel_pytree

from alphafold_jax.losses import total
from alphafold_jax.train import optimizer, sharding
from alphafold_jax.train import step as steps

LAYOUTS = ('8x1', '1x8', '2x4', 'pmap')


@pytest.fixture(scope='module')
def on_devices(tmp_path_factory):
  """Two steps on one device and on every layout of eight, as arrays by `layout:path`."""
  return devices.arrays_of(small_training, tmp_path_factory.mktemp('devices'), '1x1', *LAYOUTS)


def of_layout(arrays, layout, part):
  start = f'{layout}:{part}'
  found = {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}
  assert found
  return found


@pytest.mark.parametrize('layout', LAYOUTS)
def test_loss_and_gradients_do_not_depend_on_the_devices(on_devices, layout):
  one, many = (of_layout(on_devices, name, 'metrics[0]') for name in ('1x1', layout))
  for name in ('.loss', '.gradient_norm'):
    np.testing.assert_allclose(many[name], one[name], rtol=1e-5)
  losses = many['.losses'].reshape(-1)
  assert losses.shape[0] in (8, 1)  # pmap: of the first device only
  np.testing.assert_allclose(losses, one['.losses'][: len(losses)], rtol=1e-5)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_gradients_of_every_parameter_do_not_depend_on_the_devices(on_devices, layout):
  # Adam's first moments after one step: the gradients, not divided by their size.
  one, many = (of_layout(on_devices, name, 'state[0].moments.mu')[''] for name in ('1x1', layout))
  np.testing.assert_allclose(many, one, rtol=0, atol=1e-5 * np.max(np.abs(one)))


@pytest.mark.parametrize('layout', LAYOUTS)
def test_the_second_step_goes_on_alike(on_devices, layout):
  """Looser: errors and distances are put into bins, over whose edges rounding may push one."""
  one, many = (of_layout(on_devices, name, 'metrics[1].loss') for name in ('1x1', layout))
  np.testing.assert_allclose(many[''], one[''], rtol=1e-4)


def test_templates_are_shared_by_devices_without_a_change(on_devices):
  one, four = (of_layout(on_devices, f'templates over {num}', '') for num in (1, 4))
  np.testing.assert_allclose(four['value'], one['value'], rtol=1e-5)
  np.testing.assert_allclose(four['gradient'], one['gradient'], rtol=0, atol=1e-5 * np.max(np.abs(one['gradient'])))


def test_every_layout_draws_the_same_number_of_passes(on_devices):
  for index in range(2):
    passes = {int(of_layout(on_devices, name, f'metrics[{index}]')['.num_passes']) for name in ('1x1', *LAYOUTS)}
    assert len(passes) == 1


@pytest.fixture(scope='module')
def spec():
  """Of a single pass, which compiles in three quarters of the time; what passes do is shown elsewhere in this file."""
  return small_training.make_spec(batch_size=2, max_passes=1)


@pytest.fixture(scope='module')
def one_step(spec):
  return jax.jit(
    lambda state, key, batch: steps.train_step(spec, state, key, batch, jnp.arange(2)),
    compiler_options=small_network.FAST,
  )


@pytest.fixture(scope='module')
def state(spec):
  return steps.initial_state(spec, jax.random.key(0), small_training.params())


def test_the_gradient_flows_through_the_last_pass_only():
  """With the outputs of the earlier passes given as constants, the gradient is the same.

  All that is recycled enters the trunk, so a loss of the trunk alone would see any other gradient.
  """
  spec = small_training.make_spec(loss=total.make_spec({'distogram': 1.0}))
  example, key = jax.tree.map(jnp.asarray, small_training.make_example(0)), jax.random.key(3)
  network = steps.alphafold.network(spec.network)

  def by_hand(params, previous):
    key_prepare, key_passes = jax.random.split(key)
    context = network.prepare(params, key_prepare, example)
    outputs = network.iterate(params, jax.random.fold_in(key_passes, 1), example, context, previous)
    return steps.total_loss(spec.loss, example, outputs)[0]

  def first_pass(params):
    key_prepare, key_passes = jax.random.split(key)
    context = network.prepare(params, key_prepare, example)
    start = network.initial(small_training.NUM_RES)
    return network.iterate(params, jax.random.fold_in(key_passes, 0), example, context, start).recycled

  params = small_training.params()
  previous = jax.jit(first_pass, compiler_options=small_network.FAST)(params)
  expected = jax.jit(jax.grad(by_hand), compiler_options=small_network.FAST)(params, previous)
  ours = jax.jit(
    jax.grad(lambda p: steps.recycled_loss(spec, p, key, example, jnp.int32(2))[0]), compiler_options=small_network.FAST
  )(params)
  largest = optax.tree_utils.tree_max(jax.tree.map(jnp.abs, expected))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(largest)), ours, expected)


def test_a_step_with_a_gradient_that_is_not_finite_changes_no_parameter(one_step, state):
  good = small_training.make_batch(2)
  positions = np.array(good.targets.atom_positions)
  positions[1, 3] = np.nan
  bad = dataclasses.replace(good, targets=dataclasses.replace(good.targets, atom_positions=positions))
  after, metrics = one_step(state, jax.random.key(0), bad)
  assert int(metrics.wrong) == 1 and list(metrics.finite) == [True, False]
  assert np.isfinite(metrics.loss)
  jax.tree.map(np.testing.assert_array_equal, after.params, state.params)
  jax.tree.map(np.testing.assert_array_equal, after.moments, state.moments)
  assert int(after.step) == 1 and int(after.skipped) == 1
  after, metrics = one_step(after, jax.random.key(0), good)
  assert int(metrics.wrong) == 0 and int(after.skipped) == 0
  changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), after.params, state.params)
  assert any(jax.tree.leaves(changed))


def test_each_example_is_clipped_by_itself(one_step, spec, state):
  """The first moment is (1 - b1) times the mean of gradients of norm 0.1."""
  after, metrics = one_step(state, jax.random.key(0), small_training.make_batch(2))
  assert float(metrics.gradient_norm) > spec.optimizer.clip_norm
  mean = after.moments.mu / (1 - spec.optimizer.b1)
  assert float(jnp.linalg.norm(mean)) <= spec.optimizer.clip_norm * (1 + 1e-5)


def test_examples_side_by_side_give_what_they_give_one_after_another(spec, one_step, state):
  together = dataclasses.replace(spec, examples_at_once=2)
  step = jax.jit(
    lambda state, key, batch: steps.train_step(together, state, key, batch, jnp.arange(2)),
    compiler_options=small_network.FAST,
  )
  batch, key = small_training.make_batch(2), jax.random.key(0)
  (a, metrics_a), (b, metrics_b) = step(state, key, batch), one_step(state, key, batch)
  np.testing.assert_allclose(metrics_a.losses, metrics_b.losses, rtol=1e-5)
  expected = np.asarray(b.moments.mu)
  np.testing.assert_allclose(a.moments.mu, expected, rtol=0, atol=1e-5 * np.max(np.abs(expected)))


@pytest.mark.parametrize(('samples', 'factor'), [(0, 1 / 128_000), (63_999, 0.5), (1_000_000, 1), (6_400_000, 0.95)])
def test_the_learning_rate_follows_the_paper(samples, factor):
  spec = dataclasses.replace(small_training.OPTIMIZER, warmup_samples=128_000, decay_samples=6_400_000)
  np.testing.assert_allclose(optimizer.learning_rate(spec, samples), 1e-3 * factor, rtol=1e-5)


@pytest.mark.parametrize(('samples', 'factor'), [(899, 1), (900, 1), (950, 0.5), (975, 0.25), (1000, 0), (1100, 0)])
def test_the_learning_rate_cools_down_evenly_to_nothing(samples, factor):
  spec = dataclasses.replace(small_training.OPTIMIZER, cooldown_start=900, cooldown_samples=100)
  np.testing.assert_allclose(optimizer.learning_rate(spec, samples), 1e-3 * factor, rtol=1e-5)


def test_muon_moves_matrices_of_the_trunk_alike_in_all_directions():
  """Against the closed form: gradients without their singular values, here from an SVD; Adam's rule for all else."""
  spec = dataclasses.replace(small_training.OPTIMIZER, method='muon')
  rng = np.random.default_rng(0)
  stack, other = 'evoformer/__layer_stack_no_per_layer/block/row_attention', 'heads/plddt'
  gradients = {
    stack: {
      'q': rng.normal(size=(3, 16, 4, 2)),  # blocks, input, heads, channels
      'out_w': rng.normal(size=(3, 4, 2, 16)),  # blocks, heads, channels, output
      'gate_b': rng.normal(size=(3, 4, 2)),
    },
    other: {'w': rng.normal(size=(16, 8)), 'b': rng.normal(size=8)},
  }
  gradients = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), gradients)
  vector, as_tree = ravel_pytree(gradients)
  method = optimizer.directions(spec, gradients)
  found, _ = method.update(vector, method.init(vector))
  found = as_tree(found)
  for name, shape in (('q', (16, 8)), ('out_w', (8, 16))):
    for block in range(3):
      gradient = np.asarray(gradients[stack][name][block]).reshape(shape)
      update = np.asarray(found[stack][name][block]).reshape(shape)
      left, _, right = np.linalg.svd(gradient, full_matrices=False)
      along = np.diag(left.T @ update @ right.T) / (0.2 * np.sqrt(max(shape)))
      assert np.all((along > 0.5) & (along < 1.5)), (name, block, along)  # five iterations reach 1 only roughly
      np.testing.assert_allclose(np.sqrt(np.mean(update**2)), 0.2, rtol=0.25)  # the size of Adam's updates
  for module, name in ((stack, 'gate_b'), (other, 'w'), (other, 'b')):
    gradient = np.asarray(gradients[module][name])
    np.testing.assert_allclose(found[module][name], gradient / (np.abs(gradient) + spec.epsilon), rtol=1e-3)


def test_a_method_that_is_none_is_refused():
  with pytest.raises(ValueError, match="optimizer.method is 'sgd'; choose one of adam, muon"):
    dataclasses.replace(small_training.OPTIMIZER, method='sgd')


def test_adam_is_adam():
  """Against the closed form of the first step: the sign of the gradient."""
  spec = small_training.OPTIMIZER
  gradient = {'w': jnp.array([1e-2, -3.0])}
  direction, _ = optimizer.adam(spec).update(gradient, optimizer.adam(spec).init(gradient))
  np.testing.assert_allclose(direction['w'], [1, -1], rtol=2e-4)


@pytest.mark.parametrize(
  ('changes', 'crop', 'what'),
  [({'batch_size': 7}, 64, 'step.batch_size=7'), ({'examples_at_once': 3}, 64, 'step.examples_at_once=3')],
)
def test_sizes_that_cannot_be_split_are_refused_by_name(changes, crop, what):
  mesh = jax.sharding.AbstractMesh((2, 2), ('data', 'model'))
  with pytest.raises(sharding.InputError, match=what):
    sharding.check(dataclasses.replace(small_training.make_spec(), **changes), mesh, crop)


def test_more_devices_than_examples_are_told_how_many_must_share_one():
  mesh = jax.sharding.AbstractMesh((256, 1), ('data', 'model'))
  spec = dataclasses.replace(small_training.make_spec(), batch_size=128)
  with pytest.raises(sharding.InputError, match='give run.model_devices=2, .* or a batch of 256'):
    sharding.check(spec, mesh, 256)
  assert sharding.fewest_model_devices(128, 256, 128) == 1
  assert sharding.fewest_model_devices(4, 96, 256) is None


def test_a_crop_that_the_model_axis_cannot_split_is_refused():
  mesh = jax.sharding.AbstractMesh((2, 4), ('data', 'model'))
  with pytest.raises(sharding.InputError, match='data.crop_size=30'):
    sharding.check(small_training.make_spec(), mesh, 30)


@pytest.fixture
def divided(monkeypatch):
  """The numbers of devices into which a CPU of six processors is divided."""
  numbers = []
  monkeypatch.delenv('XLA_FLAGS', raising=False)
  monkeypatch.setattr(sharding.machine, 'jax_has_begun', lambda: False)
  monkeypatch.setattr(sharding.machine, 'num_processors', lambda: 6)
  monkeypatch.setattr(sharding.jax.config, 'update', lambda name, number: numbers.append((name, number)))
  return numbers


@pytest.mark.parametrize(
  ('arguments', 'number'),
  [((0, 4), 4), ((0, 9), 3), ((0, 7), 1), ((0, 12, 4), 3), ((0, 3, 1, 2), 6), ((2, 4), 2)],
)
def test_a_cpu_is_divided_into_as_many_devices_as_divide_the_batch(arguments, number, divided):
  sharding.divide_processors(*arguments)
  assert divided == [('jax_num_cpu_devices', number)]


def test_a_cpu_that_the_user_has_divided_stays_as_it_is(divided, monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=3')
  sharding.divide_processors(0, 4)
  assert not divided
