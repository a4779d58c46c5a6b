# SPDX-License-Identifier: Apache-2.0
"""Cuts rows into slices whose arrays have so few elements that a kernel's offsets cannot overflow.

Pallas' lowering to Triton (read in jax 0.10.2) counts offsets in elements: in 64 bits where an array takes more than
2^32 bytes, in 32 bits elsewhere. That is right for elements of two bytes or more and overflows for single bytes. This
is not documented, and the other lowerings were not read. So no array that a kernel sees has 2^31 elements: then every
offset fits a signed integer of 32 bits.
"""

import math

LIMIT = 2**31


def row_slices(num_rows: int, elements_per_row: int, limit: int = LIMIT) -> list[tuple[int, int]]:
  """Cuts rows into the fewest slices, as even as they go, that have less than `limit` elements each.

  Args:
    num_rows: at least 1
    elements_per_row: of the largest array that is cut
    limit: elements

  Returns:
    (start, stop) of every slice, in order.

  Raises:
    ValueError: one row alone reaches the limit.
  """
  most = (limit - 1) // elements_per_row
  if most == 0:
    raise ValueError(f'a row of {elements_per_row} elements reaches the limit of {limit}; rows are not cut')
  num_slices = math.ceil(num_rows / most)
  bounds = [num_rows * index // num_slices for index in range(num_slices + 1)]
  return list(zip(bounds[:-1], bounds[1:], strict=True))
