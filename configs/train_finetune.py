# SPDX-License-Identifier: Apache-2.0
"""The paper's fine-tuning (Suppl. Table 4); start it with
`--init-from`; for `alphafold-jax train --config configs/train_finetune.py`."""

from alphafold_jax import experiments


def get_config(model: str | None = None):
  """The experiment, on its own or another model: `--config configs/train_finetune.py:model_3_ptm`."""
  return experiments.experiment_config('train_finetune', model)
