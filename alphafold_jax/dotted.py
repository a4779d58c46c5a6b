# SPDX-License-Identifier: Apache-2.0
"""Settings of a configuration by dotted keys, such as 'evoformer.num_block'."""

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from ml_collections import config_dict

from alphafold_jax import naming
from alphafold_jax.errors import InputError


def changed(config: config_dict.ConfigDict, changes: Mapping[str, Any]) -> config_dict.ConfigDict:
  """A copy of a configuration with dotted keys replaced, such as {'evoformer.num_block': 2}.

  Keys below a section that the model lacks (templates) are ignored.

  Raises:
    InputError: a key does not exist, or has a value of another kind.
  """
  result = config.copy_and_resolve_references()
  with result.unlocked():
    for key, value in changes.items():
      *sections, last = key.split('.')
      place = result
      for section in sections:
        if place is not None:
          place = place[section] if _holds(place, section) else _unknown(key, config)
      if place is None:
        continue
      if not _holds(place, last):
        _unknown(key, config)
      if isinstance(place[last], config_dict.ConfigDict) and not isinstance(value, Mapping | type(None)):
        raise InputError(
          f'{key}={value!r}: names a section; choose {", ".join(f"{key}.{name}" for name in place[last])}'
        )
      try:
        place[last] = value.item() if isinstance(value, np.generic) else value
      except TypeError:
        raise InputError(f'{key}={value!r}: must be of the kind of {place[last]!r}') from None
  return result


def _holds(place: Any, key: str) -> bool:
  return isinstance(place, config_dict.ConfigDict) and key in place


def _unknown(key: str, config: config_dict.ConfigDict) -> NoReturn:
  """Raises InputError, with the file that has the setting's neighbours, and the name that is most like it."""
  names = _dotted(config)
  file = 'experiments.py' if 'optimizer' in config and not key.startswith('model.') else 'config.py'  # of training
  near = naming.nearest(key, names) or next((name for name in names if name.endswith(f'.{key}')), None)
  hint = f'did you mean {near!r}? ' if near else ''
  raise InputError(f'there is no setting {key!r}; {hint}see alphafold_jax/{file} for all of them')


def _dotted(config: config_dict.ConfigDict, prefix: str = '') -> list[str]:
  """The names of all settings, sections left out."""
  return [
    name
    for key, value in config.items()
    for name in (_dotted(value, f'{prefix}{key}.') if isinstance(value, config_dict.ConfigDict) else [prefix + key])
  ]
