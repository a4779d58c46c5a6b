# SPDX-License-Identifier: Apache-2.0
"""Where chains stand along the axes of a picture: lines between them and their names, as far as there is room.

An axis counts residues from 1, of all chains one behind the other. A single chain has no name and no lines.
"""

import math
from collections.abc import Sequence

import numpy as np

from alphafold_jax.output.drawing import Panel
from alphafold_jax.output.record import PredictionRecord

NAME = 26  # points that a name may take, and more where its chain does
LEAST_ROOM = 2  # points that a chain takes on average; below, lines would hide what they divide
_WIDTH = 0.9  # points, of a line


def chain_lengths(prediction: PredictionRecord) -> list[int]:
  """The number of residues of each chain, in their order."""
  asym_id = np.asarray(prediction.asym_id)
  starts = np.flatnonzero(np.diff(asym_id, prepend=asym_id[0] - 1))
  return np.diff(starts, append=len(asym_id)).tolist()


def several_chains(prediction: PredictionRecord) -> tuple[str, ...]:
  """The names of the chains; none of a single one, which is named nowhere in a picture."""
  names = prediction.chains
  return names if len(names) > 1 else ()


def divide(panel: Panel, lengths: Sequence[int], across: bool = False) -> None:
  """Draws lines between chains, thinner where these are narrow, and none where they are narrower than `LEAST_ROOM`.

  Args:
    panel: to draw on.
    lengths: residues of each chain.
    across: whether to draw lines from left to right as well.
  """
  left, top, right, bottom = panel.box
  room = min(right - left, bottom - top if across else math.inf) / max(1, len(lengths))
  if room >= LEAST_ROOM:
    panel.divide([float(end) + 0.5 for end in np.cumsum(lengths)[:-1]], across, min(_WIDTH, room / 10))


def height(names: Sequence[str]) -> float:
  """What names above a panel take, in points."""
  return 10 if names else 0


def write_above(panel: Panel, lengths: Sequence[int], names: Sequence[str], size: float = 8) -> None:
  """Writes the names of chains above a panel."""
  for middle, name in named_ticks(panel, lengths, names, size).items():
    panel.sheet.write(panel.places(middle, 0)[0], panel.box[1] - 6, name, size)


def named_ticks(
  panel: Panel, lengths: Sequence[int], names: Sequence[str], size: float, down: bool = False
) -> dict[float, str]:
  """The names of chains by the middles of these: as many as there is room for, those of long chains first.

  Args:
    panel: with the axis.
    lengths: residues of each chain.
    names: of each chain; none of a single one.
    size: of the letters, points.
    down: whether the axis goes from top to bottom, not from left to right.
  """
  if not names:
    return {}
  ends, axis = np.cumsum([0, *lengths]) + 0.5, int(down)
  middles = (ends[1:] + ends[:-1]) / 2
  places, rooms = panel.places(middles, middles)[:, axis], np.diff(panel.places(ends, ends)[:, axis])
  texts = [panel.sheet.fitted(name, size, NAME if down else max(room, NAME)) for name, room in zip(names, rooms)]
  extents = np.array([size if down else panel.sheet.width(text, size) + size / 2 for text in texts])
  low, high = panel.box[axis] - size, panel.box[axis + 2] + size
  fits = (places - extents / 2 >= low) & (places + extents / 2 <= high)
  kept: list[int] = []
  for i in np.argsort(-np.array(lengths), kind='stable').tolist():
    if fits[i] and np.all(np.abs(places[kept] - places[i]) >= (extents[kept] + extents[i]) / 2):
      kept.append(i)
  return {float(middles[i]): texts[i] for i in sorted(kept)}
