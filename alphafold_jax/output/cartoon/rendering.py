# SPDX-License-Identifier: Apache-2.0
"""A surface as a picture: faces in the order of their depth, then light, shade and outlines for every pixel.

Each face leaves its number in a picture; what is known of the faces then gives every pixel its depth and direction, so
that few and flat faces look smooth. All of it is a few times finer than the result, which is averaged.
"""

import dataclasses

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from alphafold_jax.one_line import one_line
from alphafold_jax.output.cartoon.ribbon import Surface

_FINER = 3
_MARGIN = 3.0  # Å around the CA atoms
_TILT = np.radians((14.0, -10.0))  # of the principal axes, around the vertical and the horizontal: shows the depth
_KEY = np.array([-0.45, 0.55, 0.70])  # towards the light
_FILL = np.array([0.60, -0.25, 0.76])  # towards the weaker light
_AMBIENT, _KEY_LIGHT, _FILL_LIGHT, _GLOSS, _SHARPNESS = 0.42, 0.50, 0.20, 0.22, 24
_SHADOW, _SHADOW_WIDTH, _SHADOW_DEPTH = 0.50, 1.6, 3.0  # darkest; Å across; Å of depth at which it is darkest
_MIST = 0.38  # how white the farthest parts are
_OUTLINE = 1.3  # pixels
_JUMP = 0.9  # Å of depth, from which on there is an outline
_INK = 0.22  # brightness of an outline


@dataclasses.dataclass(frozen=True, eq=False)
class View:
  """Where a structure is looked at from, from afar; structures that share a view are drawn at one scale."""

  rotation: np.ndarray  # [3, 3], rows: to the right, up, and towards the viewer
  centre: np.ndarray  # [3] Å, in the middle of the picture
  half_width: float  # Å
  half_height: float  # Å

  __repr__ = one_line


def principal_view(*chains: np.ndarray) -> View:
  """Looks at the first chain's broadest side, its longest axis across, and holds all chains.

  Args:
    chains: CA atoms [N, 3] Å, at least one.
  """
  first = np.asarray(chains[0], np.float64)
  away = first - first.mean(axis=0)
  across, up = np.linalg.eigh(away.T @ away)[1].T[:0:-1]
  half = len(first) // 2
  if away[:half].sum(axis=0) @ across > 0:  # it begins at the left
    across = -across
  if away[0] @ up < 0:  # and above
    up = -up
  rotation = _tilt() @ np.stack([across, up, np.cross(across, up)])
  placed = np.concatenate([np.asarray(chain, np.float64) for chain in chains]) @ rotation.T
  low, high = placed.min(axis=0), placed.max(axis=0)
  half_width, half_height = ((high - low) / 2 + _MARGIN)[:2].tolist()
  return View(rotation, (low + high) / 2 @ rotation, half_width, half_height)


def _tilt() -> np.ndarray:
  (cos_y, cos_x), (sin_y, sin_x) = np.cos(_TILT), np.sin(_TILT)
  around_vertical = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
  return np.array([[1, 0, 0], [0, cos_x, -sin_x], [0, sin_x, cos_x]]) @ around_vertical


def render(surface: Surface, colours: np.ndarray, view: View, pixels_per_angstrom: float) -> Image.Image:
  """Draws a surface on white.

  Args:
    surface: from `ribbon`.
    colours: [N, 3], 0..255, of the residues.
    view: of the picture.
    pixels_per_angstrom: the scale.
  """
  fine = _FINER * pixels_per_angstrom
  size = [_FINER * max(1, round(2 * half * pixels_per_angstrom)) for half in (view.half_width, view.half_height)]
  corners = (surface.corners - view.centre) @ view.rotation.T  # [F, 4, 3]
  flat = (corners[..., :2] * [1, -1] + [view.half_width, view.half_height]) * fine  # pixels from the upper left
  canvas = np.full((size[1], size[0], 3), 255, np.uint8)
  order = _front_to_viewer(corners)
  faces = _visible(flat[order], size)  # [H, W], -1: none
  rows, columns = np.nonzero(faces >= 0)
  if len(rows):
    chosen = faces[rows, columns]
    normals = surface.normals[order] @ view.rotation.T
    at = np.stack([columns + 0.5, rows + 0.5], axis=1)
    values = _interpolated(flat[order], np.concatenate([corners[order, :, 2:], normals], axis=-1), chosen, at)
    depth = np.full(faces.shape, values[:, 0].min() - 4 * _JUMP, np.float32)
    depth[rows, columns] = values[:, 0]
    shade, outline = _shadows(depth, fine)[rows, columns], _outlines(depth, faces >= 0)[rows, columns]
    base = np.asarray(colours, np.float32)[surface.residues[order]][chosen]
    canvas[rows, columns] = _coloured(base, values, shade, outline)
  return Image.fromarray(canvas).reduce(_FINER)


