# SPDX-License-Identifier: Apache-2.0
"""The frame of every update of the network: normalisation before, dropout after, and adding the update to the array.

The frame belongs to the operations, so that an array is updated slice by slice in place: neither the whole array
normalised nor the whole update is ever in memory.
"""

from collections.abc import Callable

import jax

from alphafold_jax.ops import slicing
from alphafold_jax.ops.layer_norm import NormWeights, layer_norm


def update(
  function: Callable[..., jax.Array],
  x: jax.Array,
  norm: NormWeights,
  keep: jax.Array | None,
  rows: slicing.Rows,
  bytes_per_row: int,
  *,
  axis: int = 0,
  at_least: int = 1,
) -> jax.Array:
  """Computes x + keep * function(layer_norm(x), *rows), in slices of one axis that keep to the budget.

  Args:
    function: maps [b, ...] normalised, and slices of `rows`, to an update of that shape.
    x: [B, A, c]
    norm: of the normalisation before the update
    keep: dropout's factors, [B, A, c] with 1 for the axis that shares them; None: no dropout
    rows: arrays that are sliced as x is, and the axis of each
    bytes_per_row: of the function's temporaries; 0: no slices
    axis: of x, 0 or 1, whose entries are rows; with 1 the function gets [b, B, c]
    at_least: the fewest rows worth a slice

  Returns:
    [B, A, c]
  """
  if keep is None:
    return slicing.update_rows(
      lambda x, *rows: function(layer_norm(x, *norm), *rows).astype(x.dtype),
      x,
      rows,
      bytes_per_row,
      axis=axis,
      at_least=at_least,
    )
  keep = keep.swapaxes(0, axis)
  shared = keep.shape[0] == 1  # all rows have the same factors

  def dropped(x, *rows):
    factor, rows = (keep, rows) if shared else (rows[-1], rows[:-1])
    return (factor * function(layer_norm(x, *norm), *rows)).astype(x.dtype)

  return slicing.update_rows(
    dropped, x, rows if shared else (*rows, (keep, 0)), bytes_per_row, axis=axis, at_least=at_least
  )
