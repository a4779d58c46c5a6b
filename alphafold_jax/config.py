# SPDX-License-Identifier: Apache-2.0
"""One base configuration; every published model is a short difference from it.

Sections that shape the network carry the field names of the spec they become (model/alphafold.py: make_spec), so a
misspelt or missing key is an error before anything is traced.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import config_dict

from alphafold_jax import choices
from alphafold_jax.dotted import changed as changed
from alphafold_jax.errors import InputError

_TRIANGLES_FIRST = ('multiplication_outgoing', 'multiplication_incoming', 'attention_starting', 'attention_ending')
_ATTENTION_FIRST = ('attention_starting', 'attention_ending', 'multiplication_outgoing', 'multiplication_incoming')


_PAIR: Mapping[str, Any] = {
  'num_head': 4,  # Alg. 13
  'c_triangle': 128,  # Alg. 11
  'transition_factor': 4,  # Alg. 15
  'dropout': 0.0,  # in training 0.25, Suppl. 1.11.6
  'order': _TRIANGLES_FIRST,  # Alg. 6 lines 6-9
}
_TEMPLATES = {
  'c_t': 64,  # Alg. 16
  'num_block': 2,  # Alg. 16
  'pair': {**_PAIR, 'c_triangle': 64, 'transition_factor': 2, 'order': _ATTENTION_FIRST},  # Alg. 16
  'num_head': 4,  # Alg. 17
  'num_bins': 39,  # Suppl. Table 1
  'min_distance': 3.25,  # Å, Suppl. Table 1
  'max_distance': 50.75,  # Å, Suppl. Table 1
  'remat': False,
  'skip_empty': False,  # whether slots without a template are left out of Alg. 16; changes no result
  'aggregation': 'attention',  # Alg. 17
  'rows': 'torsions',  # Alg. 2 line 7
}
_STRUCTURE = {
  'num_layer': 8,  # Alg. 20
  'c_s': 384,  # Alg. 20
  'num_head': 12,  # Alg. 22
  'c_qk': 16,  # Alg. 22
  'c_v': 16,  # Alg. 22
  'num_point_qk': 4,  # Alg. 22
  'num_point_v': 8,  # Alg. 22
  'num_transition_layer': 3,  # Alg. 20 line 8
  'dropout': 0.0,  # in training 0.1, Alg. 20
  'position_scale': 10.0,  # Å, Suppl. 1.8: the structure module works in nm
  'c_angle': 128,  # Alg. 20 line 11
  'num_angle_block': 2,  # Alg. 20 lines 12, 13
  'scalar_bias': True,  # as published; Alg. 22 has none
  'point_epsilon': 1e-8,  # as published
}


def _evoformer(num_block: int, column_attention: str) -> dict[str, Any]:
  """One of the two stacks of Evoformer blocks."""
  return {
    'num_block': num_block,
    'num_head': 8,  # Alg. 7
    'c_outer': 32,  # Alg. 10
    'transition_factor': 4,  # Alg. 9
    'msa_dropout': 0.0,  # in training 0.15, Suppl. 1.11.6
    'column_attention': column_attention,
    'pair': dict(_PAIR),
    'remat': False,
    'outer_product_first': False,  # Alg. 6 line 5
  }


def base_config() -> config_dict.ConfigDict:
  """The configuration of `model_1`, the paper's network with templates."""
  return config_dict.ConfigDict(
    {
      'name': 'model_1',
      'sampling': {
        'num_msa': 508,  # Suppl. 1.11.8: 512, of which 4 are left to template rows
        'num_extra': 5120,  # Suppl. 1.11.8
        'masked_fraction': 0.15,  # Suppl. 1.2.7
        'uniform_prob': 0.1,  # Suppl. 1.2.7
        'profile_prob': 0.1,  # Suppl. 1.2.7
        'same_prob': 0.1,  # Suppl. 1.2.7
        'clusters': 'nearest',  # Suppl. 1.2.7
      },
      'embedder': {
        'c_m': 256,  # Alg. 3
        'c_z': 128,  # Alg. 3
        'c_extra': 64,  # Alg. 2 line 15
        'max_relative': 32,  # Alg. 4
        'recycle_bins': 15,  # Alg. 32
        'recycle_min': 3.25,  # Å, as published; Alg. 32 says 3.375
        'recycle_max': 20.75,  # Å, as published; Alg. 32 says 21.375
        'couplings': False,  # whether the pair representation is given those of the alignment; not in the paper
        'break_flag': True,  # Suppl. Table 1
        'max_relative_chain': 0,  # a network of single chains
      },
      'templates': dict(_TEMPLATES),
      'extra_msa': _evoformer(4, 'global'),  # Alg. 18
      'evoformer': _evoformer(48, 'full'),  # Alg. 6
      'structure': dict(_STRUCTURE),
      'heads': {
        'num_distogram_bins': 64,  # Suppl. 1.9.8
        'num_masked_msa_classes': 23,  # Suppl. 1.9.9
        'num_plddt_bins': 50,  # Alg. 29
        'c_plddt': 128,  # Alg. 29
        'num_atoms': 37,  # Suppl. 1.9.10
        'num_pae_bins': 0,  # only the _ptm models have this head, Suppl. 1.9.7
      },
      'c_s': 384,  # Alg. 6 line 12
      'num_ensemble': 1,  # Alg. 2 line 3; CASP14 ran 8
      'dtype': 'float32',  # of the trunk; or 'bfloat16'
      'fused_triangles': False,  # whether published files hold the projections of triangles side by side
      'kernels': {'implementation': 'auto', 'chunk_bytes': 0},  # 0: by device, ops/seam.py
      'max_templates': 4,  # Suppl. 1.2.3
      'num_recycle': 3,  # Suppl. 1.10
      'recycle_early_stop_tolerance': -1.0,  # Å; negative: never stop early
      'early_stop': choices.COLABFOLD,  # what counts then, see choices.EARLY_STOPS
    }
  )


