# SPDX-License-Identifier: Apache-2.0
"""Packages and programs of the extras, looked for when they are needed."""

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import ModuleType

from alphafold_jax import folders
from alphafold_jax.errors import AlphaFoldError, SearchError, how_to_install

_PATIENCE = 30.0  # s for a program to say its version


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
    refused: raised if it is not installed or cannot be loaded.
  """
  package = name.split('.')[0]
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    raise refused(f'{package} is not installed ({error}); {how_to_install(extra)}') from None
  except Exception as error:  # whatever a broken package, or one made for other versions, leads to
    why = f'{type(error).__name__}: {error}'
    raise refused(f'{package} is installed, but cannot be loaded ({why}); {how_to_install(extra)} anew') from error


def fault(name: str) -> str | None:
  """Why a Python module cannot be imported; None: it can."""
  try:
    importlib.import_module(name)
  except Exception as error:  # whatever a broken package leads to
    return f'{type(error).__name__}: {error}'
  return None


def words_of(path: Path, *arguments: str, check: bool = False) -> str:
  """What a program prints when asked for its version or help.

  Args:
    path: of the program.
    arguments: that ask it.
    check: refuse an exit code other than 0.

  Raises:
    SearchError: it cannot be run, or does not end.
  """
  try:
    done = subprocess.run(
      [path, *arguments],
      capture_output=True,
      encoding='utf-8',
      errors='replace',
      stdin=subprocess.DEVNULL,
      timeout=_PATIENCE,
      check=check,
    )
  except (OSError, subprocess.SubprocessError) as error:
    raise SearchError(f'{path}: cannot be run ({getattr(error, "strerror", None) or error})') from None
  return (done.stdout or done.stderr).strip()


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
    named = folders.expanded(given)
    if not (os.path.isfile(named) and os.access(named, os.X_OK)):
      raise SearchError(f'{variable}={given}: no such program; name an executable file or unset the variable')
    return named
  for path in (beside, Path(sysconfig.get_path('scripts')) / name):
    if path is not None and os.access(path, os.X_OK):
      return path
  if found := shutil.which(name):
    return Path(found)
  raise SearchError(f'the program {name} is not installed; {how_to_install(extra)}, or name it in {variable}')
