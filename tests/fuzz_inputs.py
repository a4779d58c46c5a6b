# SPDX-License-Identifier: Apache-2.0
"""Damaged inputs by chance: valid seeds with bytes changed, lines moved, numbers and JSON values replaced.

Every input follows from a `random.Random` alone, so a number names it: tests/fuzz_parsers.py has the parsers, and
benchmarks/fuzz.py runs a million. Nothing here knows a file format but the containers that a change must get into:
JSON, gzip, tar and .npz have checksums or a grammar, and damage of the bytes alone would never reach what is in them.
"""

import functools
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np

Make = Callable[[Random], bytes]  # an input
_NUMBER = re.compile(rb'-?\d+(?:\.\d+)?')
_NUMBERS = (
  b'0', b'-1', b'1', b'-0', b'007', b'2147483648', b'-9223372036854775809', b'1e308', b'1e999', b'-1e999', b'nan',
  b'inf', b'0x1f', b'1_000', b'1.5', b'-0.0', b'1' * 5000, b'9' * 30, '\u0663'.encode(), '\u00b2'.encode(), b'', b'*',
)  # fmt: skip
_TOKENS = (
  b'\0', b'\0' * 40,
  b'\xff\xfe', b'\xef\xbb\xbf', b'\x1f\x8b\x08', b'PK\x03\x04', b'\r', b'\r\n', b'\n\n', b'\t', b'  ',
  b'>', b'>\n', b'#', b'//', b'"', b"'", b'\\', b';\n', b',', b'loop_\n', b'data_\n', b'# STOCKHOLM 1.0\n', b'END\n',
  b'TER\n', b'MODEL        2\n', b'?', b'.', b'-', b'*', b'A' * 3000, b'[' * 2000, b'{"a":' * 2000, '\u00e9'.encode(),
  '\u2028'.encode(), '\u0410'.encode(), '\U0001f9ec'.encode(), b'\xed\xa0\x80', b'\x0c', b'\x85', b'\x1a', b'\x7f',
)  # fmt: skip


# ------------------------------------------------------------------------------------------ bytes and lines


def _span(rng: Random, data: bytes, longest: int = 64) -> tuple[int, int]:
  start = rng.randrange(len(data) + 1)
  return start, min(len(data), start + rng.randrange(longest))


