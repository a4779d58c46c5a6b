# SPDX-License-Identifier: Apache-2.0
"""The notebook, executed from its first cell to its last with small settings."""

import importlib.metadata
import re
import zipfile
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / 'notebooks'
SMALL = {
  'num_models': 1,
  'num_recycle': 0,
  'parameters': 'random',
  'more_flags': '--config evoformer.num_block=1 --config extra_msa.num_block=1 --config structure.num_layer=2',
}


def execute(folder: Path, **parameters) -> nbformat.NotebookNode:
  """Runs the notebook in a folder with other values in its parameter cell."""
  notebook = nbformat.read(NOTEBOOKS / 'predict.ipynb', as_version=4)
  cell = next(cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', []))
  for name, value in (SMALL | parameters).items():
    cell.source, count = re.subn(rf'^{name} = .*?  #', f'{name} = {value!r}  #', cell.source, flags=re.MULTILINE)
    assert count == 1, f'the parameter cell has no {name}'
  client = nbclient.NotebookClient(notebook, timeout=300, resources={'metadata': {'path': str(folder)}})
  return client.execute()


def outputs(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
  return [
    output.data[kind] for cell in notebook.cells for output in cell.get('outputs', []) if kind in output.get('data', {})
  ]


@pytest.mark.parametrize('given', ['sequence', 'alignment'])
def test_the_notebook_runs_and_shows_structure_plots_and_archive(tmp_path, given):
  changes = {'sequence': 'PIAQIHILEGRSDEQKE', 'job_name': 'p1'}
  if given == 'alignment':
    (tmp_path / 'mine.a3m').write_text('>q\nPIAQIHILEGRSDEQKE\n>1\nPIAQIHILEGRS-----\n')
    changes |= {'msa_mode': 'upload', 'alignment': 'mine.a3m'}
  notebook = execute(tmp_path, **changes)
  assert any('3dmol' in html.lower() for html in outputs(notebook, 'text/html'))
  assert len(outputs(notebook, 'image/png')) == 3  # coverage, pLDDT, PAE
  with zipfile.ZipFile(tmp_path / 'p1' / 'p1_results.zip') as archive:
    assert any(name.endswith('.pdb') for name in archive.namelist())


def install(monkeypatch, folder: Path) -> list[str]:
  """Runs the install cell in a folder where alphafold_jax is not installed; what it would give to pip."""
  cell = next(
    cell for cell in nbformat.read(NOTEBOOKS / 'predict.ipynb', as_version=4).cells if 'pip install' in cell.source
  )
  source, count = re.subn(r'!\{sys.executable\} -m pip install --quiet (".*")', r'installed.append(f\1)', cell.source)
  assert count == 1
  monkeypatch.setattr(importlib.metadata, 'distributions', lambda **_: [])
  monkeypatch.chdir(folder)
  installed: list[str] = []
  exec(source, {'installed': installed})
  return installed


def test_the_notebook_installs_the_clone_it_is_in(monkeypatch):
  root = NOTEBOOKS.parent
  assert install(monkeypatch, NOTEBOOKS) == install(monkeypatch, root) == [f'{root}[notebook]']


def test_the_notebook_installs_a_clone_beside_it_and_asks_for_one_where_there_is_none(monkeypatch, tmp_path):
  with pytest.raises(FileNotFoundError, match='git clone.*upload'):
    install(monkeypatch, tmp_path)
  (tmp_path / 'clone' / 'alphafold_jax').mkdir(parents=True)
  (tmp_path / 'clone' / 'alphafold_jax' / 'version.py').touch()
  assert install(monkeypatch, tmp_path) == [f'{tmp_path / "clone"}[notebook]']


def test_the_notebook_is_kept_without_outputs():
  notebook = nbformat.read(NOTEBOOKS / 'predict.ipynb', as_version=4)
  assert not any(cell.get('outputs') or cell.get('execution_count') for cell in notebook.cells)


def test_the_notebook_defines_nothing():
  notebook = nbformat.read(NOTEBOOKS / 'predict.ipynb', as_version=4)
  assert not [cell.source for cell in notebook.cells if re.search(r'^\s*(def|class) ', cell.source, re.MULTILINE)]
