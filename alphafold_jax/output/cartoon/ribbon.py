# SPDX-License-Identifier: Apache-2.0
"""The surface of a cartoon: helices as flat coils, strands as arrows, loops as tubes (Richardson 1981).

A smooth line through the CA atoms carries rings, the outlines of cross-sections; four corners of neighbouring rings are
a face. Across the line a ribbon follows the binormals of the CA trace, which in helices point along their axis and in
strands lie in the sheet (Carson & Bugg 1986 take the peptide planes, which do the same). Lengths are in Å.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy.interpolate import CubicSpline

from alphafold_jax.constants import residues
from alphafold_jax.one_line import one_line
from alphafold_jax.output.cartoon import secondary_structure
from alphafold_jax.output.cartoon.secondary_structure import HELIX, LOOP, STRAND

_CA = residues.ATOM_INDEX['CA']
_PER_RESIDUE = 10  # rings; even, so that residues meet between two of them
_AROUND = 20  # corners of a ring
_PROFILES = {  # half width, half thickness (Å); exponent of the superellipse: 2 is round, the larger the more a box
  LOOP: (0.32, 0.32, 2.0),
  HELIX: (1.35, 0.26, 5.0),
  STRAND: (1.15, 0.26, 8.0),
}
_HEAD = 1.75  # widest of an arrow, in widths of its strand
_HEAD_LENGTH = 1.75  # residues
_SHORTEST_STRAND = 3  # residues; shorter ones are drawn as loops
_SMOOTHING = {LOOP: 1 / 8, HELIX: 0.0, STRAND: 1 / 4}  # share of both neighbours in a point, twice
_RAMP = 0.25  # residues on both sides of the border between two kinds
_STRAIGHT = 0.1  # Å2 between two steps along the chain, below which these have no binormal
_DOT = 0.4  # Å to both sides of a residue without neighbours


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
  """Faces of four corners, counter-clockwise as they are seen from outside."""

  corners: np.ndarray  # [F, 4, 3] Å
  normals: np.ndarray  # [F, 4, 3] at the corners, outwards
  residues: np.ndarray  # [F] the residue that a face belongs to

  __repr__ = one_line


def surface(positions: np.ndarray, mask: np.ndarray) -> Surface:
  """The cartoon of all residues that have a CA atom.

  Args:
    positions: [N, 37, 3] Å.
    mask: [N, 37].
  """
  kinds = secondary_structure.assign(positions, mask)
  ca = np.asarray(positions[:, _CA], np.float64)
  pieces = [_piece(ca[run], kinds[run], run) for run in runs(positions, mask)]
  nothing = Surface(np.zeros((0, 4, 3)), np.zeros((0, 4, 3)), np.zeros(0, int))
  return Surface(
    *(np.concatenate([getattr(one, field.name) for one in (nothing, *pieces)]) for field in dataclasses.fields(Surface))
  )


def runs(positions: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
  """The residues of each unbroken stretch, in order; those without a CA atom are in none."""
  known = np.flatnonzero(mask[:, _CA] > 0)
  ends = np.flatnonzero(~secondary_structure.joined(positions, mask)[known[:-1]])
  return [run for run in np.split(known, ends + 1) if len(run)]


def _piece(ca: np.ndarray, kinds: np.ndarray, run: np.ndarray) -> Surface:
  """The closed surface of one stretch: CA atoms [n, 3], kinds [n], residues [n]."""
  if len(run) == 1:
    ca, kinds, run = ca + [[-_DOT, 0, 0], [_DOT, 0, 0]], np.array([LOOP, LOOP]), np.repeat(run, 2)
  kinds = drawn(kinds)
  table = rings(kinds)
  place, width, thickness, exponent, facing, shift = table.T
  centres, tangents, across = _curve(ca, kinds, place)
  centres = centres + shift[:, None] * tangents
  above = np.cross(tangents, across)
  x, y, normal_x, normal_y = (part[..., None] for part in _cross_sections(width, thickness, exponent))
  across, above = across[:, None], above[:, None]  # [R, 1, 3]
  outwards = normal_x * across + normal_y * above  # [R, K, 3]
  normals = np.sqrt(1 - facing**2)[:, None, None] * outwards + (facing[:, None] * tangents)[:, None]
  middle = np.round((place[:-1] + place[1:]) / 2).astype(int)
  return Surface(
    corners=_faces(centres[:, None] + x * across + y * above),
    normals=_faces(normals),
    residues=np.repeat(run[middle], _AROUND),
  )


def drawn(kinds: np.ndarray) -> np.ndarray:
  """The kinds [n] with strands that are too short for an arrow as loops."""
  kinds = kinds.copy()
  for kind, first, last in _stretches(kinds):
    if kind == STRAND and last - first + 1 < _SHORTEST_STRAND:
      kinds[first : last + 1] = LOOP
  return kinds


def _stretches(kinds: np.ndarray) -> Iterator[tuple[str, int, int]]:
  """(kind, first, last) of residues of one kind in a row."""
  starts = np.flatnonzero(np.concatenate([[True], kinds[1:] != kinds[:-1]]))
  for first, end in zip(starts.tolist(), [*starts[1:].tolist(), len(kinds)]):
    yield str(kinds[first]), first, end - 1


# --- Along the chain ---


def rings(kinds: np.ndarray) -> np.ndarray:
  """The rings of a stretch [R, 6]: place, half width, half thickness, exponent, facing, shift.

  The place is in residues from the first. Where a surface faces along the chain (-1 back, 1 on) the normals do too;
  shift (Å) moves a ring along the chain.
  """
  last = len(kinds) - 1
  place = np.linspace(0, last, _PER_RESIDUE * last + 1)
  knots = (np.arange(len(kinds))[:, None] + [_RAMP - 0.5, 0.5 - _RAMP]).ravel()
  profiles = np.array([_PROFILES[str(kind)] for kind in kinds])  # [n, 3]
  columns = [np.interp(place, knots, np.repeat(column, 2)) for column in profiles.T]
  table = np.stack([place, *columns, np.zeros_like(place), np.zeros_like(place)], axis=1)
  for kind, first, end in _stretches(kinds):
    if kind == STRAND:
      table = _with_head(table, first, min(end + 0.5, last))
  return np.concatenate([_cap(table[0], -1), table, _cap(table[-1], 1)])


def _with_head(table: np.ndarray, first: float, tip: float) -> np.ndarray:
  """The rings with an arrow's head that ends at a place: a step outwards, then a taper to the width of a loop."""
  width, thickness, exponent = _PROFILES[STRAND]
  base = max(tip - _HEAD_LENGTH, first)
  table, place = table.copy(), table[:, 0]
  head = (place > base) & (place <= tip)
  table[head, 1] = np.interp(place[head], [base, tip], [_HEAD * width, _PROFILES[LOOP][0]])
  table[head, 2:4] = thickness, exponent
  table[(place > tip) & (place < tip + _RAMP), 1:4] = _PROFILES[LOOP]
  step = [(width, 0), (width, -1), (_HEAD * width, -1), (_HEAD * width, 0)]
  new = np.array([(base, half, thickness, exponent, facing, 0) for half, facing in step])
  return np.insert(table, np.searchsorted(place, base, side='right'), new, axis=0)


