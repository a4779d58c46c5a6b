# SPDX-License-Identifier: Apache-2.0
"""What is relaxed and what is refused, names and records, time limits; without a force field."""

import dataclasses
import functools
import gzip
import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path

import gemmi
import numpy as np
import pytest
import small_structures

from alphafold_jax import cli, relaxation
from alphafold_jax.errors import InputError, ResourceError
from alphafold_jax.relaxation import folder, minimising, protocols, relaxing, starting, worker


@pytest.fixture
def made(tmp_path):
  """Writes a change of 12 residues of 1AIE and reads it as what is relaxed."""

  def make(change=lambda one: None, name='x.pdb'):
    one = small_structures.structure('1aie_A', 0, 12)
    change(one)
    return starting.read_start(small_structures.write(one, tmp_path / name))

  return make


def refused(made, change, said):
  with pytest.raises(InputError, match=said):
    made(change)


def test_a_chain_is_one_segment_with_its_numbers_and_b_factors(made):
  start = made()
  assert len(start) == 12 and start.segments == [range(12)] and start.numbers == tuple(range(1, 13))
  assert start.chains == ('A',) * 12 and start.b_factors.min() > 0 and start.place(3) == 'A 4'


def test_a_gap_in_the_numbers_is_left_open_and_a_torn_bond_of_neighbours_is_closed(made):
  def cut(one):
    del one[0][0][5]

  def pull(one, length):
    for residue in list(one[0][0])[6:]:
      for atom in residue:
        atom.pos = atom.pos + gemmi.Position(length, 0, 0)

  assert made(cut).segments == [range(5), range(5, 11)] and not made(cut).neighbours[4]
  assert made(lambda one: pull(one, 4)).segments == [range(12)]
  torn = made(lambda one: pull(one, 60))
  assert torn.segments == [range(6), range(6, 12)] and torn.neighbours.all() and 'torn' in torn.notes[-1]


def test_residues_that_are_bonded_are_joined_whatever_their_numbers(made):
  def renumber(one):
    for residue in list(one[0][0])[6:]:
      residue.seqid = gemmi.SeqId(residue.seqid.num + 50, ' ')

  assert made(renumber).segments == [range(12)]


def test_other_residues_than_the_twenty_are_refused_by_name(made):
  def rename(name):
    return lambda one: setattr(one[0][0][4], 'name', name)

  refused(made, rename('DAL'), '1 D-amino acid: DAL A 5; the force field has the 20 L-amino acids')
  refused(made, rename('SEP'), '1 non-standard residue: SEP A 5')
  refused(made, rename('XYZ'), '1 non-standard residue: XYZ A 5')
  assert len(made(lambda one: setattr(one[0][0][4], 'name', 'HIE'))) == 12  # a force field's own name


def test_a_missing_backbone_is_refused_and_a_missing_side_chain_is_not(made):
  def without(*names):
    def change(one):
      residue = one[0][0][4]
      for name in names:
        residue.remove_atom(name, '\0', residue[name][0].element)

    return change

  refused(made, without('C'), 'without the backbone atom C: [A-Z]{3} A 5')
  assert not made(without('O')).mask[4].all()


def test_mirror_images_are_relaxed_with_a_note(made):
  def mirror(one):
    for residue in one[0][0]:
      for atom in residue:
        atom.pos = gemmi.Position(-atom.pos.x, atom.pos.y, atom.pos.z)

  assert 'mirror image of an L-amino acid' in made(mirror).notes[-1]
  assert not any('mirror' in note for note in made().notes)


def test_dna_alone_and_too_many_residues_are_refused(tmp_path, monkeypatch, made):
  line = 'ATOM      1  P    DA A   1      10.000  10.000  10.000  1.00 20.00           P\n'
  (tmp_path / 'dna.pdb').write_text(line)
  with pytest.raises(InputError, match='no protein chain; the file holds 1 nucleotide'):
    starting.read_start(tmp_path / 'dna.pdb')
  monkeypatch.setattr(starting, 'MAX_RESIDUES', 11)
  refused(made, lambda one: None, '12 residues are more than the 11 that can be relaxed')


def test_names_of_results_are_those_of_colabfold(tmp_path):
  tag = 'rank_001_alphafold2_ptm_model_3_seed_000'
  assert folder.names_of(tmp_path / f'p_unrelaxed_{tag}.pdb') == (f'p_relaxed_{tag}.pdb', f'p_relax_{tag}.json')
  assert folder.names_of(tmp_path / 'x.y.cif.gz') == ('x.y_relaxed.cif', 'x.y_relax.json')
  assert folder.structure_of(f'p_relax_{tag}.json') == f'p_relaxed_{tag}'
  assert folder.structure_of('x.y_relax.json') == 'x.y_relaxed'


