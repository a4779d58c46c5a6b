# SPDX-License-Identifier: Apache-2.0
"""Runs and their pages: each protein has one, also when it is resumed, and the overview leads to all of them."""

import zipfile

import pytest
from small_runs import NETWORK, OTHER, SEQUENCE, count_predictions, fasta, names, predict
from test_page import Elements, facts_of

from alphafold_jax.output import page
from alphafold_jax.runs.files import pages
from alphafold_jax.runs.options import Options

FLAGS = (
  *('--params', 'random', *NETWORK, '--num-recycle', '0', '--msa-mode', 'single_sequence', '--num-models', '1'),
  *('--skip-output', 'plots'),
)
pytestmark = pytest.mark.slow


def links(path):
  addresses = [attributes['href'] for attributes, _ in Elements(path.read_text()).of('a')]
  return {address[2:] for address in addresses if address.startswith('./')}


def test_each_protein_has_a_page_and_the_overview_leads_to_it(tmp_path, monkeypatch):
  source, out = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER, bad='MK1!'), tmp_path / 'out'
  assert predict(source, out, *FLAGS, '--skip-output', 'report') == 1
  assert not list(out.glob('*.html')) and 'To look at' not in (out / 'log.txt').read_text()
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *FLAGS) == 1 and not computed  # the new files of earlier results
  assert {path.name for path in out.glob('*.html')} == {'p.html', 'q.html', page.INDEX} and page.VIEWER not in names(
    out
  )
  assert {'p.html', 'q.html', 'summary.csv', 'config.json', 'cite.bibtex', 'failures.json', 'log.txt'} == links(
    out / page.INDEX
  )
  assert f'To look at them: {out / page.INDEX}' in (out / 'log.txt').read_text()
  text = (out / page.INDEX).read_text()
  assert 'RANDOM WEIGHTS: NOT A PREDICTION' in text and 'failed' in text
  assert links(out / 'p.html') <= names(out) and {'p.a3m', page.INDEX} <= links(out / 'p.html')
  protein = (out / 'p.html').read_text()
  assert 'RANDOM WEIGHTS: NOT A PREDICTION' in protein and 'Jumper2021' in protein and '<dt>num-recycle</dt>' in protein
  assert 'host-url' not in protein  # nothing was sent to a server
  assert predict(source, out, *FLAGS, '--random-seed', '1') == 1 and len(computed) == 2
  assert len(facts_of((out / 'p.html').read_text())['models']) == 2


def test_of_a_single_model_no_number_of_models_is_told(tmp_path):
  chosen = {'num-models', 'model-order'}
  for model_type, told in (('mini', set()), ('alphafold2_ptm', chosen)):
    settings = pages.origin(tmp_path, Options(params='random', model_type=model_type), False).settings
    assert chosen & settings.keys() == told and settings['model-type'] == model_type


def test_what_is_packed_has_its_page_inside(tmp_path):
  out = tmp_path / 'out'
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), out, *FLAGS, '--zip') == 0
  with zipfile.ZipFile(out / 'p.result.zip') as archive:
    archive.extract('p.html', tmp_path)
    assert links(tmp_path / 'p.html') <= set(archive.namelist())
  assert 'p.html' not in names(out) and 'p.html' not in links(out / page.INDEX)


def test_many_proteins_share_one_viewer(tmp_path, monkeypatch):
  monkeypatch.setattr(pages, '_MANY', 1)
  out = tmp_path / 'out'
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER), out, *FLAGS) == 0
  assert (out / page.VIEWER).read_text() == page.shared_file()
  assert facts_of((out / 'p.html').read_text())['viewer'] == page.VIEWER
  assert (out / 'p.html').stat().st_size < 100_000


def test_the_page_of_a_protein_called_index_is_not_overwritten(tmp_path, capsys):
  out = tmp_path / 'out'
  assert predict(fasta(tmp_path / 'p.fasta', index=SEQUENCE), out, *FLAGS) == 0
  assert facts_of((out / page.INDEX).read_text())['job'] == 'index'
  assert 'there is no overview of the run' in (out / 'log.txt').read_text()
