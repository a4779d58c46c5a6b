# SPDX-License-Identifier: Apache-2.0
"""How objects that hold arrays are shown: in one short line, whatever their size.

A notebook shows what a cell evaluates to, so the text of a model must not be its parameters.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

_MOST = 240  # characters of an object
_MOST_OF_VALUE = 60


def one_line(value: Any) -> str:
  """The `__repr__` of a dataclass or named tuple: what each field holds: values if short, arrays by type and shape."""
  names = getattr(value, '_fields', None) or (field.name for field in dataclasses.fields(value) if field.repr)
  shown = ', '.join(f'{name}={brief(getattr(value, name))}' for name in names)
  return cut(f'{type(value).__name__}({shown}') + ')'


def brief(value: Any) -> str:
  """One value in a few characters: 'float32[22, 37, 3]', '93 modules', 'Msa(...)'."""
  if isinstance(value, type):
    return cut(repr(value), _MOST_OF_VALUE)  # np.float32 has a shape too, which is none
  if getattr(value, 'shape', None) is not None and hasattr(value, 'dtype'):
    return repr(value.item()) if _is_number(value) else f'{value.dtype}{list(value.shape)}'
  if dataclasses.is_dataclass(value):
    return f'{type(value).__name__}(...)'
  if isinstance(value, Mapping):
    return f'{len(value)} {"entry" if len(value) == 1 else "entries"}' if value else '{}'
  if isinstance(value, list | tuple | set | frozenset) and len(value) > 3:
    return f'{type(value).__name__} of {len(value)}'
  return cut(repr(value), _MOST_OF_VALUE)


def _is_number(value: Any) -> bool:
  """Whether it has no axes and is at hand, not on a device or traced."""
  return not value.shape and type(value).__module__ == 'numpy'


def cut(text: str, most: int = _MOST) -> str:
  """A text on one line, of so many characters at most."""
  text = ' '.join(text.split())
  return text if len(text) <= most else text[: most - 3] + '...'
