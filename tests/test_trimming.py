# SPDX-License-Identifier: Apache-2.0
"""Predictions made ready for molecular replacement: the numbers of published programs, and what is kept and why."""

import dataclasses
import gzip
import json
import math
from pathlib import Path

import gemmi
import linked_domains
import networkx
import numpy as np
import pytest

from alphafold_jax import choices, cli, trimming
from alphafold_jax.data.structures import read_chains
from alphafold_jax.errors import InputError
from alphafold_jax.trimming import bfactors, domains, picture
from alphafold_jax.trimming.trimmed import KEPT, LOW, SHORT, SMALL, TrimSettings
from alphafold_jax.weights import store

DATA = Path(__file__).parent / 'data'
ACIDS = 'ALA CYS ASP GLU PHE GLY HIS ILE LYS LEU MET ASN PRO GLN ARG SER THR VAL TRP TYR'.split()


def structure(path: Path, plddt, chain='A', first=1, header='', numbers=None) -> Path:
  """Writes CA atoms with these B-factors, numbered from `first`; several chains: lists of pLDDT and names."""
  chains = zip(plddt, chain) if isinstance(chain, (list, tuple)) else [(plddt, chain)]
  lines, serial = [header] if header else [], 0
  for y, (values, name) in enumerate(chains):
    for i, value in enumerate(values):
      serial += 1
      number = f'{first + i:>4} ' if numbers is None else f'{numbers[i]:>5}'
      lines.append(
        f'ATOM  {serial:>5}  CA  {ACIDS[i % 20]} {name}{number}   {3.8 * i:8.3f}{50.0 * y:8.3f}{0:8.3f}'
        f'  1.00{value:6.2f}           C'
      )
    lines.append('TER')
  path.write_text('\n'.join([*lines, 'END', '']))
  return path


def pae_file(path: Path, pae: np.ndarray) -> Path:
  path.write_text(json.dumps([{'predicted_aligned_error': np.round(pae, 2).tolist()}]))
  return path


def blocks(*sizes: int, inside: float = 1.0, outside: float = 20.0) -> np.ndarray:
  """A PAE of rigid blocks, [sum, sum] Å."""
  block = np.repeat(np.arange(len(sizes)), sizes)
  return np.where(block[:, None] == block, inside, outside)


# ------------------------------------------------------------------------------------------ formulas


@pytest.mark.parametrize(
  ('plddt', 'rmsd', 'b_factor'),
  [(70, 1.5, 59.2176), (100, 0.45179, 5.37207), (90, 0.67399, 11.9559), (50, 3.33831, 293.306), (0, 24.6670, 10527.58)],
)
def test_errors_and_b_factors_are_those_of_phenix(plddt, rmsd, b_factor):
  assert bfactors.expected_rmsd(plddt) == pytest.approx(rmsd, rel=1e-5)
  assert bfactors.phenix(plddt) == pytest.approx(b_factor, rel=1e-5)  # an error of more than 20 Å counts as 20 Å


def test_a_b_factor_is_the_square_of_an_error():
  plddt = np.linspace(10, 100, 19)
  assert np.allclose(bfactors.phenix(plddt) / bfactors.expected_rmsd(plddt) ** 2, 8 * math.pi**2 / 3)


@pytest.mark.parametrize(
  ('plddt', 'b_factor'), [(30, 657.97), (50, 657.97), (51, 538.456), (70, 80.5345), (100, 9.47482)]
)
def test_b_factors_of_mrparse_are_flat_up_to_a_plddt_of_50(plddt, b_factor):
  assert bfactors.mrparse(plddt) == pytest.approx(b_factor, rel=1e-5)


def test_the_error_for_phaser_is_the_mean_error_and_a_quarter():
  assert bfactors.vrms(np.array([70.0, 70.0])) == pytest.approx(1.75)
  assert bfactors.vrms(np.array([70.0, 100.0])) == pytest.approx(0.25 + (1.5 + 0.451791) / 2)


def test_the_sets_of_parameters_are_the_published_ones():
  numbers = {name: tuple(vars(rules).values())[:5] for name, rules in domains.RULES.items()}
  assert numbers == {
    'phenix': (5.0, 1.0, 0.5, 10, 5),
    'phenix_alt': (4.0, 2.0, 4.0, 20, 10),
    'croll': (5.0, 1.0, 1.0, 10, 5),
  }
  assert TrimSettings() == TrimSettings(min_plddt=70, b_factors='phenix', domains='phenix', max_domains=0)


