# SPDX-License-Identifier: Apache-2.0
"""Files of predicted aligned errors: every form that circulates, the file beside a structure, and damaged ones."""

import gzip
import json

import numpy as np
import pytest
from random_complexes import prediction_of

from alphafold_jax.data.pae_files import pae_beside, read_pae
from alphafold_jax.errors import InputError
from alphafold_jax.output import scores

PAE = np.array([[0.2, 3.5, 12.0], [4.5, 0.2, 7.5], [20.0, 8.0, 0.2]], np.float32)  # row aligned, column scored
PAIRS = [(i + 1, j + 1, float(PAE[i, j])) for i in range(3) for j in range(3)]
FORMS = {
  'AlphaFold, AlphaFold DB': [{'predicted_aligned_error': PAE.tolist(), 'max_predicted_aligned_error': 31.75}],
  'ColabFold': {'predicted_aligned_error': PAE.tolist(), 'max_predicted_aligned_error': 20.0},
  'AlphaFold DB until 2022': [dict(zip(('residue1', 'residue2', 'distance'), map(list, zip(*PAIRS))))],
  'pairs in another order': [dict(zip(('residue1', 'residue2', 'distance'), map(list, zip(*PAIRS[::-1]))))],
  'the matrix alone': PAE.tolist(),
  'scores': {'plddt': [90.0, 80.0, 70.0], 'max_pae': 20.0, 'pae': PAE.tolist(), 'ptm': 0.5},
}


@pytest.mark.parametrize('form', FORMS)
def test_every_form_gives_the_same_matrix(form, tmp_path):
  path = tmp_path / 'pae.json.gz'
  path.write_bytes(gzip.compress(json.dumps(FORMS[form]).encode()))
  found = read_pae(path)
  assert found.dtype == np.float32 and np.array_equal(found, PAE.astype(np.float32))


def test_arrays_are_read_and_no_pickle(tmp_path):
  np.savez_compressed(tmp_path / 'pae.npz', pae=PAE, plddt=np.ones(3))
  assert np.array_equal(read_pae(tmp_path / 'pae.npz'), PAE)
  np.savez(tmp_path / 'objects.npz', pae=np.array([{}], object))
  np.save(tmp_path / 'pae.npy', PAE)
  (tmp_path / 'result.pkl').write_bytes(b'\x80\x04]\x94.')
  with pytest.raises(InputError, match='objects.npz: no readable .npz file'):
    read_pae(tmp_path / 'objects.npz')
  with pytest.raises(InputError, match='pae.npy: a .npy file is not read; write the matrix as JSON'):
    read_pae(tmp_path / 'pae.npy')
  with pytest.raises(InputError, match='result.pkl: a pickle, which could run any program, is not read'):
    read_pae(tmp_path / 'result.pkl')


def test_all_that_is_written_here_comes_back(tmp_path):
  prediction = prediction_of('many short')
  written = {'a': scores.scores_json, 'b': scores.pae_json, 'c': scores.pae_json_afdb}
  for name, render in written.items():
    (tmp_path / name).write_text(render(prediction))
    assert np.abs(read_pae(tmp_path / name) - prediction.pae).max() < (0.0501 if name == 'c' else 0.00501)


BESIDE = {
  'job_unrelaxed_rank_002_alphafold2_ptm_model_1_seed_0.pdb': 'job_scores_rank_002_alphafold2_ptm_model_1_seed_0.json',
  'job_relaxed_rank_001_mini_model_1_seed_000.cif': 'job_scores_rank_001_mini_model_1_seed_000.json',
  'a_unrelaxed_rank_001_alphafold2_ptm_model_3_seed_000.pdb': 'a_predicted_aligned_error_v1.json',
  'AF-P01112-F1-model_v4.cif.gz': 'AF-P01112-F1-predicted_aligned_error_v4.json',
  'relaxed_model_1_ptm_pred_0.pdb': 'pae_model_1_ptm_pred_0.json',
  'fold_x_model.cif': 'fold_x_confidences.json',
  'fold_x_model_0.cif': 'fold_x_full_data_0.json',
  'boltz_model_0.cif': 'pae_boltz_model_0.npz',
  'mine.pdb': 'mine_pae.json.gz',
}


