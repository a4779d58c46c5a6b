# SPDX-License-Identifier: Apache-2.0
"""What bfloat16 changes in a prediction, in this network and in the oracle's, with the same random weights."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import oracle
from alphafold.model import modules
from ml_collections import config_dict

from alphafold_jax import confidence, schema
from alphafold_jax.constants import residues
from alphafold_jax.geometry.superposition import rmsd
from alphafold_jax.model import alphafold
from alphafold_jax.weights import official
from alphafold_jax.weights.random import random_official

LIMIT = 1.2  # of the oracle's own drift
_MODEL = 'model_5_ptm'
_CA = residues.ATOM_INDEX['CA']


class Sizes(NamedTuple):
  """What is predicted, with how deep a network; no depth means the published one."""

  num_block: int | None
  num_res: int
  num_msa: int
  num_extra: int
  num_pass: int = 1


class Predicted(NamedTuple):
  """What is compared of a prediction."""

  positions: np.ndarray  # [N_res, 3] Å, C-alpha
  plddt: np.ndarray  # [N_res]


class Drift(NamedTuple):
  """How far a prediction in bfloat16 is from the one in float32."""

  rmsd: float  # Å, of C-alpha atoms once superposed
  plddt: float  # mean absolute difference


def drift(half: Predicted, exact: Predicted) -> Drift:
  """The distance between two predictions."""
  return Drift(rmsd(half.positions, exact.positions), float(np.mean(np.abs(half.plddt - exact.plddt))))


def drifts(sizes: Sizes, seed: int, optimised: bool = False) -> dict[str, Drift]:
  """The drift of this network and of the oracle's; weights and batch are the seed's.

  Args:
    sizes: of the network and the batch.
    seed: of both.
    optimised: whether the programs are compiled with the compiler's optimisation, which takes longer.
  """
  return {
    side: drift(*(predict(sizes, seed, dtype, optimised) for dtype in ('bfloat16', 'float32')))
    for side, predict in SIDES.items()
  }


def _ours(sizes: Sizes, seed: int, dtype: str, optimised: bool) -> Predicted:
  arrays, batch = _inputs(sizes, seed)
  config = _configuration(sizes, dtype)
  params = jax.tree.map(jnp.asarray, official.from_official(arrays, config))
  one_pass = _compiled(alphafold.make_spec(config), optimised)
  previous = _start(sizes)
  for index in range(sizes.num_pass):
    outputs = one_pass(params, jax.random.key(index), batch, alphafold.Context(templates=None), previous)
    previous = outputs.recycled
  return Predicted(
    np.asarray(outputs.structure.atom_positions[:, _CA]), np.asarray(confidence.plddt(outputs.logits.plddt))
  )


def _theirs(sizes: Sizes, seed: int, dtype: str, optimised: bool) -> Predicted:
  arrays, batch = _inputs(sizes, seed)
  features = oracle.make_features(batch, sizes.num_msa, sizes.num_extra)
  params, previous = oracle.pass_params(arrays), _start(sizes)
  one_pass = _their_compiled(sizes.num_block, dtype, optimised)
  for _ in range(sizes.num_pass):
    result = one_pass(params, jax.random.PRNGKey(0), features | oracle.recycled(previous))
    previous = oracle.next_recycled(result)
  return Predicted(
    np.asarray(previous.atom_positions[:, _CA]), np.asarray(confidence.plddt(result['predicted_lddt']['logits']))
  )


SIDES = {'ours': _ours, 'official': _theirs}


def _configuration(sizes: Sizes, dtype: str) -> config_dict.ConfigDict:
  return oracle.our_configuration(
    _MODEL,
    sizes.num_block,
    dtype=dtype,
    sampling__num_msa=sizes.num_msa,
    sampling__num_extra=sizes.num_extra,
    sampling__masked_fraction=0.0,
  )


@functools.lru_cache(maxsize=1)
def _inputs(sizes: Sizes, seed: int) -> tuple[dict[str, np.ndarray], schema.Batch]:
  """Weights in the published layout, and the batch."""
  batch = oracle.random_batch(sizes.num_res, sizes.num_msa + sizes.num_extra, num_templates=0, seed=seed)
  return random_official(_configuration(sizes, 'float32'), seed), batch


def _start(sizes: Sizes) -> schema.Recycled:
  return alphafold.network(alphafold.make_spec(_configuration(sizes, 'float32'))).initial(sizes.num_res)


@functools.cache
def _compiled(spec: alphafold.AlphaFoldSpec, optimised: bool) -> Callable:
  return jax.jit(alphafold.network(spec).iterate, compiler_options=oracle.AS_USERS if optimised else oracle.FAST)


@functools.cache
def _their_compiled(num_block: int | None, dtype: str, optimised: bool) -> Callable:
  config = oracle.configuration(_MODEL, num_block).model
  config.global_config.bfloat16 = dtype == 'bfloat16'

  def one_pass(batch):
    return modules.AlphaFoldIteration_noE(config, config.global_config)(batch, is_training=False)

  return jax.jit(hk.transform(one_pass).apply, compiler_options=oracle.AS_USERS if optimised else oracle.FAST)