def test_of_a_folder_each_structure_is_taken_once_and_relaxed_ones_never(tmp_path):
  for name in ('a.cif', 'a.pdb', 'b.cif', 'a_relaxed.pdb', 'p_unrelaxed_x_seed_000.r1.pdb', 'notes.txt', '.c.pdb'):
    (tmp_path / name).write_text('')
  assert [file.name for file in folder.find([tmp_path])] == ['a.pdb', 'b.cif']
  with pytest.raises(InputError, match='called like those of'):
    folder.find([tmp_path / 'a.pdb', tmp_path / 'a.cif'])
  with pytest.raises(InputError, match='no such file or folder'):
    folder.find([tmp_path / 'none.pdb'])


def test_packed_files_are_read(tmp_path):
  path = small_structures.write(small_structures.structure('1aie_A', 0, 3), tmp_path / 'x.pdb')
  (tmp_path / 'y.pdb.gz').write_bytes(gzip.compress(path.read_bytes()))
  assert len(starting.read_start(tmp_path / 'y.pdb.gz')) == 3


def test_remarks_of_a_structure_are_kept(tmp_path):
  path = small_structures.write(small_structures.structure('1aie_A', 0, 3), tmp_path / 'x.pdb')
  path.write_text('REMARK   6 MINI MODEL: small\n' + path.read_text())
  assert starting.read_start(path).remarks == ('MINI MODEL: small',)


def test_a_structure_is_known_by_its_content_and_protocol(tmp_path):
  official = relaxation.protocol('official')
  key = folder.key_of(b'x', official)
  assert key == folder.key_of(b'x', relaxation.protocol('official'))
  others = folder.key_of(b'y', official), folder.key_of(b'x', relaxation.protocol('official', stiffness=5.0))
  assert key not in others


def test_protocols_are_the_published_numbers():
  official = relaxation.protocol('official')
  assert (official.stiffness, official.tolerance, official.max_iterations, official.max_outer_iterations) == (
    10.0, 2.39, 2000, 3,
  )  # fmt: skip
  assert relaxation.protocol('official', max_iterations=0).max_iterations == 0
  for wrong in ({'stiffness': -1}, {'tolerance': 0}, {'max_iterations': 1.5}, {'max_outer_iterations': 0}):
    with pytest.raises(InputError, match=next(iter(wrong))):
      relaxation.protocol('official', **wrong)
  with pytest.raises(InputError, match='choose one of official, fast'):
    relaxation.protocol('slow')


def test_a_protocol_says_its_numbers():
  official, fast = (relaxation.protocol(name) for name in ('official', 'fast'))
  assert official.said == (
    'force field amber99sb, all pairs in vacuum; restraints of 10 kcal/mol/Å²; to a force of 2.39 kcal/mol/Å, at most '
    '2,000 steps'
  )
  around = 'protein.ff14SB, pairs within 10 Å, beyond them the reaction field of water'
  assert f'{around}, at last the implicit solvent OBC2; restraints of 2, then 17 kcal/mol/Å²' in fast.said
  assert 'to a force of 1.5 kcal/mol/Å, at most 500 steps' in fast.said
  other = relaxation.protocol('fast', implicit_solvent=False, max_iterations=0, stiffness=5.0)
  assert f'{around}; restraints of 1, then 8.5 ' in other.said
  assert other.said.endswith(', no limit of steps')
  assert protocols.from_json(json.loads(json.dumps(dataclasses.asdict(other)))) == other


def test_without_openmm_nothing_begins(tmp_path, monkeypatch, capsys):
  find = importlib.util.find_spec
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: None if name == 'openmm' else find(name, *rest))
  for command in (['predict', 'no.fasta', tmp_path / 'out', '--amber'], ['relax', 'no.pdb', tmp_path / 'out']):
    assert cli.main([str(part) for part in command]) == 2
    shown = capsys.readouterr().err
    assert 'alphafold-jax[relax]; openmm is not installed' in shown and "pip install '.[relax]'" in shown
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  'flag', [('--relax-protocol', 'fast'), ('--relax-time-limit', '60'), ('--relax-tolerance', '1')]
)
def test_flags_of_a_relaxation_that_nothing_asks_for_are_refused(tmp_path, capsys, flag):
  assert cli.main(['predict', 'no.fasta', str(tmp_path / 'out'), *flag]) == 2
  assert f'{flag[0]}: of use only with --amber or --num-relax N' in capsys.readouterr().err
  assert not (tmp_path / 'out').exists()


def test_an_openmm_that_cannot_be_loaded_is_told_with_the_remedy(tmp_path, monkeypatch):
  def broken(name):
    raise ImportError(f'lib{name}.so: wrong ELF class')

  monkeypatch.setattr(importlib, 'import_module', broken)
  with pytest.raises(ResourceError, match='openmm is installed, but cannot be loaded .*ELF class.*relax.* anew'):
    worker.relaxed(tmp_path / 'x.pdb', relaxation.protocol('fast'), ['CPU'])


