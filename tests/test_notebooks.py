# SPDX-License-Identifier: Apache-2.0
"""The notebooks, executed from their first cell to their last with small settings."""

import http.server
import importlib.metadata
import re
import subprocess
import sys
import threading
import types
import zipfile
from pathlib import Path

import nbclient
import nbformat
import pytest
import small_experiment

from alphafold_jax import errors, evaluation_notebook, training_notebook
from alphafold_jax import notebook as helpers
from alphafold_jax.constants import residues

NAME = """it's "x"; touch harmed $(touch harmed) `touch harmed` /.."""
MANY = {'one': 'PIAQIHILEGRSDEQKE', 'two': 'GSAQIHILEGRSDEQWW'}
NOTEBOOKS = Path(__file__).parents[1] / 'notebooks'
SMALL = {
  'num_models': 1,
  'num_recycle': 0,
  'parameters': 'random',
  'more_flags': '--config evoformer.num_block=1 --config extra_msa.num_block=1 --config structure.num_layer=2',
}


def execute(folder: Path, *proteins: dict) -> nbformat.NotebookNode:
  """Runs the notebook that predicts in a folder, all cells for each protein, as a person goes back to its form.

  Args:
    folder: where it runs.
    proteins: other values in the parameter cell.
  """
  notebook = filled('predict', SMALL | proteins[0])
  for protein in proteins[1:]:
    notebook.cells += filled('predict', SMALL | protein).cells
  return executed(notebook, folder)


