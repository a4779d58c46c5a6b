# SPDX-License-Identifier: Apache-2.0
"""Kernels for accelerators: how one is chosen, refused or replaced, and that the way to each of them computes the same.

The kernels themselves run on a GPU only. What surrounds them is tested here, with cores that compute on a CPU what the
kernels' documentation says of them, and by lowering for CUDA.
"""

import ast
import logging
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_ops

from alphafold_jax import ops
from alphafold_jax.ops import (
  attention,
  attention_colabfold,
  attention_cudnn,
  attention_cuequivariance,
  seam,
  triangle,
  triangle_cuequivariance,
)

FAST = test_ops.FAST
CASES = (
  'self-attention, heads of 8',
  'self-attention, heads of 16, no bias',
  'self-attention, heads of 32',
  'self-attention, columns',
  'self-attention, one row',
)


def plain(q, k, v, mask_and_bias, scale):
  logits = jnp.einsum('bhqd,bhsd->bhqs', q, k).astype(jnp.float32) * scale + mask_and_bias
  return jnp.einsum('bhqs,bhsd->bhqd', jax.nn.softmax(logits, axis=-1).astype(v.dtype), v)


def pallas_attention(q, k, v, mask_bias, nonbatched_bias, scale):
  """Of colabfold_kernels.tri_flash: [b, h, S, c], mask_bias [b, 1, 1, S], nonbatched_bias [h, S, S] or None."""
  assert mask_bias.shape == (q.shape[0], 1, 1, k.shape[2])
  return plain(q, k, v, mask_bias + (0 if nonbatched_bias is None else nonbatched_bias[None]), scale)


def triangle_attention(q, k, v, bias, mask, scale):
  """Of cuequivariance_jax: [B, N, H, S, D], bias [B, 1, H, S, S], mask [B, N, 1, 1, S]; a list of three."""
  (_, rows, heads, keys, _), (one,) = k.shape, k.shape[:1]
  assert bias.shape == (one, 1, heads, keys, keys) and mask.shape == (one, rows, 1, 1, keys) and mask.dtype == bool
  logits = jnp.where(mask, scale * jnp.einsum('nrhqd,nrhsd->nrhqs', q, k) + bias, -1e9)
  return [jnp.einsum('nrhqs,nrhsd->nrhqd', jax.nn.softmax(logits, axis=-1), v), None, None]


@pytest.fixture
def core(request, monkeypatch):
  """A kernel's core that computes on this machine."""
  if request.param == 'cudnn':
    return lambda *arguments: attention_cudnn.attend(*arguments, implementation='xla')
  module, name = {'colabfold': ('colabfold_kernels', 'tri_flash'), 'cuequivariance': ('cuequivariance_jax', None)}[
    request.param
  ]
  stand_in = types.SimpleNamespace(pallas_attention=pallas_attention, triangle_attention=triangle_attention)
  monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{name: stand_in}) if name else stand_in)
  return {'colabfold': attention_colabfold, 'cuequivariance': attention_cuequivariance}[request.param].attend


@pytest.mark.parametrize('core', ['cudnn', 'colabfold', 'cuequivariance'], indirect=True)
@pytest.mark.parametrize('name', CASES)
def test_what_surrounds_a_kernel_equals_the_reference_in_values_and_gradients(name, core, monkeypatch):
  row = seam.Row(attention._around(core, empty_rows=False))
  monkeypatch.setitem(attention.SELF_ATTENTION, 'row', row)
  assert_row_equals_the_reference(name)
  sliced, _ = test_ops.value_and_gradients(name, 'row', 'float32', 1)
  test_ops.assert_near(sliced, test_ops.reference(name, 'float32')[0], test_ops.TOLERANCE['float32'])


def assert_row_equals_the_reference(name):
  value, gradients = test_ops.value_and_gradients(name, 'row', 'float32', 2**30)
  expected, expected_gradients = test_ops.reference(name, 'float32')
  test_ops.assert_near(value, expected, test_ops.TOLERANCE['float32'])
  scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected_gradients))
  for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * scale)


# ------------------------------------------------------------------------------------------ whole updates


