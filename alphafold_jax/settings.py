# SPDX-License-Identifier: Apache-2.0
"""How to run a model: the handful of settings a person changes from one prediction to the next. Loads without JAX."""

import dataclasses
from collections.abc import Callable
from typing import Any

from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax.arguments import is_number, is_whole, wrong
from alphafold_jax.choices import DTYPES, EARLY_STOPS
from alphafold_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
  """How to run a model; None leaves the value of its configuration."""

  num_recycle: int | None = None
  recycle_early_stop_tolerance: float | None = None  # Å; negative: never
  early_stop: str | None = None  # which pass counts then: one of choices.EARLY_STOPS
  num_ensemble: int | None = None
  max_msa: tuple[int, int] | None = None  # cluster rows, extra rows
  masked_msa_fraction: float | None = None
  use_dropout: bool = False
  dtype: str | None = None  # of the trunk; None: what is fastest here as far as it was measured, see dtypes.py
  keep_representations: bool = False
  keep_distogram: bool = False  # [num_res, num_res, 64] in half precision: 128 bytes for each pair of residues
  kernels: str | None = None
  num_devices: int = 1  # that share each protein, its rows of residue pairs split among them; the result is the same

  def __post_init__(self) -> None:
    for name, (is_good, rule) in _RULES.items():
      value = getattr(self, name)
      if not is_good(value) and not (value is None and _FIELDS[name].default is None):
        raise wrong(name, value, rule)

  def with_changes(self, **changes: Any) -> 'Settings':
    """These settings with some of them changed; raises InputError where there is no such setting."""
    for key in sorted(changes.keys() - _FIELDS.keys()):
      of_model = '__' in key or key in configs.base_config()
      remedy = (
        'give it to afj.load_model (alphafold_jax/config.py)' if of_model else f'choose from {", ".join(_FIELDS)}'
      )
      raise InputError(f'there is no setting {key!r} of a prediction; {remedy}')
    return dataclasses.replace(self, **changes)

  def changes(self) -> dict[str, Any]:
    """New values in a model's configuration by dotted key, such as 'sampling.num_msa'."""
    num_msa, num_extra = self.max_msa or (None, None)
    changes = {
      'num_recycle': self.num_recycle,
      'recycle_early_stop_tolerance': self.recycle_early_stop_tolerance,
      'early_stop': self.early_stop,
      'num_ensemble': self.num_ensemble,
      'sampling.num_msa': num_msa,
      'sampling.num_extra': num_extra,
      'sampling.masked_fraction': self.masked_msa_fraction,
      'dtype': self.dtype,
      'kernels.implementation': self.kernels,
    }
    changes = {key: value for key, value in changes.items() if value is not None}
    return changes | (configs.DROPOUT if self.use_dropout else {})

  def apply(self, config: config_dict.ConfigDict) -> config_dict.ConfigDict:
    """A model's configuration with these settings in place."""
    return configs.changed(config, self.changes())


def _is_true_or_false(value: Any) -> bool:
  return isinstance(value, bool)


def _are_rows(value: Any) -> bool:
  return isinstance(value, tuple | list) and len(value) == 2 and all(is_whole(rows, 1) for rows in value)


_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
_SWITCH = _is_true_or_false, 'must be True or False'
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {  # what each setting must be, if it is not None
  'num_recycle': (lambda value: is_whole(value, 0), 'must be a whole number, 0 or more'),
  'recycle_early_stop_tolerance': (is_number, 'must be a number, in Å; negative: never'),
  'early_stop': (lambda value: value in EARLY_STOPS, f'must be {" or ".join(EARLY_STOPS)}'),
  'num_ensemble': (lambda value: is_whole(value, 1), 'must be a whole number, 1 or more'),
  'max_msa': (
    _are_rows,
    'must be two numbers of at least 1, clusters and extra rows, such as 512:1024',
  ),
  'masked_msa_fraction': (lambda value: is_number(value, 0, 1), 'must lie between 0 and 1'),
  'use_dropout': _SWITCH,
  'dtype': (lambda value: value in DTYPES, f'must be {" or ".join(DTYPES)}'),
  'keep_representations': _SWITCH,
  'keep_distogram': _SWITCH,
  'kernels': (lambda value: isinstance(value, str), "must be text, such as 'xla_chunked'"),
  'num_devices': (lambda value: is_whole(value, 1), 'must be a whole number, 1 or more'),
}
