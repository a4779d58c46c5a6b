# SPDX-License-Identifier: Apache-2.0
"""The three pictures of a job: depth of the alignment, pLDDT along the sequence, and PAE of each model.

Each function returns a matplotlib Figure (no pyplot, no global state), so a notebook can show it; `png` makes the file.
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from PIL import Image

from alphafold_jax import errors
from alphafold_jax.constants import residues
from alphafold_jax.output.record import PredictionRecord

PLDDT_BANDS = (  # from, to, colour, name: AlphaFold DB's
  (90, 100, '#0053D6', 'very high'),
  (70, 90, '#65CBF3', 'confident'),
  (50, 70, '#FFDB13', 'low'),
  (0, 50, '#FF7D45', 'very low'),
)
MAX_PAE = 30  # Å, end of the colour scale
MAX_PIXELS = 1000  # of an image's side; larger arrays are thinned or averaged
MAX_BYTES = 150_000  # of a PNG
PANELS_PER_ROW = 5
LEGEND_ROWS = 12


def coverage(tokens: np.ndarray, title: str = '', chain_lengths: Sequence[int] = ()) -> Figure:
  """The alignment's rows, most similar to the query on top, coloured by identity, with the number covering each column.

  Args:
    tokens: [N_seq, N_res], row 0 the query.
    title: of the picture.
    chain_lengths: of a complex, to draw borders.
  """
  tokens = np.asarray(tokens)
  num_seq, num_res = tokens.shape
  present = tokens != residues.GAP  # [N_seq, N_res]
  identity = np.mean(present & (tokens == tokens[0]), axis=1)  # [N_seq]
  order = np.argsort(identity, kind='stable')
  order = order[np.linspace(0, num_seq - 1, min(num_seq, MAX_PIXELS)).round().astype(int)]
  image = np.ma.masked_array(np.broadcast_to(100 * identity[order, None], (len(order), num_res)), ~present[order])

  figure, axes = _figure(_heading(title, f'alignment of {num_seq:,} sequence{"s" * (num_seq != 1)}'), (8, 4.5))
  scale: dict[str, Any] = dict(cmap='viridis', vmin=0, vmax=100, interpolation='nearest')
  drawn = axes.imshow(image, **scale, aspect='auto', origin='lower', extent=(0.5, num_res + 0.5, 0, num_seq))
  depth = present.sum(axis=0)  # [N_res]
  (line,) = axes.step(np.arange(0.5, num_res + 1), np.append(depth, depth[-1]), where='post', color='black')
  line.set(linewidth=1.2, label='sequences covering the position')
  line.set_path_effects([withStroke(linewidth=3, foreground='white')])
  axes.set(xlabel='Position', ylabel='Sequences', ylim=(0, 1.04 * num_seq))
  axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
  axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
  _chain_borders(axes, chain_lengths)
  figure.colorbar(drawn, ax=axes, label='Identity to the query (%)', pad=0.02)
  figure.legend(loc='outside lower center', frameon=False)
  return figure


def plddt(predictions: Sequence[PredictionRecord], labels: Sequence[str], title: str = '') -> Figure:
  """pLDDT along the sequence, one line per model, on AlphaFold DB's bands of confidence."""
  figure, axes = _figure(_heading(title, 'predicted lDDT per residue'), (9.5, 4.5))
  for low, high, colour, name in PLDDT_BANDS:
    axes.axhspan(low, high, color=colour, alpha=0.22, linewidth=0)
    style: dict[str, Any] = dict(transform=axes.get_yaxis_transform(), va='center', fontsize=8, color='0.25')
    axes.text(1.005, (low + high) / 2, f'{name}\n{low}–{high}', **style)
  colours = matplotlib.colormaps['plasma'](np.linspace(0, 0.8, max(len(predictions), 2)))
  for i, (prediction, label) in reversed(list(enumerate(zip(predictions, labels)))):  # the best is drawn last, on top
    values = prediction.plddt
    num_res = len(values)
    shown = _escape(f'{label}, mean {prediction.mean_plddt:.1f}') if i < LEGEND_ROWS else None
    line: dict[str, Any] = dict(color=colours[i], linewidth=1.6 if i == 0 else 1.1, marker='o' if num_res < 3 else None)
    axes.plot(np.arange(1, num_res + 1), values, **line, label=shown)
  axes.set(xlabel='Position', ylabel='pLDDT (0–100)', xlim=(0.5, num_res + 0.5), ylim=(0, 100))
  axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
  _chain_borders(axes, chain_lengths(predictions[0]))
  handles, names = axes.get_legend_handles_labels()
  hidden = len(predictions) - LEGEND_ROWS
  heading = f'best {LEGEND_ROWS} of {len(predictions)} models' if hidden > 0 else None
  place: dict[str, Any] = dict(loc='outside lower center', ncols=2 if len(names) > 1 else 1, frameon=False)
  figure.legend(handles[::-1], names[::-1], **place, fontsize=8, title=heading)
  return figure


