# SPDX-License-Identifier: Apache-2.0
"""A run as one file, to be carried elsewhere: configuration, numbers, last checkpoint, and the best average.

The file is a zip archive:

  run.json                  the steps of the last checkpoint and of the best, scores, places in the data, configuration
  config.json, metrics.csv, validation.csv, log.txt
  params, average, rest     the state of the last checkpoint, bit for bit
  best                      the averaged parameters of the best by validation, where that is another

An average is close to its parameters, and the best average to the last, so each is stored as the bits in which it
differs from the one before; and all first bytes of numbers stand together, then all second ones: the first hold signs
and exponents, which repeat. A run of P parameters takes some 13 P bytes instead of 16 P, and 3 P for the best.
"""

import contextlib
import dataclasses
import json
import lzma
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alphafold_jax import atomic, untrusted
from alphafold_jax.errors import AlphaFoldError, InputError, ResourceError
from alphafold_jax.train import parameters, watch
from alphafold_jax.train.checkpoints import Checkpoints
from alphafold_jax.train.step import TrainState
from alphafold_jax.transfer.files import human_size

FORMAT, VERSION = 'alphafold_jax training run', 1
ONLY_AVERAGE = 'only_average'  # in the configuration of a checkpoint from which no training goes on
_TEXTS = ('config.json', watch.METRICS, watch.VALIDATION, 'log.txt')
_MANIFEST, _PARAMS, _AVERAGE, _REST, _BEST = 'run.json', 'params', 'average', 'rest', 'best'
_LARGEST_TEXT = 1 << 30  # bytes
_BROKEN = (  # of a damaged archive
  zipfile.BadZipFile, EOFError, ValueError, OSError, NotImplementedError, RuntimeError, zlib.error, OverflowError,
  struct.error, lzma.LZMAError,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CheckpointInfo:
  """What is known of a checkpoint besides its state."""

  step: int
  score: float | None  # by validation
  feed: dict[str, Any]  # the position in the data
  config: dict[str, Any]


def pack(directory: Path, path: Path) -> str:
  """Writes a run as one file; returns a line about it. The run may be going on meanwhile.

  Args:
    directory: of the run.
    path: the file, which appears whole or not at all.

  Raises:
    InputError: there is no complete checkpoint, or the file cannot be written.
    ResourceError: the disk is full.
  """
  with parameters.opened(directory, None) as (checkpoints, best):
    last = checkpoints.latest()
    assert last is not None  # there is a checkpoint
    info, state = _read(checkpoints, last)
    best_info, best_state = (info, state) if best == last else _read(checkpoints, best)
  manifest = {
    'format': FORMAT,
    'version': VERSION,
    'last': dataclasses.asdict(info),
    'best': dataclasses.asdict(best_info),
    'layout': _layout(state),
  }
  words, average = _words(state.params), _words(state.ema)
  with atomic.replacing(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(_MANIFEST, json.dumps(manifest))
    for name in _TEXTS:
      if (directory / name).is_file():
        archive.writestr(name, (directory / name).read_bytes())
    archive.writestr(_PARAMS, _packed(words))
    archive.writestr(_AVERAGE, _packed(average ^ words))
    archive.writestr(_REST, b''.join(map(_packed, jax.tree.leaves(_rest(state)))))
    if best != last:
      archive.writestr(_BEST, _packed(_words(best_state.ema) ^ average))
  size, count = human_size(path.stat().st_size), f'{words.size / 1e6:.1f} million parameters'
  return f'{path}: step {last} of {info.config.get("name", "a run")} ({count}), best at step {best}; {size}'


def unpack(path: Path, directory: Path) -> str:
  """Makes the folder of a run from such a file; returns a line about it. The same training command then goes on.

  Of a best checkpoint that is not the last there is the average only: it can be exported and started from.

  Args:
    path: the file.
    directory: to make; it must not exist, or be empty.

  Raises:
    InputError: the file is none of this kind, damaged, or of another version; or the folder holds something.
    ResourceError: the disk is full.
  """
  if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
    raise InputError(f'{directory}: exists already; give a folder that is new or empty')
  try:
    with zipfile.ZipFile(path) as archive, _making(directory) as folder:
      last, best = _unpack_into(folder, archive)
  except AlphaFoldError:  # says what is wrong by itself
    raise
  except _BROKEN as error:
    why = getattr(error, 'strerror', None) or error
    raise InputError(
      f'{path}: no run can be made of it ({why}); give a file that `alphafold-jax train RUN_DIR --pack FILE` wrote'
    ) from error
  return f'{directory}: step {last.step} of {last.config.get("name", "a run")}, best at step {best.step}'


def _read(checkpoints: Checkpoints, step: int) -> tuple[CheckpointInfo, TrainState]:
  """A checkpoint of a run, on the host."""
  config = checkpoints.config(step)
  state, feed = checkpoints.restore(step, parameters.state_shapes(config))
  return CheckpointInfo(step, checkpoints.score(step), feed, config), jax.device_get(state)


def _unpack_into(folder: Path, archive: zipfile.ZipFile) -> tuple[CheckpointInfo, CheckpointInfo]:
  """Writes the folder of a run; ValueError where the file does not hold what it should."""
  last, best, layout = _manifest(_member(archive, _MANIFEST))
  try:
    like = parameters.state_shapes(last.config)
  except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
    raise ValueError(f'its configuration cannot be used: {error}') from None
  if layout != _layout(like):
    raise ValueError('its state is laid out otherwise than in this version of the program')
  for name in _TEXTS:
    if name in archive.namelist():
      with atomic.replacing(folder / name) as file:
        file.write(_member(archive, name))
  (words,) = _unpacked(_member(archive, _PARAMS, _num_bytes(like.params)), [_as_words(like.params)])
  (average,) = _unpacked(_member(archive, _AVERAGE, _num_bytes(like.ema)), [_as_words(like.ema)])
  average ^= words
  rest = _rest(like)
  leaves = _unpacked(_member(archive, _REST, _num_bytes(rest)), jax.tree.leaves(rest))
  state = dataclasses.replace(
    jax.tree.unflatten(jax.tree.structure(rest), leaves),
    params=_from_words(words, like.params),
    ema=_from_words(average, like.ema),
  )
  saved = [(last, state)]
  if best.step != last.step:
    (words,) = _unpacked(_member(archive, _BEST, _num_bytes(like.ema)), [_as_words(like.ema)])
    saved.insert(0, _average_alone(best, _from_words(words ^ average, like.ema), state))
  _save(folder / 'checkpoints', saved)
  return last, best


def _average_alone(info: CheckpointInfo, average: Any, state: TrainState) -> tuple[CheckpointInfo, TrainState]:
  """A checkpoint of averaged parameters, with zeros for what it lacks, from which no training can go on."""
  zeros = jax.tree.map(np.zeros_like, _rest(state))
  alone = dataclasses.replace(zeros, step=np.full_like(state.step, info.step), params=average, ema=average)
  return dataclasses.replace(info, config=info.config | {ONLY_AVERAGE: True}), alone


def _save(directory: Path, saved: Sequence[tuple[CheckpointInfo, TrainState]]) -> None:
  checkpoints = Checkpoints(directory)
  try:
    for info, state in saved:
      done = checkpoints.save(info.step, jax.device_put(state), info.feed, info.config, info.score)
      if not (checkpoints.wait() and done):
        raise ResourceError(f'{directory}: the checkpoint of step {info.step} could not be written; free some space')
  finally:
    checkpoints.close()


@contextlib.contextmanager
def _making(directory: Path) -> Iterator[Path]:
  """Yields a new folder that becomes `directory` when the block ends, and is removed if it ends by an error."""
  directory = directory.absolute()
  atomic.make_folder(directory.parent)
  try:
    folder = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f'.{directory.name[:100]}.', suffix='.part'))
  except OSError as error:
    raise atomic.explained(directory, error) from error
  try:
    yield folder
    try:
      folder.chmod(0o755)  # it was made for its owner alone
      os.replace(folder, directory)
    except OSError as error:
      raise atomic.explained(directory, error) from error
  finally:
    shutil.rmtree(folder, ignore_errors=True)