@pytest.mark.parametrize('structure', BESIDE)
def test_the_file_beside_a_structure_is_found_by_the_names_of_its_program(structure, tmp_path):
  path, content = tmp_path / BESIDE[structure], json.dumps(FORMS['ColabFold']).encode()
  path.write_bytes(gzip.compress(content) if path.suffix == '.gz' else content)
  found = pae_beside(tmp_path / structure)
  assert found is not None and found[0] == path and np.array_equal(found[1], PAE)
  assert pae_beside(tmp_path / f'another_{structure}') is None


def test_the_ranked_files_of_alphafold_have_the_pae_of_their_model(tmp_path):
  (tmp_path / 'ranking_debug.json').write_text(json.dumps({'order': ['model_2_ptm_pred_0', 'model_1_ptm_pred_0']}))
  (tmp_path / 'pae_model_1_ptm_pred_0.json').write_text(json.dumps(FORMS['AlphaFold, AlphaFold DB']))
  assert pae_beside(tmp_path / 'ranked_0.pdb') is None and pae_beside(tmp_path / 'ranked_2.pdb') is None
  assert pae_beside(tmp_path / 'ranked_1.pdb')[0].name == 'pae_model_1_ptm_pred_0.json'


def test_scores_of_a_model_without_pae_are_passed_over(tmp_path):
  (tmp_path / 'p_scores_rank_001_alphafold2_model_1_seed_000.json').write_text('{"plddt": [90.0]}')
  assert pae_beside(tmp_path / 'p_unrelaxed_rank_001_alphafold2_model_1_seed_000.pdb') is None


DAMAGED = {
  'cut off': ('[{"predicted_aligned_error": [[0.2, 3.5', 'not JSON .*or of another kind; copy or download it again'),
  'not square': ({'predicted_aligned_error': [[1, 2, 3], [4, 5, 6]]}, 'the PAE is 2 x 3 and not square'),
  'ragged': ({'predicted_aligned_error': [[1, 2], [3]]}, 'is no table of numbers'),
  'NaN': ('{"pae": [[1, NaN], [2, 1]]}', 'residue 2 aligned on residue 1 is nan, and must be a number of Å from 0'),
  'null': ('{"pae": [[1, null], [2, 1]]}', 'is no table of numbers|is nan'),
  'negative': ({'pae': [[1, 2], [-3, 1]]}, 'residue 1 aligned on residue 2 is -3.0'),
  'without PAE': ({'plddt': [1], 'ptm': 0.5}, 'no PAE in it: .*it holds plddt, ptm; give the PAE file'),
  'a list of numbers': ([1.0, 2.0], 'no PAE in it: .*it holds a list; give the PAE file'),
  'rows of a text': ('0.2 3.5\n4.5 0.2\n', 'not JSON .*or of another kind; .*give JSON or .npz'),
  'the matrix alone, not square': ([[1, 2, 3], [4, 5, 6]], 'the PAE is 2 x 3 and not square'),
  'several': ([FORMS['ColabFold']] * 2, 'no PAE in it'),
  'a pair missing': ([{'residue1': [1, 1, 2], 'residue2': [1, 2, 1], 'distance': [0, 1, 2]}], 'have 4 pairs'),
  'a pair twice': ([{'residue1': [1, 1, 2, 2], 'residue2': [1, 2, 1, 1], 'distance': [0, 1, 2, 3]}], 'is nan'),
  'numbered from 0': ([{'residue1': [0, 0, 1, 1], 'residue2': [0, 1, 0, 1], 'distance': [0, 1, 2, 3]}], '1 residues'),
  'empty': ({'pae': []}, 'not square'),
}  # fmt: skip


@pytest.mark.parametrize('case', DAMAGED)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(case, tmp_path):
  content, message = DAMAGED[case]
  (tmp_path / 'bad.json').write_text(content if isinstance(content, str) else json.dumps(content))
  with pytest.raises(InputError, match=rf'bad\.json: .*({message})'):
    read_pae(tmp_path / 'bad.json')
