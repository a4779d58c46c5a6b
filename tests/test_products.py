# SPDX-License-Identifier: Apache-2.0
"""Products and slices take the forms in which XLA:CPU is fast in bfloat16."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alphafold_jax import tuning
from alphafold_jax.ops import Kernels, products, seam, slicing, use_kernels

EQUATIONS = ('ac,cd->ad', 'bsc,chd->bshd', 'hij,hc->ijc', 'cij,dcs->sdij', 'bshd,hdo->bso')
SIZES = dict(zip('abcdhijos', (2, 3, 4, 5, 6, 7, 8, 9, 10), strict=True))


def operands(equation, dtype='bfloat16'):
  rng = np.random.default_rng(0)
  shapes = [[SIZES[index] for index in part] for part in equation.split('->')[0].split(',')]
  return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def dots(jaxpr):
  """All products of a traced function: dtypes of both operands and of the result."""
  found = []
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == 'dot_general':
      found.append(tuple(str(var.aval.dtype) for var in (*eqn.invars, *eqn.outvars)))
    for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: hasattr(x, 'eqns')):
      inner = getattr(inner, 'jaxpr', inner)
      found += dots(inner) if hasattr(inner, 'eqns') else []
  return found


@pytest.mark.parametrize('equation', EQUATIONS)
def test_on_a_cpu_products_of_bfloat16_and_their_gradients_are_summed_in_float32(equation):
  def value(a, b):
    return jnp.sum(jnp.sin(products.einsum(equation, a, b)))

  found = dots(jax.make_jaxpr(jax.value_and_grad(value, argnums=(0, 1)))(*operands(equation)).jaxpr)
  assert found == 3 * [('bfloat16', 'bfloat16', 'float32')]


def test_on_an_accelerator_a_product_of_bfloat16_is_bfloat16():
  with use_kernels(Kernels(platform='cuda')):
    found = dots(jax.make_jaxpr(lambda a, b: products.einsum('ac,cd->ad', a, b))(*operands('ac,cd->ad')).jaxpr)
  assert found == [('bfloat16', 'bfloat16', 'bfloat16')]


@pytest.mark.parametrize('platform', ['cpu', 'cuda', 'tpu'])
def test_products_summed_in_float32_have_gradients_by_products_of_the_operands_dtype(platform):
  def value(a, b):
    return jnp.sum(jnp.sin(products.einsum_in_float32('bsc,chd->bshd', a, b)))

  with use_kernels(Kernels(platform=platform)):
    found = dots(jax.make_jaxpr(jax.value_and_grad(value, argnums=(0, 1)))(*operands('bsc,chd->bshd')).jaxpr)
  assert found == 3 * [('bfloat16', 'bfloat16', 'float32')]


@pytest.mark.parametrize('equation', EQUATIONS)
@pytest.mark.parametrize(('dtype', 'tolerance'), [('float32', 1e-5), ('bfloat16', 1e-2)])
def test_products_and_their_gradients_are_those_of_numpy_in_double_precision(equation, dtype, tolerance):
  a, b = operands(equation, dtype)
  exact_a, exact_b = (np.asarray(x, np.float64) for x in (a, b))
  expected = np.einsum(equation, exact_a, exact_b)
  weights = np.random.default_rng(1).normal(size=expected.shape)
  of_a, of_b = equation.split('->')[0].split(',')
  result = equation.split('->')[1]

  value, backwards = jax.vjp(lambda a, b: products.einsum(equation, a, b).astype(jnp.float32), a, b)
  to_a, to_b = backwards(jnp.asarray(weights, jnp.float32))
  for found, wanted in (
    (value, expected),
    (to_a, np.einsum(f'{result},{of_b}->{of_a}', weights, exact_b)),
    (to_b, np.einsum(f'{of_a},{result}->{of_b}', exact_a, weights)),
  ):
    np.testing.assert_allclose(np.asarray(found, np.float64), wanted, atol=tolerance * np.abs(wanted).max())
  assert (to_a.dtype, to_b.dtype) == (a.dtype, b.dtype)


def test_no_other_file_asks_for_a_product_in_float32():
  """XLA:CPU fails at run time on such products of bfloat16 whose result it wants transposed; the door prevents it."""
  folder = Path(products.__file__).parents[1]
  asking = {path.stem for path in folder.rglob('*.py') if 'preferred_element_type' in path.read_text(encoding='utf-8')}
  kernels = {name for name in asking if 'pallas' in name}
  assert asking - kernels == {'products'}


def test_on_a_cpu_a_product_of_bfloat16_may_be_transposed():
  a, b = jnp.ones((16, 16), jnp.bfloat16), jnp.ones((16, 64), jnp.bfloat16)
  found = jax.jit(lambda a, b: products.einsum('ac,cd->ad', a, b).T)(a, b)
  np.testing.assert_array_equal(found, 16)


@pytest.mark.parametrize('differentiated', [False, True])
def test_slices_of_a_bfloat16_array_are_updated_in_place_not_by_way_of_all_of_it_in_float32(differentiated):
  """With a conversion of the whole array for every slice the extra MSA's attention took three times as long."""
  x = jnp.ones((512, 24, 8), jnp.bfloat16)

  def update(x):
    with use_kernels(Kernels(chunk_bytes=16 * 24 * 8 * 4)):
      return slicing.update_rows(lambda x: jnp.tanh(x), x, (), 24 * 8 * 4)

  function = jax.grad(lambda x: jnp.sum(update(x), dtype=jnp.float32)) if differentiated else update
  lines = jax.jit(function).lower(x).compile().as_text().splitlines()
  updates = [line for line in lines if ' dynamic-update-slice(' in line]
  assert updates and not any(' f32[512,24,8]' in line for line in updates)


@pytest.mark.slow
@pytest.mark.parametrize('operation', sorted(seam.OPERATIONS))
def test_gradients_in_bfloat16_are_those_in_float32_within_its_rounding(operation):
  """With weights of one sign, so that a bias whose gradient were summed in bfloat16 would be off by a third."""
  run, arguments = tuning.problem(operation, {'rows': 32, 'residues': 48, 'channels': 32, 'outer': 8}, 'bfloat16')
  weights = 1 + 0.3 * np.random.default_rng(0).normal(size=jax.eval_shape(run, *arguments).shape)

  def gradients(*arguments):
    def value(*first):
      return jnp.sum(run(*first, *arguments[3:]).astype(jnp.float32) * weights)

    return jax.grad(value, argnums=(0, 1, 2))(*arguments[:3])

  exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), arguments)
  found, expected = (jax.jit(gradients)(*given) for given in (arguments, exact))
  for (path, leaf), wanted in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True):
    error = np.asarray(leaf, np.float64) - np.asarray(wanted, np.float64)
    assert np.linalg.norm(error) <= 0.03 * np.linalg.norm(wanted), jax.tree_util.keystr(path)