def test_the_names_of_the_command_are_those_of_the_tables():
  assert choices.B_FACTORS == tuple(bfactors.FORMULAS) and choices.DOMAINS == (*domains.RULES, 'none')


# ------------------------------------------------------------------------------------------ domains


@pytest.mark.parametrize('name', domains.RULES)
def test_rigid_blocks_are_domains_as_networkx_finds_them(name):
  rules, sizes = domains.RULES[name], (8, 7, 9, 8, 7, 9)
  pae, ends = blocks(*sizes), np.cumsum(sizes).tolist()
  graph = networkx.from_numpy_array(np.where(pae < rules.cutoff, 1 / pae**rules.power, 0))  # with loops, as published
  expected = networkx.community.greedy_modularity_communities(graph, weight='weight', resolution=rules.resolution)
  found = [group.tolist() for group in domains.find_domains(pae, rules)]
  assert found == [list(range(end - size, end)) for size, end in zip(sizes, ends)] == sorted(map(sorted, expected))


def test_which_residue_is_aligned_does_not_matter():
  pae = blocks(8, 8) + np.random.default_rng(0).uniform(0, 6, (16, 16))
  for rules in domains.RULES.values():
    one, other = domains.find_domains(pae, rules), domains.find_domains(pae.T, rules)
    assert [group.tolist() for group in one] == [group.tolist() for group in other]


def test_an_error_of_0_has_a_weight():
  assert domains.symmetric(np.array([[0.0, 0.1], [0.3, 0.0]])).tolist() == [[0.2, 0.2], [0.2, 0.2]]


def test_too_many_domains_are_merged_where_the_error_between_them_is_smallest():
  pae = blocks(5, 5, 5)
  pae[:5, 10:] = pae[10:, :5] = 9.0
  parts = [np.arange(0, 5), np.arange(5, 10), np.arange(10, 15)]
  two, means = domains.merged(parts, pae, 2)
  assert [group.tolist() for group in two] == [[0, 1, 2, 3, 4, 10, 11, 12, 13, 14], [5, 6, 7, 8, 9]] and means == [9.0]
  assert domains.merged(parts, pae, 3) == (parts, [])


# ------------------------------------------------------------------------------------------ what is kept


def why(trimmed) -> list[str]:
  return [fate.why for fate in trimmed.residues]


def test_every_residue_is_kept_or_has_a_reason(tmp_path):
  plddt = [*[90] * 20, *[70] * 3, *[71] * 4, *[40] * 16, *[95] * 9, *[30] * 2, *[80] * 12]
  model = structure(tmp_path / 'p.pdb', plddt)
  pae_file(tmp_path / 'p_pae.json', blocks(23, 31, 12))
  trimmed = trimming.trim(model)
  expected = [KEPT] * 20 + [LOW] * 3 + [SHORT] * 4 + [LOW] * 16 + [SMALL] * 9 + [LOW] * 2 + [KEPT] * 12
  assert why(trimmed) == expected
  assert [str(one) for domain in trimmed.domains for one in domain.stretches] == ['A 1-20', 'A 55-66']
  assert [str(one) for one in trimmed.removed] == ['A 21-54'] and len(trimmed.removed[0].sequence) == 34
  assert trimmed.pae_file == tmp_path / 'p_pae.json' and trimmed.notes == () and trimmed.num_kept == 32
  assert trimmed.residues[0][:4] == ('A', '1', 'A', 90.0) and trimmed.residues[0].b_factor == pytest.approx(11.96)


def test_a_jump_in_the_numbers_ends_a_stretch(tmp_path):
  numbers = [*(f'{i} ' for i in range(1, 13)), '12A', '13 ', *(f'{i} ' for i in range(50, 54))]
  trimmed = trimming.trim(structure(tmp_path / 'p.pdb', [90] * 17 + [80], numbers=numbers))
  assert why(trimmed) == [KEPT] * 14 + [SHORT] * 4 and str(trimmed.domains[0].stretches[0]) == 'A 1-13'