def _flip(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
  if not data:
    return data
  place = rng.randrange(len(data))
  return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


def _overwrite(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
  place = rng.randrange(len(data) + 1)
  return data[:place] + rng.randbytes(rng.randrange(1, 5)) + data[place + 4 :]


def _remove(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
  start, end = _span(rng, data)
  return data[:start] + data[end:]


def _repeat(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
  start, end = _span(rng, data)
  return data[:end] + data[start:end] * rng.choice((1, 1, 2, 9, 200)) + data[end:]


def _truncate(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
  return data[: rng.randrange(len(data) + 1)]


def _insert(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
  place = rng.randrange(len(data) + 1)
  return data[:place] + rng.choice(_TOKENS) + data[place:]


def _splice(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
  other = rng.choice(seeds)
  return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _renumber(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
  found = _NUMBER.search(data, rng.randrange(len(data) + 1)) or _NUMBER.search(data)
  return data[: found.start()] + rng.choice(_NUMBERS) + data[found.end() :] if found else data


def _lines(change: Callable[[Random, list[bytes]], object]) -> Callable[[Random, bytes, Sequence[bytes]], bytes]:
  def of_bytes(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
      change(rng, lines)
    return b''.join(lines)

  return of_bytes


def _swap_lines(rng: Random, lines: list[bytes]) -> None:
  one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
  lines[one], lines[other] = lines[other], lines[one]


def _drop_word(rng: Random, lines: list[bytes]) -> None:
  place = rng.randrange(len(lines))
  words = re.split(rb'([ \t,]+)', lines[place])
  del words[rng.randrange(len(words))]
  lines[place] = b''.join(words)


def _widen_line(rng: Random, lines: list[bytes]) -> None:
  place = rng.randrange(len(lines))
  lines[place] = lines[place].rstrip(b'\n') + rng.choice((b' x', b'\tx', b',x', b' ', b'\\')) + b'\n'


_CHANGES = (
  _flip, _overwrite, _remove, _repeat, _truncate, _insert, _insert, _splice, _renumber, _renumber, _lines(_swap_lines),
  _lines(lambda rng, lines: lines.pop(rng.randrange(len(lines)))),
  _lines(lambda rng, lines: lines.insert(rng.randrange(len(lines)), rng.choice(lines))),
  _lines(_drop_word), _lines(_widen_line),
)  # fmt: skip


def changed(rng: Random, seeds: Sequence[bytes]) -> bytes:
  """One of the seeds with one to four changes."""
  data = rng.choice(seeds)
  for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
    data = rng.choice(_CHANGES)(rng, data, seeds)
  return data


def of_bytes(*seeds: bytes | str) -> Make:
  """Inputs from texts or bytes."""
  given = [seed.encode() if isinstance(seed, str) else seed for seed in seeds]
  return lambda rng: changed(rng, given)


# ------------------------------------------------------------------------------------------ JSON

_VALUES = (
  None, True, False, 0, -1, 1.5, 10**30, 1 << 63, float('nan'), float('inf'), '', '0', 'A', '../x', '/etc/passwd', '\0',
  'a\nb', '\ud800', 'x' * 3000, [], {}, [None], [[]], [[0, 0]], [0, 1, 2], {'': ''}, {'a': {'b': []}},
)  # fmt: skip


def _replaced(rng: Random, value: Any) -> Any:
  """A copy of a JSON value in which one value, key or place has changed."""
  if isinstance(value, dict) and value and rng.random() < 0.85:
    key = rng.choice(list(value))
    rest = {name: one for name, one in value.items() if name != key}
    return rng.choice((
      lambda: rest,
      lambda: rest | {rng.choice(('', 'x', key.upper(), f'{key} ')): value[key]},
      lambda: value | {key: rng.choice(list(value.values()))},
      *(4 * [lambda: value | {key: _replaced(rng, value[key])}]),
    ))()  # fmt: skip
  if isinstance(value, list) and value and rng.random() < 0.85:
    place = rng.randrange(len(value))
    before, after = value[:place], value[place + 1 :]
    return rng.choice((
      lambda: before + after,
      lambda: [*value, value[place]],
      lambda: value * rng.choice((2, 50)),
      *(4 * [lambda: [*before, _replaced(rng, value[place]), *after]]),
    ))()  # fmt: skip
  return rng.choice(_VALUES)


def of_json(*seeds: Any) -> Make:
  """Inputs from JSON values: values replaced, then half of them changed as text, too."""
  texts = [json.dumps(seed).encode() for seed in seeds]

  def make(rng: Random) -> bytes:
    value = _replaced(rng, rng.choice(seeds))
    text = json.dumps(_replaced(rng, value) if rng.random() < 0.3 else value).encode()
    how = rng.random()
    if how < 0.02:
      return rng.choice((b'[' * 100_000, b'{"a":' * 100_000, b'1' * 5000, b'[' * 900 + b']' * 900, b'null', b'""', b''))
    return text if how < 0.5 else changed(rng, [text, *texts])

  return make


# ------------------------------------------------------------------------------------------ containers


def packed(make: Make) -> Make:
  """With gzip, now and then damaged or cut off; a few are small and unpack to 32 MiB."""

  def pack(rng: Random) -> bytes:
    if rng.random() < 0.0005:
      return bomb(32 << 20)
    data = gzip.compress(make(rng), 1, mtime=0)
    return data if rng.random() < 0.8 else changed(rng, [data])

  return pack


def sometimes_packed(make: Make) -> Make:
  """Plain, one in twenty with gzip."""
  return lambda rng: packed(make)(rng) if rng.random() < 0.05 else make(rng)


_PATHS = ('../evil', '/etc/evil', 'a/../../evil', 'C:evil', 'a\\b', '.', '', 'x' * 300, 'é', '\udce9', 'NUL', 'a\nb')
_KINDS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, b'S', b'x', b'g', b'9')
_SIZES = (0, 1, 10_000, 1 << 31, 1 << 40)


def _member(rng: Random, name: str, content: bytes, names: Sequence[str]) -> tuple[tarfile.TarInfo, bytes]:
  """A file of an archive in which, one time in three, something is out of order."""
  info = tarfile.TarInfo(name)
  info.size = len(content)
  how = rng.random()
  if how < 0.1:
    info.name = rng.choice((*_PATHS, *names))
  elif how < 0.2:
    info.type, info.linkname = rng.choice(_KINDS), rng.choice((*_PATHS, *names))
  elif how < 0.3:
    info.size = rng.choice(_SIZES)
  elif how < 0.33:
    info.pax_headers = {rng.choice(('size', 'path', 'GNU.sparse.size', 'mtime')): rng.choice(('-1', 'x', '9' * 40))}
  return info, content


def of_tar(members: Mapping[str, Make], pack: bool = False) -> Make:
  """Tar archives of members out of order, or with content changed; `pack`: with gzip."""
  names = list(members)

  def make(rng: Random) -> bytes:
    out = io.BytesIO()
    chosen = [name for name in names if rng.random() < 0.95] + ([rng.choice(names)] if rng.random() < 0.1 else [])
    for name in chosen:
      info, content = _member(rng, name, members[name](rng), names)
      try:
        header = info.tobuf(tarfile.PAX_FORMAT, 'utf-8', 'surrogateescape')
      except ValueError:  # a name that no archive can hold
        continue
      if rng.random() < 0.03:
        header = changed(rng, [header])[: len(header)].ljust(len(header), b'\0')
      out.write(header + content + b'\0' * (-len(content) % 512))
    out.write(b'\0' * rng.choice((0, 512, 1024, 10_240)))
    data = out.getvalue()
    data = data if rng.random() < 0.85 else changed(rng, [data])
    return packed(lambda _: data)(rng) if pack else data

  return make


_HEADERS = (
  b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000), }",
  b"{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000,), }",
  b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
  b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999999), }",
  b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
  b"{'descr': '<U9999999', 'fortran_order': True, 'shape': (9,), }",
  b"{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }",
  b"{'descr': '|V0', 'fortran_order': False, 'shape': (1 << 40,), }",
  b"{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }",
  b"{'descr': '<m8[s]', 'fortran_order': False, 'shape': (), }",
  b'[' * 3000,
  b'(' * 300 + b')' * 300,
  b'9' * 9000,
)


def npy(array: np.ndarray) -> bytes:
  """An array as the bytes of a .npy file."""
  out = io.BytesIO()
  np.lib.format.write_array(out, np.asarray(array), allow_pickle=False)
  return out.getvalue()


def _odd_array(rng: Random, array: np.ndarray) -> bytes:
  """A .npy file of another shape, type or content than it should have, or with a header that lies."""
  how = rng.random()
  if how < 0.3:
    header = rng.choice(_HEADERS)
    return b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + rng.randbytes(64)
  if how < 0.5:
    return npy(array.astype(rng.choice(('<f8', '<i2', '|u1', '|b1', '<f2', '<c8', '|S3')), casting='unsafe'))
  if how < 0.7:
    return npy(rng.choice((array[None], array[:0], array[:1], array.ravel(), array[..., None], np.array(0))))
  if how < 0.85 and array.size:
    array = array.copy()
    value = rng.choice((-1, 21, 255, float('nan'), float('inf'), 1e30))
    with np.errstate(all='ignore'):
      array.flat[rng.randrange(array.size)] = np.array(value).astype(array.dtype)
    return npy(array)
  return changed(rng, [npy(array)])


def of_npz(arrays: Mapping[str, np.ndarray], texts: Mapping[str, Make] | None = None) -> Make:
  """.npz archives of arrays that lie, are of other kinds or missing; `texts` makes those that hold text in bytes."""
  plain = {name: npy(array) for name, array in arrays.items() if array.ndim or not array.dtype.hasobject}

  def make(rng: Random) -> bytes:
    members = dict(plain)
    for name, text in (texts or {}).items():
      members[name] = npy(np.frombuffer(text(rng), np.uint8)) if rng.random() < 0.5 else members[name]
    for name in rng.sample(list(arrays), rng.choice((0, 1, 1, 2))):
      if rng.random() < 0.2:
        del members[name]
      else:
        members[name] = _odd_array(rng, np.atleast_1d(arrays[name]) if arrays[name].ndim == 0 else arrays[name])
    return _zipped(rng, members)

  return make


def _zipped(rng: Random, members: Mapping[str, bytes]) -> bytes:
  out = io.BytesIO()
  with zipfile.ZipFile(out, 'w', rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
    for name, content in members.items():
      name = name if rng.random() < 0.98 else f'{rng.choice(_PATHS[:8])}{len(name)}'
      archive.writestr(zipfile.ZipInfo(f'{name}.npy' if rng.random() < 0.98 else name), content)
  data = out.getvalue()
  return data if rng.random() < 0.7 else changed(rng, [data])


@functools.cache
def bomb(num_bytes: int) -> bytes:
  """Many zeros in few bytes."""
  return gzip.compress(bytes(num_bytes), 9, mtime=0)
