# SPDX-License-Identifier: Apache-2.0
"""The array fields of schema types one by one, so that padding, checking and saving never list fields by hand."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from alphafold_jax.errors import InputError


def leaves(tree: Any, prefix: str = '') -> Iterator[tuple[str, dataclasses.Field, Any]]:
  """(dotted name, field, array) of every array in a schema object; fields that are None are left out."""
  for field in dataclasses.fields(tree):
    value = getattr(tree, field.name)
    if dataclasses.is_dataclass(value):
      yield from leaves(value, f'{prefix}{field.name}.')
    elif value is not None:
      yield f'{prefix}{field.name}', field, value


def names(cls: type, prefix: str = '') -> Iterator[str]:
  """The dotted name of every array that a schema class must have; those that may be absent have a default."""
  for field in dataclasses.fields(cls):
    name = f'{prefix}{field.name}'
    if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
      yield from names(field.type, f'{name}.')
    elif field.default is dataclasses.MISSING:
      yield name


def map_leaves(function: Callable[[dataclasses.Field, Any], Any], tree: Any) -> Any:
  """The same object with function(field, array) in place of every array."""
  changes = {}
  for field in dataclasses.fields(tree):
    value = getattr(tree, field.name)
    if dataclasses.is_dataclass(value):
      changes[field.name] = map_leaves(function, value)
    elif value is not None:
      changes[field.name] = function(field, value)
  return dataclasses.replace(tree, **changes)


def from_leaves(cls: type, arrays: dict[str, Any], source: str, prefix: str = '') -> Any:
  """The schema object whose arrays are in a dict by dotted name; InputError, with the `source`, names a missing one."""
  values = {}
  for field in dataclasses.fields(cls):
    name = f'{prefix}{field.name}'
    if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
      values[field.name] = from_leaves(field.type, arrays, source, f'{name}.')
    elif name in arrays:
      values[field.name] = arrays[name]
    elif field.default is dataclasses.MISSING:
      raise InputError(f'{source}: array {name!r} is missing; has {", ".join(sorted(arrays)) or "none"}')
  return cls(**values)


def filled(cls: type, sizes: dict[str, int]) -> Any:
  """A schema object, without others inside, that is padding throughout; `sizes` gives each named axis.

  Arrays that may be absent are.
  """
  values = {}
  for field in dataclasses.fields(cls):
    if field.default is not dataclasses.MISSING:
      continue
    about = field.metadata
    shape = [sizes[axis] if isinstance(axis, str) else axis for axis in about['axes']]
    values[field.name] = np.full(shape, about['fill'], about['dtype'])
  return cls(**values)


def axis_sizes(tree: Any, source: str = 'batch') -> dict[str, int]:
  """The size of every named axis; InputError, with the `source`, names the array that disagrees."""
  sizes: dict[str, int] = {}
  first: dict[str, str] = {}
  for name, field, value in leaves(tree):
    shape, axes = np.shape(value), field.metadata['axes']
    if len(shape) != len(axes):
      raise InputError(f'{source}: array {name!r} has shape {shape}, expected {len(axes)} axes {axes}')
    for axis, size in zip(axes, shape, strict=True):
      expected = axis if isinstance(axis, int) else sizes.setdefault(axis, size)
      if size != expected:
        other = f' ({axis} is {expected} in {first[axis]!r})' if axis in first else ''
        raise InputError(f'{source}: array {name!r} has shape {shape}, expected axes {axes}{other}')
      first.setdefault(axis, name)
  return sizes
