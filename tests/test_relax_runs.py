# SPDX-License-Identifier: Apache-2.0
"""Relaxation at the end of a run: it depends on the predictions, and they never on it."""

import dataclasses
import re
import zipfile

import gemmi
import numpy as np
import pytest
import small_structures
from small_runs import ALONE, SEQUENCE, count_predictions, fasta, load_json, names, predict

import alphafold_jax as afj
from alphafold_jax import cli, relaxation
from alphafold_jax.errors import ResourceError
from alphafold_jax.output import record
from alphafold_jax.relaxation import folder, relaxing, starting
from alphafold_jax.runs import relaxing as stage

pytestmark = pytest.mark.slow
PAGED = tuple(one.replace('report,', '') for one in ALONE)
TAG = record.tag('model_1_ptm', 0, 1)
STRUCTURE, RECORD = f'p_relaxed_{TAG}.pdb', f'p_relax_{TAG}.json'
HOW = (
  'force field amber99sb, all pairs in vacuum; restraints of 10 kcal/mol/Å²; to a force of 2.39 kcal/mol/Å, at most '
  '2,000 steps; 1 round of at most 3; OpenMM 8.2, pdbfixer 1.9, CPU'
)


@pytest.fixture
def installed(monkeypatch):
  """Does not look for OpenMM."""
  monkeypatch.setattr(stage, 'check_installed', lambda *, tried: None)


@pytest.fixture
def relaxed(monkeypatch, installed):
  """Puts what is unrelaxed in the place of what is relaxed; a list of what was asked for, by name."""
  asked = []

  def relax_all(paths, plan, ended):
    for i, path in enumerate(paths):
      asked.append(path.name)
      facts = {
        'remaining_violations': [0.0],
        'remaining_violations_count': 0.0,
        'energy_before': 2.0,
        'energy_after': 1.0,
      }
      facts |= {'violating_residues_before': 0, 'violations_before': {'clashes': 0}, 'violations_after': {'clashes': 0}}
      facts |= {'rmsd_heavy_atoms': 0.1, 'seconds': 1.0, 'platform': 'CPU', 'notes': []}
      facts |= {'protocol': dataclasses.asdict(plan.protocol), 'rounds': [{}], 'openmm': '8.2', 'pdbfixer': '1.9'}
      ended(i, relaxation.Relaxed(path.read_text(), '.pdb', facts))

  monkeypatch.setattr(stage, 'relax_all', relax_all)
  return asked


@pytest.fixture
def broken(monkeypatch, installed):
  """Nothing can be relaxed."""

  def relax_all(paths, plan, ended):
    for i, path in enumerate(paths):
      ended(i, ResourceError(f'{path}: not relaxed within 1 s'))

  monkeypatch.setattr(stage, 'relax_all', relax_all)


def test_the_best_are_relaxed_kept_and_relaxed_no_second_time(tmp_path, relaxed, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *ALONE) == 0 and not relaxed
  before = {name: (out / name).read_bytes() for name in names(out) if name.startswith('p')}
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *ALONE, '--amber') == 0
  assert not computed and relaxed == [f'p_unrelaxed_{TAG}.pdb'] and {STRUCTURE, RECORD} <= names(out)
  assert before.items() <= {name: (out / name).read_bytes() for name in names(out)}.items()
  assert load_json(out / folder.METRICS)[STRUCTURE.removesuffix('.pdb')]['remaining_violations_count'] == 0
  works = ('Jumper2021', 'Eastman2024', 'Hornak2006')
  assert all((out / 'cite.bibtex').read_text().count(one) == 1 for one in works)
  (out / STRUCTURE).unlink()
  assert predict(source, out, *ALONE, '--num-relax', '1') == 0
  assert len(relaxed) == 1 and STRUCTURE in names(out)
  # other seeds change the ranks: what was relaxed follows, and only what lacks is relaxed
  assert predict(source, out, *ALONE, '--num-seeds', '2', '--amber') == 0
  assert len(relaxed) == 2 and len(computed) == 1
  ranked = {name.replace('_unrelaxed_', '_relaxed_') for name in names(out) if '_unrelaxed_' in name and '.pdb' in name}
  assert {name for name in names(out) if '_relaxed_' in name} == ranked and len(ranked) == 2
  for name in ranked:
    assert (out / name).read_text() == (out / name.replace('_relaxed_', '_unrelaxed_')).read_text()
  # so it does in a run that relaxes nothing, and the third stays as it is
  assert predict(source, out, *ALONE, '--num-seeds', '3') == 0
  assert all((out / 'cite.bibtex').read_text().count(one) == 1 for one in works)  # what they are made with
  moved = [name for name in names(out) if '_relaxed_' in name]
  assert len(moved) == 2 and {name.removesuffix('.pdb') for name in moved} == load_json(out / folder.METRICS).keys()
  for name in moved:
    assert (out / name).read_text() == (out / name.replace('_relaxed_', '_unrelaxed_')).read_text()