def executed(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
  """Runs a notebook in a folder; cells that fail end nothing."""
  client = nbclient.NotebookClient(notebook, timeout=300, resources={'metadata': {'path': str(folder)}})
  client.allow_errors = True
  return client.execute()


def read(name: str) -> nbformat.NotebookNode:
  return nbformat.read(NOTEBOOKS / f'{name}.ipynb', as_version=4)


def filled(name: str, parameters: dict) -> nbformat.NotebookNode:
  """A notebook with other values in its parameter cell."""
  notebook = read(name)
  cell = next(cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', []))
  for field, value in parameters.items():
    cell.source, count = re.subn(rf'^{field} = .*?  #', f'{field} = {value!r}  #', cell.source, flags=re.MULTILINE)
    assert count == 1, f'the parameter cell has no {field}'
  return notebook


def failures(notebook: nbformat.NotebookNode) -> list[str]:
  """What the cells that failed say."""
  return [
    output.evalue for cell in notebook.cells for output in cell.get('outputs', []) if output.output_type == 'error'
  ]


def outputs(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
  return [
    output.data[kind] for cell in notebook.cells for output in cell.get('outputs', []) if kind in output.get('data', {})
  ]


@pytest.fixture(scope='module')
def ran(tmp_path_factory):
  """One session: two proteins of one name, one that fails, one with a name of a shell's words, a folder of two."""
  folder = tmp_path_factory.mktemp('notebook')
  (folder / 'mine.a3m').write_text('>q\nPIAQIHILEGRSDEQKE\n')  # one row, so that all share one compilation
  (folder / 'many').mkdir()
  for name, sequence in MANY.items():
    (folder / 'many' / f'{name}.a3m').write_text(f'>q\n{sequence}\n')
  proteins = (
    {'sequence': 'PIAQIHILEGRSDEQKE', 'job_name': 'first'},
    {'sequence': 'GSAQIHILEGRSDEQWW', 'job_name': 'first'},
    {'sequence': 'PIAQIHILEGRSDEQKE', 'job_name': 'fails', 'parameters': 'mine.a3m'},
    {'msa_mode': 'upload', 'alignment': 'mine.a3m', 'job_name': NAME, 'sequence': ''},
    {'msa_mode': 'upload', 'inputs': 'many', 'job_name': 'many', 'sequence': ''},
  )
  notebook = execute(folder, *proteins)
  size = len(notebook.cells) // len(proteins)
  parts = [nbformat.NotebookNode(cells=notebook.cells[i * size : (i + 1) * size]) for i in range(len(proteins))]
  return folder, parts


def sequence_shown(part: nbformat.NotebookNode) -> str:
  """The residues of the structure that a viewer was given."""
  (shown,) = [html for html in outputs(part, 'text/html') if 'addModel' in html and '<iframe' not in html]
  names = re.findall(r'ATOM +\d+ +CA +(\w{3})', shown)
  return ''.join(residues.RESTYPE_3TO1[name] for name in names)


def test_two_proteins_of_one_name_are_shown_each_as_itself(ran):
  _, (first, second, *_) = ran
  assert failures(first) == failures(second) == []
  assert sequence_shown(first) == 'PIAQIHILEGRSDEQKE' and sequence_shown(second) == 'GSAQIHILEGRSDEQWW'
  assert len(outputs(second, 'image/png')) == 3  # coverage, pLDDT, PAE


def test_a_run_that_fails_shows_its_reason_and_no_earlier_protein(ran):
  _, (_, _, failed, *_) = ran
  assert 'predict ended with exit code 2; the messages above say why' in failures(failed)[0]
  assert all('nothing was predicted' in said for said in failures(failed)[1:]) and len(failures(failed)) == 5
  assert not outputs(failed, 'image/png') and not outputs(failed, 'text/html')
  said = ''.join(output.text for cell in failed.cells for output in cell.get('outputs', []) if 'text' in output)
  assert 'mine.a3m' in said and 'Error' not in said.split('$ alphafold-jax', 1)[0]


def test_a_name_of_quotes_and_commands_is_a_name(ran):
  folder, (*_, quoted, _) = ran
  assert failures(quoted) == [] and sequence_shown(quoted) == 'PIAQIHILEGRSDEQKE'
  assert not (folder / 'harmed').exists()
  (archive,) = [path for path in folder.glob('*.zip') if 'touch' in path.name]
  with zipfile.ZipFile(archive) as packed:
    assert any(name.endswith('.pdb') for name in packed.namelist())


def test_of_many_proteins_each_is_shown(ran):
  _, (*_, many) = ran
  assert failures(many) == []
  shown = [html for html in outputs(many, 'text/html') if 'addModel' in html and '<iframe' not in html]
  names = [re.findall(r'ATOM +\d+ +CA +(\w{3})', html) for html in shown]
  assert [''.join(residues.RESTYPE_3TO1[name] for name in one) for one in names] == list(MANY.values())


FORM = {'sequence': 'MKT', 'job_name': 'p', 'msa_mode': 'single_sequence'}


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'sequence': ''}, "sequence 'sequence' is empty"),
    ({'sequence': 'MK:'}, 'chain 2 of 2 is empty'),
    ({'msa_mode': 'mmseqs2'}, 'msa_mode.*choose one of server, upload'),
    ({'num_models': 6}, 'num_models=6: must be a whole number from 1 to 5'),
    ({'num_recycle': -2}, 'num_recycle=-2'),
    ({'num_seeds': '2'}, "num_seeds='2'"),
    ({'sequence': None}, 'sequence=None: must be text'),
    ({'use_templates': True}, "use_templates=True: templates are searched for with msa_mode='server' only"),
    ({'alignment': __file__}, "alignment=.*is read with msa_mode='upload' only"),
    ({'more_flags': '--rank ptm --zip'}, 'more_flags=.*--zip packs away what is shown here'),
    ({'parameters': 'nowhere'}, "parameters='nowhere': no such file"),
    ({'more_flags': '--rank "ptm'}, 'more_flags.*not a list of flags'),
    ({'msa_mode': 'upload', 'alignment': 'nowhere.a3m'}, "alignment='nowhere.a3m'.*must be the path"),
    ({'inputs': 'nowhere'}, "inputs='nowhere': no such file or folder"),
    ({'inputs': __file__, 'msa_mode': 'upload', 'alignment': __file__}, 'alignment=.*without inputs'),
    ({'templates': 'nowhere.cif'}, "templates='nowhere.cif': no such file or folder"),
    ({'templates': __file__, 'use_templates': True, 'msa_mode': 'server'}, 'templates=.*from one place'),
    ({'rank': 'best'}, "rank='best': unknown; choose from auto"),
    ({'num_relax': -1}, 'num_relax=-1'),
  ],
)
def test_a_field_of_the_form_that_cannot_be_used_is_named(tmp_path, change, message):
  with pytest.raises(errors.InputError, match=message):
    helpers.prepare(tmp_path, **(FORM | change))
  assert not list(tmp_path.iterdir())


