# SPDX-License-Identifier: Apache-2.0
"""Packages and programs of the extras, looked for when they are needed."""

import importlib
import importlib.metadata
import os
import shutil
import sysconfig
from pathlib import Path
from types import ModuleType

from alphafold_jax.errors import AlphaFoldError, SearchError, how_to_install


def version(package: str) -> str | None:
  """The version of a package by its name for pip; None if it is not installed."""
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def module(name: str, extra: str = 'search', refused: type[AlphaFoldError] = SearchError) -> ModuleType:
  """Imports a Python module.

  Args:
    name: of the module.
    extra: what installs it.
    refused: raised if it is not installed.
  """
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise refused(f'{name.split(".")[0]} is not installed ({error}); {how_to_install(extra)}') from None


def program(name: str, variable: str, extra: str = 'search', beside: Path | None = None) -> Path:
  """Finds a program: the one an environment variable names, the one that came with the extra, or that of the PATH.

  Args:
    name: of the executable.
    variable: an environment variable that may hold another path to it.
    extra: what installs it.
    beside: where a Python package put it.

  Raises:
    SearchError: there is none.
  """
  if given := os.environ.get(variable):
    if not os.access(given, os.X_OK):
      raise SearchError(f'{variable}={given}: no such program; name an executable file or unset the variable')
    return Path(given)
  for path in (beside, Path(sysconfig.get_path('scripts')) / name):
    if path is not None and os.access(path, os.X_OK):
      return path
  if found := shutil.which(name):
    return Path(found)
  raise SearchError(f'the program {name} is not installed; {how_to_install(extra)}, or name it in {variable}')
