# SPDX-License-Identifier: Apache-2.0
"""Predictions of the small network, and the program that makes them on simulated devices.

python tests/small_predictions.py RESULT.npz
"""

import dataclasses
import sys
from typing import Any, NamedTuple

import jax
import numpy as np

from alphafold_jax import config as configs
from alphafold_jax import planning, prediction, programs
from alphafold_jax.constants.couplings import NUM_CHANNELS
from alphafold_jax.data import features, padding
from alphafold_jax.model import alphafold
from alphafold_jax.weights.random import random_params

_SHALLOW = {  # most of these tests' time goes to compilation
  'templates.num_block': 1,
  'extra_msa.num_block': 1,
  'evoformer.num_block': 1,
  'structure.num_layer': 2,
  'structure.num_transition_layer': 1,
  'structure.num_angle_block': 1,
}
FIELDS = ('atom_positions', 'plddt', 'pae', 'ptm', 'mean_plddt', 'contact_probability')


class Case(NamedTuple):
  """A protein and how it is predicted."""

  num_res: int
  num_templates: int
  settings: dict[str, Any]
  devices: tuple[int, ...]  # beside one
  chains: tuple[tuple[str, int], ...] = ()  # of a complex, predicted by a network of complexes


_DRAWN = {'num_recycle': 1, 'use_dropout': True, 'num_ensemble': 2, 'keep_representations': True}
CASES = {
  'eleven': Case(11, 3, {'num_recycle': 2}, (2, 3, 8)),
  'sixteen': Case(16, 3, {'num_recycle': 2}, (2, 8)),  # the same programs
  'twenty-four': Case(24, 0, _DRAWN, (2, 8)),
  'complex': Case(16, 3, {'num_recycle': 1}, (8,), (('A', 6), ('B', 4), ('A', 6))),
}


def make_model(couplings: bool = False, name: str = 'model_1_ptm') -> prediction.Model:
  import small_network

  config = small_network.make_config(name, **_SHALLOW, **{'embedder.couplings': couplings})
  return prediction.Model(name=name, config=config, params=random_params(config, 0), source='random')


def run(model: prediction.Model, case: Case, num_devices: int) -> dict[str, np.ndarray]:
  """What a person gets, and how each pass went."""
  import small_network

  sizes = {'num_res': case.num_res, 'num_templates': case.num_templates, 'chains': case.chains}
  batch = small_network.make_batch(pinned=False, **sizes)
  given = np.random.default_rng(2).normal(size=(case.num_res, case.num_res, NUM_CHANNELS)).astype(np.float32)
  batch = dataclasses.replace(batch, couplings=given)
  result = prediction.predict(model, batch, seed=1, num_devices=num_devices, **case.settings)
  found = {name: np.asarray(getattr(result, name)) for name in FIELDS}
  found['change'] = np.array([one.change for one in result.passes])
  if result.representations is not None:
    found |= result.representations._asdict()
  if result.iptm is not None:  # of several chains
    found |= {'iptm': np.array(result.iptm), 'chain_tm': result.arrays['chain_tm']}
  return found


def temporary_bytes(num_devices: int, num_res: int = 512, depth: int = 1536) -> int:
  """What a pass of the published network takes on each device; compiled, not run."""
  sizes = {'num_res': num_res, 'num_seq': depth, 'num_templ': 0}
  config = configs.changed(configs.model_config('model_5_ptm'), {'dtype': 'float32'})
  spec = alphafold.make_spec(planning.reduced(config, sizes))
  batch = padding.pad_batch(features.make_batch('A' * num_res, num_templates=0), sizes)
  key = jax.random.key(0)
  params = jax.eval_shape(alphafold.network(spec).init, key, batch)
  compiled = programs.compiled(spec, False, num_devices)
  pass_key, bare = programs.PassKey.of(0, 0), programs.without_alignment(batch)
  context, previous = compiled.begin.eval_shape(params, pass_key, bare)
  key, rows = compiled.draw.eval_shape(pass_key, batch)
  program = compiled.one_pass.lower(params, key, bare, context, previous, rows).compile()
  return program.memory_analysis().temp_size_in_bytes


def main(result: str) -> None:
  arrays, monomers, complexes = {}, make_model(couplings=True), make_model(name='model_1_multimer_v3')
  for name, case in CASES.items():
    model = complexes if case.chains else monomers
    for num_devices in (1, *case.devices):
      found = run(model, case, num_devices)
      arrays |= {f'{name} on {num_devices}:{field}': array for field, array in found.items()}
  for num_devices in (1, 8):
    arrays[f'bytes on {num_devices}'] = np.array(temporary_bytes(num_devices))
  np.savez(result, **arrays)


if __name__ == '__main__':
  main(sys.argv[1])