def test_a_folder_is_of_the_whole_content_of_the_form(tmp_path):
  changes = ({}, {'sequence': 'MKA'}, {'num_seeds': 2}, {'job_name': 'q'}, {'more_flags': '--rank ptm'})
  jobs = [helpers.prepare(tmp_path, **(FORM | change)) for change in changes]
  assert len({job.folder for job in jobs}) == len(jobs)
  assert helpers.prepare(tmp_path, **(FORM | {'sequence': ' M K T* '})).query.read_text() == '>p\nMKT\n'
  assert helpers.prepare(tmp_path, **(FORM | {'sequence': 'MKT: AC'})).query.read_text() == '>p\nMKT:AC\n'


def test_a_form_as_it_was_before_has_the_folder_that_it_had():
  form = helpers.Form(**FORM)
  assert not {'inputs', 'templates', 'rank', 'num_relax'} & form.settings().keys() and len(form.settings()) == 10
  assert helpers.Form(**FORM | {'rank': 'ptm'}).settings()['rank'] == 'ptm'


def test_many_inputs_have_a_folder_by_their_content(tmp_path):
  many = tmp_path / 'many'
  many.mkdir()
  fasta = many / 'p.fasta'
  fasta.write_text('>p\nMKT\n')
  first = helpers.prepare(tmp_path, **FORM | {'inputs': str(many), 'sequence': ''})
  fasta.write_text('>p\nMKA\n')
  second = helpers.prepare(tmp_path, **FORM | {'inputs': str(many), 'sequence': ''})
  assert first.query == second.query == many and first.folder != second.folder