def triangle_update(x, direction, *, mask, eps, **w):
  """Of cuequivariance_jax: x [N, N, D], matrices as [out, in], the first half of 2D rows makes a, the second b."""

  def norm(x, which):
    centred = x - x.mean(axis=-1, keepdims=True)
    normal = centred / jnp.sqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + eps)
    return normal * w[f'norm_{which}_weight'] + w[f'norm_{which}_bias']

  def gated(gate, x, which):
    gate = jax.nn.sigmoid(gate @ w[f'g_{which}_weight'].T + w[f'g_{which}_bias'])
    return gate * (x @ w[f'p_{which}_weight'].T + w[f'p_{which}_bias'])

  x = norm(x, 'in')
  a, b = jnp.split(mask[..., None] * gated(x, x, 'in'), 2, axis=-1)
  product = jnp.einsum({'outgoing': 'ikd,jkd->ijd', 'incoming': 'kid,kjd->ijd'}[direction], a, b)
  return gated(x, norm(product, 'out'), 'out')


def plain_update(z, norm, w, mask, outgoing):
  """A kernel for Algorithms 11 and 12 from the normalisation to the last line."""
  z = ops.layer_norm(z, *norm)
  product = jnp.moveaxis(triangle._product_xla(z, w, mask, outgoing), 0, -1)
  normal = ops.layer_norm(product, w.norm_scale, w.norm_offset)
  return (normal @ w.out_w + w.out_b) * jax.nn.sigmoid(z @ w.out_gate_w + w.out_gate_b)


@pytest.mark.parametrize('update', [plain_update, triangle_cuequivariance.update], ids=['plain', 'cuequivariance'])
@pytest.mark.parametrize(('outgoing', 'keep'), [(True, 1), (False, None)])
def test_a_kernel_for_the_whole_triangle_update_equals_the_reference(update, outgoing, keep, monkeypatch):
  name = f'triangle multiplication, {outgoing=}, {keep=}, as many hidden channels'
  monkeypatch.setitem(test_ops.CASES, name, test_ops._triangle(9, 16, 16, outgoing, keep))
  stand_in = types.SimpleNamespace(triangle_multiplicative_update=triangle_update)
  monkeypatch.setitem(sys.modules, 'cuequivariance_jax', stand_in)
  monkeypatch.setitem(triangle.TRIANGLE_MULTIPLICATION, 'row', seam.Row(triangle._by_update(update)))
  assert_row_equals_the_reference(name)


def test_cuequivariance_declines_triangles_of_other_sizes_and_what_exceeds_the_budget():
  def declined(rows, columns, channels, hidden):
    z = jax.ShapeDtypeStruct((rows, columns, channels), jnp.bfloat16)
    weights = types.SimpleNamespace(norm_scale=jnp.zeros(hidden))
    with ops.use_kernels(ops.Kernels(chunk_bytes=256 * 2**20)):
      return triangle_cuequivariance.declines('cuda', z, None, weights, None, None, outgoing=True)

  assert declined(8, 8, 128, 128) is None and declined(768, 768, 128, 128) is None and declined(8, 8, 64, 64) is None
  assert declined(4, 8, 128, 128) == 'a protein that devices share'
  assert declined(8, 8, 128, 64) == '64 hidden channels for 128'
  assert declined(8, 8, 96, 96) == '96 channels (only multiples of 64)'
  assert declined(1024, 1024, 128, 128) == '1024 residues with slices of 256 MiB'


def arguments(dtype='float32', rows=4, keys=8, heads=2, dim=8, bias=True):
  draw = test_ops.Draw(dtype)
  return (
    draw.normal(rows, keys, 16),
    draw.norm(16),
    test_ops.attention_weights(draw, 16, heads, dim),
    draw.mask(rows, keys),
    draw.normal(heads, keys, keys) if bias else None,
  )


def run(implementation, *given, platform=''):
  with ops.use_kernels(ops.Kernels(implementation=implementation, platform=platform)):
    return ops.self_attention(*given)


# ------------------------------------------------------------------------------------------ choosing


@pytest.mark.parametrize('name', ['cudnn', 'colabfold', 'cuequivariance'])
def test_a_kernel_that_cannot_run_here_is_refused_with_its_reason(name):
  with pytest.raises(ValueError, match=f"kernel '{name}' cannot be used for self_attention: .* NVIDIA GPU"):
    run(name, *arguments())


