# SPDX-License-Identifier: Apache-2.0
"""Structures of whole complexes as templates and first guesses: which chain stands for which; shared coordinates."""

from pathlib import Path

import numpy as np
import pytest
from small_runs import fasta, names, predict

from alphafold_jax.constants import residues
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.complex_templates import place_complex, stack_complexes
from alphafold_jax.data.initial_guess import initial_guess
from alphafold_jax.data.queries import Query
from alphafold_jax.data.structures import read_chains
from alphafold_jax.errors import InputError
from alphafold_jax.runs import fleet, work

HAEMOGLOBIN = Path(__file__).parent / 'data' / 'complexes' / '2HHB.pdb.gz'
CA = residues.ATOM_INDEX['CA']


@pytest.fixture(scope='module')
def known():
  return read_chains(HAEMOGLOBIN)  # A and C are one protein, B and D the other


@pytest.fixture(scope='module')
def placed(known):
  alpha, beta = known['A'].sequence, known['B'].sequence
  chains = Chains((alpha, alpha, beta, beta))
  return chains, place_complex(chains, HAEMOGLOBIN)


def test_copies_take_chains_in_the_order_of_both(placed):
  _, one = placed
  assert [template.name for template in one.templates] == ['2HHB_A', '2HHB_C', '2HHB_B', '2HHB_D']


def test_all_chains_of_a_slot_are_of_one_structure_in_its_coordinates(placed, known):
  chains, one = placed
  stacked = stack_complexes(chains, [one])
  assert stacked.mask.tolist() == [1, 0, 0, 0] and np.all(stacked.structure_id == 0)
  expected = np.concatenate([known[name].atom_positions[:, CA] for name in 'ACBD'])
  np.testing.assert_array_equal(stacked.atom_positions[0, :, CA], expected)


def test_a_chain_without_a_counterpart_has_no_atoms(placed, known):
  alpha, beta = known['A'].sequence, known['B'].sequence
  chains = Chains((beta, 'GSHMWWWWWWKRYPNWTACWWWWWWWWW', alpha))
  one = place_complex(chains, HAEMOGLOBIN)
  assert [template and template.name for template in one.templates] == ['2HHB_B', None, '2HHB_A']
  stacked = stack_complexes(chains, [one])
  assert not stacked.atom_mask[0, chains.spans[1]].any()


def test_a_structure_without_two_chains_of_the_complex_is_refused(known):
  with pytest.raises(InputError, match='0 can stand for a chain of the complex; at least two must'):
    place_complex(Chains(('GSHMWWWWWWKRYPNWTACWWWWWWWWW', 'MKWWWWWWWWHHHHHHWWWWWWPPPPP')), HAEMOGLOBIN)


def test_a_first_guess_has_the_atoms_of_the_structure_and_traces_what_is_missing(known):
  beta, longer = known['B'].sequence, known['A'].sequence[:60] + 'GGGG' + known['A'].sequence[60:]
  guess = initial_guess(Chains((longer, beta)), HAEMOGLOBIN)
  np.testing.assert_array_equal(guess[len(longer) :, CA], known['B'].atom_positions[:, CA])
  before, inserted, after = guess[59, CA], guess[60:64, CA], guess[64, CA]
  assert np.all(np.linalg.norm(inserted - before, axis=-1) <= np.linalg.norm(after - before))
  assert np.ptp(guess[61], axis=0).max() == 0  # all atoms of an unknown residue in one place


OTHER = 'GSHMWWWWWWKRYPNWTACWWWWWWWWW'


@pytest.fixture
def loads_nothing(monkeypatch):
  """Neither parameters are looked for nor proteins."""

  def never(*_, **__):
    raise AssertionError

  monkeypatch.setattr(fleet, 'Models', never)
  monkeypatch.setattr(work.Searches, 'with_alignments', never)


@pytest.mark.parametrize(
  ('sequences', 'said'),
  [
    (OTHER, 'of another protein, none of its chains fits; give a structure of this one'),
    ('A:' + OTHER, '1 can stand for a chain of the complex; at least two must'),
  ],
)
def test_a_first_guess_of_another_protein_is_refused_at_once(loads_nothing, known, tmp_path, capsys, sequences, said):
  source = fasta(tmp_path / 'p.fasta', x=sequences.replace('A:', f'{known["A"].sequence}:'))
  flags = '--initial-guess', str(HAEMOGLOBIN), '--msa-mode', 'server'
  assert predict(source, tmp_path / 'out', *flags) == 2
  shown = ' '.join(capsys.readouterr().err.split())
  assert f'x: --initial-guess: {HAEMOGLOBIN}' in shown and said in shown
  assert not (tmp_path / 'out').exists()


def test_a_first_guess_that_is_no_structure_is_refused_at_once(loads_nothing, tmp_path, capsys):
  source = fasta(tmp_path / 'p.fasta', x=OTHER)
  for name, said in (('none.pdb', 'no such file'), ('p.fasta', 'p.fasta')):
    flags = '--initial-guess', str(tmp_path / name), '--msa-mode', 'server'
    assert predict(source, tmp_path / 'out', *flags) == 2
    assert said in capsys.readouterr().err and names(tmp_path) == {'p.fasta'}


def test_of_several_proteins_those_fail_that_a_first_guess_is_not_of(known):
  sequence = known['A'].sequence
  given = [Query('good', sequence), Query('bad', OTHER), Query('same', sequence)]
  found = work.with_guess(HAEMOGLOBIN, work.find(given, takes_bare=True))
  assert [job.name for job in found.jobs] == ['good', 'same']
  (failure,) = found.failures
  assert failure.job == 'bad' and 'bad: --initial-guess: ' in failure.message
