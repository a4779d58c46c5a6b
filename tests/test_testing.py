# SPDX-License-Identifier: Apache-2.0
"""The run of tests itself: the fast ones cover every package, and how a shell was started does not matter."""

import ast
import os
import re
import signal
from pathlib import Path

import conftest
import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / 'alphafold_jax'


def imported(path: Path) -> set[str]:
  """The modules of alphafold_jax that a test file imports, itself or by way of the tests' own modules."""
  found: set[str] = set()
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.ImportFrom) and node.module:
      names = [node.module, *(f'{node.module}.{alias.name}' for alias in node.names)]
    elif isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    else:
      continue
    found.update(name for name in names if name.startswith('alphafold_jax.'))
    for own in {TESTS / f'{name}.py' for name in names if not name.startswith('conftest')}:
      if own.is_file():
        found |= imported(own)
  return found


def test_the_fast_tests_cover_every_package():
  modules = set().union(*(imported(TESTS / name) for name in conftest._FAST))
  reached = {'.'.join(module.split('.')[:depth]) for module in modules for depth in range(2, 5)}
  packages = {'.'.join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob('*/__init__.py')}
  assert packages - reached == set()


@pytest.mark.parametrize('name', conftest._FAST)
def test_every_entry_of_the_table_of_fast_tests_names_some(name):
  names = re.findall(r'^def (test_\w+)', (TESTS / name).read_text(encoding='utf-8'), re.MULTILINE)
  assert [test for test in names if re.search(conftest._FAST[name], test)]


def test_files_that_are_said_to_be_long_exist():
  assert [name for name in conftest._LONGEST if not (TESTS / name).exists()] == []


def test_sigint_is_heard_where_the_shell_ignored_it():
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    conftest.hear_sigint()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
  finally:
    signal.signal(signal.SIGINT, before)


def test_flags_that_xla_does_not_know_are_left_out():
  before = os.environ.get('XLA_FLAGS', '')
  assert conftest.known_flags(f'{before} --xla_of_another_day=true') == before


def test_every_test_has_a_time_limit(pytestconfig):
  assert 0 < float(pytestconfig.getini('timeout')) <= 300
