# SPDX-License-Identifier: Apache-2.0
"""Where this package keeps what it fetches, finds and compiles: one folder of the user's cache for each kind."""

import os
from pathlib import Path

VARIABLES = {  # by kind: the environment variable that names another folder
  'params': 'ALPHAFOLD_JAX_PARAMS',
  'databases': 'ALPHAFOLD_JAX_DATABASES',
  'searches': 'ALPHAFOLD_JAX_SEARCHES',
}


def user_cache(kind: str) -> Path:
  """The folder of a kind of files: the one its variable names, else alphafold_jax/KIND in the user's cache.

  The cache is $XDG_CACHE_HOME, or ~/.cache where that is unset or relative (XDG Base Directory Specification). No
  folder is made.
  """
  if given := os.environ.get(VARIABLES.get(kind, '')):
    return Path(given).expanduser()
  cache = Path(os.environ.get('XDG_CACHE_HOME', ''))
  return (cache if cache.is_absolute() else Path.home() / '.cache') / 'alphafold_jax' / kind
