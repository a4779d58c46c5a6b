# SPDX-License-Identifier: Apache-2.0
"""Charts drawn straight into an image: letters, lines, colour scales, and panels with axes.

A general plotting library lays out and draws the pictures of a protein in half a second of a core, which is longer than
a small protein takes to be predicted; these few calls take a tenth of that. Lengths are in points, 1/72 inch, from
the upper left corner of the picture.
"""

import dataclasses
import functools
import importlib.util
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_FONT = 'mpl-data/fonts/ttf/DejaVuSans.ttf'  # comes with matplotlib, and is found without loading it
_FINER = 3  # a smooth line is drawn this much larger, then reduced
_MANY = 400  # corners of a line, from which on nobody sees whether they are round
_TICK = 3.5  # points
Ticks = Sequence[int] | Mapping[float, str]  # values of an axis, with what is written there if not the value
_ANCHORS = {  # of colour maps, evenly spaced: matplotlib's
  'viridis': '440154 481769 472a7a 433d84 3d4e8a 355e8d 2e6d8e 297b8e 23898e 1f978b 21a585 2eb37c 46c06f 65cb5e '
  '89d548 b0dd2f d8e219 fde725',
  'plasma': '0d0887 3a049a 5c01a6 7e03a8 9c179e b52f8c cc4778 de5f65 ed7953 f89540 fdb42f fbd524 f0f921',
  'Blues': 'f7fbff deebf7 c6dbef 9ecae1 6baed6 4292c6 2171b5 08519c 08306b',
  'Reds': 'fff5f0 fee0d2 fcbba1 fc9272 fb6a4a ef3b2c cb181d a50f15 67000d',
  'Greys': 'ffffff f0f0f0 d9d9d9 bdbdbd 969696 737373 525252 252525 000000',
  'Greens_r': '00441b 006c2c 228a44 40aa5d 73c476 a0d99b c7e9c0 e5f5e0 f7fcf5',
}


@functools.cache
def colour_map(name: str) -> np.ndarray:  # [256, 3] uint8
  """The colours of a scale, from its lowest value to its highest."""
  anchors = np.array([list(bytes.fromhex(colour)) for colour in _ANCHORS[name].split()], float)
  place = np.linspace(0, len(anchors) - 1, 256)
  return (
    np.stack([np.interp(place, np.arange(len(anchors)), channel) for channel in anchors.T], axis=1)
    .round()
    .astype(np.uint8)
  )


def coloured(values: np.ndarray, name: str, highest: float) -> np.ndarray:  # [...] -> [..., 3] uint8
  """The colour of each value on a scale from 0 to the highest."""
  return colour_map(name)[np.clip(np.asarray(values) * (255 / highest), 0, 255).round().astype(np.uint8)]