def test_relaxation_is_asked_for_where_openmm_is_there(monkeypatch):
  monkeypatch.setattr(helpers.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(errors.InputError, match=r'num_relax=2: relaxation needs openmm: run `pip install .*relax'):
    helpers.Form(**FORM | {'num_relax': 2})
  monkeypatch.setattr(helpers.importlib.util, 'find_spec', lambda name: name)
  chosen = {'num_relax': 2, 'rank': 'plddt', 'templates': __file__}
  flags = helpers.Form(**FORM | chosen).flags()
  assert ' '.join(flags).endswith('--rank plddt --amber --num-relax 2')
  assert flags[flags.index('--custom-template-path') + 1] == __file__ and '--amber' not in helpers.Form(**FORM).flags()


def test_of_each_protein_the_rank_is_shown_relaxed_where_it_was_relaxed(tmp_path):
  names = [f'{job}_unrelaxed_rank_00{rank}_x.pdb' for job in 'ab' for rank in (1, 2)]
  for name in (*names, 'b_relaxed_rank_001_x.pdb', 'a.html'):
    (tmp_path / name).write_text('<b>"page"</b>')
  ranked = [tmp_path / name for name in names]
  assert [path.name for path in helpers.chosen(ranked)] == [names[0], 'b_relaxed_rank_001_x.pdb']
  assert [path.name for path in helpers.chosen(ranked, 2)] == [names[1], names[3]]
  (page,) = helpers.reports(ranked)
  assert 'srcdoc="&lt;b&gt;&quot;page&quot;&lt;/b&gt;"' in page.data


def test_uploaded_files_lie_in_a_folder_of_their_own(tmp_path):
  folder = Path(helpers.uploaded({'../a.fasta': b'>a\nMK\n', 'b.fasta': b'>b\nMK\n'}, tmp_path))
  assert folder.parent == tmp_path and sorted(path.name for path in folder.iterdir()) == ['a.fasta', 'b.fasta']
  with pytest.raises(errors.InputError, match='no file was chosen'):
    helpers.uploaded({}, tmp_path)


def test_results_go_to_google_drive_in_colab_only(monkeypatch):
  assert helpers.drive_place('') == Path('.')
  with pytest.raises(errors.InputError, match="drive_folder='mine': Google Drive is there in Colab only"):
    helpers.drive_place('mine')
  mounted: list[str] = []
  colab = types.ModuleType('google.colab')
  colab.drive = types.SimpleNamespace(mount=mounted.append)
  monkeypatch.setitem(sys.modules, 'google.colab', colab)
  assert helpers.drive_place('mine') == Path('/content/drive/MyDrive/mine') and mounted == ['/content/drive']


def test_a_tilde_is_the_home_and_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  (tmp_path / 'mine.a3m').write_text('>q\nMKT\n')
  upload = FORM | {'msa_mode': 'upload', 'alignment': '~/mine.a3m', 'parameters': '~'}
  assert helpers.prepare(tmp_path, **upload).query.read_text() == '>q\nMKT\n'
  with pytest.raises(errors.InputError, match='mine.a3m.*cannot be written'):
    helpers.prepare(tmp_path / 'mine.a3m', **FORM)


def test_each_residue_has_the_colour_of_its_band():
  lines = [
    f'ATOM  {i:5} {"CA":>3}  GLY A{i:4}    {0:8.3f}{0:8.3f}{0:8.3f}{1:6.2f}{plddt:6.2f}           C'
    for i, plddt in enumerate((0, 49.99, 50, 69.99, 70, 89.99, 90, 100), start=1)
  ]
  assert helpers.bands('\n'.join(lines)) == {
    ('A', '#FF7D45'): [1, 2], ('A', '#FFDB13'): [3, 4], ('A', '#65CBF3'): [5, 6], ('A', '#0053D6'): [7, 8],
  }  # fmt: skip


EXTRAS = {'predict': 'notebook,relax', 'train': 'notebook,train', 'evaluate': 'notebook'}  # that each installs
each = pytest.mark.parametrize('name', EXTRAS)


def install(monkeypatch, name: str, folder: Path, source: str = '') -> list[str]:
  """Runs an install cell in a folder where alphafold_jax is not installed; what it would give to pip."""
  cell = next(cell for cell in read(name).cells if "'pip', 'install'" in cell.source)
  installed: list[str] = []

  def pip(command, **_):
    installed.append(command[-1])
    return subprocess.CompletedProcess(command, 0)

  monkeypatch.setattr(subprocess, 'run', pip)
  monkeypatch.setattr(importlib.metadata, 'distributions', lambda **_: [])
  monkeypatch.chdir(folder)
  exec(cell.source.replace("source = ''", f'source = {source!r}', 1), {})
  return installed


@each
def test_the_notebook_installs_the_clone_it_is_in(monkeypatch, name):
  root = NOTEBOOKS.parent
  assert install(monkeypatch, name, NOTEBOOKS) == install(monkeypatch, name, root) == [f'{root}[{EXTRAS[name]}]']


@each
def test_the_notebook_installs_a_clone_beside_it_and_asks_for_one_where_there_is_none(monkeypatch, name, tmp_path):
  with pytest.raises(FileNotFoundError, match='git clone.*upload'):
    install(monkeypatch, name, tmp_path)
  (tmp_path / 'clone' / 'alphafold_jax').mkdir(parents=True)
  (tmp_path / 'clone' / 'alphafold_jax' / 'version.py').touch()
  assert install(monkeypatch, name, tmp_path) == [f'{tmp_path / "clone"}[{EXTRAS[name]}]']


@each
def test_the_notebook_installs_a_wheel_beside_it_and_what_its_variable_names(monkeypatch, name, tmp_path):
  extra, wheel = EXTRAS[name], tmp_path / 'alphafold_jax-1.0-py3-none-any.whl'
  wheel.touch()
  assert install(monkeypatch, name, tmp_path) == [f'{wheel}[{extra}]']
  sources = {
    'other/clone': f'other/clone[{extra}]',
    'https://host/group/code.git': f'alphafold-jax[{extra}] @ git+https://host/group/code.git',
    'git+ssh://host/code.git@v1': f'alphafold-jax[{extra}] @ git+ssh://host/code.git@v1',
    'https://host/a.whl': f'alphafold-jax[{extra}] @ https://host/a.whl',
  }
  for source, given in sources.items():
    assert install(monkeypatch, name, tmp_path, source) == [given]


@each
def test_the_notebook_is_kept_without_outputs(name):
  notebook = read(name)
  assert not any(cell.get('outputs') or cell.get('execution_count') for cell in notebook.cells)


@each
def test_the_notebook_gives_no_shell_what_a_person_typed(name):
  notebook = read(name)
  assert not [cell.source for cell in notebook.cells if re.search(r'^\s*[!%]|shell=True', cell.source, re.MULTILINE)]


@each
def test_the_notebook_defines_nothing(name):
  notebook = read(name)
  assert not [cell.source for cell in notebook.cells if re.search(r'^\s*(def|class) ', cell.source, re.MULTILINE)]


# ------------------------------------------------------------------------------------------ evaluation


@pytest.mark.slow
def test_the_evaluation_notebook_scores_and_shows(tmp_path):
  data = Path(__file__).parent / 'data'
  form = {'predictions': str(data / 'AF-P01112-F1-model_v4.cif.gz'), 'references': str(data / '1ctq_A.cif.gz')}
  notebook = executed(filled('evaluate', form), tmp_path)
  assert failures(notebook) == [] and len(outputs(notebook, 'image/png')) == 1
  (table,) = outputs(notebook, 'text/html')
  (folder,) = tmp_path.glob('evaluation_*')
  assert '<th>lddt_ca</th>' in table and '<td>scored</td>' in table and (folder / 'evaluation.json').is_file()


def test_the_table_of_an_evaluation_has_what_there_is_and_is_no_markup(tmp_path):
  (tmp_path / 'evaluation.csv').write_text('target,lddt,dockq,status\n<b>,0.98765,,scored\nq,,,InputError\n')
  assert evaluation_notebook.table(tmp_path) == (
    '<table><tr><th>target</th><th>lddt</th><th>status</th></tr>'
    '<tr><td>&lt;b&gt;</td><td>0.988</td><td>scored</td></tr><tr><td>q</td><td></td><td>InputError</td></tr></table>'
  )


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'predictions': ''}, "predictions='': no such file or folder"),
    ({'references': 'nowhere'}, "references='nowhere': no such file or folder"),
    ({'pairs': 'nowhere.csv'}, "pairs='nowhere.csv'"),
    ({'more_flags': '"'}, 'more_flags=.*not a list of flags'),
  ],
)
def test_a_field_of_the_evaluation_form_that_cannot_be_used_is_named(tmp_path, change, message):
  with pytest.raises(errors.InputError, match=message):
    evaluation_notebook.evaluate(tmp_path, **{'predictions': __file__, 'references': __file__} | change)
  assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------ training