@pytest.mark.parametrize('packed', [(), ('--zip',)])
def test_files_made_anew_without_relaxation_keep_what_was_relaxed(tmp_path, relaxed, packed, capsys):
  def texts():
    if not packed:
      return {name: (out / name).read_bytes() for name in names(out)}
    with zipfile.ZipFile(out / 'p.result.zip') as archive:
      return {name: archive.read(name) for name in archive.namelist()}

  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *PAGED, '--num-seeds', '2', '--amber', *packed) == 0
  before, metrics = texts(), (out / folder.METRICS).read_bytes()
  (out / ('p.result.zip' if packed else 'p.html')).unlink()
  capsys.readouterr()
  assert predict(source, out, *PAGED, '--num-seeds', '2', *packed) == 0 and len(relaxed) == 2
  assert 'removed' not in capsys.readouterr().out and (out / folder.METRICS).read_bytes() == metrics
  of_relaxation = {name for name in before if '_relax' in name} - {folder.METRICS}
  after = texts()
  assert len(of_relaxation) == 4 and {name: before[name] for name in of_relaxation}.items() <= after.items()
  assert all(after['p.html'].decode().count(f'href="./{name}"') == 1 for name in of_relaxation)
  assert all(after['p.html'].decode().count(work) == 1 for work in ('Jumper2021', 'Eastman2024', 'Hornak2006'))


def test_what_was_relaxed_of_other_predictions_goes_for_the_true_reason(tmp_path, relaxed, capsys):
  out = tmp_path / 'out'
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), out, *ALONE, '--amber') == 0
  capsys.readouterr()
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE[::-1]), out, *ALONE) == 0
  shown = ' '.join(capsys.readouterr().out.split())
  assert 'of an earlier run of another sequence, alignment or templates' in shown and '--amber' not in shown
  assert not [name for name in names(out) if '_relax' in name]
  # the other protein again: its predictions are computed anew, and are those that were relaxed
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), out, *ALONE) == 0
  assert {STRUCTURE, RECORD} <= names(out) and len(relaxed) == 1


def test_of_two_protocols_the_last_stays(tmp_path, relaxed):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  for protocol in ('official', 'fast', 'official'):
    assert predict(source, out, *PAGED, '--amber', '--relax-protocol', protocol) == 0
  (out / 'p.html').unlink()
  assert predict(source, out, *PAGED) == 0 and len(relaxed) == 2
  assert load_json(out / RECORD)['protocol']['name'] == 'official'


def test_the_closing_lines_count_what_was_relaxed(tmp_path, relaxed, monkeypatch, capsys):
  def closing():
    lines = capsys.readouterr().out.splitlines()
    row = next(line.split() for line in lines if re.match('p +1 +model_1_ptm', line))
    said = next((line for line in lines if line.startswith('Relaxed: ')), None)
    return said, int(row[row.index('s') + 1])  # behind the seconds: the number of files

  source, out, metrics = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out', folder.METRICS
  assert predict(source, out, *ALONE, '--num-seeds', '2') == 0
  there = f'structures: {out / "*_relaxed_rank_*"}'
  said, alone = closing()
  assert said is None
  assert predict(source, out, *ALONE, '--num-seeds', '2', '--num-relax', '1') == 0
  assert closing() == (f'Relaxed: 1 of 1 prediction; 1 left unrelaxed; {there}; energies: {out / metrics}', alone + 2)
  assert predict(source, out, *ALONE, '--num-seeds', '2', '--amber') == 0
  assert closing() == (f'Relaxed: 2 of 2 predictions, 1 of them earlier; {there}; energies: {out / metrics}', alone + 4)
  monkeypatch.setattr(stage, 'relax_all', lambda paths, plan, ended: ended(0, ResourceError('no')))
  assert predict(source, out, *ALONE, '--num-seeds', '3', '--amber') == 1
  assert closing()[0] == f'Relaxed: 2 of 3 predictions, 2 of them earlier; 1 failed; {there}; energies: {out / metrics}'