@pytest.mark.parametrize(
  ('name', 'package'),
  [
    ('colabfold', r'colabfold-kernels.*\.\[colabfold\]'),
    ('cuequivariance', r'cuequivariance-jax.*\.\[cuequivariance-cu13\]'),
  ],
)
def test_a_kernel_whose_package_is_missing_says_what_to_install(monkeypatch, name, package):
  monkeypatch.setattr('importlib.util.find_spec', lambda _: None)
  with pytest.raises(ValueError, match=package.replace('cu13', 'cu12') if 'cu13' in package else package):
    run(name, *arguments(), platform='gpu')


def test_the_extras_that_a_kernel_names_install_its_packages():
  setup = ast.parse((Path(__file__).parents[1] / 'setup.py').read_text())
  (extras,) = (node.value for node in setup.body if isinstance(node, ast.Assign) and node.targets[0].id == 'EXTRAS')
  installs = {key.value: ast.unparse(value) for key, value in zip(extras.keys, extras.values, strict=True)}
  for package in {package for rows in seam.OPERATIONS.values() for row in rows.values() for package in row.packages}:
    for extra in package.extras:
      assert any(f"'{name}>=" in installs[extra] for name in package.distributions), (package, extra)


def test_what_a_kernel_declines_is_computed_by_another_and_the_log_says_so(caplog):
  seam._log_once.cache_clear()
  given = arguments('float32')
  with caplog.at_level(logging.INFO, 'alphafold_jax'):
    ours = run('cudnn', *given, platform='gpu')  # float32
  np.testing.assert_allclose(ours, run('xla', *given), atol=1e-5)
  assert 'self_attention: xla_chunked in place of cudnn, which does not take activations in float32' in caplog.text


@pytest.mark.parametrize(
  ('dtype', 'dim', 'reason'),
  [('bfloat16', 8, None), ('bfloat16', 12, 'heads of 12 channels'), ('float32', 8, 'activations in float32')],
)
def test_cudnn_declines_what_it_cannot_compute(dtype, dim, reason):
  assert attention_cudnn.declines('cuda', jnp.dtype(dtype), (4, 2, 7, dim), bias=True) == reason


@pytest.mark.parametrize(('keys', 'bias', 'declines'), [(8, True, False), (7, True, True), (7, False, False)])
def test_cudnn_declines_to_differentiate_a_bias_for_an_odd_number_of_residues(keys, bias, declines):
  reason = attention_cudnn.declines_gradient('cuda', jnp.bfloat16, (4, 2, keys, 8), bias)
  assert reason == ('a bias for an odd number of residues (7)' if declines else None)


def test_a_gpu_is_one_of_nvidia_unless_this_process_has_one_of_amd(monkeypatch):
  def platform(name):
    return seam.platform(ops.Kernels(platform=name))

  assert [platform(name) for name in ('', 'cpu', 'gpu', 'cuda', 'tpu')] == ['cpu', 'cpu', 'cuda', 'cuda', 'tpu']
  amd = types.SimpleNamespace(platform_version='rocm 60300')
  monkeypatch.setattr('jax.extend.backend.get_backend', lambda: amd)
  assert platform('gpu') == 'rocm'


def test_single_operations_can_be_given_kernels_of_their_own():
  assert seam.choices('auto') == {}
  assert seam.choices('xla') == dict.fromkeys(seam.OPERATIONS, 'xla')
  assert seam.choices('self_attention=cudnn, transition=xla') == {'self_attention': 'cudnn', 'transition': 'xla'}


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('fastest', "kernel 'fastest' is not one of .*'cudnn'"),
    ('attention=xla', "'attention' is not one of the operations .*'self_attention'"),
    ('transition=cudnn', "kernel 'cudnn' is not one of .*, those of transition"),
  ],
)
def test_kernels_that_do_not_exist_are_refused_by_name(text, message):
  with pytest.raises(ValueError, match=message):
    seam.choices(text)


# ------------------------------------------------------------------------------------------ without a gradient