_NO_TEMPLATES = {'templates': None, 'sampling.num_msa': 512}  # Suppl. Table 5: models 3, 4, 5
_SHALLOW = {'sampling.num_extra': 1024}  # Suppl. Table 5: models 2, 5
_PTM = {'heads.num_pae_bins': 64}  # Suppl. 1.9.7

# The network of complexes, Evans et al. 2021; numbers without another source are those of the published program.
_COMPLEX = _PTM | {
  'sampling.num_msa': 252,  # 256 with the rows of 4 templates, which are always there
  'sampling.num_extra': 1152,
  'sampling.clusters': 'softmax',
  'embedder.break_flag': False,
  'embedder.max_relative_chain': 2,
  'templates.aggregation': 'mean',
  'templates.rows': 'side_chains',
  'templates.pair.order': _TRIANGLES_FIRST,
  'extra_msa.outer_product_first': True,
  'evoformer.outer_product_first': True,
  'structure.position_scale': 20.0,  # Å
  'structure.scalar_bias': False,
  'structure.point_epsilon': 0.0,
  'heads.num_masked_msa_classes': 22,
}
_COMPLEX_V3 = _COMPLEX | {
  'sampling.num_msa': 508,
  'sampling.num_extra': 2048,
  'fused_triangles': True,
  'num_recycle': 20,
  'recycle_early_stop_tolerance': 0.5,  # Å
}

_MONOMERS: dict[str, dict[str, Any]] = {
  'model_1': {},
  'model_2': _SHALLOW,
  'model_3': _NO_TEMPLATES,
  'model_4': _NO_TEMPLATES,
  'model_5': _NO_TEMPLATES | _SHALLOW,
}
MODELS: Mapping[str, Mapping[str, Any]] = {
  f'{name}{suffix}': change
  for suffix, models in {
    '': _MONOMERS,
    '_ptm': {name: change | _PTM for name, change in _MONOMERS.items()},
    '_multimer': dict.fromkeys(_MONOMERS, _COMPLEX),
    '_multimer_v2': dict.fromkeys(_MONOMERS, _COMPLEX),
    '_multimer_v3': dict.fromkeys(_MONOMERS, _COMPLEX_V3)
    | dict.fromkeys(('model_4', 'model_5'), _COMPLEX_V3 | {'sampling.num_extra': 1152}),
  }.items()
  for name, change in models.items()
}