STRUCTURES = Path(__file__).parent / 'data'
_NO_LOSS = ('side_chain_fape', 'torsion', 'angle_norm', 'masked_msa', 'experimentally_resolved', 'pae')
TOY = small_experiment.SIZES | {
  **{f'loss.{name}': 0.0 for name in _NO_LOSS},  # these tests' time goes to compiling
  'model.structure.num_layer': 1,
  'optimizer.learning_rate': 1e-3,  # of both runs, so that the second reads what the first compiled
  'optimizer.warmup_samples': 1,
  'model.c_s': 16,
  'data.crop_size': 16,
  'data.num_rows': 8,
  'step.batch_size': 2,
  'step.max_passes': 1,
  'run.num_samples': 4,
  'run.cpu_devices': 1,
  'run.log_every': 1,
  'run.validate_every': 2,
  'run.num_workers': 1,
}


@pytest.fixture
def structures(tmp_path):
  """A folder of three small chains."""
  folder = tmp_path / 'structures'
  folder.mkdir()
  for name in ('1aie_A', '1mul_A', '1ctq_A'):
    (folder / f'{name}.cif.gz').write_bytes((STRUCTURES / f'{name}.cif.gz').read_bytes())
  return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_training_notebook_trains_tunes_and_exports(structures, tmp_path, monkeypatch):
  monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', 'true')
  own = tmp_path / 'own'
  own.mkdir()
  (structures / '1aie_A.cif.gz').rename(own / '1aie_A.cif.gz')
  form = {'structures': str(structures), 'own_structures': str(own), 'start_from': 'this run'}
  form['more_flags'] = ' '.join(f'--config {key}={value}' for key, value in TOY.items())
  notebook = executed(filled('train', form), tmp_path)
  assert failures(notebook) == [] and len(outputs(notebook, 'image/png')) == 2
  (folder,) = tmp_path.glob('training_*')
  for run in ('run', 'tuned'):
    assert 'finished: 2 steps' in (folder / run / 'log.txt').read_text()
  assert 'step 2: validation lDDT-CA' in (folder / 'run' / 'log.txt').read_text()
  assert (folder / 'params_mine.npz').is_file()