def test_of_many_ranges_the_screen_shows_the_first_and_the_json_all(tmp_path, capsys):
  path = structure(tmp_path / 'p.pdb', ([90] * 6 + [50] * 2) * 12)
  assert cli.main(['trim', str(path), str(tmp_path)]) == 0
  shown = capsys.readouterr().out
  assert 'A 1-6, A 9-14, ' in shown and 'A 57-62 and 4 more\n' in shown and 'A 65-70' not in shown
  (domain,) = json.loads((tmp_path / 'p_trim.json').read_text())['domains']
  assert domain['ranges'] == [f'A {8 * i + 1}-{8 * i + 6}' for i in range(12)]


def test_without_a_pae_each_chain_is_a_domain_and_that_is_said(tmp_path):
  trimmed = trimming.trim(structure(tmp_path / 'p.pdb', [[90] * 12, [80] * 11], chain=['A', 'B']))
  assert [len(domain.residues) for domain in trimmed.domains] == [12, 11]
  assert trimmed.notes == (
    'no PAE, so no domains were looked for: each chain is one domain; --pae FILE names the PAE file',
  )
  assert trimming.trim(tmp_path / 'p.pdb', domains='none').notes == ()


def test_a_domain_of_a_complex_may_have_parts_of_several_chains(tmp_path):
  model = structure(tmp_path / 'p.pdb', [[90] * 12, [80] * 24], chain=['H', 'l'], first=101)
  pae = blocks(12, 12, 12)
  pae[:12, 12:24] = pae[12:24, :12] = 2.0
  trimmed = trimming.trim(model, tmp_path / 'out', pae=pae_file(tmp_path / 'any.json', pae))
  assert [list(map(str, domain.stretches)) for domain in trimmed.domains] == [['H 101-112', 'l 101-112'], ['l 113-124']]
  written = gemmi.read_structure(str(tmp_path / 'out' / 'p_domain_1.pdb'))[0]
  assert [(chain.name, str(chain[0].seqid), len(chain)) for chain in written] == [('H', '101', 12), ('l', '101', 12)]


def test_more_domains_than_wanted_are_merged_and_that_is_said(tmp_path):
  model, pae = (
    structure(tmp_path / 'p.pdb', [90] * 47 + [80]),
    pae_file(tmp_path / 'p_pae.json', blocks(12, 12, 12, 12)),
  )
  assert pae.exists() and len(trimming.trim(model).domains) == 4
  merged = trimming.trim(model, max_domains=3)
  assert [len(domain.residues) for domain in merged.domains] == [24, 12, 12]
  assert '4 domains were merged to 3' in merged.notes[0] and '20.0 Å' in merged.notes[0]


def test_a_plddt_from_0_to_1_is_noticed(tmp_path):
  trimmed = trimming.trim(structure(tmp_path / 'p.pdb', [0.9] * 12 + [0.4] * 3))
  assert why(trimmed) == [KEPT] * 12 + [LOW] * 3 and trimmed.residues[0].plddt == 90
  assert trimmed.model.warnings == ('pLDDT runs from 0 to 1 in this file and was read as 0 to 100 (largest: 0.9)',)


def refused(path: Path, message: str, **settings) -> None:
  with pytest.raises(InputError, match=f'{path.name}: .*{message}'):
    trimming.trim(path, **settings)


def test_b_factors_of_an_experiment_are_refused(tmp_path):
  refused(DATA / '1ctq_A.cif.gz', r'is an experiment \(method: X-RAY DIFFRACTION\), whose B-factors are no pLDDT')
  header = 'EXPDTA    SOLUTION NMR'
  refused(structure(tmp_path / 'nmr.pdb', [90] * 11 + [80], header=header), r'method: SOLUTION NMR')
  text = gzip.decompress((DATA / '1ctq_A.cif.gz').read_bytes()).decode()
  silent = tmp_path / 'silent.cif'
  silent.write_text('\n'.join(line for line in text.split('\n') if not line.startswith(('_exptl', '_refine'))))
  refused(silent, 'B-factors rise by .* to the ends of side chains, as in experiments')
  refused(DATA / 'complexes' / '2HHB.pdb.gz', 'all B-factors are 0, so they are no pLDDT')
  refused(structure(tmp_path / 'high.pdb', [20, 30, 140]), 'B-factors from 20 to 140 are no pLDDT')