def ticks(low: float, high: float, at_most: int) -> list[int]:
  """Round whole numbers within a range, evenly spaced, as many as are allowed; at least one."""

  def spaced(step):
    return list(range(math.ceil(low / step) * step, math.floor(high) + 1, step))

  steps = (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
  return next(found for step in steps if len(found := spaced(step)) <= at_most) or [math.ceil(low)]


def indexed(image: Image.Image) -> Image.Image:
  """An RGB image with a palette of its 256 most frequent colours; those within 3 of 255 are one, others the nearest.

  Looks at runs of equal pixels, of which a chart has few.
  """
  packed = np.frombuffer(image.tobytes('raw', 'RGBX'), '<u4')  # what is in X can only split a run
  starts = np.concatenate([[0], np.flatnonzero(packed[1:] != packed[:-1]) + 1])
  runs, lengths = packed[starts], np.diff(starts, append=len(packed))
  cells = (runs >> 2 & 0x3F | runs >> 4 & 0xFC0 | runs >> 6 & 0x3F000).astype(np.intp)  # 64 x 64 x 64 of them
  counts, colour_of = np.bincount(cells, lengths, 1 << 18), np.zeros(1 << 18, '<u4')
  colour_of[cells] = runs  # one that is there
  occupied = np.flatnonzero(counts)
  order = occupied[np.argsort(-counts[occupied], kind='stable')]
  colours = colour_of[order].view(np.uint8).reshape(-1, 4)[:, :3].astype(np.int32)  # the most frequent first
  index_of = np.zeros(1 << 18, np.uint8)
  index_of[order[:256]] = np.arange(min(len(order), 256))
  for cell, colour in zip(order[256:], colours[256:]):
    index_of[cell] = np.argmin(np.sum((colours[:256] - colour) ** 2, axis=1))
  result = Image.fromarray(np.repeat(index_of[cells], lengths).reshape(image.height, image.width))
  result.putpalette(colours[:256].astype(np.uint8).tobytes())
  return result


@functools.cache
def _font(pixels: float) -> ImageFont.FreeTypeFont:
  found = importlib.util.find_spec('matplotlib')
  assert found is not None and found.submodule_search_locations, 'matplotlib is installed with this package'
  path = Path(found.submodule_search_locations[0], _FONT)
  return ImageFont.truetype(str(path), pixels, layout_engine=ImageFont.Layout.BASIC)


class Sheet:
  """A white picture to draw on."""

  def __init__(self, width: float, height: float, dpi: int):
    """Width and height are in points."""
    self._scale = dpi / 72
    self.image = Image.new('RGB', (self.pixels(width), self.pixels(height)), 'white')
    self._pen = ImageDraw.Draw(self.image)

  def pixels(self, points: float) -> int:
    """A length in pixels, to the nearest."""
    return round(points * self._scale)

  def width(self, text: str, size: float) -> float:
    """How wide a line of text is."""
    return self._font(size).getlength(text) / self._scale

  def fitted(self, text: str, size: float, width: float) -> str:
    """A line of text, with its middle left out if it is wider."""
    if self.width(text, size) <= width:
      return text
    kept = max(2, int(len(text) * width / self.width(text, size)) - 2)
    return f'{text[: kept // 2]}…{text[len(text) - kept // 2 :]}'

  def write(self, x: float, y: float, text: str, size: float = 10, anchor: str = 'mm', colour: str = 'black') -> None:
    """Writes one line or more below one another.

    Args:
      x: of the anchor.
      y: of the first line's anchor.
      text: the lines.
      size: of the letters.
      anchor: Pillow's: left, middle or right, then ascender, middle or descender.
      colour: a name or '#rrggbb'.
    """
    for i, line in enumerate(text.split('\n')):
      at = self.pixels(x), self.pixels(y + 1.25 * size * i)
      self._pen.text(at, line, colour, self._font(size), anchor)

  def write_upright(self, x: float, y: float, text: str, size: float = 10) -> None:
    """Writes a line from bottom to top, around a point in its middle."""
    font = self._font(size)
    mask = Image.new('L', (math.ceil(font.getlength(text)) + 4, sum(font.getmetrics())))
    ImageDraw.Draw(mask).text((2, 0), text, 255, font)
    mask = mask.transpose(Image.Transpose.ROTATE_90)
    self.image.paste('black', (self.pixels(x) - mask.width // 2, self.pixels(y) - mask.height // 2), mask)

  def fill(self, box: Sequence[float], colour: str) -> None:
    """Fills a box (left, top, right, bottom)."""
    left, top, right, bottom = map(self.pixels, box)
    self._pen.rectangle((left, top, right - 1, bottom - 1), colour)

  def paint(self, box: Sequence[float], colours: np.ndarray) -> None:
    """Fills a box with fields of colours [rows, columns, 3]."""
    left, top, right, bottom = map(self.pixels, box)
    fields = Image.fromarray(np.ascontiguousarray(colours))
    self.image.paste(fields.resize((right - left, bottom - top), Image.Resampling.NEAREST), (left, top))

  def rule(self, x0: float, y0: float, x1: float, y1: float, width: float = 0.8, colour: str = 'black') -> None:
    """Draws a line along an axis: sharp."""
    self._pen.line([*map(self.pixels, (x0, y0, x1, y1))], colour, max(1, self.pixels(width)))

  def steps(self, points: np.ndarray, width: float, colour: str) -> None:
    """Draws a line of pieces along the axes through points [N, 2]."""
    wide = max(1, self.pixels(width))
    corners = np.round(points * self._scale).astype(int)
    self._pen.line([tuple(corner) for corner in corners.tolist()], colour, wide)

  def line(self, points: np.ndarray, width: float, colour: str) -> None:
    """Draws a smooth line through points [N, 2]; a single point as a dot."""
    fine, margin = self._scale * _FINER, math.ceil(width * self._scale) + 1
    first = np.floor(points.min(axis=0) * self._scale).astype(int) - margin
    last = np.ceil(points.max(axis=0) * self._scale).astype(int) + margin
    mask = Image.new('L', tuple((_FINER * (last - first)).tolist()))
    pen, corners, wide = ImageDraw.Draw(mask), points * fine - first * _FINER, round(width * fine)
    if len(points) == 1:
      (x, y), radius = corners[0], 1.5 * wide
      pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    pen.line([tuple(corner) for corner in corners.tolist()], 255, wide, 'curve' if len(points) < _MANY else None)
    self.image.paste(colour, tuple(first.tolist()), mask.reduce(_FINER))

  def _font(self, size: float) -> ImageFont.FreeTypeFont:
    return _font(round(size * self._scale, 1))


@dataclasses.dataclass(frozen=True)
class Panel:
  """A box of a sheet with two axes."""

  sheet: Sheet
  box: tuple[float, float, float, float]  # left, top, right, bottom
  x_range: tuple[float, float]  # values at the left and the right
  y_range: tuple[float, float]  # values at the top and the bottom

  def places(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:  # [..., 2]
    """Where values are on the sheet."""
    (x0, x1), (y0, y1) = self.x_range, self.y_range
    left, top, right, bottom = self.box
    across, down = (np.asarray(x) - x0) / (x1 - x0), (np.asarray(y) - y0) / (y1 - y0)
    return np.stack(np.broadcast_arrays(left + across * (right - left), top + down * (bottom - top)), axis=-1)

  def border(self) -> None:
    """Draws a frame around the box."""
    left, top, right, bottom = self.box
    for corner in ((left, top, right, top), (left, bottom, right, bottom)):
      self.sheet.rule(*corner)
    for corner in ((left, top, left, bottom), (right, top, right, bottom)):
      self.sheet.rule(*corner)

  def label_x(self, label: str, values: Ticks, size: float = 10) -> None:
    """Labels the axis at the bottom, with ticks at these values."""
    left, _, right, bottom = self.box
    for value, text in _texts(values).items():
      x, _ = self.places(value, 0)
      self.sheet.rule(x, bottom, x, bottom + _TICK)
      self.sheet.write(x, bottom + _TICK + 0.8 * size, text, size)
    self.sheet.write((left + right) / 2, bottom + _TICK + 2.2 * size, label, size)

  def label_y(self, label: str, values: Ticks, size: float = 10, right: bool = False) -> None:
    """Labels the axis at the left, or at the right, with ticks at these values."""
    _, top, _, bottom = self.box
    edge, away = (self.box[2], 1) if right else (self.box[0], -1)
    texts = _texts(values)
    for value, text in texts.items():
      _, y = self.places(0, value)
      self.sheet.rule(edge, y, edge + away * _TICK, y)
      self.sheet.write(edge + away * (_TICK + 2.5), y, text, size, 'lm' if right else 'rm')
    widest = max((self.sheet.width(text, size) for text in texts.values()), default=0)
    self.sheet.write_upright(edge + away * (_TICK + 5 + widest + 0.8 * size), (top + bottom) / 2, label, size)

  def divide(self, values: Sequence[float], across: bool = False, width: float = 0.9, colour: str = 'black') -> None:
    """Draws lines from top to bottom, and from left to right, at these values."""
    left, top, right, bottom = self.box
    for value in values:
      x, y = self.places(value, value)
      self.sheet.rule(x, top, x, bottom, width, colour)
      if across:
        self.sheet.rule(left, y, right, y, width, colour)


def _texts(values: Ticks) -> Mapping[float, str]:
  return values if isinstance(values, Mapping) else {value: str(value) for value in values}


def colour_bar(sheet: Sheet, box: tuple[float, float, float, float], name: str, label: str, values: Ticks,
               size: float = 10) -> None:  # fmt: skip
  """Draws the scale of a colour map, from 0 below to the last of the values."""
  sheet.paint(box, colour_map(name)[::-1, None])
  panel = Panel(sheet, box, (0, 1), (list(values)[-1], 0))
  panel.border()
  panel.label_y(label, values, size, right=True)
