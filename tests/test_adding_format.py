# SPDX-License-Identifier: Apache-2.0
"""A new output format is one renderer and one row: nothing else has to know of it."""

import zipfile

import pytest
from small_runs import ALONE, OTHER, SEQUENCE, count_predictions, fasta, load_json, names, predict

from alphafold_jax import errors, prediction
from alphafold_jax.output.files import FORMATS, Format


def render(report):
  """What a file output/toy.py would hold."""
  best = report.best
  return f'{report.job} {best.seed} {best.plddt.mean():.3f} {best.arrays["single"].shape}\n'


@pytest.fixture
def toy(monkeypatch):
  """The row."""
  monkeypatch.setitem(FORMATS, 'toy', Format('{job}_toy_{tag}.txt', render, needs=('single',)))


def toys(out):
  return sorted(path for path in out.glob('*') if '_toy_' in path.name)


def test_a_row_is_written_ranked_journaled_resumed_zipped_and_removed(toy, tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  two = (*ALONE, '--num-seeds', '2')
  assert predict(source, out, *two) == 0
  written, texts = toys(out), [path.read_text() for path in toys(out)]
  assert [path.name[:18] for path in written] == ['p_toy_rank_001_alp', 'p_toy_rank_002_alp']
  assert all(text.endswith(f'({len(SEQUENCE)}, 384)\n') for text in texts)
  means = [float(text.split()[2]) for text in texts]
  assert means == sorted(means, reverse=True)
  assert {path.name for path in written} <= set(load_json(out / '.results' / 'p' / 'files.json')['files'])
  assert {path.name for path in written} <= set(load_json(out / 'p.done.txt')['files'])

  computed = count_predictions(monkeypatch)
  assert predict(source, out, *two) == 0 and not computed  # done already
  written[0].unlink()
  assert predict(source, out, *two, '--zip') == 0
  assert len(computed) == 2 and not toys(out)  # the array that it needs is kept only until a protein is done
  with zipfile.ZipFile(out / 'p.result.zip') as archive:
    assert sorted(name for name in archive.namelist() if '_toy_' in name) == [path.name for path in written]
    assert [archive.read(path.name).decode() for path in written] == texts

  assert predict(source, out, *two) == 0 and toys(out) == written and not (out / 'p.result.zip').exists()
  monkeypatch.setattr(prediction, 'predict', _fail)
  fasta(source, p=OTHER)
  assert predict(source, out, *two) == 1  # another protein under the same name replaces nothing until it is done
  assert toys(out) == written and 'failures.json' in names(out)


def test_a_finished_protein_gets_the_file_of_a_new_row_without_computing(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out'
  assert predict(source, out, *ALONE) == 0
  computed = count_predictions(monkeypatch)
  monkeypatch.setitem(FORMATS, 'toy', Format('{job}_toy_{tag}.txt', lambda report: report.job))
  assert predict(source, out, *ALONE) == 0 and not computed
  assert [path.read_text() for path in toys(out)] == ['p']


def _fail(*_, **__):
  raise errors.NumericalError('as the test wants it')


def test_a_prediction_is_saved_in_it_by_name(toy, tmp_path):
  model = prediction.load_model('model_1_ptm', 'random', evoformer__num_block=1, extra_msa__num_block=1)
  one = prediction.predict(model, SEQUENCE, name='a/b', num_recycle=0, keep_representations=True)
  (path,) = one.save(tmp_path, formats=['toy'])
  assert path.name == 'a_b_toy_alphafold2_ptm_model_1_seed_000.txt' and path.read_text().startswith('a_b 0 ')
