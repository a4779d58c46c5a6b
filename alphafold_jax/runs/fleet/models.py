# SPDX-License-Identifier: Apache-2.0
"""The parameters of a run's models: found and checked before anything runs, loaded once, kept as memory allows."""

import logging
from pathlib import Path
from typing import Any

from alphafold_jax.errors import WeightsError
from alphafold_jax.runs.options import RANDOM, Options
from alphafold_jax.transfer import files
from alphafold_jax.weights import notes, npz, official, store

_log = logging.getLogger(__name__)
_SHARE = 0.25  # of the free memory that models may take which are not running


class Models:
  """The models of a run by name."""

  def __init__(self, options: Options):
    """Finds all parameter files.

    Raises:
      WeightsError: one is missing or is not that model's; the message says what to run.
    """
    self._options = options
    self._loaded: dict[str, Any] = {}
    self.paths: dict[str, Path] = {}
    self.digests: dict[str, str] = dict.fromkeys(options.models, RANDOM)  # SHA-256 by model
    if options.is_random:
      return
    for name in options.models:
      path = self.paths[name] = store.find_params(name, options.params)
      wrong, _ = npz.shape_problems(npz.read_shapes(path), official.official_shapes(options.model_config(name)))
      if wrong:
        raise WeightsError(
          f'{path}: {len(wrong)} arrays do not fit {name} (is it the file of another model?)\n  '
          + '\n  '.join(wrong[:5])
        )
      self.digests[name] = store.verify_file(path) or files.digest(path)['sha256']

  @property
  def notes(self) -> tuple[notes.Note, ...]:
    """What must be said of everything that comes out."""
    found = (notes.note_of(name, self._options.is_random) for name in self._options.models)
    return tuple(dict.fromkeys(note for note in found if note))

  def get(self, name: str) -> Any:
    """The model, from memory or loaded now."""
    if name not in self._loaded:
      from alphafold_jax import prediction

      if not self._room_for_another():
        self._loaded.clear()
      changes = {key.replace('.', '__'): value for key, value in self._options.changes().items()}
      params = RANDOM if self._options.is_random else self.paths[name]
      _log.info('%s: %s', name, 'random weights' if self._options.is_random else f'parameters from {params}')
      self._loaded[name] = prediction.load_model(name, params, **changes)
    return self._loaded[name]

  def drop_others(self, name: str) -> bool:
    """Forgets all models but one, to make room; False if there was no other."""
    others = set(self._loaded) - {name}
    for other in others:
      del self._loaded[other]
    return bool(others)

  def _room_for_another(self) -> bool:
    """Whether the models in memory leave enough of it."""
    if not self._loaded:
      return True
    import jax

    from alphafold_jax import devices

    available = devices.available_bytes()
    size = max(sum(x.nbytes for x in jax.tree.leaves(model.params)) for model in self._loaded.values())
    return available is None or size * len(self._options.models) <= _SHARE * (available + size * len(self._loaded))
