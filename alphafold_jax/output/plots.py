# SPDX-License-Identifier: Apache-2.0
"""The pictures of a job: depth of the alignment, pLDDT along the sequence, PAE of each model, and its interfaces.

Each function draws an image at a resolution, which a notebook can show; `png` makes the file. Drawn on a sheet of
`vectors` it is a figure that becomes SVG or PDF.
"""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from alphafold_jax import errors
from alphafold_jax.interfaces import score_matrix
from alphafold_jax.output import chain_marks
from alphafold_jax.output.alignment_rows import covered as covered
from alphafold_jax.output.alignment_rows import grouped_rows
from alphafold_jax.output.alignment_rows import ranked_rows as ranked_rows
from alphafold_jax.output.chain_marks import chain_lengths as chain_lengths
from alphafold_jax.output.chain_marks import several_chains as several_chains
from alphafold_jax.output.drawing import Panel, Sheet, colour_bar, colour_map, coloured, indexed, ticks
from alphafold_jax.output.record import PredictionRecord

if TYPE_CHECKING:
  from matplotlib.figure import Figure

PLDDT_BANDS = (  # from, to, colour, name: AlphaFold DB's
  (90, 100, '#0053D6', 'very high'),
  (70, 90, '#65CBF3', 'confident'),
  (50, 70, '#FFDB13', 'low'),
  (0, 50, '#FF7D45', 'very low'),
)
MAX_PAE = 30  # Å, end of the colour scale
MAX_PIXELS = 1000  # of an image's side; larger arrays are averaged
MAX_BYTES = 150_000  # of a PNG
PANELS_PER_ROW = 5
LEGEND_ROWS = 12
MAX_GROUPS = 40  # of alignment rows that lines are drawn between
RESOLUTIONS = (150, 120, 100, 80, 60, 45)  # dots per inch
_PALE = 0.22  # of a band's colour behind the lines
_BAR = 42  # points from one scale to the next
_SCALES = {
  'ipTM': 'Reds',
  'pTM': 'Greys',
  'actifpTM': 'Blues',
}  # above, on and below the diagonal, as ColabFold draws them
NewSheet = Callable[[float, float, int], Any]  # width, height, resolution -> a `drawing.Sheet`, or one of vectors
_NO_PAE = 'none of the models predicts an aligned error (PAE); use a _ptm model, such as model_1_ptm'
_ONE_CHAIN = 'only predictions of several chains, by a model with an aligned error (PAE), have scores of interfaces'


def coverage(
  tokens: np.ndarray,
  title: str = '',
  chain_lengths: Sequence[int] = (),
  chain_names: Sequence[str] = (),
  dpi: int = 150,
  on: NewSheet = Sheet,
) -> Image.Image:
  """The alignment's rows, most similar to the query on top, coloured by identity, with the number covering each column.

  Of a complex in groups of rows that cover the same chains, with lines between groups and chains.

  Args:
    tokens: [N_seq, N_res], row 0 the query.
    title: of the picture.
    chain_lengths: of a complex.
    chain_names: of a complex.
    dpi: dots per inch.
    on: makes the sheet to draw on.
  """
  tokens = np.asarray(tokens)
  num_seq, num_res = tokens.shape
  (rows, ends), depth = grouped_rows(tokens, chain_lengths), covered(tokens)
  sheet = on(576, 324, dpi)
  left = 28 + sheet.width(str(num_seq), 10)
  heading = _heading(title, f'alignment of {num_seq:,} sequence{"s" * (num_seq != 1)}')
  top = _head(sheet, heading, (left + 500) / 2) + chain_marks.height(chain_names)
  panel = Panel(sheet, (left, top, 500, 266), (0.5, num_res + 0.5), (1.04 * num_seq, 0))
  fields = np.where(np.isnan(rows)[..., None], np.uint8(255), coloured(np.nan_to_num(rows), 'viridis', 100))
  sheet.paint((left, panel.places(0, num_seq)[1], 500, 266), fields)
  line = panel.places(np.repeat(np.arange(num_res + 1) + 0.5, 2)[1:-1], np.repeat(depth, 2))
  sheet.steps(line, 3, 'white')
  sheet.steps(line, 1.2, 'black')
  chain_marks.divide(panel, chain_lengths)
  for end in ends if len(ends) <= MAX_GROUPS else ():
    _, y = panel.places(0, num_seq - end)
    sheet.rule(left, y, 500, y)
  chain_marks.write_above(panel, chain_lengths, chain_names)
  panel.border()
  panel.label_x('Position', ticks(1, num_res, 10))
  panel.label_y('Sequences', ticks(0, num_seq, 9))
  colour_bar(sheet, (512, top, 523, 266), 'viridis', 'Identity to the query (%)', range(0, 101, 20))
  _legend(sheet, [('sequences covering the position', 'black', 1.2)], (left + 500) / 2, 306, 10)
  return sheet.image


