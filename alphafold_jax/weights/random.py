# SPDX-License-Identifier: Apache-2.0
"""Random parameters in the published layout, to try an installation and to compare programs.

Every array is drawn, also those that training starts at zero, so that each has an effect on the output.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from alphafold_jax.weights import official

# The last map of each residual update; small, so that activations stay finite through all blocks.
_RESIDUAL = (
  'output_w',
  'transition2//weights',
  'output_projection//weights',
  'affine_update//weights',
  'quat_rigid/rigid//weights',
)
_STACKED = {'evoformer_iteration', 'extra_msa_stack', '__layer_stack_no_state', 'template_embedding_iteration'}
_BY_HEAD = 'invariant_point_attention'  # has weights [c, heads, outputs] in some files


def random_official(config: Mapping[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
  """Draws all arrays of a model's published file; each depends on the seed and its own name only."""
  return {name: _draw(name, shape, seed) for name, shape in official.official_shapes(config).items()}


def random_params(config: Mapping[str, Any], seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
  """`random_official` as our parameters."""
  return official.from_official(random_official(config, seed), config)


def _draw(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
  rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
  noise = rng.standard_normal(shape, np.float32)
  leaf = name.split('//')[1]
  if leaf in ('scale', 'gating_b') or ('gate' in name and leaf == 'bias') or leaf == 'trainable_point_weights':
    return 1 + np.float32(0.1) * noise
  if leaf in ('offset', 'bias', 'output_b'):
    return np.float32(0.1) * noise
  scale = _fan_in(name, leaf, shape) ** -0.5
  return np.float32(0.3 * scale if name.endswith(_RESIDUAL) else scale) * noise


def _fan_in(name: str, leaf: str, shape: tuple[int, ...]) -> int:
  own = shape[1:] if _STACKED & set(name.replace('//', '/').split('/')) else shape
  if leaf == 'output_w' or leaf in ('weights', 'feat_2d_weights') and _BY_HEAD not in name:
    return math.prod(own[:-1])
  return own[0]
