# SPDX-License-Identifier: Apache-2.0
"""Scripts for ChimeraX and PyMOL, as those programs would run them; vector plots; the other forms of a prediction."""

import functools
import json
import re
import types
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from random_complexes import prediction_of

from alphafold_jax import errors
from alphafold_jax.constants import residues
from alphafold_jax.data import structures
from alphafold_jax.output import compact, files, pdb, plots, vectors
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.plots import PLDDT_BANDS
from alphafold_jax.output.record import Report

DATA = Path(__file__).parent / 'data'
ODD = 'it\'s a "job"; \u03b1'


def report(count=3, name='A2B', job=ODD, **options) -> Report:
  tags = [f'rank_00{rank}_alphafold2_ptm_model_{rank}_seed_000' for rank in range(1, count + 1)]
  return Report(job, [prediction_of(name)] * count, tags, **options)


def text_of(which, given, folder) -> str:
  (path,) = files.write(given, folder, [which]).paths
  return path.read_text(encoding='utf-8')


def run_in_pymol(text: str, folder) -> tuple[list, dict, list]:
  """What a PML script loads, its colours, and what it colours: blocks of Python are run, other lines are read."""
  block, inside = [], False
  colours, coloured, loaded = {}, [], []
  for line in text.splitlines():
    if line in ('python', 'python end'):
      inside = line == 'python'
    elif inside:
      block.append(line)
    elif found := re.fullmatch(r'set_color (\w+), \[(.*)\]', line):
      colours[found[1]] = [float(part) for part in found[2].split(',')]
    elif found := re.fullmatch(r'color (\w+), (.*)', line):
      coloured.append((found[1], found[2]))
  cmd = types.SimpleNamespace(
    load=lambda path, name: loaded.append((path, name)), _pymol=types.SimpleNamespace(__script__=f'{folder}/x.pml')
  )
  code = '\n'.join(line for line in block if line != 'from pymol import cmd')
  exec(code, {'cmd': cmd})
  return loaded, colours, coloured


def test_pymol_loads_the_ranked_structures_that_are_there_by_any_name(tmp_path):
  given = report()
  there = {str(path) for path in files.write(given, tmp_path, ['mmcif']).paths}
  loaded, colours, coloured = run_in_pymol(text_of('pymol', given, tmp_path), tmp_path)
  assert [name for _, name in loaded] == ['rank_1', 'rank_2', 'rank_3'] and {path for path, _ in loaded} == there
  exact = [tuple(bytes.fromhex(colour[1:])) for _, _, colour, _ in reversed(PLDDT_BANDS)]
  assert [tuple(round(255 * part) for part in colours[name]) for name, _ in coloured] == exact
  assert [which for _, which in coloured] == ['all', 'b > 49.995', 'b > 69.995', 'b > 89.995']


def test_chimerax_opens_the_ranked_structures_that_are_there_by_any_name(tmp_path):
  given = report()
  there = {path.name for path in files.write(given, tmp_path, ['mmcif']).paths}
  lines = text_of('chimerax', given, tmp_path).splitlines()
  opened = [json.loads(line.removeprefix('open ')) for line in lines if line.startswith('open ')]
  assert len(opened) == 3 and set(opened) == there
  bands = [line.split()[1:3] for line in lines if line.startswith('color ')]
  assert bands == [[f'@@bfactor>={low}', colour] for low, _, colour, _ in reversed(PLDDT_BANDS)]
  assert 'name chain_B /B' in lines and 'matchmaker #2-3 to #1' in lines


@pytest.mark.parametrize('which', ['chimerax', 'pymol'])
def test_notes_are_comments_of_a_script_and_never_commands(which, tmp_path):
  given = report(count=1, name='two')
  given.predictions[0] = types.SimpleNamespace(notes=('MINI MODEL:\nclose all',), chains=('A', 'x y'))
  lines = text_of(which, given, tmp_path).splitlines()
  assert '# MINI MODEL: close all' in lines and not [line for line in lines if line.startswith('close')]
  assert not [
    line for line in lines if re.match('(align|matchmaker|disable)', line)
  ]  # there is nothing beside the best
  assert ('# chain x y' in lines) == (which == 'pymol') or 'name chain_x_y /x_y' in lines


def test_a_single_chain_is_named_nowhere(tmp_path):
  one = prediction_of('two')
  one.arrays['asym_id'] = np.ones(53, int)
  given = Report('job', [one], ['rank_001_x_model_1_seed_000'])
  for which in ('chimerax', 'pymol'):
    assert 'chain' not in text_of(which, given, tmp_path)


# ------------------------------------------------------------------------------------------ plots


TOKENS = np.random.default_rng(0).integers(0, 22, (30, 82))


@functools.cache
def vector(kind: str) -> bytes:
  prediction = prediction_of('A2B')
  draw = functools.partial(plots.plddt, [prediction] * 2, ['rank_001', 'rank_002'], 'costs $1_000 & <more>\0')
  return vectors.written(draw, kind)


def test_an_svg_has_its_text_as_text_and_its_curves_as_paths():
  svg = vector('svg').decode()
  words = re.findall(r'>([^<>]+)</text>', svg)
  assert 'costs $1_000 &amp; &lt;more&gt;\ufffd: predicted lDDT per residue' in words
  assert {'Position', 'very high', '90–100', 'A', 'B', 'C', '0', '100'} <= set(words)
  assert '<image' not in svg and svg.count('<path') > 10
  assert all(colour.lower() in svg for colour in (plots._paled(colour) for _, _, colour, _ in PLDDT_BANDS))


