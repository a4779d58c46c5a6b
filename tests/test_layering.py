# SPDX-License-Identifier: Apache-2.0
"""The house of docs/architecture.md: its floors, its doors, and how large and how plain its rooms are."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'alphafold_jax'
FLOORS = (
  (
    'errors',
    'version',
    'arguments',
    'choices',
    'folders',
    'machine',
    'locks',
    'installed',
    'naming',
    'headers',
    'atomic',
    'fields',
    'one_line',
    'schema',
    'untrusted',
    'program_files',
    'program_archive',
    'dotted',
    'config',
    'experiments',
    'settings',
    'devices',
    'dtypes',
    'screen',
    'sharing',
    'spreading',
    'constants',
    'interfaces',
    'coevolution',
    'ops',
    'transfer',
  ),
  ('geometry', 'data', 'output', 'weights', 'confidence', 'tuning'),
  ('model', 'losses', 'search', 'relaxation', 'trimming'),
  (
    'batches',
    'costs',
    'footprint',
    'planning',
    'compiled_once',
    'programs',
    'models',
    'tasks',
    'passes',
    'attempts',
    'prediction',
    'together',
  ),
  ('runs', 'jobs', 'train', 'evaluation', 'checking'),
  ('elsewhere', 'doctor', 'notebook', 'training_notebook', 'evaluation_notebook', 'cli', '__main__'),
)
STAND_ON_ONE_ANOTHER = (  # floors of single files; packages side by side do not see one another
  0,
  3,  # prediction.py asks planning.py and programs.py
  5,
)
NEVER = {  # the mathematics knows neither files nor settings
  'model': ('data', 'losses', 'config'),
  'losses': ('data', 'model', 'config'),
}
MACHINERY = ('ops.axial', 'ops.slicing', 'ops.seam', 'ops.residual')  # model/ imports none of these
WITHOUT_JAX = (
  'cli',
  'jobs',
  'doctor',
  'settings',
  'errors',
  'version',
  'choices',
  'costs',
  'folders',
  'machine',
  'locks',
  'installed',
  'naming',
  'headers',
  'atomic',
  'fields',
  'one_line',
  'arguments',
  'untrusted',
  'dtypes',
  'program_files',
  'program_archive',
  'screen',
  'sharing',
  'spreading',
  'transfer',
  'data.queries',
  'data.query_formats',
  'data.alignment_files',
  'data.not_a_file',
  'data.pae_files',
  'data.alignment',
  'data.chains',
  'data.complexes',
  'data.records',
  'data.structures',
  'data.jobnames',
  'data.training.cache_building',
  'data.training.template_finding',
  'weights.store',
  'weights.official',
  'weights.random',
  'weights.shipped',
  'output.files',
  'output.cartoon',
  'output.painter',
  'output.vectors',
  'output.evaluated',
  'geometry.scores',
  'interfaces',
  'search.options',
  'search.hmmer',
  'search.mmseqs.engine',
  'search.server.engine',
  'search.server.pairs',
  'search.mmseqs.pairs',
  'search.uniprot',
  'search.templates.engines',
  'search.download',
  'relaxation',
  'relaxation.worker',
  'relaxation.folder',
  'evaluation',
  'trimming',
  'experiments',
  'elsewhere',
  'elsewhere.targets',
  'elsewhere.compilers',
)
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, SIBLINGS = 350, 60, 6
TABLES = ('config.base_config', 'experiments._base')  # functions that are lists of numbers with their sources
MANY_PARTS = (  # whose subject is all parts of their folder
  'model.alphafold',  # Algorithm 2 names every module
  'ops.attention',  # tables of kernels
  'ops.transition',
  'ops.triangle',
  'search.options',  # a table of engines
  'train.loop',  # the story of a training run
  'losses.total',  # a table of losses
  'output.files',  # a table of formats
  'data.training.chain_reading',  # a file's chains with all that belongs to them
)


def floor_of(room: str) -> int:
  return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


@functools.cache
def modules() -> dict[str, Path]:
  """Every module of the package by its name below alphafold_jax."""
  found = {}
  for path in sorted(PACKAGE.rglob('*.py')):
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    name = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
    if name:
      found[name] = path
  return found


@functools.cache
def tree(name: str) -> ast.Module:
  return ast.parse(modules()[name].read_text(encoding='utf-8'))


def is_package(name: str) -> bool:
  return modules()[name].name == '__init__.py'


@functools.cache
def imports(name: str) -> tuple[tuple[int, str], ...]:
  """(line, module below alphafold_jax) of every import of our own, as AST and not as text."""
  found, known = [], modules()
  for node in ast.walk(tree(name)):
    if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'alphafold_jax':
      base = node.module.removeprefix('alphafold_jax').lstrip('.')
      for alias in node.names:
        full = f'{base}.{alias.name}' if base else alias.name
        found.append((node.lineno, full if full in known else base or full))
    elif isinstance(node, ast.Import):
      for alias in node.names:
        if alias.name.startswith('alphafold_jax.'):
          found.append((node.lineno, alias.name.removeprefix('alphafold_jax.')))
  return tuple(found)


@pytest.mark.parametrize('name', modules())
def test_imports_go_down_only(name):
  room = name.split('.')[0]
  for line, target in imports(name):
    other = target.split('.')[0]
    where = f'alphafold_jax/{modules()[name].relative_to(PACKAGE)}:{line} imports {target}'
    assert any(other in rooms for rooms in FLOORS), f'{where}, which has no floor; add it to FLOORS'
    if other == room:
      continue
    lower = floor_of(other) < floor_of(room)
    beside = floor_of(other) == floor_of(room) in STAND_ON_ONE_ANOTHER
    alias = name == 'jobs' and other == 'runs'
    assert lower or beside or alias, f'{where}, which is not below it'
    assert other not in NEVER.get(room, ()), f'{where}, which {room} must not know'


def test_no_modules_import_one_another_in_a_circle():
  graph = {name: {target for _, target in imports(name) if target != name} for name in modules()}
  graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_these_modules_load_without_jax():
  lines = ['import importlib, sys']
  for name in WITHOUT_JAX:
    lines += [
      f'importlib.import_module("alphafold_jax.{name}")',
      f'"jax" in sys.modules and sys.exit("{name} loads jax")',
    ]
  run = subprocess.run([sys.executable, '-c', '\n'.join(lines)], check=False, capture_output=True, text=True)
  assert run.returncode == 0, run.stderr


def test_no_file_is_a_drawer():
  forbidden = {'utils', 'common', 'misc', 'helpers'}
  assert not [name for name in modules() if set(name.split('.')) & forbidden]


# ------------------------------------------------------------------------------------------ rules of good rooms


def functions(name: str) -> Iterator[tuple[str, ast.FunctionDef, bool]]:
  """(qualified name, function, whether it is a method) of a module's functions and its classes' methods."""
  for node in tree(name).body:
    if isinstance(node, ast.FunctionDef):
      yield f'{name}.{node.name}', node, False
    elif isinstance(node, ast.ClassDef):
      for inner in node.body:
        if isinstance(inner, ast.FunctionDef):
          yield f'{name}.{node.name}.{inner.name}', inner, True


def repeated_class_names() -> dict[str, str]:
  places: dict[str, list[str]] = {}
  for name in modules():
    for node in tree(name).body:
      if isinstance(node, ast.ClassDef):
        places.setdefault(node.name, []).append(name)
  return {name: ', '.join(where) for name, where in places.items() if len(where) > 1}


def long_files() -> dict[str, str]:
  lengths = {name: len(path.read_text(encoding='utf-8').splitlines()) for name, path in modules().items()}
  return {name: f'{length} lines' for name, length in lengths.items() if length > LINES_OF_A_FILE}


def long_functions() -> dict[str, str]:
  lengths = {
    node_name: node.end_lineno - node.lineno + 1 for name in modules() for node_name, node, _ in functions(name)
  }
  return {
    name: f'{length} lines' for name, length in lengths.items() if length > LINES_OF_A_FUNCTION and name not in TABLES
  }


def many_siblings() -> dict[str, str]:
  """Modules that import more neighbours of their own folder than a reader can hold; a room counts as one."""
  found = {}
  for name in modules():
    package, _, own = name.rpartition('.')
    if not package or is_package(name) or name in MANY_PARTS:
      continue
    inside = (target.removeprefix(f'{package}.') for _, target in imports(name) if target.startswith(f'{package}.'))
    siblings = {target.split('.')[0] for target in inside} - {own}
    if len(siblings) > SIBLINGS:
      found[name] = ', '.join(sorted(siblings))
  return found


def passed_doors() -> dict[str, str]:
  """Modules of runs/ that import from inside another of its rooms instead of from the room."""
  rooms = [name for name in modules() if name.startswith('runs.') and is_package(name)]
  found = {}
  for name in modules():
    targets = {target for _, target in imports(name)} if name.startswith('runs') else set()
    inside = {
      target
      for target in targets
      for room in rooms
      if target.startswith(f'{room}.') and name != room and not name.startswith(f'{room}.')
    }
    if inside:
      found[name] = ', '.join(sorted(inside))
  return found


def unannotated() -> dict[str, str]:
  """Public functions and methods of which an argument or the result has no type."""
  found = {}
  for name in modules():
    for qualified, node, method in functions(name):
      *_, owner, own = qualified.split('.')
      if (own.startswith('_') and not own.endswith('__')) or (method and owner.startswith('_')):
        continue
      given = node.args
      arguments = [*given.posonlyargs, *given.args][method:] + [*given.kwonlyargs, given.vararg, given.kwarg]
      missing = [argument.arg for argument in arguments if argument is not None and argument.annotation is None]
      if node.returns is None and own not in ('__init__', '__post_init__'):
        missing.append('its result')
      if missing:
        found[qualified] = ', '.join(missing)
  return found


def machinery_in_the_network() -> dict[str, str]:
  """Modules of model/ that import the machinery of ops/, or name sharing, slicing or bytes."""
  words = re.compile(r'\b(axial|slicing|seam|num_shares|nbytes|itemsize|\w*_bytes|bytes(_\w+)?)\b')
  found = {}
  for name, path in modules().items():
    if name.startswith('model.'):
      hits = {match[0] for match in words.finditer(path.read_text(encoding='utf-8'))}
      hits |= {target for _, target in imports(name) if target in MACHINERY}
      if hits:
        found[name] = ', '.join(sorted(hits))
  return found


RULES: dict[str, Callable[[], dict[str, str]]] = {  # each gives its offenders, and what they did
  'class names are unique': repeated_class_names,
  'files are short': long_files,
  'functions are short': long_functions,
  'few siblings are imported': many_siblings,
  'rooms are entered by their doors': passed_doors,
  'public functions are annotated': unannotated,
  'the network knows no machinery': machinery_in_the_network,
}


@pytest.mark.parametrize('rule', RULES)
def test_rules_of_the_house_are_kept(rule):
  assert RULES[rule]() == {}