def test_a_model_that_says_it_is_one_is_no_experiment(tmp_path):
  model = structure(tmp_path / 'afdb.pdb', [90] * 11 + [95], header='EXPDTA    THEORETICAL MODEL')
  assert trimming.trim(model).num_kept == 12


def test_where_nothing_is_left_the_message_says_how_near_it_was(tmp_path):
  refused(
    structure(tmp_path / 'p.pdb', [60] * 12 + [65]),
    'nothing is left: 0 of 13 residues have a pLDDT above 70 .the highest is 65.0.',
  )


def test_a_pae_of_another_protein_is_refused_by_both_names(tmp_path):
  pae_file(tmp_path / 'p_pae.json', blocks(10, 3))
  model = structure(tmp_path / 'p.pdb', [90] * 14 + [80])
  with pytest.raises(InputError, match=r'p_pae.json: PAE of 13 residues, but .*p.pdb has 15; give the PAE file'):
    trimming.trim(model)
  assert trimming.trim(model, domains='none').num_kept == 15


def test_residues_that_a_pdb_file_lacks_are_left_out_of_the_pae(tmp_path):
  pae = blocks(10, 2, 12)
  numbers = [f'{i} ' for i in (*range(1, 11), *range(13, 25))]
  model = structure(tmp_path / 'p.pdb', [90] * 21 + [91], numbers=numbers)
  trimmed = trimming.trim(model, pae=pae_file(tmp_path / 'any.json', pae))
  assert np.array_equal(trimmed.pae, np.delete(np.delete(pae, [10, 11], 0), [10, 11], 1))


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'min_plddt': 101}, 'min_plddt=101: must be a number from 0 to 100'),
    ({'min_plddt': '70'}, "min_plddt='70'"),
    ({'b_factors': 'other'}, "b_factors='other': choose one of phenix, mrparse, keep"),
    ({'domains': 'cath'}, "domains='cath': choose one of phenix, phenix_alt, croll, none"),
    ({'max_domains': -1}, 'max_domains=-1'),
    ({'min_fragment': 0}, 'min_fragment=0: must be a whole number from 1'),
  ],
)
def test_a_setting_that_cannot_be_is_named(settings, message):
  with pytest.raises(InputError, match=message):
    TrimSettings(**settings)


# ------------------------------------------------------------------------------------------ files


BEGIN = 100  # a smaller protein, which takes less time


@pytest.fixture(scope='module')
def linked(tmp_path_factory):
  """A prediction of two domains, trimmed by the command; its folder, what it says, and the files that were made."""
  folder = tmp_path_factory.mktemp('linked')
  linked_domains.linked(BEGIN).save(folder, job='linked', formats=('pdb', 'scores'))
  assert cli.main(['trim', str(folder), str(folder / 'out')]) == 0
  (path,) = (folder / 'out').glob('*_trim.json')
  return folder, path, json.loads(path.read_text())


def test_two_domains_on_a_linker_are_found_and_written(linked):
  folder, path, account = linked
  border = linked_domains.BORDER  # numbers begin behind what is left out
  first, second = account['domains']
  kept = [row for row in account['residues'] if row['why'] == KEPT]
  assert account['residues_kept'] == len(kept) > 140 and account['pae'].startswith('linked_scores_')
  assert {row['domain'] for row in kept if int(row['number']) <= border} == {1}
  assert {row['domain'] for row in kept if int(row['number']) > border} == {2}
  for domain in (first, second):
    (chain,) = gemmi.read_structure(str(path.with_name(domain['file'])))[0]
    rows = {row['number']: row for row in kept if row['domain'] == account['domains'].index(domain) + 1}
    assert chain.name == 'A' and [str(residue.seqid) for residue in chain] == list(rows)
    for residue in chain:
      assert {round(atom.b_iso, 2) for atom in residue} == {rows[str(residue.seqid)]['b_factor']}
    vrms = 0.25 + np.mean(bfactors.expected_rmsd(np.array([row['plddt'] for row in rows.values()])))
    assert domain['vrms'] == pytest.approx(vrms, abs=1e-3)
    assert f'REMARK PHASER ENSEMBLE MODEL 1 RMS {vrms:.2f}\n' in path.with_name(domain['file']).read_text()


