# SPDX-License-Identifier: Apache-2.0
"""Parameter files (.npz), read and written: names and shapes from headers alone, or arrays; a fault names the array."""

import lzma
import math
import os
import pathlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import numpy as np

from alphafold_jax.errors import WeightsError
from alphafold_jax.screen import number

Shape = tuple[int, ...]
_HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}
_LOCAL = struct.Struct('<4s5H3I2H')  # a ZIP local file header
_BROKEN = (  # of a damaged archive or header
  zipfile.BadZipFile, EOFError, ValueError, OSError, NotImplementedError, RuntimeError, zlib.error, struct.error,
  tokenize.TokenError, SyntaxError, TypeError, OverflowError, lzma.LZMAError,
)  # fmt: skip
_WRITTEN = b'Parameters written by alphafold_jax; not the published AlphaFold 2 parameters.'  # archive comment
_REMEDY = 'Fetch it again with `alphafold-jax params download`.'


def mark(file: IO[bytes]) -> None:
  """Adds to an .npz file that was just written, and is open still, the comment by which `is_ours` knows it."""
  file.seek(-2, os.SEEK_END)  # a ZIP archive ends in the length of its comment, until now 0, and the comment
  file.write(len(_WRITTEN).to_bytes(2, 'little') + _WRITTEN)


def is_ours(path: pathlib.Path) -> bool:
  """Whether this program wrote a file, so that it cannot be a published one."""
  try:
    with zipfile.ZipFile(path) as archive:
      return archive.comment == _WRITTEN
  except _BROKEN:
    return False


def read_shapes(path: pathlib.Path) -> dict[str, Shape]:
  """Shapes by name of an .npz file, without the values (milliseconds); WeightsError names an array that is damaged."""
  shapes = {}
  for name, member, archive in _members(path):
    shapes[name] = _checked_shape(path, name, member, archive)
  return shapes


def _checked_shape(path: pathlib.Path, name: str, member: zipfile.ZipInfo, archive: zipfile.ZipFile) -> Shape:
  """The shape of an array that is of numbers and as long as its header says."""
  try:
    with archive.open(member) as file:
      shape, dtype = _header(file)
      expected = file.tell() + math.prod(shape) * dtype.itemsize
  except _BROKEN as error:
    raise WeightsError(f'{path}: array {name!r} cannot be read ({error}). {_REMEDY}') from error
  if dtype.kind not in 'fiub':
    raise WeightsError(f'{path}: array {name!r} has the type {dtype}, not numbers. {_REMEDY}')
  if member.file_size != expected:
    raise WeightsError(
      f'{path}: array {name!r} of shape {shape} should have {expected} bytes and has {member.file_size}. {_REMEDY}'
    )
  return shape


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  """All arrays by name of an .npz file without pickled objects; WeightsError names an array that is damaged."""
  arrays = {}
  for name, member, archive in _members(path):
    _checked_shape(path, name, member, archive)  # before memory is taken for what the header claims
    try:
      with archive.open(member) as file:
        arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    except _BROKEN as error:
      shape = _shape_text(archive, member)
      raise WeightsError(f'{path}: array {name!r}{shape} is damaged ({error}). {_REMEDY}') from error
  return arrays


def shape_problems(shapes: Mapping[str, Shape], expected: Mapping[str, Shape]) -> tuple[list[str], list[str]]:
  """What keeps a file from being used, and what is merely surplus: one line for each array, with its shape.

  Args:
    shapes: of the file's arrays, by name.
    expected: the same of a model's.
  """
  wrong = [f'missing: {name} {tuple(shape)}' for name, shape in expected.items() if name not in shapes]
  wrong += [
    f'mis-shaped: {name} is {tuple(shapes[name])}, should be {tuple(shape)}'
    for name, shape in expected.items()
    if name in shapes and tuple(shapes[name]) != tuple(shape)
  ]
  surplus = [f'unexpected: {name} {tuple(shape)}' for name, shape in shapes.items() if name not in expected]
  return wrong, surplus


def misfit(source: str, model: str, problems: Sequence[str]) -> WeightsError:
  """The error to raise where arrays do not fit a model; `problems` are of `shape_problems`."""
  fit = f'{number(len(problems), "array")} {"does" if len(problems) == 1 else "do"} not fit {model}'
  what = f'{source}: {fit} (is it the file of another model, or were its sizes changed?)'
  return WeightsError('\n  '.join([what, *shown(problems)]))


def shown(lines: Sequence[str], most: int = 5) -> list[str]:
  """The first of many lines, and how many there are more."""
  return [*lines[:most], *([f'and {len(lines) - most:,} more'] if len(lines) > most else [])]


def _members(path: pathlib.Path) -> Iterator[tuple[str, zipfile.ZipInfo, zipfile.ZipFile]]:
  try:
    archive = zipfile.ZipFile(path)
  except OSError as error:
    raise WeightsError(f'{path}: cannot be read ({error.strerror or error}).') from error
  except _BROKEN as error:
    raise WeightsError(f'{path}: {_where_it_breaks(path)}. {_REMEDY}') from error
  with archive:
    for member in archive.infolist():
      yield member.filename.removesuffix('.npy'), member, archive


def _header(file: IO[bytes]) -> tuple[Shape, np.dtype]:
  version = np.lib.format.read_magic(file)
  if version not in _HEADERS:
    raise ValueError(f'.npy version {version}')
  try:
    shape, _, dtype = _HEADERS[version](file)
  except (MemoryError, RecursionError):  # of Python's own parser
    raise ValueError('a header that is nested too deeply') from None
  return shape, dtype


def _shape_text(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
  try:
    with archive.open(member) as file:
      return f' of shape {_header(file)[0]}'
  except _BROKEN:
    return ''


def _where_it_breaks(path: pathlib.Path) -> str:
  """Reads a file without a table of contents header by header, to the array in which it ends."""
  end = path.stat().st_size
  with open(path, 'rb') as file:
    while len(raw := file.read(_LOCAL.size)) == _LOCAL.size:
      signature, _, flags, method, _, _, _, packed, _, name_length, extra_length = _LOCAL.unpack(raw)
      if signature != b'PK\x03\x04':
        break
      name = file.read(name_length).decode('utf-8', 'replace').removesuffix('.npy')
      extra = file.read(extra_length)
      if packed == 0xFFFFFFFF and extra[:2] == b'\x01\x00' and len(extra) >= 20:  # ZIP64: sizes are in the extra field
        packed = int.from_bytes(extra[12:20], 'little')
      begin = file.tell()
      if begin + packed > end or flags & 0x8:
        return f'truncated: it ends inside or after array {name!r}{_shape_at(file, method)}, at {end} bytes'
      file.seek(begin + packed)
    if file.tell() <= _LOCAL.size:
      return 'not an .npz file'
  return 'truncated: its table of contents is missing'


def _shape_at(file: IO[bytes], method: int) -> str:
  try:
    return f' of shape {_header(file)[0]}' if method == zipfile.ZIP_STORED else ''
  except _BROKEN:
    return ''
