# SPDX-License-Identifier: Apache-2.0
"""Cartoons of chains: what is a helix and a strand, what shape they get, and what of it is seen."""

from pathlib import Path

import gemmi
import numpy as np
import pytest

from alphafold_jax.constants import residues
from alphafold_jax.data import structures
from alphafold_jax.output import cartoon
from alphafold_jax.output.cartoon import rendering, ribbon, secondary_structure
from alphafold_jax.output.cartoon.secondary_structure import HELIX, LOOP, STRAND
from alphafold_jax.output.plots import PLDDT_BANDS

DATA = Path(__file__).parent / 'data'
CA = residues.ATOM_INDEX['CA']
RAS_STRANDS = ((2, 9), (38, 46), (49, 57), (77, 83), (111, 116), (141, 143))  # of 1CTQ, Pai et al. 1990
RAS_HELICES = ((16, 25), (87, 103), (127, 136), (152, 165))
FRONT = cartoon.View(np.eye(3), np.zeros(3), 10.0, 10.0)


def depositors(path: Path, table: str, chain: str = 'A') -> list[tuple[int, int]]:
  """The first and last residues (from 0) of alpha helices (_struct_conf) or strands (_struct_sheet_range) in a file."""
  block = gemmi.cif.read(str(path)).sole_block()
  ends = ('beg_label_asym_id', 'beg_label_seq_id', 'end_label_seq_id')
  rows = block.find(f'{table}.', [*ends, '?pdbx_PDB_helix_class'])
  kept = [row for row in rows if row[0] == chain and not (row.has(3) and row[3] != '1')]
  return [(int(row[1]) - 1, int(row[2]) - 1) for row in kept]


def share_of(kinds: np.ndarray, kind: str, spans: list[tuple[int, int]], inner: int = 0) -> float:
  """The share of the residues in spans, without some at each end, that are of a kind."""
  inside = np.concatenate([np.arange(first + inner, last + 1 - inner) for first, last in spans])
  return float(np.mean(kinds[inside] == kind))


def near(spans: list[tuple[int, int]], num_res: int, outer: int) -> np.ndarray:
  """Which residues are in spans or a few residues away from one."""
  found = np.zeros(num_res, bool)
  for first, last in spans:
    found[max(first - outer, 0) : last + 1 + outer] = True
  return found


@pytest.mark.parametrize(
  'name', ['4zey.cif.gz', 'templates/2nx8.cif.gz', 'templates/2a8n.cif.gz', 'templates/1vq2.cif.gz']
)
def test_helices_and_strands_are_those_that_the_depositors_name(name):
  chain = structures.read_chain(DATA / name, 'A')
  kinds = secondary_structure.assign(chain.atom_positions, chain.atom_mask)
  helices = [(first, last) for first, last in depositors(DATA / name, '_struct_conf') if last - first > 4]
  strands = depositors(DATA / name, '_struct_sheet_range')
  assert share_of(kinds, HELIX, helices, inner=1) > 0.9
  assert not strands or share_of(kinds, STRAND, strands) > 0.75
  assert np.mean(near(helices, len(kinds), 2)[kinds == HELIX]) > 0.9
  assert np.mean(near(strands, len(kinds), 2)[kinds == STRAND]) > 0.8 if strands else not (kinds == STRAND).any()


def ras() -> structures.Chain:
  return structures.read_chain(DATA / '1ctq_A.cif.gz', 'A')


def test_ras_has_the_six_strands_and_the_long_helices_of_its_fold():
  chain = ras()
  kinds = secondary_structure.assign(chain.atom_positions, chain.atom_mask)
  offset = chain.numbers.index(1)
  for spans, kind in ((RAS_STRANDS, STRAND), (RAS_HELICES, HELIX)):
    for first, last in spans:
      assert np.mean(kinds[offset + first : offset + last - 1] == kind) >= 0.6, (first, last, kind)


def test_secondary_structure_does_not_depend_on_where_a_chain_lies():
  chain = ras()
  rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
  rotation *= np.linalg.det(rotation)
  moved = chain.atom_positions @ rotation.T + [30, -20, 10]
  kinds = secondary_structure.assign(chain.atom_positions, chain.atom_mask)
  assert (secondary_structure.assign(moved, chain.atom_mask) == kinds).all()


def test_a_chain_of_ca_atoms_alone_is_a_loop():
  chain = ras()
  mask = np.zeros_like(chain.atom_mask)
  mask[:, CA] = chain.atom_mask[:, CA]
  assert (secondary_structure.assign(chain.atom_positions, mask) == LOOP).all()