def test_coordinates_and_atoms_stay_as_they_were(linked):
  folder, path, _ = linked
  (before,) = read_chains(next(folder.glob('*.pdb'))).values()
  (after,) = read_chains(next(path.parent.glob('*_trimmed.pdb'))).values()
  places = [before.numbering.index(number) for number in after.numbering]
  assert np.array_equal(before.atom_positions[places], after.atom_positions)
  assert np.array_equal(before.atom_mask[places], after.atom_mask)
  assert after.sequence == ''.join(before.sequence[i] for i in places)


def test_removed_sequences_are_written_from_15_residues_on(linked):
  _, path, account = linked
  fasta = next(path.parent.glob('*_removed.fasta')).read_text()
  assert [line[1:].split('_A_')[1] for line in fasta.splitlines() if line.startswith('>')] == [
    one['range'].removeprefix('A ') for one in account['removed']
  ]
  assert account['removed'] and all(len(one['sequence']) >= 15 for one in account['removed'])


def test_the_picture_shows_each_domain_in_its_colour(tmp_path):
  model, pae = structure(tmp_path / 'p.pdb', [90] * 29 + [80]), pae_file(tmp_path / 'any.json', blocks(15, 15))
  for trimmed in (trimming.trim(model, pae=pae), trimming.trim(model)):
    shown = {colour for _, colour in picture.draw(trimmed, dpi=72).getcolors(1 << 20)}
    for domain in trimmed.domains:
      assert tuple(bytes.fromhex(picture._colour(domain)[1:])) in shown


def test_the_reasons_name_every_number_and_its_source(linked):
  settings = linked[2]['settings']
  numbers = {'min_plddt': 70.0, 'max_domains': 0, 'min_fragment': 5, 'min_domain': 10, 'min_removed': 15}
  numbers |= {'pae_cutoff': 5.0, 'pae_power': 1.0, 'resolution': 0.5}
  assert {name: settings[name] for name in numbers} == numbers and 'process_predicted_model' in settings['source']


def test_a_file_that_was_trimmed_is_not_trimmed_again(linked):
  _, path, account = linked
  refused(path.with_name(account['domains'][0]['file']), 'was trimmed before, and holds no pLDDT any more')


def test_nothing_is_replaced_by_something_else_unless_asked_for(tmp_path):
  model, out = structure(tmp_path / 'p.pdb', [90] * 29 + [80]), tmp_path / 'out'
  pae_file(tmp_path / 'p_pae.json', blocks(15, 15))
  trimming.trim(model, out)
  before = {path.name: path.read_bytes() for path in out.iterdir()}
  assert sorted(before) == ['p_domain_1.pdb', 'p_domain_2.pdb', 'p_trim.json', 'p_trim.png', 'p_trimmed.pdb']
  trimming.trim(model, out)  # the same again
  assert {path.name: path.read_bytes() for path in out.iterdir()} == before
  with pytest.raises(InputError, match='p_.*: is there already, with other content; --overwrite replaces it'):
    trimming.trim(model, out, max_domains=1)
  assert {path.name: path.read_bytes() for path in out.iterdir()} == before
  files = trimming.trim(model, out, max_domains=1, overwrite=True).files
  assert sorted(path.name for path in files) == sorted(path.name for path in out.iterdir())
  assert not (out / 'p_domain_2.pdb').exists()


def test_a_b_factor_fits_its_column(tmp_path):
  model = structure(tmp_path / 'p.pdb', [0.5] * 12 + [90])
  trimming.trim(model, tmp_path, min_plddt=0)
  chain = gemmi.read_structure(str(tmp_path / 'p_trimmed.pdb'))[0]['A']
  assert chain[0][0].b_iso == pytest.approx(999.99) and chain[12][0].b_iso == pytest.approx(11.96)
  trimming.trim(model, tmp_path / 'kept', min_plddt=0, b_factors='keep')
  assert gemmi.read_structure(str(tmp_path / 'kept' / 'p_trimmed.pdb'))[0]['A'][12][0].b_iso == 90


