# SPDX-License-Identifier: Apache-2.0
"""Parameters to start a run from, and a run's parameters as a file in the published layout."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from alphafold_jax import atomic
from alphafold_jax.errors import InputError
from alphafold_jax.model import alphafold
from alphafold_jax.naming import listed
from alphafold_jax.screen import number
from alphafold_jax.train import step as steps
from alphafold_jax.train.checkpoints import Checkpoints
from alphafold_jax.train.specs import make_step_spec
from alphafold_jax.train.step import TrainState
from alphafold_jax.weights import npz, official, shipped

_log = logging.getLogger(__name__)
ORIGIN = 'origin'  # the key of a run's configuration that says where its first parameters came from
FRESH = 'random initialisation'

_NOTICE = """\
{file}: parameters of {model} in the layout of the published AlphaFold 2 parameters,
exported from step {step} of a training run that began from: {origin}
"""
_DERIVED = """
If those were DeepMind's published parameters, these are a changed version of them and stay under their licence, the
Creative Commons Attribution 4.0 International licence (https://creativecommons.org/licenses/by/4.0/legalcode), without
warranty. Whoever passes them on gives credit:
  Jumper, J. et al. Highly accurate protein structure prediction with AlphaFold.
  Nature 596, 583-589 (2021). https://doi.org/10.1038/s41586-021-03819-2
  Copyright DeepMind Technologies Limited. Changed by further training with alphafold_jax.
"""


def starting_params(source: Path, model: dict[str, Any], fresh: alphafold.Params | None = None) -> alphafold.Params:
  """Parameters to start from: of an official `.npz`, or the averaged ones of another run's best checkpoint.

  Args:
    source: the file, or the run's folder
    model: configuration of the model to be trained
    fresh: parameters for what the source lacks; None: it must lack nothing

  Raises:
    InputError: the folder has no checkpoint.
    WeightsError: the parameters are of another model; the message names the first that differ.
  """
  if not source.is_dir():
    published, name = npz.read_arrays(source), str(source)
  else:
    params, config, step = load_averaged(source)
    # Through the published layout and back, without changing a bit: its arrays have names for error messages.
    published, name = official.to_official(params, config['model']), f'{source}, step {step}'
  if fresh is not None:
    published = _extended(published, official.to_official(fresh, model), name)
  return official.from_official(published, model, name)


def _extended(published: Mapping[str, np.ndarray], fresh: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
  """Published arrays with fresh ones beside them where they lack some; says how many."""
  new = sorted(fresh.keys() - published.keys())
  if new:
    modules = {array.split('//')[0].removeprefix(official.PREFIX) for array in new}
    parts = sorted(one for one in modules if not any(one.startswith(f'{other}/') for other in modules))
    _log.info('%s lacks %s, taken from a new run: %s', name, number(len(new), 'array'), listed(parts))
  return {**fresh, **published}


def load_averaged(directory: Path, step: int | None = None) -> tuple[alphafold.Params, dict[str, Any], int]:
  """Averaged parameters, configuration and step of a run's checkpoint; with step None, of the best.

  Raises:
    InputError: there is no such checkpoint.
  """
  with opened(directory, step) as (checkpoints, step):
    config = checkpoints.config(step)
    return jax.device_get(checkpoints.restore(step, state_shapes(config))[0].ema), config, step


def state_shapes(config: dict[str, Any]) -> TrainState:
  """The shapes of the state of a run with this configuration, for one device.

  Raises:
    InputError: the configuration is not of this version.
  """
  spec = make_step_spec(config_dict.ConfigDict(config))
  like = jax.eval_shape(lambda: steps.initial_state(spec, jax.random.key(0)))
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), like)


@contextlib.contextmanager
def opened(directory: Path, step: int | None) -> Iterator[tuple[Checkpoints, int]]:
  """A run's checkpoints, open, and the step that was asked for or that of the best; InputError: there is none."""
  folder = directory / 'checkpoints'
  if not folder.is_dir():
    raise InputError(f'{directory}: no folder of a training run: it has no checkpoints')
  checkpoints = Checkpoints(folder)
  try:
    there = checkpoints.steps()
    if not there:
      raise InputError(f'{directory}: no checkpoint is complete yet')
    if step is not None and step not in there:
      raise InputError(f'{directory}: no checkpoint of step {step}; there are those of {", ".join(map(str, there))}')
    step = checkpoints.best() if step is None else step
    assert step is not None  # there is a checkpoint
    yield checkpoints, step
  finally:
    checkpoints.close()


def origin(source: Path | None) -> str:
  """The origin of a run's first parameters, in words; of a run's folder, the origin of that run's parameters."""
  if source is None:
    return FRESH
  if shipped.is_it(source):
    return FRESH  # its notice says so
  if not source.is_dir():
    return source.name
  with opened(source, None) as (checkpoints, step):
    before = checkpoints.config(step).get(ORIGIN, 'unknown parameters')
  return before if before == FRESH else f'{before}, then trained further'


def export(run: Path, out: Path, step: int | None = None) -> tuple[str, int]:
  """Writes a run's averaged parameters as an official `.npz`, and beside it a notice of their origin.

  Args:
    run: folder of the run
    out: the file to write
    step: of the checkpoint; None: the best

  Returns:
    the model's name, and the step

  Raises:
    InputError: there is no such checkpoint, or the file cannot be written.
  """
  params, config, step = load_averaged(run, step)
  began = config.get(ORIGIN, FRESH)
  official.save_official(out, params, config['model'])
  notice = _NOTICE.format(file=out.name, model=config['model']['name'], step=step, origin=began)
  atomic.write_text(out.with_suffix('.NOTICE.txt'), notice + ('' if began == FRESH else _DERIVED))
  return config['model']['name'], step
