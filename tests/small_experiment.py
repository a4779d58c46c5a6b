# SPDX-License-Identifier: Apache-2.0
"""`get_config()` of a run that takes seconds: the small network without templates, tiny crops."""

from alphafold_jax import config, experiments

_PAIR = {'num_head': 2, 'c_triangle': 8, 'transition_factor': 2}
_MODEL = {
  'embedder': {'c_m': 16, 'c_z': 16, 'c_extra': 8},
  'extra_msa': {'num_block': 1, 'num_head': 2, 'c_outer': 4, 'transition_factor': 2},
  'extra_msa.pair': _PAIR,
  'evoformer': {'num_block': 1, 'num_head': 2, 'c_outer': 4, 'transition_factor': 2},
  'evoformer.pair': _PAIR,
  'structure': {
    'num_layer': 2,
    'c_s': 16,
    'num_head': 2,
    'c_qk': 4,
    'c_v': 4,
    'num_point_qk': 2,
    'num_point_v': 2,
    'c_angle': 8,
  },
  'heads': {'c_plddt': 8},
  'sampling': {'num_msa': 4, 'num_extra': 4},
}
SIZES = {f'model.{section}.{key}': value for section, keys in _MODEL.items() for key, value in keys.items()}
_RUN = {
  'model.c_s': 16,
  'data.crop_size': 16,
  'data.num_rows': 8,
  'optimizer.learning_rate': 1e-3,
  'optimizer.warmup_samples': 4,
  'step.batch_size': 2,
  'step.max_passes': 2,
  'run.num_samples': 8,
  'run.log_every': 1,
  'run.checkpoint_every': 2,
  'run.validate_every': 4,
  'run.num_validation': 1,
  'run.max_validation_length': 256,
  'run.max_skipped': 2,
  'run.num_workers': 1,
  'phases': {},
}


def sizes():
  """The changes that make any experiment such a run."""
  return SIZES | _RUN


def get_config():
  return config.changed(experiments.experiment_config('train_mini', 'model_3_ptm'), sizes())
