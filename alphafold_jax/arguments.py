# SPDX-License-Identifier: Apache-2.0
"""What is said of an argument that cannot be: its name, what was given, and what it must be. Loads without JAX."""

import math
import numbers
from collections.abc import Collection, Iterable
from typing import Any

from alphafold_jax.errors import InputError
from alphafold_jax.one_line import brief, cut


def wrong(name: str, value: Any, rule: str) -> InputError:
  """The error to raise: "num_recycle='3': must be a whole number, 0 or more"."""
  is_plain = isinstance(value, list | tuple) and all(isinstance(one, str | int | float) for one in value)
  error = InputError(f'{name}={cut(repr(value)) if is_plain else brief(value)}: {rule}')
  error.argument = name
  return error


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
  """Whether it is an integer within bounds; truth values and floats are none."""
  return isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= int(value) <= most


def is_number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
  """Whether it is a number within bounds; truth values and NaN are none."""
  return isinstance(value, numbers.Real) and not isinstance(value, bool) and least <= float(value) <= most


def check_whole(name: str, value: Any, least: int, most: int) -> None:
  """Raises InputError unless the argument is an integer within bounds."""
  if not is_whole(value, least, most):
    raise wrong(name, value, f'must be a whole number from {least} to {most}')


def check_kind(name: str, value: Any, kinds: type | tuple[type, ...], rule: str) -> None:
  """Raises InputError, with the rule, unless the argument is of one of these types."""
  if not isinstance(value, kinds):
    raise wrong(name, value, rule)


def check_names(name: str, values: Any, known: Collection[str], example: str) -> None:
  """Raises InputError unless the argument is several known names, and not one string."""
  if isinstance(values, str) or not isinstance(values, Iterable):
    raise wrong(name, values, f'must be a list of names, such as {example}')
  for value in values:
    if not isinstance(value, str) or value not in known:
      raise wrong(name, value, f'unknown; choose from {", ".join(known)}')