def test_what_cannot_be_relaxed_is_a_failure_and_the_predictions_stay(tmp_path, broken, capsys):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=SEQUENCE[:16]), tmp_path / 'out'
  assert predict(source, out, *ALONE, '--num-relax', '1') == 1
  failures = load_json(out / 'failures.json')
  failed = sorted((one['job'], one['stage'], one['error'], one['model'], one['seed']) for one in failures)
  assert failed == [(job, 'relax', 'ResourceError', 'model_1_ptm', 0) for job in 'pq']
  assert f'p_unrelaxed_{TAG}.pdb' in names(out) and 'p.done.txt' in names(out)
  assert {one['message'] for one in failures} == {f'{job}_unrelaxed_{TAG}.pdb: not relaxed within 1 s' for job in 'pq'}
  assert 'not relaxed within 1 s' in capsys.readouterr().out
  assert predict(source, out, *ALONE) == 0 and 'failures.json' not in names(out)


def test_in_an_archive_the_relaxed_are_with_the_others(tmp_path, relaxed):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  for _ in range(2):
    assert predict(source, out, *ALONE, '--zip', '--amber') == 0
    with zipfile.ZipFile(out / 'p.result.zip') as archive:
      assert {STRUCTURE, RECORD, f'p_unrelaxed_{TAG}.pdb'} <= set(archive.namelist())
  assert len(relaxed) == 1 and STRUCTURE not in names(out) and folder.METRICS in names(out)


@pytest.mark.parametrize('packed', [(), ('--zip',)])
def test_the_best_is_relaxed_under_names_of_alphafold_db_too(tmp_path, relaxed, packed):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  for _ in range(2):
    assert predict(source, out, *ALONE, '--naming', 'afdb', '--num-relax', '1', *packed) == 0
    assert len(relaxed) == 1 and 'failures.json' not in names(out)
    there = names(out) if not packed else set(zipfile.ZipFile(out / 'p.result.zip').namelist())
    assert {STRUCTURE, RECORD, 'AF-p-F1-model_v4.pdb'} <= there
  assert list(load_json(out / folder.METRICS)) == [STRUCTURE.removesuffix('.pdb')]


def test_the_page_of_a_protein_links_what_is_relaxed_after_it(tmp_path, relaxed):
  def linked(text):
    names = {name for name in (STRUCTURE, RECORD) if text.count(f'href="./{name}"') == 1}
    assert text.count(f'<dt>{STRUCTURE}</dt><dd>official protocol: {HOW}</dd>') == bool(names)
    return names

  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *PAGED) == 0 and not linked((out / 'p.html').read_text())
  for _ in range(2):
    assert predict(source, out, *PAGED, '--amber') == 0
    assert linked((out / 'p.html').read_text()) == {STRUCTURE, RECORD}
  for _ in range(2):
    assert predict(source, out, *PAGED, '--amber', '--zip') == 0
    with zipfile.ZipFile(out / 'p.result.zip') as archive:
      assert linked(archive.read('p.html').decode()) == {STRUCTURE, RECORD}
  # of all models that are there now, those that were relaxed are named by their new ranks
  assert predict(source, out, *PAGED, '--num-seeds', '2') == 0
  text, (moved,) = (out / 'p.html').read_text(), out.glob('p_relaxed_*.pdb')
  assert moved.name.partition('_model_')[2] == STRUCTURE.partition('_model_')[2]
  assert text.count(f'<dt>{moved.name}</dt>') == text.count(f'href="./{moved.name}"') == 1
  assert text.count('_relaxed_rank') == 3  # name, address and words of the link