def _cap(ring: np.ndarray, side: int) -> np.ndarray:
  """Rings [3, 6] that round off an end: side -1 the first, 1 the last."""
  angles = np.radians([30, 60, 90])[::side]
  cap = np.repeat(ring[None], len(angles), axis=0)
  cap[:, 1:3] *= np.cos(angles)[:, None]
  cap[:, 4] = side * np.sin(angles)
  cap[:, 5] = cap[:, 4] * ring[2]
  return cap


def _curve(ca: np.ndarray, kinds: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Points, directions and the ribbon's directions across them [R, 3] at places along the line through CA atoms."""
  numbers = np.arange(len(ca))
  line = CubicSpline(numbers, _smoothed(ca, kinds), bc_type='natural')
  tangents = _unit(line(place, 1))
  across = np.stack([np.interp(place, numbers, column) for column in _binormals(ca).T], axis=1)
  across = across - np.sum(across * tangents, axis=1, keepdims=True) * tangents
  return line(place), tangents, _unit(across)


def _smoothed(ca: np.ndarray, kinds: np.ndarray) -> np.ndarray:
  """The points of the line [n, 3]: strands without their pleat, loops with softer corners, helices as they are."""
  share = np.array([_SMOOTHING[str(kind)] for kind in kinds])[1:-1, None]
  ca = ca.copy()
  for _ in range(2):
    ca[1:-1] += share * (ca[:-2] + ca[2:] - 2 * ca[1:-1])
  return ca


def _binormals(ca: np.ndarray) -> np.ndarray:
  """The directions across a ribbon [n, 3], each near those of its neighbours."""
  steps = np.diff(ca, axis=0)
  turns = np.cross(steps[:-1], steps[1:])
  straight = np.linalg.norm(turns, axis=1) < _STRAIGHT
  turns[straight] = _any_across(steps[:-1][straight])
  turns = _unit(turns) if len(turns) else _any_across(steps)
  turns = np.concatenate([turns[:1], turns, turns[-1:]])[: len(ca)]
  turned = np.where(np.sum(turns[1:] * turns[:-1], axis=1) < 0, -1, 1)  # a ribbon has no upper side
  turns[1:] *= np.cumprod(turned)[:, None]
  padded = np.pad(turns, ((1, 1), (0, 0)), mode='edge')
  return _unit(padded[:-2] + 2 * padded[1:-1] + padded[2:])


# --- Around the chain ---


def _cross_sections(width: np.ndarray, thickness: np.ndarray, exponent: np.ndarray) -> tuple[np.ndarray, ...]:
  """Corners (x, y) and normals (x, y) [R, K] of superellipses |x / width|^exponent + |y / thickness|^exponent = 1."""
  angles = 2 * np.pi * (np.arange(_AROUND) + 0.5) / _AROUND
  cos, sin = np.cos(angles), np.sin(angles)
  width, thickness, power = (np.maximum(column, 1e-6)[:, None] for column in (width, thickness, 2 / exponent))
  x, y = (np.sign(part) * np.abs(part) ** power for part in (cos, sin))
  normal_x, normal_y = (np.sign(part) * np.abs(part) ** (2 - power) for part in (cos, sin))
  normal_x, normal_y = normal_x / width, normal_y / thickness
  length = np.hypot(normal_x, normal_y)
  return x * width, y * thickness, normal_x / length, normal_y / length


def _faces(corners: np.ndarray) -> np.ndarray:
  """What rings [R, K, 3] say of the corners of the faces between them [(R - 1) K, 4, 3]."""
  next_ones = np.roll(corners, -1, axis=1)
  return np.stack([corners[:-1], next_ones[:-1], next_ones[1:], corners[1:]], axis=2).reshape(-1, 4, 3)


def _any_across(steps: np.ndarray) -> np.ndarray:
  """A direction across each step [n, 3]."""
  return _unit(np.cross(steps, np.eye(3)[np.argmin(np.abs(steps), axis=1)]))


def _unit(vectors: np.ndarray) -> np.ndarray:
  return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