def test_matrices_alone_are_images_in_a_vector_file():
  svg = vectors.written(functools.partial(plots.pae, [prediction_of('A2B')], ['rank_001']), 'svg').decode()
  assert svg.count('<image') == 2 and 'Expected position error (Å)' in svg  # the matrix and its scale


@pytest.mark.slow
def test_a_pdf_embeds_its_letters_and_the_same_picture_is_the_same_file():
  pdf = vector('pdf')
  assert pdf.startswith(b'%PDF') and b'DejaVuSans' in pdf and b'/CIDFontType2' in pdf
  vector.cache_clear()
  assert vector('pdf') == pdf and b'/CreationDate' not in pdf


@pytest.mark.slow
def test_pictures_are_written_in_each_kind_that_is_asked_for(tmp_path):
  given = report(count=1, job='job', msa_tokens=TOKENS)
  written = files.write(given, tmp_path, ['coverage_plot_svg', 'pae_plot_pdf', 'plddt_plot'])
  assert {path.name for path in written.paths} == {'job_coverage.svg', 'job_pae.pdf', 'job_plddt.png'}
  assert (tmp_path / 'job_plddt.png').read_bytes().startswith(b'\x89PNG')


# ------------------------------------------------------------------------------------------ AlphaFold DB, Foldcomp


def test_files_of_alphafold_db_have_its_forms(tmp_path):
  one = prediction_of('two')
  one.arrays['plddt'] = np.concatenate([[49.99, 50, 70, 90], np.full(49, 95.5)])
  names = ['afdb_pdb', 'afdb_mmcif', 'afdb_confidence', 'afdb_pae']
  written = files.write(Report('P01112', [one], ['x']), tmp_path, names)
  assert [path.name for path in written.paths] == [
    'AF-P01112-F1-model_v4.pdb',
    'AF-P01112-F1-model_v4.cif',
    'AF-P01112-F1-confidence_v4.json',
    'AF-P01112-F1-predicted_aligned_error_v4.json',
  ]
  confidence, (pae,) = (json.loads(path.read_text()) for path in written.paths[2:])
  assert list(confidence) == ['residueNumber', 'confidenceScore', 'confidenceCategory']
  assert confidence['confidenceCategory'][:5] == ['D', 'L', 'M', 'H', 'H']
  assert confidence['residueNumber'][32:34] == [33, 1]
  assert pae['max_predicted_aligned_error'] == 31.75
  assert np.array(pae['predicted_aligned_error']).dtype == int
  np.testing.assert_allclose(pae['predicted_aligned_error'], one.pae, atol=0.5001)


def chain() -> Any:
  """A chain of a known structure, with some pLDDT."""
  known = structures.read_chain(DATA / '1aie_A.cif.gz')
  num_res = len(known.sequence)
  arrays = {
    'aatype': np.array([residues.LETTER_TO_TOKEN[letter] for letter in known.sequence]),
    'residue_index': np.arange(num_res),
    'asym_id': np.ones(num_res, int),
    'atom_positions': known.atom_positions,
    'atom_mask': known.atom_mask,
    'plddt': np.linspace(40, 98, num_res),
  }
  return Prediction('p', 'p', 'model_1', 0, 70.0, None, (), arrays)


def test_foldcomp_gives_back_the_structure_in_less_room():
  import foldcomp

  one = chain()
  packed = compact.to_foldcomp(one, 'job')
  name, text = foldcomp.decompress(packed)
  structure = gemmi.read_pdb_string(text)
  back = [residue['CA'][0] for residue in structure[0][0]]
  deviation = np.array([atom.pos.tolist() for atom in back]) - one.atom_positions[:, 1]
  assert name == 'job' and np.sqrt(np.mean(np.sum(deviation**2, axis=-1))) < 0.1
  np.testing.assert_allclose([atom.b_iso for atom in back], one.plddt, atol=np.ptp(one.plddt) / 255 + 0.01)
  assert len(packed) < 0.2 * len(pdb.to_pdb(one))


def test_what_foldcomp_cannot_hold_is_refused():
  with pytest.raises(errors.InputError, match='2 chains: Foldcomp holds one chain'):
    compact.to_foldcomp(prediction_of('two'), 'job')
  one = chain()
  short = one.alone(one.arrays)
  short.arrays.update({name: array[:2] for name, array in one.arrays.items()})
  with pytest.raises(errors.InputError, match='fewer than 3 residues'):  # of one the package crashes
    compact.to_foldcomp(short, 'job')
  for changes, message in (
    ({'residue_index': one.residue_index + (one.residue_index > 4)}, 'residue 7 follows 5'),
    (
      {'atom_positions': one.atom_positions * 1.3},
      r'CA atoms would come back \d+\.\d\d Å off .*more than 0.3 Å, .* lengths and angles: take the PDB or mmCIF file',
    ),
    (
      {'atom_positions': one.atom_positions + 9.0 * (np.arange(len(one.plddt)) > 9)[:, None, None]},
      r'broken in 1 place, widest behind residue 10 \(1\d\.\d Å from C to N, 1.33 in a bond\): .*--amber',
    ),
    ({'atom_mask': one.atom_mask * (np.arange(len(one.plddt)) != 3)[:, None]}, 'residue 4 has no atom C'),
  ):
    gap = one.alone(one.arrays)
    gap.arrays.update(changes)
    with pytest.raises(errors.InputError, match=message):
      compact.to_foldcomp(gap, 'job')
