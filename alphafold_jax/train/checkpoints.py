# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run, by Orbax: written in the background, whole or not at all.

A checkpoint holds the training state, the position in the data, and the configuration. The last ones and the best by
validation are kept. A state is restored bit for bit on any number of devices.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from alphafold_jax import atomic, installed
from alphafold_jax.errors import InputError

_log = logging.getLogger(__name__)
_STATE, _FEED, _CONFIG = 'state', 'feed', 'config'


class Checkpoints:
  """The checkpoints of one run's folder."""

  def __init__(self, directory: Path, keep_last: int = 3):
    """Opens or makes the folder, which keeps the last ones and the best; InputError: Orbax is not installed, or the
    name is not UTF-8."""
    self._ocp = ocp = installed.module('orbax.checkpoint', 'train', InputError)
    logging.getLogger('absl').setLevel(logging.WARNING)  # Orbax logs every step of a save there
    atomic.check_name(directory.absolute())
    policies = ocp.checkpoint_managers.preservation_policy
    self._manager = ocp.CheckpointManager(
      directory.absolute(),
      item_names=(_STATE, _FEED, _CONFIG),
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(
          [
            policies.LatestN(keep_last),
            policies.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False),
          ]
        ),
        best_fn=_score,
      ),
    )
    self.directory = directory

  def save(
    self, step: int, state: Any, feed: Mapping[str, Any], config: Mapping[str, Any], score: float | None = None
  ) -> bool:
    """Begins to save; False, with a warning in the log, if this save or the one before failed.

    The checkpoints before stay valid. Of the scores, None where nothing was validated, the highest is the best.
    """
    args = self._ocp.args
    items = args.Composite(
      **{_STATE: args.StandardSave(state), _FEED: args.JsonSave(dict(feed)), _CONFIG: args.JsonSave(dict(config))}
    )
    try:
      self._manager.save(step, args=items, metrics=None if score is None else {'score': score}, force=True)
    except Exception as error:  # the storage library raises errors of many types for a full disk
      return self._failed(step, error)
    return True

  def wait(self) -> bool:
    """Waits for the saves that were begun; False, with a warning in the log, if one failed."""
    try:
      self._manager.wait_until_finished()
    except Exception as error:
      return self._failed(self.latest(), error)
    return True

  def _failed(self, step: int | None, error: Exception) -> bool:
    _log.warning(
      f'{self.directory}: the checkpoint of step {step} was not saved ({type(error).__name__}: {error}); '
      'the ones before stay valid; free some space'
    )
    return False

  def latest(self) -> int | None:
    """The step of the last complete checkpoint; None where there is none."""
    return self._manager.latest_step()

  def steps(self) -> list[int]:
    """The steps of all complete checkpoints, ascending."""
    return sorted(self._manager.all_steps())

  def best(self) -> int | None:
    """The step of the best checkpoint by validation, or of the last where none was validated."""
    return self._manager.best_step() or self.latest()

  def score(self, step: int) -> float | None:
    """The score by which a checkpoint was saved; None where nothing was validated."""
    metrics = self._manager.metrics(step)
    return None if metrics is None else _score(metrics)

  def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
    """The state, laid out over devices like `like` (arrays, or shapes with shardings), and the position in the data.

    Raises:
      InputError: the checkpoint cannot be read, or has other shapes.
    """
    args = self._ocp.args
    shapes = jax.tree.map(self._ocp.utils.to_shape_dtype_struct, like)
    try:
      items = self._manager.restore(
        step, args=args.Composite(**{_STATE: args.StandardRestore(shapes), _FEED: args.JsonRestore()})
      )
    except Exception as error:
      raise InputError(
        f'{self.directory}: the checkpoint of step {step} cannot be restored ({error}); '
        'remove it to go on from the one before'
      ) from error
    return items[_STATE], items[_FEED]

  def config(self, step: int) -> dict[str, Any]:
    """The configuration of a checkpoint."""
    args = self._ocp.args
    return self._manager.restore(step, args=args.Composite(**{_CONFIG: args.JsonRestore()}))[_CONFIG]

  def close(self) -> None:
    """Waits for saves and frees Orbax's threads; a save that failed is in the log, see `wait`."""
    try:
      self._manager.close()
    except Exception as error:
      self._failed(self.latest(), error)


def _score(metrics: Mapping[str, float]) -> float:
  return metrics['score']