TRAINING = {'structures': str(STRUCTURES)}


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'structures': 'nowhere'}, "structures='nowhere': no such folder"),
    ({'own_structures': 'nowhere'}, "own_structures='nowhere': no such folder"),
    ({'num_chains': 5}, 'num_chains=5: must be a whole number from 20 to'),
    ({'minutes': 0}, 'minutes=0'),
    ({'more_flags': '--config "x'}, 'more_flags.*not a list of flags'),
    ({'structures': None}, 'structures=None: must be text'),
  ],
)
def test_a_field_of_the_training_form_that_cannot_be_used_is_named(tmp_path, change, message):
  with pytest.raises(errors.InputError, match=message):
    training_notebook.prepare(tmp_path, **(TRAINING | change))
  assert not list(tmp_path.iterdir())


def test_chains_of_one_file_are_trained_on_or_validated_with_and_never_both():
  ids = [f'{entry}_{chain}' for entry in ('a', 'b_1', 'c') for chain in 'AB']
  splits = {row['id']: row['split'] for row in training_notebook.split_by_file(ids)}
  assert splits == {one: 'validation' if one.startswith('c') else 'train' for one in ids}
  assert training_notebook.split_by_file(['a_A', 'a_B']) == [{'id': f'a_{c}', 'split': 'train'} for c in 'AB']
  many = training_notebook.split_by_file([f'{i:02}_A' for i in range(25)])
  assert [row['id'] for row in many if row['split'] == 'validation'] == ['09_A', '19_A']


def test_no_cluster_of_the_list_is_trained_on_and_validated_with():
  train, validation = (training_notebook._listed(split) for split in ('train', 'validation'))
  clusters = [row['cluster'] for row in (*train, *validation)]
  assert len(train) >= 600 and len(validation) >= 30 and len(set(clusters)) == len(clusters)


class Server(http.server.BaseHTTPRequestHandler):
  """Has every entry but those whose name begins with 9."""

  def do_GET(self):
    if self.path.startswith('/9'):
      self.send_error(404)
      return
    content = self.path.encode()
    self.send_response(200)
    self.send_header('Content-Length', str(len(content)))
    self.end_headers()
    self.wfile.write(content)

  def log_message(self, *_):
    pass


@pytest.fixture
def address():
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  yield f'http://127.0.0.1:{server.server_port}/{{entry}}.cif.gz'
  server.shutdown()
  server.server_close()


def test_entries_are_downloaded_once_and_those_that_are_missing_are_named(address, tmp_path, capsys):
  entries = ['1abc', '2abc', '3abc', '4abc', '9abc', '1abc']
  (tmp_path / '2abc.cif.gz').write_bytes(b'there')
  training_notebook.download(entries, tmp_path, address)
  assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
    '1abc.cif.gz': b'/1abc.cif.gz',
    '2abc.cif.gz': b'there',
    '3abc.cif.gz': b'/3abc.cif.gz',
    '4abc.cif.gz': b'/4abc.cif.gz',
  }
  assert '9abc.cif.gz: the server answered 404' in capsys.readouterr().out
  with pytest.raises(helpers.RunFailed, match='2 of 3 entries cannot be had: .*404'):
    training_notebook.download(['9aaa', '9bbb', '1abc'], tmp_path, address)


def test_a_command_is_asked_to_stop_after_some_seconds(tmp_path, monkeypatch, capsys):
  interpreter = tmp_path / 'python'
  interpreter.write_text("#!/bin/sh\ntrap 'echo saved; exit 0' TERM\necho begun\nwhile :; do sleep 0.05; done\n")
  interpreter.chmod(0o755)
  monkeypatch.setattr(helpers.sys, 'executable', str(interpreter))
  helpers.run(['train'], seconds=0.5)
  assert capsys.readouterr().out.splitlines()[-2:] == ['begun', 'saved']
