# SPDX-License-Identifier: Apache-2.0
"""The package as it is built, installed and tested by a stranger."""

import ast
import email
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'alphafold_jax'
PAGES = ('README.md', 'CONTRIBUTING.md')
BUILT_FROM = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'README.md')


def version():
  scope = {}
  exec((PACKAGE / 'version.py').read_text(), scope)
  return scope['__version__']


def package_files():
  """Every file that belongs to the package, relative to the repository."""
  return {
    path.relative_to(ROOT).as_posix()
    for path in PACKAGE.rglob('*')
    if path.is_file() and not any(part.startswith(('.', '__pycache__')) for part in path.relative_to(ROOT).parts)
  }


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """A wheel built from a clean copy, so that no stale build/ gets into it."""
  folder = tmp_path_factory.mktemp('wheel')
  source = folder / 'source'
  shutil.copytree(PACKAGE, source / 'alphafold_jax', ignore=shutil.ignore_patterns('__pycache__'))
  for name in BUILT_FROM:
    shutil.copy(ROOT / name, source / name)
  command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--wheel-dir', folder, source]
  subprocess.run(command, check=True, timeout=300)
  return next(folder.glob('*.whl'))


@pytest.fixture(scope='module')
def metadata(wheel):
  with zipfile.ZipFile(wheel) as archive:
    name = next(name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
    return email.message_from_bytes(archive.read(name))


def test_every_directory_with_python_files_is_a_package():
  folders = {path.parent for path in PACKAGE.rglob('*.py')}
  assert [str(folder) for folder in sorted(folders) if not (folder / '__init__.py').exists()] == []


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
  with zipfile.ZipFile(wheel) as archive:
    inside = {name for name in archive.namelist() if '.dist-info/' not in name}
  assert inside == package_files()


def test_the_wheel_has_the_command_and_the_licence(wheel):
  with zipfile.ZipFile(wheel) as archive:
    info = {name.split('.dist-info/')[1]: name for name in archive.namelist() if '.dist-info/' in name}
    assert 'alphafold-jax = alphafold_jax.cli:main' in archive.read(info['entry_points.txt']).decode()
    licence = next(name for name in info if name.endswith('LICENSE'))
    assert 'Apache License' in archive.read(info[licence]).decode()


def test_the_metadata_name_version_python_and_extras(metadata):
  assert metadata['Name'] == 'alphafold-jax'
  assert metadata['Version'] == version()
  assert metadata['Requires-Python'] == '>=3.11'
  assert {'cuda12', 'cuda13', 'tpu', 'notebook', 'test', 'dev'} <= set(metadata.get_all('Provides-Extra'))
  jax = next(line for line in metadata.get_all('Requires-Dist') if line.startswith('jax') and 'extra' not in line)
  assert '>=0.10.2' in jax


def test_an_unpacked_wheel_imports_by_itself(wheel, tmp_path):
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(tmp_path)
  code = f'import sys; sys.path.insert(0, {str(tmp_path)!r}); import alphafold_jax; print(alphafold_jax.__file__)'
  # -P: the working directory, which may hold another copy, is not searched
  run = subprocess.run([sys.executable, '-P', '-c', code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
  assert run.returncode == 0, run.stderr
  assert run.stdout.startswith(str(tmp_path))


def imported_packages():
  """Top-level names that the package imports, with a file that does."""
  found = {}
  for path in PACKAGE.rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
      names = []
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module]
      found |= {name.split('.')[0]: path.relative_to(ROOT).as_posix() for name in names}
  return {name: path for name, path in found.items() if name not in sys.stdlib_module_names | {'alphafold_jax'}}


def test_every_imported_package_is_declared(metadata):
  declared = {re.split(r'[^\w.-]', line)[0].lower().replace('_', '-') for line in metadata.get_all('Requires-Dist')}
  declared.add('jaxlib')  # jax pins the one that fits it
  providers = importlib.metadata.packages_distributions()
  missing = {
    name: path
    for name, path in imported_packages().items()
    if name != 'google'  # google.colab is on Colab's machines alone
    and not declared & {dist.lower().replace('_', '-') for dist in providers.get(name, [name])}
  }
  assert missing == {}


def test_pyproject_holds_the_build_backend_and_tool_settings_only():
  assert set(tomllib.loads((ROOT / 'pyproject.toml').read_text())) == {'build-system', 'tool'}


def readme_test_command():
  """The fenced block after the heading "Run the tests"."""
  text = (ROOT / 'README.md').read_text(encoding='utf-8')
  section = re.search(r'^## Run the tests\n(.*?)(?=^## |\Z)', text, re.MULTILINE | re.DOTALL)
  assert section, 'README.md has no heading "## Run the tests"'
  block = re.search(r'^```\w*\n(.*?)^```', section[1], re.MULTILINE | re.DOTALL)
  assert block, 'README.md has no fenced command after "## Run the tests"'
  return block[1].strip()


def test_ci_runs_exactly_the_test_command_of_the_readme():
  script = (ROOT / '.ci' / 'run').read_text()
  assert f'test_command="{readme_test_command()}"\n' in script
  assert 'eval "$test_command"' in script


def test_ci_stops_at_the_first_failure_and_knows_no_machine():
  path = ROOT / '.ci' / 'run'
  script = path.read_text()
  assert script.startswith('#!/usr/bin/env bash\n') and os.access(path, os.X_OK)
  assert re.search(r'^set -euo pipefail$', script, re.MULTILINE)
  assert 'python3 -m venv' in script
  assert re.findall(r'(?:^|[\s"\'=])(/(?!usr/bin/env)\w[^\s"\']*)', script) == []
  subprocess.run(['bash', '-n', path], check=True)


def prose(page):
  """A page without its fenced blocks."""
  return re.sub(r'^```.*?^```', '', (ROOT / page).read_text(encoding='utf-8'), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
  """The anchors that GitHub makes of a page's headings."""
  headings = re.findall(r'^#+ (.*)', prose(page), re.MULTILINE)
  return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def named_paths(text):
  """What stands in backticks and is a path, below the repository or the package."""
  for name in re.findall(r'`([^`\s]+)`', text):
    if re.fullmatch(r'[\w./-]+', name) and ('/' in name or name.endswith('.py')):
      yield name, next((root / name for root in (ROOT, PACKAGE) if (root / name).exists()), None)


@pytest.mark.parametrize('page', PAGES)
def test_every_link_of_the_pages_leads_somewhere(page):
  broken = []
  for target in re.findall(r'\]\(([^)\s]+)\)', prose(page)):
    path, _, anchor = target.partition('#')
    if not target.startswith('https://') and not (
      (ROOT / path).exists() and (not anchor or anchor in anchors(path or page))
    ):
      broken.append(target)
  assert broken == []


@pytest.mark.parametrize('page', PAGES)
def test_every_path_that_the_pages_name_exists(page):
  assert [name for name, path in named_paths(prose(page)) if path is None] == []


def test_every_name_in_the_tables_for_contributors_is_in_a_file_beside_it():
  rows = [row for row in prose('CONTRIBUTING.md').splitlines() if row.startswith('| ')]
  missing = []
  for row in rows:
    files = [
      file for _, path in named_paths(row) if path for file in ([path] if path.is_file() else path.rglob('*.py'))
    ]
    for name in re.findall(r'`(_?[A-Z][A-Za-z_]{4,})`', row):
      if not any(re.search(rf'\b{name}\b', file.read_text(encoding='utf-8')) for file in files):
        missing.append((name, row[:40]))
  assert missing == []


def test_the_examples_of_style_are_taken_from_the_code():
  code = '\n'.join(path.read_text() for folder in (PACKAGE, ROOT / 'tests') for path in folder.rglob('*.py'))
  blocks = re.findall(r'^```python\n(.*?)^```', (ROOT / 'CONTRIBUTING.md').read_text(), re.MULTILINE | re.DOTALL)
  assert blocks and [line for block in blocks for line in block.splitlines() if line.strip() not in code] == []


def test_nothing_written_installs_the_package_by_a_name_that_no_index_has():
  folders = [path for name in ('docs', 'notebooks', 'examples', 'configs') for path in (ROOT / name).rglob('*')]
  texts = [path for path in folders if path.suffix in ('.md', '.ipynb', '.py')]
  texts += [ROOT / name for name in (*PAGES, 'CHANGELOG.md', 'Dockerfile')]
  by_name = re.compile(r'pip install[^\n`&]*\balphafold-jax\b')
  assert [path.name for path in texts if by_name.search(path.read_text(encoding='utf-8'))] == []


def test_commits_are_checked_by_the_commands_of_ci():
  hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos']
  assert [repo['repo'] for repo in hooks] == ['local']  # nothing is downloaded
  script = (ROOT / '.ci' / 'run').read_text()
  for hook in hooks[0]['hooks']:
    assert f'run "{hook["name"]}' in script and hook['language'] == 'system'


def test_the_citation_names_this_version_and_the_paper():
  citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
  assert citation['version'] == version() and citation['license'] == 'Apache-2.0'
  paper = citation['references'][0]
  assert (paper['journal'], paper['volume'], paper['start'], paper['end']) == ('Nature', 596, 583, 589)
  assert paper['doi'] == '10.1038/s41586-021-03819-2'
  assert paper['authors'][0]['family-names'] == 'Jumper'