def of_ca(ca: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Atom positions and mask of residues that have a CA atom only."""
  positions, mask = np.zeros((len(ca), 37, 3)), np.zeros((len(ca), 37))
  positions[:, CA], mask[:, CA] = ca, 1
  return positions, mask


def line(num_res: int, start: tuple[float, float, float], step: tuple[float, float, float]) -> np.ndarray:
  return np.array(start) + np.arange(num_res)[:, None] * np.array(step)


def test_a_chain_is_broken_where_neighbours_are_far_or_missing():
  positions, mask = of_ca(line(12, (0, 0, 0), (3.8, 0, 0)))
  positions[4:, :, 1] += 3.0  # CA 3 and 4 are 4.8 Å apart
  mask[8] = 0
  assert [run.tolist() for run in ribbon.runs(positions, mask)] == [[0, 1, 2, 3], [4, 5, 6, 7], [9, 10, 11]]


def test_a_residue_without_neighbours_is_a_dot_and_no_residue_is_no_surface():
  one = ribbon.surface(*of_ca(np.array([[1.0, 2.0, 3.0]])))
  assert np.abs(one.corners - [1, 2, 3]).max() < 1.0 and set(one.residues) == {0}
  positions, mask = of_ca(np.zeros((3, 3)))
  assert len(ribbon.surface(positions, 0 * mask).corners) == 0
  assert np.asarray(cartoon.draw(positions, 0 * mask, cartoon.spectrum(3), FRONT)).min() == 255


def test_a_strand_ends_in_a_head_that_is_wider_than_the_strand_and_tapers():
  table = ribbon.rings(np.array([LOOP] * 2 + [STRAND] * 6 + [LOOP] * 2))
  place, width = table[:, 0], table[:, 1]
  body = width[(place >= 3) & (place < 5.5)]
  head = width[(place > 5.76) & (place <= 7.5)]
  assert np.ptp(body) == 0 and head[0] > 1.5 * body[0] and (np.diff(head) < 0).all()
  assert width[(place > 7.5) & (place < 8)].max() == width[place == 0].max() < 0.4


def test_strands_too_short_for_an_arrow_are_loops():
  kinds = np.array([LOOP, STRAND, STRAND, LOOP, STRAND, STRAND, STRAND])
  assert ''.join(ribbon.drawn(kinds)) == '----EEE' and ''.join(kinds) == '-EE-EEE'


def test_faces_are_turned_outwards_and_normals_are_of_length_1():
  chain = ras()
  faces = ribbon.surface(chain.atom_positions, chain.atom_mask)
  np.testing.assert_allclose(np.linalg.norm(faces.normals, axis=-1), 1, atol=1e-6)
  turned = np.cross(faces.corners[:, 2] - faces.corners[:, 0], faces.corners[:, 3] - faces.corners[:, 1])
  outwards = np.sum(turned * faces.normals.mean(axis=1), axis=-1)[np.linalg.norm(turned, axis=-1) > 1e-3]
  assert np.mean(outwards > 0) > 0.97
  assert set(faces.residues) == set(np.flatnonzero(chain.atom_mask[:, CA]))


def crossing(z: float) -> np.ndarray:
  """A picture of a blue chain from left to right at z = 0, and a red one from below to above at another height."""
  ca = np.concatenate([line(5, (-7.6, 0, 0), (3.8, 0, 0)), line(5, (0, -7.6, z), (0, 3.8, 0))])
  colours = np.repeat([[0, 0, 255], [255, 0, 0]], 5, axis=0)
  return np.asarray(cartoon.draw(*of_ca(ca), colours, FRONT, 12.0)).astype(int)


def test_what_is_nearer_to_the_viewer_hides_what_is_behind():
  for z, near_one in ((5.0, 0), (-5.0, 2)):
    middle = crossing(z)[120, 120]
    assert middle[near_one] > middle[2 - near_one] + 60


def test_what_crosses_in_front_has_an_outline_on_both_sides():
  row = crossing(5.0)[120, 90:150]  # along the blue chain, across the red one
  dark = np.flatnonzero(row.max(axis=1) < 120)
  assert len(dark) >= 2 and dark.min() < 30 < dark.max()


def test_pictures_are_white_around_and_of_the_size_that_the_view_asks_for():
  picture = crossing(5.0)
  assert picture.shape == (240, 240, 3)
  assert (picture[:20, :20] == 255).all() and (picture[-20:, -20:] == 255).all()


def test_a_view_shows_the_broad_side_holds_all_chains_and_begins_at_the_left():
  chain = ras()
  ca = chain.atom_positions[:, CA][chain.atom_mask[:, CA] > 0].astype(float)
  for others in ((), (ca + [0, 0, 25],)):
    view = cartoon.principal_view(ca, *others)
    np.testing.assert_allclose(view.rotation @ view.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(view.rotation) > 0
    for one in (ca, *others):
      placed = np.abs((one - view.centre) @ view.rotation.T)
      assert (placed[:, :2] < [view.half_width, view.half_height]).all()
  placed = (ca - ca.mean(axis=0)) @ cartoon.principal_view(ca).rotation.T
  assert np.ptp(placed[:, 0]) > np.ptp(placed[:, 2]) and placed[: len(ca) // 2, 0].mean() < 0


def test_one_view_of_a_structure_is_one_picture_wherever_it_lies():
  ca = line(6, (0, 0, 0), (3.0, 1.5, 1.0)) + np.random.default_rng(1).normal(0, 0.5, (6, 3))
  rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
  rotation *= np.linalg.det(rotation)
  moved = ca @ rotation.T + 5.0
  pictures = [
    np.asarray(cartoon.draw(*of_ca(one), cartoon.spectrum(6), cartoon.principal_view(one), 10.0)).astype(int)
    for one in (ca, moved)
  ]
  assert np.mean(np.abs(pictures[0] - pictures[1])) < 1.0


def test_colours_go_from_blue_to_red_and_are_those_of_the_bands():
  first, *_, last = cartoon.spectrum(50)
  assert first.argmax() == 2 and last.argmax() == 0 and cartoon.spectrum(1).shape == (1, 3)
  shown = cartoon.confidence(np.array([100, 90, 89.9, 70, 69.9, 50, 49.9, 0]))
  expected = [list(bytes.fromhex(colour[1:])) for _, _, colour, _ in PLDDT_BANDS for _ in range(2)]
  np.testing.assert_array_equal(shown, expected)


def test_values_within_a_face_are_linear_and_between_those_at_its_corners():
  square = np.array([[[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [0.0, 8.0]]])
  values = square[..., :1] * 2 + 1
  at = np.array([[4.0, 4.0], [2.0, 7.0], [9.0, 1.0]])
  found = rendering._interpolated(square, values, np.zeros(3, int), at)
  np.testing.assert_allclose(found[:, 0], [9, 5, 17], atol=0.1)
