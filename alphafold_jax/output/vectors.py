# SPDX-License-Identifier: Apache-2.0
"""The same charts as drawing instructions: SVG and PDF, with text that can be searched and edited.

A sheet of this kind takes what `drawing.Sheet` takes and hands it to matplotlib, so that every picture is drawn by one
function whatever file it becomes. Only matrices are images in these files too.
"""

import io
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import Affine2D
from PIL import Image

from alphafold_jax.output.drawing import Sheet

KINDS = ('svg', 'pdf')
_DPI = 200  # of the images of matrices
_FINE = 10  # pixels for a point, in which text is measured
_UNPRINTABLE = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')  # what XML cannot hold
_ALIGNED = {'l': 'left', 'm': 'center', 'r': 'right'}
_NO_DATE = {'svg': {'Date': None}, 'pdf': {'CreationDate': None}}  # the same picture is the same file
_STYLE: Any = {
  'svg.fonttype': 'none',
  'svg.hashsalt': 'alphafold_jax',
  'pdf.fonttype': 42,
  'font.family': ['DejaVu Sans'],
}
_STYLING = threading.Lock()  # the style is matplotlib's global state, and several threads write files


class VectorSheet(Sheet):
  """A white picture that is kept as what was drawn on it; `image` is a figure of matplotlib."""

  image: Any

  def __init__(self, width: float, height: float, dpi: int = 72):
    """Width and height are in points."""
    self._scale = _FINE
    self.image = Figure(figsize=(width / 72, height / 72), facecolor='white')
    self._size = width, height
    self._points = Affine2D().scale(1 / width, -1 / height).translate(0, 1) + self.image.transFigure
    self._count = 0

  def write(self, x: float, y: float, text: str, size: float = 10, anchor: str = 'mm', colour: str = 'black') -> None:
    """As `Sheet.write`."""
    for i, line in enumerate(text.split('\n')):
      baseline = y + 1.25 * size * i + self._above_baseline(size, anchor[1])
      self._text(x, baseline, line, size, colour, ha=_ALIGNED[anchor[0]], va='baseline')

  def write_upright(self, x: float, y: float, text: str, size: float = 10) -> None:
    """As `Sheet.write_upright`."""
    across, turned = x + self._above_baseline(size, 'm'), {'rotation': 90, 'rotation_mode': 'anchor'}
    self._text(across, y, text, size, 'black', ha='center', va='baseline', **turned)

  def fill(self, box: Sequence[float], colour: str) -> None:
    """As `Sheet.fill`."""
    left, top, right, bottom = box
    patch = Rectangle((left, top), right - left, bottom - top, facecolor=colour, edgecolor='none')
    self._add(patch)

  def paint(self, box: Sequence[float], colours: np.ndarray) -> None:
    """As `Sheet.paint`; the fields are an image in the file, with no more pixels than can be seen."""
    left, top, right, bottom = box
    (width, height), (rows, columns) = self._size, colours.shape[:2]
    most = max(1, round((bottom - top) * _DPI / 72)), max(1, round((right - left) * _DPI / 72))
    if rows > most[0] or columns > most[1]:
      size = min(columns, most[1]), min(rows, most[0])
      colours = np.asarray(Image.fromarray(np.ascontiguousarray(colours)).resize(size, Image.Resampling.BOX))
    place = left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height
    axes = self.image.add_axes(place, zorder=self._next())
    axes.set_axis_off()
    axes.imshow(colours, interpolation='none', aspect='auto')

  def rule(self, x0: float, y0: float, x1: float, y1: float, width: float = 0.8, colour: str = 'black') -> None:
    """As `Sheet.rule`."""
    self._add(Line2D((x0, x1), (y0, y1), linewidth=width, color=colour, solid_capstyle='projecting'))

  def steps(self, points: np.ndarray, width: float, colour: str) -> None:
    """As `Sheet.steps`."""
    self._add(Line2D(*points.T, linewidth=width, color=colour, solid_joinstyle='miter'))

  def line(self, points: np.ndarray, width: float, colour: str) -> None:
    """As `Sheet.line`."""
    dot: Any = {'marker': 'o', 'markersize': 3 * width, 'markeredgewidth': 0} if len(points) == 1 else {}
    self._add(Line2D(*points.T, linewidth=width, color=colour, solid_joinstyle='round', **dot))

  def _above_baseline(self, size: float, vertical: str) -> float:
    """How far the baseline of a text is below its anchor: the ascender, the middle, or the descender."""
    ascent, descent = (value / self._scale for value in self._font(size).getmetrics())
    return {'a': ascent, 'm': (ascent - descent) / 2, 'd': -descent, 's': 0.0}[vertical]

  def _text(self, x: float, y: float, text: str, size: float, colour: str, **settings: Any) -> None:
    (width, height), shown = self._size, _UNPRINTABLE.sub('\ufffd', text)
    settings |= {'fontsize': size, 'color': colour, 'parse_math': False, 'zorder': self._next()}
    self.image.text(x / width, 1 - y / height, shown, **settings)

  def _add(self, artist: Any) -> None:
    artist.set(transform=self._points, zorder=self._next(), clip_on=False)
    self.image.add_artist(artist)

  def _next(self) -> int:
    """What is drawn later lies above."""
    self._count += 1
    return self._count


def written(draw: Callable[..., Any], kind: str) -> bytes:
  """A picture as the content of a file.

  Args:
    draw: draws it, given `on`, what makes the sheet.
    kind: of KINDS.
  """
  file = io.BytesIO()
  with _STYLING, matplotlib.rc_context(_STYLE), warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'Glyph .* missing from')  # letters that the font lacks are boxes, as in a PNG
    draw(on=VectorSheet).savefig(file, format=kind, metadata=_NO_DATE[kind])
  return file.getvalue()