def test_a_broken_openmm_is_met_before_anything_is_predicted(tmp_path, monkeypatch, capsys):
  package = tmp_path / 'packages' / 'openmm'
  package.mkdir(parents=True)
  (package / '__init__.py').write_text('raise ImportError("libOpenMM.so: wrong ELF class")\n')
  monkeypatch.setenv('PYTHONPATH', str(package.parent))
  for command in (['predict', 'no.fasta', tmp_path / 'out', '--amber'], ['relax', 'no.pdb', tmp_path / 'out']):
    assert cli.main([str(part) for part in command]) == 2
    shown = capsys.readouterr().err
    assert 'cannot be loaded (ImportError: libOpenMM.so: wrong ELF class); run `pip' in shown
  assert not (tmp_path / 'out').exists()
  (package / '__init__.py').write_text('import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n')
  with pytest.raises(InputError, match='a process that loads them was ended by SIGSEGV.*relax.* anew'):
    relaxation.check_installed(tried=True)


def test_an_openmm_without_its_platforms_is_broken(tmp_path, monkeypatch):
  relaxation.check_installed(tried=True)  # that of this machine is whole
  monkeypatch.setenv('OPENMM_PLUGIN_DIR', str(tmp_path))
  with pytest.raises(InputError, match=f'its platform CPU cannot be loaded .nothing is in {tmp_path}.; run `pip'):
    relaxation.check_installed(tried=True)


@pytest.mark.parametrize(
  ('flag', 'value', 'rule'),
  [
    ('--relax-max-iterations', '-1', 'must be a whole number; 0 is no limit'),
    ('--relax-tolerance', '0.0', 'must be more than 0 kcal/mol/Å'),
    ('--relax-stiffness', '-1.0', 'must be 0 kcal/mol/Å² or more'),
    ('--relax-max-outer-iterations', '0', 'must be a whole number, 1 or more'),
    ('--relax-time-limit', '0.0', 'must be more than 0 seconds'),
    ('--relax-workers', '0', 'must be 1 or more'),
  ],
)
def test_a_wrong_number_is_told_by_its_flag_and_to_programs_by_its_field(tmp_path, capsys, flag, value, rule):
  for command in (['predict', 'no.fasta', '--amber'], ['relax', 'no.pdb']):
    assert cli.main([*command[:2], str(tmp_path / 'out'), *command[2:], flag, value]) == 2
    assert f'error: {flag} {value}: {rule}' in capsys.readouterr().err
  field = flag.removeprefix('--relax-').replace('-', '_')
  kind = relaxing.RelaxPlan if field in ('time_limit', 'workers') else functools.partial(relaxation.protocol, 'fast')
  with pytest.raises(InputError, match=f'^{field}={value}: {re.escape(rule)}'):
    kind(**{field: float(value) if '.' in value else int(value)})


def test_a_time_limit_ends_what_never_ends(tmp_path):
  with pytest.raises(ResourceError, match='x.pdb: not relaxed within 0.01 s; allow more time'):
    relaxation.relax(tmp_path / 'x.pdb', time_limit=0.01)


def test_a_process_that_dies_is_no_answer(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, 'executable', '/bin/false')
  found = relaxation.relax_all([tmp_path / 'x.pdb', tmp_path / 'y.pdb'], relaxing.RelaxPlan(workers=2))
  assert [type(one) for one in found] == [ResourceError] * 2
  assert [str(one) for one in found] == [f'{tmp_path}/{name}.pdb: its process ended with exit code 1' for name in 'xy']


@pytest.mark.parametrize(
  ('before', 'after', 'good'),
  [(5e4, -9e3, True), (-9e3, -9e3 + 1e-6, True), (1e19, 7e20, False), (1e3, np.nan, False), (np.inf, 0, False)],
)
def test_a_minimisation_after_which_the_energy_has_risen_is_none(before, after, good):
  assert minimising._descended(before, after) == good


def test_where_nothing_was_relaxed_the_log_is_named_and_no_files():
  files, failure = [Path('a.pdb'), Path('b.pdb')], ResourceError('no time')
  assert folder.closing(files, [failure], Path('out')) == '1 of 2 structures relaxed. Files are in out'
  assert folder.closing(files, [failure] * 2, Path('out')) == '0 of 2 structures relaxed. The log is out/log.txt'


def test_energies_are_said_in_as_many_digits_as_mean_something():
  assert [relaxing._energy(value) for value in (-9130.4, 1.7483e19)] == ['-9,130', '1.7e+19']


def test_metrics_hold_all_records_and_nothing_else(tmp_path):
  record = {'remaining_violations': [0.0, 1.0], 'remaining_violations_count': 1.0, 'energy_after': -1.0}
  (tmp_path / 'a_relax.json').write_text(json.dumps(record))
  (tmp_path / 'b_relax.json').write_text('{}')
  folder.write_metrics(tmp_path, {'z_relaxed': record})
  assert json.loads((tmp_path / folder.METRICS).read_text()) == {'a_relaxed': record, 'z_relaxed': record}


def test_far_from_the_origin_whole_angstroms_are_taken_off():
  from alphafold_jax.relaxation import preparing

  positions = np.array([[[2000.125, 0, 0], [2010.125, 0, 0]]])
  shift = preparing._shift(positions, np.ones((1, 2), bool))
  assert shift.tolist() == [2005, 0, 0]