def pae(predictions: Sequence[PredictionRecord], labels: Sequence[str], title: str = '') -> Figure:
  """Predicted aligned error, one panel per model, best first; models without it are left out."""
  shown = [(p, label) for p, label in zip(predictions, labels) if 'pae' in p.arrays]
  if not shown:
    raise errors.InputError('none of the models predicts an aligned error (PAE); use a _ptm model, such as model_1_ptm')
  columns = min(len(shown), PANELS_PER_ROW)
  rows = -(-len(shown) // columns)
  side = 3.6 if len(shown) == 1 else 2.6
  figure = Figure(figsize=(side * columns + 1.2, (side + 0.35) * rows + 0.4), layout='compressed')
  figure.suptitle(_heading(title, 'predicted aligned error'), fontsize=11)
  grid = figure.subplots(rows, columns, squeeze=False)
  for axes in grid.flat[len(shown) :]:
    axes.remove()
  for i, (axes, (prediction, label)) in enumerate(zip(grid.flat, shown)):
    values = np.asarray(prediction.arrays['pae'], np.float32)  # of one prediction at a time
    num_res = len(values)
    scale: dict[str, Any] = dict(cmap='Greens_r', vmin=0, vmax=MAX_PAE, interpolation='nearest')
    drawn = axes.imshow(_shrink(values), **scale, extent=(0.5, num_res + 0.5, num_res + 0.5, 0.5))
    axes.set_title(_escape(label.replace('_alphafold2', '\nalphafold2')), fontsize=7)
    axes.tick_params(labelsize=7)
    for axis in (axes.xaxis, axes.yaxis):
      axis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes.set_xlabel('Scored residue', fontsize=8)
    axes.set_ylabel('Aligned residue' if i % columns == 0 else '', fontsize=8)
    _chain_borders(axes, chain_lengths(prediction), both=True)
  bar = figure.colorbar(drawn, ax=list(grid.flat[: len(shown)]), shrink=0.75, aspect=16, pad=0.015)
  bar.set_label('Expected position error (Å)', fontsize=8)
  bar.ax.tick_params(labelsize=7)
  return figure


def png(figure: Figure, max_bytes: int = MAX_BYTES) -> bytes:
  """The figure as a PNG of 256 colours, at the highest resolution that keeps it small."""
  for dpi in (150, 120, 100, 80, 60, 45):
    rendered, small = io.BytesIO(), io.BytesIO()
    figure.savefig(rendered, format='png', dpi=dpi, facecolor='white')
    image = (
      Image.open(rendered).convert('RGB').quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    image.save(small, format='png', optimize=True, dpi=(dpi, dpi))
    if small.tell() <= max_bytes:
      break
  return small.getvalue()


def _figure(title: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
  figure = Figure(figsize=size, layout='constrained')
  axes = figure.subplots()
  axes.set_title(title, fontsize=11)
  return figure, axes


def _heading(job: str, what: str) -> str:
  return _escape(f'{job}: {what}' if job else what[0].upper() + what[1:])


def _escape(text: str) -> str:
  return text.replace('$', r'\$')  # no mathematics in names


def chain_lengths(prediction: PredictionRecord) -> list[int]:
  """The number of residues of each chain, in their order."""
  asym_id = np.asarray(prediction.asym_id)
  starts = np.flatnonzero(np.diff(asym_id, prepend=asym_id[0] - 1))
  return np.diff(starts, append=len(asym_id)).tolist()


def _chain_borders(axes: Axes, lengths: Sequence[int], both: bool = False) -> None:
  for border in np.cumsum(lengths)[:-1]:
    axes.axvline(border + 0.5, color='black', linewidth=0.9)
    if both:
      axes.axhline(border + 0.5, color='black', linewidth=0.9)


def _shrink(matrix: np.ndarray) -> np.ndarray:
  """Averages blocks until a side has at most MAX_PIXELS; a ragged last block averages what it has."""
  block = -(-len(matrix) // MAX_PIXELS)
  if block == 1:
    return matrix
  starts = np.arange(0, len(matrix), block)
  counts = np.diff(starts, append=len(matrix))
  sums = np.add.reduceat(np.add.reduceat(matrix, starts, axis=0), starts, axis=1)
  return sums / (counts[:, None] * counts[None, :])