# The model that ships with the package, trained by its own experiment `train_mini`; not of the paper.
_MINI_PAIR = {'num_head': 4, 'c_triangle': 32, 'transition_factor': 2}
_MINI = _PTM | {
  'sampling.num_msa': 32,
  'sampling.num_extra': 64,
  'embedder.c_m': 64,
  'embedder.c_z': 64,
  'embedder.c_extra': 32,
  'embedder.couplings': True,  # of all rows, of which the network itself sees few
  'templates.c_t': 32,
  'templates.num_block': 1,
  'templates.skip_empty': True,  # most examples of its training have fewer templates than slots
  **{f'templates.pair.{key}': value for key, value in _MINI_PAIR.items()},
  'templates.pair.num_head': 2,
  'c_s': 128,
  'extra_msa.num_block': 1,
  'extra_msa.num_head': 4,
  'extra_msa.c_outer': 16,
  'extra_msa.transition_factor': 2,
  **{f'extra_msa.pair.{key}': value for key, value in _MINI_PAIR.items()},
  'evoformer.num_block': 6,
  'evoformer.num_head': 4,
  'evoformer.c_outer': 16,
  'evoformer.transition_factor': 2,
  **{f'evoformer.pair.{key}': value for key, value in _MINI_PAIR.items()},
  'structure.c_s': 128,
  'structure.num_head': 8,
  'structure.c_angle': 64,
  'heads.c_plddt': 64,
}
OWN_MODELS: Mapping[str, Mapping[str, Any]] = {choices.MINI: _MINI}

# Dropout rates of Suppl. 1.11.6, for training and for sampling several structures.
DROPOUT = {
  'templates.pair.dropout': 0.25,
  'extra_msa.msa_dropout': 0.15,
  'extra_msa.pair.dropout': 0.25,
  'evoformer.msa_dropout': 0.15,
  'evoformer.pair.dropout': 0.25,
  'structure.dropout': 0.1,
}

# Settings that are younger than results that people keep, with the values that leave a network as it was before.
LATER: Mapping[str, Any] = {
  'embedder.couplings': False,
  'embedder.break_flag': True,
  'embedder.max_relative_chain': 0,
  'sampling.clusters': 'nearest',
  'templates.skip_empty': False,
  'templates.aggregation': 'attention',
  'templates.rows': 'torsions',
  'extra_msa.outer_product_first': False,
  'evoformer.outer_product_first': False,
  'structure.scalar_bias': True,
  'structure.point_epsilon': 1e-8,
  'fused_triangles': False,
  'early_stop': choices.COLABFOLD,
}
_FAMILIES = {  # ColabFold's names, by how the names of models end
  '_ptm': 'alphafold2_ptm',
  '_multimer': 'alphafold2_multimer_v1',
  '_multimer_v2': 'alphafold2_multimer_v2',
  '_multimer_v3': 'alphafold2_multimer_v3',
}


def model_type(name: str) -> str:
  """ColabFold's name of a model's family."""
  model_number(name)
  if name in OWN_MODELS:
    return name
  return next((family for suffix, family in _FAMILIES.items() if name.endswith(suffix)), 'alphafold2')


def models_of(family: str) -> dict[int, str]:
  """The names of a family's models by their numbers."""
  return {model_number(name): name for name in [*MODELS, *OWN_MODELS] if model_type(name) == family}


def model_number(name: str) -> int:
  """A model's number in its family: 3 for 'model_3_ptm', 1 for one that has no siblings."""
  if isinstance(name, str) and name in OWN_MODELS:
    return 1
  if not isinstance(name, str) or not (number := re.match(r'model_(\d+)', name)):
    raise InputError(f'there is no model {name!r}; choose one of {", ".join([*MODELS, *OWN_MODELS])}')
  return int(number[1])


def as_kept(config: config_dict.ConfigDict) -> dict[str, Any]:
  """A model's configuration as results keep it, and their digests: of LATER only what changes the network."""
  result = config.to_dict()
  for section, last, unchanged in _later(result):
    if section.get(last) == unchanged:
      del section[last]
  return result


def completed(kept: Mapping[str, Any]) -> dict[str, Any]:
  """A configuration that may come from before, with all settings of LATER that it lacks: undoes `as_kept`."""
  result = kept.to_dict() if isinstance(kept, config_dict.ConfigDict) else copy.deepcopy(dict(kept))
  for section, last, unchanged in _later(result):
    section.setdefault(last, unchanged)
  return result


def _later(config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, Any]]:
  """For each setting of LATER its section of a configuration, if there is one, its name there, and its value."""
  for key, unchanged in LATER.items():
    *names, last = key.split('.')
    section: Any = config
    for name in names:
      section = (section or {}).get(name)
    if section is not None:
      yield section, last, unchanged


def model_config(name: str) -> config_dict.ConfigDict:
  """The configuration of a model of MODELS or OWN_MODELS by its name; InputError if there is none."""
  models = {**MODELS, **OWN_MODELS}
  if not isinstance(name, str) or name not in models:
    raise InputError(f'there is no model {name!r}; choose one of {", ".join(models)}')
  return changed(base_config(), {'name': name, **models[name]})