def test_shards_relax_each_prediction_once(tmp_path, relaxed):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=SEQUENCE[::-1]), tmp_path / 'out'
  for shard in ('1/2', '2/2'):
    assert predict(source, out, *ALONE, '--amber', '--shard', shard) == 0
  assert sorted(relaxed) == [f'{job}_unrelaxed_{TAG}.pdb' for job in 'pq']
  assert {STRUCTURE, STRUCTURE.replace('p_', 'q_', 1)} <= names(out)
  assert len(load_json(out / folder.METRICS)) == 2


def test_a_prediction_is_relaxed_for_real(tmp_path):
  source, out = fasta(tmp_path / 'p.fasta', p='GSHMKELAAR'), tmp_path / 'out'
  flags = '--msa-mode', 'single_sequence', '--model-type', 'mini', '--num-recycle', '0', '--skip-output', 'plots'
  assert predict(source, out, *flags, '--amber', '--relax-protocol', 'fast') == 0
  made = load_json(next(out.glob('p_relax_*.json')))
  assert made['energy_after'] < made['energy_before'] and made['platform'] == 'CPU'
  assert 'MINI MODEL' in next(out.glob('p_relaxed_*.pdb')).read_text()


def test_the_command_relaxes_files_and_says_which_it_could_not(tmp_path, capsys):
  one = small_structures.structure('1aie_A', 0, 6)
  small_structures.write(one, tmp_path / 'good.cif')
  one[0][0][2].name = 'DAL'
  small_structures.write(one, tmp_path / 'bad.pdb')
  out, command = tmp_path / 'out', ['relax', str(tmp_path), str(tmp_path / 'out'), '--relax-protocol', 'fast']
  assert cli.main(command) == 1
  shown = capsys.readouterr().out
  assert 'D-amino acid: DAL A 3' in shown and '1 of 2 structures relaxed' in shown
  assert {'good_relaxed.cif', 'good_relax.json', folder.METRICS} <= names(out)
  assert len(gemmi.read_structure(str(out / 'good_relaxed.cif'))[0][0]) == 6
  (tmp_path / 'bad.pdb').unlink()
  assert cli.main(command) == 0
  assert 'done already: 1 structure' in capsys.readouterr().out


def test_a_prediction_at_hand_is_relaxed_with_its_notes_also_without_a_solvent(tmp_path):
  path = small_structures.write(small_structures.structure('1aie_A', 0, 5), tmp_path / 'x.pdb')
  start = starting.read_start(path)
  arrays = {'aatype': start.aatype, 'residue_index': np.arange(5), 'asym_id': np.ones(5, int)}
  arrays |= {'atom_positions': start.positions, 'atom_mask': start.mask.astype(float), 'plddt': np.linspace(40, 90, 5)}
  scores = {'mean_plddt': 65.0, 'ptm': None, 'passes': (), 'notes': ('MINI MODEL: small',)}
  one = afj.Prediction(name='x', job='x', model_name='model_1_ptm', seed=0, arrays=arrays, **scores)
  found = afj.relax(one, protocol='fast', implicit_solvent=False)
  assert found.record['energy_after'] < found.record['energy_before'] and 'MINI MODEL: small' in found.text
  b_factors = [residue['CA'][0].b_iso for residue in gemmi.read_pdb_string(found.text)[0][0]]
  np.testing.assert_allclose(b_factors, arrays['plddt'], atol=0.005)


def test_a_driver_that_takes_the_process_with_it_leaves_the_work_to_cpus(tmp_path, monkeypatch):
  path = small_structures.write(small_structures.structure('1aie_A', 0, 5), tmp_path / 'x.pdb')
  answered = relaxing._answered

  def on_cpus(processes, path, plan, platforms, *rest):
    if 'CUDA' in platforms:
      raise relaxing._Died('was ended by SIGSEGV')
    return answered(processes, path, plan, platforms, *rest)

  monkeypatch.setattr(relaxing, '_answered', on_cpus)
  assert relaxation.relax(path, 'fast', use_gpu=True).record['platform'] == 'CPU'
