# SPDX-License-Identifier: Apache-2.0
"""Raw results on disk, so that a killed run goes on where it stopped and files can be written anew without computing.

    OUT/.results/{job}/{tag}.npz          scores, positions, pLDDT and PAE of one model and seed
    OUT/.results/{job}/{tag}.extras.npz   what only some outputs need; removed once the job is done

Each file names the content key it was made for; one of another key, or a damaged one, counts as absent. The folder may
be deleted at any time: what is resumed from it is computed again then.
"""

import dataclasses
import functools
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from alphafold_jax import atomic

_log = logging.getLogger(__name__)
_HEADER = '__result__'
_SUFFIX, _EXTRAS = '.npz', '.extras.npz'
_ARRAYS = ('aatype', 'residue_index', 'asym_id', 'atom_positions', 'atom_mask', 'plddt')  # [N_res, ...]
_PAIRS = ('pae', 'contact_probability', 'pair')  # [N_res, N_res, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
  """One finished prediction; its arrays stay on disk until they are asked for."""

  path: Path
  tag: str
  model_name: str
  seed: int
  mean_plddt: float
  ptm: float | None
  passes: tuple[Mapping[str, Any], ...]  # index, mean_plddt, ptm, change, seconds
  notes: tuple[str, ...]

  @property
  def seconds(self) -> float:
    return sum(one['seconds'] for one in self.passes)

  def score(self, ranking: str) -> float:
    """What it is ranked by, 0 to 100."""
    return score(self, ranking)

  # What plots read of a prediction, see output.predicted: one array at a time in memory.

  @functools.cached_property
  def plddt(self) -> np.ndarray:
    return _array(self.path, 'plddt')

  @functools.cached_property
  def asym_id(self) -> np.ndarray:
    return _array(self.path, 'asym_id')

  @property
  def pae(self) -> np.ndarray | None:
    return None if self.ptm is None else _array(self.path, 'pae')

  def load(self, *, extras: bool = True) -> SimpleNamespace:
    """Everything there is of it, as the writers want it."""
    arrays = dict.fromkeys(('pae', 'contact_probability', 'single', 'pair', 'pass_positions', 'pass_plddt'))
    for path in (self.path, *([_extras_path(self.path)] if extras else [])):
      if path.exists():
        arrays |= _read(path)[1]
    kept = SimpleNamespace(single=arrays.pop('single'), pair=arrays.pop('pair'))
    return SimpleNamespace(
      **arrays,
      representations=None if kept.single is None else kept,
      model_name=self.model_name,
      seed=self.seed,
      mean_plddt=self.mean_plddt,
      ptm=self.ptm,
      passes=self.passes,
      notes=self.notes,
    )

  def drop_extras(self) -> None:
    _extras_path(self.path).unlink(missing_ok=True)


def score(predicted: Any, ranking: str) -> float:
  """What a result or a prediction is ranked by, 0 to 100."""
  return 100 * predicted.ptm if ranking == 'ptm' else predicted.mean_plddt


def save(folder: Path, tag: str, key: str, prediction: Any, extras: Mapping[str, np.ndarray]) -> Result:
  """Writes a prediction's raw result.

  Args:
    folder: of the job.
    tag: of the model and seed.
    key: of the content.
    prediction: a `prediction.Prediction`.
    extras: arrays that only some outputs need.
  """
  passes = [dataclasses.asdict(one) for one in prediction.passes]
  header = {
    'key': key,
    'tag': tag,
    'model_name': prediction.model_name,
    'seed': prediction.seed,
    'mean_plddt': prediction.mean_plddt,
    'ptm': prediction.ptm,
    'passes': passes,
    'notes': list(prediction.notes),
  }
  arrays = {name: getattr(prediction, name) for name in _ARRAYS}
  if prediction.pae is not None:
    arrays['pae'] = prediction.pae
  path = atomic.make_folder(folder) / f'{tag}{_SUFFIX}'
  if extras:
    _write(_extras_path(path), {'key': key}, extras)
  _write(path, header, arrays)
  return _result(path, header)


def find(folder: Path, tag: str, key: str, extras: Collection[str]) -> Result | None:
  """The result of a model and seed if it is there, whole, and of this content."""
  path = folder / f'{tag}{_SUFFIX}'
  try:
    header, arrays = _read(path)
    if header['key'] != key:
      _log.debug('%s: of other content', path)
      return None
    num_res = len(arrays['aatype'])
    for name in (*_ARRAYS, *(['pae'] if header['ptm'] is not None else [])):
      if arrays[name].shape[: 1 + (name in _PAIRS)] != (num_res,) * (1 + (name in _PAIRS)):
        raise ValueError(f'array {name!r} has shape {arrays[name].shape}')
      if not np.isfinite(arrays[name]).all():
        raise ValueError(f'array {name!r} holds NaN or infinity')
    if extras:
      extra_header, extra_arrays = _read(_extras_path(path))
      if extra_header['key'] != key or not set(extras) <= set(extra_arrays):
        return None
    return _result(path, header)
  except FileNotFoundError:
    return None
  except Exception as error:  # whatever a damaged byte leads to
    _log.warning('%s: damaged (%s: %s); computed again', path, type(error).__name__, error)
    return None


def _result(path: Path, header: Mapping[str, Any]) -> Result:
  return Result(
    path=path,
    tag=header['tag'],
    model_name=header['model_name'],
    seed=int(header['seed']),
    mean_plddt=float(header['mean_plddt']),
    ptm=None if header['ptm'] is None else float(header['ptm']),
    passes=tuple(header['passes']),
    notes=tuple(header['notes']),
  )


def _extras_path(path: Path) -> Path:
  return path.with_name(path.name.removesuffix(_SUFFIX) + _EXTRAS)


def _write(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
  content = np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8)
  with atomic.replacing(path) as file:
    np.savez(file, **{_HEADER: content}, **arrays)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  with np.load(path, allow_pickle=False) as archive:
    arrays = {name: archive[name] for name in archive.files}
  return json.loads(arrays.pop(_HEADER).tobytes()), arrays


def _array(path: Path, name: str) -> np.ndarray:
  with np.load(path, allow_pickle=False) as archive:
    return archive[name]


def ranked(found: Sequence[Result], ranking: str) -> list[Result]:
  """Best first; equals stay in the order they were run."""
  return sorted(found, key=lambda result: -result.score(ranking))