@pytest.fixture
def called(monkeypatch):
  """Adds a row for self-attention that cannot be differentiated; where it computed, a list grows."""
  calls = []

  def without_gradient(*given, axis):
    value = attention.SELF_ATTENTION['xla'].compute(*given, axis=axis)
    return jax.pure_callback(lambda value: calls.append('kernel') or value, value, jax.lax.stop_gradient(value))

  row = seam.Row(without_gradient, declines_gradient=lambda platform, *given, axis: 'anything at all')
  monkeypatch.setitem(attention.SELF_ATTENTION, 'primal', row)
  seam._log_once.cache_clear()
  return calls


def loss(implementation):
  """A function of x, norm, weights and bias, over two layers, each computed again on the way back."""
  mask = arguments()[3]

  def layer(x, given):
    norm, weights, bias = given
    return run(implementation, x, norm, weights, mask, bias), None

  def of_arguments(x, *given):
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), given)
    return jnp.sum(jnp.sin(jax.lax.scan(jax.checkpoint(layer), x, twice)[0]))

  return of_arguments


@pytest.mark.parametrize(
  'gradient',
  [lambda f: jax.grad(f, (0, 1, 2, 3)), lambda f: jax.grad(jax.jit(f), (0, 1, 2, 3))],
  ids=['as it is traced', 'when it was traced'],
)
def test_a_kernel_without_a_gradient_is_used_and_where_gradients_are_taken_another_gives_them(gradient, called, caplog):
  x, norm, weights, _, bias = arguments()
  given = x, norm, weights, bias
  np.testing.assert_allclose(loss('primal')(*given), loss('xla')(*given), rtol=1e-5)
  assert len(called) == 2 and not caplog.records
  with caplog.at_level(logging.INFO, 'alphafold_jax'):
    ours = jax.jit(gradient(loss('primal')))(*given)
  assert len(called) == 2
  assert 'xla_chunked in place of primal under differentiation, which it cannot do with anything' in caplog.text
  expected = jax.jit(jax.grad(loss('xla'), (0, 1, 2, 3)))(*given)
  scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5 * scale), ours, expected)


def test_the_gradient_in_a_kernels_place_keeps_to_the_budget_of_its_block(called, monkeypatch):
  """Also where JAX asks for it when the block has ended."""
  budgets, of_rows = [], attention.SELF_ATTENTION['xla_chunked'].compute

  def everywhere(*given, axis):
    budgets.append(seam.budget(seam.current()))
    return of_rows(*given, axis=axis)

  monkeypatch.setitem(attention.SELF_ATTENTION, 'xla_chunked', seam.Row(everywhere))
  given = arguments()

  def function(x):
    with ops.use_kernels(ops.Kernels('self_attention=primal', chunk_bytes=1234)):
      return jnp.sum(ops.self_attention(x, *given[1:]))

  jax.grad(jax.jit(function))(given[0])
  assert set(budgets) == {1234}


# ------------------------------------------------------------------------------------------ lowering


def lowered(function, *given):
  """The program for an NVIDIA GPU, made on this machine."""
  return jax.jit(function).trace(*given).lower(lowering_platforms=('cuda',)).as_text()


@pytest.mark.parametrize('dim', [8, 16, 32])
@pytest.mark.parametrize('with_bias', [True, False])
def test_cudnn_attention_lowers_for_cuda_and_its_bias_stays_shared(dim, with_bias, monkeypatch):
  monkeypatch.setattr('jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version', lambda: 91000)
  rows, heads, keys = 6, 2, 64
  q = jnp.zeros((rows, heads, keys, dim), jnp.bfloat16)
  bias = jnp.zeros((heads, keys, keys), jnp.bfloat16) if with_bias else None
  mask = jnp.ones((rows, keys))

  def loss(q, bias):
    return jnp.sum(attention_cudnn.attend(q, q, q, mask, bias).astype(jnp.float32))

  program = lowered(jax.grad(loss, argnums=(0, 1) if with_bias else 0), q, bias)
  assert '__cudnn$fmha' in program and program.count('__cudnn$fmha') >= 2  # forward and backward
  assert f'{rows}x{heads}x{keys}x{keys}' not in program  # neither logits nor a bias per row
