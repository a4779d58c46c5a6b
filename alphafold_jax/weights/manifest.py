# SPDX-License-Identifier: Apache-2.0
"""`manifest.json` beside the parameter files: what was installed from where, and the SHA-256 it had then.

No digests of the published archives are known beforehand. The first download is trusted (over TLS, and compared with
the MD5 that the server states) and recorded; whatever is downloaded or loaded later must be equal to it.
"""

import json
import pathlib
from typing import Any

from alphafold_jax import atomic, untrusted
from alphafold_jax.errors import WeightsError
from alphafold_jax.transfer.files import digest, lock, state, today
from alphafold_jax.weights.published import advising

NAME = 'manifest.json'
_FORMAT = 1
READABLE = 'Make it readable, or name another folder of parameters by --data DIR or ALPHAFOLD_JAX_PARAMS.'


def empty() -> dict[str, Any]:
  """The manifest of a directory in which nothing was installed."""
  return {'format': _FORMAT, 'archives': {}, 'files': {}}


def read(directory: pathlib.Path) -> dict[str, Any]:
  """A directory's manifest: `files` and `archives` by name, empty if there is none; WeightsError if it is damaged."""
  path = directory / NAME
  try:
    content = untrusted.from_json(path.read_text(encoding='utf-8'))
    if content['format'] != _FORMAT:
      raise ValueError(f'format {content["format"]}, this program knows {_FORMAT}')
    files, archives = content['files'], content['archives']
    if not all(isinstance(entry['sha256'], str) for entry in (*files.values(), *archives.values())):
      raise ValueError('a digest is not text')
    return content
  except FileNotFoundError:
    return empty()
  except NotADirectoryError:
    raise WeightsError(f'{directory}: not a directory. Name the directory that holds params_model_*.npz.') from None
  except OSError as error:
    raise WeightsError(f'{path}: cannot be read ({error.strerror or error}). {READABLE}') from error
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise WeightsError(
      f'{path}: not a manifest of this program ({error}). Restore it, or remove it and run '
      '`alphafold-jax params download` again; digests recorded so far are lost then.'
    ) from error


def write(directory: pathlib.Path, content: dict[str, Any]) -> None:
  """Replaces the manifest of a directory."""
  atomic.write_text(directory / NAME, json.dumps(content, indent=1, sort_keys=True) + '\n')


def file_entry(path: pathlib.Path, sha256: str, archive: str) -> dict[str, Any]:
  """The record of one installed file."""
  return state(path) | {'sha256': sha256, 'archive': archive, 'date': today()}


def untouched(path: pathlib.Path, entry: dict[str, Any] | None) -> bool:
  """Whether size and time of a file are those recorded, in which case it need not be hashed again."""
  return entry is not None and state(path) == {'size': entry.get('size'), 'mtime_ns': entry.get('mtime_ns')}


def verify_file(path: str | pathlib.Path, *, full: bool = False) -> str | None:
  """Compares one file with the manifest beside it.

  It is hashed only if size or modification time differ from the record (about a second for a published file).

  Args:
    path: the .npz file.
    full: hash in any case.

  Returns:
    its SHA-256; None if it is not recorded (a file of the user's own).

  Raises:
    WeightsError: it is not the one that was installed.
  """
  path = pathlib.Path(path)
  entry = read(path.parent)['files'].get(path.name)
  if entry is None:
    return None
  if not full and untouched(path, entry):
    return entry['sha256']
  with advising():
    found = digest(path)['sha256']
  if found != entry['sha256']:
    raise WeightsError(
      f'{path}: not the file that was installed from {entry.get("archive")} on {entry.get("date")}: SHA-256 was '
      f'{entry["sha256"]}, is {found}. Run `alphafold-jax params download` to install it anew; to use other weights on '
      'purpose, keep them in a directory of their own.'
    )
  _remember(path, found)
  return found


def _remember(path: pathlib.Path, sha256: str) -> None:
  """Records the new time of a file whose content is proved unchanged, where that is possible without waiting."""
  try:
    with lock(path.parent, timeout=0) as held:
      content = read(path.parent)
      entry = content['files'].get(path.name)
      if held and entry and entry['sha256'] == sha256 and not untouched(path, entry):
        content['files'][path.name] = entry | state(path)
        write(path.parent, content)
  except (WeightsError, OSError, RuntimeError):  # a directory that is only read from
    pass
