# SPDX-License-Identifier: Apache-2.0
"""Tables as text: CSV for files, and columns of equal width for the terminal."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
  """CSV with a header line; numbers that are not whole with four decimals, nothing where a row lacks a column."""
  text = io.StringIO()
  writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
  writer.writeheader()
  for row in rows:
    writer.writerow({name: f'{value:.4f}' if isinstance(value, float) else value for name, value in row.items()})
  return text.getvalue()


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
  """Columns of equal width, the first to the left, the others to the right."""
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = []
  for first, *others in rows:
    cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
    lines.append('  '.join(cells).rstrip())
  return lines


def decimals(value: float | None, places: int) -> str:
  """(0.5, 2) -> '0.50', None -> '-'."""
  return '-' if value is None else f'{value:.{places}f}'
