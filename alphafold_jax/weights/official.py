# SPDX-License-Identifier: Apache-2.0
"""Published parameter files, in and out.

A file is an `.npz` of arrays named `module//array` under PREFIX; `rules` ties them to our parameters.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import atomic
from alphafold_jax.errors import WeightsError
from alphafold_jax.screen import number
from alphafold_jax.weights import npz
from alphafold_jax.weights.npz import Shape
from alphafold_jax.weights.rules import Rule as Rule
from alphafold_jax.weights.rules import rules

_log = logging.getLogger(__name__)
PREFIX = 'alphafold/alphafold_iteration/'


def official_shapes(config: Mapping[str, Any]) -> dict[str, Shape]:
  """Names and shapes of all arrays in the published file of a configuration."""
  pairs = (pair for rule in rules(config) for pair in zip(rule.official, rule.shapes, strict=True))
  return {PREFIX + name: shape for name, shape in pairs}


def from_official(
  arrays: Mapping[str, np.ndarray], config: Mapping[str, Any], source: str = 'arrays', strict: bool = False
) -> dict[str, dict[str, np.ndarray]]:
  """Turns published arrays into our parameters, float32 in whatever precision they were stored.

  Args:
    arrays: by published name.
    config: of the model they should fit.
    source: names them in messages.
    strict: refuse arrays that the model does not use; else they are a warning in the log.

  Raises:
    WeightsError: an array is missing or has another shape; the message names it.
  """
  shapes = {name: np.shape(array) for name, array in arrays.items()}
  wrong, surplus = npz.shape_problems(shapes, official_shapes(config))
  if problems := wrong + surplus if strict else wrong:
    raise npz.misfit(source, config['name'], problems)
  if surplus:
    left = number(len(surplus), 'array')
    _log.warning('%s: %s not used by %s: %s', source, left, config['name'], '; '.join(npz.shown(surplus, 1)))
  params: dict[str, dict[str, np.ndarray]] = {}
  for rule in rules(config):
    converted = rule.to_ours(*(np.asarray(arrays[PREFIX + name], np.float32) for name in rule.official))
    for name, array in zip(rule.ours, converted, strict=True):
      module, leaf = name.split('//')
      params.setdefault(module, {})[leaf] = array
  return params


def to_official(params: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Turns our parameters into published arrays, the inverse of `from_official`.

  Raises:
    WeightsError: a parameter has no rule, so that it would be lost, or one that a rule needs is missing.
  """
  given = {f'{module}//{leaf}': array for module, leaves in params.items() for leaf, array in leaves.items()}
  needed = [name for rule in rules(config) for name in rule.ours]
  wrong = [f'without a rule: {name}' for name in sorted(given.keys() - set(needed))]
  wrong += [f'missing: {name}' for name in needed if name not in given]
  if wrong:
    remedy = 'a new parameter needs a rule in alphafold_jax/weights/rules'
    what = (
      f'{number(len(wrong), "parameter")} {"does" if len(wrong) == 1 else "do"} not fit {config["name"]} ({remedy})'
    )
    raise WeightsError('\n  '.join([what, *npz.shown(wrong)]))
  arrays: dict[str, np.ndarray] = {}
  for rule in rules(config):
    converted = rule.to_official(*(np.asarray(given[name]) for name in rule.ours))
    arrays |= zip((PREFIX + name for name in rule.official), converted, strict=True)
  return arrays


def load_official(
  path: str | Path, config: Mapping[str, Any], strict: bool = False
) -> dict[str, dict[str, np.ndarray]]:
  """Reads a published `.npz` as the parameters of a model; `strict` as in `from_official`.

  Raises:
    WeightsError: the file cannot be read, or an array is missing or mis-shaped; the message names file and array.
  """
  return from_official(npz.read_arrays(Path(path)), config, str(path), strict)


def save_official(path: str | Path, params: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> None:
  """Writes parameters as a published `.npz`, whole or not at all, for every program that reads those.

  Raises:
    WeightsError: a parameter has no rule, or is missing.
    ResourceError, InputError: the disk is full, or the place cannot be written.
  """
  arrays: dict[str, Any] = to_official(params, config)
  with atomic.replacing(path) as file:
    np.savez(file, **arrays)
    npz.mark(file)
