# SPDX-License-Identifier: Apache-2.0
"""Predictions on disk, so that a killed run goes on where it stopped and files can be written anew without computing.

    OUT/.results/{job}/{tag}.npz          scores, positions, pLDDT and PAE of one model and seed
    OUT/.results/{job}/{tag}.extras.npz   what only some formats need; removed once the protein is done

Each file names the content key it was made for; one of another key, or a damaged one, counts as absent. The folder may
be deleted at any time: what would be resumed from it is computed again then.
"""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import atomic, untrusted
from alphafold_jax.output import record
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.record import Pass

_log = logging.getLogger(__name__)
_HEADER = '__result__'
_SMALL = 1 << 17  # bytes of a prediction's arrays, some 100 residues: they would be read ten times for its files
ALWAYS = (*record.ARRAYS, 'pae', *record.OF_CHAINS)  # arrays that are kept of every prediction that has them
_NUMBERS = ('model_name', 'seed', 'mean_plddt', 'ptm')  # in the header under the record's names


class StoredArrays(Mapping[str, np.ndarray]):
  """The arrays in .npz files; one is read each time that it is asked for, and none is kept."""

  def __init__(self, *paths: Path):
    self._where = {name: path for path in paths for name in _names(path)}

  def __getitem__(self, name: str) -> np.ndarray:
    with np.load(self._where[name], allow_pickle=False) as archive:
      return archive[name]

  def __iter__(self) -> Iterator[str]:
    return iter(self._where)

  def __len__(self) -> int:
    return len(self._where)


def save(folder: Path, key: str, prediction: Prediction, extras: Collection[str] = ()) -> Prediction:
  """Writes a prediction into its protein's folder; returns it with its arrays on disk, in memory if they are small.

  Arrays named by `extras` are kept beyond those of every prediction, until `drop_extras`.

  Raises:
    ResourceError, InputError: the disk is full, or the place cannot be written.
  """
  header = {
    'key': key,
    'tag': prediction.tag,
    **{name: getattr(prediction, name) for name in _NUMBERS},
    **({'iptm': prediction.iptm} if prediction.iptm is not None else {}),
    'passes': [_as_json(one) for one in prediction.passes],
    'notes': list(prediction.notes),
  }
  path, extras_path = _paths(atomic.make_folder(folder), prediction.tag)
  own = {name: prediction.arrays[name] for name in ALWAYS if name in prediction.arrays}
  more = {name: prediction.arrays[name] for name in extras}
  if extras:
    _write(extras_path, {'key': key}, more)
  _write(path, header, own)
  arrays: Mapping[str, np.ndarray] = own | more
  if sum(array.nbytes for array in arrays.values()) <= _SMALL:
    arrays = {name: array.copy() for name, array in arrays.items()}  # they may be a part of the device's memory
  else:
    arrays = StoredArrays(path, *([extras_path] if extras else []))
  return dataclasses.replace(prediction, arrays=arrays)


def find(
  folder: Path,
  name: str,
  job: str,
  tag: str,
  key: str,
  extras: Collection[str] = (),
  chain_names: tuple[str, ...] = (),
) -> Prediction | None:
  """The prediction of a model and seed if it is there, whole, and of this content; its arrays stay on disk.

  Args:
    folder: of the protein.
    name: of the protein.
    job: the same, safe for file names.
    tag: of the model and seed.
    key: of the content.
    extras: names of the arrays that must be there beyond those of every prediction.
    chain_names: of the protein's chains.
  """
  path, extras_path = _paths(folder, tag)
  try:
    header, arrays = _read(path)
    if header['key'] != key:
      _log.debug('%s: of other content', path)
      return None
    _check(arrays, has_pae=header['ptm'] is not None, has_chains=header.get('iptm') is not None)
    _ = header['mean_plddt'] + 0.0, (header['ptm'] or 0.0) + 0.0, (header.get('iptm') or 0.0) + 0.0  # numbers
    if extras:
      extra_header, extra_arrays = _read(extras_path)
      if extra_header['key'] != key or not set(extras) <= set(extra_arrays):
        return None
    return Prediction(
      name=name,
      job=job,
      **{name: header[name] for name in _NUMBERS},
      iptm=header.get('iptm'),
      chain_names=chain_names,
      passes=tuple(Pass(**one) for one in header['passes']),
      notes=tuple(header['notes']),
      arrays=StoredArrays(path, *([extras_path] if extras else [])),
    )
  except FileNotFoundError:
    return None
  except Exception as error:  # whatever a damaged byte leads to
    _log.warning('%s: damaged (%s: %s); computed again', path, type(error).__name__, error)
    return None


def keys(folder: Path) -> dict[tuple[str, int], str]:
  """The content keys of a protein's predictions on disk, by model and seed; none of damaged files."""
  found = {}
  for path in sorted(folder.glob('*.npz')):
    if not path.name.endswith('.extras.npz'):
      with contextlib.suppress(Exception), np.load(path, allow_pickle=False) as archive:
        header = untrusted.from_json(archive[_HEADER].tobytes())
        if record.tag(header['model_name'], header['seed']) == path.stem:
          found[header['model_name'], header['seed']] = header['key']
  return found


def drop_extras(folder: Path, tag: str) -> None:
  """Removes what only some formats need."""
  _paths(folder, tag)[1].unlink(missing_ok=True)


def _as_json(one: Pass) -> dict[str, Any]:
  """A pass; of one chain without ipTM."""
  return {name: value for name, value in dataclasses.asdict(one).items() if name != 'iptm' or value is not None}


def _check(arrays: Mapping[str, np.ndarray], *, has_pae: bool, has_chains: bool) -> None:
  """Raises ValueError or KeyError where arrays are missing, of another shape, or hold NaN."""
  num_res = len(arrays['aatype'])
  shapes = dict.fromkeys(record.ARRAYS, (num_res,)) | ({'pae': (num_res, num_res)} if has_pae else {})
  shapes |= dict.fromkeys(record.OF_CHAINS, (num_res,)) if has_chains else {}
  for name, shape in shapes.items():
    if arrays[name].shape[: len(shape)] != shape:
      raise ValueError(f'array {name!r} has shape {arrays[name].shape}')
    if not np.isfinite(arrays[name]).all():
      raise ValueError(f'array {name!r} holds NaN or infinity')


def _paths(folder: Path, tag: str) -> tuple[Path, Path]:
  return folder / f'{tag}.npz', folder / f'{tag}.extras.npz'


def _names(path: Path) -> list[str]:
  with np.load(path, allow_pickle=False) as archive:
    return [name for name in archive.files if name != _HEADER]


def _write(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
  content: dict[str, Any] = {_HEADER: np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8), **arrays}
  with atomic.replacing(path) as file:
    np.savez(file, **content)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  with np.load(path, allow_pickle=False) as archive:
    arrays = {name: archive[name] for name in archive.files}
  return untrusted.from_json(arrays.pop(_HEADER).tobytes()), arrays
