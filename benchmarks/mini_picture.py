# SPDX-License-Identifier: Apache-2.0
"""The picture of the small model's card: a prediction as a cartoon, with the experiment beside it."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

import alphafold_jax as afj
from alphafold_jax.constants import residues
from alphafold_jax.data import alignment, structures
from alphafold_jax.geometry import scores, superposition
from alphafold_jax.output import cartoon
from alphafold_jax.output.drawing import Sheet
from alphafold_jax.prediction import Model, Prediction

_CA = residues.ATOM_INDEX['CA']
_DPI = 144
_WIDTH, _HEIGHT = 660, 620  # pixels of a cartoon, at most
_HEAD, _FOOT = 34, 34  # points above and below
_BAR = 90  # points


def picture(model: Model, query: Path, experiment: Path, chain: str, title: str, path: Path) -> str:
  """Draws a prediction beside the experimental structure; returns its scores in words.

  Args:
    model: predicts.
    query: the alignment.
    experiment: the structure file.
    chain: its chain.
    title: of the experiment.
    path: of the picture.
  """
  prediction = afj.predict(model, afj.read_queries(query)[0], seed=0)
  true = structures.read_chain(experiment, chain)
  said = compare(prediction, true, title, path)
  return f'{said}, mean pLDDT {prediction.mean_plddt:.0f}'


def compare(prediction: Prediction, true: structures.Chain, title: str, path: Path) -> str:
  """Draws a prediction beside a chain, superposed and of one scale; returns the scores in words."""
  pairs = alignment.align(prediction.sequence, true.sequence)
  mine, theirs = np.array([pair for pair in pairs.items() if true.atom_mask[pair[1], _CA]]).T
  predicted_ca, true_ca = prediction.atom_positions[mine, _CA], true.atom_positions[theirs, _CA]
  rotation, shift = superposition.kabsch(predicted_ca, true_ca)
  everywhere = np.ones(len(mine))
  lddt = scores.lddt_ca(predicted_ca, true_ca, everywhere).mean()
  said = f'lDDT-Cα {lddt:.2f}, TM-score {scores.tm_score(predicted_ca, true_ca, everywhere):.2f}'
  placed = prediction.atom_positions @ rotation.T + shift

  colours = cartoon.spectrum(len(prediction.sequence))
  same_place = np.interp(np.arange(len(true.sequence)), theirs, mine).round().astype(int)
  known = true.atom_mask[:, _CA] > 0
  view = cartoon.principal_view(true.atom_positions[known, _CA], placed[:, _CA])
  scale = min(_WIDTH / view.half_width, _HEIGHT / view.half_height) / 2
  images = [
    cartoon.draw(true.atom_positions, true.atom_mask, colours[same_place], view, scale),
    cartoon.draw(placed, prediction.atom_mask, colours, view, scale),
  ]
  beside(images, [title, f'{prediction.model_name}: {said}'], path)
  return said


def beside(images: list[Image.Image], titles: list[str], path: Path) -> None:
  """Writes pictures of one size side by side under their titles, over the key of the spectrum."""
  points = 72 / _DPI
  width, height = images[0].width * points, images[0].height * points
  sheet = Sheet(width * len(images), _HEAD + height + _FOOT, _DPI)
  for i, (image, title) in enumerate(zip(images, titles, strict=True)):
    sheet.image.paste(image, (i * image.width, sheet.pixels(_HEAD)))
    sheet.write((i + 0.5) * width, 0.55 * _HEAD, title, 12)
  middle, y = width * len(images) / 2, _HEAD + height + 0.45 * _FOOT
  sheet.paint((middle - _BAR, y - 4, middle + _BAR, y + 4), cartoon.spectrum(2 * _BAR).astype(np.uint8)[None])
  sheet.write(middle - _BAR - 5, y, 'first residue', 10, 'rm')
  sheet.write(middle + _BAR + 5, y, 'last residue', 10, 'lm')
  content = io.BytesIO()
  sheet.image.save(content, format='png', optimize=True, dpi=(_DPI, _DPI))
  path.write_bytes(content.getvalue())
