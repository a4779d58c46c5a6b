# SPDX-License-Identifier: Apache-2.0
"""The paper's initial training (Suppl. Table 4), for `alphafold-jax train --config configs/train_initial.py`."""

from alphafold_jax import experiments


def get_config(model: str | None = None):
  """The experiment, on its own or another model: `--config configs/train_initial.py:model_3_ptm`."""
  return experiments.experiment_config('train_initial', model)
