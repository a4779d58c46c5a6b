# SPDX-License-Identifier: Apache-2.0
"""The floors of docs/architecture.md: imports go down, and never in a circle."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'alphafold_jax'
FLOORS = (
  (
    'errors',
    'version',
    'choices',
    'folders',
    'atomic',
    'schema',
    'config',
    'experiments',
    'settings',
    'devices',
    'screen',
    'constants',
    'ops',
    'transfer',
  ),
  ('geometry', 'data', 'output', 'weights', 'confidence', 'tuning'),
  ('model', 'losses', 'search'),
  ('planning',),
  ('prediction', 'evaluation', 'train'),
  ('runs', 'jobs', 'doctor', 'cli', '__main__'),
)
NEVER = {  # the mathematics knows neither files nor settings
  'model': ('data', 'losses', 'config'),
  'losses': ('data', 'model', 'config'),
}
WITHOUT_JAX = (
  'cli',
  'jobs',
  'doctor',
  'settings',
  'errors',
  'version',
  'choices',
  'folders',
  'atomic',
  'screen',
  'transfer',
  'data.queries',
  'data.alignment',
  'data.records',
  'data.jobnames',
  'data.training.cache_building',
  'weights.store',
  'weights.official',
  'weights.random',
  'weights.notes',
  'weights.shipped',
  'output.files',
  'output.evaluated',
  'geometry.scores',
  'search.options',
  'search.hmmer',
  'search.mmseqs.engine',
  'search.server.engine',
  'search.templates.engines',
  'search.download',
  'evaluation',
  'experiments',
)


def floor_of(room: str) -> int:
  return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def modules() -> dict[str, Path]:
  """Every module of the package by its name below alphafold_jax."""
  found = {}
  for path in sorted(PACKAGE.rglob('*.py')):
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    name = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
    if name:
      found[name] = path
  return found


def imports(path: Path, *, top_level_only: bool = False):
  """(line, module below alphafold_jax) of every import of our own, as AST and not as text."""
  tree = ast.parse(path.read_text())
  known = modules()
  for node in tree.body if top_level_only else ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'alphafold_jax':
      base = node.module.removeprefix('alphafold_jax').lstrip('.')
      for alias in node.names:
        full = f'{base}.{alias.name}' if base else alias.name
        yield node.lineno, full if full in known else base or full
    elif isinstance(node, ast.Import):
      for alias in node.names:
        if alias.name.startswith('alphafold_jax.'):
          yield node.lineno, alias.name.removeprefix('alphafold_jax.')


@pytest.mark.parametrize('name', modules())
def test_imports_go_down_only(name):
  room = name.split('.')[0]
  path = modules()[name]
  for line, target in imports(path):
    other = target.split('.')[0]
    where = f'alphafold_jax/{path.relative_to(PACKAGE)}:{line} imports {target}'
    assert any(other in rooms for rooms in FLOORS), f'{where}, which has no floor; add it to FLOORS'
    if other == room:
      continue
    lower = floor_of(other) < floor_of(room)
    # The ground floor and the top floor hold single files that may stand on one another; packages side by side do not.
    beside = floor_of(other) == floor_of(room) in (0, len(FLOORS) - 1)
    assert lower or beside, f'{where}, which is not below it'
    assert other not in NEVER.get(room, ()), f'{where}, which {room} must not know'


def test_no_modules_import_one_another_in_a_circle():
  graph = {name: {target for _, target in imports(path) if target != name} for name, path in modules().items()}
  graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


@pytest.mark.parametrize('name', WITHOUT_JAX)
def test_these_modules_load_without_jax(name):
  code = f'import sys, alphafold_jax.{name}; sys.exit("jax" in sys.modules)'
  assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0, f'{name} loads jax'


def test_no_file_is_a_drawer():
  forbidden = {'utils', 'common', 'misc', 'helpers'}
  assert not [name for name in modules() if set(name.split('.')) & forbidden]
