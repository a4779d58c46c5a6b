# SPDX-License-Identifier: Apache-2.0
"""The work of compiled programs, counted from their text: operations of products, and traffic of memory."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from alphafold_jax.elsewhere import counting, reading

TOY = Path(__file__).parent / 'data' / 'elsewhere'


def counted(text):
  return counting.count(reading.parse(text))


def compiled(function, *shapes):
  arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  return jax.jit(function).lower(*arguments).compile()


# ------------------------------------------------------------------------------------------ products


def test_products_in_loops_count_as_often_as_the_loops_run():
  def outer(x, weights):
    def inner(x, w):
      return jnp.tanh(x @ w), None

    return jax.lax.fori_loop(0, 3, lambda _, x: jax.lax.scan(inner, x, weights)[0] @ weights[0], x)

  found = counted(compiled(outer, (64, 32), (7, 32, 32)).as_text())
  assert found.flops == {'float32': 3 * (7 + 1) * 2 * 64 * 32 * 32}
  assert not found.is_least and not found.unknown


@pytest.mark.parametrize(
  'equation, shapes',
  [('ab,bc->ac', ((48, 32), (32, 80))), ('bik,bjk->ijb', ((5, 16, 24), (5, 40, 24))), ('a,b->ab', ((256,), (512,)))],
)
def test_what_xla_counts_of_programs_without_loops_is_counted_here(equation, shapes):
  program = compiled(lambda a, b: jnp.einsum(equation, a, b), *shapes)
  found, cost = counted(program.as_text()), program.cost_analysis()
  assert sum(found.flops.values()) == pytest.approx(cost['flops'] if ',b->' not in equation else 0)
  assert found.traffic == pytest.approx(cost['bytes accessed'])


def hlo(*lines, others=''):
  """A program of these instructions, of which the last is the result."""
  body = '\n'.join(f'  {"ROOT " if line is lines[-1] else ""}{line}' for line in lines)
  return f'{others}\nENTRY %main (p: f32[1]) -> f32[1] {{\n{body}\n}}\n'


@pytest.mark.parametrize(
  'shapes, attributes, multiplications',
  [
    (('[64,32]', '[32,16]', '[64,16]'), 'dim_labels=bf_io->bf', 64 * 32 * 16),
    # An axis of a batch, 8 long, as a window: of 8 places each one meets its own element.
    (
      ('[8,64,32]', '[8,32,16]', '[8,64,16]'),
      'window={size=8 stride=7 pad=0_0 lhs_dilate=8 rhs_reversal=0}, dim_labels=0bf_0io->0bf',
      8 * 64 * 32 * 16,
    ),
    # A filter of 3 over 10 places with zeros around: 28 meetings, not 30.
    (('[2,10,4]', '[3,4,6]', '[2,10,6]'), 'window={size=3 pad=1_1}, dim_labels=b0f_0io->b0f', 2 * 28 * 4 * 6),
    # The sum over two axes, 5 and 4, in one place: 20 elements.
    (('[5,4,8,3]', '[5,4,3,7]', '[1,1,8,7]'), 'window={size=5x4}, dim_labels=01bf_01io->01bf', 20 * 8 * 3 * 7),
    (
      ('[2,10,4]', '[1,2,6]', '[2,10,6]'),
      'window={size=1}, dim_labels=b0f_0io->b0f, feature_group_count=2',
      2 * 10 * 2 * 6,
    ),
  ],
)
def test_products_that_compilers_of_tpus_write_as_convolutions(shapes, attributes, multiplications):
  left, right, result = (f'bf16{shape}{{0:T(8,128)(2,1)}}' for shape in shapes)
  text = hlo(
    f'%a = {left} parameter(0)',
    f'%b = {right} parameter(1)',
    f'%c = {result} convolution(%a, %b), {attributes}',
  )
  assert counted(text).flops == {'bfloat16': 2 * multiplications}


def test_a_batch_as_a_window_has_the_products_that_xla_computes_for_it():
  """The window of 8 places above, run: each place of the result is the product of its own two matrices."""
  a = jax.random.normal(jax.random.key(0), (8, 6, 5))
  b = jax.random.normal(jax.random.key(1), (8, 5, 7))
  found = jax.lax.conv_general_dilated(
    a.transpose(1, 0, 2), b, (7,), [(0, 0)], lhs_dilation=(8,), dimension_numbers=('NWC', 'WIO', 'NWC')
  )
  assert jnp.allclose(found.transpose(1, 0, 2), jnp.einsum('bij,bjk->bik', a, b), atol=1e-5)


def test_products_of_cublas_by_its_configuration_without_its_room():
  config = '{"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["2"]}}}'
  text = hlo(
    '%a = bf16[4,64,32]{2,1,0} parameter(0)',
    '%b = bf16[4,32,16]{2,1,0} parameter(1)',
    '%c = (f32[4,64,16]{2,1,0}, s8[4194304]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm", '
    f'backend_config={config}',
  )
  found = counted(text)
  assert found.flops == {'bfloat16': 2 * 4 * 64 * 32 * 16}
  assert found.traffic == 2 * 4 * (64 * 32 + 32 * 16) + 4 * 4 * 64 * 16


Q, K, SUMS = 'bf16[2,4,64,32]', 'bf16[2,4,48,32]', 'f32[2,4,64,1]'  # [B, H, Q, D], [B, H, S, D], [B, H, Q, 1]
ONE_PRODUCT = 2 * (2 * 4) * 64 * 48 * 32
OF_GRADIENTS = (Q, K, K, 'f32[2,1,48]', 'bf16[4,64,48]', Q, SUMS, SUMS)


@pytest.mark.parametrize(
  'takes, gives, flops',
  [
    ((Q, K, K, 'f32[2,1,48]', 'bf16[4,64,48]'), f'({Q}, {SUMS})', 2 * ONE_PRODUCT),  # logits, sums of values
    (('bf16[2,4,32,64]', *['bf16[2,4,32,48]'] * 2, 'f32[1,1,48]'), '(bf16[2,4,32,64], f32[2,4,1,64])', 2 * ONE_PRODUCT),
    (OF_GRADIENTS, Q, 3 * ONE_PRODUCT),  # logits, to weights, to queries
    (OF_GRADIENTS, f'({K}, {K})', 4 * ONE_PRODUCT),  # logits, to weights, to keys, to values
    (OF_GRADIENTS, 'f32[1,4,64,48]', 2 * ONE_PRODUCT),  # logits, to weights
    (('bf16[100,32]', 'bf16[32,128]', 'bf16[1,128]', 'bf16[128,32]', 'bf16[1,32]'), 'bf16[100,32]', 4 * 100 * 32 * 128),
  ],
)
@pytest.mark.parametrize('target', ['__gpu$xla.gpu.triton', 'tpu_custom_call'])
def test_products_of_our_kernels_by_what_they_take_and_give(target, takes, gives, flops):
  names = [f'%p{place}' for place in range(len(takes))]
  lines = [f'{name} = {shape}{{0}} parameter({place})' for place, (name, shape) in enumerate(zip(names, takes))]
  call = f'%c = {gives} custom-call({", ".join(names)}), custom_call_target="{target}", api_version=3'
  found = counted(hlo(*lines, call))
  assert (found.flops, found.unknown) == ({'bfloat16': flops}, {})


@pytest.mark.parametrize('name, products', [('SoftmaxBackward', 5), ('ScaleBiasSoftmax', 2)])
def test_products_of_cudnn_by_the_logits_that_it_keeps(name, products):
  q, k = 'bf16[2,64,4,32]{3,2,1,0}', 'bf16[2,48,4,32]{3,2,1,0}'  # positions before heads
  config = '{"cudnn_fmha_backend_config": {"intermediate_tensor_shape": {"dimensions": ["2", "4", "64", "48"]}}}'
  text = hlo(
    f'%q = {q} parameter(0)',
    f'%k = {k} parameter(1)',
    f'%v = {k} parameter(2)',
    f'%c = ({q}, u8[0]{{0}}) custom-call(%q, %k, %v), custom_call_target="__cudnn$fmha{name}", backend_config={config}',
  )
  found = counted(text)
  assert (found.flops, found.unknown) == ({'bfloat16': products * ONE_PRODUCT}, {})


def test_kernels_without_a_rule_are_named():
  text = hlo(
    '%a = bf16[64,32]{1,0} parameter(0)',
    '%b = bf16[64,32]{1,0} custom-call(%a), custom_call_target="__cudnn$unheardOf"',
  )
  found = counted(text)
  assert (found.flops, found.unknown) == ({}, {'__cudnn$unheardOf': 1})
  assert found.traffic == 2 * 64 * 32 * 2


# ------------------------------------------------------------------------------------------ traffic


def test_a_fusion_reads_the_parts_that_it_takes_and_writes_those_that_it_changes():
  others = """
