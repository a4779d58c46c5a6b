# SPDX-License-Identifier: Apache-2.0
"""The published relaxation as an oracle: alphafold.relax live on the same starts, on the Reference platform."""

import random

import gemmi
import numpy as np
import openmm
import pytest
import small_structures
from alphafold.common import protein
from alphafold.relax import amber_minimize

from alphafold_jax import relaxation
from alphafold_jax.geometry.violations import count_violations, violating_residues
from alphafold_jax.relaxation import minimising, starting
from alphafold_jax.relaxation.minimising import minimise

pytestmark = pytest.mark.slow
OFFICIAL = relaxation.protocol('official')


def crooked(first, last, size, *pushes):
  one = small_structures.shake(small_structures.structure('1aie_A', first, last), size)
  for push in pushes:
    small_structures.push(one, *push)
  return one


def dimer():
  one = small_structures.structure('1aie_A', 0, 6)
  copy = one[0][0].clone()
  copy.name = 'B'
  for residue in copy:
    for atom in residue:
      atom.pos = atom.pos + gemmi.Position(9, 4, 0)
  one[0].add_chain(copy)
  return one


STARTS = {  # a good structure, one with clashes, one with bonds that are out of geometry
  'good': lambda: crooked(0, 8, 0.0),
  'clashes': lambda: crooked(0, 14, 0.02, (3, 11, 0.6)),
  'bent': lambda: crooked(4, 14, 0.18),
  'two chains': dimer,
}


@pytest.fixture(scope='module')
def reference():
  """Both programs on the Reference platform, in which there are no threads and single numbers are double."""
  patch = pytest.MonkeyPatch()
  platform = openmm.Platform.getPlatformByName('Reference')
  patch.setenv('OPENMM_DEFAULT_PLATFORM', 'Reference')
  patch.setattr(openmm.Platform, 'getPlatformByName', staticmethod(lambda name: platform))
  yield platform
  patch.undo()


def heavy(pdb):
  """Heavy atoms [N, 37, 3] and mask of a PDB text."""
  found = protein.from_pdb_string(pdb)
  return found.atom_positions, found.atom_mask > 0


@pytest.mark.parametrize('name', STARTS)
def test_energy_atoms_and_violations_are_those_of_the_published_program(name, reference, tmp_path):
  path = small_structures.write(STARTS[name](), tmp_path / 'x.pdb')
  random.seed(0)
  theirs = amber_minimize.run_pipeline(
    prot=protein.from_pdb_string(path.read_text()),
    stiffness=10.0,
    use_gpu=False,
    max_outer_iterations=3,
    max_iterations=2000,
    tolerance=2.39,
    max_attempts=1,
  )
  ours = minimise(starting.read_start(path), OFFICIAL, reference)
  last = ours.rounds[-1]
  assert len(ours.rounds) == theirs['iteration'] + 1 and last.freed == theirs['num_exclusions']
  assert last.energy_after == pytest.approx(theirs['efinal'], rel=0.01)
  positions, mask = heavy(theirs['min_pdb'])
  np.testing.assert_array_equal(ours.mask, mask)
  rmsd = np.sqrt(np.mean(np.sum((ours.heavy - positions)[mask] ** 2, axis=-1)))
  assert rmsd < 0.1
  assert set(np.flatnonzero(ours.violating)) <= set(theirs['residue_violations'].tolist())


def test_residues_that_are_freed_are_those_that_the_published_program_counts(tmp_path):
  for size in (0.0, 0.15, 0.3):
    one = small_structures.push(small_structures.shake(small_structures.structure('1aie_A'), size), 5, 20, 0.7)
    path = small_structures.write(one, tmp_path / 'x.pdb')
    start = starting.read_start(path)
    read = protein.from_pdb_string(path.read_text())
    theirs = amber_minimize.get_violation_metrics(read)['residue_violations']
    ours = violating_residues(start.aatype, read.atom_positions, read.atom_mask, start.neighbours)
    assert np.flatnonzero(ours).tolist() == theirs.tolist()
    assert 0 < len(theirs) < len(start) or size == 0.3


def test_the_fast_protocol_leaves_no_more_than_the_official_and_enters_the_solvent_once(tmp_path, monkeypatch):
  platform = openmm.Platform.getPlatformByName('CPU')
  one = small_structures.push(small_structures.shake(small_structures.structure('1aie_A'), 0.25), 5, 20, 0.9)
  start = starting.read_start(small_structures.write(one, tmp_path / 'x.pdb'))
  official = minimise(start, OFFICIAL, platform)
  descend, steps = minimising._descend, []
  monkeypatch.setattr(minimising, '_descend', lambda *given: (steps.append(given[2]), descend(*given)))
  fast = minimise(start, relaxation.protocol('fast'), platform)
  assert len(fast.rounds) > 1 and all(one.attempts == 1 for one in fast.rounds)
  assert steps == [500, 500] * len(fast.rounds) + [minimising._SOLVENT_STEPS]
  clashes, moved = [], []
  for found in (official, fast):
    clashes.append(count_violations(start.aatype, found.heavy, found.mask, start.neighbours).clashes)
    moved.append(np.sqrt(np.mean(np.sum((found.heavy - start.positions)[start.mask] ** 2, axis=-1))))
  assert clashes == [0, 0] and fast.violating.sum() <= official.violating.sum()
  assert moved[1] < 1.1 * moved[0]


def test_a_relaxed_file_has_hydrogens_and_the_names_numbers_and_b_factors_of_its_start(tmp_path):
  one = small_structures.structure('1aie_A', 0, 8)
  one[0][0].name = 'Q'
  for residue in one[0][0]:
    residue.seqid = gemmi.SeqId(residue.seqid.num + 40, ' ')
    for atom in residue:
      atom.b_iso = 3.25 * residue.seqid.num % 90
  path = small_structures.write(one, tmp_path / 'x.pdb')
  path.write_text('REMARK   6 MINI MODEL: small\n' + path.read_text())
  for protocol in relaxation.PROTOCOLS:
    found = relaxation.relax(path, protocol)
    read = gemmi.read_pdb_string(found.text)
    assert [chain.name for chain in read[0]] == ['Q'] and read.raw_remarks[
      0
    ].split() == 'REMARK 6 MINI MODEL: small'.split()
    for before, after in zip(one[0][0], read[0][0], strict=True):
      assert (before.name, before.seqid.num) == (after.name, after.seqid.num)
      assert {round(atom.b_iso, 2) for atom in after} == {round(before['CA'][0].b_iso, 2)}
      names = {atom.name for atom in after}
      assert {atom.name for atom in before} <= names and any(name.startswith('H') for name in names)
    assert 'OXT' in {atom.name for atom in read[0][0][-1]}
    record = found.record
    assert record['energy_after'] < record['energy_before'] and record['remaining_violations_count'] == 0
    assert len(record['remaining_violations']) == record['num_res'] == 8 and record['platform'] == 'CPU'
    assert 0 < record['rmsd_heavy_atoms'] < 0.5 and record['protocol']['name'] == protocol
