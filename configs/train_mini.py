# SPDX-License-Identifier: Apache-2.0
"""The small model that ships with the package, for `alphafold-jax train --config configs/train_mini.py`."""

from alphafold_jax import experiments


def get_config(model: str | None = None):
  """The experiment, on its own or another model: `--config configs/train_mini.py:model_3_ptm`."""
  return experiments.experiment_config('train_mini', model)