%inside (p0: f32[100,8], p1: f32[100,8], p2: s32[], p3: s32[5,1]) -> f32[100,8] {
  %p0 = f32[100,8]{1,0} parameter(0)
  %p1 = f32[100,8]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  %p3 = s32[5,1]{1,0} parameter(3)
  %zero = s32[] constant(0)
  %seen = f32[100,8]{1,0} bitcast(%p1)
  %row = f32[1,8]{1,0} dynamic-slice(%seen, %p2, %zero), dynamic_slice_sizes={1,8}
  %rows = f32[5,8]{1,0} gather(%p1, %p3), offset_dims={1}
  %sum = f32[1,8]{1,0} reduce(%rows, %row), dimensions={0}
  ROOT %in_place = f32[100,8]{1,0} dynamic-update-slice(%p0, %sum, %p2, %zero)
}
"""
  text = hlo(
    '%a = f32[100,8]{1,0} parameter(0)',
    '%b = f32[100,8]{1,0} parameter(1)',
    '%c = s32[] parameter(2)',
    '%d = s32[5,1]{1,0} parameter(3)',
    '%e = f32[100,8]{1,0} fusion(%a, %b, %c, %d), kind=kLoop, calls=%inside',
    others=others,
  )
  row = 8 * 4
  assert counted(text).traffic == (0) + (row + 5 * row) + 4 + 5 * 4 + row


def test_what_is_changed_within_a_fusion_and_read_again_is_read_whole():
  others = """