# --- What is in the archive ---


def _member(archive: zipfile.ZipFile, name: str, num_bytes: int | None = None) -> bytes:
  """A file of the archive, of this size if it is known; ValueError where it is missing or of another size."""
  try:
    size = archive.getinfo(name).file_size
  except KeyError:
    raise ValueError(f'it holds no {name}') from None
  if size > _LARGEST_TEXT if num_bytes is None else size != num_bytes:
    expected = f'at most {human_size(_LARGEST_TEXT)}' if num_bytes is None else f'{num_bytes} bytes'
    raise ValueError(f'{name} has {size} bytes, expected {expected}')
  return archive.read(name)


def _manifest(text: bytes) -> tuple[CheckpointInfo, CheckpointInfo, Any]:
  """The last checkpoint, the best, and the layout of the state; ValueError where they are not there."""
  content = untrusted.from_json(text)
  if not isinstance(content, dict) or content.get('format') != FORMAT:
    raise ValueError('it is another file')
  if content.get('version') != VERSION:
    raise ValueError(f'it is of version {content.get("version")}, this program reads {VERSION}')
  try:
    last, best = (CheckpointInfo(**content[name]) for name in ('last', 'best'))
  except (KeyError, TypeError):
    raise ValueError(f'its {_MANIFEST} is incomplete') from None
  for info in (last, best):
    whole = isinstance(info.step, int) and info.step >= 0 and isinstance(info.score, int | float | None)
    if not (whole and isinstance(info.feed, dict) and isinstance(info.config, dict)) or best.step > last.step:
      raise ValueError(f'its {_MANIFEST} is damaged')
  return last, best, content.get('layout')


