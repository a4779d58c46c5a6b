# SPDX-License-Identifier: Apache-2.0
"""Training on complexes, as AlphaFold-Multimer v3; for `alphafold-jax train --config configs/train_multimer.py`."""

from alphafold_jax import experiments


def get_config(model: str | None = None):
  """The experiment, on its own or another model: `--config configs/train_multimer.py:model_3_ptm`."""
  return experiments.experiment_config('train_multimer', model)
