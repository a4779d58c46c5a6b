# SPDX-License-Identifier: Apache-2.0
"""Where the chains of a complex stand in a picture: lines between them, and their names where there is room."""

from collections.abc import Sequence

import numpy as np

from alphafold_jax.output.drawing import Panel
from alphafold_jax.output.record import PredictionRecord

_NARROW = 8.0  # points from one chain to the next, below which the lines between them give way to what they divide
_TOO_NARROW = 2.5  # where they would hide it
_THIN, _PALE = 0.4, '#808080'


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
  """Writes the names of chains above a panel: those for which there is room, of very many every so many."""
  ends = panel.places(np.cumsum([0, *lengths]) + 0.5, 0)[:, 0]
  last = -np.inf  # where the name before ends
  for name, start, end in zip(names, ends, ends[1:]):
    middle, half = (start + end) / 2, panel.sheet.width(name, size) / 2
    is_many = len(names) > 2 * (panel.box[2] - panel.box[0]) / (6 * size)
    if 2 * half < end - start or (is_many and middle - half > last + size / 2):
      panel.sheet.write(middle, panel.box[1] - 6, name, size)
      last = middle + half


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