def plddt(
  predictions: Sequence[PredictionRecord],
  labels: Sequence[str],
  title: str = '',
  dpi: int = 150,
  on: NewSheet = Sheet,
) -> Image.Image:
  """pLDDT along the sequence, one line per model, on AlphaFold DB's bands of confidence."""
  hidden = len(predictions) - LEGEND_ROWS
  shown = [f'{label}, mean {one.mean_plddt:.1f}' for one, label in zip(predictions[:LEGEND_ROWS], labels)]
  num_res = max(len(prediction.plddt) for prediction in predictions)
  legend_rows = -(-len(shown) // 2) + (hidden > 0)
  sheet = on(684, 312 + 12 * legend_rows, dpi)
  names, lengths = several_chains(predictions[0]), chain_lengths(predictions[0])
  top = _head(sheet, _heading(title, 'predicted lDDT per residue'), 341) + chain_marks.height(names)
  panel = Panel(sheet, (44, top, 638, 266), (0.5, num_res + 0.5), (100, 0))
  paint_bands(panel)
  for low, high, _, name in PLDDT_BANDS:
    sheet.write(642, panel.places(0, (low + high) / 2)[1] - 5, f'{name}\n{low}–{high}', 8, 'lm', '#404040')
  chain_marks.divide(panel, lengths)
  chain_marks.write_above(panel, lengths, names)
  colours = [_hex(colour_map('plasma')[int(i)]) for i in np.linspace(0, 204, max(len(predictions), 2))]
  lines = [(text, colour, 1.1) for text, colour in zip(shown, colours)]
  lines[0] = (*lines[0][:2], 1.6)
  for i, prediction in reversed(list(enumerate(predictions))):  # the best is drawn last, on top
    values = np.asarray(prediction.plddt)
    points = panel.places(np.arange(1, len(values) + 1), values)
    for of_chain in np.split(points, np.cumsum(chain_lengths(prediction))[:-1]):
      sheet.line(of_chain, 1.1 if i else 1.6, colours[i])
  panel.border()
  panel.label_x('Position', ticks(1, num_res, 10))
  panel.label_y('pLDDT (0–100)', range(0, 101, 20))
  if hidden > 0:
    sheet.write(341, 306, f'best {LEGEND_ROWS} of {len(predictions)} models', 9)
  _legend(sheet, lines, 341, 306 + 12 * (hidden > 0), 8)
  return sheet.image


def pae(
  predictions: Sequence[PredictionRecord],
  labels: Sequence[str],
  title: str = '',
  dpi: int = 150,
  on: NewSheet = Sheet,
) -> Image.Image:
  """Predicted aligned error, one panel per model, best first; models without it are left out."""
  shown = with_pae(predictions, labels)
  grid = _Grid(len(shown), _heading(title, 'predicted aligned error'), 36, on, dpi)
  for i, ((prediction, label), box) in enumerate(zip(shown, grid.boxes)):
    panel = _pae_panel(grid.sheet, box, prediction, label)
    numbers = ticks(1, len(prediction.aatype), 5)
    panel.label_x('Scored residue', numbers, 7)
    chains = chain_marks.named_ticks(panel, chain_lengths(prediction), several_chains(prediction), 7, down=True)
    panel.label_y('' if i % PANELS_PER_ROW else 'Aligned residue', chains or numbers, 7)
  colour_bar(grid.sheet, grid.scale(), 'Greens_r', 'Expected position error (Å)', range(0, MAX_PAE + 1, 5), 7)
  return grid.sheet.image


def interfaces(
  predictions: Sequence[PredictionRecord],
  labels: Sequence[str],
  title: str = '',
  dpi: int = 150,
  on: NewSheet = Sheet,
) -> Image.Image:
  """Scores of chains and of their pairs, one panel per model: ipTM above, pTM on the diagonal, actifpTM below."""
  shown = with_interfaces(predictions, labels)
  grid = _Grid(len(shown), _heading(title, 'scores of chains and interfaces'), 3 * _BAR, on, dpi)
  for (prediction, label), box in zip(shown, grid.boxes):
    _interface_panel(grid.sheet, box, prediction, label)
  for i, (label, colours) in enumerate(_SCALES.items()):
    colour_bar(grid.sheet, grid.scale(i), colours, label, {0: '0', 0.5: '0.5', 1: '1'}, 7)
  return grid.sheet.image


class _Grid:
  """Square panels, one for each model, in rows below a heading, and scales on their right; all in points."""

  def __init__(self, count: int, heading: str, room: float, on: NewSheet, dpi: int):
    """Makes the sheet for so many panels, with room for the scales."""
    columns, rows, side = min(count, PANELS_PER_ROW), num_rows(count), 228 if count == 1 else 134
    across, down, head = side + 34, side + 60, 20 + 14 * heading.count('\n')
    self.sheet = on(52 + columns * across + room, head + rows * down, dpi)
    _head(self.sheet, heading, 44 + (columns * across - 34) / 2)
    corners = [(44 + i % columns * across, head + 26 + i // columns * down) for i in range(count)]
    self.boxes = [(left, top, left + side, top + side) for left, top in corners]
    middle, half = head + 26 + (rows * down - 60) / 2, 0.38 * min(rows * side, 2 * side)
    self._scale = 44 + columns * across - 22, middle - half, middle + half

  def scale(self, place: int = 0) -> tuple[float, float, float, float]:
    """The box of a scale, by its place from the left."""
    left, top, bottom = self._scale
    left += place * _BAR
    return left, top, left + 9, bottom


def num_rows(panels: int) -> int:
  """Rows of so many panels."""
  return -(-panels // PANELS_PER_ROW)


def _interface_panel(
  sheet: Sheet, box: tuple[float, float, float, float], prediction: PredictionRecord, label: str
) -> None:
  """One model's matrix, its first chain on top."""
  scores = score_matrix(prediction.arrays['chain_tm'], prediction.asym_id)
  above, diagonal, below = (coloured(scores, name, 1) for name in _SCALES.values())
  chain = np.arange(len(scores))
  below_by = (chain[:, None] - chain)[..., None]
  sheet.paint(box, np.where(below_by < 0, above, np.where(below_by > 0, below, diagonal)))
  edges = 0.5, len(scores) + 0.5
  panel = Panel(sheet, box, edges, edges)
  panel.border()
  _label_panel(panel, label)
  names, ones = several_chains(prediction), [1] * len(scores)
  panel.label_y('', chain_marks.named_ticks(panel, ones, names, 7, down=True), 7)
  panel.label_x('', chain_marks.named_ticks(panel, ones, names, 7), 7)
  if (box[2] - box[0]) / len(scores) >= 20:
    for i, j in np.ndindex(*scores.shape):
      x, y = panel.places(j + 1, i + 1)
      sheet.write(x, y, f'{scores[i, j]:.2f}', 7, colour='white' if scores[i, j] > 0.55 else 'black')


def with_pae(predictions: Sequence[PredictionRecord], labels: Sequence[str]) -> list[tuple[PredictionRecord, str]]:
  """The predictions that have a PAE, with their labels; InputError: none has."""
  return _with_array(predictions, labels, 'pae', _NO_PAE)


def with_interfaces(
  predictions: Sequence[PredictionRecord], labels: Sequence[str]
) -> list[tuple[PredictionRecord, str]]:
  """The predictions that have scores of interfaces, with their labels; InputError: none has."""
  return _with_array(predictions, labels, 'chain_tm', _ONE_CHAIN)


def _with_array(
  predictions: Sequence[PredictionRecord], labels: Sequence[str], name: str, why: str
) -> list[tuple[PredictionRecord, str]]:
  if shown := [(one, label) for one, label in zip(predictions, labels) if name in one.arrays]:
    return shown
  raise errors.InputError(why)


def _pae_panel(sheet: Sheet, box: tuple[float, float, float, float], prediction: PredictionRecord, label: str) -> Panel:
  """One model's matrix: row 0 on top, the row is the residue that is aligned."""
  values = np.asarray(prediction.arrays['pae'], np.float32)  # of one prediction at a time
  edges = 0.5, len(values) + 0.5
  panel = Panel(sheet, box, edges, edges)
  sheet.paint(box, coloured(shrunk(values), 'Greens_r', MAX_PAE))
  chain_marks.divide(panel, chain_lengths(prediction), across=True)
  panel.border()
  _label_panel(panel, label)
  return panel


def _label_panel(panel: Panel, label: str) -> None:
  """Writes the name of a model above its panel."""
  left, top, right, _ = panel.box
  lines = label.replace('_alphafold2', '\nalphafold2').split('\n')
  for i, line in enumerate(reversed(lines)):
    panel.sheet.write((left + right) / 2, top - 6 - 9 * i, panel.sheet.fitted(line, 7, right - left + 30), 7)


def png(draw: Callable[..., Image.Image], max_bytes: int = MAX_BYTES) -> bytes:
  """A picture as a PNG of 256 colours, at the highest resolution that keeps it small.

  Args:
    draw: draws it, given `dpi`.
    max_bytes: that it may take.
  """
  for dpi in RESOLUTIONS:
    small = io.BytesIO()
    indexed(draw(dpi=dpi)).save(small, format='png', compress_level=6, dpi=(dpi, dpi))
    if small.tell() <= max_bytes:
      break
  return small.getvalue()


def drawn(figure: 'Figure') -> Callable[..., Image.Image]:
  """What draws a figure of matplotlib, for `png`."""

  def draw(dpi: int) -> Image.Image:
    rendered = io.BytesIO()
    figure.savefig(rendered, format='png', dpi=dpi, facecolor='white')
    return Image.open(rendered).convert('RGB')

  return draw


def _heading(job: str, what: str) -> str:
  return f'{job}: {what}' if job else what[0].upper() + what[1:]


def _head(sheet: Sheet, heading: str, middle: float) -> float:
  """Writes the heading; returns where what is below it begins."""
  lines = [sheet.fitted(line, 11, 2 * middle) for line in heading.split('\n')]
  for i, line in enumerate(lines):
    sheet.write(middle, 10 + 14 * i, line, 11)
  return 6 + 14 * len(lines)


def _legend(sheet: Sheet, lines: Sequence[tuple[str, str, float]], middle: float, y: float, size: float) -> None:
  """Names lines (name, colour, width) below a panel, in two columns where there are several."""
  rows = -(-len(lines) // 2) if len(lines) > 1 else 1
  columns = [lines[start : start + rows] for start in range(0, len(lines), rows)]
  widths = [max(sheet.width(text, size) for text, _, _ in column) + 40 for column in columns]
  x = middle - sum(widths) / 2
  for column, width in zip(columns, widths):
    for i, (text, colour, thickness) in enumerate(column):
      sheet.rule(x, y + 12 * i, x + 18, y + 12 * i, thickness, colour)
      sheet.write(x + 24, y + 12 * i, text, size, 'lm')
    x += width


def paint_bands(panel: Panel) -> None:
  """The bands of confidence, pale, behind a panel of pLDDT."""
  left, _, right, _ = panel.box
  for low, high, colour, _ in PLDDT_BANDS:
    (_, upper), (_, lower) = panel.places(0, high), panel.places(0, low)
    panel.sheet.fill((left, upper, right, lower), _paled(colour))


def _paled(colour: str) -> str:
  return _hex([round(255 - _PALE * (255 - channel)) for channel in bytes.fromhex(colour[1:])])


def _hex(colour: Sequence[int] | np.ndarray) -> str:
  return '#' + ''.join(f'{channel:02x}' for channel in colour)


def shrunk(matrix: np.ndarray) -> np.ndarray:
  """Averages blocks until a side has at most MAX_PIXELS; a ragged last block averages what it has."""
  block = -(-len(matrix) // MAX_PIXELS)
  if block == 1:
    return matrix
  starts = np.arange(0, len(matrix), block)
  counts = np.diff(starts, append=len(matrix))
  sums = np.add.reduceat(np.add.reduceat(matrix, starts, axis=0), starts, axis=1)
  return sums / (counts[:, None] * counts[None, :])
