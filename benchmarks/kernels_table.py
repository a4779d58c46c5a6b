# SPDX-License-Identifier: Apache-2.0
"""Trials of kernels in Markdown, without JAX."""

from collections.abc import Mapping, Sequence
from typing import Any

_EVERYWHERE = 'xla_chunked'  # beside which the others are put

# Channels, heads, as the Evoformer (pair: 128, 4) and the extra stack (MSA: 64, 8) have them.
SIZES = {'channels': 128, 'heads': 4, 'outer': 32}


def operation_flops(name: str, rows: int, n: int) -> int:
  """Floating-point operations of the problems of tuning.py, two for each multiply-add of a matrix product."""
  c, heads, h = (SIZES[key] for key in ('channels', 'heads', 'outer'))
  head_dim = c // heads
  return {
    'self_attention': 2 * rows * n * (5 * c * c + 2 * n * c),
    'global_attention': 2 * rows * n * (2 * c * c + 2 * c * head_dim + 2 * c),
    'outer_product_mean': 2 * (2 * rows * n * c * h + rows * (n * h) ** 2 + n * n * h * h * c),
    'transition': 16 * n * n * c * c,
    'triangle_multiplication': 2 * (6 * n * n * c * c + n**3 * c),
  }[name]


def rows_of_table(trials: Sequence[Mapping[str, Any]]) -> list[str]:
  """The trials of one size in Markdown."""
  gradients = any(one['gradient_seconds'] or one['gradient_reason'] for one in trials)
  head = '| operation | kernel | ms | over `xla_chunked` | share of that rate | error |'
  more = ' value and gradient, ms | over `xla_chunked` | error of the gradient |' if gradients else ''
  lines = [head + more, '|:--|:--|--:|--:|--:|--:|' + '--:|--:|--:|' * gradients]
  everywhere = {one['operation']: one for one in trials if one['row'] == _EVERYWHERE}
  for one in trials:
    cells = _value_cells(one, everywhere.get(one['operation'], {}))
    cells += _gradient_cells(one, everywhere.get(one['operation'], {})) if gradients else []
    lines.append(f'| {" | ".join([one["operation"], one["row"], *cells])} |')
  return lines


def _value_cells(one: Mapping[str, Any], everywhere: Mapping[str, Any]) -> list[str]:
  if one['seconds'] is None:
    return ['', '', '', _short(one['reason'])]
  least = operation_flops(one['operation'], one['num_rows'], one['num_res']) / one['matmul_rate']
  return [
    f'{1e3 * one["seconds"]:.3g}',
    _ratio(one['seconds'], everywhere.get('seconds')),
    f'{least / one["seconds"]:.0%}',
    f'{one["error"]:.1e}',
  ]


def _gradient_cells(one: Mapping[str, Any], everywhere: Mapping[str, Any]) -> list[str]:
  if one['gradient_seconds'] is None:
    return ['', '', _short(one['gradient_reason'])]
  ratio = _ratio(one['gradient_seconds'], everywhere.get('gradient_seconds'))
  return [f'{1e3 * one["gradient_seconds"]:.3g}', ratio, f'{one["gradient_error"]:.1e}']


def _ratio(seconds: float, other: float | None) -> str:
  return f'{seconds / other:.2f}' if other else ''


def _short(reason: str) -> str:
  return reason.split(': ', 1)[-1].replace('|', '/')
