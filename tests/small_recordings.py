# SPDX-License-Identifier: Apache-2.0
"""Recordings as ColabFold made them, of the live oracle with random parameters: its features in, its outputs out."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import oracle
from alphafold.common import confidence as official_confidence
from alphafold.model.tf import data_transforms

from alphafold_jax import config as configs
from alphafold_jax.checking import recording
from alphafold_jax.checking.recording import Recording
from alphafold_jax.model import alphafold
from alphafold_jax.weights.official import PREFIX
from alphafold_jax.weights.random import random_official

MAKER = 'model_2_ptm'  # of these recordings; run without templates, as the published ones were
NUM_BLOCK = 1
_NUM_LAYER = 2  # of the structure module
_SCALES = {  # without extra rows this bias is divided by 0.001, and as drawn all errors of pairs would be certain
  'evoformer/extra_msa_stack/outer_product_mean//output_b': np.float32(1e-3),
  'predicted_aligned_error_head/logits//weights': np.float32(0.1),
}


def changes(num_block: int | None = NUM_BLOCK) -> dict[str, int]:
  """Of our configurations, for a network of this depth."""
  if num_block is None:
    return {}
  blocks = {'evoformer.num_block': num_block, 'extra_msa.num_block': min(num_block, 4)}
  return blocks | {'structure.num_layer': _NUM_LAYER}


@functools.cache
def arrays(model: str, num_block: int | None = NUM_BLOCK) -> dict[str, np.ndarray]:
  """Random parameters in the published layout; those of each model differ."""
  config = configs.changed(configs.model_config(model), changes(num_block))
  drawn = random_official(config, seed=configs.model_number(model))
  return {name: _SCALES.get(name.removeprefix(PREFIX), np.float32(1)) * array for name, array in drawn.items()}


@functools.cache
def shipped() -> dict[str, Recording]:
  return {one.name: one for one in recording.shipped()}


@functools.cache
def recorded(name: str, num_block: int | None = NUM_BLOCK, dtype: str = 'bfloat16') -> Recording:
  """What the oracle gives with random parameters for the features of a recording that ships, all passes in turn."""
  given = shipped()[name]
  return recording.make(name, given.features, outputs(_last(given, num_block, dtype)))


def scores(name: str, num_pass: int, index: int) -> tuple[float, float]:
  """The oracle's mean pLDDT and pTM in float32 when one pass of a recording that ships is repeated."""
  given = shipped()[name]
  features = {key: np.repeat(array[index : index + 1], num_pass, axis=0) for key, array in given.features.items()}
  result = _last(recording.Recording(name, features, {}), NUM_BLOCK, 'float32')
  head = result['predicted_aligned_error']
  plddt = official_confidence.compute_plddt(np.asarray(result['predicted_lddt']['logits']))
  ptm = official_confidence.predicted_tm_score(np.asarray(head['logits']), np.asarray(head['breaks']))
  return float(np.mean(plddt)), float(ptm)


def _last(given: Recording, num_block: int | None, dtype: str) -> Mapping[str, Any]:
  """The last pass of all."""
  config = oracle.configuration('model_3_ptm', num_block)
  config.model.global_config.bfloat16 = dtype == 'bfloat16'
  if num_block is not None:
    config.model.heads.structure_module.num_layer = _NUM_LAYER
  params = oracle.pass_params(without_templates(arrays(MAKER, num_block)))
  spec = alphafold.make_spec(configs.model_config('model_3_ptm'))
  previous = alphafold.network(spec).initial(given.features['aatype'].shape[1])
  for index in range(given.num_pass):
    fields = data_transforms.make_atom14_masks({key: array[index] for key, array in given.features.items()})
    result = oracle.run_pass(config, params, fields | oracle.recycled(previous))
    previous = oracle.next_recycled(result)
  return result


def without_templates(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {name: array for name, array in params.items() if 'template' not in name}


def outputs(result: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The oracle's result under the names that ColabFold writes."""
  head = result['predicted_aligned_error']
  errors = official_confidence.compute_predicted_aligned_error(np.asarray(head['logits']), np.asarray(head['breaks']))
  found = {
    'structure_module/final_atom_positions': result['structure_module']['final_atom_positions'],
    'plddt': official_confidence.compute_plddt(np.asarray(result['predicted_lddt']['logits'])),
    'predicted_aligned_error': errors['predicted_aligned_error'],
    'aligned_confidence_probs': errors['aligned_confidence_probs'],
    'prev/prev_msa_first_row': result['representations']['msa_first_row'],
    'prev/prev_pair': result['representations']['pair'],
  }
  heads = ('predicted_lddt', 'distogram', 'masked_msa', 'experimentally_resolved')
  found |= {f'{name}/logits': result[name]['logits'] for name in heads}
  return {name: np.asarray(array) for name, array in found.items()}
