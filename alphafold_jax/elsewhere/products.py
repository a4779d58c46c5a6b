# SPDX-License-Identifier: Apache-2.0
"""The operations of a matrix product in a compiled program, in each form that compilers write one.

Two for each multiply-add, as peaks are published.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from alphafold_jax.elsewhere import reading
from alphafold_jax.elsewhere.reading import Instruction, operands
from alphafold_jax.ops import pallas_platforms

_DTYPES = {'bf16': 'bfloat16', 'f16': 'float16', 'f32': 'float32', 'f64': 'float64'}
EXACT = 'exact '  # float32 that matrix units must not round: 'exact float32'
_HIGHEST = re.compile(r'operand_precision(?:=\{|":\s*\[")highest', re.IGNORECASE)
_CONTRACTED = re.compile(r'lhs_contracting_(?:dims=\{|dimensions":\s*\[)([\d,"\s]*)')
_LOGITS = re.compile(r'"intermediate_tensor_shape":\s*\{[^}]*?"dimensions":\s*\[([\d,"\s]*)\]')
_LABELS = re.compile(r'dim_labels=(\w+)_(\w+)->(\w+)')
_WINDOW = re.compile(r'window=\{([^}]*)\}')
_GROUPS = re.compile(r'(feature|batch)_group_count=(\d+)')


class Product(NamedTuple):
  """A matrix product, or several."""

  flops: int
  dtype: str  # of its wider factor


class _Factor(NamedTuple):
  kind: str
  shape: tuple[int, ...]


Arrays = list[_Factor]


def of(one: Instruction, inside: Mapping[str, Instruction]) -> Product | None:
  """The product that an instruction is, or None.

  Args:
    one: the instruction.
    inside: all of its computation, by name.
  """
  kernel = reading.kernel_of(one)
  rule = _RULES.get(one.operation) or next((rule for name, rule in _KERNELS.items() if kernel.startswith(name)), None)
  if rule is None:
    return None
  given = [array for name in operands(one) if name in inside for array in _arrays(inside[name].shape)[:1]]
  flops = rule(one, given, _arrays(one.shape))
  wider = max((array.kind for array in given[:2]), key=lambda kind: (kind in _DTYPES, reading.num_bytes(f'{kind}[8]')))
  exact = EXACT if wider == 'f32' and _HIGHEST.search(one.rest) else ''
  return None if flops is None else Product(flops, exact + _DTYPES.get(wider, wider))


def _arrays(shape: str) -> Arrays:
  found = reading.ARRAY.findall(shape)
  return [_Factor(kind, tuple(int(side) for side in sides.split(',') if side)) for kind, sides in found]


def _dot(one: Instruction, given: Arrays, results: Arrays) -> int | None:
  """A `dot`, or a call of cuBLAS, which has the same numbers in its configuration."""
  summed = _CONTRACTED.search(one.rest)
  if summed is None:
    return None
  sides = [given[0].shape[int(place)] for place in re.findall(r'\d+', summed[1])]
  return 2 * math.prod(results[0].shape) * math.prod(sides)


def _convolution(one: Instruction, given: Arrays, results: Arrays) -> int | None:
  """As compilers of TPUs write products. Axes of a batch are windows there, of which most places lie outside the array
  or between its elements; only those that meet an element count."""
  labels = _LABELS.search(one.rest)
  if labels is None:
    return None
  (left, right), result = given[:2], results[0]
  groups = {kind: int(number) for kind, number in _GROUPS.findall(one.rest)}
  found = _WINDOW.search(one.rest)
  window = dict(field.split('=') for field in found[1].split()) if found else {}
  places = 1
  for axis, length in enumerate(window['size'].split('x') if window else ()):
    outputs = result.shape[labels[3].index(str(axis))]
    places *= _meetings(outputs, int(length), left.shape[labels[1].index(str(axis))], axis, window)
  batch = left.shape[labels[1].index('b')] // groups.get('batch', 1)
  return 2 * places * batch * right.shape[labels[2].index('i')] * right.shape[labels[2].index('o')]


def _meetings(outputs: int, length: int, inputs: int, axis: int, window: Mapping[str, str]) -> int:
  """How many pairs of a place of the result and one of the window meet an element of the array, along an axis."""

  def number(name: str, default: str) -> str:
    return window[name].split('x')[axis] if name in window else default

  before = int(number('pad', '0_0').split('_')[0])
  stride, apart, between = (int(number(name, '1')) for name in ('stride', 'lhs_dilate', 'rhs_dilate'))
  place = np.arange(outputs)[:, None] * stride + np.arange(length) * between - before
  return int(np.sum((place >= 0) & (place <= (inputs - 1) * apart) & (place % apart == 0)))


def _fused_attention(one: Instruction, given: Arrays, results: Arrays) -> int | None:
  """Attention by cuDNN, or its gradient, from queries [B, Q, H, D] with logits that never leave the kernel."""
  logits = _LOGITS.search(one.rest)
  if logits is None:
    return None
  products = 5 if 'Backward' in reading.kernel_of(one) else 2
  return products * 2 * math.prod(int(side) for side in re.findall(r'\d+', logits[1])) * given[0].shape[-1]


def _ours(one: Instruction, given: Arrays, results: Arrays) -> int | None:
  """A kernel of ours, told by what it takes and gives: a transition, attention or one of its three gradients."""
  shapes = [array.shape for array in given]
  if [len(shape) for shape in shapes] == [2] * 5 and shapes[1] == shapes[3][::-1]:
    return 4 * math.prod(shapes[0]) * shapes[1][1]
  if [len(shape) for shape in shapes[:4]] != [4, 4, 4, 3] or shapes[1] != shapes[2]:
    return None
  each = 2 * math.prod(shapes[0]) * shapes[3][-1]  # queries [B, H, Q, D] or [B, H, D, Q], and a row's S keys
  gives = [array.shape for array in results]
  if len(gives) == 2:
    return each * (2 if 1 in gives[1][2:] else 4)  # outputs and a sum for each; gradients to keys and values
  return each * (3 if gives == shapes[:1] else 2)  # the gradient to queries; that to the bias


_RULES: dict[str, Callable[[Instruction, Arrays, Arrays], int | None]] = {'dot': _dot, 'convolution': _convolution}
_KERNELS: dict[str, Callable[[Instruction, Arrays, Arrays], int | None]] = {  # by how their names begin
  '__cublas$gemm': _dot,
  '__cublas$lt$matmul': _dot,
  '__cudnn$fmha': _fused_attention,
  **dict.fromkeys(pallas_platforms.CUSTOM_CALLS, _ours),
}