%inside (p0: f32[100,8], p1: f32[1,8], p2: s32[]) -> f32[100,8] {
  %p0 = f32[100,8]{1,0} parameter(0)
  %p1 = f32[1,8]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  %changed = f32[100,8]{1,0} dynamic-update-slice(%p0, %p1, %p2, %p2)
  ROOT %then = f32[100,8]{1,0} negate(%changed)
}
"""
  text = hlo(
    '%a = f32[100,8]{1,0} parameter(0)',
    '%b = f32[1,8]{1,0} parameter(1)',
    '%c = s32[] parameter(2)',
    '%d = f32[100,8]{1,0} fusion(%a, %b, %c), kind=kLoop, calls=%inside',
    others=others,
  )
  assert counted(text).traffic == 2 * 100 * 8 * 4 + 8 * 4 + 4


def test_what_lies_in_the_fast_memory_of_a_chip_is_no_traffic():
  text = hlo(
    '%a = f32[64,128]{1,0:T(8,128)} parameter(0)',
    '%b = (f32[64,128]{1,0:T(8,128)S(1)}, f32[64,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%a)',
    '%c = f32[64,128]{1,0:T(8,128)S(1)} copy-done(%b)',
    '%d = f32[64,128]{1,0:T(8,128)S(1)} negate(%c)',
    '%e = ((f32[64,128]{1,0:T(8,128)}), f32[16,128]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:16]}',
    '%f = f32[16,128]{1,0:T(8,128)S(1)} slice-done(%e)',
    '%g = f32[64,128]{1,0:T(8,128)} copy(%d)',
  )
  row = 128 * 4
  moved = {step.name: step.traffic for step in counted(text).launched if step.traffic}
  assert moved == {'b': 64 * row, 'e': 16 * row, 'g': 64 * row}


@pytest.mark.parametrize(
  'array, elements',
  [
    ('bf16[1000,32]{1,0:T(8,128)(2,1)}', 1000 * 128),  # four times what it has
    ('bf16[1000,32]{0,1:T(8,128)(2,1)}', 32 * 1024),  # the other way round
    ('bf16[3,5,7]{2,0,1:T(4,128)(2,1)S(1)}', 4 * 128 * 5),
    ('bf16[5]{0:T(256)(128)(2,1)}', 256),
    ('bf16[]{:T(256)}', 256),
    ('bf16[5]{0:T(8,128)}', 8 * 128),
    ('bf16[0,32]{1,0:T(8,128)(2,1)}', 0),
    ('bf16[1000,32]{1,0}', 1000 * 32),
  ],
)
def test_an_array_takes_whole_tiles(array, elements):
  assert counting.held(array) == 2 * elements


def test_traffic_on_tpus_is_of_whole_tiles_and_what_only_gives_room_is_none():
  text = hlo(
    '%a = bf16[1000,32]{1,0:T(8,128)(2,1)} parameter(0)',
    '%b = bf16[1000,32]{1,0:T(8,128)(2,1)} negate(%a)',
    '%c = f32[64,3]{1,0:T(4,128)} custom-call(), custom_call_target="AllocateBuffer", backend_config={}',
    '%d = bf16[32,1000]{1,0:T(8,128)(2,1)} transpose(%b), dimensions={1,0}',
  )
  found = counted(text)
  assert [(step.name, step.traffic) for step in found.launched] == [
    ('b', 2 * 2 * 1000 * 128),
    ('d', 2 * 1000 * 128 + 2 * 32 * 1024),
  ]
  assert found.launches == 2


def test_a_product_with_a_mask_counts_by_its_other_factor():
  text = hlo(
    '%a = pred[64,32]{1,0} parameter(0)',
    '%b = bf16[32,16]{1,0} parameter(1)',
    '%c = bf16[64,16]{1,0} convolution(%a, %b), dim_labels=bf_io->bf',
  )
  assert counted(text).flops == {'bfloat16': 2 * 64 * 32 * 16}


@pytest.mark.parametrize(
  'marked', ['operand_precision={highest,highest}', '{"operand_precision":["HIGHEST","HIGHEST"]}']
)
def test_products_that_must_be_exact_are_counted_apart(marked):
  lines = ('%a = f32[64,32]{1,0} parameter(0)', '%b = f32[32,16]{1,0} parameter(1)')
  text = hlo(*lines, f'%c = f32[64,16]{{1,0}} dot(%a, %b), lhs_contracting_dims={{1}}, {marked}')
  assert counted(text).flops == {'exact float32': 2 * 64 * 32 * 16}


PART = 64 * 128 * 4  # bytes of a device's part in the toys
OF_CUDA = {  # by hand: five trips; what is sent and what arrives, what a fusion reads and writes
  'all-gather-start': 5 * PART, 'all-gather-done': 5 * 4 * PART, 'wrapped_transpose': 5 * 8 * PART,
  'input_reduce_fusion': 5 * (4 * PART + 128 * 4), 'input_reduce_fusion.1': 5 * (128 + 1) * 4,
  'loop_add_fusion': 5 * (2 * PART + 4), 'reduce-scatter-done': PART // 4,
}  # fmt: skip


def test_traffic_of_a_recorded_program():
  found = counted((TOY / 'cuda.txt').read_text(encoding='utf-8'))
  traffic = {step.name: step.traffic for step in found.launched}
  assert OF_CUDA == {name: traffic[name] for name in OF_CUDA}
  assert found.is_least and found.flops == {}
  assert [step.traffic for step in found.launched] == sorted(traffic.values(), reverse=True)
