# SPDX-License-Identifier: Apache-2.0
"""One folder of the user's cache for each kind of file (folders.py)."""

from pathlib import Path

import pytest

from alphafold_jax import folders

KINDS = (*folders.VARIABLES, 'xla')


@pytest.fixture(autouse=True)
def home(monkeypatch) -> None:
  monkeypatch.setenv('HOME', '/home/someone')
  for name in ('XDG_CACHE_HOME', *folders.VARIABLES.values()):
    monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
  ('given', 'cache'),
  [
    (None, '/home/someone/.cache'),
    ('', '/home/someone/.cache'),
    ('/scratch/cache', '/scratch/cache'),
    ('cache', '/home/someone/.cache'),
    ('~/cache', '/home/someone/.cache'),
  ],
)
def test_the_cache_is_where_xdg_says_and_a_relative_one_is_ignored(kind, given, cache, monkeypatch):
  if given is not None:
    monkeypatch.setenv('XDG_CACHE_HOME', given)
  assert folders.user_cache(kind) == Path(cache, 'alphafold_jax', kind)


@pytest.mark.parametrize('kind', folders.VARIABLES)
def test_a_variable_names_another_folder(kind, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', '/scratch/cache')
  monkeypatch.setenv(folders.VARIABLES[kind], '~/mine')
  assert folders.user_cache(kind) == Path('/home/someone/mine')
