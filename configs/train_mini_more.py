# SPDX-License-Identifier: Apache-2.0
"""Goes on with the small model: `alphafold-jax train --config configs/train_mini_more.py:SAMPLES --init-from FILE`.

FILE is alphafold_jax/weights/mini.npz, the parameters that ship. However short, the run ends with the rate at nothing,
so that what it gives can ship in its turn, when benchmarks/mini_chains.py has made its chains whole.
"""

from alphafold_jax import config, experiments

_SETTLE = {
  'step': {'max_passes': 3},
  'data': {'clamped_fraction': 0.5},  # by now most structures are near enough for the clamped loss to have a gradient
}


def get_config(samples: str = '10_000'):
  """The experiment for so many samples: seven tenths at the full rate, the rest to settle."""
  total = int(samples)
  start = 4 * (total * 7 // 40)  # batches of four
  return config.changed(
    experiments.experiment_config('train_mini'),
    {
      'optimizer.warmup_samples': 200,  # Adam begins without its moments
      'optimizer.cooldown_start': start,
      'optimizer.cooldown_samples': total - start,
      'phases': {'settle': {'samples': start} | _SETTLE},
      'run.num_samples': total,
    },
  )
