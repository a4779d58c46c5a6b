# SPDX-License-Identifier: Apache-2.0
"""The picture of a trimmed prediction: its PAE with the domains as blocks, and pLDDT with what is kept."""

import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from alphafold_jax.output.drawing import Panel, Sheet, colour_bar, coloured, ticks
from alphafold_jax.output.plots import MAX_PAE, paint_bands, shrunk
from alphafold_jax.trimming.trimmed import TrimmedDomain, TrimmedModel, stretches

_COLOURS = ('#D55E00', '#0072B2', '#CC79A7', '#E69F00', '#56B4E9', '#000000')  # of domains; apart for all eyes
_LEFT, _SIDE, _TOP = 52, 300, 30  # points
_RIGHT, _PLDDT_HEIGHT, _BAR = 150, 110, 6
_LABEL = 15  # of each line such as 'MINI MODEL: ...' above the title
_MOST_NAMED = 20  # domains in the legend


def draw(trimmed: TrimmedModel, dpi: int = 150) -> Image.Image:
  """The picture at a resolution in dots per inch; without PAE the lower panel alone."""
  labels = trimmed.model.labels
  head = _TOP + _LABEL * len(labels)  # where the panels begin
  top = head + (0 if trimmed.pae is None else _SIDE + 24)
  sheet = Sheet(_LEFT + _SIDE + _RIGHT, top + _PLDDT_HEIGHT + 50, dpi)
  title = f'{trimmed.name}: {trimmed.num_kept} of {len(trimmed.residues)} residues kept'
  for i, line in enumerate((*labels, title)):
    sheet.write((_LEFT + _SIDE + _RIGHT) / 2, 11 + _LABEL * i, sheet.fitted(line, 11, _LEFT + _SIDE + _RIGHT - 20), 11)
  edges = 0.5, len(trimmed.residues) + 0.5
  borders = np.cumsum([len(chain.sequence) for chain in trimmed.model.chains])[:-1] + 0.5
  if trimmed.pae is not None:
    panel = Panel(sheet, (_LEFT, head, _LEFT + _SIDE, head + _SIDE), edges, edges)
    sheet.paint(panel.box, coloured(shrunk(trimmed.pae), 'Greens_r', MAX_PAE))
    panel.divide(borders.tolist(), across=True)
    panel.border()
    _name_chains(panel, trimmed, borders.tolist())
    for domain in trimmed.domains:
      _block(panel, trimmed, domain)
    panel.label_y('Aligned residue', ticks(1, len(trimmed.residues), 8), 8)
    bar = _LEFT + _SIDE + 12, head, _LEFT + _SIDE + 21, head + 120
    colour_bar(sheet, bar, 'Greens_r', 'Expected position error (Å)', range(0, MAX_PAE + 1, 10), 8)
  panel = Panel(sheet, (_LEFT, top, _LEFT + _SIDE, top + _PLDDT_HEIGHT), edges, (100, 0))
  _plddt(panel, trimmed, borders.tolist())
  _legend(sheet, trimmed, top if trimmed.pae is None else head + 150)
  return sheet.image


def _name_chains(panel: Panel, trimmed: TrimmedModel, borders: Sequence[float]) -> None:
  """Writes the names of several chains above a panel, those for which there is room."""
  edges = (panel.x_range[0], *borders, panel.x_range[1])
  for chain, start, end in zip(trimmed.model.chains, edges, edges[1:]):
    (left, top), (right, _) = panel.places(start, 0.5), panel.places(end, 0.5)
    if len(trimmed.model.chains) > 1 and panel.sheet.width(chain.id, 8) < right - left:
      panel.sheet.write((left + right) / 2, top - 6, chain.id, 8)


def _block(panel: Panel, trimmed: TrimmedModel, domain: TrimmedDomain) -> None:
  """Frames where the stretches of a domain meet, each other and themselves."""
  runs, colour = _runs(trimmed, domain), _colour(domain)
  for first, second in itertools.product(runs, runs):
    left, top = panel.places(first[0] + 0.5, second[0] + 0.5)
    right, bottom = panel.places(first[-1] + 1.5, second[-1] + 1.5)
    for y in (top, bottom):
      panel.sheet.rule(left, y, right, y, 1.6, colour)
    for x in (left, right):
      panel.sheet.rule(x, top, x, bottom, 1.6, colour)


def _plddt(panel: Panel, trimmed: TrimmedModel, borders: Sequence[float]) -> None:
  """pLDDT on its bands, the threshold, and below it what is kept, in the colours of the domains."""
  left, _, right, bottom = panel.box
  paint_bands(panel)
  panel.divide(borders)
  _, threshold = panel.places(0, trimmed.settings.min_plddt)
  panel.sheet.rule(left, threshold, right, threshold, 0.7, '#606060')
  values, chain_of = trimmed.model.plddt, np.array(trimmed.model.chain_of)
  same = np.append(False, chain_of[1:] == chain_of[:-1])
  for run in stretches(np.isfinite(values), same):
    panel.sheet.line(panel.places(run + 1, values[run]), 1.1, 'black')
  for domain in trimmed.domains:
    for run in _runs(trimmed, domain):
      (start, _), (end, _) = panel.places(run[0] + 0.5, 0), panel.places(run[-1] + 1.5, 0)
      panel.sheet.fill((start, bottom - _BAR, max(end, start + 0.5), bottom), _colour(domain))
  panel.border()
  panel.label_x('Residue (in the order of the file)', ticks(1, len(values), 8), 8)
  panel.label_y('pLDDT', (0, 50, 70, 90), 8)


def _legend(sheet: Sheet, trimmed: TrimmedModel, y: float) -> None:
  """Names the domains."""
  x = _LEFT + _SIDE + 12
  for i, domain in enumerate(trimmed.domains[:_MOST_NAMED]):
    top = y + 22 * i
    sheet.fill((x, top - 4, x + 10, top + 4), _colour(domain))
    sheet.write(x + 15, top, f'domain {domain.number}: {len(domain.residues)} residues', 8, 'lm')
    sheet.write(x + 15, top + 10, f'pLDDT {domain.mean_plddt:.1f}, Vrms {domain.vrms:.2f} Å', 7, 'lm', '#505050')


def _runs(trimmed: TrimmedModel, domain: TrimmedDomain) -> list[np.ndarray]:
  """The residues of a domain in runs of neighbours in the file."""
  chosen = np.zeros(len(trimmed.residues), bool)
  chosen[domain.residues] = True
  return stretches(chosen, np.ones(len(chosen), bool))


def _colour(domain: TrimmedDomain) -> str:
  return _COLOURS[(domain.number - 1) % len(_COLOURS)]
