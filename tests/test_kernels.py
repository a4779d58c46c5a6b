# SPDX-License-Identifier: Apache-2.0
"""Kernels for accelerators: how one is chosen, refused or replaced, and that the way to each of them computes the same.

The kernels themselves run on a GPU only. What surrounds them is tested here, with cores that compute on a CPU what the
kernels' documentation says of them, and by lowering for CUDA.
"""

import logging
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_ops

from alphafold_jax import ops
from alphafold_jax.ops import attention, colabfold_attention, cudnn_attention, cuequivariance_attention, seam

CPU, GPU = seam.Place('cpu', gradients=False), seam.Place('gpu', gradients=False)
TRAINING = seam.Place('gpu', gradients=True)
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
    return lambda *arguments: cudnn_attention.attend(*arguments, implementation='xla')
  module, name = {'colabfold': ('colabfold_kernels', 'tri_flash'), 'cuequivariance': ('cuequivariance_jax', None)}[
    request.param
  ]
  stand_in = types.SimpleNamespace(pallas_attention=pallas_attention, triangle_attention=triangle_attention)
  monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{name: stand_in}) if name else stand_in)
  return {'colabfold': colabfold_attention, 'cuequivariance': cuequivariance_attention}[request.param].attend


@pytest.mark.parametrize('core', ['cudnn', 'colabfold', 'cuequivariance'], indirect=True)
@pytest.mark.parametrize('name', CASES)
def test_what_surrounds_a_kernel_equals_the_reference_in_values_and_gradients(name, core, monkeypatch):
  row = seam.Row(attention._self_attention_by(core, empty_rows=False), attention._projections_bytes)
  monkeypatch.setitem(attention.SELF_ATTENTION, 'row', row)
  value, gradients = test_ops.value_and_gradients(name, 'row', 'float32', 2**30)
  sliced, _ = test_ops.value_and_gradients(name, 'row', 'float32', 1)
  expected, expected_gradients = test_ops.reference(name, 'float32')
  test_ops.assert_near(value, expected, test_ops.TOLERANCE['float32'])
  test_ops.assert_near(sliced, expected, test_ops.TOLERANCE['float32'])
  scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected_gradients))
  for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * scale)


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
    ('colabfold', r'colabfold-kernels.*alphafold-jax\[colabfold\]'),
    ('cuequivariance', r'cuequivariance-jax.*alphafold-jax\[cuequivariance-cu13\]'),
  ],
)
def test_a_kernel_whose_package_is_missing_says_what_to_install(monkeypatch, name, package):
  monkeypatch.setattr('importlib.util.find_spec', lambda _: None)
  with pytest.raises(ValueError, match=package.replace('cu13', 'cu12') if 'cu13' in package else package):
    run(name, *arguments(), platform='gpu')


def test_what_a_kernel_declines_is_computed_by_another_and_the_log_says_so(caplog):
  seam._tell.cache_clear()
  given = arguments('float32')
  with caplog.at_level(logging.INFO, 'alphafold_jax'):
    ours = run('cudnn', *given, platform='gpu')  # float32
  np.testing.assert_allclose(ours, run('xla', *given), atol=1e-5)
  assert 'self_attention: xla_chunked in place of cudnn, which does not take activations in float32' in caplog.text


@pytest.mark.parametrize(
  ('place', 'given', 'reason'),
  [
    (GPU, arguments('bfloat16'), None),
    (GPU, arguments('bfloat16', dim=12), 'heads of 12 channels'),
    (GPU, arguments('bfloat16', keys=7), None),
    (TRAINING, arguments('bfloat16', keys=7), r'an odd number of residues \(7\) in training'),
    (TRAINING, arguments('bfloat16', keys=7, bias=False), None),
    (TRAINING, arguments('float32'), 'activations in float32'),
  ],
  ids=['half', 'narrow', 'odd', 'odd in training', 'odd in training, no bias', 'float32'],
)
def test_cudnn_declines_what_it_cannot_compute(place, given, reason):
  x, _, *rest = given
  said = cudnn_attention.declines(place, x, *rest)
  assert said is None if reason is None else re.fullmatch(reason, said)


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


def test_kernels_know_whether_gradients_are_taken():
  seen = []
  row = seam.Row(lambda x: x, declines=lambda place, x: seen.append(place.gradients))
  seam.operation('tried', {'xla_chunked': row})
  try:
    seam.choose('tried', jnp.ones(1))
    with ops.taking_gradients():
      seam.choose('tried', jnp.ones(1))
  finally:
    del seam.OPERATIONS['tried']
  assert seen == [False, True]


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
    return jnp.sum(cudnn_attention.attend(q, q, q, mask, bias).astype(jnp.float32))

  program = lowered(jax.grad(loss, argnums=(0, 1) if with_bias else 0), q, bias)
  assert '__cudnn$fmha' in program and program.count('__cudnn$fmha') >= 2  # forward and backward
  assert f'{rows}x{heads}x{keys}x{keys}' not in program  # neither logits nor a bias per row