def _rest(state: TrainState) -> TrainState:
  """The state without parameters and their average."""
  return dataclasses.replace(state, params=None, ema=None)


def _layout(state: TrainState) -> list[list[Any]]:
  """The name, type and shape of every array of a state."""
  leaves = jax.tree_util.tree_leaves_with_path(state)
  return [[jax.tree_util.keystr(path), str(leaf.dtype), list(leaf.shape)] for path, leaf in leaves]


def _num_bytes(tree: Any) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _as_words(tree: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct((_num_bytes(tree) // 4,), np.dtype(np.uint32))


def _words(tree: Any) -> np.ndarray:
  """Arrays of four-byte numbers as one vector of their bits."""
  return np.concatenate([np.ascontiguousarray(leaf).view(np.uint32).ravel() for leaf in jax.tree.leaves(tree)])


def _from_words(words: np.ndarray, like: Any) -> Any:
  """The arrays of such a vector, in the types and shapes of `like`."""
  leaves, structure = jax.tree.flatten(like)
  parts = np.split(words, np.cumsum([leaf.size for leaf in leaves])[:-1])
  arrays = [part.view(leaf.dtype).reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
  return jax.tree.unflatten(structure, arrays)


def _packed(array: np.ndarray) -> bytes:
  """The first bytes of all numbers, then the second ones, and so on."""
  array = np.ascontiguousarray(array)
  return array.view(np.uint8).reshape(-1, array.dtype.itemsize).T.tobytes()


def _unpacked(data: bytes, like: Sequence[Any]) -> list[np.ndarray]:
  """The arrays that were packed one after another, in the types and shapes of `like`."""
  arrays, start = [], 0
  for leaf in like:
    end = start + leaf.size * leaf.dtype.itemsize
    planes = np.frombuffer(data[start:end], np.uint8).reshape(leaf.dtype.itemsize, leaf.size)
    arrays.append(np.ascontiguousarray(planes.T).view(leaf.dtype).reshape(leaf.shape))
    start = end
  return arrays
