# SPDX-License-Identifier: Apache-2.0
"""A whole network of narrow layers with random parameters, for facts that hold at any width."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import oracle

from alphafold_jax import config as configs
from alphafold_jax import schema
from alphafold_jax.model import alphafold
from alphafold_jax.weights.random import random_params

_PAIR = {'num_head': 2, 'c_triangle': 8, 'transition_factor': 2}
_SECTIONS = {
  'embedder': {'c_m': 32, 'c_z': 24, 'c_extra': 16},
  'templates': {'c_t': 16, 'num_block': 2, 'num_head': 2},
  'templates.pair': _PAIR,
  'extra_msa': {'num_block': 2, 'num_head': 2, 'c_outer': 4, 'transition_factor': 2},
  'extra_msa.pair': _PAIR,
  'evoformer': {'num_block': 2, 'num_head': 4, 'c_outer': 8, 'transition_factor': 2},
  'evoformer.pair': _PAIR,
  'structure': {
    'num_layer': 3,
    'c_s': 24,
    'num_head': 3,
    'c_qk': 4,
    'c_v': 5,
    'num_point_qk': 2,
    'num_point_v': 3,
    'c_angle': 8,
  },
  'heads': {'c_plddt': 12},
  'sampling': {'num_msa': 4, 'num_extra': 6},
}
SIZES = {f'{section}.{key}': value for section, keys in _SECTIONS.items() for key, value in keys.items()} | {'c_s': 24}
DETERMINISTIC = {'sampling.masked_fraction': 0.0}  # with the pinned rows of `make_batch`
NUM_RES = 11
MODEL = 'model_1_ptm'
FAST = oracle.FAST


@functools.cache
def params(seed: int = 0, model: str = MODEL) -> alphafold.Params:
  return random_params(make_config(model), seed)


def layer_of(params: alphafold.Params, stack: str, layer: int = 0) -> alphafold.Params:
  """The parameters of one block of a stack, such as 'evoformer/', under the block's own name."""
  return {
    name.removeprefix(stack): {leaf: array[layer] for leaf, array in leaves.items()}
    for name, leaves in params.items()
    if name.startswith(stack)
  }


def make_config(model: str = MODEL, /, **changes: Any):
  """The small network as one of the published models; keys of `changes` are dotted."""
  return configs.changed(configs.model_config(model), SIZES | changes)


def make_spec(model: str = MODEL, /, **changes: Any) -> alphafold.AlphaFoldSpec:
  return alphafold.make_spec(make_config(model, **changes))


def make_batch(pinned: bool = True, **sizes: Any) -> schema.Batch:
  """A random batch; its rows are sampled in their order if pinned."""
  batch = oracle.random_batch(**({'num_res': NUM_RES, 'depth': 9, 'num_templates': 3} | sizes))
  if pinned:
    return batch
  only_query = np.eye(1, len(batch.msa.pinned), dtype=np.float32)[0]
  return dataclasses.replace(batch, msa=dataclasses.replace(batch.msa, pinned=only_query))


def make_recycled(num_res: int = NUM_RES, seed: int = 0) -> schema.Recycled:
  """Something to recycle; distances spread over all bins."""
  rng = np.random.default_rng(seed)
  shapes = {'msa_first_row': (num_res, 32), 'pair': (num_res, num_res, 24), 'atom_positions': (num_res, 37, 3)}
  arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
  arrays['atom_positions'] += 6 * rng.normal(size=(num_res, 1, 3)).astype(np.float32)
  return schema.Recycled(**arrays)


def one_pass(spec: alphafold.AlphaFoldSpec) -> Callable[..., schema.Outputs]:
  """`prepare` and one pass: (params, key, batch, previous) -> outputs."""
  network = alphafold.network(spec)

  def both(params, key, batch, previous):
    key_prepare, key_pass = jax.random.split(key)
    return network.iterate(params, key_pass, batch, network.prepare(params, key_prepare, batch), previous)

  return both


@functools.cache
def compiled(spec: alphafold.AlphaFoldSpec) -> Callable[..., schema.Outputs]:
  return jax.jit(one_pass(spec), compiler_options=FAST)


def run(spec: alphafold.AlphaFoldSpec, batch: schema.Batch, previous: schema.Recycled, seed: int = 0) -> schema.Outputs:
  """One pass, on the host."""
  return comparable(jax.device_get(compiled(spec)(params(), jax.random.key(seed), batch, previous)))


def comparable(outputs: schema.Outputs) -> schema.Outputs:
  """Weighs angles by the length of the vectors they are the directions of: of short ones rounding decides."""
  structure = outputs.structure
  lengths = np.linalg.norm(structure.unnormalized_angles, axis=-1, keepdims=True)
  return dataclasses.replace(outputs, structure=dataclasses.replace(structure, angles=structure.angles * lengths))


def assert_close(ours: Any, other: Any, tolerance: float = 1e-5) -> None:
  """Every array within a share of the other's largest value."""

  def check(path, a, b):
    assert a.shape == b.shape, jax.tree_util.keystr(path)
    error = np.max(np.abs(a - b), initial=0) / max(np.max(np.abs(b), initial=0), 1e-6)
    assert error <= tolerance, f'{jax.tree_util.keystr(path)}: {error}'

  jax.tree_util.tree_map_with_path(check, ours, other)
