# SPDX-License-Identifier: Apache-2.0
"""How to run a model: the handful of settings a person changes from one prediction to the next. Loads without JAX."""

import dataclasses
from typing import Any

from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax.choices import DTYPES
from alphafold_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
  """How to run a model; None leaves the value of its configuration."""

  num_recycle: int | None = None
  recycle_early_stop_tolerance: float | None = None  # Å; negative: never
  num_ensemble: int | None = None
  max_msa: tuple[int, int] | None = None  # cluster rows, extra rows
  masked_msa_fraction: float | None = None
  use_dropout: bool = False
  dtype: str | None = None  # of the trunk; None: float32 on CPUs, else bfloat16
  keep_representations: bool = False
  kernels: str | None = None
  num_devices: int = 1  # that share each protein, its rows of residue pairs split among them; the result is the same

  def __post_init__(self) -> None:
    checks = {
      'num_recycle': (self.num_recycle is None or self.num_recycle >= 0, 'must be 0 or more'),
      'num_ensemble': (self.num_ensemble is None or self.num_ensemble >= 1, 'must be 1 or more'),
      'max_msa': (
        self.max_msa is None or (len(self.max_msa) == 2 and min(self.max_msa) >= 1),
        'must be two numbers of at least 1, clusters and extra rows, such as 512:1024',
      ),
      'masked_msa_fraction': (
        self.masked_msa_fraction is None or 0 <= self.masked_msa_fraction <= 1,
        'must lie between 0 and 1',
      ),
      'dtype': (self.dtype in (None, *DTYPES), f'must be {" or ".join(DTYPES)}'),
      'num_devices': (self.num_devices >= 1, 'must be 1 or more'),
    }
    for name, (good, rule) in checks.items():
      if not good:
        raise InputError(f'{name}={getattr(self, name)!r}: {rule}')

  def with_changes(self, **changes: Any) -> 'Settings':
    """These settings with some of them changed; raises InputError where there is no such setting."""
    names = {field.name for field in dataclasses.fields(self)}
    for key in changes.keys() - names:
      raise InputError(f'there is no setting {key!r}; choose from {", ".join(sorted(names))}')
    return dataclasses.replace(self, **changes)

  def changes(self) -> dict[str, Any]:
    """New values in a model's configuration by dotted key, such as 'sampling.num_msa'."""
    num_msa, num_extra = self.max_msa or (None, None)
    changes = {
      'num_recycle': self.num_recycle,
      'recycle_early_stop_tolerance': self.recycle_early_stop_tolerance,
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
    """A model's configuration with these settings in place, for the device at hand."""
    from alphafold_jax import devices  # loads JAX

    return configs.changed(config, {'dtype': devices.default_dtype()} | self.changes())
