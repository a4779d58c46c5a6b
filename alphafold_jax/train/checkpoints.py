# SPDX-License-Identifier: Apache-2.0
"""What is saved of a run and restored, by Orbax: written in the background, complete or not there at all.

A checkpoint holds the training state, the position in the data, and the configuration. The last ones and the best by
validation are kept. A state is restored bit for bit on any number of devices.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from alphafold_jax.errors import InputError, how_to_install

_log = logging.getLogger(__name__)
_STATE, _FEED, _CONFIG = 'state', 'feed', 'config'


def _orbax():
  try:
    import orbax.checkpoint as ocp
  except ImportError:
    raise InputError(
      f'training keeps its checkpoints with Orbax, which is not installed; {how_to_install("train")}'
    ) from None
  logging.getLogger('absl').setLevel(logging.WARNING)  # Orbax tells every step of a save there
  return ocp


class Checkpoints:
  """The checkpoints of one run's folder."""

  def __init__(self, directory: Path, keep_last: int = 3):
    self._ocp = ocp = _orbax()
    policies = ocp.checkpoint_managers.preservation_policy
    self._manager = ocp.CheckpointManager(
      directory.absolute(),
      item_names=(_STATE, _FEED, _CONFIG),
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(
          [
            policies.LatestN(keep_last),
            policies.BestN(get_metric_fn=lambda told: told['score'], n=1, keep_checkpoints_without_metrics=False),
          ]
        ),
        best_fn=lambda told: told['score'],
      ),
    )
    self.directory = directory

  def save(
    self, step: int, state: Any, feed: Mapping[str, Any], config: Mapping[str, Any], score: float | None = None
  ) -> bool:
    """Begins to save; returns False, with a warning in the log, if this save or the one before went wrong.

    The checkpoints that are there stay valid whatever happens.
    """
    args = self._ocp.args
    items = args.Composite(
      **{_STATE: args.StandardSave(state), _FEED: args.JsonSave(dict(feed)), _CONFIG: args.JsonSave(dict(config))}
    )
    try:
      self._manager.save(step, args=items, metrics=None if score is None else {'score': score}, force=True)
    except Exception as error:  # a full disk shows as whatever the storage library makes of it
      return self._failed(step, error)
    return True

  def wait(self) -> bool:
    """Waits for saves under way; returns False, with a warning in the log, if one failed."""
    try:
      self._manager.wait_until_finished()
    except Exception as error:
      return self._failed(self.latest(), error)
    return True

  def _failed(self, step: int | None, error: Exception) -> bool:
    _log.warning(
      '%s: the checkpoint of step %s was not saved (%s: %s); the ones before stay valid; free some space',
      self.directory,
      step,
      type(error).__name__,
      error,
    )
    return False

  def latest(self) -> int | None:
    """The last complete checkpoint."""
    return self._manager.latest_step()

  def steps(self) -> list[int]:
    """All complete checkpoints, in order."""
    return sorted(self._manager.all_steps())

  def best(self) -> int | None:
    """The best by validation, or the last one where none was validated."""
    return self._manager.best_step() or self.latest()

  def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
    """The state, laid out over devices as `like` is (arrays or their shapes with shardings), and the data's position.

    Raises:
      InputError: it cannot be read, or does not fit.
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
    return self._manager.restore(step, args=self._ocp.args.Composite(**{_CONFIG: self._ocp.args.JsonRestore()}))[
      _CONFIG
    ]

  def close(self) -> None:
    self._manager.close()