def test_what_must_be_said_of_a_prediction_is_said_of_its_parts(tmp_path, capsys):
  single = 'MODEL OF SINGLE CHAINS: never trained on complexes'
  model = structure(tmp_path / 'p.pdb', [90] * 12 + [80], header=f'REMARK   6 {store.MINI.text}\nREMARK   6 {single}')
  assert cli.main(['trim', str(model), str(tmp_path / 'out')]) == 0
  assert store.MINI.text in (tmp_path / 'out' / 'p_domain_1.pdb').read_text()
  assert json.loads((tmp_path / 'out' / 'p_trim.json').read_text())['labels'] == [store.MINI.text, single]
  shown = capsys.readouterr().out
  assert store.MINI.text in shown and shown.endswith(f'Files are in {tmp_path / "out"}\n')
  trimmed = trimming.trim(model)
  plain = dataclasses.replace(trimmed, model=dataclasses.replace(trimmed.model, labels=()))
  labelled, unlabelled = picture.draw(trimmed, dpi=72), picture.draw(plain, dpi=72)
  assert labelled.height > unlabelled.height and labelled.width == unlabelled.width  # by a line above the title


# ------------------------------------------------------------------------------------------ the command


def test_one_bad_file_does_not_stop_the_rest(tmp_path, capsys):
  good, bad = structure(tmp_path / 'good.pdb', [90] * 12 + [80]), tmp_path / 'bad.pdb'
  bad.write_text('ATOM\n')
  folder = str(tmp_path / 'out')
  assert cli.main(['trim', str(bad), str(tmp_path / 'none.pdb'), str(good), folder]) == 1
  said = capsys.readouterr()
  assert 'good: 13 of 13 residues kept, 1 domain' in said.out and 'good_trim.json' in str(list(Path(folder).iterdir()))
  assert 'bad.pdb: ' in said.err and 'none.pdb: no such file' in said.err and '2 of 3 could not be trimmed' in said.err
  assert cli.main(['trim', str(bad), folder]) == 2 and 'Traceback' not in capsys.readouterr().err


def test_of_a_results_folder_the_best_model_of_each_protein_is_trimmed(tmp_path, capsys):
  for name in ('a_unrelaxed_rank_001_mini_model_1_seed_000', 'a_unrelaxed_rank_002_mini_model_1_seed_001', 'b'):
    structure(tmp_path / f'{name}.pdb', [90] * 12 + [85 if '001_m' in name else 80])
  assert cli.main(['trim', str(tmp_path), str(tmp_path)]) == 0
  assert sorted(path.name for path in tmp_path.glob('*.json')) == ['a_trim.json', 'b_trim.json']
  assert json.loads((tmp_path / 'a_trim.json').read_text())['residues'][-1]['plddt'] == 85
  assert cli.main(['trim', str(tmp_path), str(tmp_path)]) == 0  # what it made itself is no prediction
  rank = str(tmp_path / 'a_unrelaxed_rank_002_mini_model_1_seed_001.pdb')
  assert cli.main(['trim', rank, str(tmp_path)]) == 0
  assert (tmp_path / 'a_unrelaxed_rank_002_mini_model_1_seed_001_trim.json').exists()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['out'], 'out: give FILES and OUT'),
    (['p.pdb', 'out', '--min-plddt', '170'], '--min-plddt 170.0: must be a number from 0 to 100'),
    (['p.pdb', 'out', '--domains', 'phenx'], 'did you mean phenix?'),
    (['p.pdb', 'q.pdb', 'out', '--pae', 'x.json'], '--pae x.json: the PAE of one structure, but there are 2'),
  ],
)
def test_wrong_usage_exits_2_and_makes_nothing(arguments, message, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ('p.pdb', 'q.pdb'):
    structure(tmp_path / name, [90] * 12 + [80])
  assert cli.main(['trim', *arguments]) == 2
  assert message in capsys.readouterr().err and not (tmp_path / 'out').exists()


def test_a_name_too_long_for_a_pdb_file_is_refused(tmp_path):
  renamed = gemmi.read_structure(str(structure(tmp_path / 'p.pdb', [90] * 12 + [80])))
  renamed[0][0].name = 'AAA'
  renamed.setup_entities()
  renamed.make_mmcif_document().write_file(str(tmp_path / 'long.cif'))
  with pytest.raises(InputError, match="long.cif: chain 'AAA': a PDB file holds names of 2 letters at most"):
    trimming.trim(tmp_path / 'long.cif', tmp_path)
