# SPDX-License-Identifier: Apache-2.0
"""Where this package keeps what it fetches, finds and compiles: one folder of the user's cache for each kind.

The only place that asks for a person's home. There may be none: HOME unset under a user that the system does not
list, a home of somebody else, or one that is a file. Nothing is found or kept there then, and nothing fails.
"""

import os
from pathlib import Path

from alphafold_jax.errors import InputError

VARIABLES = {  # by kind: the environment variable that names another folder
  'params': 'ALPHAFOLD_JAX_PARAMS',
  'databases': 'ALPHAFOLD_JAX_DATABASES',
  'searches': 'ALPHAFOLD_JAX_SEARCHES',
}
_NO_HOME = Path('/nonexistent')  # as systems call the home of those who have none


def home() -> Path:
  """$HOME, or the home that the system lists for this user; else one that is not there. Always absolute."""
  given = os.environ.get('HOME', '') if os.name == 'posix' else os.path.expanduser('~')
  path = given if os.path.isabs(given) else _listed_home()
  return Path(path) if os.path.isabs(path) else _NO_HOME


def _listed_home() -> str:
  try:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_dir
  except (ImportError, KeyError):
    return ''


def expanded(path: str | os.PathLike[str]) -> Path:
  """The path with the home in place of a leading '~', and that of a user in place of '~user'.

  Raises:
    InputError: there is no such user, nor a file of that name.
  """
  path = Path(path)
  start = path.parts[0] if path.parts else ''
  if start == '~':
    return home().joinpath(*path.parts[1:])
  if not start.startswith('~') or os.path.lexists(start):
    return path
  try:
    return path.expanduser()
  except RuntimeError:
    raise InputError(f'{path}: there is no user {start[1:]!r} with a home; write the path in full') from None


def user_cache(kind: str) -> Path:
  """The folder of a kind of files: the one its variable names, else alphafold_jax/KIND in the user's cache.

  The cache is $XDG_CACHE_HOME, or ~/.cache where that is unset or relative (XDG Base Directory Specification). No
  folder is made.

  Raises:
    InputError: the variable names the home of an unknown user.
  """
  if given := os.environ.get(variable := VARIABLES.get(kind, '')):
    try:
      return expanded(given)
    except InputError as error:
      raise InputError(f'{variable}: {error}') from None
  cache = Path(os.environ.get('XDG_CACHE_HOME', ''))
  return (cache if cache.is_absolute() else home() / '.cache') / 'alphafold_jax' / kind


def with_hindrance(folder: Path) -> str:
  """The folder for messages, with the reason where nothing can be found in it."""
  why = hindrance(folder)
  return f'{folder} ({why.lower()})' if why else str(folder)


def hindrance(folder: Path) -> str | None:
  """Why nothing can be found in a folder, such as 'Permission denied'; None if it can be entered and listed."""
  try:
    with os.scandir(folder) as entries:
      next(entries, None)
  except OSError as error:
    return error.strerror or str(error)
  return None if os.access(folder, os.X_OK) else 'Permission denied'
