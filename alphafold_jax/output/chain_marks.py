# SPDX-License-Identifier: Apache-2.0
"""Where the chains of a complex stand in a picture: lines between them, and their names where there is room."""

from collections.abc import Sequence

import numpy as np

from alphafold_jax.output.drawing import Panel
from alphafold_jax.output.record import PredictionRecord

_NARROW = 12.0  # points from one chain to the next, below which the lines between them give way to what they divide
_TOO_NARROW = 4.0  # where they would hide it
_THIN, _PALE = 0.4, '#808080'
_MANY = 24  # names in a row, beyond which one in so many is written


def chain_lengths(prediction: PredictionRecord) -> list[int]:
  """The number of residues of each chain, in their order."""
  asym_id = np.asarray(prediction.asym_id)
  starts = np.flatnonzero(np.diff(asym_id, prepend=asym_id[0] - 1))
  return np.diff(starts, append=len(asym_id)).tolist()


def several_chains(prediction: PredictionRecord) -> tuple[str, ...]:
  """The names of the chains; none of a single one, which is named nowhere in a picture."""
  names = prediction.chains
  return names if len(names) > 1 else ()


def room_above(names: Sequence[str]) -> float:
  """What names of chains above a panel take, in points."""
  return 10 if names else 0


def name_above(panel: Panel, lengths: Sequence[int], names: Sequence[str], size: float = 8) -> None:
  """Writes the names of chains above a panel: those for which there is room, of very many one in so many."""
  if not names:
    return
  ends = panel.places(np.cumsum([0, *lengths]) + 0.5, 0)[:, 0]
  middles, widths = (ends[1:] + ends[:-1]) / 2, np.array([panel.sheet.width(name, size) for name in names])
  shown = np.flatnonzero(widths < np.diff(ends)) if len(names) <= _MANY else _spread(middles, widths + size / 2)
  for i in shown:
    panel.sheet.write(middles[i], panel.box[1] - 6, names[int(i)], size)


def _spread(middles: np.ndarray, widths: np.ndarray) -> np.ndarray:
  """Every so many names, as many as do not touch."""
  every = (np.arange(0, len(middles), step) for step in range(1, len(middles) + 1))
  return next(i for i in every if (np.diff(middles[i]) > (widths[i][1:] + widths[i][:-1]) / 2).all())


def ticks_beside(panel: Panel, lengths: Sequence[int], names: Sequence[str], size: float) -> dict[float, str]:
  """The names of chains at the left of their middles, those for which there is room; none of a single chain."""
  ends = np.cumsum([0, *lengths]) + 0.5
  heights = np.diff(panel.places(0, ends)[:, 1])
  rows = zip(names, (ends[1:] + ends[:-1]) / 2, heights)
  return {float(middle): panel.sheet.fitted(name, size, 26) for name, middle, height in rows if height > size}


def divide(panel: Panel, lengths: Sequence[int], across: bool = False) -> None:
  """Draws lines between chains from top to bottom, and from left to right: thin and pale where chains are many."""
  borders = [float(border) + 0.5 for border in np.cumsum(lengths)[:-1]]
  step = (panel.box[2] - panel.box[0]) / (len(borders) + 1)
  if step >= _NARROW:
    panel.divide(borders, across)
  elif step >= _TOO_NARROW:
    panel.divide(borders, across, _THIN, _PALE)
