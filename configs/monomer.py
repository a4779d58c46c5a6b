# SPDX-License-Identifier: Apache-2.0
"""A published monomer model by name, for programs that take `--config=configs/monomer.py:model_3_ptm`."""

from alphafold_jax import config


def get_config(name: str = 'model_1_ptm'):
  """The configuration of `model_1` to `model_5` or `model_1_ptm` to `model_5_ptm`."""
  return config.model_config(name)