def _front_to_viewer(corners: np.ndarray) -> np.ndarray:
  """The faces that are seen from outside, the farthest first."""
  one, other = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]  # diagonals
  seen = np.flatnonzero(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0] > 1e-9)
  return seen[np.argsort(corners[seen, :, 2].mean(axis=1), kind='stable')]


def _visible(flat: np.ndarray, size: list[int]) -> np.ndarray:
  """The number of the last face that covers each pixel [H, W], -1 where there is none."""
  numbers = Image.new('I', (size[0], size[1]))
  pen = ImageDraw.Draw(numbers)
  for number, polygon in enumerate(np.floor(flat).astype(int).reshape(-1, 8).tolist(), start=1):
    pen.polygon(polygon, fill=number)
  return np.asarray(numbers) - 1


def _interpolated(flat: np.ndarray, values: np.ndarray, chosen: np.ndarray, at: np.ndarray) -> np.ndarray:
  """Values at pixels within faces: linear, as near to those at the corners as can be, and between them.

  Args:
    flat: [F, 4, 2] corners, pixels.
    values: [F, 4, V] there.
    chosen: [P] the face of each pixel.
    at: [P, 2] its place.

  Returns:
    [P, V]
  """
  centre, mean = flat.mean(axis=1), values.mean(axis=1)
  away = flat - centre[:, None]
  square = np.swapaxes(away, 1, 2) @ away + 0.25 * np.eye(2)  # more than a quarter pixel is known of each direction
  slopes = np.linalg.solve(square, np.swapaxes(away, 1, 2) @ (values - mean[:, None]))  # [F, 2, V]
  of_faces = (centre, mean, slopes, values.min(axis=1), values.max(axis=1))
  centre, mean, slopes, low, high = (part.astype(np.float32)[chosen] for part in of_faces)
  return np.clip(mean + np.einsum('pi,piv->pv', at.astype(np.float32) - centre, slopes), low, high)


def _shadows(depth: np.ndarray, fine: float) -> np.ndarray:
  """How dark it is behind what stands before a pixel [H, W], 0..1: depth beside its own mean (Luft et al. 2006)."""
  width = 2 * round(_SHADOW_WIDTH * fine / 2) + 1
  around = ndimage.uniform_filter(ndimage.uniform_filter(depth, width), width)
  return np.clip((around - depth) / _SHADOW_DEPTH, 0, 1)


def _outlines(depth: np.ndarray, seen: np.ndarray) -> np.ndarray:
  """Which pixels [H, W] are near to what lies farther behind them, within an octagon."""
  radius = max(1, round(_OUTLINE * _FINER))
  cross = ndimage.generate_binary_structure(2, 1)
  farthest = ndimage.minimum_filter(depth, 2 * (radius - radius // 2) + 1)
  for _ in range(radius // 2):
    farthest = ndimage.minimum_filter(farthest, footprint=cross)
  return seen & (depth - farthest > _JUMP)


def _coloured(base: np.ndarray, values: np.ndarray, shade: np.ndarray, outline: np.ndarray) -> np.ndarray:
  """The colours of pixels [P, 3]: base colours [P, 3], depth and normal [P, 4], shade [P], which are outline [P]."""
  depth, normals = values[:, 0], values[:, 1:]
  normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
  key, fill = (np.clip(normals @ (light / np.linalg.norm(light)), 0, 1) for light in (_KEY, _FILL))
  halfway = _KEY / np.linalg.norm(_KEY) + [0, 0, 1]
  gloss = _GLOSS * np.clip(normals @ (halfway / np.linalg.norm(halfway)), 0, 1) ** _SHARPNESS
  brightness = (_AMBIENT + _KEY_LIGHT * key + _FILL_LIGHT * fill) * (1 - _SHADOW * shade)
  colour = base * np.where(outline, _INK, brightness)[:, None] + 255 * np.where(outline, 0, gloss)[:, None]
  mist = _MIST * (depth.max() - depth) / max(float(np.ptp(depth)), 1e-6)
  colour += (255 - colour) * mist[:, None]
  return np.clip(np.round(colour), 0, 255).astype(np.uint8)
