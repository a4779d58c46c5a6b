# SPDX-License-Identifier: Apache-2.0
"""One protein over several devices: its MSA and pair tensors split by residues, and what must be exchanged.

Inside `sharded_over(axis)` a device holds the same share of residues everywhere: of pair arrays its rows
[N_res / n, N_res, c], of MSA arrays its columns [N_seq, N_res / n, c]; what is small, such as everything per residue,
every device holds whole. What follows is all the communication there is: taking one's share, gathering all shares, and
exchanging rows for columns. Without an axis each of these leaves its argument as it is, so the modules that call them
read and run the same on one device.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from alphafold_jax.fields import map_leaves

_AXIS: contextvars.ContextVar[str | None] = contextvars.ContextVar('axis', default=None)


@contextlib.contextmanager
def sharded_over(axis: str | None) -> Iterator[None]:
  """What is traced inside the block is split over this axis of the device mesh; None: not at all."""
  token = _AXIS.set(axis)
  try:
    yield
  finally:
    _AXIS.reset(token)


def num_shares() -> int:
  """How many devices share one protein."""
  return jax.lax.axis_size(_AXIS.get()) if _AXIS.get() is not None else 1


def share(tree: Any, axis: int) -> Any:
  """This device's part of an array that every device holds whole, or of a tree of them, along one of their axes.

  Raises:
    ValueError: the axis cannot be split evenly; pad it.
  """
  name = _AXIS.get()
  if name is None:
    return tree
  devices = num_shares()

  def of_array(x):
    if x.shape[axis] % devices:
      raise ValueError(f'{x.shape[axis]} residues cannot be split over {devices} devices; pad them to a multiple')
    size = x.shape[axis] // devices
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(name) * size, size, axis)

  # All parts are taken before any is used: XLA may otherwise keep a whole array until its part is needed, in jax 0.12
  # that of the alignment until the Evoformer.
  return jax.lax.optimization_barrier(jax.tree.map(of_array, tree))


def gather(x: jax.Array, axis: int) -> jax.Array:
  """The whole of an array of which every device holds a part along that axis."""
  name = _AXIS.get()
  return x if name is None else jax.lax.all_gather(x, name, axis=axis, tiled=True)


def transpose(x: jax.Array) -> jax.Array:
  """Swaps the first two axes of a pair array, of which a device then holds rows again."""
  return exchange(x, 0, 1).swapaxes(0, 1)


def exchange(x: jax.Array, whole: int, split: int) -> jax.Array:
  """Makes one axis whole that was split, and splits another that was whole, evenly."""
  name = _AXIS.get()
  return x if name is None else jax.lax.all_to_all(x, name, split_axis=split, concat_axis=whole, tiled=True)


def whole_rows(m: jax.Array) -> jax.Array:
  """From all rows of an MSA array at this device's residues to a share of the rows at all residues.

  Where rows are no multiple of the devices, empty ones make up the number.
  """
  name = _AXIS.get()
  if name is None:
    return m
  missing = -m.shape[0] % num_shares()
  m = jnp.pad(m, ((0, missing), *((0, 0),) * (m.ndim - 1)))
  return exchange(m, whole=1, split=0)


def whole_columns(m: jax.Array, num_rows: int) -> jax.Array:
  """The way back: all rows (as many as there were) at this device's residues."""
  return exchange(m, whole=0, split=1)[:num_rows] if _AXIS.get() is not None else m


# ------------------------------------------------------------------------------------------ at the door


def split_axis(axes: Sequence[str | int]) -> int | None:
  """Which axis of an array of the schema devices split: the rows of pairs, the columns of an MSA; None: neither."""
  is_split = axes.count('num_res') == 2 or 'num_msa' in axes
  return axes.index('num_res') if is_split else None


def whole(tree: Any) -> Any:
  """A schema object with all of every array of which a device holds a part."""

  def gathered(field: dataclasses.Field, value: jax.Array) -> jax.Array:
    axis = split_axis(field.metadata['axes'])
    return value if axis is None else gather(value, axis)

  return map_leaves(gathered, tree)


def partition(cls: type, name: str) -> Any:
  """How devices split the arrays of a schema type, for `jax.shard_map`: a PartitionSpec in place of each."""

  def of_field(field):
    axis = split_axis(field.metadata['axes'])
    return P() if axis is None else P(*[None] * axis, name)

  return cls(**{field.name: of_field(field) for field in dataclasses.fields(cls)})
